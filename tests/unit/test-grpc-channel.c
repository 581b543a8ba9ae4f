/* The gRPC client: streams, servers that are none, deadlines, what callbacks may do, limits, URLs. */
#include "config.h"

#include "net/grpc-private.h"

#include "base/limits.h"
#include "tests/lib/grpcrig.h"
#include "tests/lib/loop.h"

#include <string.h>

/* Messages over many frames and many messages in one frame. */
static void test_stream(void)
{
	GrpcRig f;
	GrpcSeen seen = { 0 };
	GByteArray *wire = g_byte_array_new();
	TestH2Conn *conn;
	guint8 value = 0;

	for (guint i = 0; i < 200; i++) {
		guint8 prefix[5] = { 0, 0, 0, 0, (guint8)(i % 7) };

		g_byte_array_append(wire, prefix, 5);
		for (guint j = 0; j < i % 7; j++, value++)
			g_byte_array_append(wire, &value, 1);
	}
	grpcrig_open(&f, grpcrig_serve_nothing);
	grpcrig_start(&f, &seen, 0);
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
	grpcrig_seen_clear(&seen);
	grpcrig_close(&f);
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
	grpcrig_expect(serve_page, NBH_GRPC_UNAVAILABLE, "@ answered HTTP 502, not gRPC", 0);
	http_status = "404";
	grpcrig_expect(serve_page, NBH_GRPC_UNIMPLEMENTED, "@ answered HTTP 404, not gRPC", 0);
	http_status = "403"; /* of a proxy: says nothing about the peer */
	grpcrig_expect(serve_page, NBH_GRPC_UNAVAILABLE, "@ answered HTTP 403, not gRPC", 0);
	http_status = "200";
	grpcrig_expect(serve_page, NBH_GRPC_UNIMPLEMENTED, "@ answered with content type \"text/html\", not gRPC", 0);
	http_type = "application/grpc-web";
	grpcrig_expect(serve_page, NBH_GRPC_UNIMPLEMENTED, "@ answered with content type \"application/grpc-web\", not gRPC", 0);
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
		GrpcRig f = { 0 };
		GrpcSeen seen = { 0 };

		test_listener_open(&listener, on_raw_accept, &raw);
		grpcrig_open_channel(&f, listener.port);
		grpcrig_start_unary(&f, &seen, 5000);
		test_run_until(seen.n_done);
		expected = g_strdup_printf("%s: %s", f.name, cases[i].text);
		g_assert_cmpstr(seen.text, ==, expected);
		g_assert_cmpint(seen.status, ==, cases[i].status);
		grpcrig_seen_clear(&seen);
		nbh_grpc_channel_free(f.channel);
		g_free(f.name);
		g_clear_object(&raw.accepted);
		test_listener_close(&listener);
	}
	test_drain_loop();
}

static void test_refused(void)
{
	GrpcRig f = { 0 };
	GrpcSeen seen = { 0 };
	g_autofree char *expected = NULL;

	grpcrig_open_channel(&f, test_free_port());
	grpcrig_start_unary(&f, &seen, 5000);
	test_run_until(seen.n_done);
	expected = g_strdup_printf("%s: connection refused", f.name);
	g_assert_cmpstr(seen.text, ==, expected);
	g_assert_cmpint(seen.status, ==, NBH_GRPC_UNAVAILABLE);
	grpcrig_seen_clear(&seen);
	nbh_grpc_channel_free(f.channel);
	g_free(f.name);
	test_drain_loop();
}

/* A server that accepts and says nothing. */
static void test_silent_server(void)
{
	TestListener listener;
	GrpcRig f = { 0 };
	GrpcSeen stream = { 0 }, unary = { 0 };

	test_listener_open(&listener, NULL, NULL);
	grpcrig_open_channel(&f, listener.port);
	f.channel->settings_ms = 300;
	grpcrig_start(&f, &stream, 0);
	grpcrig_start_unary(&f, &unary, 100);
	test_run_until(unary.n_done);
	g_assert_cmpint(unary.status, ==, NBH_GRPC_DEADLINE_EXCEEDED);
	g_assert_true(g_str_has_suffix(unary.text, ": no answer in time"));
	test_run_until(stream.n_done);
	g_assert_cmpint(stream.status, ==, NBH_GRPC_UNIMPLEMENTED);
	g_assert_true(g_str_has_suffix(stream.text, ": does not speak HTTP/2 (it says nothing)"));
	grpcrig_seen_clear(&unary);
	grpcrig_seen_clear(&stream);
	nbh_grpc_channel_free(f.channel);
	g_free(f.name);
	test_listener_close(&listener);
	test_drain_loop();
}

static void test_deadline_and_cancel(void)
{
	GrpcRig f;
	GrpcSeen late = { 0 }, cancelled = { 0 }, unsent = { 0 };

	grpcrig_open(&f, grpcrig_serve_nothing);
	grpcrig_start(&f, &late, 100);
	grpcrig_start(&f, &cancelled, 100);
	test_run_until(f.h2.n_requests == 2);
	nbh_grpc_call_cancel(cancelled.call);
	test_run_until(late.n_done);
	g_assert_cmpint(late.status, ==, NBH_GRPC_DEADLINE_EXCEEDED);
	/* The server hears of both; the connection stays. */
	test_run_until(f.h2.n_resets == 2);
	grpcrig_start(&f, &unsent, 100);
	nbh_grpc_call_cancel(unsent.call); /* before it left */
	nbh_grpc_call_cancel(NULL);
	test_drain_loop();
	g_assert_cmpuint(cancelled.n_done + unsent.n_done, ==, 0);
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 1);
	grpcrig_seen_clear(&late);
	grpcrig_close(&f);
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
			GrpcRig f;
			GrpcSeen seen = { 0 }, other = { 0 };

			if (where == 2 && action == CANCEL)
				continue; /* the handle is dead by then */
			grpcrig_open(&f, serve_everything);
			seen.in_headers = where == 0 ? action : NOTHING;
			seen.in_message = where == 1 ? action : NOTHING;
			seen.in_done = where == 2 ? action : NOTHING;
			grpcrig_start(&f, &seen, 5000);
			grpcrig_start(&f, &other, 5000);
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
			grpcrig_seen_clear(&seen);
			grpcrig_seen_clear(&other);
			grpcrig_close(&f);
		}
	}
}

