#include "config.h"

#include "tests/vectors/vec.h"

#include "wire/box.h"

#include <string.h>

/* --- JSON ------------------------------------------------------------------------------------- */

json_object *vec_get(json_object *object, const char *key)
{
	json_object *value = NULL;

	if (object && json_object_is_type(object, json_type_object))
		json_object_object_get_ex(object, key, &value);

	return value;
}

const char *vec_str(json_object *object, const char *key)
{
	json_object *value = vec_get(object, key);

	return value && json_object_is_type(value, json_type_string) ? json_object_get_string(value)
								     : NULL;
}

gint64 vec_int(json_object *object, const char *key, gint64 fallback)
{
	json_object *value = vec_get(object, key);

	return value ? json_object_get_int64(value) : fallback;
}

gboolean vec_bool(json_object *object, const char *key, gboolean fallback)
{
	json_object *value = vec_get(object, key);

	return value ? json_object_get_boolean(value) : fallback;
}

gsize vec_len(json_object *array)
{
	return array && json_object_is_type(array, json_type_array)
		       ? json_object_array_length(array)
		       : 0;
}

GBytes *vec_hex(json_object *object, const char *key)
{
	const char *text = vec_str(object, key);
	gsize i, len;
	guint8 *data;

	if (!text)
		return NULL;

	len = strlen(text) / 2;
	data = g_malloc(len + 1);

	for (i = 0; i < len; i++) {
		gint high = g_ascii_xdigit_value(text[2 * i]),
		     low = g_ascii_xdigit_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			break;

		data[i] = (guint8)(high << 4 | low);
	}

	if (i < len || text[2 * len] != '\0')
		vec_ok(FALSE, "%s: no hexadecimal text", key);

	return g_bytes_new_take(data, len);
}

gboolean vec_bytes_equal(GBytes *bytes, const void *data, gsize len)
{
	return bytes && g_bytes_get_size(bytes) == len &&
	       (len == 0 || memcmp(g_bytes_get_data(bytes, NULL), data, len) == 0);
}

gboolean vec_keys(json_object *file, const char *name, VecKeys *ret_keys)
{
	json_object *pair = name ? vec_get(vec_get(file, "keys"), name) : NULL;
	const char *public_text = vec_str(pair, "public"), *private_text = vec_str(pair, "private");
	VecKeys keys = {0};

	if (!public_text || nbh_key_parse(public_text, &keys.public_key) < 0)
		return FALSE;

	if (private_text && nbh_key_parse(private_text, &keys.private_key) < 0)
		return FALSE;

	*ret_keys = keys;
	return TRUE;
}

/* --- headers ---------------------------------------------------------------------------------- */

void vec_headers(json_object *headers, const char *what)
{
	gsize i, n = vec_len(headers);
	gboolean ok = TRUE;

	for (i = 0; i < n; i++) {
		json_object *pair = json_object_array_get_idx(headers, i);
		const char *name =
			vec_len(pair) == 2
				? json_object_get_string(json_object_array_get_idx(pair, 0))
				: "";
		const char *p;

		/* RFC 9113 8.2.1: lower case, no control characters. */
		for (p = name; *p; p++)
			ok = ok && g_ascii_isgraph(*p) && !g_ascii_isupper(*p);

		ok = ok && *name != '\0';
	}

	vec_ok(ok, "%s: %" G_GSIZE_FORMAT " well-formed lines", what, n);
}

const char *vec_header(json_object *headers, const char *name)
{
	gsize i, n = vec_len(headers);

	for (i = 0; i < n; i++) {
		json_object *pair = json_object_array_get_idx(headers, i);

		if (vec_len(pair) == 2 &&
		    g_str_equal(json_object_get_string(json_object_array_get_idx(pair, 0)), name))
			return json_object_get_string(json_object_array_get_idx(pair, 1));
	}

	return NULL;
}

/* gRPC's percent-encoding: space to '~' but '%' stand for themselves. NULL if it is not of this
 * form. */
