#ifndef NBH_APP_STATUS_H
#define NBH_APP_STATUS_H

/*
 * What `netbird-helper status` shows. The daemon writes it to status.json (mode 0644, no secrets);
 * the subcommand reads that file, so it works without talking to anybody, as any user who may enter
 * the directory. NetBird's field names; ours are added beside them.
 */

#include "app/distrust.h"
#include "app/peers.h"
#include "app/srflx.h"
#include "base/configfile.h"
#include "base/statusfile.h"

#define NBH_STATUS_NAME "status.json"

typedef struct {
	const char *url;
	gboolean up;
	const char *error; /* "" if none */
} NbhServerView;

/* Everything borrowed. */
typedef struct {
	const char *daemon_status; /* "Connecting", "Connected", "NeedsLogin", "Idle" */
	const struct nbh_config *config;
	const struct nbh_key *own_public;
	const NbhPeerConfig *peer_config; /* NULL before login */
	NbhServerView management, signal;
	const char *ice_backend, *ice_error; /* "" if none */
	const struct nbh_wgstatus *wg; /* NULL: netbird-wg has not reported */
	gboolean wg_runs;
	const char *wg_ending;         /* how it ended, if it does not run; "" if nobody knows */
	const char *publish_error;     /* "" if none */
	const char *config_note;       /* "" if none */
	const NbhNetmap *map;          /* NULL before the first */
	const NbhRefusals *refusals;   /* NULL: nothing */
	NbhPeers *peers;
	NbhSrflx *srflx;
	gboolean seccomp;              /* we filter our own system calls */
	GPtrArray *turns, *relays;     /* char *, stored, not used yet; may be NULL */
} NbhStatusView;

/* malloc'ed text of ret_len bytes; NULL on OOM. */
char *nbh_status_format(const NbhStatusView *view, gsize *ret_len);

guint nbh_status_connected(const NbhStatusView *view); /* peers that a tunnel reaches */

/* The subcommand. Exit code: 0, 1 (not running or nothing there), 77, 78. */
int nbh_status_show(const char *dir, gboolean json, gboolean detail);

/* The daemon's status says that it is down and that the interface is gone. */
gboolean nbh_status_is_idle(int dirfd);

#endif
