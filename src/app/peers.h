#ifndef NBH_APP_PEERS_H
#define NBH_APP_PEERS_H

/*
 * The peers' connections: one core/conn machine for each, the events carried to it and its actions
 * carried out on signal, ice, the loopback socket and the published file. Decides nothing itself but
 * who gets one of the NBH_ICE_CHECKING_MAX slots next (first come, first served).
 */

#include "base/peersfile.h"
#include "base/statusfile.h"
#include "core/conn.h"
#include "core/netmap.h"
#include "ice/ice.h"
#include "path/loopback.h"
#include "signal/signal.h"

#include <glib.h>

typedef struct _NbhPeers NbhPeers;

typedef struct {
	void (*on_path)(gpointer owner);   /* a path changed: publish */
	void (*on_status)(gpointer owner); /* something that status shows changed */
	/* The kernel's own source towards an endpoint; leaves ret_source alone if there is no route. */
	void (*source_of)(const struct nbh_endpoint *to, struct nbh_addr *ret_source, gpointer owner);
	void (*on_lost)(gpointer owner); /* a path that was in use; may be NULL. Our mapped addresses may be others */
} NbhPeersEvents;

/* What status shows of one peer. Borrowed, valid inside the callback only. */
typedef struct {
	struct nbh_key key;
	const char *fqdn;
	const NbhNetmapPeer *entry;
	const NbhConn *conn;
	const NbhPath *path;
	gint64 changed_unix_ms, handshake_unix_ms;
	guint64 rx_bytes, tx_bytes;
} NbhPeerView;

NbhPeers *nbh_peers_new(const struct nbh_key *own_public, guint16 wg_port, const NbhPeersEvents *events, gpointer owner);
void nbh_peers_free(NbhPeers *peers); /* NULL is fine; sends nothing, closes no session */

/* What an earlier run left in peers.json: endpoints are kept, session numbers go on. Before the first map. */
void nbh_peers_restore(NbhPeers *peers, const struct nbh_peersfile *file, NbhLoopback *loopback);

/* The other modules, as they come and go. All borrowed; NULL while there is none. */
void nbh_peers_set_loopback(NbhPeers *peers, NbhLoopback *loopback);
void nbh_peers_set_ice(NbhPeers *peers, const NbhIceBackend *backend, NbhIce *ice);
void nbh_peers_set_signal(NbhPeers *peers, const NbhSignalBackend *backend, NbhSignal *signal);

/* Takes a reference. Peers start when they are new in it and the ICE listing is there (or given up). */
void nbh_peers_set_map(NbhPeers *peers, NbhNetmap *map);
/* Our candidates; connections that are being checked get the new set. */
void nbh_peers_set_candidates(NbhPeers *peers, const NbhCandidate *candidates, gsize n);

/* The account's lazy connections, for peers that start from now on. */
void nbh_peers_set_lazy(NbhPeers *peers, gboolean is_lazy);
/*
 * The networks inside the tunnels (family 0: none): no candidate and no pair may lie there, for the
 * path would lead into itself.
 */
void nbh_peers_set_overlay(NbhPeers *peers, const struct nbh_prefix *v4, const struct nbh_prefix *v6);
void nbh_peers_set_port(NbhPeers *peers, guint16 wg_port);

/* Events. */
void nbh_peers_message(NbhPeers *peers, const struct nbh_key *from, const NbhSignalMessage *message);
void nbh_peers_signal_up(NbhPeers *peers);
void nbh_peers_ice_session(NbhPeers *peers, const NbhIceSession *session);
void nbh_peers_ice_down(NbhPeers *peers); /* what it has listed is void: the next listing counts */
void nbh_peers_ice_ready(NbhPeers *peers); /* also: given up waiting for netbird-ice's listing */
void nbh_peers_ice_selected(NbhPeers *peers, const struct nbh_key *peer, const NbhIcePair *pair);
void nbh_peers_ice_failed(NbhPeers *peers, const struct nbh_key *peer);
/* A session without a pair heard its peer for the first time, from there. */
void nbh_peers_ice_heard(NbhPeers *peers, const struct nbh_key *peer, const struct nbh_endpoint *from);
void nbh_peers_ice_lost(NbhPeers *peers, const struct nbh_key *peer);
void nbh_peers_wake(NbhPeers *peers, const struct nbh_key *peer, const guint8 *data, gsize len, gboolean initiation);
void nbh_peers_wg_status(NbhPeers *peers, const struct nbh_wgstatus *status);
void nbh_peers_network(NbhPeers *peers); /* local addresses changed */

gboolean nbh_peers_knows(NbhPeers *peers, const struct nbh_key *key);
gboolean nbh_peers_unconnected(NbhPeers *peers); /* somebody has no direct path and is not idle */
const NbhPath *nbh_peers_path(NbhPeers *peers, const struct nbh_key *key); /* NULL: none */
void nbh_peers_each(NbhPeers *peers, void (*fn)(const NbhPeerView *view, gpointer data), gpointer data);
/*
 * down: sessions closed, the map forgotten. A new one starts everybody anew. Those that still have a
 * path to us are told (GO_IDLE); the Sends are on their way afterwards.
 */
void nbh_peers_stop_all(NbhPeers *peers);

#endif
