#ifndef NBH_MGMT_MGMT_GRPC_H
#define NBH_MGMT_MGMT_GRPC_H

#include "mgmt/mgmt.h"

/* For tests, right behind open(): other times than 1 s and 30 s between a change and its SyncMeta. */
void nbh_mgmt_grpc_set_facts_times(NbhMgmt *mgmt, guint settle_ms, guint interval_ms);

#endif
