#include "config.h"

/* stun.c and stun-uri.c: the RFC's own vectors, boundaries, and every way to be no STUN. */

#include "wire/stun.h"

#include <string.h>

/* RFC 5769 2.1 to 2.3; the password is theirs. */
static const char password[] = "VOkJxbRl1RmTxUk/WvJxBt";
static const guint8 txid[] = {0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34,
			      0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae};

static const guint8 request[] =
	"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae"
	"\x80\x22\x00\x10STUN test client"
	"\x00\x24\x00\x04\x6e\x00\x01\xff"
	"\x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36"
	"\x00\x06\x00\x09"
	"evtj:h6vY   "
	"\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5"
	"\x71\xa2"
	"\x80\x28\x00\x04\xe5\x7a\x3b\xcf";

static const guint8 answer_v4[] =
	"\x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae"
	"\x80\x22\x00\x0btest vector "
	"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43"
	"\x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b"
	"\xe7\xd7"
	"\x80\x28\x00\x04\xc0\x7d\x4c\x96";

static const guint8 answer_v6[] =
	"\x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae"
	"\x80\x22\x00\x0btest vector "
	"\x00\x20\x00\x14\x00\x02\xa1\x47"
	"\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9"
	"\x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3"
	"\xed\x41"
	"\x80\x28\x00\x04\xc8\xfb\x0b\x4c";

#define LEN(a) (sizeof(a) - 1)

static void test_rfc_request(void)
{
	char ufrag[NBH_ICE_UFRAG_MAX + 1];
	guint8 changed[LEN(request)];
	gsize i;

	g_assert_true(nbh_stun_is_message(request, LEN(request)));
	g_assert_cmpint(nbh_stun_class(request), ==, NBH_STUN_REQUEST);
	g_assert_cmpuint(nbh_stun_method(request), ==, 1);
	g_assert_cmpmem(nbh_stun_txid(request), 12, txid, 12);
	g_assert_true(nbh_stun_local_ufrag(request, LEN(request), ufrag));
	g_assert_cmpstr(ufrag, ==, "evtj");
	g_assert_true(nbh_stun_check_fingerprint(request, LEN(request)));
	g_assert_true(nbh_stun_check_integrity(request, LEN(request), password));
	g_assert_false(nbh_stun_check_integrity(request, LEN(request), ""));

	/* Any changed byte is noticed by the fingerprint. */
	for (i = 0; i < LEN(request); i++) {
		memcpy(changed, request, sizeof(changed));
		changed[i] ^= 1;
		g_assert_false(nbh_stun_check_fingerprint(changed, sizeof(changed)));
	}
}

static void test_rfc_answers(void)
{
	struct nbh_endpoint mapped, expected;

	g_assert_cmpint(nbh_stun_class(answer_v4), ==, NBH_STUN_SUCCESS);
	g_assert_true(nbh_stun_check_integrity(answer_v4, LEN(answer_v4), password));
	g_assert_true(nbh_stun_check_fingerprint(answer_v4, LEN(answer_v4)));
	g_assert_true(nbh_stun_mapped_address(answer_v4, LEN(answer_v4), &mapped));
	g_assert_cmpint(nbh_endpoint_parse("192.0.2.1:32853", &expected), ==, 0);
	g_assert_true(nbh_endpoint_equal(&mapped, &expected));

	g_assert_true(nbh_stun_check_integrity(answer_v6, LEN(answer_v6), password));
	g_assert_true(nbh_stun_check_fingerprint(answer_v6, LEN(answer_v6)));
	g_assert_true(nbh_stun_mapped_address(answer_v6, LEN(answer_v6), &mapped));
	g_assert_cmpint(
		nbh_endpoint_parse("[2001:db8:1234:5678:11:2233:4455:6677]:32853", &expected), ==,
		0);
	g_assert_true(nbh_endpoint_equal(&mapped, &expected));
}

