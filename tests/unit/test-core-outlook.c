#include "config.h"

#include "core/outlook.h"

#include <string.h>

static NbhPath paths[256];
static gboolean has_idle_endpoint = TRUE;

static const NbhPath *path_of(const struct nbh_key *key, gpointer owner)
{
	g_assert_true(owner == paths);
	return key->bytes[0] == 0 ? NULL : &paths[key->bytes[0]];
}

static gboolean idle_of(const struct nbh_key *key, struct nbh_endpoint *ret_endpoint, gpointer owner)
{
	g_assert_true(owner == paths);
	if (!has_idle_endpoint)
		return FALSE;
	g_assert_cmpint(nbh_endpoint_parse("127.1.0.2:9999", ret_endpoint), ==, 0);
	ret_endpoint->addr.bytes[3] = key->bytes[0];
	return TRUE;
}

static NbhNetmap *map_make(const char *const *fqdns)
{
	gsize n = g_strv_length((char **)fqdns);
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, MAX(n, 1));

	for (gsize i = 0; i < n; i++) {
		peers[i].key.bytes[0] = (guint8)i;
		peers[i].key.bytes[31] = 1;
		peers[i].fqdn = g_strdup(fqdns[i]);
		peers[i].allowed_ips = g_new0(struct nbh_prefix, 1);
		peers[i].n_allowed_ips = 1;
		g_assert_cmpint(nbh_prefix_parse("100.64.0.0/32", &peers[i].allowed_ips[0]), ==, 0);
		peers[i].allowed_ips[0].addr.bytes[3] = (guint8)i;
	}
	return nbh_netmap_new(1, peers, n, NULL);
}

static const char *endpoint_text(const struct nbh_peersfile_peer *peer, char buf[NBH_ENDPOINT_TEXT_MAX])
{
	return nbh_endpoint_is_set(&peer->endpoint) ? nbh_endpoint_format(&peer->endpoint, buf) : "";
}

static void test_peers(void)
{
	static const char *const fqdns[] = {
		"a.netbird.selfhosted", "", "b\x01\xff\n", "d",
		"0123456789012345678901234567890123456789012345678901234567890123456789", NULL,
	};
	g_autoptr(NbhNetmap) map = map_make(fqdns);
	struct nbh_config config = { .preshared_key = { { 9 } } };
	struct nbh_peersfile file;
	char buf[NBH_ENDPOINT_TEXT_MAX];

	memset(paths, 0, sizeof(paths));
	paths[1] = (NbhPath){ .kind = NBH_PATH_NONE, .session = 3, .keepalive_s = 25 };
	paths[2] = (NbhPath){ .kind = NBH_PATH_IDLE, .session = 4, .keepalive_s = 25 };
	paths[3] = (NbhPath){ .kind = NBH_PATH_DIRECT, .session = 0, .keepalive_s = 25 };
	g_assert_cmpint(nbh_endpoint_parse("203.0.113.7:51820", &paths[3].endpoint), ==, 0);
	paths[4] = (NbhPath){ .kind = NBH_PATH_DIRECT, .session = 6, .endpoint = paths[3].endpoint };

	nbh_outlook_peers(map, &config, 12, path_of, idle_of, paths, &file);
	g_assert_cmpuint(file.generation, ==, 12);
	g_assert_cmpuint(file.n_peers, ==, 5);
	g_assert_cmpuint(file.n_arena, ==, 5);
	for (gsize i = 0; i < file.n_peers; i++) {
		g_assert_cmpuint(file.peers[i].public_key.bytes[0], ==, i);
		g_assert_cmpuint(file.peers[i].preshared_key.bytes[0], ==, 9);
		g_assert_cmpuint(file.peers[i].n_allowed_ips, ==, 1);
		g_assert_cmpuint(file.peers[i].allowed_ips[0].addr.bytes[3], ==, i);
	}

	g_assert_cmpstr(file.peers[0].id, ==, "a.netbird.selfhosted");
	g_assert_cmpstr(file.peers[1].id, ==, "AQAAAAAA");
	g_assert_cmpstr(file.peers[2].id, ==, "b???");
	g_assert_cmpuint(strlen(file.peers[4].id), ==, 63);

	g_assert_cmpstr(endpoint_text(&file.peers[0], buf), ==, "");
	g_assert_false(file.peers[0].has_session);
	g_assert_cmpstr(endpoint_text(&file.peers[1], buf), ==, "");
	g_assert_true(file.peers[1].has_session);
	g_assert_cmpuint(file.peers[1].session, ==, 3);
	g_assert_cmpuint(file.peers[1].keepalive_s, ==, 0);
	g_assert_cmpstr(endpoint_text(&file.peers[2], buf), ==, "127.1.0.2:9999");
	g_assert_true(file.peers[2].has_session);
	g_assert_cmpuint(file.peers[2].session, ==, 4);
	g_assert_cmpuint(file.peers[2].keepalive_s, ==, 0);
	g_assert_cmpstr(endpoint_text(&file.peers[3], buf), ==, "203.0.113.7:51820");
	g_assert_true(file.peers[3].has_session);
	g_assert_cmpuint(file.peers[3].session, ==, 0);
	g_assert_cmpuint(file.peers[3].keepalive_s, ==, 25);
	g_assert_cmpuint(file.peers[4].keepalive_s, ==, 0);
	nbh_peersfile_clear(&file);

	has_idle_endpoint = FALSE;
	nbh_outlook_peers(map, &config, 13, path_of, idle_of, paths, &file);
	g_assert_cmpstr(endpoint_text(&file.peers[2], buf), ==, "");
	g_assert_cmpuint(file.peers[2].session, ==, 4);
	nbh_peersfile_clear(&file);
	has_idle_endpoint = TRUE;
}

