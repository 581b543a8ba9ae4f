#include "config.h"

#include "mgmt/mgmt-grpc.h"

#include "base/limits.h"
#include "base/log.h"
#include "core/backoff.h"
#include "net/grpc.h"

#include <string.h>

/*
 * The server makes its key anew at every start (netbird-wire.md 1.1), so official clients ask for it
 * before each sealed call. We use the one we know, also from before our own start, and ask at the same
 * time: that costs no round trip, and a server that has another one by now cannot open what we sealed
 * and says so. Then it is sealed again, once, with what GetServerKey has brought.
 *
 *   need_key() -> start() -> Login, Sync, SyncMeta or Logout -> is_sealed_again() -> need_key()
 *       \-> GetServerKey -> on_key() -> start()
 */

#define SERVICE "/management.ManagementService/"

/* netbird-wire.md 2.3 */
#define SERVER_KEY_MS 5000
#define LOGIN_MS 10000
#define SYNC_META_MS 10000
#define LOGOUT_MS 15000

#define SYNC_FIRST_MS 30000 /* the first message comes ~0.1 s after the request */
#define CHANGE_USEC (5 * G_USEC_PER_SEC) /* a PING may have to fail first */
#define FRESH_KEY_USEC (5 * G_USEC_PER_SEC) /* so soon after it was asked for it is not asked for again */

/* Each SyncMeta makes the server compute the maps of all who see us (netbird-wire.md 2.12). */
#define FACTS_SETTLE_MS 1000   /* what is back by then was nothing */
#define FACTS_INTERVAL_MS 30000

G_DEFINE_QUARK(nbh-mgmt-error-quark, nbh_mgmt_error)

typedef void (*MgmtDone)(NbhMgmt *mgmt, const GError *error, gpointer owner);

/* What waits for a server key: bits in NbhMgmt.waiting. */
enum {
	OP_LOGIN = 1 << 0,
	OP_SYNC = 1 << 1,
	OP_LOGOUT = 1 << 2,
	OP_META = 1 << 3,
};

