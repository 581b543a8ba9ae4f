#ifndef NBH_WG_NL_H
#define NBH_WG_NL_H

#include "base/why.h"

#include <stdint.h>

/*
 * One netlink socket, one request at a time: sends, then reads until that request's answer is
 * complete. Answers to older requests are skipped, so an error in between leaves nothing behind.
 */
struct mnl_socket;
struct nlmsghdr;

struct wg_nl {
	struct mnl_socket *sock; /* owned */
	uint32_t portid, seq;
	char *buf; /* owned; for receiving */
};

#define WG_NL_MESSAGE_MAX_BYTES 32768 /* attribute lengths have 16 bits; the kernel's dumps end here, too */

/* protocol: NETLINK_ROUTE or NETLINK_GENERIC. Zeroed on failure. */
int wg_nl_open(struct wg_nl *nl, int protocol, struct nbh_why *why);
void wg_nl_close(struct wg_nl *nl);

/* Called for each message of the answer. Negative: remembered and returned at the end. */
typedef int (*wg_nl_cb)(const struct nlmsghdr *nlh, void *data);

/*
 * Sends nlh (NLM_F_REQUEST is set; NLM_F_ACK too unless it is a dump) and waits for the end.
 * 0 or -errno, with the kernel's own words (extended ack) in why where it gives some, else
 * strerror. -EAGAIN: a dump changed while it was read; ask again.
 */
int wg_nl_talk(struct wg_nl *nl, struct nlmsghdr *nlh, wg_nl_cb cb, void *data, struct nbh_why *why);

#endif
