#include "config.h"

#include "wg/genlmsg.h"

#include "wg/nl.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/wireguard.h>
#include <string.h>

#include <libmnl/libmnl.h>

/* What a message is filled into. */
struct out {
	struct nlmsghdr *nlh;
	size_t size;
};

static struct nlmsghdr *start_message(void *buf, uint16_t family, uint16_t flags, uint8_t cmd)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct genlmsghdr *genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));

	nlh->nlmsg_type = family;
	nlh->nlmsg_flags = flags;
	genl->cmd = cmd;
	genl->version = WG_GENL_VERSION;
	return nlh;
}

struct nlmsghdr *wg_genlmsg_get(uint16_t family, const char *ifname, void *buf)
{
	struct nlmsghdr *nlh = start_message(buf, family, NLM_F_REQUEST | NLM_F_DUMP, WG_CMD_GET_DEVICE);

	mnl_attr_put_strz(nlh, WGDEVICE_A_IFNAME, ifname);
	return nlh;
}

static bool put(struct out *out, uint16_t type, size_t len, const void *data)
{
	return mnl_attr_put_check(out->nlh, out->size, type, len, data);
}

static bool put_u32(struct out *out, uint16_t type, uint32_t value)
{
	return put(out, type, sizeof(value), &value);
}

static bool put_u16(struct out *out, uint16_t type, uint16_t value)
{
	return put(out, type, sizeof(value), &value);
}

static struct nlattr *nest(struct out *out, uint16_t type)
{
	return mnl_attr_nest_start_check(out->nlh, out->size, type);
}

static void put_device(struct out *out, const struct wg_plan *plan)
{
	if (plan->set_private_key)
		put(out, WGDEVICE_A_PRIVATE_KEY, NBH_KEY_LEN, plan->private_key->bytes);
	if (plan->set_listen_port)
		put_u16(out, WGDEVICE_A_LISTEN_PORT, plan->listen_port);
	if (plan->set_fwmark)
		put_u32(out, WGDEVICE_A_FWMARK, plan->fwmark);
}

static bool put_prefix(struct out *out, const struct nbh_prefix *prefix)
{
	struct nlattr *one = nest(out, 0);

	if (!one)
		return false;

	if (!put_u16(out, WGALLOWEDIP_A_FAMILY, prefix->addr.family) ||
	    !put(out, WGALLOWEDIP_A_IPADDR, prefix->addr.family == AF_INET ? 4 : 16, prefix->addr.bytes) ||
	    !put(out, WGALLOWEDIP_A_CIDR_MASK, 1, &prefix->len)) {
		mnl_attr_nest_cancel(out->nlh, one);
		return false;
	}

	mnl_attr_nest_end(out->nlh, one);
	return true;
}

/* Everything of a peer but its allowed IPs. Leaves the nest open; NULL and nothing if it does not fit. */
static struct nlattr *put_peer_head(struct out *out, const struct wg_op *op, uint32_t flags, bool first)
{
	struct nlattr *peer = nest(out, 0);
	bool ok;

	if (!peer)
		return NULL;

	ok = put(out, WGPEER_A_PUBLIC_KEY, NBH_KEY_LEN, op->public_key->bytes) &&
	     (flags == 0 || put_u32(out, WGPEER_A_FLAGS, flags));

	if (ok && first && op->set_preshared_key)
		ok = put(out, WGPEER_A_PRESHARED_KEY, NBH_KEY_LEN, op->preshared_key->bytes);

	if (ok && first && op->set_endpoint) {
		struct sockaddr_storage sa;
		socklen_t len = nbh_endpoint_to_sockaddr(&op->endpoint, &sa);

		ok = put(out, WGPEER_A_ENDPOINT, len, &sa);
	}

	if (ok && first && op->set_keepalive)
		ok = put_u16(out, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, op->keepalive_s);

	if (!ok) {
		mnl_attr_nest_cancel(out->nlh, peer);
		return NULL;
	}

	return peer;
}

static bool put_removal(struct out *out, const struct wg_op *op)
{
	static const struct wg_op bare;
	struct wg_op removal = bare;
	struct nlattr *peer;

	removal.public_key = op->public_key;
	peer = put_peer_head(out, &removal, WGPEER_F_REMOVE_ME, false);
	if (!peer)
		return false;

	mnl_attr_nest_end(out->nlh, peer);
	return true;
}

/* As many allowed IPs as fit; returns how many of the operation's are out now. */
static size_t put_prefixes(struct out *out, const struct wg_op *op, size_t from)
{
	struct nlattr *list;

	if (from == op->n_allowed_ips)
		return from;

	list = nest(out, WGPEER_A_ALLOWEDIPS);
	if (!list)
		return from;

	while (from < op->n_allowed_ips && put_prefix(out, &op->allowed_ips[from]))
		from++;

	mnl_attr_nest_end(out->nlh, list);
	return from;
}

