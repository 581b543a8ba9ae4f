/*
 * The connection machine alone: every state x event, seeded walks with invariants, and the rules
 * one by one. Two machines against each other are in tests/scenario/test-conn-pair.c.
 */
#include "config.h"

#include "core/conn.h"

#include <string.h>

#define WALK_STEPS 10000
#define WALK_SEEDS 24

/* What a caller sees of the actions alone; checked against the machine's own fields. */
typedef struct {
	NbhConn conn;
	nbh_mono now;
	guint32 serial; /* of sessions and credentials handed in */
	gboolean agent_open, slot_wanted, inherited, is_wanted;
	guint32 session;
	nbh_mono timers[NBH_CONN_N_TIMERS];
	NbhConnActions out; /* of the last step */
} Rig;

static struct nbh_endpoint endpoint_of(const char *text)
{
	struct nbh_endpoint endpoint = { 0 };

	g_assert_cmpint(nbh_endpoint_parse(text, &endpoint), ==, 0);
	return endpoint;
}

static NbhSessionId sid(guint8 n)
{
	return (NbhSessionId){ .present = n != 0, .bytes = { n, n, n, n, n } };
}

static NbhIceCreds creds(const char *ufrag)
{
	NbhIceCreds creds;

	g_snprintf(creds.ufrag, sizeof(creds.ufrag), "%s", ufrag);
	g_snprintf(creds.pwd, sizeof(creds.pwd), "pwd-%s", ufrag);
	return creds;
}

static void rig_init(Rig *rig, gboolean controlling)
{
	/* 0xfb.. is "+..." as text and so the lesser one, although the greater key. */
	const struct nbh_key low = { { 0xfb, 0xff } }, high = { { 0x10 } };

	memset(rig, 0, sizeof(*rig));
	rig->now = (nbh_mono){ 1000000000 };
	nbh_conn_init(&rig->conn, controlling ? &high : &low, controlling ? &low : &high, rig->now);
	g_assert_cmpint(rig->conn.controlling, ==, controlling);
	for (guint i = 0; i < NBH_CONN_N_TIMERS; i++)
		rig->timers[i] = NBH_MONO_NEVER;
}

static guint count(const Rig *rig, NbhConnActionType type)
{
	guint n = 0;

	for (gsize i = 0; i < rig->out.n; i++)
		n += rig->out.items[i].type == type;
	return n;
}

static const NbhConnAction *find(const Rig *rig, NbhConnActionType type)
{
	for (gsize i = 0; i < rig->out.n; i++) {
		if (rig->out.items[i].type == type)
			return &rig->out.items[i];
	}
	return NULL;
}

static void check_publish(Rig *rig, const NbhPath *path, const NbhConnEvent *event, const NbhConn *before)
{
	g_assert_cmpuint(path->session, >=, rig->session);
	if (before->far_is_helper && before->path.kind != NBH_PATH_NONE && event->type != NBH_CONN_EV_GO_IDLE &&
	    event->type != NBH_CONN_EV_START)
		g_assert_cmpuint(path->session, ==, rig->session);
	rig->session = path->session;

	g_assert_cmpint(path->kind, !=, NBH_PATH_NONE);
	if (path->kind == NBH_PATH_DIRECT) {
		g_assert_true(rig->conn.has_pair || rig->inherited);
		g_assert_true(nbh_endpoint_is_set(&path->endpoint));
		g_assert_false(nbh_addr_is_loopback(&path->endpoint.addr));
		g_assert_cmpuint(path->keepalive_s, ==, 25);
	} else {
		g_assert_false(nbh_endpoint_is_set(&path->endpoint));
		g_assert_cmpuint(path->keepalive_s, ==, 0); /* rule 5 */
	}
}

static void check_action(Rig *rig, const NbhConnAction *action, const NbhConnEvent *event, const NbhConn *before)
{
	switch (action->type) {
	case NBH_CONN_DO_SEND_OFFER:
	case NBH_CONN_DO_SEND_ANSWER:
		g_assert_true(rig->conn.local_session.present);
		g_assert_true(rig->conn.local.ufrag[0] && rig->conn.local.pwd[0]);
		break;
	case NBH_CONN_DO_SEND_CANDIDATES:
		g_assert_true(rig->agent_open);
		break;
	case NBH_CONN_DO_SEND_GO_IDLE:
		g_assert_not_reached();
		break;
	case NBH_CONN_DO_WANT_SLOT:
		g_assert_false(rig->slot_wanted);
		rig->slot_wanted = TRUE;
		break;
	case NBH_CONN_DO_RELEASE_SLOT:
		g_assert_true(rig->slot_wanted);
		rig->slot_wanted = FALSE;
		break;
	case NBH_CONN_DO_ICE_OPEN:
		g_assert_false(rig->agent_open);
		rig->agent_open = TRUE;
		break;
	case NBH_CONN_DO_ICE_REMOTE:
		g_assert_true(rig->agent_open);
		g_assert_cmpstr(rig->conn.remote.ufrag, !=, "");
		break;
	case NBH_CONN_DO_ICE_CANDIDATE:
		g_assert_true(rig->agent_open);
		if (action->u.candidate.ufrag[0])
			g_assert_cmpstr(action->u.candidate.ufrag, ==, rig->conn.remote.ufrag);
		break;
	case NBH_CONN_DO_ICE_CLOSE:
		g_assert_true(rig->agent_open);
		rig->agent_open = FALSE;
		break;
	case NBH_CONN_DO_PUBLISH:
		check_publish(rig, &action->u.path, event, before);
		break;
	case NBH_CONN_DO_FORWARD:
		/* Only what was captured, and never into a WireGuard peer made anew. */
		g_assert_true(before->has_initiation || event->type == NBH_CONN_EV_WAKE);
		g_assert_cmpuint(rig->conn.path.session, ==, before->path.session);
		if (!find(rig, NBH_CONN_DO_PUBLISH)) { /* early, to a peer that would begin itself */
			g_assert_true(nbh_endpoint_equal(&action->u.endpoint, &rig->conn.heard));
			g_assert_true(rig->agent_open && !rig->conn.controlling && !rig->conn.far_is_helper);
			break;
		}
		g_assert_true(action > find(rig, NBH_CONN_DO_PUBLISH)); /* behind the endpoint */
		g_assert_true(nbh_endpoint_equal(&action->u.endpoint, &rig->conn.path.endpoint));
		break;
	case NBH_CONN_DO_ARM:
		g_assert_false(nbh_mono_before(action->u.arm.at, rig->now) && event->type != NBH_CONN_EV_HANDSHAKE);
		rig->timers[action->u.arm.timer] = action->u.arm.at;
		break;
	case NBH_CONN_DO_DISARM:
		rig->timers[action->u.arm.timer] = NBH_MONO_NEVER;
		break;
	case NBH_CONN_N_ACTIONS:
		g_assert_not_reached();
	}
}

