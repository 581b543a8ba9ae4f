#include "config.h"

#include "signal/signal-grpc.h"

#include "base/limits.h"
#include "base/log.h"
#include "core/backoff.h"
#include "net/grpc.h"
#include "signal/sendline.h"

#include <string.h>

/*
 * One ConnectStream; its registration header means "up". HEARTBEATs to ourselves watch over it
 * (netbird-wire.md 3.6), because PINGs do not prove that messages are delivered. Sends: sendline.c.
 */

#define SERVICE "/signalexchange.SignalExchange/"
#define REGISTERED_HEADER "x-wiretrustee-peer-registered"

/* Some proxies hold the header back until there is a message: interop.md rule 15. */
#define REGISTER_FIRST_MS 1000
#define REGISTER_NEXT_MS 3000
#define REGISTER_MAX_MS 15000

#define CHANGE_USEC (5 * G_USEC_PER_SEC) /* a PING may have to fail first */
#define SILENCE_MS 30000
#define ECHO_MS 10000

struct _NbhSignal {
	const NbhSignalEvents *events;
	gpointer owner;
	gboolean (*is_known)(const struct nbh_key *key, gpointer owner);
	struct nbh_key own_private, own_public;
	NbhGrpcChannel *channel; /* owned */
	NbhSendline *sendline;   /* owned */

	NbhGrpcCall *stream;
	gboolean is_up;
	GSourceFunc on_retry; /* closes the circle stream -> retry -> stream */
	NbhBackoff backoff;
	guint retry_id, watch_id;
	guint silence_ms, echo_ms;
	gint64 opened_usec, received_usec;
	gint64 changed_usec; /* of the last network change */
	gint64 probed_usec; /* HEARTBEAT whose echo is awaited; 0: none */
};

static void clear_source_id(guint *id)
{
	if (*id)
		g_source_remove(*id);
	*id = 0;
}

/* Nothing may follow: the owner hears of it. */
static void stream_failed(NbhSignal *signal, const char *why)
{
	guint32 delay_ms = nbh_backoff_next(&signal->backoff, g_random_int());

	/* The old connection did not survive: no reason to wait with the first new one. */
	if (signal->changed_usec && g_get_monotonic_time() - signal->changed_usec < CHANGE_USEC)
		delay_ms = 0;
	signal->changed_usec = 0;
	clear_source_id(&signal->watch_id);
	clear_source_id(&signal->retry_id);
	nbh_grpc_call_cancel(signal->stream);
	signal->stream = NULL;
	signal->is_up = FALSE;
	signal->retry_id = g_timeout_add(delay_ms, signal->on_retry, signal);
	nbh_log(NBH_LOG_DEBUG, "signal", "signal_down reason=\"%s\"", why);
	signal->events->on_link(signal, FALSE, why, signal->owner);
}

static void on_heartbeat_sent(int status, const char *message, GBytes *reply, gpointer data)
{
	(void)status;
	(void)message;
	(void)reply;
	(void)data;
	/* Only its way back through the stream counts. */
}

static void send_heartbeat(NbhSignal *signal)
{
	NbhSignalMessage message = { .type = NBH_SIGNAL_HEARTBEAT };
	g_autoptr(GBytes) sealed = NULL;

	sealed = nbh_signal_seal(&signal->own_private, &signal->own_public, &signal->own_public, &message);
	if (sealed)
		nbh_grpc_unary(signal->channel, SERVICE "Send", sealed, ECHO_MS, on_heartbeat_sent, signal);
}

static gboolean on_no_registration(gpointer data)
{
	NbhSignal *signal = data;

	signal->watch_id = 0;
	if (g_get_monotonic_time() - signal->opened_usec >= REGISTER_MAX_MS * 1000) {
		stream_failed(signal, "the signal server does not answer, or is no NetBird signal server");
		return G_SOURCE_REMOVE;
	}
	send_heartbeat(signal);
	signal->watch_id = g_timeout_add(REGISTER_NEXT_MS, on_no_registration, signal);
	return G_SOURCE_REMOVE;
}

