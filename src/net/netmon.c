#include "config.h"

#include "net/netmon.h"

#include "base/icetun.h"
#include "base/limits.h"
#include "base/log.h"

#include <errno.h>
#include <gio/gio.h>
#include <libmnl/libmnl.h>
#include <glib-unix.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One burst (an interface that comes up) is one change. */
#define QUIET_MS 100
#define BURST_MAX_MS 1000

#define DUMP_TRIES 4 /* a dump that changes underneath is repeated */
#define EVENT_BUFFER_BYTES (1024 * 1024)

/* Root servers: certainly somewhere in the Internet. Nothing is sent to them. */
#define FAR_IPV4 "198.41.0.4"
#define FAR_IPV6 "2001:503:ba3e::2:30"

struct _NbhNetmon {
	void (*on_change)(gpointer owner);
	gpointer owner;
	struct mnl_socket *socket; /* owned */
	guint watch_id, settle_id;
	gint64 burst_usec; /* when the burst began; 0: none */
};

typedef struct {
	guint32 index;
	char name[16];
	char mac[18];
	gboolean is_up, is_loopback;
} Link;

typedef struct {
	GArray *links;     /* Link */
	GArray *addresses; /* NbhNetmonAddress */
} Dump;

static void read_mac(const struct nlattr *attr, char mac[18])
{
	const guint8 *bytes = mnl_attr_get_payload(attr);
	static const guint8 none[6] = { 0 };

	if (mnl_attr_get_payload_len(attr) != 6 || memcmp(bytes, none, 6) == 0)
		return;
	g_snprintf(mac, 18, "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3],
		   bytes[4], bytes[5]);
}

static int on_link(const struct nlmsghdr *header, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
	const struct nlattr *attr;
	Dump *dump = data;
	Link link = { 0 };

	if (header->nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(header) < sizeof(*info))
		return MNL_CB_OK;
	link.index = (guint32)info->ifi_index;
	link.is_up = (info->ifi_flags & IFF_UP) != 0;
	link.is_loopback = (info->ifi_flags & IFF_LOOPBACK) != 0;
	mnl_attr_for_each(attr, header, sizeof(*info))
	{
		if (mnl_attr_get_type(attr) == IFLA_IFNAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			g_strlcpy(link.name, mnl_attr_get_str(attr), sizeof(link.name));
		else if (mnl_attr_get_type(attr) == IFLA_ADDRESS)
			read_mac(attr, link.mac);
	}
	g_array_append_val(dump->links, link);
	return MNL_CB_OK;
}

static const Link *find_link(const Dump *dump, guint32 index)
{
	for (guint i = 0; i < dump->links->len; i++) {
		const Link *link = &g_array_index(dump->links, Link, i);

		if (link->index == index)
			return link;
	}
	return NULL;
}

static gboolean read_address(const struct nlattr *attr, guint8 family, struct nbh_addr *ret_addr)
{
	gsize len = family == AF_INET ? 4 : 16;

	if (mnl_attr_get_payload_len(attr) != len)
		return FALSE;
	*ret_addr = (struct nbh_addr){ .family = family };
	memcpy(ret_addr->bytes, mnl_attr_get_payload(attr), len);
	return TRUE;
}

static int on_address(const struct nlmsghdr *header, void *data)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(header);
	const struct nlattr *attr;
	Dump *dump = data;
	NbhNetmonAddress address = { 0 };
	struct nbh_addr local = { 0 };
	const Link *link;
	guint32 flags;

	if (header->nlmsg_type != RTM_NEWADDR || mnl_nlmsg_get_payload_len(header) < sizeof(*info) ||
	    (info->ifa_family != AF_INET && info->ifa_family != AF_INET6) ||
	    info->ifa_prefixlen > (info->ifa_family == AF_INET ? 32 : 128))
		return MNL_CB_OK;
	flags = info->ifa_flags;
	mnl_attr_for_each(attr, header, sizeof(*info))
	{
		int type = mnl_attr_get_type(attr);

		/* On a point-to-point link IFA_ADDRESS is the far end and IFA_LOCAL is ours. */
		if (type == IFA_LOCAL)
			read_address(attr, info->ifa_family, &local);
		else if (type == IFA_ADDRESS && !local.family)
			read_address(attr, info->ifa_family, &address.local.addr);
		else if (type == IFA_FLAGS && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			flags = mnl_attr_get_u32(attr);
	}
	if (local.family)
		address.local.addr = local;
	link = find_link(dump, info->ifa_index);

	if (link && strcmp(link->name, NBH_ICETUN_NAME) == 0)
		return MNL_CB_OK; /* netbird-ice's: leads nowhere */

	/* Duplicate address detection has not finished, or found one: RFC 4862 5.4. Another event comes. */
	if (!link || !address.local.addr.family || (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)))
		return MNL_CB_OK;
	g_strlcpy(address.interface, link->name, sizeof(address.interface));
	g_strlcpy(address.mac, link->mac, sizeof(address.mac));
	address.prefix_len = info->ifa_prefixlen;
	address.is_up = link->is_up;
	address.is_loopback = link->is_loopback;
	/* IFA_F_SECONDARY is the same bit and means something else in IPv4. */
	address.local.is_temporary = info->ifa_family == AF_INET6 && (flags & IFA_F_TEMPORARY);
	address.local.is_deprecated = (flags & IFA_F_DEPRECATED) != 0;
	g_array_append_val(dump->addresses, address);
	return MNL_CB_OK;
}

