#include "config.h"

#include "core/candidate.h"

#include <string.h>

#define CID " cid 0123456789abcdefghijABCDEFGHIJ+/"
#define X32 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcd+/"

static struct nbh_addr addr_of(const char *text)
{
	struct nbh_addr addr = { 0 };

	g_assert_cmpint(nbh_addr_parse(text, &addr), ==, 0);
	return addr;
}

static struct nbh_endpoint endpoint_of(const char *text)
{
	struct nbh_endpoint endpoint = { 0 };

	g_assert_cmpint(nbh_endpoint_parse(text, &endpoint), ==, 0);
	return endpoint;
}

/* formatted: what nbh_candidate_format() makes of it; NULL: must be refused, with `why` in the reason. */
static const struct {
	const char *text, *formatted, *ufrag, *why;
	gboolean has_cid;
} parse_cases[] = {
	{ "2631669666 1 udp 2130706431 192.168.1.10 51820 typ host ufrag qWeRtYuIoPaSdFgH" CID,
	  "2631669666 1 udp 2130706431 192.168.1.10 51820 typ host", "qWeRtYuIoPaSdFgH", NULL, TRUE },
	{ "3891555988 1 udp 1694498815 203.0.113.7 40112 typ srflx raddr 0.0.0.0 rport 51820 ufrag abcd" CID,
	  "3891555988 1 udp 1694498815 203.0.113.7 40112 typ srflx raddr 0.0.0.0 rport 51820", "abcd", NULL, TRUE },
	{ "2972068683 1 udp 2130706431 2001:db8::10 51820 typ host",
	  "2972068683 1 udp 2130706431 2001:db8::10 51820 typ host", "", NULL, FALSE },
	{ "candidate:h0 1 UDP 1 10.0.0.1 1 typ host", "h0 1 udp 1 10.0.0.1 1 typ host", "", NULL, FALSE },
	{ "f 1 Udp 4294967295 10.0.0.1 65535 typ prflx", "f 1 udp 4294967295 10.0.0.1 65535 typ prflx", "", NULL, FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ relay raddr ::1 rport 0", "f 1 udp 5 10.0.0.1 9 typ relay raddr ::1 rport 0", "", NULL, FALSE },
	{ X32 " 00001 udp 0000000007 10.0.0.1 00009 typ host", X32 " 1 udp 7 10.0.0.1 9 typ host", "", NULL, FALSE },
	{ "f 1 udp 5 2001:db8::1%eth0 9 typ host", "f 1 udp 5 2001:db8::1 9 typ host", "", NULL, FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ host generation 0 network-cost 999 ufrag ab", "f 1 udp 5 10.0.0.1 9 typ host", "ab", NULL, FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ host ufrag", "f 1 udp 5 10.0.0.1 9 typ host", "", NULL, FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ host cid", "f 1 udp 5 10.0.0.1 9 typ host", "", NULL, FALSE },

	{ "", NULL, NULL, "empty word", FALSE },
	{ " ", NULL, NULL, "empty word", FALSE },
	{ "f", NULL, NULL, "only 1 words", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ", NULL, NULL, "only 7 words", FALSE },
	{ "a=candidate:f 1 udp 5 10.0.0.1 9 typ host", NULL, NULL, "foundation", FALSE },
	{ X32 "x 1 udp 5 10.0.0.1 9 typ host", NULL, NULL, "foundation", FALSE },
	{ " 1 udp 5 10.0.0.1 9 typ host", NULL, NULL, "empty word", FALSE },
	{ "f 2 udp 5 10.0.0.1 9 typ host", NULL, NULL, "component", FALSE },
	{ "f 0 udp 5 10.0.0.1 9 typ host", NULL, NULL, "component", FALSE },
	{ "f 000001 udp 5 10.0.0.1 9 typ host", NULL, NULL, "component", FALSE },
	{ "f 1 tcp 5 10.0.0.1 9 typ host tcptype passive", NULL, NULL, "transport", FALSE },
	{ "f 1 udp6 5 10.0.0.1 9 typ host", NULL, NULL, "transport", FALSE },
	{ "f 1 udp 0 10.0.0.1 9 typ host", NULL, NULL, "priority", FALSE },
	{ "f 1 udp 4294967296 10.0.0.1 9 typ host", NULL, NULL, "priority", FALSE },
	{ "f 1 udp 00000000001 10.0.0.1 9 typ host", NULL, NULL, "priority", FALSE },
	{ "f 1 udp -5 10.0.0.1 9 typ host", NULL, NULL, "priority", FALSE },
	{ "f 1 udp 5 peer.example.com 9 typ host", NULL, NULL, "not an IP address", FALSE },
	{ "f 1 udp 5 8f3c2a70.local 9 typ host", NULL, NULL, "not an IP address", FALSE },
	{ "f 1 udp 5 10.0.0.1%eth0 9 typ host", NULL, NULL, "not an IP address", FALSE },
	{ "f 1 udp 5 10.0.0 9 typ host", NULL, NULL, "not an IP address", FALSE },
	{ "f 1 udp 5 127.0.0.1 9 typ host", NULL, NULL, "loopback", FALSE },
	{ "f 1 udp 5 127.1.2.3 9 typ host", NULL, NULL, "loopback", FALSE },
	{ "f 1 udp 5 ::1 9 typ host", NULL, NULL, "loopback", FALSE },
	{ "f 1 udp 5 ::ffff:127.0.0.1 9 typ host", NULL, NULL, "loopback", FALSE },
	{ "f 1 udp 5 0.0.0.0 9 typ host", NULL, NULL, "unspecified", FALSE },
	{ "f 1 udp 5 :: 9 typ host", NULL, NULL, "unspecified", FALSE },
	{ "f 1 udp 5 224.0.0.1 9 typ host", NULL, NULL, "multicast", FALSE },
	{ "f 1 udp 5 255.255.255.255 9 typ host", NULL, NULL, "multicast", FALSE },
	{ "f 1 udp 5 ff02::1 9 typ host", NULL, NULL, "multicast", FALSE },
	{ "f 1 udp 5 169.254.169.254 80 typ host", NULL, NULL, "link-local", FALSE },
	{ "f 1 udp 5 fe80::1%eth0 9 typ host", NULL, NULL, "link-local", FALSE },
	{ "f 1 udp 5 240.0.0.1 9 typ host", NULL, NULL, "reserved", FALSE },
	{ "f 1 udp 5 0.1.2.3 9 typ host", NULL, NULL, "reserved", FALSE },
	{ "f 1 udp 5 ::7f00:1 9 typ host", NULL, NULL, "reserved", FALSE },
	{ "f 1 udp 5 10.0.0.1 0 typ host", NULL, NULL, "port", FALSE },
	{ "f 1 udp 5 10.0.0.1 65536 typ host", NULL, NULL, "port", FALSE },
	{ "f 1 udp 5 10.0.0.1 70000 typ host", NULL, NULL, "port", FALSE },
	{ "f 1 udp 5 10.0.0.1 9x typ host", NULL, NULL, "port", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 type host", NULL, NULL, "must be \"typ\"", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ hosts", NULL, NULL, "type", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ HOST", NULL, NULL, "type", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ srflx raddr 0.0.0.0", NULL, NULL, "raddr without rport", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ srflx raddr 0.0.0.0 port 5", NULL, NULL, "raddr without rport", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ srflx raddr x rport 5", NULL, NULL, "raddr", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ srflx raddr 0.0.0.0 rport 65536", NULL, NULL, "rport", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ host  ufrag ab", NULL, NULL, "empty word", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ host ufrag a:b", NULL, NULL, "ufrag", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ host\n", NULL, NULL, "byte 0x0a", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ host x \xc3\xa9", NULL, NULL, "byte 0xc3", FALSE },
	{ "f 1 udp 5 10.0.0.1 9 typ host ufrag " X32 X32 "x", NULL, NULL, "ufrag", FALSE },
};

static void test_parse(void)
{
	for (gsize i = 0; i < G_N_ELEMENTS(parse_cases); i++) {
		char text[NBH_CANDIDATE_TEXT_MAX_BYTES];
		NbhCandidate candidate = { .priority = 4711 };
		struct nbh_why why = { "" };
		gboolean ok = nbh_candidate_parse(parse_cases[i].text, &candidate, &why);

		g_test_message("%s -> %s", parse_cases[i].text, ok ? "ok" : why.text);
		if (!parse_cases[i].formatted) {
			g_assert_false(ok);
			g_assert_nonnull(strstr(why.text, parse_cases[i].why));
			g_assert_cmpuint(candidate.priority, ==, 4711);
			g_assert_false(nbh_candidate_parse(parse_cases[i].text, &candidate, NULL));
			continue;
		}

		g_assert_true(ok);
		g_assert_cmpstr(nbh_candidate_format(&candidate, text, sizeof(text)), ==, parse_cases[i].formatted);
		g_assert_cmpstr(candidate.ufrag, ==, parse_cases[i].ufrag);
		g_assert_cmpint(candidate.has_cid, ==, parse_cases[i].has_cid);
	}
}

static void test_parse_lengths(void)
{
	static const char head[] = "f 1 udp 5 10.0.0.1 9 typ host x ";
	NbhCandidate candidate;
	struct nbh_why why;

	/* One below, at and above the limit; without a NUL the reader must not run on either. */
	for (gsize len = NBH_CANDIDATE_TEXT_MAX_BYTES - 2; len <= NBH_CANDIDATE_TEXT_MAX_BYTES; len++) {
		g_autofree char *text = g_strnfill(len, 'v');

		memcpy(text, head, strlen(head));
		g_assert_cmpint(nbh_candidate_parse(text, &candidate, &why), ==, len < NBH_CANDIDATE_TEXT_MAX_BYTES);
	}

	/* 64 words at most. */
	for (guint pairs = 27; pairs <= 29; pairs++) {
		g_autoptr(GString) text = g_string_new("f 1 udp 5 10.0.0.1 9 typ host");

		for (guint i = 0; i < pairs; i++)
			g_string_append(text, " a b");
		g_assert_cmpint(nbh_candidate_parse(text->str, &candidate, &why), ==, pairs <= 28);
	}
}

static void test_parse_ufrag_limit(void)
{
	NbhCandidate candidate;

	g_assert_true(nbh_candidate_parse("f 1 udp 5 10.0.0.1 9 typ host ufrag " X32 X32, &candidate, NULL));
	g_assert_cmpstr(candidate.ufrag, ==, X32 X32);
}

static void test_make(void)
{
	static const char *const expected[] = {
		"h0 1 udp 2015363327 192.168.1.5 51820 typ host",
		"h1 1 udp 2015363071 2001:db8::5 51820 typ host",
		"s1 1 udp 1679818751 203.0.113.7 40112 typ srflx raddr 0.0.0.0 rport 51820",
		"s4 1 udp 1679817983 2001:db8::9 40113 typ srflx raddr :: rport 51820",
	};
	const struct nbh_addr hosts[] = { addr_of("192.168.1.5"), addr_of("2001:db8::5"), addr_of("192.168.1.5") };
	const struct nbh_endpoint mapped[] = {
		endpoint_of("192.168.1.5:51820"), /* no NAT towards this server */
		endpoint_of("203.0.113.7:40112"),
		endpoint_of("203.0.113.7:40112"),
		endpoint_of("[2001:db8::5]:51820"),
		endpoint_of("[2001:db8::9]:40113"),
	};
	NbhCandidate made[8];
	gsize n = nbh_candidates_make(hosts, G_N_ELEMENTS(hosts), mapped, G_N_ELEMENTS(mapped), 51820, made, 8);

	g_assert_cmpuint(n, ==, G_N_ELEMENTS(expected));
	for (gsize i = 0; i < n; i++) {
		char text[NBH_CANDIDATE_TEXT_MAX_BYTES];
		NbhCandidate again;

		g_assert_cmpstr(nbh_candidate_format(&made[i], text, sizeof(text)), ==, expected[i]);
		g_assert_true(nbh_candidate_parse(text, &again, NULL));
		g_assert_true(nbh_endpoint_equal(&again.endpoint, &made[i].endpoint));
	}

	for (gsize max = 0; max < 4; max++)
		g_assert_cmpuint(nbh_candidates_make(hosts, 3, mapped, 5, 51820, made, max), ==, max);
	g_assert_cmpuint(nbh_candidates_make(NULL, 0, NULL, 0, 51820, made, 8), ==, 0);
}

static NbhCandidate candidate_make(NbhCandidateType type, guint16 port, guint32 priority)
{
	NbhCandidate candidate = { .type = type, .priority = priority, .foundation = "f" };

	candidate.endpoint.addr = addr_of("198.51.100.1");
	candidate.endpoint.port = port;
	return candidate;
}

static void test_set(void)
{
	NbhCandidateSet set = { .n = 0 };
	NbhCandidate candidate;

	for (guint16 i = 0; i < NBH_CANDIDATES_PER_PEER_MAX; i++) {
		candidate = candidate_make(NBH_CANDIDATE_HOST, i + 1, 1000 + i);
		g_assert_true(nbh_candidate_set_add(&set, &candidate));
		g_assert_false(nbh_candidate_set_add(&set, &candidate));
	}
	g_assert_cmpuint(set.n, ==, NBH_CANDIDATES_PER_PEER_MAX);
	g_assert_cmpuint(set.dropped, ==, 0);

	/* Full: a lower or equal priority stays out, a higher one displaces the lowest. */
	candidate = candidate_make(NBH_CANDIDATE_HOST, 100, 1000);
	g_assert_false(nbh_candidate_set_add(&set, &candidate));
	candidate.priority = 1001;
	g_assert_true(nbh_candidate_set_add(&set, &candidate));
	g_assert_cmpuint(set.dropped, ==, 2);

	/* A reflexive one comes in whatever its priority is, and none but a better reflexive one displaces it. */
	for (guint16 i = 0; i < NBH_CANDIDATES_PER_PEER_MAX; i++) {
		candidate = candidate_make(NBH_CANDIDATE_SRFLX, 200 + i, 1 + i);
		g_assert_true(nbh_candidate_set_add(&set, &candidate));
	}
	candidate = candidate_make(NBH_CANDIDATE_HOST, 300, G_MAXUINT32);
	g_assert_false(nbh_candidate_set_add(&set, &candidate));
	candidate = candidate_make(NBH_CANDIDATE_SRFLX, 301, 2);
	g_assert_true(nbh_candidate_set_add(&set, &candidate));

	g_assert_cmpuint(set.n, ==, NBH_CANDIDATES_PER_PEER_MAX);
	for (gsize i = 0; i < set.n; i++)
		g_assert_cmpint(set.items[i].type, ==, NBH_CANDIDATE_SRFLX);
}

static void test_set_flood(void)
{
	NbhCandidateSet set = { .n = 0 };

	for (guint32 i = 0; i < 10000; i++) {
		NbhCandidate candidate = candidate_make((NbhCandidateType)(i % NBH_CANDIDATE_N_TYPES), (guint16)(1 + i), i * 7919u);

		nbh_candidate_set_add(&set, &candidate);
		g_assert_cmpuint(set.n, <=, NBH_CANDIDATES_PER_PEER_MAX);
	}
	g_assert_cmpuint(set.dropped, ==, 10000 - NBH_CANDIDATES_PER_PEER_MAX);
}

static void test_filter(void)
{
	static const char *const blacklist[] = { "br-", "docker", "", NULL };
	static const struct {
		const char *interface, *addr;
		gboolean temporary, deprecated, natural, expected;
	} cases[] = {
		{ "eth0", "192.168.1.5", FALSE, FALSE, TRUE, TRUE },
		{ "eth0", "2001:db8::5", FALSE, FALSE, FALSE, TRUE },
		{ "eth0", "2001:db8::5", TRUE, FALSE, FALSE, FALSE },
		{ "eth0", "2001:db8::5", TRUE, FALSE, TRUE, TRUE },
		{ "eth0", "2001:db8::5", FALSE, TRUE, FALSE, FALSE },
		{ "eth0", "2001:db8::5", FALSE, TRUE, TRUE, TRUE },
		{ "eth0", "192.168.1.5", TRUE, TRUE, FALSE, TRUE }, /* flags of IPv6 only */
		{ "br-1a2b", "192.168.1.5", FALSE, FALSE, TRUE, FALSE },
		{ "br0", "192.168.1.5", FALSE, FALSE, TRUE, TRUE },
		{ "docker0", "172.17.0.1", FALSE, FALSE, FALSE, FALSE },
		{ "nbh0", "192.168.77.5", FALSE, FALSE, FALSE, FALSE },
		{ "nbh01", "192.168.77.5", FALSE, FALSE, FALSE, TRUE },
		{ "eth0", "100.64.3.4", FALSE, FALSE, TRUE, FALSE },
		{ "eth0", "100.65.3.4", FALSE, FALSE, TRUE, TRUE },
		{ "eth0", "fd00:77::9", FALSE, FALSE, TRUE, FALSE },
		{ "eth0", "fd00:78::9", FALSE, FALSE, TRUE, TRUE },
		{ "lo", "127.0.0.1", FALSE, FALSE, FALSE, FALSE },
		{ "lo", "::1", FALSE, FALSE, FALSE, FALSE },
		{ "eth0", "169.254.1.1", FALSE, FALSE, FALSE, FALSE },
		{ "eth0", "fe80::1", FALSE, FALSE, FALSE, FALSE },
		{ "eth0", "0.0.0.0", FALSE, FALSE, FALSE, FALSE },
		{ "eth0", "224.0.0.5", FALSE, FALSE, FALSE, FALSE },
	};
	NbhCandidateFilter filter = { .blacklist = blacklist, .own_interface = "nbh0" };
	const NbhCandidateFilter open_filter = { .blacklist = NULL };
	NbhLocalAddress nothing = { .interface = "eth0" };

	g_assert_cmpint(nbh_prefix_parse("100.64.1.2/16", &filter.overlay), ==, 0);
	g_assert_cmpint(nbh_prefix_parse("fd00:77::1/64", &filter.overlay_v6), ==, 0);

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		const NbhLocalAddress local = {
			.interface = cases[i].interface,
			.addr = addr_of(cases[i].addr),
			.is_temporary = cases[i].temporary,
			.is_deprecated = cases[i].deprecated,
			.is_natural_source = cases[i].natural,
		};

		g_test_message("%s %s", cases[i].interface, cases[i].addr);
		g_assert_cmpint(nbh_candidate_filter_allows(&filter, &local), ==, cases[i].expected);
	}

	g_assert_false(nbh_candidate_filter_allows(&open_filter, &nothing));
	nothing.addr = addr_of("100.64.3.4");
	g_assert_true(nbh_candidate_filter_allows(&open_filter, &nothing));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/candidate/parse", test_parse);
	g_test_add_func("/core/candidate/parse-lengths", test_parse_lengths);
	g_test_add_func("/core/candidate/parse-ufrag", test_parse_ufrag_limit);
	g_test_add_func("/core/candidate/make", test_make);
	g_test_add_func("/core/candidate/set", test_set);
	g_test_add_func("/core/candidate/set-flood", test_set_flood);
	g_test_add_func("/core/candidate/filter", test_filter);
	return g_test_run();
}
