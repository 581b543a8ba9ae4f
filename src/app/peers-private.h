#ifndef NBH_APP_PEERS_PRIVATE_H
#define NBH_APP_PEERS_PRIVATE_H

/* Shared by peers.c (table, events, timer), peers-act.c (actions) and peers-wg.c. Nobody else includes this. */

#include "app/peers.h"
#include "core/allowance.h"

typedef struct {
	struct nbh_key key;
	char name[9]; /* how logs call it */
	const NbhNetmapPeer *entry; /* borrowed from peers->map */
	NbhConn conn;
	NbhPath path; /* what is published */
	gboolean started;
	GBytes *initiation; /* owned; captured at the loopback socket; NULL: none */
	struct nbh_addr source; /* the kernel's source towards the path, at the time it was selected */
	gint64 changed_unix_ms, handshake_unix_ms, silent_unix_ms;
	guint64 rx_bytes, tx_bytes;
	NbhAllowance messages, sessions; /* what it may still say */
	guint n_dropped, n_refused;
	char announced[NBH_ICE_UFRAG_MAX + 1]; /* whose candidates went out with the OFFER; "": none yet */
} Peer;

typedef struct {
	struct nbh_key key;
	NbhConnEvent event;
} Pending;

typedef struct {
	NbhPeers *peers;
	struct nbh_key key;
	NbhConnSent what;
} Sending;

struct _NbhPeers {
	struct nbh_key own;
	guint16 wg_port;
	gboolean is_lazy;
	struct nbh_prefix overlay[2]; /* family 0: none */
	NbhPeersEvents events;
	gpointer owner;
	GHashTable *peers;    /* struct nbh_key -> Peer, owned */
	GHashTable *restored; /* struct nbh_key -> struct nbh_peersfile_peer, owned */
	GHashTable *listed;   /* struct nbh_key -> NbhIceSession, owned: netbird-ice's listing */
	GHashTable *sendings; /* a set of Sending, owned: Sends that have not returned */
	NbhNetmap *map; /* ref */
	NbhAllowance lines; /* of the log, about peers that come, go and change */
	guint n_untold;
	gboolean ice_known; /* the listing is there, or we gave up on it */
	NbhCandidate candidates[NBH_HOST_ADDRESSES_MAX + NBH_STUN_SERVERS_MAX];
	gsize n_candidates;
	guint slots_used;
	GQueue waiting; /* struct nbh_key, owned: who wants a slot */
	GQueue pending; /* Pending, owned: events made while stepping */
	gboolean running;
	GSource *timer; /* owned: the next timer of any machine, or pending events */
	nbh_mono timer_at;
	NbhLoopback *loopback; /* borrowed */
	const NbhIceBackend *ice_backend;
	NbhIce *ice; /* borrowed */
	const NbhSignalBackend *signal_backend;
	NbhSignal *signal; /* borrowed */
};

Peer *nbh_peers_find(NbhPeers *peers, const struct nbh_key *key);
/* Makes the loop come back at that time, if it would not come earlier. */
void nbh_peers_wake_at(NbhPeers *peers, nbh_mono at);
void nbh_peers_queue(NbhPeers *peers, const struct nbh_key *key, const NbhConnEvent *event);
/* Has the machines take what was queued; nothing while it runs already. */
void nbh_peers_run(NbhPeers *peers);
void nbh_peers_act(NbhPeers *peers, Peer *peer, const NbhConnAction *action);
/* Whether it was waiting. */
gboolean nbh_peers_forget_waiting(NbhPeers *peers, const struct nbh_key *key);
/* What is random about an event: the machine draws nothing itself. */
void nbh_peers_prepare(NbhConnEvent *event);
/* Whether one more line about some peer is bearable: a server may exchange all of them ten times a second. */
gboolean nbh_peers_may_log(NbhPeers *peers);
gboolean nbh_peers_is_announced(const Peer *peer); /* its session's candidates went out with the OFFER */
/* Our candidates once more, without an event for the machine. */
void nbh_peers_resend_candidates(NbhPeers *peers, Peer *peer);

#endif
