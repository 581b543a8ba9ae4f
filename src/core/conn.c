/*
 * One peer's connection: the rules of NetBird's signalling, of ICE sessions and of the WireGuard
 * peer's endpoint. conn.h has the states and what holds in each of them.
 *
 * At the bottom, `handlers` says for every pair of event and state which function acts; each of
 * them appends actions and changes the state by enter() only, which also sees to it that agent,
 * slot and timers fit the new state. Rules are cited as "rule N": interop.md; "4.3" is a section
 * of netbird-wire.md.
 */
#include "config.h"

#include "core/conn.h"

#include "core/backoff.h"

#include <string.h>

#define KEEPALIVE_S 25           /* 4.1 */
#define OFFER_FIRST_MS 2000      /* never connected: 0, 2, 4, 8 ... s: architecture.md 5 */
#define OFFER_AFTER_LOSS_MS 800  /* rule 10 */
#define OFFER_CAP_MIN_MS 30000   /* drawn per peer: 4.2 */
#define OFFER_CAP_SPREAD_MS 15000
#define OFFER_JITTER_PERCENT 10
#define HOLD_MS 100              /* rule 3 */
#define HOLD_FALLBACK_MS 1500    /* if no Send ever returns */
#define CANDIDATES_SECOND_MS 50  /* rule 9 */
#define CANDIDATES_LAST_MS 950   /* rule 9: one second after the first set */
#define CANDIDATES_HELPER_MS 1000
#define CANDIDATES_FALLBACK_MS 1000 /* if the Send of our ANSWER does not return */
#define PUBLISH_MS 100           /* rule 6 */
#define PUBLISH_HELPER_MS 250    /* see publish_selection() */
#define ATTEMPT_MS 15000         /* libnice fails after 7 s, the official agent after 12 s */
#define ANSWER_STALE_MS 1000     /* an ANSWER that waited longer for a slot is confirmed by an OFFER */
#define FAILURES_MAX 2           /* attempts of one pair of sessions */
#define RESELECT_MS 5000         /* rule 17: "selected for some seconds" */
#define FIRST_HANDSHAKE_MS 30000 /* 4.6 */
#define HANDSHAKE_STALE_MS 210000 /* WireGuard's reject-after-time of 180 s and a report every 10 s */
#define HANDSHAKE_SLACK_MS 50    /* two clocks were read to make the time of a handshake */

typedef struct {
	NbhConn *conn;
	const NbhConnEvent *event;
	nbh_mono now;
	NbhConnActions *out;
} Step;

/* ---- actions ---- */

static NbhConnAction *push(Step *s, NbhConnActionType type)
{
	/* Never full (test-conn counts); the last one is overwritten rather than memory behind it. */
	gsize i = MIN(s->out->n, NBH_CONN_ACTIONS_MAX - 1);

	s->out->n = i + 1;
	s->out->items[i] = (NbhConnAction){ .type = type };
	return &s->out->items[i];
}

static gboolean is_armed(const NbhConn *conn, NbhConnTimer timer)
{
	return nbh_mono_before(conn->timers[timer], NBH_MONO_NEVER);
}

static void arm_at(Step *s, NbhConnTimer timer, nbh_mono at)
{
	NbhConnAction *action = push(s, NBH_CONN_DO_ARM);

	s->conn->timers[timer] = at;
	action->u.arm.timer = timer;
	action->u.arm.at = at;
}

static void arm(Step *s, NbhConnTimer timer, gint64 delay_ms)
{
	arm_at(s, timer, nbh_mono_add_ms(s->now, delay_ms));
}

static void disarm(Step *s, NbhConnTimer timer)
{
	if (!is_armed(s->conn, timer))
		return;

	s->conn->timers[timer] = NBH_MONO_NEVER;
	push(s, NBH_CONN_DO_DISARM)->u.arm.timer = timer;
}

static void publish(Step *s)
{
	push(s, NBH_CONN_DO_PUBLISH)->u.path = s->conn->path;
}

static void close_agent(Step *s)
{
	if (!s->conn->agent_open)
		return;

	s->conn->agent_open = FALSE;
	s->conn->remote_set = FALSE;
	push(s, NBH_CONN_DO_ICE_CLOSE);
}

/* ---- states ---- */

#define TIMER(name) (1u << NBH_CONN_TIMER_##name)

static const struct {
	gboolean has_agent;
	guint timers; /* which may be armed */
	const char *why_not_direct;
} state_table[] = {
	[NBH_CONN_DOWN] = { FALSE, 0, "the peer is not wanted" },
	[NBH_CONN_IDLE] = { FALSE, 0, "the peer is asleep" },
	[NBH_CONN_QUEUED] = { FALSE, 0, "waiting for a turn to check" },
	[NBH_CONN_SIGNALING] = { FALSE, TIMER(OFFER), "waiting for the peer's answer" },
	[NBH_CONN_CHECKING] = { TRUE, TIMER(CANDIDATES) | TIMER(HOLD) | TIMER(ATTEMPT), "checking" },
	[NBH_CONN_UP] = { TRUE, TIMER(CANDIDATES) | TIMER(HOLD) | TIMER(PUBLISH) | TIMER(HANDSHAKE), NULL },
	[NBH_CONN_DEGRADED] = { FALSE, TIMER(OFFER), "the direct path was lost, waiting for the peer's answer" },
	[NBH_CONN_BACKOFF] = { TRUE, TIMER(OFFER) | TIMER(HOLD),
	                       "no candidate pair answered (both behind symmetric NATs?)" },
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_table) == NBH_CONN_N_STATES);