static void test_channel_reset(void)
{
	GrpcRig f;
	GrpcSeen open = { 0 }, connecting = { 0 }, next = { 0 };
	g_autofree char *expected = NULL;

	grpcrig_open(&f, grpcrig_serve_nothing);
	expected = g_strdup_printf("%s: because", f.name);
	grpcrig_start(&f, &open, 0);
	test_run_until(f.h2.n_requests);
	nbh_grpc_channel_reset(f.channel, "because");
	grpcrig_start(&f, &connecting, 0);
	nbh_grpc_channel_reset(f.channel, "because");
	g_assert_cmpuint(open.n_done + connecting.n_done, ==, 0); /* from the loop */
	test_run_until(open.n_done && connecting.n_done);
	g_assert_cmpint(open.status, ==, NBH_GRPC_UNAVAILABLE);
	g_assert_cmpstr(open.text, ==, expected);
	g_assert_cmpstr(connecting.text, ==, expected);
	grpcrig_start(&f, &next, 0);
	test_run_until(f.h2.n_requests == 2);
	grpcrig_seen_clear(&open);
	grpcrig_seen_clear(&connecting);
	grpcrig_close(&f);
	g_assert_cmpuint(next.n_done, ==, 0);
}

static void test_many_calls(void)
{
	GrpcRig f;
	GrpcSeen seen[40] = { 0 };
	guint n_done = 0;

	*(&f) = (GrpcRig){ 0 };
	test_h2_open(&f.h2, grpcrig_serve_answer, &f);
	f.h2.max_streams = 2;
	grpcrig_open_channel(&f, f.h2.listener.port);
	for (gsize i = 0; i < G_N_ELEMENTS(seen); i++)
		grpcrig_start_unary(&f, &seen[i], 5000);
	for (gsize i = 0; i < G_N_ELEMENTS(seen); i++) {
		test_run_until(seen[i].n_done);
		n_done += seen[i].status == NBH_GRPC_OK;
		grpcrig_seen_clear(&seen[i]);
	}
	g_assert_cmpuint(n_done, ==, G_N_ELEMENTS(seen));
	g_assert_cmpuint(f.h2.listener.n_accepted, ==, 1);
	grpcrig_close(&f);
}

static void test_limits(void)
{
	g_autofree GrpcSeen *seen = g_new0(GrpcSeen, NBH_GRPC_CALLS_MAX + 1);
	g_autoptr(GBytes) large = g_bytes_new_take(g_malloc0(NBH_GRPC_OUTPUT_MAX_BYTES - 4), NBH_GRPC_OUTPUT_MAX_BYTES - 4);
	g_autoptr(GBytes) largest = g_bytes_new_from_bytes(large, 0, NBH_GRPC_OUTPUT_MAX_BYTES - 5);
	GrpcSeen fits = { 0 }, fails = { 0 };
	GrpcRig f;

	grpcrig_open(&f, grpcrig_serve_nothing);
	for (guint i = 0; i <= NBH_GRPC_CALLS_MAX; i++)
		grpcrig_start(&f, &seen[i], 0);
	test_run_until(seen[NBH_GRPC_CALLS_MAX].n_done);
	g_assert_cmpint(seen[NBH_GRPC_CALLS_MAX].status, ==, NBH_GRPC_RESOURCE_EXHAUSTED);
	g_assert_cmpuint(seen[NBH_GRPC_CALLS_MAX - 1].n_done, ==, 0);
	grpcrig_seen_clear(&seen[NBH_GRPC_CALLS_MAX]);
	grpcrig_close(&f);

	grpcrig_open(&f, grpcrig_serve_answer);
	fits.call = nbh_grpc_unary(f.channel, "/a.B/C", largest, 5000, grpcrig_on_reply, &fits);
	test_run_until(fits.n_done);
	g_assert_cmpint(fits.status, ==, NBH_GRPC_OK);
	fails.call = nbh_grpc_unary(f.channel, "/a.B/C", large, 5000, grpcrig_on_reply, &fails);
	test_run_until(fails.n_done);
	g_assert_cmpint(fails.status, ==, NBH_GRPC_RESOURCE_EXHAUSTED);
	g_assert_true(g_str_has_suffix(fails.text, ": too much is waiting to be sent"));
	grpcrig_seen_clear(&fits);
	grpcrig_seen_clear(&fails);
	grpcrig_close(&f);
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
	grpcrig_expect(serve_large_header, NBH_GRPC_OK, "", 0);
	header_size++;
	grpcrig_expect(serve_large_header, NBH_GRPC_RESOURCE_EXHAUSTED, "@: the response headers are too large", 0);
}

static void test_pings(void)
{
	GrpcRig f;
	GrpcSeen seen = { 0 };
	guint n_answered;

	grpcrig_open(&f, grpcrig_serve_nothing);
	f.channel->keepalive_ms = 50;
	f.channel->keepalive_ack_ms = 100;
	grpcrig_start(&f, &seen, 0);
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
	grpcrig_seen_clear(&seen);
	grpcrig_close(&f);
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
