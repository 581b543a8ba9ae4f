/* wg/genlmsg.c: what is put comes back, however it is split; garbage does no harm. */
#include "config.h"

#include "wg/genlmsg.h"
#include "wg/nl.h"
#include "wg/uapimsg.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>

#define FAMILY 0x1c

static struct nbh_key key_of(unsigned n)
{
	struct nbh_key key = { { 0 } };

	key.bytes[0] = (uint8_t)(1 + (n >> 16));
	key.bytes[1] = (uint8_t)(n >> 8);
	key.bytes[2] = (uint8_t)n;
	return key;
}

static struct nbh_prefix prefix_of(unsigned n, bool v6)
{
	struct nbh_prefix prefix;

	if (nbh_prefix_parse(v6 ? "fd00::/128" : "10.0.0.0/32", &prefix) < 0)
		abort();
	prefix.addr.bytes[v6 ? 14 : 2] = (uint8_t)(n >> 8);
	prefix.addr.bytes[v6 ? 15 : 3] = (uint8_t)n;
	return prefix;
}

static struct nbh_endpoint endpoint_of(const char *text)
{
	struct nbh_endpoint endpoint;

	if (nbh_endpoint_parse(text, &endpoint) < 0)
		abort();
	return endpoint;
}

/* What the entries of all messages say, in order. */
struct entry {
	struct nbh_key key;
	uint32_t flags;
	bool has_endpoint, has_keepalive, has_preshared_key;
	unsigned message;
	size_t first_prefix, n_prefixes;
};

static struct {
	struct entry entries[16384];
	size_t n;
	struct nbh_prefix prefixes[8192];
	size_t n_prefixes;
	unsigned n_messages, n_device;
} seen;

static void see_prefix(const struct nlattr *one)
{
	struct nbh_prefix *prefix = &seen.prefixes[seen.n_prefixes++];
	const struct nlattr *attr;

	memset(prefix, 0, sizeof(*prefix));
	mnl_attr_for_each_nested(attr, one) {
		if (mnl_attr_get_type(attr) == WGALLOWEDIP_A_FAMILY)
			prefix->addr.family = (uint8_t)mnl_attr_get_u16(attr);
		if (mnl_attr_get_type(attr) == WGALLOWEDIP_A_CIDR_MASK)
			prefix->len = mnl_attr_get_u8(attr);
		if (mnl_attr_get_type(attr) == WGALLOWEDIP_A_IPADDR)
			memcpy(prefix->addr.bytes, mnl_attr_get_payload(attr), mnl_attr_get_payload_len(attr));
	}
}

static void see_peer(const struct nlattr *one)
{
	struct entry *entry = &seen.entries[seen.n++];
	const struct nlattr *attr, *prefix;

	memset(entry, 0, sizeof(*entry));
	entry->message = seen.n_messages;
	entry->first_prefix = seen.n_prefixes;
	mnl_attr_for_each_nested(attr, one) {
		switch (mnl_attr_get_type(attr)) {
		case WGPEER_A_PUBLIC_KEY:
			memcpy(entry->key.bytes, mnl_attr_get_payload(attr), NBH_KEY_LEN);
			break;
		case WGPEER_A_FLAGS:
			entry->flags = mnl_attr_get_u32(attr);
			break;
		case WGPEER_A_ENDPOINT:
			entry->has_endpoint = true;
			break;
		case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL:
			entry->has_keepalive = true;
			break;
		case WGPEER_A_PRESHARED_KEY:
			entry->has_preshared_key = true;
			break;
		case WGPEER_A_ALLOWEDIPS:
			mnl_attr_for_each_nested(prefix, attr)
				see_prefix(prefix);
			break;
		default:
			break;
		}
	}
	entry->n_prefixes = seen.n_prefixes - entry->first_prefix;
}

static void see_message(const struct nlmsghdr *nlh)
{
	const struct nlattr *attr, *peer;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr)) {
		if (mnl_attr_get_type(attr) == WGDEVICE_A_PRIVATE_KEY ||
		    mnl_attr_get_type(attr) == WGDEVICE_A_LISTEN_PORT ||
		    mnl_attr_get_type(attr) == WGDEVICE_A_FWMARK)
			seen.n_device++;
		if (mnl_attr_get_type(attr) == WGDEVICE_A_PEERS)
			mnl_attr_for_each_nested(peer, attr)
				see_peer(peer);
	}
	seen.n_messages++;
}

