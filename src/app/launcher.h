#ifndef NBH_APP_LAUNCHER_H
#define NBH_APP_LAUNCHER_H

/*
 * netbird-helper as root: reads no input, starts netbird-wg, netbird-ice and netbird-helper, each
 * as its own user with what it needs (app/users.h, app/launch.h), starts them again when they end,
 * and ends them when it is told to. No GLib, no main loop but one poll().
 *
 * A program that already runs on the directory (its lock says so) is not started twice:
 *   - one in a unit of its own (cgroup .../netbird-wg.service) or of another user is left alone;
 *     if it is gone for good, ours takes its place;
 *   - any other is what an earlier launcher left: taken over by pidfd, like one of our own.
 *
 * A child that ends is started again after 0.2 s, growing to 5 s while it ends within 10 s.
 * netbird-ice's 75 ("start me again") means at once. netbird-helper's 2, 69, 77 and 78 are final:
 * the others are ended and the launcher returns the same code. SIGTERM and SIGINT are passed
 * on to all three as SIGTERM; then 0 is returned. The tunnels stay in the kernel. SIGHUP goes to our
 * netbird-helper, which reads config.json again; but started from a terminal it means that the
 * terminal is gone, and is as SIGTERM (unless nohup(1) was used).
 * When the launcher itself is killed, the three live on.
 */

#include <stdbool.h>

struct nbh_launcher_options {
	const char *config_dir;
	char *const *helper_args;   /* NULL-terminated, or NULL: what follows "--config-dir DIR", e.g. "up" ... */
	char *const *helper_args_again; /* from the second start on; NULL: the same */
	const char *setup_key_file; /* NULL: NB_SETUP_KEY_FILE, if that is set */
	bool debug;                 /* --debug for netbird-wg and netbird-ice */
};

/* Returns the exit code. Logging must be set up. */
int nbh_launcher_run(const struct nbh_launcher_options *options);

/*
 * For `down`: when no netbird-wg runs on the directory, one is started with --once, so that the
 * interface goes with its device.json. Exit code.
 */
int nbh_launcher_apply_once(const char *config_dir);

#endif
