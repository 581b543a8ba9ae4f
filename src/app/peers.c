#include "config.h"

#include "app/peers-private.h"

#include <string.h>

#include "base/log.h"
#include "core/peerset.h"
#include "core/version.h"
#include "loop/source.h"

Peer *nbh_peers_find(NbhPeers *peers, const struct nbh_key *key)
{
	return g_hash_table_lookup(peers->peers, key);
}

static void peer_free(gpointer data)
{
	Peer *peer = data;

	g_clear_pointer(&peer->initiation, g_bytes_unref);
	g_free(peer);
}

static void log_change(const Peer *peer, const NbhConnActions *actions, nbh_mono now)
{
	if (actions->to == NBH_CONN_UP && peer->conn.has_pair)
		nbh_log(NBH_LOG_NOTICE, "conn", "peer=%s %s -> %s on %s (%s/%s, %d ms)", peer->name,
		        nbh_conn_state_name(actions->from), nbh_conn_state_name(actions->to), actions->reason,
		        nbh_candidate_type_name(peer->conn.pair.local_type),
		        nbh_candidate_type_name(peer->conn.pair.remote_type),
		        (int)nbh_mono_diff_ms(now, peer->conn.session_began));
	else
		nbh_log(NBH_LOG_NOTICE, "conn", "peer=%s %s -> %s on %s", peer->name,
		        nbh_conn_state_name(actions->from), nbh_conn_state_name(actions->to), actions->reason);
}

/* The machine from its beginning; what is published goes on meanwhile, with the number of its session. */
static void begin_again(NbhPeers *peers, Peer *peer, gboolean far_is_helper)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_STOP };

	nbh_peers_queue(peers, &peer->key, &event);
	event = (NbhConnEvent){ .type = NBH_CONN_EV_START };
	event.u.start.far_is_helper = far_is_helper;
	event.u.start.far_is_lazy = peers->is_lazy;
	event.u.start.session = peer->path.session;

	if (peer->path.kind == NBH_PATH_DIRECT)
		event.u.start.endpoint = peer->path.endpoint;

	nbh_peers_queue(peers, &peer->key, &event);
}

static void step(NbhPeers *peers, Peer *peer, NbhConnEvent *event, nbh_mono now)
{
	NbhConnActions actions = { .n = 0 };

	nbh_peers_prepare(event);
	nbh_conn_step(&peer->conn, event, now, &actions);

	for (gsize i = 0; i < actions.n; i++)
		nbh_peers_act(peers, peer, &actions.items[i]);

	/* A bug of ours costs one peer a new beginning, not the process; remote input led here. */
	if (actions.illegal) {
		nbh_log(NBH_LOG_WARN, "conn", "bug peer=%s state=%s restarted=yes", peer->name,
		        nbh_conn_state_name(peer->conn.state));
		begin_again(peers, peer, peer->conn.far_is_helper);
	}

	if (!actions.changed)
		return;

	peer->changed_unix_ms = g_get_real_time() / 1000;

	if (nbh_peers_may_log(peers))
		log_change(peer, &actions, now);

	peers->events.on_status(peers->owner);

	if (actions.from == NBH_CONN_UP && actions.to != NBH_CONN_IDLE && actions.to != NBH_CONN_DOWN &&
	    peers->events.on_lost)
		peers->events.on_lost(peers->owner);
}

/* ---- the one queue and the one timer ------------------------------------------------------- */

void nbh_peers_run(NbhPeers *peers)
{
	nbh_mono now;

	if (peers->running)
		return;

	now = nbh_mono_now();
	peers->running = TRUE;

	while (!g_queue_is_empty(&peers->pending)) {
		g_autofree Pending *pending = g_queue_pop_head(&peers->pending);
		Peer *peer = nbh_peers_find(peers, &pending->key);

		if (peer && peer->started)
			step(peers, peer, &pending->event, now);
	}

	peers->running = FALSE;
}

static void give(NbhPeers *peers, const struct nbh_key *key, const NbhConnEvent *event)
{
	nbh_peers_queue(peers, key, event);
	nbh_peers_run(peers);
}

