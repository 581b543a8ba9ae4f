#include "config.h"

#include "app/peers-private.h"

#include <string.h>
#include <sys/random.h>

#include "base/limits.h"
#include "base/log.h"
#include "core/version.h"

/* ICE characters (RFC 8445 5.3), 6 bits of randomness each. */
static void random_ice_chars(char *ret, gsize n)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	guint8 bytes[64];

	g_assert(n <= sizeof(bytes));

	if (getrandom(bytes, n, 0) != (ssize_t)n)
		g_error("getrandom failed"); /* cannot happen below 256 bytes once the pool is up */

	for (gsize i = 0; i < n; i++)
		ret[i] = alphabet[bytes[i] & 63];

	ret[n] = '\0';
}

void nbh_peers_prepare(NbhConnEvent *event)
{
	event->random = g_random_int();
	event->new_session.present = TRUE;

	if (getrandom(event->new_session.bytes, NBH_SESSION_ID_LEN, 0) != NBH_SESSION_ID_LEN)
		g_error("getrandom failed");

	random_ice_chars(event->new_creds.ufrag, 16);
	random_ice_chars(event->new_creds.pwd, 32);
}

gboolean nbh_peers_may_log(NbhPeers *peers)
{
	if (!nbh_allowance_take(&peers->lines, NBH_PEER_LINES_BURST, NBH_PEER_LINE_EVERY_MS, nbh_mono_now())) {
		peers->n_untold++;
		return FALSE;
	}

	if (peers->n_untold > 0)
		nbh_log(NBH_LOG_NOTICE, "conn", "too-many-changes untold=%u", peers->n_untold);

	peers->n_untold = 0;
	return TRUE;
}

void nbh_peers_wake_at(NbhPeers *peers, nbh_mono at)
{
	if (!nbh_mono_before(at, peers->timer_at))
		return;

	peers->timer_at = at;
	g_source_set_ready_time(peers->timer, at.usec);
}

void nbh_peers_queue(NbhPeers *peers, const struct nbh_key *key, const NbhConnEvent *event)
{
	Pending *pending = g_new(Pending, 1);

	pending->key = *key;
	pending->event = *event;
	g_queue_push_tail(&peers->pending, pending);

	if (!peers->running)
		nbh_peers_wake_at(peers, (nbh_mono){ 0 });
}

static void queue_sent(NbhPeers *peers, const struct nbh_key *key, NbhConnSent what, gboolean ok)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_SENT, .u.sent = { what, ok } };

	nbh_peers_queue(peers, key, &event);
}

static void on_sent(gboolean ok, gpointer data, gpointer owner)
{
	Sending *sending = data;

	(void)owner;
	queue_sent(sending->peers, &sending->key, sending->what, ok);
	g_hash_table_remove(sending->peers->sendings, sending);
}

static void send_messages(NbhPeers *peers, Peer *peer, const NbhSignalMessage *messages, gsize n, NbhConnSent what)
{
	Sending *sending;

	if (!peers->signal || n == 0) {
		queue_sent(peers, &peer->key, what, n == 0);
		return;
	}

	sending = g_new(Sending, 1);
	*sending = (Sending){ peers, peer->key, what };
	g_hash_table_add(peers->sendings, sending);
	peers->signal_backend->send(peers->signal, &peer->key, messages, n, on_sent, sending);
}

static void send_offer(NbhPeers *peers, Peer *peer, NbhConnSent what)
{
	NbhSignalMessage message = {
		.type = what == NBH_CONN_SENT_OFFER ? NBH_SIGNAL_OFFER : NBH_SIGNAL_ANSWER,
		.has_ice = TRUE,
		.creds = peer->conn.local,
		.session = peer->conn.local_session,
		.wg_listen_port = peers->wg_port,
		.version = NBH_AGENT_VERSION,
	};

	nbh_log(NBH_LOG_DEBUG, "signal", "send peer=%s type=%s", peer->name,
	        what == NBH_CONN_SENT_OFFER ? "offer" : "answer");
	send_messages(peers, peer, &message, 1, what);
}

static void send_candidates(NbhPeers *peers, Peer *peer, gboolean report)
{
	g_autofree NbhSignalMessage *messages = g_new0(NbhSignalMessage, peers->n_candidates + 1);
	gsize n = 0;

	for (gsize i = 0; i < peers->n_candidates; i++) {
		char text[NBH_CANDIDATE_TEXT_MAX_BYTES];

		nbh_candidate_format(&peers->candidates[i], text, sizeof(text));
		messages[n].type = NBH_SIGNAL_CANDIDATE;
		/* The ufrag tells sessions apart: CANDIDATE has no session id (netbird-wire.md 3.4). */
		g_snprintf(messages[n].candidate, sizeof(messages[n].candidate), "%s ufrag %s", text,
		           peer->conn.local.ufrag);
		n++;
	}

	nbh_log(NBH_LOG_DEBUG, "signal", "send peer=%s type=candidate count=%" G_GSIZE_FORMAT, peer->name, n);

	/* Another helper keeps what comes early: a round trip that is not waited for. */
	if (peer->conn.far_is_helper && peers->signal)
		peers->signal_backend->send_beside(peers->signal, &peer->key, messages, n);
	else if (report)
		send_messages(peers, peer, messages, n, NBH_CONN_SENT_CANDIDATES);
	else if (peers->signal && n > 0)
		peers->signal_backend->send(peers->signal, &peer->key, messages, n, NULL, NULL);
}

void nbh_peers_resend_candidates(NbhPeers *peers, Peer *peer)
{
	send_candidates(peers, peer, FALSE);
}

gboolean nbh_peers_is_announced(const Peer *peer)
{
	return strcmp(peer->announced, peer->conn.local.ufrag) == 0;
}