static gboolean on_watch(gpointer data)
{
	NbhSignal *signal = data;
	gint64 silent_ms = (g_get_monotonic_time() - signal->received_usec) / 1000;
	guint next_ms = signal->silence_ms;

	signal->watch_id = 0;
	if (signal->probed_usec && signal->received_usec < signal->probed_usec) {
		/* The connection is suspect as a whole. */
		nbh_grpc_channel_reset(signal->channel, "the signal server does not deliver messages");
		return G_SOURCE_REMOVE;
	}
	signal->probed_usec = 0;
	if (silent_ms < next_ms) {
		next_ms -= (guint)silent_ms;
	} else {
		signal->probed_usec = g_get_monotonic_time();
		send_heartbeat(signal);
		next_ms = signal->echo_ms;
	}
	signal->watch_id = g_timeout_add(next_ms, on_watch, signal);
	return G_SOURCE_REMOVE;
}

static void on_headers(NbhGrpcCall *call, gpointer owner)
{
	NbhSignal *signal = owner;

	/* Errors have headers, too; their status follows. */
	if (!nbh_grpc_call_header(call, REGISTERED_HEADER))
		return;
	clear_source_id(&signal->watch_id);
	nbh_backoff_reset(&signal->backoff);
	signal->is_up = TRUE;
	signal->probed_usec = 0;
	signal->received_usec = g_get_monotonic_time();
	signal->watch_id = g_timeout_add(signal->silence_ms, on_watch, signal);
	signal->events->on_link(signal, TRUE, "", signal->owner);
}

static void on_message(NbhGrpcCall *call, const guint8 *data, gsize len, gpointer owner)
{
	NbhSignal *signal = owner;
	struct nbh_key from, to;
	NbhSignalMessage message;
	g_autoptr(GError) error = NULL;

	(void)call;
	signal->received_usec = g_get_monotonic_time();
	if (len > NBH_SIGNAL_BODY_MAX_BYTES || !nbh_signal_route(data, len, &from, &to, NULL))
		return;
	if (nbh_key_equal(&from, &signal->own_public) || !signal->is_known(&from, signal->owner))
		return;
	if (!nbh_signal_open(&signal->own_private, data, len, &from, &message, &error)) {
		nbh_log(NBH_LOG_DEBUG, "signal", "message_dropped peer=%.8s reason=\"%s\"",
			nbh_key_format(&from).text, error->message);
		return;
	}
	if (message.type != NBH_SIGNAL_HEARTBEAT)
		signal->events->on_message(signal, &from, &message, signal->owner);
}

static void on_done(NbhGrpcCall *call, int status, const char *message, gpointer owner)
{
	NbhSignal *signal = owner;
	g_autofree char *why = NULL;

	(void)call;
	signal->stream = NULL;
	if (status == NBH_GRPC_OK)
		why = g_strdup("the signal server ended the stream");
	else if (message && *message)
		why = g_strdup(message);
	else
		why = g_strdup_printf("signal: gRPC status %d", status);
	stream_failed(signal, why);
}

static const NbhGrpcEvents stream_events = { on_headers, on_message, on_done };

/* Our side stays open and silent: netbird-wire.md 3.1. */
static void open_stream(NbhSignal *signal)
{
	struct nbh_key_text own = nbh_key_format(&signal->own_public);
	const char *headers[] = { "x-wiretrustee-peer-id", own.text, NULL };

	signal->opened_usec = g_get_monotonic_time();
	signal->stream = nbh_grpc_call(signal->channel, SERVICE "ConnectStream", headers, NULL, FALSE, 0,
				       &stream_events, signal);
	signal->watch_id = g_timeout_add(REGISTER_FIRST_MS, on_no_registration, signal);
}

