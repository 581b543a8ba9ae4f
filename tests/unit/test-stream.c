#include "config.h"

#include "net/stream.h"

#include "tests/lib/listener.h"
#include "tests/lib/loop.h"

#include <sys/socket.h>

/* One end of a connection and what happened to it. */
typedef struct {
	NbhStream *stream;
	gboolean is_up;
	guint n_closed;
	char *error;
	GByteArray *received;
	gsize to_write, written; /* bytes of value (offset & 0xff) */
	gboolean free_on_up, free_on_readable, free_on_closed;
} End;

static void end_free_stream(End *end)
{
	nbh_stream_free(end->stream);
	end->stream = NULL;
}

static void end_write(End *end)
{
	guint8 block[8192];

	while (end->written < end->to_write) {
		gsize len = MIN(sizeof(block), end->to_write - end->written);
		gssize n;

		for (gsize i = 0; i < len; i++)
			block[i] = (guint8)(end->written + i);
		n = nbh_stream_write(end->stream, block, len);
		if (n <= 0) {
			nbh_stream_want_write(end->stream, n == 0);
			return;
		}
		end->written += (gsize)n;
	}
	nbh_stream_want_write(end->stream, FALSE);
}

static void on_up(NbhStream *stream, gpointer owner)
{
	End *end = owner;

	g_assert_true(stream == end->stream);
	g_assert_false(end->is_up);
	end->is_up = TRUE;
	g_assert_nonnull(nbh_stream_remote(stream));
	g_assert_nonnull(nbh_stream_local(stream));
	if (end->free_on_up)
		end_free_stream(end);
	else
		end_write(end);
}

static void on_readable(NbhStream *stream, gpointer owner)
{
	End *end = owner;
	guint8 buf[4096];
	gssize n;

	while ((n = nbh_stream_read(stream, buf, sizeof(buf))) > 0)
		g_byte_array_append(end->received, buf, (guint)n);
	if (end->free_on_readable)
		end_free_stream(end);
}

static void on_writable(NbhStream *stream, gpointer owner)
{
	(void)stream;
	end_write(owner);
}

static void on_closed(NbhStream *stream, const char *error, gpointer owner)
{
	End *end = owner;

	g_assert_true(stream == end->stream);
	end->n_closed++;
	end->error = g_strdup(error);
	g_assert_cmpint(nbh_stream_read(stream, (guint8[1]){ 0 }, 1), ==, -1);
	g_assert_cmpint(nbh_stream_write(stream, (const guint8 *)"x", 1), ==, -1);
	if (end->free_on_closed)
		end_free_stream(end);
}

static const NbhStreamEvents events = { on_up, on_readable, on_writable, on_closed };

typedef struct {
	TestListener listener;
	End client, server;
} Pair;

static void on_accept(GSocket *socket, gpointer owner)
{
	Pair *pair = owner;

	pair->server.stream = nbh_stream_accept(socket, NULL, &events, &pair->server);
}

static void pair_open(Pair *pair, const char *host)
{
	pair->client.received = g_byte_array_new();
	pair->server.received = g_byte_array_new();
	test_listener_open(&pair->listener, on_accept, pair);
	pair->client.stream = nbh_stream_connect(host, pair->listener.port, NULL, NULL, 5000, &events,
						 &pair->client);
	g_assert_null(nbh_stream_remote(pair->client.stream));
	g_assert_false(pair->client.is_up);
}

static void pair_close(Pair *pair)
{
	nbh_stream_free(pair->client.stream);
	nbh_stream_free(pair->server.stream);
	test_listener_close(&pair->listener);
	test_drain_loop();
	g_byte_array_unref(pair->client.received);
	g_byte_array_unref(pair->server.received);
	g_free(pair->client.error);
	g_free(pair->server.error);
}

static void test_transfer(void)
{
	Pair pair = { 0 };

	pair.client.to_write = 3 * 1024 * 1024; /* more than the socket buffers hold */
	pair.server.to_write = 1;
	pair_open(&pair, "localhost");
	test_run_until(pair.server.received->len == pair.client.to_write &&
		       pair.client.received->len == 1);
	for (guint i = 0; i < pair.server.received->len; i += 4099)
		g_assert_cmpuint(pair.server.received->data[i], ==, i & 0xff);
	end_free_stream(&pair.server);
	test_run_until(pair.client.n_closed);
	g_assert_cmpstr(pair.client.error, ==, "closed by the server");
	pair_close(&pair);
}

static void test_client_closes(void)
{
	Pair pair = { 0 };

	pair.client.to_write = 10;
	pair.server.free_on_closed = TRUE;
	pair_open(&pair, "127.0.0.1");
	test_run_until(pair.server.received->len == 10);
	end_free_stream(&pair.client);
	test_run_until(pair.server.n_closed);
	g_assert_cmpstr(pair.server.error, ==, "closed by the client");
	pair_close(&pair);
}

