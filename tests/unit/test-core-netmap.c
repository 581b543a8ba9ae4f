#include "config.h"

#include "core/netmap.h"

#include "base/limits.h"

#include <string.h>

static NbhNetmapPeer peer_make(guint8 first, const char *fqdn)
{
	NbhNetmapPeer peer = { 0 };

	memset(peer.key.bytes, 7, sizeof(peer.key.bytes));
	peer.key.bytes[0] = first;
	peer.fqdn = g_strdup(fqdn);
	peer.allowed_ips = g_new0(struct nbh_prefix, 1);
	peer.n_allowed_ips = 1;
	g_assert_cmpint(nbh_prefix_parse("100.64.0.0/32", &peer.allowed_ips[0]), ==, 0);
	peer.allowed_ips[0].addr.bytes[3] = first;
	return peer;
}

static void test_sorted_and_found(void)
{
	static const guint8 order[] = { 200, 3, 90, 255, 0 };
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, G_N_ELEMENTS(order));
	g_autoptr(NbhNetmap) map = NULL;
	NbhNetmapPeer probe = { 0 };

	for (gsize i = 0; i < G_N_ELEMENTS(order); i++)
		peers[i] = peer_make(order[i], NULL);
	map = nbh_netmap_new(17, peers, G_N_ELEMENTS(order), NULL);

	g_assert_cmpuint(map->serial, ==, 17);
	g_assert_cmpuint(map->n_peers, ==, G_N_ELEMENTS(order));
	g_assert_nonnull(map->skipped);
	for (gsize i = 0; i < map->n_peers; i++) {
		if (i > 0)
			g_assert_cmpint(nbh_key_compare(&map->peers[i - 1].key, &map->peers[i].key), <, 0);
		g_assert_true(nbh_netmap_find(map, &map->peers[i].key) == &map->peers[i]);
		g_assert_cmpstr(map->peers[i].fqdn, ==, "");
		g_assert_cmpstr(map->peers[i].agent_version, ==, "");
	}

	memset(probe.key.bytes, 7, sizeof(probe.key.bytes));
	probe.key.bytes[0] = 100;
	g_assert_null(nbh_netmap_find(map, &probe.key));
}

static void test_repeated_keys(void)
{
	static const struct {
		guint8 key;
		const char *fqdn;
	} in[] = { { 5, "a" }, { 5, "b" }, { 2, "c" }, { 5, "d" }, { 2, "e" }, { 9, "f" } };
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, G_N_ELEMENTS(in));
	g_autoptr(NbhNetmap) map = NULL;

	for (gsize i = 0; i < G_N_ELEMENTS(in); i++)
		peers[i] = peer_make(in[i].key, in[i].fqdn);
	map = nbh_netmap_new(1, peers, G_N_ELEMENTS(in), g_ptr_array_new_with_free_func(g_free));

	g_assert_cmpuint(map->n_peers, ==, 3);
	g_assert_cmpstr(map->peers[0].fqdn, ==, "c");
	g_assert_cmpstr(map->peers[1].fqdn, ==, "a");
	g_assert_cmpstr(map->peers[2].fqdn, ==, "f");
	g_assert_cmpuint(map->skipped->len, ==, 3);
	for (guint i = 0; i < map->skipped->len; i++)
		g_assert_nonnull(strstr(g_ptr_array_index(map->skipped, i), "second time"));
}

