/*
 * gRPC server on one accepted stream: nghttp2 frames the bytes, this file keeps the connection.
 *
 * nghttp2_session_del() does not report open streams, so the connection keeps its own list of calls
 * and ends each itself (libraries.md 3.6).
 *
 * Anybody may connect. What one client can cost is bounded: bytes (limits.h), frames for nothing
 * (h2guard), frames that it does not take from us, time in one turn of the loop, time to take an
 * answer. Who goes beyond gets GOAWAY (ENHANCE_YOUR_CALM) if it listens, and is hung up on.
 */

#include "config.h"

#include "net/h2srv-private.h"

#include "base/limits.h"
#include "loop/source.h"

#include <string.h>

#define PING_AFTER_MS 30000
#define PONG_WITHIN_MS 20000
#define STUCK_AFTER_MS 60000 /* an answer that nobody takes */
#define END_WITHIN_MS 5000   /* from our GOAWAY to the end */
#define WINDOW_BYTES (1024 * 1024)
#define READ_BYTES (16 * 1024)
#define READS_PER_TURN 16              /* then other connections get their turn */
#define TURN_USEC 5000                 /* or after this time */
#define OUT_FILL_BYTES (32 * 1024)     /* frames made ahead of the socket */

static GSource *add_idle(GSourceFunc func, gpointer data)
{
	GSource *source = g_idle_source_new();

	g_source_set_priority(source, G_PRIORITY_DEFAULT);
	g_source_set_callback(source, func, data, NULL);
	g_source_attach(source, NULL);
	return source;
}

static GSource *add_timer(guint timeout_ms, GSourceFunc func, gpointer data)
{
	GSource *source = timeout_ms % 1000 ? g_timeout_source_new(timeout_ms)
					    : g_timeout_source_new_seconds(timeout_ms / 1000);

	g_source_set_callback(source, func, data, NULL);
	g_source_attach(source, NULL);
	return source;
}

static void end_calls(NbhH2srv *conn)
{
	/* on_gone may free the connection, but while busy only leave() frees calls. */
	for (GList *l = conn->calls.head; l; l = l->next)
		nbh_h2srv_call_gone(l->data);
}

static void destroy(NbhH2srv *conn)
{
	NbhH2srvCall *call;

	while ((call = g_queue_pop_head(&conn->calls)))
		nbh_h2srv_call_free(call);
	nghttp2_session_del(conn->session);
	g_clear_pointer(&conn->first, g_byte_array_unref);
	g_clear_pointer(&conn->out, g_byte_array_unref);
	nbh_stream_free(conn->stream);
	g_free(conn->abuse);
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

	nbh_source_drop(&conn->closing);
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
	nbh_source_drop(&conn->flush);
	nbh_source_drop(&conn->again);
	nbh_source_drop(&conn->ping);
	nbh_source_drop(&conn->pong);
	nbh_source_drop(&conn->end);
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

	nbh_source_drop(&conn->flush);
	enter(conn);
	pump(conn);
	leave(conn);
	return G_SOURCE_REMOVE;
}

void nbh_h2srv_flush_soon(NbhH2srv *conn)
{
	if (!conn->busy && !conn->flush && !conn->dead && !conn->freed)
		conn->flush = add_idle(on_flush, conn);
}

static NbhH2srvCall *find_call(nghttp2_session *session, int32_t id)
{
	return id ? nghttp2_session_get_stream_user_data(session, id) : NULL;
}

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *data)
{
	NbhH2srv *conn = data;

	(void)session;
	(void)nbh_h2guard_received(&conn->guard, hd, g_get_monotonic_time());
	return 0; /* feed() looks: nghttp2 would only end the session without a word */
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	NbhH2srv *conn = data;
	NbhH2srvCall *call;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	call = nbh_h2srv_call_new(conn, frame->hd.stream_id);
	g_queue_push_tail(&conn->calls, call);
	nghttp2_session_set_stream_user_data(session, call->id, call);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *data)
{
	NbhH2srvCall *call = find_call(session, frame->hd.stream_id);

	(void)flags;
	(void)data;
	if (!call || frame->hd.type != NGHTTP2_HEADERS || call->announced)
		return 0;
	if (!nbh_h2srv_call_on_header(call, name, name_len, value, value_len))
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	NbhH2srv *conn = data;
	NbhH2srvCall *call = find_call(session, frame->hd.stream_id);

	conn->heard = TRUE;
	nbh_source_drop(&conn->pong); /* whatever arrived: it lives */
	if (frame->hd.type == NGHTTP2_DATA) /* on_begin_frame() does not see these */
		(void)nbh_h2guard_received(&conn->guard, &frame->hd, g_get_monotonic_time());
	if (!call || conn->freed)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		nbh_h2srv_call_on_request(call);
	if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
	    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		nbh_h2srv_call_on_half_close(call);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *conn_data)
{
	NbhH2srvCall *call = find_call(session, id);

	(void)flags;
	(void)conn_data;
	if (call)
		nbh_h2srv_call_on_data(call, data, len);
	return 0;
}

