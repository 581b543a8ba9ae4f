/*
 * The connection machine alone: every state x event, seeded walks with invariants, and the rules of
 * sessions, offers and agents one by one. What WireGuard gets is in test-conn-paths.c; two machines
 * against each other are in tests/scenario/test-conn-pair.c.
 */
#include "config.h"

#include "tests/lib/connrig.h"

#include <string.h>

#define WALK_STEPS 10000
#define WALK_SEEDS 24

static void test_every_pair(void)
{
	for (guint kind = 0; kind < 4; kind++) {
		for (guint state = 0; state < NBH_CONN_N_STATES; state++) {
			for (guint type = 0; type < NBH_CONN_N_EVENTS; type++) {
				for (guint variant = 0; variant < rig_variants_of((NbhConnEventType)type); variant++) {
					Rig rig;
					NbhConnEvent event;

					rig_init(&rig, kind & 1);
					rig_bring(&rig, (NbhConnState)state, kind & 2);
					g_assert_cmpint(rig.conn.state, ==, state);
					rig_pass(&rig, 10);
					event = rig_event_of(&rig, (NbhConnEventType)type, variant);
					g_test_message("%s x %s", nbh_conn_state_name((NbhConnState)state),
					               nbh_conn_event_name((NbhConnEventType)type));
					rig_step(&rig, &event);
					/* And from there down, with all given back. */
					rig_give(&rig, NBH_CONN_EV_STOP);
					g_assert_false(rig.agent_open || rig.slot_wanted);
				}
			}
		}
	}
}

static NbhConnEvent random_event(Rig *rig, GRand *rand)
{
	NbhConnEvent event;
	NbhConnTimer timer;
	nbh_mono at = nbh_conn_next_timer(&rig->conn, &timer);
	guint32 dice = g_rand_int_range(rand, 0, 100);
	NbhConnEventType type;

	/* Mostly what drives it on; START and STOP seldom, so that it gets somewhere. */
	if (dice < 25 && nbh_mono_before(at, NBH_MONO_NEVER)) {
		if (nbh_mono_before(rig->now, at))
			rig->now = at;
		event = (NbhConnEvent){ .type = NBH_CONN_EV_TIMER, .u.timer = timer };
	} else if (dice < 40) {
		event = (NbhConnEvent){ .type = rig->conn.state == NBH_CONN_DOWN ? NBH_CONN_EV_START : NBH_CONN_EV_SLOT };
		event = rig_event_of(rig, event.type, (guint)g_rand_int_range(rand, 0, 3));
	} else {
		type = (NbhConnEventType)g_rand_int_range(rand, 0, NBH_CONN_N_EVENTS);
		if (type == NBH_CONN_EV_STOP && g_rand_int_range(rand, 0, 8))
			type = NBH_CONN_EV_SELECTED;
		event = rig_event_of(rig, type, (guint)g_rand_int_range(rand, 0, (gint32)rig_variants_of(type)));
	}
	event.random = g_rand_int(rand);
	return event;
}

static void test_walks(void)
{
	guint visits[NBH_CONN_N_STATES] = { 0 };

	for (guint32 seed = 0; seed < WALK_SEEDS; seed++) {
		GRand *rand = g_rand_new_with_seed(seed);
		Rig rig;

		rig_init(&rig, seed & 1);
		rig_give_start(&rig, seed & 2);
		for (guint i = 0; i < WALK_STEPS; i++) {
			NbhConnEvent event = random_event(&rig, rand);

			if (event.type == NBH_CONN_EV_START)
				event.u.start.far_is_helper = seed & 2;
			rig_step(&rig, &event);
			visits[rig.conn.state]++;
			if (g_rand_int_range(rand, 0, 3) == 0)
				rig_pass(&rig, g_rand_int_range(rand, 0, 4000));
		}
		g_rand_free(rand);
	}

	for (guint i = 0; i < NBH_CONN_N_STATES; i++) {
		g_test_message("%s: %u", nbh_conn_state_name((NbhConnState)i), visits[i]);
		g_assert_cmpuint(visits[i], >, WALK_SEEDS * WALK_STEPS / 500);
	}
}

