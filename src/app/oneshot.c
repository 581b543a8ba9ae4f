#include "config.h"

#include "app/oneshot.h"

#include <stdio.h>
#include <string.h>

#include "app/cache.h"
#include "app/dialing.h"
#include "app/engine.h"
#include "app/meta.h"
#include "base/addr.h"
#include "ice/ice.h"
#include "mgmt/mgmt.h"

/* Longer than the deadlines of GetServerKey and Login together. */
#define GIVE_UP_S 20
#define ICE_GIVE_UP_MS 700

typedef struct {
	const struct nbh_config *config;
	NbhHostFacts *facts;
	NbhCache *cache; /* NULL: nothing is kept */
	GMainLoop *loop;
	int exit_code;
	gboolean is_login, have_peer_config;
	NbhPeerConfig peer_config;
} Oneshot;

static void on_update(NbhMgmt *mgmt, const NbhMgmtUpdate *update, gpointer owner)
{
	Oneshot *oneshot = owner;

	(void)mgmt;

	if (oneshot->cache)
		nbh_cache_keep(oneshot->cache, update);

	if (!update->has_peer_config)
		return;

	oneshot->peer_config = update->peer_config;
	oneshot->have_peer_config = TRUE;
}

static void on_link(NbhMgmt *mgmt, gboolean up, const char *why, gpointer owner)
{
	(void)mgmt;
	(void)up;
	(void)why;
	(void)owner;
}

static void on_refused(NbhMgmt *mgmt, const char *why, gpointer owner)
{
	(void)mgmt;
	(void)why;
	(void)owner;
}

static void on_server_key(NbhMgmt *mgmt, const struct nbh_key *key, gpointer owner)
{
	Oneshot *oneshot = owner;

	(void)mgmt;

	if (oneshot->cache)
		nbh_cache_keep_server_key(oneshot->cache, key);
}

static void get_meta(NbhMeta *ret_meta, gpointer owner)
{
	Oneshot *oneshot = owner;

	nbh_host_facts_fill(oneshot->facts, oneshot->config, ret_meta);
}

static void report(Oneshot *oneshot, const GError *error)
{
	char address[NBH_PREFIX_TEXT_MAX];

	if (error) {
		fprintf(stderr, "netbird-helper: %s\n", error->message);
		oneshot->exit_code = g_error_matches(error, NBH_MGMT_ERROR, NBH_MGMT_REFUSED) ?
		                             NBH_EXIT_REFUSED :
		                             NBH_EXIT_FAILURE;
		return;
	}

	oneshot->exit_code = NBH_EXIT_OK;

	if (!oneshot->is_login || !oneshot->have_peer_config)
		return;

	printf("%s %s\n", oneshot->peer_config.fqdn, nbh_prefix_format(&oneshot->peer_config.address, address));
}

static void on_done(NbhMgmt *mgmt, const GError *error, gpointer owner)
{
	Oneshot *oneshot = owner;

	(void)mgmt;
	report(oneshot, error);
	g_main_loop_quit(oneshot->loop);
}

static gboolean on_give_up(gpointer owner)
{
	Oneshot *oneshot = owner;

	fprintf(stderr, "netbird-helper: %s does not answer; check the URL and the network\n",
	        oneshot->config->management_url);
	g_main_loop_quit(oneshot->loop);
	return G_SOURCE_REMOVE;
}

/* cache: what is to be kept goes there; NULL: nothing. */
static int talk(const struct nbh_config *config, const struct nbh_key *private_key, const char *setup_key, gboolean is_login, NbhCache *cache)
{
	static const NbhMgmtEvents events = { on_update, on_link, on_refused, on_server_key };
	Oneshot oneshot = { .config = config, .cache = cache, .exit_code = NBH_EXIT_FAILURE, .is_login = is_login };
	NbhMgmtConfig mgmt_config = { .url = config->management_url, .own_private = *private_key, .get_meta = get_meta };
	g_autoptr(GError) error = NULL;
	g_autoptr(NbhDial) dial = nbh_dialing_new(config, &error);
	NbhMgmt *mgmt;
	guint timer;

	oneshot.facts = nbh_host_facts_new();
	oneshot.loop = g_main_loop_new(NULL, FALSE);
	mgmt_config.dial = dial;
	mgmt = dial ? nbh_mgmt_grpc.open(&mgmt_config, &events, &oneshot, &error) : NULL;
	nbh_key_wipe(&mgmt_config.own_private);

	if (mgmt) {
		timer = g_timeout_add_seconds(GIVE_UP_S, on_give_up, &oneshot);

		if (is_login)
			nbh_mgmt_grpc.login(mgmt, setup_key, on_done);
		else
			nbh_mgmt_grpc.logout(mgmt, on_done);

		g_main_loop_run(oneshot.loop);

		if (g_main_context_find_source_by_id(NULL, timer))
			g_source_remove(timer);

		nbh_mgmt_grpc.free(mgmt);
	} else {
		fprintf(stderr, "netbird-helper: %s\n", error->message);
		oneshot.exit_code = NBH_EXIT_CONFIG;
	}

	g_main_loop_unref(oneshot.loop);
	nbh_host_facts_free(oneshot.facts);
	return oneshot.exit_code;
}