/* 0 or -errno; -EINTR: changed meanwhile. */
static int dump_table(struct mnl_socket *socket, guint16 type, mnl_cb_t on_entry, Dump *dump)
{
	static unsigned sequence;
	guint8 buf[32768];
	struct nlmsghdr *header = mnl_nlmsg_put_header(buf);
	struct rtgenmsg *request;
	ssize_t n;
	int r;

	header->nlmsg_type = type;
	header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	header->nlmsg_seq = ++sequence;
	request = mnl_nlmsg_put_extra_header(header, sizeof(*request));
	request->rtgen_family = AF_UNSPEC;
	if (mnl_socket_sendto(socket, header, header->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		/* The kernel answers a dump while we ask for it: this does not wait. */
		n = mnl_socket_recvfrom(socket, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		r = mnl_cb_run(buf, (size_t)n, sequence, mnl_socket_get_portid(socket), on_entry, dump);
		/* From the message itself: it need not be a number that exists. */
		if (r < 0)
			return errno > 0 ? -errno : -EBADMSG;
		if (r == MNL_CB_STOP)
			return 0;
	}
}

static int dump_all(Dump *dump)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	int r;

	if (!socket)
		return -errno;
	r = mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
	if (r == 0)
		r = dump_table(socket, RTM_GETLINK, on_link, dump);
	if (r == 0)
		r = dump_table(socket, RTM_GETADDR, on_address, dump);
	mnl_socket_close(socket);
	return r;
}

static void mark_natural_source(GArray *addresses, const char *far)
{
	struct nbh_endpoint to = { .port = 53 };
	struct nbh_addr source;

	nbh_addr_parse(far, &to.addr);
	if (!nbh_netmon_natural_source(&to, 0, &source))
		return;
	for (guint i = 0; i < addresses->len; i++) {
		NbhNetmonAddress *address = &g_array_index(addresses, NbhNetmonAddress, i);

		if (nbh_addr_equal(&address->local.addr, &source))
			address->local.is_natural_source = TRUE;
	}
}

GArray *nbh_netmon_addresses(void)
{
	Dump dump = { g_array_new(FALSE, FALSE, sizeof(Link)),
		      g_array_new(FALSE, FALSE, sizeof(NbhNetmonAddress)) };
	int r = -EINTR;

	for (guint i = 0; i < DUMP_TRIES && r == -EINTR; i++) {
		g_array_set_size(dump.links, 0);
		g_array_set_size(dump.addresses, 0);
		r = dump_all(&dump);
	}
	if (r < 0)
		nbh_log(NBH_LOG_WARN, "net", "addresses_unknown reason=\"%s\"", g_strerror(-r));
	mark_natural_source(dump.addresses, FAR_IPV4);
	mark_natural_source(dump.addresses, FAR_IPV6);
	/* Not earlier: the array moves while it grows. */
	for (guint i = 0; i < dump.addresses->len; i++) {
		NbhNetmonAddress *address = &g_array_index(dump.addresses, NbhNetmonAddress, i);

		address->local.interface = address->interface;
	}
	g_array_unref(dump.links);
	return dump.addresses;
}

gboolean nbh_netmon_natural_source(const struct nbh_endpoint *to, guint32 fwmark, struct nbh_addr *ret_source)
{
	struct sockaddr_storage far = { 0 }, own = { 0 };
	socklen_t far_len = nbh_endpoint_to_sockaddr(to, &far), own_len = sizeof(own);
	struct nbh_endpoint source;
	gboolean ok;
	int fd = socket(to->addr.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return FALSE;
	ok = (!fwmark || setsockopt(fd, SOL_SOCKET, SO_MARK, &fwmark, sizeof(fwmark)) == 0) &&
	     connect(fd, (struct sockaddr *)&far, far_len) == 0 &&
	     getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
	     nbh_endpoint_from_sockaddr((struct sockaddr *)&own, &source) == 0;
	close(fd);
	if (ok)
		*ret_source = source.addr;
	return ok;
}

static gboolean on_settled(gpointer data)
{
	NbhNetmon *netmon = data;

	netmon->settle_id = 0;
	netmon->burst_usec = 0;
	netmon->on_change(netmon->owner);
	return G_SOURCE_REMOVE;
}

static void changed(NbhNetmon *netmon)
{
	gint64 now = g_get_monotonic_time();
	gint64 left_ms;

	if (!netmon->burst_usec)
		netmon->burst_usec = now;
	left_ms = BURST_MAX_MS - (now - netmon->burst_usec) / 1000;
	if (netmon->settle_id)
		g_source_remove(netmon->settle_id);
	netmon->settle_id = g_timeout_add((guint)CLAMP(left_ms, 0, QUIET_MS), on_settled, netmon);
}

/* Drivers of wireless cards report scans and rates as link messages. */
static gboolean is_noise(const struct nlmsghdr *header)
{
	const struct nlattr *attr;

	if (header->nlmsg_type != RTM_NEWLINK)
		return FALSE;
	mnl_attr_for_each(attr, header, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(attr) == IFLA_WIRELESS)
			return TRUE;
	}
	return FALSE;
}

static int on_event(const struct nlmsghdr *header, void *data)
{
	if (!is_noise(header))
		*(gboolean *)data = TRUE;
	return MNL_CB_OK;
}

static gboolean on_socket(gint fd, GIOCondition condition, gpointer data)
{
	NbhNetmon *netmon = data;
	gboolean is_change = FALSE;
	guint8 buf[32768];
	ssize_t n;

	(void)fd;
	(void)condition;
	while ((n = mnl_socket_recvfrom(netmon->socket, buf, sizeof(buf))) > 0)
		(void)mnl_cb_run(buf, (size_t)n, 0, 0, on_event, &is_change);
	/* The kernel dropped events: something did change. */
	if (is_change || (n < 0 && (errno == ENOBUFS || errno == ENOSPC)))
		changed(netmon);
	return G_SOURCE_CONTINUE;
}

NbhNetmon *nbh_netmon_new(void (*on_change)(gpointer owner), gpointer owner, GError **error)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
			  RTMGRP_IPV6_ROUTE;
	int size = EVENT_BUFFER_BYTES;
	NbhNetmon *netmon;

	if (!socket || mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID) < 0) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
			    "cannot listen to network changes (rtnetlink): %s", g_strerror(errno));
		if (socket)
			mnl_socket_close(socket);
		return NULL;
	}
	(void)setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	netmon = g_new0(NbhNetmon, 1);
	netmon->on_change = on_change;
	netmon->owner = owner;
	netmon->socket = socket;
	netmon->watch_id = g_unix_fd_add(mnl_socket_get_fd(socket), G_IO_IN, on_socket, netmon);
	return netmon;
}

void nbh_netmon_free(NbhNetmon *netmon)
{
	if (!netmon)
		return;
	g_source_remove(netmon->watch_id);
	if (netmon->settle_id)
		g_source_remove(netmon->settle_id);
	mnl_socket_close(netmon->socket);
	g_free(netmon);
}
