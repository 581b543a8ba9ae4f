/*
 * Members of the network that say anything to us, in any order with everything else that happens: the
 * real table of peers and machines, a clock of our own, signal and ICE that only remember. The input
 * is a row of steps: one byte what and who, and what it needs.
 */
#include "config.h"

#include "app/peers-private.h"

#include "base/log.h"
#include "core/version.h"

#include "tests/fuzz/fuzz.h"

#define N_PEERS 3 /* official, helper, official */
#define SENDS_MAX 64

static void checked_step(NbhConn *conn, const NbhConnEvent *event, nbh_mono now, NbhConnActions *ret_actions);

/* Its timer is called as it is, and every step is looked at. */
#define nbh_conn_step checked_step
#include "app/peers.c"
#undef nbh_conn_step

enum {
	STEP_MESSAGE,   /* length, a protobuf body */
	STEP_OFFER,     /* OFFER or ANSWER; session */
	STEP_CANDIDATE, /* type, address, port */
	STEP_GO_IDLE,
	STEP_TIME,      /* how long */
	STEP_SENT,      /* the oldest Send has returned; ok or not */
	STEP_SELECTED,  /* type, address, port */
	STEP_FAILED,
	STEP_LOST,
	STEP_WAKE,      /* with an initiation or not */
	STEP_HANDSHAKE, /* how long ago */
	STEP_MAP,       /* who is in it, and of what version */
	STEP_SESSION,   /* of a listing */
	STEP_READY,
	STEP_NETWORK,
	STEP_LINK,      /* signal is up again; or a first check comes, or everything stops */
	N_STEPS
};

static struct {
	NbhPeers *peers;
	NbhLoopback *loopback;
	nbh_mono now;
	struct nbh_key keys[N_PEERS];
	gboolean is_open[N_PEERS], has_remote[N_PEERS], is_older[N_PEERS];
	guint n_candidates[N_PEERS];
	struct {
		void (*done)(gboolean ok, gpointer data, gpointer owner);
		gpointer data;
	} sends[SENDS_MAX];
	gsize n_sends;
} world;

/* In the place of base/mono.c. */
nbh_mono nbh_mono_now(void)
{
	return world.now;
}

static void checked_step(NbhConn *conn, const NbhConnEvent *event, nbh_mono now, NbhConnActions *ret_actions)
{
	nbh_conn_step(conn, event, now, ret_actions);
	fuzz_require(!ret_actions->illegal && ret_actions->n <= NBH_CONN_ACTIONS_MAX);
	fuzz_require(!ret_actions->changed || nbh_conn_may_go(ret_actions->from, ret_actions->to));
	fuzz_require(conn->agent_open == (conn->state == NBH_CONN_CHECKING || conn->state == NBH_CONN_UP ||
	                                  conn->state == NBH_CONN_BACKOFF));
	fuzz_require(conn->candidates.n <= NBH_CANDIDATES_PER_PEER_MAX);
}

/* ---- what remembers ------------------------------------------------------------------------- */

static guint index_of(const struct nbh_key *key)
{
	for (guint i = 0; i < N_PEERS; i++)
		if (nbh_key_equal(key, &world.keys[i]))
			return i;

	fuzz_broken(__FILE__, __LINE__, "known key");
}

static void on_open(NbhIce *ice G_GNUC_UNUSED, const NbhIceOpen *open)
{
	guint i = index_of(&open->peer);

	fuzz_require(open->local.ufrag[0] && open->local.pwd[0]);
	world.is_open[i] = TRUE;
	world.has_remote[i] = world.is_older[i] = FALSE;
	world.n_candidates[i] = 0;
}

static void on_remote(NbhIce *ice G_GNUC_UNUSED, const struct nbh_key *peer, const NbhIceCreds *creds,
                      const NbhSessionId *session G_GNUC_UNUSED)
{
	guint i = index_of(peer);

	fuzz_require(world.is_open[i] && creds->ufrag[0]);
	world.has_remote[i] = TRUE;
}

/* Nothing inside the overlay, and nothing that never comes over a network. */
static void check_endpoint(const struct nbh_endpoint *endpoint)
{
	static const struct nbh_prefix overlay = { { AF_INET, { 100, 64 } }, 16 };

	fuzz_require(nbh_endpoint_is_set(endpoint));
	fuzz_require(!nbh_prefix_contains(&overlay, &endpoint->addr));
	fuzz_require(!nbh_addr_is_loopback(&endpoint->addr) && !nbh_addr_is_multicast(&endpoint->addr) &&
	             !nbh_addr_is_unspecified(&endpoint->addr));
}

