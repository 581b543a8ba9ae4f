#include "config.h"

#include "ice/isolate.h"

#include "base/confine.h"
#include "base/log.h"
#include "ice/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define NO_NAMESPACES EXDEV    /* and we are where we were */
#define WAIT_FOR_TUN_MS 5000   /* netbird-wg makes it as soon as there is a device.json */

static int fail(struct nbh_why *why, const char *what, int error)
{
	nbh_why_set(why, "%s: %s", what, strerror(error));
	return -error;
}

static int write_file(const char *path, const char *text)
{
	nbh_cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);

	if (fd < 0)
		return -errno;

	return write(fd, text, len) == (ssize_t)len ? 0 : -EIO;
}

/* Our own ids stay what they are, so that the owner of files can be compared; nobody else's exist. */
static int map_ids(uid_t user, gid_t group, struct nbh_why *why)
{
	char users[48], groups[48];
	int r;

	snprintf(users, sizeof(users), "%u %u 1\n", user, user);
	snprintf(groups, sizeof(groups), "%u %u 1\n", group, group);
	r = write_file("/proc/self/uid_map", users);

	if (!r)
		r = write_file("/proc/self/setgroups", "deny");

	if (!r)
		r = write_file("/proc/self/gid_map", groups);

	return r ? fail(why, "user namespace: cannot map our user", -r) : 0;
}

static int enter_unprivileged(struct nbh_why *why)
{
	uid_t user = geteuid();
	gid_t group = getegid();

	/* After a change of user the files below /proc/self are root's, and we could not map anything. */
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		nbh_why_set(why, "%s", strerror(errno));
		return -NO_NAMESPACES;
	}

	return map_ids(user, group, why);
}

static int become(uid_t user, gid_t group, struct nbh_why *why)
{
	if (setgroups(0, NULL) || setresgid(group, group, group) || setresuid(user, user, user))
		return fail(why, "cannot change to our own user", errno);

	return 0;
}

/*
 * Root in a container often has no CAP_SYS_ADMIN, but may have user namespaces: then it goes on like
 * an ordinary user. ret_is_root: whether a user change is still to come.
 */
static int enter(const struct nbh_isolate_config *config, bool *ret_is_root, struct nbh_why *why)
{
	int r;

	*ret_is_root = false;

	if (geteuid() != 0)
		return enter_unprivileged(why);

	if (!unshare(CLONE_NEWNET)) {
		*ret_is_root = true;
		return 0;
	}

	r = become(config->user, config->group, why);
	return r ? r : enter_unprivileged(why);
}

/* Into the device that netbird-wg made: no capability is needed, so none is there any more. */
static int enter_host_tun(struct nbh_isolate_result *result, struct nbh_why *why)
{
	struct nbh_why no_namespaces = *why;
	int r = nbh_confine_drop_caps(why);

	if (!r)
		r = nbh_tun_attach(WAIT_FOR_TUN_MS, &result->tun, &result->has_v6, why);

	if (!r)
		result->backend = "host-tun";
	else
		nbh_why_prefix(why, "no namespaces (%s: sysctl user.max_user_namespaces, seccomp, CAP_SYS_ADMIN)",
		               no_namespaces.text);

	return r;
}

/* Namespaces, the device in them, and our user. */
static int enter_own(const struct nbh_isolate_config *config, struct nbh_isolate_result *result,
                     struct nbh_why *why)
{
	bool is_root = false;
	int r = enter(config, &is_root, why);

	if (!r)
		r = nbh_tun_open(&result->tun, &result->has_v6, why);

	if (!r)
		nbh_confine_drop_bounding_set();

	if (!r && is_root)
		r = become(config->user, config->group, why);

	if (!r)
		result->backend = is_root ? "root-launcher" : "user-namespace";

	return r;
}

/* Three sockets per agent; the soft limit of 1024 is for programs that use select(). */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;

	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Without a filter the capabilities are gone all the same; the helper is told. */
static int forbid(bool *ret_is_filtered, struct nbh_why *why)
{
	int r = nbh_confine_filter(0, why);

	*ret_is_filtered = r == 0;

	if (r != -ENOTSUP)
		return r;

	nbh_log(NBH_LOG_WARN, "ice", "not-filtered reason=\"%s\"", why->text);
	return 0;
}

int nbh_isolate(const struct nbh_isolate_config *config, struct nbh_isolate_result *ret_result,
                struct nbh_why *why)
{
	struct nbh_isolate_result result = { .sock = NBH_RAWSOCK_NONE, .tun = -1 };
	int r;

	raise_fd_limit();
	r = nbh_rawsock_open(config->fwmark, &result.sock, why);

	if (!r)
		r = enter_own(config, &result, why);

	if (r == -NO_NAMESPACES)
		r = enter_host_tun(&result, why);

	if (!r)
		r = nbh_confine_drop_caps(why);

	if (r)
		return r;

	nbh_confine_memory(); /* session passwords */
	r = forbid(&result.is_filtered, why);

	if (r)
		return r;

	*ret_result = result;
	return 0;
}
