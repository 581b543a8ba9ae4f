#ifndef NBH_TESTS_LIB_STUNMAKE_H
#define NBH_TESTS_LIB_STUNMAKE_H

/* A Binding request of an ICE agent: USERNAME "to:from", MESSAGE-INTEGRITY, optionally 0x8100 behind. */

#include "ice/packet.h"
#include "wire/stun.h"

#include <string.h>

static inline gsize test_stun_request(guint8 *p, const guint8 txid[NBH_STUN_TXID_LEN], const char *username,
                                      const char *password, const char *pair_id)
{
	gsize at = nbh_stun_make_request(p, txid), len = strlen(username), padded = (len + 3) & ~(gsize)3;
	gsize mac_len = 20;
	GHmac *hmac;

	nbh_put16(p + at, 0x0006);
	nbh_put16(p + at + 2, (guint16)len);
	memset(p + at + 4, 0, padded);
	memcpy(p + at + 4, username, len);
	at += 4 + padded;
	nbh_put16(p + 2, (guint16)(at + 24 - 20));
	hmac = g_hmac_new(G_CHECKSUM_SHA1, (const guchar *)password, strlen(password));
	g_hmac_update(hmac, p, (gssize)at);
	nbh_put16(p + at, 0x0008);
	nbh_put16(p + at + 2, 20);
	g_hmac_get_digest(hmac, p + at + 4, &mac_len);
	g_hmac_unref(hmac);
	at += 24;

	/* Its value does not matter here: only where it is. libnice does look at it. */
	nbh_put16(p + at, 0x8028);
	nbh_put16(p + at + 2, 4);
	memset(p + at + 4, 0, 4);
	at += 8;

	if (pair_id) {
		nbh_put16(p + at, 0x8100);
		nbh_put16(p + at + 2, NBH_STUN_PAIR_ID_LEN);
		memset(p + at + 4, 0, 68);
		memcpy(p + at + 4, pair_id, NBH_STUN_PAIR_ID_LEN);
		at += 72;
	}

	nbh_put16(p + 2, (guint16)(at - 20));
	return at;
}

#endif
