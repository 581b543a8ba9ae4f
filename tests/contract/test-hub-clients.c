/*
 * Our own client modules against a hub in the same process, over loopback TCP: what mgmt.h and
 * signal.h promise, seen with a server that keeps what netbird-hub.md says.
 */

#include "config.h"

#include "base/log.h"
#include "hub/hub.h"
#include "hub/store.h"
#include "mgmt/mgmt.h"
#include "net/grpc.h"
#include "signal/signal.h"

#include "tests/lib/certs.h"
#include "tests/lib/loop.h"

#include <glib/gstdio.h>
#include <string.h>

typedef struct {
	char *dir;
	NbhHub *hub;
	char *url;
	char key[NBH_SETUPKEY_LEN + 1];
	TestCerts *certs; /* NULL: plain */
	NbhDial *dial;    /* NULL: plain */
} Fixture;

/* One machine: its clients and the last that they heard. */
typedef struct {
	const char *name;
	struct nbh_key private_key, public_key;
	NbhMgmt *mgmt;
	NbhSignal *signal;
	gboolean login_done, logout_done, link_up, signal_up, refused;
	GError *login_error; /* owned */
	char *link_why, *refused_why;
	NbhPeerConfig login_config, sync_config;
	guint n_updates, n_maps;
	NbhNetmap *map; /* ref */
	char signal_host[256];
	guint16 signal_port;
	char *stun;
	guint n_messages;
	NbhSignalMessage message;
	struct nbh_key message_from;
} Machine;

static NbhStore *open_store(const Fixture *f)
{
	g_autoptr(GError) error = NULL;
	NbhStore *store = nbh_store_open(f->dir, &error);

	g_assert_no_error(error);
	return store;
}

static void create_key(Fixture *f, gboolean reusable, gint64 expires_s, char ret_key[NBH_SETUPKEY_LEN + 1])
{
	NbhStore *store = open_store(f);
	gint64 id;

	g_assert_true(nbh_store_create_key(store, "", reusable, expires_s, 1000, ret_key, &id, NULL));
	nbh_store_close(store);
}

static void start_hub(Fixture *f, guint16 port)
{
	NbhHubConfig config = {
		.dir = f->dir,
		.has_listen = TRUE,
		.dns_domain = "test.internal",
		.lazy = TRUE,
	};
	g_autofree char *cert = f->certs ? test_certs_path(f->certs, "hub.pem") : NULL;
	g_autofree char *key = f->certs ? test_certs_path(f->certs, "hub.key") : NULL;
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(nbh_addr_parse("127.0.0.1", &config.listen.addr), ==, 0);
	config.listen.port = port;
	config.tls_cert = cert;
	config.tls_key = key;
	f->hub = nbh_hub_start(&config, &error);
	g_assert_no_error(error);
	g_free(f->url);
	f->url = g_strdup(nbh_hub_public_url(f->hub));
}

static void set_up(Fixture *f, gconstpointer data)
{
	if (data) {
		g_autofree char *ca = NULL;

		f->certs = test_certs_new();
		test_certs_make(f->certs, "hub", "IP:127.0.0.1", -1, 10);
		ca = test_certs_path(f->certs, "ca.pem");
		f->dial = nbh_dial_new(&(NbhDialConfig){ .ca_file = ca }, NULL);
	}
	f->dir = g_dir_make_tmp("test-hub-XXXXXX", NULL);
	start_hub(f, 0);
	create_key(f, TRUE, 0, f->key);
}

static void tear_down(Fixture *f, gconstpointer data)
{
	static const char *const names[] = { "hub.db", "hub.db-wal", "hub.db-shm", "hub.key", ".lock-hub" };

	(void)data;
	nbh_hub_free(f->hub);
	test_drain_loop();
	for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(f->dir, names[i], NULL);

		(void)g_unlink(path);
	}
	g_assert_cmpint(g_rmdir(f->dir), ==, 0);
	g_free(f->dir);
	g_free(f->url);
	nbh_dial_unref(f->dial);
	test_certs_free(f->certs);
}

