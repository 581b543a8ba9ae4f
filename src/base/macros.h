#ifndef NBH_BASE_MACROS_H
#define NBH_BASE_MACROS_H

#include <stdlib.h>
#include <unistd.h>

#define NBH_N_ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define NBH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* A local that owns memory or a descriptor says so where it is declared. */
static inline void nbh_free_ptr(void *p)
{
	free(*(void **)p);
}

static inline void nbh_close_fd(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define nbh_cleanup_free __attribute__((cleanup(nbh_free_ptr)))
#define nbh_cleanup_close __attribute__((cleanup(nbh_close_fd)))

/* Hands a descriptor over; the cleanup then has nothing to close. */
static inline int nbh_steal_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
