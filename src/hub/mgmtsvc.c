/*
 * Every sealed request is opened with the sender's key, which proves that the sender owns it
 * (netbird-hub.md 3). A client may come with Sync alone after a restart of the hub: nothing here
 * depends on an earlier Login.
 *
 * Updates: a change marks nothing and queues nothing. A round walks the streams and sends a map to
 * each whose last one is of an older generation; the first change starts one at once, followers wait
 * for a window that grows with the number of peers (7.2, 13.2). A stream that has not taken its last
 * map yet is left for the next round, so that a slow reader costs one map of memory.
 */

#include "config.h"

#include "hub/mgmtsvc.h"

#include "base/log.h"
#include "base/mono.h"
#include "hub/throttle.h"
#include "loop/source.h"
#include "net/grpc.h"
#include "wire/mgmtmsg.h"

#include <string.h>

#define REFUSED_BURST 300 /* Logins of unknown machines per address */
#define REFUSED_PER_SECOND 10
#define REFUSED_ADDRESSES_MAX 4096
#define WINDOW_MIN_MS 200
#define WINDOW_PER_PEER_MS 5
#define WINDOW_MAX_MS 5000
#define ROUND_TURN_USEC 5000 /* then the loop does something else */
#define JOIN_HINT "create one on the hub with: netbird-hub key create"

struct _NbhMgmtService {
	NbhRegistry *registry; /* borrowed */
	NbhMaps *maps;         /* borrowed */
	struct nbh_key own_private, own_public;
	NbhThrottle *refusals; /* owned: of Logins */
	GHashTable *sessions; /* nbh_key -> Session, borrowed from their calls */
	GQueue order;         /* Session, borrowed; the round takes from the head */
	guint round_left;     /* sessions still to look at */
	GSource *round, *window; /* owned */
	guint n_displaced, n_throttled, n_refused;
};

/* An open Sync stream; lives as long as its call. */
typedef struct {
	struct nbh_key key;
	NbhHubCall *call; /* borrowed: owns us */
	guint64 sent_generation;
	GList link; /* in order */
	gboolean current; /* in sessions and order: not displaced, not said goodbye to */
} Session;

static struct nbh_key_text short_key(const struct nbh_key *key)
{
	struct nbh_key_text text = nbh_key_format(key);

	text.text[8] = '\0'; /* as in every log */
	return text;
}

static void finish(NbhHubCall *call, int status, const char *message)
{
	nbh_h2srv_finish(call->h2, status, message);
}

static void answer_empty(NbhHubCall *call)
{
	nbh_h2srv_send(call->h2, NULL, 0);
	finish(call, NBH_GRPC_OK, NULL);
}

/* NULL: the call is finished with the reason. */
static GBytes *open_request(NbhMgmtService *service, NbhHubCall *call, const guint8 *data, gsize len,
			    struct nbh_key *ret_sender)
{
	g_autoptr(GError) error = NULL;
	struct nbh_key sender;
	GBytes *plain;

	if (!nbh_mgmt_sender(data, len, &sender, &error)) {
		finish(call, NBH_GRPC_INVALID_ARGUMENT, error->message);
		return NULL;
	}
	plain = nbh_mgmt_open(&service->own_private, &sender, data, len, &error);
	if (!plain) {
		finish(call, NBH_GRPC_INVALID_ARGUMENT,
		       "invalid request message: it is not sealed for this hub's key");
		return NULL;
	}
	*ret_sender = sender;
	return plain;
}

/* FALSE: the call is finished. */
static gboolean send_sealed(NbhMgmtService *service, NbhHubCall *call, const struct nbh_key *to,
			    GBytes *plain)
{
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);
	g_autoptr(GBytes) sealed = nbh_mgmt_seal(&service->own_private, to, data, len);

	if (!sealed) {
		finish(call, NBH_GRPC_INVALID_ARGUMENT, "the public key is not usable");
		return FALSE;
	}
	data = g_bytes_get_data(sealed, &len);
	if (nbh_h2srv_send(call->h2, data, len))
		return TRUE;
	finish(call, NBH_GRPC_RESOURCE_EXHAUSTED, "the stream does not take what it is sent");
	return FALSE;
}

