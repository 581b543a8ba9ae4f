#ifndef NBH_NET_GRPC_H
#define NBH_NET_GRPC_H

/*
 * A gRPC client channel on nghttp2 (libraries.md 1.3, interop.md rule 14): one current HTTP/2
 * connection, made when the first call needs it; GOAWAY drains it and new calls open another.
 * Callbacks come only from the main loop, `done` exactly once, never after cancel() or free().
 */

#include "net/dial.h"

#include <glib.h>

typedef struct _NbhGrpcChannel NbhGrpcChannel;
typedef struct _NbhGrpcCall NbhGrpcCall;

/* gRPC status codes that we name. */
enum {
	NBH_GRPC_OK = 0,
	NBH_GRPC_CANCELLED = 1,
	NBH_GRPC_UNKNOWN = 2,
	NBH_GRPC_INVALID_ARGUMENT = 3,
	NBH_GRPC_DEADLINE_EXCEEDED = 4,
	NBH_GRPC_NOT_FOUND = 5,
	NBH_GRPC_PERMISSION_DENIED = 7,
	NBH_GRPC_RESOURCE_EXHAUSTED = 8,
	NBH_GRPC_FAILED_PRECONDITION = 9,
	NBH_GRPC_UNIMPLEMENTED = 12,
	NBH_GRPC_INTERNAL = 13,
	NBH_GRPC_UNAVAILABLE = 14,
	NBH_GRPC_UNAUTHENTICATED = 16,
};

typedef struct {
	/* Response headers; NOT a reason to reset a backoff (rule 14). get: header value or NULL. */
	void (*on_headers)(NbhGrpcCall *call, gpointer owner);
	void (*on_message)(NbhGrpcCall *call, const guint8 *data, gsize len, gpointer owner); /* without prefix */
	/* message is fit for users: "127.0.0.1:80: HTTP 502, not gRPC". The call is gone afterwards. */
	void (*on_done)(NbhGrpcCall *call, int status, const char *message, gpointer owner);
} NbhGrpcEvents;

/*
 * url: "http://host:port" or "https://..."; a path is dropped, a missing port is 80 or 443. dial NULL:
 * the system's CAs, the environment's proxy; else the channel keeps a reference.
 */
NbhGrpcChannel *nbh_grpc_channel_new(const char *url, NbhDial *dial, GError **error);
const char *nbh_grpc_channel_url(const NbhGrpcChannel *channel);
const char *nbh_grpc_channel_authority(const NbhGrpcChannel *channel); /* "HOST:PORT", as in messages */
/* Drops the connection; its calls end with UNAVAILABLE. The next call connects anew. */
void nbh_grpc_channel_reset(NbhGrpcChannel *channel, const char *why);
/*
 * The network changed. A connection whose address is gone from this host ends at once, another one
 * gets a PING and ends without an ACK within 2 s; an attempt to connect begins anew.
 */
void nbh_grpc_channel_probe(NbhGrpcChannel *channel);
void nbh_grpc_channel_free(NbhGrpcChannel *channel); /* cancels calls without callbacks */

/*
 * method: "/pkg.Service/Method". headers: "name", "value", ..., NULL or NULL. message NULL: none
 * yet. half_close: no more messages from us. deadline_ms 0: none.
 */
NbhGrpcCall *nbh_grpc_call(NbhGrpcChannel *channel, const char *method, const char *const *headers,
                           GBytes *message, gboolean half_close, guint deadline_ms,
                           const NbhGrpcEvents *events, gpointer owner);
const char *nbh_grpc_call_header(NbhGrpcCall *call, const char *name); /* response header or trailer */
void nbh_grpc_call_cancel(NbhGrpcCall *call); /* RST_STREAM; no callback any more; the handle is dead */

/* Convenience for unary calls: on_reply once, reply NULL with status != OK. */
typedef void (*NbhGrpcReply)(int status, const char *message, GBytes *reply, gpointer owner);
NbhGrpcCall *nbh_grpc_unary(NbhGrpcChannel *channel, const char *method, GBytes *message,
                            guint deadline_ms, NbhGrpcReply on_reply, gpointer owner);

/* "http[s]://host[:port][/...]" -> parts; literal IPv6 in brackets. */
gboolean nbh_grpc_url_parse(const char *url, gboolean *ret_tls, char *ret_host, gsize host_size, guint16 *ret_port, GError **error);

#endif