/* Slots belong to QUEUED and CHECKING. */
static void settle_slot(Step *s, NbhConnState to)
{
	NbhConn *conn = s->conn;

	if (to == NBH_CONN_QUEUED && !conn->wants_slot && !conn->has_slot) {
		conn->wants_slot = TRUE;
		push(s, NBH_CONN_DO_WANT_SLOT);
	} else if (to != NBH_CONN_QUEUED && to != NBH_CONN_CHECKING && (conn->wants_slot || conn->has_slot)) {
		conn->wants_slot = FALSE;
		conn->has_slot = FALSE;
		push(s, NBH_CONN_DO_RELEASE_SLOT);
	}
}

static void enter(Step *s, NbhConnState to, const char *reason)
{
	NbhConn *conn = s->conn;

	if (conn->state == to)
		return;

	if (!s->out->changed)
		s->out->from = conn->state;
	s->out->changed = TRUE;
	s->out->to = to;
	s->out->reason = reason;
	if (!nbh_conn_may_go(conn->state, to))
		s->out->illegal = TRUE;

	for (guint i = 0; i < NBH_CONN_N_TIMERS; i++) {
		if (!(state_table[to].timers & (1u << i)))
			disarm(s, (NbhConnTimer)i);
	}
	if (!state_table[to].has_agent)
		close_agent(s);
	settle_slot(s, to);

	conn->state = to;
	conn->state_since = s->now;
	conn->why_not_direct = state_table[to].why_not_direct;
}

/* What SIGNALING is called while WireGuard keeps the old direct path. */
static NbhConnState state_without_agent(const NbhConn *conn)
{
	return conn->path.kind == NBH_PATH_DIRECT ? NBH_CONN_DEGRADED : NBH_CONN_SIGNALING;
}

/* ---- sessions ---- */

static void draw_session(Step *s)
{
	s->conn->local = s->event->new_creds;
	s->conn->local_session = s->event->new_session;
	s->conn->local_session.present = TRUE;
	s->conn->failures = 0;
}

static gboolean is_same_session(const NbhConn *conn, const NbhConnEvent *event)
{
	return conn->remote_session.present && event->u.offer.session.present &&
	       memcmp(conn->remote_session.bytes, event->u.offer.session.bytes, NBH_SESSION_ID_LEN) == 0;
}

static void take_remote(Step *s)
{
	if (!is_same_session(s->conn, s->event))
		s->conn->failures = 0;
	s->conn->remote = s->event->u.offer.creds;
	s->conn->remote_session = s->event->u.offer.session;
	s->conn->remote_at = s->now;
}

static gboolean belongs(const NbhConn *conn, const NbhCandidate *candidate)
{
	return !candidate->ufrag[0] || strcmp(candidate->ufrag, conn->remote.ufrag) == 0;
}

static void drop_foreign_candidates(NbhConn *conn)
{
	gsize n = 0;

	for (gsize i = 0; i < conn->candidates.n; i++) {
		if (belongs(conn, &conn->candidates.items[i]))
			conn->candidates.items[n++] = conn->candidates.items[i];
	}
	conn->candidates.n = n;
}

static void set_remote(Step *s)
{
	NbhConn *conn = s->conn;

	conn->remote_set = TRUE;
	disarm(s, NBH_CONN_TIMER_HOLD);
	push(s, NBH_CONN_DO_ICE_REMOTE);
	for (gsize i = 0; i < conn->candidates.n; i++) {
		if (belongs(conn, &conn->candidates.items[i]))
			push(s, NBH_CONN_DO_ICE_CANDIDATE)->u.candidate = conn->candidates.items[i];
	}
}

/*
 * Our candidates, as often as rule 9 wants it. A helper keeps candidates that come early, so one
 * repetition against a lost message is enough there.
 */
static void send_candidates(Step *s)
{
	NbhConn *conn = s->conn;

	push(s, NBH_CONN_DO_SEND_CANDIDATES);
	conn->candidates_due = FALSE;
	conn->candidates_sent++;

	if (conn->far_is_helper && conn->candidates_sent == 1)
		arm(s, NBH_CONN_TIMER_CANDIDATES, CANDIDATES_HELPER_MS);
	else if (!conn->far_is_helper && conn->candidates_sent == 1)
		arm(s, NBH_CONN_TIMER_CANDIDATES, CANDIDATES_SECOND_MS);
	else if (!conn->far_is_helper && conn->candidates_sent == 2)
		arm(s, NBH_CONN_TIMER_CANDIDATES, CANDIDATES_LAST_MS);
	else
		disarm(s, NBH_CONN_TIMER_CANDIDATES);
}

/*
 * An official peer drops candidates that come before it has worked on our ANSWER, and Sends may
 * overtake each other, so there they wait until the Send of the ANSWER has returned (rule 9).
 */
