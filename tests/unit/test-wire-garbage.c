#include "config.h"

/*
 * Every recorded message, cut and with flipped bits, through every decoder. The buffers are exactly
 * as long as the input, so that AddressSanitizer sees one byte too far. Seeded: a failure repeats.
 */

#include "wire/mgmtmsg.h"
#include "wire/pb.h"
#include "wire/signalmsg.h"
#include "wire/stun.h"

#include <json-c/json.h>
#include <string.h>

#define SEED 20261121
#define CUTS_MAX 24 /* per message */
#define FLIPS_MAX 24
#define MESSAGE_MAX 8192 /* longer ones are cut to this first; they repeat themselves */

static struct nbh_key private_key;

/* A failed decoder leaves its result alone and says why. */
static void check_failure(const void *result, gsize size, const GError *error)
{
	const guint8 *p = result;
	gsize i;

	g_assert_nonnull(error);
	g_assert_true(g_utf8_validate(error->message, -1, NULL));

	for (i = 0; i < size; i++)
		g_assert_cmpuint(p[i], ==, 0xa5);
}

static void try_updates(const guint8 *p, gsize n)
{
	NbhMgmtUpdate update;
	GError *error = NULL;
	gsize i;

	memset(&update, 0xa5, sizeof(update));

	if (nbh_mgmt_decode_sync(p, n, NULL, &update, &error)) {
		for (i = 0; update.map && i < update.map->n_peers; i++)
			g_assert_true(g_utf8_validate(update.map->peers[i].fqdn, -1, NULL));

		nbh_mgmt_update_clear(&update);
	} else {
		check_failure(&update, sizeof(update), error);
		g_clear_error(&error);
	}

	memset(&update, 0xa5, sizeof(update));

	if (nbh_mgmt_decode_login(p, n, &update, &error)) {
		nbh_mgmt_update_clear(&update);
	} else {
		check_failure(&update, sizeof(update), error);
		g_clear_error(&error);
	}
}

static void try_requests(const guint8 *p, gsize n)
{
	NbhLoginRequest request;
	GError *error = NULL;

	memset(&request, 0xa5, sizeof(request));

	if (nbh_mgmt_decode_login_request(p, n, &request, &error)) {
		g_assert_true(g_utf8_validate(request.hostname, -1, NULL));
		nbh_login_request_clear(&request);
	} else {
		check_failure(&request, sizeof(request), error);
		g_clear_error(&error);
	}

	memset(&request, 0xa5, sizeof(request));

	if (nbh_mgmt_decode_sync_request(p, n, &request, &error)) {
		nbh_login_request_clear(&request);
	} else {
		check_failure(&request, sizeof(request), error);
		g_clear_error(&error);
	}
}

static void try_envelopes(const guint8 *p, gsize n)
{
	g_autofree NbhSignalMessage *message = g_new(NbhSignalMessage, 1);
	struct nbh_key keys[2];
	GError *error = NULL;

	memset(keys, 0xa5, sizeof(keys));

	if (!nbh_mgmt_sender(p, n, &keys[0], &error)) {
		check_failure(keys, sizeof(keys), error);
		g_clear_error(&error);
	}

	memset(keys, 0xa5, sizeof(keys));

	if (!nbh_mgmt_decode_server_key(p, n, &keys[0], &error)) {
		check_failure(keys, sizeof(keys), error);
		g_clear_error(&error);
	}

	memset(keys, 0xa5, sizeof(keys));

	if (!nbh_signal_route(p, n, &keys[0], &keys[1], &error)) {
		check_failure(keys, sizeof(keys), error);
		g_clear_error(&error);
	}

	memset(keys, 0xa5, sizeof(keys));
	memset(message, 0xa5, sizeof(*message));

	if (!nbh_signal_open(&private_key, p, n, &keys[0], message, &error)) {
		check_failure(keys, sizeof(keys), error);
		check_failure(message, sizeof(*message), error);
		g_clear_error(&error);
	}

	if (nbh_signal_body_decode(p, n, message, &error)) {
		/* What was understood can be said again. */
		g_autoptr(GBytes) again = nbh_signal_body_encode(message);

		g_assert_true(nbh_signal_body_decode(g_bytes_get_data(again, NULL),
						     g_bytes_get_size(again), message, &error));
	} else {
		check_failure(message, sizeof(*message), error);
		g_clear_error(&error);
	}
}

static void try_stun(const guint8 *p, gsize n)
{
	g_autofree guint8 *copy = g_malloc(n + NBH_STUN_PAIR_ID_ROOM);
	guint8 pair_id[NBH_STUN_PAIR_ID_LEN] = {0};
	char ufrag[NBH_ICE_UFRAG_MAX + 1];
	struct nbh_endpoint mapped;
	gboolean cut;
	gsize len;

	nbh_stun_local_ufrag(p, n, ufrag);
	nbh_stun_pair_id(p, n, pair_id);
	nbh_stun_check_integrity(p, n, "password");
	nbh_stun_check_fingerprint(p, n);
	nbh_stun_mapped_address(p, n, &mapped);
	memcpy(copy, p, n);
	len = nbh_stun_trim(copy, n, &cut);
	g_assert_cmpuint(len, <=, n);
	g_assert_true(!cut || nbh_stun_is_message(copy, len));
	len = nbh_stun_echo_pair_id(copy, len, pair_id);
	g_assert_cmpuint(len, <=, n + NBH_STUN_PAIR_ID_ROOM);
}

