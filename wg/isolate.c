#include "config.h"

#include "wg/isolate.h"

#include "base/confine.h"
#include "base/log.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NET_ADMIN_BIT (1u << CAP_NET_ADMIN)

void wg_isolate_early(void)
{
	umask(027);
	nbh_confine_memory();
}

static int get_caps(struct __user_cap_data_struct caps[2])
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capget, &header, caps) < 0 ? -errno : 0;
}

/* A unit that refuses the call has left us nothing else. */
static int keep_net_admin(const struct __user_cap_data_struct before[2])
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = {
		{ .effective = NET_ADMIN_BIT, .permitted = NET_ADMIN_BIT },
	};

	if (syscall(SYS_capset, &header, caps) == 0)
		return 0;

	return before[0].permitted == NET_ADMIN_BIT && before[1].permitted == 0 ? 0 : -errno;
}

/* What a program that we start (wireguard-go) could get back as root. Needs CAP_SETPCAP: best effort. */
static void drop_bounding_set(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (cap != CAP_NET_ADMIN)
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

/* wireguard-go needs it and is going to run as that user, too. */
static void prepare_socket_dir(uid_t uid, gid_t gid)
{
	if (mkdir("/run/wireguard", 0755) == 0 && chown("/run/wireguard", uid, gid) < 0)
		rmdir("/run/wireguard");
}

static int become_owner(int dirfd, int wg_dirfd, struct nbh_why *why)
{
	struct stat dir, wg;
	gid_t groups[2];

	if (fstat(dirfd, &dir) < 0 || fstat(wg_dirfd, &wg) < 0) {
		nbh_why_set(why, "wg: cannot stat: %s", strerror(errno));
		return -EIO;
	}

	if (geteuid() != 0 || wg.st_uid == 0)
		return 0;

	prepare_socket_dir(wg.st_uid, wg.st_gid);
	groups[0] = wg.st_gid;
	groups[1] = dir.st_gid;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setgroups(2, groups) < 0 ||
	    setresgid(wg.st_gid, wg.st_gid, wg.st_gid) < 0 ||
	    setresuid(wg.st_uid, wg.st_uid, wg.st_uid) < 0) {
		nbh_why_set(why, "cannot become user %u, the owner of wg/: %s", wg.st_uid, strerror(errno));
		return -EPERM;
	}

	/* The kernel allowed dumps again when the ids changed. */
	nbh_confine_memory();
	return 0;
}

int wg_isolate_configured(int dirfd, int wg_dirfd, struct nbh_why *why)
{
	struct __user_cap_data_struct caps[2] = { 0 };
	int r;

	if (get_caps(caps) < 0 || !(caps[0].permitted & NET_ADMIN_BIT)) {
		nbh_why_set(why, "capability CAP_NET_ADMIN is missing: run as root, or with"
		            " AmbientCapabilities=CAP_NET_ADMIN in the unit");
		return -EPERM;
	}

	drop_bounding_set();
	r = become_owner(dirfd, wg_dirfd, why);
	if (r < 0)
		return r;

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	r = keep_net_admin(caps);
	if (r < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		nbh_why_set(why, "cannot drop capabilities: %s", strerror(r < 0 ? -r : errno));
		return -EPERM;
	}

	return 0;
}

int wg_isolate_final(struct nbh_why *why)
{
	struct __user_cap_data_struct caps[2] = { 0 };
	int r;

	if (get_caps(caps) < 0 || caps[0].permitted != NET_ADMIN_BIT || caps[1].permitted != 0) {
		nbh_why_set(why, "capabilities are not what they should be");
		return -EPERM;
	}

	if (chdir("/") < 0) {
		nbh_why_set(why, "cannot leave the working directory: %s", strerror(errno));
		return -EPERM;
	}

	/* Without a filter there is still only one capability; the report says so. */
	r = nbh_confine_filter(NBH_CONFINE_KEEP_EXEC, why);
	if (r == -ENOTSUP)
		nbh_log(NBH_LOG_WARN, "wg", "not-filtered: %s", why->text);
	else if (r < 0)
		return r;

	why->text[0] = '\0';
	return 0;
}
