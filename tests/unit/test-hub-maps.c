/* What the hub writes, read back: LoginResponse and SyncResponse. */

#include "config.h"

#include "hub/maps.h"
#include "wire/mgmtmsg.h"

#include <glib/gstdio.h>
#include <string.h>

typedef struct {
	char *dir;
	NbhStore *store;
	NbhRegistry *registry;
	struct nbh_prefix network;
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
	(void)data;
	f->dir = g_dir_make_tmp("test-hub-maps-XXXXXX", NULL);
	f->store = nbh_store_open(f->dir, NULL);
	g_assert_nonnull(f->store);
	f->registry = nbh_registry_new(f->store, NULL);
	g_assert_true(nbh_store_network(f->store, &f->network, NULL));
}

static void tear_down(Fixture *f, gconstpointer data)
{
	static const char *const names[] = { "hub.db", "hub.db-wal", "hub.db-shm" };

	(void)data;
	nbh_registry_free(f->registry);
	nbh_store_close(f->store);
	for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(f->dir, names[i], NULL);

		(void)g_unlink(path);
	}
	g_assert_cmpint(g_rmdir(f->dir), ==, 0);
	g_free(f->dir);
}

static const NbhHubPeer *join(Fixture *f, guint8 number, const char *hostname, const char *version)
{
	char text[NBH_SETUPKEY_LEN + 1];
	const NbhRegistration registration = {
		.key = { .bytes = { number, 1 } },
		.setup_key = text,
		.hostname = hostname,
		.version = version,
	};
	gint64 id;

	g_assert_true(nbh_store_create_key(f->store, "", FALSE, 0, 1, text, &id, NULL));
	return nbh_registry_register(f->registry, &registration, NULL);
}

static NbhMaps *make(const Fixture *f, const char *host, gboolean tls, guint16 stun)
{
	const NbhMapsConfig config = { host, 8080, tls, stun, "test.internal", FALSE, NULL };

	return nbh_maps_new(&config, &f->network);
}

static void read_sync(GBytes *plain, const NbhHubPeer *peer, NbhMgmtUpdate *ret_update)
{
	g_autoptr(GError) error = NULL;
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);

	g_assert_true(nbh_mgmt_decode_sync(data, len, &peer->key, ret_update, &error));
	g_assert_no_error(error);
	g_bytes_unref(plain);
}

static void test_servers(Fixture *f, gconstpointer data)
{
	static const struct {
		const char *host;
		gboolean tls;
		guint16 stun;
		const char *uri; /* NULL: none */
	} cases[] = {
		{ "203.0.113.1", FALSE, 3478, "stun:203.0.113.1:3478" },
		{ "hub.example.org", TRUE, 1, "stun:hub.example.org:1" },
		{ "2001:db8::1", FALSE, 3478, "stun:[2001:db8::1]:3478" },
		{ "203.0.113.1", FALSE, 0, NULL },
	};
	const NbhHubPeer *peer = join(f, 1, "a", "1.2.3");

	(void)data;
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		NbhMaps *maps = make(f, cases[i].host, cases[i].tls, cases[i].stun);
		g_autoptr(GBytes) plain = nbh_maps_login(maps, peer);
		NbhMgmtUpdate login = { 0 }, sync = { 0 };
		gsize len;
		const guint8 *bytes = g_bytes_get_data(plain, &len);

		g_assert_true(nbh_mgmt_decode_login(bytes, len, &login, NULL));
		read_sync(nbh_maps_sync(maps, f->registry, peer, TRUE), peer, &sync);
		/* Without one of these official daemons crash (netbird-hub.md 4.1). */
		g_assert_true(login.servers && login.servers->has_signal && login.has_peer_config);
		g_assert_cmpstr(login.servers->signal_host, ==, cases[i].host);
		g_assert_cmpuint(login.servers->signal_port, ==, 8080);
		g_assert_cmpint(login.servers->signal_tls, ==, cases[i].tls);
		g_assert_cmpmem(&login.peer_config, sizeof(login.peer_config), &sync.peer_config,
				sizeof(sync.peer_config));
		/* STUN counts in the first Sync only (4.2). */
		g_assert_nonnull(sync.servers);
		g_assert_cmpuint(sync.servers->stuns->len, ==, cases[i].uri ? 1 : 0);
		if (cases[i].uri)
			g_assert_cmpstr(sync.servers->stuns->pdata[0], ==, cases[i].uri);
		nbh_mgmt_update_clear(&login);
		nbh_mgmt_update_clear(&sync);
		nbh_maps_free(maps);
	}
}

