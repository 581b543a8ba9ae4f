#include "config.h"

#include "net/grpc-private.h"

#include "base/limits.h"
#include "tests/lib/h2peer.h"
#include "tests/lib/loop.h"

#include <string.h>

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
} Seen;

static void seen_clear(Seen *seen)
{
	g_free(seen->text);
	g_clear_pointer(&seen->reply, g_bytes_unref);
}

static void act(Seen *seen, int action)
{
	if (action == CANCEL)
		nbh_grpc_call_cancel(seen->call);
	else if (action == FREE_CHANNEL)
		g_clear_pointer(&seen->channel, nbh_grpc_channel_free);
}

static void on_headers(NbhGrpcCall *call, gpointer owner)
{
	Seen *seen = owner;

	g_assert_true(call == seen->call);
	seen->n_headers++;
	act(seen, seen->in_headers);
}

static void on_message(NbhGrpcCall *call, const guint8 *data, gsize len, gpointer owner)
{
	Seen *seen = owner;

	g_assert_true(call == seen->call);
	g_assert_cmpuint(seen->n_done, ==, 0);
	seen->n_messages++;
	for (gsize i = 0; i < len; i++)
		g_assert_cmpuint(data[i], ==, (guint8)(seen->n_bytes++));
	act(seen, seen->in_message);
	/* Still there while we are in the callback. */
	g_assert_true(len == 0 || data[0] == data[0]);
}

static void on_done(NbhGrpcCall *call, int status, const char *message, gpointer owner)
{
	Seen *seen = owner;

	g_assert_true(call == seen->call);
	seen->n_done++;
	seen->status = status;
	seen->text = g_strdup(message);
	act(seen, seen->in_done);
}

static const NbhGrpcEvents events = { on_headers, on_message, on_done };

static void on_reply(int status, const char *message, GBytes *reply, gpointer owner)
{
	Seen *seen = owner;

	seen->n_done++;
	seen->status = status;
	seen->text = g_strdup(message);
	seen->reply = reply ? g_bytes_ref(reply) : NULL;
	act(seen, seen->in_done);
}

typedef struct {
	TestH2 h2;
	NbhGrpcChannel *channel;
	char *name; /* "127.0.0.1:PORT" */
} Fixture;

static void open_channel(Fixture *f, guint16 port)
{
	g_autofree char *url = g_strdup_printf("http://127.0.0.1:%u/path", port);
	g_autoptr(GError) error = NULL;

	f->name = g_strdup_printf("127.0.0.1:%u", port);
	f->channel = nbh_grpc_channel_new(url, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(nbh_grpc_channel_url(f->channel), ==, url);
}

static void setup(Fixture *f, void (*on_request)(TestH2Conn *, int32_t, gpointer))
{
	*f = (Fixture){ 0 };
	test_h2_open(&f->h2, on_request, f);
	open_channel(f, f->h2.listener.port);
}

static void teardown(Fixture *f)
{
	nbh_grpc_channel_free(f->channel);
	test_h2_close(&f->h2);
	test_drain_loop();
	g_free(f->name);
}

static void start(Fixture *f, Seen *seen, guint deadline_ms)
{
	g_autoptr(GBytes) message = g_bytes_new_static("question", 8);

	seen->channel = f->channel;
	seen->call = nbh_grpc_call(f->channel, "/a.B/C", NULL, message, TRUE, deadline_ms, &events, seen);
	g_assert_cmpuint(seen->n_done, ==, 0);
}

static void start_unary(Fixture *f, Seen *seen, guint deadline_ms)
{
	g_autoptr(GBytes) message = g_bytes_new_static("question", 8);

	seen->channel = f->channel;
	seen->call = nbh_grpc_unary(f->channel, "/a.B/C", message, deadline_ms, on_reply, seen);
	g_assert_cmpuint(seen->n_done, ==, 0);
}

/* One call to a server that behaves so, to its end. */
static void expect(void (*on_request)(TestH2Conn *, int32_t, gpointer), int status, const char *text,
                   guint n_messages)
{
	g_autofree char *expected = NULL;
	Fixture f;
	Seen seen = { 0 };

	setup(&f, on_request);
	start(&f, &seen, 5000);
	test_run_until(seen.n_done);
	if (strchr(text, '@'))
		expected = g_strdup_printf("%s%s", f.name, text + 1);
	g_assert_cmpstr(seen.text, ==, expected ? expected : text);
	g_assert_cmpint(seen.status, ==, status);
	g_assert_cmpuint(seen.n_messages, ==, n_messages);
	g_assert_cmpuint(seen.n_done, ==, 1);
	seen_clear(&seen);
	teardown(&f);
}

static void serve_answer(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	Fixture *f = owner;

	g_assert_cmpstr(test_h2_header(conn, ":method"), ==, "POST");
	g_assert_cmpstr(test_h2_header(conn, ":scheme"), ==, "http");
	g_assert_cmpstr(test_h2_header(conn, ":path"), ==, "/a.B/C");
	g_assert_cmpstr(test_h2_header(conn, ":authority"), ==, f->name);
	g_assert_cmpstr(test_h2_header(conn, "content-type"), ==, "application/grpc");
	g_assert_cmpstr(test_h2_header(conn, "te"), ==, "trailers");
	g_assert_true(g_str_has_suffix(test_h2_header(conn, "grpc-timeout"), "m"));
	test_h2_ok_headers(conn, stream_id);
	test_h2_message(conn, stream_id, "answer", 6);
	test_h2_status(conn, stream_id, "0", NULL);
}

static void test_unary(void)
{
	Fixture f;
	Seen first = { 0 }, second = { 0 };
	GByteArray *body;

	setup(&f, serve_answer);
	start_unary(&f, &first, 5000);
	test_run_until(first.n_done);
	g_assert_cmpint(first.status, ==, NBH_GRPC_OK);
	g_assert_cmpmem(g_bytes_get_data(first.reply, NULL), g_bytes_get_size(first.reply), "answer", 6);
	body = test_h2_body(f.h2.conns->pdata[0]);
	g_assert_cmpmem(body->data, body->len, "\0\0\0\0\10question", 13);

	/* The connection is used again. */
	start_unary(&f, &second, 5000);
	test_run_until(second.n_done);
	g_assert_cmpint(second.status, ==, NBH_GRPC_OK);
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 1);
	seen_clear(&first);
	seen_clear(&second);
	teardown(&f);
}

