/* net/h2srv on a socket pair, against a bare HTTP/2 client. */

#include "config.h"

#include "base/limits.h"
#include "net/grpc.h"
#include "net/h2srv.h"

#include "tests/lib/h2client.h"
#include "tests/lib/listener.h"
#include "tests/lib/loop.h"

#include <string.h>
#include <sys/socket.h>

/* The server's side of a test: what happened, and what to do about it. */
typedef struct {
	NbhH2srv *conn;
	TestH2Client *client;
	guint n_calls, n_messages, n_half_closed, n_gone, n_closed;
	GString *log; /* lengths of messages */
	NbhH2srvCall *call; /* the latest that is not gone */
	char *path, *extra;
	gboolean free_on_call, free_on_message, free_on_half_close, free_on_gone, free_on_closed;
} Fixture;

static void free_conn(Fixture *f)
{
	nbh_h2srv_free(g_steal_pointer(&f->conn));
}

static void on_call(NbhH2srvCall *call, const char *path, gpointer owner)
{
	Fixture *f = owner;

	f->n_calls++;
	f->call = call;
	g_free(f->path);
	g_free(f->extra);
	f->path = g_strdup(path);
	f->extra = g_strdup(nbh_h2srv_call_header(call, "x-extra"));
	g_assert_null(nbh_h2srv_call_header(call, "x-absent"));
	if (f->free_on_call)
		free_conn(f);
}

static void on_message(NbhH2srvCall *call, const guint8 *data, gsize len, gpointer owner)
{
	Fixture *f = owner;

	f->n_messages++;
	g_string_append_printf(f->log, "%zu ", len);
	if (f->free_on_message) {
		free_conn(f);
		return;
	}
	if (strcmp(f->path, "/echo") == 0)
		g_assert_true(nbh_h2srv_send(call, data, len));
}

static void on_half_close(NbhH2srvCall *call, gpointer owner)
{
	Fixture *f = owner;

	f->n_half_closed++;
	if (f->free_on_half_close)
		free_conn(f);
	else if (strcmp(f->path, "/echo") == 0)
		nbh_h2srv_finish(call, 0, NULL);
}

static void on_gone(NbhH2srvCall *call, gpointer owner)
{
	Fixture *f = owner;

	f->n_gone++;
	if (f->call == call)
		f->call = NULL;
	if (f->free_on_gone)
		free_conn(f);
}

static void on_closed(NbhH2srv *conn, gpointer owner)
{
	Fixture *f = owner;

	g_assert_true(conn == f->conn);
	f->n_closed++;
	if (f->free_on_closed)
		free_conn(f);
}

static const NbhH2srvEvents events = { on_call, on_message, on_half_close, on_gone, on_closed };

static void on_sniffed(NbhStream *stream, gpointer owner)
{
	Fixture *f = owner;
	guint8 first[24];

	g_assert_cmpint(nbh_stream_read(stream, first, sizeof(first)), ==, sizeof(first));
	f->conn = nbh_h2srv_new(stream, first, sizeof(first), &events, f);
	g_assert_cmpuint(f->n_calls, ==, 0); /* events come from the loop only */
}

static void ignore_stream(NbhStream *stream, gpointer owner)
{
	(void)stream;
	(void)owner;
}

static void ignore_closed(NbhStream *stream, const char *error, gpointer owner)
{
	(void)stream;
	(void)error;
	(void)owner;
}

static const NbhStreamEvents sniff = { ignore_stream, on_sniffed, ignore_stream, ignore_closed };

static void set_up(Fixture *f, gconstpointer data)
{
	int fds[2];
	GSocket *socket;

	(void)data;
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	socket = g_socket_new_from_fd(fds[0], NULL);
	g_assert_nonnull(socket);
	f->log = g_string_new(NULL);
	f->client = test_h2client_new(fds[1]);
	(void)nbh_stream_accept(socket, NULL, &sniff, f);
	test_run_until(f->conn);
}

static void tear_down(Fixture *f, gconstpointer data)
{
	(void)data;
	free_conn(f);
	g_assert_cmpuint(f->n_gone, ==, f->n_calls);
	test_h2client_free(f->client);
	test_drain_loop();
	g_string_free(f->log, TRUE);
	g_free(f->path);
	g_free(f->extra);
}

