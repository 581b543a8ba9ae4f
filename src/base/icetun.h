#ifndef NBH_BASE_ICETUN_H
#define NBH_BASE_ICETUN_H

/*
 * netbird-ice's TUN device: in a network namespace of its own or, where it can make none, in the host's,
 * made by `netbird-wg --ice-tun USER`. The IPv4 dummy address (RFC 7600) and its like in the
 * discard-only prefix (RFC 6666): nobody on the Internet has them.
 */
#define NBH_ICETUN_NAME "nbh-ice0" /* in the host's namespace */
#define NBH_ICETUN_ADDR4 { AF_INET, { 192, 0, 0, 8 } }
#define NBH_ICETUN_ADDR6 { AF_INET6, { 0x01, [15] = 8 } }

#endif