static void on_ice_candidate(NbhIce *ice G_GNUC_UNUSED, const struct nbh_key *peer, const NbhCandidate *candidate)
{
	guint i = index_of(peer);

	fuzz_require(world.is_open[i]);
	/* A full set makes room for better ones, each once. */
	fuzz_require(++world.n_candidates[i] <= NBH_PEER_MESSAGES_BURST + 65536);
	check_endpoint(&candidate->endpoint);
}

static void on_close(NbhIce *ice G_GNUC_UNUSED, const struct nbh_key *peer)
{
	world.is_open[index_of(peer)] = FALSE;
}

static void on_forward(NbhIce *ice G_GNUC_UNUSED, const struct nbh_endpoint *to, const guint8 *data, gsize len)
{
	check_endpoint(to);
	fuzz_require(data && len == NBH_WG_INITIATION_LEN);
}

static const NbhIceBackend ice_backend = {
	.name = "remembers",
	.session_open = on_open,
	.session_remote = on_remote,
	.session_candidate = on_ice_candidate,
	.session_close = on_close,
	.forward = on_forward,
};

static void on_send(NbhSignal *signal G_GNUC_UNUSED, const struct nbh_key *to, const NbhSignalMessage *messages,
                    gsize n, void (*done)(gboolean ok, gpointer data, gpointer owner), gpointer data)
{
	(void)index_of(to);
	fuzz_require(n > 0 && messages);
	if (!done)
		return;

	if (world.n_sends == SENDS_MAX) {
		done(FALSE, data, NULL);
		return;
	}

	world.sends[world.n_sends].done = done;
	world.sends[world.n_sends++].data = data;
}

static void on_send_beside(NbhSignal *signal G_GNUC_UNUSED, const struct nbh_key *to, const NbhSignalMessage *messages,
                           gsize n G_GNUC_UNUSED)
{
	(void)index_of(to);
	fuzz_require(messages);
}

static const NbhSignalBackend signal_backend = { .name = "remembers", .send = on_send, .send_beside = on_send_beside };

static void on_status(gpointer owner G_GNUC_UNUSED)
{
}

static void source_of(const struct nbh_endpoint *to, struct nbh_addr *ret_source, gpointer owner G_GNUC_UNUSED)
{
	*ret_source = (struct nbh_addr){ to->addr.family, { 192, 0, 2, (guint8)(world.now.usec >> 24) } };
}

static void on_wake(const struct nbh_key *peer G_GNUC_UNUSED, const guint8 *data G_GNUC_UNUSED, gsize len G_GNUC_UNUSED,
                    gboolean initiation G_GNUC_UNUSED, gpointer owner G_GNUC_UNUSED)
{
}

/* ---- steps ---------------------------------------------------------------------------------- */

static struct nbh_endpoint make_endpoint(guint8 kind, guint8 last, guint8 port)
{
	static const char *const texts[] = { "192.0.2.1:1", "10.0.0.1:1", "[2001:db8::1]:1", "127.1.0.1:1",
		                             "100.64.0.9:1", "224.0.0.1:1", "203.0.113.1:1", "[fe80::1]:1" };
	struct nbh_endpoint endpoint = { .port = 0 };

	fuzz_require(nbh_endpoint_parse(texts[kind % G_N_ELEMENTS(texts)], &endpoint) == 0);
	endpoint.addr.bytes[endpoint.addr.family == AF_INET ? 3 : 15] = last;
	endpoint.port = (guint16)(1 + port);
	return endpoint;
}

static void do_message(const struct nbh_key *from, const uint8_t *data, size_t len)
{
	NbhSignalMessage message;

	if (nbh_signal_body_decode(data, len, &message, NULL))
		nbh_peers_message(world.peers, from, &message);
}

static void do_offer(const struct nbh_key *from, guint8 byte)
{
	NbhSignalMessage message = { .type = byte & 1 ? NBH_SIGNAL_OFFER : NBH_SIGNAL_ANSWER, .has_ice = !(byte & 2) };

	g_strlcpy(message.creds.ufrag, byte & 4 ? "aaaabbbb" : "ccccdddd", sizeof(message.creds.ufrag));
	g_strlcpy(message.creds.pwd, "abcdefghijklmnopqrstuvwxyz", sizeof(message.creds.pwd));
	message.session.present = !(byte & 8);
	message.session.bytes[0] = byte >> 4;
	nbh_peers_message(world.peers, from, &message);
}

