#ifndef NBH_ICE_TUN_H
#define NBH_ICE_TUN_H

/* netbird-ice's TUN device: see base/icetun.h. */

#include "base/addr.h"
#include "base/why.h"

/* The agents' local addresses: RFC 7600 IPv4 dummy address, RFC 6666 discard-only prefix. */
extern const struct nbh_addr nbh_tun_addr4, nbh_tun_addr6;

/*
 * In a network namespace of our own, with CAP_NET_ADMIN in it. Call it after that was entered: /dev/net/tun belongs to the namespace in which it is
 * opened. Creates ice0, gives it both addresses and the default routes, brings it and lo up.
 * ret_has_v6: whether the kernel has IPv6. 0 or -errno.
 */
int nbh_tun_open(int *ret_fd, bool *ret_has_v6, struct nbh_why *why);

/*
 * In the host's namespace, without any capability: the device that netbird-wg made for our user. Waits
 * until it is there, at most so long. ret_has_v6: whether it has the IPv6 address. 0 or -errno.
 */
int nbh_tun_attach(int timeout_ms, int *ret_fd, bool *ret_has_v6, struct nbh_why *why);

#endif
