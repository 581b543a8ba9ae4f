#include "config.h"

/* relay.json: peer ids, tokens, WebSocket upgrades and frames, relay messages. netbird-wire.md 5.
 */

#include "tests/vectors/vec.h"

#include <string.h>

#define ID_LEN 36
#define AUTH_HEAD_LEN (2 + 4 + ID_LEN + 1 + 32)
#define WEBSOCKET_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 1.3 */

static void peer_id_make(const char *key_text, guint8 ret_id[ID_LEN])
{
	GChecksum *sha = g_checksum_new(G_CHECKSUM_SHA256);
	gsize len = 32;

	memcpy(ret_id, "sha-", 4);
	g_checksum_update(sha, (const guchar *)key_text, -1);
	g_checksum_get_digest(sha, ret_id + 4, &len);
	g_checksum_free(sha);
}

static void hmac_key_make(json_object *file, guint8 ret_key[32])
{
	const char *secret = vec_str(vec_get(file, "token"), "shared_secret");
	GChecksum *sha = g_checksum_new(G_CHECKSUM_SHA256);
	gsize len = 32;

	g_checksum_update(sha, (const guchar *)(secret ? secret : ""), -1);
	g_checksum_get_digest(sha, ret_key, &len);
	g_checksum_free(sha);
}

static void hmac_make(json_object *file, const guint8 *payload, gsize len, guint8 ret_mac[32])
{
	guint8 key[32];
	gsize mac_len = 32;
	GHmac *hmac;

	hmac_key_make(file, key);
	hmac = g_hmac_new(G_CHECKSUM_SHA256, key, sizeof(key));
	g_hmac_update(hmac, payload, (gssize)len);
	g_hmac_get_digest(hmac, ret_mac, &mac_len);
	g_hmac_unref(hmac);
}

static void check_token(json_object *file)
{
	json_object *token = vec_get(file, "token");
	const char *payload = vec_str(token, "token_payload"),
		   *signature = vec_str(token, "token_signature_base64");
	g_autoptr(GBytes) recorded = vec_hex(token, "hmac_sha256_of_payload"),
			  hmac_key = vec_hex(token, "hmac_key");
	g_autofree guint8 *decoded = NULL;
	gsize len = 0;
	guint8 key[32], mac[32];

	vec_case("relay", "token");

	if (!payload || !signature) {
		vec_ok(FALSE, "payload and signature are there");
		return;
	}

	hmac_key_make(file, key);
	hmac_make(file, (const guint8 *)payload, strlen(payload), mac);
	decoded = g_base64_decode(signature, &len);
	vec_ok(vec_bytes_equal(hmac_key, key, sizeof(key)), "key of the HMAC");
	vec_ok(vec_bytes_equal(recorded, mac, sizeof(mac)), "HMAC of the payload");
	vec_ok((len == sizeof(mac) && memcmp(decoded, mac, len) == 0) ==
		       vec_bool(token, "equal", TRUE),
	       "signature");
}

static void check_peers(json_object *file)
{
	json_object *peers = vec_get(file, "peers");

	if (!peers)
		return;

	json_object_object_foreach(peers, name, value)
	{
		const char *text = vec_str(value, "public");
		g_autoptr(GBytes) recorded = vec_hex(value, "relay_id");
		struct nbh_key key;
		guint8 id[ID_LEN];

		vec_case("relay peer", name);
		vec_ok(text && nbh_key_parse(text, &key) == 0, "key text");
		peer_id_make(text ? text : "", id);
		vec_ok(vec_bytes_equal(recorded, id, ID_LEN), "relay id");
	}
}

static gboolean id_is(json_object *file, const char *name, const guint8 *id)
{
	g_autoptr(GBytes) recorded =
		name ? vec_hex(vec_get(vec_get(file, "peers"), name), "relay_id") : NULL;

	return vec_bytes_equal(recorded, id, ID_LEN);
}

