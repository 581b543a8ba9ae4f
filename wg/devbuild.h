#ifndef NBH_WG_DEVBUILD_H
#define NBH_WG_DEVBUILD_H

#include "wg/backend.h"

/*
 * Collects a struct wg_dev from pieces that arrive in the system's order: netlink dumps and UAPI
 * answers may spread one peer over several messages. Start with zeroes. After any error, and after
 * finish, wg_devbuild_clear() is legal.
 */
struct wg_devbuild {
	struct wg_dev dev;           /* scalars are set by the caller; arrays by the functions below */
	size_t *first_prefix;        /* per peer; owned */
	struct nbh_prefix *prefixes; /* of all peers; owned */
	size_t n_prefixes;
	size_t cap_peers, cap_prefixes, cap_addresses;
};

/* The last peer again if the key is the same, else a new one. NULL on OOM; valid until the next call. */
struct wg_peer *wg_devbuild_peer(struct wg_devbuild *build, const struct nbh_key *public_key);
/* Adds to the last peer. */
int wg_devbuild_prefix(struct wg_devbuild *build, const struct nbh_prefix *prefix);
int wg_devbuild_address(struct wg_devbuild *build, const struct nbh_prefix *address);
/* Sorts everything and hands it over; build is empty afterwards. */
void wg_devbuild_finish(struct wg_devbuild *build, struct wg_dev *ret_dev);
void wg_devbuild_clear(struct wg_devbuild *build);

#endif