/*
 * Another helper keeps candidates that come before it has answered, which saves a round trip. Once per
 * session, and not to everybody at once: in a large network most offers find nobody.
 */
static void announce(NbhPeers *peers, Peer *peer)
{
	if (!peer->conn.far_is_helper || nbh_peers_is_announced(peer) ||
	    g_hash_table_size(peers->sendings) > NBH_PEER_ANNOUNCEMENTS_MAX)
		return;

	g_strlcpy(peer->announced, peer->conn.local.ufrag, sizeof(peer->announced));
	send_candidates(peers, peer, FALSE);
}

static void send_go_idle(NbhPeers *peers, Peer *peer)
{
	NbhSignalMessage message = { .type = NBH_SIGNAL_GO_IDLE };

	if (peers->signal)
		peers->signal_backend->send(peers->signal, &peer->key, &message, 1, NULL, NULL);
}

static void open_session(NbhPeers *peers, Peer *peer)
{
	NbhIceOpen open = {
		.peer = peer->key,
		.local = peer->conn.local,
		.local_session = peer->conn.local_session,
		.controlling = peer->conn.controlling,
		/* Between helpers WireGuard's own keepalive is the liveness. */
		.liveness_ms = peer->conn.far_is_helper ? 0 : 6000,
		.consent_keepalives = !peer->conn.far_is_helper,
	};

	if (peers->ice)
		peers->ice_backend->session_open(peers->ice, &open);
}

static void grant_slots(NbhPeers *peers)
{
	while (peers->slots_used < NBH_ICE_CHECKING_MAX && !g_queue_is_empty(&peers->waiting)) {
		g_autofree struct nbh_key *key = g_queue_pop_head(&peers->waiting);
		NbhConnEvent event = { .type = NBH_CONN_EV_SLOT };

		if (!nbh_peers_find(peers, key))
			continue;

		peers->slots_used++;
		nbh_peers_queue(peers, key, &event);
	}
}

gboolean nbh_peers_forget_waiting(NbhPeers *peers, const struct nbh_key *key)
{
	GList *link = g_queue_find_custom(&peers->waiting, key, (GCompareFunc)nbh_key_compare);

	if (!link)
		return FALSE;

	g_free(link->data);
	g_queue_delete_link(&peers->waiting, link);
	return TRUE;
}

static void publish_path(NbhPeers *peers, Peer *peer, const NbhPath *path)
{
	char endpoint[NBH_ENDPOINT_TEXT_MAX];

	peer->path = *path;
	peer->source.family = 0;

	if (path->kind == NBH_PATH_DIRECT)
		peers->events.source_of(&path->endpoint, &peer->source, peers->owner);

	nbh_log(NBH_LOG_DEBUG, "path", "publish peer=%s kind=%d endpoint=%s session=%u", peer->name,
	        (int)path->kind, nbh_endpoint_format(&path->endpoint, endpoint), path->session);
	peers->events.on_path(peers->owner);
}

static void forward_initiation(NbhPeers *peers, Peer *peer, const struct nbh_endpoint *to)
{
	gsize len;
	const guint8 *data;

	if (!peer->initiation || !peers->ice)
		return;

	data = g_bytes_get_data(peer->initiation, &len);
	peers->ice_backend->forward(peers->ice, to, data, len);
	g_clear_pointer(&peer->initiation, g_bytes_unref);
}

void nbh_peers_act(NbhPeers *peers, Peer *peer, const NbhConnAction *action)
{
	switch (action->type) {
	case NBH_CONN_DO_SEND_OFFER:
		send_offer(peers, peer, NBH_CONN_SENT_OFFER);
		announce(peers, peer);
		break;
	case NBH_CONN_DO_SEND_ANSWER:
		send_offer(peers, peer, NBH_CONN_SENT_ANSWER);
		break;
	case NBH_CONN_DO_SEND_CANDIDATES:
		send_candidates(peers, peer, TRUE);
		break;
	case NBH_CONN_DO_SEND_GO_IDLE:
		send_go_idle(peers, peer);
		break;
	case NBH_CONN_DO_WANT_SLOT:
		nbh_peers_forget_waiting(peers, &peer->key);
		g_queue_push_tail(&peers->waiting, g_memdup2(&peer->key, sizeof(peer->key)));
		grant_slots(peers);
		break;
	case NBH_CONN_DO_RELEASE_SLOT:
		/* A wish that was not granted yet takes no slot with it. */
		if (!nbh_peers_forget_waiting(peers, &peer->key) && peers->slots_used > 0)
			peers->slots_used--;

		grant_slots(peers);
		break;
	case NBH_CONN_DO_ICE_OPEN:
		open_session(peers, peer);
		break;
	case NBH_CONN_DO_ICE_REMOTE:
		if (peers->ice)
			peers->ice_backend->session_remote(peers->ice, &peer->key, &peer->conn.remote,
			                                   &peer->conn.remote_session);
		break;
	case NBH_CONN_DO_ICE_CANDIDATE:
		if (peers->ice)
			peers->ice_backend->session_candidate(peers->ice, &peer->key, &action->u.candidate);
		break;
	case NBH_CONN_DO_ICE_CLOSE:
		if (peers->ice)
			peers->ice_backend->session_close(peers->ice, &peer->key);
		break;
	case NBH_CONN_DO_PUBLISH:
		publish_path(peers, peer, &action->u.path);
		break;
	case NBH_CONN_DO_FORWARD:
		forward_initiation(peers, peer, &action->u.endpoint);
		break;
	case NBH_CONN_DO_ARM:
		nbh_peers_wake_at(peers, action->u.arm.at);
		break;
	case NBH_CONN_DO_DISARM: /* a timer that is early finds nothing to do */
	case NBH_CONN_N_ACTIONS:
		break;
	}
}

