#ifndef NBH_APP_OPTIONS_H
#define NBH_APP_OPTIONS_H

/* The command line and the NB_* environment of netbird-helper(8). */

#include "base/configfile.h"

#include <glib.h>

typedef enum {
	NBH_COMMAND_RUN,
	NBH_COMMAND_LOGIN,
	NBH_COMMAND_UP,
	NBH_COMMAND_DOWN,
	NBH_COMMAND_STATUS,
	NBH_COMMAND_LOGOUT,
	NBH_COMMAND_VERSION,
	NBH_COMMAND_N
} NbhCommand;

typedef struct {
	NbhCommand command;
	const char *config_dir; /* borrowed from argv */
	const char *management_url, *setup_key_file, *hostname, *ca_file; /* borrowed; NULL: not given */
	gboolean json, detail;
	const char *debug; /* modules; NULL: not given */
} NbhOptions;

#define NBH_DEFAULT_DIR "/var/lib/netbird-helper"

/* Prints help or what is wrong. Returns -1 to go on, else the exit code. */
int nbh_options_parse(int argc, char **argv, NbhOptions *ret_options);

/* NB_MANAGEMENT_URL and the others on top of config.json. -EINVAL names the variable. */
int nbh_options_environment(struct nbh_config *config, struct nbh_why *why);

/*
 * The setup key from --setup-key-file ("-": standard input), NB_SETUP_KEY_FILE or NB_SETUP_KEY,
 * without white space around it. *ret_key is NULL when none is given; else owned by the caller, who
 * wipes it. NB_SETUP_KEY is taken out of the environment.
 */
int nbh_options_setup_key(const char *file, char **ret_key, struct nbh_why *why);

#endif
