#include "config.h"

#include "mgmt/mgmt.h"

#include "base/limits.h"
#include "base/log.h"
#include "core/backoff.h"
#include "net/grpc.h"

#include <string.h>

/*
 * Every sealed call begins with a fresh server key (netbird-wire.md 1.1). To save the round trip,
 * the key for the call that follows a Login is asked for together with that Login.
 *
 *   need_key() -> GetServerKey -> start() -> Login, Sync or Logout
 */

#define SERVICE "/management.ManagementService/"

/* netbird-wire.md 2.3 */
#define SERVER_KEY_MS 5000
#define LOGIN_MS 10000
#define LOGOUT_MS 15000

#define SYNC_FIRST_MS 30000 /* the first message comes ~0.1 s after the request */
#define CHANGE_USEC (5 * G_USEC_PER_SEC) /* a PING may have to fail first */
#define SPARE_KEY_USEC (5 * G_USEC_PER_SEC)

G_DEFINE_QUARK(nbh-mgmt-error-quark, nbh_mgmt_error)

typedef void (*MgmtDone)(NbhMgmt *mgmt, const GError *error, gpointer owner);

/* What waits for a server key: bits in NbhMgmt.waiting. */
enum {
	OP_LOGIN = 1 << 0,
	OP_SYNC = 1 << 1,
	OP_LOGOUT = 1 << 2,
};

/* Login or Logout under way. done NULL: none. */
typedef struct {
	MgmtDone done;
	NbhGrpcCall *call;
	struct nbh_key server_key; /* that the request was sealed with */
	gboolean was_repeated;     /* once, after a stale server key or a race */
} MgmtCall;

struct _NbhMgmt {
	const NbhMgmtEvents *events;
	gpointer owner;
	void (*get_meta)(NbhMeta *ret_meta, gpointer owner);
	struct nbh_key own_private, own_public;
	NbhGrpcChannel *channel; /* owned */
	gboolean is_freed;

	/* The two ends of the circle key -> call -> key. */
	NbhGrpcReply on_key;
	void (*start)(NbhMgmt *mgmt, guint op, const struct nbh_key *server_key);

	NbhGrpcCall *key_call;
	guint waiting;
	struct nbh_key spare_key; /* asked for in advance; used once */
	gint64 spare_key_usec;    /* when it came; 0: none */

	MgmtCall login, logout;
	char *setup_key; /* owned, wiped */

	gboolean sync_wanted, is_up;
	NbhGrpcCall *sync_call;
	struct nbh_key sync_key;
	NbhBackoff backoff;
	guint retry_id, first_id;
	gint64 changed_usec; /* of the last network change */
};

static void clear_source_id(guint *id)
{
	if (*id)
		g_source_remove(*id);
	*id = 0;
}

static void wipe_setup_key(NbhMgmt *mgmt)
{
	if (mgmt->setup_key)
		explicit_bzero(mgmt->setup_key, strlen(mgmt->setup_key));
	g_clear_pointer(&mgmt->setup_key, g_free);
}

static void wipe_bytes(GBytes *bytes)
{
	gsize len;
	gconstpointer data = g_bytes_get_data(bytes, &len);

	explicit_bzero((gpointer)data, len);
}

/* A status without text still says something. Free the result. */
static char *describe(int status, const char *message)
{
	return message && *message ? g_strdup(message) : g_strdup_printf("gRPC status %d", status);
}

