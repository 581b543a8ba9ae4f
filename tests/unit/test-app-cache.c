#include "config.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>

#include "app/cache.h"
#include "base/limits.h"

#define URL "http://203.0.113.1:8080"

typedef struct {
	char *dir;
	int dirfd;
	struct nbh_key own;
	guint n_updates, n_peers;
	gboolean has_signal;
	struct nbh_key server_key;
	char *addresses; /* "NAME=ADDRESS " of each */
} Rig;

static void rig_open(Rig *rig)
{
	*rig = (Rig){ .dir = g_dir_make_tmp("nbh-cache-XXXXXX", NULL) };
	rig->dirfd = open(rig->dir, O_RDONLY | O_DIRECTORY);
	g_assert_cmpint(rig->dirfd, >=, 0);
	rig->own.bytes[0] = 7;
}

static void rig_close(Rig *rig)
{
	g_free(rig->addresses);
	unlinkat(rig->dirfd, "netmap.cache", 0);
	close(rig->dirfd);
	g_assert_cmpint(g_rmdir(rig->dir), ==, 0);
	g_free(rig->dir);
}

static void on_update(const NbhMgmtUpdate *update, gpointer owner)
{
	Rig *rig = owner;

	rig->n_updates++;

	if (update->servers && update->servers->has_signal)
		rig->has_signal = TRUE;

	if (update->map)
		rig->n_peers = (guint)update->map->n_peers;
}

static void on_server_key(const struct nbh_key *key, gpointer owner)
{
	((Rig *)owner)->server_key = *key;
}

static void on_address(const char *name, const struct nbh_addr *addr, gpointer owner)
{
	Rig *rig = owner;
	char text[NBH_ADDR_TEXT_MAX];
	char *before = rig->addresses;

	rig->addresses = g_strdup_printf("%s%s=%s ", before, name, nbh_addr_format(addr, text));
	g_free(before);
}

static const NbhCacheEvents events = { on_server_key, on_address, on_update };

/* A Sync message as the hub makes it. */
static GBytes *message(gboolean with_servers, guint n_peers)
{
	static const char *const ips[] = { "100.64.0.9/32", NULL };
	NbhServerConfig servers = { .has_signal = TRUE, .signal_host = "203.0.113.1", .signal_port = 8080 };
	struct nbh_key_text keys[4];
	NbhRemotePeer peers[4] = { { .key_text = NULL } };
	NbhSyncResponse response = { .servers = with_servers ? &servers : NULL,
		                     .has_map = TRUE,
		                     .serial = 5,
		                     .peers = peers,
		                     .n_peers = n_peers };
	GBytes *bytes;

	servers.stuns = g_ptr_array_new();
	servers.turns = g_ptr_array_new();
	servers.relays = g_ptr_array_new();
	g_assert_cmpuint(n_peers, <=, G_N_ELEMENTS(peers));

	for (guint i = 0; i < n_peers; i++) {
		struct nbh_key key = { { (uint8_t)(i + 1) } };

		keys[i] = nbh_key_format(&key);
		peers[i] = (NbhRemotePeer){ .key_text = keys[i].text, .allowed_ips = i ? ips + 1 : ips, .fqdn = "p" };
	}

	bytes = nbh_mgmt_encode_sync_response(&response);
	g_ptr_array_unref(servers.stuns);
	g_ptr_array_unref(servers.turns);
	g_ptr_array_unref(servers.relays);
	return bytes;
}

static void keep(NbhCache *cache, const Rig *rig, gboolean with_servers, guint n_peers)
{
	g_autoptr(GBytes) plain = message(with_servers, n_peers);
	NbhMgmtUpdate update = { .servers = NULL };
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);

	g_assert_true(nbh_mgmt_decode_sync(data, len, &rig->own, &update, NULL));
	update.plain = plain;
	nbh_cache_keep(cache, &update);
	nbh_mgmt_update_clear(&update);
}

static NbhCacheContent load(Rig *rig, const struct nbh_key *own, const char *url)
{
	NbhCache *cache = nbh_cache_new(rig->dirfd, own, url);
	NbhCacheContent found;

	rig->n_updates = rig->n_peers = 0;
	rig->has_signal = FALSE;
	nbh_key_wipe(&rig->server_key);
	g_free(rig->addresses);
	rig->addresses = g_strdup("");
	found = nbh_cache_load(cache, &events, rig);
	nbh_cache_free(cache);
	return found;
}

