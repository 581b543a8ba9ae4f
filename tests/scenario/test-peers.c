#include "config.h"

#include <unistd.h>

#include <glib.h>

#include "base/limits.h"
#include "core/version.h"
#include "signal/signal-pair.h"
#include "tests/lib/peerhost.h"

/*
 * Two hosts' app/peers in one process: real machines, real signal envelopes over signal-pair, ICE by
 * the fake. What is checked is that events and actions reach the right module.
 */

static void give_map(Host *host, const Host *other, const char *version)
{
	test_host_give_map(host, other ? &other->public_key : NULL, other ? 1 : 0, version);
}

static const NbhPath *path(Host *host, const Host *other)
{
	return test_host_path(host, &other->public_key);
}

static gboolean is_direct(Host *host, const Host *other)
{
	return test_host_is_direct(host, &other->public_key);
}

static void until_direct(Host *a, Host *b)
{
	while (!is_direct(a, b) || !is_direct(b, a))
		g_main_context_iteration(NULL, TRUE);
}

static void test_helpers_connect(void)
{
	Host a = { .n_paths = 0 }, b = { .n_paths = 0 };

	test_host_open(&a, "192.0.2.1");
	test_host_open(&b, "192.0.2.2");
	give_map(&a, &b, NBH_AGENT_VERSION);
	give_map(&b, &a, NBH_AGENT_VERSION);
	g_assert_cmpint(path(&a, &b)->kind, ==, NBH_PATH_NONE);
	until_direct(&a, &b);
	g_assert_cmpuint(path(&a, &b)->endpoint.addr.bytes[3], ==, 2);
	g_assert_cmpuint(path(&b, &a)->endpoint.addr.bytes[3], ==, 1);
	g_assert_cmpuint(path(&a, &b)->keepalive_s, ==, 25);

	/* Gone from the map: the session is closed, nothing is left of it. */
	give_map(&a, NULL, NULL);
	g_assert_null(path(&a, &b));
	g_assert_null(nbh_ice_fake_session(a.ice, &b.public_key));
	test_host_close(&a);
	test_host_close(&b);
}

static void test_restart_adopts(void)
{
	Host a = { .n_paths = 0 }, b = { .n_paths = 0 };
	struct nbh_peersfile old = { .n_peers = 1 };
	struct nbh_peersfile_peer entry = { .has_session = true };

	test_host_open(&a, "192.0.2.1");
	test_host_open(&b, "192.0.2.2");
	give_map(&a, &b, NBH_AGENT_VERSION);
	give_map(&b, &a, NBH_AGENT_VERSION);
	until_direct(&a, &b);
	entry.public_key = b.public_key;
	entry.endpoint = path(&a, &b)->endpoint;
	entry.session = path(&a, &b)->session;
	entry.keepalive_s = 25;
	old.peers = &entry;

	/* The helper dies and comes back; netbird-ice and peers.json are as they were. */
	nbh_peers_set_signal(a.peers, &nbh_signal_pair, NULL);
	nbh_peers_free(a.peers);
	test_host_open_peers(&a, "192.0.2.1");
	nbh_ice_fake_down(a.ice, FALSE);
	nbh_peers_restore(a.peers, &old, a.loopback);
	nbh_peers_set_ice(a.peers, &nbh_ice_fake, a.ice);
	nbh_peers_set_signal(a.peers, &nbh_signal_pair, a.signal);
	nbh_ice_fake_up(a.ice);
	b.n_paths = 0;
	give_map(&a, &b, NBH_AGENT_VERSION);

	/* At no moment is the endpoint withdrawn. */
	do {
		g_main_context_iteration(NULL, TRUE);
		g_assert_true(path(&a, &b)->kind != NBH_PATH_IDLE);
	} while (nbh_peers_unconnected(a.peers));

	g_assert_true(is_direct(&a, &b));
	g_assert_cmpuint(path(&a, &b)->session, ==, entry.session);
	g_assert_cmpuint(b.n_paths, ==, 0); /* the other side noticed nothing */
	test_host_close(&a);
	test_host_close(&b);
}