static void test_later_maps(Fixture *f, gconstpointer data)
{
	NbhMaps *maps = make(f, "203.0.113.1", FALSE, 3478);
	const NbhHubPeer *a = join(f, 1, "a", "0.77.1");
	const NbhHubPeer *b;
	NbhMgmtUpdate update = { 0 };
	g_autoptr(GBytes) before = NULL;
	g_autoptr(GBytes) again = NULL;

	(void)data;
	read_sync(nbh_maps_sync(maps, f->registry, a, FALSE), a, &update);
	/* No netbirdConfig: a present one without relay would switch relaying off (4.2). */
	g_assert_null(update.servers);
	g_assert_cmpuint(update.map->n_peers, ==, 0);
	g_assert_cmpuint(update.map->serial, ==, nbh_registry_serial(f->registry));
	nbh_mgmt_update_clear(&update);
	b = join(f, 2, "b", "0.77.1+nbh");
	read_sync(nbh_maps_sync(maps, f->registry, a, FALSE), a, &update);
	g_assert_cmpuint(update.map->n_peers, ==, 1);
	g_assert_true(nbh_key_equal(&update.map->peers[0].key, &b->key));
	g_assert_cmpstr(update.map->peers[0].agent_version, ==, "0.77.1+nbh");
	g_assert_cmpuint(update.map->n_rules, ==, 2);
	nbh_mgmt_update_clear(&update);
	/* The same state makes the same bytes: order is stable. */
	before = nbh_maps_sync(maps, f->registry, a, FALSE);
	again = nbh_maps_sync(maps, f->registry, a, FALSE);
	g_assert_true(g_bytes_equal(before, again));
	nbh_maps_free(maps);
}

static void test_goodbye(Fixture *f, gconstpointer data)
{
	/* {4: true, 5: {1: 7, 4: true, 9: true}}: netbird-wire.md 2.8, without a forwarder port. */
	static const guint8 expected[] = { 0x20, 1, 0x2a, 6, 0x08, 7, 0x20, 1, 0x48, 1 };
	NbhMaps *maps = make(f, "203.0.113.1", FALSE, 3478);
	g_autoptr(GBytes) plain = nbh_maps_goodbye(maps, 7);
	gsize len;
	const guint8 *bytes = g_bytes_get_data(plain, &len);

	(void)data;
	g_assert_cmpmem(bytes, len, expected, sizeof(expected));
	nbh_maps_free(maps);
}

static gboolean is_other_letter(const char *name, const char *other)
{
	return name[0] != other[0];
}

/* Who may not see whom has no entry of the other in the map. */
static void test_may_see(Fixture *f, gconstpointer data)
{
	const NbhMapsConfig config = { "h", 8080, FALSE, 0, "test.internal", FALSE, is_other_letter };
	NbhMaps *maps = nbh_maps_new(&config, &f->network);
	const NbhHubPeer *peers[] = { join(f, 1, "a1", ""), join(f, 2, "b1", ""), join(f, 3, "a2", "") };
	static const gsize expected[] = { 1, 2, 1 };

	(void)data;
	for (gsize i = 0; i < G_N_ELEMENTS(peers); i++) {
		NbhMgmtUpdate update = { 0 };

		read_sync(nbh_maps_sync(maps, f->registry, peers[i], TRUE), peers[i], &update);
		g_assert_cmpuint(update.map->n_peers, ==, expected[i]);
		for (gsize j = 0; j < G_N_ELEMENTS(peers); j++)
			g_assert_cmpint(!!nbh_netmap_find(update.map, &peers[j]->key), ==,
					is_other_letter(peers[i]->name, peers[j]->name));
		nbh_mgmt_update_clear(&update);
	}
	nbh_maps_free(maps);
}

#define ADD(name, func) g_test_add("/hub/maps/" name, Fixture, NULL, set_up, func, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("servers", test_servers);
	ADD("later-maps", test_later_maps);
	ADD("may-see", test_may_see);
	ADD("goodbye", test_goodbye);
	return g_test_run();
}
