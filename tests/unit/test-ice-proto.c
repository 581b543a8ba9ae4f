#include "config.h"

#include "ice/proto.h"

#include <string.h>

#define KEY "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define UFRAG "abcdefghABCDEFGH"
#define PWD "abcdefghABCDEFGHabcdefghABCDEFGH"
#define HEX148 \
	"0100000000000000000000000000000000000000000000000000000000000000" \
	"0100000000000000000000000000000000000000000000000000000000000000" \
	"0100000000000000000000000000000000000000000000000000000000000000" \
	"0100000000000000000000000000000000000000000000000000000000000000" \
	"0000000000000000000000000000000000000fff"

/* Each is written exactly as it was read. */
static const char *const good[] = {
	"SET_PORT 1",
	"SET_PORT 65535",
	"LIST",
	"OPEN " KEY " " UFRAG " " PWD " 0102030aff controlling 6000 on",
	"OPEN " KEY " " UFRAG " " PWD " - controlled 0 off",
	"REMOTE " KEY " " UFRAG " " PWD " 0102030405",
	"REMOTE " KEY " a+/9 1234567890123456789012 -",
	"CANDIDATE " KEY " h0 1 udp 2015363327 192.0.2.1 51820 typ host",
	"CANDIDATE " KEY " s1 1 udp 1679819007 203.0.113.9 1024 typ srflx raddr 0.0.0.0 rport 51820",
	"CANDIDATE " KEY " h0 1 udp 2015363327 2001:db8::1 51820 typ host",
	"CLOSE " KEY,
	"CLOSE_ALL",
	"STUN 192.0.2.1:3478",
	"STUN [2001:db8::1]:3478",
	"FORWARD 192.0.2.1:51820 " HEX148,
	"OVERLAY 100.64.0.0/16 fd00:64::/64",
	"OVERLAY 100.64.0.0/16 -",
	"OVERLAY - -",
	"HELLO 1 user-namespace",
	"SESSION " KEY " " UFRAG " " PWD " - controlled - - -",
	"SESSION " KEY " " UFRAG " " PWD " 0102030405 controlling " UFRAG " " PWD " 0a0b0c0d0e",
	"SESSION " KEY " " UFRAG " " PWD " - controlling " UFRAG " " PWD " - prflx 192.0.2.1:51820 host 198.51.100.1:51820",
	"SESSION " KEY " " UFRAG " " PWD " - controlling " UFRAG " " PWD " - host - relay [2001:db8::1]:1",
	"END",
	"SELECTED " KEY " srflx 192.0.2.1:51820 prflx 198.51.100.1:40000",
	"FAILED " KEY,
	"LOST " KEY,
	"SELECTED " KEY " srflx 192.0.2.1:51820 prflx 198.51.100.1:40000 0",
	"FAILED " KEY " 4294967295",
	"LOST " KEY " 7",
	"HEARD " KEY " 203.0.113.7:40000 1",
	"HEARD " KEY " 203.0.113.7:40000",
	"MAPPED 192.0.2.1:3478 203.0.113.1:51820",
	"MAPPED [2001:db8::1]:3478 -",
	"ERROR raw socket: no such thing, \"quoted\"",
};

