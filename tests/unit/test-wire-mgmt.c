#include "config.h"

/* mgmtmsg*.c: what the hub encodes and the client decodes, limits one below, at and one above. */

#include "base/limits.h"
#include "wire/error.h"
#include "wire/mgmtmsg.h"
#include "wire/pb.h"

#include <string.h>

/* A valid key text for each number; number 0 is "our own". */
static struct nbh_key_text key_text(guint number)
{
	struct nbh_key key = {{0}};

	key.bytes[0] = 1;
	key.bytes[1] = (guint8)(number >> 16);
	key.bytes[2] = (guint8)(number >> 8);
	key.bytes[3] = (guint8)number;
	return nbh_key_format(&key);
}

static struct nbh_key key_of(guint number)
{
	struct nbh_key_text text = key_text(number);
	struct nbh_key key;

	g_assert_cmpint(nbh_key_parse(text.text, &key), ==, 0);
	return key;
}

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
	struct nbh_key own = key_of(0);
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
	peer_allow(map_add(&map, key_text(0).text), "100.64.0.1/32"); /* ourselves */
	peer = map_add(&map, key_text(2).text);
	peer_allow(peer, "100.64.0.2/32");
	peer_allow(peer, "10.1.2.3/8"); /* masked */
	peer_allow(peer, "10.0.0.0/8"); /* then the same */
	peer->fqdn = copy("b\x1b.example\xff");
	peer_allow(map_add(&map, key_text(1).text), "100.64.0.1/32"); /* ours is not taken */
	peer_allow(map_add(&map, key_text(2).text),
		   "100.64.0.9/32"); /* the same key again: the first counts */
	peer_allow(map_add(&map, "not a key\n"), "100.64.0.4/32");
	peer_allow(map_add(&map, NULL), "100.64.0.5/32");
	peer_allow(map_add(&map, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), "100.64.0.6/32");
	peer_allow(map_add(&map, key_text(7).text), "100.64.0.7");
	peer_allow(map_add(&map, key_text(8).text), "100.64.0.2/32"); /* peer 2 has it */
	map_add(&map, key_text(9).text); /* nothing allowed: harmless */

	g_assert_true(map_decode(&map, &update, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(update.map->serial, ==, G_MAXUINT64);
	g_assert_cmpuint(update.map->n_peers, ==, 4);
	found = key_of(2);
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

		peer_allow(map_add(&map, key_text(i).text), prefix);
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

		map_add(&map, key_text(NBH_PEERS_MAX + step).text);
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
	peer = map_add(&one, key_text(1).text);

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
		peer = map_add(&map, key_text(1 + i).text);

		for (j = 0; j < NBH_PREFIXES_PER_PEER_MAX; j++) {
			g_autofree char *prefix =
				g_strdup_printf("10.%u.%u.%u/32", i, j >> 8, j & 0xff);

			peer_allow(peer, prefix);
		}
	}

	g_assert_true(map_decode(&map, &update, NULL));
	nbh_mgmt_update_clear(&update);
	map_add(&map, key_text(full + 1).text);
	g_assert_true(map_decode(&map, &update, NULL));
	nbh_mgmt_update_clear(&update);
	peer_allow(map_add(&map, key_text(full + 2).text), "11.0.0.1/32");
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
	peer_allow(map_add(&map, key_text(1).text), "100.64.0.1/32");
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

	peer_allow(map_add(&map, key_text(1).text), "100.64.0.1/32");
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

static void test_requests(void)
{
	static const char *const addresses[] = {"192.168.1.5/24", "10.0.0.1/8", NULL};
	static const char *const macs[] = {"02:00:00:00:00:01", "02:00:00:00:00:02", NULL};
	/* hostname, goOS, kernel, netbirdVersion, two addresses, flags 4 to 7, capabilities. */
	static const guint8 meta_bytes[] =
		"\x0a\x01h\x12\x05linux\x1a\x05Linux\x3a\x06"
		"0.77.1"
		"\x5a\x23\x0a\x0e"
		"192.168.1.5/24\x12\x11"
		"02:00:00:00:00:01"
		"\x5a\x1f\x0a\x0a"
		"10.0.0.1/8\x12\x11"
		"02:00:00:00:00:02"
		"\x8a\x01\x08\x20\x01\x28\x01\x30\x01\x38\x01\x92\x01\x02\x01\x02";
	NbhMeta meta = {.hostname = "h",
			.go_os = "linux",
			.kernel = "Linux",
			.core = "",
			.netbird_version = "0.77.1",
			.addresses = addresses,
			.macs = macs,
			.disable_client_routes = TRUE,
			.disable_server_routes = TRUE,
			.disable_dns = TRUE,
			.disable_firewall = TRUE};
	struct nbh_key own = key_of(5);
	struct nbh_key_text own_text = key_text(5);
	g_autoptr(GBytes) sync = nbh_mgmt_encode_sync(&meta), login = NULL, no_v6 = NULL;
	NbhLoginRequest request;
	const guint8 *data;
	gsize len;

	data = g_bytes_get_data(sync, &len);
	g_assert_cmpuint(data[0], ==, 0x0a);
	g_assert_cmpmem(data + 2, len - 2, meta_bytes, sizeof(meta_bytes) - 1);
	g_assert_true(nbh_mgmt_decode_sync_request(data, len, &request, NULL));
	g_assert_true(request.has_meta && request.ipv6);
	g_assert_cmpstr(request.hostname, ==, "h");
	g_assert_cmpstr(request.platform, ==, "");
	g_assert_cmpstr(request.setup_key, ==, "");
	g_assert_cmpmem(g_bytes_get_data(request.meta_bytes, NULL),
			g_bytes_get_size(request.meta_bytes), meta_bytes, sizeof(meta_bytes) - 1);
	nbh_login_request_clear(&request);

	login = nbh_mgmt_encode_login(&meta, "KEY", &own);
	data = g_bytes_get_data(login, &len);
	g_assert_cmpmem(data, 5, "\x0a\x03KEY", 5);
	g_assert_cmpmem(data + len - 48, 4, "\x22\x2e\x12\x2c",
			4); /* peerKeys: only the key text */
	g_assert_cmpmem(data + len - 44, 44, own_text.text, 44);
	g_assert_true(nbh_mgmt_decode_login_request(data, len, &request, NULL));
	g_assert_cmpstr(request.setup_key, ==, "KEY");
	g_assert_cmpuint(request.ssh_pub_key_len, ==, 0);
	nbh_login_request_clear(&request);

	meta.disable_ipv6 = TRUE;
	no_v6 = nbh_mgmt_encode_sync(&meta);
	data = g_bytes_get_data(no_v6, &len);
	g_assert_cmpmem(data + len - 4, 4, "\x92\x01\x01\x01", 4);
	g_assert_true(nbh_mgmt_decode_sync_request(data, len, &request, NULL));
	g_assert_false(request.ipv6);
	nbh_login_request_clear(&request);
}

static gboolean login_request_decode(Nbm__LoginRequest *message, NbhLoginRequest *ret_request,
				     GError **error)
{
	g_autoptr(GBytes) plain = nbh_pb_pack(&message->base);

	return nbh_mgmt_decode_login_request(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain),
					     ret_request, error);
}

