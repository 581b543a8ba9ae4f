#ifndef NBH_NET_H2SRV_H
#define NBH_NET_H2SRV_H

/*
 * The server side of gRPC: one accepted stream that began with the HTTP/2 preface. Used by the hub.
 * Limits: NBH_H2SRV_*, NBH_H2_*. PINGs for data of ours are no abuse; sends its own after 30 s of
 * silence, 20 s to answer. An answer that is not taken within a minute is reset. Events come only from the loop, never from inside send(), headers() or finish(); the one
 * exception is free(), which ends the calls that are left. Everything is legal inside events.
 */

#include "net/stream.h"

typedef struct _NbhH2srv NbhH2srv;         /* a connection */
typedef struct _NbhH2srvCall NbhH2srvCall; /* a stream on it */

typedef struct {
	/* A new call: ":path" is known. set_data() may attach state. Unknown methods: finish with 12. */
	void (*on_call)(NbhH2srvCall *call, const char *path, gpointer owner);
	void (*on_message)(NbhH2srvCall *call, const guint8 *data, gsize len, gpointer owner);
	void (*on_half_close)(NbhH2srvCall *call, gpointer owner);
	/* Exactly once per call, also after finish(), reset or loss of the connection. Last use of call. */
	void (*on_gone)(NbhH2srvCall *call, gpointer owner);
	void (*on_closed)(NbhH2srv *conn, gpointer owner); /* free it here or later */
} NbhH2srvEvents;

/* first: bytes already read from the stream (the preface). Takes the stream. */
NbhH2srv *nbh_h2srv_new(NbhStream *stream, const guint8 *first, gsize n_first, const NbhH2srvEvents *events, gpointer owner);
/* In on_closed: what the client did wrong, in words ("too many PING frames"); NULL: nothing. */
const char *nbh_h2srv_abuse(NbhH2srv *conn);
gboolean nbh_h2srv_has_open_call(NbhH2srv *conn); /* FALSE: all that is left of them is for the client to take */
/* GOAWAY; what is queued still goes out if it is taken within 5 s, calls end, then on_closed. */
void nbh_h2srv_shutdown(NbhH2srv *conn);
void nbh_h2srv_free(NbhH2srv *conn); /* NULL is fine; on_gone for every call, no on_closed */

const char *nbh_h2srv_call_header(NbhH2srvCall *call, const char *name);
void nbh_h2srv_call_set_data(NbhH2srvCall *call, gpointer data);
gpointer nbh_h2srv_call_data(NbhH2srvCall *call);

/* Response headers now (else they go with the first message). name/value may be NULL: none extra. */
void nbh_h2srv_headers(NbhH2srvCall *call, const char *name, const char *value);
/* FALSE when the connection would hold more than NBH_H2SRV_OUTPUT_MAX_BYTES (nothing is queued
 * then), or when the call is over. */
gboolean nbh_h2srv_send(NbhH2srvCall *call, const guint8 *data, gsize len);
gsize nbh_h2srv_queued(NbhH2srvCall *call); /* bytes not yet handed to the connection: the window is closed */
/* Trailers (or trailers-only) and the end of the stream. message may be NULL. */
void nbh_h2srv_finish(NbhH2srvCall *call, int status, const char *message);

#endif