static void check_auth(json_object *file, json_object *decoded, const guint8 *p, gsize n)
{
	g_autoptr(GBytes) magic = vec_hex(decoded, "magic"),
			  signature = vec_hex(decoded, "signature");
	const char *payload = vec_str(decoded, "payload");
	guint8 mac[32];

	/* The first of two fragments is recorded without these. */
	if (!magic) {
		vec_ok(n < AUTH_HEAD_LEN, "half an Auth");
		return;
	}

	if (n < AUTH_HEAD_LEN || !payload) {
		vec_ok(FALSE, "Auth has all parts");
		return;
	}

	vec_ok(vec_bytes_equal(magic, p + 2, 4), "magic");
	vec_ok(id_is(file, vec_str(decoded, "peer"), p + 6), "own peer id");
	vec_ok(p[6 + ID_LEN] == vec_int(decoded, "algorithm", -1), "token algorithm");
	vec_ok(vec_bytes_equal(signature, p + 7 + ID_LEN, 32), "signature");
	vec_ok(strlen(payload) == n - AUTH_HEAD_LEN &&
		       memcmp(payload, p + AUTH_HEAD_LEN, n - AUTH_HEAD_LEN) == 0,
	       "payload");
	hmac_make(file, p + AUTH_HEAD_LEN, n - AUTH_HEAD_LEN, mac);
	vec_ok((memcmp(mac, p + 7 + ID_LEN, 32) == 0) ==
		       vec_bool(decoded, "signature_valid", FALSE),
	       "HMAC");
}

static void check_ids(json_object *file, json_object *decoded, const guint8 *p, gsize n)
{
	json_object *peers = vec_get(decoded, "peers");
	gsize i, count = vec_len(peers);
	gboolean ok = (n - 2) / ID_LEN == count;

	for (i = 0; ok && i < count; i++)
		ok = id_is(file, json_object_get_string(json_object_array_get_idx(peers, i)),
			   p + 2 + i * ID_LEN);

	vec_ok(ok, "list of %" G_GSIZE_FORMAT " ids", count);
}

/* The names in the recording, so that a renamed or new type is noticed. */
static const char *const message_names[] = {NULL,
					    NULL,
					    NULL,
					    "Transport",
					    "Close",
					    "HealthCheck",
					    "Auth",
					    "AuthResponse",
					    "SubscribePeerState",
					    "UnsubscribePeerState",
					    "PeersOnline",
					    "PeersWentOffline"};

static char *message_type(guint8 number)
{
	const char *name = number < G_N_ELEMENTS(message_names) ? message_names[number] : NULL;

	return g_strdup_printf("%u %s", number, name ? name : "?");
}

static void check_message(json_object *file, json_object *decoded, const guint8 *p, gsize n)
{
	const char *type = vec_str(decoded, "type"), *url = vec_str(decoded, "instance_url");
	g_autofree char *expected = NULL;

	/* Control frames of WebSocket. */
	if (!type) {
		vec_ok(json_object_object_length(decoded) == 0, "no relay message");
		return;
	}

	if (n < 2) {
		vec_ok(FALSE, "at least version and type");
		return;
	}

	expected = message_type(p[1]);
	vec_ok(p[0] == vec_int(decoded, "version", -1) && g_str_equal(type, expected),
	       "version and type %s", type);

	if (g_str_has_prefix(type, "3 ")) {
		vec_ok(n >= 2 + ID_LEN && id_is(file, vec_str(decoded, "peer"), p + 2) &&
			       (gint64)(n - 2 - ID_LEN) == vec_int(decoded, "payload_len", -1),
		       "peer id and payload");
		vec_ok(n > 2 + ID_LEN && vec_str(decoded, "wireguard") &&
			       p[2 + ID_LEN] ==
				       g_ascii_strtoull(vec_str(decoded, "wireguard"), NULL, 10),
		       "WireGuard's own type");
	} else if (g_str_has_prefix(type, "4 ") || g_str_has_prefix(type, "5 ")) {
		vec_ok(n == 2, "nothing follows");
	} else if (g_str_has_prefix(type, "6 ")) {
		check_auth(file, decoded, p, n);
	} else if (g_str_has_prefix(type, "7 ")) {
		vec_ok(url && strlen(url) == n - 2 && memcmp(url, p + 2, n - 2) == 0,
		       "instance URL");
	} else if (g_str_has_prefix(type, "8 ") || g_str_has_prefix(type, "9 ") ||
		   g_str_has_prefix(type, "10 ") || g_str_has_prefix(type, "11 ")) {
		check_ids(file, decoded, p, n);
	}
}

