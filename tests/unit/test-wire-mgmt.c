#include "config.h"

/* mgmtmsg-client.c: what the client decodes, limits one below, at and one above. */

#include "base/limits.h"
#include "wire/error.h"
#include "wire/mgmtmsg.h"
#include "wire/pb.h"

#include "tests/lib/testkeys.h"

#include <string.h>

/* A network map of protobuf, built by hand; everything is owned. */
typedef struct {
	Nbm__SyncResponse response;
	Nbm__NetworkMap map;
	GPtrArray *peers; /* Nbm__RemotePeerConfig */
} Map;

static void peer_free(gpointer data)
{
	nbm__remote_peer_config__free_unpacked(data, NULL);
}

static void map_init(Map *map)
{
	nbm__sync_response__init(&map->response);
	nbm__network_map__init(&map->map);
	map->response.networkmap = &map->map;
	map->peers = g_ptr_array_new_with_free_func(peer_free);
}

static void map_clear(Map *map)
{
	g_clear_pointer(&map->peers, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Map, map_clear)

/* malloc, because free_unpacked frees. */
static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

static Nbm__RemotePeerConfig *map_add(Map *map, const char *key)
{
	Nbm__RemotePeerConfig *peer = malloc(sizeof(*peer));

	nbm__remote_peer_config__init(peer);
	peer->wgpubkey = copy(key);
	g_ptr_array_add(map->peers, peer);
	return peer;
}

static void peer_allow(Nbm__RemotePeerConfig *peer, const char *prefix)
{
	peer->allowedips = realloc(peer->allowedips, (peer->n_allowedips + 1) * sizeof(char *));
	peer->allowedips[peer->n_allowedips++] = copy(prefix);
}

static gboolean map_decode(Map *map, NbhMgmtUpdate *ret_update, GError **error)
{
	struct nbh_key own = test_key_of(0);
	g_autoptr(GBytes) plain = NULL;

	map->map.remotepeers = (Nbm__RemotePeerConfig **)map->peers->pdata;
	map->map.n_remotepeers = map->peers->len;
	plain = nbh_pb_pack(&map->response.base);
	return nbh_mgmt_decode_sync(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), &own,
				    ret_update, error);
}

