#ifndef NBH_APP_ENGINE_H
#define NBH_APP_ENGINE_H

/*
 * The running helper: the only place that knows all modules. It carries events to app/peers and to
 * the published files and decides nothing by itself. No capability, no root, one thread.
 */

#include "base/configfile.h"

#include <glib.h>

typedef struct {
	const char *dir;          /* config directory */
	struct nbh_config config; /* with the environment's overrides */
	char *setup_key;          /* owned by the engine from now on, wiped after Login; NULL: none */
} NbhEngineOptions;

#define NBH_DOWN_NAME "down"                /* a marker: stay disconnected until `up` removes it */

/* Exit codes of netbird-helper(8). */
enum {
	NBH_EXIT_OK = 0,
	NBH_EXIT_FAILURE = 1,
	NBH_EXIT_USAGE = 2,
	NBH_EXIT_REFUSED = 69,    /* the server refused login */
	NBH_EXIT_PERMISSION = 77,
	NBH_EXIT_CONFIG = 78,
};

/* Runs until SIGTERM or SIGINT, or until the server refuses us. Tunnels stay. */
int nbh_engine_run(NbhEngineOptions *options);

#endif