static TestH2Stream *request(Fixture *f, const char *path, const GByteArray *body, gsize chunk,
			     gboolean keep_open)
{
	return test_h2client_request(f->client, "POST", path, "application/grpc", NULL,
				     body ? body->data : NULL, body ? body->len : 0, chunk, keep_open);
}

static void test_echo(Fixture *f, gconstpointer data)
{
	g_autoptr(GByteArray) body = test_grpc_frame("hello", 5);
	TestH2Stream *stream = test_h2client_request(f->client, "POST", "/echo", "application/grpc+proto",
						     "value", body->data, body->len, 100, FALSE);

	(void)data;
	test_run_until(stream->closed);
	g_assert_cmpstr(stream->http_status, ==, "200");
	g_assert_cmpstr(stream->grpc_status, ==, "0");
	g_assert_null(stream->grpc_message);
	g_assert_cmpuint(stream->n_header_blocks, ==, 2);
	g_assert_cmpmem(stream->data->data, stream->data->len, body->data, body->len);
	g_assert_cmpstr(f->extra, ==, "value");
	g_assert_cmpuint(f->n_gone, ==, 1);
}

/* Messages and DATA frames have nothing to do with each other. */
static void test_split(Fixture *f, gconstpointer data)
{
	g_autoptr(GByteArray) body = test_grpc_frame("abc", 3);
	g_autoptr(GByteArray) empty = test_grpc_frame("", 0);
	g_autoptr(GByteArray) last = test_grpc_frame("0123456789", 10);
	TestH2Stream *stream;

	(void)data;
	g_byte_array_append(body, empty->data, empty->len);
	g_byte_array_append(body, last->data, last->len);
	for (gsize chunk = 1; chunk <= body->len; chunk++) {
		g_string_truncate(f->log, 0);
		stream = request(f, "/echo", body, chunk, FALSE);
		test_run_until(stream->closed);
		g_assert_cmpstr(f->log->str, ==, "3 0 10 ");
		g_assert_cmpmem(stream->data->data, stream->data->len, body->data, body->len);
	}
}

static void test_refusals(Fixture *f, gconstpointer data)
{
	static const guint8 compressed[] = { 1, 0, 0, 0, 1, 'x' };
	static const guint8 truncated[] = { 0, 0, 0, 0, 9, 'x' };
	const gsize above = NBH_H2SRV_MESSAGE_MAX_BYTES + 1;
	const guint8 huge[] = { 0, (guint8)(above >> 24), (guint8)(above >> 16), (guint8)(above >> 8),
				(guint8)above };
	const struct {
		const guint8 *body;
		gsize len;
		const char *status;
	} cases[] = {
		{ compressed, sizeof(compressed), "12" },
		{ truncated, sizeof(truncated), "13" },
		{ truncated, 3, "13" },
		{ huge, sizeof(huge), "8" },
	};

	(void)data;
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		TestH2Stream *stream =
			test_h2client_request(f->client, "POST", "/echo", "application/grpc", NULL,
					      cases[i].body, cases[i].len, 100, FALSE);

		test_run_until(stream->closed);
		g_assert_cmpstr(stream->grpc_status, ==, cases[i].status);
		g_assert_nonnull(stream->grpc_message);
	}
	g_assert_cmpuint(f->n_messages, ==, 0);
	g_assert_cmpuint(f->n_gone, ==, G_N_ELEMENTS(cases));
}

static void test_largest_message(Fixture *f, gconstpointer data)
{
	g_autofree guint8 *zeros = g_malloc0(NBH_H2SRV_MESSAGE_MAX_BYTES);
	g_autoptr(GByteArray) body = test_grpc_frame(zeros, NBH_H2SRV_MESSAGE_MAX_BYTES);
	TestH2Stream *stream = request(f, "/echo", body, 16384, FALSE);

	(void)data;
	test_run_until(stream->closed);
	g_assert_cmpstr(stream->grpc_status, ==, "0");
	g_assert_cmpuint(stream->data->len, ==, body->len);
}

