/*
 * How the connection machine does things: timers and states, sessions and agents, offers, and what
 * WireGuard gets. When it does them is conn.c's.
 */
#include "config.h"

#include "core/conn-private.h"

#include "core/backoff.h"

#include <string.h>

/* ---- actions ---- */

NbhConnAction *nbh_conn_push(NbhConnStep *s, NbhConnActionType type)
{
	/* Never full (test-conn counts); the last one is overwritten rather than memory behind it. */
	gsize i = MIN(s->out->n, NBH_CONN_ACTIONS_MAX - 1);

	s->out->n = i + 1;
	s->out->items[i] = (NbhConnAction){ .type = type };
	return &s->out->items[i];
}

gboolean nbh_conn_is_armed(const NbhConn *conn, NbhConnTimer timer)
{
	return nbh_mono_before(conn->timers[timer], NBH_MONO_NEVER);
}

void nbh_conn_arm_at(NbhConnStep *s, NbhConnTimer timer, nbh_mono at)
{
	NbhConnAction *action = nbh_conn_push(s, NBH_CONN_DO_ARM);

	s->conn->timers[timer] = at;
	action->u.arm.timer = timer;
	action->u.arm.at = at;
}

void nbh_conn_arm(NbhConnStep *s, NbhConnTimer timer, gint64 delay_ms)
{
	nbh_conn_arm_at(s, timer, nbh_mono_add_ms(s->now, delay_ms));
}

void nbh_conn_disarm(NbhConnStep *s, NbhConnTimer timer)
{
	if (!nbh_conn_is_armed(s->conn, timer))
		return;

	s->conn->timers[timer] = NBH_MONO_NEVER;
	nbh_conn_push(s, NBH_CONN_DO_DISARM)->u.arm.timer = timer;
}

void nbh_conn_publish(NbhConnStep *s)
{
	nbh_conn_push(s, NBH_CONN_DO_PUBLISH)->u.path = s->conn->path;
}

void nbh_conn_close_agent(NbhConnStep *s)
{
	if (!s->conn->agent_open)
		return;

	s->conn->agent_open = FALSE;
	s->conn->remote_set = FALSE;
	nbh_conn_push(s, NBH_CONN_DO_ICE_CLOSE);
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
	[NBH_CONN_UP] = { TRUE, TIMER(CANDIDATES) | TIMER(HOLD) | TIMER(PUBLISH) | TIMER(RENEW) | TIMER(HANDSHAKE), NULL },
	[NBH_CONN_DEGRADED] = { FALSE, TIMER(OFFER), "the direct path was lost, waiting for the peer's answer" },
	[NBH_CONN_BACKOFF] = { TRUE, TIMER(OFFER) | TIMER(HOLD),
	                       "no candidate pair answered (a symmetric NAT, or is UDP blocked?)" },
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_table) == NBH_CONN_N_STATES);

/* Slots belong to QUEUED and CHECKING. */
static void settle_slot(NbhConnStep *s, NbhConnState to)
{
	NbhConn *conn = s->conn;

	if (to == NBH_CONN_QUEUED && !conn->wants_slot && !conn->has_slot) {
		conn->wants_slot = TRUE;
		nbh_conn_push(s, NBH_CONN_DO_WANT_SLOT);
	} else if (to != NBH_CONN_QUEUED && to != NBH_CONN_CHECKING && (conn->wants_slot || conn->has_slot)) {
		conn->wants_slot = FALSE;
		conn->has_slot = FALSE;
		nbh_conn_push(s, NBH_CONN_DO_RELEASE_SLOT);
	}
}

void nbh_conn_enter(NbhConnStep *s, NbhConnState to, const char *reason)
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
			nbh_conn_disarm(s, (NbhConnTimer)i);
	}
	if (!state_table[to].has_agent)
		nbh_conn_close_agent(s);
	settle_slot(s, to);

	conn->state = to;
	conn->state_since = s->now;
	conn->why_not_direct = state_table[to].why_not_direct;
}

NbhConnState nbh_conn_state_without_agent(const NbhConn *conn)
{
	return conn->path.kind == NBH_PATH_DIRECT ? NBH_CONN_DEGRADED : NBH_CONN_SIGNALING;
}

/* ---- sessions ---- */

