#include "config.h"

#include "net/grpc-private.h"

#include "base/limits.h"

#include <malloc.h>
#include <string.h>

#define PREFIX_LEN 5         /* compressed flag, length: the message framing of gRPC */
#define TEXT_MAX_CHARS 300   /* of a status message from the server */
#define KEEP_BUFFER_BYTES 65536
#define LARGE_BYTES (1024 * 1024)

/* glibc would keep the memory of the largest message for the next one. */
static void input_free(GByteArray *in)
{
	gboolean was_large = in->len > LARGE_BYTES;

	g_byte_array_unref(in);
	if (was_large)
		(void)malloc_trim(0);
}

static void call_destroy(gpointer data)
{
	NbhGrpcCall *call = data;

	g_clear_pointer(&call->reply, g_bytes_unref);
	g_free(call->path);
	g_strfreev(call->headers);
	g_byte_array_unref(call->request);
	g_hash_table_unref(call->response);
	input_free(call->in);
	g_free(call->message);
}

void nbh_grpc_call_unref(NbhGrpcCall *call)
{
	g_rc_box_release_full(call, call_destroy);
}

static gboolean on_deadline(gpointer data)
{
	NbhGrpcCall *call = data;
	NbhGrpcChannel *channel = call->channel;
	const char *what = call->transport && call->transport->stream
				   ? nbh_stream_missing(call->transport->stream)
				   : "no connection";

	call->deadline_id = 0;
	nbh_grpc_call_end(call, NBH_GRPC_DEADLINE_EXCEEDED,
			  g_strdup_printf("%s: %s in time", channel->authority, what));
	nbh_grpc_deliver(channel);
	return G_SOURCE_REMOVE;
}

static GByteArray *frame_message(GBytes *message)
{
	GByteArray *framed = g_byte_array_new();
	guint8 prefix[PREFIX_LEN] = { 0 };
	gsize len;
	const guint8 *data;

	if (!message)
		return framed;
	data = g_bytes_get_data(message, &len);
	for (guint i = 0; i < 4; i++)
		prefix[1 + i] = (guint8)(len >> (24 - 8 * i));
	g_byte_array_append(framed, prefix, sizeof(prefix));
	if (len)
		g_byte_array_append(framed, data, (guint)len);
	return framed;
}

NbhGrpcCall *nbh_grpc_call_new(NbhGrpcChannel *channel, const char *method,
                               const char *const *headers, GBytes *message, gboolean half_close,
                               guint deadline_ms)
{
	NbhGrpcCall *call = g_rc_box_new0(NbhGrpcCall);

	call->channel = channel;
	call->transport_link.data = call;
	call->ready_link.data = call;
	call->path = g_strdup(method);
	call->headers = g_strdupv((char **)headers);
	call->half_close = half_close;
	call->response = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	call->in = g_byte_array_new();
	call->request = frame_message(message);
	channel->unsent_bytes += call->request->len;
	channel->n_calls++;
	if (deadline_ms) {
		call->deadline_usec = g_get_monotonic_time() + (gint64)deadline_ms * 1000;
		call->deadline_id = g_timeout_add(deadline_ms, on_deadline, call);
	}
	return call;
}

static void clear_deadline(NbhGrpcCall *call)
{
	if (call->deadline_id)
		g_source_remove(call->deadline_id);
	call->deadline_id = 0;
}

/* The stream is no concern of the call any more. */
static void leave_transport(NbhGrpcCall *call)
{
	if (call->transport)
		nbh_grpc_transport_remove(call->transport, call);
	call->channel->unsent_bytes -= call->request->len - call->request_sent;
	call->request_sent = call->request->len;
}

void nbh_grpc_call_drop(NbhGrpcCall *call)
{
	if (call->is_gone)
		return;
	call->is_gone = TRUE;
	clear_deadline(call);
	leave_transport(call);
	if (call->is_ready)
		g_queue_unlink(&call->channel->ready, &call->ready_link);
	call->is_ready = FALSE;
	call->channel->n_calls--;
	call->channel->input_bytes -= call->in->len;
	nbh_grpc_call_unref(call);
}

void nbh_grpc_call_end(NbhGrpcCall *call, int status, char *message)
{
	if (call->has_ended || call->is_gone) {
		g_free(message);
		return;
	}
	call->has_ended = TRUE;
	call->status = status;
	call->message = message;
	clear_deadline(call);
	leave_transport(call);
	nbh_grpc_call_ready(call);
}