static void test_request_limits(void)
{
	Nbm__LoginRequest message = NBM__LOGIN_REQUEST__INIT;
	Nbm__PeerSystemMeta meta = NBM__PEER_SYSTEM_META__INIT;
	Nbm__PeerKeys keys = NBM__PEER_KEYS__INIT;
	g_autofree char *text = g_strnfill(5000, 'k');
	NbhLoginRequest request;
	gsize len;

	g_assert_true(login_request_decode(&message, &request, NULL));
	g_assert_false(request.has_meta);
	g_assert_cmpstr(request.hostname, ==, "");
	nbh_login_request_clear(&request);

	for (len = 254; len <= 256; len++) {
		g_autofree char *key = g_strndup(text, len);
		g_autoptr(GError) error = NULL;
		gboolean ok;

		message.setupkey = key;
		ok = login_request_decode(&message, &request, &error);
		g_assert_cmpint(ok, ==, len <= 255);

		if (ok) {
			g_assert_cmpstr(request.setup_key, ==, key);
			nbh_login_request_clear(&request);
		} else {
			g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT);
			g_assert_null(strstr(error->message, "kkk"));
		}
	}

	message.setupkey = NULL;
	message.peerkeys = &keys;
	keys.has_sshpubkey = TRUE;

	for (len = 4095; len <= 4097; len++) {
		keys.sshpubkey = nbh_pb_bytes(text, len);
		g_assert_cmpint(login_request_decode(&message, &request, NULL), ==, len <= 4096);

		if (len <= 4096) {
			g_assert_cmpmem(request.ssh_pub_key, request.ssh_pub_key_len, text, len);
			nbh_login_request_clear(&request);
		}
	}

	keys.has_sshpubkey = FALSE;
	message.meta = &meta;
	meta.hostname = text; /* cut, not refused: the hub makes a label of it */
	g_assert_true(login_request_decode(&message, &request, NULL));
	g_assert_cmpuint(strlen(request.hostname), ==, 255);
	nbh_login_request_clear(&request);
}