static void on_accept_and_reset(GSocket *socket, gpointer owner)
{
	const struct linger now = { .l_onoff = 1 };
	Pair *pair = owner;

	test_run_until(pair->client.is_up);
	g_assert_cmpint(g_socket_send(socket, "why", 3, NULL, NULL), ==, 3);
	g_assert_cmpint(setsockopt(g_socket_get_fd(socket), SOL_SOCKET, SO_LINGER, &now, sizeof(now)), ==, 0);
	g_object_unref(socket);
	/* Both ways of finding out: ECONNRESET, then EPIPE. */
	g_assert_cmpint(nbh_stream_write(pair->client.stream, (const guint8 *)"x", 1), ==, 0);
	g_assert_cmpint(nbh_stream_write(pair->client.stream, (const guint8 *)"x", 1), ==, 0);
	g_assert_cmpuint(pair->client.received->len, ==, 0);
	pair->server.is_up = TRUE;
}

/* Nothing can be sent any more, but what the server has said is still read. */
static void test_last_words(void)
{
	Pair pair = { 0 };

	pair_open(&pair, "127.0.0.1");
	pair.listener.on_accept = on_accept_and_reset;
	test_run_until(pair.client.n_closed);
	g_assert_true(pair.server.is_up);
	g_assert_cmpmem(pair.client.received->data, pair.client.received->len, "why", 3);
	g_assert_cmpstr(pair.client.error, ==, "reset by the server");
	pair_close(&pair);
}

static void test_free_in_callbacks(void)
{
	Pair up = { 0 }, readable = { 0 };

	up.client.free_on_up = TRUE;
	pair_open(&up, "127.0.0.1");
	test_run_until(up.server.n_closed);
	g_assert_cmpuint(up.client.n_closed, ==, 0);
	pair_close(&up);

	readable.client.free_on_readable = TRUE;
	readable.server.to_write = 1;
	pair_open(&readable, "127.0.0.1");
	test_run_until(readable.server.n_closed);
	g_assert_cmpuint(readable.client.n_closed, ==, 0);
	pair_close(&readable);
}

static void run_failing(const char *host, guint16 port, guint deadline_ms, End *ret_end)
{
	*ret_end = (End){ .free_on_closed = TRUE };
	ret_end->stream = nbh_stream_connect(host, port, NULL, NULL, deadline_ms, &events, ret_end);
	g_assert_cmpuint(ret_end->n_closed, ==, 0);
	test_run_until(ret_end->n_closed);
	g_assert_false(ret_end->is_up);
}

static void test_failures(void)
{
	End end;

	run_failing("127.0.0.1", test_free_port(), 5000, &end);
	g_assert_cmpstr(end.error, ==, "connection refused");
	g_free(end.error);

	run_failing("no-such-host.invalid", 80, 5000, &end);
	g_assert_cmpstr(end.error, ==, "the host name \"no-such-host.invalid\" cannot be resolved");
	g_free(end.error);
	test_drain_loop();
}

/* A listener whose queue is full leaves a connect without an answer. */
static void test_deadline(void)
{
	TestListener listener;
	NbhStream *fillers[8] = { 0 };
	End filler_ends[8] = { 0 }, end;

	test_listener_open(&listener, NULL, NULL);
	g_source_destroy(listener.source);
	g_assert_cmpint(listen(g_socket_get_fd(listener.socket), 0), ==, 0);
	for (gsize i = 0; i < G_N_ELEMENTS(fillers); i++) {
		filler_ends[i].received = g_byte_array_new();
		filler_ends[i].stream = fillers[i] = nbh_stream_connect(
			"127.0.0.1", listener.port, NULL, NULL, 0, &events, &filler_ends[i]);
	}
	test_run_until(filler_ends[0].is_up || filler_ends[1].is_up || filler_ends[2].is_up);
	run_failing("127.0.0.1", listener.port, 200, &end);
	g_assert_cmpstr(end.error, ==, "no connection after 0.2 s");
	g_free(end.error);
	for (gsize i = 0; i < G_N_ELEMENTS(fillers); i++) {
		nbh_stream_free(fillers[i]);
		g_byte_array_unref(filler_ends[i].received);
	}
	test_listener_close(&listener);
	test_drain_loop();
}

/* free() at any moment before on_up: no callback afterwards, nothing leaks. */
static void test_free_early(void)
{
	Pair pair = { 0 };
	NbhStream *failed;
	End end = { 0 };

	pair_open(&pair, "127.0.0.1");
	end_free_stream(&pair.client);
	failed = nbh_stream_new_failed("x", &events, &end);
	nbh_stream_free(failed);
	nbh_stream_free(NULL);
	test_drain_loop();
	g_assert_false(pair.client.is_up);
	g_assert_cmpuint(end.n_closed + pair.client.n_closed, ==, 0);
	pair_close(&pair);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/stream/transfer", test_transfer);
	g_test_add_func("/stream/client-closes", test_client_closes);
	g_test_add_func("/stream/last-words", test_last_words);
	g_test_add_func("/stream/free-in-callbacks", test_free_in_callbacks);
	g_test_add_func("/stream/failures", test_failures);
	g_test_add_func("/stream/deadline", test_deadline);
	g_test_add_func("/stream/free-early", test_free_early);
	return g_test_run();
}
