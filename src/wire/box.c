#include "config.h"

#include "wire/box.h"

#include <sodium.h>
#include <string.h>

G_STATIC_ASSERT(crypto_box_NONCEBYTES == 24);
G_STATIC_ASSERT(crypto_box_NONCEBYTES + crypto_box_MACBYTES == NBH_BOX_OVERHEAD);

/* Cheap after the first time. It fails only where there is no source of randomness at all. */
static gboolean is_ready(void)
{
	return sodium_init() >= 0;
}

GBytes *nbh_box_seal(const struct nbh_key *own_private, const struct nbh_key *far_public,
		     const guint8 *plain, gsize len, const guint8 nonce[24])
{
	g_autofree guint8 *sealed = NULL;

	if (!is_ready() || len > crypto_box_MESSAGEBYTES_MAX - NBH_BOX_OVERHEAD)
		return NULL;

	sealed = g_malloc(len + NBH_BOX_OVERHEAD);

	if (nonce)
		memcpy(sealed, nonce, crypto_box_NONCEBYTES);
	else
		randombytes_buf(sealed, crypto_box_NONCEBYTES);

	/* Fails for a far key of low order, which nobody has but whoever wants to see us fail. */
	if (crypto_box_easy(sealed + crypto_box_NONCEBYTES, plain, len, sealed, far_public->bytes,
			    own_private->bytes) != 0)
		return NULL;

	return g_bytes_new_take(g_steal_pointer(&sealed), len + NBH_BOX_OVERHEAD);
}

GBytes *nbh_box_open(const struct nbh_key *own_private, const struct nbh_key *far_public,
		     const guint8 *sealed, gsize len)
{
	g_autofree guint8 *plain = NULL;

	if (!is_ready() || len < NBH_BOX_OVERHEAD)
		return NULL;

	plain = g_malloc(len - NBH_BOX_OVERHEAD + 1);

	if (crypto_box_open_easy(plain, sealed + crypto_box_NONCEBYTES, len - crypto_box_NONCEBYTES,
				 sealed, far_public->bytes, own_private->bytes) != 0)
		return NULL;

	return g_bytes_new_take(g_steal_pointer(&plain), len - NBH_BOX_OVERHEAD);
}
