#include "config.h"

#include "tests/lib/h2peer.h"

#include "net/stream.h"

#include <string.h>

struct _TestH2Conn {
	TestH2 *h2;
	guint number;
	NbhStream *stream; /* NULL: over */
	nghttp2_session *session;
	gboolean is_receiving; /* nghttp2 may not send then */
	gboolean is_frozen;
	GByteArray *out, *body;
	GHashTable *headers;
	GHashTable *answers; /* stream id -> Answer */
};

/* DATA to be sent on a stream. */
typedef struct {
	GByteArray *bytes;
	gsize pos;
	char **trailers; /* pairs; NULL: none */
	gboolean is_last, is_waiting;
} Answer;

static void answer_free(gpointer data)
{
	Answer *answer = data;

	g_byte_array_unref(answer->bytes);
	g_strfreev(answer->trailers);
	g_free(answer);
}

static GArray *make_list(const char *const *pairs)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(nghttp2_nv));

	for (; pairs && pairs[0]; pairs += 2) {
		nghttp2_nv nv = { (uint8_t *)pairs[0], (uint8_t *)pairs[1], strlen(pairs[0]), strlen(pairs[1]), 0 };

		g_array_append_val(list, nv);
	}
	return list;
}

/* Not earlier than behind the last DATA, or they would overtake it. */
static void submit_trailers(nghttp2_session *session, int32_t stream_id, const Answer *answer)
{
	g_autoptr(GArray) list = make_list((const char *const *)answer->trailers);

	nghttp2_submit_trailer(session, stream_id, (nghttp2_nv *)(gpointer)list->data, list->len);
}

static void flush(TestH2Conn *conn)
{
	const uint8_t *data;
	ssize_t n;

	if (!conn->stream || !conn->session || conn->is_receiving)
		return;
	for (;;) {
		while (conn->out->len < 65536 && (n = nghttp2_session_mem_send(conn->session, &data)) > 0)
			g_byte_array_append(conn->out, data, (guint)n);
		if (conn->out->len == 0)
			break;
		n = nbh_stream_write(conn->stream, conn->out->data, conn->out->len);
		if (n <= 0)
			break;
		g_byte_array_remove_range(conn->out, 0, (guint)n);
	}
	nbh_stream_want_write(conn->stream, conn->out->len > 0);
}

static ssize_t read_answer(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t size,
                           uint32_t *ret_flags, nghttp2_data_source *source, void *data)
{
	Answer *answer = source->ptr;
	gsize n = MIN(size, answer->bytes->len - answer->pos);

	(void)session;
	(void)stream_id;
	(void)data;
	if (n > 0)
		memcpy(buf, answer->bytes->data + answer->pos, n);
	answer->pos += n;
	answer->is_waiting = FALSE;
	if (answer->pos == answer->bytes->len) {
		if (answer->is_last) {
			*ret_flags |= NGHTTP2_DATA_FLAG_EOF;
			if (answer->trailers) {
				*ret_flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
				submit_trailers(session, stream_id, answer);
			}
		} else if (n == 0) {
			answer->is_waiting = TRUE;
			return NGHTTP2_ERR_DEFERRED;
		}
	}
	return (ssize_t)n;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	TestH2Conn *conn = data;

	(void)session;
	(void)frame;
	(void)flags;
	g_hash_table_replace(conn->headers, g_strndup((const char *)name, name_len),
			     g_strndup((const char *)value, value_len));
	return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	(void)session;
	(void)frame;
	g_hash_table_remove_all(((TestH2Conn *)data)->headers);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	TestH2Conn *conn = data;

	(void)session;
	if (frame->hd.type == NGHTTP2_HEADERS) {
		conn->h2->n_requests++;
		conn->h2->on_request(conn, frame->hd.stream_id, conn->h2->owner);
	} else if (frame->hd.type == NGHTTP2_RST_STREAM) {
		conn->h2->n_resets++;
	} else if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
		conn->h2->n_pings++;
	} else if (frame->hd.type == NGHTTP2_PING) {
		conn->h2->n_ping_acks++;
	}
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                   size_t len, void *data)
{
	(void)session;
	(void)flags;
	(void)stream_id;
	g_byte_array_append(((TestH2Conn *)data)->body, bytes, (guint)len);
	return 0;
}

