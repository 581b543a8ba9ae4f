/* net/grpc against servers that mean harm: floods of frames, too many large messages, work without end. */

#include "config.h"

#include "base/limits.h"
#include "net/grpc-private.h"

#include "tests/lib/h2peer.h"
#include "tests/lib/loop.h"

#include <string.h>
#include <time.h>

#define N_CALLS 3
#define FRAME_HEAD 9

typedef struct {
	guint n_messages, n_done;
	int status;
	char *message;
} Seen;

typedef struct {
	TestH2 h2;
	NbhGrpcChannel *channel;
	Seen seen[N_CALLS];
	guint burn_ms;
} Fixture;

static gint64 cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static Fixture *the_fixture;

static void on_message(NbhGrpcCall *call, const guint8 *data, gsize len, gpointer owner)
{
	gint64 until_ms = cpu_ms() + the_fixture->burn_ms;

	(void)call;
	(void)data;
	(void)len;
	((Seen *)owner)->n_messages++;
	while (the_fixture->burn_ms && cpu_ms() < until_ms) {
	}
}

static void on_done(NbhGrpcCall *call, int status, const char *message, gpointer owner)
{
	Seen *seen = owner;

	(void)call;
	seen->n_done++;
	seen->status = status;
	seen->message = g_strdup(message);
}

static const NbhGrpcEvents events = { NULL, on_message, on_done };

static void on_request(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)owner;
	test_h2_ok_headers(conn, stream_id);
}

static void set_up(Fixture *f, gconstpointer data)
{
	g_autofree char *url = NULL;

	(void)data;
	the_fixture = f;
	test_h2_open(&f->h2, on_request, f);
	url = test_h2_url(&f->h2);
	f->channel = nbh_grpc_channel_new(url, NULL, NULL);
}

static TestH2Conn *start(Fixture *f, guint n_calls)
{
	g_autoptr(GBytes) request = g_bytes_new_static("x", 1);

	for (guint i = 0; i < n_calls; i++)
		nbh_grpc_call(f->channel, "/a/B", NULL, request, TRUE, 0, &events, &f->seen[i]);
	test_run_until(f->h2.n_requests == n_calls);
	return f->h2.conns->pdata[0];
}

static void tear_down(Fixture *f, gconstpointer data)
{
	(void)data;
	nbh_grpc_channel_free(f->channel);
	test_h2_close(&f->h2);
	test_drain_loop();
	for (guint i = 0; i < N_CALLS; i++)
		g_free(f->seen[i].message);
}

static void say(TestH2Conn *conn, guint8 type, guint8 flags, guint8 stream, const void *payload, gsize len)
{
	const guint8 head[FRAME_HEAD] = { (guint8)(len >> 16), (guint8)(len >> 8), (guint8)len, type, flags,
					  0, 0, 0, stream };

	test_h2_raw(conn, head, sizeof(head));
	if (len)
		test_h2_raw(conn, payload, len);
}

