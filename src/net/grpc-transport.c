#include "config.h"

#include "net/grpc-private.h"

#include "base/limits.h"

#include <string.h>

/* libraries.md 1.3: what official clients use; nghttp2 renews both windows by itself. */
#define STREAM_WINDOW_BYTES (1024 * 1024)
#define CONNECTION_WINDOW_BYTES (4 * 1024 * 1024)

#define CONNECT_MS 10000  /* resolution, TCP, proxy and TLS; later PINGs watch over the connection */

/*
 * Native gRPC ports close a connection after the third PING that follows another within 15 s
 * (interop.md rule 14), so PINGs on suspicion are rationed.
 */
#define PING_MIN_INTERVAL_MS 15000
#define FAST_PINGS_MAX 1

#define READ_BLOCK_BYTES 16384
#define READ_BLOCKS_MAX 64 /* per loop turn, so that others get theirs */
#define OUT_BLOCK_BYTES 65536
#define FRAME_HEADER_LEN 9
#define FIRST_LEN 12        /* "HTTP/1.1 502" */
#define TLS_ALERT 0x15      /* RFC 8446 5.1: record type and version of what a TLS server sends */
#define TLS_MAJOR 0x03

static void transport_destroy(gpointer data)
{
	GrpcTransport *transport = data;

	g_byte_array_unref(transport->first);
	g_byte_array_unref(transport->out);
	g_free(transport->goaway);
	g_free(transport->h2_error);
}

static void transport_unref(GrpcTransport *transport)
{
	g_rc_box_release_full(transport, transport_destroy);
}

static void clear_source_id(guint *id)
{
	if (*id)
		g_source_remove(*id);
	*id = 0;
}

/* Takes the transport out of the channel; memory stays while a callback of ours is on the stack. */
static void transport_kill(GrpcTransport *transport)
{
	if (transport->is_dead)
		return;
	transport->is_dead = TRUE;
	if (transport->channel->current == transport)
		transport->channel->current = NULL;
	g_queue_unlink(&transport->channel->transports, &transport->link);
	clear_source_id(&transport->flush_id);
	clear_source_id(&transport->settings_id);
	clear_source_id(&transport->keepalive_id);
	clear_source_id(&transport->ack_id);
	clear_source_id(&transport->probe_id);
	clear_source_id(&transport->pause_id);
	g_clear_pointer(&transport->session, nghttp2_session_del);
	g_clear_pointer(&transport->stream, nbh_stream_free);
	transport_unref(transport);
}

void nbh_grpc_transport_fail(GrpcTransport *transport, int status, const char *problem)
{
	g_autofree char *text = NULL;
	NbhGrpcCall *call;

	if (transport->is_dead)
		return;
	/* problem may be a member. */
	text = g_strdup_printf("%s: %s", transport->channel->authority, problem);
	g_rc_box_acquire(transport);
	transport_kill(transport);
	while ((call = g_queue_peek_head(&transport->calls)))
		nbh_grpc_call_end(call, status, g_strdup(text));
	transport_unref(transport);
}

void nbh_grpc_transport_free(GrpcTransport *transport)
{
	NbhGrpcCall *call;

	g_rc_box_acquire(transport);
	transport_kill(transport);
	while ((call = g_queue_peek_head(&transport->calls)))
		nbh_grpc_call_drop(call);
	transport_unref(transport);
}

static void fail(GrpcTransport *transport, const char *problem)
{
	nbh_grpc_transport_fail(transport, NBH_GRPC_UNAVAILABLE, problem);
}

/* Another kind of server: trying again soon will not help. */
static void fail_foreign(GrpcTransport *transport, const char *problem)
{
	nbh_grpc_transport_fail(transport, NBH_GRPC_UNIMPLEMENTED, problem);
}

static const char *why_ended(const GrpcTransport *transport, const char *otherwise)
{
	if (transport->goaway)
		return transport->goaway;
	return transport->h2_error ? transport->h2_error : otherwise;
}