static void test_offer_times(void)
{
	static const gint64 first[] = { 0, 300, 500, 1200, 2000, 4000, 8000, 16000, 32000, 40000, 40000 };
	static const gint64 after_loss[] = { 800, 1600, 3200, 6400, 12800, 25600, 40000, 40000 };
	Rig rig;
	NbhSessionId session;

	rig_init(&rig, TRUE);
	{
		NbhConnEvent event = { .type = NBH_CONN_EV_START, .random = 10000, /* the cap: 30 + 10 s */
			               .u.start.far_is_lazy = TRUE };

		rig_step(&rig, &event);
	}
	session = rig.conn.local_session;
	for (gsize i = 0; i < G_N_ELEMENTS(first); i++) {
		g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_OFFER), ==, first[i]);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);
		g_assert_cmpmem(session.bytes, 5, rig.conn.local_session.bytes, 5);
	}

	rig_connect(&rig, TRUE, "far", 1);
	rig_give_selected(&rig, "203.0.113.7:51820");
	rig_fire(&rig, NBH_CONN_TIMER_PUBLISH);
	rig_give(&rig, NBH_CONN_EV_LOST);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_DEGRADED);
	g_assert_cmpint(rig.conn.path.kind, ==, NBH_PATH_DIRECT);
	g_assert_cmpint(memcmp(session.bytes, rig.conn.local_session.bytes, 5), !=, 0);
	session = rig.conn.local_session;
	/* The timer was armed in the step of LOST, whose random number was 0: 10 % early. */
	g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_OFFER), ==, 720);
	for (gsize i = 1; i < G_N_ELEMENTS(after_loss); i++) {
		g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_OFFER), ==, after_loss[i]);
		g_assert_cmpmem(session.bytes, 5, rig.conn.local_session.bytes, 5);
	}

	/* A network or signal change: at once, and the growth begins anew. */
	for (guint i = 0; i < 2; i++) {
		if (i == 0)
			rig_give_network(&rig, FALSE);
		else
			rig_give(&rig, NBH_CONN_EV_SIGNAL_UP);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);
		g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_OFFER), ==, 720);
		g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_OFFER), ==, 1600);
	}
}

/* Rules 3 and 9, both ways into an agent. */
static void test_official_candidate_timing(void)
{
	for (guint answered = 0; answered < 2; answered++) {
		Rig rig;

		rig_init(&rig, FALSE);
		rig_bring(&rig, NBH_CONN_SIGNALING, FALSE);
		rig_give_candidate(&rig, rig_candidate_of(NBH_CANDIDATE_SRFLX, "203.0.113.7:1", "far")); /* before its ANSWER */
		rig_give_message(&rig, answered ? NBH_CONN_EV_ANSWER : NBH_CONN_EV_OFFER, "far", 1);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_WANT_SLOT), ==, 1);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 0);
		rig_give(&rig, NBH_CONN_EV_SLOT);
		g_assert_cmpint(rig.out.items[0].type, ==, NBH_CONN_DO_ICE_OPEN);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_REMOTE), ==, 0);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, !answered);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, answered);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 0);
		if (!answered) {
			rig_pass(&rig, 5);
			rig_give_sent(&rig, NBH_CONN_SENT_ANSWER);
			g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
		}

		rig_pass(&rig, 5);
		rig_give_sent(&rig, NBH_CONN_SENT_CANDIDATES);
		g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_CANDIDATES), ==, 45);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
		rig_pass(&rig, 5);
		rig_give_sent(&rig, NBH_CONN_SENT_CANDIDATES); /* of the second set: the hold is not prolonged */
		g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_HOLD), ==, 50);
		g_assert_cmpint(rig.out.items[0].type, ==, NBH_CONN_DO_ICE_REMOTE);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 1);

		g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_CANDIDATES), ==, 895);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
		rig_fire(&rig, NBH_CONN_TIMER_ATTEMPT);
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_BACKOFF);
	}
}

/* Sends that never return do not stop the attempt. */
static void test_official_sends_hang(void)
{
	Rig rig;

	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_QUEUED, FALSE);
	rig_give(&rig, NBH_CONN_EV_SLOT);
	g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_CANDIDATES), ==, 1000);
	g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_CANDIDATES), ==, 50);
	g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_HOLD), ==, 450);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_REMOTE), ==, 1);
}