static gboolean on_timer(gpointer owner)
{
	NbhPeers *peers = owner;
	nbh_mono now = nbh_mono_now();
	GHashTableIter iter;
	gpointer value;

	nbh_peers_run(peers);
	peers->timer_at = NBH_MONO_NEVER;
	g_source_set_ready_time(peers->timer, -1);
	peers->running = TRUE; /* stepping may make events, not change the table */
	g_hash_table_iter_init(&iter, peers->peers);

	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Peer *peer = value;
		NbhConnTimer timer;
		nbh_mono at = nbh_conn_next_timer(&peer->conn, &timer);

		/* One timer of a peer in one turn is enough: what is left is due at once. */
		if (peer->started && !nbh_mono_before(now, at)) {
			NbhConnEvent event = { .type = NBH_CONN_EV_TIMER, .u.timer = timer };

			step(peers, peer, &event, now);
			at = nbh_conn_next_timer(&peer->conn, &timer);
		}

		if (at.usec != NBH_MONO_NEVER.usec)
			nbh_peers_wake_at(peers, at);
	}

	peers->running = FALSE;
	nbh_peers_run(peers);
	return G_SOURCE_CONTINUE;
}

/* ---- life ---------------------------------------------------------------------------------- */

NbhPeers *nbh_peers_new(const struct nbh_key *own_public, guint16 wg_port, const NbhPeersEvents *events, gpointer owner)
{
	NbhPeers *peers = g_new0(NbhPeers, 1);

	peers->own = *own_public;
	peers->wg_port = wg_port;
	peers->events = *events;
	peers->owner = owner;
	peers->peers = g_hash_table_new_full(nbh_key_hash, nbh_key_hash_equal, NULL, peer_free);
	peers->restored = g_hash_table_new_full(nbh_key_hash, nbh_key_hash_equal, g_free, g_free);
	peers->listed = g_hash_table_new_full(nbh_key_hash, nbh_key_hash_equal, NULL, g_free);
	peers->sendings = g_hash_table_new_full(NULL, NULL, g_free, NULL);
	peers->timer_at = NBH_MONO_NEVER;
	peers->timer = nbh_source_new_timer(on_timer, peers);
	return peers;
}

void nbh_peers_free(NbhPeers *peers)
{
	if (!peers)
		return;

	nbh_source_drop(&peers->timer);
	g_queue_clear_full(&peers->pending, g_free);
	g_queue_clear_full(&peers->waiting, g_free);
	g_hash_table_unref(peers->sendings);
	g_hash_table_unref(peers->listed);
	g_hash_table_unref(peers->restored);
	g_hash_table_unref(peers->peers);
	nbh_netmap_unref(peers->map);
	g_free(peers);
}

void nbh_peers_restore(NbhPeers *peers, const struct nbh_peersfile *file, NbhLoopback *loopback)
{
	for (gsize i = 0; i < file->n_peers; i++) {
		struct nbh_peersfile_peer *old = g_memdup2(&file->peers[i], sizeof(*old));

		old->allowed_ips = NULL; /* points into the file */
		old->n_allowed_ips = 0;
		nbh_loopback_restore(loopback, &old->public_key, &old->endpoint);
		g_hash_table_replace(peers->restored, g_memdup2(&old->public_key, sizeof(old->public_key)), old);
	}
}

void nbh_peers_set_loopback(NbhPeers *peers, NbhLoopback *loopback)
{
	peers->loopback = loopback;
}

void nbh_peers_set_ice(NbhPeers *peers, const NbhIceBackend *backend, NbhIce *ice)
{
	peers->ice_backend = backend;
	peers->ice = ice;
}

void nbh_peers_set_signal(NbhPeers *peers, const NbhSignalBackend *backend, NbhSignal *signal)
{
	GHashTableIter iter;
	gpointer key;

	/* Whoever waits for a Send of the old one would wait for ever. */
	g_hash_table_iter_init(&iter, peers->sendings);

	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		Sending *sending = key;

		NbhConnEvent event = { .type = NBH_CONN_EV_SENT, .u.sent = { sending->what, FALSE } };

		nbh_peers_queue(peers, &sending->key, &event);
	}

	g_hash_table_remove_all(peers->sendings);
	peers->signal_backend = backend;
	peers->signal = signal;
}

