#ifndef NBH_WIRE_BOX_H
#define NBH_WIRE_BOX_H

/* Sealed envelopes: nonce[24] || crypto_box_easy. netbird-wire.md 1.2. */

#include "base/key.h"

#include <glib.h>

#define NBH_BOX_OVERHEAD 40

/*
 * nonce NULL: random (always, but in tests against vectors). Empty plaintext is legal. NULL when
 * far_public is no key that anybody can have (low order): such a peer cannot be talked to.
 */
GBytes *nbh_box_seal(const struct nbh_key *own_private, const struct nbh_key *far_public,
		     const guint8 *plain, gsize len, const guint8 nonce[24]);
/* NULL if it does not open. The plaintext is wiped by the caller where it is secret. */
GBytes *nbh_box_open(const struct nbh_key *own_private, const struct nbh_key *far_public,
		     const guint8 *sealed, gsize len);

#endif