static void answer(Step *s, gboolean with_candidates)
{
	NbhConn *conn = s->conn;

	conn->owe_answer = FALSE;
	conn->may_adopt = FALSE;
	conn->answers_unsent++;
	push(s, NBH_CONN_DO_SEND_ANSWER);
	if (!with_candidates)
		return;

	conn->candidates_sent = 0;
	if (conn->far_is_helper) {
		send_candidates(s);
	} else {
		conn->candidates_due = TRUE;
		arm(s, NBH_CONN_TIMER_CANDIDATES, CANDIDATES_FALLBACK_MS);
	}
}

/* In CHECKING, or in UP where nothing but the agent is made anew. */
static void open_agent(Step *s)
{
	NbhConn *conn = s->conn;

	conn->agent_open = TRUE;
	conn->remote_set = FALSE;
	conn->hold_running = FALSE;
	conn->may_adopt = FALSE;
	conn->candidates_due = FALSE;
	conn->candidates_sent = 0;
	conn->session_began = s->now;
	drop_foreign_candidates(conn);
	push(s, NBH_CONN_DO_ICE_OPEN);

	/* Between helpers at once; else a check that overtakes our candidates costs a second (rule 3). */
	if (conn->far_is_helper)
		set_remote(s);
	else
		arm(s, NBH_CONN_TIMER_HOLD, HOLD_FALLBACK_MS);
	if (conn->state == NBH_CONN_CHECKING)
		arm(s, NBH_CONN_TIMER_ATTEMPT, ATTEMPT_MS);

	if (conn->owe_answer)
		answer(s, TRUE);
	else
		send_candidates(s);
}

/* The remote credentials are new, or the attempt with them failed: from the start. */
static void check_again(Step *s, const char *reason)
{
	if (s->conn->state != NBH_CONN_CHECKING) {
		enter(s, NBH_CONN_QUEUED, reason);
		return;
	}

	close_agent(s);
	open_agent(s);
}

/* ---- offers ---- */

static void send_offer(Step *s)
{
	push(s, NBH_CONN_DO_SEND_OFFER);
	s->conn->offers_sent++;
	s->conn->may_adopt = FALSE;
}

static void arm_offer(Step *s)
{
	NbhConn *conn = s->conn;
	NbhBackoff backoff;

	nbh_backoff_init(&backoff, conn->offer_nominal_ms, conn->offer_cap_ms, 2.0, OFFER_JITTER_PERCENT);
	arm(s, NBH_CONN_TIMER_OFFER, nbh_backoff_next(&backoff, s->event->random));
	conn->offer_nominal_ms = backoff.nominal_ms;
}

static void offer_now(Step *s)
{
	s->conn->offer_nominal_ms = s->conn->offer_base_ms;
	send_offer(s);
	arm_offer(s);
}

/* The selected path is lost: another session, and the old endpoint stays (architecture.md 5). */
static void lose(Step *s, const char *reason, gboolean offer_at_once)
{
	NbhConn *conn = s->conn;

	conn->losses++;
	conn->has_pair = FALSE;
	conn->renew = FALSE;
	enter(s, state_without_agent(conn), reason);
	/*
	 * The agent is closed now, not when the next one opens: it could only answer checks of a
	 * session that the coming offer ends anyway, and no agent is ever other than `local` says.
	 */
	draw_session(s);
	conn->offer_base_ms = conn->offer_nominal_ms = OFFER_AFTER_LOSS_MS;
	if (offer_at_once)
		send_offer(s);
	arm_offer(s);
}

/* ---- what WireGuard gets ---- */

/* A WireGuard session that goes on makes its next handshake when it is due, not after a publish. */
static nbh_mono handshake_deadline(const NbhConn *conn)
{
	nbh_mono first = nbh_mono_add_ms(conn->published_at, FIRST_HANDSHAKE_MS);
	nbh_mono stale = nbh_mono_add_ms(conn->handshake_at, HANDSHAKE_STALE_MS);

	return conn->had_handshake && nbh_mono_before(first, stale) ? stale : first;
}

static void publish_direct(Step *s, gboolean new_session)
{
	NbhConn *conn = s->conn;

	conn->path.kind = NBH_PATH_DIRECT;
	conn->path.endpoint = conn->pair.remote;
	conn->path.keepalive_s = KEEPALIVE_S; /* together with the endpoint: rule 5 */
	if (new_session) {
		conn->path.session++;
		conn->had_handshake = FALSE;
		conn->renewed_at = s->now;
	}
	publish(s);

	if (conn->woken_here && conn->has_initiation && !new_session)
		push(s, NBH_CONN_DO_FORWARD)->u.endpoint = conn->path.endpoint;
	conn->woken_here = FALSE;
	conn->has_initiation = FALSE;

	conn->had_path = TRUE;
	conn->renew = FALSE;
	conn->published_at = s->now;
	arm_at(s, NBH_CONN_TIMER_HANDSHAKE, handshake_deadline(conn));
}