static void test_sync_without_text(void)
{
	Nbm__SyncRequest message = NBM__SYNC_REQUEST__INIT;
	Nbm__PeerSystemMeta meta = NBM__PEER_SYSTEM_META__INIT;
	Nbm__Flags flags = NBM__FLAGS__INIT;
	NbhLoginRequest request;
	guint i;

	message.meta = &meta;
	meta.flags = &flags;
	meta.hostname = (char *)"";

	for (i = 0; i < 2; i++) {
		g_autoptr(GBytes) plain = nbh_pb_pack(&message.base);

		g_assert_true(nbh_mgmt_decode_sync_request(
			g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), &request, NULL));
		g_assert_cmpint(request.has_meta, ==, i == 1);
		nbh_login_request_clear(&request);
		meta.osversion = (char *)"12";
	}
}

static NbhServerConfig *servers_new(void)
{
	NbhServerConfig *servers = g_new0(NbhServerConfig, 1);

	servers->has_signal = TRUE;
	g_strlcpy(servers->signal_host, "2001:db8::1", sizeof(servers->signal_host));
	servers->signal_port = 8080;
	servers->stuns = g_ptr_array_new_with_free_func(g_free);
	servers->turns = g_ptr_array_new_with_free_func(g_free);
	servers->relays = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(servers->stuns, g_strdup("stun:192.0.2.1:3478"));
	return servers;
}

/* One map with everything that the hub can send. */
static GBytes *hub_message(void)
{
	static const char *const allowed[] = {"100.64.0.2/32", "fd00::2/128", NULL};
	static const NbhZoneRecord records[] = {{"a.nb.test", "100.64.0.1", FALSE},
						{"b.nb.test", "fd00::2", TRUE}};
	g_autoptr(NbhServerConfig) servers = servers_new();
	NbhPeerConfig config = {.fqdn = "a.nb.test", .lazy = TRUE};
	struct nbh_key_text far_text = key_text(2);
	NbhRemotePeer peer = {.key_text = far_text.text,
			      .allowed_ips = allowed,
			      .fqdn = "b.nb.test",
			      .agent_version = "0.77.1",
			      .ssh_pub_key = (const guint8 *)"ssh",
			      .ssh_pub_key_len = 3};
	NbhFirewallRule rules[2] = {{.policy_id = "p"}, {.out = TRUE}};
	NbhSyncResponse response = {.servers = servers,
				    .peer_config = &config,
				    .has_map = TRUE,
				    .serial = 7,
				    .peers = &peer,
				    .n_peers = 1,
				    .rules = rules,
				    .n_rules = 2,
				    .dns_domain = "nb.test",
				    .records = records,
				    .n_records = 2,
				    .dns_forwarder_port = 22054};

	g_assert_cmpint(nbh_prefix_parse("100.64.0.1/16", &config.address), ==, 0);
	g_assert_cmpint(nbh_prefix_parse("fd00::1/64", &config.address_v6), ==, 0);
	g_assert_cmpint(nbh_addr_parse("100.64.0.2", &rules[0].peer), ==, 0);
	g_assert_cmpint(nbh_addr_parse("::", &rules[1].peer), ==, 0);
	return nbh_mgmt_encode_sync_response(&response);
}

/* What the hub says, the client understands. */
static void test_hub_to_client(void)
{
	g_autoptr(GBytes) plain = hub_message();
	struct nbh_key far = key_of(2), own = key_of(0);
	char text[NBH_PREFIX_TEXT_MAX];
	NbhMgmtUpdate update;

	g_assert_true(nbh_mgmt_decode_sync(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain),
					   &own, &update, NULL));
	g_assert_cmpstr(update.servers->signal_host, ==, "2001:db8::1");
	g_assert_cmpuint(update.servers->signal_port, ==, 8080);
	g_assert_false(update.servers->signal_tls);
	g_assert_cmpuint(update.servers->relays->len, ==, 0);
	g_assert_true(update.has_peer_config && update.peer_config.lazy);
	g_assert_cmpstr(nbh_prefix_format(&update.peer_config.address, text), ==, "100.64.0.1/16");
	g_assert_cmpstr(nbh_prefix_format(&update.peer_config.address_v6, text), ==, "fd00::1/64");
	g_assert_cmpuint(update.map->serial, ==, 7);
	g_assert_cmpuint(update.map->n_rules, ==, 2);
	g_assert_nonnull(nbh_netmap_find(update.map, &far));
	g_assert_cmpuint(nbh_netmap_find(update.map, &far)->n_allowed_ips, ==, 2);
	nbh_mgmt_update_clear(&update);
}

