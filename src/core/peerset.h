#ifndef NBH_CORE_PEERSET_H
#define NBH_CORE_PEERSET_H

#include "core/netmap.h"

enum {
	NBH_PEER_CHANGED_ALLOWED_IPS = 1 << 0,
	NBH_PEER_CHANGED_AGENT_VERSION = 1 << 1,
	NBH_PEER_CHANGED_FQDN = 1 << 2,
};

typedef struct {
	void (*on_added)(const NbhNetmapPeer *peer, gpointer owner);
	void (*on_removed)(const NbhNetmapPeer *peer, gpointer owner); /* borrowed from the old map */
	void (*on_changed)(const NbhNetmapPeer *peer, guint mask, gpointer owner);
} NbhPeersetEvents;

/* Walks both sorted lists; all removals first, then the rest, each in key order. old_map may be NULL. */
void nbh_peerset_diff(const NbhNetmap *old_map, const NbhNetmap *new_map,
                      const NbhPeersetEvents *events, gpointer owner);

#endif
