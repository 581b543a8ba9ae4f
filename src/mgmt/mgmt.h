#ifndef NBH_MGMT_MGMT_H
#define NBH_MGMT_MGMT_H

/*
 * The management client: Login (probe, then register), Sync with reconnection, SyncMeta when our facts
 * have changed, Logout; GetServerKey beside them. netbird-wire.md section 2. Events only from the loop.
 */

#include "base/key.h"
#include "net/dial.h"
#include "wire/mgmtmsg.h"

#include <gio/gio.h>

typedef struct _NbhMgmt NbhMgmt;

typedef enum {
	NBH_MGMT_REFUSED = 1, /* the server said no for good: code 7, a bad setup key. Do not retry. */
	NBH_MGMT_UNREACHABLE, /* retry may help */
	NBH_MGMT_PROTOCOL,    /* not a NetBird server, or an answer that cannot be used */
} NbhMgmtError;
#define NBH_MGMT_ERROR (nbh_mgmt_error_quark())
GQuark nbh_mgmt_error_quark(void);

typedef struct {
	/* The answer to Login, and each Sync message. Borrowed for the call. */
	void (*on_update)(NbhMgmt *mgmt, const NbhMgmtUpdate *update, gpointer owner);
	/* Sync is up with its first message (TRUE), or down; why is for status. */
	void (*on_link)(NbhMgmt *mgmt, gboolean up, const char *why, gpointer owner);
	/* The server refuses this peer (code 7 on Sync, then on Login): needs login. Nothing follows. */
	void (*on_refused)(NbhMgmt *mgmt, const char *why, gpointer owner);
	/* The server's key is another one than we knew, for keeping. May be NULL. */
	void (*on_server_key)(NbhMgmt *mgmt, const struct nbh_key *key, gpointer owner);
} NbhMgmtEvents;

typedef struct {
	const char *url;
	struct nbh_key own_private;
	/* Fills meta anew for each call; strings stay valid until the next call. */
	void (*get_meta)(NbhMeta *ret_meta, gpointer owner);
	NbhDial *dial; /* borrowed; NULL: the system's CAs, the environment's proxy */
	/* From before, to save a round trip; the server may have another one by now. NULL or zero: none. */
	const struct nbh_key *server_key;
} NbhMgmtConfig;

typedef struct {
	const char *name;
	NbhMgmt *(*open)(const NbhMgmtConfig *config, const NbhMgmtEvents *events, gpointer owner, GError **error);
	/*
	 * One-shot for the login subcommand and before sync: Login without a key, then with setup_key if
	 * the peer is unknown and there is one. done: error NULL on success, else of NBH_MGMT_ERROR. setup_key may be NULL and is
	 * wiped after use. No retry of refusals; UNREACHABLE is retried by the caller.
	 */
	void (*login)(NbhMgmt *mgmt, const char *setup_key, void (*done)(NbhMgmt *, const GError *, gpointer owner));
	void (*sync)(NbhMgmt *mgmt);       /* run until free */
	void (*logout)(NbhMgmt *mgmt, void (*done)(NbhMgmt *, const GError *, gpointer owner)); /* deletes the peer there */
	void (*retry_now)(NbhMgmt *mgmt); /* if it waits for its next attempt; one under way goes on */
	void (*network_changed)(NbhMgmt *mgmt); /* probe the connection; retry now if waiting */
	/* What get_meta says may differ: if so, one SyncMeta, some time after the last. */
	void (*facts_changed)(NbhMgmt *mgmt);
	void (*free)(NbhMgmt *mgmt);
} NbhMgmtBackend;

extern const NbhMgmtBackend nbh_mgmt_grpc;

#endif
