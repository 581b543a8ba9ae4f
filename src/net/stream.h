#ifndef NBH_NET_STREAM_H
#define NBH_NET_STREAM_H

/*
 * One byte stream under gRPC, WebSocket and HTTP, client and server side: TCP, perhaps through an
 * HTTP proxy, perhaps with TLS. free() is legal inside callbacks; nothing is called afterwards.
 */

#include "net/proxy.h"
#include "net/tls.h"

#include <gio/gio.h>

typedef struct _NbhStream NbhStream;

typedef struct {
	void (*on_up)(NbhStream *stream, gpointer owner);       /* connected and, with TLS, verified */
	void (*on_readable)(NbhStream *stream, gpointer owner); /* read until it returns 0 */
	void (*on_writable)(NbhStream *stream, gpointer owner); /* only while want_write is set */
	/* Once. error text is fit for users: "connection refused", "closed by the server". An end without
	 * the goodbye that TLS demands is "cut off by ...". */
	void (*on_closed)(NbhStream *stream, const char *error, gpointer owner);
} NbhStreamEvents;

/*
 * deadline_ms covers resolution, TCP, proxy and handshake until on_up. host: name or literal. tls
 * NULL: plain. proxy NULL: none; it is copied. Never blocks.
 */
NbhStream *nbh_stream_connect(const char *host, guint16 port, NbhTls *tls, const NbhProxy *proxy,
                              guint deadline_ms, const NbhStreamEvents *events, gpointer owner);
/* on_closed with this error follows, as if connecting had failed. */
NbhStream *nbh_stream_new_failed(const char *error, const NbhStreamEvents *events, gpointer owner);
/*
 * Server side: takes an accepted, non-blocking socket. on_up comes from the loop. With tls the
 * client's first byte tells whether it speaks TLS; on_up comes after it, or after the handshake.
 * The owner's clock runs: a client that says nothing stays.
 */
NbhStream *nbh_stream_accept(GSocket *socket, NbhTls *tls, const NbhStreamEvents *events, gpointer owner);

/* > 0: bytes; 0: would block; -1: closed (on_closed follows from the loop). */
gssize nbh_stream_read(NbhStream *stream, guint8 *buf, gsize size);
gssize nbh_stream_write(NbhStream *stream, const guint8 *data, gsize len);
/* Another owner takes over, e.g. a protocol after sniffing; legal inside callbacks. */
void nbh_stream_set_events(NbhStream *stream, const NbhStreamEvents *events, gpointer owner);
/* Nothing is read or written until it is let go again; the far end waits, and so does its end. */
void nbh_stream_hold(NbhStream *stream, gboolean hold);
void nbh_stream_want_write(NbhStream *stream, gboolean want);
/* In words, what it waits for: "no end of the TLS handshake", "no answer from DNS", "no answer". */
const char *nbh_stream_missing(const NbhStream *stream);
gboolean nbh_stream_is_tls(NbhStream *stream);        /* from on_up on */
GSocketAddress *nbh_stream_remote(NbhStream *stream); /* borrowed; the proxy, if there is one; NULL before on_up */
GSocketAddress *nbh_stream_local(NbhStream *stream);
/* Our address was taken from this host: nothing will ever arrive any more. */
gboolean nbh_stream_is_stranded(NbhStream *stream);
void nbh_stream_free(NbhStream *stream); /* NULL is fine */

#endif