/* Errors that any call may end with; refusals of a Login are in login_error(). */
static GError *call_error(int status, const char *message)
{
	g_autofree char *text = describe(status, message);

	switch (status) {
	case NBH_GRPC_UNIMPLEMENTED:
		return g_error_new(NBH_MGMT_ERROR, NBH_MGMT_PROTOCOL,
				   "this is no NetBird management server: %s", text);
	case NBH_GRPC_PERMISSION_DENIED:
		return g_error_new(NBH_MGMT_ERROR, NBH_MGMT_REFUSED,
				   "management refused this machine: %s; ask its administrator", text);
	case NBH_GRPC_INVALID_ARGUMENT:
	case NBH_GRPC_NOT_FOUND:
	case NBH_GRPC_FAILED_PRECONDITION:
		return g_error_new(NBH_MGMT_ERROR, NBH_MGMT_PROTOCOL, "management: %s", text);
	default:
		return g_error_new(NBH_MGMT_ERROR, NBH_MGMT_UNREACHABLE, "management: %s", text);
	}
}

static void fetch_key(NbhMgmt *mgmt)
{
	g_autoptr(GBytes) empty = g_bytes_new_static("", 0);

	mgmt->key_call = nbh_grpc_unary(mgmt->channel, SERVICE "GetServerKey", empty, SERVER_KEY_MS,
					mgmt->on_key, mgmt);
}

/* start(op) follows: at once with the spare key, else when the server has answered. */
static void need_key(NbhMgmt *mgmt, guint op)
{
	if (mgmt->spare_key_usec && g_get_monotonic_time() - mgmt->spare_key_usec < SPARE_KEY_USEC) {
		mgmt->spare_key_usec = 0;
		mgmt->start(mgmt, op, &mgmt->spare_key);
		return;
	}
	mgmt->waiting |= op;
	if (!mgmt->key_call)
		fetch_key(mgmt);
}

/* The owner's done() may free mgmt: nothing may follow. */
static void finish(NbhMgmt *mgmt, MgmtCall *call, const GError *error)
{
	MgmtDone done = call->done;

	*call = (MgmtCall){ 0 };
	if (call == &mgmt->login)
		wipe_setup_key(mgmt);
	done(mgmt, error, mgmt->owner);
}

/* The server's key changed behind our back, or two registrations of ours raced: netbird-wire.md 2.4. */
static gboolean is_worth_repeating(const MgmtCall *call, int status, const char *message)
{
	if (call->was_repeated)
		return FALSE;
	if (status == NBH_GRPC_INVALID_ARGUMENT)
		return strstr(message, "invalid request message") != NULL;
	return status == NBH_GRPC_FAILED_PRECONDITION && strstr(message, "already registered") != NULL;
}

static GError *login_error(NbhMgmt *mgmt, int status, const char *message)
{
	g_autofree char *text = describe(status, message);

	if (status == NBH_GRPC_UNAUTHENTICATED)
		return g_error_new(NBH_MGMT_ERROR, NBH_MGMT_REFUSED,
				   "management wants a user to log in (%s), which is not supported; "
				   "use a setup key", text);
	/* An expired setup key is another matter: netbird-hub says 7 there, the official server 5. */
	if (status == NBH_GRPC_PERMISSION_DENIED && strstr(text, "expired") && !strstr(text, "setup key"))
		return g_error_new(NBH_MGMT_ERROR, NBH_MGMT_REFUSED,
				   "the login of this machine has expired (%s); delete the peer at the management "
				   "server and run netbird-helper login with a setup key", text);
	if (status == NBH_GRPC_PERMISSION_DENIED && !mgmt->setup_key)
		return g_error_new(NBH_MGMT_ERROR, NBH_MGMT_REFUSED,
				   "management does not accept this machine (%s); make a setup key there and "
				   "run netbird-helper login", text);
	/* "invalid request message" is about the box around it. */
	if (mgmt->setup_key && (status == NBH_GRPC_NOT_FOUND || status == NBH_GRPC_FAILED_PRECONDITION ||
				(status == NBH_GRPC_PERMISSION_DENIED && strstr(text, "setup key")) ||
				(status == NBH_GRPC_INVALID_ARGUMENT && !strstr(text, "request message"))))
		return g_error_new(NBH_MGMT_ERROR, NBH_MGMT_REFUSED,
				   "management refused the setup key: %s; make a new one and run "
				   "netbird-helper login again", text);
	return call_error(status, message);
}

