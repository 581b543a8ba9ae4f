#include "config.h"

#include "ice/tun.h"

#include "base/icetun.h"
#include "base/log.h"
#include "base/mono.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>

#define NAME "ice0"
#define IN_USE_AGAIN_MS 20 /* netbird-wg is about to finish it, or a predecessor to end */
#define LO_INDEX 1

const struct nbh_addr nbh_tun_addr4 = NBH_ICETUN_ADDR4;
const struct nbh_addr nbh_tun_addr6 = NBH_ICETUN_ADDR6;

/* Sends one request and waits for its answer. */
static int talk(struct mnl_socket *nl, struct nlmsghdr *request)
{
	char buf[8192]; /* an answer is an errno and the request again */
	ssize_t n;

	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = 1;

	if (mnl_socket_sendto(nl, request, request->nlmsg_len) < 0)
		return -errno;

	n = mnl_socket_recvfrom(nl, buf, sizeof(buf));

	if (n < 0)
		return -errno;

	/* From the message itself: it need not be a number that exists. */
	if (mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(nl), NULL, NULL) < 0)
		return errno > 0 ? -errno : -EBADMSG;

	return 0;
}

static int link_up(struct mnl_socket *nl, int index)
{
	char buf[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(request, sizeof(*link));

	request->nlmsg_type = RTM_NEWLINK;
	link->ifi_index = index;
	link->ifi_flags = link->ifi_change = IFF_UP;
	return talk(nl, request);
}

static int add_address(struct mnl_socket *nl, int index, const struct nbh_addr *addr)
{
	char buf[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(request, sizeof(*ifa));
	size_t len = addr->family == AF_INET6 ? 16 : 4;

	request->nlmsg_type = RTM_NEWADDR;
	request->nlmsg_flags = NLM_F_CREATE;
	ifa->ifa_family = addr->family;
	ifa->ifa_prefixlen = (unsigned char)(8 * len);
	ifa->ifa_index = (unsigned)index;
	ifa->ifa_flags = IFA_F_NODAD; /* usable at once */
	mnl_attr_put(request, IFA_LOCAL, len, addr->bytes);
	mnl_attr_put(request, IFA_ADDRESS, len, addr->bytes);
	return talk(nl, request);
}

static int add_default_route(struct mnl_socket *nl, int index, int family)
{
	char buf[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct rtmsg *route = mnl_nlmsg_put_extra_header(request, sizeof(*route));

	request->nlmsg_type = RTM_NEWROUTE;
	request->nlmsg_flags = NLM_F_CREATE;
	route->rtm_family = (unsigned char)family;
	route->rtm_table = RT_TABLE_MAIN;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_scope = RT_SCOPE_UNIVERSE;
	route->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(request, RTA_OIF, (uint32_t)index);
	return talk(nl, request);
}

static int configure(int index, bool *ret_has_v6)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int r;

	if (!nl)
		return -errno;

	r = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) ? -errno : 0;

	if (!r)
		r = link_up(nl, LO_INDEX);

	if (!r)
		r = link_up(nl, index);

	if (!r)
		r = add_address(nl, index, &nbh_tun_addr4);

	if (!r)
		r = add_default_route(nl, index, AF_INET);

	if (!r)
		*ret_has_v6 = !add_address(nl, index, &nbh_tun_addr6) &&
		              !add_default_route(nl, index, AF_INET6);

	mnl_socket_close(nl);
	return r;
}

static int interface_index(const struct ifreq *named)
{
	nbh_cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = *named;

	if (fd < 0 || ioctl(fd, SIOCGIFINDEX, &request))
		return -errno;

	return request.ifr_ifindex;
}

int nbh_tun_open(int *ret_fd, bool *ret_has_v6, struct nbh_why *why)
{
	struct ifreq request = { .ifr_name = NAME, .ifr_flags = IFF_TUN | IFF_NO_PI };
	nbh_cleanup_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd < 0) {
		r = -errno;
		nbh_why_set(why, "/dev/net/tun: %s%s", strerror(-r),
		            r == -ENOENT ? ": load the module tun (modprobe tun)" :
		            r == -EACCES ? ": make it 0666 (systemd-tmpfiles does), or start netbird-ice as root" : "");
		return r;
	}

	if (ioctl(fd, TUNSETIFF, &request)) {
		r = -errno;
		nbh_why_set(why, "/dev/net/tun: cannot make an interface: %s%s", strerror(-r),
		            r == -EPERM ? " (sysctl kernel.apparmor_restrict_unprivileged_userns?)" : "");
		return r;
	}

	r = interface_index(&request);

	if (r >= 0)
		r = configure(r, ret_has_v6);

	if (r < 0) {
		nbh_why_set(why, "%s: cannot configure it: %s", NAME, strerror(-r));
		return r;
	}

	*ret_fd = nbh_steal_fd(&fd);
	return 0;
}

/* -EPERM: there is none, or it is not ours; -EBUSY: somebody has it open. */
static int attach(int *ret_fd)
{
	struct ifreq request = { .ifr_name = NBH_ICETUN_NAME, .ifr_flags = IFF_TUN | IFF_NO_PI };
	nbh_cleanup_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
		return -errno;

	*ret_fd = nbh_steal_fd(&fd);
	return 0;
}

static bool has_address(const struct nbh_addr *addr)
{
	struct nbh_endpoint any = { .addr = *addr, .port = 0 };
	nbh_cleanup_close int fd = socket(addr->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage sa;
	socklen_t len = nbh_endpoint_to_sockaddr(&any, &sa);

	return fd >= 0 && !bind(fd, (struct sockaddr *)&sa, len);
}

/* Until the next change of any link, or until ms are over. */
static void wait_for_links(struct mnl_socket *nl, int64_t ms)
{
	struct pollfd pfd = { .fd = mnl_socket_get_fd(nl), .events = POLLIN };
	char buf[8192];

	if (poll(&pfd, 1, ms > 0 ? (int)ms : 0) > 0)
		(void)mnl_socket_recvfrom(nl, buf, sizeof(buf)); /* also tells of an overflow */
}

int nbh_tun_attach(int timeout_ms, int *ret_fd, bool *ret_has_v6, struct nbh_why *why)
{
	nbh_mono end = nbh_mono_add_ms(nbh_mono_now(), timeout_ms);
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	bool is_told = false;
	int r = -EIO;

	if (nl && mnl_socket_bind(nl, RTMGRP_LINK, MNL_SOCKET_AUTOPID) == 0) {
		while ((r = attach(ret_fd)) == -EPERM || r == -EBUSY) {
			int64_t left = nbh_mono_diff_ms(end, nbh_mono_now());

			if (left <= 0)
				break;

			if (!is_told)
				nbh_log(NBH_LOG_NOTICE, "ice", "waiting interface=%s", NBH_ICETUN_NAME);

			is_told = true;
			wait_for_links(nl, r == -EBUSY && left > IN_USE_AGAIN_MS ? IN_USE_AGAIN_MS : left);
		}
	}

	if (nl)
		mnl_socket_close(nl);

	if (r) {
		nbh_why_set(why, "%s: %s%s", NBH_ICETUN_NAME, strerror(-r),
		            r == -EPERM ? ": netbird-wg --ice-tun makes it" : "");
		return r;
	}

	*ret_has_v6 = has_address(&nbh_tun_addr6);
	return 0;
}
