#include "config.h"

#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "core/version.h"
#include "signal/signal-pair.h"
#include "tests/lib/loop.h"
#include "tests/lib/peerhost.h"

/*
 * A member of the network that means harm. It has a key that management gave to everybody, so its
 * messages open; what it can make us do, and where it can make us send, ends here. An honest peer
 * is there all the time and must not notice.
 */

typedef struct {
	Host us, honest;
	struct nbh_key mallory;
	guint n_opens, n_candidates; /* what netbird-ice was asked for because of mallory */
	guint n_sent;                /* messages to mallory */
	gint64 began_usec;
	NbhCandidate last;
} Fixture;

static Fixture *now; /* the backend's functions have no owner */

static void count_open(NbhIce *ice, const NbhIceOpen *open)
{
	if (nbh_key_equal(&open->peer, &now->mallory))
		now->n_opens++;
	nbh_ice_fake.session_open(ice, open);
}

static void count_candidate(NbhIce *ice, const struct nbh_key *peer, const NbhCandidate *candidate)
{
	if (nbh_key_equal(peer, &now->mallory)) {
		now->n_candidates++;
		now->last = *candidate;
	}
	nbh_ice_fake.session_candidate(ice, peer, candidate);
}

static NbhSignalPairFate count_message(const struct nbh_key *from, const struct nbh_key *to,
                                       const NbhSignalMessage *message, gpointer data)
{
	Fixture *f = data;

	(void)from;
	(void)message;
	if (nbh_key_equal(to, &f->mallory))
		f->n_sent++;
	return NBH_SIGNAL_PAIR_DELIVER;
}

static void set_up(Fixture *f, gconstpointer data)
{
	static NbhIceBackend counting;
	struct nbh_key mallory_private, keys[2];
	struct nbh_prefix overlay[2] = { 0 };

	(void)data;
	now = f;
	counting = nbh_ice_fake;
	counting.session_open = count_open;
	counting.session_candidate = count_candidate;
	nbh_key_generate_private(&mallory_private);
	nbh_key_public(&mallory_private, &f->mallory);
	test_host_open(&f->us, "192.0.2.1");
	test_host_open(&f->honest, "192.0.2.2");
	nbh_peers_set_ice(f->us.peers, &counting, f->us.ice);
	nbh_signal_pair_set_filter(count_message, f);
	g_assert_cmpint(nbh_prefix_parse("100.64.0.9/16", &overlay[0]), ==, 0);
	g_assert_cmpint(nbh_prefix_parse("fd00:64::9/64", &overlay[1]), ==, 0);
	nbh_peers_set_overlay(f->us.peers, &overlay[0], &overlay[1]);

	keys[0] = f->honest.public_key;
	keys[1] = f->mallory;
	test_host_give_map(&f->us, keys, 2, NBH_AGENT_VERSION);
	test_host_give_map(&f->honest, &f->us.public_key, 1, NBH_AGENT_VERSION);
	test_run_until(test_host_is_direct(&f->us, &f->honest.public_key) &&
		       test_host_is_direct(&f->honest, &f->us.public_key));
	f->n_sent = 0;
	f->began_usec = g_get_monotonic_time();
}

/* What a slow machine earns meanwhile. */
static guint earned(const Fixture *f, guint every_ms)
{
	return (guint)((g_get_monotonic_time() - f->began_usec) / 1000 / every_ms);
}

static void tear_down(Fixture *f, gconstpointer data)
{
	(void)data;
	/* Whatever happened: the honest peer's tunnel is what it was. */
	g_assert_true(test_host_is_direct(&f->us, &f->honest.public_key));
	g_assert_true(test_host_is_direct(&f->honest, &f->us.public_key));
	nbh_signal_pair_set_filter(NULL, NULL);
	test_host_close(&f->us);
	test_host_close(&f->honest);
}

static void say(Fixture *f, const NbhSignalMessage *message)
{
	nbh_peers_message(f->us.peers, &f->mallory, message);
}

static void say_offer(Fixture *f, guint type, guint32 session)
{
	NbhSignalMessage message = { .type = type, .has_ice = TRUE, .session.present = TRUE };

	g_strlcpy(message.creds.ufrag, "mallory1", sizeof(message.creds.ufrag));
	g_strlcpy(message.creds.pwd, "malloryspasswordmallory1", sizeof(message.creds.pwd));
	memcpy(message.session.bytes, &session, sizeof(session));
	say(f, &message);
}

static void say_candidate(Fixture *f, const char *text)
{
	NbhSignalMessage message = { .type = NBH_SIGNAL_CANDIDATE };

	g_strlcpy(message.candidate, text, sizeof(message.candidate));
	say(f, &message);
}

