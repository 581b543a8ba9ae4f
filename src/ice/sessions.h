#ifndef NBH_ICE_SESSIONS_H
#define NBH_ICE_SESSIONS_H

/*
 * The sessions of netbird-ice: one agent each, named by the peer's key. A session ends only by
 * CLOSE, CLOSE_ALL or another OPEN, never by failing. Kept in ice/sessions (store.h).
 */

#include "ice/agent.h"
#include "ice/proto.h"

typedef struct _NbhSessions NbhSessions;

/* say: a line for the helper, if one is there. From the loop, or from inside nbh_sessions_do(). */
typedef void (*NbhSessionsSay)(const NbhIceMessage *message, gpointer owner);

/* world->port is WireGuard's. dirfd, port: borrowed. */
NbhSessions *nbh_sessions_new(int dirfd, NbhPort *port, const NbhAgentWorld *world, NbhSessionsSay say,
                              gpointer owner);
/* The agents end, ice/sessions stays: the next netbird-ice goes on with it. */
void nbh_sessions_free(NbhSessions *sessions);

/*
 * OPEN, REMOTE, CANDIDATE, CLOSE, CLOSE_ALL, LIST; and, from ice/sessions, SELECTED: this pair was
 * in use before the restart. Others are ignored.
 */
void nbh_sessions_do(NbhSessions *sessions, const NbhIceMessage *message);

#endif