static void check_invariants(const Rig *rig)
{
	const NbhConn *conn = &rig->conn;
	gboolean is_armed[NBH_CONN_N_TIMERS];
	NbhConnState state = conn->state;
	gboolean with_agent = state == NBH_CONN_CHECKING || state == NBH_CONN_UP || state == NBH_CONN_BACKOFF;

	for (guint i = 0; i < NBH_CONN_N_TIMERS; i++) {
		g_assert_cmpint(conn->timers[i].usec, ==, rig->timers[i].usec);
		is_armed[i] = nbh_mono_before(conn->timers[i], NBH_MONO_NEVER);
	}

	g_assert_cmpint(rig->agent_open, ==, with_agent);
	g_assert_cmpint(conn->agent_open, ==, with_agent);
	g_assert_true(!conn->remote_set || conn->agent_open);
	g_assert_cmpint(rig->slot_wanted, ==, conn->wants_slot || conn->has_slot);
	g_assert_cmpint(rig->is_wanted, ==, state != NBH_CONN_DOWN);
	g_assert_cmpuint(conn->candidates.n, <=, NBH_CANDIDATES_PER_PEER_MAX);
	g_assert_true((conn->why_not_direct == NULL) == (state == NBH_CONN_UP));
	if (conn->far_is_helper)
		g_assert_false(is_armed[NBH_CONN_TIMER_HOLD]);

	/* Nobody is stuck: in each state a timer runs, or the caller owes an event. */
	switch (state) {
	case NBH_CONN_DOWN:
	case NBH_CONN_IDLE:
		for (guint i = 0; i < NBH_CONN_N_TIMERS; i++)
			g_assert_false(is_armed[i]);
		g_assert_false(rig->slot_wanted);
		break;
	case NBH_CONN_QUEUED:
		g_assert_true(conn->wants_slot);
		break;
	case NBH_CONN_SIGNALING:
	case NBH_CONN_DEGRADED:
	case NBH_CONN_BACKOFF:
		g_assert_true(is_armed[NBH_CONN_TIMER_OFFER]);
		g_assert_false(rig->slot_wanted);
		g_assert_cmpint(state == NBH_CONN_DEGRADED && conn->path.kind != NBH_PATH_DIRECT, ==, FALSE);
		break;
	case NBH_CONN_CHECKING:
		g_assert_true(is_armed[NBH_CONN_TIMER_ATTEMPT]);
		break;
	case NBH_CONN_UP:
		g_assert_true(is_armed[NBH_CONN_TIMER_PUBLISH] || is_armed[NBH_CONN_TIMER_HANDSHAKE]);
		g_assert_true(conn->path.kind == NBH_PATH_DIRECT || is_armed[NBH_CONN_TIMER_PUBLISH]);
		g_assert_true(conn->has_pair);
		break;
	case NBH_CONN_N_STATES:
		g_assert_not_reached();
	}
}

static void step(Rig *rig, NbhConnEvent *event)
{
	NbhConn before = rig->conn, again = rig->conn;
	NbhConnActions out_again;

	rig->serial++;
	event->new_session = sid((guint8)(rig->serial % 250 + 1));
	g_snprintf(event->new_creds.ufrag, sizeof(event->new_creds.ufrag), "own%u", rig->serial);
	g_snprintf(event->new_creds.pwd, sizeof(event->new_creds.pwd), "pwd-own%u", rig->serial);

	/* What the caller knows happened to the agent before the machine hears of it. */
	if (event->type == NBH_CONN_EV_ICE_GONE)
		rig->agent_open = FALSE;
	if (event->type == NBH_CONN_EV_ADOPT) {
		gboolean is_other = strcmp(event->u.adopt.local.ufrag, before.local.ufrag) != 0 ||
		                    strcmp(event->u.adopt.remote.ufrag, before.remote.ufrag) != 0;

		rig->agent_open = !(before.agent_open && is_other); /* ours then opens over it */
	}
	if (event->type == NBH_CONN_EV_START && !rig->is_wanted)
		rig->inherited = nbh_endpoint_is_set(&event->u.start.endpoint);
	if (event->type == NBH_CONN_EV_START && !rig->is_wanted)
		rig->session = MAX(rig->session, event->u.start.session);
	if (event->type == NBH_CONN_EV_START)
		rig->is_wanted = TRUE;
	if (event->type == NBH_CONN_EV_STOP)
		rig->is_wanted = FALSE;
	if (event->type == NBH_CONN_EV_TIMER && !nbh_mono_before(rig->now, rig->timers[event->u.timer]))
		rig->timers[event->u.timer] = NBH_MONO_NEVER;

	nbh_conn_step(&rig->conn, event, rig->now, &rig->out);
	nbh_conn_step(&again, event, rig->now, &out_again);

	g_assert_cmpuint(rig->out.n, <, NBH_CONN_ACTIONS_MAX);
	g_assert_cmpuint(rig->out.n, ==, out_again.n); /* pure */
	g_assert_cmpint(again.state, ==, rig->conn.state);
	g_assert_false(rig->out.illegal);
	g_assert_cmpint(rig->out.from, ==, before.state);
	g_assert_cmpint(rig->out.to, ==, rig->conn.state);
	g_assert_cmpint(rig->out.changed, ==, before.state != rig->conn.state);
	g_assert_true(nbh_conn_may_go(rig->out.from, rig->out.to));
	if (rig->out.changed)
		g_assert_true(rig->out.reason[0] != '\0');

	for (gsize i = 0; i < rig->out.n; i++)
		check_action(rig, &rig->out.items[i], event, &before);
	check_invariants(rig);
	g_assert_cmpuint(rig->conn.path.session, >=, before.path.session);
}

static void give(Rig *rig, NbhConnEventType type)
{
	NbhConnEvent event = { .type = type };

	step(rig, &event);
}

static void give_start(Rig *rig, gboolean far_is_helper)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_START, .u.start.far_is_lazy = TRUE };

	event.u.start.far_is_helper = far_is_helper;
	step(rig, &event);
}

static void give_message(Rig *rig, NbhConnEventType type, const char *ufrag, guint8 session)
{
	NbhConnEvent event = { .type = type };

	event.u.offer.has_ice = ufrag != NULL;
	if (ufrag)
		event.u.offer.creds = creds(ufrag);
	event.u.offer.session = sid(session);
	step(rig, &event);
}

static NbhCandidate candidate_of(NbhCandidateType type, const char *endpoint, const char *ufrag)
{
	NbhCandidate candidate = { .type = type, .foundation = "f", .priority = 1000 };

	candidate.endpoint = endpoint_of(endpoint);
	g_snprintf(candidate.ufrag, sizeof(candidate.ufrag), "%s", ufrag);
	return candidate;
}

static void give_candidate(Rig *rig, NbhCandidate candidate)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_CANDIDATE };

	event.u.candidate = candidate;
	step(rig, &event);
}

static void give_sent(Rig *rig, NbhConnSent what)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_SENT };

	event.u.sent.what = what;
	event.u.sent.ok = TRUE;
	step(rig, &event);
}

static void give_selected(Rig *rig, const char *remote)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_SELECTED };

	event.u.pair.local_type = NBH_CANDIDATE_PRFLX;
	event.u.pair.local = endpoint_of("192.0.2.1:51820");
	event.u.pair.remote = endpoint_of(remote);
	step(rig, &event);
}

static void give_heard(Rig *rig, const char *from)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_HEARD };

	event.u.heard = endpoint_of(from);
	step(rig, &event);
}

static void give_wake(Rig *rig, gboolean has_initiation)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_WAKE };

	event.u.has_initiation = has_initiation;
	step(rig, &event);
}

static void give_handshake(Rig *rig, nbh_mono at)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_HANDSHAKE };

	event.u.handshake_at = at;
	step(rig, &event);
}

static void give_network(Rig *rig, gboolean path_changed)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_NETWORK };

	event.u.path_changed = path_changed;
	step(rig, &event);
}

static void pass(Rig *rig, gint64 ms)
{
	rig->now = nbh_mono_add_ms(rig->now, ms);
}