static void do_candidate(const struct nbh_key *from, const struct nbh_endpoint *endpoint, guint8 kind)
{
	NbhSignalMessage message = { .type = NBH_SIGNAL_CANDIDATE };
	NbhCandidate candidate = { .type = kind >> 4 & 3, .foundation = "f", .priority = 1 + kind, .endpoint = *endpoint };

	nbh_candidate_format(&candidate, message.candidate, sizeof(message.candidate));
	nbh_peers_message(world.peers, from, &message);
}

static void do_handshake(const struct nbh_key *peer, guint8 ago_s)
{
	struct nbh_wgstatus_peer seen = { .public_key = *peer };
	const struct nbh_wgstatus status = { .peers = &seen, .n_peers = 1 };

	seen.last_handshake_unix_ms = g_get_real_time() / 1000 - ago_s * 1000;
	nbh_peers_wg_status(world.peers, &status);
}

static void do_map(guint8 who)
{
	NbhNetmapPeer *entries = g_new0(NbhNetmapPeer, N_PEERS);
	g_autoptr(NbhNetmap) map = NULL;
	gsize n = 0;

	for (guint i = 0; i < N_PEERS; i++)
		if (who & (1 << i)) {
			entries[n].key = world.keys[i];
			entries[n++].agent_version =
				g_strdup(!(who & (16 << i)) == (i == 1) ? NBH_AGENT_VERSION : "0.77.1");
		}

	nbh_peers_set_lazy(world.peers, who >> 7);
	map = nbh_netmap_new(1, entries, n, NULL);
	nbh_peers_set_map(world.peers, map);
}

/* A session of a listing is one that ICE really holds: the machine's, or an older one of an earlier run. */
static void do_session(const struct nbh_key *peer, const struct nbh_endpoint *endpoint, guint8 kind)
{
	NbhIceSession session = { .peer = *peer, .selected = kind >> 7 };
	const Peer *known = nbh_peers_find(world.peers, peer);
	guint i = index_of(peer);

	g_strlcpy(session.local.ufrag, "oldufrag", sizeof(session.local.ufrag));
	g_strlcpy(session.local.pwd, "abcdefghijklmnopqrstuvwxyz", sizeof(session.local.pwd));
	session.remote = session.local;
	if (known && known->conn.agent_open && world.is_open[i] && !world.is_older[i] && (kind & 64)) {
		session.local = known->conn.local;
		session.local_session = known->conn.local_session;
		session.remote = known->conn.remote;
		session.remote_session = known->conn.remote_session;
		if (!world.has_remote[i])
			session.remote.ufrag[0] = '\0';
	} else {
		world.is_older[i] = TRUE;
		if (!session.selected && (kind & 32))
			session.remote.ufrag[0] = '\0';
	}
	session.selected = session.selected && session.remote.ufrag[0];
	session.pair.remote = *endpoint;
	world.is_open[i] = TRUE;
	world.has_remote[i] = session.remote.ufrag[0] != '\0';
	nbh_peers_ice_session(world.peers, &session);
}

/* The engine closes all of ICE's sessions behind it. */
static void stop_all(void)
{
	nbh_peers_stop_all(world.peers);
	memset(world.is_open, 0, sizeof(world.is_open));
	memset(world.is_older, 0, sizeof(world.is_older));
}

static void do_link(const struct nbh_key *peer, guint8 what)
{
	struct nbh_endpoint endpoint = make_endpoint(what, what, 1);

	if (what & 1)
		nbh_peers_signal_up(world.peers);
	else if (what)
		nbh_peers_ice_heard(world.peers, peer, &endpoint);
	else
		stop_all();
}

static void do_sent(gboolean ok)
{
	if (world.n_sends == 0)
		return;

	world.n_sends--;
	world.sends[0].done(ok, world.sends[0].data, NULL);
	memmove(world.sends, world.sends + 1, world.n_sends * sizeof(world.sends[0]));
}

static void do_wake(const struct nbh_key *peer, guint8 byte)
{
	guint8 data[NBH_WG_INITIATION_LEN] = { 1 };

	nbh_peers_wake(world.peers, peer, data, sizeof(data), byte & 1);
}