void nbh_peers_set_lazy(NbhPeers *peers, gboolean is_lazy)
{
	peers->is_lazy = is_lazy;
}

void nbh_peers_set_overlay(NbhPeers *peers, const struct nbh_prefix *v4, const struct nbh_prefix *v6)
{
	peers->overlay[0] = *v4;
	peers->overlay[1] = *v6;
}

void nbh_peers_set_port(NbhPeers *peers, guint16 wg_port)
{
	peers->wg_port = wg_port;
}

/* ---- the map -------------------------------------------------------------------------------- */

/*
 * Into our own overlay WireGuard would send itself its own packets, each longer than the one before.
 * Loopback and multicast are netbird-wg's to refuse, but it would refuse the other peers with them.
 */
static gboolean may_be_path(const NbhPeers *peers, const struct nbh_addr *addr)
{
	if (nbh_prefixes_contain(peers->overlay, G_N_ELEMENTS(peers->overlay), addr))
		return FALSE;

	return !nbh_addr_is_unspecified(addr) && !nbh_addr_is_loopback(addr) && !nbh_addr_is_multicast(addr);
}

/* What netbird-ice still holds for this peer, if anything. */
static gboolean adopt(NbhPeers *peers, Peer *peer)
{
	g_autofree NbhIceSession *session = g_hash_table_lookup(peers->listed, &peer->key);
	NbhConnEvent event = { .type = NBH_CONN_EV_ADOPT };

	if (!session)
		return FALSE;

	g_hash_table_steal(peers->listed, &peer->key);
	event.u.adopt.local = session->local;
	event.u.adopt.remote = session->remote;
	event.u.adopt.local_session = session->local_session;
	event.u.adopt.remote_session = session->remote_session;
	event.u.adopt.selected = session->selected && may_be_path(peers, &session->pair.remote.addr);
	event.u.adopt.pair = session->pair;
	nbh_peers_queue(peers, &peer->key, &event);
	return TRUE;
}

static void start(NbhPeers *peers, Peer *peer)
{
	const struct nbh_peersfile_peer *old = g_hash_table_lookup(peers->restored, &peer->key);
	NbhConnEvent event = { .type = NBH_CONN_EV_START };

	peer->started = TRUE;
	event.u.start.far_is_helper = nbh_version_is_helper(peer->entry->agent_version);
	event.u.start.far_is_lazy = peers->is_lazy;

	if (old) {
		event.u.start.session = old->has_session ? old->session : 0;
		event.u.start.endpoint = old->endpoint;
		g_hash_table_remove(peers->restored, &peer->key);
	}

	nbh_peers_queue(peers, &peer->key, &event);
	adopt(peers, peer);
}

static void on_added(const NbhNetmapPeer *entry, gpointer owner)
{
	NbhPeers *peers = owner;
	Peer *peer = g_new0(Peer, 1);

	peer->key = entry->key;
	peer->entry = entry;
	memcpy(peer->name, nbh_key_format(&entry->key).text, 8);
	peer->changed_unix_ms = g_get_real_time() / 1000;
	nbh_conn_init(&peer->conn, &peers->own, &peer->key, nbh_mono_now());
	g_hash_table_replace(peers->peers, &peer->key, peer);

	if (nbh_peers_may_log(peers))
		nbh_log(NBH_LOG_INFO, "map", "peer-added peer=%s fqdn=%s", peer->name, entry->fqdn);

	if (peers->ice_known)
		start(peers, peer);
}

static void on_removed(const NbhNetmapPeer *entry, gpointer owner)
{
	NbhPeers *peers = owner;
	Peer *peer = nbh_peers_find(peers, &entry->key);
	NbhConnEvent event = { .type = NBH_CONN_EV_STOP };

	if (!peer)
		return;

	if (peer->started)
		step(peers, peer, &event, nbh_mono_now());

	if (peers->loopback)
		nbh_loopback_forget(peers->loopback, &peer->key);

	nbh_peers_forget_waiting(peers, &peer->key);

	if (nbh_peers_may_log(peers))
		nbh_log(NBH_LOG_INFO, "map", "peer-removed peer=%s", peer->name);

	g_hash_table_remove(peers->peers, &entry->key);
}