/* Of two ANSWERs under way, the Send of the second one counts. */
static void test_official_two_answers(void)
{
	Rig rig;

	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_QUEUED, FALSE);
	rig_give(&rig, NBH_CONN_EV_SLOT);
	rig_give_message(&rig, NBH_CONN_EV_OFFER, "other", 2);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);
	rig_give_sent(&rig, NBH_CONN_SENT_ANSWER);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 0);
	rig_give_sent(&rig, NBH_CONN_SENT_ANSWER);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
}

static void test_helper_timing(void)
{
	for (guint answered = 0; answered < 2; answered++) {
		Rig rig;

		rig_init(&rig, FALSE);
		rig_bring(&rig, NBH_CONN_SIGNALING, TRUE);
		rig_give_candidate(&rig, rig_candidate_of(NBH_CANDIDATE_HOST, "203.0.113.7:1", "far"));
		rig_give_candidate(&rig, rig_candidate_of(NBH_CANDIDATE_HOST, "203.0.113.8:1", "stranger"));
		rig_give_message(&rig, answered ? NBH_CONN_EV_ANSWER : NBH_CONN_EV_OFFER, "far", 1);
		rig_give(&rig, NBH_CONN_EV_SLOT);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_REMOTE), ==, 1);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 1);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, !answered);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);

		rig_give_candidate(&rig, rig_candidate_of(NBH_CANDIDATE_HOST, "203.0.113.9:1", ""));
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 1);
		rig_give_candidate(&rig, rig_candidate_of(NBH_CANDIDATE_HOST, "203.0.113.9:1", ""));
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 0);
		g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_CANDIDATES), ==, 1000);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
		rig_fire(&rig, NBH_CONN_TIMER_ATTEMPT);
	}
}

/* netbird-wire.md 4.3, seen from CHECKING and from UP. */
static void test_session_table(void)
{
	static const struct {
		NbhConnState state;
		NbhConnEventType type;
		guint8 session; /* the agent's is 1 */
		gboolean answered, reopened;
	} cases[] = {
		{ NBH_CONN_CHECKING, NBH_CONN_EV_OFFER, 1, TRUE, FALSE },
		{ NBH_CONN_CHECKING, NBH_CONN_EV_OFFER, 0, TRUE, FALSE },
		{ NBH_CONN_CHECKING, NBH_CONN_EV_OFFER, 2, TRUE, TRUE },
		{ NBH_CONN_CHECKING, NBH_CONN_EV_ANSWER, 1, FALSE, FALSE },
		{ NBH_CONN_CHECKING, NBH_CONN_EV_ANSWER, 0, FALSE, FALSE },
		{ NBH_CONN_CHECKING, NBH_CONN_EV_ANSWER, 2, FALSE, TRUE },
		{ NBH_CONN_UP, NBH_CONN_EV_OFFER, 1, TRUE, FALSE },
		{ NBH_CONN_UP, NBH_CONN_EV_OFFER, 0, TRUE, FALSE },
		{ NBH_CONN_UP, NBH_CONN_EV_OFFER, 2, TRUE, TRUE },
		{ NBH_CONN_UP, NBH_CONN_EV_ANSWER, 1, FALSE, FALSE },
		{ NBH_CONN_UP, NBH_CONN_EV_ANSWER, 2, FALSE, FALSE },
		{ NBH_CONN_BACKOFF, NBH_CONN_EV_OFFER, 1, TRUE, TRUE },
		{ NBH_CONN_BACKOFF, NBH_CONN_EV_OFFER, 2, TRUE, TRUE },
		{ NBH_CONN_BACKOFF, NBH_CONN_EV_ANSWER, 1, FALSE, TRUE },
		{ NBH_CONN_BACKOFF, NBH_CONN_EV_ANSWER, 2, FALSE, TRUE },
	};

	for (guint helper = 0; helper < 2; helper++) {
		for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
			Rig rig;
			NbhSessionId own;
			guint opened, answered;

			rig_init(&rig, TRUE);
			rig_bring(&rig, cases[i].state, helper);
			own = rig.conn.local_session;
			rig_give_message(&rig, cases[i].type, "far2", cases[i].session);
			opened = rig_count(&rig, NBH_CONN_DO_ICE_OPEN);
			answered = rig_count(&rig, NBH_CONN_DO_SEND_ANSWER);
			if (rig.conn.state == NBH_CONN_QUEUED) {
				g_assert_cmpuint(answered, ==, 0);
				rig_give(&rig, NBH_CONN_EV_SLOT);
				opened += rig_count(&rig, NBH_CONN_DO_ICE_OPEN);
				answered += rig_count(&rig, NBH_CONN_DO_SEND_ANSWER);
			}
			g_assert_cmpuint(opened, ==, cases[i].reopened);
			g_assert_cmpuint(answered, ==, cases[i].answered);
			/* An offer of ours may be under way: it must still say what the agent has. */
			g_assert_cmpmem(own.bytes, 5, rig.conn.local_session.bytes, 5);
			g_assert_cmpstr(rig.conn.remote.ufrag, ==, cases[i].reopened ? "far2" : "far");
			/* Whatever the peer does, the path that is there stays. */
			g_assert_cmpint(rig.conn.path.kind == NBH_PATH_DIRECT, ==, cases[i].state == NBH_CONN_UP);
		}
	}
}

