/*
 * gRPC server on one accepted stream: nghttp2 frames the bytes, this file keeps the calls.
 *
 * Everything that nghttp2 calls runs between enter() and leave(); whoever frees the connection
 * from in there only marks it, and leave() destroys it. nghttp2_session_del() does not report open
 * streams, so the connection keeps its own list of calls and ends each itself (libraries.md 3.6).
 */

#include "config.h"

#include "net/h2srv.h"

#include "base/limits.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#define PING_AFTER_S 30
#define PONG_WITHIN_S 20
#define WINDOW_BYTES (1024 * 1024)
#define READ_BYTES (16 * 1024)
#define READS_PER_TURN 16              /* then other connections get their turn */
#define OUT_FILL_BYTES (32 * 1024)     /* frames made ahead of the socket */
#define STATUS_MESSAGE_MAX_BYTES 1024
#define PREFIX_BYTES 5                 /* gRPC: compressed flag, length */

struct _NbhH2srvCall {
	NbhH2srv *conn; /* borrowed: owns us */
	int32_t id;
	char *path, *method, *content_type;
	GPtrArray *headers; /* char *, owned: name, value, name, value */
	gsize header_bytes;
	gpointer data;
	GByteArray *in;  /* the incomplete message, owned; NULL when there is none */
	GByteArray *out; /* not yet taken by nghttp2, owned; NULL when empty */
	gsize out_off;
	gboolean announced; /* on_call has been called */
	gboolean gone;      /* on_gone has been called */
	gboolean started;   /* response headers are submitted */
	gboolean finished;  /* no more from us */
	gboolean half_closed;
	gboolean deferred; /* nghttp2 waits for resume_data() */
	int status;
	char *message;
};

struct _NbhH2srv {
	NbhStream *stream; /* owned */
	const NbhH2srvEvents *events;
	gpointer owner;
	nghttp2_session *session; /* owned */
	GQueue calls;             /* NbhH2srvCall, owned */
	GByteArray *first;        /* read by whoever sniffed, owned; NULL when used */
	GByteArray *out;          /* frames, not yet written; owned, NULL when empty */
	gsize out_off;
	gsize queued_bytes; /* over all calls */
	gsize waiting_bytes; /* of incomplete messages, over all calls */
	guint busy;         /* inside enter() and leave() */
	gboolean dead, freed, heard;
	GSource *flush, *closing, *ping, *pong, *again; /* owned */
};

static void clear_source(GSource **source)
{
	if (!*source)
		return;
	g_source_destroy(*source);
	g_source_unref(*source);
	*source = NULL;
}

static GSource *add_idle(GSourceFunc func, gpointer data)
{
	GSource *source = g_idle_source_new();

	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, func, data, NULL);
	g_source_attach(source, NULL);
	return source;
}

static GSource *add_timer(guint seconds, GSourceFunc func, gpointer data)
{
	GSource *source = g_timeout_source_new_seconds(seconds);

	g_source_set_callback(source, func, data, NULL);
	g_source_attach(source, NULL);
	return source;
}

static void call_free(NbhH2srvCall *call)
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

static void call_gone(NbhH2srvCall *call)
{
	if (call->gone)
		return;
	call->gone = TRUE;
	call->finished = TRUE;
	if (call->announced)
		call->conn->events->on_gone(call, call->conn->owner);
}

static void end_calls(NbhH2srv *conn)
{
	/* on_gone may free the connection, but while busy only leave() frees calls. */
	for (GList *l = conn->calls.head; l; l = l->next)
		call_gone(l->data);
}

static void destroy(NbhH2srv *conn)
{
	NbhH2srvCall *call;

	while ((call = g_queue_pop_head(&conn->calls)))
		call_free(call);
	nghttp2_session_del(conn->session);
	g_clear_pointer(&conn->first, g_byte_array_unref);
	g_clear_pointer(&conn->out, g_byte_array_unref);
	nbh_stream_free(conn->stream);
	g_free(conn);
}

static void enter(NbhH2srv *conn)
{
	conn->busy++;
}