static void on_server_key(NbhHubCall *call, const guint8 *data, gsize len, gpointer owner)
{
	NbhMgmtService *service = owner;
	g_autoptr(GBytes) answer = nbh_mgmt_encode_server_key(&service->own_public);
	gsize answer_len;
	const guint8 *answer_data = g_bytes_get_data(answer, &answer_len);

	(void)data;
	(void)len;
	nbh_h2srv_send(call->h2, answer_data, answer_len);
	finish(call, NBH_GRPC_OK, NULL);
}

static void on_is_healthy(NbhHubCall *call, const guint8 *data, gsize len, gpointer owner)
{
	(void)data;
	(void)len;
	(void)owner;
	answer_empty(call);
}

static void refuse_registration(NbhMgmtService *service, NbhHubCall *call,
				const struct nbh_key *sender, const GError *error)
{
	g_autofree char *text = NULL;
	int status = NBH_GRPC_INTERNAL;

	if (error->code == NBH_STORE_DATABASE || nbh_log_worth(++service->n_refused))
		nbh_log(NBH_LOG_WARN, "mgmt", "register-refused peer=%s times=%u: %s",
			short_key(sender).text, service->n_refused, error->message);
	/* 7 and 3 are final for official clients, every other code is retried for minutes (3.1). */
	switch ((NbhStoreError)error->code) {
	case NBH_STORE_KEY_REFUSED:
		status = NBH_GRPC_PERMISSION_DENIED;
		text = g_strdup_printf("the setup key is %s; " JOIN_HINT, error->message);
		break;
	case NBH_STORE_BAD_NAME:
		status = NBH_GRPC_INVALID_ARGUMENT;
		text = g_strdup(error->message);
		break;
	case NBH_STORE_EXISTS:
		status = NBH_GRPC_FAILED_PRECONDITION;
		text = g_strdup("peer has been already registered");
		break;
	case NBH_STORE_FULL:
		status = NBH_GRPC_RESOURCE_EXHAUSTED;
		text = g_strdup(error->message);
		break;
	case NBH_STORE_DATABASE:
	case NBH_STORE_NOT_FOUND:
		text = g_strdup("the hub cannot use its database; its log says why");
		break;
	}
	finish(call, status, text);
}

static const NbhHubPeer *register_peer(NbhMgmtService *service, NbhHubCall *call,
				       const struct nbh_key *sender, const NbhLoginRequest *request)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) ssh_key = NULL;
	NbhRegistration registration = {
		.key = *sender,
		.setup_key = request->setup_key,
		.hostname = request->hostname,
		.version = request->netbird_version,
		.meta = request->meta_bytes,
	};
	const NbhHubPeer *peer;

	if (request->ssh_pub_key_len)
		registration.ssh_key = ssh_key =
			g_bytes_new(request->ssh_pub_key, request->ssh_pub_key_len);
	peer = nbh_registry_register(service->registry, &registration, &error);
	if (!peer) {
		refuse_registration(service, call, sender, error);
		return NULL;
	}
	nbh_log(NBH_LOG_NOTICE, "mgmt", "peer-registered peer=%s label=%s setup-key=%" G_GINT64_FORMAT,
		short_key(sender).text, peer->label, peer->setup_key_id);
	return peer;
}

/*
 * Only refusals count: a whole site may join through one address at once. A first "up" of an
 * official client makes two probes without a key.
 */
static gboolean may_try(NbhMgmtService *service, NbhHubCall *call)
{
	char address[NBH_ADDR_TEXT_MAX];

	if (nbh_throttle_has(service->refusals, &call->remote, nbh_mono_now()))
		return TRUE;
	if (nbh_log_worth(++service->n_throttled))
		nbh_log(NBH_LOG_WARN, "mgmt", "login-throttled address=%s times=%u",
			nbh_addr_format(&call->remote, address), service->n_throttled);
	finish(call, NBH_GRPC_RESOURCE_EXHAUSTED,
	       "too many refused logins from this address; try again in a minute");
	return FALSE;
}