static void on_update(NbhMgmt *mgmt, const NbhMgmtUpdate *update, gpointer owner)
{
	Machine *m = owner;

	(void)mgmt;
	m->n_updates++;
	if (update->servers) {
		g_strlcpy(m->signal_host, update->servers->signal_host, sizeof(m->signal_host));
		m->signal_port = update->servers->signal_port;
		g_assert_cmpuint(update->servers->relays ? update->servers->relays->len : 0, ==, 0);
	}
	if (update->has_peer_config)
		*(update->map ? &m->sync_config : &m->login_config) = update->peer_config;
	if (!update->map)
		return;
	m->n_maps++;
	nbh_netmap_unref(m->map);
	m->map = nbh_netmap_ref(update->map);
}

static void on_mgmt_link(NbhMgmt *mgmt, gboolean up, const char *why, gpointer owner)
{
	Machine *m = owner;

	(void)mgmt;
	m->link_up = up;
	g_free(m->link_why);
	m->link_why = g_strdup(why);
}

static void on_refused(NbhMgmt *mgmt, const char *why, gpointer owner)
{
	Machine *m = owner;

	(void)mgmt;
	m->refused = TRUE;
	m->refused_why = g_strdup(why);
}

static const NbhMgmtEvents mgmt_events = { on_update, on_mgmt_link, on_refused, NULL };

static void on_login(NbhMgmt *mgmt, const GError *error, gpointer owner)
{
	Machine *m = owner;

	(void)mgmt;
	m->login_done = TRUE;
	m->login_error = error ? g_error_copy(error) : NULL;
}

static void on_logout(NbhMgmt *mgmt, const GError *error, gpointer owner)
{
	(void)mgmt;
	g_assert_no_error(error);
	((Machine *)owner)->logout_done = TRUE;
}

static void get_meta(NbhMeta *ret_meta, gpointer owner)
{
	const Machine *m = owner;

	memset(ret_meta, 0, sizeof(*ret_meta));
	ret_meta->hostname = m->name;
	ret_meta->go_os = "linux";
	ret_meta->netbird_version = "0.77.1+nbh";
	ret_meta->disable_ipv6 = TRUE;
}

static void machine_init(Machine *m, const char *name)
{
	memset(m, 0, sizeof(*m));
	m->name = name;
	nbh_key_generate_private(&m->private_key);
	nbh_key_public(&m->private_key, &m->public_key);
}

static void machine_open(Machine *m, const Fixture *f)
{
	const NbhMgmtConfig config = { f->url, m->private_key, get_meta, f->dial, NULL };
	g_autoptr(GError) error = NULL;

	m->mgmt = nbh_mgmt_grpc.open(&config, &mgmt_events, m, &error);
	g_assert_no_error(error);
}

static void machine_clear(Machine *m)
{
	if (m->signal)
		nbh_signal_grpc.free(m->signal);
	if (m->mgmt)
		nbh_mgmt_grpc.free(m->mgmt);
	nbh_netmap_unref(m->map);
	g_clear_error(&m->login_error);
	g_free(m->link_why);
	g_free(m->refused_why);
}

static void login(Machine *m, const char *setup_key)
{
	m->login_done = FALSE;
	g_clear_error(&m->login_error);
	nbh_mgmt_grpc.login(m->mgmt, setup_key, on_login);
	test_run_until(m->login_done);
}

static void join(Machine *m, const Fixture *f, const char *name)
{
	machine_init(m, name);
	machine_open(m, f);
	login(m, f->key);
	g_assert_no_error(m->login_error);
}

static const NbhNetmapPeer *other(const Machine *m, const Machine *far)
{
	return m->map ? nbh_netmap_find(m->map, &far->public_key) : NULL;
}

static void on_message(NbhSignal *signal, const struct nbh_key *from, const NbhSignalMessage *message,
		       gpointer owner)
{
	Machine *m = owner;

	(void)signal;
	m->n_messages++;
	m->message = *message;
	m->message_from = *from;
}

static void on_signal_link(NbhSignal *signal, gboolean up, const char *why, gpointer owner)
{
	(void)signal;
	(void)why;
	((Machine *)owner)->signal_up = up;
}

static gboolean knows_everyone(const struct nbh_key *key, gpointer owner)
{
	(void)key;
	(void)owner;
	return TRUE;
}

