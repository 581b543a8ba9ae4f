#ifndef NBH_PATH_LOOPBACK_H
#define NBH_PATH_LOOPBACK_H

/*
 * One UDP socket that is the WireGuard endpoint of every idle peer: 127.1.x.y:port, an address per
 * peer, told apart by IP_PKTINFO (architecture.md section 2). So ten thousand idle peers cost one
 * descriptor. What arrives is local traffic that wants the peer: the first datagram wakes it, and a
 * handshake initiation is kept, to be sent again once there is a path.
 */

#include "base/addr.h"
#include "base/key.h"

#include <glib.h>

typedef struct _NbhLoopback NbhLoopback;

#define NBH_WG_INITIATION_LEN 148 /* wireguard.com/protocol: type 1 */

/* From the loop. initiation says whether data is a handshake initiation of NBH_WG_INITIATION_LEN. */
typedef void (*NbhLoopbackWake)(const struct nbh_key *peer, const guint8 *data, gsize len,
                                gboolean initiation, gpointer owner);

/*
 * preferred_port: the one of the run before, so that endpoints in the kernel stay valid; 0 or taken:
 * any. Errors are GError of G_IO_ERROR.
 */
NbhLoopback *nbh_loopback_new(guint16 preferred_port, NbhLoopbackWake on_wake, gpointer owner, GError **error);
void nbh_loopback_free(NbhLoopback *loopback); /* NULL is fine */

/* The peer's endpoint, assigned at the first call and kept. FALSE when all 65 534 are taken. */
gboolean nbh_loopback_endpoint(NbhLoopback *loopback, const struct nbh_key *peer,
                               struct nbh_endpoint *ret_endpoint);
/* Takes an endpoint of the run before for this peer, if the port fits and it is free. */
gboolean nbh_loopback_restore(NbhLoopback *loopback, const struct nbh_key *peer,
                              const struct nbh_endpoint *endpoint);
void nbh_loopback_forget(NbhLoopback *loopback, const struct nbh_key *peer);

#endif