/* Puts the whole plan into messages of at most size bytes and looks at them. */
static int see_plan(const struct wg_plan *plan, size_t size)
{
	struct wg_genlmsg at = { 0 };
	char *buf = malloc(size);
	int r;

	if (!buf)
		abort();

	memset(&seen, 0, sizeof(seen));
	while ((r = wg_genlmsg_next(&at, plan, FAMILY, "nbh0", buf, size)) == 1) {
		struct nlmsghdr *nlh = (struct nlmsghdr *)buf;

		if (nlh->nlmsg_len > size || nlh->nlmsg_type != FAMILY ||
		    !(nlh->nlmsg_flags & NLM_F_ACK))
			abort();
		see_message(nlh);
	}

	free(buf);
	return r;
}

static uint32_t flags_of(const struct wg_op *op, bool first)
{
	uint32_t flags = 0;

	if (op->kind == WG_OP_UPDATE || !first)
		flags |= WGPEER_F_UPDATE_ONLY;
	if (op->replace_allowed_ips && first)
		flags |= WGPEER_F_REPLACE_ALLOWEDIPS;
	return flags;
}

/* One operation must be the next entries; returns how many, 0: wrong. */
static size_t match_op(const struct wg_op *op, size_t at)
{
	size_t start = at, done = 0;
	bool first = true;

	if (op->kind == WG_OP_REMOVE || op->kind == WG_OP_READD) {
		const struct entry *e = &seen.entries[at++];

		if (nbh_key_compare(&e->key, op->public_key) != 0 || e->flags != WGPEER_F_REMOVE_ME ||
		    e->n_prefixes || e->has_endpoint)
			return 0;
		if (op->kind == WG_OP_REMOVE)
			return 1;
		if (seen.entries[at].message != e->message) /* removed and added again at once */
			return 0;
	}

	do {
		const struct entry *e = &seen.entries[at++];

		if (at > seen.n || nbh_key_compare(&e->key, op->public_key) != 0 ||
		    e->flags != flags_of(op, first) ||
		    e->has_endpoint != (first && op->set_endpoint) ||
		    e->has_keepalive != (first && op->set_keepalive) ||
		    e->has_preshared_key != (first && op->set_preshared_key) ||
		    done + e->n_prefixes > op->n_allowed_ips ||
		    (!first && e->n_prefixes == 0))
			return 0;

		for (size_t i = 0; i < e->n_prefixes; i++)
			if (nbh_prefix_compare(&seen.prefixes[e->first_prefix + i],
			                       &op->allowed_ips[done + i]) != 0)
				return 0;
		done += e->n_prefixes;
		first = false;
	} while (done < op->n_allowed_ips);

	return at - start;
}

static bool match_plan(const struct wg_plan *plan)
{
	size_t at = 0;

	for (size_t i = 0; i < plan->n_ops; i++) {
		size_t n = match_op(&plan->ops[i], at);

		if (n == 0) {
			printf("# operation %zu, entry %zu\n", i, at);
			return false;
		}
		at += n;
	}

	return at == seen.n;
}

#define N_OPS 24
#define N_PREFIXES 700

/* Every kind, with and without everything that an operation can carry, few and many prefixes. */
static void make_plan(struct wg_plan *plan, struct wg_op ops[N_OPS], struct nbh_key keys[N_OPS],
                      const struct nbh_key *psk, const struct nbh_prefix *prefixes)
{
	static const size_t counts[] = { 0, 1, 17, N_PREFIXES };

	memset(plan, 0, sizeof(*plan));
	memset(ops, 0, N_OPS * sizeof(*ops));
	for (unsigned i = 0; i < N_OPS; i++) {
		keys[i] = key_of(i);
		ops[i].kind = (enum wg_op_kind)(i % WG_OP_N_KINDS);
		ops[i].public_key = &keys[i];
		if (ops[i].kind == WG_OP_REMOVE)
			continue;
		ops[i].set_endpoint = i & 4;
		ops[i].endpoint = endpoint_of(i & 8 ? "[2001:db8::1]:7" : "192.0.2.1:7");
		ops[i].set_keepalive = i & 8;
		ops[i].keepalive_s = 25;
		ops[i].set_preshared_key = i & 16;
		ops[i].preshared_key = psk;
		ops[i].replace_allowed_ips = ops[i].kind == WG_OP_UPDATE && i & 8;
		ops[i].allowed_ips = prefixes;
		ops[i].n_allowed_ips = counts[(i / WG_OP_N_KINDS) % 4];
	}
	plan->ops = ops;
	plan->n_ops = N_OPS;
}

