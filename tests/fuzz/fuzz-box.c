/* Sealed boxes: no input opens, unless it is a box; the input sealed opens to itself, changed it does not. */
#include "config.h"

#include "wire/box.h"
#include "wire/mgmtmsg.h"

#include "tests/fuzz/fuzz.h"

static const struct nbh_key own_private = { { 64, 1, 2, 3, [31] = 64 } };
static const guint8 nonce[24] = "123456789012345678901234";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	g_autoptr(GBytes) sealed = NULL, opened = NULL, changed = NULL;
	struct nbh_key own_public;
	g_autofree guint8 *copy = NULL;
	const guint8 *bytes;
	gsize n;

	nbh_key_public(&own_private, &own_public);
	opened = nbh_box_open(&own_private, &own_public, data, len);
	fuzz_require(!opened || g_bytes_get_size(opened) == len - NBH_BOX_OVERHEAD);
	g_clear_pointer(&opened, g_bytes_unref);

	sealed = nbh_box_seal(&own_private, &own_public, data, len, nonce);
	bytes = g_bytes_get_data(sealed, &n);
	fuzz_require(n == len + NBH_BOX_OVERHEAD);
	opened = nbh_box_open(&own_private, &own_public, bytes, n);
	fuzz_require(opened && g_bytes_get_size(opened) == len);
	fuzz_require(len == 0 || memcmp(g_bytes_get_data(opened, NULL), data, len) == 0);

	copy = g_memdup2(bytes, n);
	copy[len ? data[0] % n : 0] ^= 1;
	changed = nbh_box_open(&own_private, &own_public, copy, n);
	fuzz_require(!changed);
	return 0;
}