static void on_changed(const NbhNetmapPeer *entry, guint mask, gpointer owner)
{
	NbhPeers *peers = owner;
	Peer *peer = nbh_peers_find(peers, &entry->key);
	gboolean is_helper = nbh_version_is_helper(entry->agent_version);

	if (!peer)
		return;

	peer->entry = entry;

	/* Another kind of far end has other rules. */
	if ((mask & NBH_PEER_CHANGED_AGENT_VERSION) && peer->started && is_helper != peer->conn.far_is_helper)
		begin_again(peers, peer, is_helper);
}

/* Sessions of peers that are not ours; only once a map says who is. Those of ours wait for the end of the listing. */
static void close_strangers(NbhPeers *peers)
{
	GHashTableIter iter;
	gpointer key;

	if (!peers->map || !peers->ice_known)
		return;

	g_hash_table_iter_init(&iter, peers->listed);

	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		if (nbh_peers_find(peers, key))
			continue;

		if (peers->ice)
			peers->ice_backend->session_close(peers->ice, key);

		g_hash_table_iter_remove(&iter);
	}
}

void nbh_peers_set_map(NbhPeers *peers, NbhNetmap *map)
{
	static const NbhPeersetEvents events = { on_added, on_removed, on_changed };
	NbhNetmap *old = peers->map;

	for (gsize i = 0; i < map->n_peers; i++) {
		Peer *peer = nbh_peers_find(peers, &map->peers[i].key);

		if (peer)
			peer->entry = &map->peers[i]; /* the old map goes away below */
	}

	peers->map = nbh_netmap_ref(map);
	peers->running = TRUE; /* collect events until the table is as it should be */
	nbh_peerset_diff(old, map, &events, peers);
	peers->running = FALSE;
	nbh_netmap_unref(old);

	close_strangers(peers);
	nbh_peers_run(peers);
	peers->events.on_path(peers->owner);
	peers->events.on_status(peers->owner);
}

void nbh_peers_set_candidates(NbhPeers *peers, const NbhCandidate *candidates, gsize n)
{
	GHashTableIter iter;
	gpointer value;

	n = MIN(n, G_N_ELEMENTS(peers->candidates));
	memcpy(peers->candidates, candidates, n * sizeof(*candidates));
	peers->n_candidates = n;
	g_hash_table_iter_init(&iter, peers->peers);

	/* A candidate learnt between offer and answer must not be lost: ice-port.md section 4. */
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Peer *peer = value;

		if ((peer->conn.state == NBH_CONN_CHECKING && peer->conn.candidates_sent > 0) ||
		    (peer->conn.state == NBH_CONN_SIGNALING && nbh_peers_is_announced(peer)))
			nbh_peers_resend_candidates(peers, peer);
	}

	nbh_peers_run(peers);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void fill_offer(NbhConnEvent *event, const NbhSignalMessage *message)
{
	event->u.offer.has_ice = message->has_ice;
	event->u.offer.creds = message->creds;
	event->u.offer.session = message->session;
}

static gboolean fill_candidate(NbhPeers *peers, NbhConnEvent *event, Peer *peer, const NbhSignalMessage *message)
{
	struct nbh_why why = { "" };

	if (nbh_candidate_parse(message->candidate, &event->u.candidate, &why)) {
		if (may_be_path(peers, &event->u.candidate.endpoint.addr))
			return TRUE;

		nbh_why_set(&why, "candidate: inside our own overlay");
	}

	if (nbh_log_worth(++peer->n_refused))
		nbh_log(NBH_LOG_INFO, "signal", "candidate-refused peer=%s why=\"%s\" times=%u", peer->name,
		        why.text, peer->n_refused);
	return FALSE;
}

/*
 * A peer costs us no more than its allowances, whatever it sends: an OFFER may make an agent, and be
 * answered with all our candidates; GO_IDLE writes peers.json. Honest peers repeat what is dropped.
 */