/*
 * A client that has not half-closed gets RST_STREAM(NO_ERROR), but only after the trailers are
 * out: nghttp2 lets a RST overtake queued HEADERS, and grpc-go then reports Internal instead of
 * our status (libraries.md 3.6).
 */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	NbhH2srv *conn = data;
	NbhH2srvCall *call;

	(void)nbh_h2guard_sent(&conn->guard, frame, g_get_monotonic_time());
	/* nghttp2's own: the client broke the rules. */
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR && !conn->abuse && !conn->leaving)
		conn->abuse = g_strdup_printf("broke the rules of HTTP/2 (%s)",
					      nghttp2_http2_strerror(frame->goaway.error_code));
	if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	call = find_call(session, frame->hd.stream_id);
	if (call && !call->half_closed)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
					  NGHTTP2_NO_ERROR);
	return 0;
}

/*
 * grpc-go says goodbye with a GOAWAY for stream 2^31-1, which no server has; nghttp2 takes that for an
 * error (RFC 9113 6.8). A polite end is nothing to hold against official clients.
 */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *data)
{
	NbhH2srv *conn = data;

	(void)session;
	(void)error;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		conn->leaving = TRUE;
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
	nbh_h2srv_call_gone(call);
	g_queue_remove(&conn->calls, call);
	nbh_h2srv_call_free(call);
	return 0;
}

