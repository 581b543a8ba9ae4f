#include "config.h"

#include "hub/store.h"

#include "base/limits.h"
#include "base/log.h"
#include "hub/label.h"
#include "hub/overlay.h"

#include <sqlite3.h>
#include <string.h>

#define FILE_NAME "hub.db"
#define SCHEMA_VERSION 1
#define APPLICATION_ID 0x4e424855 /* "NBHU" */
#define BUSY_MS 500 /* an admin command commits in a few milliseconds */
#define SLOW_COMMIT_MS 100
#define SERIAL_JUMP 1000

static const char schema[] =
	"CREATE TABLE setting (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	"CREATE TABLE setup_key ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,"
	" shown TEXT NOT NULL, reusable INTEGER NOT NULL, revoked INTEGER NOT NULL DEFAULT 0,"
	" used INTEGER NOT NULL DEFAULT 0, created_s INTEGER NOT NULL, expires_s INTEGER NOT NULL,"
	" last_used_s INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE peer ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
	" label TEXT NOT NULL UNIQUE, ip INTEGER NOT NULL UNIQUE, version TEXT NOT NULL,"
	" ssh_key BLOB, meta BLOB, setup_key_id INTEGER NOT NULL, created_s INTEGER NOT NULL,"
	" last_login_s INTEGER NOT NULL DEFAULT 0, last_seen_s INTEGER NOT NULL DEFAULT 0,"
	" connected INTEGER NOT NULL DEFAULT 0);";

typedef enum {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_DATA_VERSION,
	SQL_GET_SETTING,
	SQL_BUMP,
	SQL_JUMP,
	SQL_NONE_CONNECTED,
	SQL_PEERS,
	SQL_COUNT_PEERS,
	SQL_HAS_PEER,
	SQL_HAS_IP,
	SQL_HAS_LABEL,
	SQL_ADD_PEER,
	SQL_UPDATE_PEER,
	SQL_SEEN,
	SQL_REMOVE_PEER,
	SQL_ADD_KEY,
	SQL_KEYS,
	SQL_KEY_BY_HASH,
	SQL_USE_KEY,
	SQL_REVOKE_KEY,
	SQL_N
} Sql;

#define KEY_COLUMNS "id, name, shown, reusable, revoked, used, created_s, expires_s, last_used_s"

static const char *const sql_text[] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_DATA_VERSION] = "PRAGMA data_version",
	[SQL_GET_SETTING] = "SELECT value FROM setting WHERE name = ?1",
	[SQL_BUMP] = "UPDATE setting SET value = value + 1 WHERE name = 'serial'",
	[SQL_JUMP] = "UPDATE setting SET value = max(value + ?1, ?2) WHERE name = 'serial'",
	[SQL_NONE_CONNECTED] = "UPDATE peer SET connected = 0 WHERE connected",
	[SQL_PEERS] = "SELECT id, key, name, label, ip, version, ssh_key, meta, setup_key_id,"
		      " created_s, last_login_s, last_seen_s, connected FROM peer ORDER BY id",
	[SQL_COUNT_PEERS] = "SELECT count(*) FROM peer",
	[SQL_HAS_PEER] = "SELECT 1 FROM peer WHERE key = ?1",
	[SQL_HAS_IP] = "SELECT 1 FROM peer WHERE ip = ?1",
	[SQL_HAS_LABEL] = "SELECT 1 FROM peer WHERE label = ?1",
	[SQL_ADD_PEER] = "INSERT INTO peer (key, name, label, ip, version, ssh_key, meta,"
			 " setup_key_id, created_s, last_login_s)"
			 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
	[SQL_UPDATE_PEER] = "UPDATE peer SET version = ?2, ssh_key = ?3, meta = ?4 WHERE id = ?1",
	[SQL_SEEN] = "UPDATE peer SET connected = ?2, last_seen_s = ?3, last_login_s = ?4 WHERE id = ?1",
	[SQL_REMOVE_PEER] = "DELETE FROM peer WHERE id = ?1",
	[SQL_ADD_KEY] = "INSERT INTO setup_key (name, hash, shown, reusable, created_s, expires_s)"
			" VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[SQL_KEYS] = "SELECT " KEY_COLUMNS " FROM setup_key ORDER BY id",
	[SQL_KEY_BY_HASH] = "SELECT " KEY_COLUMNS " FROM setup_key WHERE hash = ?1",
	[SQL_USE_KEY] = "UPDATE setup_key SET used = used + 1, last_used_s = ?2 WHERE id = ?1",
	[SQL_REVOKE_KEY] = "UPDATE setup_key SET revoked = 1 WHERE id = ?1",
};
_Static_assert(G_N_ELEMENTS(sql_text) == SQL_N, "one text per statement");

