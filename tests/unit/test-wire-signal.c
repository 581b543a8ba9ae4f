#include "config.h"

/* box.c and signalmsg.c without vectors: boundaries, and what a stranger may send. */

#include "base/limits.h"
#include "wire/box.h"
#include "wire/error.h"
#include "wire/pb.h"
#include "wire/signalmsg.h"

#include <string.h>

static const char *const own_public_text = "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw=";
static const char *const far_public_text = "Pry2khSTRNxU5YFgz5C+2e6h3RToHI6R3lV699ev2RU=";

static struct nbh_key own_private(void)
{
	struct nbh_key key;

	memcpy(key.bytes, "\x00\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", 16);
	memcpy(key.bytes + 16, "\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x60",
	       16);
	return key;
}

static struct nbh_key far_private(void)
{
	struct nbh_key key;

	memcpy(key.bytes, "\xf8\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7\xf6\xf5\xf4\xf3\xf2\xf1\xf0", 16);
	memcpy(key.bytes + 16, "\xef\xee\xed\xec\xeb\xea\xe9\xe8\xe7\xe6\xe5\xe4\xe3\xe2\xe1\x60",
	       16);
	return key;
}

static struct nbh_key key_of(const char *text)
{
	struct nbh_key key;

	g_assert_cmpint(nbh_key_parse(text, &key), ==, 0);
	return key;
}

/* netbird-wire.md 8.2. */
static void test_box_vector(void)
{
	static const guint8 plain[] = {0x08, 0x06};
	static const guint8 tail[] = {0xd1, 0x88, 0xe4, 0xb0, 0x25, 0x39, 0x48, 0x62, 0x97,
				      0x29, 0xab, 0x72, 0x70, 0xfe, 0x58, 0x0f, 0xb8, 0xf3};
	static const guint8 empty_tail[] = {0x32, 0x02, 0xd5, 0x97, 0x92, 0xf4, 0xc2, 0x2d,
					    0xe0, 0x42, 0x8c, 0x48, 0x16, 0xd4, 0xf5, 0x12};
	struct nbh_key a = own_private(), b = far_private();
	struct nbh_key a_public = key_of(own_public_text), b_public = key_of(far_public_text),
		       derived;
	g_autoptr(GBytes) sealed = NULL, opened = NULL, empty = NULL, opened_empty = NULL;
	guint8 nonce[24];
	const guint8 *data;
	gsize i, len;

	nbh_key_public(&a, &derived);
	g_assert_true(nbh_key_equal(&derived, &a_public));
	nbh_key_public(&b, &derived);
	g_assert_true(nbh_key_equal(&derived, &b_public));

	for (i = 0; i < sizeof(nonce); i++)
		nonce[i] = (guint8)i;

	sealed = nbh_box_seal(&a, &b_public, plain, sizeof(plain), nonce);
	data = g_bytes_get_data(sealed, &len);
	g_assert_cmpmem(data, 24, nonce, 24);
	g_assert_cmpmem(data + 24, len - 24, tail, sizeof(tail));
	opened = nbh_box_open(&b, &a_public, data, len);
	g_assert_nonnull(opened);
	g_assert_cmpmem(g_bytes_get_data(opened, NULL), g_bytes_get_size(opened), plain,
			sizeof(plain));

	empty = nbh_box_seal(&a, &b_public, NULL, 0, nonce);
	data = g_bytes_get_data(empty, &len);
	g_assert_cmpuint(len, ==, NBH_BOX_OVERHEAD);
	g_assert_cmpmem(data + 24, len - 24, empty_tail, sizeof(empty_tail));
	opened_empty = nbh_box_open(&b, &a_public, data, len);
	g_assert_nonnull(opened_empty);
	g_assert_cmpuint(g_bytes_get_size(opened_empty), ==, 0);
}

