/*
 * One stream per key. Whoever names a key in the metadata gets its messages: the protocol cannot
 * prove ownership here, the sealed bodies protect themselves. We only insist that both ends are
 * registered peers.
 */

#include "config.h"

#include "hub/signalsvc.h"

#include "base/limits.h"
#include "base/log.h"
#include "net/grpc.h"
#include "wire/signalmsg.h"

#include <string.h>

#define HEADER_PEER "x-wiretrustee-peer-id"
#define HEADER_REGISTERED "x-wiretrustee-peer-registered"
#define STALL_MS 10000
#define PREFIX_BYTES 5 /* what gRPC adds to a message */

struct _NbhSignalService {
	NbhRegistry *registry; /* borrowed */
	GHashTable *streams;   /* nbh_key -> Stream, borrowed from their calls */
	guint n_dropped;
};

typedef struct {
	struct nbh_key key;
	NbhHubCall *call; /* borrowed: owns us */
	gboolean current; /* in streams: not displaced */
	guint64 bytes_in; /* all that was queued; minus what waits: what the client took */
	guint64 bytes_taken;
	nbh_mono taken_at; /* when bytes_taken last grew, or nothing waited */
} Stream;

static void finish(NbhHubCall *call, int status, const char *message)
{
	nbh_h2srv_finish(call->h2, status, message);
}

static void end_stream(NbhSignalService *service, Stream *stream, int status, const char *message)
{
	stream->current = FALSE;
	g_hash_table_remove(service->streams, &stream->key);
	finish(stream->call, status, message);
}

static void on_connect(NbhHubCall *call, gpointer owner)
{
	NbhSignalService *service = owner;
	const char *text = nbh_h2srv_call_header(call->h2, HEADER_PEER);
	struct nbh_key key;
	Stream *stream, *old;

	if (!text) {
		finish(call, NBH_GRPC_FAILED_PRECONDITION, "missing connection header: " HEADER_PEER);
		return;
	}
	if (nbh_key_parse(text, &key) < 0) {
		finish(call, NBH_GRPC_INVALID_ARGUMENT, HEADER_PEER ": not a public key");
		return;
	}
	if (!nbh_registry_find(service->registry, &key)) {
		finish(call, NBH_GRPC_PERMISSION_DENIED, "peer is not registered");
		return;
	}
	/* A half-dead older connection is the normal case: the new one wins. */
	old = g_hash_table_lookup(service->streams, &key);
	if (old)
		end_stream(service, old, NBH_GRPC_UNKNOWN, "peer registered again");
	stream = g_new0(Stream, 1);
	stream->key = key;
	stream->call = call;
	stream->current = TRUE;
	stream->taken_at = nbh_mono_now();
	call->state = stream;
	g_hash_table_insert(service->streams, &stream->key, stream);
	/* At once: clients wait for it before they do anything (1.2). */
	nbh_h2srv_headers(call->h2, HEADER_REGISTERED, "1");
}

static void on_connect_gone(NbhHubCall *call, gpointer owner)
{
	NbhSignalService *service = owner;
	Stream *stream = call->state;

	if (!stream)
		return;
	if (stream->current)
		g_hash_table_remove(service->streams, &stream->key);
	g_free(stream);
}

static void deliver(NbhSignalService *service, const struct nbh_key *to, const guint8 *data, gsize len)
{
	Stream *stream = g_hash_table_lookup(service->streams, to);
	gsize waiting;

	if (!stream)
		return; /* not connected: the sender's retries cover it */
	waiting = nbh_h2srv_queued(stream->call->h2);
	if (waiting == 0)
		stream->taken_at = nbh_mono_now();
	if (waiting + len > NBH_HUB_SIGNAL_QUEUE_MAX_BYTES ||
	    !nbh_h2srv_send(stream->call->h2, data, len)) {
		if (nbh_log_worth(++service->n_dropped))
			nbh_log(NBH_LOG_WARN, "signal", "message-dropped peer=%.8s times=%u",
				nbh_key_format(to).text, service->n_dropped);
		return;
	}
	stream->bytes_in += len + PREFIX_BYTES;
}

/* Answered alike whether it is delivered or not: there is no delivery report (8). */
static void on_send(NbhHubCall *call, const guint8 *data, gsize len, gpointer owner)
{
	NbhSignalService *service = owner;
	g_autoptr(GError) error = NULL;
	struct nbh_key from, to;

	if (len > NBH_SIGNAL_BODY_MAX_BYTES) {
		finish(call, NBH_GRPC_RESOURCE_EXHAUSTED, "the signal message is too large");
		return;
	}
	if (!nbh_signal_route(data, len, &from, &to, &error)) {
		finish(call, NBH_GRPC_INVALID_ARGUMENT, error->message);
		return;
	}
	if (nbh_registry_find(service->registry, &from) && nbh_registry_find(service->registry, &to))
		deliver(service, &to, data, len);
	nbh_h2srv_send(call->h2, NULL, 0);
	finish(call, NBH_GRPC_OK, NULL);
}

const NbhHubMethod nbh_signal_methods[] = {
	{ .path = "/signalexchange.SignalExchange/ConnectStream",
	  .on_start = on_connect,
	  .on_gone = on_connect_gone },
	{ .path = "/signalexchange.SignalExchange/Send", .on_message = on_send },
	{ .path = NULL },
};

void nbh_signal_service_removed(NbhSignalService *service, const struct nbh_key *key)
{
	Stream *stream = g_hash_table_lookup(service->streams, key);

	if (stream)
		end_stream(service, stream, NBH_GRPC_PERMISSION_DENIED, "peer is not registered");
}

void nbh_signal_service_check(NbhSignalService *service, nbh_mono now)
{
	g_autoptr(GPtrArray) stalled = g_ptr_array_new();
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, service->streams);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Stream *stream = value;
		gsize waiting = nbh_h2srv_queued(stream->call->h2);

		if (waiting == 0 || stream->bytes_in - waiting != stream->bytes_taken) {
			stream->bytes_taken = stream->bytes_in - waiting;
			stream->taken_at = now;
		} else if (nbh_mono_diff_ms(now, stream->taken_at) >= STALL_MS) {
			g_ptr_array_add(stalled, stream);
		}
	}
	for (guint i = 0; i < stalled->len; i++)
		end_stream(service, stalled->pdata[i], NBH_GRPC_UNKNOWN,
			   "the stream takes no messages");
}

NbhSignalService *nbh_signal_service_new(NbhRegistry *registry)
{
	NbhSignalService *service = g_new0(NbhSignalService, 1);

	service->registry = registry;
	service->streams = g_hash_table_new(nbh_key_hash, nbh_key_hash_equal);
	return service;
}

void nbh_signal_service_free(NbhSignalService *service)
{
	if (!service)
		return;
	g_hash_table_unref(service->streams);
	g_free(service);
}