struct _NbhStore {
	sqlite3 *db;                    /* owned */
	sqlite3_stmt *statements[SQL_N]; /* owned, made when first used */
	gint64 data_version;
};

GQuark nbh_store_error_quark(void)
{
	return g_quark_from_static_string("nbh-store-error");
}

static gboolean fail(NbhStore *store, const char *what, GError **error)
{
	g_set_error(error, NBH_STORE_ERROR, NBH_STORE_DATABASE, "%s: %s: %s", FILE_NAME, what,
		    sqlite3_errmsg(store->db));
	return FALSE;
}

/* The statement, reset and without values. NULL: the database is damaged; step() then says so. */
static sqlite3_stmt *prepare(NbhStore *store, Sql sql)
{
	if (!store->statements[sql])
		sqlite3_prepare_v3(store->db, sql_text[sql], -1, SQLITE_PREPARE_PERSISTENT,
				   &store->statements[sql], NULL);
	return store->statements[sql];
}

/* An unfinished read would hold up the checkpoint for ever. */
static void done(sqlite3_stmt *statement)
{
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
}

/* Runs to the end; ret_rows may be NULL. */
static gboolean run(NbhStore *store, sqlite3_stmt *statement, const char *what, gboolean *ret_row,
		    GError **error)
{
	int r = statement ? sqlite3_step(statement) : SQLITE_ERROR;

	if (r != SQLITE_DONE && r != SQLITE_ROW) {
		fail(store, what, error);
		if (statement)
			done(statement);
		return FALSE;
	}
	if (statement)
		done(statement);
	if (ret_row)
		*ret_row = r == SQLITE_ROW;
	return TRUE;
}

static gboolean run_plain(NbhStore *store, Sql sql, const char *what, GError **error)
{
	return run(store, prepare(store, sql), what, NULL, error);
}

static void set_durable(NbhStore *store, gboolean durable)
{
	/* Cannot fail outside a transaction; worst case is the other level. */
	(void)sqlite3_exec(store->db,
			   durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", NULL,
			   NULL, NULL);
}

static gboolean begin(NbhStore *store, gboolean durable, GError **error)
{
	if (durable)
		set_durable(store, TRUE);
	if (run_plain(store, SQL_BEGIN, "begin", error))
		return TRUE;
	set_durable(store, FALSE);
	return FALSE;
}

/* Commits if ok, else rolls back. */
static gboolean end(NbhStore *store, gboolean ok, GError **error)
{
	gint64 start_usec = g_get_monotonic_time();
	gint64 took_ms;

	if (ok)
		ok = run_plain(store, SQL_COMMIT, "commit", error);
	if (!ok && !sqlite3_get_autocommit(store->db))
		run_plain(store, SQL_ROLLBACK, "rollback", NULL);
	set_durable(store, FALSE);
	took_ms = (g_get_monotonic_time() - start_usec) / 1000;
	if (took_ms > SLOW_COMMIT_MS)
		nbh_log(NBH_LOG_WARN, "store", "slow-commit ms=%" G_GINT64_FORMAT, took_ms);
	return ok;
}