static void test_prefixes(void)
{
	static const struct {
		guint8 key;
		const char *prefixes[4];
		const char *expected;
	} in[] = {
		{ 9, { "100.64.0.9/32", "10.1.0.0/16", "fd00::9/128" }, "100.64.0.9/32 fd00::9/128 " },
		{ 4, { "fd00::4/128", "10.1.2.3/16", "100.64.0.4/32", "100.64.0.4/32" },
		  "10.1.0.0/16 100.64.0.4/32 fd00::4/128 " },
		{ 6, { NULL }, "" },
	};
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, G_N_ELEMENTS(in));
	g_autoptr(NbhNetmap) map = NULL;

	for (gsize i = 0; i < G_N_ELEMENTS(in); i++) {
		peers[i].key.bytes[0] = in[i].key;
		peers[i].allowed_ips = g_new0(struct nbh_prefix, 4);
		for (gsize j = 0; j < 4 && in[i].prefixes[j]; j++)
			g_assert_cmpint(nbh_prefix_parse(in[i].prefixes[j], &peers[i].allowed_ips[peers[i].n_allowed_ips++]), ==, 0);
	}
	map = nbh_netmap_new(1, peers, G_N_ELEMENTS(in), NULL);

	for (gsize i = 0; i < G_N_ELEMENTS(in); i++) {
		struct nbh_key key = { { in[i].key } };
		const NbhNetmapPeer *peer = nbh_netmap_find(map, &key);
		g_autoptr(GString) text = g_string_new(NULL);

		for (gsize j = 0; j < peer->n_allowed_ips; j++) {
			char prefix[NBH_PREFIX_TEXT_MAX];

			g_string_append_printf(text, "%s ", nbh_prefix_format(&peer->allowed_ips[j], prefix));
		}
		g_assert_cmpstr(text->str, ==, in[i].expected);
	}

	g_assert_cmpuint(map->skipped->len, ==, 1);
	g_assert_nonnull(strstr(g_ptr_array_index(map->skipped, 0), "\"10.1.0.0/16\": peer BAAAAAAA has it already"));
}

static void test_zero_key(void)
{
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, 2);
	g_autoptr(NbhNetmap) map = NULL;

	peers[0] = peer_make(1, "a");
	memset(&peers[0].key, 0, sizeof(peers[0].key));
	peers[1] = peer_make(1, "b");
	map = nbh_netmap_new(1, peers, 2, NULL);

	g_assert_cmpuint(map->n_peers, ==, 1);
	g_assert_cmpstr(map->peers[0].fqdn, ==, "b");
	g_assert_cmpuint(map->skipped->len, ==, 1);
	g_assert_nonnull(strstr(g_ptr_array_index(map->skipped, 0), "all zero"));
}

/* Peers that all claim one prefix: n - 1 complaints. */
static NbhNetmap *quarrel(guint n)
{
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, n);

	for (guint i = 0; i < n; i++) {
		peers[i] = peer_make(1, "");
		peers[i].key.bytes[0] = (guint8)(i >> 8);
		peers[i].key.bytes[1] = (guint8)i;
	}

	return nbh_netmap_new(1, peers, n, NULL);
}

/* One below, at, and above; a hostile management could make 65 536. */
static void test_skipped_is_bounded(void)
{
	static const struct {
		guint n_peers, n_lines;
		const char *last;
	} cases[] = {
		{ NBH_NETMAP_SKIPPED_MAX, NBH_NETMAP_SKIPPED_MAX - 1, "has it already" },
		{ NBH_NETMAP_SKIPPED_MAX + 1, NBH_NETMAP_SKIPPED_MAX, "has it already" },
		{ NBH_NETMAP_SKIPPED_MAX + 2, NBH_NETMAP_SKIPPED_MAX + 1, "1 more" },
		{ NBH_PEERS_MAX, NBH_NETMAP_SKIPPED_MAX + 1, "16283 more" },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(NbhNetmap) map = quarrel(cases[i].n_peers);

		g_assert_cmpuint(map->n_peers, ==, cases[i].n_peers);
		g_assert_cmpuint(map->skipped->len, ==, cases[i].n_lines);
		g_assert_nonnull(strstr(map->skipped->pdata[cases[i].n_lines - 1], cases[i].last));
	}
}

