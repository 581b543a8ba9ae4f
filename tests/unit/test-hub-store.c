/* The store: schema, setup keys, registration, and what a second process sees. */

#include "config.h"

#include "hub/admin.h"
#include "hub/registry.h"
#include "hub/store.h"

#include <glib/gstdio.h>
#include <string.h>

#define NOW 1800000000

typedef struct {
	char *dir;
	NbhStore *store;
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	(void)data;
	f->dir = g_dir_make_tmp("test-hub-store-XXXXXX", NULL);
	f->store = nbh_store_open(f->dir, &error);
	g_assert_no_error(error);
}

static void remove_file(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);

	(void)g_unlink(path);
}

static void tear_down(Fixture *f, gconstpointer data)
{
	(void)data;
	nbh_store_close(f->store);
	remove_file(f->dir, "hub.db");
	remove_file(f->dir, "hub.db-wal");
	remove_file(f->dir, "hub.db-shm");
	g_assert_cmpint(g_rmdir(f->dir), ==, 0);
	g_free(f->dir);
}

static struct nbh_key make_key(guint8 number)
{
	return (struct nbh_key){ .bytes = { number, 1, 2, 3 } };
}

static NbhHubPeer *join(NbhStore *store, guint8 number, const char *hostname, const char *setup_key,
			gint64 now_s, GError **error)
{
	g_autoptr(GBytes) meta = g_bytes_new_static("meta", 4);
	const NbhRegistration registration = {
		.key = make_key(number),
		.setup_key = setup_key,
		.hostname = hostname,
		.version = "0.77.1",
		.meta = meta,
	};

	return nbh_store_register(store, &registration, now_s, error);
}

static gint64 create_key(NbhStore *store, gboolean reusable, gint64 expires_s,
			 char ret_text[NBH_SETUPKEY_LEN + 1])
{
	g_autoptr(GError) error = NULL;
	gint64 id = 0;

	g_assert_true(nbh_store_create_key(store, "k", reusable, expires_s, NOW, ret_text, &id, &error));
	g_assert_no_error(error);
	return id;
}

/* The reason of the refusal, or NULL when the peer joined. */
static char *refused(NbhStore *store, guint8 number, const char *setup_key, gint64 now_s)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(NbhHubPeer) peer = join(store, number, "host", setup_key, now_s, &error);

	if (peer)
		return NULL;
	g_assert_error(error, NBH_STORE_ERROR, NBH_STORE_KEY_REFUSED);
	return g_strdup(error->message);
}

static void assert_refused(NbhStore *store, guint8 number, const char *setup_key, gint64 now_s,
			   const char *reason)
{
	g_autofree char *text = refused(store, number, setup_key, now_s);

	g_assert_cmpstr(text, ==, reason);
}

static void test_setup_keys(Fixture *f, gconstpointer data)
{
	char once[NBH_SETUPKEY_LEN + 1], many[NBH_SETUPKEY_LEN + 1], revoked[NBH_SETUPKEY_LEN + 1];
	g_autofree char *lower = NULL;
	g_autoptr(GPtrArray) keys = NULL;
	g_autoptr(GError) error = NULL;
	gint64 id;

	(void)data;
	create_key(f->store, FALSE, 0, once);
	create_key(f->store, TRUE, NOW + 10, many);
	id = create_key(f->store, TRUE, 0, revoked);
	g_assert_true(nbh_store_revoke_key(f->store, id, NULL));
	g_assert_false(nbh_store_revoke_key(f->store, 99, &error));
	g_assert_error(error, NBH_STORE_ERROR, NBH_STORE_NOT_FOUND);
	assert_refused(f->store, 1, once, NOW, NULL);
	assert_refused(f->store, 2, once, NOW, "used");
	lower = g_ascii_strdown(many, -1);
	assert_refused(f->store, 2, lower, NOW + 9, NULL);
	assert_refused(f->store, 3, many, NOW + 9, NULL);
	assert_refused(f->store, 4, many, NOW + 10, "expired");
	assert_refused(f->store, 4, revoked, NOW, "revoked");
	assert_refused(f->store, 4, "11111111-2222-3333-4444-555555555555", NOW, "unknown");
	assert_refused(f->store, 4, "no key at all' OR 1=1 --", NOW, "unknown");
	keys = nbh_store_keys(f->store, NULL);
	g_assert_cmpuint(keys->len, ==, 3);
	g_assert_cmpint(((NbhSetupKey *)keys->pdata[0])->used, ==, 1);
	g_assert_cmpint(((NbhSetupKey *)keys->pdata[1])->used, ==, 2);
	g_assert_cmpint(((NbhSetupKey *)keys->pdata[1])->last_used_s, ==, NOW + 9);
	g_assert_cmpstr(nbh_setup_key_state(keys->pdata[0], NOW), ==, "used");
	g_assert_cmpstr(nbh_setup_key_state(keys->pdata[1], NOW), ==, "valid");
	g_assert_cmpstr(nbh_setup_key_state(keys->pdata[2], NOW), ==, "revoked");
}

