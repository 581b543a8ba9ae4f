#include "config.h"

#include "base/addr.h"

#include "base/macros.h"

#include "tests/lib/tap.h"

#include <arpa/inet.h>
#include <errno.h>

static void test_addresses(void)
{
	static const struct {
		const char *text, *formatted; /* NULL: refused */
	} cases[] = {
		{ "1.2.3.4", "1.2.3.4" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "2001:DB8::0:1", "2001:db8::1" },
		{ "::", "::" },
		{ "::ffff:1.2.3.4", "1.2.3.4" },
		{ "", NULL },
		{ "1.2.3", NULL },
		{ "1.2.3.256", NULL },
		{ " 1.2.3.4", NULL },
		{ "1.2.3.4 ", NULL },
		{ "fe80::1%eth0", NULL },
		{ "localhost", NULL },
		{ "[::1]", NULL },
	};
	char buf[NBH_ADDR_TEXT_MAX];

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		struct nbh_addr addr = { .family = 77 };
		int r = nbh_addr_parse(cases[i].text, &addr);

		if (cases[i].formatted) {
			OK_INT(r, 0, cases[i].text);
			OK_STR(nbh_addr_format(&addr, buf), cases[i].formatted, cases[i].text);
		} else {
			OK(r == -EINVAL && addr.family == 77, "refused, untouched: '%s'", cases[i].text);
		}
	}
}

static void test_prefixes(void)
{
	static const struct {
		const char *text, *formatted, *masked;
	} cases[] = {
		{ "100.64.1.2/16", "100.64.1.2/16", "100.64.0.0/16" },
		{ "10.255.255.255/9", "10.255.255.255/9", "10.128.0.0/9" },
		{ "1.2.3.4/32", "1.2.3.4/32", "1.2.3.4/32" },
		{ "1.2.3.4/0", "1.2.3.4/0", "0.0.0.0/0" },
		{ "fd00::1/64", "fd00::1/64", "fd00::/64" },
		{ "fd00::1/128", "fd00::1/128", "fd00::1/128" },
		{ "fd00:ffff::/17", "fd00:ffff::/17", "fd00:8000::/17" },
		{ "::ffff:1.2.3.4/120", "1.2.3.4/24", "1.2.3.0/24" },
		{ "::ffff:1.2.3.4/96", "1.2.3.4/0", "0.0.0.0/0" },
		{ "::ffff:1.2.3.4/95", NULL, NULL },
		{ "1.2.3.4", NULL, NULL },
		{ "1.2.3.4/", NULL, NULL },
		{ "1.2.3.4/33", NULL, NULL },
		{ "1.2.3.4/-1", NULL, NULL },
		{ "1.2.3.4/+8", NULL, NULL },
		{ "1.2.3.4/08", NULL, NULL },
		{ "1.2.3.4/8/8", NULL, NULL },
		{ "1.2.3.4/8 ", NULL, NULL },
		{ "1.2.3.4/4294967304", NULL, NULL },
		{ "::1/129", NULL, NULL },
		{ "/8", NULL, NULL },
		{ "0000000000000000000000000000000000000000000000000/8", NULL, NULL },
	};
	char buf[NBH_PREFIX_TEXT_MAX];

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		struct nbh_prefix prefix = { .len = 200 }, masked;
		int r = nbh_prefix_parse(cases[i].text, &prefix);

		if (!cases[i].formatted) {
			OK(r == -EINVAL && prefix.len == 200, "refused: '%s'", cases[i].text);
			continue;
		}

		OK_INT(r, 0, cases[i].text);
		OK_STR(nbh_prefix_format(&prefix, buf), cases[i].formatted, cases[i].text);
		masked = nbh_prefix_masked(&prefix);
		OK_STR(nbh_prefix_format(&masked, buf), cases[i].masked, cases[i].text);
	}
}

static void test_endpoints(void)
{
	static const struct {
		const char *text, *formatted;
	} cases[] = {
		{ "1.2.3.4:1", "1.2.3.4:1" },
		{ "1.2.3.4:65535", "1.2.3.4:65535" },
		{ "[2001:db8::1]:51820", "[2001:db8::1]:51820" },
		{ "[::ffff:1.2.3.4]:5", "1.2.3.4:5" },
		{ "1.2.3.4:0", NULL },
		{ "1.2.3.4:65536", NULL },
		{ "1.2.3.4:070", NULL },
		{ "1.2.3.4:", NULL },
		{ "1.2.3.4", NULL },
		{ "1.2.3.4:5x", NULL },
		{ "[1.2.3.4]:5", NULL },
		{ "::1:5", NULL },
		{ "[::1]5", NULL },
		{ "[::1", NULL },
		{ "[fe80::1%2]:5", NULL },
		{ "host:5", NULL },
		{ "", NULL },
		{ ":5", NULL },
	};
	char buf[NBH_ENDPOINT_TEXT_MAX];

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		struct nbh_endpoint endpoint = { .port = 77 }, back;
		struct sockaddr_storage sa;
		int r = nbh_endpoint_parse(cases[i].text, &endpoint);

		if (!cases[i].formatted) {
			OK(r == -EINVAL && endpoint.port == 77, "refused: '%s'", cases[i].text);
			continue;
		}

		OK_INT(r, 0, cases[i].text);
		OK_STR(nbh_endpoint_format(&endpoint, buf), cases[i].formatted, cases[i].text);
		OK(nbh_endpoint_to_sockaddr(&endpoint, &sa) > 0, "to sockaddr");
		OK(nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &back) == 0 &&
		           nbh_endpoint_equal(&back, &endpoint),
		   "and back: %s", cases[i].text);
	}
}

