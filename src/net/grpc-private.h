#ifndef NBH_NET_GRPC_PRIVATE_H
#define NBH_NET_GRPC_PRIVATE_H

/*
 * Inside the gRPC client. Four parts:
 *
 *   grpc.c            the channel: current connection, the line of calls that have news
 *   grpc-transport.c  one HTTP/2 connection: stream, nghttp2 session, PINGs, GOAWAY
 *   grpc-call.c       one call: request, response, message framing, how it ended
 *   grpc-pace.c       how much of this machine a server may use
 *
 * nghttp2's callbacks only record; the owner's callbacks run from nbh_grpc_deliver(), never inside
 * nghttp2. So an owner may cancel, free or call anything from its callbacks.
 */

#include "net/grpc.h"
#include "net/h2guard.h"
#include "net/stream.h"

#include <nghttp2/nghttp2.h>

typedef struct _GrpcTransport GrpcTransport;

typedef struct {
	gint64 left_usec; /* CPU time, at at_usec; below 0: a pause */
	gint64 at_usec, begun_usec;
	guint n_pauses;
	guint percent; /* for tests only */
} GrpcPace;

struct _NbhGrpcChannel {
	char *url, *host;
	char *authority; /* "host:port", IPv6 in brackets; also how messages name the server */
	guint16 port;
	gboolean tls;
	NbhDial *dial; /* ref */
	gboolean is_freed;
	NbhGrpcCall *delivering; /* whose callbacks are on the stack */
	GrpcTransport *current; /* takes new calls; borrowed from transports */
	GQueue transports;      /* GrpcTransport, owned; draining ones, too */
	GQueue ready;           /* NbhGrpcCall with something to deliver, linked by ready_link */
	guint n_calls;
	gsize unsent_bytes; /* request bytes that nghttp2 has not taken yet */
	gsize input_bytes;  /* of messages that are not complete or not delivered, over all calls */
	GrpcPace pace;
	guint deliver_id;
	guint settings_ms, keepalive_ms, keepalive_ack_ms, probe_ack_ms; /* fields for tests only */
};

struct _GrpcTransport {
	NbhGrpcChannel *channel; /* borrowed; not to be used when is_dead */
	gboolean is_dead, is_up, is_http2, has_settings, is_draining;
	NbhStream *stream;        /* owned */
	nghttp2_session *session; /* owned; from on_up to death */
	GQueue calls;             /* NbhGrpcCall, linked by transport_link */
	GByteArray *first;        /* what came before it could be recognised as HTTP/2 */
	GByteArray *out;          /* taken from nghttp2 and not yet written */
	char *goaway;             /* in words, for the calls that the connection takes with it */
	char *h2_error;           /* what the server did wrong */
	GList link;               /* in channel->transports */
	NbhH2Guard guard;
	guint flush_id, settings_id, keepalive_id, ack_id, probe_id, pause_id;
	gint64 received_usec, pinged_usec;
	guint n_fast_pings;
};

struct _NbhGrpcCall {
	NbhGrpcChannel *channel; /* borrowed */
	GrpcTransport *transport; /* borrowed; NULL when the call has ended */
	int32_t stream_id;        /* 0: not submitted */
	gboolean is_gone;         /* cancelled or done: no more callbacks */
	GList transport_link, ready_link;
	gboolean is_ready; /* in channel->ready */

	const NbhGrpcEvents *events; /* NULL: unary */
	NbhGrpcReply on_reply;
	gpointer owner;
	GBytes *reply; /* unary: the first message */
	guint n_replies;

	char *path;
	char **headers; /* pairs */
	GByteArray *request; /* framed */
	gsize request_sent;
	gboolean half_close;
	gint64 deadline_usec; /* 0: none */
	guint deadline_id;

	guint http_status; /* 0: no response yet */
	gboolean has_headers, headers_due;
	GHashTable *response; /* name -> value, owned; headers and trailers */
	gsize response_bytes;
	GByteArray *in;
	gsize in_checked; /* offset in `in` of the first message prefix that was not looked at */

	gboolean never_processed, was_retried;
	int own_status; /* decided by us while the stream was open; 0: none */
	const char *own_message;
	gboolean has_ended;
	int status;
	char *message;
};

/* grpc.c */
void nbh_grpc_channel_ref(NbhGrpcChannel *channel); /* its memory; callbacks may free it */
void nbh_grpc_channel_unref(NbhGrpcChannel *channel);
GrpcTransport *nbh_grpc_current_transport(NbhGrpcChannel *channel); /* made when there is none */
void nbh_grpc_call_ready(NbhGrpcCall *call);
void nbh_grpc_deliver(NbhGrpcChannel *channel);

/* grpc-transport.c */
GrpcTransport *nbh_grpc_transport_new(NbhGrpcChannel *channel);
void nbh_grpc_transport_add(GrpcTransport *transport, NbhGrpcCall *call);
/* The call is over or moves on: RST_STREAM if its stream is still open. Never frees the transport. */
void nbh_grpc_transport_remove(GrpcTransport *transport, NbhGrpcCall *call);
/* Its calls end with status and "HOST:PORT: problem". Not inside nghttp2 callbacks. */
void nbh_grpc_transport_fail(GrpcTransport *transport, int status, const char *problem);
void nbh_grpc_transport_probe(GrpcTransport *transport);
void nbh_grpc_transport_free(GrpcTransport *transport); /* without its calls noticing */

/* grpc-pace.c */
void nbh_grpc_pace_init(NbhGrpcChannel *channel);
void nbh_grpc_pace_begin(NbhGrpcChannel *channel); /* bytes of the server are looked at */
guint nbh_grpc_pace_end(NbhGrpcChannel *channel);  /* ms in which nothing should be read; 0: go on */

/* grpc-call.c */
NbhGrpcCall *nbh_grpc_call_new(NbhGrpcChannel *channel, const char *method,
                               const char *const *headers, GBytes *message, gboolean half_close,
                               guint deadline_ms);
void nbh_grpc_call_unref(NbhGrpcCall *call);
/* Takes the call out of every list and marks it gone. The last reference may go. */
void nbh_grpc_call_drop(NbhGrpcCall *call);
/* Takes message. on_done follows from deliver(). */
void nbh_grpc_call_end(NbhGrpcCall *call, int status, char *message);
int nbh_grpc_call_submit(NbhGrpcCall *call, nghttp2_session *session); /* 0 or an nghttp2 error */
void nbh_grpc_call_on_header(NbhGrpcCall *call, const char *name, gsize name_len, const char *value, gsize value_len);
void nbh_grpc_call_on_headers_end(NbhGrpcCall *call, gboolean end_stream);
void nbh_grpc_call_on_data(NbhGrpcCall *call, const guint8 *data, gsize len);
void nbh_grpc_call_on_close(NbhGrpcCall *call, guint32 error_code);
void nbh_grpc_call_deliver(NbhGrpcCall *call);

#endif