/* Goes to the earliest timer and gives it; returns how long that took. */
static gint64 fire(Rig *rig, NbhConnTimer expected)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_TIMER };
	nbh_mono at = nbh_conn_next_timer(&rig->conn, &event.u.timer);
	gint64 waited_ms;

	g_assert_true(nbh_mono_before(at, NBH_MONO_NEVER));
	g_assert_cmpint(event.u.timer, ==, expected);
	waited_ms = nbh_mono_diff_ms(at, rig->now);
	rig->now = at;
	event.random = 0x80000000u; /* no jitter */
	step(rig, &event);
	return waited_ms;
}

/* Up to a selection; `answered`: the peer answered our offer, else it offered. */
static void connect_rig(Rig *rig, gboolean answered, const char *ufrag, guint8 session)
{
	give_message(rig, answered ? NBH_CONN_EV_ANSWER : NBH_CONN_EV_OFFER, ufrag, session);
	give(rig, NBH_CONN_EV_SLOT);
	if (rig->conn.far_is_helper)
		return;
	if (!answered)
		give_sent(rig, NBH_CONN_SENT_ANSWER);
	give_sent(rig, NBH_CONN_SENT_CANDIDATES);
	if (rig->conn.woken_here)
		g_assert_cmpint(fire(rig, NBH_CONN_TIMER_HOLD), ==, 0);
	fire(rig, NBH_CONN_TIMER_CANDIDATES);
	if (!rig->conn.remote_set)
		fire(rig, NBH_CONN_TIMER_HOLD);
}

static void bring(Rig *rig, NbhConnState state, gboolean far_is_helper)
{
	if (state == NBH_CONN_DOWN)
		return;
	give_start(rig, far_is_helper);
	fire(rig, NBH_CONN_TIMER_OFFER);
	if (state == NBH_CONN_SIGNALING)
		return;
	if (state == NBH_CONN_IDLE) {
		give(rig, NBH_CONN_EV_GO_IDLE);
		return;
	}
	if (state == NBH_CONN_QUEUED) {
		give_message(rig, NBH_CONN_EV_OFFER, "far", 1);
		return;
	}

	connect_rig(rig, TRUE, "far", 1);
	if (state == NBH_CONN_CHECKING)
		return;
	if (state == NBH_CONN_BACKOFF) {
		give(rig, NBH_CONN_EV_FAILED);
		return;
	}
	give_selected(rig, "203.0.113.7:51820");
	if (nbh_mono_before(rig->conn.timers[NBH_CONN_TIMER_PUBLISH], NBH_MONO_NEVER))
		fire(rig, NBH_CONN_TIMER_PUBLISH);
	/* test_renewed_without_handshake() is about it. */
	rig->conn.timers[NBH_CONN_TIMER_RENEW] = rig->timers[NBH_CONN_TIMER_RENEW] = NBH_MONO_NEVER;
	if (state == NBH_CONN_DEGRADED)
		give_network(rig, TRUE);
}

/* All that can be told apart in one type of event. */
static guint variants_of(NbhConnEventType type)
{
	if (type == NBH_CONN_EV_OFFER || type == NBH_CONN_EV_ANSWER)
		return 4;
	if (type == NBH_CONN_EV_TIMER)
		return NBH_CONN_N_TIMERS;
	if (type == NBH_CONN_EV_START || type == NBH_CONN_EV_ADOPT || type == NBH_CONN_EV_CANDIDATE || type == NBH_CONN_EV_SENT)
		return 3;
	return 2;
}

static NbhConnEvent event_of(const Rig *rig, NbhConnEventType type, guint variant)
{
	NbhConnEvent event = { .type = type, .random = rig->serial * 2654435761u };
	static const char *const frags[] = { "far", "far", "other", "far" };
	static const guint8 sessions[] = { 1, 0, 2, 3 };
	static const char *const remotes[] = { "203.0.113.7:51820", "198.51.100.9:4500" };

	switch (type) {
	case NBH_CONN_EV_START:
		event.u.start.far_is_helper = rig->conn.far_is_helper;
		event.u.start.session = variant * 7;
		if (variant > 0)
			event.u.start.endpoint = endpoint_of(variant == 1 ? "203.0.113.99:1" : "127.1.0.1:5");
		break;
	case NBH_CONN_EV_ADOPT:
		event.u.adopt.local = variant == 2 ? rig->conn.local : creds("old");
		event.u.adopt.remote = creds("far");
		event.u.adopt.local_session = sid(77);
		event.u.adopt.remote_session = sid(1);
		event.u.adopt.selected = variant > 0;
		event.u.adopt.pair.remote = endpoint_of("203.0.113.7:51820");
		break;
	case NBH_CONN_EV_OFFER:
	case NBH_CONN_EV_ANSWER:
		event.u.offer.has_ice = TRUE;
		event.u.offer.creds = creds(frags[variant]);
		event.u.offer.session = sid(sessions[variant]);
		if (variant == 3 && rig->serial % 2)
			event.u.offer.has_ice = FALSE;
		break;
	case NBH_CONN_EV_CANDIDATE:
		event.u.candidate = candidate_of(variant ? NBH_CANDIDATE_SRFLX : NBH_CANDIDATE_HOST,
		                                 "198.51.100.2:1000", variant == 2 ? "other" : "far");
		event.u.candidate.endpoint.port = (guint16)(1000 + rig->serial % 60);
		event.u.candidate.priority = 1 + rig->serial % 1000;
		event.u.candidate.has_cid = variant == 1;
		event.u.candidate.related = endpoint_of("192.0.2.1:51820");
		break;
	case NBH_CONN_EV_SENT:
		event.u.sent.what = (NbhConnSent)variant;
		event.u.sent.ok = rig->serial % 3 != 0;
		break;
	case NBH_CONN_EV_HEARD:
		event.u.heard = endpoint_of(remotes[variant]);
		break;
	case NBH_CONN_EV_SELECTED:
		event.u.pair.remote = endpoint_of(remotes[variant]);
		break;
	case NBH_CONN_EV_HANDSHAKE:
		event.u.handshake_at = variant ? nbh_mono_add_ms(rig->now, -60000) : rig->now;
		break;
	case NBH_CONN_EV_WAKE:
		event.u.has_initiation = variant == 1;
		break;
	case NBH_CONN_EV_NETWORK:
		event.u.path_changed = variant == 1;
		break;
	case NBH_CONN_EV_TIMER:
		event.u.timer = (NbhConnTimer)variant;
		break;
	case NBH_CONN_EV_STOP:
	case NBH_CONN_EV_SLOT:
	case NBH_CONN_EV_GO_IDLE:
	case NBH_CONN_EV_OTHER_MESSAGE:
	case NBH_CONN_EV_FAILED:
	case NBH_CONN_EV_LOST:
	case NBH_CONN_EV_SILENT:
	case NBH_CONN_EV_ICE_GONE:
	case NBH_CONN_EV_SIGNAL_UP:
	case NBH_CONN_N_EVENTS:
		break;
	}
	return event;
}

