#ifndef NBH_ICE_TUN_H
#define NBH_ICE_TUN_H

/* The only interface of netbird-ice's own network namespace. Needs CAP_NET_ADMIN in it. */

#include "base/addr.h"
#include "base/why.h"

/* The agents' local addresses: RFC 7600 IPv4 dummy address, RFC 6666 discard-only prefix. */
extern const struct nbh_addr nbh_tun_addr4, nbh_tun_addr6;

/*
 * Call it after the namespace was entered: /dev/net/tun belongs to the namespace in which it is
 * opened. Creates ice0, gives it both addresses and the default routes, brings it and lo up.
 * ret_has_v6: whether the kernel has IPv6. 0 or -errno.
 */
int nbh_tun_open(int *ret_fd, bool *ret_has_v6, struct nbh_why *why);

#endif