/* What was shown once is nowhere in the files. */
static void test_secret_not_stored(Fixture *f, gconstpointer data)
{
	static const char *const names[] = { "hub.db", "hub.db-wal" };
	char text[NBH_SETUPKEY_LEN + 1];

	(void)data;
	create_key(f->store, FALSE, 0, text);
	for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(f->dir, names[i], NULL);
		g_autofree char *content = NULL;
		gsize len;

		g_assert_true(g_file_get_contents(path, &content, &len, NULL));
		g_assert_null(memmem(content, len, text, NBH_SETUPKEY_LEN));
		g_assert_null(memmem(content, len, text + 9, NBH_SETUPKEY_LEN - 9));
	}
}

static void test_names_and_addresses(Fixture *f, gconstpointer data)
{
	char key[NBH_SETUPKEY_LEN + 1];
	g_autofree char *with_address = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(NbhHubPeer) first = NULL;
	g_autoptr(NbhHubPeer) second = NULL;
	g_autoptr(NbhHubPeer) third = NULL;
	g_autoptr(GPtrArray) peers = NULL;
	struct nbh_prefix network;
	guint64 before, after;

	(void)data;
	create_key(f->store, TRUE, 0, key);
	g_assert_true(nbh_store_network(f->store, &network, NULL));
	g_assert_true(nbh_store_serial(f->store, &before, NULL));
	first = join(f->store, 1, "Web.example.org", key, NOW, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(first->name, ==, "Web.example.org");
	g_assert_cmpstr(first->label, ==, "web");
	g_assert_true(nbh_prefix_contains(&network, &first->ip));
	g_assert_true(nbh_store_serial(f->store, &after, NULL));
	g_assert_cmpuint(after, ==, before + 1);
	second = join(f->store, 2, "web", key, NOW, &error);
	g_assert_no_error(error);
	with_address = g_strdup_printf("web-%u-%u", second->ip.bytes[2], second->ip.bytes[3]);
	g_assert_cmpstr(second->label, ==, with_address);
	g_assert_false(nbh_addr_equal(&first->ip, &second->ip));
	g_assert_null(join(f->store, 1, "again", key, NOW, &error));
	g_assert_error(error, NBH_STORE_ERROR, NBH_STORE_EXISTS);
	g_clear_error(&error);
	/* Nothing of a refused one stays: the key is not counted as used. */
	g_assert_null(join(f->store, 3, "...", key, NOW, &error));
	g_assert_error(error, NBH_STORE_ERROR, NBH_STORE_BAD_NAME);
	third = join(f->store, 3, "c", key, NOW, NULL);
	g_assert_nonnull(third);
	peers = nbh_store_peers(f->store, NULL);
	g_assert_cmpuint(peers->len, ==, 3);
	g_assert_true(nbh_store_remove_peer(f->store, first->id, NULL));
	g_assert_false(nbh_store_remove_peer(f->store, first->id, NULL));
	/* Its label is free again. */
	g_clear_pointer(&first, nbh_hub_peer_free);
	first = join(f->store, 4, "web", key, NOW, NULL);
	g_assert_cmpstr(first->label, ==, "web");
}

static void test_survives(Fixture *f, gconstpointer data)
{
	char key[NBH_SETUPKEY_LEN + 1];
	g_autoptr(NbhHubPeer) peer = NULL;
	g_autoptr(GPtrArray) peers = NULL;
	g_autoptr(GError) error = NULL;
	struct nbh_prefix before, after;
	guint64 serial, later;
	const NbhHubPeer *read;

	(void)data;
	create_key(f->store, TRUE, 0, key);
	peer = join(f->store, 1, "a", key, NOW, NULL);
	peer->connected = TRUE;
	peer->last_seen_s = NOW + 5;
	peers = g_ptr_array_new();
	g_ptr_array_add(peers, peer);
	g_assert_true(nbh_store_note_seen(f->store, peers, NULL));
	g_clear_pointer(&peers, g_ptr_array_unref);
	g_assert_true(nbh_store_network(f->store, &before, NULL));
	g_assert_true(nbh_store_serial(f->store, &serial, NULL));
	nbh_store_close(f->store);
	f->store = nbh_store_open(f->dir, &error);
	g_assert_no_error(error);
	g_assert_true(nbh_store_network(f->store, &after, NULL));
	g_assert_cmpint(nbh_prefix_compare(&before, &after), ==, 0);
	peers = nbh_store_peers(f->store, NULL);
	g_assert_cmpuint(peers->len, ==, 1);
	read = peers->pdata[0];
	g_assert_true(nbh_key_equal(&read->key, &peer->key));
	g_assert_true(nbh_addr_equal(&read->ip, &peer->ip));
	g_assert_true(g_bytes_equal(read->meta, peer->meta));
	g_assert_null(read->ssh_key);
	g_assert_true(read->connected);
	g_assert_cmpint(read->last_seen_s, ==, NOW + 5);
	/* A start makes the serial newer than any earlier one and nobody connected. */
	g_assert_true(nbh_store_begin_serving(f->store, 5, NULL));
	g_assert_true(nbh_store_serial(f->store, &later, NULL));
	g_assert_cmpuint(later, ==, serial + 1000);
	g_assert_true(nbh_store_begin_serving(f->store, NOW, NULL));
	g_assert_true(nbh_store_serial(f->store, &later, NULL));
	g_assert_cmpuint(later, ==, NOW);
	g_clear_pointer(&peers, g_ptr_array_unref);
	peers = nbh_store_peers(f->store, NULL);
	g_assert_false(((NbhHubPeer *)peers->pdata[0])->connected);
}

static void test_foreign_files(Fixture *f, gconstpointer data)
{
	g_autofree char *path = g_build_filename(f->dir, "hub.db", NULL);
	g_autoptr(GError) error = NULL;

	(void)data;
	nbh_store_close(f->store);
	f->store = NULL;
	g_assert_true(g_file_set_contents(path, "this is not a database, but it is long enough", -1, NULL));
	g_assert_null(nbh_store_open(f->dir, &error));
	g_assert_error(error, NBH_STORE_ERROR, NBH_STORE_DATABASE);
	g_assert_nonnull(strstr(error->message, "hub.db"));
	g_clear_error(&error);
	g_assert_null(nbh_store_open("/nonexistent", &error));
	g_assert_error(error, NBH_STORE_ERROR, NBH_STORE_DATABASE);
}

typedef struct {
	guint n_changed, n_removed;
	struct nbh_key removed;
} Seen;

static void on_changed(gpointer owner)
{
	((Seen *)owner)->n_changed++;
}

static void on_removed(const struct nbh_key *key, gpointer owner)
{
	((Seen *)owner)->n_removed++;
	((Seen *)owner)->removed = *key;
}

static char *admin(NbhStore *store, const char *line, GError **error)
{
	g_auto(GStrv) words = g_strsplit(line, " ", -1);
	g_autofree char *text = NULL;
	char *buffer = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&buffer, &len);
	FILE *err = fopen("/dev/null", "w");
	NbhHubOptions options;
	gboolean ok;

	g_assert_true(nbh_hub_options_parse((int)g_strv_length(words), words, &options, error));
	ok = nbh_admin_run(&options, store, FALSE, NOW, out, err, error);
	nbh_hub_options_clear(&options);
	fclose(out);
	fclose(err);
	text = g_strdup(buffer);
	free(buffer);
	return ok ? g_steal_pointer(&text) : NULL;
}

