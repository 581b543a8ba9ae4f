#ifndef NBH_WG_WANTED_H
#define NBH_WG_WANTED_H

#include "wg/plan.h"
#include "wg/policy.h"

#include <stdbool.h>

/*
 * What the files ask for, as far as policy agrees. Each file is taken whole or not at all: while
 * one is refused, its last good content stays.
 */
struct wg_wanted {
	bool has_device, has_peers, has_key;
	struct nbh_device device;
	struct nbh_key private_key; /* only between load and forget */
	struct nbh_peersfile peers; /* owned */
};

enum wg_wanted_file { WG_FILE_KEY, WG_FILE_DEVICE, WG_FILE_PEERS, WG_N_FILES };

struct wg_refusal {
	bool refused;
	struct nbh_why why;
};

/*
 * Reads the three files again. A missing peers.json changes nothing, a missing device.json takes
 * the interface away; a missing private.key is a refusal while there is a device. Never fails:
 * what is wrong with each file is in ret_refusals.
 */
void wg_wanted_load(struct wg_wanted *wanted, int dirfd, const struct wg_policy *policy,
                    struct wg_refusal ret_refusals[WG_N_FILES]);

/* Borrowed views for the plan. */
struct wg_want wg_wanted_view(const struct wg_wanted *wanted);

void wg_wanted_forget_key(struct wg_wanted *wanted);
void wg_wanted_clear(struct wg_wanted *wanted);

#endif