static void test_skipped_peers(void)
{
	g_auto(Map) map;
	g_autoptr(GError) error = NULL;
	NbhMgmtUpdate update;
	Nbm__RemotePeerConfig *peer;
	struct nbh_key found;
	char text[NBH_PREFIX_TEXT_MAX];

	map_init(&map);
	map.map.has_serial = TRUE;
	map.map.serial = G_MAXUINT64;
	peer_allow(map_add(&map, test_key_text(0).text), "100.64.0.1/32"); /* ourselves */
	peer = map_add(&map, test_key_text(2).text);
	peer_allow(peer, "100.64.0.2/32");
	peer_allow(peer, "10.1.2.3/8"); /* masked */
	peer_allow(peer, "10.0.0.0/8"); /* then the same */
	peer->fqdn = copy("b\x1b.example\xff");
	peer_allow(map_add(&map, test_key_text(1).text), "100.64.0.1/32"); /* ours is not taken */
	peer_allow(map_add(&map, test_key_text(2).text),
		   "100.64.0.9/32"); /* the same key again: the first counts */
	peer_allow(map_add(&map, "not a key\n"), "100.64.0.4/32");
	peer_allow(map_add(&map, NULL), "100.64.0.5/32");
	peer_allow(map_add(&map, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), "100.64.0.6/32");
	peer_allow(map_add(&map, test_key_text(7).text), "100.64.0.7");
	peer_allow(map_add(&map, test_key_text(8).text), "100.64.0.2/32"); /* peer 2 has it */
	map_add(&map, test_key_text(9).text); /* nothing allowed: harmless */

	g_assert_true(map_decode(&map, &update, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(update.map->serial, ==, G_MAXUINT64);
	g_assert_cmpuint(update.map->n_peers, ==, 4);
	found = test_key_of(2);
	g_assert_nonnull(nbh_netmap_find(update.map, &found));
	g_assert_cmpuint(nbh_netmap_find(update.map, &found)->n_allowed_ips, ==, 2);
	g_assert_cmpstr(
		nbh_prefix_format(&nbh_netmap_find(update.map, &found)->allowed_ips[0], text), ==,
		"10.0.0.0/8");
	g_assert_cmpstr(nbh_netmap_find(update.map, &found)->fqdn, ==, "b?.example???");
	g_assert_cmpstr(nbh_netmap_find(update.map, &found)->agent_version, ==, "");
	/* Ours: what does not parse. Then core's: repeated and zero keys, shared prefixes. */
	g_assert_cmpuint(update.map->skipped->len, ==, 7);
	g_assert_true(g_str_has_suffix(g_ptr_array_index(update.map->skipped, 0), "our own key"));
	g_assert_cmpstr(g_ptr_array_index(update.map->skipped, 1), ==,
			"peer 4 (not a ke): wgPubKey \"not a key?\": no key");
	g_assert_cmpstr(g_ptr_array_index(update.map->skipped, 2), ==,
			"peer 5 (): wgPubKey \"\": no key");
	g_assert_true(g_str_has_suffix(g_ptr_array_index(update.map->skipped, 3),
				       "allowedIps \"100.64.0.7\": not a prefix"));
	nbh_mgmt_update_clear(&update);
	g_assert_null(update.map);
}

static void test_many_skipped(void)
{
	g_auto(Map) map;
	NbhMgmtUpdate update;
	guint i;

	map_init(&map);

	for (i = 0; i < 150; i++)
		map_add(&map, "x");

	g_assert_true(map_decode(&map, &update, NULL));
	g_assert_cmpuint(update.map->n_peers, ==, 0);
	g_assert_cmpuint(update.map->skipped->len, ==, 101);
	g_assert_cmpstr(g_ptr_array_index(update.map->skipped, 100), ==, "50 more");
	nbh_mgmt_update_clear(&update);
}

static void test_peers_limit(void)
{
	g_auto(Map) map;
	NbhMgmtUpdate update = {0};
	guint i, step;

	map_init(&map);

	for (i = 1; i < NBH_PEERS_MAX; i++) {
		g_autofree char *prefix = g_strdup_printf("100.64.%u.%u/32", i >> 8, i & 0xff);

		peer_allow(map_add(&map, test_key_text(i).text), prefix);
	}

	for (step = 0; step < 3; step++) { /* one below, at, one above */
		g_autoptr(GError) error = NULL;

		g_assert_true(map_decode(&map, &update, &error));

		if (step < 2) {
			g_assert_cmpuint(update.map->n_peers, ==, map.peers->len);
			g_assert_null(update.map_refused);
		} else {
			g_assert_cmpstr(update.map_refused, ==, "remotePeers: 16385 peers, limit 16384");
			g_assert_null(update.map);
		}

		nbh_mgmt_update_clear(&update);

		map_add(&map, test_key_text(NBH_PEERS_MAX + step).text);
	}
}

static void test_prefix_limits(void)
{
	const guint full = NBH_PREFIXES_TOTAL_MAX / NBH_PREFIXES_PER_PEER_MAX;
	g_auto(Map) map, one;
	NbhMgmtUpdate update = {0};
	Nbm__RemotePeerConfig *peer;
	guint i, j;

	map_init(&map);
	map_init(&one);
	peer = map_add(&one, test_key_text(1).text);

	for (i = 0; i <= NBH_PREFIXES_PER_PEER_MAX; i++) {
		g_autofree char *prefix = g_strdup_printf("10.1.%u.%u/32", i >> 8, i & 0xff);

		peer_allow(peer, prefix);

		if (i + 2 < NBH_PREFIXES_PER_PEER_MAX)
			continue;

		g_assert_true(map_decode(&one, &update, NULL));
		g_assert_cmpint(update.map != NULL, ==, i < NBH_PREFIXES_PER_PEER_MAX);
		g_assert_cmpint(update.map_refused != NULL, ==, i >= NBH_PREFIXES_PER_PEER_MAX);
		nbh_mgmt_update_clear(&update);
	}

	for (i = 0; i < full; i++) {
		peer = map_add(&map, test_key_text(1 + i).text);

		for (j = 0; j < NBH_PREFIXES_PER_PEER_MAX; j++) {
			g_autofree char *prefix =
				g_strdup_printf("10.%u.%u.%u/32", i, j >> 8, j & 0xff);

			peer_allow(peer, prefix);
		}
	}

	g_assert_true(map_decode(&map, &update, NULL));
	nbh_mgmt_update_clear(&update);
	map_add(&map, test_key_text(full + 1).text);
	g_assert_true(map_decode(&map, &update, NULL));
	nbh_mgmt_update_clear(&update);
	peer_allow(map_add(&map, test_key_text(full + 2).text), "11.0.0.1/32");
	g_assert_true(map_decode(&map, &update, NULL));
	g_assert_null(update.map);
	g_assert_cmpstr(update.map_refused, ==, "remotePeers: more than 65536 allowedIps together");
	nbh_mgmt_update_clear(&update);
}

/* What one part cannot be used for does not cost the others. */
static void test_refused_parts(void)
{
	Nbm__PeerConfig config = NBM__PEER_CONFIG__INIT;
	NbhMgmtUpdate update;
	g_auto(Map) map;

	map_init(&map);
	peer_allow(map_add(&map, test_key_text(1).text), "100.64.0.1/32");
	config.address = (char *)"100.64.1.2/7";
	map.map.peerconfig = &config;
	g_assert_true(map_decode(&map, &update, NULL));
	g_assert_cmpuint(update.map->n_peers, ==, 1);
	g_assert_false(update.has_peer_config);
	g_assert_cmpstr(update.peer_config_refused, ==, "peerConfig.address \"100.64.1.2/7\": a network wider than /8");
	nbh_mgmt_update_clear(&update);
	map.map.peerconfig = NULL;
}

static void test_empty_maps(void)
{
	g_auto(Map) map;
	NbhMgmtUpdate update;

	map_init(&map);
	g_assert_true(map_decode(&map, &update, NULL));
	g_assert_cmpuint(update.map->n_peers, ==, 0);
	g_assert_false(update.has_peer_config);
	g_assert_null(update.servers);
	nbh_mgmt_update_clear(&update);

	peer_allow(map_add(&map, test_key_text(1).text), "100.64.0.1/32");
	map.map.has_remotepeersisempty = map.map.remotepeersisempty = TRUE; /* the flag wins: 2.8 */
	g_assert_true(map_decode(&map, &update, NULL));
	g_assert_cmpuint(update.map->n_peers, ==, 0);
	nbh_mgmt_update_clear(&update);

	map.response.networkmap = NULL; /* a refresh of credentials */
	g_assert_true(map_decode(&map, &update, NULL));
	g_assert_null(update.map);
	nbh_mgmt_update_clear(&update);
}

static void test_components(void)
{
	g_auto(Map) map;
	Nbm__NetworkMapEnvelope envelope = NBM__NETWORK_MAP_ENVELOPE__INIT;
	g_autoptr(GError) error = NULL;
	NbhMgmtUpdate update;

	map_init(&map);
	map.response.networkmapenvelope = &envelope;
	g_assert_false(map_decode(&map, &update, &error));
	g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_UNSUPPORTED);
	map.response.networkmapenvelope = NULL;
	map.response.has_version = TRUE;
	map.response.version = 1;
	g_assert_false(map_decode(&map, &update, NULL));
}

static gboolean login_decode(Nbm__LoginResponse *response, NbhMgmtUpdate *ret_update,
			     GError **error)
{
	g_autoptr(GBytes) plain = nbh_pb_pack(&response->base);

	return nbh_mgmt_decode_login(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain),
				     ret_update, error);
}