static void do_step(guint8 what, const uint8_t **data, size_t *len)
{
	const struct nbh_key *peer = &world.keys[(what >> 4) % N_PEERS];
	guint8 first = fuzz_byte(data, len), last, port;
	struct nbh_endpoint endpoint;
	NbhSignalMessage message = { .type = NBH_SIGNAL_GO_IDLE };
	const uint8_t *body;
	size_t n;

	switch (what % N_STEPS) {
	case STEP_MESSAGE:
		body = fuzz_take(data, len, first, &n);
		do_message(peer, body, n);
		return;
	case STEP_OFFER:
		do_offer(peer, first);
		return;
	case STEP_GO_IDLE:
		nbh_peers_message(world.peers, peer, &message);
		return;
	case STEP_TIME:
		world.now = nbh_mono_add_ms(world.now, first < 128 ? first * 10 : (first - 127) * 1000);
		return;
	case STEP_SENT:
		do_sent(first & 1);
		return;
	case STEP_FAILED:
		nbh_peers_ice_failed(world.peers, peer);
		return;
	case STEP_LOST:
		nbh_peers_ice_lost(world.peers, peer);
		return;
	case STEP_WAKE:
		do_wake(peer, first);
		return;
	case STEP_HANDSHAKE:
		do_handshake(peer, first);
		return;
	case STEP_MAP:
		do_map(first);
		return;
	case STEP_READY:
		nbh_peers_ice_ready(world.peers);
		return;
	case STEP_NETWORK:
		nbh_peers_network(world.peers);
		return;
	case STEP_LINK:
		do_link(peer, first);
		return;
	default:
		break;
	}

	last = fuzz_byte(data, len);
	port = fuzz_byte(data, len);
	endpoint = make_endpoint(first, last, port);
	if (what % N_STEPS == STEP_CANDIDATE) {
		do_candidate(peer, &endpoint, first);
	} else if (what % N_STEPS == STEP_SELECTED) {
		NbhIcePair pair = { .remote_type = first >> 4 & 3, .remote = endpoint };

		nbh_peers_ice_selected(world.peers, peer, &pair);
	} else {
		do_session(peer, &endpoint, first);
	}
}

static void check_peer(const NbhPeerView *view, gpointer data)
{
	guint i = index_of(&view->key);

	(void)data;
	if (view->path->kind == NBH_PATH_DIRECT)
		check_endpoint(&view->path->endpoint);
	/* Machine and ICE agree: no session is forgotten, none is made up. */
	if (!world.peers->ice_known || g_hash_table_size(world.peers->listed) > 0)
		return;

	fuzz_require(view->conn->agent_open == world.is_open[i]);
	fuzz_require(!view->conn->agent_open || view->conn->remote_set == world.has_remote[i]);
}

static void set_up(void)
{
	static const NbhPeersEvents events = { on_status, on_status, source_of, on_status };
	static const struct nbh_prefix v4 = { { AF_INET, { 100, 64, 0, 9 } }, 16 }, v6 = { .len = 0 };
	static const struct nbh_key own = { { 7 } };
	const NbhCandidate candidate = { NBH_CANDIDATE_HOST, "h0", 1000, make_endpoint(1, 1, 1), { .port = 0 }, "", FALSE };
	NbhLoopback *loopback = world.loopback;

	memset(&world, 0, sizeof(world));
	world.loopback = loopback ? loopback : nbh_loopback_new(0, on_wake, NULL, NULL);
	world.now.usec = 1000000000;
	g_random_set_seed(1);
	for (guint i = 0; i < N_PEERS; i++)
		world.keys[i].bytes[0] = (guint8)(3 * i + 4); /* two of them lower than ours */

	world.peers = nbh_peers_new(&own, 51820, &events, NULL);
	nbh_peers_set_loopback(world.peers, world.loopback);
	nbh_peers_set_ice(world.peers, &ice_backend, (gpointer)&world);
	nbh_peers_set_signal(world.peers, &signal_backend, (gpointer)&world);
	nbh_peers_set_overlay(world.peers, &v4, &v6);
	nbh_peers_set_candidates(world.peers, &candidate, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	nbh_log_set_level("error");
	set_up();
	while (len > 0) {
		do_step(fuzz_byte(&data, &len), &data, &len);
		/* As the loop would, once for everything that is due now. */
		on_timer(world.peers);
		nbh_peers_each(world.peers, check_peer, NULL);
	}

	nbh_peers_set_signal(world.peers, NULL, NULL);
	stop_all();
	for (guint i = 0; i < N_PEERS; i++)
		nbh_loopback_forget(world.loopback, &world.keys[i]);
	nbh_peers_free(world.peers);
	return 0;
}