static const NbhSignalEvents signal_events = { on_message, on_signal_link };

static NbhSignal *open_signal(Machine *m, const Fixture *f)
{
	const NbhSignalConfig config = { f->url, m->private_key, knows_everyone, f->dial };
	g_autoptr(GError) error = NULL;
	NbhSignal *signal = nbh_signal_grpc.open(&config, &signal_events, m, &error);

	g_assert_no_error(error);
	return signal;
}

/* Login, Sync, and each sees the other with name and address; what they see agrees. */
static void test_join(Fixture *f, gconstpointer data)
{
	Machine a, b;

	(void)data;
	join(&a, f, "Alpha.example.org");
	g_assert_cmpstr(a.login_config.fqdn, ==, "alpha.test.internal");
	g_assert_cmpuint(a.login_config.address.len, ==, 16);
	g_assert_true(a.login_config.lazy);
	g_assert_cmpstr(a.signal_host, ==, "127.0.0.1");
	g_assert_true(g_str_has_suffix(f->url, g_strrstr(f->url, ":")));
	g_assert_cmpuint(a.signal_port, ==, g_ascii_strtoull(g_strrstr(f->url, ":") + 1, NULL, 10));
	nbh_mgmt_grpc.sync(a.mgmt);
	test_run_until(a.link_up && a.map);
	g_assert_cmpuint(a.map->n_peers, ==, 0);
	/* The same bytes in Login and Sync, else official clients restart for ever. */
	g_assert_cmpmem(&a.login_config, sizeof(a.login_config), &a.sync_config, sizeof(a.sync_config));
	join(&b, f, "alpha");
	nbh_mgmt_grpc.sync(b.mgmt);
	test_run_until(other(&a, &b) && other(&b, &a));
	g_assert_cmpstr(other(&b, &a)->fqdn, ==, "alpha.test.internal");
	g_assert_cmpstr(other(&a, &b)->fqdn, ==, b.sync_config.fqdn);
	g_assert_cmpstr(other(&a, &b)->fqdn, !=, "alpha.test.internal");
	g_assert_cmpstr(other(&a, &b)->agent_version, ==, "0.77.1+nbh");
	g_assert_cmpuint(other(&a, &b)->n_allowed_ips, ==, 1);
	g_assert_cmpuint(other(&a, &b)->allowed_ips[0].len, ==, 32);
	g_assert_true(nbh_addr_equal(&other(&a, &b)->allowed_ips[0].addr, &b.sync_config.address.addr));
	g_assert_cmpuint(a.map->n_rules, >, 0);
	machine_clear(&a);
	machine_clear(&b);
}

static void test_setup_keys(Fixture *f, gconstpointer data)
{
	char once[NBH_SETUPKEY_LEN + 1], expired[NBH_SETUPKEY_LEN + 1];
	Machine a, b;
	const struct {
		const char *key, *reason;
	} refused[] = {
		{ "11111111-2222-3333-4444-555555555555", "setup key is unknown" },
		{ once, "setup key is used" },
		{ expired, "setup key is expired" },
	};

	(void)data;
	create_key(f, FALSE, 0, once);
	create_key(f, TRUE, 2000, expired);
	machine_init(&a, "a");
	machine_open(&a, f);
	login(&a, once);
	g_assert_no_error(a.login_error);
	/* A known peer needs none, whatever it sends. */
	login(&a, NULL);
	g_assert_no_error(a.login_error);
	login(&a, refused[0].key);
	g_assert_no_error(a.login_error);
	machine_init(&b, "b");
	machine_open(&b, f);
	for (gsize i = 0; i < G_N_ELEMENTS(refused); i++) {
		login(&b, refused[i].key);
		g_assert_error(b.login_error, NBH_MGMT_ERROR, NBH_MGMT_REFUSED);
		g_assert_nonnull(strstr(b.login_error->message, refused[i].reason));
		g_assert_null(strstr(b.login_error->message, refused[i].key));
	}
	login(&b, NULL);
	g_assert_error(b.login_error, NBH_MGMT_ERROR, NBH_MGMT_REFUSED);
	machine_clear(&a);
	machine_clear(&b);
}

