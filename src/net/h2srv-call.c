/* One call of the gRPC server: h2srv-private.h has the picture. */

#include "config.h"

#include "net/h2srv-private.h"

#include "base/limits.h"

#include <string.h>

#define STATUS_MESSAGE_MAX_BYTES 1024
#define PREFIX_BYTES 5 /* gRPC: compressed flag, length */

NbhH2srvCall *nbh_h2srv_call_new(NbhH2srv *conn, int32_t id)
{
	NbhH2srvCall *call = g_new0(NbhH2srvCall, 1);

	call->conn = conn;
	call->id = id;
	call->headers = g_ptr_array_new_with_free_func(g_free);
	return call;
}

void nbh_h2srv_call_free(NbhH2srvCall *call)
{
	if (call->out)
		call->conn->queued_bytes -= call->out->len - call->out_off;
	if (call->in)
		call->conn->waiting_bytes -= call->in->len;
	g_clear_pointer(&call->in, g_byte_array_unref);
	g_clear_pointer(&call->out, g_byte_array_unref);
	g_ptr_array_unref(call->headers);
	g_free(call->path);
	g_free(call->method);
	g_free(call->content_type);
	g_free(call->message);
	g_free(call);
}

void nbh_h2srv_call_gone(NbhH2srvCall *call)
{
	if (call->gone)
		return;
	call->gone = TRUE;
	call->finished = TRUE;
	if (call->announced)
		call->conn->events->on_gone(call, call->conn->owner);
}

/* Percent-encoding of grpc-message (gRPC over HTTP/2, "Responses"). */
static char *encode_message(const char *text)
{
	GString *out = g_string_new(NULL);

	for (const char *p = text; *p && out->len < STATUS_MESSAGE_MAX_BYTES; p++) {
		if (*p < ' ' || *p > '~' || *p == '%')
			g_string_append_printf(out, "%%%02X", (guint)(guint8)*p);
		else
			g_string_append_c(out, *p);
	}
	return g_string_free(out, FALSE);
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
			     NGHTTP2_NV_FLAG_NONE };
}

static gsize status_headers(const NbhH2srvCall *call, char *number, gsize number_size,
			    nghttp2_nv *headers)
{
	gsize n = 0;

	g_snprintf(number, number_size, "%d", call->status);
	headers[n++] = nv("grpc-status", number);
	if (call->message)
		headers[n++] = nv("grpc-message", call->message);
	return n;
}

static gsize take_output(NbhH2srvCall *call, uint8_t *buf, gsize size)
{
	gsize n;

	if (!call->out)
		return 0;
	n = MIN(size, call->out->len - call->out_off);
	memcpy(buf, call->out->data + call->out_off, n);
	call->out_off += n;
	call->conn->queued_bytes -= n;
	if (call->out_off == call->out->len) {
		g_clear_pointer(&call->out, g_byte_array_unref);
		call->out_off = 0;
	}
	return n;
}

