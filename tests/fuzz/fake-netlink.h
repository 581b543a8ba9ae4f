#ifndef NBH_TESTS_FUZZ_FAKE_NETLINK_H
#define NBH_TESTS_FUZZ_FAKE_NETLINK_H

/*
 * A kernel that answers with the input: these functions stand in for libmnl's. The input is a row
 * of datagrams: two bytes of length, low one first, then netlink messages. Port and sequence
 * numbers of the messages are made right, or the readers would skip all of them.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <sys/eventfd.h>

static const uint8_t *fake_data;
static size_t fake_len;
static uint32_t fake_seq;
static int fake_fd = -1; /* always readable */

static inline void fake_kernel(const uint8_t *data, size_t len)
{
	fake_data = data;
	fake_len = len;
	if (fake_fd < 0)
		fake_fd = eventfd(1, EFD_CLOEXEC);
}

struct mnl_socket *mnl_socket_open2(int bus, int flags)
{
	(void)bus;
	(void)flags;
	return (struct mnl_socket *)&fake_fd;
}

int mnl_socket_bind(struct mnl_socket *nl, unsigned groups, pid_t pid)
{
	(void)nl;
	(void)groups;
	(void)pid;
	return 0;
}

int mnl_socket_setsockopt(const struct mnl_socket *nl, int type, void *buf, socklen_t len)
{
	(void)nl;
	(void)type;
	(void)buf;
	(void)len;
	return 0;
}

unsigned mnl_socket_get_portid(const struct mnl_socket *nl)
{
	(void)nl;
	return 0;
}

int mnl_socket_get_fd(const struct mnl_socket *nl)
{
	(void)nl;
	return fake_fd;
}

int mnl_socket_close(struct mnl_socket *nl)
{
	(void)nl;
	return 0;
}

ssize_t mnl_socket_sendto(const struct mnl_socket *nl, const void *buf, size_t len)
{
	(void)nl;
	fake_seq = ((const struct nlmsghdr *)buf)->nlmsg_seq;
	return (ssize_t)len;
}

ssize_t mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size)
{
	size_t low = fuzz_byte(&fake_data, &fake_len), high = fuzz_byte(&fake_data, &fake_len), n;
	const uint8_t *bytes = fuzz_take(&fake_data, &fake_len, low | high << 8, &n);
	struct nlmsghdr *nlh = buf;
	int left;

	(void)nl;
	if (n == 0 || n > size) {
		errno = n ? ENOSPC : EAGAIN;
		return -1;
	}

	memcpy(buf, bytes, n);
	left = (int)n;
	for (; mnl_nlmsg_ok(nlh, left); nlh = mnl_nlmsg_next(nlh, &left)) {
		/* libmnl before 1.0.5 takes these for negative. No kernel says such a length. */
		if (nlh->nlmsg_len > INT32_MAX) {
			nlh->nlmsg_len = 0;
			break;
		}
		nlh->nlmsg_seq = fake_seq;
		nlh->nlmsg_pid = 0;
	}
	return (ssize_t)n;
}

#endif