static gboolean get_number(NbhStore *store, const char *setting, gint64 *ret_value, GError **error)
{
	sqlite3_stmt *statement = prepare(store, SQL_GET_SETTING);
	int r;

	if (!statement)
		return fail(store, setting, error);
	sqlite3_bind_text(statement, 1, setting, -1, SQLITE_STATIC);
	r = sqlite3_step(statement);
	if (r == SQLITE_ROW)
		*ret_value = sqlite3_column_int64(statement, 0);
	else
		fail(store, setting, error);
	done(statement);
	return r == SQLITE_ROW;
}

static gint64 pragma_number(NbhStore *store, const char *pragma)
{
	sqlite3_stmt *statement = NULL;
	gint64 value = -1;

	if (sqlite3_prepare_v2(store->db, pragma, -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		value = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return value;
}

static gboolean create_tables(NbhStore *store, GError **error)
{
	struct nbh_prefix network = nbh_overlay_network(g_random_int());
	g_autofree char *init = g_strdup_printf(
		"INSERT INTO setting VALUES ('network', %u), ('serial', 1);"
		"PRAGMA user_version = %d; PRAGMA application_id = %d",
		nbh_overlay_to_number(&network.addr), SCHEMA_VERSION, APPLICATION_ID);

	if (pragma_number(store, "SELECT count(*) FROM sqlite_master") != 0) {
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_DATABASE,
			    "%s: another program's database, not made by netbird-hub", FILE_NAME);
		return FALSE;
	}
	if (sqlite3_exec(store->db, schema, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(store->db, init, NULL, NULL, NULL) != SQLITE_OK)
		return fail(store, "create tables", error);
	return TRUE;
}

static gboolean check_schema(NbhStore *store, GError **error)
{
	gint64 version;
	gboolean ok = TRUE;

	/* BEGIN IMMEDIATE: hub and key create may make it at the same time. */
	if (!begin(store, TRUE, error))
		return FALSE;
	version = pragma_number(store, "PRAGMA user_version");
	if (version == 0) {
		ok = create_tables(store, error);
	} else if (version != SCHEMA_VERSION ||
		   pragma_number(store, "PRAGMA application_id") != APPLICATION_ID) {
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_DATABASE,
			    "%s: schema version %" G_GINT64_FORMAT
			    ", this netbird-hub knows %d: made by a newer one, or by another program",
			    FILE_NAME, version, SCHEMA_VERSION);
		ok = FALSE;
	}
	return end(store, ok, error);
}

NbhStore *nbh_store_open(const char *dir, GError **error)
{
	g_autofree char *path = g_build_filename(dir, FILE_NAME, NULL);
	NbhStore *store = g_new0(NbhStore, 1);

	if (sqlite3_open_v2(path, &store->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			    NULL) != SQLITE_OK) {
		fail(store, path, error);
		nbh_store_close(store);
		return NULL;
	}
	sqlite3_busy_timeout(store->db, BUSY_MS);
	if (sqlite3_exec(store->db,
			 "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
			 "PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint=0; PRAGMA trusted_schema=OFF",
			 NULL, NULL, NULL) != SQLITE_OK) {
		fail(store, path, error);
		nbh_store_close(store);
		return NULL;
	}
	if (!check_schema(store, error)) {
		nbh_store_close(store);
		return NULL;
	}
	nbh_store_changed(store);
	return store;
}

void nbh_store_close(NbhStore *store)
{
	if (!store)
		return;
	for (gsize i = 0; i < SQL_N; i++)
		sqlite3_finalize(store->statements[i]);
	sqlite3_close(store->db);
	g_free(store);
}

void nbh_store_checkpoint(NbhStore *store)
{
	/* PASSIVE waits for nobody; what is left is taken the next time. */
	(void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

gboolean nbh_store_changed(NbhStore *store)
{
	sqlite3_stmt *statement = prepare(store, SQL_DATA_VERSION);
	gint64 version = store->data_version;
	gboolean changed;

	if (statement && sqlite3_step(statement) == SQLITE_ROW)
		version = sqlite3_column_int64(statement, 0);
	if (statement)
		done(statement);
	changed = version != store->data_version;
	store->data_version = version;
	return changed;
}

gboolean nbh_store_network(NbhStore *store, struct nbh_prefix *ret_network, GError **error)
{
	gint64 number;

	if (!get_number(store, "network", &number, error))
		return FALSE;
	*ret_network = (struct nbh_prefix){ .addr = nbh_overlay_from_number((guint32)number),
					    .len = NBH_OVERLAY_PREFIX_LEN };
	return TRUE;
}

gboolean nbh_store_serial(NbhStore *store, guint64 *ret_serial, GError **error)
{
	gint64 number;

	if (!get_number(store, "serial", &number, error))
		return FALSE;
	*ret_serial = (guint64)number;
	return TRUE;
}

gboolean nbh_store_begin_serving(NbhStore *store, gint64 now_s, GError **error)
{
	sqlite3_stmt *jump;
	gboolean ok;

	if (!begin(store, TRUE, error))
		return FALSE;
	jump = prepare(store, SQL_JUMP);
	sqlite3_bind_int64(jump, 1, SERIAL_JUMP);
	sqlite3_bind_int64(jump, 2, now_s);
	ok = run(store, jump, "serial", NULL, error) &&
	     run_plain(store, SQL_NONE_CONNECTED, "connected", error);
	return end(store, ok, error);
}

static GBytes *column_bytes(sqlite3_stmt *statement, int column)
{
	const void *data = sqlite3_column_blob(statement, column);

	return data ? g_bytes_new(data, (gsize)sqlite3_column_bytes(statement, column)) : NULL;
}

static char *column_text(sqlite3_stmt *statement, int column)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);

	return g_strdup(text ? text : "");
}

static NbhHubPeer *read_peer(sqlite3_stmt *row)
{
	g_autoptr(NbhHubPeer) peer = g_new0(NbhHubPeer, 1);
	g_autofree char *key = column_text(row, 1);

	if (nbh_key_parse(key, &peer->key) < 0)
		return NULL;
	peer->id = sqlite3_column_int64(row, 0);
	peer->name = column_text(row, 2);
	peer->label = column_text(row, 3);
	peer->ip = nbh_overlay_from_number((guint32)sqlite3_column_int64(row, 4));
	peer->version = column_text(row, 5);
	peer->ssh_key = column_bytes(row, 6);
	peer->meta = column_bytes(row, 7);
	peer->setup_key_id = sqlite3_column_int64(row, 8);
	peer->created_s = sqlite3_column_int64(row, 9);
	peer->last_login_s = sqlite3_column_int64(row, 10);
	peer->last_seen_s = sqlite3_column_int64(row, 11);
	peer->connected = sqlite3_column_int(row, 12);
	return g_steal_pointer(&peer);
}

void nbh_hub_peer_free(NbhHubPeer *peer)
{
	if (!peer)
		return;
	g_free(peer->name);
	g_free(peer->label);
	g_free(peer->version);
	g_clear_pointer(&peer->ssh_key, g_bytes_unref);
	g_clear_pointer(&peer->meta, g_bytes_unref);
	g_free(peer);
}

GPtrArray *nbh_store_peers(NbhStore *store, GError **error)
{
	g_autoptr(GPtrArray) peers = g_ptr_array_new_with_free_func((GDestroyNotify)nbh_hub_peer_free);
	sqlite3_stmt *statement = prepare(store, SQL_PEERS);
	int r = SQLITE_ERROR;

	while (statement && (r = sqlite3_step(statement)) == SQLITE_ROW) {
		NbhHubPeer *peer = read_peer(statement);

		if (peer)
			g_ptr_array_add(peers, peer);
		else
			nbh_log(NBH_LOG_ERROR, "store", "peer-skipped id=%lld: its key is damaged",
				(long long)sqlite3_column_int64(statement, 0));
	}
	if (r != SQLITE_DONE)
		fail(store, "read peers", error);
	if (statement)
		done(statement);
	return r == SQLITE_DONE ? g_steal_pointer(&peers) : NULL;
}

static NbhSetupKey *read_key(sqlite3_stmt *row)
{
	NbhSetupKey *key = g_new0(NbhSetupKey, 1);

	key->id = sqlite3_column_int64(row, 0);
	key->name = column_text(row, 1);
	g_strlcpy(key->shown, (const char *)sqlite3_column_text(row, 2), sizeof(key->shown));
	key->reusable = sqlite3_column_int(row, 3);
	key->revoked = sqlite3_column_int(row, 4);
	key->used = sqlite3_column_int64(row, 5);
	key->created_s = sqlite3_column_int64(row, 6);
	key->expires_s = sqlite3_column_int64(row, 7);
	key->last_used_s = sqlite3_column_int64(row, 8);
	return key;
}

static void setup_key_free(gpointer data)
{
	NbhSetupKey *key = data;

	if (!key)
		return;
	g_free(key->name);
	g_free(key);
}

const char *nbh_setup_key_state(const NbhSetupKey *key, gint64 now_s)
{
	if (key->revoked)
		return "revoked";
	if (key->expires_s && now_s >= key->expires_s)
		return "expired";
	if (!key->reusable && key->used > 0)
		return "used";
	return "valid";
}

GPtrArray *nbh_store_keys(NbhStore *store, GError **error)
{
	g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(setup_key_free);
	sqlite3_stmt *statement = prepare(store, SQL_KEYS);
	int r = SQLITE_ERROR;

	while (statement && (r = sqlite3_step(statement)) == SQLITE_ROW)
		g_ptr_array_add(keys, read_key(statement));
	if (r != SQLITE_DONE)
		fail(store, "read setup keys", error);
	if (statement)
		done(statement);
	return r == SQLITE_DONE ? g_steal_pointer(&keys) : NULL;
}

static gboolean use_setup_key(NbhStore *store, const char *text, gint64 now_s, gint64 *ret_id,
			      GError **error)
{
	char normal[NBH_SETUPKEY_LEN + 1];
	g_autofree char *hash = NULL;
	NbhSetupKey *key = NULL;
	sqlite3_stmt *statement;
	const char *state = "unknown";

	if (nbh_setupkey_normalize(text, normal)) {
		hash = nbh_setupkey_hash(normal);
		explicit_bzero(normal, sizeof(normal));
		statement = prepare(store, SQL_KEY_BY_HASH);
		sqlite3_bind_text(statement, 1, hash, -1, SQLITE_STATIC);
		if (statement && sqlite3_step(statement) == SQLITE_ROW)
			key = read_key(statement);
		if (statement)
			done(statement);
	}
	if (key)
		state = nbh_setup_key_state(key, now_s);
	if (strcmp(state, "valid") != 0) {
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_KEY_REFUSED, "%s", state);
		setup_key_free(key);
		return FALSE;
	}
	*ret_id = key->id;
	setup_key_free(key);
	statement = prepare(store, SQL_USE_KEY);
	sqlite3_bind_int64(statement, 1, *ret_id);
	sqlite3_bind_int64(statement, 2, now_s);
	return run(store, statement, "use setup key", NULL, error);
}

