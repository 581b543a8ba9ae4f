#include "config.h"

#include "net/grpc-private.h"

#include "base/limits.h"

#include <string.h>

#define SETTINGS_MS 10000 /* from the connection to the server's SETTINGS */
#define KEEPALIVE_MS 30000 /* both as official clients: netbird-wire.md 2.1 */
#define KEEPALIVE_ACK_MS 10000
#define PROBE_ACK_MS 2000

/* A host goes into requests as it is; nothing in it may end a line there. */
static gboolean is_host(const char *host)
{
	for (const guchar *p = (const guchar *)host; *p; p++)
		if (*p <= ' ' || *p == 0x7f)
			return FALSE;
	return *host != '\0';
}

gboolean nbh_grpc_url_parse(const char *url, gboolean *ret_tls, char *ret_host, gsize host_size, guint16 *ret_port, GError **error)
{
	g_autofree char *scheme = NULL, *userinfo = NULL, *host = NULL;
	gboolean tls;
	int port = -1;

	if (!g_uri_split(url, G_URI_FLAGS_NONE, &scheme, &userinfo, &host, &port, NULL, NULL, NULL, error)) {
		g_prefix_error(error, "\"%s\": ", url);
		return FALSE;
	}
	tls = scheme && g_ascii_strcasecmp(scheme, "https") == 0;
	if (!scheme || (!tls && g_ascii_strcasecmp(scheme, "http") != 0)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "\"%s\": must begin with http:// or https://", url);
		return FALSE;
	}
	if (!host || !is_host(host) || userinfo || strlen(host) >= host_size || port == 0 || port > 65535) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "\"%s\": must have the form %s://HOST:PORT", url, tls ? "https" : "http");
		return FALSE;
	}
	*ret_tls = tls;
	g_strlcpy(ret_host, host, host_size);
	*ret_port = port > 0 ? (guint16)port : tls ? 443 : 80;
	return TRUE;
}

static void channel_destroy(gpointer data)
{
	NbhGrpcChannel *channel = data;

	g_free(channel->url);
	g_free(channel->host);
	g_free(channel->authority);
	nbh_dial_unref(channel->dial);
}

void nbh_grpc_channel_ref(NbhGrpcChannel *channel)
{
	g_rc_box_acquire(channel);
}

void nbh_grpc_channel_unref(NbhGrpcChannel *channel)
{
	g_rc_box_release_full(channel, channel_destroy);
}

NbhGrpcChannel *nbh_grpc_channel_new(const char *url, NbhDial *dial, GError **error)
{
	NbhGrpcChannel *channel;
	char host[256];
	guint16 port = 0;
	gboolean tls = FALSE;
	g_autoptr(NbhDial) own = NULL;

	if (!nbh_grpc_url_parse(url, &tls, host, sizeof(host), &port, error))
		return NULL;
	if (!dial) {
		dial = own = nbh_dial_new(NULL, error);
		if (!own)
			return NULL;
	}
	channel = g_rc_box_new0(NbhGrpcChannel);
	channel->dial = nbh_dial_ref(dial);
	channel->tls = tls;
	channel->url = g_strdup(url);
	channel->host = g_strdup(host);
	channel->port = port;
	channel->settings_ms = SETTINGS_MS;
	channel->keepalive_ms = KEEPALIVE_MS;
	channel->keepalive_ack_ms = KEEPALIVE_ACK_MS;
	channel->probe_ack_ms = PROBE_ACK_MS;
	nbh_grpc_pace_init(channel);
	channel->authority = g_strdup_printf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	return channel;
}

const char *nbh_grpc_channel_url(const NbhGrpcChannel *channel)
{
	return channel->url;
}

const char *nbh_grpc_channel_authority(const NbhGrpcChannel *channel)
{
	return channel->authority;
}

void nbh_grpc_channel_reset(NbhGrpcChannel *channel, const char *why)
{
	while (channel->transports.head)
		nbh_grpc_transport_fail(channel->transports.head->data, NBH_GRPC_UNAVAILABLE, why);
}