static void test_rule_17(void)
{
	Rig rig;
	guint32 session;

	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_UP, FALSE);
	session = rig.conn.path.session;
	rig_pass(&rig, 4999 - 50); /* it was selected 50 ms before it was published */
	rig_give_message(&rig, NBH_CONN_EV_OFFER, "far", 1);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_OPEN), ==, 0);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);
	rig_give_sent(&rig, NBH_CONN_SENT_ANSWER);
	rig_pass(&rig, 2);
	rig_give_message(&rig, NBH_CONN_EV_OFFER, "far", 1);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CLOSE), ==, 1);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_OPEN), ==, 1);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);
	rig_give_sent(&rig, NBH_CONN_SENT_ANSWER);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
	rig_give_sent(&rig, NBH_CONN_SENT_CANDIDATES);
	rig_fire(&rig, NBH_CONN_TIMER_CANDIDATES);
	rig_fire(&rig, NBH_CONN_TIMER_HOLD);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_REMOTE), ==, 1);
	rig_give_selected(&rig, "203.0.113.7:51820");
	rig_fire(&rig, NBH_CONN_TIMER_PUBLISH);
	g_assert_cmpuint(rig_publish_session(&rig), ==, session + 1);

	/* Between helpers the agent alone: the path and the WireGuard session stay as they are. */
	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_UP, TRUE);
	session = rig.conn.path.session;
	rig_pass(&rig, 5001);
	rig_give_message(&rig, NBH_CONN_EV_OFFER, "far", 1);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_OPEN), ==, 1);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_REMOTE), ==, 1);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
	rig_give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpuint(rig.conn.path.session, ==, session);
}

static void test_rule_16(void)
{
	for (guint with_candidate = 0; with_candidate < 2; with_candidate++) {
		Rig rig;
		NbhIceCreds own;

		rig_init(&rig, FALSE);
		rig_bring(&rig, NBH_CONN_UP, FALSE);
		if (with_candidate)
			rig_give_candidate(&rig, rig_candidate_of(NBH_CANDIDATE_HOST, "203.0.113.5:5", "far"));
		own = rig.conn.local;
		rig_give(&rig, NBH_CONN_EV_ICE_GONE);
		g_assert_cmpuint(rig.out.n, ==, 3); /* and no message */
		g_assert_cmpint(rig.out.items[0].type, ==, NBH_CONN_DO_ICE_OPEN);
		g_assert_cmpint(rig.out.items[1].type, ==, NBH_CONN_DO_ICE_REMOTE);
		g_assert_cmpint(rig.out.items[2].type, ==, NBH_CONN_DO_ICE_CANDIDATE);
		g_assert_cmpuint(rig.out.items[2].u.candidate.endpoint.port, ==, with_candidate ? 5 : 51820);
		g_assert_cmpstr(own.pwd, ==, rig.conn.local.pwd);

		rig_give(&rig, NBH_CONN_EV_FAILED); /* 7.1 s later, because nobody nominates again */
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
		g_assert_cmpuint(rig.out.n, ==, 0);
		rig_give_selected(&rig, "203.0.113.7:51820");
		g_assert_cmpuint(rig.out.n, ==, 0);
	}
}

