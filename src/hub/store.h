#ifndef NBH_HUB_STORE_H
#define NBH_HUB_STORE_H

/*
 * DIR/hub.db: everything that survives the hub. The running hub and the admin commands each open it;
 * WAL lets them work at the same time, and nbh_store_changed() tells one of the other's writes.
 * Durable (synchronous=FULL) are setup-key use and admin changes; the rest may lose its last second
 * in a power cut. netbird-hub.md 5, 11.1; libraries.md 3.4. Times are unix seconds, 0: never.
 */

#include "base/addr.h"
#include "base/key.h"
#include "hub/setupkey.h"

#include <glib.h>

typedef struct _NbhStore NbhStore;

typedef enum {
	NBH_STORE_DATABASE,    /* the file cannot be used */
	NBH_STORE_KEY_REFUSED, /* setup key unknown, expired, revoked or used up */
	NBH_STORE_BAD_NAME,    /* no DNS label can be made of the host name */
	NBH_STORE_EXISTS,      /* the peer is registered already */
	NBH_STORE_FULL,        /* no more peers or addresses */
	NBH_STORE_NOT_FOUND,
} NbhStoreError;
#define NBH_STORE_ERROR (nbh_store_error_quark())
GQuark nbh_store_error_quark(void);

typedef struct {
	gint64 id;
	struct nbh_key key;
	char *name, *label; /* label is unique */
	struct nbh_addr ip;
	char *version;   /* "" if unknown */
	GBytes *ssh_key; /* NULL: none */
	GBytes *meta;    /* PeerSystemMeta as last received; NULL: none */
	gint64 setup_key_id;
	gint64 created_s, last_login_s, last_seen_s;
	gboolean connected; /* as the running hub last wrote it */
} NbhHubPeer;

typedef struct {
	gint64 id;
	char *name; /* "" if none */
	char shown[NBH_SETUPKEY_SHOWN_LEN + 1];
	gboolean reusable, revoked;
	gint64 used;
	gint64 created_s, expires_s, last_used_s;
} NbhSetupKey;

/* What a registration brings. Strings are borrowed. */
typedef struct {
	struct nbh_key key;
	const char *setup_key, *hostname, *version;
	GBytes *ssh_key, *meta; /* may be NULL */
} NbhRegistration;

/* Makes the database if there is none. dir exists already: nbh_datadir_prepare(). */
NbhStore *nbh_store_open(const char *dir, GError **error);
void nbh_store_close(NbhStore *store); /* NULL is fine */
void nbh_store_checkpoint(NbhStore *store);
gboolean nbh_store_changed(NbhStore *store); /* somebody else committed since the last call */

gboolean nbh_store_network(NbhStore *store, struct nbh_prefix *ret_network, GError **error);
/* The number of the current state of all maps; grows with every change that a map can show. */
gboolean nbh_store_serial(NbhStore *store, guint64 *ret_serial, GError **error);
/*
 * At the start of the hub: no peer is connected, and the serial jumps, so that clients accept maps
 * even after an older backup was put back (netbird-hub.md 7.1).
 */
gboolean nbh_store_begin_serving(NbhStore *store, gint64 now_s, GError **error);

GPtrArray *nbh_store_peers(NbhStore *store, GError **error); /* NbhHubPeer, owned; by id */
/* One transaction: check and use the setup key, choose address and label, insert, serial + 1. */
NbhHubPeer *nbh_store_register(NbhStore *store, const NbhRegistration *registration, gint64 now_s,
			       GError **error);
/* Writes version, SSH key and meta of peer->id; bump: others see a difference (serial + 1). */
gboolean nbh_store_update_peer(NbhStore *store, const NbhHubPeer *peer, gboolean bump, GError **error);
/* connected, last_seen_s and last_login_s of many at once. */
gboolean nbh_store_note_seen(NbhStore *store, GPtrArray *peers, GError **error);
gboolean nbh_store_remove_peer(NbhStore *store, gint64 id, GError **error);
void nbh_hub_peer_free(NbhHubPeer *peer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbhHubPeer, nbh_hub_peer_free)

/* expires_s 0: never. The text is not kept anywhere: ret_text is the only copy. */
gboolean nbh_store_create_key(NbhStore *store, const char *name, gboolean reusable, gint64 expires_s,
			      gint64 now_s, char ret_text[NBH_SETUPKEY_LEN + 1], gint64 *ret_id,
			      GError **error);
GPtrArray *nbh_store_keys(NbhStore *store, GError **error); /* NbhSetupKey, owned; by id */
gboolean nbh_store_revoke_key(NbhStore *store, gint64 id, GError **error);
/* "valid", "expired", "revoked" or "used". */
const char *nbh_setup_key_state(const NbhSetupKey *key, gint64 now_s);

#endif