/* RFC 6455 section 5.2. */
static void check_frame(json_object *item, const guint8 *frame, gsize n, const guint8 *message,
			gsize message_len)
{
	const char *opcode = vec_str(item, "opcode");
	gboolean masked = vec_bool(item, "masked", FALSE), ok;
	gsize at = 2, len, i;
	const guint8 *mask = NULL;

	if (n < 2 || !opcode) {
		vec_ok(FALSE, "frame has a head");
		return;
	}

	vec_ok((frame[0] >> 7) == vec_bool(item, "fin", TRUE) && (frame[0] & 0x70) == 0 &&
		       (frame[0] & 0x0f) == g_ascii_strtoull(opcode, NULL, 10) &&
		       (frame[1] >> 7) == masked,
	       "frame head, %s", opcode);
	len = frame[1] & 0x7f;

	if (len == 126 && n >= 4) {
		len = (gsize)frame[2] << 8 | frame[3];
		at = 4;
	} else if (len >= 126) {
		vec_ok(FALSE, "frame length that this program knows");
		return;
	}

	if (masked) {
		mask = frame + at;
		at += 4;
	}

	ok = at + len == n && len == message_len;

	for (i = 0; ok && i < len; i++)
		ok = (frame[at + i] ^ (mask ? mask[i % 4] : 0)) == message[i];

	vec_ok(ok, "unmasked, the frame holds the message");
}

/* The value of a header in an HTTP/1.1 head, by a name in any case. */
static char *head_value(const char *head, const char *name)
{
	g_auto(GStrv) lines = g_strsplit(head, "\r\n", -1);
	gsize i;

	for (i = 0; lines[i]; i++) {
		if (g_ascii_strncasecmp(lines[i], name, strlen(name)) == 0 &&
		    lines[i][strlen(name)] == ':')
			return g_strstrip(g_strdup(lines[i] + strlen(name) + 1));
	}

	return NULL;
}

static void check_upgrade(json_object *connection)
{
	const char *request = vec_str(connection, "request"),
		   *response = vec_str(connection, "response");
	g_autofree char *key = request ? head_value(request, "Sec-WebSocket-Key") : NULL;
	g_autofree char *accept = response ? head_value(response, "Sec-WebSocket-Accept") : NULL;
	g_autofree char *joined = g_strconcat(key ? key : "", WEBSOCKET_GUID, NULL),
			*expected = NULL;
	GChecksum *sha = g_checksum_new(G_CHECKSUM_SHA1);
	guint8 digest[20];
	gsize len = sizeof(digest);

	g_checksum_update(sha, (const guchar *)joined, -1);
	g_checksum_get_digest(sha, digest, &len);
	g_checksum_free(sha);
	expected = g_base64_encode(digest, len);
	vec_ok(request && g_str_has_prefix(request, "GET /relay HTTP/1.1\r\n"), "request line");
	vec_ok(key && accept && g_str_has_prefix(response, "HTTP/1.1 101 ") &&
		       g_str_equal(accept, expected),
	       "Sec-WebSocket-Accept");
}

void vec_relay(json_object *file)
{
	json_object *connections = vec_get(file, "connections");
	gsize i, j, n = vec_len(connections);

	vec_ok(n > 0, "%" G_GSIZE_FORMAT " connections", n);
	check_token(file);
	check_peers(file);

	for (i = 0; i < n; i++) {
		json_object *connection = json_object_array_get_idx(connections, i),
			    *frames = vec_get(connection, "frames");

		vec_case("relay", vec_str(connection, "name"));
		check_upgrade(connection);

		for (j = 0; j < vec_len(frames); j++) {
			json_object *item = json_object_array_get_idx(frames, j);
			g_autoptr(GBytes) frame = vec_hex(item, "frame"),
					  message = vec_hex(item, "message");
			gsize frame_len, message_len;
			const guint8 *frame_data, *message_data;

			if (!message || !vec_get(item, "decoded")) {
				vec_ok(FALSE,
				       "frame %" G_GSIZE_FORMAT
				       ": message and decoded form are there",
				       j);
				continue;
			}

			message_data = g_bytes_get_data(message, &message_len);
			vec_ok(vec_bool(item, "masked", FALSE) ==
				       (g_strcmp0(vec_str(item, "dir"), "client->server") == 0),
			       "only clients mask");
			check_message(file, vec_get(item, "decoded"), message_data, message_len);

			if (frame) {
				frame_data = g_bytes_get_data(frame, &frame_len);
				check_frame(item, frame_data, frame_len, message_data, message_len);
			}
		}
	}
}
