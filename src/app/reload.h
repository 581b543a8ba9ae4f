#ifndef NBH_APP_RELOAD_H
#define NBH_APP_RELOAD_H

/* What config.json, read again at SIGHUP, changes in a running helper. Compares only; engine-reload.c acts. */

#include "base/configfile.h"

#include <glib.h>

/* What has to be done about a changed setting. */
typedef enum {
	NBH_RELOAD_LOG = 1 << 0,        /* logLevel */
	NBH_RELOAD_SERVERS = 1 << 1,    /* managementUrl, caFile, clientCertFile, clientKeyFile, proxy: connect anew */
	NBH_RELOAD_FACTS = 1 << 2,      /* hostname: management is told */
	NBH_RELOAD_CANDIDATES = 1 << 3, /* interfaceBlacklist */
	NBH_RELOAD_DEVICE = 1 << 4,     /* mtu: device.json */
	NBH_RELOAD_PEERS = 1 << 5,      /* presharedKey: peers.json */
	NBH_RELOAD_RESTART = 1 << 6,    /* interface, listenPort, fwmark, userspace: tunnels would not survive it */
} NbhReloadEffect;

typedef struct {
	struct nbh_config config; /* to go on with: what needs a restart is as before */
	guint effects;
	char *changed, *waiting;  /* owned; names as in config.json, "" if none: in use now, after a restart */
} NbhReload;

void nbh_reload_compare(const struct nbh_config *now, const struct nbh_config *wanted, NbhReload *ret_reload);
void nbh_reload_clear(NbhReload *reload);

#endif