static gboolean open_login(NbhMgmt *mgmt, GBytes *reply, NbhMgmtUpdate *ret_update, GError **error)
{
	gsize len;
	const guint8 *data = g_bytes_get_data(reply, &len);
	g_autoptr(GBytes) plain = NULL;

	plain = nbh_mgmt_open(&mgmt->own_private, &mgmt->login.server_key, data, len, error);
	if (!plain)
		return FALSE;
	data = g_bytes_get_data(plain, &len);
	return nbh_mgmt_decode_login(data, len, ret_update, error);
}

static void mgmt_unref(NbhMgmt *mgmt)
{
	g_rc_box_release(mgmt);
}

static void on_login_reply(int status, const char *message, GBytes *reply, gpointer data)
{
	NbhMgmt *mgmt = data;
	NbhMgmtUpdate update = { 0 };
	g_autoptr(GError) error = NULL;
	g_autoptr(GError) cause = NULL;

	mgmt->login.call = NULL;
	if (status != NBH_GRPC_OK) {
		if (is_worth_repeating(&mgmt->login, status, message)) {
			mgmt->login.was_repeated = TRUE;
			mgmt->spare_key_usec = 0;
			need_key(mgmt, OP_LOGIN);
			return;
		}
		error = login_error(mgmt, status, message);
		finish(mgmt, &mgmt->login, error);
		return;
	}
	if (!open_login(mgmt, reply, &update, &cause)) {
		error = g_error_new(NBH_MGMT_ERROR, NBH_MGMT_PROTOCOL,
				    "management: the answer to Login cannot be used: %s", cause->message);
		finish(mgmt, &mgmt->login, error);
		return;
	}
	g_rc_box_acquire(mgmt);
	mgmt->events->on_update(mgmt, &update, mgmt->owner);
	nbh_mgmt_update_clear(&update);
	if (!mgmt->is_freed)
		finish(mgmt, &mgmt->login, NULL);
	mgmt_unref(mgmt);
}

static void login_start(NbhMgmt *mgmt, const struct nbh_key *server_key)
{
	g_autoptr(GBytes) plain = NULL;
	g_autoptr(GBytes) sealed = NULL;
	const guint8 *data;
	NbhMeta meta = { 0 };
	gsize len;

	mgmt->get_meta(&meta, mgmt->owner);
	/* The server looks at a setup key only when it does not know the peer: one Login does both. */
	plain = nbh_mgmt_encode_login(&meta, mgmt->setup_key, &mgmt->own_public);
	data = g_bytes_get_data(plain, &len);
	sealed = nbh_mgmt_seal(&mgmt->own_private, server_key, data, len);
	wipe_bytes(plain);
	mgmt->login.server_key = *server_key;
	mgmt->login.call = nbh_grpc_unary(mgmt->channel, SERVICE "Login", sealed, LOGIN_MS, on_login_reply, mgmt);
	if (!mgmt->key_call)
		fetch_key(mgmt);
}

static void on_logout_reply(int status, const char *message, GBytes *reply, gpointer data)
{
	NbhMgmt *mgmt = data;
	g_autoptr(GError) error = NULL;

	(void)reply;
	mgmt->logout.call = NULL;
	if (is_worth_repeating(&mgmt->logout, status, message)) {
		mgmt->logout.was_repeated = TRUE;
		mgmt->spare_key_usec = 0;
		need_key(mgmt, OP_LOGOUT);
		return;
	}
	/* Deleted there already, or logged out before: what was wanted is so. */
	if (status != NBH_GRPC_OK && status != NBH_GRPC_NOT_FOUND)
		error = call_error(status, message);
	finish(mgmt, &mgmt->logout, error);
}