static const NbhHubPeer *login_unknown(NbhMgmtService *service, NbhHubCall *call,
				       const struct nbh_key *sender, const NbhLoginRequest *request)
{
	const NbhHubPeer *peer = NULL;

	if (!may_try(service, call))
		return NULL;
	if (*request->setup_key)
		peer = register_peer(service, call, sender, request);
	else /* Clients look for these words (netbird-wire.md 2.4). */
		finish(call, NBH_GRPC_PERMISSION_DENIED,
		       "no peer auth method provided: this machine is not registered here and sent no "
		       "setup key; " JOIN_HINT);
	if (!peer)
		nbh_throttle_take(service->refusals, &call->remote, nbh_mono_now());
	return peer;
}

static void on_login(NbhHubCall *call, const guint8 *data, gsize len, gpointer owner)
{
	NbhMgmtService *service = owner;
	struct nbh_key sender;
	g_autoptr(GBytes) plain = open_request(service, call, data, len, &sender);
	g_autoptr(GBytes) answer = NULL;
	NbhLoginRequest request;
	const NbhHubPeer *peer;

	if (!plain)
		return;
	data = g_bytes_get_data(plain, &len);
	if (!nbh_mgmt_decode_login_request(data, len, &request, NULL)) {
		finish(call, NBH_GRPC_INVALID_ARGUMENT, "invalid request message: no LoginRequest");
		return;
	}
	if (!request.has_meta) {
		finish(call, NBH_GRPC_FAILED_PRECONDITION,
		       "peer system meta has to be provided to log in");
		nbh_login_request_clear(&request);
		return;
	}
	peer = nbh_registry_find(service->registry, &sender);
	if (peer) {
		g_autoptr(GBytes) ssh_key =
			g_bytes_new(request.ssh_pub_key, request.ssh_pub_key_len);

		/* Not the meta: at this point it may carry another name (2.1). */
		nbh_registry_update(service->registry, &sender, NULL, NULL, ssh_key);
	} else {
		peer = login_unknown(service, call, &sender, &request);
	}
	nbh_login_request_clear(&request);
	if (!peer)
		return;
	nbh_registry_note_login(service->registry, &sender);
	answer = nbh_maps_login(service->maps, peer);
	if (send_sealed(service, call, &sender, answer))
		finish(call, NBH_GRPC_OK, NULL);
}

/* FALSE: the call is finished. */
static gboolean update_meta(NbhMgmtService *service, NbhHubCall *call, const struct nbh_key *sender,
			    GBytes *plain)
{
	NbhLoginRequest request;
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);

	if (!nbh_mgmt_decode_sync_request(data, len, &request, NULL)) {
		finish(call, NBH_GRPC_INVALID_ARGUMENT, "invalid request message: no SyncRequest");
		return FALSE;
	}
	if (request.has_meta)
		nbh_registry_update(service->registry, sender, request.netbird_version,
				    request.meta_bytes, NULL);
	nbh_login_request_clear(&request);
	return TRUE;
}

static gboolean send_map(NbhMgmtService *service, Session *session, gboolean first)
{
	const NbhHubPeer *peer = nbh_registry_find(service->registry, &session->key);
	g_autoptr(GBytes) plain = NULL;

	if (!peer)
		return FALSE;
	plain = nbh_maps_sync(service->maps, service->registry, peer, first);
	session->sent_generation = nbh_registry_generation(service->registry);
	return send_sealed(service, session->call, &session->key, plain);
}

/* From now on the session is only its call's. */
static void retire(NbhMgmtService *service, Session *session)
{
	if (!session->current)
		return;
	session->current = FALSE;
	g_hash_table_remove(service->sessions, &session->key);
	g_queue_unlink(&service->order, &session->link);
}

static void displace(NbhMgmtService *service, Session *old)
{
	retire(service, old);
	finish(old->call, NBH_GRPC_OK, NULL);
	/* A half-dead connection is the normal case; two machines with one key are not (11.3). */
	if (nbh_log_worth(++service->n_displaced))
		nbh_log(NBH_LOG_INFO, "mgmt", "sync-displaced peer=%s times=%u",
			short_key(&old->key).text, service->n_displaced);
}