/*
 * When, and whether with a new WireGuard session, which removes and adds the peer:
 *
 *   far end                      we control        we are controlled
 *   helper                       at once           at its handshake, or after 250 ms
 *   official, our initiation     at once + FORWARD at once + FORWARD   (architecture.md 5)
 *     was captured
 *   official, else               at once, new if   after 100 ms, new   (rules 6, 7, 17)
 *                                one may exist
 *
 * Between helpers only one side begins the first handshake. An endpoint with a keepalive makes
 * WireGuard send an initiation, and two that cross undo each other: both sides are then responders
 * and wait 5 s (WireGuard keeps one handshake per peer). So the controlled side waits until the
 * handshake has come, which also told WireGuard the endpoint. With a path already there is a
 * session, and nothing to wait for.
 */
static void publish_selection(Step *s)
{
	NbhConn *conn = s->conn;
	gboolean is_first = !conn->had_handshake && !conn->had_path && !conn->woken_here;

	if (conn->far_is_helper && !conn->controlling && is_first)
		arm(s, NBH_CONN_TIMER_PUBLISH, PUBLISH_HELPER_MS);
	else if (conn->far_is_helper || (conn->woken_here && conn->has_initiation))
		publish_direct(s, FALSE);
	else if (!conn->controlling)
		arm(s, NBH_CONN_TIMER_PUBLISH, PUBLISH_MS);
	else
		publish_direct(s, conn->had_handshake || conn->had_path || conn->woken_here);
}

/* ---- events: life ---- */

static void ignore(Step *s)
{
	(void)s;
}

static void forget_peer(NbhConn *conn)
{
	conn->candidates = (NbhCandidateSet){ .n = 0 };
	conn->remote = (NbhIceCreds){ .ufrag = "" };
	conn->remote_session = (NbhSessionId){ .present = FALSE };
	conn->owe_answer = FALSE;
	conn->has_pair = FALSE;
	conn->had_path = FALSE;
	conn->had_handshake = FALSE;
	conn->renew = FALSE;
	conn->woken_here = FALSE;
	conn->has_initiation = FALSE;
	conn->handshake_at = (nbh_mono){ 0 };
	conn->published_at = conn->renewed_at = (nbh_mono){ 0 };
	conn->selected_at = (nbh_mono){ 0 };
}

static void on_start(Step *s)
{
	NbhConn *conn = s->conn;
	const struct nbh_endpoint *endpoint = &s->event->u.start.endpoint;
	gboolean was_idle = nbh_endpoint_is_set(endpoint) && nbh_addr_is_loopback(&endpoint->addr);

	forget_peer(conn);
	conn->far_is_helper = s->event->u.start.far_is_helper;
	conn->path = (NbhPath){ .session = MAX(conn->path.session, s->event->u.start.session) };
	conn->offer_base_ms = conn->offer_nominal_ms = OFFER_FIRST_MS;
	conn->offer_cap_ms = OFFER_CAP_MIN_MS + s->event->random % (OFFER_CAP_SPREAD_MS + 1);
	conn->offers_sent = conn->answers_unsent = conn->attempts = conn->losses = 0;
	conn->may_adopt = TRUE;
	draw_session(s);

	if (was_idle) {
		conn->path.kind = NBH_PATH_IDLE;
		publish(s);
	} else if (nbh_endpoint_is_set(endpoint)) {
		conn->path.kind = NBH_PATH_DIRECT;
		conn->path.endpoint = *endpoint;
		conn->path.keepalive_s = KEEPALIVE_S;
		conn->had_path = TRUE;
		publish(s);
	}

	if (was_idle && !conn->far_is_helper) {
		enter(s, NBH_CONN_IDLE, "STILL_IDLE");
		return;
	}
	enter(s, NBH_CONN_SIGNALING, "WANTED");
	arm(s, NBH_CONN_TIMER_OFFER, 0);
}

/* The peer runs another version now. What is open stays; the rules change. */
static void on_start_again(Step *s)
{
	s->conn->far_is_helper = s->event->u.start.far_is_helper;
}

static void on_stop(Step *s)
{
	guint32 session = s->conn->path.session;

	enter(s, NBH_CONN_DOWN, "NOT_WANTED");
	forget_peer(s->conn);
	s->conn->path = (NbhPath){ .session = session };
}

static void on_slot(Step *s)
{
	NbhConn *conn = s->conn;

	conn->wants_slot = FALSE;
	conn->has_slot = TRUE;
	enter(s, NBH_CONN_CHECKING, "SLOT");
	/* After a long wait the peer has given up the agent that its ANSWER was made for. */
	if (!conn->owe_answer && nbh_mono_diff_ms(s->now, conn->remote_at) > ANSWER_STALE_MS)
		send_offer(s);
	open_agent(s);
}

/* ---- events: the peer ---- */

/*
 * An OFFER or ANSWER ":". Without a relay there is nothing that we could offer or answer such a
 * peer; our own offers go on, should it change its mind.
 */
static void on_peer_without_ice(Step *s)
{
	NbhConn *conn = s->conn;

	if (conn->agent_open)
		draw_session(s);
	conn->has_pair = FALSE;
	conn->owe_answer = FALSE;
	if (conn->state != NBH_CONN_SIGNALING && conn->state != NBH_CONN_DEGRADED) {
		enter(s, state_without_agent(conn), "PEER_WITHOUT_ICE");
		arm_offer(s);
	}
	conn->why_not_direct = "the peer does not do ICE";
}

