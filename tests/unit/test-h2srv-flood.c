/* net/h2srv against clients that mean harm: every byte is written here. And net/h2guard alone. */

#include "config.h"

#include "base/limits.h"
#include "net/h2srv-private.h"

#include "tests/lib/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define FRAME_HEAD 9
/* POST http a /x application/grpc, without Huffman and table: RFC 7541 6.2.2. */
#define REQUEST "\x83\x86\x01\x01" "a" "\x04\x02/x\x0f\x10\x10" "application/grpc"

typedef struct {
	NbhH2srv *conn;
	int fd; /* ours: the client's */
	guint n_calls, n_gone, n_closed;
	NbhH2srvCall *call; /* the latest */
	gboolean answers;
	char *abuse;
	GByteArray *out, *in;
} Fixture;

static void on_call(NbhH2srvCall *call, const char *path, gpointer owner)
{
	Fixture *f = owner;

	g_assert_cmpstr(path, ==, "/x");
	f->n_calls++;
	f->call = call;
	if (!f->answers)
		return;
	nbh_h2srv_send(call, (const guint8 *)"answer", 6);
	nbh_h2srv_finish(call, 0, NULL);
}

static void on_message(NbhH2srvCall *call, const guint8 *data, gsize len, gpointer owner)
{
	(void)call;
	(void)data;
	(void)len;
	(void)owner;
}

static void on_half_close(NbhH2srvCall *call, gpointer owner)
{
	(void)call;
	(void)owner;
}

static void on_gone(NbhH2srvCall *call, gpointer owner)
{
	(void)call;
	((Fixture *)owner)->n_gone++;
}

static void on_closed(NbhH2srv *conn, gpointer owner)
{
	Fixture *f = owner;

	f->n_closed++;
	f->abuse = g_strdup(nbh_h2srv_abuse(conn));
}

static const NbhH2srvEvents events = { on_call, on_message, on_half_close, on_gone, on_closed };

