/*
 * What clients send to the hub, behind HTTP/2: calls of the management and signal services in any
 * order. Bodies are sealed here, for that is nobody's guess; the services and the registry are the real
 * ones over a database in memory. The input is a row of calls: who, which method, a length, the body.
 */
#include "config.h"

#include "tests/fuzz/fuzz.h"

#include "base/log.h"
#include "hub/maps.h"
#include "hub/mgmtsvc.h"
#include "hub/signalsvc.h"
#include "net/grpc.h"
#include "wire/mgmtmsg.h"

#define N_CLIENTS 4
#define CALLS_MAX 32

enum { RAW = 8, GONE = 16 }; /* as it is, not sealed; the oldest call ends */

/* In the place of net/h2srv.c. */
struct _NbhH2srvCall {
	NbhHubCall call;
	guint client;
	gboolean is_finished;
	guint n_sent;
};

static struct {
	NbhStore *store;
	NbhRegistry *registry;
	NbhMaps *maps;
	NbhMgmtService *mgmt;
	NbhSignalService *signal;
	struct nbh_key hub_private, hub_public, clients[N_CLIENTS], publics[N_CLIENTS];
	char setup_key[NBH_SETUPKEY_LEN + 1];
	NbhH2srvCall *calls[CALLS_MAX];
	guint n_calls;
} world;

gboolean nbh_h2srv_send(NbhH2srvCall *call, const guint8 *data, gsize len)
{
	fuzz_require(!call->is_finished && (data || len == 0));
	call->n_sent++;
	return TRUE;
}

void nbh_h2srv_finish(NbhH2srvCall *call, int status, const char *message)
{
	fuzz_require(!call->is_finished && (status == NBH_GRPC_OK || (message && message[0])));
	call->is_finished = TRUE;
}

void nbh_h2srv_headers(NbhH2srvCall *call, const char *name, const char *value)
{
	fuzz_require(!call->is_finished && name && value);
}

const char *nbh_h2srv_call_header(NbhH2srvCall *call, const char *name G_GNUC_UNUSED)
{
	static struct nbh_key_text text;

	text = nbh_key_format(&world.publics[call->client]);
	return text.text;
}

gsize nbh_h2srv_queued(NbhH2srvCall *call G_GNUC_UNUSED)
{
	return 0;
}

static void end_oldest(void)
{
	NbhH2srvCall *call = world.calls[0];
	const NbhHubMethod *method = call->call.method;

	if (method->on_gone)
		method->on_gone(&call->call, g_str_has_prefix(method->path, "/signal") ? (gpointer)world.signal : world.mgmt);
	g_free(call);
	world.n_calls--;
	memmove(world.calls, world.calls + 1, world.n_calls * sizeof(world.calls[0]));
}

static const NbhHubMethod *pick(guint8 which, gpointer *ret_service)
{
	const NbhHubMethod *methods = which & 1 ? nbh_signal_methods : nbh_mgmt_methods;
	guint n = 0;

	while (methods[n].path)
		n++;
	*ret_service = which & 1 ? (gpointer)world.signal : world.mgmt;
	return &methods[(which >> 1) % n];
}

/* Everybody can make an envelope to us, with whatever inside; some have a setup key. */
static GBytes *seal(guint client, guint8 flags, const uint8_t *body, size_t len)
{
	static const char placeholder[] = "KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKK";
	g_autofree guint8 *plain = g_memdup2(body, len);
	GBytes *sealed = NULL;
	guint8 *at;

	G_STATIC_ASSERT(sizeof(placeholder) == NBH_SETUPKEY_LEN + 1);
	at = len ? memmem(plain, len, placeholder, NBH_SETUPKEY_LEN) : NULL;
	if (at)
		memcpy(at, world.setup_key, NBH_SETUPKEY_LEN);
	if (!(flags & RAW))
		sealed = nbh_mgmt_seal(&world.clients[client], &world.hub_public, plain, len);
	return sealed ? sealed : g_bytes_new(body, len);
}