static const struct {
	const char *line, *why;
} bad[] = {
	{ "", "command: empty" },
	{ " ", "command: empty" },
	{ "list", "unknown command list" },
	{ "LIST ", "LIST: line: has more fields than it should" },
	{ "LOST " KEY " 1 2", "LOST: line: has more fields than it should" },
	{ "LOST " KEY " 4294967296", "LOST: opening: not a number in its range" },
	{ "LOST " KEY " -", "LOST: opening: not a number in its range" },
	{ "LIST 1", "LIST: line: has more fields than it should" },
	{ "LIST\n", "byte 0x0a in a line" },
	{ "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "command: too long" },
	{ "SET_PORT", "SET_PORT: port: missing" },
	{ "SET_PORT 0", "SET_PORT: port: not a number in its range" },
	{ "SET_PORT 65536", "SET_PORT: port: not a number in its range" },
	{ "SET_PORT 051820", "SET_PORT: port: not a number in its range" },
	{ "SET_PORT +1", "SET_PORT: port: not a number in its range" },
	{ "SET_PORT -1", "SET_PORT: port: not a number in its range" },
	{ "SET_PORT 99999999999999999999", "SET_PORT: port: not a number in its range" },
	{ "SET_PORT  1", "SET_PORT: port: empty" },
	{ "CLOSE AAAA", "CLOSE: peer: not a public key" },
	{ "OPEN " KEY " abc " PWD " - controlling 0 on", "OPEN: ufrag: not 4 to 64 letters and digits" },
	{ "OPEN " KEY " " UFRAG " short - controlling 0 on", "OPEN: password: not 22 to 256 letters and digits" },
	{ "OPEN " KEY " ab:cd " PWD " - controlling 0 on", "OPEN: ufrag: not 4 to 64 letters and digits" },
	{ "OPEN " KEY " - - - controlling 0 on", "OPEN: ufrag: not 4 to 64 letters and digits" },
	{ "OPEN " KEY " " UFRAG " " PWD " 01020304 controlling 0 on", "OPEN: session: not 10 hexadecimal digits" },
	{ "OPEN " KEY " " UFRAG " " PWD " 010203040G controlling 0 on", "OPEN: session: not 10 hexadecimal digits" },
	{ "OPEN " KEY " " UFRAG " " PWD " 01020304056 controlling 0 on", "OPEN: session: too long" },
	{ "OPEN " KEY " " UFRAG " " PWD " - control 0 on", "OPEN: role: not one of the two words that it may be" },
	{ "OPEN " KEY " " UFRAG " " PWD " - controlled 3600001 on", "OPEN: liveness_ms: not a number in its range" },
	{ "OPEN " KEY " " UFRAG " " PWD " - controlled 0", "OPEN: keepalives: missing" },
	{ "CANDIDATE " KEY " h0 1 udp 1 192.0.2.1 0 typ host", NULL },
	{ "CANDIDATE " KEY " h0 1 tcp 1 192.0.2.1 9 typ host", NULL },
	{ "CANDIDATE " KEY, "CANDIDATE: candidate: missing" },
	{ "STUN stun.example.com:3478", "STUN: server: not an address with port" },
	{ "STUN -", "STUN: server: not an address with port" },
	{ "FORWARD 192.0.2.1:51820 0102", "FORWARD: data: not 148 bytes in hexadecimal" },
	{ "FORWARD 192.0.2.1:51820 " HEX148 "00", "FORWARD: data: too long" },
	{ "OVERLAY -", "OVERLAY: prefix6: missing" },
	{ "OVERLAY 100.64.0.0 -", "OVERLAY: prefix4: not a network of its kind" },
	{ "OVERLAY fd00:64::/64 -", "OVERLAY: prefix4: not a network of its kind" },
	{ "OVERLAY - 100.64.0.0/16", "OVERLAY: prefix6: not a network of its kind" },
	{ "OVERLAY - - -", "OVERLAY: line: has more fields than it should" },
	{ "SELECTED " KEY " host 192.0.2.1:1 guest 192.0.2.1:2", "SELECTED: remote type: not a candidate type" },
	{ "SELECTED " KEY " host 192.0.2.1:1 host -", "SELECTED: remote: not an address with port" },
	{ "SESSION " KEY " " UFRAG " " PWD " - controlled - - - host", "SESSION: local: missing" },
	{ "HELLO 0 x", "HELLO: version: not a number in its range" },
	{ "ERROR ", "ERROR: text: missing" },
};

static void test_good(void)
{
	for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
		char buf[NBH_ICE_MESSAGE_MAX_BYTES];
		struct nbh_why why = { "" };
		NbhIceMessage m;

		g_test_message("%s", good[i]);
		g_assert_true(nbh_ice_message_parse(good[i], strlen(good[i]), &m, &why));
		g_assert_cmpuint(nbh_ice_message_format(&m, buf), ==, strlen(good[i]));
		g_assert_cmpstr(buf, ==, good[i]);
	}
}

static void test_every_verb_is_tried(void)
{
	guint seen = 0;

	for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
		NbhIceMessage m;

		g_assert_true(nbh_ice_message_parse(good[i], strlen(good[i]), &m, NULL));
		seen |= 1u << m.verb;
	}

	g_assert_cmpuint(seen, ==, (1u << NBH_ICE_N_MSGS) - 1);
}

