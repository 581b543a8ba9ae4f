#ifndef NBH_WG_APPLY_H
#define NBH_WG_APPLY_H

#include "wg/applied.h"
#include "wg/backend.h"
#include "wg/plan.h"

/*
 * Brings the system to what is wanted: read, plan, apply, until a plan is empty; keeps
 * applied.json so that a kill between any two steps loses nothing. Knows no files but that one.
 */
struct wg_apply {
	const struct wg_backend *backend; /* NULL: none open */
	void *ctx;                        /* owned by backend */
	char ifname[IFNAMSIZ];
	struct wg_applied applied;        /* owned */
	bool unsaved;                     /* applied.json lags behind */
	int wg_dirfd;                     /* borrowed; -1: keep nothing (dry run) */
	bool dry_run;
	/* For tests: stands in for netlink and uapi. */
	const struct wg_backend *instead;
};

/* Operations that one run carried out. */
struct wg_apply_count {
	unsigned link, ops[WG_OP_N_KINDS];
};

/*
 * 0, a refusal of the plan (-EEXIST, -EKEYREJECTED) or the backend's error. What was done before
 * the error is counted and remembered.
 */
int wg_apply_run(struct wg_apply *apply, const struct wg_want *want,
                 struct wg_apply_count *ret_count, struct nbh_why *why);

/*
 * The host lost an address. wireguard-go forgets the source that it uses towards a peer only when it
 * gets an endpoint: each gets the one that it has. Nothing to do with other backends.
 */
int wg_apply_forget_sources(struct wg_apply *apply, struct nbh_why *why);

/* The system as it is now, for the report. -ENODEV: there is no interface to look at. */
int wg_apply_look(struct wg_apply *apply, struct wg_dev *ret_dev, struct nbh_why *why);

void wg_apply_clear(struct wg_apply *apply);

#endif