static void test_none(void)
{
	struct nbh_endpoint none = { 0 };
	struct sockaddr_storage sa;
	char buf[NBH_ENDPOINT_TEXT_MAX];

	OK(!nbh_endpoint_is_set(&none), "none is not set");
	OK_STR(nbh_endpoint_format(&none, buf), "", "none is empty text");
	OK_INT(nbh_endpoint_to_sockaddr(&none, &sa), 0, "none has no sockaddr");
	sa.ss_family = AF_UNIX;
	OK_INT(nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &none), -EINVAL, "AF_UNIX");
}

static void test_relations(void)
{
	static const struct {
		const char *a, *b;
		bool a_contains_b;
	} cases[] = {
		{ "10.0.0.0/8", "10.1.2.3/32", true },
		{ "10.1.2.3/32", "10.0.0.0/8", false },
		{ "10.0.0.0/9", "10.128.0.0/9", false },
		{ "0.0.0.0/0", "255.0.0.1/32", true },
		{ "0.0.0.0/0", "::/0", false },
		{ "fd00::/7", "fc00::1/128", true },
		{ "fd00::/8", "fc00::1/128", false },
		{ "fd00::1/127", "fd00::/128", true },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		struct nbh_prefix a, b, list[3] = { { .len = 0 } };

		nbh_prefix_parse(cases[i].a, &a);
		nbh_prefix_parse(cases[i].b, &b);
		OK_INT(nbh_prefix_contains(&a, &b.addr), cases[i].a_contains_b, cases[i].a);
		list[1] = a;
		OK_INT(nbh_prefixes_contain(list, 3, &b.addr), cases[i].a_contains_b, cases[i].b);
		OK_INT(nbh_prefixes_contain(list, 1, &b.addr), false, "none holds nothing");
		OK((nbh_prefix_compare(&a, &b) < 0) == (nbh_prefix_compare(&b, &a) > 0), "order");
	}
}

static void test_kinds(void)
{
	static const struct {
		const char *text;
		const char *kind; /* one letter each: u l m k */
	} cases[] = {
		{ "0.0.0.0", "u" },         { "::", "u" },          { "127.0.0.1", "l" },
		{ "127.255.255.255", "l" }, { "::1", "l" },         { "224.0.0.1", "m" },
		{ "239.255.255.255", "m" }, { "240.0.0.1", "" },    { "255.255.255.255", "m" },
		{ "ff02::1", "m" },         { "169.254.0.1", "k" }, { "169.253.0.1", "" },
		{ "fe80::1", "k" },         { "febf::1", "k" },     { "fec0::1", "" },
		{ "::2", "" },              { "1.1.1.1", "" },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		char kind[5] = "";
		struct nbh_addr addr;
		size_t n = 0;

		nbh_addr_parse(cases[i].text, &addr);

		if (nbh_addr_is_unspecified(&addr))
			kind[n++] = 'u';

		if (nbh_addr_is_loopback(&addr))
			kind[n++] = 'l';

		if (nbh_addr_is_multicast(&addr))
			kind[n++] = 'm';

		if (nbh_addr_is_link_local(&addr))
			kind[n++] = 'k';

		OK_STR(kind, cases[i].kind, cases[i].text);
	}
}

static void test_unfit(void)
{
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{ "0.0.0.0", "unspecified" },      { "0.0.0.1", "reserved" },
		{ "1.0.0.0", NULL },               { "10.1.2.3", NULL },
		{ "127.9.9.9", "loopback" },       { "169.254.169.254", "link-local" },
		{ "224.0.0.1", "multicast or broadcast" }, { "239.255.255.255", "multicast or broadcast" },
		{ "240.0.0.0", "reserved" },       { "255.255.255.254", "reserved" },
		{ "255.255.255.255", "multicast or broadcast" }, { "::", "unspecified" },
		{ "::1", "loopback" },             { "::127.0.0.1", "reserved" },
		{ "::ffff:127.0.0.1", "loopback" }, { "fe80::1", "link-local" },
		{ "ff02::1", "multicast or broadcast" }, { "fd00::1", NULL },
		{ "2001:db8::1", NULL },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		struct nbh_addr addr;

		nbh_addr_parse(cases[i].text, &addr);
		OK_STR(nbh_addr_unfit(&addr), cases[i].wanted, cases[i].text);
	}
}

static void test_compact(void)
{
	static const uint8_t v4[] = { 100, 64, 1, 2, 16 }, bad[] = { 1, 2, 3, 4, 33 };
	static const uint8_t v6[17] = { 0xfd, [15] = 1, [16] = 64 };
	struct nbh_prefix prefix;
	char buf[NBH_PREFIX_TEXT_MAX];

	OK_INT(nbh_prefix_from_compact(v4, sizeof(v4), &prefix), 0, "5 bytes");
	OK_STR(nbh_prefix_format(&prefix, buf), "100.64.1.2/16", "5 bytes");
	OK_INT(nbh_prefix_from_compact(v6, sizeof(v6), &prefix), 0, "17 bytes");
	OK_STR(nbh_prefix_format(&prefix, buf), "fd00::1/64", "17 bytes");
	OK_INT(nbh_prefix_from_compact(bad, sizeof(bad), &prefix), -EINVAL, "length 33");
	OK_INT(nbh_prefix_from_compact(v4, 4, &prefix), -EINVAL, "4 bytes");
	OK_INT(nbh_prefix_from_compact(v6, 16, &prefix), -EINVAL, "16 bytes");
	OK_INT(nbh_prefix_from_compact(v4, 0, &prefix), -EINVAL, "no bytes");
}

int main(void)
{
	test_addresses();
	test_prefixes();
	test_endpoints();
	test_none();
	test_relations();
	test_kinds();
	test_unfit();
	test_compact();
	return tap_done();
}