/* And what only official clients read is there, too. */
static void test_hub_to_official(void)
{
	g_autoptr(GBytes) plain = hub_message();
	Nbm__SyncResponse *message = nbm__sync_response__unpack(NULL, g_bytes_get_size(plain),
								g_bytes_get_data(plain, NULL));

	g_assert_nonnull(message);
	g_assert_nonnull(message->sessionexpiresat);
	g_assert_null(message->netbirdconfig->relay);
	g_assert_cmpstr(message->netbirdconfig->signal->uri, ==, "[2001:db8::1]:8080");
	g_assert_false(message->remotepeersisempty || message->networkmap->remotepeersisempty);
	g_assert_false(message->networkmap->firewallrulesisempty);
	g_assert_true(message->networkmap->routesfirewallrulesisempty);
	g_assert_cmpstr(message->networkmap->dnsconfig->customzones[0]->domain, ==, "nb.test.");
	g_assert_cmpint(message->networkmap->dnsconfig->customzones[0]->records[1]->type, ==, 28);
	g_assert_cmpstr(message->networkmap->firewallrules[0]->peerip, ==, "100.64.0.2");
	g_assert_cmpmem(message->networkmap->firewallrules[0]->sourceprefixes[0].data,
			message->networkmap->firewallrules[0]->sourceprefixes[0].len,
			"\x64\x40\x00\x02\x20", 5);
	g_assert_cmpuint(message->networkmap->firewallrules[1]->sourceprefixes[0].len, ==, 17);
	g_assert_cmpuint(message->networkmap->firewallrules[1]->sourceprefixes[0].data[16], ==,
			 0); /* everybody */
	g_assert_true(message->networkmap->firewallrules[1]->direction == NBM__RULE_DIRECTION__OUT);
	nbm__sync_response__free_unpacked(message, NULL);
}

/* netbird-hub.md 4.3: the flags are what tells "none" from "too old to know". */
static void test_empty_flags(void)
{
	/* {4: true, 5: {1: 47, 4: true, 6: {4: 22054}, 9: true}}, a deleted peer's last message. */
	static const guint8 deleted[] =
		"\x20\x01\x2a\x0c\x08\x2f\x20\x01\x32\x04\x20\xa6\xac\x01\x48\x01";
	NbhSyncResponse response = {.has_map = TRUE, .serial = 47, .dns_forwarder_port = 22054};
	g_autoptr(GBytes) plain = nbh_mgmt_encode_sync_response(&response), none = NULL;

	g_assert_cmpmem(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), deleted,
			sizeof(deleted) - 1);

	response = (NbhSyncResponse){0};
	none = nbh_mgmt_encode_sync_response(&response);
	g_assert_cmpuint(g_bytes_get_size(none), ==, 0);
}

static void test_envelope(void)
{
	struct nbh_key a, b, c, a_public, b_public, c_public, sender;
	g_autoptr(GBytes) sealed = NULL, opened = NULL;
	g_autoptr(GError) error = NULL;
	const guint8 *data;
	gsize i, len;

	nbh_key_generate_private(&a);
	nbh_key_generate_private(&b);
	nbh_key_generate_private(&c);
	nbh_key_public(&a, &a_public);
	nbh_key_public(&b, &b_public);
	nbh_key_public(&c, &c_public);
	sealed = nbh_mgmt_seal(&a, &b_public, NULL, 0);
	data = g_bytes_get_data(sealed, &len);
	g_assert_cmpuint(len, ==, 88); /* netbird-wire.md 1.2: an empty body is still a box */
	opened = nbh_mgmt_open(&b, &a_public, data, len, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(g_bytes_get_size(opened), ==, 0);
	g_assert_true(nbh_mgmt_sender(data, len, &sender, NULL));
	g_assert_true(nbh_key_equal(&sender, &a_public));

	g_assert_null(nbh_mgmt_open(&c, &a_public, data, len, &error));
	g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_SEALED);
	g_clear_error(&error);
	g_assert_null(nbh_mgmt_open(&b, &c_public, data, len, &error)); /* a restarted server */
	g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_SEALED);

	for (i = 0; i < len; i++)
		g_assert_null(nbh_mgmt_open(&b, &a_public, data, i, NULL));
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
	g_test_add_func("/wire/mgmt/requests", test_requests);
	g_test_add_func("/wire/mgmt/request-limits", test_request_limits);
	g_test_add_func("/wire/mgmt/sync-without-text", test_sync_without_text);
	g_test_add_func("/wire/mgmt/hub-to-client", test_hub_to_client);
	g_test_add_func("/wire/mgmt/hub-to-official", test_hub_to_official);
	g_test_add_func("/wire/mgmt/empty-flags", test_empty_flags);
	g_test_add_func("/wire/mgmt/envelope", test_envelope);
	return g_test_run();
}
