#ifndef NBH_WG_GENLMSG_H
#define NBH_WG_GENLMSG_H

#include "wg/devbuild.h"
#include "wg/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Operations <-> messages of the kernel's generic netlink family "wireguard" (linux/wireguard.h).
 * No socket in here.
 */

struct nlmsghdr;

/* Where in the plan the next message begins. Start with zeroes. */
struct wg_genlmsg {
	bool device_done;
	size_t op;     /* index into plan->ops */
	size_t prefix; /* of that operation: allowed IPs that earlier messages carried */
};

/* Smaller buffers cannot hold one operation. */
#define WG_GENLMSG_MIN_BYTES 512

/*
 * Fills buf, which must not hold secrets of others (attributes are padded with what is in it),
 * with the next message. 1, 0 when the plan is done (or holds nothing for WireGuard), or
 * -ENOBUFS. An operation with more allowed IPs than fit goes on in the next message, as
 * UPDATE_ONLY; remove and add of one WG_OP_READD always share a message.
 */
int wg_genlmsg_next(struct wg_genlmsg *at, const struct wg_plan *plan, uint16_t family,
                    const char *ifname, void *buf, size_t len);

/* The request for everything about one device. buf needs WG_GENLMSG_MIN_BYTES. */
struct nlmsghdr *wg_genlmsg_get(uint16_t family, const char *ifname, void *buf);

/* Adds one message of the answer. 0, -ENOMEM or -EBADMSG. */
int wg_genlmsg_parse(const struct nlmsghdr *nlh, struct wg_devbuild *build);

#endif