/* There is no agent: this message makes the next one. While queued the latest one counts. */
static void offer_makes_agent(Step *s)
{
	if (!s->event->u.offer.has_ice) {
		on_peer_without_ice(s);
		return;
	}

	take_remote(s);
	s->conn->owe_answer = TRUE;
	enter(s, NBH_CONN_QUEUED, "OFFER");
}

static void answer_makes_agent(Step *s)
{
	if (!s->event->u.offer.has_ice) {
		on_peer_without_ice(s);
		return;
	}

	take_remote(s);
	enter(s, NBH_CONN_QUEUED, "ANSWER");
}

/*
 * We are up and the peer, in the same session, is not. Rule 17: an official one has had no
 * handshake for 30 s and made a new agent. A helper's agent was made anew before it was told of the
 * selection, and nobody nominates twice (rule 16). Ours is made anew, too, with the same
 * credentials; at its selection an official peer's WireGuard session is, as well.
 */
static void renew_agent(Step *s)
{
	NbhConn *conn = s->conn;

	conn->renew = TRUE;
	conn->owe_answer = TRUE;
	conn->selected_at = s->now;
	close_agent(s);
	open_agent(s);
}

/* The table of netbird-wire.md 4.3, and that an OFFER is always answered. */
static void offer_meets_agent(Step *s)
{
	NbhConn *conn = s->conn;
	gboolean same = is_same_session(conn, s->event);
	gboolean is_new = !same && s->event->u.offer.session.present;

	if (!s->event->u.offer.has_ice) {
		on_peer_without_ice(s);
	} else if (is_new || conn->state == NBH_CONN_BACKOFF) {
		if (is_new)
			draw_session(s);
		take_remote(s);
		conn->owe_answer = TRUE;
		check_again(s, is_new ? "NEW_SESSION" : "OFFER");
	} else if (conn->state == NBH_CONN_CHECKING) {
		answer(s, TRUE); /* it may only now make its agent, of this ANSWER */
	} else if (same && nbh_mono_diff_ms(s->now, conn->selected_at) > RESELECT_MS) {
		renew_agent(s);
	} else {
		answer(s, FALSE);
	}
}

/*
 * CHECKING and BACKOFF. In UP no offer of ours is out, so an ANSWER there is a late one.
 */
static void answer_meets_agent(Step *s)
{
	NbhConn *conn = s->conn;
	gboolean is_new = s->event->u.offer.session.present && !is_same_session(conn, s->event);

	if (!s->event->u.offer.has_ice) {
		on_peer_without_ice(s);
	} else if (is_new || conn->state == NBH_CONN_BACKOFF) {
		take_remote(s);
		conn->owe_answer = FALSE;
		check_again(s, "ANSWER");
	}
}

/*
 * One that is known by address and type is still news if it is of another session: the OFFER of
 * that session may come later than its candidates.
 */
static gboolean remember_candidate(NbhConn *conn, const NbhCandidate *candidate)
{
	for (gsize i = 0; i < conn->candidates.n; i++) {
		NbhCandidate *known = &conn->candidates.items[i];

		if (known->type != candidate->type || !nbh_endpoint_equal(&known->endpoint, &candidate->endpoint))
			continue;
		if (strcmp(known->ufrag, candidate->ufrag) == 0)
			return FALSE;
		*known = *candidate;
		return TRUE;
	}

	return nbh_candidate_set_add(&conn->candidates, candidate);
}

static void add_candidate(Step *s, const NbhCandidate *candidate)
{
	NbhConn *conn = s->conn;
	gboolean for_agent = conn->agent_open && conn->remote_set && belongs(conn, candidate);

	/* What an agent has got cannot be taken back, so a full set stays as it is. */
	if (for_agent && conn->candidates.n >= NBH_CANDIDATES_PER_PEER_MAX) {
		conn->candidates.dropped++;
		return;
	}

	if (remember_candidate(conn, candidate) && for_agent)
		push(s, NBH_CONN_DO_ICE_CANDIDATE)->u.candidate = *candidate;
}

static void on_candidate(Step *s)
{
	const NbhCandidate *candidate = &s->event->u.candidate;
	NbhCandidate twin = *candidate;

	add_candidate(s, candidate);

	/* Peers with a cid are also tried at the port that their NAT may have kept: 3.4. */
	if (candidate->type != NBH_CANDIDATE_SRFLX || !candidate->has_cid || !candidate->related.port ||
	    candidate->related.port == candidate->endpoint.port)
		return;
	twin.endpoint.port = candidate->related.port;
	twin.priority = MAX(candidate->priority - 1, 1);
	add_candidate(s, &twin);
}

/* Rule 12. The new session is for what wakes us: the first initiation can then be captured. */
static void on_go_idle(Step *s)
{
	NbhConn *conn = s->conn;

	enter(s, NBH_CONN_IDLE, "GO_IDLE");
	forget_peer(conn);
	draw_session(s);
	conn->path = (NbhPath){ .kind = NBH_PATH_IDLE, .session = conn->path.session + 1 };
	conn->offer_base_ms = conn->offer_nominal_ms = OFFER_AFTER_LOSS_MS;
	publish(s);
}