/* More pairs than are kept, with two keys of our own, forth and back: each opens, and only its own. */
static void test_box_pairs(void)
{
	enum { N = 3 * NBH_BOX_PAIRS_KEPT };
	g_autofree struct nbh_key *far = g_new(struct nbh_key, N), *far_public = g_new(struct nbh_key, N);
	struct nbh_key own[2], own_public[2];

	for (guint i = 0; i < G_N_ELEMENTS(own); i++) {
		nbh_key_generate_private(&own[i]);
		nbh_key_public(&own[i], &own_public[i]);
	}

	for (guint i = 0; i < N; i++) {
		nbh_key_generate_private(&far[i]);
		nbh_key_public(&far[i], &far_public[i]);
	}

	for (guint i = 0; i < 4 * N; i++) {
		guint at = i % N, which = i / N % 2;
		g_autoptr(GBytes) sealed = nbh_box_seal(&far[at], &own_public[which], (const guint8 *)&i, sizeof(i), NULL);
		g_autoptr(GBytes) opened = NULL;
		gsize len;
		const guint8 *data = g_bytes_get_data(sealed, &len);

		g_assert_null(nbh_box_open(&own[!which], &far_public[at], data, len));
		g_assert_null(nbh_box_open(&own[which], &far_public[(at + 1) % N], data, len));
		opened = nbh_box_open(&own[which], &far_public[at], data, len);
		g_assert_nonnull(opened);
		g_assert_cmpmem(g_bytes_get_data(opened, NULL), g_bytes_get_size(opened), &i, sizeof(i));
	}
}

static void test_box_refuses(void)
{
	struct nbh_key a = own_private(), b = far_private();
	struct nbh_key a_public = key_of(own_public_text), b_public = key_of(far_public_text);
	struct nbh_key low_order = {{0}};
	g_autoptr(GBytes) sealed = nbh_box_seal(&a, &b_public, (const guint8 *)"hello", 5, NULL);
	g_autoptr(GBytes) again = nbh_box_seal(&a, &b_public, (const guint8 *)"hello", 5, NULL);
	guint8 copy[NBH_BOX_OVERHEAD + 5];
	gsize i;

	g_assert_false(g_bytes_equal(sealed, again)); /* another nonce each time */
	g_assert_null(nbh_box_seal(&a, &low_order, (const guint8 *)"hello", 5, NULL));

	for (i = 0; i < sizeof(copy); i++) {
		memcpy(copy, g_bytes_get_data(sealed, NULL), sizeof(copy));
		g_assert_null(nbh_box_open(&b, &a_public, copy, i)); /* every truncation */
		copy[i] ^= 0x10;
		g_assert_null(nbh_box_open(&b, &a_public, copy, sizeof(copy)));
	}

	g_assert_null(nbh_box_open(&b, &b_public, g_bytes_get_data(sealed, NULL), sizeof(copy)));
}

static NbhSignalMessage offer(void)
{
	NbhSignalMessage message = {
		.type = NBH_SIGNAL_OFFER,
		.has_ice = TRUE,
		.creds = {"abcd", "0123456789abcdefghij+/"},
		.session = {TRUE, {1, 2, 3, 4, 5}},
		.wg_listen_port = 51820,
		.version = "0.77.1+nbh",
		.relay_address = "rel://relay.example:80",
		.relay_ip = {AF_INET, {192, 0, 2, 1}},
	};

	return message;
}

static void test_body_bytes(void)
{
	/* What an official client writes for the same content: field order, no type, 3a 00. */
	static const guint8 expected[] = "\x12\x1b"
					 "abcd:0123456789abcdefghij+/"
					 "\x18\xec\x94\x03"
					 "\x22\x0a"
					 "0.77.1+nbh"
					 "\x3a\x00"
					 "\x42\x16"
					 "rel://relay.example:80"
					 "\x52\x05\x01\x02\x03\x04\x05"
					 "\x5a\x04\xc0\x00\x02\x01";
	static const guint8 idle[] = {0x08, 0x05};
	NbhSignalMessage message = offer();
	NbhSignalMessage other = {.type = NBH_SIGNAL_GO_IDLE};
	g_autoptr(GBytes) body = nbh_signal_body_encode(&message);
	g_autoptr(GBytes) idle_body = nbh_signal_body_encode(&other);

	g_assert_cmpmem(g_bytes_get_data(body, NULL), g_bytes_get_size(body), expected,
			sizeof(expected) - 1);
	g_assert_cmpmem(g_bytes_get_data(idle_body, NULL), g_bytes_get_size(idle_body), idle,
			sizeof(idle));
}

