#ifndef NBH_CORE_NETMAP_H
#define NBH_CORE_NETMAP_H

#include "base/addr.h"
#include "base/key.h"

#include <glib.h>

/*
 * What management told us, as one immutable, reference-counted value: replaced whole, never edited.
 * Made by wire/mgmtmsg from a SyncResponse. Peers are sorted by raw key; our own key, repeated keys
 * and malformed peers are left out and named in `skipped`.
 */
typedef struct {
	struct nbh_key key;
	struct nbh_prefix *allowed_ips; /* owned by the map; masked */
	gsize n_allowed_ips;
	char *fqdn;          /* owned by the map; "" if none */
	char *agent_version; /* owned by the map; "" if none */
} NbhNetmapPeer;

typedef struct {
	guint64 serial;
	NbhNetmapPeer *peers;
	gsize n_peers;
	gsize n_offline;   /* login-expired peers, for display only */
	gsize n_rules;     /* firewall rules that we do not enforce yet */
	gsize n_routes;    /* routes that we do not use yet */
	/* char *, owned: "peer 3 (abcdefgh): allowedIps \"x\": not a prefix"; NBH_NETMAP_SKIPPED_MAX and "17 more" */
	GPtrArray *skipped;
} NbhNetmap;

/*
 * Takes peers (g_malloc'ed array with owned members; a NULL text becomes "") and sorts them and
 * their prefixes. Of peers with one key the first stays; a prefix that two peers claim stays with
 * the first in key order; a key of zeros is dropped: all named in skipped, which is taken, too, and may be NULL.
 */
NbhNetmap *nbh_netmap_new(guint64 serial, NbhNetmapPeer *peers, gsize n_peers, GPtrArray *skipped);
NbhNetmap *nbh_netmap_ref(NbhNetmap *map);

/*
 * The same map without the prefixes outside our networks (family 0: none) and without our own
 * addresses (v4 and v6 have host bits), which are named in skipped: netbird-wg would refuse
 * peers.json whole because of one outside. A reference if there are none.
 */
NbhNetmap *nbh_netmap_confine(NbhNetmap *map, const struct nbh_prefix *v4, const struct nbh_prefix *v6);
void nbh_netmap_unref(NbhNetmap *map); /* NULL is fine */
const NbhNetmapPeer *nbh_netmap_find(const NbhNetmap *map, const struct nbh_key *key);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbhNetmap, nbh_netmap_unref)

/* Our own configuration inside the overlay (PeerConfig). Plain value. */
typedef struct {
	struct nbh_prefix address;    /* host bits kept, e.g. 100.64.1.2/16 */
	struct nbh_prefix address_v6; /* family 0: none */
	char fqdn[256];
	guint32 mtu; /* 0: default */
	gboolean lazy;
} NbhPeerConfig;

/* Servers as management names them (NetbirdConfig). Absent parts mean "keep": netbird-wire.md 2.9. */
typedef struct {
	gboolean has_signal;
	char signal_host[256];
	guint16 signal_port;
	gboolean signal_tls;
	GPtrArray *stuns; /* char * "stun:host:port", owned; empty: keep the old ones */
	GPtrArray *turns; /* char * "turn:...", owned; stored, not used yet */
	GPtrArray *relays; /* char * URLs, owned; empty: relaying is off */
	GPtrArray *skipped; /* char *, owned: "stuns[1] \"x\": not stun:HOST:PORT"; NULL: nothing */
} NbhServerConfig;

void nbh_server_config_free(NbhServerConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbhServerConfig, nbh_server_config_free)

#endif
