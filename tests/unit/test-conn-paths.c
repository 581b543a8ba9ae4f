/* The connection machine alone: when WireGuard gets which endpoint, and when a new session; sleeping and waking. */
#include "config.h"

#include "tests/lib/connrig.h"

#include <string.h>

/* Table: far end, role, what happened before -> when it is published, and whether anew. */
static void test_publish(void)
{
	enum { FIRST, INHERITED, AGAIN, ASLEEP, WOKEN, CAPTURED };
	static const struct {
		gboolean helper, controlling;
		guint before;
		gboolean delayed, renewed, forwarded;
	} cases[] = {
		{ TRUE, TRUE, FIRST, FALSE, TRUE, FALSE },
		{ TRUE, FALSE, FIRST, TRUE, FALSE, FALSE },
		{ TRUE, FALSE, ASLEEP, TRUE, FALSE, FALSE },
		{ TRUE, FALSE, WOKEN, TRUE, FALSE, FALSE },
		{ TRUE, FALSE, AGAIN, FALSE, FALSE, FALSE },
		{ TRUE, FALSE, INHERITED, FALSE, FALSE, FALSE },
		{ TRUE, FALSE, CAPTURED, TRUE, FALSE, TRUE },
		{ TRUE, TRUE, ASLEEP, FALSE, FALSE, FALSE },
		{ TRUE, TRUE, WOKEN, FALSE, FALSE, FALSE },
		{ TRUE, TRUE, CAPTURED, FALSE, FALSE, TRUE },
		{ FALSE, TRUE, FIRST, TRUE, TRUE, FALSE },
		{ FALSE, TRUE, INHERITED, TRUE, TRUE, FALSE },
		{ FALSE, TRUE, AGAIN, TRUE, TRUE, FALSE },
		{ FALSE, TRUE, ASLEEP, TRUE, TRUE, FALSE },
		{ FALSE, TRUE, WOKEN, TRUE, TRUE, FALSE },
		{ FALSE, TRUE, CAPTURED, FALSE, FALSE, TRUE },
		{ FALSE, FALSE, FIRST, TRUE, TRUE, FALSE },
		{ FALSE, FALSE, INHERITED, TRUE, TRUE, FALSE },
		{ FALSE, FALSE, AGAIN, TRUE, TRUE, FALSE },
		{ FALSE, FALSE, ASLEEP, TRUE, TRUE, FALSE },
		{ FALSE, FALSE, WOKEN, TRUE, TRUE, FALSE },
		{ FALSE, FALSE, CAPTURED, FALSE, FALSE, FALSE },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		Rig rig;
		NbhConnEvent start = { .type = NBH_CONN_EV_START, .u.start.far_is_lazy = TRUE };
		guint32 session;

		rig_init(&rig, cases[i].controlling);
		start.u.start.far_is_helper = cases[i].helper;
		start.u.start.session = 40;
		if (cases[i].before == INHERITED)
			start.u.start.endpoint = rig_endpoint_of("203.0.113.9:9");
		rig_step(&rig, &start);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_PUBLISH), ==, cases[i].before == INHERITED);
		rig_connect(&rig, FALSE, "far", 1);
		if (cases[i].before == AGAIN) {
			rig_give_selected(&rig, "203.0.113.9:9");
			if (nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_PUBLISH], NBH_MONO_NEVER))
				rig_fire(&rig, NBH_CONN_TIMER_PUBLISH);
			rig_give_network(&rig, TRUE);
			rig_connect(&rig, FALSE, "far", 1);
		} else if (cases[i].before >= ASLEEP) {
			rig_give_selected(&rig, "203.0.113.9:9");
			rig_give(&rig, NBH_CONN_EV_GO_IDLE);
			if (cases[i].before != ASLEEP)
				rig_give_wake(&rig, cases[i].before == CAPTURED);
			rig_connect(&rig, FALSE, "far2", 9);
		}

		session = rig.conn.path.session;
		rig_pass(&rig, 30);
		rig_give_selected(&rig, "203.0.113.7:51820");
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_PUBLISH), ==, !cases[i].delayed);
		if (cases[i].delayed)
			g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_PUBLISH), ==,
			                cases[i].helper ? 250 : cases[i].controlling ? 50 : 100);
		g_assert_cmpuint(rig_publish_session(&rig), ==, session + cases[i].renewed);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_FORWARD), ==, cases[i].forwarded);

		/* A better pair later: its endpoint, nothing else; the same once more: nothing at all. */
		rig_give_selected(&rig, "203.0.113.7:51821");
		g_assert_cmpuint(rig_publish_session(&rig), ==, session + cases[i].renewed);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_FORWARD), ==, 0);
		rig_give_selected(&rig, "203.0.113.7:51821");
		g_assert_cmpuint(rig.out.n, ==, 0);
	}
}