static gboolean has_text(NbhStore *store, Sql sql, const char *text)
{
	sqlite3_stmt *statement = prepare(store, sql);
	gboolean row = FALSE;

	sqlite3_bind_text(statement, 1, text, -1, SQLITE_STATIC);
	return run(store, statement, "look up", &row, NULL) && row;
}

static gboolean is_ip_taken(const struct nbh_addr *addr, gpointer owner)
{
	sqlite3_stmt *statement = prepare(owner, SQL_HAS_IP);
	gboolean row = FALSE;

	sqlite3_bind_int64(statement, 1, nbh_overlay_to_number(addr));
	return run(owner, statement, "look up", &row, NULL) && row;
}

static gboolean choose_place(NbhStore *store, const char *hostname, struct nbh_addr *ret_ip,
			     char ret_label[NBH_LABEL_MAX + 1], GError **error)
{
	struct nbh_prefix network;
	char plain[NBH_LABEL_MAX + 1];
	sqlite3_stmt *count = prepare(store, SQL_COUNT_PEERS);
	gint64 n_peers = NBH_PEERS_MAX;

	if (!nbh_label_from_hostname(hostname, plain)) {
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_BAD_NAME,
			    "the host name has no letter or digit to make a DNS name of");
		return FALSE;
	}
	if (count && sqlite3_step(count) == SQLITE_ROW)
		n_peers = sqlite3_column_int64(count, 0);
	if (count)
		done(count);
	if (!nbh_store_network(store, &network, error))
		return FALSE;
	if (n_peers >= NBH_PEERS_MAX ||
	    !nbh_overlay_pick(&network, g_random_int(), is_ip_taken, store, ret_ip)) {
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_FULL,
			    "this hub is full: %" G_GINT64_FORMAT " peers", n_peers);
		return FALSE;
	}
	g_strlcpy(ret_label, plain, NBH_LABEL_MAX + 1);
	/* "web-3-4" may itself be somebody's host name. */
	for (guint i = 0; has_text(store, SQL_HAS_LABEL, ret_label); i++) {
		if (i == 0)
			nbh_label_with_address(plain, ret_ip, ret_label);
		else
			g_snprintf(ret_label, NBH_LABEL_MAX + 1, "%.40s-%08x", plain, g_random_int());
	}
	return TRUE;
}

