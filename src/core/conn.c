/*
 * One peer's connection: the rules of NetBird's signalling, of ICE sessions and of the WireGuard
 * peer's endpoint. conn.h has the states and what holds in each of them.
 *
 * At the bottom, `handlers` says for every pair of event and state which function acts; each of
 * them appends actions and changes the state by nbh_conn_enter() only, which also sees to it that
 * agent, slot and timers fit the new state. Rules are cited as "rule N": interop.md; "4.3" is a
 * section of netbird-wire.md.
 */
#include "config.h"

#include "core/conn-private.h"

#include <string.h>

/* ---- events: life ---- */

static void nothing(NbhConnStep *s)
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
	conn->forwarded = FALSE;
	conn->handshake_at = (nbh_mono){ 0 };
	conn->published_at = conn->renewed_at = (nbh_mono){ 0 };
	conn->selected_at = (nbh_mono){ 0 };
}

static void on_start(NbhConnStep *s)
{
	NbhConn *conn = s->conn;
	const struct nbh_endpoint *endpoint = &s->event->u.start.endpoint;
	gboolean was_idle = nbh_endpoint_is_set(endpoint) && nbh_addr_is_loopback(&endpoint->addr);

	forget_peer(conn);
	conn->far_is_helper = s->event->u.start.far_is_helper;
	conn->far_is_lazy = s->event->u.start.far_is_lazy;
	conn->path = (NbhPath){ .session = MAX(conn->path.session, s->event->u.start.session) };
	conn->offer_base_ms = conn->offer_nominal_ms = OFFER_FIRST_MS;
	conn->offer_cap_ms = OFFER_CAP_MIN_MS + s->event->random % (OFFER_CAP_SPREAD_MS + 1);
	conn->offers_sent = conn->answers_unsent = conn->attempts = conn->losses = 0;
	conn->early_offers = 0;
	conn->may_adopt = TRUE;
	nbh_conn_draw_session(s);

	if (was_idle) {
		conn->path.kind = NBH_PATH_IDLE;
		nbh_conn_publish(s);
	} else if (nbh_endpoint_is_set(endpoint)) {
		conn->path.kind = NBH_PATH_DIRECT;
		conn->path.endpoint = *endpoint;
		conn->path.keepalive_s = KEEPALIVE_S;
		conn->had_path = TRUE;
		nbh_conn_publish(s);
	}

	if (was_idle && !conn->far_is_helper) {
		nbh_conn_enter(s, NBH_CONN_IDLE, "STILL_IDLE");
		return;
	}
	nbh_conn_enter(s, NBH_CONN_SIGNALING, "WANTED");
	nbh_conn_arm(s, NBH_CONN_TIMER_OFFER, 0);
}

/* The peer runs another version now. What is open stays; the rules change. */
static void on_start_again(NbhConnStep *s)
{
	s->conn->far_is_helper = s->event->u.start.far_is_helper;
}

static void on_stop(NbhConnStep *s)
{
	guint32 session = s->conn->path.session;

	/* Else it would believe in us until what it sends is not answered: 6 s, or a minute between helpers. */
	if (s->event->u.is_leaving && s->conn->path.kind == NBH_PATH_DIRECT)
		nbh_conn_push(s, NBH_CONN_DO_SEND_GO_IDLE);
	nbh_conn_enter(s, NBH_CONN_DOWN, "NOT_WANTED");
	forget_peer(s->conn);
	s->conn->path = (NbhPath){ .session = session };
}

static void on_slot(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	conn->wants_slot = FALSE;
	conn->has_slot = TRUE;
	nbh_conn_enter(s, NBH_CONN_CHECKING, "SLOT");
	/* After a long wait the peer has given up the agent that its ANSWER was made for. */
	if (!conn->owe_answer && nbh_mono_diff_ms(s->now, conn->remote_at) > ANSWER_STALE_MS)
		nbh_conn_send_offer(s);
	nbh_conn_open_agent(s);
}

/* ---- events: the peer ---- */

/*
 * An OFFER or ANSWER ":". Without a relay there is nothing that we could offer or answer such a
 * peer; our own offers go on, should it change its mind.
 */
static void on_peer_without_ice(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	if (conn->agent_open)
		nbh_conn_draw_session(s);
	conn->has_pair = FALSE;
	conn->owe_answer = FALSE;
	if (conn->state != NBH_CONN_SIGNALING && conn->state != NBH_CONN_DEGRADED) {
		nbh_conn_enter(s, nbh_conn_state_without_agent(conn), "PEER_WITHOUT_ICE");
		nbh_conn_arm_offer(s);
	}
	conn->why_not_direct = "the peer does not do ICE";
}

