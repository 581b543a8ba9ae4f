#include "config.h"

#include "app/engine-private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib-unix.h>

#include "app/status.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/notify.h"

#define ICE_GRACE_MS 500                /* peers.json waits for ice's listing, or this long */
#define STUN_REFRESH_MS (5 * 60 * 1000) /* while somebody is unconnected: architecture.md section 7 */

void nbh_engine_set_text(char **text, const char *value)
{
	g_free(*text);
	*text = g_strdup(value ? value : "");
}

GSource *nbh_engine_once(guint delay_ms, GSourceFunc fn, Engine *engine)
{
	GSource *source = g_timeout_source_new(delay_ms);

	g_source_set_callback(source, fn, engine, NULL);
	g_source_attach(source, NULL);
	return source;
}

/* ---- ice ------------------------------------------------------------------------------------- */

static void release_publishing(Engine *engine)
{
	nbh_source_drop(&engine->grace_timer);
	nbh_peers_ice_ready(engine->peers);
	nbh_publish_release(engine->publish);
}

static gboolean on_grace(gpointer owner)
{
	release_publishing(owner);
	return G_SOURCE_REMOVE;
}

static void on_ice_ready(NbhIce *ice, const char *backend, gpointer owner)
{
	Engine *engine = owner;

	(void)ice;
	nbh_log(NBH_LOG_NOTICE, "ice", "ice-up backend=%s", backend);
	nbh_engine_set_text(&engine->ice_backend, backend);
	nbh_engine_set_text(&engine->ice_error, "");
	release_publishing(engine);

	/* `down` came while nobody could tell netbird-ice. */
	if (engine->is_down)
		nbh_ice_process.close_all(engine->ice);

	nbh_srflx_ask(engine->srflx);
	nbh_engine_status_changed(engine);
}

static void on_ice_down(NbhIce *ice, const char *why, gpointer owner)
{
	Engine *engine = owner;

	(void)ice;

	if (g_strcmp0(why, engine->ice_error) != 0)
		nbh_log(NBH_LOG_NOTICE, "ice", "ice-down why=\"%s\"", why);

	nbh_peers_ice_down(engine->peers);
	nbh_engine_set_text(&engine->ice_backend, "");
	nbh_engine_set_text(&engine->ice_error, why);
	nbh_engine_status_changed(engine);
}

static void on_ice_session(NbhIce *ice, const NbhIceSession *session, gpointer owner)
{
	(void)ice;
	nbh_peers_ice_session(((Engine *)owner)->peers, session);
}

static void on_ice_selected(NbhIce *ice, const struct nbh_key *peer, const NbhIcePair *pair, gpointer owner)
{
	(void)ice;
	nbh_peers_ice_selected(((Engine *)owner)->peers, peer, pair);
}

static void on_ice_failed(NbhIce *ice, const struct nbh_key *peer, gpointer owner)
{
	(void)ice;
	nbh_peers_ice_failed(((Engine *)owner)->peers, peer);
}

static void on_ice_lost(NbhIce *ice, const struct nbh_key *peer, gpointer owner)
{
	(void)ice;
	nbh_peers_ice_lost(((Engine *)owner)->peers, peer);
}

static void on_ice_heard(NbhIce *ice, const struct nbh_key *peer, const struct nbh_endpoint *from, gpointer owner)
{
	(void)ice;
	nbh_peers_ice_heard(((Engine *)owner)->peers, peer, from);
}

static void on_ice_mapped(NbhIce *ice, const struct nbh_endpoint *server, const struct nbh_endpoint *mapped, gpointer owner)
{
	(void)ice;
	nbh_srflx_mapped(((Engine *)owner)->srflx, server, mapped);
}

static void on_wake(const struct nbh_key *peer, const guint8 *data, gsize len, gboolean initiation, gpointer owner)
{
	nbh_peers_wake(((Engine *)owner)->peers, peer, data, len, initiation);
}

/* ---- netbird-wg's report, and down ----------------------------------------------------------- */

