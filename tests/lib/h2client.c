#include "config.h"

#include "tests/lib/h2client.h"

#include <errno.h>
#include <glib-unix.h>
#include <nghttp2/nghttp2.h>
#include <string.h>
#include <sys/socket.h>

struct _TestH2Client {
	int fd;
	nghttp2_session *session;
	GPtrArray *streams; /* TestH2Stream, owned */
	GByteArray *out;
	guint watch_id;
	GIOCondition watched;
	GUnixFDSourceFunc on_ready;
	gboolean closed, goaway, hold;
};

static void watch(TestH2Client *client, GIOCondition condition)
{
	if (client->watched == condition)
		return;
	if (client->watch_id)
		g_source_remove(client->watch_id);
	client->watched = condition;
	client->watch_id = condition ? g_unix_fd_add(client->fd, condition, client->on_ready, client) : 0;
}

static void flush(TestH2Client *client)
{
	for (;;) {
		const uint8_t *data;
		ssize_t n = nghttp2_session_mem_send(client->session, &data);

		g_assert_cmpint(n, >=, 0);
		if (n == 0)
			break;
		g_byte_array_append(client->out, data, (guint)n);
	}
	while (client->out->len && !client->closed) {
		ssize_t n = send(client->fd, client->out->data, client->out->len, MSG_NOSIGNAL);

		if (n < 0) {
			if (errno != EAGAIN)
				client->closed = TRUE;
			break;
		}
		g_byte_array_remove_range(client->out, 0, (guint)n);
	}
	watch(client, client->closed ? 0 : client->out->len ? G_IO_IN | G_IO_OUT : G_IO_IN);
}

static gboolean on_ready(gint fd, GIOCondition ready, gpointer data)
{
	TestH2Client *client = data;
	guint8 buf[65536];
	guint id = client->watch_id;

	(void)ready;
	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			client->closed = TRUE;
			break;
		}
		if (nghttp2_session_mem_recv(client->session, buf, (size_t)n) < 0)
			client->closed = TRUE;
	}
	flush(client);
	return client->watch_id == id ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
	TestH2Stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	g_autofree char *key = g_strndup((const char *)name, name_len);
	char **slot = NULL;

	(void)flags;
	(void)data;
	if (!stream)
		return 0;
	if (strcmp(key, ":status") == 0)
		slot = &stream->http_status;
	else if (strcmp(key, "grpc-status") == 0)
		slot = &stream->grpc_status;
	else if (strcmp(key, "grpc-message") == 0)
		slot = &stream->grpc_message;
	else if (strcmp(key, "x-extra") == 0)
		slot = &stream->extra;
	if (slot) {
		g_free(*slot);
		*slot = g_strndup((const char *)value, value_len);
	}
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *data)
{
	TestH2Client *client = data;
	TestH2Stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	if (frame->hd.type == NGHTTP2_GOAWAY)
		client->goaway = TRUE;
	if (stream && frame->hd.type == NGHTTP2_HEADERS)
		stream->n_header_blocks++;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len,
		   void *data)
{
	TestH2Client *client = data;
	TestH2Stream *stream = nghttp2_session_get_stream_user_data(session, id);

	(void)flags;
	g_byte_array_append(stream->data, bytes, (guint)len);
	if (!client->hold)
		nghttp2_session_consume(session, id, len);
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *data)
{
	TestH2Stream *stream = nghttp2_session_get_stream_user_data(session, id);

	(void)data;
	stream->closed = TRUE;
	stream->error_code = code;
	return 0;
}