void nbh_conn_draw_session(NbhConnStep *s)
{
	s->conn->local = s->event->new_creds;
	s->conn->local_session = s->event->new_session;
	s->conn->local_session.present = TRUE;
	s->conn->failures = 0;
}

gboolean nbh_conn_is_same_session(const NbhConn *conn, const NbhConnEvent *event)
{
	return conn->remote_session.present && event->u.offer.session.present &&
	       memcmp(conn->remote_session.bytes, event->u.offer.session.bytes, NBH_SESSION_ID_LEN) == 0;
}

void nbh_conn_take_remote(NbhConnStep *s)
{
	if (!nbh_conn_is_same_session(s->conn, s->event))
		s->conn->failures = 0;
	s->conn->remote = s->event->u.offer.creds;
	s->conn->remote_session = s->event->u.offer.session;
	s->conn->remote_at = s->now;
}

gboolean nbh_conn_belongs(const NbhConn *conn, const NbhCandidate *candidate)
{
	return !candidate->ufrag[0] || strcmp(candidate->ufrag, conn->remote.ufrag) == 0;
}

void nbh_conn_drop_foreign_candidates(NbhConn *conn)
{
	gsize n = 0;

	for (gsize i = 0; i < conn->candidates.n; i++) {
		if (nbh_conn_belongs(conn, &conn->candidates.items[i]))
			conn->candidates.items[n++] = conn->candidates.items[i];
	}
	conn->candidates.n = n;
}

void nbh_conn_set_remote(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	conn->remote_set = TRUE;
	nbh_conn_disarm(s, NBH_CONN_TIMER_HOLD);
	nbh_conn_push(s, NBH_CONN_DO_ICE_REMOTE);
	for (gsize i = 0; i < conn->candidates.n; i++) {
		if (nbh_conn_belongs(conn, &conn->candidates.items[i]))
			nbh_conn_push(s, NBH_CONN_DO_ICE_CANDIDATE)->u.candidate = conn->candidates.items[i];
	}
}

/*
 * Our candidates, as often as rule 9 wants it. A helper keeps candidates that come early, so one
 * repetition against a lost message is enough there.
 */
void nbh_conn_send_candidates(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	nbh_conn_push(s, NBH_CONN_DO_SEND_CANDIDATES);
	conn->candidates_due = FALSE;
	conn->candidates_sent++;

	if (conn->far_is_helper && conn->candidates_sent == 1)
		nbh_conn_arm(s, NBH_CONN_TIMER_CANDIDATES, CANDIDATES_HELPER_MS);
	else if (!conn->far_is_helper && conn->candidates_sent == 1)
		nbh_conn_arm(s, NBH_CONN_TIMER_CANDIDATES, CANDIDATES_SECOND_MS);
	else if (!conn->far_is_helper && conn->candidates_sent == 2)
		nbh_conn_arm(s, NBH_CONN_TIMER_CANDIDATES, CANDIDATES_LAST_MS);
	else
		nbh_conn_disarm(s, NBH_CONN_TIMER_CANDIDATES);
}

/*
 * An official peer drops candidates that come before it has worked on our ANSWER, and Sends may
 * overtake each other, so there they wait until the Send of the ANSWER has returned (rule 9).
 */
void nbh_conn_send_answer(NbhConnStep *s, gboolean with_candidates)
{
	NbhConn *conn = s->conn;

	conn->owe_answer = FALSE;
	conn->may_adopt = FALSE;
	conn->answers_unsent++;
	nbh_conn_push(s, NBH_CONN_DO_SEND_ANSWER);
	if (!with_candidates)
		return;

	conn->candidates_sent = 0;
	if (conn->far_is_helper) {
		nbh_conn_send_candidates(s);
	} else {
		conn->candidates_due = TRUE;
		nbh_conn_arm(s, NBH_CONN_TIMER_CANDIDATES, CANDIDATES_FALLBACK_MS);
	}
}

