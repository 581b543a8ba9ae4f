#include "config.h"

#include "wg/icetun.h"

#include "wg/nl.h"

#include "base/addr.h"
#include "base/icetun.h"
#include "base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>

#include <libmnl/libmnl.h>

#define REQUEST_BYTES 512
#define TABLE 4711
/* Behind the table "local", before everybody else's: VPNs begin at about 100. */
#define PRIORITY_FROM 90
#define PRIORITY_FORWARD 91

static const struct nbh_addr addresses[] = { NBH_ICETUN_ADDR4, NBH_ICETUN_ADDR6 };

static size_t size_of(const struct nbh_addr *addr)
{
	return addr->family == AF_INET6 ? 16 : 4;
}

/* Another process holds it: then it is made already. Closed at the end, so that ice finds all of it. */
static int open_device(uid_t owner, int *ret_fd, struct nbh_why *why)
{
	struct ifreq request = { .ifr_name = NBH_ICETUN_NAME, .ifr_flags = IFF_TUN | IFF_NO_PI };
	nbh_cleanup_close int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	int r;

	*ret_fd = -1;
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
		r = -errno;
		if (r == -EBUSY)
			return 0;
		nbh_why_set(why, "%s: /dev/net/tun: %s", NBH_ICETUN_NAME, strerror(-r));
		return r;
	}

	if (ioctl(fd, TUNSETOWNER, (unsigned long)owner) < 0 || ioctl(fd, TUNSETPERSIST, 1UL) < 0) {
		r = -errno;
		nbh_why_set(why, "%s: cannot keep it: %s", NBH_ICETUN_NAME, strerror(-r));
		return r;
	}

	*ret_fd = nbh_steal_fd(&fd);
	return 0;
}

static int set_up(struct wg_nl *nl, unsigned index, struct nbh_why *why)
{
	char buf[REQUEST_BYTES] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));

	nlh->nlmsg_type = RTM_NEWLINK;
	link->ifi_index = (int)index;
	link->ifi_flags = link->ifi_change = IFF_UP;
	return wg_nl_talk(nl, nlh, NULL, NULL, why);
}

/* Never chosen as a source by itself: of link scope, or deprecated. */
static int add_address(struct wg_nl *nl, unsigned index, const struct nbh_addr *addr,
                       struct nbh_why *why)
{
	const struct ifa_cacheinfo deprecated = { .ifa_prefered = 0, .ifa_valid = UINT32_MAX };
	char buf[REQUEST_BYTES] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));

	nlh->nlmsg_type = RTM_NEWADDR;
	nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	ifa->ifa_family = addr->family;
	ifa->ifa_prefixlen = (uint8_t)(8 * size_of(addr));
	ifa->ifa_index = index;
	ifa->ifa_flags = IFA_F_NODAD;
	ifa->ifa_scope = addr->family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	mnl_attr_put(nlh, IFA_LOCAL, size_of(addr), addr->bytes);
	mnl_attr_put(nlh, IFA_ADDRESS, size_of(addr), addr->bytes);
	if (addr->family == AF_INET6)
		mnl_attr_put(nlh, IFA_CACHEINFO, sizeof(deprecated), &deprecated);
	return wg_nl_talk(nl, nlh, NULL, NULL, why);
}

static int add_route(struct wg_nl *nl, unsigned index, uint8_t family, struct nbh_why *why)
{
	char buf[REQUEST_BYTES] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *route = mnl_nlmsg_put_extra_header(nlh, sizeof(*route));

	nlh->nlmsg_type = RTM_NEWROUTE;
	nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	route->rtm_family = family;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_scope = RT_SCOPE_UNIVERSE;
	route->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(nlh, RTA_TABLE, TABLE);
	mnl_attr_put_u32(nlh, RTA_OIF, index);
	return wg_nl_talk(nl, nlh, NULL, NULL, why);
}

static struct nlmsghdr *start_rule(char buf[REQUEST_BYTES], uint8_t family, bool add,
                                   struct fib_rule_hdr **ret_rule)
{
	struct nlmsghdr *nlh;