static NbhNetmap *map_of(const char *const *prefixes)
{
	guint n = g_strv_length((char **)prefixes);
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, 1);

	peers[0].key.bytes[0] = 1;
	peers[0].fqdn = g_strdup("a.example");
	peers[0].agent_version = g_strdup("1.2.3");
	peers[0].n_allowed_ips = n;
	peers[0].allowed_ips = g_new0(struct nbh_prefix, n);
	for (guint i = 0; i < n; i++)
		g_assert_cmpint(nbh_prefix_parse(prefixes[i], &peers[0].allowed_ips[i]), ==, 0);
	return nbh_netmap_new(7, peers, 1, NULL);
}

static void test_confined(void)
{
	static const char *const good[] = { "100.64.0.9/32", "fd00:64::9/128", NULL };
	static const char *const bad[] = { "0.0.0.0/0", "::/0", "100.64.0.0/15", "10.0.0.0/8", "127.0.0.1/32",
					   "224.0.0.0/4", "fe80::/10", "100.64.0.1/32", "fd00:64::1/128",
					   "100.64.0.9/32", NULL };
	struct nbh_prefix v4, v6, none = { .len = 0 };
	g_autoptr(NbhNetmap) good_map = map_of(good);
	g_autoptr(NbhNetmap) bad_map = map_of(bad);
	g_autoptr(NbhNetmap) same = NULL;
	g_autoptr(NbhNetmap) without_v6 = NULL;
	g_autoptr(NbhNetmap) confined = NULL;

	g_assert_cmpint(nbh_prefix_parse("100.64.0.1/16", &v4), ==, 0);
	g_assert_cmpint(nbh_prefix_parse("fd00:64::1/64", &v6), ==, 0);
	same = nbh_netmap_confine(good_map, &v4, &v6);
	g_assert_true(same == good_map);
	without_v6 = nbh_netmap_confine(good_map, &v4, &none);
	g_assert_cmpuint(without_v6->peers[0].n_allowed_ips, ==, 1);

	confined = nbh_netmap_confine(bad_map, &v4, &v6);
	g_assert_cmpuint(confined->serial, ==, 7);
	g_assert_cmpuint(confined->n_peers, ==, 1);
	g_assert_cmpstr(confined->peers[0].fqdn, ==, "a.example");
	g_assert_cmpstr(confined->peers[0].agent_version, ==, "1.2.3");
	g_assert_cmpuint(confined->peers[0].n_allowed_ips, ==, 1);
	g_assert_cmpuint(confined->peers[0].allowed_ips[0].len, ==, 32);
	g_assert_cmpuint(confined->skipped->len, ==, 9);
	g_assert_cmpuint(bad_map->skipped->len, ==, 0);
	g_assert_cmpuint(bad_map->peers[0].n_allowed_ips, ==, 10);
}

static void test_empty_and_references(void)
{
	NbhNetmap *map = nbh_netmap_new(0, NULL, 0, NULL);
	struct nbh_key key = { { 0 } };

	g_assert_null(nbh_netmap_find(map, &key));
	g_assert_true(nbh_netmap_ref(map) == map);
	nbh_netmap_unref(map);
	g_assert_cmpuint(map->n_peers, ==, 0);
	nbh_netmap_unref(map);
	nbh_netmap_unref(NULL);
	nbh_server_config_free(NULL);
}

static void test_server_config(void)
{
	g_autoptr(NbhServerConfig) config = g_new0(NbhServerConfig, 1);

	config->stuns = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(config->stuns, g_strdup("stun:stun.example.com:3478"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/netmap/sorted", test_sorted_and_found);
	g_test_add_func("/core/netmap/repeated", test_repeated_keys);
	g_test_add_func("/core/netmap/prefixes", test_prefixes);
	g_test_add_func("/core/netmap/zero-key", test_zero_key);
	g_test_add_func("/core/netmap/skipped", test_skipped_is_bounded);
	g_test_add_func("/core/netmap/confined", test_confined);
	g_test_add_func("/core/netmap/empty", test_empty_and_references);
	g_test_add_func("/core/netmap/server-config", test_server_config);
	return g_test_run();
}