/* There is no agent: this message makes the next one. While queued the latest one counts. */
static void offer_makes_agent(NbhConnStep *s)
{
	if (!s->event->u.offer.has_ice) {
		on_peer_without_ice(s);
		return;
	}

	nbh_conn_take_remote(s);
	s->conn->owe_answer = TRUE;
	nbh_conn_enter(s, NBH_CONN_QUEUED, "OFFER");
}

static void answer_makes_agent(NbhConnStep *s)
{
	if (!s->event->u.offer.has_ice) {
		on_peer_without_ice(s);
		return;
	}

	nbh_conn_take_remote(s);
	nbh_conn_enter(s, NBH_CONN_QUEUED, "ANSWER");
}

/*
 * We are up and the peer, in the same session, is not. Rule 17: an official one has had no
 * handshake for 30 s and made a new agent. A helper's agent was made anew before it was told of the
 * selection, and nobody nominates twice (rule 16). Ours is made anew, too, with the same
 * credentials; at its selection an official peer's WireGuard session is, as well.
 */
static void renew_agent(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	conn->renew = TRUE;
	conn->owe_answer = TRUE;
	conn->selected_at = s->now;
	nbh_conn_close_agent(s);
	nbh_conn_open_agent(s);
}

/* The table of netbird-wire.md 4.3, and that an OFFER is always answered. */
static void offer_meets_agent(NbhConnStep *s)
{
	NbhConn *conn = s->conn;
	gboolean same = nbh_conn_is_same_session(conn, s->event);
	gboolean is_new = !same && s->event->u.offer.session.present;

	if (!s->event->u.offer.has_ice) {
		on_peer_without_ice(s);
	} else if (is_new || conn->state == NBH_CONN_BACKOFF) {
		nbh_conn_take_remote(s);
		conn->owe_answer = TRUE;
		nbh_conn_check_again(s, is_new ? "NEW_SESSION" : "OFFER");
	} else if (conn->state == NBH_CONN_CHECKING) {
		nbh_conn_send_answer(s, TRUE); /* it may only now make its agent, of this ANSWER */
	} else if (same && nbh_mono_diff_ms(s->now, conn->selected_at) > RESELECT_MS) {
		renew_agent(s);
	} else {
		nbh_conn_send_answer(s, FALSE);
	}
}

/*
 * CHECKING and BACKOFF. In UP no offer of ours is out, so an ANSWER there is a late one.
 */