static void test_peer_without_ice(void)
{
	for (guint state = NBH_CONN_IDLE; state < NBH_CONN_N_STATES; state++) {
		Rig rig;
		gboolean had_path;

		rig_init(&rig, TRUE);
		rig_bring(&rig, (NbhConnState)state, FALSE);
		had_path = rig.conn.path.kind == NBH_PATH_DIRECT;
		rig_give_message(&rig, NBH_CONN_EV_OFFER, NULL, 0);
		g_assert_cmpint(rig.conn.state, ==, had_path ? NBH_CONN_DEGRADED : NBH_CONN_SIGNALING);
		g_assert_cmpstr(rig.conn.why_not_direct, ==, "the peer does not do ICE");
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 0);
		rig_connect(&rig, FALSE, "far", 5);
		rig_give_selected(&rig, "203.0.113.7:51820");
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
	}
}

static void adopt(Rig *rig, gboolean selected)
{
	NbhConnEvent event = rig_event_of(rig, NBH_CONN_EV_ADOPT, selected);

	rig_step(rig, &event);
}

static void test_restart(void)
{
	static const NbhConnActionType messages[] = {
		NBH_CONN_DO_SEND_OFFER, NBH_CONN_DO_SEND_ANSWER, NBH_CONN_DO_SEND_CANDIDATES,
	};
	Rig rig;
	NbhConnEvent start = { .type = NBH_CONN_EV_START, .u.start.far_is_lazy = TRUE };

	start.u.start.endpoint = rig_endpoint_of("203.0.113.7:51820");
	start.u.start.session = 12;

	for (guint selected = 0; selected < 2; selected++) {
		rig_init(&rig, TRUE);
		rig_step(&rig, &start);
		for (gsize i = 0; i < G_N_ELEMENTS(messages); i++)
			g_assert_cmpuint(rig_count(&rig, messages[i]), ==, 0);
		g_assert_cmpuint(rig_publish_session(&rig), ==, 12);
		adopt(&rig, selected);
		for (gsize i = 0; i < G_N_ELEMENTS(messages); i++)
			g_assert_cmpuint(rig_count(&rig, messages[i]), ==, 0);
		g_assert_cmpint(rig.conn.state, ==, selected ? NBH_CONN_UP : NBH_CONN_CHECKING);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_PUBLISH), ==, 0);
		g_assert_cmpstr(rig.conn.local.ufrag, ==, "old");
		g_assert_cmpuint(rig.conn.local_session.bytes[0], ==, 77);
		rig_fire(&rig, selected ? NBH_CONN_TIMER_HANDSHAKE : NBH_CONN_TIMER_ATTEMPT);
	}

	/* Too late: our OFFER has ended that session. */
	rig_init(&rig, TRUE);
	rig_step(&rig, &start);
	rig_fire(&rig, NBH_CONN_TIMER_OFFER);
	adopt(&rig, TRUE);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CLOSE), ==, 1);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_SIGNALING);

	/* Asleep before the restart: an official peer is left asleep, a helper is not. */
	for (guint helper = 0; helper < 2; helper++) {
		rig_init(&rig, TRUE);
		start.u.start.endpoint = rig_endpoint_of("127.1.0.3:40000");
		start.u.start.far_is_helper = helper;
		rig_step(&rig, &start);
		g_assert_cmpint(rig.conn.state, ==, helper ? NBH_CONN_SIGNALING : NBH_CONN_IDLE);
		g_assert_cmpint(rig_find(&rig, NBH_CONN_DO_PUBLISH)->u.path.kind, ==, NBH_PATH_IDLE);
	}
}

/* Whoever may still send to us is told that we go; nobody else, and not when it is the peer that goes. */
static void test_leaving(void)
{
	for (guint state = NBH_CONN_IDLE; state < NBH_CONN_N_STATES; state++) {
		for (guint is_leaving = 0; is_leaving < 2; is_leaving++) {
			NbhConnEvent event = { .type = NBH_CONN_EV_STOP, .u.is_leaving = (gboolean)is_leaving };
			gboolean had_path = state == NBH_CONN_UP || state == NBH_CONN_DEGRADED;
			Rig rig;

			rig_init(&rig, TRUE);
			rig_bring(&rig, (NbhConnState)state, TRUE);
			rig_step(&rig, &event);
			g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_GO_IDLE), ==, had_path && is_leaving);
		}
	}
}