/* Login, Logout or SyncMeta under way. */
typedef struct {
	MgmtDone done; /* NULL: none, or SyncMeta */
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
	gboolean has_key;
	struct nbh_key server_key; /* the last we heard of */
	gint64 key_usec;           /* when; 0: before our start */

	MgmtCall login, logout;
	char *setup_key; /* owned, wiped */

	gboolean sync_wanted, is_up;
	NbhGrpcCall *sync_call;
	struct nbh_key sync_key;
	gboolean was_sync_repeated;
	GBytes *sync_meta; /* in the Sync under way */
	NbhBackoff backoff;
	guint retry_id, first_id;
	gint64 changed_usec; /* of the last network change */

	MgmtCall meta;
	GBytes *meta_telling, *meta_told; /* in the SyncMeta under way; what the server has */
	gint64 meta_next_usec;            /* no SyncMeta before */
	guint meta_id, settle_ms, interval_ms;
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

static gboolean is_unopened(int status, const char *message)
{
	return status == NBH_GRPC_INVALID_ARGUMENT && message && strstr(message, "invalid request message");
}

/* A status without text still says something. Free the result. */
static char *describe(int status, const char *message)
{
	if (is_unopened(status, message))
		return g_strdup_printf("the server cannot open what is sealed for the key that it gives out (%s)",
				       message);
	return message && *message ? g_strdup(message) : g_strdup_printf("gRPC status %d", status);
}

/* What the server itself said does not name it. Takes text; free the result. */
static char *name_server(const NbhMgmt *mgmt, char *text)
{
	const char *authority = nbh_grpc_channel_authority(mgmt->channel);
	char *named;

	if (strstr(text, authority))
		return text;
	named = g_strdup_printf("%s: %s", authority, text);
	g_free(text);
	return named;
}

/* Errors that any call may end with; refusals of a Login are in login_error(). */
static GError *call_error(const NbhMgmt *mgmt, int status, const char *message)
{
	g_autofree char *text = name_server(mgmt, describe(status, message));

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

/* start(op) follows: at once with the key we know, else when the server has said its own. */
static void need_key(NbhMgmt *mgmt, guint op)
{
	gboolean is_fresh = mgmt->key_usec && g_get_monotonic_time() - mgmt->key_usec < FRESH_KEY_USEC;

	if (!mgmt->key_call && !(mgmt->has_key && is_fresh))
		fetch_key(mgmt);
	if (mgmt->has_key)
		mgmt->start(mgmt, op, &mgmt->server_key);
	else
		mgmt->waiting |= op;
}

/* TRUE: op begins again. used: what the server could not open. */
static gboolean is_sealed_again(NbhMgmt *mgmt, guint op, int status, const char *message,
				const struct nbh_key *used, gboolean *was_repeated)
{
	if (*was_repeated || !is_unopened(status, message))
		return FALSE;
	*was_repeated = TRUE;
	if (nbh_key_equal(used, &mgmt->server_key))
		mgmt->has_key = FALSE;
	need_key(mgmt, op);
	return TRUE;
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

/* Two registrations of ours raced: netbird-wire.md 2.4. */
static gboolean is_race(const MgmtCall *call, int status, const char *message)
{
	return !call->was_repeated && status == NBH_GRPC_FAILED_PRECONDITION &&
	       strstr(message, "already registered") != NULL;
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
				   "run netbird-helper login --setup-key-file FILE", text);
	/* "invalid request message" is about the box around it. */
	if (mgmt->setup_key && (status == NBH_GRPC_NOT_FOUND || status == NBH_GRPC_FAILED_PRECONDITION ||
				(status == NBH_GRPC_PERMISSION_DENIED && strstr(text, "setup key")) ||
				(status == NBH_GRPC_INVALID_ARGUMENT && !strstr(text, "request message"))))
		return g_error_new(NBH_MGMT_ERROR, NBH_MGMT_REFUSED,
				   "management refused the setup key: %s; make a new one and run "
				   "netbird-helper login again", text);
	return call_error(mgmt, status, message);
}

/* The plaintext stays in *ret_plain for as long as update->plain is looked at. */
static gboolean open_login(NbhMgmt *mgmt, GBytes *reply, GBytes **ret_plain, NbhMgmtUpdate *ret_update,
			   GError **error)
{
	gsize len;
	const guint8 *data = g_bytes_get_data(reply, &len);
	g_autoptr(GBytes) plain = NULL;

	plain = nbh_mgmt_open(&mgmt->own_private, &mgmt->login.server_key, data, len, error);
	if (!plain)
		return FALSE;
	data = g_bytes_get_data(plain, &len);
	if (!nbh_mgmt_decode_login(data, len, ret_update, error))
		return FALSE;
	ret_update->plain = plain;
	ret_update->is_login = TRUE;
	*ret_plain = g_steal_pointer(&plain);
	return TRUE;
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
	g_autoptr(GBytes) plain = NULL;

	mgmt->login.call = NULL;
	if (status != NBH_GRPC_OK) {
		if (is_sealed_again(mgmt, OP_LOGIN, status, message, &mgmt->login.server_key,
				    &mgmt->login.was_repeated))
			return;
		if (is_race(&mgmt->login, status, message)) {
			mgmt->login.was_repeated = TRUE;
			need_key(mgmt, OP_LOGIN);
			return;
		}
		error = login_error(mgmt, status, message);
		finish(mgmt, &mgmt->login, error);
		return;
	}
	if (!open_login(mgmt, reply, &plain, &update, &cause)) {
		error = g_error_new(NBH_MGMT_ERROR, NBH_MGMT_PROTOCOL,
				    "management: %s: the answer to Login cannot be used: %s",
				    nbh_grpc_channel_authority(mgmt->channel), cause->message);
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
}

static void on_logout_reply(int status, const char *message, GBytes *reply, gpointer data)
{
	NbhMgmt *mgmt = data;
	g_autoptr(GError) error = NULL;

	(void)reply;
	mgmt->logout.call = NULL;
	if (is_sealed_again(mgmt, OP_LOGOUT, status, message, &mgmt->logout.server_key,
			    &mgmt->logout.was_repeated))
		return;
	/* Deleted there already, or logged out before: what was wanted is so. */
	if (status != NBH_GRPC_OK && status != NBH_GRPC_NOT_FOUND)
		error = call_error(mgmt, status, message);
	finish(mgmt, &mgmt->logout, error);
}

static void logout_start(NbhMgmt *mgmt, const struct nbh_key *server_key)
{
	g_autoptr(GBytes) sealed = nbh_mgmt_seal(&mgmt->own_private, server_key, (const guint8 *)"", 0);

	mgmt->logout.server_key = *server_key;
	mgmt->logout.call = nbh_grpc_unary(mgmt->channel, SERVICE "Logout", sealed, LOGOUT_MS, on_logout_reply, mgmt);
}

/* ---- SyncMeta: what is not in the last Sync any more ------------------------------------------ */

static GBytes *encode_facts(NbhMgmt *mgmt)
{
	NbhMeta meta = { 0 };

	mgmt->get_meta(&meta, mgmt->owner);
	return nbh_mgmt_encode_sync(&meta);
}

static gboolean on_facts(gpointer data)
{
	NbhMgmt *mgmt = data;
	g_autoptr(GBytes) facts = NULL;

	mgmt->meta_id = 0;
	/* The next Sync brings them; whoever waits for an answer looks again behind it. */
	if (!mgmt->is_up || mgmt->meta_telling)
		return G_SOURCE_REMOVE;
	facts = encode_facts(mgmt);
	if (mgmt->meta_told && g_bytes_equal(facts, mgmt->meta_told))
		return G_SOURCE_REMOVE;
	nbh_log(NBH_LOG_INFO, "mgmt", "facts-changed next=SyncMeta");
	mgmt->meta_telling = g_steal_pointer(&facts);
	mgmt->meta_next_usec = g_get_monotonic_time() + mgmt->interval_ms * 1000;
	need_key(mgmt, OP_META);
	return G_SOURCE_REMOVE;
}

static void look_at_facts(NbhMgmt *mgmt)
{
	gint64 wait_ms = (mgmt->meta_next_usec - g_get_monotonic_time()) / 1000 + 1;

	if (!mgmt->meta_id)
		mgmt->meta_id = g_timeout_add((guint)MAX(wait_ms, mgmt->settle_ms), on_facts, mgmt);
}

static gboolean may_pass(int status)
{
	return status == NBH_GRPC_UNAVAILABLE || status == NBH_GRPC_DEADLINE_EXCEEDED ||
	       status == NBH_GRPC_RESOURCE_EXHAUSTED || status == NBH_GRPC_INTERNAL ||
	       status == NBH_GRPC_UNKNOWN;
}

/* told: the server has it now, or will not take it. */
static void meta_finish(NbhMgmt *mgmt, gboolean told)
{
	if (told) {
		g_clear_pointer(&mgmt->meta_told, g_bytes_unref);
		mgmt->meta_told = g_steal_pointer(&mgmt->meta_telling);
	}
	g_clear_pointer(&mgmt->meta_telling, g_bytes_unref);
	mgmt->meta = (MgmtCall){ 0 };
	look_at_facts(mgmt);
}

static void on_meta_reply(int status, const char *message, GBytes *reply, gpointer data)
{
	NbhMgmt *mgmt = data;
	g_autofree char *why = describe(status, message);

	(void)reply;
	mgmt->meta.call = NULL;
	if (is_sealed_again(mgmt, OP_META, status, message, &mgmt->meta.server_key, &mgmt->meta.was_repeated))
		return;
	if (status != NBH_GRPC_OK)
		nbh_log(NBH_LOG_WARN, "mgmt", "facts-not-told why=\"%s\"", why);
	meta_finish(mgmt, !may_pass(status));
}

static void meta_start(NbhMgmt *mgmt, const struct nbh_key *server_key)
{
	g_autoptr(GBytes) sealed = NULL;
	const guint8 *data;
	gsize len;

	if (!mgmt->meta_telling)
		return;
	data = g_bytes_get_data(mgmt->meta_telling, &len);
	sealed = nbh_mgmt_seal(&mgmt->own_private, server_key, data, len);
	mgmt->meta.server_key = *server_key;
	mgmt->meta.call = nbh_grpc_unary(mgmt->channel, SERVICE "SyncMeta", sealed, SYNC_META_MS, on_meta_reply, mgmt);
}

/* Sync is up: its meta is what the server has. */
static void take_sync_meta(NbhMgmt *mgmt)
{
	g_clear_pointer(&mgmt->meta_told, g_bytes_unref);
	mgmt->meta_told = g_steal_pointer(&mgmt->sync_meta);
	look_at_facts(mgmt);
}

/* ---- Sync ------------------------------------------------------------------------------------ */

static void begin_sync(NbhMgmt *mgmt)
{
	mgmt->was_sync_repeated = FALSE;
	need_key(mgmt, OP_SYNC);
}

static gboolean on_retry(gpointer data)
{
	NbhMgmt *mgmt = data;

	mgmt->retry_id = 0;
	begin_sync(mgmt);
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
		g_autofree char *why = g_strdup_printf("%s: management sent something that cannot be used: %s",
						       nbh_grpc_channel_authority(mgmt->channel),
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
		take_sync_meta(mgmt);
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
	g_autofree char *why = status == NBH_GRPC_OK ? g_strdup("management ended the stream")
						     : name_server(mgmt, describe(status, message));

	(void)call;
	mgmt->sync_call = NULL;
	if (!mgmt->is_up && is_unopened(status, message)) {
		clear_source_id(&mgmt->first_id);
		if (is_sealed_again(mgmt, OP_SYNC, status, message, &mgmt->sync_key, &mgmt->was_sync_repeated))
			return;
	}
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
	g_autoptr(GBytes) sealed = NULL;
	const guint8 *data;
	gsize len;

	g_clear_pointer(&mgmt->sync_meta, g_bytes_unref);
	mgmt->sync_meta = encode_facts(mgmt);
	data = g_bytes_get_data(mgmt->sync_meta, &len);
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
	else if (op == OP_META)
		meta_start(mgmt, server_key);
	else
		logout_start(mgmt, server_key);
}

/* A key that nothing can be sealed for is as good as none. */
static gboolean is_usable(const struct nbh_key *own_private, const struct nbh_key *key)
{
	g_autoptr(GBytes) sealed = nbh_mgmt_seal(own_private, key, (const guint8 *)"", 0);

	return sealed != NULL;
}

static gboolean read_key(NbhMgmt *mgmt, GBytes *reply, struct nbh_key *ret_key, GError **error)
{
	gsize len;
	const guint8 *data = g_bytes_get_data(reply, &len);
	struct nbh_key key;

	if (!nbh_mgmt_decode_server_key(data, len, &key, error))
		return FALSE;
	if (!is_usable(&mgmt->own_private, &key)) {
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
	if ((waiting & OP_META) && !mgmt->is_freed)
		meta_finish(mgmt, FALSE);
	if ((waiting & OP_SYNC) && !mgmt->is_freed)
		sync_failed(mgmt, error->message);
	mgmt_unref(mgmt);
}

static void learn_key(NbhMgmt *mgmt, const struct nbh_key *key)
{
	gboolean is_known = !nbh_key_is_zero(&mgmt->server_key);
	gboolean is_same = is_known && nbh_key_equal(key, &mgmt->server_key);

	mgmt->server_key = *key;
	mgmt->has_key = TRUE;
	mgmt->key_usec = g_get_monotonic_time();
	if (is_same)
		return;
	if (is_known)
		nbh_log(NBH_LOG_NOTICE, "mgmt", "server-key-changed now=%.8s", nbh_key_format(key).text);
	if (mgmt->events->on_server_key)
		mgmt->events->on_server_key(mgmt, key, mgmt->owner);
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
		error = call_error(mgmt, status, message);
	else if (!read_key(mgmt, reply, &key, &cause))
		error = g_error_new(NBH_MGMT_ERROR, NBH_MGMT_PROTOCOL,
				    "%s: the answer to GetServerKey cannot be used: %s; is this a NetBird "
				    "management server?",
				    nbh_grpc_channel_authority(mgmt->channel), cause->message);
	if (error) {
		key_failed(mgmt, waiting, error);
		return;
	}
	learn_key(mgmt, &key);
	for (guint op = OP_LOGIN; op <= OP_META; op <<= 1) {
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
	if (config->server_key && is_usable(&config->own_private, config->server_key)) {
		mgmt->server_key = *config->server_key;
		mgmt->has_key = TRUE;
	}
	mgmt->settle_ms = FACTS_SETTLE_MS;
	mgmt->interval_ms = FACTS_INTERVAL_MS;
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
	begin_sync(mgmt);
}

static void mgmt_logout(NbhMgmt *mgmt, MgmtDone done)
{
	g_return_if_fail(!mgmt->logout.done);
	mgmt->logout.done = done;
	need_key(mgmt, OP_LOGOUT);
}

static void mgmt_retry_now(NbhMgmt *mgmt)
{
	if (!mgmt->retry_id)
		return;
	clear_source_id(&mgmt->retry_id);
	begin_sync(mgmt);
}

static void mgmt_network_changed(NbhMgmt *mgmt)
{
	mgmt->changed_usec = g_get_monotonic_time();
	nbh_grpc_channel_probe(mgmt->channel);
	mgmt_retry_now(mgmt);
}

static void mgmt_facts_changed(NbhMgmt *mgmt)
{
	look_at_facts(mgmt);
}

void nbh_mgmt_grpc_set_facts_times(NbhMgmt *mgmt, guint settle_ms, guint interval_ms)
{
	mgmt->settle_ms = settle_ms;
	mgmt->interval_ms = interval_ms;
}

static void mgmt_free(NbhMgmt *mgmt)
{
	if (!mgmt)
		return;
	mgmt->is_freed = TRUE;
	clear_source_id(&mgmt->retry_id);
	clear_source_id(&mgmt->first_id);
	clear_source_id(&mgmt->meta_id);
	nbh_grpc_channel_free(mgmt->channel); /* with its calls */
	mgmt->channel = NULL;
	g_clear_pointer(&mgmt->sync_meta, g_bytes_unref);
	g_clear_pointer(&mgmt->meta_telling, g_bytes_unref);
	g_clear_pointer(&mgmt->meta_told, g_bytes_unref);
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
	.retry_now = mgmt_retry_now,
	.network_changed = mgmt_network_changed,
	.facts_changed = mgmt_facts_changed,
	.free = mgmt_free,
};