/* A running hub's registry, and admin commands on a connection of their own. */
static void test_admin_while_running(Fixture *f, gconstpointer data)
{
	static const NbhRegistryEvents events = { on_changed, on_removed };
	g_autoptr(GError) error = NULL;
	NbhStore *other = nbh_store_open(f->dir, NULL);
	NbhRegistry *registry = nbh_registry_new(f->store, NULL);
	g_autofree char *key = admin(other, "hub key create --reusable", &error);
	g_autofree char *keys = NULL;
	g_autofree char *list = NULL;
	NbhRegistration registration = { .setup_key = key, .version = "1" };
	Seen seen = { 0 };
	guint64 generation, serial;

	(void)data;
	g_assert_no_error(error);
	g_strchomp(key);
	nbh_registry_set_events(registry, &events, &seen);
	registration.key = make_key(1);
	registration.hostname = "a";
	g_assert_nonnull(nbh_registry_register(registry, &registration, NULL));
	registration.key = make_key(2);
	registration.hostname = "b";
	g_assert_nonnull(nbh_registry_register(registry, &registration, NULL));
	g_assert_cmpuint(seen.n_changed, ==, 2);
	generation = nbh_registry_generation(registry);
	serial = nbh_registry_serial(registry);
	nbh_registry_poll(registry);
	g_assert_cmpuint(nbh_registry_generation(registry), ==, generation);
	list = admin(other, "hub peer list --json", NULL);
	g_assert_nonnull(strstr(list, "\"label\": \"b\""));
	keys = admin(other, "hub key list", NULL);
	g_assert_null(strstr(keys, key));
	g_assert_null(admin(other, "hub peer remove nobody", &error));
	g_assert_error(error, NBH_STORE_ERROR, NBH_STORE_NOT_FOUND);
	g_free(admin(other, "hub peer remove B", NULL));
	nbh_registry_poll(registry);
	registration.key = make_key(2);
	g_assert_cmpuint(seen.n_removed, ==, 1);
	g_assert_true(nbh_key_equal(&seen.removed, &registration.key));
	g_assert_null(nbh_registry_find(registry, &registration.key));
	g_assert_cmpuint(nbh_registry_generation(registry), ==, generation + 1);
	g_assert_cmpuint(nbh_registry_serial(registry), >, serial);
	nbh_registry_free(registry);
	nbh_store_close(other);
}