static gboolean on_retry(gpointer data)
{
	NbhSignal *signal = data;

	signal->retry_id = 0;
	open_stream(signal);
	return G_SOURCE_REMOVE;
}

static NbhSignal *signal_open(const NbhSignalConfig *config, const NbhSignalEvents *events, gpointer owner, GError **error)
{
	NbhGrpcChannel *channel = nbh_grpc_channel_new(config->url, config->dial, error);
	NbhSignal *signal;

	if (!channel) {
		g_prefix_error(error, "signal URL ");
		return NULL;
	}
	signal = g_new0(NbhSignal, 1);
	signal->events = events;
	signal->owner = owner;
	signal->is_known = config->is_known;
	signal->own_private = config->own_private;
	nbh_key_public(&signal->own_private, &signal->own_public);
	signal->channel = channel;
	signal->sendline = nbh_sendline_new(channel, &signal->own_private, &signal->own_public, owner);
	signal->on_retry = on_retry;
	signal->silence_ms = SILENCE_MS;
	signal->echo_ms = ECHO_MS;
	nbh_backoff_init(&signal->backoff, NBH_BACKOFF_MIN_MS, NBH_BACKOFF_MAX_MS, 1.7, 50);
	open_stream(signal);
	return signal;
}

/* NULL: nothing is to be sent. */
static GPtrArray *encode_all(const NbhSignal *signal, const NbhSignalMessage *messages, gsize n)
{
	GPtrArray *bodies;

	/* An answer could not reach us; the owner starts anew when the link is up. */
	if (!signal->is_up || n == 0)
		return NULL;
	bodies = g_ptr_array_new_full((guint)n, (GDestroyNotify)g_bytes_unref);
	for (gsize i = 0; i < n; i++)
		g_ptr_array_add(bodies, nbh_signal_body_encode(&messages[i]));
	return bodies;
}

static void signal_send(NbhSignal *signal, const struct nbh_key *to, const NbhSignalMessage *messages, gsize n,
                        void (*done)(gboolean ok, gpointer data, gpointer owner), gpointer data)
{
	GPtrArray *bodies = encode_all(signal, messages, n);

	if (bodies)
		nbh_sendline_add(signal->sendline, to, bodies, done, data);
	else
		nbh_sendline_refuse(signal->sendline, done, data);
}

static void signal_send_beside(NbhSignal *signal, const struct nbh_key *to, const NbhSignalMessage *messages, gsize n)
{
	GPtrArray *bodies = encode_all(signal, messages, n);

	if (bodies)
		nbh_sendline_add_beside(signal->sendline, to, bodies);
}

static gboolean signal_is_up(NbhSignal *signal)
{
	return signal->is_up;
}

static void signal_retry_now(NbhSignal *signal)
{
	if (!signal->retry_id)
		return;
	clear_source_id(&signal->retry_id);
	open_stream(signal);
}

static void signal_network_changed(NbhSignal *signal)
{
	signal->changed_usec = g_get_monotonic_time();
	nbh_grpc_channel_probe(signal->channel);
	signal_retry_now(signal);
}

void nbh_signal_grpc_set_watchdog(NbhSignal *signal, guint silence_ms, guint echo_ms)
{
	signal->silence_ms = silence_ms;
	signal->echo_ms = echo_ms;
}

static void signal_free(NbhSignal *signal)
{
	if (!signal)
		return;
	clear_source_id(&signal->retry_id);
	clear_source_id(&signal->watch_id);
	nbh_grpc_channel_free(signal->channel); /* with its calls */
	nbh_sendline_free(signal->sendline);
	nbh_key_wipe(&signal->own_private);
	g_free(signal);
}

const NbhSignalBackend nbh_signal_grpc = {
	.name = "grpc",
	.open = signal_open,
	.send = signal_send,
	.send_beside = signal_send_beside,
	.is_up = signal_is_up,
	.retry_now = signal_retry_now,
	.network_changed = signal_network_changed,
	.free = signal_free,
};