static void bind_bytes(sqlite3_stmt *statement, int i, GBytes *bytes)
{
	gsize len;
	const void *data;

	if (!bytes)
		return; /* NULL */
	data = g_bytes_get_data(bytes, &len);
	sqlite3_bind_blob(statement, i, data ? data : "", (int)len, SQLITE_STATIC);
}

static gboolean insert_peer(NbhStore *store, NbhHubPeer *peer, GError **error)
{
	sqlite3_stmt *statement = prepare(store, SQL_ADD_PEER);
	struct nbh_key_text key = nbh_key_format(&peer->key);

	sqlite3_bind_text(statement, 1, key.text, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, peer->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 3, peer->label, -1, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 4, nbh_overlay_to_number(&peer->ip));
	sqlite3_bind_text(statement, 5, peer->version, -1, SQLITE_STATIC);
	bind_bytes(statement, 6, peer->ssh_key);
	bind_bytes(statement, 7, peer->meta);
	sqlite3_bind_int64(statement, 8, peer->setup_key_id);
	sqlite3_bind_int64(statement, 9, peer->created_s);
	if (!run(store, statement, "add peer", NULL, error))
		return FALSE;
	peer->id = sqlite3_last_insert_rowid(store->db);
	return TRUE;
}

NbhHubPeer *nbh_store_register(NbhStore *store, const NbhRegistration *registration, gint64 now_s,
			       GError **error)
{
	g_autoptr(NbhHubPeer) peer = g_new0(NbhHubPeer, 1);
	struct nbh_key_text key = nbh_key_format(&registration->key);
	char label[NBH_LABEL_MAX + 1];
	gboolean ok;

	peer->key = registration->key;
	peer->name = g_strdup(registration->hostname);
	peer->version = g_strdup(registration->version ? registration->version : "");
	peer->ssh_key = registration->ssh_key ? g_bytes_ref(registration->ssh_key) : NULL;
	peer->meta = registration->meta ? g_bytes_ref(registration->meta) : NULL;
	peer->created_s = peer->last_login_s = now_s;
	if (!begin(store, TRUE, error))
		return NULL;
	if (has_text(store, SQL_HAS_PEER, key.text)) {
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_EXISTS, "the peer is registered already");
		ok = FALSE;
	} else {
		ok = use_setup_key(store, registration->setup_key, now_s, &peer->setup_key_id, error) &&
		     choose_place(store, registration->hostname, &peer->ip, label, error);
	}
	if (ok) {
		peer->label = g_strdup(label);
		ok = insert_peer(store, peer, error) && run_plain(store, SQL_BUMP, "serial", error);
	}
	return end(store, ok, error) ? g_steal_pointer(&peer) : NULL;
}