static void on_sync(NbhHubCall *call, const guint8 *data, gsize len, gpointer owner)
{
	NbhMgmtService *service = owner;
	struct nbh_key sender;
	g_autoptr(GBytes) plain = NULL;
	Session *session, *old;

	if (call->state)
		return; /* one request per stream */
	plain = open_request(service, call, data, len, &sender);
	if (!plain)
		return;
	if (!nbh_registry_find(service->registry, &sender)) {
		finish(call, NBH_GRPC_PERMISSION_DENIED, "peer is not registered");
		return;
	}
	if (!update_meta(service, call, &sender, plain))
		return;
	old = g_hash_table_lookup(service->sessions, &sender);
	if (old)
		displace(service, old);
	session = g_new0(Session, 1);
	session->key = sender;
	session->call = call;
	session->link.data = session;
	session->current = TRUE;
	call->state = session;
	g_hash_table_insert(service->sessions, &session->key, session);
	g_queue_push_tail_link(&service->order, &session->link);
	nbh_registry_note_connected(service->registry, &sender, TRUE);
	nbh_log(NBH_LOG_NOTICE, "mgmt", "peer-connected peer=%s", short_key(&sender).text);
	send_map(service, session, TRUE);
}

static void on_sync_gone(NbhHubCall *call, gpointer owner)
{
	NbhMgmtService *service = owner;
	Session *session = call->state;

	if (!session)
		return;
	/* A displaced stream must not touch its successor (11.3). */
	if (session->current) {
		retire(service, session);
		nbh_registry_note_connected(service->registry, &session->key, FALSE);
		nbh_log(NBH_LOG_NOTICE, "mgmt", "peer-disconnected peer=%s",
			short_key(&session->key).text);
	}
	g_free(session);
}

static void on_sync_meta(NbhHubCall *call, const guint8 *data, gsize len, gpointer owner)
{
	NbhMgmtService *service = owner;
	struct nbh_key sender;
	g_autoptr(GBytes) plain = open_request(service, call, data, len, &sender);

	if (!plain)
		return;
	if (!nbh_registry_find(service->registry, &sender))
		finish(call, NBH_GRPC_NOT_FOUND, "peer is not registered");
	else if (update_meta(service, call, &sender, plain))
		answer_empty(call);
}

static void on_logout(NbhHubCall *call, const guint8 *data, gsize len, gpointer owner)
{
	NbhMgmtService *service = owner;
	struct nbh_key sender;
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) plain = open_request(service, call, data, len, &sender);

	if (!plain)
		return;
	if (nbh_registry_remove(service->registry, &sender, &error)) {
		nbh_log(NBH_LOG_NOTICE, "mgmt", "peer-logged-out peer=%s", short_key(&sender).text);
		answer_empty(call);
	} else if (g_error_matches(error, NBH_STORE_ERROR, NBH_STORE_NOT_FOUND)) {
		finish(call, NBH_GRPC_NOT_FOUND, "peer is not registered");
	} else {
		nbh_log(NBH_LOG_ERROR, "mgmt", "logout: %s", error->message);
		finish(call, NBH_GRPC_INTERNAL, "the hub cannot use its database; its log says why");
	}
}

/* Jobs are never sent; the stream stays open, as clients expect (3). */
static void on_job(NbhHubCall *call, const guint8 *data, gsize len, gpointer owner)
{
	NbhMgmtService *service = owner;
	struct nbh_key sender;
	g_autoptr(GBytes) plain = open_request(service, call, data, len, &sender);

	if (plain && !nbh_registry_find(service->registry, &sender))
		finish(call, NBH_GRPC_PERMISSION_DENIED, "peer is not registered");
}

static void on_no_sign_on(NbhHubCall *call, const guint8 *data, gsize len, gpointer owner)
{
	(void)data;
	(void)len;
	(void)owner;
	finish(call, NBH_GRPC_NOT_FOUND, "this hub has no single sign-on: use a setup key");
}

#define METHOD(name) "/management.ManagementService/" name

const NbhHubMethod nbh_mgmt_methods[] = {
	{ .path = METHOD("GetServerKey"), .on_message = on_server_key },
	{ .path = METHOD("isHealthy"), .on_message = on_is_healthy },
	{ .path = METHOD("Login"), .on_message = on_login },
	{ .path = METHOD("Sync"), .on_message = on_sync, .on_gone = on_sync_gone },
	{ .path = METHOD("SyncMeta"), .on_message = on_sync_meta },
	{ .path = METHOD("Logout"), .on_message = on_logout },
	{ .path = METHOD("Job"), .on_message = on_job },
	{ .path = METHOD("GetDeviceAuthorizationFlow"), .on_message = on_no_sign_on },
	{ .path = METHOD("GetPKCEAuthorizationFlow"), .on_message = on_no_sign_on },
	{ .path = NULL },
};