static void logout_start(NbhMgmt *mgmt, const struct nbh_key *server_key)
{
	g_autoptr(GBytes) sealed = nbh_mgmt_seal(&mgmt->own_private, server_key, (const guint8 *)"", 0);

	mgmt->logout.server_key = *server_key;
	mgmt->logout.call = nbh_grpc_unary(mgmt->channel, SERVICE "Logout", sealed, LOGOUT_MS, on_logout_reply, mgmt);
}

static gboolean on_retry(gpointer data)
{
	NbhMgmt *mgmt = data;

	mgmt->retry_id = 0;
	need_key(mgmt, OP_SYNC);
	return G_SOURCE_REMOVE;
}

static void schedule_retry(NbhMgmt *mgmt)
{
	guint32 delay_ms = nbh_backoff_next(&mgmt->backoff, g_random_int());

	/* The old connection did not survive: no reason to wait with the first new one. */
	if (mgmt->changed_usec && g_get_monotonic_time() - mgmt->changed_usec < CHANGE_USEC)
		delay_ms = 0;
	mgmt->changed_usec = 0;
	clear_source_id(&mgmt->retry_id);
	mgmt->retry_id = g_timeout_add(delay_ms, on_retry, mgmt);
}

static void leave_sync(NbhMgmt *mgmt)
{
	clear_source_id(&mgmt->first_id);
	nbh_grpc_call_cancel(mgmt->sync_call);
	mgmt->sync_call = NULL;
	mgmt->is_up = FALSE;
}

/* Nothing may follow: the owner hears of it. */
static void sync_failed(NbhMgmt *mgmt, const char *why)
{
	leave_sync(mgmt);
	schedule_retry(mgmt);
	nbh_log(NBH_LOG_DEBUG, "mgmt", "sync_down reason=\"%s\"", why);
	mgmt->events->on_link(mgmt, FALSE, why, mgmt->owner);
}

/* The plaintext stays in *ret_plain for as long as update->plain is looked at. */
static gboolean open_sync(NbhMgmt *mgmt, const guint8 *data, gsize len, GBytes **ret_plain,
			  NbhMgmtUpdate *ret_update, GError **error)
{
	g_autoptr(GBytes) plain = nbh_mgmt_open(&mgmt->own_private, &mgmt->sync_key, data, len, error);

	if (!plain)
		return FALSE;
	data = g_bytes_get_data(plain, &len);
	if (!nbh_mgmt_decode_sync(data, len, &mgmt->own_public, ret_update, error))
		return FALSE;
	ret_update->plain = plain;
	*ret_plain = g_steal_pointer(&plain);
	return TRUE;
}

static void on_sync_message(NbhGrpcCall *call, const guint8 *data, gsize len, gpointer owner)
{
	NbhMgmt *mgmt = owner;
	NbhMgmtUpdate update = { 0 };
	g_autoptr(GBytes) plain = NULL;
	g_autoptr(GError) error = NULL;

	(void)call;
	if (!open_sync(mgmt, data, len, &plain, &update, &error)) {
		g_autofree char *why = g_strdup_printf("management sent something that cannot be used: %s",
						       error->message);

		sync_failed(mgmt, why);
		return;
	}
	g_rc_box_acquire(mgmt);
	if (!mgmt->is_up) {
		clear_source_id(&mgmt->first_id);
		/* Not earlier: errors of the main port have response headers, too (interop.md rule 14). */
		nbh_backoff_reset(&mgmt->backoff);
		mgmt->is_up = TRUE;
		mgmt->events->on_link(mgmt, TRUE, "", mgmt->owner);
	}
	if (!mgmt->is_freed)
		mgmt->events->on_update(mgmt, &update, mgmt->owner);
	nbh_mgmt_update_clear(&update);
	mgmt_unref(mgmt);
}

/* Sync was refused: Login decides whether the peer is gone for good. */
static void on_login_again(NbhMgmt *mgmt, const GError *error, gpointer owner)
{
	if (g_error_matches(error, NBH_MGMT_ERROR, NBH_MGMT_REFUSED)) {
		mgmt->sync_wanted = FALSE;
		mgmt->events->on_refused(mgmt, error->message, owner);
		return;
	}
	schedule_retry(mgmt);
}

