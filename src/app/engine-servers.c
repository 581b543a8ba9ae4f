#include "config.h"

#include "app/engine-private.h"

#include <string.h>

#include "app/dialing.h"
#include "base/limits.h"
#include "base/log.h"

#define LEAVE_MS 500 /* for one message to each peer that had a path */

/* ---- signal ---------------------------------------------------------------------------------- */

static void on_signal_message(NbhSignal *signal, const struct nbh_key *from, const NbhSignalMessage *message, gpointer owner)
{
	(void)signal;
	nbh_peers_message(((Engine *)owner)->peers, from, message);
}

/* If Login waits for its next attempt: now. */
static void end_login_wait(Engine *engine)
{
	if (g_source_get_ready_time(engine->login_timer) != -1)
		g_source_set_ready_time(engine->login_timer, 0);
}

/* If it waits; an attempt that is under way is not begun anew. */
static void retry_management(Engine *engine)
{
	if (engine->mgmt)
		nbh_mgmt_grpc.retry_now(engine->mgmt);

	end_login_wait(engine);
}

static void on_signal_link(NbhSignal *signal, gboolean up, const char *why, gpointer owner)
{
	Engine *engine = owner;

	(void)signal;

	if (engine->leave_timer)
		return;

	if (up && !engine->signal_up)
		nbh_log(NBH_LOG_NOTICE, "signal", "signal-up url=%s", engine->signal_url);
	else if (!up && (engine->signal_up || g_strcmp0(why, engine->signal_error) != 0))
		nbh_log(NBH_LOG_NOTICE, "signal", "signal-down url=%s why=\"%s\"", engine->signal_url,
		        why ? why : "");

	/* The two mostly go and come together: who is back tells the other, which may wait in its backoff. */
	if (up && !engine->signal_up && !engine->mgmt_up)
		retry_management(engine);

	engine->signal_up = up;
	nbh_engine_set_text(&engine->signal_error, up ? "" : why);

	if (up)
		nbh_peers_signal_up(engine->peers);

	nbh_engine_status_changed(engine);
}

static gboolean is_known(const struct nbh_key *key, gpointer owner)
{
	return nbh_peers_knows(((Engine *)owner)->peers, key);
}

static void open_signal(Engine *engine, const NbhServerConfig *servers)
{
	static const NbhSignalEvents events = { on_signal_message, on_signal_link };
	gboolean v6 = strchr(servers->signal_host, ':') != NULL;
	g_autofree char *url = g_strdup_printf("%s://%s%s%s:%u", servers->signal_tls ? "https" : "http",
	                                       v6 ? "[" : "", servers->signal_host, v6 ? "]" : "",
	                                       servers->signal_port);
	NbhSignalConfig config = { .url = url, .own_private = engine->private_key, .is_known = is_known, .dial = engine->dial };
	g_autoptr(GError) error = NULL;

	if (engine->signal && strcmp(engine->signal_url, url) == 0)
		return;

	nbh_peers_set_signal(engine->peers, &nbh_signal_grpc, NULL);
	nbh_signal_grpc.free(engine->signal);
	nbh_engine_set_text(&engine->signal_url, url);
	engine->signal = nbh_signal_grpc.open(&config, &events, engine, &error);
	nbh_key_wipe(&config.own_private);
	nbh_engine_set_text(&engine->signal_error, error ? error->message : "");
	nbh_peers_set_signal(engine->peers, &nbh_signal_grpc, engine->signal);
}

/* ---- management ------------------------------------------------------------------------------ */

static void keep_list(GPtrArray **list, GPtrArray *fresh)
{
	g_clear_pointer(list, g_ptr_array_unref);
	*list = g_ptr_array_ref(fresh);
}

static void apply_servers(Engine *engine, const NbhServerConfig *servers)
{
	struct nbh_why why = { "" };

	if (servers->has_signal && !engine->signal) {
		gboolean ok = nbh_distrust_signal(engine->config->management_url, servers->signal_host, &why);

		nbh_refusals_signal(&engine->refusals, ok ? NULL : why.text);

		if (ok)
			open_signal(engine, servers);
	}

	if (servers->stuns->len > 0)
		nbh_srflx_set_servers(engine->srflx, servers->stuns);

	if (servers->turns->len > 0)
		keep_list(&engine->turns, servers->turns);

	keep_list(&engine->relays, servers->relays);
}

