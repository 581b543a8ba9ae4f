#ifndef NBH_WG_WATCH_H
#define NBH_WG_WATCH_H

#include "base/why.h"

#include <stdbool.h>

/*
 * Watches DIR, not the files in it: a watch on a file is deaf after the first rename (house-style.md
 * 3.1, fact 3). A second watch on DIR's parent notices that DIR itself was replaced. Events are
 * hints only; whoever gets one reads everything again.
 */
struct wg_watch {
	const char *path; /* of DIR; borrowed, absolute, without a slash at the end */
	int fd;           /* inotify: poll it */
	int dirfd;        /* DIR as it was at the last refresh; -1: missing */
	int wd_dir, wd_parent;
};

/* -ENOENT and others: DIR cannot be opened. Ended by wg_watch_close(). */
int wg_watch_open(struct wg_watch *watch, const char *path, struct nbh_why *why);
void wg_watch_close(struct wg_watch *watch);

/* Reads all waiting events. True: something happened that may concern us. */
bool wg_watch_drain(struct wg_watch *watch);

/* Looks whether path is still the directory that is open. 1: it is another one now, 0: the same, -errno: missing. */
int wg_watch_refresh(struct wg_watch *watch, struct nbh_why *why);

#endif