static void test_peer_configs(void)
{
	static guint8 v6[18] = {0xfd, 1, [15] = 2, [16] = 64}, unspecified[17] = {[16] = 64},
		      too_long[17] = {0xfd, [16] = 129}, widest[17] = {0xfd, [15] = 1, [16] = 16},
		      too_wide[17] = {0xfd, [15] = 1, [16] = 15};
	const struct {
		const char *address;
		const guint8 *v6;
		gsize v6_len;
		gint32 mtu;
		const char *error; /* part of it; NULL: fine */
	} cases[] = {
		{"100.64.1.2/16", NULL, 0, 0, NULL},
		{"100.64.1.2/16", v6, 17, 0, NULL},
		{"100.64.1.2/16", NULL, 0, 576, NULL},
		{"100.64.1.2/16", NULL, 0, 8192, NULL},
		{"100.64.1.2/16", NULL, 0, 575, "peerConfig.mtu 575"},
		{"100.64.1.2/16", NULL, 0, 8193, "peerConfig.mtu 8193"},
		{"100.64.1.2/16", NULL, 0, -1, "peerConfig.mtu -1"},
		{"100.64.1.2", NULL, 0, 0, "peerConfig.address \"100.64.1.2\""},
		{"100.64.1.2/33", NULL, 0, 0, "peerConfig.address"},
		{"", NULL, 0, 0, "peerConfig.address \"\""},
		{NULL, NULL, 0, 0, "peerConfig.address \"\""},
		{"0.0.0.0/16", NULL, 0, 0, "peerConfig.address"},
		{"127.0.0.1/8", NULL, 0, 0, "peerConfig.address"},
		{"224.0.0.1/16", NULL, 0, 0, "peerConfig.address"},
		{"100.64.1.2/8", widest, 17, 0, NULL},
		{"100.64.1.2/7", NULL, 0, 0, "wider than /8"},
		{"100.64.1.2/0", NULL, 0, 0, "wider than /8"},
		{"fd00::1/15", NULL, 0, 0, "wider than /16"},
		{"100.64.1.2/16", too_wide, 17, 0, "wider than /16"},
		{"100.64.1.2/16", v6, 16, 0, "peerConfig.address_v6"},
		{"100.64.1.2/16", v6, 18, 0, "peerConfig.address_v6"},
		{"100.64.1.2/16", v6, 5, 0, "peerConfig.address_v6"},
		{"100.64.1.2/16", unspecified, 17, 0, "peerConfig.address_v6"},
		{"100.64.1.2/16", too_long, 17, 0, "peerConfig.address_v6"},
	};
	gsize i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		Nbm__LoginResponse response = NBM__LOGIN_RESPONSE__INIT;
		Nbm__PeerConfig config = NBM__PEER_CONFIG__INIT;
		g_autoptr(GError) error = NULL;
		NbhMgmtUpdate update = {0};

		config.address = (char *)cases[i].address;
		config.has_address_v6 = cases[i].v6 != NULL;
		config.address_v6 = nbh_pb_bytes(cases[i].v6, cases[i].v6_len);
		config.has_mtu = TRUE;
		config.mtu = cases[i].mtu;
		response.peerconfig = &config;
		g_assert_cmpint(login_decode(&response, &update, &error), ==,
				cases[i].error == NULL);

		if (cases[i].error) {
			g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED);
			g_assert_true(g_str_has_prefix(error->message, "LoginResponse: "));
			g_assert_nonnull(strstr(error->message, cases[i].error));
			g_assert_false(update.has_peer_config); /* untouched */
		} else {
			g_assert_true(update.has_peer_config);
			g_assert_cmpint(update.peer_config.address_v6.addr.family, ==,
					cases[i].v6 ? AF_INET6 : 0);
			g_assert_cmpuint(update.peer_config.mtu, ==, (guint)cases[i].mtu);
		}
	}
}