static void apply(const NbhMgmtUpdate *update, gpointer owner)
{
	Engine *engine = owner;
	gboolean held;

	if (engine->is_down)
		return;

	nbh_refusals_take(&engine->refusals, update);
	held = nbh_engine_hold(engine, update);

	if (update->has_peer_config && !held)
		nbh_engine_apply_peer_config(engine, &update->peer_config);

	if (update->servers)
		apply_servers(engine, update->servers);

	if (update->map && !held)
		nbh_engine_apply_map(engine, update->map);

	nbh_engine_status_changed(engine);
}

static void on_cached_key(const struct nbh_key *key, gpointer owner)
{
	((Engine *)owner)->server_key = *key;
}

static void on_cached_address(const char *name, const struct nbh_addr *addr, gpointer owner)
{
	nbh_resolver_remember(((Engine *)owner)->resolver, name, addr);
}

static void keep_address(const char *name, const struct nbh_addr *addr, gpointer owner)
{
	nbh_cache_add_address(((Engine *)owner)->cache, name, addr);
}

void nbh_engine_names_changed(gpointer owner)
{
	Engine *engine = owner;

	nbh_cache_clear_addresses(engine->cache);
	nbh_resolver_each(engine->resolver, keep_address, engine);
}

static void on_server_key(NbhMgmt *mgmt, const struct nbh_key *key, gpointer owner)
{
	(void)mgmt;
	nbh_cache_keep_server_key(((Engine *)owner)->cache, key);
}

static void on_update(NbhMgmt *mgmt, const NbhMgmtUpdate *update, gpointer owner)
{
	Engine *engine = owner;

	(void)mgmt;
	apply(update, engine);

	if (update->map_refused)
		nbh_engine_trim_soon(engine);

	if (!nbh_refusals_of_network(&engine->refusals))
		nbh_cache_keep(engine->cache, update);
}

void nbh_engine_wipe_setup_key(Engine *engine)
{
	char *key = engine->options->setup_key;

	if (!key)
		return;

	explicit_bzero(key, strlen(key));
	g_clear_pointer(&engine->options->setup_key, g_free);
}

static void on_mgmt_link(NbhMgmt *mgmt, gboolean up, const char *why, gpointer owner)
{
	Engine *engine = owner;

	(void)mgmt;

	if (up && !engine->mgmt_up)
		nbh_log(NBH_LOG_NOTICE, "mgmt", "management-up url=%s", engine->config->management_url);
	else if (!up && (engine->mgmt_up || g_strcmp0(why, engine->mgmt_error) != 0))
		nbh_log(NBH_LOG_NOTICE, "mgmt", "management-down url=%s why=\"%s\"",
		        engine->config->management_url, why ? why : "");

	if (up)
		nbh_engine_wipe_setup_key(engine);

	if (up && !engine->mgmt_up && engine->signal && !engine->signal_up)
		nbh_signal_grpc.retry_now(engine->signal);

	engine->mgmt_up = up;
	nbh_engine_set_text(&engine->mgmt_error, up ? "" : why);
	nbh_engine_status_changed(engine);
}

static void on_refused(NbhMgmt *mgmt, const char *why, gpointer owner)
{
	Engine *engine = owner;

	(void)mgmt;
	nbh_cache_forget(engine->cache);

	/* Removed at the server since the cached map, and a setup key is at hand: registered anew. */
	if (engine->logged_in && engine->options->setup_key) {
		engine->logged_in = FALSE;
		nbh_log(NBH_LOG_WARN, "mgmt", "peer-unknown why=\"%s\" next=register", why);
		g_source_set_ready_time(engine->login_timer, 0);
		return;
	}

	nbh_log(NBH_LOG_ERROR, "mgmt", "login-refused url=%s why=\"%s\"", engine->config->management_url, why);
	engine->refused = TRUE;
	engine->mgmt_up = FALSE;
	nbh_engine_set_text(&engine->mgmt_error, why);
	engine->exit_code = NBH_EXIT_REFUSED;
	g_main_loop_quit(engine->loop);
}

static void get_meta(NbhMeta *ret_meta, gpointer owner)
{
	Engine *engine = owner;

	nbh_host_facts_fill(engine->facts, engine->config, ret_meta);
}

