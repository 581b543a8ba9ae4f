#include "config.h"

#include "app/engine-private.h"

#include <malloc.h>
#include <string.h>

#include "base/devicefile.h"
#include "base/log.h"

/*
 * Our own address and the network map: what management says about the network, checked and carried
 * to everybody whom it concerns. Many in a row are not applied one by one: the newest counts.
 */

#define TRIM_DELAY_MS 2000 /* until files are written and connections begun or ended */

/* ---- checking -------------------------------------------------------------------------------- */

typedef struct {
	GArray *list; /* NbhNeeded */
	GStringChunk *texts;
	char *management; /* its host; NULL: the URL names none */
} Needed;

static void need(Needed *needed, const struct nbh_addr *addr, const char *what)
{
	NbhNeeded one = { *addr, what };

	g_array_append_val(needed->list, one);
}

static void need_endpoint(const NbhPeerView *view, gpointer data)
{
	if (view->path->kind == NBH_PATH_DIRECT)
		need(data, &view->path->endpoint.addr, "where a tunnel leads");
}

static void need_name(const char *name, const struct nbh_addr *addr, gpointer data)
{
	Needed *needed = data;

	if (g_ascii_strcasecmp(name, needed->management) == 0)
		need(needed, addr, "the management server");
}

/* A literal, or what its name has stood for until now. */
static void need_management(Needed *needed, const Engine *engine)
{
	struct nbh_addr addr;

	if (!needed->management)
		return;

	if (nbh_addr_parse(needed->management, &addr) == 0)
		need(needed, &addr, "the management server");
	else if (engine->resolver)
		nbh_resolver_each(engine->resolver, need_name, needed);
}

/* Ours, and what was ours before the configuration named another: netbird-wg takes that one away. */
static gboolean is_our_interface(const Engine *engine, const struct nbh_device *published, const char *interface)
{
	return strcmp(interface, engine->config->interface) == 0 || strcmp(interface, published->interface) == 0;
}

static void need_own(Needed *needed, const Engine *engine)
{
	g_autoptr(GArray) found = nbh_netmon_addresses();
	struct nbh_device published;

	if (nbh_devicefile_read(engine->dirfd, &published, NULL) < 0)
		published.interface[0] = '\0';

	for (guint i = 0; i < found->len; i++) {
		const NbhNetmonAddress *address = &g_array_index(found, NbhNetmonAddress, i);
		g_autofree char *text = g_strdup_printf("the address of %s", address->interface);

		if (!address->is_loopback && !is_our_interface(engine, &published, address->interface))
			need(needed, &address->local.addr, g_string_chunk_insert_const(needed->texts, text));
	}
}

static gboolean same_network(const struct nbh_prefix *a, const struct nbh_prefix *b)
{
	struct nbh_prefix masked_a = nbh_prefix_masked(a), masked_b = nbh_prefix_masked(b);

	return nbh_prefix_compare(&masked_a, &masked_b) == 0;
}

/* A network that is in use stays good, wherever this host is carried. */
static gboolean is_acceptable(Engine *engine, const NbhPeerConfig *config)
{
	struct nbh_why why = { "" };
	Needed needed = { .management = NULL };
	gboolean ok;

	if (engine->have_peer_config && same_network(&engine->peer_config.address, &config->address) &&
	    same_network(&engine->peer_config.address_v6, &config->address_v6))
		return TRUE;

	needed.list = g_array_new(FALSE, FALSE, sizeof(NbhNeeded));
	needed.texts = g_string_chunk_new(256);
	need_own(&needed, engine);
	g_uri_split_network(engine->config->management_url, G_URI_FLAGS_NONE, NULL, &needed.management, NULL, NULL);
	need_management(&needed, engine);
	nbh_peers_each(engine->peers, need_endpoint, &needed);
	ok = nbh_distrust_network(config, (NbhNeeded *)needed.list->data, needed.list->len, &why);
	g_array_unref(needed.list);
	g_string_chunk_free(needed.texts);
	g_free(needed.management);

	if (!ok)
		nbh_refusals_peer_config(&engine->refusals, why.text);

	return ok;
}

/* ---- carrying out ---------------------------------------------------------------------------- */

