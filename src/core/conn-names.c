/* The tables around the connection machine: names, legal transitions, the earliest timer. */
#include "config.h"

#include "core/conn.h"

static const char *const state_names[] = {
	[NBH_CONN_DOWN] = "DOWN",
	[NBH_CONN_IDLE] = "IDLE",
	[NBH_CONN_QUEUED] = "QUEUED",
	[NBH_CONN_SIGNALING] = "SIGNALING",
	[NBH_CONN_CHECKING] = "CHECKING",
	[NBH_CONN_UP] = "UP",
	[NBH_CONN_DEGRADED] = "DEGRADED",
	[NBH_CONN_BACKOFF] = "BACKOFF",
};
G_STATIC_ASSERT(G_N_ELEMENTS(state_names) == NBH_CONN_N_STATES);

static const char *const event_names[] = {
	[NBH_CONN_EV_START] = "START",
	[NBH_CONN_EV_STOP] = "STOP",
	[NBH_CONN_EV_ADOPT] = "ADOPT",
	[NBH_CONN_EV_SLOT] = "SLOT",
	[NBH_CONN_EV_OFFER] = "OFFER",
	[NBH_CONN_EV_ANSWER] = "ANSWER",
	[NBH_CONN_EV_CANDIDATE] = "CANDIDATE",
	[NBH_CONN_EV_GO_IDLE] = "GO_IDLE",
	[NBH_CONN_EV_OTHER_MESSAGE] = "OTHER_MESSAGE",
	[NBH_CONN_EV_SENT] = "SENT",
	[NBH_CONN_EV_HEARD] = "HEARD",
	[NBH_CONN_EV_SELECTED] = "SELECTED",
	[NBH_CONN_EV_FAILED] = "FAILED",
	[NBH_CONN_EV_LOST] = "LOST",
	[NBH_CONN_EV_ICE_GONE] = "ICE_GONE",
	[NBH_CONN_EV_HANDSHAKE] = "HANDSHAKE",
	[NBH_CONN_EV_SILENT] = "SILENT",
	[NBH_CONN_EV_WAKE] = "WAKE",
	[NBH_CONN_EV_SIGNAL_UP] = "SIGNAL_UP",
	[NBH_CONN_EV_NETWORK] = "NETWORK",
	[NBH_CONN_EV_TIMER] = "TIMER",
};
G_STATIC_ASSERT(G_N_ELEMENTS(event_names) == NBH_CONN_N_EVENTS);

static const char *const action_names[] = {
	[NBH_CONN_DO_SEND_OFFER] = "SEND_OFFER",
	[NBH_CONN_DO_SEND_ANSWER] = "SEND_ANSWER",
	[NBH_CONN_DO_SEND_CANDIDATES] = "SEND_CANDIDATES",
	[NBH_CONN_DO_SEND_GO_IDLE] = "SEND_GO_IDLE",
	[NBH_CONN_DO_WANT_SLOT] = "WANT_SLOT",
	[NBH_CONN_DO_RELEASE_SLOT] = "RELEASE_SLOT",
	[NBH_CONN_DO_ICE_OPEN] = "ICE_OPEN",
	[NBH_CONN_DO_ICE_REMOTE] = "ICE_REMOTE",
	[NBH_CONN_DO_ICE_CANDIDATE] = "ICE_CANDIDATE",
	[NBH_CONN_DO_ICE_CLOSE] = "ICE_CLOSE",
	[NBH_CONN_DO_PUBLISH] = "PUBLISH",
	[NBH_CONN_DO_FORWARD] = "FORWARD",
	[NBH_CONN_DO_ARM] = "ARM",
	[NBH_CONN_DO_DISARM] = "DISARM",
};
G_STATIC_ASSERT(G_N_ELEMENTS(action_names) == NBH_CONN_N_ACTIONS);

const char *nbh_conn_state_name(NbhConnState state)
{
	return (guint)state < NBH_CONN_N_STATES ? state_names[state] : "?";
}

const char *nbh_conn_event_name(NbhConnEventType type)
{
	return (guint)type < NBH_CONN_N_EVENTS ? event_names[type] : "?";
}

const char *nbh_conn_action_name(NbhConnActionType type)
{
	return (guint)type < NBH_CONN_N_ACTIONS ? action_names[type] : "?";
}

#define TO(state) (1u << NBH_CONN_##state)

/* The last column of the table in conn.h, and what a peer without ICE or a repeated OFFER adds. */
static const guint transitions[] = {
	[NBH_CONN_DOWN] = TO(SIGNALING) | TO(IDLE),
	[NBH_CONN_IDLE] = TO(DOWN) | TO(SIGNALING) | TO(QUEUED),
	[NBH_CONN_QUEUED] = TO(DOWN) | TO(IDLE) | TO(CHECKING) | TO(SIGNALING) | TO(DEGRADED),
	[NBH_CONN_SIGNALING] = TO(DOWN) | TO(IDLE) | TO(QUEUED) | TO(CHECKING) | TO(UP),
	[NBH_CONN_CHECKING] = TO(DOWN) | TO(IDLE) | TO(UP) | TO(BACKOFF) | TO(SIGNALING) | TO(DEGRADED),
	[NBH_CONN_UP] = TO(DOWN) | TO(IDLE) | TO(QUEUED) | TO(SIGNALING) | TO(DEGRADED),
	[NBH_CONN_DEGRADED] = TO(DOWN) | TO(IDLE) | TO(QUEUED),
	[NBH_CONN_BACKOFF] = TO(DOWN) | TO(IDLE) | TO(UP) | TO(QUEUED) | TO(SIGNALING) | TO(DEGRADED),
};
G_STATIC_ASSERT(G_N_ELEMENTS(transitions) == NBH_CONN_N_STATES);

gboolean nbh_conn_may_go(NbhConnState from, NbhConnState to)
{
	return from == to || (transitions[from] & (1u << to)) != 0;
}

nbh_mono nbh_conn_next_timer(const NbhConn *conn, NbhConnTimer *ret_timer)
{
	nbh_mono earliest = NBH_MONO_NEVER;

	for (guint i = 0; i < NBH_CONN_N_TIMERS; i++) {
		if (nbh_mono_before(conn->timers[i], earliest)) {
			earliest = conn->timers[i];
			*ret_timer = (NbhConnTimer)i;
		}
	}

	return earliest;
}