static void assert_messages_equal(const NbhSignalMessage *a, const NbhSignalMessage *b)
{
	g_assert_cmpuint(a->type, ==, b->type);
	g_assert_cmpint(a->has_ice, ==, b->has_ice);
	g_assert_cmpstr(a->creds.ufrag, ==, b->creds.ufrag);
	g_assert_cmpstr(a->creds.pwd, ==, b->creds.pwd);
	g_assert_cmpint(a->session.present, ==, b->session.present);
	g_assert_cmpmem(a->session.bytes, NBH_SESSION_ID_LEN, b->session.bytes, NBH_SESSION_ID_LEN);
	g_assert_cmpuint(a->wg_listen_port, ==, b->wg_listen_port);
	g_assert_cmpstr(a->version, ==, b->version);
	g_assert_cmpstr(a->relay_address, ==, b->relay_address);
	g_assert_true(nbh_addr_equal(&a->relay_ip, &b->relay_ip));
	g_assert_cmpstr(a->candidate, ==, b->candidate);
}

static void test_round_trip(void)
{
	struct nbh_key a = own_private(), b = far_private(), from, to, far;
	struct nbh_key a_public = key_of(own_public_text), b_public = key_of(far_public_text);
	NbhSignalMessage messages[] = {offer(),
				       offer(),
				       {.type = NBH_SIGNAL_CANDIDATE, .candidate = "1 1 udp"},
				       {.type = NBH_SIGNAL_GO_IDLE},
				       {.type = NBH_SIGNAL_HEARTBEAT},
				       {.type = NBH_SIGNAL_MODE},
				       {.type = NBH_SIGNAL_ANSWER},
				       {.type = 99}};
	gsize i;

	messages[1].type = NBH_SIGNAL_ANSWER;
	messages[1].session.present = FALSE;
	memset(messages[1].session.bytes, 0, NBH_SESSION_ID_LEN);
	messages[1].relay_ip = (struct nbh_addr){AF_INET6, {0x20, 0x01, 0x0d, 0xb8, [15] = 7}};

	for (i = 0; i < G_N_ELEMENTS(messages); i++) {
		g_autoptr(GBytes) envelope =
			nbh_signal_seal(&a, &a_public, &b_public, &messages[i]);
		const guint8 *data = g_bytes_get_data(envelope, NULL);
		gsize len = g_bytes_get_size(envelope);
		g_autoptr(GError) error = NULL;
		NbhSignalMessage got;

		g_assert_true(nbh_signal_route(data, len, &from, &to, &error));
		g_assert_true(nbh_key_equal(&from, &a_public));
		g_assert_true(nbh_key_equal(&to, &b_public));
		g_assert_true(nbh_signal_open(&b, data, len, &far, &got, &error));
		g_assert_no_error(error);
		g_assert_true(nbh_key_equal(&far, &a_public));
		assert_messages_equal(&got, &messages[i]);
	}
}

/* A Body made by hand, decoded. */
static gboolean decode(Nbs__Body *body, NbhSignalMessage *ret_message, GError **error)
{
	g_autoptr(GBytes) plain = nbh_pb_pack(&body->base);

	return nbh_signal_body_decode(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain),
				      ret_message, error);
}

static char *repeated(char c, gsize n)
{
	char *text = g_malloc(n + 1);

	memset(text, c, n);
	text[n] = '\0';
	return text;
}