static void test_not_grpc(Fixture *f, gconstpointer data)
{
	static const struct {
		const char *method, *type;
	} cases[] = {
		{ "GET", "application/grpc" },
		{ "POST", NULL },
		{ "POST", "application/json" },
		{ "POST", "application/grpc-web" },
	};

	(void)data;
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		TestH2Stream *stream =
			test_h2client_request(f->client, cases[i].method, "/echo", cases[i].type, NULL,
					      (const guint8 *)"body", 4, 100, FALSE);

		test_run_until(stream->closed);
		g_assert_cmpstr(stream->http_status, ==, "415");
	}
	g_assert_cmpuint(f->n_calls, ==, 0);
}

/* Too many header bytes end that stream, not the connection. */
static void test_large_headers(Fixture *f, gconstpointer data)
{
	g_autofree char *value = g_strnfill(NBH_H2SRV_HEADERS_MAX_BYTES, 'x');
	TestH2Stream *stream = test_h2client_request(f->client, "POST", "/echo", "application/grpc", value,
						     NULL, 0, 0, FALSE);

	(void)data;
	test_run_until(stream->closed || test_h2client_is_closed(f->client));
	g_assert_cmpuint(f->n_calls, ==, 0);
	g_assert_null(stream->grpc_status);
}

/* An error before anything else: one block of headers; and text that is not ASCII. */
static void test_trailers_only(Fixture *f, gconstpointer data)
{
	TestH2Stream *stream = request(f, "/x", NULL, 0, TRUE);

	(void)data;
	test_run_until(f->call);
	nbh_h2srv_finish(f->call, 7, "100% n\xc3\xb6\n");
	g_assert_cmpuint(f->n_gone, ==, 0); /* not from inside the call */
	test_run_until(stream->closed);
	g_assert_cmpstr(stream->grpc_status, ==, "7");
	g_assert_cmpstr(stream->grpc_message, ==, "100%25 n%C3%B6%0A");
	g_assert_cmpuint(stream->n_header_blocks, ==, 1);
	/* The request was still open: reset, but only behind the status. */
	g_assert_cmpuint(stream->error_code, ==, 0);
	test_run_until(f->n_gone == 1);
}

static void test_stream(Fixture *f, gconstpointer data)
{
	TestH2Stream *stream = request(f, "/x", NULL, 0, TRUE);

	(void)data;
	test_run_until(f->call);
	nbh_h2srv_headers(f->call, "x-extra", "registered");
	test_run_until(stream->extra);
	g_assert_cmpstr(stream->extra, ==, "registered");
	g_assert_cmpuint(stream->data->len, ==, 0);
	g_assert_true(nbh_h2srv_send(f->call, (const guint8 *)"ab", 2));
	test_run_until(stream->data->len == 7);
	g_assert_cmpuint(nbh_h2srv_queued(f->call), ==, 0);
	g_assert_true(nbh_h2srv_send(f->call, (const guint8 *)"cd", 2));
	nbh_h2srv_finish(f->call, 2, "over");
	g_assert_false(nbh_h2srv_send(f->call, (const guint8 *)"ef", 2));
	nbh_h2srv_finish(f->call, 3, "twice"); /* the first counts */
	test_run_until(stream->closed);
	g_assert_cmpuint(stream->data->len, ==, 14);
	g_assert_cmpstr(stream->grpc_status, ==, "2");
}