static void on_login(NbhMgmt *mgmt, const GError *error, gpointer owner)
{
	Engine *engine = owner;

	if (!error) {
		nbh_engine_wipe_setup_key(engine);
		engine->logged_in = TRUE;
		nbh_mgmt_grpc.sync(mgmt);
		return;
	}

	if (g_error_matches(error, NBH_MGMT_ERROR, NBH_MGMT_REFUSED)) {
		on_refused(mgmt, error->message, engine);
		return;
	}

	on_mgmt_link(mgmt, FALSE, error->message, engine);
	g_source_set_ready_time(engine->login_timer,
	                        g_get_monotonic_time() +
	                                1000 * (gint64)nbh_backoff_next(&engine->login_backoff, g_random_int()));
}

/* Now, whatever it waits for. */
void nbh_engine_try_management(Engine *engine)
{
	if (engine->mgmt)
		nbh_mgmt_grpc.network_changed(engine->mgmt);

	end_login_wait(engine);
}

static gboolean on_login_timer(gpointer owner)
{
	Engine *engine = owner;

	if (engine->mgmt && !engine->logged_in)
		nbh_mgmt_grpc.login(engine->mgmt, engine->options->setup_key, on_login);

	return G_SOURCE_CONTINUE;
}

void nbh_engine_connect(Engine *engine)
{
	static const NbhMgmtEvents events = { on_update, on_mgmt_link, on_refused, on_server_key };
	static const NbhCacheEvents cache_events = { on_cached_key, on_cached_address, apply };
	NbhMgmtConfig config = { .url = engine->config->management_url,
		                 .own_private = engine->private_key,
		                 .get_meta = get_meta,
		                 .server_key = &engine->server_key };
	NbhCacheContent cached = NBH_CACHE_NOTHING;
	g_autoptr(GError) error = NULL;

	engine->logged_in = FALSE;
	nbh_key_wipe(&engine->server_key);
	engine->dial = config.dial = nbh_dialing_new(engine->config, &error);

	/*
	 * With what was said before there is nothing to wait for: tunnels come up and signal connects now,
	 * and Sync, which tries Login by itself when it is refused, needs none before it.
	 */
	if (engine->dial)
		cached = nbh_cache_load(engine->cache, &cache_events, engine);

	if (engine->dial)
		engine->mgmt = nbh_mgmt_grpc.open(&config, &events, engine, &error);

	nbh_key_wipe(&config.own_private);

	if (!engine->mgmt) {
		nbh_log(NBH_LOG_ERROR, "mgmt", "cannot-start why=\"%s\"", error->message);
		nbh_engine_set_text(&engine->mgmt_error, error->message);
		engine->exit_code = NBH_EXIT_CONFIG;
		g_main_loop_quit(engine->loop);
		return;
	}

	if (cached != NBH_CACHE_NOTHING) {
		if (cached == NBH_CACHE_MAP)
			nbh_log(NBH_LOG_NOTICE, "app", "cached-map peers=%zu",
			        engine->map ? (size_t)engine->map->n_peers : 0);

		engine->logged_in = TRUE;
		nbh_mgmt_grpc.sync(engine->mgmt);
		return;
	}

	nbh_mgmt_grpc.login(engine->mgmt, engine->options->setup_key, on_login);
}

static void leave_management(Engine *engine)
{
	g_source_set_ready_time(engine->login_timer, -1);
	nbh_mgmt_grpc.free(engine->mgmt);
	engine->mgmt = NULL;
	nbh_engine_forget_held(engine);
	nbh_source_drop(&engine->trim_timer);
	nbh_refusals_clear(&engine->refusals);
	engine->mgmt_up = engine->signal_up = FALSE;
}

void nbh_engine_disconnect(Engine *engine)
{
	nbh_source_drop(&engine->leave_timer);
	leave_management(engine);
	nbh_peers_set_signal(engine->peers, &nbh_signal_grpc, NULL);
	nbh_signal_grpc.free(engine->signal);
	engine->signal = NULL;
	g_clear_pointer(&engine->dial, nbh_dial_unref);
}

static gboolean on_left(gpointer owner)
{
	nbh_engine_disconnect(owner);
	return G_SOURCE_REMOVE;
}

void nbh_engine_leave(Engine *engine)
{
	leave_management(engine);
	nbh_source_drop(&engine->leave_timer);
	engine->leave_timer = nbh_engine_once(LEAVE_MS, on_left, engine);
}

void nbh_engine_servers_init(Engine *engine)
{
	engine->login_timer = nbh_source_new_timer(on_login_timer, engine);
	nbh_backoff_init(&engine->login_backoff, NBH_BACKOFF_MIN_MS, NBH_BACKOFF_MAX_MS, 1.7, 50);
}