static void test_own_messages(void)
{
	const char *const texts[] = {"198.51.100.7:1", "[2001:db8::1]:65535"};
	guint8 p[128];
	gsize i, room, n;

	n = nbh_stun_make_request(p, txid);
	g_assert_cmpuint(n, ==, 20);
	g_assert_true(nbh_stun_is_message(p, n));
	g_assert_cmpint(nbh_stun_class(p), ==, NBH_STUN_REQUEST);

	for (i = 0; i < G_N_ELEMENTS(texts); i++) {
		struct nbh_endpoint mapped, got;

		g_assert_cmpint(nbh_endpoint_parse(texts[i], &mapped), ==, 0);
		n = nbh_stun_make_answer(p, sizeof(p), txid, &mapped);
		g_assert_true(nbh_stun_check_fingerprint(p, n));
		g_assert_true(nbh_stun_mapped_address(p, n, &got) &&
			      nbh_endpoint_equal(&got, &mapped));
		g_assert_false(nbh_stun_check_integrity(p, n, password));

		n = nbh_stun_make_ice_answer(p, sizeof(p), txid, &mapped, password);
		g_assert_cmpint(nbh_stun_class(p), ==, NBH_STUN_SUCCESS);
		g_assert_true(nbh_stun_check_fingerprint(p, n));
		g_assert_true(nbh_stun_check_integrity(p, n, password));
		g_assert_true(nbh_stun_mapped_address(p, n, &got) &&
			      nbh_endpoint_equal(&got, &mapped));

		/* A password that is not set yet is no password. */
		g_assert_cmpuint(nbh_stun_make_ice_answer(p, sizeof(p), txid, &mapped, ""), ==, n);
		g_assert_false(nbh_stun_check_integrity(p, n, ""));

		for (room = 0; room < n; room++)
			g_assert_cmpuint(nbh_stun_make_ice_answer(p, room, txid, &mapped, password),
					 ==, 0);

		g_assert_cmpuint(nbh_stun_make_ice_answer(p, n, txid, &mapped, password), ==, n);
	}
}

static void test_no_message(void)
{
	guint8 p[LEN(request)];
	gsize n;

	for (n = 0; n < LEN(request); n++) /* the header says more than there is */
		g_assert_false(nbh_stun_is_message(request, n));

	memcpy(p, request, sizeof(p));
	p[0] = 0x40; /* RFC 7983: a TURN channel */
	g_assert_false(nbh_stun_is_message(p, sizeof(p)));
	memcpy(p, request, sizeof(p));
	p[3] = 0x57; /* no multiple of 4 */
	g_assert_false(nbh_stun_is_message(p, sizeof(p)));
	memcpy(p, request, sizeof(p));
	p[7] ^= 1;
	g_assert_false(nbh_stun_is_message(p, sizeof(p)));
}

/* Appends an attribute and corrects the length. */
static gsize append(guint8 *p, gsize n, guint type, const char *value, gsize len)
{
	gsize whole = (len + 3) & ~(gsize)3;

	memset(p + n, 0, 4 + whole);
	p[n] = (guint8)(type >> 8);
	p[n + 1] = (guint8)type;
	p[n + 2] = (guint8)(len >> 8);
	p[n + 3] = (guint8)len;
	memcpy(p + n + 4, value, len);
	n += 4 + whole;
	p[2] = (guint8)((n - 20) >> 8);
	p[3] = (guint8)(n - 20);
	return n;
}

