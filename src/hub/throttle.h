#ifndef NBH_HUB_THROTTLE_H
#define NBH_HUB_THROTTLE_H

/*
 * How often one source address may do something that costs us work: a token bucket per IPv4 address
 * or IPv6 /64. Bounded: when the table is full, full buckets go first, then everything.
 */

#include "base/addr.h"
#include "base/mono.h"

#include <glib.h>

typedef struct _NbhThrottle NbhThrottle;

NbhThrottle *nbh_throttle_new(guint burst, guint per_second, guint max_addresses);
/* has: would take() succeed? */
gboolean nbh_throttle_has(NbhThrottle *throttle, const struct nbh_addr *addr, nbh_mono now);
gboolean nbh_throttle_take(NbhThrottle *throttle, const struct nbh_addr *addr, nbh_mono now);
struct nbh_addr nbh_throttle_group(const struct nbh_addr *addr); /* whose bucket: the address, the /64 */
guint nbh_throttle_size(const NbhThrottle *throttle);
void nbh_throttle_free(NbhThrottle *throttle);

#endif