static void test_signal_addresses(void)
{
	const struct {
		const char *uri, *host;
		guint16 port;
	} cases[] = {
		{"signal.example.com:443", "signal.example.com", 443},
		{"[2001:db8::1]:80", "2001:db8::1", 80},
		{"signal.example.com", NULL, 0}, /* the port must be there */
		{"http://signal.example.com:80", NULL, 0},
		{"", NULL, 0},
		{NULL, NULL, 0},
	};
	gsize i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		Nbm__LoginResponse login = NBM__LOGIN_RESPONSE__INIT;
		Nbm__SyncResponse sync = NBM__SYNC_RESPONSE__INIT;
		Nbm__NetbirdConfig servers = NBM__NETBIRD_CONFIG__INIT;
		Nbm__HostConfig signal = NBM__HOST_CONFIG__INIT;
		g_autoptr(GBytes) plain = NULL;
		NbhMgmtUpdate update = {0};

		signal.uri = (char *)cases[i].uri;
		signal.has_protocol = TRUE;
		signal.protocol = NBM__HOST_CONFIG__PROTOCOL__HTTPS;
		servers.signal = &signal;
		login.netbirdconfig = sync.netbirdconfig = &servers;
		g_assert_cmpint(login_decode(&login, &update, NULL), ==, cases[i].host != NULL);

		if (cases[i].host) {
			g_assert_cmpstr(update.servers->signal_host, ==, cases[i].host);
			g_assert_cmpuint(update.servers->signal_port, ==, cases[i].port);
			g_assert_true(update.servers->signal_tls);
			nbh_mgmt_update_clear(&update);
		}

		/* In Sync it is not used, so it costs nothing but itself. */
		plain = nbh_pb_pack(&sync.base);
		g_assert_true(nbh_mgmt_decode_sync(g_bytes_get_data(plain, NULL),
						   g_bytes_get_size(plain), NULL, &update, NULL));
		g_assert_cmpint(update.servers->has_signal, ==, cases[i].host != NULL);
		nbh_mgmt_update_clear(&update);
	}
}