static void wake_by_message(Step *s)
{
	enter(s, NBH_CONN_SIGNALING, "WOKEN_BY_PEER");
	offer_now(s);
}

static void wake_by_candidate(Step *s)
{
	on_candidate(s);
	wake_by_message(s);
}

static void on_wake(Step *s)
{
	enter(s, NBH_CONN_SIGNALING, "WOKEN_HERE");
	s->conn->woken_here = TRUE;
	s->conn->has_initiation = s->event->u.has_initiation;
	offer_now(s);
}

/* More local traffic before there is a path. */
static void on_more_traffic(Step *s)
{
	if (s->conn->path.kind == NBH_PATH_DIRECT)
		return;

	s->conn->woken_here = TRUE;
	s->conn->has_initiation = s->conn->has_initiation || s->event->u.has_initiation;
}

static void on_sent(Step *s)
{
	NbhConn *conn = s->conn;

	switch (s->event->u.sent.what) {
	case NBH_CONN_SENT_OFFER: /* the timer repeats it, whatever became of it */
		break;
	case NBH_CONN_SENT_ANSWER:
		if (conn->answers_unsent > 0)
			conn->answers_unsent--;
		if (s->event->u.sent.ok && conn->answers_unsent == 0 && conn->candidates_due && conn->agent_open)
			send_candidates(s);
		break;
	case NBH_CONN_SENT_CANDIDATES:
		if (conn->agent_open && !conn->remote_set && !conn->hold_running && conn->candidates_sent > 0) {
			conn->hold_running = TRUE;
			arm(s, NBH_CONN_TIMER_HOLD, HOLD_MS);
		}
		break;
	}
}

/* ---- events: ICE ---- */

static void on_selected_pair(Step *s, const NbhIcePair *pair)
{
	NbhConn *conn = s->conn;

	conn->pair = *pair;
	conn->has_pair = TRUE;
	conn->selected_at = s->now;
	conn->offer_base_ms = conn->offer_nominal_ms = OFFER_AFTER_LOSS_MS;
	enter(s, NBH_CONN_UP, "PAIR_SELECTED");
	disarm(s, NBH_CONN_TIMER_CANDIDATES);
	publish_selection(s);
}

static void on_selected(Step *s)
{
	on_selected_pair(s, &s->event->u.pair);
}

/* In UP: a better pair, the renewed agent's, or one more before the 100 ms of rule 6 are over. */
static void on_reselected(Step *s)
{
	NbhConn *conn = s->conn;

	if (conn->renew) {
		on_selected_pair(s, &s->event->u.pair);
		return;
	}

	conn->pair = s->event->u.pair;
	conn->has_pair = TRUE;
	if (is_armed(conn, NBH_CONN_TIMER_PUBLISH) || nbh_endpoint_equal(&conn->path.endpoint, &conn->pair.remote))
		return;
	conn->path.endpoint = conn->pair.remote;
	publish(s);
}

static void fail(Step *s, const char *reason)
{
	s->conn->attempts++;
	s->conn->failures++;
	enter(s, NBH_CONN_BACKOFF, reason);
	if (s->conn->candidates.n == 0)
		s->conn->why_not_direct = "no candidate came from the peer and no check either";
	arm_offer(s);
}

/* In UP it is not believed: a controlled agent that was made anew says so while all is well (rule 16). */
static void on_failed(Step *s)
{
	fail(s, "CHECKS_FAILED");
}

static void on_lost(Step *s)
{
	if (!s->conn->far_is_helper)
		lose(s, "ICE_LOST", FALSE);
}

/* Rule 16: the same agent once more, and no word to the peer, who need not notice. */
static void on_ice_gone(Step *s)
{
	NbhConn *conn = s->conn;
	NbhCandidate seed = { .type = NBH_CANDIDATE_HOST, .foundation = "adopted", .priority = 1 };

	push(s, NBH_CONN_DO_ICE_OPEN);
	if (!conn->remote_set)
		return;

	drop_foreign_candidates(conn);
	if (conn->has_pair && conn->candidates.n == 0) {
		seed.endpoint = conn->pair.remote; /* the address that works is enough: evidence 9 */
		nbh_candidate_set_add(&conn->candidates, &seed);
	}
	set_remote(s);
}

static void close_leftover(Step *s)
{
	push(s, NBH_CONN_DO_ICE_CLOSE);
}

