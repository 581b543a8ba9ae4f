/* The gRPC client: what a call brings, whatever the server answers. */
#include "config.h"

#include "net/grpc-private.h"

#include "base/limits.h"
#include "tests/lib/grpcrig.h"
#include "tests/lib/loop.h"

#include <string.h>

static void test_unary(void)
{
	GrpcRig f;
	GrpcSeen first = { 0 }, second = { 0 };
	GByteArray *body;

	grpcrig_open(&f, grpcrig_serve_answer);
	grpcrig_start_unary(&f, &first, 5000);
	test_run_until(first.n_done);
	g_assert_cmpint(first.status, ==, NBH_GRPC_OK);
	g_assert_cmpmem(g_bytes_get_data(first.reply, NULL), g_bytes_get_size(first.reply), "answer", 6);
	body = test_h2_body(f.h2.conns->pdata[0]);
	g_assert_cmpmem(body->data, body->len, "\0\0\0\0\10question", 13);

	/* The connection is used again. */
	grpcrig_start_unary(&f, &second, 5000);
	test_run_until(second.n_done);
	g_assert_cmpint(second.status, ==, NBH_GRPC_OK);
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 1);
	grpcrig_seen_clear(&first);
	grpcrig_seen_clear(&second);
	grpcrig_close(&f);
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
		GrpcRig f;
		GrpcSeen seen = { 0 };

		grpcrig_open(&f, servers[i]);
		grpcrig_start_unary(&f, &seen, 5000);
		test_run_until(seen.n_done);
		g_assert_cmpint(seen.status, ==, NBH_GRPC_INTERNAL);
		g_assert_null(seen.reply);
		grpcrig_seen_clear(&seen);
		grpcrig_close(&f);
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
	GrpcSeen seen = { 0 };
	GrpcRig f;

	grpcrig_expect(serve_trailers_only, 7, "na\303\257ve??[31m%zz %", 0);
	grpcrig_expect(serve_error_trailers, 5, "no", 0);
	grpcrig_expect(serve_bad_status, NBH_GRPC_UNKNOWN, "odd", 0);
	grpcrig_expect(serve_end_without_status, NBH_GRPC_UNAVAILABLE, "@: the server ended the stream", 0);

	/* Trailers-only has no headers event, an early error of a Go main port has. */
	grpcrig_open(&f, serve_trailers_only);
	grpcrig_start(&f, &seen, 5000);
	test_run_until(seen.n_done);
	g_assert_cmpuint(seen.n_headers, ==, 0);
	grpcrig_seen_clear(&seen);
	grpcrig_close(&f);
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
	grpcrig_expect(serve_reset, NBH_GRPC_UNAVAILABLE, "@: the server ended the stream", 0);
	reset_code = NGHTTP2_CANCEL;
	grpcrig_expect(serve_reset, NBH_GRPC_CANCELLED, "@: the server cancelled the call", 0);
	reset_code = NGHTTP2_ENHANCE_YOUR_CALM;
	grpcrig_expect(serve_reset, NBH_GRPC_RESOURCE_EXHAUSTED, "@: the server is overloaded (ENHANCE_YOUR_CALM)", 0);
	reset_code = NGHTTP2_REFUSED_STREAM; /* twice */
	grpcrig_expect(serve_reset, NBH_GRPC_UNAVAILABLE, "@: the server refused the call", 0);
}

/* How Go servers end a stream whose request side is open: trailers, then RST_STREAM(NO_ERROR). */
static void test_status_and_reset(void)
{
	GrpcRig f;
	GrpcSeen seen = { 0 };
	TestH2Conn *conn;

	grpcrig_open(&f, grpcrig_serve_nothing);
	seen.call = nbh_grpc_call(f.channel, "/a.B/C", NULL, NULL, FALSE, 0, &grpcrig_events, &seen);
	test_run_until(f.h2.n_requests);
	conn = f.h2.conns->pdata[0];
	test_h2_ok_headers(conn, 1);
	test_h2_status(conn, 1, "9", "precondition");
	test_h2_reset(conn, 1, NGHTTP2_NO_ERROR);
	test_run_until(seen.n_done);
	g_assert_cmpint(seen.status, ==, 9);
	g_assert_cmpstr(seen.text, ==, "precondition");
	grpcrig_seen_clear(&seen);
	grpcrig_close(&f);
}

static void test_late_reset(void)
{
	GrpcSeen seen = { 0 };
	GrpcRig f;

	reset_code = NGHTTP2_INTERNAL_ERROR;
	grpcrig_open(&f, serve_late_reset);
	grpcrig_start(&f, &seen, 5000);
	test_run_until(seen.n_done);
	g_assert_cmpint(seen.status, ==, NBH_GRPC_INTERNAL);
	g_assert_true(g_str_has_suffix(seen.text, ": the stream was reset (INTERNAL_ERROR)"));
	grpcrig_seen_clear(&seen);
	grpcrig_close(&f);
}