/* Woken and controlled: the far end begins, and the captured initiation must not cross with its one. */
static void test_handshake_before_forward(void)
{
	Rig rig;
	NbhConnEvent start = { .type = NBH_CONN_EV_START, .u.start.far_is_helper = TRUE };

	rig_init(&rig, FALSE);
	rig_step(&rig, &start);
	rig_connect(&rig, FALSE, "far", 1);
	rig_give_selected(&rig, "203.0.113.9:9");
	rig_give(&rig, NBH_CONN_EV_GO_IDLE);
	rig_give_wake(&rig, TRUE);
	rig_connect(&rig, FALSE, "far2", 9);
	rig_give_selected(&rig, "203.0.113.7:51820");
	g_assert_null(rig_find(&rig, NBH_CONN_DO_FORWARD));
	rig_pass(&rig, 5);
	rig_give_handshake(&rig, rig.now);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_PUBLISH), ==, 1);
	g_assert_null(rig_find(&rig, NBH_CONN_DO_FORWARD));
	g_assert_false(nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_PUBLISH], NBH_MONO_NEVER));
}

/* Without lazy connections the peer is not in the far WireGuard before its ICE has connected. */
static void test_publish_not_lazy(void)
{
	NbhConnEvent start = { .type = NBH_CONN_EV_START, .u.start.far_is_lazy = FALSE };
	Rig rig;

	rig_init(&rig, TRUE);
	rig_step(&rig, &start);
	rig_connect(&rig, FALSE, "far", 1);
	rig_give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_PUBLISH), ==, 150);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_PUBLISH), ==, 1);
}

/* Two crossing initiations cost 5 s: an official peer is tried anew after 600 ms, once. */
static void test_renewed_without_handshake(void)
{
	for (guint i = 0; i < 6; i++) {
		gboolean controlling = i & 1, far_is_helper = i >= 4, has_handshake = i >= 2;
		guint32 session;
		Rig rig;

		rig_init(&rig, controlling);
		rig_bring(&rig, NBH_CONN_CHECKING, far_is_helper);
		rig_give_selected(&rig, "203.0.113.7:51820");
		if (nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_PUBLISH], NBH_MONO_NEVER))
			rig_fire(&rig, NBH_CONN_TIMER_PUBLISH);
		session = rig.conn.path.session;
		if (has_handshake) {
			rig_pass(&rig, 100);
			rig_give_handshake(&rig, rig.now);
		} else {
			g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_RENEW), ==, 600);
			g_assert_cmpuint(rig_publish_session(&rig), ==, session + 1);
		}
		g_assert_false(nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_RENEW], NBH_MONO_NEVER));
	}
}

static void test_late_traffic_is_captured(void)
{
	Rig rig;

	/* The peer woke us; our own traffic met its loopback endpoint while we were checking. */
	rig_init(&rig, FALSE);
	rig_bring(&rig, NBH_CONN_IDLE, FALSE);
	rig_connect(&rig, FALSE, "far", 1);
	rig_give_wake(&rig, TRUE);
	rig_give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_PUBLISH), ==, 1);
	/* It controls and begins itself. */
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_FORWARD), ==, 0);
}

/* The controlled helper lets the other one begin: two initiations that cross cost 5 s. */
static void test_helper_waits_for_handshake(void)
{
	Rig rig;

	rig_init(&rig, FALSE);
	rig_bring(&rig, NBH_CONN_CHECKING, TRUE);
	rig_give_selected(&rig, "203.0.113.7:1");
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_PUBLISH), ==, 0);
	rig_pass(&rig, 20);
	rig_give_handshake(&rig, nbh_mono_add_ms(rig.now, -5));
	g_assert_cmpuint(rig_publish_session(&rig), ==, 0);
	g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 209995);
}

