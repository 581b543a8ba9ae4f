#ifndef NBH_TESTS_LIB_CONNRIG_H
#define NBH_TESTS_LIB_CONNRIG_H

/*
 * One connection machine as its caller sees it. Each step is made twice (it is pure), and what must hold
 * after any of them is checked: actions, invariants, transitions.
 */

#include "core/conn.h"

/* What a caller sees of the actions alone; checked against the machine's own fields. */
typedef struct {
	NbhConn conn;
	nbh_mono now;
	guint32 serial; /* of sessions and credentials handed in */
	gboolean agent_open, slot_wanted, inherited, is_wanted;
	guint32 session;
	nbh_mono timers[NBH_CONN_N_TIMERS];
	NbhConnActions out; /* of the last step */
} Rig;

struct nbh_endpoint rig_endpoint_of(const char *text);
void rig_init(Rig *rig, gboolean controlling);
guint rig_count(const Rig *rig, NbhConnActionType type);
const NbhConnAction *rig_find(const Rig *rig, NbhConnActionType type);
void rig_step(Rig *rig, NbhConnEvent *event);
void rig_give(Rig *rig, NbhConnEventType type);
void rig_give_start(Rig *rig, gboolean far_is_helper);
void rig_give_message(Rig *rig, NbhConnEventType type, const char *ufrag, guint8 session);
NbhCandidate rig_candidate_of(NbhCandidateType type, const char *endpoint, const char *ufrag);
void rig_give_candidate(Rig *rig, NbhCandidate candidate);
void rig_give_sent(Rig *rig, NbhConnSent what);
void rig_give_selected(Rig *rig, const char *remote);
void rig_give_heard(Rig *rig, const char *from);
void rig_give_wake(Rig *rig, gboolean has_initiation);
void rig_give_handshake(Rig *rig, nbh_mono at);
void rig_give_network(Rig *rig, gboolean path_changed);
void rig_pass(Rig *rig, gint64 ms);
/* Goes to the earliest timer and gives it; returns how long that took. */
gint64 rig_fire(Rig *rig, NbhConnTimer expected);
/* Up to a selection; `answered`: the peer answered our offer, else it offered. */
void rig_connect(Rig *rig, gboolean answered, const char *ufrag, guint8 session);
void rig_bring(Rig *rig, NbhConnState state, gboolean far_is_helper);
/* All that can be told apart in one type of event. */
guint rig_variants_of(NbhConnEventType type);
NbhConnEvent rig_event_of(const Rig *rig, NbhConnEventType type, guint variant);
guint32 rig_publish_session(const Rig *rig);

#endif