void nbh_conn_open_agent(NbhConnStep *s)
{
	NbhConn *conn = s->conn;

	conn->agent_open = TRUE;
	conn->remote_set = FALSE;
	conn->hold_running = FALSE;
	conn->heard = (struct nbh_endpoint){ .port = 0 };
	conn->may_adopt = FALSE;
	conn->candidates_due = FALSE;
	conn->candidates_sent = 0;
	conn->session_began = s->now;
	nbh_conn_drop_foreign_candidates(conn);
	nbh_conn_push(s, NBH_CONN_DO_ICE_OPEN);

	/* Between helpers at once; else a check that overtakes our candidates costs a second (rule 3). */
	if (conn->far_is_helper)
		nbh_conn_set_remote(s);
	else
		nbh_conn_arm(s, NBH_CONN_TIMER_HOLD, HOLD_FALLBACK_MS);
	if (conn->state == NBH_CONN_CHECKING)
		nbh_conn_arm(s, NBH_CONN_TIMER_ATTEMPT, ATTEMPT_MS);

	if (conn->owe_answer)
		nbh_conn_send_answer(s, TRUE);
	else
		nbh_conn_send_candidates(s);
}

void nbh_conn_check_again(NbhConnStep *s, const char *reason)
{
	if (s->conn->state != NBH_CONN_CHECKING) {
		nbh_conn_enter(s, NBH_CONN_QUEUED, reason);
		return;
	}

	nbh_conn_close_agent(s);
	nbh_conn_open_agent(s);
}

/* ---- offers ---- */

void nbh_conn_send_offer(NbhConnStep *s)
{
	nbh_conn_push(s, NBH_CONN_DO_SEND_OFFER);
	s->conn->offers_sent++;
	s->conn->may_adopt = FALSE;
}

/*
 * A peer that starts when we do reaches its signal server a little later: the official client needs
 * about 450 ms. It would wait for our second offer, so a few repeats come early.
 */
static const guint32 early_offer_ms[OFFER_EARLY_N] = { 300, 500, 1200 };

void nbh_conn_arm_offer(NbhConnStep *s)
{
	NbhConn *conn = s->conn;
	NbhBackoff backoff;

	if (conn->offer_base_ms == OFFER_FIRST_MS && conn->early_offers < OFFER_EARLY_N) {
		nbh_conn_arm(s, NBH_CONN_TIMER_OFFER, early_offer_ms[conn->early_offers++]);
		return;
	}

	nbh_backoff_init(&backoff, conn->offer_nominal_ms, conn->offer_cap_ms, 2.0, OFFER_JITTER_PERCENT);
	nbh_conn_arm(s, NBH_CONN_TIMER_OFFER, nbh_backoff_next(&backoff, s->event->random));
	conn->offer_nominal_ms = backoff.nominal_ms;
}

void nbh_conn_offer_now(NbhConnStep *s)
{
	s->conn->offer_nominal_ms = s->conn->offer_base_ms;
	s->conn->early_offers = 0;
	nbh_conn_send_offer(s);
	nbh_conn_arm_offer(s);
}

void nbh_conn_lose_path(NbhConnStep *s, const char *reason, gboolean offer_at_once)
{
	NbhConn *conn = s->conn;

	conn->losses++;
	conn->has_pair = FALSE;
	conn->renew = FALSE;
	nbh_conn_enter(s, nbh_conn_state_without_agent(conn), reason);
	/*
	 * The agent is closed now, not when the next one opens: it could only answer checks of a
	 * session that the coming offer ends anyway, and no agent is ever other than `local` says.
	 */
	nbh_conn_draw_session(s);
	conn->offer_base_ms = conn->offer_nominal_ms = OFFER_AFTER_LOSS_MS;
	if (offer_at_once)
		nbh_conn_send_offer(s);
	nbh_conn_arm_offer(s);
}

/* ---- what WireGuard gets ---- */

/* A WireGuard session that goes on makes its next handshake when it is due, not after a publish. */
nbh_mono nbh_conn_handshake_deadline(const NbhConn *conn)
{
	nbh_mono first = nbh_mono_add_ms(conn->published_at, FIRST_HANDSHAKE_MS);
	nbh_mono stale = nbh_mono_add_ms(conn->handshake_at, HANDSHAKE_STALE_MS);

	return conn->had_handshake && nbh_mono_before(first, stale) ? stale : first;
}

/*
 * A handshake came. One of an initiation that went out before there was a pair is older than the
 * peer's ICE connection, which it would close 30 s later (rule 17): it needs another one by then.
 */
void nbh_conn_settle_renewal(NbhConnStep *s)
{
	if (s->conn->forwarded)
		nbh_conn_arm_at(s, NBH_CONN_TIMER_RENEW, nbh_mono_add_ms(s->conn->published_at, RENEW_FORWARDED_MS));
	else
		nbh_conn_disarm(s, NBH_CONN_TIMER_RENEW);
}

