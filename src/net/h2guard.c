#include "config.h"

#include "net/h2guard.h"

#include "base/limits.h"

#define POINT ((gint64)G_USEC_PER_SEC) /* so that a point per second is one micropoint per microsecond */

/* A reset ends a call that was begun, and SETTINGS touch every stream. */
#define DEAR_POINTS 4
/* For a frame with data of ours: one PING and two WINDOW_UPDATEs are usual (BDP probes of grpc-go). */
#define EARNED_POINTS 4

void nbh_h2guard_init(NbhH2Guard *guard, gint64 now_usec)
{
	guard->micropoints = NBH_H2_CONTROL_BURST * POINT;
	guard->at_usec = now_usec;
	guard->broken = NULL;
}

static void add(NbhH2Guard *guard, gint64 micropoints)
{
	guard->micropoints = MIN(NBH_H2_CONTROL_BURST * POINT, guard->micropoints + micropoints);
}

static void take(NbhH2Guard *guard, gint64 points, const char *what, gint64 now_usec)
{
	/* A long pause fills it; more would only overflow. */
	gint64 passed_usec = CLAMP(now_usec - guard->at_usec, 0, 3600 * POINT);

	guard->at_usec = now_usec;
	add(guard, passed_usec * NBH_H2_CONTROL_PER_SECOND);
	if (guard->micropoints < points * POINT)
		guard->broken = what;
	else
		guard->micropoints -= points * POINT;
}

const char *nbh_h2guard_received(NbhH2Guard *guard, const nghttp2_frame_hd *hd, gint64 now_usec)
{
	if (guard->broken)
		return guard->broken;
	switch (hd->type) {
	case NGHTTP2_HEADERS: /* calls have limits of their own */
		break;
	case NGHTTP2_DATA:
		if (hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM))
			take(guard, 1, "too many empty DATA frames", now_usec);
		break;
	case NGHTTP2_PRIORITY:
		take(guard, 1, "too many PRIORITY frames", now_usec);
		break;
	case NGHTTP2_RST_STREAM:
		take(guard, DEAR_POINTS, "too many RST_STREAM frames", now_usec);
		break;
	case NGHTTP2_SETTINGS:
		take(guard, DEAR_POINTS, "too many SETTINGS frames", now_usec);
		break;
	case NGHTTP2_PING:
		take(guard, 1, "too many PING frames", now_usec);
		break;
	case NGHTTP2_WINDOW_UPDATE:
		take(guard, 1, "too many WINDOW_UPDATE frames", now_usec);
		break;
	case NGHTTP2_CONTINUATION:
		take(guard, DEAR_POINTS, "too many CONTINUATION frames", now_usec);
		break;
	default:
		take(guard, 1, "too many frames of unknown types", now_usec);
		break;
	}
	return guard->broken;
}

const char *nbh_h2guard_sent(NbhH2Guard *guard, const nghttp2_frame *frame, gint64 now_usec)
{
	if (guard->broken)
		return guard->broken;
	if (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)
		add(guard, EARNED_POINTS * POINT);
	/* The others are ours: a call that is over or was cancelled. */
	if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
	    frame->rst_stream.error_code != NGHTTP2_CANCEL)
		take(guard, DEAR_POINTS, "too many frames that break the rules", now_usec);
	return guard->broken;
}