static void test_split(void)
{
	struct nbh_key keys[N_OPS], psk = key_of(9999), private_key = key_of(8888);
	struct nbh_prefix prefixes[N_PREFIXES];
	struct wg_op ops[N_OPS];
	struct wg_plan plan;
	unsigned bad = 0, n = 0;

	for (unsigned i = 0; i < N_PREFIXES; i++)
		prefixes[i] = prefix_of(i, i % 3 == 0);
	make_plan(&plan, ops, keys, &psk, prefixes);
	plan.set_private_key = plan.set_listen_port = plan.set_fwmark = true;
	plan.private_key = &private_key;

	for (size_t size = WG_GENLMSG_MIN_BYTES; size <= WG_NL_MESSAGE_MAX_BYTES;
	     size += size < 2048 ? 4 : 1021) {
		n++;
		if (see_plan(&plan, size) != 0 || !match_plan(&plan) || seen.n_device != 3)
			bad++;
	}
	OK(bad == 0, "every operation arrives whole, at %u sizes of message (%u wrong)", n, bad);
	OK(see_plan(&plan, WG_GENLMSG_MIN_BYTES - 1) == -ENOBUFS, "a buffer that is too small is refused");

	memset(&plan, 0, sizeof(plan));
	OK(see_plan(&plan, 4096) == 0 && seen.n_messages == 0, "an empty plan makes no message");
	plan.set_mtu = plan.set_up = true;
	OK(see_plan(&plan, 4096) == 0 && seen.n_messages == 0, "nor one for the link alone");
	plan.set_fwmark = true;
	OK(see_plan(&plan, 4096) == 0 && seen.n_messages == 1 && seen.n == 0, "a mark makes one");
}

static void test_many(void)
{
	static struct nbh_key keys[4096];
	static struct wg_op ops[4096];
	struct nbh_prefix prefix = prefix_of(1, false);
	struct wg_plan plan = { .ops = ops, .n_ops = 4096 };

	for (unsigned i = 0; i < 4096; i++) {
		keys[i] = key_of(i);
		ops[i] = (struct wg_op){ .kind = WG_OP_ADD, .public_key = &keys[i], .set_endpoint = true,
			.endpoint = endpoint_of("192.0.2.1:7"), .allowed_ips = &prefix, .n_allowed_ips = 1 };
	}

	OK(see_plan(&plan, WG_NL_MESSAGE_MAX_BYTES) == 0 && match_plan(&plan), "4096 peers");
	OK(seen.n_messages > 8 && seen.n_messages < 32, "in a few messages (%u)", seen.n_messages);
}

/* A set message has the attributes of a dump: what we put can be read back as a device. */
static size_t make_dump(char *buf, size_t size)
{
	struct nbh_key keys[2] = { key_of(2), key_of(1) }, psk = key_of(9), private_key = key_of(8);
	struct nbh_prefix prefixes[3] = { prefix_of(2, false), prefix_of(1, false), prefix_of(1, true) };
	struct wg_op ops[2] = {
		{ .kind = WG_OP_ADD, .public_key = &keys[0], .set_endpoint = true,
		  .endpoint = endpoint_of("[2001:db8::7]:9"), .set_keepalive = true, .keepalive_s = 13,
		  .set_preshared_key = true, .preshared_key = &psk, .allowed_ips = prefixes,
		  .n_allowed_ips = 3 },
		{ .kind = WG_OP_ADD, .public_key = &keys[1], .set_endpoint = true,
		  .endpoint = endpoint_of("192.0.2.5:6") },
	};
	struct wg_plan plan = { .ops = ops, .n_ops = 2, .set_private_key = true, .set_fwmark = true,
		                    .set_listen_port = true, .private_key = &private_key,
		                    .listen_port = 777, .fwmark = 99 };
	struct wg_genlmsg at = { 0 };

	if (wg_genlmsg_next(&at, &plan, FAMILY, "nbh0", buf, size) != 1)
		abort();
	return ((struct nlmsghdr *)buf)->nlmsg_len;
}

