#ifndef NBH_TESTS_LIB_GRPCSERVER_H
#define NBH_TESTS_LIB_GRPCSERVER_H

/* A well-behaved gRPC server in the test's own loop, on net/h2srv.h. */

#include "net/h2srv.h"
#include "tests/lib/listener.h"

typedef struct {
	/* data NULL: the call has just begun. Then once for each message. */
	void (*on_call)(NbhH2srvCall *call, const char *path, const guint8 *data, gsize len, gpointer owner);
	void (*on_gone)(NbhH2srvCall *call, gpointer owner); /* may be NULL */
} TestGrpcEvents;

typedef struct {
	TestListener listener;
	const TestGrpcEvents *events;
	gpointer owner;
	GPtrArray *conns; /* owned */
} TestGrpc;

void test_grpc_open(TestGrpc *server, const TestGrpcEvents *events, gpointer owner);
void test_grpc_open_at(TestGrpc *server, const char *ip, guint16 port, const TestGrpcEvents *events, gpointer owner);
void test_grpc_drop_all(TestGrpc *server); /* closes every connection */
void test_grpc_close(TestGrpc *server);
char *test_grpc_url(const TestGrpc *server); /* g_free */

#endif
