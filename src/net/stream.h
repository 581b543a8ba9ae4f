#ifndef NBH_NET_STREAM_H
#define NBH_NET_STREAM_H

/*
 * One byte stream under gRPC, WebSocket and HTTP, client and server side. Plain TCP now; TLS and
 * proxies come behind this same header (ALPN, names and certificates then live in `tls`).
 * free() is legal inside callbacks; nothing is called afterwards.
 */

#include <gio/gio.h>

typedef struct _NbhStream NbhStream;

typedef struct {
	void (*on_up)(NbhStream *stream, gpointer owner);       /* connected and, with TLS, verified */
	void (*on_readable)(NbhStream *stream, gpointer owner); /* read until it returns 0 */
	void (*on_writable)(NbhStream *stream, gpointer owner); /* only while want_write is set */
	/* Once. error text is fit for users: "connection refused", "closed by the server". */
	void (*on_closed)(NbhStream *stream, const char *error, gpointer owner);
} NbhStreamEvents;

/* deadline_ms covers resolution, TCP and handshake until on_up. host: name or literal. Never blocks. */
NbhStream *nbh_stream_connect(const char *host, guint16 port, gboolean tls, guint deadline_ms,
                              const NbhStreamEvents *events, gpointer owner);
/* Server side: takes an accepted, non-blocking socket. on_up comes from the loop. */
NbhStream *nbh_stream_accept(GSocket *socket, const NbhStreamEvents *events, gpointer owner);

/* > 0: bytes; 0: would block; -1: closed (on_closed follows from the loop). */
gssize nbh_stream_read(NbhStream *stream, guint8 *buf, gsize size);
gssize nbh_stream_write(NbhStream *stream, const guint8 *data, gsize len);
/* Another owner takes over, e.g. a protocol after sniffing; legal inside callbacks. */
void nbh_stream_set_events(NbhStream *stream, const NbhStreamEvents *events, gpointer owner);
void nbh_stream_want_write(NbhStream *stream, gboolean want);
GSocketAddress *nbh_stream_remote(NbhStream *stream); /* borrowed; NULL before on_up */
GSocketAddress *nbh_stream_local(NbhStream *stream);
/* Our address was taken from this host: nothing will ever arrive any more. */
gboolean nbh_stream_is_stranded(NbhStream *stream);
void nbh_stream_free(NbhStream *stream); /* NULL is fine */

#endif