static void serve_nothing(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)conn;
	(void)stream_id;
	(void)owner;
}

static void serve_empty_unary(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_ok_headers(conn, stream_id);
	test_h2_status(conn, stream_id, "0", NULL);
}

static void serve_two_messages(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_ok_headers(conn, stream_id);
	test_h2_message(conn, stream_id, "a", 1);
	test_h2_message(conn, stream_id, "b", 1);
	test_h2_status(conn, stream_id, "0", NULL);
}

/* A unary call has exactly one answer. */
static void test_unary_count(void)
{
	void (*const servers[])(TestH2Conn *, int32_t, gpointer) = { serve_empty_unary, serve_two_messages };

	for (gsize i = 0; i < G_N_ELEMENTS(servers); i++) {
		Fixture f;
		Seen seen = { 0 };

		setup(&f, servers[i]);
		start_unary(&f, &seen, 5000);
		test_run_until(seen.n_done);
		g_assert_cmpint(seen.status, ==, NBH_GRPC_INTERNAL);
		g_assert_null(seen.reply);
		seen_clear(&seen);
		teardown(&f);
	}
}

static void serve_trailers_only(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	const char *pairs[] = { ":status", "200", "content-type", "application/grpc", "grpc-status", "7",
				"grpc-message", "na%C3%AFve%0A%1B[31m%zz %25", NULL };

	(void)owner;
	test_h2_headers(conn, stream_id, TRUE, pairs);
}

static void serve_error_trailers(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	const char *pairs[] = { "grpc-message", "no", "grpc-status", "5", NULL };

	(void)owner;
	test_h2_ok_headers(conn, stream_id);
	test_h2_trailers(conn, stream_id, pairs);
}

static void serve_bad_status(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_ok_headers(conn, stream_id);
	test_h2_status(conn, stream_id, "0x", "odd");
}

static void serve_end_without_status(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_ok_headers(conn, stream_id);
	test_h2_data(conn, stream_id, NULL, 0, TRUE);
}

static void test_status(void)
{
	Seen seen = { 0 };
	Fixture f;

	expect(serve_trailers_only, 7, "na\303\257ve??[31m%zz %", 0);
	expect(serve_error_trailers, 5, "no", 0);
	expect(serve_bad_status, NBH_GRPC_UNKNOWN, "odd", 0);
	expect(serve_end_without_status, NBH_GRPC_UNAVAILABLE, "@: the server ended the stream", 0);

	/* Trailers-only has no headers event, an early error of a Go main port has. */
	setup(&f, serve_trailers_only);
	start(&f, &seen, 5000);
	test_run_until(seen.n_done);
	g_assert_cmpuint(seen.n_headers, ==, 0);
	seen_clear(&seen);
	teardown(&f);
}