static uint32_t op_flags(const struct wg_op *op, bool first)
{
	uint32_t flags = 0;

	/* A late update must not resurrect a removed peer: house-style.md 3.1, fact 4. */
	if (op->kind == WG_OP_UPDATE || !first)
		flags |= WGPEER_F_UPDATE_ONLY;
	if (op->replace_allowed_ips && first)
		flags |= WGPEER_F_REPLACE_ALLOWEDIPS;
	return flags;
}

/* Puts what fits of the operation at *at. False: the message is full. */
static bool put_op(struct out *out, const struct wg_op *op, struct wg_genlmsg *at)
{
	bool first = at->prefix == 0;
	uint32_t before = out->nlh->nlmsg_len;
	struct nlattr *peer;
	size_t sent;

	if (op->kind == WG_OP_REMOVE) {
		if (!put_removal(out, op))
			return false;
		at->op++;
		return true;
	}

	if (op->kind == WG_OP_READD && first && !put_removal(out, op))
		return false;

	peer = put_peer_head(out, op, op_flags(op, first), first);
	if (!peer) {
		out->nlh->nlmsg_len = before;
		return false;
	}

	sent = put_prefixes(out, op, at->prefix);
	if (sent == at->prefix && sent < op->n_allowed_ips) {
		/* Not one fitted: begin again in a fresh message, so that prefix 0 stays "first". */
		out->nlh->nlmsg_len = before;
		return false;
	}

	mnl_attr_nest_end(out->nlh, peer);
	if (sent < op->n_allowed_ips) {
		at->prefix = sent;
		return false;
	}

	at->op++;
	at->prefix = 0;
	return true;
}

int wg_genlmsg_next(struct wg_genlmsg *at, const struct wg_plan *plan, uint16_t family,
                    const char *ifname, void *buf, size_t len)
{
	bool device = !at->device_done &&
	              (plan->set_private_key || plan->set_listen_port || plan->set_fwmark);
	struct wg_genlmsg before = *at;
	struct nlattr *peers;
	struct out out = { .size = len };

	if (len < WG_GENLMSG_MIN_BYTES)
		return -ENOBUFS;

	if (!device && at->op == plan->n_ops)
		return 0;

	out.nlh = start_message(buf, family, NLM_F_REQUEST | NLM_F_ACK, WG_CMD_SET_DEVICE);
	mnl_attr_put_strz(out.nlh, WGDEVICE_A_IFNAME, ifname);
	if (device)
		put_device(&out, plan);
	at->device_done = true;

	if (at->op == plan->n_ops)
		return 1;

	peers = nest(&out, WGDEVICE_A_PEERS);
	if (!peers)
		return -ENOBUFS;

	while (at->op < plan->n_ops && put_op(&out, &plan->ops[at->op], at))
		;

	if (at->op == before.op && at->prefix == before.prefix && !device)
		return -ENOBUFS;

	mnl_attr_nest_end(out.nlh, peers);
	return 1;
}

static int parse_prefix(const struct nlattr *list_entry, struct wg_devbuild *build)
{
	struct nbh_prefix prefix = { 0 };
	const struct nlattr *attr, *addr = NULL;

	mnl_attr_for_each_nested(attr, list_entry) {
		switch (mnl_attr_get_type(attr)) {
		case WGALLOWEDIP_A_FAMILY:
			if (mnl_attr_get_payload_len(attr) >= 2)
				prefix.addr.family = (uint8_t)mnl_attr_get_u16(attr);
			break;
		case WGALLOWEDIP_A_IPADDR:
			addr = attr;
			break;
		case WGALLOWEDIP_A_CIDR_MASK:
			if (mnl_attr_get_payload_len(attr) >= 1)
				prefix.len = mnl_attr_get_u8(attr);
			break;
		default:
			break;
		}
	}

	if (!addr || (prefix.addr.family != AF_INET && prefix.addr.family != AF_INET6) ||
	    prefix.len > (prefix.addr.family == AF_INET ? 32 : 128) ||
	    mnl_attr_get_payload_len(addr) != (prefix.addr.family == AF_INET ? 4 : 16))
		return -EBADMSG;

	memcpy(prefix.addr.bytes, mnl_attr_get_payload(addr), mnl_attr_get_payload_len(addr));
	return wg_devbuild_prefix(build, &prefix);
}

static int parse_prefixes(const struct nlattr *list, struct wg_devbuild *build)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, list) {
		int r = parse_prefix(attr, build);

		if (r < 0)
			return r;
	}

	return 0;
}

