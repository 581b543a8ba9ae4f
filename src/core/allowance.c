#include "config.h"

#include "core/allowance.h"

gboolean nbh_allowance_take(NbhAllowance *allowance, guint burst, guint every_ms, nbh_mono now)
{
	gint64 earned = nbh_mono_diff_ms(now, allowance->since) / every_ms;

	if (earned >= allowance->spent) {
		allowance->spent = 0;
		allowance->since = now;
	} else if (earned > 0) {
		allowance->spent -= (guint)earned;
		allowance->since = nbh_mono_add_ms(allowance->since, earned * every_ms);
	}

	if (allowance->spent >= burst)
		return FALSE;

	allowance->spent++;
	return TRUE;
}
