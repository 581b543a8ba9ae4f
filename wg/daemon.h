#ifndef NBH_WG_DAEMON_H
#define NBH_WG_DAEMON_H

#include "wg/options.h"

/*
 * netbird-wg itself: files in, plan, kernel, status out. One thread; the loop is one poll over
 * inotify and signals. Returns the exit code.
 */
int wg_daemon_run(const struct wg_options *options);

/* --ended: what systemd says about how the daemon ended. Exit code. */
int wg_daemon_note_ending(const struct wg_options *options);

#endif