static void test_payloads(void)
{
	g_autofree char *ufrag_max = repeated('u', NBH_ICE_UFRAG_MAX),
			*ufrag_above = repeated('u', NBH_ICE_UFRAG_MAX + 1);
	g_autofree char *pwd_max = repeated('p', NBH_ICE_PWD_MAX),
			*pwd_above = repeated('p', NBH_ICE_PWD_MAX + 1);
	g_autofree char *largest = g_strconcat(ufrag_max, ":", pwd_max, NULL);
	g_autofree char *long_ufrag = g_strconcat(ufrag_above, ":p", NULL),
			*long_pwd = g_strconcat("u:", pwd_above, NULL);
	const struct {
		const char *payload;
		gboolean ok, has_ice;
	} cases[] = {
		{"u:p", TRUE, TRUE},	    {":", TRUE, FALSE},	      {NULL, FALSE, FALSE},
		{"", FALSE, FALSE},	    {"u", FALSE, FALSE},      {"u:p:", FALSE, FALSE},
		{"::", FALSE, FALSE},	    {"u:", FALSE, FALSE},     {":p", FALSE, FALSE},
		{"u p:x", FALSE, FALSE},    {"u:p\n", FALSE, FALSE},  {largest, TRUE, TRUE},
		{long_ufrag, FALSE, FALSE}, {long_pwd, FALSE, FALSE},
	};
	gsize i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		Nbs__Body body = NBS__BODY__INIT;
		g_autoptr(GError) error = NULL;
		NbhSignalMessage message;
		gboolean ok;

		body.payload = (char *)cases[i].payload;
		ok = decode(&body, &message, &error);
		g_assert_cmpint(ok, ==, cases[i].ok);

		if (ok)
			g_assert_cmpint(message.has_ice, ==, cases[i].has_ice);
		else
			g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED);
	}
}

static void test_offer_extras(void)
{
	static guint8 id[6] = {9, 8, 7, 6, 5, 4};
	static guint8 mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 9};
	g_autofree char *address_max = repeated('r', 255), *address_above = repeated('r', 256);
	g_autofree char *version = repeated('v', 100);
	Nbs__Body body = NBS__BODY__INIT;
	NbhSignalMessage message;
	gsize len;

	body.payload = (char *)"u:p";

	for (len = 0; len <= 6; len++) { /* netbird-wire.md 4.3: another length than 5 is absent */
		body.has_sessionid = TRUE;
		body.sessionid = nbh_pb_bytes(id, len);
		g_assert_true(decode(&body, &message, NULL));
		g_assert_cmpint(message.session.present, ==, len == 5);
	}

	for (len = 0; len <= 16; len++) {
		body.has_relayserverip = TRUE;
		body.relayserverip = nbh_pb_bytes(mapped, len);
		g_assert_true(decode(&body, &message, NULL));
		g_assert_cmpint(message.relay_ip.family, ==, len == 4 || len == 16 ? AF_INET : 0);
	}

	g_assert_cmpmem(message.relay_ip.bytes, 4, mapped + 12, 4);

	body.relayserveraddress = address_max;
	body.netbirdversion = version;
	g_assert_true(decode(&body, &message, NULL));
	g_assert_cmpstr(message.relay_address, ==, address_max);
	g_assert_cmpuint(strlen(message.version), ==, sizeof(message.version) - 1);

	body.relayserveraddress = address_above; /* never cut: it is compared as a whole */
	body.netbirdversion = (char *)"1\n2\x7f\xff";
	g_assert_true(decode(&body, &message, NULL));
	g_assert_cmpstr(message.relay_address, ==, "");
	g_assert_cmpstr(message.version, ==, "1?2?\xef\xbf\xbd");

	body.relayserveraddress = (char *)"rel://a b";
	g_assert_true(decode(&body, &message, NULL));
	g_assert_cmpstr(message.relay_address, ==, "");
}

