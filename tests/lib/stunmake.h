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

/* A whole connectivity check as agents send it. */
enum {
	TEST_CHECK_CONTROLLING = 1, /* else ICE-CONTROLLED */
	TEST_CHECK_NOMINATES = 2,
	TEST_CHECK_NO_PRIORITY = 4,
	TEST_CHECK_NO_ROLE = 8,
	TEST_CHECK_UNKNOWN = 16, /* has an attribute that must be understood */
	TEST_CHECK_BAD_FINGERPRINT = 32,
	TEST_CHECK_UNSIGNED = 64, /* USE-CANDIDATE behind MESSAGE-INTEGRITY, where anybody can put it */
};

static inline gsize test_stun_attr(guint8 *p, gsize at, guint16 type, const void *value, gsize len)
{
	gsize padded = (len + 3) & ~(gsize)3;

	nbh_put16(p + at, type);
	nbh_put16(p + at + 2, (guint16)len);
	memset(p + at + 4, 0, padded);
	memcpy(p + at + 4, value, len);
	nbh_put16(p + 2, (guint16)(at + 4 + padded - 20));
	return at + 4 + padded;
}

static inline guint32 test_crc32(const guint8 *p, gsize n)
{
	guint32 crc = 0xffffffffu;

	for (gsize i = 0; i < n; i++) {
		crc ^= p[i];

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}

	return ~crc;
}

static inline gsize test_stun_check(guint8 *p, const guint8 *txid, const char *username, const char *password,
                                    guint flags, const char *pair_id)
{
	static const guint8 eight[8] = { 1 };
	guint8 mac[20], print[4];
	gsize at = nbh_stun_make_request(p, txid), mac_len = sizeof(mac);
	GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA1, (const guchar *)password, strlen(password));
	guint32 crc;

	at = test_stun_attr(p, at, 0x0006, username, strlen(username));
	at = flags & TEST_CHECK_NO_PRIORITY ? at : test_stun_attr(p, at, 0x0024, eight, 4);
	at = flags & TEST_CHECK_NOMINATES ? test_stun_attr(p, at, 0x0025, eight, 0) : at;
	at = flags & TEST_CHECK_UNKNOWN ? test_stun_attr(p, at, 0x0030, eight, 4) : at;

	if (!(flags & TEST_CHECK_NO_ROLE))
		at = test_stun_attr(p, at, flags & TEST_CHECK_CONTROLLING ? 0x802a : 0x8029, eight, 8);

	nbh_put16(p + 2, (guint16)(at + 24 - 20));
	g_hmac_update(hmac, p, (gssize)at);
	g_hmac_get_digest(hmac, mac, &mac_len);
	g_hmac_unref(hmac);
	at = test_stun_attr(p, at, 0x0008, mac, sizeof(mac));
	at = flags & TEST_CHECK_UNSIGNED ? test_stun_attr(p, at, 0x0025, eight, 0) : at;
	nbh_put16(p + 2, (guint16)(at + 8 - 20));
	crc = test_crc32(p, at) ^ 0x5354554eu ^ !!(flags & TEST_CHECK_BAD_FINGERPRINT);
	crc = GUINT32_TO_BE(crc);
	memcpy(print, &crc, sizeof(print));
	at = test_stun_attr(p, at, 0x8028, print, sizeof(print));
	return pair_id ? test_stun_attr(p, at, 0x8100, pair_id, NBH_STUN_PAIR_ID_LEN) : at;
}

#endif