static void on_sniffed(NbhStream *stream, gpointer owner)
{
	Fixture *f = owner;
	guint8 first[24];

	g_assert_cmpint(nbh_stream_read(stream, first, sizeof(first)), ==, sizeof(first));
	f->conn = nbh_h2srv_new(stream, first, sizeof(first), &events, f);
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

static void say(Fixture *f, guint8 type, guint8 flags, guint32 stream, const void *payload, gsize len)
{
	const guint8 head[FRAME_HEAD] = { (guint8)(len >> 16), (guint8)(len >> 8),     (guint8)len,
					  type,		       flags,		       (guint8)(stream >> 24),
					  (guint8)(stream >> 16), (guint8)(stream >> 8), (guint8)stream };

	g_byte_array_append(f->out, head, sizeof(head));
	if (len)
		g_byte_array_append(f->out, payload, (guint)len);
}

static void say_request(Fixture *f, guint32 stream, guint8 flags)
{
	say(f, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | flags, stream, REQUEST, sizeof(REQUEST) - 1);
}

/* Sends what was said, and lets the server work on it; `listens`: reads what it answers. */
static void deliver(Fixture *f, gboolean listens)
{
	guint8 buf[65536];
	gssize n;

	while (f->out->len > 0 && !f->n_closed) {
		n = send(f->fd, f->out->data, f->out->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			break;
		if (n > 0)
			g_byte_array_remove_range(f->out, 0, (guint)n);
		test_drain_loop();
		while (listens && (n = recv(f->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
			g_byte_array_append(f->in, buf, (guint)n);
	}
	g_byte_array_set_size(f->out, 0);
	test_drain_loop();
	while ((listens || f->n_closed) && (n = recv(f->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		g_byte_array_append(f->in, buf, (guint)n);
}

/* The last frame of a type that the server sent; NULL: none. */
static const guint8 *heard(const Fixture *f, guint8 type, guint *ret_n)
{
	const guint8 *found = NULL;
	gsize at = 0;

	*ret_n = 0;
	while (f->in->len - at >= FRAME_HEAD) {
		const guint8 *p = f->in->data + at;
		gsize len = (gsize)p[0] << 16 | (gsize)p[1] << 8 | p[2];

		if (f->in->len - at - FRAME_HEAD < len)
			break;
		if (p[3] == type) {
			found = p + FRAME_HEAD;
			++*ret_n;
		}
		at += FRAME_HEAD + len;
	}
	return found;
}

static guint32 goaway_code(const Fixture *f)
{
	guint n;
	const guint8 *frame = heard(f, NGHTTP2_GOAWAY, &n);

	g_assert_nonnull(frame);
	return (guint32)frame[4] << 24 | (guint32)frame[5] << 16 | (guint32)frame[6] << 8 | frame[7];
}

/* A fixture whose client does not acknowledge SETTINGS: too many streams are no error then. */
static const char no_ack;

static void set_up(Fixture *f, gconstpointer data)
{
	int fds[2];
	GSocket *socket;

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	socket = g_socket_new_from_fd(fds[0], NULL);
	g_assert_nonnull(socket);
	f->fd = fds[1];
	f->out = g_byte_array_new();
	f->in = g_byte_array_new();
	(void)nbh_stream_accept(socket, NULL, &sniff, f);
	g_byte_array_append(f->out, (const guint8 *)PREFACE, sizeof(PREFACE) - 1);
	say(f, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	if (data != &no_ack)
		say(f, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
}

static void tear_down(Fixture *f, gconstpointer data)
{
	(void)data;
	nbh_h2srv_free(f->conn);
	g_assert_cmpuint(f->n_gone, ==, f->n_calls);
	close(f->fd);
	test_drain_loop();
	g_byte_array_unref(f->out);
	g_byte_array_unref(f->in);
	g_free(f->abuse);
}

static void flood_ping(Fixture *f, guint32 i)
{
	(void)i;
	say(f, NGHTTP2_PING, 0, 0, "12345678", 8);
}

static void flood_ping_ack(Fixture *f, guint32 i)
{
	(void)i;
	say(f, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "12345678", 8);
}

static void flood_settings(Fixture *f, guint32 i)
{
	(void)i;
	say(f, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

static void flood_priority(Fixture *f, guint32 i)
{
	say(f, NGHTTP2_PRIORITY, 0, 2 * i + 1, "\0\0\0\0\1", 5);
}

static void flood_window(Fixture *f, guint32 i)
{
	(void)i;
	say(f, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
}

static void flood_empty_data(Fixture *f, guint32 i)
{
	if (i == 0)
		say_request(f, 1, 0);
	say(f, NGHTTP2_DATA, 0, 1, NULL, 0);
}

/* CVE-2023-44487 */
static void flood_rapid_reset(Fixture *f, guint32 i)
{
	say_request(f, 2 * i + 1, 0);
	say(f, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\x08", 4);
}

/* CVE-2025-8671: the server is made to reset. */
static void flood_provoked_reset(Fixture *f, guint32 i)
{
	say_request(f, 2 * i + 1, 0);
	say(f, NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, "\x7f\xff\xff\xff", 4);
}

/* All above the number that was announced. */
static void flood_streams(Fixture *f, guint32 i)
{
	say_request(f, 2 * i + 1, 0);
}

/* CVE-2024-28182: headers without end. */
static void flood_continuation(Fixture *f, guint32 i)
{
	if (i == 0)
		say(f, NGHTTP2_HEADERS, 0, 1, REQUEST, sizeof(REQUEST) - 1);
	else
		say(f, NGHTTP2_CONTINUATION, 0, 1, "\x0f\x10\x01x", 4);
}

typedef struct {
	const char *name;
	void (*one)(Fixture *f, guint32 i);
	const char *abuse; /* how it begins */
	gboolean goaway;
} Flood;

static const Flood floods[] = {
	{ "ping", flood_ping, "too many PING", TRUE },
	{ "ping-ack", flood_ping_ack, "too many PING", TRUE },
	{ "settings", flood_settings, "too many SETTINGS", TRUE },
	{ "priority", flood_priority, "too many PRIORITY", TRUE },
	{ "window-update", flood_window, "too many WINDOW_UPDATE", TRUE },
	{ "empty-data", flood_empty_data, "too many empty DATA", TRUE },
	{ "rapid-reset", flood_rapid_reset, "too many RST_STREAM", TRUE },
	{ "provoked-reset", flood_provoked_reset, "too many ", TRUE },
	{ "streams", flood_streams, "", TRUE },
	{ "continuation", flood_continuation, "", FALSE },
};

/* Whoever listens learns why; nothing is taken any more. */
static void test_flood(Fixture *f, gconstpointer data)
{
	const Flood *flood = data;

	for (guint32 i = 0; i < 3 * NBH_H2_CONTROL_BURST && !f->n_closed; i++) {
		flood->one(f, i);
		if (i % 100 == 99)
			deliver(f, TRUE);
	}
	test_run_until(f->n_closed == 1);
	deliver(f, TRUE);
	g_assert_nonnull(f->abuse);
	g_test_message("%s: %s", flood->name, f->abuse);
	g_assert_true(g_str_has_prefix(f->abuse, flood->abuse));
	if (flood->goaway)
		g_assert_cmpuint(goaway_code(f), !=, NGHTTP2_NO_ERROR);
}

/* The same, and the answers are not read: what waits for the client is bounded. */
static void test_deaf_flood(Fixture *f, gconstpointer data)
{
	const Flood *flood = data;

	for (guint32 i = 0; i < 100 * NBH_H2SRV_FRAMES_MAX && !f->n_closed; i++) {
		flood->one(f, i);
		if (i % 100 == 99)
			deliver(f, FALSE);
	}
	test_run_until(f->n_closed == 1);
	g_assert_nonnull(f->abuse);
}

/* What an honest client does in bursts: PINGs and windows for data that it got. */
static void test_honest(Fixture *f, gconstpointer data)
{
	guint n;

	(void)data;
	say_request(f, 1, 0);
	deliver(f, TRUE);
	g_assert_cmpuint(f->n_calls, ==, 1);
	for (guint i = 0; i < 4 * NBH_H2_CONTROL_BURST; i++) {
		nbh_h2srv_send(f->call, (const guint8 *)"x", 1);
		say(f, NGHTTP2_PING, 0, 0, "12345678", 8);
		say(f, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\6", 4);
		say(f, NGHTTP2_WINDOW_UPDATE, 0, 1, "\0\0\0\6", 4);
		deliver(f, TRUE);
	}
	g_assert_cmpuint(f->n_closed, ==, 0);
	(void)heard(f, NGHTTP2_PING, &n);
	g_assert_cmpuint(n, ==, 4 * NBH_H2_CONTROL_BURST);
}

/* At the limit all are served; one more is refused, and the others go on. */
static void test_streams_max(Fixture *f, gconstpointer data)
{
	const guint8 *frame;
	guint n;

	(void)data;
	for (guint32 i = 0; i < NBH_H2SRV_STREAMS_MAX - 1; i++)
		say_request(f, 2 * i + 1, 0);
	deliver(f, TRUE);
	g_assert_cmpuint(f->n_calls, ==, NBH_H2SRV_STREAMS_MAX - 1);
	say_request(f, 2 * NBH_H2SRV_STREAMS_MAX - 1, 0);
	deliver(f, TRUE);
	g_assert_cmpuint(f->n_calls, ==, NBH_H2SRV_STREAMS_MAX);
	(void)heard(f, NGHTTP2_RST_STREAM, &n);
	g_assert_cmpuint(n, ==, 0);
	say_request(f, 2 * NBH_H2SRV_STREAMS_MAX + 1, 0);
	deliver(f, TRUE);
	g_assert_cmpuint(f->n_calls, ==, NBH_H2SRV_STREAMS_MAX);
	frame = heard(f, NGHTTP2_RST_STREAM, &n);
	if (n == 0) /* nghttp2 may end the connection instead: the limit was acknowledged */
		g_assert_cmpuint(goaway_code(f), ==, NGHTTP2_PROTOCOL_ERROR);
	else
		g_assert_cmpuint(frame[3], ==, NGHTTP2_REFUSED_STREAM);
}

/* A client that breaks the rules is named; one that only leaves as grpc-go does is not. */
static void test_goodbye(Fixture *f, gconstpointer data)
{
	static const guint8 goodbye[] = { 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0 };

	(void)data;
	say_request(f, 1, NGHTTP2_FLAG_END_STREAM);
	deliver(f, TRUE);
	say(f, NGHTTP2_GOAWAY, 0, 0, goodbye, sizeof(goodbye));
	deliver(f, TRUE);
	g_assert_null(nbh_h2srv_abuse(f->conn));
	g_assert_cmpuint(goaway_code(f), ==, NGHTTP2_PROTOCOL_ERROR);
}

static void test_broken_rules(Fixture *f, gconstpointer data)
{
	(void)data;
	say(f, NGHTTP2_DATA, 0, 0, "x", 1);
	deliver(f, TRUE);
	g_assert_nonnull(strstr(f->n_closed ? f->abuse : nbh_h2srv_abuse(f->conn), "PROTOCOL_ERROR"));
}

/* Header fields up to the limit, each counted as RFC 9113 10.5.1 does. */
static void test_headers_max(Fixture *f, gconstpointer data)
{
	const gsize fixed = (7 + 4 + 32) + (7 + 4 + 32) + (5 + 2 + 32) + (10 + 1 + 32) +
			    (12 + 16 + 32);
	const gssize off = GPOINTER_TO_INT(data);
	const gsize value_len = (gsize)((gssize)(NBH_H2SRV_HEADERS_MAX_BYTES - fixed - 32 - 1) + off);
	g_autoptr(GByteArray) block = g_byte_array_new();
	g_autofree char *value = g_strnfill(value_len, 'v');
	const guint8 name[] = { 0, 1, 'n' };
	guint8 length[3] = { 0x7f };
	guint n;

	/* An integer with a 7-bit prefix: RFC 7541 5.1. */
	length[1] = (guint8)(0x80 | ((value_len - 127) & 0x7f));
	length[2] = (guint8)((value_len - 127) >> 7);
	g_assert_cmpuint((value_len - 127) >> 7, <, 128);
	g_byte_array_append(block, (const guint8 *)REQUEST, sizeof(REQUEST) - 1);
	g_byte_array_append(block, name, sizeof(name));
	g_byte_array_append(block, length, sizeof(length));
	g_byte_array_append(block, (const guint8 *)value, (guint)value_len);
	say(f, NGHTTP2_HEADERS, 0, 1, block->data, 8000);
	say(f, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, block->data + 8000, block->len - 8000);
	deliver(f, TRUE);
	g_assert_cmpuint(f->n_closed, ==, 0);
	g_assert_cmpuint(f->n_calls, ==, off <= 0);
	(void)heard(f, NGHTTP2_RST_STREAM, &n);
	g_assert_cmpuint(n, ==, off > 0);
}

/* With no window nobody takes the answer: the call ends all the same. */
static void test_stuck_answer(Fixture *f, gconstpointer data)
{
	(void)data;
	f->answers = TRUE;
	say(f, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6); /* INITIAL_WINDOW_SIZE 0 */
	say_request(f, 1, NGHTTP2_FLAG_END_STREAM);
	g_assert_cmpint(send(f->fd, f->out->data, f->out->len, MSG_NOSIGNAL), ==, f->out->len);
	g_byte_array_set_size(f->out, 0);
	test_run_until(f->conn);
	f->conn->ping_ms = 1;
	f->conn->stuck_ms = 1;
	test_run_until(f->n_calls == 1);
	test_run_until(f->n_gone == 1);
	g_assert_cmpuint(f->n_closed, ==, 0);
}

/* Our GOAWAY is not read either: the connection ends by the clock. */
static void test_deaf_end(Fixture *f, gconstpointer data)
{
	g_autofree guint8 *zeros = g_malloc0(4 * 1024 * 1024);
	const guint8 window[] = { 0x7f, 0, 0, 0 };

	(void)data;
	say(f, NGHTTP2_SETTINGS, 0, 0, "\0\4\x7f\xff\xff\xff", 6);
	say(f, NGHTTP2_WINDOW_UPDATE, 0, 0, window, 4);
	say_request(f, 1, 0);
	deliver(f, FALSE);
	test_run_until(f->n_calls == 1);
	g_assert_true(nbh_h2srv_send(f->call, zeros, 4 * 1024 * 1024));
	test_drain_loop();
	f->conn->end_ms = 1;
	nbh_h2srv_shutdown(f->conn);
	test_run_until(f->n_closed == 1);
	g_assert_null(f->abuse);
}

/* The socket is full and stays so: answers wait here, up to the limit, at it, and one more. */
static void test_frames_max(Fixture *f, gconstpointer data)
{
	g_autofree guint8 *zeros = g_malloc0(4 * 1024 * 1024);
	const guint8 window[] = { 0x7f, 0, 0, 0 };
	guint32 stream = 3;

	(void)data;
	say(f, NGHTTP2_SETTINGS, 0, 0, "\0\4\x7f\xff\xff\xff", 6);
	say(f, NGHTTP2_WINDOW_UPDATE, 0, 0, window, 4);
	say_request(f, 1, 0);
	deliver(f, FALSE);
	g_assert_true(nbh_h2srv_send(f->call, zeros, 4 * 1024 * 1024));
	test_drain_loop();
	/* Above the number of streams each is refused by a frame. */
	while (nghttp2_session_get_outbound_queue_size(f->conn->session) < NBH_H2SRV_FRAMES_MAX) {
		say_request(f, stream, 0);
		deliver(f, FALSE);
		g_assert_cmpuint(f->n_closed, ==, 0);
		stream += 2;
	}
	g_assert_cmpuint(nghttp2_session_get_outbound_queue_size(f->conn->session), ==, NBH_H2SRV_FRAMES_MAX);
	say_request(f, stream, 0);
	deliver(f, FALSE);
	test_run_until(f->n_closed == 1);
	g_assert_cmpstr(f->abuse, ==, "asks more than it listens");
}

static nghttp2_frame_hd head(guint8 type, gsize length)
{
	return (nghttp2_frame_hd){ .type = type, .length = length };
}

/* One below, at and one above the allowance; what time and our data give back. */
static void test_guard(void)
{
	const nghttp2_frame_hd ping = head(NGHTTP2_PING, 8), reset = head(NGHTTP2_RST_STREAM, 4),
			       data = head(NGHTTP2_DATA, 10), request = head(NGHTTP2_HEADERS, 10);
	const nghttp2_frame sent = { .hd = head(NGHTTP2_DATA, 10) };
	nghttp2_frame refused = { .rst_stream = { .hd = head(NGHTTP2_RST_STREAM, 4) } };
	gint64 now = 1000;
	NbhH2Guard guard;

	nbh_h2guard_init(&guard, now);
	for (guint i = 0; i < NBH_H2_CONTROL_BURST - 1; i++)
		g_assert_null(nbh_h2guard_received(&guard, &ping, now));
	g_assert_null(nbh_h2guard_received(&guard, &ping, now)); /* at */
	for (guint i = 0; i < 3 * NBH_H2_CONTROL_BURST; i++) {
		g_assert_null(nbh_h2guard_received(&guard, &data, now));
		g_assert_null(nbh_h2guard_received(&guard, &request, now));
	}
	now += G_USEC_PER_SEC;
	for (guint i = 0; i < NBH_H2_CONTROL_PER_SECOND; i++)
		g_assert_null(nbh_h2guard_received(&guard, &ping, now));
	g_assert_null(nbh_h2guard_sent(&guard, &sent, now));
	g_assert_null(nbh_h2guard_received(&guard, &reset, now));
	g_assert_cmpstr(nbh_h2guard_received(&guard, &ping, now), ==, "too many PING frames");
	/* That stays, whatever follows. */
	now += 3600 * (gint64)G_USEC_PER_SEC;
	g_assert_nonnull(nbh_h2guard_received(&guard, &data, now));
	g_assert_nonnull(nbh_h2guard_sent(&guard, &sent, now));

	/* A long pause fills it, and not more. */
	nbh_h2guard_init(&guard, now);
	now += G_MAXINT32 * (gint64)G_USEC_PER_SEC;
	for (guint i = 0; i < NBH_H2_CONTROL_BURST / 4; i++)
		g_assert_null(nbh_h2guard_received(&guard, &reset, now));
	g_assert_nonnull(nbh_h2guard_received(&guard, &reset, now));

	/* Resets of ours count when the far end is to blame. */
	nbh_h2guard_init(&guard, now);
	for (guint i = 0; i < 2 * NBH_H2_CONTROL_BURST; i++) {
		refused.rst_stream.error_code = i % 2 ? NGHTTP2_CANCEL : NGHTTP2_NO_ERROR;
		g_assert_null(nbh_h2guard_sent(&guard, &refused, now));
	}
	refused.rst_stream.error_code = NGHTTP2_REFUSED_STREAM;
	for (guint i = 0; i < NBH_H2_CONTROL_BURST / 4; i++)
		g_assert_null(nbh_h2guard_sent(&guard, &refused, now));
	g_assert_nonnull(nbh_h2guard_sent(&guard, &refused, now));
}

#define ADD(name, data, func) g_test_add("/h2srv-flood/" name, Fixture, data, set_up, func, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/h2srv-flood/guard", test_guard);
	for (gsize i = 0; i < G_N_ELEMENTS(floods); i++) {
		g_autofree char *path = g_strconcat("/h2srv-flood/", floods[i].name, NULL);
		g_autofree char *deaf = g_strconcat(path, "-deaf", NULL);

		g_test_add(path, Fixture, &floods[i], set_up, test_flood, tear_down);
		g_test_add(deaf, Fixture, &floods[i], set_up, test_deaf_flood, tear_down);
	}
	ADD("honest", NULL, test_honest);
	ADD("streams-max", NULL, test_streams_max);
	ADD("goodbye", NULL, test_goodbye);
	ADD("broken-rules", NULL, test_broken_rules);
	ADD("headers-below", GINT_TO_POINTER(-1), test_headers_max);
	ADD("headers-at", GINT_TO_POINTER(0), test_headers_max);
	ADD("headers-above", GINT_TO_POINTER(1), test_headers_max);
	ADD("stuck-answer", NULL, test_stuck_answer);
	ADD("frames-max", &no_ack, test_frames_max);
	ADD("deaf-end", NULL, test_deaf_end);
	return g_test_run();
}