/* What has been said so far is the last that we listen to. */
static void cut_off(NbhH2srv *conn, const char *why)
{
	if (conn->abuse || conn->dead || conn->freed)
		return;
	conn->abuse = g_strdup(why);
	nghttp2_session_terminate_session(conn->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void feed(NbhH2srv *conn, const guint8 *data, gsize len)
{
	ssize_t n;

	if (conn->dead || conn->freed)
		return;
	n = nghttp2_session_mem_recv(conn->session, data, len);
	if (n < 0) {
		/* E.g. too many CONTINUATION frames. */
		if (!conn->abuse)
			conn->abuse = g_strdup(nghttp2_strerror((int)n));
		die(conn);
		return;
	}
	if (conn->guard.broken)
		cut_off(conn, conn->guard.broken);
	/* Answers cost memory until they are taken. */
	if (!conn->freed && nghttp2_session_get_outbound_queue_size(conn->session) > NBH_H2SRV_FRAMES_MAX)
		pump(conn);
	if (!conn->dead && !conn->freed &&
	    nghttp2_session_get_outbound_queue_size(conn->session) > NBH_H2SRV_FRAMES_MAX)
		cut_off(conn, "asks more than it listens");
}

static void feed_first(NbhH2srv *conn)
{
	g_autoptr(GByteArray) first = g_steal_pointer(&conn->first);

	if (first)
		feed(conn, first->data, first->len);
}

/* TRUE: there may be more, but others get their turn first. */
static gboolean read_input(NbhH2srv *conn)
{
	gint64 until_usec = g_get_monotonic_time() + TURN_USEC;
	gboolean more = FALSE;
	guint8 buf[READ_BYTES];

	enter(conn);
	feed_first(conn);
	for (guint i = 0; !conn->dead && !conn->freed && !conn->abuse; i++) {
		gssize n;

		if (i == READS_PER_TURN || (i > 0 && g_get_monotonic_time() > until_usec)) {
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
	if (conn->abuse)
		die(conn); /* what the socket did not take is lost on it */
	if (conn->dead || conn->freed)
		more = FALSE;
	leave(conn);
	return more;
}

static gboolean on_again(gpointer data)
{
	NbhH2srv *conn = data;

	nbh_source_drop(&conn->again);
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

	nbh_source_drop(&conn->pong);
	die(conn);
	return G_SOURCE_REMOVE;
}

/* A closed window would keep a call, and with it the connection, for ever. */
static void drop_stuck_calls(NbhH2srv *conn)
{
	gint64 before_usec = g_get_monotonic_time() - (gint64)conn->stuck_ms * 1000;

	for (GList *l = conn->calls.head; l; l = l->next) {
		NbhH2srvCall *call = l->data;

		if (!call->finished || call->finished_usec > before_usec)
			continue;
		nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, call->id, NGHTTP2_CANCEL);
		nbh_h2srv_flush_soon(conn);
	}
}

static gboolean on_ping_time(gpointer data)
{
	NbhH2srv *conn = data;

	drop_stuck_calls(conn);
	if (!conn->heard && !conn->pong) {
		nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL);
		conn->pong = add_timer(PONG_WITHIN_MS, on_no_pong, conn);
		nbh_h2srv_flush_soon(conn);
	}
	conn->heard = FALSE;
	return G_SOURCE_CONTINUE;
}

static gboolean on_no_end(gpointer data)
{
	NbhH2srv *conn = data;

	nbh_source_drop(&conn->end);
	die(conn);
	return G_SOURCE_REMOVE;
}

static gboolean on_start(gpointer data)
{
	NbhH2srv *conn = data;

	conn->ping = add_timer(conn->ping_ms, on_ping_time, conn);
	return on_again(conn);
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
	nghttp2_option *option = NULL;

	if (nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option))
		g_error("nghttp2: out of memory");
	/* They would be kept for priorities, which we do not have. */
	nghttp2_option_set_no_closed_streams(option, 1);
	/* The guard is stricter, and says GOAWAY. */
	nghttp2_option_set_max_outbound_ack(option, 2 * NBH_H2_CONTROL_BURST);
	nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	if (nghttp2_session_server_new2(&session, callbacks, conn, option))
		g_error("nghttp2: out of memory");
	nghttp2_option_del(option);
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
	conn->ping_ms = PING_AFTER_MS;
	conn->stuck_ms = STUCK_AFTER_MS;
	conn->end_ms = END_WITHIN_MS;
	nbh_h2guard_init(&conn->guard, g_get_monotonic_time());
	nbh_stream_set_events(stream, &stream_events, conn);
	/* Calls may follow the preface at once, but the owner does not know us yet. */
	conn->first = g_byte_array_new();
	g_byte_array_append(conn->first, first, (guint)n_first);
	conn->again = add_idle(on_start, conn);
	return conn;
}

const char *nbh_h2srv_abuse(NbhH2srv *conn)
{
	return conn->abuse;
}

gboolean nbh_h2srv_has_open_call(NbhH2srv *conn)
{
	for (GList *l = conn->calls.head; l; l = l->next) {
		const NbhH2srvCall *call = l->data;

		if (call->announced && !call->finished)
			return TRUE;
	}
	return FALSE;
}

void nbh_h2srv_shutdown(NbhH2srv *conn)
{
	if (conn->dead || conn->freed)
		return;
	nghttp2_session_terminate_session(conn->session, NGHTTP2_NO_ERROR);
	if (!conn->end)
		conn->end = add_timer(conn->end_ms, on_no_end, conn);
	nbh_h2srv_flush_soon(conn);
}

void nbh_h2srv_free(NbhH2srv *conn)
{
	if (!conn || conn->freed)
		return;
	enter(conn);
	conn->freed = TRUE;
	nbh_source_drop(&conn->flush);
	nbh_source_drop(&conn->closing);
	nbh_source_drop(&conn->again);
	nbh_source_drop(&conn->ping);
	nbh_source_drop(&conn->pong);
	nbh_source_drop(&conn->end);
	end_calls(conn);
	leave(conn);
}