static void test_server_lists(void)
{
	Nbm__LoginResponse response = NBM__LOGIN_RESPONSE__INIT;
	Nbm__NetbirdConfig servers = NBM__NETBIRD_CONFIG__INIT;
	Nbm__HostConfig stuns[20], *stun_of[20];
	Nbm__ProtectedHostConfig turns[2], *turn_of[2];
	Nbm__HostConfig turn = NBM__HOST_CONFIG__INIT;
	Nbm__RelayConfig relay = NBM__RELAY_CONFIG__INIT;
	char *urls[] = {(char *)"rel://a:80", (char *)"http://b", (char *)"rels://c"};
	NbhMgmtUpdate update;
	gsize i;

	for (i = 0; i < G_N_ELEMENTS(stuns); i++) {
		nbm__host_config__init(&stuns[i]);
		stuns[i].uri = (char *)(i == 0 ? "stun://bad" : i == 1 ? "turn:a" : "stun:a:1");
		stun_of[i] = &stuns[i];
	}

	stuns[2].uri = NULL;
	nbm__protected_host_config__init(&turns[0]);
	nbm__protected_host_config__init(&turns[1]);
	turn.uri = (char *)"turn:t?transport=tcp";
	turns[1].hostconfig = &turn;
	turn_of[0] = &turns[0];
	turn_of[1] = &turns[1];
	servers.stuns = stun_of;
	servers.n_stuns = G_N_ELEMENTS(stuns);
	servers.turns = turn_of;
	servers.n_turns = G_N_ELEMENTS(turns);
	relay.urls = urls;
	relay.n_urls = G_N_ELEMENTS(urls);
	servers.relay = &relay;
	response.netbirdconfig = &servers;

	g_assert_true(login_decode(&response, &update, NULL));
	g_assert_cmpuint(update.servers->stuns->len, ==, 16); /* of 17 usable ones */
	g_assert_cmpuint(update.servers->skipped->len, ==, 5);
	g_assert_cmpstr(g_ptr_array_index(update.servers->skipped, 0), ==,
			"stuns[0] \"stun://bad\": not stun:HOST:PORT");
	g_assert_cmpstr(g_ptr_array_index(update.servers->skipped, 3), ==, "stuns[19] \"stun:a:1\": one too many");
	g_assert_cmpuint(update.servers->turns->len, ==, 1);
	g_assert_cmpstr(g_ptr_array_index(update.servers->turns, 0), ==, "turn:t?transport=tcp");
	g_assert_cmpuint(update.servers->relays->len, ==, 2);
	g_assert_cmpstr(g_ptr_array_index(update.servers->relays, 1), ==, "rels://c");
	g_assert_false(update.servers->has_signal);
	nbh_mgmt_update_clear(&update);
}