static gboolean may_speak(Peer *peer, guint type)
{
	gboolean is_session = type == NBH_SIGNAL_OFFER || type == NBH_SIGNAL_ANSWER || type == NBH_SIGNAL_GO_IDLE;
	nbh_mono now = nbh_mono_now();

	if (nbh_allowance_take(&peer->messages, NBH_PEER_MESSAGES_BURST, NBH_PEER_MESSAGE_EVERY_MS, now) &&
	    (!is_session ||
	     nbh_allowance_take(&peer->sessions, NBH_PEER_SESSIONS_BURST, NBH_PEER_SESSION_EVERY_MS, now)))
		return TRUE;

	if (nbh_log_worth(++peer->n_dropped))
		nbh_log(NBH_LOG_WARN, "signal", "too-many-messages peer=%s dropped=%u", peer->name, peer->n_dropped);

	return FALSE;
}

void nbh_peers_message(NbhPeers *peers, const struct nbh_key *from, const NbhSignalMessage *message)
{
	Peer *peer = nbh_peers_find(peers, from);
	NbhConnEvent event = { .type = NBH_CONN_EV_OTHER_MESSAGE };

	if (!peer || !may_speak(peer, message->type))
		return;

	nbh_log(NBH_LOG_DEBUG, "signal", "received peer=%s type=%u", peer->name, message->type);

	switch (message->type) {
	case NBH_SIGNAL_OFFER:
		event.type = NBH_CONN_EV_OFFER;
		fill_offer(&event, message);
		break;
	case NBH_SIGNAL_ANSWER:
		event.type = NBH_CONN_EV_ANSWER;
		fill_offer(&event, message);
		break;
	case NBH_SIGNAL_CANDIDATE:
		event.type = NBH_CONN_EV_CANDIDATE;

		if (!fill_candidate(peers, &event, peer, message))
			return;

		break;
	case NBH_SIGNAL_GO_IDLE:
		event.type = NBH_CONN_EV_GO_IDLE;
		break;
	case NBH_SIGNAL_HEARTBEAT:
		return;
	default:
		break;
	}

	give(peers, from, &event);
}

static void give_all(NbhPeers *peers, const NbhConnEvent *event)
{
	GHashTableIter iter;
	gpointer key;

	g_hash_table_iter_init(&iter, peers->peers);

	while (g_hash_table_iter_next(&iter, &key, NULL))
		nbh_peers_queue(peers, key, event);

	nbh_peers_run(peers);
}

void nbh_peers_signal_up(NbhPeers *peers)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_SIGNAL_UP };

	give_all(peers, &event);
}

void nbh_peers_ice_session(NbhPeers *peers, const NbhIceSession *session)
{
	NbhIceSession *copy;

	if (g_hash_table_size(peers->listed) == NBH_ICE_SESSIONS_MAX)
		return; /* no netbird-ice that is in order has more */

	copy = g_memdup2(session, sizeof(*session));
	g_hash_table_replace(peers->listed, &copy->peer, copy);
}

void nbh_peers_ice_down(NbhPeers *peers)
{
	g_hash_table_remove_all(peers->listed);
}

void nbh_peers_ice_ready(NbhPeers *peers)
{
	GHashTableIter iter;
	gpointer value;

	peers->ice_known = TRUE;
	g_hash_table_iter_init(&iter, peers->peers);

	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Peer *peer = value;

		if (!peer->started) {
			start(peers, peer);
		} else if (adopt(peers, peer)) {
			continue; /* only the link was gone; the machine looks whether it is the same session */
		} else if (peer->conn.agent_open) {
			NbhConnEvent event = { .type = NBH_CONN_EV_ICE_GONE };

			nbh_peers_queue(peers, &peer->key, &event);
		}
	}

	close_strangers(peers);
	nbh_peers_run(peers);
}

void nbh_peers_ice_selected(NbhPeers *peers, const struct nbh_key *key, const NbhIcePair *pair)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_SELECTED, .u.pair = *pair };
	Peer *peer = nbh_peers_find(peers, key);
	char text[NBH_ENDPOINT_TEXT_MAX];

	if (!peer)
		return;

	/* Checks that came through the tunnel make such a pair. */
	if (!may_be_path(peers, &pair->remote.addr)) {
		if (nbh_log_worth(++peer->n_refused))
			nbh_log(NBH_LOG_WARN, "ice", "pair-refused peer=%s remote=%s times=%u", peer->name,
			        nbh_endpoint_format(&pair->remote, text), peer->n_refused);
		return;
	}

	give(peers, key, &event);
}

