#include "config.h"

#include "core/netmap.h"

#include <string.h>

static void peer_clear(NbhNetmapPeer *peer)
{
	g_free(peer->allowed_ips);
	g_free(peer->fqdn);
	g_free(peer->agent_version);
	memset(peer, 0, sizeof(*peer));
}

static gint peer_compare(gconstpointer a, gconstpointer b, gpointer unused)
{
	const NbhNetmapPeer *pa = a, *pb = b;

	(void)unused;
	return nbh_key_compare(&pa->key, &pb->key);
}

/* Of peers with the same key the first one stays: the sort is stable. Returns how many are left. */
static gsize drop_repeated(NbhNetmapPeer *peers, gsize n_peers, GPtrArray *skipped)
{
	gsize n = 0;

	for (gsize i = 0; i < n_peers; i++) {
		if (n > 0 && nbh_key_equal(&peers[n - 1].key, &peers[i].key)) {
			struct nbh_key_text text = nbh_key_format(&peers[i].key);

			g_ptr_array_add(skipped, g_strdup_printf("peer %.8s: the same key a second time", text.text));
			peer_clear(&peers[i]);
			continue;
		}

		if (n != i)
			peers[n] = peers[i];
		n++;
	}

	return n;
}

NbhNetmap *nbh_netmap_new(guint64 serial, NbhNetmapPeer *peers, gsize n_peers, GPtrArray *skipped)
{
	NbhNetmap *map = g_rc_box_new0(NbhNetmap);

	for (gsize i = 0; i < n_peers; i++) {
		if (!peers[i].fqdn)
			peers[i].fqdn = g_strdup("");
		if (!peers[i].agent_version)
			peers[i].agent_version = g_strdup("");
	}

	map->serial = serial;
	map->peers = peers;
	map->skipped = skipped ? skipped : g_ptr_array_new_with_free_func(g_free);

	if (n_peers > 1)
		g_qsort_with_data(peers, (gint)n_peers, sizeof(*peers), peer_compare, NULL);
	map->n_peers = drop_repeated(peers, n_peers, map->skipped);
	return map;
}

NbhNetmap *nbh_netmap_ref(NbhNetmap *map)
{
	return g_rc_box_acquire(map);
}

static void netmap_clear(gpointer data)
{
	NbhNetmap *map = data;

	for (gsize i = 0; i < map->n_peers; i++)
		peer_clear(&map->peers[i]);
	g_free(map->peers);
	g_ptr_array_unref(map->skipped);
}

void nbh_netmap_unref(NbhNetmap *map)
{
	if (map)
		g_rc_box_release_full(map, netmap_clear);
}

const NbhNetmapPeer *nbh_netmap_find(const NbhNetmap *map, const struct nbh_key *key)
{
	gsize from = 0, to = map->n_peers;

	while (from < to) {
		gsize middle = from + (to - from) / 2;
		int order = nbh_key_compare(key, &map->peers[middle].key);

		if (order == 0)
			return &map->peers[middle];
		if (order < 0)
			to = middle;
		else
			from = middle + 1;
	}

	return NULL;
}

void nbh_server_config_free(NbhServerConfig *config)
{
	if (!config)
		return;

	g_clear_pointer(&config->stuns, g_ptr_array_unref);
	g_clear_pointer(&config->turns, g_ptr_array_unref);
	g_clear_pointer(&config->relays, g_ptr_array_unref);
	g_free(config);
}
