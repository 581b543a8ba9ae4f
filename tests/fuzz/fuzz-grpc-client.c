/*
 * The gRPC client against a server that sends anything. The real stream on a socket pair, the real
 * channel and calls; only the connecting is ours.
 */
#include "config.h"

#include "net/dial.h"

#include "tests/fuzz/feed.h"

static NbhStream *accept_instead(NbhDial *dial, const NbhStreamEvents *events, gpointer owner);

#define nbh_dial_connect(dial, ...) accept_instead(dial, &stream_events, transport)
#include "net/grpc-transport.c"

enum {
	CANCEL_IN_MESSAGE = 1,
	FREE_IN_MESSAGE = 2,
	FREE_IN_DONE = 4,
	NO_END = 8, /* freed while it is connected */
};

#define N_CALLS 3

typedef struct {
	NbhGrpcCall *call;
	gboolean is_done;
} Call;

static struct {
	NbhGrpcChannel *channel;
	int far; /* of the latest connection; -1: none */
	guint n_connections;
	guint8 flags;
	Call calls[N_CALLS];
} world;

static NbhStream *accept_instead(NbhDial *dial, const NbhStreamEvents *events, gpointer owner)
{
	fuzz_require(dial);
	if (world.far >= 0)
		close(world.far);
	/* One call is tried once more at most. */
	fuzz_require(++world.n_connections <= 1 + N_CALLS);
	return nbh_stream_accept(feed_open(&world.far), NULL, events, owner);
}

static void free_channel(void)
{
	nbh_grpc_channel_free(g_steal_pointer(&world.channel));
}

static void on_headers(NbhGrpcCall *call, gpointer owner)
{
	fuzz_require(!((Call *)owner)->is_done);
	(void)nbh_grpc_call_header(call, "x-header");
}

static void on_message(NbhGrpcCall *call, const guint8 *data, gsize len, gpointer owner)
{
	Call *own = owner;

	fuzz_require(!own->is_done && world.channel && (data || len == 0));
	if (world.flags & CANCEL_IN_MESSAGE) {
		own->is_done = TRUE;
		nbh_grpc_call_cancel(call);
	}
	if (world.flags & FREE_IN_MESSAGE)
		free_channel();
}

static void end(Call *own, int status, const char *message)
{
	fuzz_require(!own->is_done && world.channel);
	fuzz_require(status == NBH_GRPC_OK || (message && g_utf8_validate(message, -1, NULL)));
	own->is_done = TRUE;
	if (world.flags & FREE_IN_DONE)
		free_channel();
}

static void on_done(NbhGrpcCall *call G_GNUC_UNUSED, int status, const char *message, gpointer owner)
{
	end(owner, status, message);
}

static void on_reply(int status, const char *message, GBytes *reply, gpointer owner)
{
	fuzz_require((status == NBH_GRPC_OK) == (reply != NULL));
	end(owner, status, message);
}

static void start_calls(void)
{
	static const NbhGrpcEvents events = { on_headers, on_message, on_done };
	g_autoptr(GBytes) request = g_bytes_new_static("request", 7);

	world.calls[0].call = nbh_grpc_call(world.channel, "/a/Stream", NULL, request, TRUE, 0, &events,
	                                    &world.calls[0]);
	world.calls[1].call = nbh_grpc_call(world.channel, "/a/Both", NULL, NULL, FALSE, 0, &events,
	                                    &world.calls[1]);
	world.calls[2].call = nbh_grpc_unary(world.channel, "/a/Unary", request, 0, on_reply, &world.calls[2]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	guint8 piece;

	memset(&world, 0, sizeof(world));
	world.far = -1;
	world.flags = fuzz_byte(&data, &len);
	piece = fuzz_byte(&data, &len);
	world.channel = nbh_grpc_channel_new("http://192.0.2.1:1", NULL, NULL);
	start_calls();
	feed_run_loop();
	feed_say(world.far, data, len, piece);

	/* Every new connection ends at once, too. */
	while (world.far >= 0 && !(world.flags & NO_END)) {
		close(world.far);
		world.far = -1;
		feed_run_loop();
	}

	for (guint i = 0; i < N_CALLS && world.channel && !(world.flags & NO_END); i++)
		fuzz_require(world.calls[i].is_done);
	free_channel();
	feed_run_loop();
	if (world.far >= 0)
		close(world.far);
	return 0;
}
