/* The hub's pure parts: setup keys, labels, addresses, token buckets, the command line. */

#include "config.h"

#include "hub/label.h"
#include "hub/options.h"
#include "hub/overlay.h"
#include "hub/setupkey.h"
#include "hub/throttle.h"

#include <string.h>

static void test_setup_key(void)
{
	static const char *const bad[] = { "", "x", "11111111-2222-3333-4444-55555555555",
					   "11111111-2222-3333-4444-5555555555555",
					   "11111111_2222-3333-4444-555555555555",
					   "g1111111-2222-3333-4444-555555555555",
					   "1111111--222-3333-4444-5555555555555" };
	char text[NBH_SETUPKEY_LEN + 1], again[NBH_SETUPKEY_LEN + 1], shown[NBH_SETUPKEY_SHOWN_LEN + 1];
	g_autofree char *lower = NULL;
	g_autofree char *hash = NULL;

	g_assert_true(nbh_setupkey_generate(text));
	g_assert_cmpuint(strlen(text), ==, NBH_SETUPKEY_LEN);
	g_assert_cmpint(text[14], ==, '4');
	g_assert_nonnull(strchr("89AB", text[19]));
	g_assert_true(g_uuid_string_is_valid(text));
	lower = g_ascii_strdown(text, -1);
	g_assert_true(nbh_setupkey_normalize(lower, again));
	g_assert_cmpstr(again, ==, text);
	g_assert_true(nbh_setupkey_generate(again));
	g_assert_cmpstr(again, !=, text);
	for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
		g_assert_false(nbh_setupkey_normalize(bad[i], again));
	/* printf %s A2C8E62B-38F5-4553-B31E-DD66C696CEBB | openssl dgst -sha256 -binary | base64 */
	hash = nbh_setupkey_hash("A2C8E62B-38F5-4553-B31E-DD66C696CEBB");
	g_assert_cmpstr(hash, ==, "uXspNY+GG/bbf0inGAz7i1Yb7ZtGQghH2PwMtZG4LI0=");
	nbh_setupkey_mask("A2C8E62B-38F5-4553-B31E-DD66C696CEBB", shown);
	g_assert_cmpstr(shown, ==, "A2C8E*");
}

static void test_label(void)
{
	static const struct {
		const char *hostname, *label; /* NULL: refused */
	} cases[] = {
		{ "web", "web" },
		{ "Web.example.com", "web" },
		{ "my laptop", "my-laptop" },
		{ "a__b", "a-b" },
		{ "a--b", "a--b" },
		{ "-x-", "x" },
		{ "büro", "xn--bro-hoa" },
		{ "", NULL },
		{ ".x", NULL },
		{ "---", NULL },
		{ "\xff\xfe", NULL },
		{ "..", NULL },
		{ "0123456789012345678901234567890123456789012345678901234567890123456789",
		  "0123456789012345678901234567890123456789012345678901234" },
	};
	const struct nbh_addr ip = { .family = AF_INET, .bytes = { 100, 70, 255, 254 } };
	g_autofree char *huge = g_strnfill(100000, 'a');
	char label[NBH_LABEL_MAX + 1];

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_assert_cmpint(nbh_label_from_hostname(cases[i].hostname, label), ==,
				cases[i].label != NULL);
		if (cases[i].label)
			g_assert_cmpstr(label, ==, cases[i].label);
	}
	g_assert_false(nbh_label_from_hostname(huge, label));
	nbh_label_with_address("web", &ip, label);
	g_assert_cmpstr(label, ==, "web-255-254");
	huge[NBH_LABEL_PLAIN_MAX] = '\0';
	nbh_label_with_address(huge, &ip, label);
	g_assert_cmpuint(strlen(label), ==, NBH_LABEL_PLAIN_MAX + 8);
	g_assert_true(g_str_has_suffix(label, "a-255-254"));
}

static gboolean is_marked(const struct nbh_addr *addr, gpointer owner)
{
	const guint8 *taken = owner;

	return taken[nbh_overlay_to_number(addr) & 0xffff];
}

