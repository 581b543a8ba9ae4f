#include "config.h"

#include "wg/addrwatch.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int wg_addrwatch_open(struct nbh_why *why)
{
	struct sockaddr_nl own = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE), r;

	if (fd >= 0 && bind(fd, (struct sockaddr *)&own, sizeof(own)) == 0)
		return fd;

	r = -errno;
	if (fd >= 0)
		close(fd);
	nbh_why_set(why, "cannot listen to address changes: %s", strerror(-r));
	return r;
}

/* NLMSG_NEXT() would step behind the end when the padding of the last message is missing. */
static bool says_gone(const char *buf, size_t len)
{
	const struct nlmsghdr *nlh;
	bool gone = false;

	for (size_t at = 0; at + sizeof(*nlh) <= len; at += NLMSG_ALIGN(nlh->nlmsg_len)) {
		nlh = (const void *)(buf + at);
		if (nlh->nlmsg_len < sizeof(*nlh) || nlh->nlmsg_len > len - at)
			break;
		gone = gone || nlh->nlmsg_type == RTM_DELADDR;
	}

	return gone;
}

bool wg_addrwatch_drain(int fd)
{
	_Alignas(struct nlmsghdr) char buf[8192];
	bool gone = false;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		gone = says_gone(buf, (size_t)n) || gone;
	}

	/* Events were dropped: one of them may have been it. */
	return gone || (n < 0 && errno == ENOBUFS);
}
