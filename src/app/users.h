#ifndef NBH_APP_USERS_H
#define NBH_APP_USERS_H

/*
 * The users that our programs run as, and becoming one of them. By name where they exist
 * (sysusers.d), else by number: netbird-helper 61901, netbird-ice 61902, netbird-wg 61903; groups
 * netbird-ice 61902, netbird 61904. No GLib: the launcher stays small.
 */

#include "base/why.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NBH_UID_HELPER 61901
#define NBH_UID_ICE 61902
#define NBH_UID_WG 61903
#define NBH_GID_ICE 61902
#define NBH_GID_NETBIRD 61904

struct nbh_users {
	uid_t helper, ice, wg;
	gid_t netbird, netbird_ice;
	bool by_number; /* at least one name does not exist */
};

/* What a process becomes. caps is a mask of 1 << CAP_..., all of them below 32. */
struct nbh_identity {
	uid_t uid;
	gid_t gid;
	gid_t group;    /* one supplementary group; gid again if there is none */
	uint32_t caps;  /* effective, permitted, inheritable, ambient and bounding: exactly these */
	bool stay_root; /* uid 0 with caps as the bounding set: netbird-ice, which drops the rest itself */
};

void nbh_users_find(struct nbh_users *ret_users);

struct nbh_identity nbh_users_helper(const struct nbh_users *users);
struct nbh_identity nbh_users_ice(const struct nbh_users *users);
struct nbh_identity nbh_users_wg(const struct nbh_users *users);

/* Capabilities that we may hand on. */
uint32_t nbh_users_own_caps(void);

/* Needs root. no_new_privs as well; for good. 0 or -errno. Capabilities that we lack are left out. */
int nbh_users_become(const struct nbh_identity *identity, struct nbh_why *why);

#endif
