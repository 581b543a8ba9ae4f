#ifndef NBH_WG_POLICY_H
#define NBH_WG_POLICY_H

#include "base/addr.h"
#include "base/devicefile.h"
#include "base/key.h"
#include "base/peersfile.h"
#include "base/why.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#define WG_POLICY_PREFIXES_MAX 256 /* --allow-prefix on one command line */

/*
 * What netbird-wg agrees to, whatever the files say. It comes from the command line, which root
 * wrote into the unit: whoever can write DIR cannot widen it.
 */
struct wg_policy {
	char interface[IFNAMSIZ]; /* "": any */
	struct nbh_prefix allow_prefixes[WG_POLICY_PREFIXES_MAX]; /* masked */
	size_t n_allow_prefixes;
	bool allow_default_route;
};

/* Does the text make an interface name: /^[a-zA-Z0-9_.-]{1,15}$/, and neither "." nor ".."? */
bool wg_policy_is_ifname(const char *text);

/* 0 or -EPERM with "device.json: FIELD: ..." or "peers.json: peer ...: FIELD: ..." in why. */
int wg_policy_device(const struct wg_policy *policy, const struct nbh_device *device,
                     struct nbh_why *why);
/* own_public_key may be NULL. Expects peers after wg_plan_prepare(). Also -ENOMEM. */
int wg_policy_peers(const struct wg_policy *policy, const struct nbh_device *device,
                    const struct nbh_key *own_public_key, const struct nbh_peersfile *peers,
                    struct nbh_why *why);

#endif