static void test_slots(void)
{
	Rig rig;

	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_QUEUED, TRUE);

	/* The latest message counts, and an OFFER stays owed an ANSWER. */
	rig_give_message(&rig, NBH_CONN_EV_OFFER, "second", 2);
	rig_give_message(&rig, NBH_CONN_EV_ANSWER, "third", 3);
	g_assert_cmpuint(rig.out.n, ==, 0);
	rig_pass(&rig, 5000);
	rig_give(&rig, NBH_CONN_EV_SLOT);
	g_assert_cmpstr(rig.conn.remote.ufrag, ==, "third");
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);

	/* A new session while checking keeps the slot; the end of checking gives it back. */
	rig_give_message(&rig, NBH_CONN_EV_OFFER, "fourth", 4);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_CHECKING);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_WANT_SLOT) + rig_count(&rig, NBH_CONN_DO_RELEASE_SLOT), ==, 0);
	rig_give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_RELEASE_SLOT), ==, 1);

	/* An ANSWER that waited long is confirmed by an OFFER of the same session. */
	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_SIGNALING, TRUE);
	rig_give_message(&rig, NBH_CONN_EV_ANSWER, "far", 1);
	rig_pass(&rig, 1001);
	rig_give(&rig, NBH_CONN_EV_SLOT);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);

	/* The wish is struck out. */
	rig_bring(&rig, NBH_CONN_DOWN, TRUE);
	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_QUEUED, TRUE);
	rig_give(&rig, NBH_CONN_EV_STOP);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_RELEASE_SLOT), ==, 1);
	rig_give(&rig, NBH_CONN_EV_SLOT);
	g_assert_cmpuint(rig.out.n, ==, 0);
}

static void test_candidates(void)
{
	Rig rig;
	NbhCandidate candidate = rig_candidate_of(NBH_CANDIDATE_SRFLX, "203.0.113.7:40112", "far");

	/* The kept port of a NetBird peer, once; none without a cid, or where it is the same. */
	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_CHECKING, TRUE);
	candidate.related = rig_endpoint_of("192.0.2.9:51820");
	rig_give_candidate(&rig, candidate);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 1);
	candidate.endpoint.port = 40113;
	candidate.has_cid = TRUE;
	rig_give_candidate(&rig, candidate);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 2);
	g_assert_cmpuint(rig.out.items[1].u.candidate.endpoint.port, ==, 51820);
	candidate.endpoint.port = 51820;
	rig_give_candidate(&rig, candidate);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 0);

	/* One of the next session comes before its OFFER, one address of it known already. */
	rig_give_candidate(&rig, rig_candidate_of(NBH_CANDIDATE_SRFLX, "203.0.113.7:40113", "next"));
	rig_give_candidate(&rig, rig_candidate_of(NBH_CANDIDATE_HOST, "10.0.0.9:51820", "next"));
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 0);
	rig_give_message(&rig, NBH_CONN_EV_OFFER, "next", 2);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 2);

	/* Ten thousand: an agent gets 25, and no step overflows. */
	for (guint i = 0; i < 10000; i++) {
		candidate = rig_candidate_of(NBH_CANDIDATE_SRFLX, "198.51.100.1:1", i % 3 ? "next" : "later");
		candidate.endpoint.port = (guint16)(1 + i);
		candidate.priority = i + 1;
		candidate.has_cid = TRUE;
		candidate.related = rig_endpoint_of("192.0.2.9:51820");
		rig_give_candidate(&rig, candidate);
	}
	g_assert_cmpuint(rig.conn.candidates.n, ==, NBH_CANDIDATES_PER_PEER_MAX);
	rig_give(&rig, NBH_CONN_EV_ICE_GONE);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), <=, NBH_CANDIDATES_PER_PEER_MAX);
	rig_give_message(&rig, NBH_CONN_EV_OFFER, "later", 3);
}

/* What is left of an old session makes room for the new one's. */
static void test_candidates_of_old_session(void)
{
	Rig rig;
	NbhCandidate candidate = rig_candidate_of(NBH_CANDIDATE_SRFLX, "198.51.100.1:1", "far");

	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_CHECKING, TRUE);
	for (guint i = 0; i < NBH_CANDIDATES_PER_PEER_MAX; i++) {
		candidate.endpoint.port = (guint16)(1 + i);
		rig_give_candidate(&rig, candidate);
	}
	rig_give_message(&rig, NBH_CONN_EV_OFFER, "next", 2);
	g_assert_cmpuint(rig.conn.candidates.n, ==, 0);
	rig_give_candidate(&rig, rig_candidate_of(NBH_CANDIDATE_HOST, "10.0.0.9:51820", "next"));
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 1);
}

