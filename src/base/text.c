/*
 * Text that somebody else chose ends up on terminals and in logs: a name must not command the
 * terminal (ECMA-48 controls, in 7 and in 8 bits) and not look like another name.
 */
#include "config.h"

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool follows(const unsigned char *p, size_t n)
{
	for (size_t i = 1; i <= n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return false; /* never looks behind the NUL: it is none */
	}

	return true;
}

size_t nbh_utf8_len(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	if (p[0] < 0x80)
		return 1;

	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		return follows(p, 1) ? 2 : 0;

	if (p[0] >= 0xe0 && p[0] <= 0xef) {
		if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f))
			return 0;

		return follows(p, 2) ? 3 : 0;
	}

	if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
			return 0;

		return follows(p, 3) ? 4 : 0;
	}

	return 0;
}

static uint32_t decode(const char *text, size_t len)
{
	static const unsigned char first[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	const unsigned char *p = (const unsigned char *)text;
	uint32_t code = p[0] & first[len];

	for (size_t i = 1; i < len; i++)
		code = code << 6 | (p[i] & 0x3f);

	return code;
}

/* Controls; soft hyphen; zero width, marks and overrides of direction; separators; invisible. */
static bool is_treacherous(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0xad || code == 0x061c ||
	       (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
	       (code >= 0x2060 && code <= 0x206f) || code == 0xfeff ||
	       (code >= 0xfff0 && code <= 0xfffb) || (code >= 0xe0000 && code <= 0xe007f);
}

void nbh_text_make_printable(char *text, const char *keep)
{
	char *to = text;

	for (const char *from = text; *from;) {
		size_t len = nbh_utf8_len(from);

		if (len && (strchr(keep, *from) || !is_treacherous(decode(from, len)))) {
			memmove(to, from, len);
			to += len;
		} else {
			*to++ = '?';
		}

		from += len ? len : 1;
	}

	*to = '\0';
}