/* A reader that has closed its window holds up nobody else, and costs a bounded amount. */
static void test_slow_reader(Fixture *f, gconstpointer data)
{
	g_autofree guint8 *zeros = g_malloc0(NBH_H2SRV_OUTPUT_MAX_BYTES);
	g_autoptr(GByteArray) body = test_grpc_frame("hello", 5);
	TestH2Stream *slow = request(f, "/slow", NULL, 0, TRUE);
	TestH2Stream *echo;
	NbhH2srvCall *call;
	gsize first;

	(void)data;
	test_run_until(f->call);
	call = f->call;
	test_h2client_hold_window(f->client, TRUE);
	/* 40000 of the 65535 bytes that all streams of the connection share. */
	g_assert_true(nbh_h2srv_send(call, zeros, 40000));
	test_run_until(slow->data->len == 40005);
	echo = request(f, "/echo", body, 100, FALSE);
	test_run_until(echo->closed);
	g_assert_cmpstr(echo->grpc_status, ==, "0");
	/* Now the window is closed: everything waits here, up to the limit. */
	g_assert_true(nbh_h2srv_send(call, zeros, 100000));
	test_run_until(nbh_h2srv_queued(call) < 100005);
	first = nbh_h2srv_queued(call);
	g_assert_cmpuint(first, >, 0);
	g_assert_false(nbh_h2srv_send(call, zeros, NBH_H2SRV_OUTPUT_MAX_BYTES - first - 4));
	g_assert_true(nbh_h2srv_send(call, zeros, NBH_H2SRV_OUTPUT_MAX_BYTES - first - 5));
	g_assert_false(nbh_h2srv_send(call, zeros, 0));
	g_assert_cmpuint(nbh_h2srv_queued(call), ==, NBH_H2SRV_OUTPUT_MAX_BYTES);
	test_h2client_hold_window(f->client, FALSE);
	test_run_until(nbh_h2srv_queued(call) == 0);
	nbh_h2srv_finish(call, 0, NULL);
	test_run_until(slow->closed);
	g_assert_cmpstr(slow->grpc_status, ==, "0");
}

static void test_client_resets(Fixture *f, gconstpointer data)
{
	TestH2Stream *stream = request(f, "/x", NULL, 0, TRUE);

	(void)data;
	test_run_until(f->call);
	nbh_h2srv_headers(f->call, NULL, NULL);
	nbh_h2srv_send(f->call, (const guint8 *)"x", 1);
	test_h2client_reset(f->client, stream);
	test_run_until(f->n_gone == 1);
	g_assert_null(f->call);
}

static void test_connection_lost(Fixture *f, gconstpointer data)
{
	g_autofree guint8 *zeros = g_malloc0(1000000);

	(void)data;
	request(f, "/x", NULL, 0, TRUE);
	request(f, "/y", NULL, 0, TRUE);
	test_run_until(f->n_calls == 2);
	nbh_h2srv_send(f->call, zeros, 1000000);
	f->free_on_closed = GPOINTER_TO_INT(data);
	test_h2client_raw(f->client, "this is no frame at all, so the server gives up", 47);
	test_run_until(f->n_closed == 1);
	g_assert_cmpuint(f->n_gone, ==, 2);
}

/* free() from inside each event: the others still get their on_gone, and nothing else comes. */
static void test_free_inside(Fixture *f, gconstpointer data)
{
	g_autoptr(GByteArray) body = test_grpc_frame("hello", 5);
	const char *where = data;

	request(f, "/first", NULL, 0, TRUE);
	test_run_until(f->n_calls == 1);
	f->free_on_call = strcmp(where, "call") == 0;
	f->free_on_message = strcmp(where, "message") == 0;
	f->free_on_half_close = strcmp(where, "half-close") == 0;
	f->free_on_gone = strcmp(where, "gone") == 0;
	request(f, "/echo", body, 1, FALSE);
	test_run_until(!f->conn);
	g_assert_cmpuint(f->n_gone, ==, f->n_calls);
	test_run_until(test_h2client_is_closed(f->client));
	g_assert_cmpuint(f->n_closed, ==, 0);
}

static void test_shutdown(Fixture *f, gconstpointer data)
{
	(void)data;
	request(f, "/x", NULL, 0, TRUE);
	test_run_until(f->call);
	nbh_h2srv_shutdown(f->conn);
	test_run_until(f->n_closed == 1);
	g_assert_cmpuint(f->n_gone, ==, 1);
	free_conn(f);
	test_run_until(test_h2client_is_closed(f->client));
	g_assert_true(test_h2client_got_goaway(f->client));
}

static void on_accept(GSocket *accepted, gpointer owner)
{
	(void)nbh_stream_accept(accepted, NULL, &sniff, owner);
}

static void on_reply(int status, const char *message, GBytes *reply, gpointer owner)
{
	(void)message;
	(void)reply;
	*(int *)owner = status;
}

