/* The gRPC server side against a client that sends anything behind the preface. */
#include "config.h"

#include "net/grpc.h"
#include "net/h2srv.h"

#include "tests/fuzz/feed.h"

enum {
	FREE_IN_CALL = 1,
	FREE_IN_MESSAGE = 2,
	FREE_IN_GONE = 4,
	FINISH_IN_CALL = 8,
	NO_END = 16, /* freed while it is connected */
};

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static struct {
	NbhH2srv *conn;
	guint8 flags;
	guint n_calls, n_gone;
	gboolean is_closed;
} world;

static void free_conn(void)
{
	nbh_h2srv_free(g_steal_pointer(&world.conn));
}

static void on_call(NbhH2srvCall *call, const char *path, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(path && !world.is_closed);
	world.n_calls++;
	(void)nbh_h2srv_call_header(call, "user-agent");
	if (world.flags & FREE_IN_CALL)
		free_conn();
	else if (world.flags & FINISH_IN_CALL)
		nbh_h2srv_finish(call, NBH_GRPC_UNIMPLEMENTED, "unknown method \xff\n%");
}

static void on_message(NbhH2srvCall *call, const guint8 *data, gsize len, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(world.conn);
	if (world.flags & FREE_IN_MESSAGE)
		free_conn();
	else
		nbh_h2srv_send(call, data, len);
}

static void on_half_close(NbhH2srvCall *call, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(world.conn);
	nbh_h2srv_finish(call, NBH_GRPC_OK, NULL);
}

static void on_gone(NbhH2srvCall *call G_GNUC_UNUSED, gpointer owner G_GNUC_UNUSED)
{
	world.n_gone++;
	fuzz_require(world.n_gone <= world.n_calls);
	if (world.flags & FREE_IN_GONE)
		free_conn();
}

static void on_closed(NbhH2srv *conn, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(conn == world.conn && !world.is_closed);
	world.is_closed = TRUE;
}

/* As the hub does: h2srv gets the stream when the preface was read. */
static void on_preface(NbhStream *stream, gpointer owner G_GNUC_UNUSED)
{
	static const NbhH2srvEvents events = { on_call, on_message, on_half_close, on_gone, on_closed };
	guint8 first[sizeof(PREFACE) - 1];

	fuzz_require(nbh_stream_read(stream, first, sizeof(first)) == sizeof(first));
	world.conn = nbh_h2srv_new(stream, first, sizeof(first), &events, NULL);
}

static void ignore(NbhStream *stream G_GNUC_UNUSED, gpointer owner G_GNUC_UNUSED)
{
}

static void ignore_closed(NbhStream *stream G_GNUC_UNUSED, const char *error G_GNUC_UNUSED,
                          gpointer owner G_GNUC_UNUSED)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const NbhStreamEvents sniff = { ignore, on_preface, ignore, ignore_closed };
	guint8 piece;
	int far;

	memset(&world, 0, sizeof(world));
	world.flags = fuzz_byte(&data, &len);
	piece = fuzz_byte(&data, &len);
	(void)nbh_stream_accept(feed_open(&far), NULL, &sniff, NULL);
	feed_say(far, (const uint8_t *)PREFACE, sizeof(PREFACE) - 1, 0);
	fuzz_require(world.conn);
	feed_say(far, data, len, piece);

	if (!(world.flags & NO_END)) {
		shutdown(far, SHUT_RDWR);
		feed_run_loop();
		fuzz_require(!world.conn || world.is_closed);
	}
	free_conn();
	feed_run_loop();
	close(far);
	fuzz_require(world.n_gone == world.n_calls);
	return 0;
}