/* What is published must be what netbird-wg's reader accepts. */
static void test_peers_round_trip(void)
{
	static const char *const none[] = { NULL }, *const some[] = { "x\"\\y", "", "\x7f", NULL };
	const char *const *const all[] = { none, some };
	struct nbh_config config = { .mtu = 0 };

	memset(paths, 0, sizeof(paths));
	paths[1] = (NbhPath){ .kind = NBH_PATH_IDLE, .session = G_MAXUINT32 };
	paths[2] = (NbhPath){ .kind = NBH_PATH_DIRECT, .session = 1, .keepalive_s = 25 };
	g_assert_cmpint(nbh_endpoint_parse("[2001:db8::1]:1", &paths[2].endpoint), ==, 0);

	for (gsize i = 0; i < G_N_ELEMENTS(all); i++) {
		g_autoptr(NbhNetmap) map = map_make(all[i]);
		struct nbh_peersfile file, again;
		struct nbh_why why = { "" };
		size_t len;
		char *text;

		nbh_outlook_peers(map, &config, 1, path_of, idle_of, paths, &file);
		text = nbh_peersfile_format(&file, 0, &len);
		g_assert_cmpint(nbh_peersfile_parse(text, len, &again, &why), ==, 0);
		g_assert_cmpstr(why.text, ==, "");
		g_assert_cmpuint(again.n_peers, ==, file.n_peers);
		for (gsize j = 0; j < file.n_peers; j++) {
			g_assert_cmpstr(again.peers[j].id, ==, file.peers[j].id);
			g_assert_true(nbh_endpoint_equal(&again.peers[j].endpoint, &file.peers[j].endpoint));
			g_assert_cmpuint(again.peers[j].session, ==, file.peers[j].session);
		}

		free(text);
		nbh_peersfile_clear(&file);
		nbh_peersfile_clear(&again);
	}
}

static void test_device(void)
{
	static const struct {
		guint32 own, management, expected;
	} mtus[] = {
		{ 0, 0, 1280 }, { 1280, 0, 1280 }, { 1280, 1400, 1400 }, { 1420, 1400, 1420 },
		{ 1280, 575, 1280 }, { 1280, 576, 576 }, { 1280, 8192, 8192 }, { 1280, 8193, 1280 },
	};
	struct nbh_config config = { .interface = "nbh7", .listen_port = 51821, .fwmark = 5, .userspace = true };
	NbhPeerConfig peer_config = { .mtu = 0 };
	struct nbh_device device;

	nbh_outlook_device(&peer_config, &config, &device);
	g_assert_cmpuint(device.n_addresses, ==, 0);

	g_assert_cmpint(nbh_prefix_parse("100.64.1.2/16", &peer_config.address), ==, 0);
	nbh_outlook_device(&peer_config, &config, &device);
	g_assert_cmpstr(device.interface, ==, "nbh7");
	g_assert_cmpuint(device.listen_port, ==, 51821);
	g_assert_cmpuint(device.fwmark, ==, 5);
	g_assert_true(device.userspace);
	g_assert_cmpuint(device.n_addresses, ==, 1);
	g_assert_cmpint(nbh_prefix_compare(&device.addresses[0], &peer_config.address), ==, 0);

	g_assert_cmpint(nbh_prefix_parse("fd00::2/64", &peer_config.address_v6), ==, 0);
	nbh_outlook_device(&peer_config, &config, &device);
	g_assert_cmpuint(device.n_addresses, ==, 2);
	g_assert_cmpint(nbh_prefix_compare(&device.addresses[1], &peer_config.address_v6), ==, 0);

	for (gsize i = 0; i < G_N_ELEMENTS(mtus); i++) {
		config.mtu = mtus[i].own;
		peer_config.mtu = mtus[i].management;
		nbh_outlook_device(&peer_config, &config, &device);
		g_assert_cmpuint(device.mtu, ==, mtus[i].expected);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/outlook/peers", test_peers);
	g_test_add_func("/core/outlook/peers-round-trip", test_peers_round_trip);
	g_test_add_func("/core/outlook/device", test_device);
	return g_test_run();
}