/* What does not show in maps makes no new maps. */
static void test_updates(Fixture *f, gconstpointer data)
{
	NbhRegistry *registry = nbh_registry_new(f->store, NULL);
	g_autoptr(GBytes) one = g_bytes_new_static("one", 3);
	g_autoptr(GBytes) none = g_bytes_new_static("", 0);
	char key[NBH_SETUPKEY_LEN + 1];
	NbhRegistration registration = { .setup_key = key, .hostname = "a", .version = "1" };
	const NbhHubPeer *peer;
	guint64 generation;

	(void)data;
	create_key(f->store, TRUE, 0, key);
	registration.key = make_key(1);
	peer = nbh_registry_register(registry, &registration, NULL);
	generation = nbh_registry_generation(registry);
	nbh_registry_update(registry, &peer->key, "1", one, none);
	g_assert_cmpuint(nbh_registry_generation(registry), ==, generation);
	g_assert_true(g_bytes_equal(peer->meta, one));
	nbh_registry_update(registry, &peer->key, NULL, NULL, one);
	g_assert_cmpuint(nbh_registry_generation(registry), ==, generation + 1);
	nbh_registry_update(registry, &peer->key, NULL, NULL, one);
	g_assert_cmpuint(nbh_registry_generation(registry), ==, generation + 1);
	nbh_registry_update(registry, &peer->key, "2", NULL, none);
	g_assert_cmpuint(nbh_registry_generation(registry), ==, generation + 2);
	g_assert_cmpstr(peer->version, ==, "2");
	g_assert_null(peer->ssh_key);
	nbh_registry_free(registry);
}

#define ADD(name, func) g_test_add("/hub/store/" name, Fixture, NULL, set_up, func, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("setup-keys", test_setup_keys);
	ADD("secret-not-stored", test_secret_not_stored);
	ADD("names-and-addresses", test_names_and_addresses);
	ADD("survives", test_survives);
	ADD("foreign-files", test_foreign_files);
	ADD("admin-while-running", test_admin_while_running);
	ADD("updates", test_updates);
	return g_test_run();
}