void test_h2_settings(TestH2Conn *conn)
{
	nghttp2_settings_entry settings = { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, conn->h2->max_streams };

	nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, &settings, conn->h2->max_streams ? 1 : 0);
	flush(conn);
}

static void on_up(NbhStream *stream, gpointer owner)
{
	TestH2Conn *conn = owner;
	nghttp2_session_callbacks *callbacks;

	(void)stream;
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_server_new(&conn->session, callbacks, conn);
	nghttp2_session_callbacks_del(callbacks);
	if (!conn->h2->late_settings)
		test_h2_settings(conn);
}

static void on_readable(NbhStream *stream, gpointer owner)
{
	TestH2Conn *conn = owner;
	guint8 block[16384];
	gssize n;

	if (conn->is_frozen) {
		(void)nbh_stream_read(stream, block, sizeof(block));
		return;
	}
	while (conn->stream && (n = nbh_stream_read(stream, block, sizeof(block))) > 0) {
		conn->is_receiving = TRUE;
		g_assert_cmpint(nghttp2_session_mem_recv(conn->session, block, (size_t)n), ==, n);
		conn->is_receiving = FALSE;
	}
	flush(conn);
}

static void on_writable(NbhStream *stream, gpointer owner)
{
	(void)stream;
	flush(owner);
}

static void on_closed(NbhStream *stream, const char *error, gpointer owner)
{
	TestH2Conn *conn = owner;

	(void)stream;
	(void)error;
	g_clear_pointer(&conn->stream, nbh_stream_free);
}

static const NbhStreamEvents events = { on_up, on_readable, on_writable, on_closed };

static void on_accept(GSocket *socket, gpointer owner)
{
	TestH2 *h2 = owner;
	TestH2Conn *conn = g_new0(TestH2Conn, 1);

	conn->h2 = h2;
	conn->number = h2->conns->len;
	conn->out = g_byte_array_new();
	conn->body = g_byte_array_new();
	conn->headers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	conn->answers = g_hash_table_new_full(NULL, NULL, NULL, answer_free);
	conn->stream = nbh_stream_accept(socket, NULL, &events, conn);
	g_ptr_array_add(h2->conns, conn);
}

static void conn_free(gpointer data)
{
	TestH2Conn *conn = data;

	nbh_stream_free(conn->stream);
	nghttp2_session_del(conn->session);
	g_byte_array_unref(conn->out);
	g_byte_array_unref(conn->body);
	g_hash_table_unref(conn->headers);
	g_hash_table_unref(conn->answers);
	g_free(conn);
}

void test_h2_open(TestH2 *h2, void (*on_request)(TestH2Conn *, int32_t, gpointer), gpointer owner)
{
	*h2 = (TestH2){ .on_request = on_request, .owner = owner };
	h2->conns = g_ptr_array_new_with_free_func(conn_free);
	test_listener_open(&h2->listener, on_accept, h2);
}

void test_h2_close(TestH2 *h2)
{
	g_ptr_array_unref(h2->conns);
	test_listener_close(&h2->listener);
}

char *test_h2_url(const TestH2 *h2)
{
	return g_strdup_printf("http://127.0.0.1:%u", h2->listener.port);
}

TestH2 *test_h2_of(TestH2Conn *conn)
{
	return conn->h2;
}

guint test_h2_number(TestH2Conn *conn)
{
	return conn->number;
}

const char *test_h2_header(TestH2Conn *conn, const char *name)
{
	return g_hash_table_lookup(conn->headers, name);
}

GByteArray *test_h2_body(TestH2Conn *conn)
{
	return conn->body;
}