gboolean nbh_store_update_peer(NbhStore *store, const NbhHubPeer *peer, gboolean bump, GError **error)
{
	sqlite3_stmt *statement;
	gboolean ok;

	if (!begin(store, FALSE, error))
		return FALSE;
	statement = prepare(store, SQL_UPDATE_PEER);
	sqlite3_bind_int64(statement, 1, peer->id);
	sqlite3_bind_text(statement, 2, peer->version, -1, SQLITE_STATIC);
	bind_bytes(statement, 3, peer->ssh_key);
	bind_bytes(statement, 4, peer->meta);
	ok = run(store, statement, "update peer", NULL, error) &&
	     (!bump || run_plain(store, SQL_BUMP, "serial", error));
	return end(store, ok, error);
}

gboolean nbh_store_note_seen(NbhStore *store, GPtrArray *peers, GError **error)
{
	gboolean ok = TRUE;

	if (!begin(store, FALSE, error))
		return FALSE;
	for (guint i = 0; ok && i < peers->len; i++) {
		const NbhHubPeer *peer = peers->pdata[i];
		sqlite3_stmt *statement = prepare(store, SQL_SEEN);

		sqlite3_bind_int64(statement, 1, peer->id);
		sqlite3_bind_int(statement, 2, peer->connected);
		sqlite3_bind_int64(statement, 3, peer->last_seen_s);
		sqlite3_bind_int64(statement, 4, peer->last_login_s);
		ok = run(store, statement, "note seen", NULL, error);
	}
	return end(store, ok, error);
}