static void answer_meets_agent(NbhConnStep *s)
{
	NbhConn *conn = s->conn;
	gboolean is_new = s->event->u.offer.session.present && !nbh_conn_is_same_session(conn, s->event);

	if (!s->event->u.offer.has_ice) {
		on_peer_without_ice(s);
	} else if (is_new || conn->state == NBH_CONN_BACKOFF) {
		nbh_conn_take_remote(s);
		conn->owe_answer = FALSE;
		nbh_conn_check_again(s, "ANSWER");
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

static void add_candidate(NbhConnStep *s, const NbhCandidate *candidate)
{
	NbhConn *conn = s->conn;
	gboolean for_agent = conn->agent_open && conn->remote_set && nbh_conn_belongs(conn, candidate);

	/* What an agent has got cannot be taken back, so a full set stays as it is. */
	if (for_agent && conn->candidates.n >= NBH_CANDIDATES_PER_PEER_MAX) {
		conn->candidates.dropped++;
		return;
	}

	if (remember_candidate(conn, candidate) && for_agent)
		nbh_conn_push(s, NBH_CONN_DO_ICE_CANDIDATE)->u.candidate = *candidate;
}

static void on_candidate(NbhConnStep *s)
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
static void on_go_idle(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	nbh_conn_enter(s, NBH_CONN_IDLE, "GO_IDLE");
	forget_peer(conn);
	nbh_conn_draw_session(s);
	conn->path = (NbhPath){ .kind = NBH_PATH_IDLE, .session = conn->path.session + 1 };
	conn->renewed_at = s->now;
	conn->offer_base_ms = conn->offer_nominal_ms = OFFER_AFTER_LOSS_MS;
	nbh_conn_publish(s);
}

static void wake_by_message(NbhConnStep *s)
{
	nbh_conn_enter(s, NBH_CONN_SIGNALING, "WOKEN_BY_PEER");
	nbh_conn_offer_now(s);
}

static void wake_by_candidate(NbhConnStep *s)
{
	on_candidate(s);
	wake_by_message(s);
}

static void on_wake(NbhConnStep *s)
{
	nbh_conn_enter(s, NBH_CONN_SIGNALING, "WOKEN_HERE");
	s->conn->woken_here = TRUE;
	s->conn->has_initiation = s->event->u.has_initiation;
	nbh_conn_offer_now(s);
}

/*
 * An official peer that controls begins a handshake when it has nominated, half a second after the
 * first checks, or a whole one; ours would cross with it, and it begins two (evidence 4). So ours goes
 * out as soon as the way is open: with a session there it begins none.
 */
static void forward_to_heard(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	if (!conn->agent_open || !conn->heard.port || !conn->woken_here || !conn->has_initiation ||
	    conn->controlling || conn->far_is_helper)
		return;

	nbh_conn_push(s, NBH_CONN_DO_FORWARD)->u.endpoint = conn->heard;
	conn->has_initiation = FALSE;
	conn->forwarded = TRUE;
}

static void on_heard(NbhConnStep *s)
{
	s->conn->heard = s->event->u.heard;
	forward_to_heard(s);
}

/* More local traffic before there is a path. */
static void on_more_traffic(NbhConnStep *s)
{
	if (s->conn->path.kind == NBH_PATH_DIRECT)
		return;

	s->conn->woken_here = TRUE;
	s->conn->has_initiation = s->conn->has_initiation || s->event->u.has_initiation;
	forward_to_heard(s);
}

static void on_sent(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	switch (s->event->u.sent.what) {
	case NBH_CONN_SENT_OFFER: /* the timer repeats it, whatever became of it */
		break;
	case NBH_CONN_SENT_ANSWER:
		if (conn->answers_unsent > 0)
			conn->answers_unsent--;
		if (s->event->u.sent.ok && conn->answers_unsent == 0 && conn->candidates_due && conn->agent_open)
			nbh_conn_send_candidates(s);
		break;
	case NBH_CONN_SENT_CANDIDATES:
		if (conn->agent_open && !conn->remote_set && !conn->hold_running && conn->candidates_sent > 0) {
			conn->hold_running = TRUE;
			nbh_conn_arm(s, NBH_CONN_TIMER_HOLD, conn->woken_here ? 0 : HOLD_MS);
		}
		break;
	}
}

/* ---- events: ICE ---- */

static void on_selected_pair(NbhConnStep *s, const NbhIcePair *pair)
{
	NbhConn *conn = s->conn;

	conn->pair = *pair;
	conn->has_pair = TRUE;
	conn->selected_at = s->now;
	conn->offer_base_ms = conn->offer_nominal_ms = OFFER_AFTER_LOSS_MS;
	nbh_conn_enter(s, NBH_CONN_UP, "PAIR_SELECTED");
	nbh_conn_disarm(s, NBH_CONN_TIMER_CANDIDATES);
	nbh_conn_publish_selection(s);
}

static void on_selected(NbhConnStep *s)
{
	on_selected_pair(s, &s->event->u.pair);
}

/* In UP: a better pair, the renewed agent's, or one more before the 100 ms of rule 6 are over. */
static void on_reselected(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	if (conn->renew) {
		on_selected_pair(s, &s->event->u.pair);
		return;
	}

	conn->pair = s->event->u.pair;
	conn->has_pair = TRUE;
	if (nbh_conn_is_armed(conn, NBH_CONN_TIMER_PUBLISH) || nbh_endpoint_equal(&conn->path.endpoint, &conn->pair.remote))
		return;
	conn->path.endpoint = conn->pair.remote;
	nbh_conn_publish(s);
}

static void fail(NbhConnStep *s, const char *reason)
{
	s->conn->attempts++;
	s->conn->failures++;
	nbh_conn_enter(s, NBH_CONN_BACKOFF, reason);
	if (s->conn->candidates.n == 0)
		s->conn->why_not_direct = "no candidate came from the peer and no check either";
	nbh_conn_arm_offer(s);
}

/* In UP it is not believed: a controlled agent that was made anew says so while all is well (rule 16). */
static void on_failed(NbhConnStep *s)
{
	fail(s, "CHECKS_FAILED");
}

/* Between helpers nobody has to send STUN: WireGuard's own handshakes are the liveness there. */
static void on_lost(NbhConnStep *s)
{
	if (!s->conn->far_is_helper)
		nbh_conn_lose_path(s, "ICE_LOST", FALSE);
}

/*
 * A NAT forgot the mapping, or has another address now: nothing on this host shows it, and between
 * helpers no STUN is sent. WireGuard would notice after 210 s.
 */
static void on_silent(NbhConnStep *s)
{
	if (s->conn->far_is_helper)
		nbh_conn_lose_path(s, "SILENT", TRUE);
}

/* Rule 16: the same agent once more, and no word to the peer, who need not notice. */
static void on_ice_gone(NbhConnStep *s)
{
	NbhConn *conn = s->conn;
	NbhCandidate seed = { .type = NBH_CANDIDATE_HOST, .foundation = "adopted", .priority = 1 };

	nbh_conn_push(s, NBH_CONN_DO_ICE_OPEN);
	if (!conn->remote_set)
		return;

	nbh_conn_drop_foreign_candidates(conn);
	if (conn->has_pair && conn->candidates.n == 0) {
		seed.endpoint = conn->pair.remote; /* the address that works is enough: evidence 9 */
		nbh_candidate_set_add(&conn->candidates, &seed);
	}
	nbh_conn_set_remote(s);
}

static void close_leftover(NbhConnStep *s)
{
	nbh_conn_push(s, NBH_CONN_DO_ICE_CLOSE);
}

/* Right behind START: netbird-ice kept the session while the helper was away. No message. */
static void on_adopt(NbhConnStep *s)
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
		nbh_conn_enter(s, NBH_CONN_CHECKING, "ADOPTED");
		nbh_conn_arm(s, NBH_CONN_TIMER_ATTEMPT, ATTEMPT_MS);
		return;
	}

	conn->pair = event->u.adopt.pair;
	conn->has_pair = TRUE;
	conn->offer_base_ms = conn->offer_nominal_ms = OFFER_AFTER_LOSS_MS;
	nbh_conn_enter(s, NBH_CONN_UP, "ADOPTED");
	if (conn->path.kind != NBH_PATH_DIRECT || !nbh_endpoint_equal(&conn->path.endpoint, &conn->pair.remote)) {
		conn->is_renewal = TRUE; /* a WireGuard session may live */
		nbh_conn_publish_direct(s, FALSE);
		return;
	}
	nbh_conn_arm(s, NBH_CONN_TIMER_HANDSHAKE, HANDSHAKE_STALE_MS);
}

