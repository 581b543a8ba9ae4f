#include "config.h"

#include "app/engine-private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "app/dialing.h"
#include "app/options.h"
#include "app/reload.h"
#include "base/log.h"
#include "net/grpc.h"

/*
 * SIGHUP: config.json is read again, and what can change while tunnels run does. A file that cannot
 * be used changes nothing at all.
 */

static gboolean is_readable(const char *field, const char *path, struct nbh_why *why)
{
	if (!path[0] || access(path, R_OK) == 0)
		return TRUE;

	nbh_why_set(why, "%s: %s: %s: %s", NBH_CONFIGFILE_NAME, field, path, g_strerror(errno));
	return FALSE;
}

/* As good as we can say without asking the servers. */
static gboolean can_connect(const struct nbh_config *config, struct nbh_why *why)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(NbhDial) dial = NULL;
	gboolean tls;
	char host[256];
	guint16 port;

	if (!nbh_grpc_url_parse(config->management_url, &tls, host, sizeof(host), &port, &error)) {
		nbh_why_set(why, "%s: managementUrl: %s", NBH_CONFIGFILE_NAME, error->message);
		return FALSE;
	}

	if (!is_readable("caFile", config->ca_file, why) ||
	    !is_readable("clientCertFile", config->client_cert_file, why) ||
	    !is_readable("clientKeyFile", config->client_key_file, why))
		return FALSE;

	dial = nbh_dialing_new(config, &error);

	if (!dial)
		nbh_why_set(why, "%s", error->message);

	return dial != NULL;
}

/* As at the start: the file, then the environment before it. */
static gboolean read_config(const Engine *engine, struct nbh_config *ret_config, struct nbh_why *why)
{
	int r = nbh_configfile_read(engine->dirfd, ret_config, why);

	if (r == -ENOENT)
		nbh_why_set(why, "%s: not there", NBH_CONFIGFILE_NAME);

	return r == 0 && nbh_options_environment(ret_config, why) == 0 &&
	       nbh_configfile_check(ret_config, why) == 0 && can_connect(ret_config, why);
}

/* Tunnels and ICE sessions stay; what the old server said holds until the new one has spoken. */
static void reconnect(Engine *engine, gboolean is_other_server)
{
	nbh_cache_flush(engine->cache);

	if (is_other_server) {
		nbh_cache_free(engine->cache);
		engine->cache = nbh_cache_new(engine->dirfd, &engine->public_key, engine->config->management_url);
		nbh_engine_names_changed(engine);
	}

	if (engine->is_down)
		return;

	nbh_engine_disconnect(engine);
	nbh_engine_connect(engine);
}

static void set_log_level(const struct nbh_config *config)
{
	const char *variable = g_getenv("NB_LOG_LEVEL");

	if (!variable || !variable[0])
		nbh_log_set_level(config->log_level[0] ? config->log_level : "info");
}

static void take(Engine *engine, const NbhReload *reload)
{
	gboolean is_other_server =
		strcmp(engine->config->management_url, reload->config.management_url) != 0;

	*engine->config = reload->config;

	if (reload->effects & NBH_RELOAD_LOG)
		set_log_level(engine->config);

	if (reload->effects & NBH_RELOAD_DEVICE)
		nbh_engine_publish_device(engine);

	if (reload->effects & NBH_RELOAD_PEERS)
		nbh_engine_path_changed(engine);

	if (reload->effects & NBH_RELOAD_CANDIDATES)
		nbh_engine_candidates_changed(engine);

	if (reload->effects & NBH_RELOAD_SERVERS)
		reconnect(engine, is_other_server);

	if (reload->effects & NBH_RELOAD_FACTS)
		nbh_engine_facts_changed(engine);
}

gboolean nbh_engine_reload(gpointer owner)
{
	Engine *engine = owner;
	g_autofree char *note = NULL;
	struct nbh_why why = { "" };
	struct nbh_config wanted;
	NbhReload reload;

	if (!read_config(engine, &wanted, &why)) {
		nbh_log(NBH_LOG_ERROR, "app", "config-refused error=\"%s\" settings=of-before", why.text);
		note = g_strdup_printf("%s; the settings of before stay in use", why.text);
		nbh_engine_set_text(&engine->config_note, note);
		nbh_engine_status_changed(engine);
		return G_SOURCE_CONTINUE;
	}

	nbh_reload_compare(engine->config, &wanted, &reload);
	nbh_key_wipe(&wanted.preshared_key);
	nbh_log(NBH_LOG_NOTICE, "app", "config-read-again changed=\"%s\"", reload.changed);

	if (reload.waiting[0]) {
		nbh_log(NBH_LOG_WARN, "app", "config-needs-restart changed=\"%s\"", reload.waiting);
		note = g_strdup_printf("%s: %s changed; in use when netbird-helper is started again",
		                       NBH_CONFIGFILE_NAME, reload.waiting);
	}

	nbh_engine_set_text(&engine->config_note, note);
	take(engine, &reload);
	nbh_reload_clear(&reload);
	nbh_engine_status_changed(engine);
	return G_SOURCE_CONTINUE;
}