static guint32 reset_code;

static void serve_reset(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_reset(conn, stream_id, reset_code);
}

/* nginx at its timeout, a stopping Go server: after headers. */
static void serve_late_reset(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_ok_headers(conn, stream_id);
	test_h2_message(conn, stream_id, "", 0);
	test_h2_reset(conn, stream_id, reset_code);
}

static void test_resets(void)
{
	reset_code = NGHTTP2_NO_ERROR;
	expect(serve_reset, NBH_GRPC_UNAVAILABLE, "@: the server ended the stream", 0);
	reset_code = NGHTTP2_CANCEL;
	expect(serve_reset, NBH_GRPC_CANCELLED, "@: the server cancelled the call", 0);
	reset_code = NGHTTP2_ENHANCE_YOUR_CALM;
	expect(serve_reset, NBH_GRPC_RESOURCE_EXHAUSTED, "@: the server is overloaded (ENHANCE_YOUR_CALM)", 0);
	reset_code = NGHTTP2_REFUSED_STREAM; /* twice */
	expect(serve_reset, NBH_GRPC_UNAVAILABLE, "@: the server refused the call", 0);
}

/* How Go servers end a stream whose request side is open: trailers, then RST_STREAM(NO_ERROR). */
static void test_status_and_reset(void)
{
	Fixture f;
	Seen seen = { 0 };
	TestH2Conn *conn;

	setup(&f, serve_nothing);
	seen.call = nbh_grpc_call(f.channel, "/a.B/C", NULL, NULL, FALSE, 0, &events, &seen);
	test_run_until(f.h2.n_requests);
	conn = f.h2.conns->pdata[0];
	test_h2_ok_headers(conn, 1);
	test_h2_status(conn, 1, "9", "precondition");
	test_h2_reset(conn, 1, NGHTTP2_NO_ERROR);
	test_run_until(seen.n_done);
	g_assert_cmpint(seen.status, ==, 9);
	g_assert_cmpstr(seen.text, ==, "precondition");
	seen_clear(&seen);
	teardown(&f);
}

static void test_late_reset(void)
{
	Seen seen = { 0 };
	Fixture f;

	reset_code = NGHTTP2_INTERNAL_ERROR;
	setup(&f, serve_late_reset);
	start(&f, &seen, 5000);
	test_run_until(seen.n_done);
	g_assert_cmpint(seen.status, ==, NBH_GRPC_INTERNAL);
	g_assert_true(g_str_has_suffix(seen.text, ": the stream was reset (INTERNAL_ERROR)"));
	seen_clear(&seen);
	teardown(&f);
}

static void serve_refuse_first(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	if (test_h2_of(conn)->n_requests == 1)
		test_h2_reset(conn, stream_id, NGHTTP2_REFUSED_STREAM);
	else
		serve_answer(conn, stream_id, owner);
}

/* The second request is above the last id of the GOAWAY: it moves; the first ends where it is. */
static void serve_goaway(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	if (test_h2_number(conn) > 0) {
		serve_answer(conn, stream_id, owner);
	} else if (stream_id == 3) {
		test_h2_goaway(conn, 1, NGHTTP2_NO_ERROR, "max_age");
		test_h2_ok_headers(conn, 1);
		test_h2_message(conn, 1, "\0", 1);
		test_h2_status(conn, 1, "0", NULL);
	}
}

static void test_retry(void)
{
	Fixture f;
	Seen refused = { 0 }, old = { 0 }, moved = { 0 }, later = { 0 };

	setup(&f, serve_refuse_first);
	start_unary(&f, &refused, 5000);
	test_run_until(refused.n_done);
	g_assert_cmpint(refused.status, ==, NBH_GRPC_OK);
	g_assert_cmpuint(f.h2.n_requests, ==, 2);
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 1);
	/* With the whole body. */
	g_assert_cmpuint(test_h2_body(f.h2.conns->pdata[0])->len, >=, 13);
	seen_clear(&refused);
	teardown(&f);

	setup(&f, serve_goaway);
	start(&f, &old, 5000);
	start_unary(&f, &moved, 5000);
	test_run_until(old.n_done && moved.n_done);
	g_assert_cmpint(old.status, ==, NBH_GRPC_OK);
	g_assert_cmpuint(old.n_messages, ==, 1);
	g_assert_cmpint(moved.status, ==, NBH_GRPC_OK);
	start_unary(&f, &later, 5000);
	test_run_until(later.n_done);
	g_assert_cmpint(later.status, ==, NBH_GRPC_OK);
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 2);
	seen_clear(&old);
	seen_clear(&moved);
	seen_clear(&later);
	teardown(&f);
}

