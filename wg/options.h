#ifndef NBH_WG_OPTIONS_H
#define NBH_WG_OPTIONS_H

#include "wg/policy.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

/* The command line of netbird-wg(8). */
struct wg_options {
	char config_dir[PATH_MAX]; /* absolute, no slash at the end */
	struct wg_policy policy;
	const char *wireguard_go;  /* borrowed from argv; NULL: the usual places */
	bool dry_run, once, ended;
	bool has_ice_tun;          /* makes netbird-ice a TUN device ... */
	uid_t ice_user;            /* ... that belongs to this user */
};

enum {
	WG_EXIT_OK = 0,
	WG_EXIT_FAILURE = 1,
	WG_EXIT_USAGE = 2,
	WG_EXIT_PERMISSION = 77, /* EX_NOPERM */
	WG_EXIT_CONFIG = 78,     /* EX_CONFIG */
};

/* -1: go on; else exit with this code, everything was said. Sets up logging. */
int wg_options_parse(int argc, char **argv, struct wg_options *ret_options);

#endif