static void test_bad(void)
{
	for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct nbh_why why = { "" };
		NbhIceMessage m;

		memset(&m, 0xa5, sizeof(m));
		g_test_message("%s", bad[i].line);
		g_assert_false(nbh_ice_message_parse(bad[i].line, strlen(bad[i].line), &m, &why));
		g_assert_cmphex(m.verb, ==, 0xa5a5a5a5);

		if (bad[i].why)
			g_assert_cmpstr(why.text, ==, bad[i].why);
		else
			g_assert_cmpstr(why.text, !=, "");
	}
}

/* Cut anywhere, one byte changed anywhere: refused, or something that is written as it was read. */
static void try_line(const char *line, gsize len)
{
	g_autofree char *exact = g_memdup2(line, len + !len); /* no NUL: a read behind the end is seen */
	char buf[NBH_ICE_MESSAGE_MAX_BYTES];
	NbhIceMessage m, again;
	gsize n;

	if (!nbh_ice_message_parse(exact, len, &m, NULL))
		return;

	n = nbh_ice_message_format(&m, buf);
	g_assert_cmpuint(n, >, 0);
	g_assert_true(nbh_ice_message_parse(buf, n, &again, NULL));
	g_assert_cmpint(again.verb, ==, m.verb);
}

static void test_damaged(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(3);

	for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
		gsize len = strlen(good[i]);

		for (gsize cut = 0; cut <= len; cut++)
			try_line(good[i], cut);

		for (int k = 0; k < 2000; k++) {
			g_autofree char *line = g_strdup(good[i]);

			line[g_rand_int_range(rand, 0, (gint32)len)] = (char)g_rand_int_range(rand, 0, 256);
			try_line(line, len);
		}
	}
}

static void test_too_long(void)
{
	g_autofree char *line = g_malloc(NBH_ICE_MESSAGE_MAX_BYTES + 1);
	struct nbh_why why = { "" };
	NbhIceMessage m;

	memset(line, 'A', NBH_ICE_MESSAGE_MAX_BYTES + 1);
	memcpy(line, "ERROR ", 6);
	g_assert_true(nbh_ice_message_parse(line, 6 + 255, &m, &why));
	g_assert_false(nbh_ice_message_parse(line, 6 + 256, &m, &why));
	g_assert_cmpstr(why.text, ==, "ERROR: text: too long");
	g_assert_false(nbh_ice_message_parse(line, NBH_ICE_MESSAGE_MAX_BYTES, &m, &why));
	g_assert_cmpstr(why.text, ==, "line of 4096 bytes");
}

/* What a peer may have sent us and no agent could use is not said. */
static void test_unsayable(void)
{
	char buf[NBH_ICE_MESSAGE_MAX_BYTES];
	NbhIceMessage m = { .verb = NBH_ICE_MSG_REMOTE };

	g_strlcpy(m.u.remote.creds.ufrag, "abcd", sizeof(m.u.remote.creds.ufrag));
	g_strlcpy(m.u.remote.creds.pwd, PWD, sizeof(m.u.remote.creds.pwd));
	g_assert_cmpuint(nbh_ice_message_format(&m, buf), >, 0);
	g_strlcpy(m.u.remote.creds.ufrag, "ab d", sizeof(m.u.remote.creds.ufrag));
	g_assert_cmpuint(nbh_ice_message_format(&m, buf), ==, 0);
	g_strlcpy(m.u.remote.creds.ufrag, "", sizeof(m.u.remote.creds.ufrag));
	g_assert_cmpuint(nbh_ice_message_format(&m, buf), ==, 0);
	memset(&m, 0, sizeof(m));
	m.verb = NBH_ICE_MSG_STUN;
	g_assert_cmpuint(nbh_ice_message_format(&m, buf), ==, 0);
	m.verb = NBH_ICE_MSG_CANDIDATE;
	g_assert_cmpuint(nbh_ice_message_format(&m, buf), ==, 0);
	m.verb = NBH_ICE_N_MSGS;
	g_assert_cmpuint(nbh_ice_message_format(&m, buf), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ice/proto/good", test_good);
	g_test_add_func("/ice/proto/every-verb", test_every_verb_is_tried);
	g_test_add_func("/ice/proto/bad", test_bad);
	g_test_add_func("/ice/proto/damaged", test_damaged);
	g_test_add_func("/ice/proto/too-long", test_too_long);
	g_test_add_func("/ice/proto/unsayable", test_unsayable);
	return g_test_run();
}
