#include "config.h"

#include "tests/lib/grpcrig.h"

#include "tests/lib/loop.h"

#include <string.h>

void grpcrig_seen_clear(GrpcSeen *seen)
{
	g_free(seen->text);
	g_clear_pointer(&seen->reply, g_bytes_unref);
}

static void act(GrpcSeen *seen, int action)
{
	if (action == CANCEL)
		nbh_grpc_call_cancel(seen->call);
	else if (action == FREE_CHANNEL)
		g_clear_pointer(&seen->channel, nbh_grpc_channel_free);
}

static void on_headers(NbhGrpcCall *call, gpointer owner)
{
	GrpcSeen *seen = owner;

	g_assert_true(call == seen->call);
	seen->n_headers++;
	act(seen, seen->in_headers);
}

static void on_message(NbhGrpcCall *call, const guint8 *data, gsize len, gpointer owner)
{
	GrpcSeen *seen = owner;

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
	GrpcSeen *seen = owner;

	g_assert_true(call == seen->call);
	seen->n_done++;
	seen->status = status;
	seen->text = g_strdup(message);
	act(seen, seen->in_done);
}

const NbhGrpcEvents grpcrig_events = { on_headers, on_message, on_done };

void grpcrig_on_reply(int status, const char *message, GBytes *reply, gpointer owner)
{
	GrpcSeen *seen = owner;

	seen->n_done++;
	seen->status = status;
	seen->text = g_strdup(message);
	seen->reply = reply ? g_bytes_ref(reply) : NULL;
	act(seen, seen->in_done);
}

void grpcrig_open_channel(GrpcRig *f, guint16 port)
{
	g_autofree char *url = g_strdup_printf("http://127.0.0.1:%u/path", port);
	g_autoptr(GError) error = NULL;

	f->name = g_strdup_printf("127.0.0.1:%u", port);
	f->channel = nbh_grpc_channel_new(url, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(nbh_grpc_channel_url(f->channel), ==, url);
}

void grpcrig_open(GrpcRig *f, GrpcServe on_request)
{
	*f = (GrpcRig){ 0 };
	test_h2_open(&f->h2, on_request, f);
	grpcrig_open_channel(f, f->h2.listener.port);
}

void grpcrig_close(GrpcRig *f)
{
	nbh_grpc_channel_free(f->channel);
	test_h2_close(&f->h2);
	test_drain_loop();
	g_free(f->name);
}

void grpcrig_start(GrpcRig *f, GrpcSeen *seen, guint deadline_ms)
{
	g_autoptr(GBytes) message = g_bytes_new_static("question", 8);

	seen->channel = f->channel;
	seen->call = nbh_grpc_call(f->channel, "/a.B/C", NULL, message, TRUE, deadline_ms, &grpcrig_events, seen);
	g_assert_cmpuint(seen->n_done, ==, 0);
}

void grpcrig_start_unary(GrpcRig *f, GrpcSeen *seen, guint deadline_ms)
{
	g_autoptr(GBytes) message = g_bytes_new_static("question", 8);

	seen->channel = f->channel;
	seen->call = nbh_grpc_unary(f->channel, "/a.B/C", message, deadline_ms, grpcrig_on_reply, seen);
	g_assert_cmpuint(seen->n_done, ==, 0);
}

void grpcrig_expect(GrpcServe on_request, int status, const char *text,
                   guint n_messages)
{
	g_autofree char *expected = NULL;
	GrpcRig f;
	GrpcSeen seen = { 0 };

	grpcrig_open(&f, on_request);
	grpcrig_start(&f, &seen, 5000);
	test_run_until(seen.n_done);
	if (strchr(text, '@'))
		expected = g_strdup_printf("%s%s", f.name, text + 1);
	g_assert_cmpstr(seen.text, ==, expected ? expected : text);
	g_assert_cmpint(seen.status, ==, status);
	g_assert_cmpuint(seen.n_messages, ==, n_messages);
	g_assert_cmpuint(seen.n_done, ==, 1);
	grpcrig_seen_clear(&seen);
	grpcrig_close(&f);
}

void grpcrig_serve_answer(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	GrpcRig *f = owner;

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

void grpcrig_serve_nothing(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)conn;
	(void)stream_id;
	(void)owner;
}