/* Moves what nghttp2 wants to send to the socket. May kill the transport. */
static void flush(GrpcTransport *transport)
{
	clear_source_id(&transport->flush_id);
	if (!transport->is_up)
		return;
	for (;;) {
		gssize n;

		while (transport->out->len < OUT_BLOCK_BYTES) {
			const uint8_t *data;
			ssize_t len = nghttp2_session_mem_send(transport->session, &data);

			if (len < 0) {
				fail(transport, nghttp2_strerror((int)len));
				return;
			}
			if (len == 0)
				break;
			g_byte_array_append(transport->out, data, (guint)len);
		}
		if (transport->out->len == 0)
			break;
		n = nbh_stream_write(transport->stream, transport->out->data, transport->out->len);
		if (n < 0)
			return; /* on_closed follows */
		if (n == 0)
			break;
		g_byte_array_remove_range(transport->out, 0, (guint)n);
	}
	nbh_stream_want_write(transport->stream, transport->out->len > 0);
	if (transport->out->len > 0)
		return;
	if (!nghttp2_session_want_read(transport->session) && !nghttp2_session_want_write(transport->session))
		fail(transport, why_ended(transport, "the connection has ended"));
	else if (transport->is_draining && g_queue_is_empty(&transport->calls))
		nbh_grpc_transport_free(transport);
}

static gboolean on_flush(gpointer data)
{
	GrpcTransport *transport = data;

	transport->flush_id = 0;
	flush(transport);
	return G_SOURCE_REMOVE;
}

/* Several calls of one loop turn share a write. */
static void schedule_flush(GrpcTransport *transport)
{
	if (!transport->flush_id && !transport->is_dead)
		transport->flush_id = g_idle_add_full(G_PRIORITY_HIGH, on_flush, transport, NULL);
}

static gboolean on_no_ack(gpointer data)
{
	GrpcTransport *transport = data;
	NbhGrpcChannel *channel = transport->channel;

	transport->ack_id = 0;
	fail(transport, "no answer to a PING");
	nbh_grpc_deliver(channel);
	return G_SOURCE_REMOVE;
}

/* One PING at a time; a second request may only shorten the wait. */
static void ping(GrpcTransport *transport, guint ack_ms)
{
	gboolean in_flight = transport->ack_id != 0;

	clear_source_id(&transport->ack_id);
	transport->ack_id = g_timeout_add(ack_ms, on_no_ack, transport);
	if (in_flight)
		return;
	transport->pinged_usec = g_get_monotonic_time();
	nghttp2_submit_ping(transport->session, NGHTTP2_FLAG_NONE, NULL);
	schedule_flush(transport);
}

static gboolean on_keepalive(gpointer data)
{
	GrpcTransport *transport = data;
	gint64 quiet_ms = (g_get_monotonic_time() - transport->received_usec) / 1000;
	guint next_ms = transport->channel->keepalive_ms;

	transport->keepalive_id = 0;
	if (g_queue_is_empty(&transport->calls))
		return G_SOURCE_REMOVE;
	if (quiet_ms < next_ms)
		next_ms -= (guint)quiet_ms;
	else if (!transport->ack_id)
		ping(transport, transport->channel->keepalive_ack_ms);
	transport->keepalive_id = g_timeout_add(next_ms, on_keepalive, transport);
	return G_SOURCE_REMOVE;
}

static void start_keepalive(GrpcTransport *transport)
{
	if (transport->is_up && !transport->keepalive_id && !g_queue_is_empty(&transport->calls))
		transport->keepalive_id = g_timeout_add(transport->channel->keepalive_ms, on_keepalive, transport);
}

static void submit(GrpcTransport *transport, NbhGrpcCall *call)
{
	int r = nbh_grpc_call_submit(call, transport->session);

	if (r == 0) {
		start_keepalive(transport);
		schedule_flush(transport);
		return;
	}
	/* Stream ids have run out, or memory: the next call gets a new connection. */
	if (transport->channel->current == transport)
		transport->channel->current = NULL;
	transport->is_draining = TRUE;
	nbh_grpc_call_end(call, NBH_GRPC_UNAVAILABLE,
			  g_strdup_printf("%s: %s", transport->channel->authority, nghttp2_strerror(r)));
}

void nbh_grpc_transport_add(GrpcTransport *transport, NbhGrpcCall *call)
{
	call->transport = transport;
	g_queue_push_tail_link(&transport->calls, &call->transport_link);
	if (transport->is_up)
		submit(transport, call);
}

