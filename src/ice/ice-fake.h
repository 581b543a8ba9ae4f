#ifndef NBH_ICE_ICE_FAKE_H
#define NBH_ICE_ICE_FAKE_H

/*
 * For tests: no process and no network. All fakes of one test program see each other: two sessions
 * select a pair when each has the other's credentials and at least one of the other's candidates.
 * These functions play the world; events come from the loop as always.
 */

#include "ice/ice.h"

/* What a STUN query is answered with; NULL: nobody answers (at once, not after 9 s). */
void nbh_ice_fake_set_mapped(NbhIce *ice, const struct nbh_endpoint *mapped);

/* Events of one session; nothing if it is not open. lose: also forgets the selection. */
void nbh_ice_fake_fail(NbhIce *ice, const struct nbh_key *peer);
void nbh_ice_fake_lose(NbhIce *ice, const struct nbh_key *peer);

/* The link breaks (on_down); forget: as if netbird-ice had died, too. up: listing and on_ready. */
void nbh_ice_fake_down(NbhIce *ice, gboolean forget);
void nbh_ice_fake_up(NbhIce *ice);

/* NULL if there is none; valid until the next call. */
const NbhIceSession *nbh_ice_fake_session(NbhIce *ice, const struct nbh_key *peer);
guint nbh_ice_fake_n_candidates(NbhIce *ice, const struct nbh_key *peer);
/* Number of forwards so far; ret_to: where the last one went. */
guint nbh_ice_fake_n_forwards(NbhIce *ice, struct nbh_endpoint *ret_to);

#endif