/* Each offer is of another session, so each would make the agent anew and send all our candidates. */
static void test_offers(Fixture *f, gconstpointer data)
{
	(void)data;
	for (guint32 i = 1; i <= 10000; i++)
		say_offer(f, i % 2 ? NBH_SIGNAL_OFFER : NBH_SIGNAL_ANSWER, i);
	test_drain_loop();
	g_assert_cmpuint(f->n_opens, >, 0);
	g_assert_cmpuint(f->n_opens, <=, NBH_PEER_SESSIONS_BURST + earned(f, NBH_PEER_SESSION_EVERY_MS));
	g_assert_cmpuint(f->n_sent, <=, 4 * (NBH_PEER_SESSIONS_BURST + earned(f, NBH_PEER_SESSION_EVERY_MS)));

	/* And the honest one may begin anew at any time. */
	nbh_ice_fake_lose(f->us.ice, &f->honest.public_key);
	nbh_ice_fake_lose(f->honest.ice, &f->us.public_key);
	test_drain_loop();
}

/* The honest peer's own allowance is its own. */
static void test_one_spends_only_its_own(Fixture *f, gconstpointer data)
{
	NbhSignalMessage idle = { .type = NBH_SIGNAL_GO_IDLE };

	(void)data;
	for (guint32 i = 1; i <= 10000; i++)
		say_offer(f, NBH_SIGNAL_OFFER, i);
	nbh_peers_message(f->us.peers, &f->honest.public_key, &idle);
	g_assert_false(test_host_is_direct(&f->us, &f->honest.public_key));
	nbh_peers_wake(f->us.peers, &f->honest.public_key, (const guint8 *)"", 0, FALSE);
	test_run_until(test_host_is_direct(&f->us, &f->honest.public_key));
}

/* Asleep and awake: each time WireGuard's peer would be made anew and peers.json written. */
static void test_sleep_and_wake(Fixture *f, gconstpointer data)
{
	NbhSignalMessage idle = { .type = NBH_SIGNAL_GO_IDLE }, other = { .type = 77 };
	guint32 before = test_host_path(&f->us, &f->mallory)->session;

	(void)data;
	for (guint i = 0; i < 10000; i++) {
		say(f, &idle);
		say(f, &other);
	}
	test_drain_loop();
	g_assert_cmpuint(test_host_path(&f->us, &f->mallory)->session, >, before);
	g_assert_cmpuint(test_host_path(&f->us, &f->mallory)->session, <=,
			 before + NBH_PEER_SESSIONS_BURST + earned(f, NBH_PEER_SESSION_EVERY_MS));
	g_assert_cmpuint(f->n_sent, <=, 2 * (NBH_PEER_SESSIONS_BURST + earned(f, NBH_PEER_SESSION_EVERY_MS)));
}

/* 10 000 of them, all good: 25 count, and the signal messages are not even read for ever. */
static void test_many_candidates(Fixture *f, gconstpointer data)
{
	(void)data;
	say_offer(f, NBH_SIGNAL_OFFER, 1);
	for (guint i = 0; i < 10000; i++) {
		g_autofree char *text =
			g_strdup_printf("1 1 udp %u 203.0.113.%u %u typ %s", 100 + i, 1 + i % 250, 1000 + i,
					i % 2 ? "srflx raddr 10.0.0.1 rport 9" : "host");

		say_candidate(f, text);
	}
	test_drain_loop();
	g_assert_cmpuint(f->n_candidates, ==, NBH_CANDIDATES_PER_PEER_MAX);
	g_assert_cmpuint(nbh_ice_fake_n_candidates(f->us.ice, &f->mallory), ==, NBH_CANDIDATES_PER_PEER_MAX);
}

/* The allowance for messages: the last one that is read, and the first that is not. */
static void test_message_limit(Fixture *f, gconstpointer data)
{
	(void)data;
	say_offer(f, NBH_SIGNAL_OFFER, 1);
	for (guint i = 0; i < NBH_PEER_MESSAGES_BURST - 2; i++)
		say_candidate(f, "");
	say_candidate(f, "1 1 udp 1 203.0.113.1 1000 typ host");
	g_assert_cmpuint(f->n_candidates, ==, 1);
	for (guint i = 0; i < 10 * NBH_PEER_MESSAGES_BURST; i++)
		say_candidate(f, "");
	for (guint i = 0; i < 100; i++) {
		g_autofree char *text = g_strdup_printf("1 1 udp 1 203.0.113.2 %u typ host", 1000 + i);

		say_candidate(f, text);
	}
	g_assert_cmpuint(f->n_candidates, <=, 1 + earned(f, NBH_PEER_MESSAGE_EVERY_MS));
}

