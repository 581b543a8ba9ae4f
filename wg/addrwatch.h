#ifndef NBH_WG_ADDRWATCH_H
#define NBH_WG_ADDRWATCH_H

#include "base/why.h"

#include <stdbool.h>

/*
 * Hears of addresses that this host loses. wireguard-go goes on sending from the address that a peer
 * was last reached from, and fails for ever once that is gone; the kernel's WireGuard looks itself.
 */
int wg_addrwatch_open(struct nbh_why *why); /* a descriptor to poll, or -errno */
bool wg_addrwatch_drain(int fd);            /* an address has gone since */

#endif
