#include "config.h"

#include "tests/lib/connrig.h"

#include <string.h>

struct nbh_endpoint rig_endpoint_of(const char *text)
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

void rig_init(Rig *rig, gboolean controlling)
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

guint rig_count(const Rig *rig, NbhConnActionType type)
{
	guint n = 0;

	for (gsize i = 0; i < rig->out.n; i++)
		n += rig->out.items[i].type == type;
	return n;
}

const NbhConnAction *rig_find(const Rig *rig, NbhConnActionType type)
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
		g_assert_true(event->type == NBH_CONN_EV_STOP && event->u.is_leaving);
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
		if (!rig_find(rig, NBH_CONN_DO_PUBLISH)) { /* early, to a peer that would begin itself */
			g_assert_true(nbh_endpoint_equal(&action->u.endpoint, &rig->conn.heard));
			g_assert_true(rig->agent_open && !rig->conn.controlling && !rig->conn.far_is_helper);
			break;
		}
		g_assert_true(action > rig_find(rig, NBH_CONN_DO_PUBLISH)); /* behind the endpoint */
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

void rig_step(Rig *rig, NbhConnEvent *event)
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

void rig_give(Rig *rig, NbhConnEventType type)
{
	NbhConnEvent event = { .type = type };

	rig_step(rig, &event);
}

void rig_give_start(Rig *rig, gboolean far_is_helper)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_START, .u.start.far_is_lazy = TRUE };

	event.u.start.far_is_helper = far_is_helper;
	rig_step(rig, &event);
}

void rig_give_message(Rig *rig, NbhConnEventType type, const char *ufrag, guint8 session)
{
	NbhConnEvent event = { .type = type };

	event.u.offer.has_ice = ufrag != NULL;
	if (ufrag)
		event.u.offer.creds = creds(ufrag);
	event.u.offer.session = sid(session);
	rig_step(rig, &event);
}

NbhCandidate rig_candidate_of(NbhCandidateType type, const char *endpoint, const char *ufrag)
{
	NbhCandidate candidate = { .type = type, .foundation = "f", .priority = 1000 };

	candidate.endpoint = rig_endpoint_of(endpoint);
	g_snprintf(candidate.ufrag, sizeof(candidate.ufrag), "%s", ufrag);
	return candidate;
}

void rig_give_candidate(Rig *rig, NbhCandidate candidate)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_CANDIDATE };

	event.u.candidate = candidate;
	rig_step(rig, &event);
}

void rig_give_sent(Rig *rig, NbhConnSent what)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_SENT };

	event.u.sent.what = what;
	event.u.sent.ok = TRUE;
	rig_step(rig, &event);
}

void rig_give_selected(Rig *rig, const char *remote)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_SELECTED };

	event.u.pair.local_type = NBH_CANDIDATE_PRFLX;
	event.u.pair.local = rig_endpoint_of("192.0.2.1:51820");
	event.u.pair.remote = rig_endpoint_of(remote);
	rig_step(rig, &event);
}

void rig_give_heard(Rig *rig, const char *from)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_HEARD };

	event.u.heard = rig_endpoint_of(from);
	rig_step(rig, &event);
}

void rig_give_wake(Rig *rig, gboolean has_initiation)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_WAKE };

	event.u.has_initiation = has_initiation;
	rig_step(rig, &event);
}

void rig_give_handshake(Rig *rig, nbh_mono at)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_HANDSHAKE };

	event.u.handshake_at = at;
	rig_step(rig, &event);
}

void rig_give_network(Rig *rig, gboolean path_changed)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_NETWORK };

	event.u.path_changed = path_changed;
	rig_step(rig, &event);
}

void rig_pass(Rig *rig, gint64 ms)
{
	rig->now = nbh_mono_add_ms(rig->now, ms);
}

gint64 rig_fire(Rig *rig, NbhConnTimer expected)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_TIMER };
	nbh_mono at = nbh_conn_next_timer(&rig->conn, &event.u.timer);
	gint64 waited_ms;

	g_assert_true(nbh_mono_before(at, NBH_MONO_NEVER));
	g_assert_cmpint(event.u.timer, ==, expected);
	waited_ms = nbh_mono_diff_ms(at, rig->now);
	rig->now = at;
	event.random = 0x80000000u; /* no jitter */
	rig_step(rig, &event);
	return waited_ms;
}