/* Nothing that is not an address of somebody else; what is looked up or sent for it is nothing. */
static void test_bad_candidates(Fixture *f, gconstpointer data)
{
	static const char *const bad[] = {
		"1 1 udp 1 evil.example 1000 typ host",
		"1 1 udp 1 b3e1f3c0-0d8a.local 1000 typ host",
		"1 1 udp 1 203.0.113.1 0 typ host",
		"1 1 udp 1 203.0.113.1 70000 typ host",
		"1 1 udp 1 203.0.113.1 -1 typ host",
		"1 1 udp 1 127.0.0.1 1000 typ host",
		"1 1 udp 1 ::1 1000 typ host",
		"1 1 udp 1 ::ffff:127.0.0.1 1000 typ host",
		"1 1 udp 1 ::ffff:7f00:1 1000 typ host",
		"1 1 udp 1 0.0.0.0 1000 typ host",
		"1 1 udp 1 :: 1000 typ host",
		"1 1 udp 1 224.0.0.1 1000 typ host",
		"1 1 udp 1 255.255.255.255 1000 typ host",
		"1 1 udp 1 ff02::1 1000 typ host",
		"1 1 udp 1 0177.0.0.1 1000 typ host",
		"1 1 udp 1 169.254.169.254 80 typ host",
		"1 1 udp 1 fe80::1 1000 typ host",
		"1 1 udp 1 fe80::1%eth0 1000 typ host",
		"1 1 udp 1 240.0.0.1 1000 typ host",
		"1 1 udp 1 0.1.2.3 1000 typ host",
		"1 1 udp 1 ::127.0.0.1 1000 typ host",
		"1 1 udp 1 2130706433 1000 typ host",
		/* our own overlay: WireGuard inside itself, for ever */
		"1 1 udp 1 100.64.0.7 51820 typ host",
		"1 1 udp 1 ::ffff:100.64.0.7 51820 typ host",
		"1 1 udp 1 100.64.0.9 51820 typ srflx raddr 10.0.0.1 rport 5",
		"1 1 udp 1 fd00:64::7 51820 typ host",
		"1 1 tcp 1 203.0.113.1 1000 typ host",
		"1 1 udp 99999999999 203.0.113.1 1000 typ host",
		"\n1 1 udp 1 203.0.113.1 1000 typ host",
		"",
	};

	(void)data;
	say_offer(f, NBH_SIGNAL_OFFER, 1);
	for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
		say_candidate(f, bad[i]);
	test_drain_loop();
	g_assert_cmpuint(f->n_candidates, ==, 0);

	/* The overlay ends where it ends. */
	say_candidate(f, "1 1 udp 1 100.65.0.7 51820 typ host");
	g_assert_cmpuint(f->n_candidates, ==, 1);
}

/* The port that a NAT may have kept is made up by us: it must not lead elsewhere either. */
static void test_twin_candidate(Fixture *f, gconstpointer data)
{
	(void)data;
	say_offer(f, NBH_SIGNAL_OFFER, 1);
	say_candidate(f, "1 1 udp 5 203.0.113.1 1000 typ srflx raddr 100.64.0.7 rport 51820 cid 1");
	g_assert_cmpuint(f->n_candidates, ==, 2);
	g_assert_cmpuint(f->last.endpoint.addr.bytes[0], ==, 203);
	g_assert_cmpuint(f->last.endpoint.port, ==, 51820);
}

/* A pair that the peer's own checks made, through the tunnel that it has. */
static void test_pairs(Fixture *f, gconstpointer data)
{
	static const char *const bad[] = { "100.64.0.7:51820", "[fd00:64::7]:51820", "127.0.0.1:51820",
					   "[::1]:51820", "224.0.0.1:51820" };
	NbhIcePair pair = { .remote_type = NBH_CANDIDATE_PRFLX };
	const NbhPath *path = test_host_path(&f->us, &f->mallory);

	(void)data;
	say_offer(f, NBH_SIGNAL_OFFER, 1);
	for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_assert_cmpint(nbh_endpoint_parse(bad[i], &pair.remote), ==, 0);
		nbh_peers_ice_selected(f->us.peers, &f->mallory, &pair);
		g_assert_cmpint(path->kind, !=, NBH_PATH_DIRECT);
	}

	g_assert_cmpint(nbh_endpoint_parse("203.0.113.1:51820", &pair.remote), ==, 0);
	nbh_peers_ice_selected(f->us.peers, &f->mallory, &pair);
	test_run_until(path->kind == NBH_PATH_DIRECT);

	/* Nor may a path that is good move there. */
	g_assert_cmpint(nbh_endpoint_parse(bad[0], &pair.remote), ==, 0);
	nbh_peers_ice_selected(f->us.peers, &f->mallory, &pair);
	test_drain_loop();
	g_assert_cmpuint(path->endpoint.addr.bytes[0], ==, 203);
}

