#include "config.h"

#include "wg/link.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include <libmnl/libmnl.h>

#define REQUEST_BYTES 512

int wg_link_open(struct wg_link *link, const char *ifname, struct nbh_why *why)
{
	size_t len = strlen(ifname);

	if (len == 0 || len >= sizeof(link->ifname)) {
		nbh_why_set(why, "interface name of %zu bytes", len);
		return -EINVAL;
	}

	memset(link, 0, sizeof(*link));
	memcpy(link->ifname, ifname, len + 1);
	return wg_nl_open(&link->nl, NETLINK_ROUTE, why);
}

void wg_link_close(struct wg_link *link)
{
	wg_nl_close(&link->nl);
}

static struct nlmsghdr *start(void *buf, uint16_t type, uint16_t flags, struct ifinfomsg **ret_ifi)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = flags;
	*ret_ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(**ret_ifi));
	(*ret_ifi)->ifi_family = AF_UNSPEC;
	return nlh;
}

static void get_kind(const struct nlattr *info, struct wg_dev *dev)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, info) {
		if (mnl_attr_get_type(attr) != IFLA_INFO_KIND ||
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0 ||
		    mnl_attr_get_payload_len(attr) > sizeof(dev->kind))
			continue;

		memcpy(dev->kind, mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));
	}
}

static int on_link(const struct nlmsghdr *nlh, void *data)
{
	struct wg_dev *dev = data;
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi))
		return -EBADMSG;

	dev->exists = true;
	dev->ifindex = (uint32_t)ifi->ifi_index;
	dev->is_up = ifi->ifi_flags & IFF_UP;
	mnl_attr_for_each(attr, nlh, sizeof(*ifi)) {
		if (mnl_attr_get_type(attr) == IFLA_MTU && mnl_attr_get_payload_len(attr) >= 4)
			dev->mtu = mnl_attr_get_u32(attr);
		if (mnl_attr_get_type(attr) == IFLA_LINKINFO)
			get_kind(attr, dev);
	}

	return 0;
}

static int on_address(const struct nlmsghdr *nlh, void *data)
{
	struct wg_devbuild *build = data;
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr, *address = NULL;
	struct nbh_prefix prefix = { 0 };

	if (nlh->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifa))
		return -EBADMSG;

	if (ifa->ifa_index != build->dev.ifindex ||
	    (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6))
		return 0;

	/* IFA_LOCAL is ours where the two differ (IPv4 point to point). */
	mnl_attr_for_each(attr, nlh, sizeof(*ifa))
		if (mnl_attr_get_type(attr) == IFA_LOCAL ||
		    (mnl_attr_get_type(attr) == IFA_ADDRESS && !address))
			address = attr;

	if (!address || mnl_attr_get_payload_len(address) != (ifa->ifa_family == AF_INET ? 4 : 16) ||
	    ifa->ifa_prefixlen > (ifa->ifa_family == AF_INET ? 32 : 128))
		return -EBADMSG;

	prefix.addr.family = ifa->ifa_family;
	prefix.len = ifa->ifa_prefixlen;
	memcpy(prefix.addr.bytes, mnl_attr_get_payload(address), mnl_attr_get_payload_len(address));
	return wg_devbuild_address(build, &prefix);
}

int wg_link_read(struct wg_link *link, struct wg_devbuild *build, struct nbh_why *why)
{
	char buf[REQUEST_BYTES] = { 0 }; /* attributes are padded with what is in it */
	struct ifinfomsg *ifi;
	struct ifaddrmsg *ifa;
	struct nlmsghdr *nlh;
	int r;

	nlh = start(buf, RTM_GETLINK, 0, &ifi);
	mnl_attr_put_strz(nlh, IFLA_IFNAME, link->ifname);
	r = wg_nl_talk(&link->nl, nlh, on_link, &build->dev, why);
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		goto fail;

	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = RTM_GETADDR;
	nlh->nlmsg_flags = NLM_F_DUMP;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = AF_UNSPEC;
	r = wg_nl_talk(&link->nl, nlh, on_address, build, why);
	if (r == 0)
		return 0;
fail:
	nbh_why_prefix(why, "reading interface %s", link->ifname);
	return r;
}

int wg_link_create(struct wg_link *link, const char *kind, struct nbh_why *why)
{
	char buf[REQUEST_BYTES] = { 0 };
	struct ifinfomsg *ifi;
	struct nlmsghdr *nlh = start(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &ifi);
	struct nlattr *info;
	int r;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, link->ifname);
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, kind);
	mnl_attr_nest_end(nlh, info);
	r = wg_nl_talk(&link->nl, nlh, NULL, NULL, why);
	if (r < 0)
		nbh_why_prefix(why, "creating interface %s", link->ifname);
	return r;
}

