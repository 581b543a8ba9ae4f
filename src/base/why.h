#ifndef NBH_BASE_WHY_H
#define NBH_BASE_WHY_H

#include "base/macros.h"

/*
 * Says what was wrong ("peers[3].endpoint: port 0") beside a negative errno that says how to act.
 * Lives on the caller's stack, cannot leak and cannot fail; a longer text is cut. Functions that
 * take one accept NULL.
 */
struct nbh_why {
	char text[160];
};

void nbh_why_set(struct nbh_why *why, const char *fmt, ...) NBH_PRINTF(2, 3);

/* Puts "PREFIX: " before what is there. */
void nbh_why_prefix(struct nbh_why *why, const char *fmt, ...) NBH_PRINTF(2, 3);

#endif