/* Right behind START: netbird-ice kept the session while the helper was away. No message. */
static void on_adopt(Step *s)
{
	NbhConn *conn = s->conn;
	const NbhConnEvent *event = s->event;

	if (!conn->may_adopt || !event->u.adopt.remote.ufrag[0] || !event->u.adopt.local.ufrag[0]) {
		close_leftover(s);
		return;
	}

	conn->may_adopt = FALSE;
	conn->local = event->u.adopt.local;
	conn->remote = event->u.adopt.remote;
	conn->local_session = event->u.adopt.local_session;
	conn->remote_session = event->u.adopt.remote_session;
	conn->remote_at = conn->session_began = s->now;
	conn->agent_open = conn->remote_set = TRUE;

	if (!event->u.adopt.selected) {
		enter(s, NBH_CONN_CHECKING, "ADOPTED");
		arm(s, NBH_CONN_TIMER_ATTEMPT, ATTEMPT_MS);
		return;
	}

	conn->pair = event->u.adopt.pair;
	conn->has_pair = TRUE;
	conn->offer_base_ms = conn->offer_nominal_ms = OFFER_AFTER_LOSS_MS;
	enter(s, NBH_CONN_UP, "ADOPTED");
	if (conn->path.kind != NBH_PATH_DIRECT || !nbh_endpoint_equal(&conn->path.endpoint, &conn->pair.remote)) {
		publish_direct(s, FALSE);
		return;
	}
	arm(s, NBH_CONN_TIMER_HANDSHAKE, HANDSHAKE_STALE_MS);
}

/* netbird-ice lists a session while we have one: the same, or it must become ours. */
static void on_adopt_again(Step *s)
{
	NbhConn *conn = s->conn;
	const NbhConnEvent *event = s->event;

	if (strcmp(conn->local.ufrag, event->u.adopt.local.ufrag) != 0 ||
	    strcmp(conn->remote.ufrag, event->u.adopt.remote.ufrag) != 0)
		on_ice_gone(s); /* opening replaces what is open */
	else if (event->u.adopt.selected && !conn->has_pair)
		on_selected_pair(s, &event->u.adopt.pair);
}

/* ---- events: around ---- */

static void on_handshake(Step *s)
{
	NbhConn *conn = s->conn;
	nbh_mono at = s->event->u.handshake_at;

	/* What the controlled side of two helpers waits for. */
	if (conn->far_is_helper && is_armed(conn, NBH_CONN_TIMER_PUBLISH)) {
		disarm(s, NBH_CONN_TIMER_PUBLISH);
		publish_direct(s, FALSE);
	}

	/* One from before the WireGuard peer was made anew proves nothing. */
	if (conn->path.kind != NBH_PATH_DIRECT || !nbh_mono_before(conn->handshake_at, at) ||
	    nbh_mono_before(nbh_mono_add_ms(at, HANDSHAKE_SLACK_MS), conn->renewed_at))
		return;

	conn->handshake_at = at;
	conn->had_handshake = TRUE;
	if (conn->state == NBH_CONN_UP && !is_armed(conn, NBH_CONN_TIMER_PUBLISH))
		arm_at(s, NBH_CONN_TIMER_HANDSHAKE, handshake_deadline(conn));
}

/* Messages of the last seconds may be lost, and our candidates may be others now. */
static void repeat_messages(Step *s)
{
	send_offer(s);
	s->conn->candidates_sent = 0;
	arm(s, NBH_CONN_TIMER_CANDIDATES, CANDIDATES_SECOND_MS);
}

static void on_network_up(Step *s)
{
	if (s->event->u.path_changed)
		lose(s, "NETWORK_CHANGED", TRUE);
}

/*
 * Another offer of the same session restarts only a peer that gave up. One that is connected, while
 * our agent was made anew and will not be nominated (rule 16), answers and keeps its agent for
 * ever; it takes a new session to move it. Once per doubled interval, so rule 10 is kept.
 */
static void on_offer_timer(Step *s)
{
	NbhConn *conn = s->conn;

	if (conn->state == NBH_CONN_BACKOFF && conn->failures >= FAILURES_MAX) {
		enter(s, state_without_agent(conn), "NEW_ATTEMPT");
		draw_session(s);
	}
	send_offer(s);
	arm_offer(s);
}

static void on_candidates_timer(Step *s)
{
	if (s->conn->agent_open && (!s->conn->far_is_helper || s->conn->state == NBH_CONN_CHECKING))
		send_candidates(s);
}

static void on_handshake_timer(Step *s)
{
	lose(s, s->conn->had_handshake ? "HANDSHAKE_STALE" : "NO_HANDSHAKE", FALSE);
}

/* enter() has disarmed what does not belong to a state, so each of these finds its own states only. */
static void on_timer(Step *s)
{
	NbhConn *conn = s->conn;
	NbhConnTimer timer = s->event->u.timer;

	if ((guint)timer >= NBH_CONN_N_TIMERS || nbh_mono_before(s->now, conn->timers[timer]))
		return;

	conn->timers[timer] = NBH_MONO_NEVER;
	switch (timer) {
	case NBH_CONN_TIMER_OFFER:
		on_offer_timer(s);
		break;
	case NBH_CONN_TIMER_CANDIDATES:
		on_candidates_timer(s);
		break;
	case NBH_CONN_TIMER_HOLD:
		set_remote(s);
		break;
	case NBH_CONN_TIMER_PUBLISH:
		publish_direct(s, !conn->far_is_helper);
		break;
	case NBH_CONN_TIMER_ATTEMPT:
		fail(s, "ATTEMPT_TIMEOUT");
		break;
	case NBH_CONN_TIMER_HANDSHAKE:
		on_handshake_timer(s);
		break;
	case NBH_CONN_N_TIMERS:
		break;
	}
}

/* ---- the table ---- */