static ssize_t read_request(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t size,
                            uint32_t *ret_flags, nghttp2_data_source *source, void *transport)
{
	NbhGrpcCall *call = nghttp2_session_get_stream_user_data(session, stream_id);
	gsize n;

	(void)source;
	(void)transport;
	if (!call)
		return NGHTTP2_ERR_DEFERRED; /* cancelled: RST_STREAM is on its way */
	n = MIN(size, call->request->len - call->request_sent);
	if (n > 0)
		memcpy(buf, call->request->data + call->request_sent, n);
	call->request_sent += n;
	call->channel->unsent_bytes -= n;
	if (call->request_sent == call->request->len) {
		if (call->half_close)
			*ret_flags |= NGHTTP2_DATA_FLAG_EOF;
		else if (n == 0)
			return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

static void add_nv(GArray *list, const char *name, const char *value)
{
	nghttp2_nv nv = { (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
			  NGHTTP2_NV_FLAG_NONE };

	g_array_append_val(list, nv);
}

int nbh_grpc_call_submit(NbhGrpcCall *call, nghttp2_session *session)
{
	g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(nghttp2_nv));
	nghttp2_data_provider body = { .read_callback = read_request };
	char timeout[16];
	int32_t stream_id;

	add_nv(list, ":method", "POST");
	add_nv(list, ":scheme", call->channel->tls ? "https" : "http");
	add_nv(list, ":path", call->path);
	add_nv(list, ":authority", call->channel->authority);
	add_nv(list, "content-type", "application/grpc");
	add_nv(list, "user-agent", PACKAGE_NAME "/" PACKAGE_VERSION);
	add_nv(list, "te", "trailers");
	if (call->deadline_usec) {
		gint64 left_ms = (call->deadline_usec - g_get_monotonic_time()) / 1000;

		/* At most eight digits: gRPC over HTTP2, "Timeout". */
		g_snprintf(timeout, sizeof(timeout), "%dm", (int)CLAMP(left_ms, 1, 99999999));
		add_nv(list, "grpc-timeout", timeout);
	}
	for (char **pair = call->headers; pair && pair[0] && pair[1]; pair += 2)
		add_nv(list, pair[0], pair[1]);
	stream_id = nghttp2_submit_request(session, NULL, &g_array_index(list, nghttp2_nv, 0),
					   list->len, &body, call);
	if (stream_id < 0)
		return stream_id;
	call->stream_id = stream_id;
	return 0;
}

/* Ends the stream with a status of our own; the rest follows when nghttp2 closes it. */
static void refuse(NbhGrpcCall *call, int status, const char *message)
{
	if (call->own_status)
		return;
	call->own_status = status;
	call->own_message = message;
	nghttp2_submit_rst_stream(call->transport->session, NGHTTP2_FLAG_NONE, call->stream_id,
				  NGHTTP2_CANCEL);
}

void nbh_grpc_call_on_header(NbhGrpcCall *call, const char *name, gsize name_len, const char *value, gsize value_len)
{
	/* 32 per entry: RFC 9113 6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE. */
	call->response_bytes += name_len + value_len + 32;
	if (call->response_bytes > NBH_GRPC_HEADERS_MAX_BYTES) {
		refuse(call, NBH_GRPC_RESOURCE_EXHAUSTED, "the response headers are too large");
		return;
	}
	if (name_len == 7 && memcmp(name, ":status", 7) == 0)
		call->http_status = (guint)g_ascii_strtoull(value, NULL, 10);
	else
		g_hash_table_replace(call->response, g_strndup(name, name_len), g_strndup(value, value_len));
}

void nbh_grpc_call_on_headers_end(NbhGrpcCall *call, gboolean end_stream)
{
	if (call->has_headers)
		return; /* trailers */
	if (call->http_status < 200) {
		call->http_status = 0; /* interim response: RFC 9110 15.2 */
		return;
	}
	call->has_headers = TRUE;
	if (end_stream)
		return;
	call->headers_due = TRUE;
	nbh_grpc_call_ready(call);
}

static gboolean is_grpc(const NbhGrpcCall *call)
{
	const char *type = g_hash_table_lookup(call->response, "content-type");
	const char *const prefix = "application/grpc";

	if (!type || !g_str_has_prefix(type, prefix))
		return FALSE;
	type += strlen(prefix);
	return *type == '\0' || *type == '+' || *type == ';';
}

/* Length of the message whose prefix is at data. */
static gsize message_len(const guint8 *data)
{
	return (gsize)data[1] << 24 | (gsize)data[2] << 16 | (gsize)data[3] << 8 | data[4];
}

void nbh_grpc_call_on_data(NbhGrpcCall *call, const guint8 *data, gsize len)
{
	if (call->own_status || !is_grpc(call))
		return; /* an error page: on_close says so */
	g_byte_array_append(call->in, data, (guint)len);
	call->channel->input_bytes += len;
	if (call->channel->input_bytes > NBH_GRPC_INPUT_MAX_BYTES)
		refuse(call, NBH_GRPC_RESOURCE_EXHAUSTED, "the server sends too many large messages at once");
	while (call->in->len >= call->in_checked + PREFIX_LEN) {
		const guint8 *prefix = call->in->data + call->in_checked;

		if (prefix[0]) {
			refuse(call, NBH_GRPC_INTERNAL, "the server sent a compressed message");
			break;
		}
		if (message_len(prefix) > NBH_GRPC_MESSAGE_MAX_BYTES) {
			refuse(call, NBH_GRPC_RESOURCE_EXHAUSTED,
			       "the server sent a message larger than 16 MiB");
			break;
		}
		call->in_checked += PREFIX_LEN + message_len(prefix);
	}
	nbh_grpc_call_ready(call);
}

/* Percent-decodes and makes the text fit for logs and terminals. */
static char *clean_text(const char *value)
{
	g_autoptr(GString) decoded = g_string_new(NULL);
	g_autoptr(GString) clean = g_string_new(NULL);
	g_autofree char *valid = NULL;
	guint n_chars = 0;

	for (const char *p = value; *p; p++) {
		if (p[0] == '%' && g_ascii_isxdigit(p[1]) && g_ascii_isxdigit(p[2])) {
			g_string_append_c(decoded, (char)(g_ascii_xdigit_value(p[1]) * 16 +
							  g_ascii_xdigit_value(p[2])));
			p += 2;
		} else {
			g_string_append_c(decoded, *p);
		}
	}
	valid = g_utf8_make_valid(decoded->str, (gssize)decoded->len);
	for (const char *p = valid; *p && n_chars < TEXT_MAX_CHARS; p = g_utf8_next_char(p), n_chars++) {
		gunichar c = g_utf8_get_char(p);

		g_string_append_unichar(clean, g_unichar_isprint(c) ? c : '?');
	}
	return g_strdup(clean->str);
}

static int parse_status(const char *text)
{
	guint64 status = 0;

	if (!g_ascii_string_to_unsigned(text, 10, 0, 1000, &status, NULL))
		return NBH_GRPC_UNKNOWN;
	return (int)status;
}

/* A stream that closed without a grpc-status. */
static void end_by_reset(NbhGrpcCall *call, guint32 error_code)
{
	const char *authority = call->channel->authority;
	const char *reason = nghttp2_http2_strerror(error_code);

	switch (error_code) {
	case NGHTTP2_NO_ERROR: /* how the official main port stops: interop.md rule 14 */
		nbh_grpc_call_end(call, NBH_GRPC_UNAVAILABLE,
				  g_strdup_printf("%s: the server ended the stream", authority));
		break;
	case NGHTTP2_CANCEL:
		nbh_grpc_call_end(call, NBH_GRPC_CANCELLED,
				  g_strdup_printf("%s: the server cancelled the call", authority));
		break;
	case NGHTTP2_REFUSED_STREAM:
		nbh_grpc_call_end(call, NBH_GRPC_UNAVAILABLE,
				  g_strdup_printf("%s: %s", authority,
						  call->transport->goaway ? call->transport->goaway
									  : "the server refused the call"));
		break;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		nbh_grpc_call_end(call, NBH_GRPC_RESOURCE_EXHAUSTED,
				  g_strdup_printf("%s: the server is overloaded (%s)", authority, reason));
		break;
	default:
		nbh_grpc_call_end(call, NBH_GRPC_INTERNAL,
				  g_strdup_printf("%s: the stream was reset (%s)", authority, reason));
		break;
	}
}

/*
 * gRPC's own table (doc/http-grpc-status-mapping.md), but that 401 and 403 come from a proxy that
 * knows nothing of peers: only a real grpc-status may say that a peer is refused.
 */
static int status_of_http(guint http_status)
{
	switch (http_status) {
	case 400:
		return NBH_GRPC_INTERNAL;
	case 404:
		return NBH_GRPC_UNIMPLEMENTED;
	case 401:
	case 403:
	case 429:
	case 502:
	case 503:
	case 504:
		return NBH_GRPC_UNAVAILABLE;
	default:
		return NBH_GRPC_UNKNOWN;
	}
}

/* A response that is no gRPC: a proxy's error page, another web server. */
static void end_not_grpc(NbhGrpcCall *call)
{
	const char *type = g_hash_table_lookup(call->response, "content-type");
	g_autofree char *clean = clean_text(type ? type : "");
	const char *authority = call->channel->authority;

	if (call->http_status != 200)
		nbh_grpc_call_end(call, status_of_http(call->http_status),
				  g_strdup_printf("%s answered HTTP %u, not gRPC", authority,
						  call->http_status));
	else
		nbh_grpc_call_end(call, NBH_GRPC_UNIMPLEMENTED,
				  g_strdup_printf("%s answered with content type \"%s\", not gRPC",
						  authority, clean));
}

static gboolean retry(NbhGrpcCall *call)
{
	if (call->was_retried || call->has_headers || call->channel->is_freed)
		return FALSE;
	call->was_retried = TRUE;
	call->never_processed = FALSE;
	call->stream_id = 0;
	call->channel->unsent_bytes += call->request_sent;
	call->request_sent = 0;
	nbh_grpc_transport_remove(call->transport, call);
	nbh_grpc_transport_add(nbh_grpc_current_transport(call->channel), call);
	return TRUE;
}

/* nghttp2 closed the stream, so nobody may reset it any more. */
void nbh_grpc_call_on_close(NbhGrpcCall *call, guint32 error_code)
{
	const char *status = g_hash_table_lookup(call->response, "grpc-status");
	const char *text = g_hash_table_lookup(call->response, "grpc-message");

	call->stream_id = 0;
	/* REFUSED_STREAM, also for ids above the last one of a GOAWAY: RFC 9113 8.7. */
	if (!call->own_status && (call->never_processed || error_code == NGHTTP2_REFUSED_STREAM) &&
	    retry(call))
		return;
	if (call->own_status)
		nbh_grpc_call_end(call, call->own_status, g_strdup_printf("%s: %s", call->channel->authority,
									  call->own_message));
	else if (call->has_headers && (!is_grpc(call) || (call->http_status != 200 && !status)))
		end_not_grpc(call);
	else if (!status)
		end_by_reset(call, error_code);
	else if (parse_status(status) == NBH_GRPC_OK && call->in->len != call->in_checked)
		nbh_grpc_call_end(call, NBH_GRPC_INTERNAL,
				  g_strdup_printf("%s: the last message is incomplete", call->channel->authority));
	else
		nbh_grpc_call_end(call, parse_status(status), text ? clean_text(text) : g_strdup(""));
}

/* A unary call has exactly one answer; deliver_done() looks at the number when it has ended already. */
static void take_reply(NbhGrpcCall *call, const guint8 *data, gsize len)
{
	if (++call->n_replies == 1)
		call->reply = g_bytes_new(data, len);
	else
		nbh_grpc_call_end(call, NBH_GRPC_INTERNAL,
				  g_strdup_printf("%s: more than one answer", call->channel->authority));
}

static void deliver_messages(NbhGrpcCall *call)
{
	gsize pos = 0;

	while (!call->is_gone && call->in->len >= pos + PREFIX_LEN) {
		const guint8 *prefix = call->in->data + pos;
		gsize len = message_len(prefix);

		if (prefix[0] || len > NBH_GRPC_MESSAGE_MAX_BYTES || call->in->len - pos - PREFIX_LEN < len)
			break;
		pos += PREFIX_LEN + len;
		if (!call->events)
			take_reply(call, prefix + PREFIX_LEN, len);
		else if (call->events->on_message)
			call->events->on_message(call, prefix + PREFIX_LEN, len, call->owner);
	}
	if (call->is_gone || pos == 0)
		return;
	if (pos == call->in->len && pos > KEEP_BUFFER_BYTES) {
		input_free(call->in);
		call->in = g_byte_array_new();
	} else {
		g_byte_array_remove_range(call->in, 0, (guint)pos);
	}
	call->in_checked -= pos;
	call->channel->input_bytes -= pos;
}

static void deliver_done(NbhGrpcCall *call)
{
	const NbhGrpcEvents *events = call->events;

	/* Kept by the reference of nbh_grpc_call_deliver(). */
	nbh_grpc_call_drop(call);
	if (events) {
		if (events->on_done)
			events->on_done(call, call->status, call->message, call->owner);
		return;
	}
	if (call->status == NBH_GRPC_OK && call->n_replies != 1)
		call->on_reply(NBH_GRPC_INTERNAL, call->reply ? "more than one answer" : "no answer", NULL,
			       call->owner);
	else
		call->on_reply(call->status, call->message,
			       call->status == NBH_GRPC_OK ? call->reply : NULL, call->owner);
}

void nbh_grpc_call_deliver(NbhGrpcCall *call)
{
	g_rc_box_acquire(call);
	if (call->headers_due) {
		call->headers_due = FALSE;
		if (call->events && call->events->on_headers)
			call->events->on_headers(call, call->owner);
	}
	deliver_messages(call);
	if (call->has_ended && !call->is_gone)
		deliver_done(call);
	nbh_grpc_call_unref(call);
}

const char *nbh_grpc_call_header(NbhGrpcCall *call, const char *name)
{
	return g_hash_table_lookup(call->response, name);
}

void nbh_grpc_call_cancel(NbhGrpcCall *call)
{
	if (call)
		nbh_grpc_call_drop(call);
}
