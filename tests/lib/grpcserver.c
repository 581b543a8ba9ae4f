#include "config.h"

#include "tests/lib/grpcserver.h"

/* First a stream whose first bytes are awaited, then an NbhH2srv that has taken it. */
typedef struct {
	TestGrpc *server;
	NbhStream *stream;
	NbhH2srv *h2;
} Conn;

static void conn_free(gpointer data)
{
	Conn *conn = data;

	nbh_stream_free(conn->stream);
	nbh_h2srv_free(conn->h2);
	g_free(conn);
}

static void on_call(NbhH2srvCall *call, const char *path, gpointer owner)
{
	Conn *conn = owner;

	nbh_h2srv_call_set_data(call, g_strdup(path));
	conn->server->events->on_call(call, path, NULL, 0, conn->server->owner);
}

static void on_message(NbhH2srvCall *call, const guint8 *data, gsize len, gpointer owner)
{
	Conn *conn = owner;

	conn->server->events->on_call(call, nbh_h2srv_call_data(call), data ? data : (const guint8 *)"", len,
				      conn->server->owner);
}

static void on_half_close(NbhH2srvCall *call, gpointer owner)
{
	(void)call;
	(void)owner;
}

static void on_gone(NbhH2srvCall *call, gpointer owner)
{
	Conn *conn = owner;

	if (conn->server->events->on_gone)
		conn->server->events->on_gone(call, conn->server->owner);
	g_free(nbh_h2srv_call_data(call));
}

static void on_h2_closed(NbhH2srv *h2, gpointer owner)
{
	Conn *conn = owner;

	conn->h2 = NULL;
	nbh_h2srv_free(h2);
}

static const NbhH2srvEvents h2_events = { on_call, on_message, on_half_close, on_gone, on_h2_closed };

static void on_up(NbhStream *stream, gpointer owner)
{
	(void)stream;
	(void)owner;
}

static void on_readable(NbhStream *stream, gpointer owner)
{
	Conn *conn = owner;
	guint8 first[256];
	gssize n = nbh_stream_read(stream, first, sizeof(first));

	if (n <= 0)
		return;
	conn->stream = NULL;
	conn->h2 = nbh_h2srv_new(stream, first, (gsize)n, &h2_events, conn);
}

static void on_closed(NbhStream *stream, const char *error, gpointer owner)
{
	Conn *conn = owner;

	(void)error;
	conn->stream = NULL;
	nbh_stream_free(stream);
}

static const NbhStreamEvents stream_events = { on_up, on_readable, on_up, on_closed };

static void on_accept(GSocket *socket, gpointer owner)
{
	TestGrpc *server = owner;
	Conn *conn = g_new0(Conn, 1);

	conn->server = server;
	conn->stream = nbh_stream_accept(socket, NULL, &stream_events, conn);
	g_ptr_array_add(server->conns, conn);
}

void test_grpc_open(TestGrpc *server, const TestGrpcEvents *events, gpointer owner)
{
	test_grpc_open_at(server, "127.0.0.1", 0, events, owner);
}

void test_grpc_open_at(TestGrpc *server, const char *ip, guint16 port, const TestGrpcEvents *events, gpointer owner)
{
	server->events = events;
	server->owner = owner;
	server->conns = g_ptr_array_new_with_free_func(conn_free);
	test_listener_open_at(&server->listener, ip, port, on_accept, server);
}

void test_grpc_drop_all(TestGrpc *server)
{
	g_ptr_array_set_size(server->conns, 0);
}

void test_grpc_close(TestGrpc *server)
{
	g_ptr_array_unref(server->conns);
	test_listener_close(&server->listener);
}

char *test_grpc_url(const TestGrpc *server)
{
	return g_strdup_printf("http://127.0.0.1:%u", server->listener.port);
}
