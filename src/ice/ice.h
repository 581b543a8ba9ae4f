#ifndef NBH_ICE_ICE_H
#define NBH_ICE_ICE_H

/*
 * The helper's end of ICE: one interface, two backends. `process` talks to netbird-ice over
 * ice/ice.sock, `fake` is for tests. One contract test (tests/contract/contract-ice.c) runs on both.
 *
 * Events come only from the main loop, never from inside a call and never after free(). A session
 * is named by the peer's public key; opening one that is open replaces it.
 */

#include "base/key.h"
#include "core/conn.h"

#include <gio/gio.h>

/* How netbird-ice is isolated, as it says it; where its system calls are not filtered, that follows. */
#define NBH_ICE_BACKEND_MAX 48
#define NBH_ICE_NO_FILTER "/no-seccomp"

typedef struct _NbhIce NbhIce;

typedef struct {
	struct nbh_key peer;
	NbhIceCreds local, remote; /* remote.ufrag "" if not set yet */
	NbhSessionId local_session, remote_session;
	gboolean controlling, selected;
	NbhIcePair pair;
} NbhIceSession;

typedef struct {
	/*
	 * The link to netbird-ice is up (again): its listing came before this. `backend` says how it
	 * is isolated: "user-namespace", "root-launcher", "wg-tun" or "none".
	 */
	void (*on_ready)(NbhIce *ice, const char *backend, gpointer owner);
	/* No link; what was listed on it, also in part, says nothing about the next one. */
	void (*on_down)(NbhIce *ice, const char *why, gpointer owner);
	void (*on_session)(NbhIce *ice, const NbhIceSession *session, gpointer owner); /* listing, before on_ready */
	void (*on_selected)(NbhIce *ice, const struct nbh_key *peer, const NbhIcePair *pair, gpointer owner);
	void (*on_failed)(NbhIce *ice, const struct nbh_key *peer, gpointer owner);
	void (*on_lost)(NbhIce *ice, const struct nbh_key *peer, gpointer owner);
	/* Answer to a STUN query; mapped is NULL when nobody answered in 3 x 3 s. */
	void (*on_mapped)(NbhIce *ice, const struct nbh_endpoint *server, const struct nbh_endpoint *mapped, gpointer owner);
	/* A session without a pair yet: the far end's first check came from there, so the way to it is open. May be NULL. */
	void (*on_heard)(NbhIce *ice, const struct nbh_key *peer, const struct nbh_endpoint *from, gpointer owner);
} NbhIceEvents;

typedef struct {
	struct nbh_key peer;
	NbhIceCreds local;
	NbhSessionId local_session;
	gboolean controlling;
	guint liveness_ms; /* lost after this long without authenticated STUN; 0: never (helper far end) */
	gboolean consent_keepalives; /* FALSE between helpers: WireGuard's keepalive holds the NAT open */
} NbhIceOpen;

typedef struct {
	const char *name;
	/* dir: the config directory; the backend connects, reconnects and lists by itself. */
	NbhIce *(*open)(const char *dir, const NbhIceEvents *events, gpointer owner, GError **error);
	void (*set_port)(NbhIce *ice, guint16 port);
	/*
	 * The networks inside the tunnels (host bits do not matter; family 0: none): no check goes there,
	 * none is taken from there, and no candidate there is used. Kept over reconnects.
	 */
	void (*set_overlay)(NbhIce *ice, const struct nbh_prefix *v4, const struct nbh_prefix *v6);
	void (*session_open)(NbhIce *ice, const NbhIceOpen *open);
	void (*session_remote)(NbhIce *ice, const struct nbh_key *peer, const NbhIceCreds *creds, const NbhSessionId *remote_session);
	void (*session_candidate)(NbhIce *ice, const struct nbh_key *peer, const NbhCandidate *candidate);
	void (*session_close)(NbhIce *ice, const struct nbh_key *peer);
	void (*close_all)(NbhIce *ice);
	void (*stun_query)(NbhIce *ice, const struct nbh_endpoint *server);
	/* The captured WireGuard initiation, once, from WireGuard's port. len is 148. */
	void (*forward)(NbhIce *ice, const struct nbh_endpoint *to, const guint8 *data, gsize len);
	void (*free)(NbhIce *ice); /* NULL is fine; no event after this; sessions live on */
} NbhIceBackend;

extern const NbhIceBackend nbh_ice_process, nbh_ice_fake;

#endif