static void test_every_pair(void)
{
	for (guint kind = 0; kind < 4; kind++) {
		for (guint state = 0; state < NBH_CONN_N_STATES; state++) {
			for (guint type = 0; type < NBH_CONN_N_EVENTS; type++) {
				for (guint variant = 0; variant < variants_of((NbhConnEventType)type); variant++) {
					Rig rig;
					NbhConnEvent event;

					rig_init(&rig, kind & 1);
					bring(&rig, (NbhConnState)state, kind & 2);
					g_assert_cmpint(rig.conn.state, ==, state);
					pass(&rig, 10);
					event = event_of(&rig, (NbhConnEventType)type, variant);
					g_test_message("%s x %s", nbh_conn_state_name((NbhConnState)state),
					               nbh_conn_event_name((NbhConnEventType)type));
					step(&rig, &event);
					/* And from there down, with all given back. */
					give(&rig, NBH_CONN_EV_STOP);
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
		event = event_of(rig, event.type, (guint)g_rand_int_range(rand, 0, 3));
	} else {
		type = (NbhConnEventType)g_rand_int_range(rand, 0, NBH_CONN_N_EVENTS);
		if (type == NBH_CONN_EV_STOP && g_rand_int_range(rand, 0, 8))
			type = NBH_CONN_EV_SELECTED;
		event = event_of(rig, type, (guint)g_rand_int_range(rand, 0, (gint32)variants_of(type)));
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
		give_start(&rig, seed & 2);
		for (guint i = 0; i < WALK_STEPS; i++) {
			NbhConnEvent event = random_event(&rig, rand);

			if (event.type == NBH_CONN_EV_START)
				event.u.start.far_is_helper = seed & 2;
			step(&rig, &event);
			visits[rig.conn.state]++;
			if (g_rand_int_range(rand, 0, 3) == 0)
				pass(&rig, g_rand_int_range(rand, 0, 4000));
		}
		g_rand_free(rand);
	}

	for (guint i = 0; i < NBH_CONN_N_STATES; i++) {
		g_test_message("%s: %u", nbh_conn_state_name((NbhConnState)i), visits[i]);
		g_assert_cmpuint(visits[i], >, WALK_SEEDS * WALK_STEPS / 500);
	}
}

/* ---- the rules ---- */

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

		step(&rig, &event);
	}
	session = rig.conn.local_session;
	for (gsize i = 0; i < G_N_ELEMENTS(first); i++) {
		g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_OFFER), ==, first[i]);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);
		g_assert_cmpmem(session.bytes, 5, rig.conn.local_session.bytes, 5);
	}

	connect_rig(&rig, TRUE, "far", 1);
	give_selected(&rig, "203.0.113.7:51820");
	fire(&rig, NBH_CONN_TIMER_PUBLISH);
	give(&rig, NBH_CONN_EV_LOST);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_DEGRADED);
	g_assert_cmpint(rig.conn.path.kind, ==, NBH_PATH_DIRECT);
	g_assert_cmpint(memcmp(session.bytes, rig.conn.local_session.bytes, 5), !=, 0);
	session = rig.conn.local_session;
	/* The timer was armed in the step of LOST, whose random number was 0: 10 % early. */
	g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_OFFER), ==, 720);
	for (gsize i = 1; i < G_N_ELEMENTS(after_loss); i++) {
		g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_OFFER), ==, after_loss[i]);
		g_assert_cmpmem(session.bytes, 5, rig.conn.local_session.bytes, 5);
	}

	/* A network or signal change: at once, and the growth begins anew. */
	for (guint i = 0; i < 2; i++) {
		if (i == 0)
			give_network(&rig, FALSE);
		else
			give(&rig, NBH_CONN_EV_SIGNAL_UP);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);
		g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_OFFER), ==, 720);
		g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_OFFER), ==, 1600);
	}
}

/* Rules 3 and 9, both ways into an agent. */
static void test_official_candidate_timing(void)
{
	for (guint answered = 0; answered < 2; answered++) {
		Rig rig;

		rig_init(&rig, FALSE);
		bring(&rig, NBH_CONN_SIGNALING, FALSE);
		give_candidate(&rig, candidate_of(NBH_CANDIDATE_SRFLX, "203.0.113.7:1", "far")); /* before its ANSWER */
		give_message(&rig, answered ? NBH_CONN_EV_ANSWER : NBH_CONN_EV_OFFER, "far", 1);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_WANT_SLOT), ==, 1);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 0);
		give(&rig, NBH_CONN_EV_SLOT);
		g_assert_cmpint(rig.out.items[0].type, ==, NBH_CONN_DO_ICE_OPEN);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_REMOTE), ==, 0);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, !answered);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, answered);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 0);
		if (!answered) {
			pass(&rig, 5);
			give_sent(&rig, NBH_CONN_SENT_ANSWER);
			g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
		}

		pass(&rig, 5);
		give_sent(&rig, NBH_CONN_SENT_CANDIDATES);
		g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_CANDIDATES), ==, 45);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
		pass(&rig, 5);
		give_sent(&rig, NBH_CONN_SENT_CANDIDATES); /* of the second set: the hold is not prolonged */
		g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_HOLD), ==, 50);
		g_assert_cmpint(rig.out.items[0].type, ==, NBH_CONN_DO_ICE_REMOTE);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 1);

		g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_CANDIDATES), ==, 895);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
		fire(&rig, NBH_CONN_TIMER_ATTEMPT);
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_BACKOFF);
	}
}

/* Sends that never return do not stop the attempt. */
static void test_official_sends_hang(void)
{
	Rig rig;

	rig_init(&rig, TRUE);
	bring(&rig, NBH_CONN_QUEUED, FALSE);
	give(&rig, NBH_CONN_EV_SLOT);
	g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_CANDIDATES), ==, 1000);
	g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_CANDIDATES), ==, 50);
	g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_HOLD), ==, 450);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_REMOTE), ==, 1);
}

/* Of two ANSWERs under way, the Send of the second one counts. */
static void test_official_two_answers(void)
{
	Rig rig;

	rig_init(&rig, TRUE);
	bring(&rig, NBH_CONN_QUEUED, FALSE);
	give(&rig, NBH_CONN_EV_SLOT);
	give_message(&rig, NBH_CONN_EV_OFFER, "other", 2);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);
	give_sent(&rig, NBH_CONN_SENT_ANSWER);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 0);
	give_sent(&rig, NBH_CONN_SENT_ANSWER);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
}

static void test_helper_timing(void)
{
	for (guint answered = 0; answered < 2; answered++) {
		Rig rig;

		rig_init(&rig, FALSE);
		bring(&rig, NBH_CONN_SIGNALING, TRUE);
		give_candidate(&rig, candidate_of(NBH_CANDIDATE_HOST, "203.0.113.7:1", "far"));
		give_candidate(&rig, candidate_of(NBH_CANDIDATE_HOST, "203.0.113.8:1", "stranger"));
		give_message(&rig, answered ? NBH_CONN_EV_ANSWER : NBH_CONN_EV_OFFER, "far", 1);
		give(&rig, NBH_CONN_EV_SLOT);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_REMOTE), ==, 1);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 1);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, !answered);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);

		give_candidate(&rig, candidate_of(NBH_CANDIDATE_HOST, "203.0.113.9:1", ""));
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 1);
		give_candidate(&rig, candidate_of(NBH_CANDIDATE_HOST, "203.0.113.9:1", ""));
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 0);
		g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_CANDIDATES), ==, 1000);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
		fire(&rig, NBH_CONN_TIMER_ATTEMPT);
	}
}

