#ifndef NBH_ICE_QUERY_H
#define NBH_ICE_QUERY_H

/*
 * Our own Binding requests to STUN servers, from WireGuard's port: one per server for all peers,
 * because a mapped address belongs to the port (ice-port.md section 1). 3 s x 3.
 */

#include "base/addr.h"

#include <glib.h>

typedef struct _NbhQueries NbhQueries;

typedef struct {
	/* Puts a packet on the wire, source chosen by the callee. */
	void (*send)(const struct nbh_endpoint *to, const guint8 *payload, gsize len, gpointer owner);
	/* mapped NULL: nobody answered. From the loop only. */
	void (*on_mapped)(const struct nbh_endpoint *server, const struct nbh_endpoint *mapped, gpointer owner);
} NbhQueryIo;

NbhQueries *nbh_queries_new(const NbhQueryIo *io, gpointer owner);
void nbh_queries_free(NbhQueries *queries);

/* Asking again while a question to this server is open changes nothing. FALSE: too many are open. */
gboolean nbh_queries_ask(NbhQueries *queries, const struct nbh_endpoint *server);

/* A STUN answer that arrived: TRUE if it is one of ours (even if it says nothing useful). */
gboolean nbh_queries_take(NbhQueries *queries, const struct nbh_endpoint *from, const guint8 *payload,
                          gsize len);

#endif