static void one_call(guint8 who, guint8 which, const uint8_t *body, size_t len)
{
	NbhH2srvCall *call = g_new0(NbhH2srvCall, 1);
	g_autoptr(GBytes) message = NULL;
	const guint8 *data;
	gpointer service;
	gsize n;

	if (world.n_calls == CALLS_MAX)
		end_oldest();
	call->client = who % N_CLIENTS;
	call->call.h2 = call;
	call->call.remote = (struct nbh_addr){ AF_INET, { 192, 0, 2, who } };
	call->call.method = pick(which, &service);
	world.calls[world.n_calls++] = call;
	if (call->call.method->on_start)
		call->call.method->on_start(&call->call, service);
	message = seal(call->client, who, body, len);
	data = g_bytes_get_data(message, &n);
	/* As front does: one message, and none behind the end. */
	if (call->call.method->on_message && !call->is_finished)
		call->call.method->on_message(&call->call, data, n, service);
}

static void on_changed(gpointer owner G_GNUC_UNUSED)
{
	nbh_mgmt_service_changed(world.mgmt);
}

static void on_removed(const struct nbh_key *key, gpointer owner G_GNUC_UNUSED)
{
	nbh_mgmt_service_removed(world.mgmt, key);
	nbh_signal_service_removed(world.signal, key);
}

static char dir[32];

static void remove_dir(void)
{
	static const char *const names[] = { "hub.db", "hub.db-wal", "hub.db-shm" };
	char path[64];

	nbh_store_close(world.store);
	for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

static void set_up_once(void)
{
	gint64 id;

	fuzz_make_dir(dir, sizeof(dir));
	world.store = nbh_store_open(dir, NULL);
	fuzz_require(world.store);
	atexit(remove_dir);
	fuzz_require(nbh_store_create_key(world.store, "", TRUE, 0, 1, world.setup_key, &id, NULL));
	for (guint i = 0; i < N_CLIENTS; i++) {
		world.clients[i].bytes[0] = (guint8)(i * 8 + 8);
		world.clients[i].bytes[31] = 64;
		nbh_key_public(&world.clients[i], &world.publics[i]);
	}
	world.hub_private.bytes[31] = 64;
	nbh_key_public(&world.hub_private, &world.hub_public);
}

/* The first client is a member already, as after a restart of the hub. */
static void set_up(void)
{
	static const NbhMapsConfig config = { .public_host = "hub.example", .public_port = 443, .dns_domain = "x.example" };
	static const NbhRegistryEvents events = { on_changed, on_removed };
	NbhRegistration registration = { .key = world.publics[0], .setup_key = world.setup_key, .hostname = "first" };
	struct nbh_prefix network;

	fuzz_require(nbh_store_network(world.store, &network, NULL));
	world.registry = nbh_registry_new(world.store, NULL);
	fuzz_require(world.registry);
	world.maps = nbh_maps_new(&config, &network);
	world.mgmt = nbh_mgmt_service_new(world.registry, world.maps, &world.hub_private);
	world.signal = nbh_signal_service_new(world.registry);
	nbh_registry_set_events(world.registry, &events, NULL);
	fuzz_require(nbh_registry_register(world.registry, &registration, NULL));
}

static void tear_down(void)
{
	while (world.n_calls > 0)
		end_oldest();
	fuzz_require(nbh_mgmt_service_connected(world.mgmt) == 0);
	for (guint i = 0; i < N_CLIENTS; i++)
		(void)nbh_registry_remove(world.registry, &world.publics[i], NULL);
	fuzz_require(nbh_registry_peers(world.registry)->len == 0);
	nbh_signal_service_free(world.signal);
	nbh_mgmt_service_free(world.mgmt);
	nbh_maps_free(world.maps);
	nbh_registry_free(world.registry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	nbh_log_set_level("error");
	if (!world.store)
		set_up_once();
	set_up();

	while (len > 0) {
		guint8 who = fuzz_byte(&data, &len), which = fuzz_byte(&data, &len), n = fuzz_byte(&data, &len);
		size_t got;
		const uint8_t *body = fuzz_take(&data, &len, n, &got);

		if ((who & GONE) && world.n_calls > 0)
			end_oldest();
		one_call(who, which, body, got);
		g_main_context_iteration(NULL, FALSE);
	}

	tear_down();
	return 0;
}