void nbh_grpc_transport_remove(GrpcTransport *transport, NbhGrpcCall *call)
{
	call->transport = NULL;
	g_queue_unlink(&transport->calls, &call->transport_link);
	if (transport->is_dead)
		return;
	if (call->stream_id > 0 && transport->session) {
		nghttp2_session_set_stream_user_data(transport->session, call->stream_id, NULL);
		nghttp2_submit_rst_stream(transport->session, NGHTTP2_FLAG_NONE, call->stream_id,
					  NGHTTP2_CANCEL);
		call->stream_id = 0;
	}
	/* Also closes a drained connection behind its last call. */
	schedule_flush(transport);
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *data)
{
	(void)session;
	(void)nbh_h2guard_received(&((GrpcTransport *)data)->guard, hd, g_get_monotonic_time());
	return 0; /* feed() looks */
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	NbhGrpcCall *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags;
	(void)data;
	if (call && frame->hd.type == NGHTTP2_HEADERS)
		nbh_grpc_call_on_header(call, (const char *)name, name_len, (const char *)value, value_len);
	return 0;
}

static void on_goaway(GrpcTransport *transport, const nghttp2_goaway *goaway)
{
	/* opaque_data is NULL when there is none. */
	g_autofree char *reason =
		goaway->opaque_data_len
			? g_strndup((const char *)goaway->opaque_data, MIN(goaway->opaque_data_len, 64))
			: g_strdup("");

	for (char *p = reason; *p; p++)
		*p = g_ascii_isprint(*p) ? *p : '?';
	transport->is_draining = TRUE;
	if (transport->channel->current == transport)
		transport->channel->current = NULL;
	g_free(transport->goaway);
	transport->goaway = g_strdup_printf("the server closes the connection (%s%s%s)",
					    nghttp2_http2_strerror(goaway->error_code),
					    *reason ? ": " : "", reason);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	GrpcTransport *transport = data;
	NbhGrpcCall *call;

	if (frame->hd.type == NGHTTP2_DATA) { /* on_begin_frame() does not see these */
		(void)nbh_h2guard_received(&transport->guard, &frame->hd, g_get_monotonic_time());
	} else if (frame->hd.type == NGHTTP2_HEADERS) {
		call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		if (call)
			nbh_grpc_call_on_headers_end(call, frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
	} else if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK)) {
		clear_source_id(&transport->ack_id);
	} else if (frame->hd.type == NGHTTP2_GOAWAY) {
		on_goaway(transport, &frame->goaway);
	} else if (frame->hd.type == NGHTTP2_SETTINGS && !transport->has_settings) {
		transport->has_settings = TRUE;
		clear_source_id(&transport->settings_id);
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                   size_t len, void *data)
{
	NbhGrpcCall *call = nghttp2_session_get_stream_user_data(session, stream_id);

	(void)flags;
	(void)data;
	if (call)
		nbh_grpc_call_on_data(call, bytes, len);
	return 0;
}

/* A request that was still waiting when GOAWAY came: it never left. */
static int on_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int error, void *data)
{
	NbhGrpcCall *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)data;
	if (call && frame->hd.type == NGHTTP2_HEADERS &&
	    (error == NGHTTP2_ERR_START_STREAM_NOT_ALLOWED || error == NGHTTP2_ERR_SESSION_CLOSING))
		call->never_processed = TRUE;
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code, void *data)
{
	NbhGrpcCall *call = nghttp2_session_get_stream_user_data(session, stream_id);

	(void)data;
	if (call)
		nbh_grpc_call_on_close(call, error_code);
	return 0;
}