/* Two bytes that stand for a struct of 100: refused before they take gigabytes. */
static void test_memory_is_bounded(void)
{
	const gsize len = 4 * 1024 * 1024;
	g_autofree guint8 *plain = g_malloc(len);
	g_autoptr(GError) error = NULL;
	NbhMgmtUpdate update;
	gsize i;

	for (i = 0; i < len; i += 2) {
		plain[i] = 0x1a; /* SyncResponse.remotePeers, empty */
		plain[i + 1] = 0;
	}

	g_assert_false(nbh_mgmt_decode_sync(plain, len, NULL, &update, &error));
	g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED);
}

/* The other side of it: the densest map that a hub could honestly send is no such thing. */
static void test_densest_map(void)
{
	g_autofree NbhFirewallRule *rules = g_new0(NbhFirewallRule, NBH_PEERS_MAX);
	NbhSyncResponse response = {.has_map = TRUE, .rules = rules, .n_rules = NBH_PEERS_MAX};
	g_autoptr(GBytes) plain = NULL;
	g_autoptr(GError) error = NULL;
	NbhMgmtUpdate update;
	gsize i;

	for (i = 0; i < NBH_PEERS_MAX; i++)
		rules[i].peer = (struct nbh_addr){AF_INET, {1, 2, 3, (guint8)(i % 9)}};

	plain = nbh_mgmt_encode_sync_response(&response);
	g_assert_cmpuint(g_bytes_get_size(plain), <,
			 22 * NBH_PEERS_MAX); /* or it is not so dense */
	nbh_mgmt_decode_sync(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), NULL, &update,
			     &error);
	g_assert_no_error(error);
	g_assert_cmpuint(update.map->n_rules, ==, NBH_PEERS_MAX);
	nbh_mgmt_update_clear(&update);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/wire/mgmt/skipped-peers", test_skipped_peers);
	g_test_add_func("/wire/mgmt/many-skipped", test_many_skipped);
	g_test_add_func("/wire/mgmt/peers-limit", test_peers_limit);
	g_test_add_func("/wire/mgmt/prefix-limits", test_prefix_limits);
	g_test_add_func("/wire/mgmt/empty-maps", test_empty_maps);
	g_test_add_func("/wire/mgmt/refused-parts", test_refused_parts);
	g_test_add_func("/wire/mgmt/components", test_components);
	g_test_add_func("/wire/mgmt/peer-configs", test_peer_configs);
	g_test_add_func("/wire/mgmt/signal-addresses", test_signal_addresses);
	g_test_add_func("/wire/mgmt/server-lists", test_server_lists);
	g_test_add_func("/wire/mgmt/memory-is-bounded", test_memory_is_bounded);
	g_test_add_func("/wire/mgmt/densest-map", test_densest_map);
	return g_test_run();
}
