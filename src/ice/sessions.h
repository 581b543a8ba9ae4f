#ifndef NBH_ICE_SESSIONS_H
#define NBH_ICE_SESSIONS_H

/*
 * The sessions of netbird-ice, named by the peer's key. A session ends only by CLOSE, CLOSE_ALL or
 * another OPEN, never by failing. Kept in ice/sessions (store.h).
 *
 * Each has an agent until its pair has been in use for ten seconds. Then it has settled: the agent is
 * dropped, with its sockets, timers and 40 kB, and the port answers what the peer asks to hear that we
 * are there. Anything else (a new source, another role, a nomination, a new candidate) gets an agent
 * anew, as after a restart (interop.md rule 16), for another ten seconds.
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

/* Packets have come: we are awake, and a look that is due soon saves a wake-up when it is done now. */
void nbh_sessions_awake(NbhSessions *sessions);

#endif