/* An UPDATE or DELETE of one row by id; NOT_FOUND when there was none. */
static gboolean change_row(NbhStore *store, Sql sql, gint64 id, const char *what, gboolean bump,
			   GError **error)
{
	sqlite3_stmt *statement;
	gboolean ok;

	if (!begin(store, TRUE, error))
		return FALSE;
	statement = prepare(store, sql);
	sqlite3_bind_int64(statement, 1, id);
	ok = run(store, statement, what, NULL, error);
	if (ok && sqlite3_changes(store->db) == 0) {
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_NOT_FOUND,
			    "%s: there is none with id %" G_GINT64_FORMAT, what, id);
		ok = FALSE;
	}
	if (ok && bump)
		ok = run_plain(store, SQL_BUMP, "serial", error);
	return end(store, ok, error);
}

gboolean nbh_store_remove_peer(NbhStore *store, gint64 id, GError **error)
{
	return change_row(store, SQL_REMOVE_PEER, id, "remove peer", TRUE, error);
}

gboolean nbh_store_revoke_key(NbhStore *store, gint64 id, GError **error)
{
	return change_row(store, SQL_REVOKE_KEY, id, "revoke setup key", FALSE, error);
}

gboolean nbh_store_create_key(NbhStore *store, const char *name, gboolean reusable, gint64 expires_s,
			      gint64 now_s, char ret_text[NBH_SETUPKEY_LEN + 1], gint64 *ret_id,
			      GError **error)
{
	char text[NBH_SETUPKEY_LEN + 1];
	char shown[NBH_SETUPKEY_SHOWN_LEN + 1];
	g_autofree char *hash = NULL;
	sqlite3_stmt *statement;
	gint64 id;
	gboolean ok;

	if (!nbh_setupkey_generate(text)) {
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_DATABASE,
			    "the system gives no random numbers");
		return FALSE;
	}
	hash = nbh_setupkey_hash(text);
	nbh_setupkey_mask(text, shown);
	if (!begin(store, TRUE, error))
		return FALSE;
	statement = prepare(store, SQL_ADD_KEY);
	sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, hash, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 3, shown, -1, SQLITE_STATIC);
	sqlite3_bind_int(statement, 4, reusable);
	sqlite3_bind_int64(statement, 5, now_s);
	sqlite3_bind_int64(statement, 6, expires_s);
	ok = run(store, statement, "create setup key", NULL, error);
	id = sqlite3_last_insert_rowid(store->db);
	if (!end(store, ok, error))
		return FALSE;
	*ret_id = id;
	memcpy(ret_text, text, sizeof(text));
	explicit_bzero(text, sizeof(text));
	return TRUE;
}
