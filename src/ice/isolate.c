#include "config.h"

#include "ice/isolate.h"

#include "ice/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define NATIVE_ARCH AUDIT_ARCH_RISCV64
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1 /* the leak check at exit traces its own process */
#else
#define SANITIZED 0
#endif

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
		int error = errno;

		nbh_why_set(why, "no user namespace: %s: allow them (sysctl user.max_user_namespaces,"
		            " kernel.unprivileged_userns_clone)"
		            " or start netbird-ice as root with CAP_SYS_ADMIN", strerror(error));
		return -error;
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

/*
 * While we are still root, in our user namespace or outside. Every capability that the kernel has,
 * also those that are newer than this program.
 */
static void drop_bounding_set(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* fails without CAP_SETPCAP: no_new_privs holds */
}

static int drop_capabilities(struct nbh_why *why)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

	if (syscall(SYS_capset, &header, none))
		return fail(why, "cannot drop capabilities", errno);

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return fail(why, "no_new_privs", errno);

	return 0;
}

/* Session passwords are in memory: no core file, no look from other processes of our user. */
static void close_memory(void)
{
	struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, SANITIZED, 0, 0, 0);
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

#ifdef NATIVE_ARCH

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, field))
/* The lower half of an argument; the kernel looks at no more of an int. */
#if G_BYTE_ORDER == G_LITTLE_ENDIAN
#define LOAD_ARG(n) LOAD(args[n])
#else
#define LOAD_ARG(n) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args[n]) + 4)
#endif
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define REFUSE_CALL(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), REFUSE(EPERM)

static int forbid(struct nbh_why *why)
{
	struct sock_filter code[] = {
		LOAD(arch),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0),
		REFUSE(EPERM),
		LOAD(nr),
#ifdef __x86_64__
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1), /* x32 has numbers of its own */
		REFUSE(EPERM),
#endif
		/* setsockopt(_, IPPROTO_IP or IPPROTO_IPV6, the matching HDRINCL) */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 0, 10),
		LOAD_ARG(1),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_IP, 0, 3),
		LOAD_ARG(2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IP_HDRINCL, 4, 0),
		ALLOW,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_IPV6, 0, 3),
		LOAD_ARG(2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPV6_HDRINCL, 0, 1),
		REFUSE(EPERM),
		ALLOW,
#ifdef SYS_clone
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
		LOAD_ARG(0),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_NEWUSER, 0, 1),
		REFUSE(EPERM),
		ALLOW,
#endif
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		REFUSE(ENOSYS), /* its flags cannot be seen from here; libc falls back to clone */
		REFUSE_CALL(SYS_execve),
		REFUSE_CALL(SYS_execveat),
		REFUSE_CALL(SYS_unshare),
		REFUSE_CALL(SYS_setns),
		REFUSE_CALL(SYS_mount),
		REFUSE_CALL(SYS_bpf),
		REFUSE_CALL(SYS_io_uring_setup), /* another way to setsockopt */
		REFUSE_CALL(SYS_process_vm_writev),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SANITIZED ? ~0u : SYS_ptrace, 0, 1),
		REFUSE(EPERM),
		ALLOW,
	};
	struct sock_fprog prog = { .len = NBH_N_ELEMENTS(code), .filter = code };

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0))
		return fail(why, "seccomp", errno);

	return 0;
}

#else

/* Its numbers are not known here: the capabilities are gone all the same. */
static int forbid(struct nbh_why *why)
{
	(void)why;
	return 0;
}

#endif

int nbh_isolate(const struct nbh_isolate_config *config, struct nbh_isolate_result *ret_result,
                struct nbh_why *why)
{
	struct nbh_isolate_result result = { .sock = NBH_RAWSOCK_NONE, .tun = -1 };
	bool is_root = false;
	int r;

	raise_fd_limit();
	r = nbh_rawsock_open(config->fwmark, &result.sock, why);

	if (!r)
		r = enter(config, &is_root, why);

	if (!r)
		r = nbh_tun_open(&result.tun, &result.has_v6, why);

	if (!r)
		drop_bounding_set();

	if (!r && is_root)
		r = become(config->user, config->group, why);

	if (!r)
		r = drop_capabilities(why);

	if (r)
		return r;

	close_memory();
	r = forbid(why);

	if (r)
		return r;

	result.backend = is_root ? "root-launcher" : "user-namespace";
	*ret_result = result;
	return 0;
}