typedef void (*Handler)(Step *s);

#define ROW(event, down, idle, queued, signaling, checking, up, degraded, backoff)                 \
	[NBH_CONN_EV_##event] = {                                                                  \
		[NBH_CONN_DOWN] = down,         [NBH_CONN_IDLE] = idle,                            \
		[NBH_CONN_QUEUED] = queued,     [NBH_CONN_SIGNALING] = signaling,                  \
		[NBH_CONN_CHECKING] = checking, [NBH_CONN_UP] = up,                                \
		[NBH_CONN_DEGRADED] = degraded, [NBH_CONN_BACKOFF] = backoff,                      \
	}

#define nothing ignore

/* clang-format off */
static const Handler handlers[NBH_CONN_N_EVENTS][NBH_CONN_N_STATES] = {
	/*  event          DOWN            IDLE               QUEUED              SIGNALING           CHECKING            UP                 DEGRADED            BACKOFF */
	ROW(START,         on_start,       on_start_again,    on_start_again,     on_start_again,     on_start_again,     on_start_again,    on_start_again,     on_start_again),
	ROW(STOP,          nothing,        on_stop,           on_stop,            on_stop,            on_stop,            on_stop,           on_stop,            on_stop),
	ROW(ADOPT,         close_leftover, close_leftover,    close_leftover,     on_adopt,           on_adopt_again,     on_adopt_again,    close_leftover,     on_adopt_again),
	ROW(SLOT,          nothing,        nothing,           on_slot,            nothing,            nothing,            nothing,           nothing,            nothing),
	ROW(OFFER,         nothing,        offer_makes_agent, offer_makes_agent,  offer_makes_agent,  offer_meets_agent,  offer_meets_agent, offer_makes_agent,  offer_meets_agent),
	ROW(ANSWER,        nothing,        wake_by_message,   answer_makes_agent, answer_makes_agent, answer_meets_agent, nothing,           answer_makes_agent, answer_meets_agent),
	ROW(CANDIDATE,     nothing,        wake_by_candidate, on_candidate,       on_candidate,       on_candidate,       on_candidate,      on_candidate,       on_candidate),
	ROW(GO_IDLE,       nothing,        nothing,           on_go_idle,         on_go_idle,         on_go_idle,         on_go_idle,        on_go_idle,         on_go_idle),
	ROW(OTHER_MESSAGE, nothing,        wake_by_message,   nothing,            nothing,            nothing,            nothing,           nothing,            nothing),
	ROW(SENT,          nothing,        on_sent,           on_sent,            on_sent,            on_sent,            on_sent,           on_sent,            on_sent),
	ROW(SELECTED,      nothing,        nothing,           nothing,            nothing,            on_selected,        on_reselected,     nothing,            on_selected),
	ROW(FAILED,        nothing,        nothing,           nothing,            nothing,            on_failed,          nothing,           nothing,            nothing),
	ROW(LOST,          nothing,        nothing,           nothing,            nothing,            nothing,            on_lost,           nothing,            nothing),
	ROW(ICE_GONE,      nothing,        nothing,           nothing,            nothing,            on_ice_gone,        on_ice_gone,       nothing,            on_ice_gone),
	ROW(HANDSHAKE,     nothing,        nothing,           on_handshake,       on_handshake,       on_handshake,       on_handshake,      on_handshake,       on_handshake),
	ROW(WAKE,          nothing,        on_wake,           on_more_traffic,    on_more_traffic,    on_more_traffic,    nothing,           nothing,            on_more_traffic),
	ROW(SIGNAL_UP,     nothing,        nothing,           nothing,            offer_now,          repeat_messages,    nothing,           offer_now,          offer_now),
	ROW(NETWORK,       nothing,        nothing,           nothing,            offer_now,          repeat_messages,    on_network_up,     offer_now,          offer_now),
	ROW(TIMER,         nothing,        nothing,           nothing,            on_timer,           on_timer,           on_timer,          on_timer,           on_timer),
};
/* clang-format on */

void nbh_conn_init(NbhConn *conn, const struct nbh_key *own, const struct nbh_key *far, nbh_mono now)
{
	struct nbh_key_text own_text = nbh_key_format(own), far_text = nbh_key_format(far);

	*conn = (NbhConn){
		.state = NBH_CONN_DOWN,
		.controlling = strcmp(own_text.text, far_text.text) > 0,
		.state_since = now,
		.why_not_direct = state_table[NBH_CONN_DOWN].why_not_direct,
	};
	for (guint i = 0; i < NBH_CONN_N_TIMERS; i++)
		conn->timers[i] = NBH_MONO_NEVER;
}

void nbh_conn_step(NbhConn *conn, const NbhConnEvent *event, nbh_mono now, NbhConnActions *ret_actions)
{
	Step s = { .conn = conn, .event = event, .now = now, .out = ret_actions };

	ret_actions->n = 0;
	ret_actions->changed = FALSE;
	ret_actions->illegal = FALSE;
	ret_actions->from = ret_actions->to = conn->state;
	ret_actions->reason = "";
	if ((guint)event->type >= NBH_CONN_N_EVENTS)
		return;

	handlers[event->type][conn->state](&s);
}