int wg_link_remove(struct wg_link *link, struct nbh_why *why)
{
	char buf[REQUEST_BYTES] = { 0 };
	struct ifinfomsg *ifi;
	struct nlmsghdr *nlh = start(buf, RTM_DELLINK, 0, &ifi);
	int r;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, link->ifname);
	r = wg_nl_talk(&link->nl, nlh, NULL, NULL, why);
	if (r == -ENODEV)
		return 0;
	if (r < 0)
		nbh_why_prefix(why, "removing interface %s", link->ifname);
	return r;
}

int wg_link_apply_mtu(struct wg_link *link, const struct wg_plan *plan, struct nbh_why *why)
{
	char buf[REQUEST_BYTES] = { 0 };
	struct ifinfomsg *ifi;
	struct nlmsghdr *nlh;
	int r;

	if (!plan->set_mtu)
		return 0;

	nlh = start(buf, RTM_NEWLINK, 0, &ifi);
	mnl_attr_put_strz(nlh, IFLA_IFNAME, link->ifname);
	mnl_attr_put_u32(nlh, IFLA_MTU, plan->mtu);
	r = wg_nl_talk(&link->nl, nlh, NULL, NULL, why);
	if (r < 0)
		nbh_why_prefix(why, "setting MTU %u on %s", plan->mtu, link->ifname);
	return r;
}

static int change_address(struct wg_link *link, uint32_t ifindex, const struct nbh_prefix *address,
                          bool add, struct nbh_why *why)
{
	size_t len = address->addr.family == AF_INET ? 4 : 16;
	char buf[REQUEST_BYTES] = { 0 }, text[NBH_PREFIX_TEXT_MAX];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *ifa;
	int r;

	nlh->nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
	nlh->nlmsg_flags = add ? NLM_F_CREATE | NLM_F_EXCL : 0;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = address->addr.family;
	ifa->ifa_prefixlen = address->len;
	ifa->ifa_index = ifindex;
	/* There is nobody to detect duplicates with, and a tentative address cannot send. */
	ifa->ifa_flags = add && address->addr.family == AF_INET6 ? IFA_F_NODAD : 0;
	mnl_attr_put(nlh, IFA_LOCAL, len, address->addr.bytes);
	mnl_attr_put(nlh, IFA_ADDRESS, len, address->addr.bytes);
	r = wg_nl_talk(&link->nl, nlh, NULL, NULL, why);
	if (r == (add ? -EEXIST : -EADDRNOTAVAIL))
		return 0;
	if (r < 0)
		nbh_why_prefix(why, "%s address %s %s %s", add ? "adding" : "removing",
		               nbh_prefix_format(address, text), add ? "to" : "from", link->ifname);
	return r;
}

static int apply_addresses(struct wg_link *link, const struct wg_plan *plan, struct nbh_why *why)
{
	uint32_t ifindex;
	int first = 0;

	if (plan->n_remove_addresses == 0 && plan->n_add_addresses == 0)
		return 0;

	ifindex = if_nametoindex(link->ifname);
	if (ifindex == 0) {
		nbh_why_set(why, "interface %s disappeared", link->ifname);
		return -ENODEV;
	}

	/* Removed first: the first address of a network takes the later ones with it when it goes. */
	for (size_t i = 0; i < plan->n_remove_addresses; i++) {
		int r = change_address(link, ifindex, &plan->remove_addresses[i], false,
		                       first == 0 ? why : NULL);

		first = first ? first : r;
	}

	for (size_t i = 0; i < plan->n_add_addresses; i++) {
		int r = change_address(link, ifindex, &plan->add_addresses[i], true,
		                       first == 0 ? why : NULL);

		first = first ? first : r;
	}

	return first;
}

static int apply_up(struct wg_link *link, const struct wg_plan *plan, struct nbh_why *why)
{
	char buf[REQUEST_BYTES] = { 0 };
	struct ifinfomsg *ifi;
	struct nlmsghdr *nlh;
	int r;

	if (!plan->set_up)
		return 0;

	nlh = start(buf, RTM_NEWLINK, 0, &ifi);
	ifi->ifi_change = IFF_UP;
	ifi->ifi_flags = IFF_UP;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, link->ifname);
	r = wg_nl_talk(&link->nl, nlh, NULL, NULL, why);
	if (r == -EADDRINUSE)
		nbh_why_set(why, "UDP port %u is in use; choose another listenPort", plan->listen_port);
	else if (r < 0)
		nbh_why_prefix(why, "bringing up interface %s", link->ifname);
	return r;
}

int wg_link_apply_rest(struct wg_link *link, const struct wg_plan *plan, struct nbh_why *why)
{
	struct nbh_why address_why = { "" };
	int address_r = apply_addresses(link, plan, &address_why);
	int r = apply_up(link, plan, why);

	if (r == 0 && address_r < 0)
		nbh_why_set(why, "%s", address_why.text);
	return r < 0 ? r : address_r;
}
