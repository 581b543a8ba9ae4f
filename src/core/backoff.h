#ifndef NBH_CORE_BACKOFF_H
#define NBH_CORE_BACKOFF_H

#include <glib.h>

/* A growing delay with jitter. Plain value; randomness comes in as a parameter, so tests are exact. */
typedef struct {
	guint32 min_ms, max_ms;
	double factor;
	guint32 jitter_percent; /* of the nominal delay, to both sides */
	guint32 nominal_ms;     /* of the next delay; 0: min */
} NbhBackoff;

void nbh_backoff_init(NbhBackoff *backoff, guint32 min_ms, guint32 max_ms, double factor, guint32 jitter_percent);
/* The delay to wait now; the next one is larger. random32: any random number. */
guint32 nbh_backoff_next(NbhBackoff *backoff, guint32 random32);
void nbh_backoff_reset(NbhBackoff *backoff);

#endif
