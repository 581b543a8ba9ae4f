#ifndef NBH_CORE_CONN_H
#define NBH_CORE_CONN_H

/*
 * One peer's connection, decided. nbh_conn_step(conn, event, now, actions) is a pure function: no
 * socket, no clock, no timer, no allocation inside. The rules are those of NetBird's signalling
 * (design: architecture.md section 5; interop.md rules 1-19; netbird-wire.md section 4).
 *
 *   state      means                                     holds            leaves on
 *   DOWN       peer not wanted                           nothing          START -> SIGNALING; -> IDLE if an
 *                                                                         earlier run left it asleep
 *   IDLE       gone idle on purpose (GO_IDLE); WireGuard  nothing          WAKE, any signal message ->
 *              sends to its loopback endpoint                             SIGNALING; OFFER -> QUEUED
 *   QUEUED     the peer's credentials are here, no slot  a wish or slot   SLOT -> CHECKING
 *   SIGNALING  offer out, nothing heard yet              OFFER timer      OFFER, ANSWER -> QUEUED;
 *                                                                         ADOPT -> UP, CHECKING
 *   CHECKING   agent open, candidates flow               agent, slot,     SELECTED -> UP;
 *                                                        ATTEMPT timer    FAILED, ATTEMPT -> BACKOFF
 *   UP         pair selected, direct path published      agent,           LOST, SILENT, HANDSHAKE, NETWORK ->
 *              (controlled, official: 100 ms later)      HANDSHAKE timer  DEGRADED; new OFFER -> QUEUED
 *   DEGRADED   as SIGNALING, while the lost direct path  OFFER timer      OFFER, ANSWER -> QUEUED
 *              stays published
 *   BACKOFF    attempt failed; the agent still answers,  agent,           SELECTED -> UP;
 *              offers of the same session go on          OFFER timer      OFFER, ANSWER -> QUEUED;
 *                                                                         2nd time: TIMER -> SIGNALING
 *   any                                                                   STOP -> DOWN; GO_IDLE -> IDLE
 *
 * What WireGuard has is `path`, and that is apart from the state: a direct path stays through QUEUED,
 * CHECKING and BACKOFF until a new selection replaces it or the peer goes idle.
 *
 * Invariants: an agent is open exactly in CHECKING, UP and BACKOFF, and it uses `local` as it is
 * now, so that every OFFER and ANSWER names the agent that is, or will be next. WANT_SLOT is
 * followed by exactly one RELEASE_SLOT, whether the slot was granted meanwhile or not: the table
 * takes a slot back or strikes the wish out. (An adopted attempt checks without a slot.)
 *
 * START offers through the OFFER timer, due at once, so that an ADOPT given right behind START comes
 * first and no message disturbs a session that lives. ADOPT at any other time: a session that is not
 * ours any more is closed.
 *
 * Session ids. A new one of our own, with new credentials, is drawn at START, when the session is
 * lost or goes idle, and after the second failure of one pair of sessions. Otherwise offers repeat
 * the one that is: a new id cancels what the peer is trying (rule 10). An OFFER or ANSWER with another
 * id of the peer's means that the peer had dropped its agent: ours is made anew with our same session,
 * so that whatever offer or answer of ours is under way still tells the truth.
 */

#include "base/addr.h"
#include "base/key.h"
#include "base/mono.h"
#include "core/candidate.h"

#include <glib.h>

#define NBH_SESSION_ID_LEN 5
#define NBH_CONN_ACTIONS_MAX 48 /* a full set of queued candidates and what goes with it */

typedef enum {
	NBH_CONN_DOWN,
	NBH_CONN_IDLE,
	NBH_CONN_QUEUED,
	NBH_CONN_SIGNALING,
	NBH_CONN_CHECKING,
	NBH_CONN_UP,
	NBH_CONN_DEGRADED,
	NBH_CONN_BACKOFF,
	NBH_CONN_N_STATES
} NbhConnState;

typedef struct {
	char ufrag[NBH_ICE_UFRAG_MAX + 1];
	char pwd[NBH_ICE_PWD_MAX + 1];
} NbhIceCreds;

typedef struct {
	gboolean present;
	guint8 bytes[NBH_SESSION_ID_LEN];
} NbhSessionId;

typedef struct {
	NbhCandidateType local_type, remote_type;
	struct nbh_endpoint local, remote;
} NbhIcePair;

