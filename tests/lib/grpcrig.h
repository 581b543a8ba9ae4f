#ifndef NBH_TESTS_LIB_GRPCRIG_H
#define NBH_TESTS_LIB_GRPCRIG_H

/* A gRPC channel to a server of h2peer.h, and what happens to its calls. */

#include "net/grpc.h"
#include "tests/lib/h2peer.h"

/* What happened to one call. */
typedef struct {
	NbhGrpcChannel *channel;
	NbhGrpcCall *call;
	guint n_headers, n_messages, n_done;
	gsize n_bytes;
	int status;
	char *text;
	GBytes *reply;
	/* What to do in the callback of that name. */
	enum { NOTHING, CANCEL, FREE_CHANNEL } in_headers, in_message, in_done;
} GrpcSeen;

typedef struct {
	TestH2 h2;
	NbhGrpcChannel *channel;
	char *name; /* "127.0.0.1:PORT" */
} GrpcRig;

typedef void (*GrpcServe)(TestH2Conn *conn, int32_t stream_id, gpointer owner);

void grpcrig_open(GrpcRig *f, GrpcServe on_request);
void grpcrig_open_channel(GrpcRig *f, guint16 port); /* a part of grpcrig_open() */
void grpcrig_close(GrpcRig *f);

extern const NbhGrpcEvents grpcrig_events; /* owner: GrpcSeen */
void grpcrig_on_reply(int status, const char *message, GBytes *reply, gpointer owner); /* the same */
void grpcrig_start(GrpcRig *f, GrpcSeen *seen, guint deadline_ms);
void grpcrig_start_unary(GrpcRig *f, GrpcSeen *seen, guint deadline_ms);
void grpcrig_seen_clear(GrpcSeen *seen);
/* One call to a server that behaves so, to its end. text: "@" stands for the server's name. */
void grpcrig_expect(GrpcServe on_request, int status, const char *text, guint n_messages);

/* Servers. */
void grpcrig_serve_answer(TestH2Conn *conn, int32_t stream_id, gpointer owner);
void grpcrig_serve_nothing(TestH2Conn *conn, int32_t stream_id, gpointer owner);

#endif
