#ifndef NBH_BASE_MONO_H
#define NBH_BASE_MONO_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A moment of CLOCK_MONOTONIC in a type of its own, so that it cannot be mixed up with a duration.
 * Passed down as a parameter: nothing below the event loop reads a clock.
 */
typedef struct {
	int64_t usec;
} nbh_mono;

#define NBH_MONO_NEVER ((nbh_mono){ INT64_MAX })

nbh_mono nbh_mono_now(void);

static inline nbh_mono nbh_mono_add_ms(nbh_mono t, int64_t ms)
{
	return (nbh_mono){ t.usec + ms * 1000 };
}

static inline int64_t nbh_mono_diff_ms(nbh_mono later, nbh_mono earlier)
{
	return (later.usec - earlier.usec) / 1000;
}

static inline bool nbh_mono_before(nbh_mono a, nbh_mono b)
{
	return a.usec < b.usec;
}

#endif