	memset(buf, 0, REQUEST_BYTES);
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = add ? RTM_NEWRULE : RTM_DELRULE;
	nlh->nlmsg_flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0;
	*ret_rule = mnl_nlmsg_put_extra_header(nlh, sizeof(**ret_rule));
	(*ret_rule)->family = family;
	return nlh;
}

static int talk_rule(struct wg_nl *nl, struct nlmsghdr *nlh, bool add, struct nbh_why *why)
{
	int r = wg_nl_talk(nl, nlh, NULL, NULL, why);

	return r == (add ? -EEXIST : -ENOENT) ? 0 : r;
}

/* `ip rule from ADDRESS lookup 4711`, `ip rule iif nbh-ice0 prohibit`. */
static int change_rules(struct wg_nl *nl, const struct nbh_addr *addr, bool add, struct nbh_why *why)
{
	char buf[REQUEST_BYTES];
	struct fib_rule_hdr *rule;
	struct nlmsghdr *nlh = start_rule(buf, addr->family, add, &rule);
	int r;

	rule->src_len = (uint8_t)(8 * size_of(addr));
	rule->action = FR_ACT_TO_TBL;
	mnl_attr_put(nlh, FRA_SRC, size_of(addr), addr->bytes);
	mnl_attr_put_u32(nlh, FRA_TABLE, TABLE);
	mnl_attr_put_u32(nlh, FRA_PRIORITY, PRIORITY_FROM);
	r = talk_rule(nl, nlh, add, why);
	if (r < 0)
		return r;

	nlh = start_rule(buf, addr->family, add, &rule);
	rule->action = FR_ACT_PROHIBIT;
	mnl_attr_put_strz(nlh, FRA_IIFNAME, NBH_ICETUN_NAME);
	mnl_attr_put_u32(nlh, FRA_PRIORITY, PRIORITY_FORWARD);
	return talk_rule(nl, nlh, add, why);
}

static int configure(struct wg_nl *nl, unsigned index, struct nbh_why *why)
{
	int r = set_up(nl, index, why);

	for (size_t i = 0; r == 0 && i < NBH_N_ELEMENTS(addresses); i++) {
		const struct nbh_addr *addr = &addresses[i];

		/* Before the address is there: nothing of it may ever leave by another way. */
		r = change_rules(nl, addr, true, why);
		if (r == 0)
			r = add_address(nl, index, addr, why);
		if (r == 0)
			r = add_route(nl, index, addr->family, why);
		if (r < 0 && addr->family == AF_INET6)
			return 0;
	}

	return r;
}

int wg_icetun_make(uid_t owner, struct nbh_why *why)
{
	nbh_cleanup_close int fd = -1;
	struct wg_nl nl;
	int r = open_device(owner, &fd, why);

	if (r < 0)
		return r;

	r = wg_nl_open(&nl, NETLINK_ROUTE, why);
	if (r < 0)
		return r;

	r = configure(&nl, if_nametoindex(NBH_ICETUN_NAME), why);
	wg_nl_close(&nl);
	if (r < 0)
		nbh_why_prefix(why, "%s: cannot configure it", NBH_ICETUN_NAME);
	return r;
}

int wg_icetun_remove(struct nbh_why *why)
{
	char buf[REQUEST_BYTES] = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nbh_why ignored;
	struct ifinfomsg *link;
	struct wg_nl nl;
	int r = wg_nl_open(&nl, NETLINK_ROUTE, why);

	if (r < 0)
		return r;

	for (size_t i = 0; i < NBH_N_ELEMENTS(addresses); i++)
		(void)change_rules(&nl, &addresses[i], false, &ignored);

	nlh->nlmsg_type = RTM_DELLINK;
	link = mnl_nlmsg_put_extra_header(nlh, sizeof(*link));
	link->ifi_family = AF_UNSPEC;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, NBH_ICETUN_NAME);
	r = wg_nl_talk(&nl, nlh, NULL, NULL, why);
	wg_nl_close(&nl);
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		nbh_why_prefix(why, "removing interface %s", NBH_ICETUN_NAME);
	return r;
}
