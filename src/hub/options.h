#ifndef NBH_HUB_OPTIONS_H
#define NBH_HUB_OPTIONS_H

/* The command line of netbird-hub(8). */

#include "hub/hub.h"

#define NBH_HUB_DEFAULT_DIR "/var/lib/netbird-hub"

typedef enum {
	NBH_HUB_SERVE,
	NBH_HUB_KEY_CREATE,
	NBH_HUB_KEY_LIST,
	NBH_HUB_KEY_REVOKE,
	NBH_HUB_PEER_LIST,
	NBH_HUB_PEER_REMOVE,
	NBH_HUB_VERSION,
} NbhHubCommand;

typedef struct {
	NbhHubCommand command;
	char *dir;
	NbhHubConfig hub; /* texts are borrowed from this struct */
	char *public_url, *dns_domain, *log_level, *tls_cert, *tls_key;
	gboolean reusable, json;
	gint64 expires_in_s; /* 0: never */
	char *name;
	char *operand; /* of key revoke and peer remove */
} NbhHubOptions;

/* Errors are G_OPTION_ERROR. argv is not changed. --help prints and ends the process. */
gboolean nbh_hub_options_parse(int argc, char **argv, NbhHubOptions *ret_options, GError **error);
void nbh_hub_options_clear(NbhHubOptions *options);

/* "90s", "15m", "24h", "7d"; "never" is 0. */
gboolean nbh_hub_duration_parse(const char *text, gint64 *ret_seconds);
/* A name with a dot, of LDH labels; a closing dot is cut. */
char *nbh_hub_domain_parse(const char *text);

#endif