static void test_parse(void)
{
	struct wg_devbuild build = { 0 };
	struct nbh_key psk = key_of(9), private_key = key_of(8), one = key_of(1);
	char buf[4096], text[NBH_ENDPOINT_TEXT_MAX];
	struct wg_dev dev;

	make_dump(buf, sizeof(buf));
	OK_INT(wg_genlmsg_parse((struct nlmsghdr *)buf, &build), 0, "parse");
	wg_devbuild_finish(&build, &dev);
	OK(dev.has_private_key && nbh_key_equal(&dev.private_key, &private_key) &&
	   dev.listen_port == 777 && dev.fwmark == 99 && dev.n_peers == 2, "the device");
	OK(nbh_key_compare(&dev.peers[0].public_key, &one) == 0, "peers are sorted");
	OK_STR(nbh_endpoint_format(&dev.peers[0].endpoint, text), "192.0.2.5:6", "IPv4 endpoint");
	OK_STR(nbh_endpoint_format(&dev.peers[1].endpoint, text), "[2001:db8::7]:9", "IPv6 endpoint");
	OK(dev.peers[1].keepalive_s == 13 && dev.peers[1].has_preshared_key &&
	   nbh_key_equal(&dev.peers[1].preshared_key, &psk), "keepalive and pre-shared key");
	OK(dev.peers[1].n_allowed_ips == 3 &&
	   nbh_prefix_compare(&dev.peers[1].allowed_ips[0], &dev.peers[1].allowed_ips[1]) < 0 &&
	   nbh_prefix_compare(&dev.peers[1].allowed_ips[1], &dev.peers[1].allowed_ips[2]) < 0,
	   "allowed IPs are sorted");
	wg_dev_clear(&dev);
}

/* The kernel continues a peer in the next message with its key and more allowed IPs only. */
static void test_continued(void)
{
	struct nbh_prefix prefixes[40];
	struct nbh_key keys[2] = { key_of(1), key_of(2) };
	struct wg_op ops[2] = {
		{ .kind = WG_OP_ADD, .public_key = &keys[0], .allowed_ips = prefixes, .n_allowed_ips = 40 },
		{ .kind = WG_OP_ADD, .public_key = &keys[1], .allowed_ips = prefixes, .n_allowed_ips = 40 },
	};
	struct wg_plan plan = { .ops = ops, .n_ops = 2 };
	struct wg_devbuild build = { 0 };
	struct wg_genlmsg at = { 0 };
	char buf[WG_GENLMSG_MIN_BYTES];
	struct wg_dev dev;
	unsigned n = 0;

	for (unsigned i = 0; i < 40; i++)
		prefixes[i] = prefix_of(i, true);
	while (wg_genlmsg_next(&at, &plan, FAMILY, "nbh0", buf, sizeof(buf)) == 1) {
		n++;
		if (wg_genlmsg_parse((struct nlmsghdr *)buf, &build) < 0)
			abort();
	}
	wg_devbuild_finish(&build, &dev);
	OK(n > 4 && dev.n_peers == 2 && dev.peers[0].n_allowed_ips == 40 &&
	   dev.peers[1].n_allowed_ips == 40 &&
	   nbh_prefix_compare(&dev.peers[1].allowed_ips[39], &prefixes[39]) == 0,
	   "peers over %u messages are put together", n);
	wg_dev_clear(&dev);
}