static void serve_overload(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	(void)stream_id;
	test_h2_goaway(conn, stream_id, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
	test_h2_hang_up(conn);
}

static void test_hang_up(void)
{
	Fixture f;
	Seen seen = { 0 };

	setup(&f, serve_nothing);
	start(&f, &seen, 5000);
	test_run_until(f.h2.n_requests);
	test_h2_goaway(f.h2.conns->pdata[0], 1, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
	test_h2_hang_up(f.h2.conns->pdata[0]);
	test_run_until(seen.n_done);
	g_assert_cmpint(seen.status, ==, NBH_GRPC_UNAVAILABLE);
	g_assert_true(g_str_has_suffix(
		seen.text, ": the server closes the connection (ENHANCE_YOUR_CALM: too_many_pings)"));
	seen_clear(&seen);
	teardown(&f);
	expect(serve_overload, NBH_GRPC_UNAVAILABLE, "@: closed by the server", 0);
}

/* While idle: the next call opens another connection. */
static void test_idle_goaway(void)
{
	Fixture f;
	Seen first = { 0 }, second = { 0 };

	setup(&f, serve_answer);
	start_unary(&f, &first, 5000);
	test_run_until(first.n_done);
	test_h2_goaway(f.h2.conns->pdata[0], G_MAXINT32, NGHTTP2_NO_ERROR, "max_idle");
	test_run_until(!f.channel->current);
	start_unary(&f, &second, 5000);
	test_run_until(second.n_done);
	g_assert_cmpint(second.status, ==, NBH_GRPC_OK);
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 2);
	seen_clear(&first);
	seen_clear(&second);
	teardown(&f);
}

static gsize large_size;

static void serve_large(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	g_autofree guint8 *data = g_malloc(large_size);

	(void)owner;
	for (gsize i = 0; i < large_size; i++)
		data[i] = (guint8)i;
	test_h2_ok_headers(conn, stream_id);
	test_h2_message(conn, stream_id, data, large_size);
	test_h2_status(conn, stream_id, "0", NULL);
}

/* Also the only case in which both windows have to be renewed again and again. */
static void test_message_limit(void)
{
	large_size = NBH_GRPC_MESSAGE_MAX_BYTES;
	expect(serve_large, NBH_GRPC_OK, "", 1);
	large_size++;
	expect(serve_large, NBH_GRPC_RESOURCE_EXHAUSTED, "@: the server sent a message larger than 16 MiB", 0);
}

static void serve_compressed(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_ok_headers(conn, stream_id);
	test_h2_data(conn, stream_id, "\1\0\0\0\1x", 6, FALSE);
}

static void serve_incomplete(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_ok_headers(conn, stream_id);
	test_h2_data(conn, stream_id, "\0\0\0\0\1\0\0\0\0\0\5\1", 12, FALSE);
	test_h2_status(conn, stream_id, "0", NULL);
}

static void serve_crumb(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_ok_headers(conn, stream_id);
	test_h2_data(conn, stream_id, "\0\0", 2, FALSE);
	test_h2_status(conn, stream_id, "0", NULL);
}

static void test_framing(void)
{
	expect(serve_compressed, NBH_GRPC_INTERNAL, "@: the server sent a compressed message", 0);
	expect(serve_incomplete, NBH_GRPC_INTERNAL, "@: the last message is incomplete", 1);
	expect(serve_crumb, NBH_GRPC_INTERNAL, "@: the last message is incomplete", 0);
}

/* Messages over many frames and many messages in one frame. */
static void test_stream(void)
{
	Fixture f;
	Seen seen = { 0 };
	GByteArray *wire = g_byte_array_new();
	TestH2Conn *conn;
	guint8 value = 0;

	for (guint i = 0; i < 200; i++) {
		guint8 prefix[5] = { 0, 0, 0, 0, (guint8)(i % 7) };

		g_byte_array_append(wire, prefix, 5);
		for (guint j = 0; j < i % 7; j++, value++)
			g_byte_array_append(wire, &value, 1);
	}
	setup(&f, serve_nothing);
	start(&f, &seen, 0);
	test_run_until(f.h2.n_requests);
	conn = f.h2.conns->pdata[0];
	test_h2_ok_headers(conn, 1);
	test_run_until(seen.n_headers);
	for (guint i = 0; i < 300; i++) {
		test_h2_data(conn, 1, wire->data + i, 1, FALSE);
		g_main_context_iteration(NULL, FALSE);
	}
	test_h2_data(conn, 1, wire->data + 300, wire->len - 300, FALSE);
	test_h2_status(conn, 1, "0", NULL);
	test_run_until(seen.n_done);
	g_assert_cmpint(seen.status, ==, 0);
	g_assert_cmpuint(seen.n_messages, ==, 200);
	g_assert_cmpuint(seen.n_headers, ==, 1);
	g_byte_array_unref(wire);
	seen_clear(&seen);
	teardown(&f);
}

static const char *http_status, *http_type;

static void serve_page(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	const char *pairs[] = { ":status", http_status, "content-type", http_type, NULL };

	(void)owner;
	test_h2_headers(conn, stream_id, FALSE, pairs);
	test_h2_data(conn, stream_id, "<html>bad gateway</html>", 24, TRUE);
}

static void test_not_grpc(void)
{
	http_status = "502";
	http_type = "text/html";
	expect(serve_page, NBH_GRPC_UNAVAILABLE, "@ answered HTTP 502, not gRPC", 0);
	http_status = "404";
	expect(serve_page, NBH_GRPC_UNIMPLEMENTED, "@ answered HTTP 404, not gRPC", 0);
	http_status = "403"; /* of a proxy: says nothing about the peer */
	expect(serve_page, NBH_GRPC_UNAVAILABLE, "@ answered HTTP 403, not gRPC", 0);
	http_status = "200";
	expect(serve_page, NBH_GRPC_UNIMPLEMENTED, "@ answered with content type \"text/html\", not gRPC", 0);
	http_type = "application/grpc-web";
	expect(serve_page, NBH_GRPC_UNIMPLEMENTED, "@ answered with content type \"application/grpc-web\", not gRPC", 0);
}

typedef struct {
	const char *bytes;
	gsize len;
	GSocket *accepted;
} Raw;

/* Reads nothing, so the close must not turn into a reset that overtakes what we sent. */
static void on_raw_accept(GSocket *socket, gpointer owner)
{
	Raw *raw = owner;

	g_socket_send(socket, raw->bytes, raw->len, NULL, NULL);
	g_socket_shutdown(socket, FALSE, TRUE, NULL);
	raw->accepted = socket;
}

static void test_foreign_servers(void)
{
	const struct {
		const char *bytes;
		gsize len;
		int status;
		const char *text;
	} cases[] = {
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", 28, 12, "does not speak HTTP/2 (it answered HTTP/1.1 400)" },
		{ "HTTP/1.0 502 Bad Gateway\r\n\r\n", 28, 12, "does not speak HTTP/2 (it answered HTTP/1.0 502)" },
		{ "SSH-2.0-OpenSSH_9.2p1\r\n", 23, 12, "does not speak HTTP/2" },
		{ "\x15\3\1\0\2\2\x46", 7, 12, "does not speak HTTP/2 without TLS; is it https:// there?" },
		{ "hi", 2, 12, "does not speak HTTP/2" },
		{ "\0\0\0\4\0\0\0\0\0\377\377\377\377\377\377\377\377\377", 18, 14,
		  "HTTP/2 error: FRAME_SIZE_ERROR (too large frame size)" },
		{ "\0\0\0\4\0\0\0\0\0\0\0\10\6\0\0\0\0\1xxxxxxxx", 26, 14,
		  "HTTP/2 error: PROTOCOL_ERROR (PING: stream_id != 0)" },
		{ "", 0, 14, "closed by the server" },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		Raw raw = { cases[i].bytes, cases[i].len, NULL };
		g_autofree char *expected = NULL;
		TestListener listener;
		Fixture f = { 0 };
		Seen seen = { 0 };

		test_listener_open(&listener, on_raw_accept, &raw);
		open_channel(&f, listener.port);
		start_unary(&f, &seen, 5000);
		test_run_until(seen.n_done);
		expected = g_strdup_printf("%s: %s", f.name, cases[i].text);
		g_assert_cmpstr(seen.text, ==, expected);
		g_assert_cmpint(seen.status, ==, cases[i].status);
		seen_clear(&seen);
		nbh_grpc_channel_free(f.channel);
		g_free(f.name);
		g_clear_object(&raw.accepted);
		test_listener_close(&listener);
	}
	test_drain_loop();
}

static void test_refused(void)
{
	Fixture f = { 0 };
	Seen seen = { 0 };
	g_autofree char *expected = NULL;

	open_channel(&f, test_free_port());
	start_unary(&f, &seen, 5000);
	test_run_until(seen.n_done);
	expected = g_strdup_printf("%s: connection refused", f.name);
	g_assert_cmpstr(seen.text, ==, expected);
	g_assert_cmpint(seen.status, ==, NBH_GRPC_UNAVAILABLE);
	seen_clear(&seen);
	nbh_grpc_channel_free(f.channel);
	g_free(f.name);
	test_drain_loop();
}

/* A server that accepts and says nothing. */
static void test_silent_server(void)
{
	TestListener listener;
	Fixture f = { 0 };
	Seen stream = { 0 }, unary = { 0 };

	test_listener_open(&listener, NULL, NULL);
	open_channel(&f, listener.port);
	f.channel->settings_ms = 300;
	start(&f, &stream, 0);
	start_unary(&f, &unary, 100);
	test_run_until(unary.n_done);
	g_assert_cmpint(unary.status, ==, NBH_GRPC_DEADLINE_EXCEEDED);
	g_assert_true(g_str_has_suffix(unary.text, ": no answer in time"));
	test_run_until(stream.n_done);
	g_assert_cmpint(stream.status, ==, NBH_GRPC_UNIMPLEMENTED);
	g_assert_true(g_str_has_suffix(stream.text, ": does not speak HTTP/2 (it says nothing)"));
	seen_clear(&unary);
	seen_clear(&stream);
	nbh_grpc_channel_free(f.channel);
	g_free(f.name);
	test_listener_close(&listener);
	test_drain_loop();
}

static void test_deadline_and_cancel(void)
{
	Fixture f;
	Seen late = { 0 }, cancelled = { 0 }, unsent = { 0 };

	setup(&f, serve_nothing);
	start(&f, &late, 100);
	start(&f, &cancelled, 100);
	test_run_until(f.h2.n_requests == 2);
	nbh_grpc_call_cancel(cancelled.call);
	test_run_until(late.n_done);
	g_assert_cmpint(late.status, ==, NBH_GRPC_DEADLINE_EXCEEDED);
	/* The server hears of both; the connection stays. */
	test_run_until(f.h2.n_resets == 2);
	start(&f, &unsent, 100);
	nbh_grpc_call_cancel(unsent.call); /* before it left */
	nbh_grpc_call_cancel(NULL);
	test_drain_loop();
	g_assert_cmpuint(cancelled.n_done + unsent.n_done, ==, 0);
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 1);
	seen_clear(&late);
	teardown(&f);
}

