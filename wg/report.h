#ifndef NBH_WG_REPORT_H
#define NBH_WG_REPORT_H

#include "base/mono.h"
#include "base/statusfile.h"
#include "wg/silence.h"

#include <stdbool.h>

/*
 * The way back: wg/status.json. Reading the kernel is cheap, waking everybody who watches the file
 * is not: it is written when an endpoint, a handshake or a refusal changed or a peer fell silent, for
 * bytes alone at most once a minute. No clock and no system in here but the write.
 */
#define WG_REPORT_FAST_MS 250    /* for WG_REPORT_FAST_FOR_MS after a change */
#define WG_REPORT_FAST_FOR_MS 3000
#define WG_REPORT_AWAIT_MS 1000  /* while a peer has an endpoint and no handshake yet, */
#define WG_REPORT_AWAIT_FOR_MS 30000 /* ... but not longer after a change */
#define WG_REPORT_SLOW_MS 10000
#define WG_REPORT_BYTES_MS 60000

struct wg_report {
	struct nbh_wgstatus written; /* owned: what the file says */
	bool is_written;
	nbh_mono written_at, fast_until, await_until, next;
	struct wg_silence silence;
};

/* Something was changed: look often for a while. */
void wg_report_changed(struct wg_report *report, nbh_mono now);

/* When to look next. */
nbh_mono wg_report_next(const struct wg_report *report);

/*
 * One look: dev (NULL: could not be read; the peers written last stay) and head (everything but
 * peers; its listen_port, if not 0, is the refused one and goes before that of dev). Writes into
 * wg_dirfd if it is worth it; a failed write is tried again at the next look.
 */
int wg_report_update(struct wg_report *report, int wg_dirfd, const struct nbh_wgstatus *head,
                     const struct wg_dev *dev, int64_t unix_ms, nbh_mono now, struct nbh_why *why);

void wg_report_clear(struct wg_report *report);

#endif