static ssize_t on_want_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t size,
			    uint32_t *flags, nghttp2_data_source *source, void *data)
{
	TestH2Stream *stream = source->ptr;
	gsize n = MIN(MIN(size, stream->chunk), stream->body_len - stream->body_off);

	(void)session;
	(void)id;
	(void)data;
	if (n)
		memcpy(buf, stream->body + stream->body_off, n);
	stream->body_off += n;
	if (stream->body_off == stream->body_len) {
		if (!stream->keep_open)
			*flags |= NGHTTP2_DATA_FLAG_EOF;
		else if (n == 0)
			return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

static void stream_free(gpointer data)
{
	TestH2Stream *stream = data;

	g_free(stream->http_status);
	g_free(stream->grpc_status);
	g_free(stream->grpc_message);
	g_free(stream->extra);
	g_byte_array_unref(stream->data);
	g_free(stream);
}

TestH2Client *test_h2client_new(int fd)
{
	TestH2Client *client = g_new0(TestH2Client, 1);
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;

	client->fd = fd;
	client->on_ready = on_ready;
	client->out = g_byte_array_new();
	client->streams = g_ptr_array_new_with_free_func(stream_free);
	g_assert_true(g_unix_set_fd_nonblocking(fd, TRUE, NULL));
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_option_new(&option);
	nghttp2_option_set_no_auto_window_update(option, 1);
	g_assert_cmpint(nghttp2_session_client_new2(&client->session, callbacks, client, option), ==, 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0);
	flush(client);
	return client;
}

void test_h2client_free(TestH2Client *client)
{
	watch(client, 0);
	nghttp2_session_del(client->session);
	g_ptr_array_unref(client->streams);
	g_byte_array_unref(client->out);
	close(client->fd);
	g_free(client);
}

gboolean test_h2client_is_closed(const TestH2Client *client)
{
	return client->closed;
}

gboolean test_h2client_got_goaway(const TestH2Client *client)
{
	return client->goaway;
}

static nghttp2_nv nv(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0 };
}

static TestH2Stream *submit(TestH2Client *client, TestH2Stream *stream, const nghttp2_nv *headers,
			    gsize n)
{
	nghttp2_data_provider provider = { .source.ptr = stream, .read_callback = on_want_body };

	stream->data = g_byte_array_new();
	g_ptr_array_add(client->streams, stream);
	stream->id = nghttp2_submit_request(client->session, NULL, headers, n,
					    stream->body || stream->keep_open ? &provider : NULL, stream);
	g_assert_cmpint(stream->id, >, 0);
	flush(client);
	return stream;
}

TestH2Stream *test_h2client_request(TestH2Client *client, const char *method, const char *path,
				    const char *content_type, const char *extra, const guint8 *body,
				    gsize body_len, gsize chunk, gboolean keep_open)
{
	TestH2Stream *stream = g_new0(TestH2Stream, 1);
	nghttp2_nv headers[6] = { nv(":method", method), nv(":scheme", "http"), nv(":path", path),
				  nv(":authority", "test") };
	gsize n = 4;

	if (content_type)
		headers[n++] = nv("content-type", content_type);
	if (extra)
		headers[n++] = nv("x-extra", extra);
	stream->body = body;
	stream->body_len = body_len;
	stream->chunk = chunk;
	stream->keep_open = keep_open;
	return submit(client, stream, headers, n);
}

TestH2Stream *test_h2client_open(TestH2Client *client, const char *path, const char *header,
				 const char *value)
{
	TestH2Stream *stream = g_new0(TestH2Stream, 1);
	const nghttp2_nv headers[] = { nv(":method", "POST"), nv(":scheme", "http"), nv(":path", path),
				       nv(":authority", "test"), nv("content-type", "application/grpc"),
				       nv(header, value) };

	stream->keep_open = TRUE;
	return submit(client, stream, headers, G_N_ELEMENTS(headers));
}

void test_h2client_reset(TestH2Client *client, TestH2Stream *stream)
{
	nghttp2_submit_rst_stream(client->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_CANCEL);
	flush(client);
}

void test_h2client_hold_window(TestH2Client *client, gboolean hold)
{
	client->hold = hold;
	for (guint i = 0; !hold && i < client->streams->len; i++) {
		TestH2Stream *stream = client->streams->pdata[i];

		if (!stream->closed)
			nghttp2_session_consume(client->session, stream->id, stream->data->len);
	}
	flush(client);
}

void test_h2client_raw(TestH2Client *client, const void *data, gsize len)
{
	g_byte_array_append(client->out, data, (guint)len);
	flush(client);
}

GByteArray *test_grpc_frame(const void *message, gsize len)
{
	GByteArray *frame = g_byte_array_sized_new((guint)len + 5);
	const guint8 prefix[5] = { 0, (guint8)(len >> 24), (guint8)(len >> 16), (guint8)(len >> 8),
				   (guint8)len };

	g_byte_array_append(frame, prefix, sizeof(prefix));
	if (len)
		g_byte_array_append(frame, message, (guint)len);
	return frame;
}