static void on_sync_done(NbhGrpcCall *call, int status, const char *message, gpointer owner)
{
	NbhMgmt *mgmt = owner;
	g_autofree char *why = describe(status, status == NBH_GRPC_OK ? "management ended the stream" : message);

	(void)call;
	mgmt->sync_call = NULL;
	if (status != NBH_GRPC_PERMISSION_DENIED || mgmt->login.done) {
		sync_failed(mgmt, why);
		return;
	}
	leave_sync(mgmt);
	mgmt->login.done = on_login_again;
	need_key(mgmt, OP_LOGIN);
	mgmt->events->on_link(mgmt, FALSE, why, mgmt->owner);
}

static gboolean on_no_first_message(gpointer data)
{
	NbhMgmt *mgmt = data;

	mgmt->first_id = 0;
	sync_failed(mgmt, "management does not send a network map");
	return G_SOURCE_REMOVE;
}

static const NbhGrpcEvents sync_events = { NULL, on_sync_message, on_sync_done };

static void sync_start(NbhMgmt *mgmt, const struct nbh_key *server_key)
{
	g_autoptr(GBytes) plain = NULL;
	g_autoptr(GBytes) sealed = NULL;
	const guint8 *data;
	NbhMeta meta = { 0 };
	gsize len;

	mgmt->get_meta(&meta, mgmt->owner);
	plain = nbh_mgmt_encode_sync(&meta);
	data = g_bytes_get_data(plain, &len);
	sealed = nbh_mgmt_seal(&mgmt->own_private, server_key, data, len);
	mgmt->sync_key = *server_key;
	mgmt->sync_call = nbh_grpc_call(mgmt->channel, SERVICE "Sync", NULL, sealed, TRUE, 0, &sync_events, mgmt);
	mgmt->first_id = g_timeout_add(SYNC_FIRST_MS, on_no_first_message, mgmt);
}

static void start(NbhMgmt *mgmt, guint op, const struct nbh_key *server_key)
{
	if (op == OP_LOGIN)
		login_start(mgmt, server_key);
	else if (op == OP_SYNC)
		sync_start(mgmt, server_key);
	else
		logout_start(mgmt, server_key);
}

/* A key that nothing can be sealed for is as good as none. */
static gboolean read_key(NbhMgmt *mgmt, GBytes *reply, struct nbh_key *ret_key, GError **error)
{
	gsize len;
	const guint8 *data = g_bytes_get_data(reply, &len);
	g_autoptr(GBytes) sealed = NULL;
	struct nbh_key key;

	if (!nbh_mgmt_decode_server_key(data, len, &key, error))
		return FALSE;
	sealed = nbh_mgmt_seal(&mgmt->own_private, &key, (const guint8 *)"", 0);
	if (!sealed) {
		g_set_error(error, NBH_MGMT_ERROR, NBH_MGMT_PROTOCOL, "the server key is weak");
		return FALSE;
	}
	*ret_key = key;
	return TRUE;
}

static void key_failed(NbhMgmt *mgmt, guint waiting, const GError *error)
{
	g_rc_box_acquire(mgmt);
	if ((waiting & OP_LOGIN) && !mgmt->is_freed)
		finish(mgmt, &mgmt->login, error);
	if ((waiting & OP_LOGOUT) && !mgmt->is_freed)
		finish(mgmt, &mgmt->logout, error);
	if ((waiting & OP_SYNC) && !mgmt->is_freed)
		sync_failed(mgmt, error->message);
	mgmt_unref(mgmt);
}

