#ifndef NBH_CORE_CONN_PRIVATE_H
#define NBH_CORE_CONN_PRIVATE_H

/*
 * What conn.c (which event does what) has from conn-act.c (how it is done). Nobody else includes
 * this. "Rule N" is interop.md, "4.3" a section of netbird-wire.md.
 */

#include "core/conn.h"

#define KEEPALIVE_S 25           /* 4.1 */
#define OFFER_FIRST_MS 2000      /* never connected: 0, 2, 4, 8 ... s: architecture.md 5 */
#define OFFER_EARLY_N 3          /* ... with a few between 0 and 2 s: early_offer_ms */
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
#define PUBLISH_CONTROLLING_MS 50 /* see nbh_conn_publish_selection() */
#define PUBLISH_NOT_LAZY_MS 150  /* see nbh_conn_publish_selection() */
#define PUBLISH_HELPER_MS 250    /* see nbh_conn_publish_selection() */
#define RENEW_MS 600             /* netbird-wg reports a handshake within 250 ms */
#define RENEW_FORWARDED_MS 20000 /* what woke the peer is over by then, if it was short */
#define ATTEMPT_MS 15000         /* libnice fails after 7 s, the official agent after 12 s */
#define ANSWER_STALE_MS 1000     /* an ANSWER that waited longer for a slot is confirmed by an OFFER */
#define FAILURES_MAX 2           /* attempts of one pair of sessions */
#define RESELECT_MS 5000         /* rule 17: "selected for some seconds" */
#define FIRST_HANDSHAKE_MS 30000 /* 4.6 */
#define HANDSHAKE_STALE_MS 210000 /* WireGuard's reject-after-time of 180 s and a report every 10 s */
#define HANDSHAKE_SLACK_MS 50    /* two clocks were read to make the time of a handshake */

/* One call of nbh_conn_step(). */
typedef struct {
	NbhConn *conn;
	const NbhConnEvent *event;
	nbh_mono now;
	NbhConnActions *out;
} NbhConnStep;

/* ---- actions ---- */
NbhConnAction *nbh_conn_push(NbhConnStep *s, NbhConnActionType type);
gboolean nbh_conn_is_armed(const NbhConn *conn, NbhConnTimer timer);
void nbh_conn_arm_at(NbhConnStep *s, NbhConnTimer timer, nbh_mono at);
void nbh_conn_arm(NbhConnStep *s, NbhConnTimer timer, gint64 delay_ms);
void nbh_conn_disarm(NbhConnStep *s, NbhConnTimer timer);
void nbh_conn_publish(NbhConnStep *s);
void nbh_conn_close_agent(NbhConnStep *s);

/* The only way to another state: timers, agent and slot are made to fit it. */
void nbh_conn_enter(NbhConnStep *s, NbhConnState to, const char *reason);
/* What SIGNALING is called while WireGuard keeps the old direct path. */
NbhConnState nbh_conn_state_without_agent(const NbhConn *conn);

/* ---- sessions ---- */
void nbh_conn_draw_session(NbhConnStep *s);
gboolean nbh_conn_is_same_session(const NbhConn *conn, const NbhConnEvent *event);
void nbh_conn_take_remote(NbhConnStep *s);
gboolean nbh_conn_belongs(const NbhConn *conn, const NbhCandidate *candidate);
void nbh_conn_drop_foreign_candidates(NbhConn *conn);
void nbh_conn_set_remote(NbhConnStep *s);
void nbh_conn_send_candidates(NbhConnStep *s);
void nbh_conn_send_answer(NbhConnStep *s, gboolean with_candidates);
/* In CHECKING, or in UP where nothing but the agent is made anew. */
void nbh_conn_open_agent(NbhConnStep *s);
/* The remote credentials are new, or the attempt with them failed: from the start. */
void nbh_conn_check_again(NbhConnStep *s, const char *reason);

/* ---- offers ---- */
void nbh_conn_send_offer(NbhConnStep *s);
void nbh_conn_arm_offer(NbhConnStep *s);
void nbh_conn_offer_now(NbhConnStep *s);
/* The selected path is lost: another session, and the old endpoint stays (architecture.md 5). */
void nbh_conn_lose_path(NbhConnStep *s, const char *reason, gboolean offer_at_once);

/* ---- what WireGuard gets ---- */
nbh_mono nbh_conn_handshake_deadline(const NbhConn *conn);
void nbh_conn_settle_renewal(NbhConnStep *s);
void nbh_conn_publish_direct(NbhConnStep *s, gboolean new_session);
void nbh_conn_publish_selection(NbhConnStep *s);

#endif