static uint64_t get_u64(const struct nlattr *attr)
{
	uint64_t value = 0;

	if (mnl_attr_get_payload_len(attr) >= sizeof(value))
		memcpy(&value, mnl_attr_get_payload(attr), sizeof(value));
	return value;
}

static bool get_key(const struct nlattr *attr, struct nbh_key *ret_key)
{
	if (mnl_attr_get_payload_len(attr) != NBH_KEY_LEN)
		return false;

	memcpy(ret_key->bytes, mnl_attr_get_payload(attr), NBH_KEY_LEN);
	return true;
}

static void get_endpoint(const struct nlattr *attr, struct nbh_endpoint *endpoint)
{
	struct sockaddr_storage sa = { 0 };
	size_t len = mnl_attr_get_payload_len(attr);

	if (len > sizeof(sa))
		return;

	memcpy(&sa, mnl_attr_get_payload(attr), len);
	if ((sa.ss_family == AF_INET && len >= sizeof(struct sockaddr_in)) ||
	    (sa.ss_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)))
		nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, endpoint);
}

static void get_handshake(const struct nlattr *attr, int64_t *ret_unix_ms)
{
	int64_t time[2]; /* struct __kernel_timespec: seconds and nanoseconds, 64 bits each */

	if (mnl_attr_get_payload_len(attr) < sizeof(time))
		return;

	memcpy(time, mnl_attr_get_payload(attr), sizeof(time));
	if (time[0] < 0 || time[0] > INT64_MAX / 1000 - 1 || time[1] < 0 || time[1] > 999999999)
		return;

	*ret_unix_ms = time[0] * 1000 + time[1] / 1000000;
}

static void parse_peer_attr(const struct nlattr *attr, struct wg_peer *peer)
{
	switch (mnl_attr_get_type(attr)) {
	case WGPEER_A_PRESHARED_KEY:
		if (get_key(attr, &peer->preshared_key))
			peer->has_preshared_key = !nbh_key_is_zero(&peer->preshared_key);
		break;
	case WGPEER_A_ENDPOINT:
		get_endpoint(attr, &peer->endpoint);
		break;
	case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
		if (mnl_attr_get_payload_len(attr) >= 2)
			peer->keepalive_s = mnl_attr_get_u16(attr);
		break;
	case WGPEER_A_LAST_HANDSHAKE_TIME:
		get_handshake(attr, &peer->last_handshake_unix_ms);
		break;
	case WGPEER_A_RX_BYTES:
		peer->rx_bytes = get_u64(attr);
		break;
	case WGPEER_A_TX_BYTES:
		peer->tx_bytes = get_u64(attr);
		break;
	default:
		break;
	}
}

static int parse_peer(const struct nlattr *entry, struct wg_devbuild *build)
{
	const struct nlattr *attr, *prefixes = NULL;
	struct wg_peer *peer = NULL;
	struct nbh_key key;

	mnl_attr_for_each_nested(attr, entry) {
		if (mnl_attr_get_type(attr) == WGPEER_A_PUBLIC_KEY && get_key(attr, &key))
			peer = wg_devbuild_peer(build, &key);
		if (mnl_attr_get_type(attr) == WGPEER_A_ALLOWEDIPS)
			prefixes = attr;
	}

	if (!peer)
		return -EBADMSG;

	mnl_attr_for_each_nested(attr, entry)
		parse_peer_attr(attr, peer);

	return prefixes ? parse_prefixes(prefixes, build) : 0;
}

static int parse_peers(const struct nlattr *list, struct wg_devbuild *build)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, list) {
		int r = parse_peer(attr, build);

		if (r < 0)
			return r;
	}

	return 0;
}

int wg_genlmsg_parse(const struct nlmsghdr *nlh, struct wg_devbuild *build)
{
	struct wg_dev *dev = &build->dev;
	const struct nlattr *attr;
	int r;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(struct genlmsghdr))
		return -EBADMSG;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		switch (mnl_attr_get_type(attr)) {
		case WGDEVICE_A_PRIVATE_KEY:
			if (get_key(attr, &dev->private_key))
				dev->has_private_key = !nbh_key_is_zero(&dev->private_key);
			break;
		case WGDEVICE_A_LISTEN_PORT:
			if (mnl_attr_get_payload_len(attr) >= 2)
				dev->listen_port = mnl_attr_get_u16(attr);
			break;
		case WGDEVICE_A_FWMARK:
			if (mnl_attr_get_payload_len(attr) >= 4)
				dev->fwmark = mnl_attr_get_u32(attr);
			break;
		case WGDEVICE_A_PEERS:
			r = parse_peers(attr, build);
			if (r < 0)
				return r;
			break;
		default:
			break;
		}
	}

	return 0;
}