static void test_keeps(void)
{
	NbhCache *cache;
	struct stat st;
	Rig rig;

	rig_open(&rig);
	g_assert_false(load(&rig, &rig.own, URL));
	cache = nbh_cache_new(rig.dirfd, &rig.own, URL);
	keep(cache, &rig, TRUE, 1);
	nbh_cache_free(cache); /* what is not written yet is written now */
	g_assert_cmpint(fstatat(rig.dirfd, "netmap.cache", &st, 0), ==, 0);
	g_assert_cmpuint(st.st_mode & 0777, ==, 0600);
	g_assert_true(load(&rig, &rig.own, URL));
	g_assert_cmpuint(rig.n_updates, ==, 1);
	g_assert_cmpuint(rig.n_peers, ==, 1);
	g_assert_true(rig.has_signal);

	/* A later map brings no servers: those of before still count. */
	cache = nbh_cache_new(rig.dirfd, &rig.own, URL);
	keep(cache, &rig, TRUE, 1);
	keep(cache, &rig, FALSE, 3);
	nbh_cache_free(cache);
	g_assert_true(load(&rig, &rig.own, URL));
	g_assert_cmpuint(rig.n_updates, ==, 2);
	g_assert_cmpuint(rig.n_peers, ==, 3);
	g_assert_true(rig.has_signal);
	rig_close(&rig);
}

static void keep_login(NbhCache *cache)
{
	NbhServerConfig servers = { .has_signal = TRUE, .signal_host = "203.0.113.1", .signal_port = 8080 };
	NbhPeerConfig config = { 0 };
	g_autoptr(GBytes) plain = NULL;
	NbhMgmtUpdate update = { .servers = NULL };
	gsize len;
	const guint8 *data;

	nbh_prefix_parse("100.64.0.7/16", &config.address);
	plain = nbh_mgmt_encode_login_response(&servers, &config);
	data = g_bytes_get_data(plain, &len);
	g_assert_true(nbh_mgmt_decode_login(data, len, &update, NULL));
	update.plain = plain;
	update.is_login = TRUE;
	nbh_cache_keep(cache, &update);
	nbh_mgmt_update_clear(&update);
}

/* Before the first Sync: the answer to Login; behind it, never again. */
static void test_login(void)
{
	NbhCache *cache;
	Rig rig;

	rig_open(&rig);
	cache = nbh_cache_new(rig.dirfd, &rig.own, URL);
	keep_login(cache);
	nbh_cache_free(cache);
	g_assert_cmpint(load(&rig, &rig.own, URL), ==, NBH_CACHE_LOGIN);
	g_assert_cmpuint(rig.n_updates, ==, 1);
	g_assert_true(rig.has_signal);

	cache = nbh_cache_new(rig.dirfd, &rig.own, URL);
	g_assert_cmpint(nbh_cache_load(cache, &events, &rig), ==, NBH_CACHE_LOGIN);
	keep(cache, &rig, TRUE, 2);
	keep_login(cache);
	nbh_cache_free(cache);
	g_assert_cmpint(load(&rig, &rig.own, URL), ==, NBH_CACHE_MAP);
	g_assert_cmpuint(rig.n_updates, ==, 1);
	rig_close(&rig);
}

static void test_servers(void)
{
	struct nbh_key key = { { 3 } };
	struct nbh_addr addr;
	NbhCache *cache;
	Rig rig;

	rig_open(&rig);
	cache = nbh_cache_new(rig.dirfd, &rig.own, URL);
	nbh_cache_keep_server_key(cache, &key);
	g_assert_cmpint(nbh_addr_parse("192.0.2.1", &addr), ==, 0);
	nbh_cache_add_address(cache, "nb.example", &addr);
	g_assert_cmpint(nbh_addr_parse("2001:db8::1", &addr), ==, 0);
	nbh_cache_add_address(cache, "nb.example", &addr);
	nbh_cache_flush(cache);
	g_assert_cmpint(load(&rig, &rig.own, URL), ==, NBH_CACHE_NOTHING); /* alone they are not worth a file */
	keep(cache, &rig, TRUE, 1);
	nbh_cache_free(cache);
	g_assert_cmpint(load(&rig, &rig.own, URL), ==, NBH_CACHE_MAP);
	g_assert_true(nbh_key_equal(&rig.server_key, &key));
	g_assert_cmpstr(rig.addresses, ==, "nb.example=192.0.2.1 nb.example=2001:db8::1 ");

	/* What was loaded is written again with the next message. */
	cache = nbh_cache_new(rig.dirfd, &rig.own, URL);
	g_assert_cmpint(nbh_cache_load(cache, &events, &rig), ==, NBH_CACHE_MAP);
	keep(cache, &rig, TRUE, 3);
	nbh_cache_clear_addresses(cache);
	nbh_cache_add_address(cache, "other.example", &addr);
	nbh_cache_free(cache);
	g_assert_cmpint(load(&rig, &rig.own, URL), ==, NBH_CACHE_MAP);
	g_assert_cmpuint(rig.n_peers, ==, 3);
	g_assert_true(nbh_key_equal(&rig.server_key, &key));
	g_assert_cmpstr(rig.addresses, ==, "other.example=2001:db8::1 ");
	rig_close(&rig);
}

