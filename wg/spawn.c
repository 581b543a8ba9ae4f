#include "config.h"

#include "wg/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_TIMEOUT_MS 10000 /* it takes about 20 ms */
#define OUTPUT_BYTES 4096

/* Ambient capabilities survive exec; as root nothing of this is needed and nothing is lost. */
static void pass_capability(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { 0 };

	if (syscall(SYS_capget, &header, caps) < 0)
		return;

	/* In a unit it is inheritable already, and capset() may be refused. */
	caps[0].inheritable |= 1u << CAP_NET_ADMIN;
	(void)!syscall(SYS_capset, &header, caps);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
}

static void __attribute__((noreturn)) run_child(const char *program, const char *ifname, int out)
{
	char *const environment[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, NULL };
	char *argv[] = { (char *)program, (char *)ifname, NULL };
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	pass_capability();
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(out, 2) < 0)
		_exit(126);
	execve(program, argv, environment);
	_exit(127);
}

/* Keeps the beginning of what the program says; returns false when it takes too long. */
static bool collect(int fd, char *text, size_t size)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char rest[512];
	size_t used = 0;

	for (;;) {
		bool full = used + 1 >= size;
		ssize_t n;

		if (poll(&pfd, 1, START_TIMEOUT_MS) <= 0)
			return false;

		n = read(fd, full ? rest : text + used, full ? sizeof(rest) : size - 1 - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		if (!full)
			used += (size_t)n;
	}

	text[used] = '\0';
	return true;
}

/* Of several lines the last one says what went wrong. */
static const char *last_line(char *text)
{
	size_t len = strlen(text);
	char *line;

	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';

	line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

static int check_tun(struct nbh_why *why)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	int r;

	if (fd >= 0) {
		close(fd);
		return 0;
	}

	r = -errno;
	if (r == -EACCES || r == -EPERM)
		nbh_why_set(why, "/dev/net/tun: not allowed; chmod 0666 /dev/net/tun, or run as root");
	else
		nbh_why_set(why, "/dev/net/tun: %s; modprobe tun, give the device to the container, or"
		            " the unit its wg-userspace.conf",
		            strerror(-r));
	return r == -EACCES || r == -EPERM ? -EPERM : -EPROTONOSUPPORT;
}

static int wait_for(pid_t pid, bool in_time, struct nbh_why *why, char *said)
{
	int status = 0;

	if (!in_time)
		kill(pid, SIGKILL);

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;

	if (!in_time) {
		nbh_why_set(why, "wireguard-go did not start within %d s", START_TIMEOUT_MS / 1000);
		return -ETIMEDOUT;
	}

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;

	nbh_why_set(why, "wireguard-go failed: %.120s", last_line(said));
	return -EIO;
}

int wg_spawn_wireguard_go(const char *program, const char *ifname, struct nbh_why *why)
{
	char said[OUTPUT_BYTES] = "";
	bool in_time;
	int out[2], r;
	pid_t pid;

	r = check_tun(why);
	if (r < 0)
		return r;

	if (access(program, X_OK) < 0) {
		nbh_why_set(why, "%s is missing: install wireguard-go, or remove \"userspace\" from"
		            " device.json", program);
		return -EPROTONOSUPPORT;
	}

	/* It makes this directory as well; we do it first so that the message is ours. */
	if (mkdir("/run/wireguard", 0755) < 0 && errno != EEXIST) {
		nbh_why_set(why, "/run/wireguard: cannot make it (%s); make it, owned by our user",
		            strerror(errno));
		return -EPERM;
	}

	if (access("/run/wireguard", W_OK) < 0) {
		nbh_why_set(why, "/run/wireguard: not writable for us; give it to our user");
		return -EPERM;
	}

	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;

	pid = fork();
	if (pid == 0)
		run_child(program, ifname, out[1]);

	close(out[1]);
	if (pid < 0) {
		r = -errno;
		nbh_why_set(why, "cannot start wireguard-go: %s", strerror(-r));
	} else {
		in_time = collect(out[0], said, sizeof(said));
		r = wait_for(pid, in_time, why, said);
	}

	close(out[0]);
	return r;
}