static void test_overlay(void)
{
	struct nbh_prefix network = nbh_overlay_network(0);
	g_autofree guint8 *taken = g_malloc0(65536);
	struct nbh_addr addr;
	char text[NBH_PREFIX_TEXT_MAX];

	g_assert_cmpstr(nbh_prefix_format(&network, text), ==, "100.64.0.0/16");
	network = nbh_overlay_network(63);
	g_assert_cmpstr(nbh_prefix_format(&network, text), ==, "100.127.0.0/16");
	network = nbh_overlay_network(64 + 6);
	g_assert_cmpstr(nbh_prefix_format(&network, text), ==, "100.70.0.0/16");
	/* Every address is given once; three never are. */
	for (guint i = 0; i < 65533; i++) {
		g_assert_true(nbh_overlay_pick(&network, i * 7919, is_marked, taken, &addr));
		g_assert_true(nbh_prefix_contains(&network, &addr));
		g_assert_false(is_marked(&addr, taken));
		taken[nbh_overlay_to_number(&addr) & 0xffff] = TRUE;
	}
	g_assert_false(taken[0] || taken[0xfffe] || taken[0xffff]);
	g_assert_false(nbh_overlay_pick(&network, 5, is_marked, taken, &addr));
}

static void test_throttle(void)
{
	NbhThrottle *throttle = nbh_throttle_new(3, 2, 4);
	struct nbh_addr a = { .family = AF_INET, .bytes = { 1 } };
	struct nbh_addr v6 = { .family = AF_INET6, .bytes = { 0x20, 1, 0, 0, 0, 0, 0, 1, 1 } };
	nbh_mono now = { 1000000 };

	for (guint i = 0; i < 3; i++)
		g_assert_true(nbh_throttle_take(throttle, &a, now));
	g_assert_false(nbh_throttle_take(throttle, &a, now));
	g_assert_false(nbh_throttle_take(throttle, &a, nbh_mono_add_ms(now, 499)));
	g_assert_false(nbh_throttle_has(throttle, &a, nbh_mono_add_ms(now, 499)));
	g_assert_true(nbh_throttle_has(throttle, &a, nbh_mono_add_ms(now, 500)));
	g_assert_true(nbh_throttle_take(throttle, &a, nbh_mono_add_ms(now, 500)));
	/* A whole /64 is one source. */
	for (guint i = 0; i < 3; i++) {
		v6.bytes[15] = (guint8)i;
		g_assert_true(nbh_throttle_take(throttle, &v6, now));
	}
	v6.bytes[15] = 9;
	g_assert_false(nbh_throttle_take(throttle, &v6, now));
	v6.bytes[7] = 2;
	g_assert_true(nbh_throttle_take(throttle, &v6, now));
	/* Bounded, whatever comes. */
	for (guint i = 0; i < 100; i++) {
		a.bytes[1] = (guint8)i;
		nbh_throttle_take(throttle, &a, now);
		g_assert_cmpuint(nbh_throttle_size(throttle), <=, 4);
	}
	/* A long time later the bucket is full, not overflown. */
	a.bytes[1] = 99;
	now = nbh_mono_add_ms(now, G_GINT64_CONSTANT(1000) * 86400 * 366 * 100);
	for (guint i = 0; i < 3; i++)
		g_assert_true(nbh_throttle_take(throttle, &a, now));
	g_assert_false(nbh_throttle_take(throttle, &a, now));
	nbh_throttle_free(throttle);
}

static void test_durations(void)
{
	static const struct {
		const char *text;
		gint64 seconds; /* -1: refused */
	} cases[] = {
		{ "1s", 1 },	     { "15m", 900 },	{ "24h", 86400 }, { "7d", 604800 },
		{ "2w", 1209600 },   { "never", 0 },	{ "0s", -1 },	  { "24", -1 },
		{ "-1h", -1 },	     { "h", -1 },	{ "", -1 },	  { "1hh", -1 },
		{ "101y", -1 },	     { "1000000000h", -1 }, { " 1h", -1 },
		{ "99999999999999999999d", -1 },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		gint64 seconds = -1;

		g_assert_cmpint(nbh_hub_duration_parse(cases[i].text, &seconds), ==,
				cases[i].seconds >= 0);
		g_assert_cmpint(seconds, ==, cases[i].seconds);
	}
}