static void leave(NbhH2srv *conn)
{
	if (--conn->busy == 0 && conn->freed)
		destroy(conn);
}

static gboolean on_closing(gpointer data)
{
	NbhH2srv *conn = data;

	clear_source(&conn->closing);
	enter(conn);
	end_calls(conn);
	if (!conn->freed)
		conn->events->on_closed(conn, conn->owner);
	leave(conn);
	return G_SOURCE_REMOVE;
}

/* The connection is over; the owner hears of it from the loop. */
static void die(NbhH2srv *conn)
{
	if (conn->dead || conn->freed)
		return;
	conn->dead = TRUE;
	clear_source(&conn->flush);
	clear_source(&conn->again);
	clear_source(&conn->ping);
	clear_source(&conn->pong);
	/* At once: unread bytes would wake the loop until the owner frees us. */
	g_clear_pointer(&conn->stream, nbh_stream_free);
	conn->closing = add_idle(on_closing, conn);
}

static void fill_output(NbhH2srv *conn)
{
	while (!conn->dead && !conn->freed) {
		const uint8_t *data;
		ssize_t n;

		if (conn->out && conn->out->len - conn->out_off >= OUT_FILL_BYTES)
			return;
		n = nghttp2_session_mem_send(conn->session, &data);
		if (n < 0)
			die(conn);
		if (n <= 0)
			return;
		if (!conn->out)
			conn->out = g_byte_array_new();
		g_byte_array_append(conn->out, data, (guint)n);
	}
}

/* Between enter() and leave(). Writes what the socket takes; the rest waits for on_writable. */
static void pump(NbhH2srv *conn)
{
	for (;;) {
		gssize n;

		fill_output(conn);
		if (conn->dead || conn->freed)
			return;
		if (!conn->out)
			break;
		n = nbh_stream_write(conn->stream, conn->out->data + conn->out_off,
				     conn->out->len - conn->out_off);
		if (n < 0)
			return; /* the stream's on_closed follows */
		if (n == 0)
			break;
		conn->out_off += (gsize)n;
		if (conn->out_off < conn->out->len) {
			g_byte_array_remove_range(conn->out, 0, (guint)conn->out_off);
		} else {
			/* GByteArray never shrinks: 32 KiB per idle connection would stay. */
			g_clear_pointer(&conn->out, g_byte_array_unref);
		}
		conn->out_off = 0;
	}
	nbh_stream_want_write(conn->stream, conn->out != NULL);
	if (!conn->out && !nghttp2_session_want_read(conn->session) &&
	    !nghttp2_session_want_write(conn->session))
		die(conn);
}

static gboolean on_flush(gpointer data)
{
	NbhH2srv *conn = data;

	clear_source(&conn->flush);
	enter(conn);
	pump(conn);
	leave(conn);
	return G_SOURCE_REMOVE;
}

/* Sends of one turn of the loop leave together, and no event comes from inside a call. */
static void flush_soon(NbhH2srv *conn)
{
	if (!conn->busy && !conn->flush && !conn->dead && !conn->freed)
		conn->flush = add_idle(on_flush, conn);
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
	flush_soon(call->conn);
}

/* Not gRPC: an HTTP status alone. */
static void refuse_http(NbhH2srvCall *call, const char *status)
{
	nghttp2_nv headers[] = { nv(":status", status) };

	call->finished = TRUE;
	nghttp2_submit_response(call->conn->session, call->id, headers, 1, NULL);
}

