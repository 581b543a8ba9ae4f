#ifndef NBH_WG_BACKEND_FAKE_H
#define NBH_WG_BACKEND_FAKE_H

#include "wg/backend.h"

/*
 * Knobs of the in-memory backend, for tests. One interface, which outlives close() as a real one
 * does; wg_fake_reset() forgets it.
 */
void wg_fake_reset(void);
/* The nth apply from now (1: the next) does its first done_ops operations and fails with error. */
void wg_fake_fail_apply(unsigned nth, size_t done_ops, int error);
/* The peer answered from elsewhere. */
int wg_fake_roam(const struct nbh_key *public_key, const struct nbh_endpoint *endpoint);

#endif