static guint32 publish_session(const Rig *rig)
{
	const NbhConnAction *action = find(rig, NBH_CONN_DO_PUBLISH);

	g_assert_nonnull(action);
	g_assert_cmpint(action->u.path.kind, ==, NBH_PATH_DIRECT);
	return action->u.path.session;
}

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
		{ TRUE, FALSE, WOKEN, FALSE, FALSE, FALSE },
		{ TRUE, FALSE, AGAIN, FALSE, FALSE, FALSE },
		{ TRUE, FALSE, INHERITED, FALSE, FALSE, FALSE },
		{ TRUE, FALSE, CAPTURED, FALSE, FALSE, TRUE },
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
			start.u.start.endpoint = endpoint_of("203.0.113.9:9");
		step(&rig, &start);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_PUBLISH), ==, cases[i].before == INHERITED);
		connect_rig(&rig, FALSE, "far", 1);
		if (cases[i].before == AGAIN) {
			give_selected(&rig, "203.0.113.9:9");
			if (nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_PUBLISH], NBH_MONO_NEVER))
				fire(&rig, NBH_CONN_TIMER_PUBLISH);
			give_network(&rig, TRUE);
			connect_rig(&rig, FALSE, "far", 1);
		} else if (cases[i].before >= ASLEEP) {
			give_selected(&rig, "203.0.113.9:9");
			give(&rig, NBH_CONN_EV_GO_IDLE);
			if (cases[i].before != ASLEEP)
				give_wake(&rig, cases[i].before == CAPTURED);
			connect_rig(&rig, FALSE, "far2", 9);
		}

		session = rig.conn.path.session;
		pass(&rig, 30);
		give_selected(&rig, "203.0.113.7:51820");
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_PUBLISH), ==, !cases[i].delayed);
		if (cases[i].delayed)
			g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_PUBLISH), ==,
			                cases[i].helper ? 250 : cases[i].controlling ? 50 : 100);
		g_assert_cmpuint(publish_session(&rig), ==, session + cases[i].renewed);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_FORWARD), ==, cases[i].forwarded);

		/* A better pair later: its endpoint, nothing else; the same once more: nothing at all. */
		give_selected(&rig, "203.0.113.7:51821");
		g_assert_cmpuint(publish_session(&rig), ==, session + cases[i].renewed);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_FORWARD), ==, 0);
		give_selected(&rig, "203.0.113.7:51821");
		g_assert_cmpuint(rig.out.n, ==, 0);
	}
}

/* Without lazy connections the peer is not in the far WireGuard before its ICE has connected. */
static void test_publish_not_lazy(void)
{
	NbhConnEvent start = { .type = NBH_CONN_EV_START, .u.start.far_is_lazy = FALSE };
	Rig rig;

	rig_init(&rig, TRUE);
	step(&rig, &start);
	connect_rig(&rig, FALSE, "far", 1);
	give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_PUBLISH), ==, 150);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_PUBLISH), ==, 1);
}

/* Two crossing initiations cost 5 s: an official peer is tried anew after 600 ms, once. */
static void test_renewed_without_handshake(void)
{
	for (guint i = 0; i < 6; i++) {
		gboolean controlling = i & 1, far_is_helper = i >= 4, has_handshake = i >= 2;
		guint32 session;
		Rig rig;

		rig_init(&rig, controlling);
		bring(&rig, NBH_CONN_CHECKING, far_is_helper);
		give_selected(&rig, "203.0.113.7:51820");
		if (nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_PUBLISH], NBH_MONO_NEVER))
			fire(&rig, NBH_CONN_TIMER_PUBLISH);
		session = rig.conn.path.session;
		if (has_handshake) {
			pass(&rig, 100);
			give_handshake(&rig, rig.now);
		} else {
			g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_RENEW), ==, 600);
			g_assert_cmpuint(publish_session(&rig), ==, session + 1);
		}
		g_assert_false(nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_RENEW], NBH_MONO_NEVER));
	}
}

static void test_late_traffic_is_captured(void)
{
	Rig rig;

	/* The peer woke us; our own traffic met its loopback endpoint while we were checking. */
	rig_init(&rig, FALSE);
	bring(&rig, NBH_CONN_IDLE, FALSE);
	connect_rig(&rig, FALSE, "far", 1);
	give_wake(&rig, TRUE);
	give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_PUBLISH), ==, 1);
	/* It controls and begins itself. */
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_FORWARD), ==, 0);
}

/* The controlled helper lets the other one begin: two initiations that cross cost 5 s. */
static void test_helper_waits_for_handshake(void)
{
	Rig rig;

	rig_init(&rig, FALSE);
	bring(&rig, NBH_CONN_CHECKING, TRUE);
	give_selected(&rig, "203.0.113.7:1");
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_PUBLISH), ==, 0);
	pass(&rig, 20);
	give_handshake(&rig, nbh_mono_add_ms(rig.now, -5));
	g_assert_cmpuint(publish_session(&rig), ==, 0);
	g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 209995);
}

static void test_pair_before_publish(void)
{
	Rig rig;

	rig_init(&rig, FALSE);
	bring(&rig, NBH_CONN_CHECKING, FALSE);
	give_selected(&rig, "203.0.113.7:1");
	give_selected(&rig, "203.0.113.7:2");
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_PUBLISH), ==, 0);
	fire(&rig, NBH_CONN_TIMER_PUBLISH);
	g_assert_cmpuint(find(&rig, NBH_CONN_DO_PUBLISH)->u.path.endpoint.port, ==, 2);
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
			bring(&rig, cases[i].state, helper);
			own = rig.conn.local_session;
			give_message(&rig, cases[i].type, "far2", cases[i].session);
			opened = count(&rig, NBH_CONN_DO_ICE_OPEN);
			answered = count(&rig, NBH_CONN_DO_SEND_ANSWER);
			if (rig.conn.state == NBH_CONN_QUEUED) {
				g_assert_cmpuint(answered, ==, 0);
				give(&rig, NBH_CONN_EV_SLOT);
				opened += count(&rig, NBH_CONN_DO_ICE_OPEN);
				answered += count(&rig, NBH_CONN_DO_SEND_ANSWER);
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
	bring(&rig, NBH_CONN_UP, FALSE);
	session = rig.conn.path.session;
	pass(&rig, 4999 - 50); /* it was selected 50 ms before it was published */
	give_message(&rig, NBH_CONN_EV_OFFER, "far", 1);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_OPEN), ==, 0);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);
	give_sent(&rig, NBH_CONN_SENT_ANSWER);
	pass(&rig, 2);
	give_message(&rig, NBH_CONN_EV_OFFER, "far", 1);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CLOSE), ==, 1);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_OPEN), ==, 1);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);
	give_sent(&rig, NBH_CONN_SENT_ANSWER);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
	give_sent(&rig, NBH_CONN_SENT_CANDIDATES);
	fire(&rig, NBH_CONN_TIMER_CANDIDATES);
	fire(&rig, NBH_CONN_TIMER_HOLD);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_REMOTE), ==, 1);
	give_selected(&rig, "203.0.113.7:51820");
	fire(&rig, NBH_CONN_TIMER_PUBLISH);
	g_assert_cmpuint(publish_session(&rig), ==, session + 1);

	/* Between helpers the agent alone: the path and the WireGuard session stay as they are. */
	rig_init(&rig, TRUE);
	bring(&rig, NBH_CONN_UP, TRUE);
	session = rig.conn.path.session;
	pass(&rig, 5001);
	give_message(&rig, NBH_CONN_EV_OFFER, "far", 1);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_OPEN), ==, 1);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_REMOTE), ==, 1);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
	give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpuint(rig.conn.path.session, ==, session);
}