void nbh_conn_publish_direct(NbhConnStep *s, gboolean new_session)
{
	NbhConn *conn = s->conn;

	conn->path.kind = NBH_PATH_DIRECT;
	conn->path.endpoint = conn->pair.remote;
	conn->path.keepalive_s = KEEPALIVE_S; /* together with the endpoint: rule 5 */
	if (new_session) {
		conn->path.session++;
		conn->had_handshake = FALSE;
		conn->forwarded = FALSE;
		conn->renewed_at = s->now;
	}
	nbh_conn_publish(s);

	/*
	 * An official peer that controls begins a handshake of its own at the same moment, and crossing
	 * ones undo each other.
	 */
	if (conn->woken_here && conn->has_initiation && !new_session && (conn->controlling || conn->far_is_helper))
		nbh_conn_push(s, NBH_CONN_DO_FORWARD)->u.endpoint = conn->path.endpoint;
	/*
	 * A userspace official client often sends two initiations within a millisecond when it was
	 * woken (evidence 4); ours, answered in vain, would try again after 5 s. Once is enough.
	 */
	if (!conn->far_is_helper && !conn->is_renewal)
		nbh_conn_arm(s, NBH_CONN_TIMER_RENEW, RENEW_MS);
	conn->woken_here = FALSE;
	conn->has_initiation = FALSE;

	conn->had_path = TRUE;
	conn->renew = FALSE;
	conn->published_at = s->now;
	if (conn->forwarded && conn->had_handshake)
		nbh_conn_settle_renewal(s);
	nbh_conn_arm_at(s, NBH_CONN_TIMER_HANDSHAKE, nbh_conn_handshake_deadline(conn));
}

/*
 * When, and whether with a new WireGuard session, which removes and adds the peer:
 *
 *   far end                      we control        we are controlled
 *   helper                       at once; the      at its handshake, or after 250 ms
 *                                first time new
 *   official, our initiation     at once + FORWARD at once; FORWARD was, when the peer was heard;
 *     was captured                                 20 s later new       (architecture.md 5, rule 17)
 *   official, else               after 50 ms, new   after 100 ms, new   (rules 6, 7, 17)
 *     not lazy, the first time   after 150 ms, new
 *
 * An official client believes only a handshake that is newer than its ICE connection (rule 17), and
 * that may come up some milliseconds after ours. One without lazy connections even gives the peer to
 * WireGuard only then: an initiation that comes before is lost, and the next one comes 5 s later.
 *
 * Official and no handshake 600 ms later: once more, anew.
 *
 * Between helpers only one side begins the first handshake. An endpoint with a keepalive makes
 * WireGuard send an initiation, and two that cross undo each other: both sides are then responders
 * and wait 5 s (WireGuard keeps one handshake per peer). So the controlled side waits until the
 * handshake has come, which also told WireGuard the endpoint, whoever was woken by traffic: a
 * captured initiation goes out only when none has come. With a path already there is a
 * session, and nothing to wait for. The first time the controlling side makes the peer anew:
 * wireguard-go counts an initiation for waiting traffic that had nowhere to go, and would send the
 * next one 5 s later.
 */
void nbh_conn_publish_selection(NbhConnStep *s)
{
	NbhConn *conn = s->conn;
	gboolean has_no_session = !conn->had_handshake && !conn->had_path;
	gboolean is_first = has_no_session && !conn->woken_here;

	conn->is_renewal = FALSE;
	if (conn->far_is_helper && !conn->controlling && has_no_session)
		nbh_conn_arm(s, NBH_CONN_TIMER_PUBLISH, PUBLISH_HELPER_MS);
	else if (conn->far_is_helper || (conn->woken_here && (conn->has_initiation || conn->forwarded)))
		nbh_conn_publish_direct(s, is_first && conn->path.kind == NBH_PATH_NONE);
	else if (!conn->controlling)
		nbh_conn_arm(s, NBH_CONN_TIMER_PUBLISH, PUBLISH_MS);
	else
		nbh_conn_arm(s, NBH_CONN_TIMER_PUBLISH,
		             is_first && !conn->far_is_lazy ? PUBLISH_NOT_LAZY_MS : PUBLISH_CONTROLLING_MS);
}

/* ---- the beginning ---- */

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