static void serve_refuse_first(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	if (test_h2_of(conn)->n_requests == 1)
		test_h2_reset(conn, stream_id, NGHTTP2_REFUSED_STREAM);
	else
		grpcrig_serve_answer(conn, stream_id, owner);
}

/* The second request is above the last id of the GOAWAY: it moves; the first ends where it is. */
static void serve_goaway(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	if (test_h2_number(conn) > 0) {
		grpcrig_serve_answer(conn, stream_id, owner);
	} else if (stream_id == 3) {
		test_h2_goaway(conn, 1, NGHTTP2_NO_ERROR, "max_age");
		test_h2_ok_headers(conn, 1);
		test_h2_message(conn, 1, "\0", 1);
		test_h2_status(conn, 1, "0", NULL);
	}
}

static void test_retry(void)
{
	GrpcRig f;
	GrpcSeen refused = { 0 }, old = { 0 }, moved = { 0 }, later = { 0 };

	grpcrig_open(&f, serve_refuse_first);
	grpcrig_start_unary(&f, &refused, 5000);
	test_run_until(refused.n_done);
	g_assert_cmpint(refused.status, ==, NBH_GRPC_OK);
	g_assert_cmpuint(f.h2.n_requests, ==, 2);
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 1);
	/* With the whole body. */
	g_assert_cmpuint(test_h2_body(f.h2.conns->pdata[0])->len, >=, 13);
	grpcrig_seen_clear(&refused);
	grpcrig_close(&f);

	grpcrig_open(&f, serve_goaway);
	grpcrig_start(&f, &old, 5000);
	grpcrig_start_unary(&f, &moved, 5000);
	test_run_until(old.n_done && moved.n_done);
	g_assert_cmpint(old.status, ==, NBH_GRPC_OK);
	g_assert_cmpuint(old.n_messages, ==, 1);
	g_assert_cmpint(moved.status, ==, NBH_GRPC_OK);
	grpcrig_start_unary(&f, &later, 5000);
	test_run_until(later.n_done);
	g_assert_cmpint(later.status, ==, NBH_GRPC_OK);
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 2);
	grpcrig_seen_clear(&old);
	grpcrig_seen_clear(&moved);
	grpcrig_seen_clear(&later);
	grpcrig_close(&f);
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
	GrpcRig f;
	GrpcSeen seen = { 0 };

	grpcrig_open(&f, grpcrig_serve_nothing);
	grpcrig_start(&f, &seen, 5000);
	test_run_until(f.h2.n_requests);
	test_h2_goaway(f.h2.conns->pdata[0], 1, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
	test_h2_hang_up(f.h2.conns->pdata[0]);
	test_run_until(seen.n_done);
	g_assert_cmpint(seen.status, ==, NBH_GRPC_UNAVAILABLE);
	g_assert_true(g_str_has_suffix(
		seen.text, ": the server closes the connection (ENHANCE_YOUR_CALM: too_many_pings)"));
	grpcrig_seen_clear(&seen);
	grpcrig_close(&f);
	grpcrig_expect(serve_overload, NBH_GRPC_UNAVAILABLE, "@: closed by the server", 0);
}

/* While idle: the next call opens another connection. */
static void test_idle_goaway(void)
{
	GrpcRig f;
	GrpcSeen first = { 0 }, second = { 0 };

	grpcrig_open(&f, grpcrig_serve_answer);
	grpcrig_start_unary(&f, &first, 5000);
	test_run_until(first.n_done);
	test_h2_goaway(f.h2.conns->pdata[0], G_MAXINT32, NGHTTP2_NO_ERROR, "max_idle");
	test_run_until(!f.channel->current);
	grpcrig_start_unary(&f, &second, 5000);
	test_run_until(second.n_done);
	g_assert_cmpint(second.status, ==, NBH_GRPC_OK);
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 2);
	grpcrig_seen_clear(&first);
	grpcrig_seen_clear(&second);
	grpcrig_close(&f);
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
	grpcrig_expect(serve_large, NBH_GRPC_OK, "", 1);
	large_size++;
	grpcrig_expect(serve_large, NBH_GRPC_RESOURCE_EXHAUSTED, "@: the server sent a message larger than 16 MiB", 0);
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
	grpcrig_expect(serve_compressed, NBH_GRPC_INTERNAL, "@: the server sent a compressed message", 0);
	grpcrig_expect(serve_incomplete, NBH_GRPC_INTERNAL, "@: the last message is incomplete", 1);
	grpcrig_expect(serve_crumb, NBH_GRPC_INTERNAL, "@: the last message is incomplete", 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
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
	return g_test_run();
}