static void flood_ping(TestH2Conn *conn, guint i)
{
	(void)i;
	say(conn, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void flood_settings(TestH2Conn *conn, guint i)
{
	(void)i;
	say(conn, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

static void flood_window(TestH2Conn *conn, guint i)
{
	(void)i;
	say(conn, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
}

static void flood_priority(TestH2Conn *conn, guint i)
{
	(void)i;
	say(conn, NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0\1", 5);
}

static void flood_empty_data(TestH2Conn *conn, guint i)
{
	(void)i;
	say(conn, NGHTTP2_DATA, 0, 1, NULL, 0);
}

static void flood_reset(TestH2Conn *conn, guint i)
{
	(void)i;
	say(conn, NGHTTP2_RST_STREAM, 0, 3, "\0\0\0\0", 4);
}

/* Headers that never end. */
static void flood_continuation(TestH2Conn *conn, guint i)
{
	say(conn, i ? NGHTTP2_CONTINUATION : NGHTTP2_HEADERS, 0, 1, "\0\1n\1v", 5);
}

/* Trailers, again and again announced as the last ones; the first ends the stream. */
static void flood_trailers(TestH2Conn *conn, guint i)
{
	(void)i;
	say(conn, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, "\0\1n\1v", 5);
}

static void flood_push(TestH2Conn *conn, guint i)
{
	const guint8 promise[] = { 0, 0, 0, (guint8)(2 * i + 2), 0x82, 0x86, 0x84 };

	say(conn, NGHTTP2_PUSH_PROMISE, NGHTTP2_FLAG_END_HEADERS, 1, promise, sizeof(promise));
}

static void flood_garbage(TestH2Conn *conn, guint i)
{
	(void)i;
	test_h2_raw(conn, "this is not a frame at all, is it?", 34);
}

typedef struct {
	const char *name;
	void (*one)(TestH2Conn *conn, guint i);
	const char *words;
} Flood;

static const Flood floods[] = {
	{ "ping", flood_ping, "the server sends too many PING frames; ask its administrator" },
	{ "settings", flood_settings, "the server sends too many SETTINGS frames; ask its administrator" },
	{ "window-update", flood_window, "the server sends too many WINDOW_UPDATE frames" },
	{ "priority", flood_priority, "the server sends too many PRIORITY frames" },
	{ "empty-data", flood_empty_data, "the server sends too many empty DATA frames" },
	{ "reset", flood_reset, "the server sends too many RST_STREAM frames" },
	{ "continuation", flood_continuation, "HTTP/2 error: " },
	{ "trailers", flood_trailers, "" },
	{ "push", flood_push, "HTTP/2 error: " },
	{ "garbage", flood_garbage, "HTTP/2 error: " },
};

/* The call ends with the server's name and what was wrong; the connection is over. */
static void test_flood(Fixture *f, gconstpointer data)
{
	const Flood *flood = data;
	TestH2Conn *conn = start(f, 2);
	g_autofree char *wanted = g_strdup_printf("%s: %s", f->channel->authority, flood->words);

	for (guint i = 0; i < 3 * NBH_H2_CONTROL_BURST && !test_h2_is_over(conn); i++) {
		flood->one(conn, i);
		if (i % 50 == 49)
			test_drain_loop();
	}
	test_run_until(f->seen[0].n_done);
	g_test_message("%d %s", f->seen[0].status, f->seen[0].message);
	g_assert_cmpint(f->seen[0].status, !=, NBH_GRPC_OK);
	g_assert_true(g_str_has_prefix(f->seen[0].message, wanted) || !*flood->words);
	if (*flood->words) {
		test_run_until(f->seen[1].n_done);
		g_assert_cmpint(f->seen[1].status, ==, NBH_GRPC_UNAVAILABLE);
		test_run_until(test_h2_is_over(conn));
	}
}

/* The beginning of a message of 16 MiB. */
static void begin_message(TestH2Conn *conn, guint8 stream, gsize size)
{
	static const guint8 prefix[] = { 0, 1, 0, 0, 0 };
	g_autofree guint8 *data = g_malloc0(size);

	test_h2_data(conn, stream, prefix, sizeof(prefix), FALSE);
	test_h2_data(conn, stream, data, size - sizeof(prefix), FALSE);
}

static void test_input(Fixture *f, gconstpointer data)
{
	const gsize largest = NBH_GRPC_MESSAGE_MAX_BYTES;
	const gsize rest = NBH_GRPC_INPUT_MAX_BYTES - 2 * largest;
	TestH2Conn *conn = start(f, 3);

	(void)data;
	begin_message(conn, 1, largest);
	begin_message(conn, 3, largest);
	begin_message(conn, 5, rest - 1);
	test_run_until(f->channel->input_bytes == NBH_GRPC_INPUT_MAX_BYTES - 1);
	test_h2_data(conn, 5, "x", 1, FALSE); /* at */
	test_run_until(f->channel->input_bytes == NBH_GRPC_INPUT_MAX_BYTES);
	test_drain_loop();
	g_assert_cmpuint(f->seen[0].n_done + f->seen[1].n_done + f->seen[2].n_done, ==, 0);
	test_h2_data(conn, 5, "x", 1, FALSE); /* above: that call ends, the others go on */
	test_run_until(f->seen[2].n_done);
	g_assert_cmpint(f->seen[2].status, ==, NBH_GRPC_RESOURCE_EXHAUSTED);
	g_assert_nonnull(strstr(f->seen[2].message, "the server sends too many large messages at once"));
	g_assert_cmpuint(f->channel->input_bytes, ==, 2 * largest);
	test_h2_data(conn, 1, "12345", 5, FALSE);
	test_run_until(f->seen[0].n_messages == 1);
	g_assert_cmpuint(f->channel->input_bytes, ==, largest);
	g_assert_cmpuint(f->seen[0].n_done + f->seen[1].n_done, ==, 0);
}

/* Messages that cost more than there is: they all come, with pauses in which nothing is read. */
static void test_pace(Fixture *f, gconstpointer data)
{
	const guint n = 60, size = 60000;
	g_autofree guint8 *zeros = g_malloc0(size);
	TestH2Conn *conn = start(f, 1);
	guint n_pauses_seen = 0;

	(void)data;
	f->burn_ms = 4;
	f->channel->pace.left_usec = 0;
	f->channel->pace.percent = 1; /* a busy machine may give us little more */
	for (guint i = 0; i < n; i++)
		test_h2_message(conn, 1, zeros, size);
	while (f->seen[0].n_messages < n) {
		guint pause_id, before;

		test_drain_loop();
		pause_id = f->channel->current->pause_id;
		before = f->seen[0].n_messages;
		test_drain_loop();
		if (pause_id && f->channel->current->pause_id == pause_id) {
			n_pauses_seen++;
			g_assert_cmpuint(f->seen[0].n_messages, ==, before);
		}
		if (f->seen[0].n_messages < n)
			g_main_context_iteration(NULL, TRUE);
	}
	g_assert_cmpuint(f->channel->pace.n_pauses, >, 0);
	g_assert_cmpuint(n_pauses_seen, >, 0);
	g_assert_cmpuint(f->seen[0].n_done, ==, 0);
	/* A pause does not hide the end of the connection for ever. */
	test_h2_hang_up(conn);
	test_run_until(f->seen[0].n_done == 1);
	g_assert_cmpint(f->seen[0].status, ==, NBH_GRPC_UNAVAILABLE);
}

/* What is left after that much CPU time of a server's bytes; how long the pause is. */
static guint pause_after(Fixture *f, gint64 used_usec)
{
	nbh_grpc_pace_init(f->channel);
	nbh_grpc_pace_begin(f->channel);
	f->channel->pace.begun_usec -= used_usec;
	return nbh_grpc_pace_end(f->channel);
}

/* NBH_GRPC_CPU_BURST_MS without a pause, then NBH_GRPC_CPU_PERCENT. 10 ms: less is not worth a pause. */
static void test_pace_limit(Fixture *f, gconstpointer data)
{
	const gint64 burst_usec = NBH_GRPC_CPU_BURST_MS * 1000LL;
	/* Twice the longest pause: what a machine that stood still for a second gives back does not count. */
	const gint64 above_usec = 2 * 1000000LL * NBH_GRPC_CPU_PERCENT / 100;

	(void)data;
	start(f, 1);
	g_assert_cmpuint(pause_after(f, burst_usec - 1000), ==, 0);
	g_assert_cmpuint(pause_after(f, burst_usec), ==, 0);
	g_assert_cmpuint(pause_after(f, burst_usec + above_usec), ==, 1000);
	g_assert_cmpuint(pause_after(f, 100 * burst_usec), ==, 1000);
	nbh_grpc_pace_init(f->channel);
}

/* Freed in a pause. */
static void test_pace_free(Fixture *f, gconstpointer data)
{
	TestH2Conn *conn = start(f, 1);

	(void)data;
	f->burn_ms = 20;
	f->channel->pace.left_usec = 0;
	f->channel->pace.percent = 1;
	test_h2_message(conn, 1, "x", 1);
	test_run_until(f->channel->current->pause_id);
	nbh_grpc_channel_reset(f->channel, "enough");
	test_run_until(f->seen[0].n_done == 1);
}

#define ADD(name, func) g_test_add("/grpc-flood/" name, Fixture, NULL, set_up, func, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (gsize i = 0; i < G_N_ELEMENTS(floods); i++) {
		g_autofree char *path = g_strconcat("/grpc-flood/", floods[i].name, NULL);

		g_test_add(path, Fixture, &floods[i], set_up, test_flood, tear_down);
	}
	ADD("input", test_input);
	ADD("pace", test_pace);
	ADD("pace-limit", test_pace_limit);
	ADD("pace-free", test_pace_free);
	return g_test_run();
}
