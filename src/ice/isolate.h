#ifndef NBH_ICE_ISOLATE_H
#define NBH_ICE_ISOLATE_H

/*
 * How netbird-ice gets what it needs and then gives up everything else (architecture.md section 7).
 * First thing in main(): one thread, no descriptor of anybody else's.
 *
 *   1 sockets   raw and probe sockets in the host's network namespace. Should: CAP_NET_RAW.
 *   2 enter     own namespaces, TUN device, addresses. Must not: open a host socket from here on.
 *   3 drop      user, groups, every capability, no_new_privs.
 *   4 forbid    base/confine: no IP_HDRINCL (forged sources), no exec, no namespaces, no ptrace.
 *
 * Where no namespace can be made, 2 is the TUN device of netbird-wg --ice-tun in the host's namespace,
 * behind 3.
 *
 * Unprivileged, with ambient CAP_NET_RAW: a user namespace and a network namespace. As root: only a
 * network namespace, then `user` and `group`; without CAP_SYS_ADMIN first these, then both namespaces.
 */

#include "ice/rawsock.h"

#include <stdbool.h>
#include <sys/types.h>

struct nbh_isolate_config {
	guint32 fwmark;
	uid_t user; /* only used when we are root */
	gid_t group;
};

struct nbh_isolate_result {
	NbhRawsock sock;
	int tun;
	bool has_v6, is_filtered;
	const char *backend; /* "user-namespace", "root-launcher" or "host-tun" */
};

/* 0, or -errno with the reason and what to do. On failure the process must end. */
int nbh_isolate(const struct nbh_isolate_config *config, struct nbh_isolate_result *ret_result,
                struct nbh_why *why);

#endif