static void serve_everything(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_ok_headers(conn, stream_id);
	test_h2_message(conn, stream_id, "\0", 1);
	test_h2_message(conn, stream_id, "\1", 1);
	test_h2_status(conn, stream_id, "0", NULL);
}

/* Cancel and free in each callback: nothing comes afterwards, nothing leaks (ASan). */
static void test_in_callbacks(void)
{
	for (int where = 0; where < 3; where++) {
		for (int action = CANCEL; action <= FREE_CHANNEL; action++) {
			Fixture f;
			Seen seen = { 0 }, other = { 0 };

			if (where == 2 && action == CANCEL)
				continue; /* the handle is dead by then */
			setup(&f, serve_everything);
			seen.in_headers = where == 0 ? action : NOTHING;
			seen.in_message = where == 1 ? action : NOTHING;
			seen.in_done = where == 2 ? action : NOTHING;
			start(&f, &seen, 5000);
			start(&f, &other, 5000);
			test_run_until((where == 0 && seen.n_headers) || (where == 1 && seen.n_messages) ||
				       seen.n_done);
			if (action == CANCEL)
				test_run_until(other.n_done);
			else
				f.channel = NULL;
			test_drain_loop();
			g_assert_cmpuint(seen.n_headers, ==, 1);
			g_assert_cmpuint(seen.n_messages, ==, (guint)where);
			g_assert_cmpuint(seen.n_done, ==, where == 2 ? 1 : 0);
			seen_clear(&seen);
			seen_clear(&other);
			teardown(&f);
		}
	}
}

