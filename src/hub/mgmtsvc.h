#ifndef NBH_HUB_MGMTSVC_H
#define NBH_HUB_MGMTSVC_H

/* The management service: GetServerKey, Login, Sync with its updates, and what else clients call. */

#include "hub/call.h"
#include "hub/maps.h"
#include "hub/registry.h"

typedef struct _NbhMgmtService NbhMgmtService;

/* All borrowed. */
NbhMgmtService *nbh_mgmt_service_new(NbhRegistry *registry, NbhMaps *maps,
				     const struct nbh_key *own_private);
void nbh_mgmt_service_free(NbhMgmtService *service); /* after front: no call is left */

extern const NbhHubMethod nbh_mgmt_methods[]; /* ends with path NULL */

/* From the registry's events. */
void nbh_mgmt_service_changed(NbhMgmtService *service);
void nbh_mgmt_service_removed(NbhMgmtService *service, const struct nbh_key *key);

guint nbh_mgmt_service_connected(const NbhMgmtService *service); /* Sync streams */

#endif
