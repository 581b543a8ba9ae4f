#include "config.h"

#include "core/backoff.h"

void nbh_backoff_init(NbhBackoff *backoff, guint32 min_ms, guint32 max_ms, double factor, guint32 jitter_percent)
{
	*backoff = (NbhBackoff){
		.min_ms = min_ms,
		.max_ms = MAX(min_ms, max_ms),
		.factor = MAX(factor, 1.0),
		.jitter_percent = MIN(jitter_percent, 100),
	};
}

guint32 nbh_backoff_next(NbhBackoff *backoff, guint32 random32)
{
	guint32 nominal_ms = backoff->nominal_ms ? backoff->nominal_ms : backoff->min_ms;
	double next_ms = MIN(nominal_ms * backoff->factor, (double)backoff->max_ms);
	gint64 spread_ms = (gint64)nominal_ms * backoff->jitter_percent / 100;
	gint64 delay_ms = nominal_ms;

	if (spread_ms > 0)
		delay_ms += (gint64)((guint64)random32 * (guint64)(2 * spread_ms + 1) >> 32) - spread_ms;

	backoff->nominal_ms = (guint32)next_ms;
	return (guint32)delay_ms;
}

void nbh_backoff_reset(NbhBackoff *backoff)
{
	backoff->nominal_ms = 0;
}
