#ifndef NBH_CORE_ALLOWANCE_H
#define NBH_CORE_ALLOWANCE_H

#include "base/mono.h"

#include <glib.h>

/*
 * How often somebody else may make us do something: `burst` times at once, and one more for each
 * `every_ms` that passes. All zeros is a full allowance.
 */
typedef struct {
	guint spent;
	nbh_mono since; /* the part of every_ms that has passed begins here */
} NbhAllowance;

/* FALSE: not now. */
gboolean nbh_allowance_take(NbhAllowance *allowance, guint burst, guint every_ms, nbh_mono now);

#endif
