/* wg/policy.c: a table per rule. */
#include "config.h"

#include "wg/plan.h"
#include "wg/policy.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct nbh_prefix prefix_of(const char *text)
{
	struct nbh_prefix prefix;

	if (nbh_prefix_parse(text, &prefix) < 0)
		abort();
	return prefix;
}

static struct nbh_device device_of(const char *address)
{
	struct nbh_device device = { .interface = "nbh0", .n_addresses = 1 };

	device.addresses[0] = prefix_of(address);
	return device;
}

static void test_ifname(void)
{
	static const struct {
		const char *name;
		bool good;
	} table[] = {
		{ "nbh0", true },  { "a", true },    { "A-b_c.d", true }, { "123456789012345", true },
		{ "1234567890123456", false },       { "", false },       { ".", false },
		{ "..", false },   { "a/b", false }, { "a b", false },    { "a:1", false },
		{ "nbh0\n", false }, { "n\xc3\xa4", false }, { "%d", false }, { "...", true },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(table); i++)
		OK(wg_policy_is_ifname(table[i].name) == table[i].good, "name \"%s\"",
		   i == 11 ? "with a newline" : table[i].name);
}

static void test_device(void)
{
	static const struct {
		const char *only, *allow, *address;
		bool default_route;
		const char *why; /* NULL: good */
	} table[] = {
		{ "", NULL, "100.64.0.1/16", false, NULL },
		{ "nbh0", NULL, "100.64.0.1/16", false, NULL },
		{ "nbh1", NULL, "100.64.0.1/16", false, "--interface allows only \"nbh1\"" },
		{ "", NULL, "fd00::1/64", false, NULL },
		{ "", NULL, "10.0.0.1/8", false, NULL },
		{ "", NULL, "10.0.0.1/7", false, "shorter than /8" },
		{ "", NULL, "10.0.0.1/0", false, "shorter than /8" },
		{ "", NULL, "10.0.0.1/0", true, NULL },
		{ "", "10.0.0.0/7", "10.0.0.1/7", false, NULL },
		{ "", NULL, "fd00::1/16", false, NULL },
		{ "", NULL, "fd00::1/15", false, "shorter than /16" },
		{ "", NULL, "127.0.0.1/8", false, "no address for an interface" },
		{ "", NULL, "224.0.0.1/24", false, "no address for an interface" },
		{ "", NULL, "0.0.0.0/24", false, "no address for an interface" },
		{ "", NULL, "::1/128", false, "no address for an interface" },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(table); i++) {
		struct wg_policy policy = { .allow_default_route = table[i].default_route };
		struct nbh_device device = device_of(table[i].address);
		struct nbh_why why = { "" };
		int r;

		snprintf(policy.interface, sizeof(policy.interface), "%s", table[i].only);
		if (table[i].allow)
			policy.allow_prefixes[policy.n_allow_prefixes++] = prefix_of(table[i].allow);
		r = wg_policy_device(&policy, &device, &why);
		OK(table[i].why ? r == -EPERM && strstr(why.text, table[i].why) &&
		   strncmp(why.text, "device.json: ", 13) == 0 : r == 0, "device %zu: %s", i, why.text);
	}
}

static void test_endpoints(void)
{
	static const struct {
		const char *endpoint;
		bool good;
	} table[] = {
		{ "192.0.2.1:1", true },      { "10.0.0.1:65535", true },  { "[2001:db8::1]:1", true },
		{ "127.1.0.0:1", true },      { "127.1.255.255:1", true }, { "127.2.0.1:1", true },
		{ "127.2.255.255:9", true },  { "127.0.255.255:1", false }, { "127.3.0.0:1", false },
		{ "127.0.0.1:1", false },     { "[::1]:1", false },        { "0.0.0.0:1", false },
		{ "[::]:1", false },          { "224.0.0.1:1", false },    { "239.255.255.255:1", false },
		{ "255.255.255.255:1", false }, { "[ff02::1]:1", false },  { "169.254.1.1:1", true },
		{ "[fe80::1]:1", true },      { "[::ffff:127.0.0.1]:1", false },
		{ "[::ffff:127.1.0.1]:1", true },
	};
	struct nbh_device device = device_of("100.64.0.1/16");
	struct wg_policy policy = { 0 };

	for (size_t i = 0; i < NBH_N_ELEMENTS(table); i++) {
		struct nbh_peersfile_peer peer = { .id = "who" };
		struct nbh_peersfile file = { .peers = &peer, .n_peers = 1 };
		struct nbh_why why = { "" };
		int r;

		if (nbh_endpoint_parse(table[i].endpoint, &peer.endpoint) < 0)
			abort();
		r = wg_policy_peers(&policy, &device, NULL, &file, &why);
		OK(table[i].good ? r == 0 : r == -EPERM && strstr(why.text, "(who): endpoint: "),
		   "endpoint %s: %s", table[i].endpoint, why.text);
	}
}

