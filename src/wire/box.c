#include "config.h"

#include "wire/box.h"

#include "base/limits.h"

#include <sodium.h>
#include <string.h>

G_STATIC_ASSERT(crypto_box_NONCEBYTES == 24);
G_STATIC_ASSERT(crypto_box_NONCEBYTES + crypto_box_MACBYTES == NBH_BOX_OVERHEAD);

/* Cheap after the first time. It fails only where there is no source of randomness at all. */
static gboolean is_ready(void)
{
	return sodium_init() >= 0;
}

/*
 * The multiplication on the curve is nearly all that a short message costs, and who floods us does
 * it with few keys. So the results for a few pairs are kept; a pair that comes to the same place
 * takes it.
 */
typedef struct {
	struct nbh_key own_private, far_public;
	guint8 shared[crypto_box_BEFORENMBYTES];
	gboolean is_set;
} Pair;

static Pair pairs[NBH_BOX_PAIRS_KEPT];

/* NULL for a far key of low order, which nobody has but whoever wants to see us fail. */
static const guint8 *shared_of(const struct nbh_key *own_private, const struct nbh_key *far_public)
{
	Pair *pair = &pairs[nbh_key_hash(far_public) % G_N_ELEMENTS(pairs)];

	if (pair->is_set && nbh_key_equal(&pair->far_public, far_public) &&
	    nbh_key_equal(&pair->own_private, own_private))
		return pair->shared;

	sodium_memzero(pair, sizeof(*pair));

	if (crypto_box_beforenm(pair->shared, far_public->bytes, own_private->bytes) != 0)
		return NULL;

	pair->own_private = *own_private;
	pair->far_public = *far_public;
	pair->is_set = TRUE;
	return pair->shared;
}

GBytes *nbh_box_seal(const struct nbh_key *own_private, const struct nbh_key *far_public,
		     const guint8 *plain, gsize len, const guint8 nonce[24])
{
	g_autofree guint8 *sealed = NULL;
	const guint8 *shared;

	if (!is_ready() || len > crypto_box_MESSAGEBYTES_MAX - NBH_BOX_OVERHEAD)
		return NULL;

	shared = shared_of(own_private, far_public);

	if (!shared)
		return NULL;

	sealed = g_malloc(len + NBH_BOX_OVERHEAD);

	if (nonce)
		memcpy(sealed, nonce, crypto_box_NONCEBYTES);
	else
		randombytes_buf(sealed, crypto_box_NONCEBYTES);

	if (crypto_box_easy_afternm(sealed + crypto_box_NONCEBYTES, plain, len, sealed, shared) != 0)
		return NULL;

	return g_bytes_new_take(g_steal_pointer(&sealed), len + NBH_BOX_OVERHEAD);
}

GBytes *nbh_box_open(const struct nbh_key *own_private, const struct nbh_key *far_public,
		     const guint8 *sealed, gsize len)
{
	g_autofree guint8 *plain = NULL;
	const guint8 *shared;

	if (!is_ready() || len < NBH_BOX_OVERHEAD)
		return NULL;

	shared = shared_of(own_private, far_public);

	if (!shared)
		return NULL;

	plain = g_malloc(len - NBH_BOX_OVERHEAD + 1);

	if (crypto_box_open_easy_afternm(plain, sealed + crypto_box_NONCEBYTES, len - crypto_box_NONCEBYTES,
					 sealed, shared) != 0)
		return NULL;

	return g_bytes_new_take(g_steal_pointer(&plain), len - NBH_BOX_OVERHEAD);
}
