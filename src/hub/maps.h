#ifndef NBH_HUB_MAPS_H
#define NBH_HUB_MAPS_H

/*
 * Peers -> plaintexts of LoginResponse and SyncResponse. Each peer's entries are made once per
 * generation; a map is the list without its receiver. Everyone may reach everyone in this stage, and
 * the rules say so: one for "any address" and direction (netbird-hub.md 6.1, wildcard).
 */

#include "core/netmap.h"
#include "hub/hub.h"
#include "hub/registry.h"

typedef struct {
	const char *public_host; /* as clients reach us */
	guint16 public_port;
	gboolean public_tls; /* we, or a proxy in front, speak TLS */
	guint16 stun_port;   /* 0: no STUN */
	const char *dns_domain;
	gboolean lazy;
	NbhHubMaySee may_see; /* NULL: everyone */
} NbhMapsConfig;

typedef struct _NbhMaps NbhMaps;

NbhMaps *nbh_maps_new(const NbhMapsConfig *config, const struct nbh_prefix *network);
void nbh_maps_free(NbhMaps *maps);

GBytes *nbh_maps_login(NbhMaps *maps, const NbhHubPeer *peer);
/* first: with the servers, as the first message of a stream must be. */
GBytes *nbh_maps_sync(NbhMaps *maps, NbhRegistry *registry, const NbhHubPeer *peer, gboolean first);
/* To a peer that has been removed; then its stream ends. netbird-hub.md 7.4. */
GBytes *nbh_maps_goodbye(NbhMaps *maps, guint64 serial);

#endif