static Answer *get_answer(TestH2Conn *conn, int32_t stream_id)
{
	Answer *answer = g_hash_table_lookup(conn->answers, GINT_TO_POINTER(stream_id));

	if (answer)
		return answer;
	answer = g_new0(Answer, 1);
	answer->bytes = g_byte_array_new();
	g_hash_table_insert(conn->answers, GINT_TO_POINTER(stream_id), answer);
	return answer;
}

void test_h2_headers(TestH2Conn *conn, int32_t stream_id, gboolean end_stream, const char *const *pairs)
{
	g_autoptr(GArray) list = make_list(pairs);
	nghttp2_data_provider body = { .source.ptr = get_answer(conn, stream_id), .read_callback = read_answer };

	g_assert_cmpint(nghttp2_submit_response(conn->session, stream_id, (nghttp2_nv *)(gpointer)list->data,
						list->len, end_stream ? NULL : &body), ==, 0);
	flush(conn);
}

static void resume(TestH2Conn *conn, int32_t stream_id)
{
	if (get_answer(conn, stream_id)->is_waiting)
		nghttp2_session_resume_data(conn->session, stream_id);
	flush(conn);
}

void test_h2_data(TestH2Conn *conn, int32_t stream_id, gconstpointer data, gsize len, gboolean end_stream)
{
	Answer *answer = get_answer(conn, stream_id);

	if (len)
		g_byte_array_append(answer->bytes, data, (guint)len);
	answer->is_last = end_stream;
	resume(conn, stream_id);
}

void test_h2_trailers(TestH2Conn *conn, int32_t stream_id, const char *const *pairs)
{
	Answer *answer = get_answer(conn, stream_id);

	answer->is_last = TRUE;
	answer->trailers = g_strdupv((char **)pairs);
	resume(conn, stream_id);
}

void test_h2_reset(TestH2Conn *conn, int32_t stream_id, guint32 code)
{
	nghttp2_submit_rst_stream(conn->session, NGHTTP2_FLAG_NONE, stream_id, code);
	flush(conn);
}

void test_h2_goaway(TestH2Conn *conn, int32_t last_stream_id, guint32 code, const char *text)
{
	nghttp2_submit_goaway(conn->session, NGHTTP2_FLAG_NONE, last_stream_id, code, (const uint8_t *)text,
			      strlen(text));
	flush(conn);
}

void test_h2_ping(TestH2Conn *conn)
{
	nghttp2_submit_ping(conn->session, NGHTTP2_FLAG_NONE, NULL);
	flush(conn);
}

void test_h2_raw(TestH2Conn *conn, gconstpointer data, gsize len)
{
	g_byte_array_append(conn->out, data, (guint)len);
	flush(conn);
}

gboolean test_h2_is_over(TestH2Conn *conn)
{
	return conn->stream == NULL;
}

void test_h2_hang_up(TestH2Conn *conn)
{
	g_clear_pointer(&conn->stream, nbh_stream_free);
}

void test_h2_freeze(TestH2Conn *conn)
{
	conn->is_frozen = TRUE;
}

void test_h2_ok_headers(TestH2Conn *conn, int32_t stream_id)
{
	const char *pairs[] = { ":status", "200", "content-type", "application/grpc", NULL };

	test_h2_headers(conn, stream_id, FALSE, pairs);
}

void test_h2_message(TestH2Conn *conn, int32_t stream_id, gconstpointer data, gsize len)
{
	guint8 prefix[5] = { 0, (guint8)(len >> 24), (guint8)(len >> 16), (guint8)(len >> 8), (guint8)len };

	test_h2_data(conn, stream_id, prefix, sizeof(prefix), FALSE);
	test_h2_data(conn, stream_id, data, len, FALSE);
}

void test_h2_status(TestH2Conn *conn, int32_t stream_id, const char *status, const char *text)
{
	const char *pairs[] = { "grpc-status", status, text ? "grpc-message" : NULL, text, NULL };

	test_h2_trailers(conn, stream_id, pairs);
}