static ssize_t on_want_data(nghttp2_session *session, int32_t id, uint8_t *buf, size_t size,
			    uint32_t *flags, nghttp2_data_source *source, void *data)
{
	NbhH2srvCall *call = source->ptr;
	gsize n = take_output(call, buf, size);

	(void)data;
	if (call->out)
		return (ssize_t)n;
	if (call->finished) {
		char number[16];
		nghttp2_nv trailers[2];
		gsize n_trailers = status_headers(call, number, sizeof(number), trailers);

		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		nghttp2_submit_trailer(session, id, trailers, n_trailers);
		return (ssize_t)n;
	}
	if (n == 0) {
		call->deferred = TRUE;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

static void resume(NbhH2srvCall *call)
{
	if (call->deferred) {
		call->deferred = FALSE;
		nghttp2_session_resume_data(call->conn->session, call->id);
	}
	nbh_h2srv_flush_soon(call->conn);
}

/* The client has to take what is left; h2srv.c looks at how long that takes. */
static void set_finished(NbhH2srvCall *call)
{
	call->finished = TRUE;
	call->finished_usec = g_get_monotonic_time();
}

/* Not gRPC: an HTTP status alone. */
static void refuse_http(NbhH2srvCall *call, const char *status)
{
	nghttp2_nv headers[] = { nv(":status", status) };

	set_finished(call);
	nghttp2_submit_response(call->conn->session, call->id, headers, 1, NULL);
}

gboolean nbh_h2srv_call_on_header(NbhH2srvCall *call, const uint8_t *name, gsize name_len,
				  const uint8_t *value, gsize value_len)
{
	g_autofree char *name_text = NULL;
	g_autofree char *value_text = NULL;

	/* RFC 9113 10.5.1: a field counts 32 bytes more than its text. */
	call->header_bytes += name_len + value_len + 32;
	if (call->header_bytes > NBH_H2SRV_HEADERS_MAX_BYTES)
		return FALSE;
	name_text = g_strndup((const char *)name, name_len);
	value_text = g_strndup((const char *)value, value_len);
	if (strcmp(name_text, ":path") == 0) {
		g_free(call->path);
		call->path = g_steal_pointer(&value_text);
	} else if (strcmp(name_text, ":method") == 0) {
		g_free(call->method);
		call->method = g_steal_pointer(&value_text);
	} else if (strcmp(name_text, "content-type") == 0) {
		g_free(call->content_type);
		call->content_type = g_steal_pointer(&value_text);
	} else if (name_text[0] != ':') {
		g_ptr_array_add(call->headers, g_steal_pointer(&name_text));
		g_ptr_array_add(call->headers, g_steal_pointer(&value_text));
	}
	return TRUE;
}

static gboolean is_grpc(const NbhH2srvCall *call)
{
	const char *rest;

	if (!call->path || g_strcmp0(call->method, "POST") != 0 || !call->content_type ||
	    !g_str_has_prefix(call->content_type, "application/grpc"))
		return FALSE;
	rest = call->content_type + strlen("application/grpc");
	return *rest == '\0' || *rest == '+' || *rest == ';';
}

void nbh_h2srv_call_on_request(NbhH2srvCall *call)
{
	NbhH2srv *conn = call->conn;

	if (!is_grpc(call)) {
		refuse_http(call, "415");
		return;
	}
	call->announced = TRUE;
	conn->events->on_call(call, call->path, conn->owner);
}

/* Hands out each complete message; returns how many bytes were used. */
static gsize split_messages(NbhH2srvCall *call, const guint8 *data, gsize len)
{
	NbhH2srv *conn = call->conn;
	gsize used = 0;

	while (!call->finished && !conn->freed && len - used >= PREFIX_BYTES) {
		const guint8 *p = data + used;
		gsize size = (gsize)p[1] << 24 | (gsize)p[2] << 16 | (gsize)p[3] << 8 | p[4];

		if (p[0] != 0) {
			nbh_h2srv_finish(call, 12, "compressed messages are not supported");
			break;
		}
		if (size > NBH_H2SRV_MESSAGE_MAX_BYTES) {
			nbh_h2srv_finish(call, 8, "the message is too large");
			break;
		}
		if (len - used - PREFIX_BYTES < size)
			break;
		used += PREFIX_BYTES + size;
		conn->events->on_message(call, p + PREFIX_BYTES, size, conn->owner);
	}
	return used;
}

/* The rest of an incomplete message waits for more. Takes in. */
static void keep_input(NbhH2srvCall *call, GByteArray *in)
{
	NbhH2srv *conn = call->conn;

	/* All streams together: each alone may be as large as the largest message. */
	if (in->len > NBH_H2SRV_INPUT_MAX_BYTES - conn->waiting_bytes) {
		g_byte_array_unref(in);
		nbh_h2srv_finish(call, 8, "too many incomplete messages on this connection");
		return;
	}
	call->in = in;
	conn->waiting_bytes += in->len;
}

void nbh_h2srv_call_on_data(NbhH2srvCall *call, const guint8 *data, gsize len)
{
	GByteArray *in;
	gsize used;

	if (!call->announced || call->finished || len == 0)
		return;
	/* Mostly a message comes whole; then nothing is copied. */
	if (!call->in) {
		used = split_messages(call, data, len);
		if (used < len && !call->finished) {
			in = g_byte_array_new();
			g_byte_array_append(in, data + used, (guint)(len - used));
			keep_input(call, in);
		}
		return;
	}
	in = g_steal_pointer(&call->in);
	call->conn->waiting_bytes -= in->len;
	g_byte_array_append(in, data, (guint)len);
	used = split_messages(call, in->data, in->len);
	if (used < in->len && !call->finished) {
		if (used)
			g_byte_array_remove_range(in, 0, (guint)used);
		keep_input(call, in);
	} else {
		g_byte_array_unref(in);
	}
}

void nbh_h2srv_call_on_half_close(NbhH2srvCall *call)
{
	NbhH2srv *conn = call->conn;

	call->half_closed = TRUE;
	if (call->finished || conn->freed)
		return;
	if (call->in)
		nbh_h2srv_finish(call, 13, "the request ends inside a message");
	else
		conn->events->on_half_close(call, conn->owner);
}

const char *nbh_h2srv_call_header(NbhH2srvCall *call, const char *name)
{
	for (guint i = 0; i + 1 < call->headers->len; i += 2)
		if (strcmp(call->headers->pdata[i], name) == 0)
			return call->headers->pdata[i + 1];
	return NULL;
}

void nbh_h2srv_call_set_data(NbhH2srvCall *call, gpointer data)
{
	call->data = data;
}

gpointer nbh_h2srv_call_data(NbhH2srvCall *call)
{
	return call->data;
}

void nbh_h2srv_headers(NbhH2srvCall *call, const char *name, const char *value)
{
	nghttp2_data_provider provider = { .source.ptr = call, .read_callback = on_want_data };
	nghttp2_nv headers[3] = { nv(":status", "200"), nv("content-type", "application/grpc") };
	gsize n = 2;

	if (call->started || call->finished || call->conn->dead)
		return;
	call->started = TRUE;
	if (name)
		headers[n++] = nv(name, value);
	if (nghttp2_submit_response(call->conn->session, call->id, headers, n, &provider))
		set_finished(call);
	nbh_h2srv_flush_soon(call->conn);
}

gboolean nbh_h2srv_send(NbhH2srvCall *call, const guint8 *data, gsize len)
{
	NbhH2srv *conn = call->conn;
	guint8 prefix[PREFIX_BYTES] = { 0, (guint8)(len >> 24), (guint8)(len >> 16),
					(guint8)(len >> 8), (guint8)len };

	if (call->finished || conn->dead || conn->freed ||
	    len > NBH_H2SRV_OUTPUT_MAX_BYTES - PREFIX_BYTES ||
	    conn->queued_bytes > NBH_H2SRV_OUTPUT_MAX_BYTES - PREFIX_BYTES - len)
		return FALSE;
	nbh_h2srv_headers(call, NULL, NULL);
	if (!call->out) {
		call->out = g_byte_array_sized_new((guint)(len + PREFIX_BYTES));
	} else if (call->out_off > call->out->len / 2) {
		g_byte_array_remove_range(call->out, 0, (guint)call->out_off);
		call->out_off = 0;
	}
	g_byte_array_append(call->out, prefix, PREFIX_BYTES);
	if (len)
		g_byte_array_append(call->out, data, (guint)len);
	conn->queued_bytes += len + PREFIX_BYTES;
	resume(call);
	return TRUE;
}

gsize nbh_h2srv_queued(NbhH2srvCall *call)
{
	return call->out ? call->out->len - call->out_off : 0;
}

void nbh_h2srv_finish(NbhH2srvCall *call, int status, const char *message)
{
	char number[16];
	nghttp2_nv headers[4] = { nv(":status", "200"), nv("content-type", "application/grpc") };

	if (call->finished || call->conn->dead || call->conn->freed)
		return;
	set_finished(call);
	call->status = status;
	call->message = message ? encode_message(message) : NULL;
	if (!call->started) {
		gsize n = status_headers(call, number, sizeof(number), headers + 2);

		call->started = TRUE;
		nghttp2_submit_response(call->conn->session, call->id, headers, 2 + n, NULL);
	}
	resume(call);
}