typedef enum {
	NBH_CONN_EV_START,        /* the peer is wanted */
	NBH_CONN_EV_STOP,         /* gone from the map; or `is_leaving`: we are, and the peer may know it */
	NBH_CONN_EV_ADOPT,        /* netbird-ice still holds a session: adopt */
	NBH_CONN_EV_SLOT,         /* may check now (answer to WANT_SLOT) */
	NBH_CONN_EV_OFFER,        /* from the peer: offer */
	NBH_CONN_EV_ANSWER,       /* from the peer: offer */
	NBH_CONN_EV_CANDIDATE,    /* from the peer: candidate */
	NBH_CONN_EV_GO_IDLE,      /* from the peer */
	NBH_CONN_EV_OTHER_MESSAGE, /* MODE or unknown: wakes an idle peer, else nothing */
	NBH_CONN_EV_SENT,         /* the Send that `sent` names has returned */
	NBH_CONN_EV_HEARD,        /* from ice: the peer's first check of this session came from `heard` */
	NBH_CONN_EV_SELECTED,     /* from ice: pair */
	NBH_CONN_EV_FAILED,       /* from ice: checks ran out; not final */
	NBH_CONN_EV_LOST,         /* from ice: 6 s without authenticated STUN (official far end only) */
	NBH_CONN_EV_ICE_GONE,     /* netbird-ice restarted: our agent does not exist any more */
	NBH_CONN_EV_HANDSHAKE,    /* wg/status.json shows a handshake at time `at` */
	NBH_CONN_EV_SILENT,       /* wg/status.json: what is sent is not answered any more */
	NBH_CONN_EV_WAKE,         /* local traffic reached the loopback endpoint; has_initiation */
	NBH_CONN_EV_SIGNAL_UP,    /* signal (re)connected */
	NBH_CONN_EV_NETWORK,      /* local addresses changed; path_changed: the source towards the peer did */
	NBH_CONN_EV_TIMER,        /* `timer` fired */
	NBH_CONN_N_EVENTS
} NbhConnEventType;

typedef enum {
	NBH_CONN_TIMER_OFFER,      /* offer again */
	NBH_CONN_TIMER_CANDIDATES, /* send the candidates again: 50 ms, then 1 s (rule 9) */
	NBH_CONN_TIMER_HOLD,       /* 100 ms: remote credentials to ice (rule 3) */
	NBH_CONN_TIMER_PUBLISH,    /* selected, not published yet: nbh_conn_publish_selection() */
	NBH_CONN_TIMER_RENEW,      /* official, once: no handshake 600 ms after the endpoint; or rule 17 */
	NBH_CONN_TIMER_ATTEMPT,    /* an attempt that neither selects nor fails: 15 s */
	NBH_CONN_TIMER_HANDSHAKE,  /* no handshake on the new path (30 s), or stale (210 s) */
	NBH_CONN_N_TIMERS
} NbhConnTimer;

typedef enum { NBH_CONN_SENT_OFFER, NBH_CONN_SENT_ANSWER, NBH_CONN_SENT_CANDIDATES } NbhConnSent;

typedef struct {
	NbhConnEventType type;
	guint32 random; /* fresh for each step; the only randomness inside (jitter, caps) */
	NbhSessionId new_session;  /* fresh random id and credentials, used if the step needs them */
	NbhIceCreds new_creds;
	union {
		struct {
			gboolean far_is_helper; /* agentVersion is ours: no interop delays, no re-creation */
			gboolean far_is_lazy;   /* account switch on and version lazy-capable: it knows the WireGuard peer before it connects */
			/*
			 * From peers.json of an earlier run: what WireGuard has now. A loopback endpoint means
			 * that the peer was idle: an official one is left asleep.
			 */
			struct nbh_endpoint endpoint;
			guint32 session;
		} start;
		struct {
			NbhIceCreds local, remote;
			NbhSessionId local_session, remote_session;
			gboolean selected;
			NbhIcePair pair;
		} adopt;
		struct {
			gboolean has_ice; /* FALSE: payload ":", relay only */
			NbhIceCreds creds;
			NbhSessionId session;
		} offer; /* OFFER, ANSWER */
		NbhCandidate candidate;
		struct {
			NbhConnSent what;
			gboolean ok;
		} sent;
		struct nbh_endpoint heard;
		NbhIcePair pair;
		nbh_mono handshake_at;
		gboolean has_initiation; /* the caller keeps the newest one until FORWARD */
		gboolean path_changed;
		gboolean is_leaving;
		NbhConnTimer timer;
	} u;
} NbhConnEvent;

typedef enum {
	NBH_CONN_DO_SEND_OFFER,      /* local creds and session of the conn */
	NBH_CONN_DO_SEND_ANSWER,
	NBH_CONN_DO_SEND_CANDIDATES, /* all of ours; SENT comes once the last Send returned */
	NBH_CONN_DO_SEND_GO_IDLE,
	NBH_CONN_DO_WANT_SLOT,
	NBH_CONN_DO_RELEASE_SLOT,    /* or strike the wish out, if it was not granted yet */
	NBH_CONN_DO_ICE_OPEN,        /* local creds, role, liveness */
	NBH_CONN_DO_ICE_REMOTE,      /* remote creds */
	NBH_CONN_DO_ICE_CANDIDATE,   /* candidate */
	NBH_CONN_DO_ICE_CLOSE,
	NBH_CONN_DO_PUBLISH,         /* kind, endpoint, keepalive, session */
	NBH_CONN_DO_FORWARD,         /* the captured initiation, once, to endpoint (architecture.md 5) */
	NBH_CONN_DO_ARM,             /* timer at `at`; replaces an armed one */
	NBH_CONN_DO_DISARM,
	NBH_CONN_N_ACTIONS
} NbhConnActionType;