static void test_idle_and_wake(void)
{
	static const guint8 initiation[NBH_WG_INITIATION_LEN] = { 1 };
	Host one = { .n_paths = 0 }, two = { .n_paths = 0 };
	Host *a, *b; /* a controls: only then the initiation goes out */
	NbhSignalMessage idle = { .type = NBH_SIGNAL_GO_IDLE };
	struct nbh_endpoint to;
	guint32 session;

	test_host_open(&one, "192.0.2.1");
	test_host_open(&two, "192.0.2.2");
	a = strcmp(nbh_key_format(&one.public_key).text, nbh_key_format(&two.public_key).text) > 0 ? &one : &two;
	b = a == &one ? &two : &one;
	give_map(a, b, "0.77.1"); /* with an official peer's rules */
	give_map(b, a, "0.77.1");
	until_direct(a, b);
	session = path(a, b)->session;
	nbh_peers_message(a->peers, &b->public_key, &idle);
	g_assert_cmpint(path(a, b)->kind, ==, NBH_PATH_IDLE);
	g_assert_cmpuint(path(a, b)->session, >, session);
	session = path(a, b)->session;

	nbh_peers_wake(a->peers, &b->public_key, initiation, sizeof(initiation), TRUE);

	while (nbh_ice_fake_n_forwards(a->ice, &to) == 0)
		g_main_context_iteration(NULL, TRUE);

	/* The captured initiation went out, the peer was not made anew. */
	g_assert_true(is_direct(a, b));
	g_assert_cmpuint(path(a, b)->session, ==, session);
	g_assert_true(nbh_endpoint_equal(&to, &path(a, b)->endpoint));
	g_assert_cmpuint(nbh_ice_fake_n_forwards(a->ice, &to), ==, 1);
	test_host_close(&one);
	test_host_close(&two);
}

/* A session of a listing before the last one is none: netbird-ice has come back without it. */
static void test_listed_before(void)
{
	Host a = { .n_paths = 0 }, b = { .n_paths = 0 };
	NbhIceSession session = { .local = { "localufrag", "localpassword0123456789" },
		                  .remote = { "farufrag", "farpassword012345678901" },
		                  .selected = TRUE };

	test_host_open(&a, "192.0.2.1");
	test_host_open(&b, "192.0.2.2");
	session.peer = b.public_key;
	g_assert_cmpint(nbh_addr_parse("192.0.2.77", &session.pair.remote.addr), ==, 0);
	session.pair.remote.port = 51820;
	nbh_peers_ice_session(a.peers, &session);
	nbh_ice_fake_down(a.ice, TRUE);
	nbh_ice_fake_up(a.ice);

	while (g_main_context_iteration(NULL, FALSE))
		;

	give_map(&a, &b, NBH_AGENT_VERSION);
	g_assert_cmpint(path(&a, &b)->kind, ==, NBH_PATH_NONE);
	give_map(&b, &a, NBH_AGENT_VERSION);
	until_direct(&a, &b);
	g_assert_cmpuint(path(&a, &b)->endpoint.addr.bytes[3], ==, 2);
	test_host_close(&a);
	test_host_close(&b);
}

/* Whoever lists without end does not fill our memory; a member behind the limit is connected anew. */
static void test_listed_limit(void)
{
	Host a = { .n_paths = 0 };
	NbhIceSession session = { .local = { "localufrag", "localpassword0123456789" },
		                  .remote = { "farufrag", "farpassword012345678901" },
		                  .selected = TRUE };
	struct nbh_key last[2];

	test_host_open(&a, "192.0.2.1");
	g_assert_cmpint(nbh_addr_parse("192.0.2.77", &session.pair.remote.addr), ==, 0);
	session.pair.remote.port = 51820;

	for (guint i = 1; i <= NBH_ICE_SESSIONS_MAX + 1; i++) {
		memcpy(session.peer.bytes, &i, sizeof(i));
		nbh_peers_ice_session(a.peers, &session);

		if (i >= NBH_ICE_SESSIONS_MAX)
			last[i - NBH_ICE_SESSIONS_MAX] = session.peer;
	}

	test_host_give_map(&a, last, 2, NBH_AGENT_VERSION);
	nbh_peers_ice_ready(a.peers);
	g_assert_true(test_host_is_direct(&a, &last[0]));
	g_assert_false(test_host_is_direct(&a, &last[1]));
	test_host_close(&a);
}