void nbh_grpc_channel_probe(NbhGrpcChannel *channel)
{
	/* Draining connections have no future, but their calls do not know that the network is gone. */
	for (GList *link = channel->transports.head, *next; link; link = next) {
		next = link->next;
		nbh_grpc_transport_probe(link->data);
	}
}

void nbh_grpc_channel_free(NbhGrpcChannel *channel)
{
	if (!channel)
		return;
	channel->is_freed = TRUE;
	while (channel->transports.head)
		nbh_grpc_transport_free(channel->transports.head->data);
	while (channel->ready.head)
		nbh_grpc_call_drop(channel->ready.head->data);
	if (channel->delivering)
		nbh_grpc_call_drop(channel->delivering);
	if (channel->deliver_id)
		g_source_remove(channel->deliver_id);
	channel->deliver_id = 0;
	nbh_grpc_channel_unref(channel);
}

GrpcTransport *nbh_grpc_current_transport(NbhGrpcChannel *channel)
{
	if (!channel->current)
		channel->current = nbh_grpc_transport_new(channel);
	return channel->current;
}

void nbh_grpc_deliver(NbhGrpcChannel *channel)
{
	guint n_ready = channel->ready.length;

	if (channel->delivering || channel->is_freed)
		return;
	nbh_grpc_channel_ref(channel);
	/* What callbacks add waits for the next turn of the loop. */
	for (; n_ready > 0 && channel->ready.head; n_ready--) {
		NbhGrpcCall *call = channel->ready.head->data;

		g_queue_unlink(&channel->ready, &call->ready_link);
		call->is_ready = FALSE;
		channel->delivering = call;
		nbh_grpc_call_deliver(call);
		channel->delivering = NULL;
	}
	if (channel->deliver_id && !channel->ready.head) {
		g_source_remove(channel->deliver_id);
		channel->deliver_id = 0;
	}
	nbh_grpc_channel_unref(channel);
}

static gboolean on_deliver(gpointer data)
{
	NbhGrpcChannel *channel = data;

	channel->deliver_id = 0;
	nbh_grpc_deliver(channel);
	return G_SOURCE_REMOVE;
}

void nbh_grpc_call_ready(NbhGrpcCall *call)
{
	NbhGrpcChannel *channel = call->channel;

	if (call->is_ready || call->is_gone)
		return;
	call->is_ready = TRUE;
	g_queue_push_tail_link(&channel->ready, &call->ready_link);
	if (!channel->deliver_id && !channel->is_freed)
		channel->deliver_id = g_idle_add_full(G_PRIORITY_DEFAULT, on_deliver, channel, NULL);
}

static NbhGrpcCall *call_start(NbhGrpcCall *call)
{
	NbhGrpcChannel *channel = call->channel;

	if (channel->n_calls > NBH_GRPC_CALLS_MAX)
		nbh_grpc_call_end(call, NBH_GRPC_RESOURCE_EXHAUSTED,
				  g_strdup_printf("%s: too many calls at once", channel->authority));
	else if (channel->unsent_bytes > NBH_GRPC_OUTPUT_MAX_BYTES)
		nbh_grpc_call_end(call, NBH_GRPC_RESOURCE_EXHAUSTED,
				  g_strdup_printf("%s: too much is waiting to be sent", channel->authority));
	else
		nbh_grpc_transport_add(nbh_grpc_current_transport(channel), call);
	return call;
}

NbhGrpcCall *nbh_grpc_call(NbhGrpcChannel *channel, const char *method, const char *const *headers,
                           GBytes *message, gboolean half_close, guint deadline_ms,
                           const NbhGrpcEvents *events, gpointer owner)
{
	NbhGrpcCall *call = nbh_grpc_call_new(channel, method, headers, message, half_close, deadline_ms);

	call->events = events;
	call->owner = owner;
	return call_start(call);
}

NbhGrpcCall *nbh_grpc_unary(NbhGrpcChannel *channel, const char *method, GBytes *message,
                            guint deadline_ms, NbhGrpcReply on_reply, gpointer owner)
{
	NbhGrpcCall *call = nbh_grpc_call_new(channel, method, NULL, message, TRUE, deadline_ms);

	call->on_reply = on_reply;
	call->owner = owner;
	return call_start(call);
}
