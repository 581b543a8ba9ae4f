/*
 * What netbird-ice cannot do any more once it has started, tried in a child process. Needs root,
 * /dev/net/tun and namespaces; skipped without.
 */
#include "config.h"

#include "ice/isolate.h"
#include "ice/tun.h"
#include "wire/stun.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/filter.h>

#define UID 61902
#define SKIPPED 77

/* In the child: a failure is a message and status 1. */
#define MUST(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "# line %d: %s (errno %d)\n", __LINE__, #what, errno); \
			return 1; \
		} \
	} while (0)

static gboolean is_refused(long r)
{
	return r < 0 && errno == EPERM;
}

static int try_sockets(const NbhRawsock *sock)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, 0xffff);
	struct sock_fprog prog = { .len = 1, .filter = &all };
	struct nbh_why why;
	int on = 1;

	/* Forged sources. */
	MUST(is_refused(setsockopt(sock->raw4, IPPROTO_IP, IP_HDRINCL, &on, sizeof(on))));
	MUST(sock->raw6 < 0 || is_refused(setsockopt(sock->raw6, IPPROTO_IPV6, IPV6_HDRINCL, &on, sizeof(on))));
	MUST(sock->raw6 < 0 || is_refused(setsockopt(sock->raw6, IPPROTO_RAW, IPV6_HDRINCL, &on, sizeof(on))));
	MUST(sock->raw6 < 0 || is_refused(setsockopt(sock->raw6, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof(on))));

	/* Other options are not meant. */
	MUST(!setsockopt(sock->raw4, SOL_SOCKET, SO_RCVBUF, &on, sizeof(on)));

	/* The rest of the host's UDP. */
	MUST(!nbh_rawsock_set_port(sock, 51820, &why));
	MUST(is_refused(setsockopt(sock->raw4, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog))));
	MUST(is_refused(setsockopt(sock->raw4, SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof(on))));
	MUST(nbh_rawsock_set_port(sock, 51821, &why));
	MUST(is_refused(socket(AF_INET, SOCK_RAW, IPPROTO_UDP)));
	MUST(socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EAFNOSUPPORT);
	MUST(setsockopt(sock->raw4, SOL_SOCKET, SO_MARK, &on, sizeof(on)));
	return 0;
}

/* Still able to do its work: send from the port, and receive only STUN to it. */
static int try_work(const NbhRawsock *sock)
{
	struct nbh_endpoint to = { { AF_INET, { 127, 0, 0, 1 } }, 51820 }, from = to;
	guint8 stun[64], buf[2048];
	gsize n = nbh_stun_make_request(stun, (const guint8 *)"0123456789ab");
	NbhPacket got;

	MUST(nbh_rawsock_natural_source(sock, &to, &from.addr));
	MUST(nbh_addr_equal(&from.addr, &to.addr));
	MUST(!nbh_rawsock_send(sock, &from, &to, (const guint8 *)"no STUN at all, long enough", 27));
	to.port = 51821;
	MUST(!nbh_rawsock_send(sock, &from, &to, stun, n));
	to.port = 51820;
	MUST(!nbh_rawsock_send(sock, &from, &to, stun, n));
	MUST(nbh_rawsock_receive(sock, sock->raw4, buf, sizeof(buf), &got) == 1);
	MUST(got.len == n && !memcmp(got.payload, stun, n));
	MUST(nbh_endpoint_equal(&got.to, &to));
	MUST(nbh_rawsock_receive(sock, sock->raw4, buf, sizeof(buf), &got) == -EAGAIN);
	return 0;
}

static int try_process(void)
{
	char *const argv[] = { (char[]){ "true" }, NULL };

	MUST(getuid() == UID && geteuid() == UID && getgid() == UID && getegid() == UID);
	MUST(setuid(0));
	MUST(is_refused(unshare(CLONE_NEWUSER)));
	MUST(is_refused(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL)));
	MUST(is_refused(execv("/bin/true", argv)));
	MUST(is_refused(syscall(SYS_io_uring_setup, 1, NULL)));
	return 0;
}

static int in_child(void)
{
	struct nbh_isolate_config config = { .fwmark = 7, .user = UID, .group = UID };
	struct nbh_isolate_result result;
	struct nbh_why why = { "" };
	int r;

	/* A network of our own, so that the loopback port is ours. */
	if (geteuid() != 0 || unshare(CLONE_NEWNET))
		return SKIPPED;

	r = nbh_isolate(&config, &result, &why);

	if (r) {
		fprintf(stderr, "# %s\n", why.text);
		return access("/dev/net/tun", R_OK | W_OK) ? SKIPPED : 1;
	}

	MUST(!strcmp(result.backend, "root-launcher"));
	MUST(result.tun >= 0);
	return try_sockets(&result.sock) || try_process();
}

/* In a namespace in which only loopback is up. */
static int in_child_at_work(void)
{
	NbhRawsock sock;
	struct nbh_why why = { "" };
	bool has_v6;
	int tun;

	if (geteuid() != 0 || unshare(CLONE_NEWNET) || access("/dev/net/tun", R_OK | W_OK))
		return SKIPPED;

	MUST(!nbh_tun_open(&tun, &has_v6, &why)); /* brings loopback up, too */
	MUST(!nbh_rawsock_open(7, &sock, &why));
	MUST(!nbh_rawsock_set_port(&sock, 51820, &why));
	return try_work(&sock);
}

static void run(int (*func)(void))
{
	int status;
	pid_t child = fork();

	g_assert_cmpint(child, >=, 0);

	if (child == 0)
		_exit(func());

	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_true(WIFEXITED(status));

	if (WEXITSTATUS(status) == SKIPPED)
		g_test_skip("needs root, network namespaces and /dev/net/tun");
	else
		g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static void test_forbidden(void)
{
	run(in_child);
}

static void test_work(void)
{
	run(in_child_at_work);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ice/isolate/forbidden", test_forbidden);
	g_test_add_func("/ice/isolate/work", test_work);
	return g_test_run();
}
