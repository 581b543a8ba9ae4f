#ifndef NBH_WG_ICETUN_H
#define NBH_WG_ICETUN_H

#include "base/why.h"

#include <sys/types.h>

/*
 * For a netbird-ice that may make no namespaces (base/icetun.h): a persistent TUN device that its user may
 * open, and routing rules that send what comes from the device's addresses back into it. What
 * comes out of it reaches this host, but is never forwarded.
 */

/* Makes what is not there yet. IPv6 is left out where the host has none. */
int wg_icetun_make(uid_t owner, struct nbh_why *why);

/* Device and rules; what is not there is no error. */
int wg_icetun_remove(struct nbh_why *why);

#endif
