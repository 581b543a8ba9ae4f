#ifndef NBH_NET_H2SRV_PRIVATE_H
#define NBH_NET_H2SRV_PRIVATE_H

/*
 * Inside the gRPC server. Two parts:
 *
 *   h2srv.c       one connection: stream, nghttp2 session, PINGs, what a client may cost
 *   h2srv-call.c  one call: request, messages, response, how it ends
 *
 * Everything that nghttp2 calls runs between enter() and leave() of h2srv.c; whoever frees the
 * connection from in there only marks it, and leave() destroys it.
 */

#include "net/h2guard.h"
#include "net/h2srv.h"

struct _NbhH2srvCall {
	NbhH2srv *conn; /* borrowed: owns us */
	int32_t id;
	char *path, *method, *content_type;
	GPtrArray *headers; /* char *, owned: name, value, name, value */
	gsize header_bytes;
	gpointer data;
	GByteArray *in;  /* the incomplete message, owned; NULL when there is none */
	GByteArray *out; /* not yet taken by nghttp2, owned; NULL when empty */
	gsize out_off;
	gboolean announced; /* on_call has been called */
	gboolean gone;      /* on_gone has been called */
	gboolean started;   /* response headers are submitted */
	gboolean finished;  /* no more from us */
	gint64 finished_usec;
	gboolean half_closed;
	gboolean deferred; /* nghttp2 waits for resume_data() */
	int status;
	char *message;
};

struct _NbhH2srv {
	NbhStream *stream; /* owned; NULL when the connection is over */
	const NbhH2srvEvents *events;
	gpointer owner;
	nghttp2_session *session; /* owned */
	GQueue calls;             /* NbhH2srvCall, owned */
	GByteArray *first;        /* read by whoever sniffed, owned; NULL when used */
	GByteArray *out;          /* frames, not yet written; owned, NULL when empty */
	gsize out_off;
	gsize queued_bytes;  /* over all calls */
	gsize waiting_bytes; /* of incomplete messages, over all calls */
	guint busy;          /* inside enter() and leave() */
	gboolean dead, freed, heard;
	gboolean leaving; /* the client said GOAWAY, if in a way that nghttp2 refuses */
	NbhH2Guard guard;
	char *abuse; /* owned; what the client did wrong, in words; NULL: nothing */
	GSource *flush, *closing, *ping, *pong, *again, *end; /* owned */
	guint ping_ms, stuck_ms, end_ms; /* fields for tests only */
};

/* h2srv.c */
/* Sends of one turn of the loop leave together, and no event comes from inside a call. */
void nbh_h2srv_flush_soon(NbhH2srv *conn);

/* h2srv-call.c */
NbhH2srvCall *nbh_h2srv_call_new(NbhH2srv *conn, int32_t id);
void nbh_h2srv_call_free(NbhH2srvCall *call);
void nbh_h2srv_call_gone(NbhH2srvCall *call); /* tells the owner, once */
/* FALSE: more than one request may have. */
gboolean nbh_h2srv_call_on_header(NbhH2srvCall *call, const uint8_t *name, gsize name_len,
				  const uint8_t *value, gsize value_len);
void nbh_h2srv_call_on_request(NbhH2srvCall *call); /* its headers are complete */
void nbh_h2srv_call_on_data(NbhH2srvCall *call, const guint8 *data, gsize len);
void nbh_h2srv_call_on_half_close(NbhH2srvCall *call);

#endif
