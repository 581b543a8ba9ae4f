#ifndef NBH_HUB_SIGNALSVC_H
#define NBH_HUB_SIGNALSVC_H

/* The signal service: carries sealed messages between registered peers, unread. netbird-hub.md 8. */

#include "base/mono.h"
#include "hub/call.h"
#include "hub/registry.h"

typedef struct _NbhSignalService NbhSignalService;

NbhSignalService *nbh_signal_service_new(NbhRegistry *registry); /* borrowed */
void nbh_signal_service_free(NbhSignalService *service); /* after front: no call is left */

extern const NbhHubMethod nbh_signal_methods[]; /* ends with path NULL */

void nbh_signal_service_removed(NbhSignalService *service, const struct nbh_key *key);
/* Every few seconds: ends streams that have taken nothing for 10 s. */
void nbh_signal_service_check(NbhSignalService *service, nbh_mono now);

#endif