/* nghttp2 ends the session by itself when the server breaks the rules; it says why in a GOAWAY. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	GrpcTransport *transport = data;

	(void)session;
	(void)nbh_h2guard_sent(&transport->guard, frame, g_get_monotonic_time());
	if (frame->hd.type != NGHTTP2_GOAWAY)
		return 0;
	g_free(transport->h2_error);
	transport->h2_error = g_strdup_printf("HTTP/2 error: %s (%.*s)",
					      nghttp2_http2_strerror(frame->goaway.error_code),
					      (int)MIN(frame->goaway.opaque_data_len, 120),
					      (const char *)frame->goaway.opaque_data);
	return 0;
}

static nghttp2_session *open_session(GrpcTransport *transport)
{
	nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, NBH_GRPC_HEADERS_MAX_BYTES },
	};
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	nghttp2_session *session = NULL;

	if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option))
		g_error("out of memory");
	/* The guard is stricter, and knows what it was. */
	nghttp2_option_set_max_outbound_ack(option, 2 * NBH_H2_CONTROL_BURST);
	nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_not_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
	if (nghttp2_session_client_new2(&session, callbacks, transport, option))
		g_error("out of memory");
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, G_N_ELEMENTS(settings));
	nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_BYTES);
	return session;
}

static gboolean on_no_settings(gpointer data)
{
	GrpcTransport *transport = data;
	NbhGrpcChannel *channel = transport->channel;

	transport->settings_id = 0;
	fail_foreign(transport, transport->first->len > 0 ? "does not speak HTTP/2"
							 : "does not speak HTTP/2 (it says nothing)");
	nbh_grpc_deliver(channel);
	return G_SOURCE_REMOVE;
}

/*
 * The requests go out with our preface, without waiting for the server's SETTINGS: one round trip
 * after TCP there is an answer (RFC 9113 3.4).
 */
static void on_up(NbhStream *stream, gpointer owner)
{
	GrpcTransport *transport = owner;
	GList *next;

	(void)stream;
	transport->is_up = TRUE;
	transport->received_usec = g_get_monotonic_time();
	nbh_h2guard_init(&transport->guard, transport->received_usec);
	transport->session = open_session(transport);
	transport->settings_id = g_timeout_add(transport->channel->settings_ms, on_no_settings, transport);
	for (GList *link = transport->calls.head; link; link = next) {
		next = link->next;
		submit(transport, link->data);
	}
	flush(transport);
}

/* A server's first frame is SETTINGS: RFC 9113 3.4. */
static gboolean looks_like_http2(const GByteArray *first)
{
	return first->len >= FRAME_HEADER_LEN && first->data[0] == 0 &&
	       first->data[3] == NGHTTP2_SETTINGS && memcmp(first->data + 5, "\0\0\0\0", 4) == 0;
}

/* The first bytes of something else, in words. */
static char *foreign_greeting(const GByteArray *first)
{
	g_autofree char *text = g_strndup((const char *)first->data, MIN(first->len, FIRST_LEN));

	if (g_str_has_prefix(text, "HTTP/1.") && strlen(text) == FIRST_LEN && g_ascii_isdigit(text[7]) &&
	    text[8] == ' ' && g_ascii_isdigit(text[9]) && g_ascii_isdigit(text[10]) && g_ascii_isdigit(text[11]))
		return g_strdup_printf("does not speak HTTP/2 (it answered %s)", text);
	if (first->len >= 2 && first->data[0] == TLS_ALERT && first->data[1] == TLS_MAJOR)
		return g_strdup("does not speak HTTP/2 without TLS; is it https:// there?");
	return g_strdup("does not speak HTTP/2");
}

/* FALSE: the transport is dead. */
static gboolean feed(GrpcTransport *transport, const guint8 *data, gsize len)
{
	ssize_t n;

	transport->received_usec = g_get_monotonic_time();
	if (!transport->is_http2) {
		g_byte_array_append(transport->first, data, (guint)len);
		transport->is_http2 = looks_like_http2(transport->first);
		if (!transport->is_http2 && transport->first->len < FIRST_LEN)
			return TRUE;
		if (!transport->is_http2) {
			g_autofree char *problem = foreign_greeting(transport->first);

			fail_foreign(transport, problem);
			return FALSE;
		}
		n = nghttp2_session_mem_recv(transport->session, transport->first->data, transport->first->len);
		g_byte_array_set_size(transport->first, 0);
	} else {
		n = nghttp2_session_mem_recv(transport->session, data, len);
	}
	if (n < 0) {
		g_autofree char *problem = g_strdup_printf("HTTP/2 error: %s", nghttp2_strerror((int)n));

		fail(transport, problem);
		return FALSE;
	}
	if (transport->guard.broken) {
		g_autofree char *problem = g_strdup_printf("the server sends %s; ask its administrator",
							   transport->guard.broken);

		fail(transport, problem);
		return FALSE;
	}
	return TRUE;
}