/* A port that is free now, on both families. */
static guint16 pick_port(void)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6 };
	socklen_t len = sizeof(sa);
	nbh_cleanup_close int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&sa, &len) == 0)
		return ntohs(sa.sin6_port);

	return (guint16)g_random_int_range(49152, 65536);
}

/* The address is taken: another port, everywhere. netbird-ice exits at a new SET_PORT and comes back. */
static void change_port(Engine *engine)
{
	struct nbh_why why = { "" };
	guint16 taken = engine->config->listen_port;
	struct nbh_config saved;

	engine->config->listen_port = pick_port();
	nbh_log(NBH_LOG_WARN, "app", "port-in-use port=%u now=%u", taken, engine->config->listen_port);

	/* A login may have changed other things meanwhile. */
	if (nbh_configfile_read(engine->dirfd, &saved, NULL) < 0)
		saved = *engine->config;

	saved.listen_port = engine->config->listen_port;

	if (nbh_configfile_write(engine->dirfd, &saved, &why) < 0)
		nbh_log(NBH_LOG_ERROR, "app", "config-not-written error=\"%s\"", why.text);

	nbh_peers_set_port(engine->peers, engine->config->listen_port);
	nbh_engine_publish_device(engine);
	nbh_ice_process.set_port(engine->ice, engine->config->listen_port);
	nbh_engine_candidates_changed(engine);
}