/* Logout deletes the peer: its Sync says so, the others' maps lose it. */
static void test_logout(Fixture *f, gconstpointer data)
{
	Machine a, b;

	(void)data;
	join(&a, f, "a");
	join(&b, f, "b");
	nbh_mgmt_grpc.sync(a.mgmt);
	nbh_mgmt_grpc.sync(b.mgmt);
	test_run_until(other(&a, &b) && other(&b, &a));
	nbh_mgmt_grpc.logout(b.mgmt, on_logout);
	test_run_until(b.logout_done && !other(&a, &b));
	g_assert_cmpuint(a.map->n_peers, ==, 0);
	machine_clear(&a);
	machine_clear(&b);
}

/* An admin command in another process removes a peer under the running hub. */
static void test_removed_by_admin(Fixture *f, gconstpointer data)
{
	NbhStore *store = open_store(f);
	g_autoptr(GPtrArray) peers = NULL;
	Machine a, b;

	(void)data;
	join(&a, f, "a");
	join(&b, f, "b");
	nbh_mgmt_grpc.sync(a.mgmt);
	nbh_mgmt_grpc.sync(b.mgmt);
	b.signal = open_signal(&b, f);
	test_run_until(other(&a, &b) && other(&b, &a) && b.signal_up);
	peers = nbh_store_peers(store, NULL);
	g_assert_cmpuint(peers->len, ==, 2);
	g_assert_true(nbh_store_remove_peer(store, ((NbhHubPeer *)peers->pdata[1])->id, NULL));
	test_run_until(b.refused && !other(&a, &b));
	g_assert_nonnull(b.refused_why);
	/* Its last map was the empty one. */
	g_assert_cmpuint(b.map->n_peers, ==, 0);
	test_run_until(!b.signal_up);
	nbh_store_close(store);
	machine_clear(&a);
	machine_clear(&b);
}

/* Sync alone is enough after a restart, and serials never go back. */
static void test_hub_restart(Fixture *f, gconstpointer data)
{
	Machine a, b;
	guint64 serial;
	guint n_maps;
	guint16 port;

	(void)data;
	join(&a, f, "a");
	join(&b, f, "b");
	nbh_mgmt_grpc.sync(a.mgmt);
	test_run_until(other(&a, &b));
	serial = a.map->serial;
	n_maps = a.n_maps;
	port = (guint16)g_ascii_strtoull(g_strrstr(f->url, ":") + 1, NULL, 10);
	nbh_hub_free(f->hub);
	f->hub = NULL;
	test_run_until(!a.link_up);
	start_hub(f, port);
	test_run_until(a.link_up && a.n_maps > n_maps);
	g_assert_cmpuint(a.map->serial, >, serial);
	g_assert_nonnull(other(&a, &b));
	machine_clear(&a);
	machine_clear(&b);
}

/* The newer of two Sync streams of one key wins, and its clean-up touches only itself. */
static void test_same_key_twice(Fixture *f, gconstpointer data)
{
	Machine a, twin, b;

	(void)data;
	join(&a, f, "a");
	nbh_mgmt_grpc.sync(a.mgmt);
	test_run_until(a.link_up);
	machine_init(&twin, "a");
	twin.private_key = a.private_key;
	twin.public_key = a.public_key;
	machine_open(&twin, f);
	nbh_mgmt_grpc.sync(twin.mgmt);
	test_run_until(twin.link_up && !a.link_up);
	nbh_mgmt_grpc.free(g_steal_pointer(&a.mgmt));
	/* The winner still gets updates. */
	join(&b, f, "b");
	test_run_until(other(&twin, &b));
	machine_clear(&a);
	machine_clear(&twin);
	machine_clear(&b);
}

