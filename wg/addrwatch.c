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

bool wg_addrwatch_drain(int fd)
{
	_Alignas(struct nlmsghdr) char buf[8192];
	bool gone = false;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		unsigned left = (unsigned)n;

		for (const struct nlmsghdr *nlh = (const void *)buf; NLMSG_OK(nlh, left); nlh = NLMSG_NEXT(nlh, left))
			gone = gone || nlh->nlmsg_type == RTM_DELADDR;
	}

	/* Events were dropped: one of them may have been it. */
	return gone || (n < 0 && errno == ENOBUFS);
}
