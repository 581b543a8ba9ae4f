#ifndef NBH_WG_SPAWN_H
#define NBH_WG_SPAWN_H

#include "base/why.h"

/*
 * Starts wireguard-go for one interface, in a session of its own: it outlives us. Returns once its
 * interface and its socket exist (it daemonizes itself then). -EPROTONOSUPPORT with the reason when
 * the program or /dev/net/tun is missing, -EPERM, -EIO with its last words.
 */
int wg_spawn_wireguard_go(const char *program, const char *ifname, struct nbh_why *why);

#endif