void rig_connect(Rig *rig, gboolean answered, const char *ufrag, guint8 session)
{
	rig_give_message(rig, answered ? NBH_CONN_EV_ANSWER : NBH_CONN_EV_OFFER, ufrag, session);
	rig_give(rig, NBH_CONN_EV_SLOT);
	if (rig->conn.far_is_helper)
		return;
	if (!answered)
		rig_give_sent(rig, NBH_CONN_SENT_ANSWER);
	rig_give_sent(rig, NBH_CONN_SENT_CANDIDATES);
	if (rig->conn.woken_here)
		g_assert_cmpint(rig_fire(rig, NBH_CONN_TIMER_HOLD), ==, 0);
	rig_fire(rig, NBH_CONN_TIMER_CANDIDATES);
	if (!rig->conn.remote_set)
		rig_fire(rig, NBH_CONN_TIMER_HOLD);
}

void rig_bring(Rig *rig, NbhConnState state, gboolean far_is_helper)
{
	if (state == NBH_CONN_DOWN)
		return;
	rig_give_start(rig, far_is_helper);
	rig_fire(rig, NBH_CONN_TIMER_OFFER);
	if (state == NBH_CONN_SIGNALING)
		return;
	if (state == NBH_CONN_IDLE) {
		rig_give(rig, NBH_CONN_EV_GO_IDLE);
		return;
	}
	if (state == NBH_CONN_QUEUED) {
		rig_give_message(rig, NBH_CONN_EV_OFFER, "far", 1);
		return;
	}

	rig_connect(rig, TRUE, "far", 1);
	if (state == NBH_CONN_CHECKING)
		return;
	if (state == NBH_CONN_BACKOFF) {
		rig_give(rig, NBH_CONN_EV_FAILED);
		return;
	}
	rig_give_selected(rig, "203.0.113.7:51820");
	if (nbh_mono_before(rig->conn.timers[NBH_CONN_TIMER_PUBLISH], NBH_MONO_NEVER))
		rig_fire(rig, NBH_CONN_TIMER_PUBLISH);
	/* test_renewed_without_handshake() is about it. */
	rig->conn.timers[NBH_CONN_TIMER_RENEW] = rig->timers[NBH_CONN_TIMER_RENEW] = NBH_MONO_NEVER;
	if (state == NBH_CONN_DEGRADED)
		rig_give_network(rig, TRUE);
}

guint rig_variants_of(NbhConnEventType type)
{
	if (type == NBH_CONN_EV_OFFER || type == NBH_CONN_EV_ANSWER)
		return 4;
	if (type == NBH_CONN_EV_TIMER)
		return NBH_CONN_N_TIMERS;
	if (type == NBH_CONN_EV_START || type == NBH_CONN_EV_ADOPT || type == NBH_CONN_EV_CANDIDATE || type == NBH_CONN_EV_SENT)
		return 3;
	return 2;
}

NbhConnEvent rig_event_of(const Rig *rig, NbhConnEventType type, guint variant)
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
			event.u.start.endpoint = rig_endpoint_of(variant == 1 ? "203.0.113.99:1" : "127.1.0.1:5");
		break;
	case NBH_CONN_EV_ADOPT:
		event.u.adopt.local = variant == 2 ? rig->conn.local : creds("old");
		event.u.adopt.remote = creds("far");
		event.u.adopt.local_session = sid(77);
		event.u.adopt.remote_session = sid(1);
		event.u.adopt.selected = variant > 0;
		event.u.adopt.pair.remote = rig_endpoint_of("203.0.113.7:51820");
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
		event.u.candidate = rig_candidate_of(variant ? NBH_CANDIDATE_SRFLX : NBH_CANDIDATE_HOST,
		                                 "198.51.100.2:1000", variant == 2 ? "other" : "far");
		event.u.candidate.endpoint.port = (guint16)(1000 + rig->serial % 60);
		event.u.candidate.priority = 1 + rig->serial % 1000;
		event.u.candidate.has_cid = variant == 1;
		event.u.candidate.related = rig_endpoint_of("192.0.2.1:51820");
		break;
	case NBH_CONN_EV_SENT:
		event.u.sent.what = (NbhConnSent)variant;
		event.u.sent.ok = rig->serial % 3 != 0;
		break;
	case NBH_CONN_EV_HEARD:
		event.u.heard = rig_endpoint_of(remotes[variant]);
		break;
	case NBH_CONN_EV_SELECTED:
		event.u.pair.remote = rig_endpoint_of(remotes[variant]);
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
		event.u.is_leaving = variant == 1;
		break;
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

guint32 rig_publish_session(const Rig *rig)
{
	const NbhConnAction *action = rig_find(rig, NBH_CONN_DO_PUBLISH);

	g_assert_nonnull(action);
	g_assert_cmpint(action->u.path.kind, ==, NBH_PATH_DIRECT);
	return action->u.path.session;
}
