#ifndef NBH_ICE_AGENT_H
#define NBH_ICE_AGENT_H

/*
 * One libnice agent behind the port adaptor. Settings of ice-port.md sections 1 and 13: aggressive
 * nomination, trickle, no TCP, no UPnP, no consent freshness, one dummy address per family, a
 * context of its own.
 */

#include "ice/ice.h"
#include "ice/port.h"

typedef struct _NbhAgent NbhAgent;

/* From the loop or from inside set_remote() and add_candidate(); nbh_agent_free() is not legal inside. */
typedef struct {
	/* May come again with another pair. The local end is what the kernel's WireGuard will use. */
	void (*on_selected)(NbhAgent *agent, const NbhIcePair *pair, gpointer owner);
	/* Checks ran out. It goes on answering, and a new candidate revives it. */
	void (*on_failed)(NbhAgent *agent, gpointer owner);
	/* Once: the far end was heard, so that a packet to this address now reaches it. */
	void (*on_heard)(NbhAgent *agent, const struct nbh_endpoint *from, gpointer owner);
} NbhAgentEvents;

/* Describes the local end of a pair: what the far end saw, for status. */
typedef struct {
	gboolean (*natural_source)(const struct nbh_endpoint *to, struct nbh_addr *ret_from, gpointer owner);
	gpointer owner;
	guint16 port; /* WireGuard's */
} NbhAgentWorld;

/* q: 0, or that of the same session, which had settled. */
NbhAgent *nbh_agent_new(NbhPort *port, guint16 q, const NbhAgentWorld *world, const NbhIceOpen *open,
                        const NbhAgentEvents *events, gpointer owner, GError **error);

/* Candidates that came earlier are used now. */
void nbh_agent_set_remote(NbhAgent *agent, const NbhIceCreds *creds);
/* Kept until the credentials are known; repeated ones and those beyond the limit change nothing. TRUE: new. */
gboolean nbh_agent_add_candidate(NbhAgent *agent, const NbhCandidate *candidate);

const NbhCandidateSet *nbh_agent_candidates(const NbhAgent *agent);
guint16 nbh_agent_q(const NbhAgent *agent);

/* No event after these. settle: the session goes on without it, see nbh_port_settle(). */
void nbh_agent_free(NbhAgent *agent);
void nbh_agent_settle(NbhAgent *agent, const NbhPortSettled *settled);

#endif