static guint n_offers, n_candidates;

static NbhSignalPairFate count_message(const struct nbh_key *from, const struct nbh_key *to,
                                       const NbhSignalMessage *message, gpointer data)
{
	(void)from;
	(void)to;
	(void)data;
	n_offers += message->type == NBH_SIGNAL_OFFER;
	n_candidates += message->type == NBH_SIGNAL_CANDIDATE;
	return NBH_SIGNAL_PAIR_DROP;
}

/* With a helper candidates go out with the OFFER and as they are found; an official peer would drop them. */
static void announces(const char *version, guint with_offer, guint with_more)
{
	Host a = { .n_paths = 0 }, b = { .n_paths = 0 };
	NbhCandidate more[2] = { { .type = NBH_CANDIDATE_HOST, .foundation = "h0", .priority = 1000 },
		                 { .type = NBH_CANDIDATE_SRFLX, .foundation = "s0", .priority = 900 } };

	test_host_open(&a, "192.0.2.1");
	nbh_key_generate_private(&b.private_key);
	nbh_key_public(&b.private_key, &b.public_key);
	nbh_signal_pair_set_filter(count_message, NULL);
	n_offers = n_candidates = 0;
	give_map(&a, &b, version);
	while (n_offers == 0)
		g_main_context_iteration(NULL, TRUE);
	g_assert_cmpuint(n_candidates, ==, with_offer);

	for (guint i = 0; i < G_N_ELEMENTS(more); i++) {
		g_assert_cmpint(nbh_addr_parse(i ? "203.0.113.1" : "192.0.2.1", &more[i].endpoint.addr), ==, 0);
		more[i].endpoint.port = 51820;
	}

	nbh_peers_set_candidates(a.peers, more, G_N_ELEMENTS(more));
	g_assert_cmpuint(n_candidates, ==, with_offer + with_more);

	/* The repetition of the OFFER has them not again. */
	while (n_offers == 1)
		g_main_context_iteration(NULL, TRUE);
	g_assert_cmpuint(n_candidates, ==, with_offer + with_more);
	nbh_signal_pair_set_filter(NULL, NULL);
	test_host_close(&a);
}

static void test_announces(void)
{
	announces(NBH_AGENT_VERSION, 1, 2);
	announces("0.77.1", 0, 0);
}

/* In a large network only the first offers have candidates with them. */
static void test_announcement_limit(void)
{
	struct nbh_key keys[NBH_PEER_ANNOUNCEMENTS_MAX + 1];

	for (guint i = 0; i < G_N_ELEMENTS(keys); i++)
		nbh_key_generate_private(&keys[i]); /* any bytes do */

	for (guint n = NBH_PEER_ANNOUNCEMENTS_MAX - 1; n <= G_N_ELEMENTS(keys); n++) {
		Host a = { .n_paths = 0 };

		test_host_open(&a, "192.0.2.1");
		nbh_signal_pair_set_filter(count_message, NULL);
		n_offers = n_candidates = 0;
		test_host_give_map(&a, keys, n, NBH_AGENT_VERSION);
		while (n_offers < n)
			g_main_context_iteration(NULL, TRUE);
		g_assert_cmpuint(n_offers, ==, n);
		g_assert_cmpuint(n_candidates, ==, MIN(n, NBH_PEER_ANNOUNCEMENTS_MAX));
		nbh_signal_pair_set_filter(NULL, NULL);
		test_host_close(&a);
	}
}

int main(int argc, char **argv)
{
	alarm(60); /* ends a test that would wait for ever */
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/app/peers/connect", test_helpers_connect);
	g_test_add_func("/app/peers/restart", test_restart_adopts);
	g_test_add_func("/app/peers/listed-before", test_listed_before);
	g_test_add_func("/app/peers/listed-limit", test_listed_limit);
	g_test_add_func("/app/peers/idle", test_idle_and_wake);
	g_test_add_func("/app/peers/announces", test_announces);
	g_test_add_func("/app/peers/announcement-limit", test_announcement_limit);
	return g_test_run();
}