static void test_channel_reset(void)
{
	Fixture f;
	Seen open = { 0 }, connecting = { 0 }, next = { 0 };
	g_autofree char *expected = NULL;

	setup(&f, serve_nothing);
	expected = g_strdup_printf("%s: because", f.name);
	start(&f, &open, 0);
	test_run_until(f.h2.n_requests);
	nbh_grpc_channel_reset(f.channel, "because");
	start(&f, &connecting, 0);
	nbh_grpc_channel_reset(f.channel, "because");
	g_assert_cmpuint(open.n_done + connecting.n_done, ==, 0); /* from the loop */
	test_run_until(open.n_done && connecting.n_done);
	g_assert_cmpint(open.status, ==, NBH_GRPC_UNAVAILABLE);
	g_assert_cmpstr(open.text, ==, expected);
	g_assert_cmpstr(connecting.text, ==, expected);
	start(&f, &next, 0);
	test_run_until(f.h2.n_requests == 2);
	seen_clear(&open);
	seen_clear(&connecting);
	teardown(&f);
	g_assert_cmpuint(next.n_done, ==, 0);
}

static void test_many_calls(void)
{
	Fixture f;
	Seen seen[40] = { 0 };
	guint n_done = 0;

	*(&f) = (Fixture){ 0 };
	test_h2_open(&f.h2, serve_answer, &f);
	f.h2.max_streams = 2;
	open_channel(&f, f.h2.listener.port);
	for (gsize i = 0; i < G_N_ELEMENTS(seen); i++)
		start_unary(&f, &seen[i], 5000);
	for (gsize i = 0; i < G_N_ELEMENTS(seen); i++) {
		test_run_until(seen[i].n_done);
		n_done += seen[i].status == NBH_GRPC_OK;
		seen_clear(&seen[i]);
	}
	g_assert_cmpuint(n_done, ==, G_N_ELEMENTS(seen));
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 1);
	teardown(&f);
}