static void read_wg_status(Engine *engine)
{
	struct nbh_wgstatus status;
	struct nbh_why why = { "" };
	int r;

	if (engine->wg_dirfd < 0)
		engine->wg_dirfd = openat(engine->dirfd, "wg", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (engine->wg_dirfd < 0)
		return;

	r = nbh_wgstatus_read(engine->wg_dirfd, &status, &why);

	if (r < 0) {
		if (r != -ENOENT)
			nbh_log(NBH_LOG_WARN, "app", "wg-status-unreadable error=\"%s\"", why.text);

		return;
	}

	if (strcmp(status.error, engine->have_wg ? engine->wg.error : "") != 0)
		nbh_log(status.error[0] ? NBH_LOG_WARN : NBH_LOG_NOTICE, "wg", "wg-status error=\"%s\"", status.error);

	if (engine->have_wg)
		nbh_wgstatus_clear(&engine->wg);

	engine->wg = status;
	engine->have_wg = TRUE;
	nbh_peers_wg_status(engine->peers, &engine->wg);

	if (engine->device_written && strcmp(engine->wg.error_code, "port-in-use") == 0 &&
	    engine->wg.listen_port == engine->config->listen_port)
		change_port(engine);
}

static void go_down(Engine *engine)
{
	g_autoptr(GError) error = NULL;

	nbh_log(NBH_LOG_NOTICE, "app", "down");
	engine->is_down = TRUE;
	nbh_cache_flush(engine->cache); /* a logout removes it, and nothing may come behind that */
	nbh_peers_stop_all(engine->peers);
	nbh_engine_leave(engine);
	nbh_engine_set_text(&engine->mgmt_error, "");
	nbh_engine_set_text(&engine->signal_error, "");
	g_clear_pointer(&engine->map, nbh_netmap_unref);
	nbh_ice_process.close_all(engine->ice);

	if (!nbh_publish_remove_device(engine->publish, &error))
		nbh_log(NBH_LOG_ERROR, "sink", "publish-failed error=\"%s\"", error->message);

	engine->have_peer_config = FALSE;
	engine->device_written = FALSE;
	nbh_engine_status_changed(engine);
}

static void go_up(Engine *engine)
{
	nbh_log(NBH_LOG_NOTICE, "app", "up");
	engine->is_down = FALSE;
	nbh_engine_disconnect(engine); /* if it has not come to that yet */
	nbh_engine_connect(engine);
	nbh_engine_status_changed(engine);
}

static void on_dir_change(gpointer owner)
{
	Engine *engine = owner;
	gboolean down = faccessat(engine->dirfd, NBH_DOWN_NAME, F_OK, 0) == 0;

	if (down && !engine->is_down)
		go_down(engine);
	else if (!down && engine->is_down)
		go_up(engine);

	read_wg_status(engine);

	/* Somebody removed it: written again, or found impossible and tried again. Or why a program ended. */
	if (!engine->ice_backend[0] || nbh_lock_holder(engine->wg_dirfd, NBH_LOCK_WG) == 0 || faccessat(engine->dirfd, NBH_STATUS_NAME, F_OK, 0) < 0)
		nbh_engine_status_changed(engine);
}

/* The identity that we run with must be the one that is there after the next start. */
static gboolean put_identity(Engine *engine, int dirfd)
{
	struct nbh_why why = { "" };
	struct nbh_key found;
	gboolean is_same;

	if (nbh_keyfile_create(dirfd, "private.key", &engine->private_key, &why) == 0)
		return nbh_configfile_write(dirfd, engine->config, &why) == 0;

	if (nbh_keyfile_read(dirfd, "private.key", &found, &why) < 0)
		return FALSE;

	is_same = nbh_key_equal(&found, &engine->private_key);
	nbh_key_wipe(&found);

	if (is_same)
		return TRUE;

	nbh_log(NBH_LOG_WARN, "app", "config-dir-replaced key=other next=start-again");
	engine->exit_code = NBH_EXIT_FAILURE;
	g_main_loop_quit(engine->loop);
	return FALSE;
}

void nbh_engine_enter_dir_again(Engine *engine)
{
	nbh_cleanup_close int dirfd = open(engine->options->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	nbh_cleanup_close int lockfd = -1;
	struct stat now, then;
	NbhDirwatch *watch;

	if (dirfd < 0 || fstat(dirfd, &now) < 0 || fstat(engine->dirfd, &then) < 0 ||
	    (now.st_dev == then.st_dev && now.st_ino == then.st_ino))
		return;

	if (nbh_lock_take(dirfd, NBH_LOCK_HELPER, &lockfd, NULL) < 0 || !put_identity(engine, dirfd))
		return;

	watch = nbh_dirwatch_new(engine->options->dir, on_dir_change, engine, NULL);

	/* The same number: everybody who was given it is in the new directory, too. */
	if (!watch || dup3(dirfd, engine->dirfd, O_CLOEXEC) < 0) {
		nbh_dirwatch_free(watch);
		return;
	}

	nbh_log(NBH_LOG_NOTICE, "app", "config-dir-replaced dir=%s", engine->options->dir);
	nbh_dirwatch_free(engine->watch);
	engine->watch = watch;
	nbh_close_fd(&engine->lockfd);
	engine->lockfd = nbh_steal_fd(&lockfd);
	nbh_close_fd(&engine->wg_dirfd);
	engine->wg_dirfd = -1;
	engine->device_written = FALSE;
	nbh_publish_again(engine->publish);
	nbh_engine_status_changed(engine);
}

/* ---- start and stop -------------------------------------------------------------------------- */

static gboolean on_quit(gpointer owner)
{
	Engine *engine = owner;

	nbh_log(NBH_LOG_NOTICE, "app", "stopping tunnels=stay");
	g_main_loop_quit(engine->loop);
	return G_SOURCE_CONTINUE;
}

static int read_key(Engine *engine)
{
	struct nbh_why why = { "" };
	int r = nbh_keyfile_read(engine->dirfd, "private.key", &engine->private_key, &why);

	if (r == -ENOENT) {
		nbh_key_generate_private(&engine->private_key);
		r = nbh_keyfile_create(engine->dirfd, "private.key", &engine->private_key, &why);
	}

	if (r < 0) {
		nbh_log(NBH_LOG_ERROR, "app", "private-key error=\"%s\"", why.text);
		return r == -EACCES || r == -EPERM ? NBH_EXIT_PERMISSION : NBH_EXIT_CONFIG;
	}

	nbh_key_public(&engine->private_key, &engine->public_key);
	return NBH_EXIT_OK;
}

static int open_dir(Engine *engine)
{
	struct nbh_why why = { "" };
	int r;

	engine->dirfd = open(engine->options->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (engine->dirfd < 0) {
		nbh_log(NBH_LOG_ERROR, "app", "config-dir dir=%s error=\"%s\"", engine->options->dir,
		        g_strerror(errno));
		return errno == EACCES ? NBH_EXIT_PERMISSION : NBH_EXIT_CONFIG;
	}

	r = nbh_lock_take(engine->dirfd, NBH_LOCK_HELPER, &engine->lockfd, &why);

	if (r < 0) {
		nbh_log(NBH_LOG_ERROR, "app", "lock error=\"%s\"", why.text);
		return r == -EACCES ? NBH_EXIT_PERMISSION : NBH_EXIT_FAILURE;
	}

	return read_key(engine);
}

/* What is published survives us; a damaged file is made again. */
static guint64 restore(Engine *engine, struct nbh_peersfile *ret_file)
{
	struct nbh_why why = { "" };
	int r = nbh_peersfile_read(engine->dirfd, ret_file, &why);

	if (r == 0)
		return ret_file->generation;

	memset(ret_file, 0, sizeof(*ret_file));

	if (r != -ENOENT)
		nbh_log(NBH_LOG_WARN, "app", "peers-not-restored error=\"%s\"", why.text);

	return 0;
}

static guint16 old_loopback_port(const struct nbh_peersfile *file)
{
	for (size_t i = 0; i < file->n_peers; i++)
		if (nbh_addr_is_loopback(&file->peers[i].endpoint.addr))
			return file->peers[i].endpoint.port;

	return 0;
}

static gboolean open_modules(Engine *engine, GError **error)
{
	static const NbhPeersEvents peers_events = { nbh_engine_path_changed, nbh_engine_status_changed, nbh_engine_source_of,
		                                     nbh_engine_path_lost };
	static const NbhIceEvents ice_events = { on_ice_ready,  on_ice_down,   on_ice_session, on_ice_selected,
		                                 on_ice_failed, on_ice_lost, on_ice_mapped, on_ice_heard };
	struct nbh_peersfile old;
	guint64 generation = restore(engine, &old);

	engine->facts = nbh_host_facts_new();
	nbh_host_facts_watch_name(engine->facts, nbh_engine_facts_changed, engine);
	engine->resolver = nbh_resolver_install(nbh_engine_names_changed, engine);
	engine->cache = nbh_cache_new(engine->dirfd, &engine->public_key, engine->config->management_url);
	engine->peers = nbh_peers_new(&engine->public_key, engine->config->listen_port, &peers_events, engine);
	engine->publish = nbh_publish_new(engine->dirfd, generation, &nbh_engine_publish_events, engine);
	engine->srflx = nbh_srflx_new(nbh_engine_candidates_changed, engine);
	engine->loopback = nbh_loopback_new(old_loopback_port(&old), on_wake, engine, error);

	if (engine->loopback) {
		nbh_peers_set_loopback(engine->peers, engine->loopback);
		nbh_peers_restore(engine->peers, &old, engine->loopback);
	}

	nbh_peersfile_clear(&old);

	if (!engine->loopback)
		return FALSE;

	engine->netmon = nbh_netmon_new(nbh_engine_network_changed, engine, error);

	if (!engine->netmon)
		return FALSE;

	engine->watch = nbh_dirwatch_new(engine->options->dir, on_dir_change, engine, error);

	if (!engine->watch)
		return FALSE;

	engine->ice = nbh_ice_process.open(engine->options->dir, &ice_events, engine, error);

	if (!engine->ice)
		return FALSE;

	nbh_ice_process.set_port(engine->ice, engine->config->listen_port);
	nbh_peers_set_ice(engine->peers, &nbh_ice_process, engine->ice);
	nbh_srflx_set_ice(engine->srflx, &nbh_ice_process, engine->ice);
	return TRUE;
}

static void start(Engine *engine)
{
	nbh_engine_servers_init(engine);
	engine->grace_timer = nbh_engine_once(ICE_GRACE_MS, on_grace, engine);
	engine->stun_timer = nbh_engine_once(STUN_REFRESH_MS, nbh_engine_refresh_stun, engine);
	nbh_engine_candidates_changed(engine);
	nbh_log(NBH_LOG_NOTICE, "app", "started version=%s dir=%s interface=%s port=%u", PACKAGE_VERSION,
	        engine->options->dir, engine->config->interface, engine->config->listen_port);
	/* READY before the network is needed: a host without one still boots. */
	nbh_notify("READY=1");

	if (faccessat(engine->dirfd, NBH_DOWN_NAME, F_OK, 0) == 0) {
		nbh_log(NBH_LOG_NOTICE, "app", "down hint=\"netbird-helper up\"");
		engine->is_down = TRUE;
	} else {
		nbh_engine_connect(engine);
	}

	read_wg_status(engine);
	nbh_engine_status_changed(engine);
}

static void stop(Engine *engine)
{
	nbh_source_drop(&engine->grace_timer);
	nbh_source_drop(&engine->stun_timer);

	if (engine->login_timer) {
		nbh_engine_disconnect(engine);
		nbh_engine_write_status(engine);
	}

	nbh_source_drop(&engine->login_timer);
	nbh_source_drop(&engine->status_timer);
	nbh_source_drop(&engine->trim_timer);
	nbh_resolver_uninstall(engine->resolver);
	nbh_cache_free(engine->cache);
	nbh_publish_free(engine->publish);
	nbh_srflx_free(engine->srflx);
	nbh_peers_free(engine->peers);
	nbh_ice_process.free(engine->ice); /* its sessions live on */
	nbh_dirwatch_free(engine->watch);
	nbh_netmon_free(engine->netmon);
	nbh_loopback_free(engine->loopback);
	nbh_host_facts_free(engine->facts);
	nbh_netmap_unref(engine->map);
	g_clear_pointer(&engine->turns, g_ptr_array_unref);
	g_clear_pointer(&engine->relays, g_ptr_array_unref);

	if (engine->have_wg)
		nbh_wgstatus_clear(&engine->wg);

	nbh_engine_wipe_setup_key(engine);
	nbh_key_wipe(&engine->private_key);
	g_free(engine->signal_url);
	g_free(engine->mgmt_error);
	g_free(engine->signal_error);
	g_free(engine->ice_backend);
	g_free(engine->ice_error);
	g_free(engine->publish_error);
	g_free(engine->config_note);
	g_free(engine->last_status_line);

	if (engine->wg_dirfd >= 0)
		close(engine->wg_dirfd);

	if (engine->lockfd >= 0)
		close(engine->lockfd);

	if (engine->dirfd >= 0)
		close(engine->dirfd);
}

int nbh_engine_run(NbhEngineOptions *options)
{
	Engine engine = { .options = options, .config = &options->config, .dirfd = -1, .lockfd = -1, .wg_dirfd = -1 };
	g_autoptr(GError) error = NULL;
	guint term, intr, hangup;

	nbh_engine_set_text(&engine.signal_url, "");
	nbh_engine_set_text(&engine.mgmt_error, "");
	nbh_engine_set_text(&engine.signal_error, "");
	nbh_engine_set_text(&engine.ice_backend, "");
	nbh_engine_set_text(&engine.ice_error, "netbird-ice does not run yet");
	nbh_engine_set_text(&engine.publish_error, "");
	nbh_engine_set_text(&engine.config_note, "");
	engine.exit_code = open_dir(&engine);

	if (engine.exit_code != NBH_EXIT_OK) {
		stop(&engine);
		return engine.exit_code;
	}

	engine.loop = g_main_loop_new(NULL, FALSE);
	term = g_unix_signal_add(SIGTERM, on_quit, &engine);
	intr = g_unix_signal_add(SIGINT, on_quit, &engine);
	hangup = g_unix_signal_add(SIGHUP, nbh_engine_reload, &engine);

	if (open_modules(&engine, &error)) {
		start(&engine);

		if (engine.exit_code == NBH_EXIT_OK)
			g_main_loop_run(engine.loop);
	} else {
		nbh_log(NBH_LOG_ERROR, "app", "cannot-start why=\"%s\"", error->message);
		engine.exit_code = NBH_EXIT_FAILURE;
	}

	nbh_notify("STOPPING=1");
	stop(&engine);
	g_source_remove(term);
	g_source_remove(intr);
	g_source_remove(hangup);
	g_main_loop_unref(engine.loop);
	return engine.exit_code;
}