static void try_texts(const guint8 *p, gsize n)
{
	g_autofree char *text = g_strndup((const char *)p, MIN(n, 600)),
			*shown = nbh_pb_text(text, 20);
	char host[64];
	guint16 port;
	gboolean turn, tls;

	nbh_stun_uri_parse(text, host, sizeof(host), &port, &turn, &tls);
	g_assert_true(g_utf8_validate(shown, -1, NULL));
	g_assert_cmpuint(strlen(shown), <=, 20);
}

static void try_all(const guint8 *data, gsize n)
{
	g_autofree guint8 *exact = g_malloc(n ? n : 1);

	memcpy(exact, data, n);
	try_updates(exact, n);
	try_requests(exact, n);
	try_envelopes(exact, n);
	try_stun(exact, n);
	try_texts(exact, n);
}

static void mutate(GRand *rand, const guint8 *data, gsize n)
{
	g_autofree guint8 *copy = g_memdup2(data, n);
	gsize i, j, step = MAX(n / CUTS_MAX, 1);

	for (i = 0; i <= n; i += step)
		try_all(data, i);

	for (i = 0; n > 0 && i < FLIPS_MAX; i++) {
		memcpy(copy, data, n);

		for (j = 0; j <= i % 4; j++)
			copy[g_rand_int_range(rand, 0, (gint32)n)] ^=
				(guint8)(1u << g_rand_int_range(rand, 0, 8));

		try_all(copy, n);
	}
}

static GBytes *from_hex(const char *text)
{
	gsize i, len = strlen(text) / 2;
	guint8 *data = g_malloc(len + 1);

	for (i = 0; i < len; i++)
		data[i] = (guint8)(g_ascii_xdigit_value(text[2 * i]) << 4 |
				   g_ascii_xdigit_value(text[2 * i + 1]));

	return g_bytes_new_take(data, len);
}

/* Every hexadecimal text under these names, wherever it is. Returns how many. */
static guint walk(GRand *rand, json_object *value)
{
	guint n = 0;
	gsize i;

	if (json_object_is_type(value, json_type_array)) {
		for (i = 0; i < json_object_array_length(value); i++)
			n += walk(rand, json_object_array_get_idx(value, i));
	}

	if (!json_object_is_type(value, json_type_object))
		return n;

	json_object_object_foreach(value, key, member)
	{
		if (json_object_is_type(member, json_type_string) &&
		    (g_str_equal(key, "plain") || g_str_equal(key, "envelope") ||
		     g_str_equal(key, "packet"))) {
			g_autoptr(GBytes) bytes = from_hex(json_object_get_string(member));

			mutate(rand, g_bytes_get_data(bytes, NULL),
			       MIN(g_bytes_get_size(bytes), MESSAGE_MAX));
			n++;
		} else {
			n += walk(rand, member);
		}
	}

	return n;
}

static void test_file(gconstpointer data)
{
	g_autofree char *path = g_build_filename(g_getenv("abs_top_srcdir"), "tests", "data",
						 "vectors", data, NULL);
	json_object *file = json_object_from_file(path);
	GRand *rand = g_rand_new_with_seed(SEED);
	guint n;

	g_assert_nonnull(file);
	n = walk(rand, file);
	g_test_message("%s: %u messages", path, n);
	g_assert_cmpuint(n, >, 50);
	g_rand_free(rand);
	json_object_put(file);
}

static void test_noise(void)
{
	GRand *rand = g_rand_new_with_seed(SEED);
	guint8 noise[256];
	gsize i, j, n;

	for (i = 0; i < 2000; i++) {
		n = (gsize)g_rand_int_range(rand, 0, sizeof(noise) + 1);

		for (j = 0; j < n; j++)
			noise[j] = (guint8)g_rand_int_range(rand, 0, 256);

		/* Half of them look like STUN, or they would end at the cookie. */
		if (i % 2 && n >= 20) {
			memcpy(noise, "\x00\x01\x00\x00\x21\x12\xa4\x42", 8);
			noise[3] = (guint8)((n - 20) & ~(gsize)3);
		}

		try_all(noise, n);
	}

	g_rand_free(rand);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	nbh_key_generate_private(&private_key);
	g_test_add_data_func("/wire/garbage/management", "management.json", test_file);
	g_test_add_data_func("/wire/garbage/signal", "signal.json", test_file);
	g_test_add_data_func("/wire/garbage/stun", "stun.json", test_file);
	g_test_add_func("/wire/garbage/noise", test_noise);
	return g_test_run();
}