static void test_rule_16(void)
{
	for (guint with_candidate = 0; with_candidate < 2; with_candidate++) {
		Rig rig;
		NbhIceCreds own;

		rig_init(&rig, FALSE);
		bring(&rig, NBH_CONN_UP, FALSE);
		if (with_candidate)
			give_candidate(&rig, candidate_of(NBH_CANDIDATE_HOST, "203.0.113.5:5", "far"));
		own = rig.conn.local;
		give(&rig, NBH_CONN_EV_ICE_GONE);
		g_assert_cmpuint(rig.out.n, ==, 3); /* and no message */
		g_assert_cmpint(rig.out.items[0].type, ==, NBH_CONN_DO_ICE_OPEN);
		g_assert_cmpint(rig.out.items[1].type, ==, NBH_CONN_DO_ICE_REMOTE);
		g_assert_cmpint(rig.out.items[2].type, ==, NBH_CONN_DO_ICE_CANDIDATE);
		g_assert_cmpuint(rig.out.items[2].u.candidate.endpoint.port, ==, with_candidate ? 5 : 51820);
		g_assert_cmpstr(own.pwd, ==, rig.conn.local.pwd);

		give(&rig, NBH_CONN_EV_FAILED); /* 7.1 s later, because nobody nominates again */
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
		g_assert_cmpuint(rig.out.n, ==, 0);
		give_selected(&rig, "203.0.113.7:51820");
		g_assert_cmpuint(rig.out.n, ==, 0);
	}
}

static void test_go_idle_and_wake(void)
{
	for (guint controlling = 0; controlling < 2; controlling++) {
		Rig rig;
		NbhIceCreds own;
		guint32 session;

		rig_init(&rig, controlling);
		bring(&rig, NBH_CONN_UP, FALSE);
		session = rig.conn.path.session;
		own = rig.conn.local;
		give(&rig, NBH_CONN_EV_GO_IDLE);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CLOSE), ==, 1);
		g_assert_cmpint(find(&rig, NBH_CONN_DO_PUBLISH)->u.path.kind, ==, NBH_PATH_IDLE);
		g_assert_cmpuint(find(&rig, NBH_CONN_DO_PUBLISH)->u.path.session, ==, session + 1);
		g_assert_cmpstr(own.ufrag, !=, rig.conn.local.ufrag);

		/* Silent, whatever happens around. */
		give(&rig, NBH_CONN_EV_SIGNAL_UP);
		g_assert_cmpuint(rig.out.n, ==, 0);
		give_network(&rig, TRUE);
		g_assert_cmpuint(rig.out.n, ==, 0);
		give(&rig, NBH_CONN_EV_GO_IDLE);
		g_assert_cmpuint(rig.out.n, ==, 0);

		give_wake(&rig, TRUE);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);
		connect_rig(&rig, FALSE, "far3", 8); /* a sleeper answers with an OFFER: rule 8 */
		give_selected(&rig, "203.0.113.7:51820");
		g_assert_cmpuint(publish_session(&rig), ==, session + 1);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_FORWARD), ==, controlling);
		if (!controlling) {
			give_handshake(&rig, rig.now); /* it began */
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
		bring(&rig, NBH_CONN_IDLE, FALSE);
		session = rig.conn.path.session;
		give_wake(&rig, !captured_late);
		connect_rig(&rig, FALSE, "far", 1);
		give_heard(&rig, "203.0.113.7:40000");
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_FORWARD), ==, !captured_late);
		if (captured_late)
			give_wake(&rig, TRUE);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_FORWARD), ==, 1);
		give_heard(&rig, "203.0.113.7:40000");
		g_assert_cmpuint(rig.out.n, ==, 0);

		pass(&rig, 5);
		if (handshake_first)
			give_handshake(&rig, rig.now);
		pass(&rig, 500);
		give_selected(&rig, "203.0.113.7:51820");
		published = rig.now;
		g_assert_cmpuint(publish_session(&rig), ==, session);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_FORWARD), ==, 0);
		pass(&rig, 200);
		if (!handshake_first)
			give_handshake(&rig, nbh_mono_add_ms(published, -500));
		fire(&rig, NBH_CONN_TIMER_RENEW);
		g_assert_cmpint(nbh_mono_diff_ms(rig.now, published), ==, 20000);
		g_assert_cmpuint(publish_session(&rig), ==, session + 1);
		pass(&rig, 100);
		give_handshake(&rig, rig.now);
		g_assert_false(nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_RENEW], NBH_MONO_NEVER));
	}
}

/* It came to nothing: the next wake begins anew. */
static void test_forwarded_in_vain(void)
{
	guint32 session;
	Rig rig;

	rig_init(&rig, FALSE);
	bring(&rig, NBH_CONN_IDLE, FALSE);
	session = rig.conn.path.session;
	give_wake(&rig, TRUE);
	connect_rig(&rig, FALSE, "far", 1);
	give_heard(&rig, "203.0.113.7:40000");
	give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_RENEW), ==, 600);
	g_assert_cmpuint(publish_session(&rig), ==, session + 1);
	g_assert_false(nbh_mono_before(rig.conn.timers[NBH_CONN_TIMER_RENEW], NBH_MONO_NEVER));

	give(&rig, NBH_CONN_EV_GO_IDLE);
	give_wake(&rig, FALSE);
	connect_rig(&rig, FALSE, "far2", 2);
	give_heard(&rig, "203.0.113.7:40000");
	g_assert_cmpuint(rig.out.n, ==, 0);
}

/* Who begins the handshake by itself at selection, or has a peer that does not, has no use for it. */
static void test_heard_elsewhere(void)
{
	for (guint i = 0; i < 2; i++) {
		Rig rig;

		rig_init(&rig, i == 0);
		bring(&rig, NBH_CONN_IDLE, i == 1);
		give_wake(&rig, TRUE);
		connect_rig(&rig, FALSE, "far", 1);
		give_heard(&rig, "203.0.113.7:40000");
		g_assert_cmpuint(rig.out.n, ==, 0);
		give_selected(&rig, "203.0.113.7:51820");
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_FORWARD), ==, 1);
	}
}

/* Nothing is answered any more: between helpers the path is lost, and what WireGuard has stays. */
static void test_silent(void)
{
	for (guint far_is_helper = 0; far_is_helper < 2; far_is_helper++) {
		NbhPath path;
		Rig rig;

		rig_init(&rig, TRUE);
		bring(&rig, NBH_CONN_UP, far_is_helper);
		path = rig.conn.path;
		give(&rig, NBH_CONN_EV_SILENT);
		g_assert_cmpint(rig.conn.state, ==, far_is_helper ? NBH_CONN_DEGRADED : NBH_CONN_UP);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_OFFER), ==, far_is_helper);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_PUBLISH), ==, 0);
		if (!far_is_helper)
			continue;

		give(&rig, NBH_CONN_EV_SILENT);
		g_assert_cmpuint(rig.out.n, ==, 0);
		connect_rig(&rig, TRUE, "far", 2);
		give_selected(&rig, "198.51.100.9:4500");
		g_assert_cmpuint(publish_session(&rig), ==, path.session);
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
		bring(&rig, NBH_CONN_IDLE, FALSE);
		event = event_of(&rig, types[i], 0);
		step(&rig, &event);
		g_assert_cmpint(rig.conn.state, ==,
		                types[i] == NBH_CONN_EV_OFFER ? NBH_CONN_QUEUED : NBH_CONN_SIGNALING);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_OFFER), ==, types[i] != NBH_CONN_EV_OFFER);
		g_assert_false(rig.conn.woken_here);
	}
}