static void test_foreign(void)
{
	NbhCache *cache;
	struct nbh_key other;
	Rig rig;

	rig_open(&rig);
	cache = nbh_cache_new(rig.dirfd, &rig.own, URL);
	keep(cache, &rig, TRUE, 2);
	nbh_cache_free(cache);
	other = rig.own;
	other.bytes[0]++;
	g_assert_false(load(&rig, &other, URL));
	g_assert_false(load(&rig, &rig.own, URL "1"));
	g_assert_cmpuint(rig.n_updates, ==, 0);
	g_assert_true(load(&rig, &rig.own, URL)); /* and it is still there */

	cache = nbh_cache_new(rig.dirfd, &rig.own, URL);
	nbh_cache_forget(cache);
	nbh_cache_free(cache);
	g_assert_false(load(&rig, &rig.own, URL));
	rig_close(&rig);
}

/* Cut anywhere, or with any byte changed: never a crash, and what is refused is removed. */
static void test_damaged(void)
{
	g_autofree char *path = NULL;
	g_autofree char *good = NULL;
	NbhCache *cache;
	gsize len;
	Rig rig;

	rig_open(&rig);
	cache = nbh_cache_new(rig.dirfd, &rig.own, URL);
	keep(cache, &rig, TRUE, 2);
	nbh_cache_keep_server_key(cache, &rig.own);
	nbh_cache_add_address(cache, "nb.example", &(struct nbh_addr){ .family = AF_INET });
	nbh_cache_free(cache);
	path = g_build_filename(rig.dir, "netmap.cache", NULL);
	g_assert_true(g_file_get_contents(path, &good, &len, NULL));

	for (gsize n = 0; n < len; n++) {
		g_unlink(path); /* this GLib does not cut a longer file */
		g_assert_true(g_file_set_contents_full(path, good, (gssize)n, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
		g_assert_false(load(&rig, &rig.own, URL));
		g_assert_cmpuint(rig.n_updates, ==, 0);
	}

	for (gsize i = 0; i < len; i++) {
		g_autofree char *bad = g_memdup2(good, len);

		bad[i] ^= 0x55;
		g_unlink(path); /* this GLib does not cut a longer file */
		g_assert_true(g_file_set_contents_full(path, bad, (gssize)len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
		load(&rig, &rig.own, URL);
	}

	rig_close(&rig);
}

/* What the log says of a file of that many bytes; no disk is used. */
static char *complaint_about(gsize size)
{
	g_autofree char *text = NULL;
	FILE *log = tmpfile();
	int old = dup(STDERR_FILENO), fd;
	gsize len;
	NbhCache *cache;
	Rig rig;

	rig_open(&rig);
	fd = openat(rig.dirfd, "netmap.cache", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
	close(fd);
	cache = nbh_cache_new(rig.dirfd, &rig.own, "http://192.0.2.1:80");
	g_assert_cmpint(dup2(fileno(log), STDERR_FILENO), >=, 0);
	g_assert_cmpint(nbh_cache_load(cache, &events, &rig), ==, NBH_CACHE_NOTHING);
	g_assert_cmpint(dup2(old, STDERR_FILENO), >=, 0);
	close(old);
	nbh_cache_free(cache);
	rig_close(&rig);
	text = g_malloc0(1000);
	rewind(log);
	len = fread(text, 1, 999, log);
	fclose(log);
	return g_strndup(text, len);
}

static void test_size(void)
{
	for (int above = -1; above <= 1; above++) {
		g_autofree char *text = complaint_about((gsize)(NBH_CACHEFILE_MAX_BYTES + above));

		g_assert_cmpint(strstr(text, "at most") != NULL, ==, above > 0);
	}
}

int main(int argc, char **argv)
{
	umask(022);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/app/cache/keeps", test_keeps);
	g_test_add_func("/app/cache/login", test_login);
	g_test_add_func("/app/cache/servers", test_servers);
	g_test_add_func("/app/cache/foreign", test_foreign);
	g_test_add_func("/app/cache/damaged", test_damaged);
	g_test_add_func("/app/cache/size", test_size);
	return g_test_run();
}
