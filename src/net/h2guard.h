#ifndef NBH_NET_H2GUARD_H
#define NBH_NET_H2GUARD_H

/*
 * What the far end of an HTTP/2 connection may make us do for nothing. Frames that cost work and
 * carry no data (PING, SETTINGS, RST_STREAM, PRIORITY, WINDOW_UPDATE, CONTINUATION, empty DATA) and
 * the resets that it provokes take points from an allowance, which time refills and what we send:
 * honest PINGs and WINDOW_UPDATEs answer data. CVE-2019-9511 to 9518, 2023-44487, 2024-28182, 2025-8671.
 */

#include <glib.h>
#include <nghttp2/nghttp2.h>

typedef struct {
	gint64 micropoints, at_usec;
	const char *broken; /* in words; NULL: within the allowance */
} NbhH2Guard;

void nbh_h2guard_init(NbhH2Guard *guard, gint64 now_usec);
/* Both return guard->broken: "too many PING frames". It stays. */
const char *nbh_h2guard_received(NbhH2Guard *guard, const nghttp2_frame_hd *hd, gint64 now_usec);
const char *nbh_h2guard_sent(NbhH2Guard *guard, const nghttp2_frame *frame, gint64 now_usec);

#endif