static void test_peer_without_ice(void)
{
	for (guint state = NBH_CONN_IDLE; state < NBH_CONN_N_STATES; state++) {
		Rig rig;
		gboolean had_path;

		rig_init(&rig, TRUE);
		bring(&rig, (NbhConnState)state, FALSE);
		had_path = rig.conn.path.kind == NBH_PATH_DIRECT;
		give_message(&rig, NBH_CONN_EV_OFFER, NULL, 0);
		g_assert_cmpint(rig.conn.state, ==, had_path ? NBH_CONN_DEGRADED : NBH_CONN_SIGNALING);
		g_assert_cmpstr(rig.conn.why_not_direct, ==, "the peer does not do ICE");
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 0);
		connect_rig(&rig, FALSE, "far", 5);
		give_selected(&rig, "203.0.113.7:51820");
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
	}
}

static void test_handshakes(void)
{
	for (guint helper = 0; helper < 2; helper++) {
		Rig rig;
		NbhIceCreds own;

		/* None at all for 30 s; one of the WireGuard session that was given up does not count. */
		rig_init(&rig, FALSE);
		bring(&rig, NBH_CONN_UP, helper);
		own = rig.conn.local;
		if (!helper)
			give_handshake(&rig, nbh_mono_add_ms(rig.now, -500));
		g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 30000);
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_DEGRADED);
		g_assert_cmpstr(rig.out.reason, ==, "NO_HANDSHAKE");
		g_assert_cmpstr(own.ufrag, !=, rig.conn.local.ufrag);

		/* Then one every two minutes, then no more. */
		rig_init(&rig, TRUE);
		bring(&rig, NBH_CONN_UP, helper);
		for (guint i = 0; i < 3; i++) {
			pass(&rig, i ? 120000 : 50);
			give_handshake(&rig, rig.now);
			g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
		}
		g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 210000);
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_DEGRADED);
		g_assert_cmpstr(rig.out.reason, ==, "HANDSHAKE_STALE");
	}
}

/* Nor does one of which only the report comes late, because we were restarted. */
static void test_late_report(void)
{
	Rig rig;

	rig_init(&rig, FALSE);
	bring(&rig, NBH_CONN_UP, TRUE);
	pass(&rig, 100);
	give_handshake(&rig, nbh_mono_add_ms(rig.now, -60000));
	g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 150000);

	rig_init(&rig, FALSE);
	bring(&rig, NBH_CONN_UP, TRUE);
	pass(&rig, 100);
	give_handshake(&rig, nbh_mono_add_ms(rig.now, -205000));
	g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 29900);
}

/* The far helper, who had a path, began while we were still checking. */
static void test_early_handshake(void)
{
	Rig rig;

	rig_init(&rig, TRUE);
	bring(&rig, NBH_CONN_CHECKING, TRUE);
	give_handshake(&rig, rig.now);
	give_selected(&rig, "203.0.113.7:1");
	g_assert_cmpint(fire(&rig, NBH_CONN_TIMER_HANDSHAKE), ==, 210000);
}

/* A WireGuard session that lives through an ICE restart between helpers owes no handshake in 30 s. */
static void test_helper_keeps_session(void)
{
	Rig rig;

	rig_init(&rig, TRUE);
	bring(&rig, NBH_CONN_UP, TRUE);
	give_handshake(&rig, rig.now);
	pass(&rig, 20000);
	give_network(&rig, TRUE);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);
	connect_rig(&rig, TRUE, "far", 2);
	give_selected(&rig, "203.0.113.7:51820");
	fire(&rig, NBH_CONN_TIMER_HANDSHAKE);
	g_assert_cmpint(nbh_mono_diff_ms(rig.now, rig.conn.handshake_at), ==, 210000);
}

static void adopt(Rig *rig, gboolean selected)
{
	NbhConnEvent event = event_of(rig, NBH_CONN_EV_ADOPT, selected);

	step(rig, &event);
}

static void test_restart(void)
{
	static const NbhConnActionType messages[] = {
		NBH_CONN_DO_SEND_OFFER, NBH_CONN_DO_SEND_ANSWER, NBH_CONN_DO_SEND_CANDIDATES,
	};
	Rig rig;
	NbhConnEvent start = { .type = NBH_CONN_EV_START, .u.start.far_is_lazy = TRUE };

	start.u.start.endpoint = endpoint_of("203.0.113.7:51820");
	start.u.start.session = 12;

	for (guint selected = 0; selected < 2; selected++) {
		rig_init(&rig, TRUE);
		step(&rig, &start);
		for (gsize i = 0; i < G_N_ELEMENTS(messages); i++)
			g_assert_cmpuint(count(&rig, messages[i]), ==, 0);
		g_assert_cmpuint(publish_session(&rig), ==, 12);
		adopt(&rig, selected);
		for (gsize i = 0; i < G_N_ELEMENTS(messages); i++)
			g_assert_cmpuint(count(&rig, messages[i]), ==, 0);
		g_assert_cmpint(rig.conn.state, ==, selected ? NBH_CONN_UP : NBH_CONN_CHECKING);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_PUBLISH), ==, 0);
		g_assert_cmpstr(rig.conn.local.ufrag, ==, "old");
		g_assert_cmpuint(rig.conn.local_session.bytes[0], ==, 77);
		fire(&rig, selected ? NBH_CONN_TIMER_HANDSHAKE : NBH_CONN_TIMER_ATTEMPT);
	}

	/* Too late: our OFFER has ended that session. */
	rig_init(&rig, TRUE);
	step(&rig, &start);
	fire(&rig, NBH_CONN_TIMER_OFFER);
	adopt(&rig, TRUE);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CLOSE), ==, 1);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_SIGNALING);

	/* Asleep before the restart: an official peer is left asleep, a helper is not. */
	for (guint helper = 0; helper < 2; helper++) {
		rig_init(&rig, TRUE);
		start.u.start.endpoint = endpoint_of("127.1.0.3:40000");
		start.u.start.far_is_helper = helper;
		step(&rig, &start);
		g_assert_cmpint(rig.conn.state, ==, helper ? NBH_CONN_SIGNALING : NBH_CONN_IDLE);
		g_assert_cmpint(find(&rig, NBH_CONN_DO_PUBLISH)->u.path.kind, ==, NBH_PATH_IDLE);
	}
}

static void test_slots(void)
{
	Rig rig;

	rig_init(&rig, TRUE);
	bring(&rig, NBH_CONN_QUEUED, TRUE);

	/* The latest message counts, and an OFFER stays owed an ANSWER. */
	give_message(&rig, NBH_CONN_EV_OFFER, "second", 2);
	give_message(&rig, NBH_CONN_EV_ANSWER, "third", 3);
	g_assert_cmpuint(rig.out.n, ==, 0);
	pass(&rig, 5000);
	give(&rig, NBH_CONN_EV_SLOT);
	g_assert_cmpstr(rig.conn.remote.ufrag, ==, "third");
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);

	/* A new session while checking keeps the slot; the end of checking gives it back. */
	give_message(&rig, NBH_CONN_EV_OFFER, "fourth", 4);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_CHECKING);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_WANT_SLOT) + count(&rig, NBH_CONN_DO_RELEASE_SLOT), ==, 0);
	give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_RELEASE_SLOT), ==, 1);

	/* An ANSWER that waited long is confirmed by an OFFER of the same session. */
	rig_init(&rig, TRUE);
	bring(&rig, NBH_CONN_SIGNALING, TRUE);
	give_message(&rig, NBH_CONN_EV_ANSWER, "far", 1);
	pass(&rig, 1001);
	give(&rig, NBH_CONN_EV_SLOT);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);

	/* The wish is struck out. */
	bring(&rig, NBH_CONN_DOWN, TRUE);
	rig_init(&rig, TRUE);
	bring(&rig, NBH_CONN_QUEUED, TRUE);
	give(&rig, NBH_CONN_EV_STOP);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_RELEASE_SLOT), ==, 1);
	give(&rig, NBH_CONN_EV_SLOT);
	g_assert_cmpuint(rig.out.n, ==, 0);
}