/* Under the sanitizers: no byte of a damaged message makes us read where we must not. */
static void test_garbage(void)
{
	char good[4096];
	size_t len = make_dump(good, sizeof(good));
	unsigned n = 0;

	for (size_t i = sizeof(struct nlmsghdr); i < len; i++) {
		for (unsigned change = 0; change < 4; change++) {
			static const uint8_t values[] = { 0, 1, 0x7f, 0xff };
			struct wg_devbuild build = { 0 };
			char *bad = malloc(len);

			if (!bad)
				abort();
			memcpy(bad, good, len);
			bad[i] = (char)values[change];
			wg_genlmsg_parse((struct nlmsghdr *)bad, &build);
			wg_devbuild_clear(&build);
			free(bad);
			n++;
		}
	}
	OK(n > 1000, "%u damaged messages", n);
}

/* The UAPI's text of the same operations, and its answers. */
static void test_uapi(void)
{
	struct nbh_key key = key_of(0), psk = key_of(1);
	struct nbh_prefix prefix = prefix_of(5, false);
	struct wg_op ops[] = {
		{ .kind = WG_OP_REMOVE, .public_key = &key },
		{ .kind = WG_OP_UPDATE, .public_key = &key, .set_endpoint = true,
		  .endpoint = endpoint_of("[2001:db8::1]:7"), .set_keepalive = true },
		{ .kind = WG_OP_READD, .public_key = &key, .set_preshared_key = true, .preshared_key = &psk,
		  .allowed_ips = &prefix, .n_allowed_ips = 1 },
		{ .kind = WG_OP_UPDATE, .public_key = &key, .replace_allowed_ips = true },
	};
	struct wg_plan plan = { .ops = ops, .n_ops = 4 };
	const char *hex = "0100000000000000000000000000000000000000000000000000000000000000";
	char wanted[2048], *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	snprintf(wanted, sizeof(wanted),
	         "public_key=%s\nremove=true\n"
	         "public_key=%s\nupdate_only=true\nendpoint=[2001:db8::1]:7\n"
	         "persistent_keepalive_interval=0\n"
	         "public_key=%s\nremove=true\npublic_key=%s\n"
	         "preshared_key=010001%s\nallowed_ip=10.0.0.5/32\n"
	         "public_key=%s\nupdate_only=true\nreplace_allowed_ips=true\n",
	         hex, hex, hex, hex, hex + 6, hex);
	wg_uapimsg_peers(&plan, out);
	fclose(out);
	OK_STR(text, wanted, "UAPI text");
	free(text);
}

static void test_uapi_answers(void)
{
	static const struct {
		const char *line;
		bool good;
	} table[] = {
		{ "private_key=0100000000000000000000000000000000000000000000000000000000000000", true },
		{ "listen_port=51820", true }, { "unknown=1", true },
		{ "public_key=0200000000000000000000000000000000000000000000000000000000000000", true },
		{ "endpoint=[fe80::1%eth0]:5", true }, { "endpoint=[fe80::1%eth0", false },
		{ "endpoint=nonsense", false }, { "allowed_ip=10.0.0.0/8", true },
		{ "allowed_ip=10.0.0.0/33", false }, { "no equals sign", false },
		{ "public_key=02", false }, { "preshared_key=zz", false }, { "errno=-98", true },
		{ "errno=x", false }, { "last_handshake_time_sec=1700000000", true },
		{ "rx_bytes=18446744073709551615", true }, { "", false },
	};
	struct wg_uapiparse parse = { 0 };
	struct wg_devbuild build = { 0 };
	struct wg_dev dev;

	for (size_t i = 0; i < NBH_N_ELEMENTS(table); i++) {
		char line[128];

		snprintf(line, sizeof(line), "%s", table[i].line);
		OK((wg_uapimsg_parse(&parse, line, &build) == 0) == table[i].good, "line \"%s\"",
		   table[i].line);
	}
	OK_INT(parse.error, -98, "errno");
	wg_devbuild_finish(&build, &dev);
	OK(dev.listen_port == 51820 && dev.n_peers == 1 && dev.peers[0].n_allowed_ips == 1 &&
	   dev.peers[0].last_handshake_unix_ms == 1700000000000, "the device");
	wg_dev_clear(&dev);
}

int main(void)
{
	test_split();
	test_many();
	test_parse();
	test_continued();
	test_garbage();
	test_uapi();
	test_uapi_answers();
	return tap_done();
}