static void test_pair_before_publish(void)
{
	Rig rig;

	rig_init(&rig, FALSE);
	rig_bring(&rig, NBH_CONN_CHECKING, FALSE);
	rig_give_selected(&rig, "203.0.113.7:1");
	rig_give_selected(&rig, "203.0.113.7:2");
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_PUBLISH), ==, 0);
	rig_fire(&rig, NBH_CONN_TIMER_PUBLISH);
	g_assert_cmpuint(rig_find(&rig, NBH_CONN_DO_PUBLISH)->u.path.endpoint.port, ==, 2);
}

static void test_go_idle_and_wake(void)
{
	for (guint controlling = 0; controlling < 2; controlling++) {
		Rig rig;
		NbhIceCreds own;
		guint32 session;

		rig_init(&rig, controlling);
		rig_bring(&rig, NBH_CONN_UP, FALSE);
		session = rig.conn.path.session;
		own = rig.conn.local;
		rig_give(&rig, NBH_CONN_EV_GO_IDLE);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_ICE_CLOSE), ==, 1);
		g_assert_cmpint(rig_find(&rig, NBH_CONN_DO_PUBLISH)->u.path.kind, ==, NBH_PATH_IDLE);
		g_assert_cmpuint(rig_find(&rig, NBH_CONN_DO_PUBLISH)->u.path.session, ==, session + 1);
		g_assert_cmpstr(own.ufrag, !=, rig.conn.local.ufrag);

		/* Silent, whatever happens around. */
		rig_give(&rig, NBH_CONN_EV_SIGNAL_UP);
		g_assert_cmpuint(rig.out.n, ==, 0);
		rig_give_network(&rig, TRUE);
		g_assert_cmpuint(rig.out.n, ==, 0);
		rig_give(&rig, NBH_CONN_EV_GO_IDLE);
		g_assert_cmpuint(rig.out.n, ==, 0);

		rig_give_wake(&rig, TRUE);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);
		rig_connect(&rig, FALSE, "far3", 8); /* a sleeper answers with an OFFER: rule 8 */
		rig_give_selected(&rig, "203.0.113.7:51820");
		g_assert_cmpuint(rig_publish_session(&rig), ==, session + 1);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_FORWARD), ==, controlling);
		if (!controlling) {
			rig_give_handshake(&rig, rig.now); /* it began */
			g_assert_false(nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_RENEW], NBH_MONO_NEVER));
		}
	}
}

/*
 * The official peer that we wake controls: what was captured goes out when the peer is heard, whichever
 * comes first, and the session that it makes is renewed before the peer gives it up (rule 17).
 */
static void test_forwarded_when_heard(void)
{
	for (guint i = 0; i < 4; i++) {
		gboolean captured_late = i & 1, handshake_first = i & 2;
		nbh_mono published;
		guint32 session;
		Rig rig;

		rig_init(&rig, FALSE);
		rig_bring(&rig, NBH_CONN_IDLE, FALSE);
		session = rig.conn.path.session;
		rig_give_wake(&rig, !captured_late);
		rig_connect(&rig, FALSE, "far", 1);
		rig_give_heard(&rig, "203.0.113.7:40000");
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_FORWARD), ==, !captured_late);
		if (captured_late)
			rig_give_wake(&rig, TRUE);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_FORWARD), ==, 1);
		rig_give_heard(&rig, "203.0.113.7:40000");
		g_assert_cmpuint(rig.out.n, ==, 0);

		rig_pass(&rig, 5);
		if (handshake_first)
			rig_give_handshake(&rig, rig.now);
		rig_pass(&rig, 500);
		rig_give_selected(&rig, "203.0.113.7:51820");
		published = rig.now;
		g_assert_cmpuint(rig_publish_session(&rig), ==, session);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_FORWARD), ==, 0);
		rig_pass(&rig, 200);
		if (!handshake_first)
			rig_give_handshake(&rig, nbh_mono_add_ms(published, -500));
		rig_fire(&rig, NBH_CONN_TIMER_RENEW);
		g_assert_cmpint(nbh_mono_diff_ms(rig.now, published), ==, 20000);
		g_assert_cmpuint(rig_publish_session(&rig), ==, session + 1);
		rig_pass(&rig, 100);
		rig_give_handshake(&rig, rig.now);
		g_assert_false(nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_RENEW], NBH_MONO_NEVER));
	}
}