static void test_candidate_length(void)
{
	g_autofree char *max = repeated('c', NBH_CANDIDATE_TEXT_MAX_BYTES - 1);
	g_autofree char *above = repeated('c', NBH_CANDIDATE_TEXT_MAX_BYTES);
	Nbs__Body body = NBS__BODY__INIT;
	NbhSignalMessage message;

	body.has_type = TRUE;
	body.type = NBS__BODY__TYPE__CANDIDATE;
	g_assert_false(decode(&body, &message, NULL));
	body.payload = max;
	g_assert_true(decode(&body, &message, NULL));
	g_assert_cmpstr(message.candidate, ==, max);
	body.payload = above;
	g_assert_false(decode(&body, &message, NULL));
}

static void test_body_limit(void)
{
	g_autofree guint8 *large = g_malloc0(NBH_SIGNAL_BODY_MAX_BYTES + 1);
	NbhSignalMessage message;
	gsize len;

	/* GO_IDLE with an unknown field 1000 of bytes that fills the rest: skipped. */
	for (len = NBH_SIGNAL_BODY_MAX_BYTES - 1; len <= NBH_SIGNAL_BODY_MAX_BYTES + 1; len++) {
		g_autoptr(GError) error = NULL;
		guint rest = (guint)len - 7;

		memcpy(large, "\x08\x05\xc2\x3e", 4);
		large[4] = (guint8)(rest | 0x80);
		large[5] = (guint8)(rest >> 7 | 0x80);
		large[6] = (guint8)(rest >> 14);
		g_assert_cmpint(nbh_signal_body_decode(large, len, &message, &error), ==,
				len <= NBH_SIGNAL_BODY_MAX_BYTES);

		if (len > NBH_SIGNAL_BODY_MAX_BYTES)
			g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT);
		else
			g_assert_cmpuint(message.type, ==, NBH_SIGNAL_GO_IDLE);
	}
}

static void test_envelope_refuses(void)
{
	struct nbh_key a = own_private(), b = far_private();
	struct nbh_key a_public = key_of(own_public_text), b_public = key_of(far_public_text);
	NbhSignalMessage message = offer(), got;
	g_autoptr(GBytes) envelope = nbh_signal_seal(&a, &a_public, &b_public, &message);
	g_autofree guint8 *copy =
		g_memdup2(g_bytes_get_data(envelope, NULL), g_bytes_get_size(envelope));
	gsize len = g_bytes_get_size(envelope);
	g_autoptr(GError) error = NULL;
	struct nbh_key far, to;

	g_assert_false(nbh_signal_open(&a, copy, len, &far, &got, &error)); /* for somebody else */
	g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_SEALED);
	g_clear_error(&error);

	copy[2] = '!'; /* the first character of key */
	g_assert_false(nbh_signal_open(&b, copy, len, &far, &got, &error));
	g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED);
	g_clear_error(&error);
	copy[2] = 'B';

	copy[48] = '!'; /* of remoteKey: only the hub's routing needs it */
	g_assert_true(nbh_signal_open(&b, copy, len, &far, &got, &error));
	g_assert_false(nbh_signal_route(copy, len, &far, &to, &error));
	g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/wire/box/vector", test_box_vector);
	g_test_add_func("/wire/box/pairs", test_box_pairs);
	g_test_add_func("/wire/box/refuses", test_box_refuses);
	g_test_add_func("/wire/signal/bytes", test_body_bytes);
	g_test_add_func("/wire/signal/round-trip", test_round_trip);
	g_test_add_func("/wire/signal/payloads", test_payloads);
	g_test_add_func("/wire/signal/offer-extras", test_offer_extras);
	g_test_add_func("/wire/signal/candidate-length", test_candidate_length);
	g_test_add_func("/wire/signal/body-limit", test_body_limit);
	g_test_add_func("/wire/signal/envelope-refuses", test_envelope_refuses);
	return g_test_run();
}