static void test_trim(void)
{
	guint8 p[512];
	gboolean cut;
	gsize n;

	/* Nothing behind FINGERPRINT. */
	memcpy(p, request, LEN(request));
	g_assert_cmpuint(nbh_stun_trim(p, LEN(request), &cut), ==, LEN(request));
	g_assert_false(cut);

	/* One and two attributes behind it, and bytes behind the message. */
	n = append(p, LEN(request), 0x8100, "x:y", 3);
	g_assert_cmpuint(nbh_stun_trim(p, n, &cut), ==, LEN(request));
	g_assert_true(cut);
	g_assert_cmpmem(p, LEN(request), request, LEN(request));
	n = append(p, LEN(request), 0x8100, "x:y", 3);
	n = append(p, n, 0x8101, "", 0);
	g_assert_cmpuint(nbh_stun_trim(p, n, &cut), ==, LEN(request));
	g_assert_cmpmem(p, LEN(request), request, LEN(request));
	g_assert_cmpuint(nbh_stun_trim(p, LEN(request) + 5, &cut), ==, LEN(request));
	g_assert_true(cut);

	/* No FINGERPRINT, or one that is none: as it is. */
	n = append(p, nbh_stun_make_request(p, txid), 0x8100, "x:y", 3);
	g_assert_cmpuint(nbh_stun_trim(p, n, &cut), ==, n);
	g_assert_false(cut);
	n = append(p, n, 0x8028, "12345", 5);
	n = append(p, n, 0x8100, "x:y", 3);
	g_assert_cmpuint(nbh_stun_trim(p, n, &cut), ==, n);
	g_assert_false(cut);

	/* An attribute that is longer than the message hides what follows. */
	memcpy(p, request, LEN(request));
	p[22] = 0xff;
	g_assert_cmpuint(nbh_stun_trim(p, LEN(request), &cut), ==, LEN(request));
	g_assert_false(cut);

	/* No STUN at all. */
	memset(p, 1, sizeof(p));
	g_assert_cmpuint(nbh_stun_trim(p, sizeof(p), &cut), ==, sizeof(p));
	g_assert_false(cut);
	g_assert_cmpuint(nbh_stun_trim(p, 0, &cut), ==, 0);
}

static void test_pair_id(void)
{
	static const char ab[] =
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
	static const char ba[] =
		"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	static const char early[] =
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:abbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
	guint8 p[512], pair_id[NBH_STUN_PAIR_ID_LEN];
	gboolean cut;
	gsize n;

	memcpy(p, request, LEN(request));
	g_assert_false(nbh_stun_pair_id(p, LEN(request), pair_id));
	n = append(p, LEN(request), 0x8100, ab, 65);
	g_assert_true(nbh_stun_pair_id(p, n, pair_id));
	g_assert_cmpmem(pair_id, 65, ab, 65);

	n = append(p, LEN(request), 0x8100, ab,
		   64); /* one too short, one too long, colon elsewhere */
	g_assert_false(nbh_stun_pair_id(p, n, pair_id));
	n = append(p, LEN(request), 0x8100, ab, 66);
	g_assert_false(nbh_stun_pair_id(p, n, pair_id));
	n = append(p, LEN(request), 0x8100, early, 65);
	g_assert_false(nbh_stun_pair_id(p, n, pair_id));

	memcpy(p, answer_v4, LEN(answer_v4));
	n = nbh_stun_echo_pair_id(p, LEN(answer_v4), (const guint8 *)ab);
	g_assert_cmpuint(n, ==, LEN(answer_v4) + NBH_STUN_PAIR_ID_ROOM);
	g_assert_true(nbh_stun_pair_id(p, n, pair_id));
	g_assert_cmpmem(pair_id, 65, ba, 65);
	g_assert_true(nbh_stun_check_integrity(p, n, password)); /* outside of its scope */
	g_assert_cmpuint(nbh_stun_trim(p, n, &cut), ==, LEN(answer_v4));
	g_assert_true(nbh_stun_check_fingerprint(p, LEN(answer_v4)));

	/* Not behind what is no message, or behind bytes that are not part of it. */
	g_assert_cmpuint(nbh_stun_echo_pair_id(p, LEN(answer_v4) - 1, (const guint8 *)ab), ==,
			 LEN(answer_v4) - 1);
	g_assert_cmpuint(nbh_stun_echo_pair_id(p, LEN(answer_v4) + 1, (const guint8 *)ab), ==,
			 LEN(answer_v4) + 1);
}

