#ifndef NBH_HUB_FRONT_H
#define NBH_HUB_FRONT_H

/*
 * The TCP side: listens, tells TLS from plain and HTTP/2 from the rest, and hands each gRPC call to the service that
 * has its method. Bounds what strangers can hold: connections (gate.h), time to the first bytes, time
 * without a call. netbird-hub.md 1.1, 11.5.
 */

#include "base/addr.h"
#include "hub/call.h"
#include "hub/gate.h"
#include "net/tls.h"

#include <gio/gio.h>

typedef struct _NbhFront NbhFront;

typedef struct {
	guint connections_max; /* then the longest without a call makes room, or the newcomer is refused */
	guint first_bytes_ms;  /* to the end of the HTTP/2 preface, TLS handshake included */
	guint no_call_ms;      /* then GOAWAY */
	NbhGateLimits gate;
} NbhFrontLimits;

NbhFront *nbh_front_new(const NbhFrontLimits *limits); /* NULL: the defaults */
/* methods end with path NULL; service goes to their functions. Both are borrowed. */
void nbh_front_add(NbhFront *front, const NbhHubMethod *methods, gpointer service);
/* An unspecified IPv6 address serves IPv4, too. ret_port: the chosen one when the port was 0. */
gboolean nbh_front_listen(NbhFront *front, const struct nbh_endpoint *endpoint, guint16 *ret_port,
			  GError **error);
/* From now on TLS clients are served, too, on the same port. Keeps a reference. */
void nbh_front_set_tls(NbhFront *front, NbhTls *tls);
guint nbh_front_connections(const NbhFront *front);
/* Now and then: what a crowd has left goes back to the system. */
void nbh_front_tidy(NbhFront *front);
void nbh_front_free(NbhFront *front); /* ends all connections; every call's on_gone is called */

#endif