static void test_domains(void)
{
	static const struct {
		const char *text, *domain; /* NULL: refused */
	} cases[] = {
		{ "netbird.internal", "netbird.internal" },
		{ "VPN.Example.Org.", "vpn.example.org" },
		{ "a-b.c", "a-b.c" },
		{ "local", NULL },
		{ "", NULL },
		{ ".", NULL },
		{ "a..b", NULL },
		{ "-a.b", NULL },
		{ "a.b-", NULL },
		{ "a b.c", NULL },
		{ "a_b.c", NULL },
		{ ".a.b", NULL },
	};
	g_autofree char *label = g_strnfill(189, 'a');
	g_autofree char *too_long = g_strconcat(label, ".b", NULL);

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *domain = nbh_hub_domain_parse(cases[i].text);

		g_assert_cmpstr(domain, ==, cases[i].domain);
	}
	g_assert_null(nbh_hub_domain_parse(too_long));
}

static gboolean parse(const char *line, NbhHubOptions *ret_options, GError **error)
{
	g_auto(GStrv) words = g_strsplit(line, " ", -1);

	return nbh_hub_options_parse((int)g_strv_length(words), words, ret_options, error);
}

static void test_commands(void)
{
	static const struct {
		const char *line;
		NbhHubCommand command;
		const char *operand;
	} good[] = {
		{ "hub", NBH_HUB_SERVE, NULL },
		{ "hub version", NBH_HUB_VERSION, NULL },
		{ "hub --version", NBH_HUB_VERSION, NULL },
		{ "hub key create --config-dir d --reusable", NBH_HUB_KEY_CREATE, NULL },
		{ "hub key list --json", NBH_HUB_KEY_LIST, NULL },
		{ "hub key revoke 3 --config-dir d", NBH_HUB_KEY_REVOKE, "3" },
		{ "hub --config-dir d peer list", NBH_HUB_PEER_LIST, NULL },
		{ "hub peer remove web", NBH_HUB_PEER_REMOVE, "web" },
	};
	static const char *const bad[] = {
		"hub serve",	      "hub key",	     "hub key create x", "hub key revoke",
		"hub peer remove a b", "hub --stun 65536",   "hub --stun -1",	 "hub --stun x",
		"hub --listen 8080",  "hub --listen [::]:0", "hub --lazy maybe", "hub --nothing",
		"hub --expires 5",    "hub --dns-domain x",  "hub --listen localhost:80",
		"hub --tls-cert x",    "hub --tls-key x",
	};
	NbhHubOptions options;

	for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_true(parse(good[i].line, &options, &error));
		g_assert_no_error(error);
		g_assert_cmpint(options.command, ==, good[i].command);
		g_assert_cmpstr(options.operand, ==, good[i].operand);
		nbh_hub_options_clear(&options);
	}
	for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		g_assert_false(parse(bad[i], &options, &error));
		g_assert_nonnull(error);
		g_assert_true(error->domain == G_OPTION_ERROR);
	}
	g_assert_true(parse("hub --tls-cert c --tls-key k", &options, NULL));
	g_assert_cmpstr(options.hub.tls_cert, ==, "c");
	g_assert_cmpstr(options.hub.tls_key, ==, "k");
	nbh_hub_options_clear(&options);
	g_assert_true(parse("hub --listen [::]:81 --stun 0 --lazy on --dns-domain A.b", &options, NULL));
	g_assert_true(options.hub.has_listen && options.hub.lazy);
	g_assert_cmpuint(options.hub.listen.port, ==, 81);
	g_assert_cmpuint(options.hub.stun_port, ==, 0);
	g_assert_cmpstr(options.hub.dns_domain, ==, "a.b");
	g_assert_cmpstr(options.hub.dir, ==, NBH_HUB_DEFAULT_DIR);
	g_assert_cmpint(options.expires_in_s, ==, 86400);
	nbh_hub_options_clear(&options);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/hub/setup-key", test_setup_key);
	g_test_add_func("/hub/label", test_label);
	g_test_add_func("/hub/overlay", test_overlay);
	g_test_add_func("/hub/throttle", test_throttle);
	g_test_add_func("/hub/durations", test_durations);
	g_test_add_func("/hub/domains", test_domains);
	g_test_add_func("/hub/commands", test_commands);
	return g_test_run();
}