static void test_prefixes(void)
{
	static const struct {
		const char *prefix, *allow;
		bool default_route, good;
	} table[] = {
		{ "100.64.0.2/32", NULL, false, true },  { "100.64.0.0/16", NULL, false, true },
		{ "100.64.0.0/15", NULL, false, false }, { "100.65.0.1/32", NULL, false, false },
		{ "fd00::2/128", NULL, false, true },    { "fd00:0:0:1::/64", NULL, false, false },
		{ "0.0.0.0/0", NULL, false, false },     { "::/0", NULL, false, false },
		{ "0.0.0.0/0", NULL, true, true },       { "::/0", NULL, true, true },
		{ "0.0.0.0/1", NULL, true, false },      { "10.0.0.0/8", "10.0.0.0/8", false, true },
		{ "10.1.0.0/16", "10.0.0.0/8", false, true }, { "10.0.0.0/7", "10.0.0.0/8", false, false },
		{ "0.0.0.0/0", "0.0.0.0/0", false, false }, { "::/0", "0.0.0.0/0", false, false },
		{ "2001:db8::/32", "0.0.0.0/0", false, false }, { "8.8.8.8/32", "0.0.0.0/0", false, true },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(table); i++) {
		struct nbh_device device = device_of("100.64.0.1/16");
		struct wg_policy policy = { .allow_default_route = table[i].default_route };
		struct nbh_prefix prefix = prefix_of(table[i].prefix);
		struct nbh_peersfile_peer peer = { .allowed_ips = &prefix, .n_allowed_ips = 1 };
		struct nbh_peersfile file = { .peers = &peer, .n_peers = 1 };
		struct nbh_why why = { "" };
		int r;

		device.addresses[1] = prefix_of("fd00::1/64");
		device.n_addresses = 2;
		if (table[i].allow)
			policy.allow_prefixes[policy.n_allow_prefixes++] = prefix_of(table[i].allow);
		r = wg_policy_peers(&policy, &device, NULL, &file, &why);
		OK(r == (table[i].good ? 0 : -EPERM), "allowed IP %s%s%s: %s", table[i].prefix,
		   table[i].allow ? " with " : "", table[i].allow ? table[i].allow : "", why.text);
	}
}

static void test_claims(void)
{
	struct nbh_device device = device_of("100.64.0.1/16");
	struct nbh_prefix one[2] = { prefix_of("100.64.0.2/32"), prefix_of("100.64.0.3/32") };
	struct nbh_prefix two[2] = { prefix_of("100.64.0.4/32"), prefix_of("100.64.0.0/24") };
	struct nbh_peersfile_peer peers[2] = {
		{ .id = "one", .public_key = { { 1 } }, .allowed_ips = one, .n_allowed_ips = 2 },
		{ .id = "two", .public_key = { { 2 } }, .allowed_ips = two, .n_allowed_ips = 2 },
	};
	struct nbh_peersfile file = { .peers = peers, .n_peers = 2 };
	struct wg_policy policy = { 0 };
	struct nbh_why why = { "" };

	wg_plan_prepare(&file);
	OK_INT(wg_policy_peers(&policy, &device, NULL, &file, &why), 0, "nested prefixes are fine");
	two[0] = prefix_of("100.64.0.3/32");
	OK_INT(wg_policy_peers(&policy, &device, NULL, &file, &why), -EPERM, "equal ones are not");
	OK(strstr(why.text, "one") && strstr(why.text, "two") && strstr(why.text, "100.64.0.3/32"),
	   "both peers are named: %s", why.text);
	two[0] = prefix_of("100.64.0.4/32");
	OK_INT(wg_policy_peers(&policy, &device, &peers[1].public_key, &file, &why), -EPERM,
	       "our own key is no peer");
	OK(strstr(why.text, "our own key"), "%s", why.text);
}

int main(void)
{
	test_ifname();
	test_device();
	test_endpoints();
	test_prefixes();
	test_claims();
	return tap_done();
}