static void on_key(int status, const char *message, GBytes *reply, gpointer data)
{
	NbhMgmt *mgmt = data;
	guint waiting = mgmt->waiting;
	g_autoptr(GError) error = NULL;
	g_autoptr(GError) cause = NULL;
	struct nbh_key key;

	mgmt->key_call = NULL;
	mgmt->waiting = 0;
	if (status != NBH_GRPC_OK)
		error = call_error(status, message);
	else if (!read_key(mgmt, reply, &key, &cause))
		error = g_error_new(NBH_MGMT_ERROR, NBH_MGMT_PROTOCOL,
				    "the answer to GetServerKey cannot be used: %s", cause->message);
	if (error) {
		key_failed(mgmt, waiting, error);
		return;
	}
	if (!waiting) {
		mgmt->spare_key = key;
		mgmt->spare_key_usec = g_get_monotonic_time();
	}
	for (guint op = OP_LOGIN; op <= OP_LOGOUT; op <<= 1) {
		if (waiting & op)
			start(mgmt, op, &key);
	}
}

static NbhMgmt *mgmt_open(const NbhMgmtConfig *config, const NbhMgmtEvents *events, gpointer owner, GError **error)
{
	NbhGrpcChannel *channel = nbh_grpc_channel_new(config->url, config->dial, error);
	NbhMgmt *mgmt;

	if (!channel) {
		g_prefix_error(error, "management URL ");
		return NULL;
	}
	mgmt = g_rc_box_new0(NbhMgmt);
	mgmt->events = events;
	mgmt->owner = owner;
	mgmt->get_meta = config->get_meta;
	mgmt->own_private = config->own_private;
	nbh_key_public(&mgmt->own_private, &mgmt->own_public);
	mgmt->channel = channel;
	mgmt->on_key = on_key;
	mgmt->start = start;
	/* 0.8 s x1.7 up to 10 s as official clients, but half the jitter: theirs may wait 0..2x. */
	nbh_backoff_init(&mgmt->backoff, NBH_BACKOFF_MIN_MS, NBH_BACKOFF_MAX_MS, 1.7, 50);
	return mgmt;
}

static void mgmt_login(NbhMgmt *mgmt, const char *setup_key, MgmtDone done)
{
	g_return_if_fail(!mgmt->login.done);
	mgmt->login.done = done;
	mgmt->setup_key = setup_key && *setup_key ? g_strdup(setup_key) : NULL;
	need_key(mgmt, OP_LOGIN);
}

static void mgmt_sync(NbhMgmt *mgmt)
{
	if (mgmt->sync_wanted)
		return;
	mgmt->sync_wanted = TRUE;
	need_key(mgmt, OP_SYNC);
}

static void mgmt_logout(NbhMgmt *mgmt, MgmtDone done)
{
	g_return_if_fail(!mgmt->logout.done);
	mgmt->logout.done = done;
	need_key(mgmt, OP_LOGOUT);
}

static void mgmt_network_changed(NbhMgmt *mgmt)
{
	mgmt->changed_usec = g_get_monotonic_time();
	nbh_grpc_channel_probe(mgmt->channel);
	if (!mgmt->retry_id)
		return;
	clear_source_id(&mgmt->retry_id);
	need_key(mgmt, OP_SYNC);
}

static void mgmt_free(NbhMgmt *mgmt)
{
	if (!mgmt)
		return;
	mgmt->is_freed = TRUE;
	clear_source_id(&mgmt->retry_id);
	clear_source_id(&mgmt->first_id);
	nbh_grpc_channel_free(mgmt->channel); /* with its calls */
	mgmt->channel = NULL;
	wipe_setup_key(mgmt);
	nbh_key_wipe(&mgmt->own_private);
	mgmt_unref(mgmt);
}

const NbhMgmtBackend nbh_mgmt_grpc = {
	.name = "grpc",
	.open = mgmt_open,
	.login = mgmt_login,
	.sync = mgmt_sync,
	.logout = mgmt_logout,
	.network_changed = mgmt_network_changed,
	.free = mgmt_free,
};