static void test_limits(void)
{
	g_autofree Seen *seen = g_new0(Seen, NBH_GRPC_CALLS_MAX + 1);
	g_autoptr(GBytes) large = g_bytes_new_take(g_malloc0(NBH_GRPC_OUTPUT_MAX_BYTES - 4), NBH_GRPC_OUTPUT_MAX_BYTES - 4);
	g_autoptr(GBytes) largest = g_bytes_new_from_bytes(large, 0, NBH_GRPC_OUTPUT_MAX_BYTES - 5);
	Seen fits = { 0 }, fails = { 0 };
	Fixture f;

	setup(&f, serve_nothing);
	for (guint i = 0; i <= NBH_GRPC_CALLS_MAX; i++)
		start(&f, &seen[i], 0);
	test_run_until(seen[NBH_GRPC_CALLS_MAX].n_done);
	g_assert_cmpint(seen[NBH_GRPC_CALLS_MAX].status, ==, NBH_GRPC_RESOURCE_EXHAUSTED);
	g_assert_cmpuint(seen[NBH_GRPC_CALLS_MAX - 1].n_done, ==, 0);
	seen_clear(&seen[NBH_GRPC_CALLS_MAX]);
	teardown(&f);

	setup(&f, serve_answer);
	fits.call = nbh_grpc_unary(f.channel, "/a.B/C", largest, 5000, on_reply, &fits);
	test_run_until(fits.n_done);
	g_assert_cmpint(fits.status, ==, NBH_GRPC_OK);
	fails.call = nbh_grpc_unary(f.channel, "/a.B/C", large, 5000, on_reply, &fails);
	test_run_until(fails.n_done);
	g_assert_cmpint(fails.status, ==, NBH_GRPC_RESOURCE_EXHAUSTED);
	g_assert_true(g_str_has_suffix(fails.text, ": too much is waiting to be sent"));
	seen_clear(&fits);
	seen_clear(&fails);
	teardown(&f);
}

static gsize header_size;

static void serve_large_header(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	g_autofree char *value = g_strnfill(header_size, 'x');
	const char *pairs[] = { ":status", "200", "content-type", "application/grpc", "x", value, NULL };

	(void)owner;
	test_h2_headers(conn, stream_id, FALSE, pairs);
	test_h2_status(conn, stream_id, "0", NULL);
}

static void test_header_limit(void)
{
	/* :status, content-type, x and grpc-status with 32 bytes each: RFC 9113 6.5.2 */
	gsize rest = (7 + 3 + 32) + (12 + 16 + 32) + (1 + 32) + (11 + 1 + 32);

	header_size = NBH_GRPC_HEADERS_MAX_BYTES - rest;
	expect(serve_large_header, NBH_GRPC_OK, "", 0);
	header_size++;
	expect(serve_large_header, NBH_GRPC_RESOURCE_EXHAUSTED, "@: the response headers are too large", 0);
}

