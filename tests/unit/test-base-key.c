#include "config.h"

#include "base/key.h"

#include "base/macros.h"

#include "tests/lib/tap.h"

#include <errno.h>

static void test_text(void)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{ "yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAUM=", true },
		{ "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", true },
		{ "/+//////////////////////////////////////////=", false }, /* 45 characters */
		{ "yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAUM", false },
		{ "yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAUM==", false },
		{ "yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAUM=\n", false },
		{ " DlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAUM=", false },
		{ "yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAUN=", false }, /* bits behind the 256th */
		{ "yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAUO=", false },
		{ "yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjA-M=", false }, /* URL alphabet */
		{ "yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAU==", false },
		{ "yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAUMA", false }, /* 33 bytes */
		{ "", false },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		struct nbh_key key = { { 7 } };
		int r = nbh_key_parse(cases[i].text, &key);

		if (cases[i].good) {
			OK_INT(r, 0, cases[i].text);
			OK_STR(nbh_key_format(&key).text, cases[i].text, "the same again");
		} else {
			OK(r == -EINVAL && key.bytes[0] == 7, "refused, untouched: '%s'", cases[i].text);
		}
	}
}

/* RFC 7748 section 6.1: Alice. */
static void test_public(void)
{
	static const struct nbh_key alice = { {
		0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
		0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
	} };
	static const struct nbh_key expected = { {
		0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a,
		0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a,
	} };
	struct nbh_key public;

	nbh_key_public(&alice, &public);
	OK(nbh_key_equal(&public, &expected), "RFC 7748 6.1");
}

static void test_generate(void)
{
	struct nbh_key a, b, zero = { { 0 } };

	nbh_key_generate_private(&a);
	nbh_key_generate_private(&b);
	OK(!nbh_key_equal(&a, &b), "two keys differ");
	OK((a.bytes[0] & 7) == 0 && (a.bytes[31] & 0xc0) == 0x40, "clamped");
	OK(!nbh_key_is_zero(&a) && nbh_key_is_zero(&zero), "zero");
	OK(nbh_key_hash(&a) == nbh_key_hash(&a) && nbh_key_hash_equal(&a, &a), "hash");
	OK(!nbh_key_hash_equal(&a, &b), "hash_equal tells two apart");
	OK((nbh_key_compare(&a, &b) < 0) == (nbh_key_compare(&b, &a) > 0), "order");
	nbh_key_wipe(&a);
	OK(nbh_key_is_zero(&a), "wiped");
}

int main(void)
{
	test_text();
	test_public();
	test_generate();
	return tap_done();
}
