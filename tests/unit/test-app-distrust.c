/* app/distrust: what management must not make this host do, and what the status says about it. */
#include "config.h"

#include "app/distrust.h"

static void test_signal(void)
{
	static const struct {
		const char *management, *signal;
		gboolean ok;
	} cases[] = {
		{ "https://hub.example", "signal.example", TRUE },
		{ "https://hub.example:8443", "203.0.113.7", TRUE },
		{ "https://hub.example", "10.1.2.3", TRUE }, /* a hub behind a VPN */
		{ "https://hub.example", "127.0.0.1", FALSE },
		{ "https://hub.example", "127.1.2.3", FALSE },
		{ "https://hub.example", "::1", FALSE },
		{ "https://hub.example", "::ffff:127.0.0.1", FALSE },
		{ "https://hub.example", "localhost", FALSE },
		{ "https://hub.example", "LocalHost", FALSE },
		{ "https://hub.example", "x.localhost", FALSE },
		{ "https://hub.example", "0.0.0.0", FALSE },
		{ "https://hub.example", "169.254.169.254", FALSE },
		{ "https://hub.example", "224.0.0.1", FALSE },
		{ "https://127.0.0.1.example", "127.0.0.1", FALSE },
		{ "http://127.0.0.1:8080", "127.0.0.1", TRUE },
		{ "http://localhost:8080", "127.0.0.1", TRUE },
		{ "http://[::1]:8080", "localhost", TRUE },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct nbh_why why = { "" };

		g_test_message("%s %s", cases[i].management, cases[i].signal);
		g_assert_cmpint(nbh_distrust_signal(cases[i].management, cases[i].signal, &why), ==, cases[i].ok);
		g_assert_cmpint(why.text[0] == '\0', ==, cases[i].ok);
	}
}

static NbhPeerConfig config_of(const char *v4, const char *v6)
{
	NbhPeerConfig config = { .mtu = 0 };

	g_assert_cmpint(nbh_prefix_parse(v4, &config.address), ==, 0);
	g_assert_true(!v6 || nbh_prefix_parse(v6, &config.address_v6) == 0);
	return config;
}

static void test_network(void)
{
	static const struct {
		const char *v4, *v6, *why;
	} cases[] = {
		{ "100.64.0.2/16", NULL, "" },
		{ "100.64.0.2/16", "fd00:64::2/64", "" },
		{ "10.1.0.9/24", NULL, "peerConfig.address \"10.1.0.9/24\": the address of eth0, 10.1.0.5, would be inside" },
		{ "10.0.0.9/8", NULL, "peerConfig.address \"10.0.0.9/8\": the address of eth0, 10.1.0.5, would be inside" },
		{ "203.0.113.1/24", NULL,
		  "peerConfig.address \"203.0.113.1/24\": the management server, 203.0.113.200, would be inside" },
		{ "100.64.0.2/16", "2001:db8::2/64",
		  "peerConfig.address \"2001:db8::2/64\": where a tunnel leads, 2001:db8::7, would be inside" },
	};
	NbhNeeded needed[] = { { .what = "the address of eth0" },
		               { .what = "the management server" },
		               { .what = "where a tunnel leads" } };

	nbh_addr_parse("10.1.0.5", &needed[0].addr);
	nbh_addr_parse("203.0.113.200", &needed[1].addr);
	nbh_addr_parse("2001:db8::7", &needed[2].addr);

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		NbhPeerConfig config = config_of(cases[i].v4, cases[i].v6);
		struct nbh_why why = { "" };

		g_assert_cmpint(nbh_distrust_network(&config, needed, G_N_ELEMENTS(needed), &why), ==, !cases[i].why[0]);
		g_assert_cmpstr(why.text, ==, cases[i].why);
	}
}

static void append(const char *line, gpointer data)
{
	g_string_append_printf(data, "%s|", line);
}

static void assert_lines(const NbhRefusals *refusals, const char *wanted)
{
	g_autoptr(GString) got = g_string_new(NULL);

	nbh_refusals_each(refusals, append, got);
	g_assert_cmpstr(got->str, ==, wanted);
}

/* Each part is taken back by a good one of its kind, and by no other. */
static void test_refusals(void)
{
	NbhServerConfig servers = { .skipped = g_ptr_array_new_with_free_func(g_free) };
	NbhRefusals refusals = { .map = NULL };
	g_autoptr(NbhNetmap) map = nbh_netmap_new(1, NULL, 0, NULL);
	NbhMgmtUpdate update = { .map_refused = (char *)"m", .peer_config_refused = (char *)"p" };

	assert_lines(&refusals, "");
	nbh_refusals_take(&refusals, &update);
	nbh_refusals_signal(&refusals, "s");
	g_assert_true(nbh_refusals_of_network(&refusals));
	assert_lines(&refusals, "m|p|s|");

	g_ptr_array_add(servers.skipped, g_strdup("x"));
	g_ptr_array_add(servers.skipped, g_strdup("y"));
	update = (NbhMgmtUpdate){ .servers = &servers };
	nbh_refusals_take(&refusals, &update);
	assert_lines(&refusals, "m|p|s|x|y|");
	g_ptr_array_unref(servers.skipped);
	servers.skipped = NULL;

	update = (NbhMgmtUpdate){ .map = map };
	nbh_refusals_take(&refusals, &update);
	assert_lines(&refusals, "p|s|x|y|");
	update = (NbhMgmtUpdate){ .has_peer_config = TRUE, .servers = &servers };
	nbh_refusals_take(&refusals, &update);
	nbh_refusals_signal(&refusals, NULL);
	assert_lines(&refusals, "");
	g_assert_false(nbh_refusals_of_network(&refusals));

	nbh_refusals_map(&refusals, "again");
	nbh_refusals_clear(&refusals);
	assert_lines(&refusals, "");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/app/distrust/signal", test_signal);
	g_test_add_func("/app/distrust/network", test_network);
	g_test_add_func("/app/distrust/refusals", test_refusals);
	return g_test_run();
}
