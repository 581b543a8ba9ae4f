/* What a program cannot do any more once it has confined itself, each tried in a child process. */
#include "config.h"

#include "base/confine.h"

#include "base/macros.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/capability.h>

#define SKIPPED 77

/* In the child: a failure is a message and status 1. */
#define MUST(what)                                                                                 \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "# line %d: %s (errno %d)\n", __LINE__, #what, errno);    \
			return 1;                                                                  \
		}                                                                                  \
	} while (0)

/* Nothing of this fails with EPERM for want of the filter, as a pipe shows that is made as root. */
static bool is_refused(long r, int error)
{
	return r < 0 && errno == error;
}

static void *in_thread(void *data)
{
	*(bool *)data = is_refused(syscall(SYS_unshare, CLONE_NEWNET), EPERM);
	return NULL;
}

static int confined(unsigned keep)
{
	struct nbh_why why = { "" };
	int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : nbh_confine_filter(keep, &why);

	if (r == -ENOTSUP)
		return SKIPPED;

	MUST(r == 0 && nbh_confine_is_filtered());
	return 0;
}

/* Root, so that only the filter can be what refuses. */
static int refuses(void)
{
	int r = confined(0), on = 1, fd;
	char *const argv[] = { (char[]){ "true" }, NULL };
	bool in_other = false;
	pthread_t thread;

	if (r)
		return r;

	MUST(is_refused(unshare(CLONE_NEWUSER), EPERM));
	MUST(is_refused(unshare(CLONE_NEWNS), EPERM));
	MUST(is_refused(syscall(SYS_setns, 0, 0), EPERM));
	MUST(is_refused(syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0), EPERM));
#ifdef SYS_clone3
	MUST(is_refused(syscall(SYS_clone3, NULL, 0), ENOSYS));
#endif
	MUST(is_refused(mount("none", "/mnt", "tmpfs", 0, NULL), EPERM));
	MUST(is_refused(syscall(SYS_umount2, "/nonexistent", 0), EPERM));
	MUST(is_refused(chroot("/"), EPERM));
	MUST(is_refused(syscall(SYS_bpf, 0, NULL, 0), EPERM));
	MUST(is_refused(syscall(SYS_io_uring_setup, 1, NULL), EPERM));
	MUST(is_refused(syscall(SYS_userfaultfd, 0), EPERM));
	MUST(is_refused(syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0), EPERM));
	MUST(is_refused(syscall(SYS_keyctl, 0, 0, 0, 0, 0), EPERM));
	MUST(is_refused(syscall(SYS_init_module, NULL, 0, ""), EPERM));
	MUST(is_refused(syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0), EPERM));
	MUST(is_refused(setuid(geteuid()), EPERM));
	MUST(is_refused(setgid(getegid()), EPERM));
	MUST(is_refused(execv("/bin/true", argv), EPERM));
	MUST(is_refused(socket(AF_INET, SOCK_RAW, IPPROTO_UDP), EPERM));
	MUST(is_refused(socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP), EPERM));
	MUST(is_refused(socket(AF_PACKET, SOCK_RAW, 0), EAFNOSUPPORT));
	MUST(is_refused(socket(AF_ALG, SOCK_SEQPACKET, 0), EAFNOSUPPORT));

	fd = socket(AF_INET, SOCK_DGRAM, 0);
	MUST(fd >= 0);
	MUST(is_refused(setsockopt(fd, IPPROTO_IP, IP_HDRINCL, &on, sizeof(on)), EPERM));
	MUST(is_refused(setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)), EPERM));
	MUST(is_refused(setsockopt(fd, IPPROTO_IPV6, 36 /* IPV6_HDRINCL */, &on, sizeof(on)), EPERM));
	MUST(is_refused(setsockopt(fd, IPPROTO_RAW, 36 /* the same */, &on, sizeof(on)), EPERM));
	MUST(is_refused(setsockopt(fd, IPPROTO_IPV6, 78 /* IPV6_FREEBIND */, &on, sizeof(on)), EPERM));

	MUST(pthread_create(&thread, NULL, in_thread, &in_other) == 0);
	MUST(pthread_join(thread, NULL) == 0 && in_other);
	return 0;
}

/* What our programs live on. */
static int allows(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK };
	static const int families[] = { AF_UNIX, AF_INET, AF_INET6 };
	int r = confined(0), on = 1, status;
	pid_t child;

	if (r)
		return r;

	for (size_t f = 0; f < NBH_N_ELEMENTS(families); f++)
		for (size_t t = 0; t < NBH_N_ELEMENTS(types); t++) {
			int fd = socket(families[f], types[t], 0);

			MUST(fd >= 0 || errno == EAFNOSUPPORT); /* a kernel without IPv6 */
			MUST(fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
			MUST(fd < 0 || families[f] != AF_INET ||
			     setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) == 0);
			MUST(fd < 0 || families[f] != AF_INET6 ||
			     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0);
		}

	MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0) >= 0);
	MUST(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0) >= 0);
	child = fork();

	if (child == 0)
		_exit(7);

	MUST(child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7);
	return 0;
}

static int keeps_exec(void)
{
	char *const argv[] = { (char[]){ "true" }, NULL };
	int r = confined(NBH_CONFINE_KEEP_EXEC);

	if (r)
		return r;

	MUST(is_refused(unshare(CLONE_NEWNET), EPERM));
	execv("/bin/true", argv);
	MUST(false);
	return 1;
}

static int drops_caps(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];
	struct nbh_why why;

	MUST(nbh_confine_drop_caps(&why) == 0);
	MUST(syscall(SYS_capget, &header, caps) == 0);
	MUST(!caps[0].effective && !caps[0].permitted && !caps[0].inheritable && !caps[1].permitted);
	MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);

	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		MUST(prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 0);

	return 0;
}

/* As a unit with SystemCallFilter=~@privileged: capset() is refused, and there is nothing to drop. */
static int drops_nothing(void)
{
	struct nbh_why why = { "" };
	int r;

	MUST(nbh_confine_drop_caps(&why) == 0);
	r = confined(0);

	if (r)
		return r;

	MUST(nbh_confine_drop_caps(&why) == 0);
	return 0;
}

/* The same with something left: that is an error. */
static int cannot_drop(void)
{
	struct nbh_why why = { "" };
	int r = confined(0);

	if (r)
		return r;

	MUST(nbh_confine_drop_caps(&why) == -EPERM && strstr(why.text, "capabilities"));
	return 0;
}

static int closes_memory(void)
{
	struct rlimit limit;

	nbh_confine_memory();
	MUST(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur <= 1 && limit.rlim_max <= 1);
#ifndef __SANITIZE_ADDRESS__
	MUST(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
#endif
	return 0;
}

static void run(int (*func)(void), const char *what)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();

	if (child == 0)
		_exit(func());

	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		status = 1 << 8;

	if (WEXITSTATUS(status) == SKIPPED)
		OK(true, "%s # SKIP no filter on this architecture or kernel", what);
	else
		OK(WEXITSTATUS(status) == 0, "%s", what);
}

int main(void)
{
	run(refuses, "what nobody needs is refused");
	run(allows, "what everybody needs is not");
	run(keeps_exec, "exec can be kept");
	run(closes_memory, "no core dump");

	if (geteuid() == 0) {
		run(drops_caps, "no capability stays");
		run(drops_nothing, "none to drop, and capset() refused");
		run(cannot_drop, "some to drop, and capset() refused");
	}

	return tap_done();
}
