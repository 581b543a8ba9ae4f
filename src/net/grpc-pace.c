/*
 * What a server may cost us: CPU time of the loop that its bytes use, decoding and the owners'
 * callbacks included. Maps and messages without end are read more slowly then, and TCP holds the
 * server back; nothing is lost, and everything else in the loop gets its turn.
 */

#include "config.h"

#include "net/grpc-private.h"

#include "base/limits.h"
#include "base/log.h"

#include <time.h>

#define BURST_USEC (NBH_GRPC_CPU_BURST_MS * 1000LL)
#define PAUSE_MIN_USEC 10000 /* less is not worth a timer */
#define PAUSE_MAX_USEC 1000000 /* PINGs want an answer */

static gint64 cpu_usec(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) < 0)
		return 0;
	return now.tv_sec * (gint64)G_USEC_PER_SEC + now.tv_nsec / 1000;
}

void nbh_grpc_pace_init(NbhGrpcChannel *channel)
{
	channel->pace.percent = NBH_GRPC_CPU_PERCENT;
	channel->pace.left_usec = BURST_USEC;
	channel->pace.at_usec = g_get_monotonic_time();
}

void nbh_grpc_pace_begin(NbhGrpcChannel *channel)
{
	channel->pace.begun_usec = cpu_usec();
}

guint nbh_grpc_pace_end(NbhGrpcChannel *channel)
{
	GrpcPace *pace = &channel->pace;
	gint64 now_usec = g_get_monotonic_time(), pause_usec;

	pace->left_usec += (now_usec - pace->at_usec) * pace->percent / 100;
	pace->left_usec = MIN(pace->left_usec, BURST_USEC) - (cpu_usec() - pace->begun_usec);
	pace->at_usec = now_usec;
	pause_usec = -pace->left_usec * 100 / pace->percent;
	if (pause_usec < PAUSE_MIN_USEC)
		return 0;
	/* A debt beyond the longest pause would never be paid. */
	pause_usec = MIN(pause_usec, PAUSE_MAX_USEC);
	pace->left_usec = -pause_usec * pace->percent / 100;
	if (nbh_log_worth(++pace->n_pauses))
		nbh_log(NBH_LOG_WARN, "net", "server-slowed server=%s times=%u why=\"it sends more than this "
			"machine can work on\"", channel->authority, pace->n_pauses);
	return (guint)(pause_usec / 1000);
}