static char *percent_decode(const char *text)
{
	g_autoptr(GString) out = g_string_new(NULL);
	const char *p;

	for (p = text; *p; p++) {
		gint high, low;

		if (*p < 0x20 || *p > 0x7e)
			return NULL;

		if (*p != '%') {
			g_string_append_c(out, *p);
			continue;
		}

		high = g_ascii_xdigit_value(p[1]);
		low = high < 0 ? -1 : g_ascii_xdigit_value(p[2]);

		if (low < 0)
			return NULL;

		g_string_append_c(out, (char)(high << 4 | low));
		p += 2;
	}

	return g_utf8_validate(out->str, (gssize)out->len, NULL)
		       ? g_string_free(g_steal_pointer(&out), FALSE)
		       : NULL;
}

void vec_result(json_object *result)
{
	json_object *headers = vec_get(result, "response_headers"),
		    *trailers = vec_get(result, "trailers");
	const char *raw = vec_str(result, "grpc_message_raw");
	gint64 status = vec_int(result, "grpc_status", -1);
	const char *status_text, *message_text;

	if (!result)
		return;

	/* Native ports put everything into one block: netbird-wire.md 2.1. */
	if (vec_bool(result, "trailers_only", FALSE) && !trailers)
		trailers = headers;

	if (headers)
		vec_headers(headers, "response headers");

	if (trailers)
		vec_headers(trailers, "trailers");

	status_text = vec_header(trailers, "grpc-status");
	message_text = vec_header(trailers, "grpc-message");

	if (status >= 0)
		vec_ok(status_text && g_ascii_strtoll(status_text, NULL, 10) == status,
		       "grpc-status %" G_GINT64_FORMAT, status);

	if (raw || message_text) {
		g_autofree char *text = percent_decode(message_text ? message_text : raw);

		vec_ok(text && g_strcmp0(raw ? raw : message_text,
					 message_text ? message_text : raw) == 0,
		       "grpc-message percent-decodes");
	}
}

/* --- sealed boxes ----------------------------------------------------------------------------- */

static void check_open(const struct nbh_key *own_private, const struct nbh_key *far_public,
		       GBytes *sealed, GBytes *plain, const char *who)
{
	g_autoptr(GBytes) opened = NULL, again = NULL;
	gsize len, plain_len;
	const guint8 *data = g_bytes_get_data(sealed, &len);
	const guint8 *plain_data = g_bytes_get_data(plain, &plain_len);

	if (nbh_key_is_zero(own_private))
		return;

	opened = nbh_box_open(own_private, far_public, data, len);
	vec_ok(opened && g_bytes_equal(opened, plain), "opens with the %s key", who);

	if (len >= NBH_BOX_OVERHEAD) {
		again = nbh_box_seal(own_private, far_public, plain_data, plain_len, data);
		vec_ok(again && g_bytes_equal(again, sealed),
		       "seals again to the same bytes with the %s key", who);
	}
}

/* Recorded as not opening: not with the receiver's key, which is the server's if nobody is named.
 */
static void check_closed(json_object *file, const VecKeys *from, const char *to_name,
			 GBytes *sealed)
{
	g_autoptr(GBytes) opened = NULL;
	gsize len;
	const guint8 *data = g_bytes_get_data(sealed, &len);
	VecKeys to;

	if (!vec_keys(file, to_name ? to_name : "server", &to) || nbh_key_is_zero(&to.private_key))
		return;

	opened = nbh_box_open(&to.private_key, &from->public_key, data, len);
	vec_ok(!opened, "does not open with the key of %s", to_name ? to_name : "server");
}

void vec_sealed(json_object *file, json_object *part, GBytes *plain)
{
	g_autoptr(GBytes) sealed = vec_hex(part, "sealed");
	VecKeys from, to;
	gboolean has_from = vec_keys(file, vec_str(part, "from"), &from);
	gboolean has_to = vec_keys(file, vec_str(part, "to"), &to);

	if (!sealed)
		return;

	if (!vec_bool(part, "opens", TRUE)) {
		if (has_from)
			check_closed(file, &from, vec_str(part, "to"), sealed);
		return;
	}

	vec_ok(has_from && has_to && plain, "sender, receiver and plain text of the box are there");

	if (!has_from || !has_to || !plain)
		return;

	vec_ok(!nbh_key_is_zero(&from.private_key) || !nbh_key_is_zero(&to.private_key),
	       "one of the private keys is known");
	check_open(&to.private_key, &from.public_key, sealed, plain, "receiver's");
	check_open(&from.private_key, &to.public_key, sealed, plain, "sender's");
}