/* netbird-ice lists a session while we have one: the same, or it must become ours. */
static void on_adopt_again(NbhConnStep *s)
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

static void on_handshake(NbhConnStep *s)
{
	NbhConn *conn = s->conn;
	nbh_mono at = s->event->u.handshake_at;

	/* What the controlled side of two helpers waits for. */
	if (conn->far_is_helper && nbh_conn_is_armed(conn, NBH_CONN_TIMER_PUBLISH)) {
		nbh_conn_disarm(s, NBH_CONN_TIMER_PUBLISH);
		conn->has_initiation = FALSE; /* it would cross with what the peer has begun */
		nbh_conn_publish_direct(s, FALSE);
	}

	/*
	 * One from before the WireGuard peer was made anew proves nothing. One from before there is a
	 * path counts: the peer may begin, and the next one is not due before that session is old.
	 */
	if (!nbh_mono_before(conn->handshake_at, at) ||
	    nbh_mono_before(nbh_mono_add_ms(at, HANDSHAKE_SLACK_MS), conn->renewed_at))
		return;

	conn->handshake_at = at;
	conn->had_handshake = TRUE;
	if (nbh_conn_is_armed(conn, NBH_CONN_TIMER_RENEW))
		nbh_conn_settle_renewal(s);
	if (conn->state == NBH_CONN_UP && !nbh_conn_is_armed(conn, NBH_CONN_TIMER_PUBLISH))
		nbh_conn_arm_at(s, NBH_CONN_TIMER_HANDSHAKE, nbh_conn_handshake_deadline(conn));
}

/* Signal is back, or the network is another: at once, and the growth begins anew. */
static void on_link_change(NbhConnStep *s)
{
	nbh_conn_offer_now(s);
}

/* Messages of the last seconds may be lost, and our candidates may be others now. */
static void repeat_messages(NbhConnStep *s)
{
	nbh_conn_send_offer(s);
	s->conn->candidates_sent = 0;
	nbh_conn_arm(s, NBH_CONN_TIMER_CANDIDATES, CANDIDATES_SECOND_MS);
}

static void on_network_up(NbhConnStep *s)
{
	if (s->event->u.path_changed)
		nbh_conn_lose_path(s, "NETWORK_CHANGED", TRUE);
}