void nbh_peers_ice_failed(NbhPeers *peers, const struct nbh_key *key)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_FAILED };

	give(peers, key, &event);
}

void nbh_peers_ice_lost(NbhPeers *peers, const struct nbh_key *key)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_LOST };

	give(peers, key, &event);
}

void nbh_peers_ice_heard(NbhPeers *peers, const struct nbh_key *key, const struct nbh_endpoint *from)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_HEARD, .u.heard = *from };

	if (may_be_path(peers, &from->addr))
		give(peers, key, &event);
}

void nbh_peers_wake(NbhPeers *peers, const struct nbh_key *key, const guint8 *data, gsize len, gboolean initiation)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_WAKE, .u.has_initiation = initiation };
	Peer *peer = nbh_peers_find(peers, key);

	if (!peer)
		return;

	if (initiation) {
		/* The newest one is the one whose answer WireGuard still takes. */
		g_clear_pointer(&peer->initiation, g_bytes_unref);
		peer->initiation = g_bytes_new(data, len);
	}

	give(peers, key, &event);
}

void nbh_peers_network(NbhPeers *peers)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, peers->peers);

	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		NbhConnEvent event = { .type = NBH_CONN_EV_NETWORK };
		Peer *peer = value;
		struct nbh_addr source = { .family = 0 };

		if (peer->path.kind == NBH_PATH_DIRECT) {
			peers->events.source_of(&peer->path.endpoint, &source, peers->owner);
			event.u.path_changed = !nbh_addr_equal(&source, &peer->source);
			peer->source = source;
		}

		nbh_peers_queue(peers, &peer->key, &event);
	}

	nbh_peers_run(peers);
}

gboolean nbh_peers_knows(NbhPeers *peers, const struct nbh_key *key)
{
	return nbh_peers_find(peers, key) != NULL;
}

gboolean nbh_peers_unconnected(NbhPeers *peers)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, peers->peers);

	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const Peer *peer = value;

		if (peer->conn.state != NBH_CONN_UP && peer->conn.state != NBH_CONN_IDLE)
			return TRUE;
	}

	return FALSE;
}

const NbhPath *nbh_peers_path(NbhPeers *peers, const struct nbh_key *key)
{
	Peer *peer = nbh_peers_find(peers, key);

	return peer ? &peer->path : NULL;
}

void nbh_peers_each(NbhPeers *peers, void (*fn)(const NbhPeerView *view, gpointer data), gpointer data)
{
	if (!peers->map)
		return;

	/* In the map's order, which does not change from one status to the next. */
	for (gsize i = 0; i < peers->map->n_peers; i++) {
		const Peer *peer = nbh_peers_find(peers, &peers->map->peers[i].key);
		NbhPeerView view;

		if (!peer)
			continue;

		view = (NbhPeerView){
			.key = peer->key,
			.fqdn = peer->entry->fqdn,
			.entry = peer->entry,
			.conn = &peer->conn,
			.path = &peer->path,
			.changed_unix_ms = peer->changed_unix_ms,
			.handshake_unix_ms = peer->handshake_unix_ms,
			.rx_bytes = peer->rx_bytes,
			.tx_bytes = peer->tx_bytes,
		};
		fn(&view, data);
	}
}

/* Session numbers go on when the peers come back: netbird-wg acts on changes only. */
static void remember(NbhPeers *peers, const Peer *peer)
{
	struct nbh_peersfile_peer *old = g_new0(struct nbh_peersfile_peer, 1);

	old->public_key = peer->key;
	old->has_session = true;
	old->session = peer->path.session;
	g_hash_table_replace(peers->restored, g_memdup2(&peer->key, sizeof(peer->key)), old);
}

void nbh_peers_stop_all(NbhPeers *peers)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_STOP, .u.is_leaving = TRUE };
	GHashTableIter iter;
	gpointer value;

	give_all(peers, &event);
	g_hash_table_iter_init(&iter, peers->peers);

	while (g_hash_table_iter_next(&iter, NULL, &value))
		remember(peers, value);

	g_hash_table_remove_all(peers->peers);
	g_hash_table_remove_all(peers->listed);
	g_queue_clear_full(&peers->waiting, g_free);
	g_clear_pointer(&peers->map, nbh_netmap_unref);
}