static void test_candidates(void)
{
	Rig rig;
	NbhCandidate candidate = candidate_of(NBH_CANDIDATE_SRFLX, "203.0.113.7:40112", "far");

	/* The kept port of a NetBird peer, once; none without a cid, or where it is the same. */
	rig_init(&rig, TRUE);
	bring(&rig, NBH_CONN_CHECKING, TRUE);
	candidate.related = endpoint_of("192.0.2.9:51820");
	give_candidate(&rig, candidate);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 1);
	candidate.endpoint.port = 40113;
	candidate.has_cid = TRUE;
	give_candidate(&rig, candidate);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 2);
	g_assert_cmpuint(rig.out.items[1].u.candidate.endpoint.port, ==, 51820);
	candidate.endpoint.port = 51820;
	give_candidate(&rig, candidate);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 0);

	/* One of the next session comes before its OFFER, one address of it known already. */
	give_candidate(&rig, candidate_of(NBH_CANDIDATE_SRFLX, "203.0.113.7:40113", "next"));
	give_candidate(&rig, candidate_of(NBH_CANDIDATE_HOST, "10.0.0.9:51820", "next"));
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 0);
	give_message(&rig, NBH_CONN_EV_OFFER, "next", 2);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 2);

	/* Ten thousand: an agent gets 25, and no step overflows. */
	for (guint i = 0; i < 10000; i++) {
		candidate = candidate_of(NBH_CANDIDATE_SRFLX, "198.51.100.1:1", i % 3 ? "next" : "later");
		candidate.endpoint.port = (guint16)(1 + i);
		candidate.priority = i + 1;
		candidate.has_cid = TRUE;
		candidate.related = endpoint_of("192.0.2.9:51820");
		give_candidate(&rig, candidate);
	}
	g_assert_cmpuint(rig.conn.candidates.n, ==, NBH_CANDIDATES_PER_PEER_MAX);
	give(&rig, NBH_CONN_EV_ICE_GONE);
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), <=, NBH_CANDIDATES_PER_PEER_MAX);
	give_message(&rig, NBH_CONN_EV_OFFER, "later", 3);
}

/* What is left of an old session makes room for the new one's. */
static void test_candidates_of_old_session(void)
{
	Rig rig;
	NbhCandidate candidate = candidate_of(NBH_CANDIDATE_SRFLX, "198.51.100.1:1", "far");

	rig_init(&rig, TRUE);
	bring(&rig, NBH_CONN_CHECKING, TRUE);
	for (guint i = 0; i < NBH_CANDIDATES_PER_PEER_MAX; i++) {
		candidate.endpoint.port = (guint16)(1 + i);
		give_candidate(&rig, candidate);
	}
	give_message(&rig, NBH_CONN_EV_OFFER, "next", 2);
	g_assert_cmpuint(rig.conn.candidates.n, ==, 0);
	give_candidate(&rig, candidate_of(NBH_CANDIDATE_HOST, "10.0.0.9:51820", "next"));
	g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CANDIDATE), ==, 1);
}

/* The peer offers again, because our ANSWER was lost: what followed that ANSWER was lost on it, too. */
static void test_candidates_again_with_answer(void)
{
	for (guint helper = 0; helper < 2; helper++) {
		Rig rig;

		rig_init(&rig, TRUE);
		bring(&rig, NBH_CONN_CHECKING, helper);
		give_message(&rig, NBH_CONN_EV_OFFER, "far", 1);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_ANSWER), ==, 1);
		if (!helper)
			give_sent(&rig, NBH_CONN_SENT_ANSWER);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_CANDIDATES), ==, 1);
	}
}

static void test_backoff_revives(void)
{
	Rig rig;

	rig_init(&rig, FALSE);
	bring(&rig, NBH_CONN_BACKOFF, FALSE);
	g_assert_true(rig.agent_open);
	fire(&rig, NBH_CONN_TIMER_OFFER);
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_BACKOFF);
	give_selected(&rig, "203.0.113.7:51820");
	g_assert_cmpint(rig.conn.state, ==, NBH_CONN_UP);
}

/* The peer answers in the same session and nothing comes of it: the third time it is another one. */
static void test_backoff_moves_on(void)
{
	for (guint helper = 0; helper < 2; helper++) {
		Rig rig;
		NbhSessionId own;

		rig_init(&rig, FALSE);
		bring(&rig, NBH_CONN_BACKOFF, helper);
		own = rig.conn.local_session;
		fire(&rig, NBH_CONN_TIMER_OFFER);
		connect_rig(&rig, TRUE, "far", 1);
		give(&rig, NBH_CONN_EV_FAILED);
		g_assert_cmpmem(own.bytes, 5, rig.conn.local_session.bytes, 5);
		fire(&rig, NBH_CONN_TIMER_OFFER);
		g_assert_cmpint(rig.conn.state, ==, NBH_CONN_SIGNALING);
		g_assert_cmpint(memcmp(own.bytes, rig.conn.local_session.bytes, 5), !=, 0);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_SEND_OFFER), ==, 1);
		g_assert_cmpuint(count(&rig, NBH_CONN_DO_ICE_CLOSE), ==, 1);
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
	g_test_add_func("/core/conn/publish", test_publish);
	g_test_add_func("/core/conn/publish-not-lazy", test_publish_not_lazy);
	g_test_add_func("/core/conn/renewed", test_renewed_without_handshake);
	g_test_add_func("/core/conn/late-traffic", test_late_traffic_is_captured);
	g_test_add_func("/core/conn/helper-waits", test_helper_waits_for_handshake);
	g_test_add_func("/core/conn/pair-before-publish", test_pair_before_publish);
	g_test_add_func("/core/conn/session-table", test_session_table);
	g_test_add_func("/core/conn/rule-16", test_rule_16);
	g_test_add_func("/core/conn/rule-17", test_rule_17);
	g_test_add_func("/core/conn/go-idle", test_go_idle_and_wake);
	g_test_add_func("/core/conn/forwarded-when-heard", test_forwarded_when_heard);
	g_test_add_func("/core/conn/forwarded-in-vain", test_forwarded_in_vain);
	g_test_add_func("/core/conn/heard-elsewhere", test_heard_elsewhere);
	g_test_add_func("/core/conn/silent", test_silent);
	g_test_add_func("/core/conn/wakes-by-message", test_wakes_by_message);
	g_test_add_func("/core/conn/peer-without-ice", test_peer_without_ice);
	g_test_add_func("/core/conn/handshakes", test_handshakes);
	g_test_add_func("/core/conn/early-handshake", test_early_handshake);
	g_test_add_func("/core/conn/late-report", test_late_report);
	g_test_add_func("/core/conn/helper-keeps-session", test_helper_keeps_session);
	g_test_add_func("/core/conn/restart", test_restart);
	g_test_add_func("/core/conn/slots", test_slots);
	g_test_add_func("/core/conn/candidates", test_candidates);
	g_test_add_func("/core/conn/candidates-of-old-session", test_candidates_of_old_session);
	g_test_add_func("/core/conn/candidates-again", test_candidates_again_with_answer);
	g_test_add_func("/core/conn/backoff-revives", test_backoff_revives);
	g_test_add_func("/core/conn/backoff-moves-on", test_backoff_moves_on);
	return g_test_run();
}