static NbhH2srvCall *find_call(nghttp2_session *session, int32_t id)
{
	return id ? nghttp2_session_get_stream_user_data(session, id) : NULL;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	NbhH2srv *conn = data;
	NbhH2srvCall *call;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	call = g_new0(NbhH2srvCall, 1);
	call->conn = conn;
	call->id = frame->hd.stream_id;
	call->headers = g_ptr_array_new_with_free_func(g_free);
	g_queue_push_tail(&conn->calls, call);
	nghttp2_session_set_stream_user_data(session, call->id, call);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *data)
{
	NbhH2srvCall *call = find_call(session, frame->hd.stream_id);
	g_autofree char *name_text = NULL;
	g_autofree char *value_text = NULL;

	(void)flags;
	(void)data;
	if (!call || frame->hd.type != NGHTTP2_HEADERS || call->announced)
		return 0;
	/* RFC 9113 10.5.1: a field counts 32 bytes more than its text. */
	call->header_bytes += name_len + value_len + 32;
	if (call->header_bytes > NBH_H2SRV_HEADERS_MAX_BYTES)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
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
	return 0;
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

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	NbhH2srv *conn = data;
	NbhH2srvCall *call = find_call(session, frame->hd.stream_id);

	conn->heard = TRUE;
	clear_source(&conn->pong); /* whatever arrived: it lives */
	if (!call || conn->freed)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		if (!is_grpc(call)) {
			refuse_http(call, "415");
		} else {
			call->announced = TRUE;
			conn->events->on_call(call, call->path, conn->owner);
		}
	}
	if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) ||
	    !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	call->half_closed = TRUE;
	if (call->finished || conn->freed)
		return 0;
	if (call->in)
		nbh_h2srv_finish(call, 13, "the request ends inside a message");
	else
		conn->events->on_half_close(call, conn->owner);
	return 0;
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

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *conn_data)
{
	NbhH2srvCall *call = find_call(session, id);
	GByteArray *in;
	gsize used;

	(void)flags;
	(void)conn_data;
	if (!call || !call->announced || call->finished || len == 0)
		return 0;
	/* Mostly a message comes whole; then nothing is copied. */
	if (!call->in) {
		used = split_messages(call, data, len);
		if (used < len && !call->finished) {
			in = g_byte_array_new();
			g_byte_array_append(in, data + used, (guint)(len - used));
			keep_input(call, in);
		}
		return 0;
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
	return 0;
}

/*
 * A client that has not half-closed gets RST_STREAM(NO_ERROR), but only after the trailers are
 * out: nghttp2 lets a RST overtake queued HEADERS, and grpc-go then reports Internal instead of
 * our status (libraries.md 3.6).
 */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	NbhH2srvCall *call;

	(void)data;
	if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	call = find_call(session, frame->hd.stream_id);
	if (call && !call->half_closed)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
					  NGHTTP2_NO_ERROR);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
	NbhH2srv *conn = data;
	NbhH2srvCall *call = find_call(session, id);

	(void)code;
	if (!call)
		return 0;
	nghttp2_session_set_stream_user_data(session, id, NULL);
	call_gone(call);
	g_queue_remove(&conn->calls, call);
	call_free(call);
	return 0;
}

static void feed(NbhH2srv *conn, const guint8 *data, gsize len)
{
	if (!conn->dead && !conn->freed && nghttp2_session_mem_recv(conn->session, data, len) < 0)
		die(conn);
}

/* TRUE: there may be more, but others get their turn first. */
static gboolean read_input(NbhH2srv *conn)
{
	gboolean more = FALSE;
	guint8 buf[READ_BYTES];

	enter(conn);
	if (conn->first) {
		g_autoptr(GByteArray) first = g_steal_pointer(&conn->first);

		feed(conn, first->data, first->len);
	}
	for (guint i = 0; !conn->dead && !conn->freed; i++) {
		gssize n;

		if (i == READS_PER_TURN) {
			more = TRUE;
			break;
		}
		n = nbh_stream_read(conn->stream, buf, sizeof(buf));
		if (n <= 0)
			break;
		feed(conn, buf, (gsize)n);
	}
	if (!conn->freed)
		pump(conn);
	if (conn->dead || conn->freed)
		more = FALSE;
	leave(conn);
	return more;
}

static gboolean on_again(gpointer data)
{
	NbhH2srv *conn = data;

	clear_source(&conn->again);
	if (read_input(conn))
		conn->again = add_idle(on_again, conn);
	return G_SOURCE_REMOVE;
}