/* It came to nothing: the next wake begins anew. */
static void test_forwarded_in_vain(void)
{
	guint32 session;
	Rig rig;

	rig_init(&rig, FALSE);
	rig_bring(&rig, NBH_CONN_IDLE, FALSE);
	session = rig.conn.path.session;
	rig_give_wake(&rig, TRUE);
	rig_connect(&rig, FALSE, "far", 1);
	rig_give_heard(&rig, "203.0.113.7:40000");
	rig_give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_RENEW), ==, 600);
	g_assert_cmpuint(rig_publish_session(&rig), ==, session + 1);
	g_assert_false(nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_RENEW], NBH_MONO_NEVER));

	rig_give(&rig, NBH_CONN_EV_GO_IDLE);
	rig_give_wake(&rig, FALSE);
	rig_connect(&rig, FALSE, "far2", 2);
	rig_give_heard(&rig, "203.0.113.7:40000");
	g_assert_cmpuint(rig.out.n, ==, 0);
}

/* Who begins the handshake by itself at selection, or has a helper that does, has no use for it. */
static void test_heard_elsewhere(void)
{
	for (guint i = 0; i < 2; i++) {
		Rig rig;

		rig_init(&rig, i == 0);
		rig_bring(&rig, NBH_CONN_IDLE, i == 1);
		rig_give_wake(&rig, TRUE);
		rig_connect(&rig, FALSE, "far", 1);
		rig_give_heard(&rig, "203.0.113.7:40000");
		g_assert_cmpuint(rig.out.n, ==, 0);
		rig_give_selected(&rig, "203.0.113.7:51820");
		if (i == 1)
			g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_PUBLISH), ==, 250);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_FORWARD), ==, 1);
	}
}

/* Nothing is answered any more: between helpers the path is lost, and what WireGuard has stays. */
static void test_silent(void)
{
	for (guint far_is_helper = 0; far_is_helper < 2; far_is_helper++) {
		NbhPath path;
		Rig rig;

		rig_init(&rig, TRUE);
		rig_bring(&rig, NBH_CONN_UP, far_is_helper);
		path = rig.conn.path;
		rig_give(&rig, NBH_CONN_EV_SILENT);
		g_assert_cmpint(rig.conn.state, ==, far_is_helper ? NBH_CONN_DEGRADED : NBH_CONN_UP);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_OFFER), ==, far_is_helper);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_PUBLISH), ==, 0);
		if (!far_is_helper)
			continue;

		rig_give(&rig, NBH_CONN_EV_SILENT);
		g_assert_cmpuint(rig.out.n, ==, 0);
		rig_connect(&rig, TRUE, "far", 2);
		rig_give_selected(&rig, "198.51.100.9:4500");
		g_assert_cmpuint(rig_publish_session(&rig), ==, path.session);
		g_assert_cmpuint(rig.conn.path.endpoint.port, ==, 4500);
	}
}

static void test_wakes_by_message(void)
{
	static const NbhConnEventType types[] = {
		NBH_CONN_EV_OFFER, NBH_CONN_EV_ANSWER, NBH_CONN_EV_CANDIDATE, NBH_CONN_EV_OTHER_MESSAGE,
	};

	for (gsize i = 0; i < G_N_ELEMENTS(types); i++) {
		Rig rig;
		NbhConnEvent event;

		rig_init(&rig, TRUE);
		rig_bring(&rig, NBH_CONN_IDLE, FALSE);
		event = rig_event_of(&rig, types[i], 0);
		rig_step(&rig, &event);
		g_assert_cmpint(rig.conn.state, ==,
		                types[i] == NBH_CONN_EV_OFFER ? NBH_CONN_QUEUED : NBH_CONN_SIGNALING);
		g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_OFFER), ==, types[i] != NBH_CONN_EV_OFFER);
		g_assert_false(rig.conn.woken_here);
	}
}

