#include "config.h"

/* transport.json: header lists and HTTP/2 frames (RFC 9113), as far as they stand by themselves. */

#include "tests/vectors/vec.h"

#include <string.h>

#define FRAME_HEAD_LEN 9

static const char *const frame_types[] = {"DATA",	   "HEADERS",	   "PRIORITY", "RST_STREAM",
					  "SETTINGS",	   "PUSH_PROMISE", "PING",     "GOAWAY",
					  "WINDOW_UPDATE", "CONTINUATION"};

static const char *const setting_names[] = {NULL,
					    "HEADER_TABLE_SIZE",
					    "ENABLE_PUSH",
					    "MAX_CONCURRENT_STREAMS",
					    "INITIAL_WINDOW_SIZE",
					    "MAX_FRAME_SIZE",
					    "MAX_HEADER_LIST_SIZE"};

static guint32 get32(const guint8 *p)
{
	return (guint32)p[0] << 24 | (guint32)p[1] << 16 | (guint32)p[2] << 8 | p[3];
}

static void check_settings(json_object *item, const guint8 *p, gsize n)
{
	json_object *settings = vec_get(item, "settings");
	gsize i, count = settings ? (gsize)json_object_object_length(settings) : 0;
	gboolean ok = n % 6 == 0 && n / 6 == count;

	for (i = 0; ok && i < n; i += 6) {
		guint id = (guint)p[i] << 8 | p[i + 1];
		g_autofree char *name = id > 0 && id < G_N_ELEMENTS(setting_names)
						? g_strdup(setting_names[id])
						: g_strdup_printf("%u", id);

		ok = vec_int(settings, name, -1) == (gint64)get32(p + i + 2);
	}

	vec_ok(ok, "%" G_GSIZE_FORMAT " settings", count);
}

static void check_goaway(json_object *item, const guint8 *p, gsize n)
{
	const char *debug = vec_str(item, "debug");

	vec_ok(n >= 8 && get32(p) == vec_int(item, "last", -1) &&
		       get32(p + 4) == vec_int(item, "error", -1) && debug &&
		       strlen(debug) == n - 8 && memcmp(debug, p + 8, n - 8) == 0,
	       "GOAWAY: last stream, error, text");
}

static void check_payload(json_object *item, const char *type, const guint8 *p, gsize n)
{
	if (g_str_equal(type, "SETTINGS"))
		check_settings(item, p, n);
	else if (g_str_equal(type, "GOAWAY"))
		check_goaway(item, p, n);
	else if (g_str_equal(type, "WINDOW_UPDATE"))
		vec_ok(n == 4 && get32(p) == vec_int(item, "increment", -1),
		       "WINDOW_UPDATE: increment");
	else if (g_str_equal(type, "RST_STREAM"))
		vec_ok(n == 4 && get32(p) == vec_int(item, "error", -1), "RST_STREAM: error");
	else if (g_str_equal(type, "PING"))
		vec_ok(n == 8, "PING: eight bytes");
	else if (g_str_equal(type, "DATA") && n >= 5 && vec_int(item, "stream", 0) != 0)
		vec_ok(p[0] == 0, "DATA: not compressed"); /* or the rest of a message, which starts
							      with anything */
}

/* A DATA frame may also hold the rest of a message, so only those that hold one exactly are looked
 * into. */
static gboolean holds_one_message(const guint8 *p, gsize n)
{
	return n >= 5 && p[0] <= 1 && get32(p + 1) == n - 5;
}

static void check_frame(json_object *item)
{
	g_autoptr(GBytes) frame = vec_hex(item, "frame");
	const char *type = vec_str(item, "type");
	const guint8 *p;
	gsize i, n;

	for (i = 0; type && i < G_N_ELEMENTS(frame_types) && !g_str_equal(type, frame_types[i]);
	     i++)
		;

	if (!type || i == G_N_ELEMENTS(frame_types)) {
		vec_unknown("frame type", type);
		return;
	}

	if (vec_get(item, "headers"))
		vec_headers(vec_get(item, "headers"), "headers");

	if (!frame)
		return;

	p = g_bytes_get_data(frame, &n);

	if (n < FRAME_HEAD_LEN) {
		vec_ok(FALSE, "frame has a head");
		return;
	}

	vec_ok(get32(p) >> 8 == n - FRAME_HEAD_LEN &&
		       (gint64)(n - FRAME_HEAD_LEN) == vec_int(item, "length", -1) && p[3] == i &&
		       p[4] == vec_int(item, "flags", -1) &&
		       get32(p + 5) == vec_int(item, "stream", -1),
	       "%s frame: length, type, flags, stream", type);

	if (!g_str_equal(type, "DATA") || holds_one_message(p + FRAME_HEAD_LEN, n - FRAME_HEAD_LEN))
		check_payload(item, type, p + FRAME_HEAD_LEN, n - FRAME_HEAD_LEN);
}

static void check_stream(json_object *item)
{
	json_object *request = vec_get(item, "request_headers"),
		    *response = vec_get(item, "response_headers");
	json_object *trailers = vec_get(item, "trailers");
	const char *content_type = vec_header(request, "content-type");
	gboolean trailers_only = vec_bool(item, "trailers_only", FALSE);

	vec_headers(request, "request headers");
	vec_ok(g_strcmp0(vec_header(request, ":method"), "POST") == 0 && content_type &&
		       g_str_has_prefix(content_type, "application/grpc"),
	       "is a gRPC call");

	if (response) {
		vec_headers(response, "response headers");
		vec_ok(g_strcmp0(vec_header(response, ":status"), "200") == 0, ":status 200");
		vec_ok((vec_header(response, "grpc-status") != NULL) == trailers_only,
		       "grpc-status in the headers: %s", trailers_only ? "yes" : "no");
	}

	/* Statuses are where netbird-wire.md 2.1 says, and messages percent-decode. */
	if (trailers || trailers_only) {
		vec_ok(vec_header(trailers_only ? response : trailers, "grpc-status") != NULL,
		       "has a grpc-status");
		vec_result(item);
	}
}

void vec_transport(json_object *file)
{
	json_object *streams = vec_get(file, "streams"),
		    *connections = vec_get(file, "connections");
	gsize i, j;

	vec_ok(vec_len(streams) > 0 || vec_len(connections) > 0, "streams or connections");

	for (i = 0; i < vec_len(streams); i++) {
		json_object *item = json_object_array_get_idx(streams, i);

		vec_case("transport stream", vec_str(item, "name"));
		check_stream(item);
	}

	for (i = 0; i < vec_len(connections); i++) {
		json_object *item = json_object_array_get_idx(connections, i),
			    *frames = vec_get(item, "frames");

		vec_case("transport", vec_str(item, "name"));
		vec_ok(vec_len(frames) > 0, "frames");

		for (j = 0; j < vec_len(frames); j++)
			check_frame(json_object_array_get_idx(frames, j));
	}
}