/*
 * Another offer of the same session restarts only a peer that gave up. One that is connected, while
 * our agent was made anew and will not be nominated (rule 16), answers and keeps its agent for
 * ever; it takes a new session to move it. Once per doubled interval, so rule 10 is kept.
 */
static void on_offer_timer(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	if (conn->state == NBH_CONN_BACKOFF && conn->failures >= FAILURES_MAX) {
		nbh_conn_enter(s, nbh_conn_state_without_agent(conn), "NEW_ATTEMPT");
		nbh_conn_draw_session(s);
	}
	nbh_conn_send_offer(s);
	nbh_conn_arm_offer(s);
}

static void on_candidates_timer(NbhConnStep *s)
{
	if (s->conn->agent_open && (!s->conn->far_is_helper || s->conn->state == NBH_CONN_CHECKING))
		nbh_conn_send_candidates(s);
}

static void on_handshake_timer(NbhConnStep *s)
{
	nbh_conn_lose_path(s, s->conn->had_handshake ? "HANDSHAKE_STALE" : "NO_HANDSHAKE", FALSE);
}

/* nbh_conn_enter() has disarmed what does not belong to a state, so each of these finds its own states only. */
static void on_timer(NbhConnStep *s)
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
		nbh_conn_set_remote(s);
		break;
	case NBH_CONN_TIMER_PUBLISH:
		nbh_conn_publish_direct(s, !conn->far_is_helper);
		break;
	case NBH_CONN_TIMER_RENEW:
		s->conn->is_renewal = TRUE;
		nbh_conn_publish_direct(s, TRUE);
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

typedef void (*Handler)(NbhConnStep *s);

#define ROW(event, down, idle, queued, signaling, checking, up, degraded, backoff)                 \
	[NBH_CONN_EV_##event] = {                                                                  \
		[NBH_CONN_DOWN] = down,         [NBH_CONN_IDLE] = idle,                            \
		[NBH_CONN_QUEUED] = queued,     [NBH_CONN_SIGNALING] = signaling,                  \
		[NBH_CONN_CHECKING] = checking, [NBH_CONN_UP] = up,                                \
		[NBH_CONN_DEGRADED] = degraded, [NBH_CONN_BACKOFF] = backoff,                      \
	}

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
	ROW(HEARD,         nothing,        nothing,           nothing,            nothing,            on_heard,           nothing,           nothing,            on_heard),
	ROW(SELECTED,      nothing,        nothing,           nothing,            nothing,            on_selected,        on_reselected,     nothing,            on_selected),
	ROW(FAILED,        nothing,        nothing,           nothing,            nothing,            on_failed,          nothing,           nothing,            nothing),
	ROW(LOST,          nothing,        nothing,           nothing,            nothing,            nothing,            on_lost,           nothing,            nothing),
	ROW(ICE_GONE,      nothing,        nothing,           nothing,            nothing,            on_ice_gone,        on_ice_gone,       nothing,            on_ice_gone),
	ROW(HANDSHAKE,     nothing,        on_handshake,      on_handshake,       on_handshake,       on_handshake,       on_handshake,      on_handshake,       on_handshake),
	ROW(SILENT,        nothing,        nothing,           nothing,            nothing,            nothing,            on_silent,         nothing,            nothing),
	ROW(WAKE,          nothing,        on_wake,           on_more_traffic,    on_more_traffic,    on_more_traffic,    nothing,           nothing,            on_more_traffic),
	ROW(SIGNAL_UP,     nothing,        nothing,           nothing,            on_link_change,     repeat_messages,    nothing,           on_link_change,     on_link_change),
	ROW(NETWORK,       nothing,        nothing,           nothing,            on_link_change,     repeat_messages,    on_network_up,     on_link_change,     on_link_change),
	ROW(TIMER,         nothing,        nothing,           nothing,            on_timer,           on_timer,           on_timer,          on_timer,           on_timer),
};
/* clang-format on */

void nbh_conn_step(NbhConn *conn, const NbhConnEvent *event, nbh_mono now, NbhConnActions *ret_actions)
{
	NbhConnStep s = { .conn = conn, .event = event, .now = now, .out = ret_actions };

	ret_actions->n = 0;
	ret_actions->changed = FALSE;
	ret_actions->illegal = FALSE;
	ret_actions->from = ret_actions->to = conn->state;
	ret_actions->reason = "";
	if ((guint)event->type >= NBH_CONN_N_EVENTS)
		return;

	handlers[event->type][conn->state](&s);
}