static void test_pings(void)
{
	Fixture f;
	Seen seen = { 0 };
	guint n_answered;

	setup(&f, serve_nothing);
	f.channel->keepalive_ms = 50;
	f.channel->keepalive_ack_ms = 100;
	start(&f, &seen, 0);
	test_run_until(f.h2.n_pings >= 3); /* answered by the server: the call lives */
	g_assert_cmpuint(seen.n_done, ==, 0);
	test_h2_ping(f.h2.conns->pdata[0]);
	test_run_until(f.h2.n_ping_acks == 1);

	/* A PING on suspicion, then one more, then they are rationed. */
	f.channel->keepalive_ms = 60000;
	test_run_until(!f.channel->current->ack_id);
	n_answered = f.h2.n_pings;
	for (guint i = 0; i < 5; i++) {
		nbh_grpc_channel_probe(f.channel);
		test_drain_loop();
		test_run_until(!f.channel->current->ack_id);
	}
	g_assert_cmpuint(f.h2.n_pings, <=, n_answered + 2);

	/* A server that has stopped. */
	f.channel->current->n_fast_pings = 0;
	f.channel->probe_ack_ms = 50;
	g_clear_handle_id(&f.channel->current->probe_id, g_source_remove);
	f.channel->current->pinged_usec = 0;
	g_source_destroy(f.h2.listener.source);
	test_h2_freeze(f.h2.conns->pdata[0]);
	nbh_grpc_channel_probe(f.channel);
	test_run_until(seen.n_done);
	g_assert_cmpint(seen.status, ==, NBH_GRPC_UNAVAILABLE);
	g_assert_true(g_str_has_suffix(seen.text, ": no answer to a PING"));
	seen_clear(&seen);
	teardown(&f);
}

static void test_urls(void)
{
	const struct {
		const char *url;
		gboolean ok, tls;
		const char *host;
		guint16 port;
	} cases[] = {
		{ "http://127.0.0.1:8080", TRUE, FALSE, "127.0.0.1", 8080 },
		{ "http://nb.example", TRUE, FALSE, "nb.example", 80 },
		{ "HTTPS://nb.example/management", TRUE, TRUE, "nb.example", 443 },
		{ "http://[2001:db8::1]:33073/", TRUE, FALSE, "2001:db8::1", 33073 },
		{ "http://h:65535", TRUE, FALSE, "h", 65535 },
		{ "http://h:65536", FALSE, FALSE, NULL, 0 },
		{ "http://h:0", FALSE, FALSE, NULL, 0 },
		{ "http://:80", FALSE, FALSE, NULL, 0 },
		{ "http://user@h:80", FALSE, FALSE, NULL, 0 },
		{ "h:80", FALSE, FALSE, NULL, 0 },
		{ "nb.example", FALSE, FALSE, NULL, 0 },
		{ "ftp://h", FALSE, FALSE, NULL, 0 },
		{ "", FALSE, FALSE, NULL, 0 },
		{ "http://[::1", FALSE, FALSE, NULL, 0 },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		char host[64];
		guint16 port = 1;
		gboolean tls = FALSE;

		g_test_message("%s", cases[i].url);
		g_assert_cmpint(nbh_grpc_url_parse(cases[i].url, &tls, host, sizeof(host), &port, &error), ==,
				cases[i].ok);
		if (!cases[i].ok) {
			g_assert_nonnull(error);
			continue;
		}
		g_assert_cmpstr(host, ==, cases[i].host);
		g_assert_cmpuint(port, ==, cases[i].port);
		g_assert_cmpint(tls, ==, cases[i].tls);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/grpc/urls", test_urls);
	g_test_add_func("/grpc/unary", test_unary);
	g_test_add_func("/grpc/unary-count", test_unary_count);
	g_test_add_func("/grpc/status", test_status);
	g_test_add_func("/grpc/resets", test_resets);
	g_test_add_func("/grpc/status-and-reset", test_status_and_reset);
	g_test_add_func("/grpc/late-reset", test_late_reset);
	g_test_add_func("/grpc/retry", test_retry);
	g_test_add_func("/grpc/hang-up", test_hang_up);
	g_test_add_func("/grpc/idle-goaway", test_idle_goaway);
	g_test_add_func("/grpc/message-limit", test_message_limit);
	g_test_add_func("/grpc/framing", test_framing);
	g_test_add_func("/grpc/stream", test_stream);
	g_test_add_func("/grpc/not-grpc", test_not_grpc);
	g_test_add_func("/grpc/foreign-servers", test_foreign_servers);
	g_test_add_func("/grpc/refused", test_refused);
	g_test_add_func("/grpc/silent-server", test_silent_server);
	g_test_add_func("/grpc/deadline-and-cancel", test_deadline_and_cancel);
	g_test_add_func("/grpc/in-callbacks", test_in_callbacks);
	g_test_add_func("/grpc/channel-reset", test_channel_reset);
	g_test_add_func("/grpc/many-calls", test_many_calls);
	g_test_add_func("/grpc/limits", test_limits);
	g_test_add_func("/grpc/header-limit", test_header_limit);
	g_test_add_func("/grpc/pings", test_pings);
	return g_test_run();
}