typedef enum {
	NBH_PATH_NONE,   /* known peer, never had a path */
	NBH_PATH_IDLE,   /* its 127.1.x.y */
	NBH_PATH_DIRECT,
} NbhPathKind;

typedef struct {
	NbhPathKind kind;
	struct nbh_endpoint endpoint; /* DIRECT only */
	guint16 keepalive_s;
	guint32 session;
} NbhPath;

typedef struct {
	NbhConnActionType type;
	union {
		NbhCandidate candidate;
		NbhPath path;
		struct nbh_endpoint endpoint;
		struct {
			NbhConnTimer timer;
			nbh_mono at;
		} arm;
	} u;
} NbhConnAction;

typedef struct {
	NbhConnAction items[NBH_CONN_ACTIONS_MAX];
	gsize n;
	/* For the one log line and for status: set when the state changed. */
	gboolean changed;
	NbhConnState from, to;
	const char *reason; /* static text, e.g. "PAIR_SELECTED" */
	gboolean illegal; /* a bug: the change is not in the table. Warn, STOP and START the peer */
} NbhConnActions;

/* Plain data; the fields are for conn.c, status and tests. Times are absolute. */
typedef struct {
	NbhConnState state;
	gboolean controlling; /* our key text is greater, strcmp: netbird-wire.md 4.1 */
	gboolean far_is_helper, far_is_lazy;

	/* The session: ours, and the peer's as its last OFFER or ANSWER named it. */
	NbhIceCreds local, remote;
	NbhSessionId local_session, remote_session;
	NbhCandidateSet candidates; /* the peer's, also those that came before there is an agent */
	nbh_mono remote_at;         /* when `remote` came */
	gboolean agent_open, remote_set; /* an agent exists; it has the remote credentials */
	gboolean wants_slot, has_slot;
	gboolean may_adopt;  /* since START nothing was sent and nothing opened */
	gboolean owe_answer; /* the peer's OFFER is answered when the agent opens */
	gboolean candidates_due; /* they follow when the Send of our ANSWER has returned (rule 9) */
	gboolean hold_running;   /* the 100 ms of rule 3 have begun; else the HOLD timer is the fallback */
	guint answers_unsent;    /* Sends of an ANSWER that have not returned */
	guint candidates_sent;   /* sets, since the last OFFER or ANSWER that they belong to */

	/* Offers */
	guint offers_sent, early_offers;
	guint32 offer_base_ms, offer_nominal_ms, offer_cap_ms;

	/* What WireGuard has, and had. */
	NbhPath path;
	NbhIcePair pair;
	gboolean has_pair;
	gboolean had_path;      /* a direct endpoint was published before: a session may exist */
	gboolean had_handshake; /* a WireGuard session may exist that the far end may have dropped */
	gboolean renew;         /* the next selection needs a new WireGuard session (rule 17) */
	gboolean woken_here, has_initiation, forwarded; /* captured; sent to where the peer was heard */
	struct nbh_endpoint heard; /* where the peer's checks of this agent come from; port 0: not yet */
	gboolean is_renewal; /* the path that is published is the second try */

	nbh_mono state_since, session_began, selected_at, handshake_at; /* 0: never */
	nbh_mono published_at, renewed_at; /* the direct path; with a new WireGuard session */
	guint failures;         /* of this pair of sessions */
	guint attempts, losses; /* failed attempts; selected paths that were lost */
	const char *why_not_direct; /* static text for status; NULL when direct */
	nbh_mono timers[NBH_CONN_N_TIMERS]; /* NBH_MONO_NEVER: not armed */
} NbhConn;

/* The keys only say who controls. */
void nbh_conn_init(NbhConn *conn, const struct nbh_key *own, const struct nbh_key *far, nbh_mono now);
void nbh_conn_step(NbhConn *conn, const NbhConnEvent *event, nbh_mono now, NbhConnActions *ret_actions);

/*
 * The earliest armed timer, NBH_MONO_NEVER if none; the caller keeps one source per table, not per
 * peer. A TIMER event that is early or not armed is ignored.
 */
nbh_mono nbh_conn_next_timer(const NbhConn *conn, NbhConnTimer *ret_timer);

const char *nbh_conn_state_name(NbhConnState state);   /* "CHECKING" */
const char *nbh_conn_event_name(NbhConnEventType type);
const char *nbh_conn_action_name(NbhConnActionType type);
gboolean nbh_conn_may_go(NbhConnState from, NbhConnState to); /* the table of legal transitions */

#endif
