#ifndef NBH_WG_PLAN_H
#define NBH_WG_PLAN_H

#include "base/addr.h"
#include "base/devicefile.h"
#include "base/key.h"
#include "base/peersfile.h"
#include "base/why.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * The decision of netbird-wg: three states in, operations out. Pure: no system call, no clock.
 *
 *   membership, allowed IPs, keys, keepalive   wanted against actual
 *   endpoints and sessions                     wanted against last applied
 *   what may be removed                        what last applied says is ours
 *
 * Endpoints roam: the kernel moves a peer's endpoint to whatever authenticated last. Comparing
 * wanted with actual would undo that for ever (house-style.md 3.1, fact 4).
 *
 * One walk over three sorted lists, so 4096 peers cost 4096 steps.
 */

struct wg_dev;
struct wg_applied;

/* The files after policy. Everything is borrowed. */
struct wg_want {
	const struct nbh_device *device;    /* NULL: no device.json, the interface shall go */
	const struct nbh_key *private_key;  /* NULL only if device is */
	const struct nbh_peersfile *peers;  /* NULL: no peers.json, peers stay as they are; prepared */
};

enum wg_op_kind {
	WG_OP_REMOVE,
	WG_OP_UPDATE, /* never makes a peer: UPDATE_ONLY */
	WG_OP_READD,  /* removed and added again in one message: the kernel forgets its session */
	WG_OP_ADD,
	WG_OP_N_KINDS
};

struct wg_op {
	enum wg_op_kind kind;
	const struct nbh_key *public_key; /* borrowed from the file or the device */
	bool set_endpoint, set_keepalive, set_preshared_key;
	struct nbh_endpoint endpoint;
	uint16_t keepalive_s;
	const struct nbh_key *preshared_key; /* borrowed; zero: remove it */
	bool replace_allowed_ips; /* else allowed_ips are added to what is there */
	const struct nbh_prefix *allowed_ips; /* borrowed from the file or from the plan */
	size_t n_allowed_ips;
};

/* Executed from top to bottom; removals come before additions. */
struct wg_plan {
	bool remove_link; /* nothing else is set then */
	bool create_link;

	bool set_private_key, set_listen_port, set_fwmark;
	const struct nbh_key *private_key; /* borrowed */
	uint16_t listen_port;
	uint32_t fwmark;

	bool set_mtu;
	uint32_t mtu;

	struct wg_op *ops; /* removals, then the rest by key */
	size_t n_ops;

	struct nbh_prefix remove_addresses[NBH_DEVICE_ADDRESSES_MAX];
	size_t n_remove_addresses;
	struct nbh_prefix add_addresses[NBH_DEVICE_ADDRESSES_MAX];
	size_t n_add_addresses;

	bool set_up;
	void *arena; /* owned: ops and the prefixes that are not borrowed */
};

/* Sorts each peer's prefixes and drops repetitions, in place. The plan needs that. */
void wg_plan_prepare(struct nbh_peersfile *peers);

/*
 * 0, -ENOMEM, or a refusal: -EEXIST (an interface of that name is not ours to touch), -EKEYREJECTED
 * (it has another private key). The plan lives as long as want and dev; wg_plan_clear() frees it.
 */
int wg_plan_make(const struct wg_want *want, const struct wg_dev *dev,
                 const struct wg_applied *applied, struct wg_plan *ret_plan, struct nbh_why *why);
void wg_plan_clear(struct wg_plan *plan);

bool wg_plan_is_empty(const struct wg_plan *plan);
/* Something will exist that did not: applied.json is written before such a plan, too. */
bool wg_plan_makes(const struct wg_plan *plan);

/* One line per operation; no key but public ones. */
void wg_plan_print(const struct wg_plan *plan, const char *ifname, FILE *out);

/*
 * What "last applied" becomes: once the plan is about to run (done = false: what is there stays,
 * what will be made is added) and once it ran (done = true). backend and ifindex are the caller's
 * to fill in. -ENOMEM.
 */
int wg_plan_applied(const struct wg_plan *plan, const struct wg_want *want,
                    const struct wg_dev *dev, const struct wg_applied *before, bool done,
                    struct wg_applied *ret_after);

#endif
