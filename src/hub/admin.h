#ifndef NBH_HUB_ADMIN_H
#define NBH_HUB_ADMIN_H

/* key create|list|revoke, peer list|remove: work on the database, whether the hub runs or not. */

#include "hub/options.h"
#include "hub/store.h"

#include <stdio.h>

/* Answers go to out, remarks to err. now_s: unix time. */
gboolean nbh_admin_run(const NbhHubOptions *options, NbhStore *store, gboolean is_served, gint64 now_s,
		       FILE *out, FILE *err, GError **error);

#endif