static void test_largest(void)
{
	static const char ab[] =
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
	g_autofree guint8 *p = g_malloc0(20 + 0xfffc + NBH_STUN_PAIR_ID_ROOM);
	gsize len;

	/* The length field ends at 0xfffc: the echo fits exactly once. */
	for (len = 0xfffc - NBH_STUN_PAIR_ID_ROOM - 4; len <= 0xfffc - NBH_STUN_PAIR_ID_ROOM + 4;
	     len += 4) {
		gsize n = 20 + len;
		gboolean fits = len + NBH_STUN_PAIR_ID_ROOM <= 0xfffc;

		nbh_stun_make_request(p, txid);
		p[2] = (guint8)(len >> 8);
		p[3] = (guint8)len;
		g_assert_cmpuint(nbh_stun_echo_pair_id(p, n, (const guint8 *)ab), ==,
				 fits ? n + NBH_STUN_PAIR_ID_ROOM : n);
	}
}

static void test_ufrag(void)
{
	char longest[NBH_ICE_UFRAG_MAX + 4], ufrag[NBH_ICE_UFRAG_MAX + 1];
	guint8 p[512];
	gsize n, len;

	for (len = NBH_ICE_UFRAG_MAX - 1; len <= NBH_ICE_UFRAG_MAX + 1; len++) {
		memset(longest, 'u', len);
		longest[len] = ':';
		n = append(p, nbh_stun_make_request(p, txid), 0x0006, longest, len + 1);
		g_assert_cmpint(nbh_stun_local_ufrag(p, n, ufrag), ==, len <= NBH_ICE_UFRAG_MAX);
	}

	n = append(p, nbh_stun_make_request(p, txid), 0x0006, "nocolon", 7);
	g_assert_false(nbh_stun_local_ufrag(p, n, ufrag));
	n = append(p, nbh_stun_make_request(p, txid), 0x0006, ":x", 2);
	g_assert_false(nbh_stun_local_ufrag(p, n, ufrag));
	n = append(p, nbh_stun_make_request(p, txid), 0x0006, "a\0b:x", 5);
	g_assert_false(nbh_stun_local_ufrag(p, n, ufrag));
	n = append(p, nbh_stun_make_request(p, txid), 0x0006, "", 0);
	g_assert_false(nbh_stun_local_ufrag(p, n, ufrag));
}

static void test_mapped_address(void)
{
	const struct {
		guint type;
		const char *value;
		gsize len;
		const char *expected; /* NULL: refused */
	} cases[] = {
		{0x0001, "\0\1\x04\xd2\xc0\0\2\1", 8, "192.0.2.1:1234"},
		{0x0001, "\0\1\0\0\xc0\0\2\1", 8, NULL},     /* port 0 */
		{0x0001, "\0\1\x04\xd2\0\0\0\0", 8, NULL},   /* unspecified */
		{0x0001, "\0\2\x04\xd2\xc0\0\2\1", 8, NULL}, /* family against length */
		{0x0001, "\0\3\x04\xd2\xc0\0\2\1", 8, NULL},
		{0x0001, "\0\1\x04\xd2\xc0\0\2\1", 7, NULL},
		{0x0001, "", 0, NULL},
	};
	gsize i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		char text[NBH_ENDPOINT_TEXT_MAX];
		struct nbh_endpoint mapped;
		guint8 p[64];
		gsize n = append(p, nbh_stun_make_request(p, txid), cases[i].type, cases[i].value,
				 cases[i].len);
		gboolean ok = nbh_stun_mapped_address(p, n, &mapped);

		g_assert_cmpstr(ok ? nbh_endpoint_format(&mapped, text) : NULL, ==,
				cases[i].expected);
	}
}