static GHashTable *opened; /* keys of who has an agent; owned */

static void note_open(NbhIce *ice, const NbhIceOpen *open)
{
	g_hash_table_add(opened, g_memdup2(&open->peer, sizeof(open->peer)));
	nbh_ice_fake.session_open(ice, open);
}

/* Everybody offers at once: so many check, the others wait; who has failed makes room. */
static void test_checking_limit(void)
{
	NbhSignalMessage offer = { .type = NBH_SIGNAL_OFFER, .has_ice = TRUE };
	g_autofree struct nbh_key *keys = g_new0(struct nbh_key, NBH_ICE_CHECKING_MAX + 1);
	static NbhIceBackend noting;
	Host host = { .n_paths = 0 };

	noting = nbh_ice_fake;
	noting.session_open = note_open;
	opened = g_hash_table_new_full(nbh_key_hash, nbh_key_hash_equal, g_free, NULL);
	test_host_open(&host, "192.0.2.1");
	nbh_peers_set_ice(host.peers, &noting, host.ice);
	for (guint i = 0; i <= NBH_ICE_CHECKING_MAX; i++)
		keys[i].bytes[0] = (guint8)(i + 1);
	test_host_give_map(&host, keys, NBH_ICE_CHECKING_MAX + 1, NBH_AGENT_VERSION);
	test_drain_loop();
	g_strlcpy(offer.creds.ufrag, "mallory1", sizeof(offer.creds.ufrag));
	g_strlcpy(offer.creds.pwd, "malloryspasswordmallory1", sizeof(offer.creds.pwd));
	for (guint i = 0; i <= NBH_ICE_CHECKING_MAX; i++) {
		nbh_peers_message(host.peers, &keys[i], &offer);
		test_drain_loop();
		g_assert_cmpuint(g_hash_table_size(opened), ==, MIN(i + 1, NBH_ICE_CHECKING_MAX));
	}

	nbh_peers_ice_failed(host.peers, &keys[0]);
	test_drain_loop();
	g_assert_cmpuint(g_hash_table_size(opened), ==, NBH_ICE_CHECKING_MAX + 1);
	g_hash_table_unref(opened);
	test_host_close(&host);
}

/* Credentials that no agent of ours can use, and those of somebody else. */
static void test_credentials(Fixture *f, gconstpointer data)
{
	const NbhIceSession *honest = nbh_ice_fake_session(f->us.ice, &f->honest.public_key);
	NbhSignalMessage message = { .type = NBH_SIGNAL_OFFER, .has_ice = TRUE };

	(void)data;
	g_assert_nonnull(honest);
	message.creds = honest->remote; /* stolen from the honest peer's own offer */
	say(f, &message);
	say_candidate(f, "1 1 udp 1 203.0.113.1 1000 typ host");
	test_drain_loop();
	g_assert_false(test_host_is_direct(&f->us, &f->mallory));

	message.creds = honest->local; /* ours */
	say(f, &message);
	test_drain_loop();
	g_assert_false(test_host_is_direct(&f->us, &f->mallory));

	message.has_ice = FALSE; /* none at all, again and again */
	for (guint i = 0; i < 100; i++)
		say(f, &message);
	test_drain_loop();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*func)(Fixture *f, gconstpointer data);
	} tests[] = {
		{ "/hostile/offers", test_offers },
		{ "/hostile/own-allowance", test_one_spends_only_its_own },
		{ "/hostile/sleep-and-wake", test_sleep_and_wake },
		{ "/hostile/many-candidates", test_many_candidates },
		{ "/hostile/message-limit", test_message_limit },
		{ "/hostile/bad-candidates", test_bad_candidates },
		{ "/hostile/twin-candidate", test_twin_candidate },
		{ "/hostile/pairs", test_pairs },
		{ "/hostile/credentials", test_credentials },
	};

	alarm(120); /* ends a test that would wait for ever */
	g_test_init(&argc, &argv, NULL);
	for (gsize i = 0; i < G_N_ELEMENTS(tests); i++)
		g_test_add(tests[i].name, Fixture, NULL, set_up, tests[i].func, tear_down);
	g_test_add_func("/hostile/checking-limit", test_checking_limit);
	return g_test_run();
}
