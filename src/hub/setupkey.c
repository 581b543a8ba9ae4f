#include "config.h"

#include "hub/setupkey.h"

#include <string.h>
#include <sys/random.h>

#define SHA256_BYTES 32

static gboolean is_dash_position(gsize i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

gboolean nbh_setupkey_generate(char ret_text[NBH_SETUPKEY_LEN + 1])
{
	static const char digits[] = "0123456789ABCDEF";
	guint8 raw[16];
	gsize nibble = 0;

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return FALSE;
	/* RFC 9562 5.4: version 4, variant 10. */
	raw[6] = (guint8)((raw[6] & 0x0f) | 0x40);
	raw[8] = (guint8)((raw[8] & 0x3f) | 0x80);
	for (gsize i = 0; i < NBH_SETUPKEY_LEN; i++) {
		if (is_dash_position(i)) {
			ret_text[i] = '-';
			continue;
		}
		ret_text[i] = digits[nibble % 2 ? raw[nibble / 2] & 0x0f : raw[nibble / 2] >> 4];
		nibble++;
	}
	ret_text[NBH_SETUPKEY_LEN] = '\0';
	explicit_bzero(raw, sizeof(raw));
	return TRUE;
}

gboolean nbh_setupkey_normalize(const char *text, char ret_text[NBH_SETUPKEY_LEN + 1])
{
	if (strlen(text) != NBH_SETUPKEY_LEN)
		return FALSE;
	for (gsize i = 0; i < NBH_SETUPKEY_LEN; i++)
		if (is_dash_position(i) ? text[i] != '-' : !g_ascii_isxdigit(text[i]))
			return FALSE;
	for (gsize i = 0; i <= NBH_SETUPKEY_LEN; i++)
		ret_text[i] = g_ascii_toupper(text[i]);
	return TRUE;
}

char *nbh_setupkey_hash(const char text[NBH_SETUPKEY_LEN + 1])
{
	g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
	guint8 digest[SHA256_BYTES];
	gsize len = sizeof(digest);

	g_checksum_update(checksum, (const guchar *)text, NBH_SETUPKEY_LEN);
	g_checksum_get_digest(checksum, digest, &len);
	return g_base64_encode(digest, len);
}

void nbh_setupkey_mask(const char text[NBH_SETUPKEY_LEN + 1],
		       char ret_shown[NBH_SETUPKEY_SHOWN_LEN + 1])
{
	g_snprintf(ret_shown, NBH_SETUPKEY_SHOWN_LEN + 1, "%.5s*", text);
}
