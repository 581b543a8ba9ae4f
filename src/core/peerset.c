#include "config.h"

#include "core/peerset.h"

#include <string.h>

static guint changes_of(const NbhNetmapPeer *old_peer, const NbhNetmapPeer *new_peer)
{
	guint mask = 0;
	gboolean same = old_peer->n_allowed_ips == new_peer->n_allowed_ips;

	for (gsize i = 0; same && i < new_peer->n_allowed_ips; i++)
		same = nbh_prefix_compare(&old_peer->allowed_ips[i], &new_peer->allowed_ips[i]) == 0;

	if (!same)
		mask |= NBH_PEER_CHANGED_ALLOWED_IPS;
	if (strcmp(old_peer->agent_version, new_peer->agent_version) != 0)
		mask |= NBH_PEER_CHANGED_AGENT_VERSION;
	if (strcmp(old_peer->fqdn, new_peer->fqdn) != 0)
		mask |= NBH_PEER_CHANGED_FQDN;
	return mask;
}

/* Negative: only in the old list; positive: only in the new one. */
static int side_of(const NbhNetmap *old_map, gsize i, gsize n_old, const NbhNetmap *new_map, gsize j)
{
	if (i >= n_old)
		return 1;
	if (j >= new_map->n_peers)
		return -1;
	return nbh_key_compare(&old_map->peers[i].key, &new_map->peers[j].key);
}

static void report_new(const NbhNetmapPeer *old_peer, const NbhNetmapPeer *new_peer,
                       const NbhPeersetEvents *events, gpointer owner)
{
	guint mask;

	if (!old_peer) {
		if (events->on_added)
			events->on_added(new_peer, owner);
		return;
	}

	mask = changes_of(old_peer, new_peer);
	if (mask && events->on_changed)
		events->on_changed(new_peer, mask, owner);
}

/* One walk over both lists; it is made once for what went and once for what is there. */
static void walk(const NbhNetmap *old_map, const NbhNetmap *new_map, gboolean want_removed,
                 const NbhPeersetEvents *events, gpointer owner)
{
	gsize n_old = old_map ? old_map->n_peers : 0;
	gsize i = 0, j = 0;

	while (i < n_old || j < new_map->n_peers) {
		int side = side_of(old_map, i, n_old, new_map, j);
		const NbhNetmapPeer *old_peer = side <= 0 ? &old_map->peers[i++] : NULL;
		const NbhNetmapPeer *new_peer = side >= 0 ? &new_map->peers[j++] : NULL;

		if (new_peer && !want_removed)
			report_new(old_peer, new_peer, events, owner);
		else if (!new_peer && want_removed && events->on_removed)
			events->on_removed(old_peer, owner);
	}
}

void nbh_peerset_diff(const NbhNetmap *old_map, const NbhNetmap *new_map,
                      const NbhPeersetEvents *events, gpointer owner)
{
	if (old_map)
		walk(old_map, new_map, TRUE, events, owner);
	walk(old_map, new_map, FALSE, events, owner);
}