static void on_cached_update(const NbhMgmtUpdate *update, gpointer owner)
{
	(void)update;
	(void)owner;
}

static void on_cached_key(const struct nbh_key *key, gpointer owner)
{
	(void)key;
	(void)owner;
}

static void on_cached_address(const char *name, const struct nbh_addr *addr, gpointer owner)
{
	(void)name;
	(void)addr;
	(void)owner;
}

/* The first start needs no Login of its own then. A network map that is there is worth more. */
static NbhCache *open_cache(int dirfd, const struct nbh_config *config, const struct nbh_key *private_key)
{
	static const NbhCacheEvents events = { on_cached_key, on_cached_address, on_cached_update };
	struct nbh_key own_public;
	NbhCache *cache;

	nbh_key_public(private_key, &own_public);
	cache = nbh_cache_new(dirfd, &own_public, config->management_url);

	if (nbh_cache_load(cache, &events, NULL) != NBH_CACHE_MAP)
		return cache;

	nbh_cache_free(cache);
	return NULL;
}

int nbh_oneshot_login(int dirfd, const struct nbh_config *config, const struct nbh_key *private_key, const char *setup_key)
{
	NbhCache *cache = dirfd >= 0 ? open_cache(dirfd, config, private_key) : NULL;
	int r = talk(config, private_key, setup_key, TRUE, cache);

	nbh_cache_free(cache);
	return r;
}

int nbh_oneshot_logout(const struct nbh_config *config, const struct nbh_key *private_key)
{
	return talk(config, private_key, NULL, FALSE, NULL);
}

/* ---- netbird-ice ------------------------------------------------------------------------------ */

static void on_ice_ready(NbhIce *ice, const char *backend, gpointer owner)
{
	(void)backend;
	nbh_ice_process.close_all(ice);
	g_main_loop_quit(owner);
}

static void on_ice_down(NbhIce *ice, const char *why, gpointer owner)
{
	(void)ice;
	(void)why;
	g_main_loop_quit(owner);
}

static void on_ice_session(NbhIce *ice, const NbhIceSession *session, gpointer owner)
{
	(void)ice;
	(void)session;
	(void)owner;
}

static void on_ice_selected(NbhIce *ice, const struct nbh_key *peer, const NbhIcePair *pair, gpointer owner)
{
	(void)ice;
	(void)peer;
	(void)pair;
	(void)owner;
}

static void on_ice_peer(NbhIce *ice, const struct nbh_key *peer, gpointer owner)
{
	(void)ice;
	(void)peer;
	(void)owner;
}

static void on_ice_mapped(NbhIce *ice, const struct nbh_endpoint *server, const struct nbh_endpoint *mapped, gpointer owner)
{
	(void)ice;
	(void)server;
	(void)mapped;
	(void)owner;
}

static gboolean on_ice_give_up(gpointer owner)
{
	g_main_loop_quit(owner);
	return G_SOURCE_CONTINUE;
}

void nbh_oneshot_close_sessions(const char *dir)
{
	static const NbhIceEvents events = { on_ice_ready, on_ice_down, on_ice_session, on_ice_selected,
		                             on_ice_peer,  on_ice_peer, on_ice_mapped, NULL };
	GMainLoop *loop = g_main_loop_new(NULL, FALSE);
	guint timer = g_timeout_add(ICE_GIVE_UP_MS, on_ice_give_up, loop);
	NbhIce *ice = nbh_ice_process.open(dir, &events, loop, NULL);

	if (ice)
		g_main_loop_run(loop);

	g_source_remove(timer);
	nbh_ice_process.free(ice);
	g_main_loop_unref(loop);
}