void nbh_engine_apply_peer_config(Engine *engine, const NbhPeerConfig *config)
{
	gboolean first = !engine->have_peer_config;

	if (!is_acceptable(engine, config))
		return;

	engine->peer_config = *config;
	engine->have_peer_config = TRUE;
	nbh_peers_set_lazy(engine->peers, config->lazy);
	nbh_peers_set_overlay(engine->peers, &config->address, &config->address_v6);
	nbh_srflx_set_overlay(engine->srflx, &config->address, &config->address_v6);
	nbh_ice_process.set_overlay(engine->ice, &config->address, &config->address_v6);
	nbh_engine_publish_device(engine);

	if (first)
		nbh_engine_candidates_changed(engine);
}

/* What thousands of peers have used is in small pieces all over the heap, which malloc keeps otherwise. */
static gboolean on_trim(gpointer owner)
{
	Engine *engine = owner;

	nbh_source_drop(&engine->trim_timer);
	(void)malloc_trim(0);
	return G_SOURCE_REMOVE;
}

void nbh_engine_trim_soon(Engine *engine)
{
	if (!engine->trim_timer)
		engine->trim_timer = nbh_engine_once(TRIM_DELAY_MS, on_trim, engine);
}

void nbh_engine_apply_map(Engine *engine, NbhNetmap *map)
{
	g_autoptr(NbhNetmap) usable = NULL;

	/* Without our own network every prefix would be outside, and every running tunnel empty. */
	if (!engine->have_peer_config) {
		nbh_refusals_map(&engine->refusals, "remotePeers: no usable peerConfig came with them");
		return;
	}

	usable = nbh_netmap_confine(map, &engine->peer_config.address, &engine->peer_config.address_v6);
	nbh_log(NBH_LOG_INFO, "map", "map serial=%" G_GUINT64_FORMAT " peers=%zu skipped=%u", usable->serial,
	        (size_t)usable->n_peers, usable->skipped->len);

	if (MAX(engine->map ? engine->map->n_peers : 0, map->n_peers) > NBH_MAP_PEERS_USUAL)
		nbh_engine_trim_soon(engine);

	nbh_netmap_unref(engine->map);
	engine->map = nbh_netmap_ref(usable);
	nbh_peers_set_map(engine->peers, usable);
}

/* ---- not too often --------------------------------------------------------------------------- */

void nbh_engine_forget_held(Engine *engine)
{
	nbh_source_drop(&engine->held_timer);
	engine->held_peer_config = FALSE;
	g_clear_pointer(&engine->held_map, nbh_netmap_unref);
}

static gboolean on_held(gpointer owner)
{
	Engine *engine = owner;
	g_autoptr(NbhNetmap) map = g_steal_pointer(&engine->held_map);
	gboolean has_peer_config = engine->held_peer_config;

	nbh_engine_forget_held(engine);
	nbh_allowance_take(&engine->maps, NBH_MAPS_BURST, NBH_MAP_EVERY_MS, nbh_mono_now());

	if (has_peer_config)
		nbh_engine_apply_peer_config(engine, &engine->held_config);

	if (map)
		nbh_engine_apply_map(engine, map);

	nbh_engine_status_changed(engine);
	return G_SOURCE_REMOVE;
}

gboolean nbh_engine_hold(Engine *engine, const NbhMgmtUpdate *update)
{
	if (!update->has_peer_config && !update->map)
		return FALSE;

	if (!engine->held_timer &&
	    nbh_allowance_take(&engine->maps, NBH_MAPS_BURST, NBH_MAP_EVERY_MS, nbh_mono_now()))
		return FALSE;

	if (nbh_log_worth(++engine->n_held))
		nbh_log(NBH_LOG_WARN, "mgmt", "too-many-maps held=%u", engine->n_held);

	if (update->has_peer_config) {
		engine->held_peer_config = TRUE;
		engine->held_config = update->peer_config;
	}

	if (update->map) {
		nbh_netmap_unref(engine->held_map);
		engine->held_map = nbh_netmap_ref(update->map);
	}

	if (!engine->held_timer)
		engine->held_timer = nbh_engine_once(NBH_MAP_EVERY_MS, on_held, engine);

	return TRUE;
}