static void test_signal(Fixture *f, gconstpointer data)
{
	Machine a, b, stranger;
	NbhSignalMessage message = { .type = NBH_SIGNAL_HEARTBEAT };
	NbhSignal *first;

	(void)data;
	join(&a, f, "a");
	join(&b, f, "b");
	a.signal = open_signal(&a, f);
	b.signal = open_signal(&b, f);
	test_run_until(a.signal_up && b.signal_up);
	message.type = NBH_SIGNAL_GO_IDLE;
	nbh_signal_grpc.send(a.signal, &b.public_key, &message, 1, NULL, NULL);
	test_run_until(b.n_messages == 1);
	g_assert_cmpuint(b.message.type, ==, NBH_SIGNAL_GO_IDLE);
	g_assert_true(nbh_key_equal(&b.message_from, &a.public_key));
	/* A newer stream of b takes over. */
	first = g_steal_pointer(&b.signal);
	b.signal_up = FALSE;
	b.signal = open_signal(&b, f);
	test_run_until(b.signal_up);
	nbh_signal_grpc.free(first);
	b.n_messages = 0;
	nbh_signal_grpc.send(a.signal, &b.public_key, &message, 1, NULL, NULL);
	test_run_until(b.n_messages == 1);
	/* Who is not registered gets no stream. */
	machine_init(&stranger, "x");
	stranger.signal = open_signal(&stranger, f);
	nbh_signal_grpc.send(a.signal, &b.public_key, &message, 1, NULL, NULL);
	test_run_until(b.n_messages == 2);
	g_assert_false(nbh_signal_grpc.is_up(stranger.signal));
	machine_clear(&a);
	machine_clear(&b);
	machine_clear(&stranger);
}

typedef struct {
	gboolean done;
	int status;
	char *message;
	GBytes *reply;
} Reply;

static void on_reply(int status, const char *message, GBytes *reply, gpointer owner)
{
	Reply *r = owner;

	r->done = TRUE;
	r->status = status;
	r->message = g_strdup(message);
	r->reply = reply ? g_bytes_ref(reply) : NULL;
}

static int unary(NbhGrpcChannel *channel, const char *method, const void *data, gsize len)
{
	Reply r = { 0 };
	g_autoptr(GBytes) message = g_bytes_new(data, len);

	nbh_grpc_unary(channel, method, message, 10000, on_reply, &r);
	test_run_until(r.done);
	g_free(r.message);
	g_clear_pointer(&r.reply, g_bytes_unref);
	return r.status;
}

/* Every method, with everything but what it expects. */
static void test_bad_requests(Fixture *f, gconstpointer data)
{
	static const struct {
		const char *method;
		int with_garbage; /* status */
	} cases[] = {
		{ "/management.ManagementService/GetServerKey", NBH_GRPC_OK },
		{ "/management.ManagementService/isHealthy", NBH_GRPC_OK },
		{ "/management.ManagementService/Login", NBH_GRPC_INVALID_ARGUMENT },
		{ "/management.ManagementService/Sync", NBH_GRPC_INVALID_ARGUMENT },
		{ "/management.ManagementService/SyncMeta", NBH_GRPC_INVALID_ARGUMENT },
		{ "/management.ManagementService/Logout", NBH_GRPC_INVALID_ARGUMENT },
		{ "/management.ManagementService/Job", NBH_GRPC_INVALID_ARGUMENT },
		{ "/management.ManagementService/GetDeviceAuthorizationFlow", NBH_GRPC_NOT_FOUND },
		{ "/management.ManagementService/GetPKCEAuthorizationFlow", NBH_GRPC_NOT_FOUND },
		{ "/management.ManagementService/ExtendAuthSession", NBH_GRPC_UNIMPLEMENTED },
		{ "/management.ManagementService/CreateExpose", NBH_GRPC_UNIMPLEMENTED },
		{ "/signalexchange.SignalExchange/ConnectStream", NBH_GRPC_FAILED_PRECONDITION },
		{ "/signalexchange.SignalExchange/Send", NBH_GRPC_INVALID_ARGUMENT },
		{ "/", NBH_GRPC_UNIMPLEMENTED },
	};
	NbhGrpcChannel *channel = nbh_grpc_channel_new(f->url, f->dial, NULL);
	static const guint8 garbage[] = { 0xff, 0xff, 0xff, 0x01, 0x00, 0x80 };
	struct nbh_key key, wrong;
	g_autoptr(GBytes) sealed = NULL;

	(void)data;
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(unary(channel, cases[i].method, garbage, sizeof(garbage)), ==,
				cases[i].with_garbage);
	/* Well made, but for another hub's key. */
	nbh_key_generate_private(&key);
	nbh_key_generate_private(&wrong);
	nbh_key_public(&wrong, &wrong);
	sealed = nbh_mgmt_seal(&key, &wrong, garbage, sizeof(garbage));
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
		if (cases[i].with_garbage == NBH_GRPC_INVALID_ARGUMENT &&
		    g_str_has_prefix(cases[i].method, "/management."))
			g_assert_cmpint(unary(channel, cases[i].method,
					      g_bytes_get_data(sealed, NULL), g_bytes_get_size(sealed)),
					==, NBH_GRPC_INVALID_ARGUMENT);
	nbh_grpc_channel_free(channel);
}