static gboolean on_pause_over(gpointer data)
{
	GrpcTransport *transport = data;

	transport->pause_id = 0;
	nbh_stream_hold(transport->stream, FALSE);
	return G_SOURCE_REMOVE;
}

/* The owners' callbacks may free the channel. */
static void deliver_paced(GrpcTransport *transport, NbhGrpcChannel *channel)
{
	guint pause_ms;

	nbh_grpc_channel_ref(channel);
	nbh_grpc_deliver(channel);
	pause_ms = nbh_grpc_pace_end(channel);
	nbh_grpc_channel_unref(channel);
	if (!pause_ms || transport->is_dead)
		return;
	clear_source_id(&transport->pause_id);
	transport->pause_id = g_timeout_add(pause_ms, on_pause_over, transport);
	nbh_stream_hold(transport->stream, TRUE);
}

static void on_readable(NbhStream *stream, gpointer owner)
{
	GrpcTransport *transport = owner;
	NbhGrpcChannel *channel = transport->channel;
	guint8 block[READ_BLOCK_BYTES];

	(void)stream;
	g_rc_box_acquire(transport);
	nbh_grpc_pace_begin(channel);
	for (guint i = 0; i < READ_BLOCKS_MAX; i++) {
		gssize n = nbh_stream_read(transport->stream, block, sizeof(block));

		if (n <= 0 || !feed(transport, block, (gsize)n))
			break;
	}
	if (!transport->is_dead)
		flush(transport); /* PINGs are answered before anything else happens */
	deliver_paced(transport, channel);
	transport_unref(transport);
}

static void on_writable(NbhStream *stream, gpointer owner)
{
	(void)stream;
	flush(owner);
}

static void on_closed(NbhStream *stream, const char *error, gpointer owner)
{
	GrpcTransport *transport = owner;
	NbhGrpcChannel *channel = transport->channel;
	(void)stream;
	if (transport->first->len > 0) {
		g_autofree char *foreign = foreign_greeting(transport->first);

		fail_foreign(transport, foreign);
	} else {
		fail(transport, why_ended(transport, error));
	}
	nbh_grpc_deliver(channel);
}

static const NbhStreamEvents stream_events = { on_up, on_readable, on_writable, on_closed };

static void connect_stream(GrpcTransport *transport)
{
	NbhGrpcChannel *channel = transport->channel;

	transport->stream = nbh_dial_connect(channel->dial, channel->host, channel->port, channel->tls,
					     CONNECT_MS, &stream_events, transport);
}

GrpcTransport *nbh_grpc_transport_new(NbhGrpcChannel *channel)
{
	GrpcTransport *transport = g_rc_box_new0(GrpcTransport);

	transport->channel = channel;
	transport->link.data = transport;
	transport->first = g_byte_array_new();
	transport->out = g_byte_array_new();
	g_queue_push_tail_link(&channel->transports, &transport->link);
	connect_stream(transport);
	return transport;
}

static gboolean on_probe_again(gpointer data)
{
	GrpcTransport *transport = data;

	transport->probe_id = 0;
	ping(transport, transport->channel->probe_ack_ms);
	return G_SOURCE_REMOVE;
}

void nbh_grpc_transport_probe(GrpcTransport *transport)
{
	gint64 since_ms = (g_get_monotonic_time() - transport->pinged_usec) / 1000;

	if (!transport->is_up) {
		/* The attempt may hang on a route that is gone. */
		nbh_stream_free(transport->stream);
		connect_stream(transport);
		return;
	}
	if (nbh_stream_is_stranded(transport->stream)) {
		fail(transport, "the network has changed");
		return;
	}
	if (!transport->has_settings || transport->probe_id)
		return;
	if (!transport->pinged_usec || since_ms >= PING_MIN_INTERVAL_MS)
		transport->n_fast_pings = 0;
	else if (!transport->ack_id && ++transport->n_fast_pings > FAST_PINGS_MAX) {
		transport->probe_id = g_timeout_add((guint)(PING_MIN_INTERVAL_MS - since_ms),
						    on_probe_again, transport);
		return;
	}
	ping(transport, transport->channel->probe_ack_ms);
}