static void on_readable(NbhStream *stream, gpointer data)
{
	NbhH2srv *conn = data;

	(void)stream;
	if (!conn->again && read_input(conn))
		conn->again = add_idle(on_again, conn);
}

static void on_writable(NbhStream *stream, gpointer data)
{
	NbhH2srv *conn = data;

	(void)stream;
	enter(conn);
	pump(conn);
	leave(conn);
}

static void on_stream_closed(NbhStream *stream, const char *error, gpointer data)
{
	(void)stream;
	(void)error;
	die(data);
}

static void on_stream_up(NbhStream *stream, gpointer data)
{
	(void)stream;
	(void)data;
}

static const NbhStreamEvents stream_events = {
	.on_up = on_stream_up,
	.on_readable = on_readable,
	.on_writable = on_writable,
	.on_closed = on_stream_closed,
};

static gboolean on_no_pong(gpointer data)
{
	NbhH2srv *conn = data;

	clear_source(&conn->pong);
	die(conn);
	return G_SOURCE_REMOVE;
}

static gboolean on_ping_time(gpointer data)
{
	NbhH2srv *conn = data;

	if (!conn->heard && !conn->pong) {
		nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL);
		conn->pong = add_timer(PONG_WITHIN_S, on_no_pong, conn);
		flush_soon(conn);
	}
	conn->heard = FALSE;
	return G_SOURCE_CONTINUE;
}

static nghttp2_session *make_session(NbhH2srv *conn)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, NBH_H2SRV_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, NBH_H2SRV_HEADERS_MAX_BYTES },
	};
	nghttp2_session *session = NULL;
	nghttp2_session_callbacks *callbacks = NULL;

	if (nghttp2_session_callbacks_new(&callbacks))
		g_error("nghttp2: out of memory");
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	if (nghttp2_session_server_new(&session, callbacks, conn))
		g_error("nghttp2: out of memory");
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, G_N_ELEMENTS(settings));
	nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES);
	return session;
}

NbhH2srv *nbh_h2srv_new(NbhStream *stream, const guint8 *first, gsize n_first,
			const NbhH2srvEvents *events, gpointer owner)
{
	NbhH2srv *conn = g_new0(NbhH2srv, 1);

	conn->stream = stream;
	conn->events = events;
	conn->owner = owner;
	conn->session = make_session(conn);
	conn->ping = add_timer(PING_AFTER_S, on_ping_time, conn);
	nbh_stream_set_events(stream, &stream_events, conn);
	/* Calls may follow the preface at once, but the owner does not know us yet. */
	conn->first = g_byte_array_new();
	g_byte_array_append(conn->first, first, (guint)n_first);
	conn->again = add_idle(on_again, conn);
	return conn;
}

NbhStream *nbh_h2srv_stream(NbhH2srv *conn)
{
	return conn->stream;
}

void nbh_h2srv_shutdown(NbhH2srv *conn)
{
	if (conn->dead || conn->freed)
		return;
	nghttp2_session_terminate_session(conn->session, NGHTTP2_NO_ERROR);
	flush_soon(conn);
}

void nbh_h2srv_free(NbhH2srv *conn)
{
	if (!conn || conn->freed)
		return;
	enter(conn);
	conn->freed = TRUE;
	clear_source(&conn->flush);
	clear_source(&conn->closing);
	clear_source(&conn->again);
	clear_source(&conn->ping);
	clear_source(&conn->pong);
	end_calls(conn);
	leave(conn);
}

NbhH2srv *nbh_h2srv_call_conn(NbhH2srvCall *call)
{
	return call->conn;
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
		call->finished = TRUE;
	flush_soon(call->conn);
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
	call->finished = TRUE;
	call->status = status;
	call->message = message ? encode_message(message) : NULL;
	if (!call->started) {
		gsize n = status_headers(call, number, sizeof(number), headers + 2);

		call->started = TRUE;
		nghttp2_submit_response(call->conn->session, call->id, headers, 2 + n, NULL);
	}
	resume(call);
}
