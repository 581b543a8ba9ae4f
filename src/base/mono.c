#include "config.h"

#include "base/mono.h"

#include <time.h>

nbh_mono nbh_mono_now(void)
{
	struct timespec ts;

	/* Cannot fail: the clock id is valid on every Linux and ts is ours. */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (nbh_mono){ (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 };
}
