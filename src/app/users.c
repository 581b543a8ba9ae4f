#include "config.h"

#include "app/users.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define CAP_BIT(cap) (UINT32_C(1) << (cap))

static uid_t find_user(const char *name, uid_t number, bool *by_number)
{
	const struct passwd *user = getpwnam(name);

	if (user && user->pw_uid != 0)
		return user->pw_uid;

	*by_number = true;
	return number;
}

static gid_t find_group(const char *name, gid_t number, bool *by_number)
{
	const struct group *group = getgrnam(name);

	if (group && group->gr_gid != 0)
		return group->gr_gid;

	*by_number = true;
	return number;
}

void nbh_users_find(struct nbh_users *ret_users)
{
	struct nbh_users users = { .by_number = false };

	users.helper = find_user("netbird-helper", NBH_UID_HELPER, &users.by_number);
	users.ice = find_user("netbird-ice", NBH_UID_ICE, &users.by_number);
	users.wg = find_user("netbird-wg", NBH_UID_WG, &users.by_number);
	users.netbird = find_group("netbird", NBH_GID_NETBIRD, &users.by_number);
	users.netbird_ice = find_group("netbird-ice", NBH_GID_ICE, &users.by_number);
	*ret_users = users;
}

struct nbh_identity nbh_users_helper(const struct nbh_users *users)
{
	return (struct nbh_identity){ users->helper, users->netbird, users->netbird_ice, 0, false };
}

/*
 * Root where we may make a network namespace: /dev/net/tun is 0600 in many places, and user
 * namespaces are forbidden in some (architecture.md section 7). netbird-ice becomes its user itself.
 * In its group from the start, because root without CAP_DAC_OVERRIDE must get into DIR/ice.
 */
struct nbh_identity nbh_users_ice(const struct nbh_users *users)
{
	uint32_t for_root = CAP_BIT(CAP_NET_RAW) | CAP_BIT(CAP_NET_ADMIN) | CAP_BIT(CAP_SYS_ADMIN) |
			    CAP_BIT(CAP_SETUID) | CAP_BIT(CAP_SETGID) | CAP_BIT(CAP_SETPCAP);
	struct nbh_identity ice = { users->ice, users->netbird_ice, users->netbird_ice, 0, false };

	ice.stay_root = (nbh_users_own_caps() & for_root) == for_root;
	ice.caps = ice.stay_root ? for_root : CAP_BIT(CAP_NET_RAW);
	return ice;
}

struct nbh_identity nbh_users_wg(const struct nbh_users *users)
{
	return (struct nbh_identity){ users->wg, users->netbird, users->netbird, CAP_BIT(CAP_NET_ADMIN),
		                      false };
}

uint32_t nbh_users_own_caps(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { 0 };
	uint32_t bounding = 0;

	if (syscall(SYS_capget, &header, caps) < 0)
		return 0;

	for (unsigned long cap = 0; cap < 32; cap++) {
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			bounding |= CAP_BIT(cap);
	}

	return caps[0].permitted & bounding;
}

/* Those the kernel knows and we do not (above 31) go, too. */
static int limit_bounding_set(uint32_t keep)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (cap < 32 && (keep & CAP_BIT(cap)))
			continue;

		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	}

	return 0;
}

static int set_caps(uint32_t mask, bool is_ambient)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = {
		{ .effective = mask, .permitted = mask, .inheritable = is_ambient ? mask : 0 },
	};

	if (syscall(SYS_capset, &header, caps) < 0)
		return -errno;

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;

	for (unsigned long cap = 0; is_ambient && cap < 32; cap++) {
		if ((mask & CAP_BIT(cap)) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return -errno;
	}

	return 0;
}

static int change_ids(const struct nbh_identity *identity)
{
	gid_t groups[1] = { identity->group };

	if (setgroups(identity->group == identity->gid ? 0 : 1, groups) < 0)
		return -errno;

	if (setresgid(identity->gid, identity->gid, identity->gid) < 0)
		return -errno;

	if (identity->stay_root)
		return 0;

	return setresuid(identity->uid, identity->uid, identity->uid) < 0 ? -errno : 0;
}

int nbh_users_become(const struct nbh_identity *identity, struct nbh_why *why)
{
	uint32_t caps = identity->caps & nbh_users_own_caps();
	int r = limit_bounding_set(caps);

	/* The permitted set must live through setresuid(); exec clears the flag. */
	if (r == 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		r = -errno;

	if (r == 0)
		r = change_ids(identity);

	if (r == 0)
		r = set_caps(caps, !identity->stay_root);

	if (r == 0 && prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		r = -errno;

	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;

	if (r < 0)
		nbh_why_set(why, "cannot become uid %u: %s; root needs CAP_SETUID, CAP_SETGID, CAP_SETPCAP",
		            (unsigned)identity->uid, strerror(-r));

	return r;
}
