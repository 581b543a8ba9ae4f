#ifndef NBH_WG_LINK_H
#define NBH_WG_LINK_H

#include "wg/devbuild.h"
#include "wg/nl.h"
#include "wg/plan.h"

#include <net/if.h>

/*
 * What an interface is outside of WireGuard: link, MTU, addresses, up. rtnetlink; shared by the
 * kernel and the user-space backend.
 */
struct wg_link {
	struct wg_nl nl;
	char ifname[IFNAMSIZ];
};

int wg_link_open(struct wg_link *link, const char *ifname, struct nbh_why *why);
void wg_link_close(struct wg_link *link);

/* Fills exists, kind, is_up, ifindex, mtu and addresses. A missing interface gives 0. */
int wg_link_read(struct wg_link *link, struct wg_devbuild *build, struct nbh_why *why);

/* -EOPNOTSUPP: the kernel does not know the kind. */
int wg_link_create(struct wg_link *link, const char *kind, struct nbh_why *why);
int wg_link_remove(struct wg_link *link, struct nbh_why *why); /* missing: 0 */

int wg_link_apply_mtu(struct wg_link *link, const struct wg_plan *plan, struct nbh_why *why);

/*
 * The rest of the plan for the link, once WireGuard is configured: addresses, up. Goes on after a
 * failure, so that IPv4 works where IPv6 is switched off; returns the first one.
 */
int wg_link_apply_rest(struct wg_link *link, const struct wg_plan *plan, struct nbh_why *why);

#endif