static void test_handshakes(void)
{
	for (guint helper = 0; helper < 2; helper++) {
		Rig rig;
		NbhIceCreds own;

		/* None at all for 30 s; one of the WireGuard session that was given up does not count. */
		rig_init(&rig, FALSE);
		rig_bring(&rig, NBH_CONN_UP, helper);
		own = rig.conn.local;
		if (!helper)
			rig_give_handshake(&rig, nbh_mono_add_ms(rig.now, -500));
		g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 30000);
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_DEGRADED);
		g_assert_cmpstr(rig.out.reason, ==, "NO_HANDSHAKE");
		g_assert_cmpstr(own.ufrag, !=, rig.conn.local.ufrag);

		/* Then one every two minutes, then no more. */
		rig_init(&rig, TRUE);
		rig_bring(&rig, NBH_CONN_UP, helper);
		for (guint i = 0; i < 3; i++) {
			rig_pass(&rig, i ? 120000 : 50);
			rig_give_handshake(&rig, rig.now);
			g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
		}
		g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 210000);
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_DEGRADED);
		g_assert_cmpstr(rig.out.reason, ==, "HANDSHAKE_STALE");
	}
}

/* Nor does one of which only the report comes late, because we were restarted. */
static void test_late_report(void)
{
	Rig rig;

	rig_init(&rig, FALSE);
	rig_bring(&rig, NBH_CONN_UP, TRUE);
	rig_pass(&rig, 100);
	rig_give_handshake(&rig, nbh_mono_add_ms(rig.now, -60000));
	g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 150000);

	rig_init(&rig, FALSE);
	rig_bring(&rig, NBH_CONN_UP, TRUE);
	rig_pass(&rig, 100);
	rig_give_handshake(&rig, nbh_mono_add_ms(rig.now, -205000));
	g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 29900);
}

/* The far helper, who had a path, began while we were still checking. */
static void test_early_handshake(void)
{
	Rig rig;

	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_CHECKING, TRUE);
	rig_give_handshake(&rig, rig.now);
	rig_give_selected(&rig, "203.0.113.7:1");
	g_assert_cmpint(rig_fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 210000);
}

/* A WireGuard session that lives through an ICE restart between helpers owes no handshake in 30 s. */
static void test_helper_keeps_session(void)
{
	Rig rig;

	rig_init(&rig, TRUE);
	rig_bring(&rig, NBH_CONN_UP, TRUE);
	rig_give_handshake(&rig, rig.now);
	rig_pass(&rig, 20000);
	rig_give_network(&rig, TRUE);
	g_assert_cmpuint(rig_count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);
	rig_connect(&rig, TRUE, "far", 2);
	rig_give_selected(&rig, "203.0.113.7:51820");
	rig_fire(&rig, NBH_CONN_TIMER_HANDSHAKE);
	g_assert_cmpint(nbh_mono_diff_ms(rig.now, rig.conn.handshake_at), ==, 210000);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/conn/publish", test_publish);
	g_test_add_func("/core/conn/handshake-before-forward", test_handshake_before_forward);
	g_test_add_func("/core/conn/publish-not-lazy", test_publish_not_lazy);
	g_test_add_func("/core/conn/renewed", test_renewed_without_handshake);
	g_test_add_func("/core/conn/late-traffic", test_late_traffic_is_captured);
	g_test_add_func("/core/conn/helper-waits", test_helper_waits_for_handshake);
	g_test_add_func("/core/conn/pair-before-publish", test_pair_before_publish);
	g_test_add_func("/core/conn/go-idle", test_go_idle_and_wake);
	g_test_add_func("/core/conn/forwarded-when-heard", test_forwarded_when_heard);
	g_test_add_func("/core/conn/forwarded-in-vain", test_forwarded_in_vain);
	g_test_add_func("/core/conn/heard-elsewhere", test_heard_elsewhere);
	g_test_add_func("/core/conn/silent", test_silent);
	g_test_add_func("/core/conn/wakes-by-message", test_wakes_by_message);
	g_test_add_func("/core/conn/handshakes", test_handshakes);
	g_test_add_func("/core/conn/early-handshake", test_early_handshake);
	g_test_add_func("/core/conn/late-report", test_late_report);
	g_test_add_func("/core/conn/helper-keeps-session", test_helper_keeps_session);
	return g_test_run();
}