/* The peer offers again, because our ANSWER was lost: what followed that ANSWER was lost on it, too. */
static void test_candidates_again_with_answer(void)
{
	for (guint helper = 0; helper < 2; helper++) {
		Rig rig;

		rig_init(&rig, TRUE);
		rig_bring(&rig, NBH_CONN_CHECKING, helper);
		rig_give_message(&rig, NBH_CONN_EV_OFFER, "far", 1);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);
		if (!helper)
			rig_give_sent(&rig, NBH_CONN_SENT_ANSWER);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
	}
}

static void test_backoff_revives(void)
{
	Rig rig;

	rig_init(&rig, FALSE);
	rig_bring(&rig, NBH_CONN_BACKOFF, FALSE);
	g_assert_true(rig.agent_open);
	rig_fire(&rig, NBH_CONN_TIMER_OFFER);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_BACKOFF);
	rig_give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
}

/* The peer answers in the same session and nothing comes of it: the third time it is another one. */
static void test_backoff_moves_on(void)
{
	for (guint helper = 0; helper < 2; helper++) {
		Rig rig;
		NbhSessionId own;

		rig_init(&rig, FALSE);
		rig_bring(&rig, NBH_CONN_BACKOFF, helper);
		own = rig.conn.local_session;
		rig_fire(&rig, NBH_CONN_TIMER_OFFER);
		rig_connect(&rig, TRUE, "far", 1);
		rig_give(&rig, NBH_CONN_EV_FAILED);
		g_assert_cmpmem(own.bytes, 5, rig.conn.local_session.bytes, 5);
		rig_fire(&rig, NBH_CONN_TIMER_OFFER);
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_SIGNALING);
		g_assert_cmpint(memcmp(own.bytes, rig.conn.local_session.bytes, 5), !=, 0);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CLOSE), ==, 1);
	}
}

static void test_names(void)
{
	for (guint i = 0; i <= NBH_CONN_N_STATES; i++)
		g_assert_cmpint(strcmp(nbh_conn_state_name((NbhConnState)i), "?") == 0, ==, i == NBH_CONN_N_STATES);
	for (guint i = 0; i <= NBH_CONN_N_EVENTS; i++)
		g_assert_cmpint(strcmp(nbh_conn_event_name((NbhConnEventType)i), "?") == 0, ==, i == NBH_CONN_N_EVENTS);
	for (guint i = 0; i <= NBH_CONN_N_ACTIONS; i++)
		g_assert_cmpint(strcmp(nbh_conn_action_name((NbhConnActionType)i), "?") == 0, ==, i == NBH_CONN_N_ACTIONS);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/conn/names", test_names);
	g_test_add_func("/core/conn/every-pair", test_every_pair);
	g_test_add_func("/core/conn/walks", test_walks);
	g_test_add_func("/core/conn/offer-times", test_offer_times);
	g_test_add_func("/core/conn/official-candidate-timing", test_official_candidate_timing);
	g_test_add_func("/core/conn/official-sends-hang", test_official_sends_hang);
	g_test_add_func("/core/conn/official-two-answers", test_official_two_answers);
	g_test_add_func("/core/conn/helper-timing", test_helper_timing);
	g_test_add_func("/core/conn/session-table", test_session_table);
	g_test_add_func("/core/conn/rule-16", test_rule_16);
	g_test_add_func("/core/conn/rule-17", test_rule_17);
	g_test_add_func("/core/conn/peer-without-ice", test_peer_without_ice);
	g_test_add_func("/core/conn/restart", test_restart);
	g_test_add_func("/core/conn/leaving", test_leaving);
	g_test_add_func("/core/conn/slots", test_slots);
	g_test_add_func("/core/conn/candidates", test_candidates);
	g_test_add_func("/core/conn/candidates-of-old-session", test_candidates_of_old_session);
	g_test_add_func("/core/conn/candidates-again", test_candidates_again_with_answer);
	g_test_add_func("/core/conn/backoff-revives", test_backoff_revives);
	g_test_add_func("/core/conn/backoff-moves-on", test_backoff_moves_on);
	return g_test_run();
}