/* What is sealed right but comes from nobody: 7 for all but SyncMeta and Logout (netbird-wire.md 2.12). */
static void test_strangers(Fixture *f, gconstpointer data)
{
	static const struct {
		const char *method;
		int status;
	} cases[] = {
		{ "/management.ManagementService/Sync", NBH_GRPC_PERMISSION_DENIED },
		{ "/management.ManagementService/Job", NBH_GRPC_PERMISSION_DENIED },
		{ "/management.ManagementService/SyncMeta", NBH_GRPC_NOT_FOUND },
		{ "/management.ManagementService/Logout", NBH_GRPC_NOT_FOUND },
		{ "/management.ManagementService/Login", NBH_GRPC_FAILED_PRECONDITION },
	};
	NbhGrpcChannel *channel = nbh_grpc_channel_new(f->url, f->dial, NULL);
	g_autoptr(GBytes) message = g_bytes_new_static("", 0);
	g_autoptr(GBytes) sealed = NULL;
	struct nbh_key key, server;
	Reply r = { 0 };
	gsize len;

	(void)data;
	nbh_grpc_unary(channel, "/management.ManagementService/GetServerKey", message, 10000, on_reply, &r);
	test_run_until(r.done);
	g_assert_true(nbh_mgmt_decode_server_key(g_bytes_get_data(r.reply, &len), g_bytes_get_size(r.reply),
						 &server, NULL));
	nbh_key_generate_private(&key);
	sealed = nbh_mgmt_seal(&key, &server, (const guint8 *)"", 0);
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_cmpint(unary(channel, cases[i].method, g_bytes_get_data(sealed, NULL),
				      g_bytes_get_size(sealed)),
				==, cases[i].status);
	g_bytes_unref(r.reply);
	g_free(r.message);
	nbh_grpc_channel_free(channel);
}

#define N_FLEET 12

/* Many come at once: everybody ends up with everybody. */
static void test_fleet(Fixture *f, gconstpointer data)
{
	static const char *const names[N_FLEET] = { "m0", "m1", "m2", "m3", "m4",  "m5",
						    "m6", "m7", "m8", "m9", "m10", "m11" };
	Machine fleet[N_FLEET];
	guint n_full;

	(void)data;
	for (guint i = 0; i < N_FLEET; i++) {
		join(&fleet[i], f, names[i]);
		nbh_mgmt_grpc.sync(fleet[i].mgmt);
	}
	do {
		g_main_context_iteration(NULL, TRUE);
		n_full = 0;
		for (guint i = 0; i < N_FLEET; i++)
			n_full += fleet[i].map && fleet[i].map->n_peers == N_FLEET - 1;
	} while (n_full < N_FLEET);
	for (guint i = 0; i < N_FLEET; i++)
		machine_clear(&fleet[i]);
}

#define ADD(name, func)                                                                            \
	g_test_add("/hub/clients/plain/" name, Fixture, NULL, set_up, func, tear_down);            \
	g_test_add("/hub/clients/tls/" name, Fixture, "tls", set_up, func, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	nbh_log_set_level("error");
	ADD("join", test_join);
	ADD("setup-keys", test_setup_keys);
	ADD("logout", test_logout);
	ADD("removed-by-admin", test_removed_by_admin);
	ADD("hub-restart", test_hub_restart);
	ADD("same-key-twice", test_same_key_twice);
	ADD("signal", test_signal);
	ADD("bad-requests", test_bad_requests);
	ADD("strangers", test_strangers);
	ADD("fleet", test_fleet);
	return g_test_run();
}
