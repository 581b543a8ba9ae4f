#ifndef NBH_ICE_SERVER_H
#define NBH_ICE_SERVER_H

/* netbird-ice in its main loop: ice.sock, one client, the raw sockets, the port. */

#include "ice/isolate.h"

/* Exit codes of netbird-ice. */
#define NBH_ICE_EXIT_PORT 75 /* another port was asked for: start again */

/*
 * Serves until SIGTERM or SIGINT (0), until another port is asked for (75), or returns 1 with the
 * reason. dirfd: DIR/ice, which must be the working directory. Takes over what `isolated` holds.
 */
int nbh_server_run(int dirfd, const struct nbh_isolate_result *isolated, struct nbh_why *why);

#endif