/* Our own client takes a GOAWAY without a text, too. */
static void test_shutdown_under_grpc(void)
{
	Fixture f = { .log = g_string_new(NULL), .free_on_closed = TRUE };
	TestListener listener = { 0 };
	g_autofree char *url = NULL;
	g_autoptr(GBytes) message = g_bytes_new_static("x", 1);
	NbhGrpcChannel *channel;
	int status = -1;

	test_listener_open(&listener, on_accept, &f);
	url = g_strdup_printf("http://127.0.0.1:%u", listener.port);
	channel = nbh_grpc_channel_new(url, NULL, NULL);
	nbh_grpc_unary(channel, "/never-answered", message, 10000, on_reply, &status);
	test_run_until(f.n_messages == 1);
	nbh_h2srv_shutdown(f.conn);
	test_run_until(status >= 0 && f.n_closed == 1);
	g_assert_cmpint(status, ==, NBH_GRPC_UNAVAILABLE);
	nbh_grpc_channel_free(channel);
	free_conn(&f);
	test_listener_close(&listener);
	g_string_free(f.log, TRUE);
	g_free(f.path);
	g_free(f.extra);
}

#define ADD(name, data, func) g_test_add("/h2srv/" name, Fixture, data, set_up, func, tear_down)

/* A message that is one byte short of its end, of size bytes with prefix. */
static TestH2Stream *begin_message(Fixture *f, gsize size)
{
	g_autofree guint8 *message = g_malloc0(size);
	GByteArray *framed = test_grpc_frame(message, size - 4);
	TestH2Stream *stream = test_h2client_request(f->client, "POST", "/hold", "application/grpc", NULL,
						     framed->data, size, 16384, TRUE);

	test_run_until(stream->body_off == size || stream->closed);
	g_byte_array_unref(framed);
	return stream;
}

/* Anybody may open a connection and begin as many messages as there are streams. */
static void test_waiting_input(Fixture *f, gconstpointer data)
{
	const gsize size = 512 * 1024;
	TestH2Stream *last = NULL, *stream;

	(void)data;
	/* One below, at ... */
	for (gsize sum = 0; sum < NBH_H2SRV_INPUT_MAX_BYTES; sum += size)
		last = begin_message(f, size);
	test_drain_loop();
	g_assert_cmpuint(f->n_calls, ==, NBH_H2SRV_INPUT_MAX_BYTES / size);
	g_assert_cmpuint(f->n_gone, ==, 0);

	/* ... and above: that call is refused, the others go on. */
	stream = begin_message(f, 6);
	test_run_until(stream->closed);
	g_assert_cmpstr(stream->grpc_status, ==, "8");
	g_assert_cmpuint(f->n_gone, ==, 1);

	/* What is given back may be used again. */
	test_h2client_reset(f->client, last);
	test_run_until(f->n_gone == 2);
	(void)begin_message(f, size);
	test_drain_loop();
	g_assert_cmpuint(f->n_gone, ==, 2);
	g_assert_cmpuint(f->n_messages, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("echo", NULL, test_echo);
	ADD("split", NULL, test_split);
	ADD("refusals", NULL, test_refusals);
	ADD("largest-message", NULL, test_largest_message);
	ADD("waiting-input", NULL, test_waiting_input);
	ADD("not-grpc", NULL, test_not_grpc);
	ADD("large-headers", NULL, test_large_headers);
	ADD("trailers-only", NULL, test_trailers_only);
	ADD("stream", NULL, test_stream);
	ADD("slow-reader", NULL, test_slow_reader);
	ADD("client-resets", NULL, test_client_resets);
	ADD("connection-lost", NULL, test_connection_lost);
	ADD("connection-lost-free", GINT_TO_POINTER(TRUE), test_connection_lost);
	ADD("free-in-call", "call", test_free_inside);
	ADD("free-in-message", "message", test_free_inside);
	ADD("free-in-half-close", "half-close", test_free_inside);
	ADD("free-in-gone", "gone", test_free_inside);
	ADD("shutdown", NULL, test_shutdown);
	g_test_add_func("/h2srv/shutdown-under-grpc", test_shutdown_under_grpc);
	return g_test_run();
}