/* TRUE: the round is through. */
static gboolean run_round(NbhMgmtService *service)
{
	guint64 generation = nbh_registry_generation(service->registry);
	gint64 until_usec = g_get_monotonic_time() + ROUND_TURN_USEC;

	service->round_left = MIN(service->round_left, service->order.length);
	while (service->round_left > 0) {
		Session *session = service->order.head->data;

		service->round_left--;
		g_queue_unlink(&service->order, &session->link);
		g_queue_push_tail_link(&service->order, &session->link);
		if (session->sent_generation == generation ||
		    nbh_h2srv_queued(session->call->h2) > 0)
			continue;
		send_map(service, session, FALSE);
		if (g_get_monotonic_time() > until_usec)
			break;
	}
	return service->round_left == 0;
}

static gboolean is_anyone_behind(const NbhMgmtService *service)
{
	guint64 generation = nbh_registry_generation(service->registry);

	for (const GList *l = service->order.head; l; l = l->next)
		if (((const Session *)l->data)->sent_generation != generation)
			return TRUE;
	return FALSE;
}

static gboolean on_window(gpointer data)
{
	NbhMgmtService *service = data;

	nbh_source_drop(&service->window);
	if (is_anyone_behind(service))
		nbh_mgmt_service_changed(service);
	return G_SOURCE_REMOVE;
}

static gboolean on_round(gpointer data)
{
	NbhMgmtService *service = data;
	guint window_ms;

	if (!run_round(service))
		return G_SOURCE_CONTINUE;
	nbh_source_drop(&service->round);
	window_ms = WINDOW_MIN_MS + nbh_registry_peers(service->registry)->len * WINDOW_PER_PEER_MS;
	service->window = g_timeout_source_new(MIN(window_ms, WINDOW_MAX_MS));
	g_source_set_callback(service->window, on_window, service, NULL);
	g_source_attach(service->window, NULL);
	return G_SOURCE_REMOVE;
}

void nbh_mgmt_service_changed(NbhMgmtService *service)
{
	if (service->round || service->window)
		return;
	service->round_left = service->order.length;
	service->round = g_idle_source_new();
	g_source_set_callback(service->round, on_round, service, NULL);
	g_source_attach(service->round, NULL);
}

void nbh_mgmt_service_removed(NbhMgmtService *service, const struct nbh_key *key)
{
	Session *session = g_hash_table_lookup(service->sessions, key);
	g_autoptr(GBytes) goodbye = NULL;

	if (!session)
		return;
	goodbye = nbh_maps_goodbye(service->maps, nbh_registry_serial(service->registry));
	retire(service, session);
	if (send_sealed(service, session->call, &session->key, goodbye))
		finish(session->call, NBH_GRPC_OK, NULL);
}

NbhMgmtService *nbh_mgmt_service_new(NbhRegistry *registry, NbhMaps *maps,
				     const struct nbh_key *own_private)
{
	NbhMgmtService *service = g_new0(NbhMgmtService, 1);

	service->registry = registry;
	service->maps = maps;
	service->own_private = *own_private;
	nbh_key_public(own_private, &service->own_public);
	service->refusals =
		nbh_throttle_new(REFUSED_BURST, REFUSED_PER_SECOND, REFUSED_ADDRESSES_MAX);
	service->sessions = g_hash_table_new(nbh_key_hash, nbh_key_hash_equal);
	return service;
}

void nbh_mgmt_service_free(NbhMgmtService *service)
{
	if (!service)
		return;
	nbh_source_drop(&service->round);
	nbh_source_drop(&service->window);
	nbh_throttle_free(service->refusals);
	g_hash_table_unref(service->sessions);
	nbh_key_wipe(&service->own_private);
	g_free(service);
}

guint nbh_mgmt_service_connected(const NbhMgmtService *service)
{
	return service->order.length;
}