static void test_uris(void)
{
	const struct {
		const char *uri, *host; /* host NULL: refused */
		guint16 port;
		gboolean turn, tls;
	} cases[] = {
		{"stun:stun.example.com", "stun.example.com", 3478, FALSE, FALSE},
		{"stun:stun.example.com:1", "stun.example.com", 1, FALSE, FALSE},
		{"STUN:192.0.2.1:65535", "192.0.2.1", 65535, FALSE, FALSE},
		{"stuns:a", "a", 5349, FALSE, TRUE},
		{"stun:[2001:db8::1]", "2001:db8::1", 3478, FALSE, FALSE},
		{"stun:[2001:db8::1]:5000", "2001:db8::1", 5000, FALSE, FALSE},
		{"turn:a:1?transport=udp", "a", 1, TRUE, FALSE},
		{"turns:a?transport=tcp", "a", 5349, TRUE, TRUE},
		{"turn:a?transport=sctp", NULL, 0, FALSE, FALSE},
		{"turn:a?", NULL, 0, FALSE, FALSE},
		{"turn:a?transport=udp&x=1", NULL, 0, FALSE, FALSE},
		{"stun:a?transport=udp", NULL, 0, FALSE, FALSE},
		{"stun://a", NULL, 0, FALSE, FALSE},
		{"stun:", NULL, 0, FALSE, FALSE},
		{"stun::1", NULL, 0, FALSE, FALSE},
		{"stun:a:", NULL, 0, FALSE, FALSE},
		{"stun:a:0", NULL, 0, FALSE, FALSE},
		{"stun:a:65536", NULL, 0, FALSE, FALSE},
		{"stun:a:1x", NULL, 0, FALSE, FALSE},
		{"stun:a:000001", NULL, 0, FALSE, FALSE},
		{"stun:2001:db8::1", NULL, 0, FALSE, FALSE},
		{"stun:[2001:db8::1", NULL, 0, FALSE, FALSE},
		{"stun:[2001:db8::1]5", NULL, 0, FALSE, FALSE},
		{"stun:[192.0.2.1]", NULL, 0, FALSE, FALSE},
		{"stun:[]", NULL, 0, FALSE, FALSE},
		{"stun:a b", NULL, 0, FALSE, FALSE},
		{"stun:a@b", NULL, 0, FALSE, FALSE},
		{"stun:a\n", NULL, 0, FALSE, FALSE},
		{"http:a", NULL, 0, FALSE, FALSE},
		{"", NULL, 0, FALSE, FALSE},
	};
	char host[32] = "untouched";
	gsize i;

	for (i = 0; i < G_N_ELEMENTS(cases); i++) {
		guint16 port = 0;
		gboolean turn = FALSE, tls = FALSE;
		gboolean ok =
			nbh_stun_uri_parse(cases[i].uri, host, sizeof(host), &port, &turn, &tls);

		g_test_message("%s", cases[i].uri);
		g_assert_cmpstr(ok ? host : NULL, ==, cases[i].host);
		g_assert_cmpuint(port, ==, cases[i].port);
		g_assert_cmpint(turn, ==, cases[i].turn);
		g_assert_cmpint(tls, ==, cases[i].tls);
	}

	/* The room for the host counts its closing NUL. */
	g_assert_true(nbh_stun_uri_parse("stun:abc", host, 4, &(guint16){0}, &(gboolean){0},
					 &(gboolean){0}));
	g_assert_false(nbh_stun_uri_parse("stun:abcd", host, 4, &(guint16){0}, &(gboolean){0},
					  &(gboolean){0}));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/wire/stun/rfc-request", test_rfc_request);
	g_test_add_func("/wire/stun/rfc-answers", test_rfc_answers);
	g_test_add_func("/wire/stun/own-messages", test_own_messages);
	g_test_add_func("/wire/stun/no-message", test_no_message);
	g_test_add_func("/wire/stun/trim", test_trim);
	g_test_add_func("/wire/stun/pair-id", test_pair_id);
	g_test_add_func("/wire/stun/largest", test_largest);
	g_test_add_func("/wire/stun/ufrag", test_ufrag);
	g_test_add_func("/wire/stun/mapped-address", test_mapped_address);
	g_test_add_func("/wire/stun/uris", test_uris);
	return g_test_run();
}
