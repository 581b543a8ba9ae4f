#include "config.h"

/*
 * STUN Binding (RFC 8489) on bytes of any length and content: every function below looks at no byte
 * behind n. Attributes are walked anew for each question, which is cheap for packets of 100 bytes.
 */

#include "wire/stun.h"

#include <string.h>

#define HEADER_LEN 20
#define ATTR_HEADER_LEN 4

#define TYPE_REQUEST 0x0001
#define TYPE_SUCCESS 0x0101

#define ATTR_MAPPED_ADDRESS 0x0001
#define ATTR_USERNAME 0x0006
#define ATTR_MESSAGE_INTEGRITY 0x0008
#define ATTR_XOR_MAPPED_ADDRESS 0x0020
#define ATTR_PRIORITY 0x0024
#define ATTR_USE_CANDIDATE 0x0025
#define ATTR_OPTIONAL 0x8000 /* from here on nobody has to understand it, RFC 8489 14 */
#define ATTR_FINGERPRINT 0x8028
#define ATTR_ICE_CONTROLLED 0x8029
#define ATTR_ICE_CONTROLLING 0x802a
#define ATTR_PAIR_ID 0x8100 /* NetBird's, behind FINGERPRINT: netbird-wire.md 4.9 */

#define INTEGRITY_LEN 20
#define FINGERPRINT_LEN 4
#define FINGERPRINT_XOR 0x5354554eu /* RFC 8489 14.7: "the 32-bit value 0x5354554e" */

#define PAIR_ID_HALF 32

G_STATIC_ASSERT(NBH_STUN_PAIR_ID_LEN == 2 * PAIR_ID_HALF + 1);
G_STATIC_ASSERT(NBH_STUN_PAIR_ID_ROOM == ATTR_HEADER_LEN + ((NBH_STUN_PAIR_ID_LEN + 3) & ~3));

static guint16 get16(const guint8 *p)
{
	return (guint16)(p[0] << 8 | p[1]);
}

static guint32 get32(const guint8 *p)
{
	return (guint32)p[0] << 24 | (guint32)p[1] << 16 | (guint32)p[2] << 8 | p[3];
}

static void put16(guint8 *p, guint v)
{
	p[0] = (guint8)(v >> 8);
	p[1] = (guint8)v;
}

static void put32(guint8 *p, guint32 v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static gsize padded(gsize len)
{
	return (len + 3) & ~(gsize)3;
}

/* --- reading ---------------------------------------------------------------------------------- */

gboolean nbh_stun_is_message(const guint8 *p, gsize n)
{
	guint len;

	if (n < HEADER_LEN)
		return FALSE;

	len = get16(p + 2);

	/* "the most significant 2 bits of every STUN message MUST be zeroes", RFC 8489 section 5.
	 */
	return (p[0] & 0xc0) == 0 && get32(p + 4) == NBH_STUN_COOKIE && len % 4 == 0 &&
	       HEADER_LEN + len <= n;
}

/* RFC 8489 figure 3: the class is in bits 4 and 8 of the type. */
NbhStunClass nbh_stun_class(const guint8 *p)
{
	guint type = get16(p);

	return (NbhStunClass)((type >> 7 & 2) | (type >> 4 & 1));
}

guint nbh_stun_method(const guint8 *p)
{
	guint type = get16(p);

	return (type & 0x000f) | (type >> 1 & 0x0070) | (type >> 2 & 0x0f80);
}

const guint8 *nbh_stun_txid(const guint8 *p)
{
	return p + 8;
}

/* Where the message ends by its own header; 0 if it is none. */
static gsize message_end(const guint8 *p, gsize n)
{
	return nbh_stun_is_message(p, n) ? HEADER_LEN + (gsize)get16(p + 2) : 0;
}

/* The offset of the first attribute of this type; 0 if there is none before the message goes wrong.
 */
static gsize attr_find(const guint8 *p, gsize end, guint type, gsize *ret_len)
{
	gsize at = HEADER_LEN;

	while (at + ATTR_HEADER_LEN <= end) {
		gsize len = get16(p + at + 2);

		if (at + ATTR_HEADER_LEN + len > end)
			return 0;

		if (get16(p + at) == type) {
			*ret_len = len;
			return at;
		}

		at += ATTR_HEADER_LEN + padded(len);
	}

	return 0;
}

gsize nbh_stun_trim(guint8 *p, gsize n, gboolean *ret_cut)
{
	gsize end = message_end(p, n);
	gsize len = 0;
	gsize at = end ? attr_find(p, end, ATTR_FINGERPRINT, &len) : 0;
	gsize cut_end = at + ATTR_HEADER_LEN + FINGERPRINT_LEN;

	*ret_cut = FALSE;

	if (at == 0 || len != FINGERPRINT_LEN || cut_end == n)
		return n;

	/* Also bytes behind the message's own end: a strict agent would take neither. */
	*ret_cut = TRUE;
	put16(p + 2, (guint)(cut_end - HEADER_LEN));
	return cut_end;
}

gboolean nbh_stun_local_ufrag(const guint8 *p, gsize n, char ret_ufrag[NBH_ICE_UFRAG_MAX + 1])
{
	gsize end = message_end(p, n);
	gsize len = 0, ufrag_len;
	gsize at = end ? attr_find(p, end, ATTR_USERNAME, &len) : 0;
	const guint8 *value = p + at + ATTR_HEADER_LEN, *colon;

	colon = at ? memchr(value, ':', len) : NULL;

	if (!colon)
		return FALSE;

	ufrag_len = (gsize)(colon - value);

	if (ufrag_len == 0 || ufrag_len > NBH_ICE_UFRAG_MAX || memchr(value, '\0', ufrag_len))
		return FALSE;

	memcpy(ret_ufrag, value, ufrag_len);
	ret_ufrag[ufrag_len] = '\0';
	return TRUE;
}

gboolean nbh_stun_pair_id(const guint8 *p, gsize n, guint8 ret_pair_id[NBH_STUN_PAIR_ID_LEN])
{
	gsize end = message_end(p, n);
	gsize len = 0;
	gsize at = end ? attr_find(p, end, ATTR_PAIR_ID, &len) : 0;
	const guint8 *value = p + at + ATTR_HEADER_LEN;

	if (at == 0 || len != NBH_STUN_PAIR_ID_LEN ||
	    memchr(value, ':', len) != value + PAIR_ID_HALF)
		return FALSE;

	memcpy(ret_pair_id, value, NBH_STUN_PAIR_ID_LEN);
	return TRUE;
}

gsize nbh_stun_echo_pair_id(guint8 *p, gsize n, const guint8 pair_id[NBH_STUN_PAIR_ID_LEN])
{
	gsize end = message_end(p, n);
	guint8 *value = p + end + ATTR_HEADER_LEN;

	/* Only behind a message that fills its packet, and while the length fits its field. */
	if (end == 0 || end != n || end - HEADER_LEN + NBH_STUN_PAIR_ID_ROOM > 0xfffc)
		return n;

	memset(p + end, 0, NBH_STUN_PAIR_ID_ROOM);
	put16(p + end, ATTR_PAIR_ID);
	put16(p + end + 2, NBH_STUN_PAIR_ID_LEN);
	memcpy(value, pair_id + PAIR_ID_HALF + 1, PAIR_ID_HALF);
	value[PAIR_ID_HALF] = ':';
	memcpy(value + PAIR_ID_HALF + 1, pair_id, PAIR_ID_HALF);
	put16(p + 2, (guint)(end - HEADER_LEN + NBH_STUN_PAIR_ID_ROOM));
	return end + NBH_STUN_PAIR_ID_ROOM;
}

/*
 * HMAC-SHA1 over the message up to `at`, with the length field as if MESSAGE-INTEGRITY, which
 * begins there, were the last attribute (RFC 8489 14.5).
 */
static void integrity_make(const guint8 *p, gsize at, const char *password,
			   guint8 ret_mac[INTEGRITY_LEN])
{
	guint8 header[HEADER_LEN];
	gsize mac_len = INTEGRITY_LEN;
	GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA1, (const guchar *)password, strlen(password));

	memcpy(header, p, HEADER_LEN);
	put16(header + 2, (guint)(at + ATTR_HEADER_LEN + INTEGRITY_LEN - HEADER_LEN));
	g_hmac_update(hmac, header, HEADER_LEN);
	g_hmac_update(hmac, p + HEADER_LEN, (gssize)(at - HEADER_LEN));
	g_hmac_get_digest(hmac, ret_mac, &mac_len);
	g_hmac_unref(hmac);
}

gboolean nbh_stun_check_integrity(const guint8 *p, gsize n, const char *password)
{
	gsize end = message_end(p, n);
	gsize i, len = 0;
	gsize at = end ? attr_find(p, end, ATTR_MESSAGE_INTEGRITY, &len) : 0;
	guint8 mac[INTEGRITY_LEN];
	guint8 difference = 0;

	/* An empty password (not set yet) is one that everybody knows. */
	if (at == 0 || len != INTEGRITY_LEN || !*password)
		return FALSE;

	integrity_make(p, at, password, mac);

	/* In constant time. */
	for (i = 0; i < INTEGRITY_LEN; i++)
		difference |= mac[i] ^ p[at + ATTR_HEADER_LEN + i];

	return difference == 0;
}

/* CRC-32 of ITU V.42, as in zlib; by nibbles, which needs a table of 16 entries only. */
static guint32 crc32_update(guint32 crc, const guint8 *p, gsize n)
{
	static const guint32 table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
		0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	gsize i;

	for (i = 0; i < n; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 0xf];
		crc = crc >> 4 ^ table[crc & 0xf];
	}

	return crc;
}

/* Over the message up to `at`, where FINGERPRINT begins, with the length as if it were the last. */
static guint32 fingerprint_make(const guint8 *p, gsize at)
{
	guint8 header[HEADER_LEN];
	guint32 crc;

	memcpy(header, p, HEADER_LEN);
	put16(header + 2, (guint)(at + ATTR_HEADER_LEN + FINGERPRINT_LEN - HEADER_LEN));
	crc = crc32_update(0xffffffffu, header, HEADER_LEN);
	crc = crc32_update(crc, p + HEADER_LEN, at - HEADER_LEN);
	return ~crc ^ FINGERPRINT_XOR;
}

/* "When present, the FINGERPRINT attribute MUST be the last attribute in the message", RFC
 * 8489 14.7. */
gboolean nbh_stun_check_fingerprint(const guint8 *p, gsize n)
{
	gsize end = message_end(p, n);
	gsize len = 0;
	gsize at = end ? attr_find(p, end, ATTR_FINGERPRINT, &len) : 0;

	if (at == 0 || len != FINGERPRINT_LEN || at + ATTR_HEADER_LEN + FINGERPRINT_LEN != end)
		return FALSE;

	return get32(p + at + ATTR_HEADER_LEN) == fingerprint_make(p, at);
}

static void read_check_attr(const guint8 *p, gsize at, gsize len, gboolean is_signed, NbhStunCheck *check)
{
	guint type = get16(p + at);

	if (is_signed && type != ATTR_FINGERPRINT) {
		check->has_more = TRUE;
		return;
	}

	switch (type) {
	case ATTR_USERNAME:
		check->username = (const char *)p + at + ATTR_HEADER_LEN;
		check->username_len = len;
		break;
	case ATTR_PRIORITY:
		check->has_priority = len == 4;
		break;
	case ATTR_USE_CANDIDATE:
		check->use_candidate = TRUE;
		break;
	case ATTR_ICE_CONTROLLING:
		check->controlling = TRUE;
		break;
	case ATTR_ICE_CONTROLLED:
		check->controlled = TRUE;
		break;
	case ATTR_MESSAGE_INTEGRITY:
	case ATTR_FINGERPRINT:
		break;
	default:
		check->has_more |= type < ATTR_OPTIONAL;
	}
}

gboolean nbh_stun_read_check(const guint8 *p, gsize n, NbhStunCheck *ret_check)
{
	gsize end = message_end(p, n), at = HEADER_LEN;
	NbhStunCheck check = {.username = NULL};
	gboolean is_signed = FALSE;

	while (at + ATTR_HEADER_LEN <= end) {
		gsize len = get16(p + at + 2);

		if (at + ATTR_HEADER_LEN + len > end)
			return FALSE;

		read_check_attr(p, at, len, is_signed, &check);
		is_signed |= get16(p + at) == ATTR_MESSAGE_INTEGRITY;
		at += ATTR_HEADER_LEN + padded(len);
	}

	if (at != end)
		return FALSE;

	*ret_check = check;
	return TRUE;
}

/* Value of (XOR-)MAPPED-ADDRESS: 0, family 1 or 2, port, address; XORed with cookie and txid. */
static gboolean address_decode(const guint8 *p, gsize at, gsize len, gboolean is_xor,
			       struct nbh_endpoint *ret_endpoint)
{
	const guint8 *value = p + at + ATTR_HEADER_LEN;
	struct nbh_endpoint endpoint = {.port = 0};
	gsize i, addr_len;

	if (len == 8 && value[1] == 1) {
		endpoint.addr.family = AF_INET;
		addr_len = 4;
	} else if (len == 20 && value[1] == 2) {
		endpoint.addr.family = AF_INET6;
		addr_len = 16;
	} else {
		return FALSE;
	}

	endpoint.port = get16(value + 2);
	memcpy(endpoint.addr.bytes, value + 4, addr_len);

	if (is_xor) {
		endpoint.port ^= NBH_STUN_COOKIE >> 16;

		for (i = 0; i < addr_len; i++)
			endpoint.addr.bytes[i] ^= p[4 + i]; /* cookie and txid lie side by side */
	}

	if (endpoint.port == 0 || nbh_addr_is_unspecified(&endpoint.addr))
		return FALSE;

	*ret_endpoint = endpoint;
	return TRUE;
}

gboolean nbh_stun_mapped_address(const guint8 *p, gsize n, struct nbh_endpoint *ret_mapped)
{
	gsize end = message_end(p, n);
	gsize len = 0, at;

	at = end ? attr_find(p, end, ATTR_XOR_MAPPED_ADDRESS, &len) : 0;

	if (at)
		return address_decode(p, at, len, TRUE, ret_mapped);

	at = end ? attr_find(p, end, ATTR_MAPPED_ADDRESS, &len) : 0;
	return at && address_decode(p, at, len, FALSE, ret_mapped);
}

/* --- writing ---------------------------------------------------------------------------------- */

static gsize header_put(guint8 *p, guint type, const guint8 txid[NBH_STUN_TXID_LEN])
{
	put16(p, type);
	put16(p + 2, 0);
	put32(p + 4, NBH_STUN_COOKIE);
	memcpy(p + 8, txid, NBH_STUN_TXID_LEN);
	return HEADER_LEN;
}

static gsize mapped_put(guint8 *p, gsize at, const struct nbh_endpoint *mapped)
{
	gsize i, addr_len = mapped->addr.family == AF_INET ? 4 : 16;
	guint8 *value = p + at + ATTR_HEADER_LEN;

	put16(p + at, ATTR_XOR_MAPPED_ADDRESS);
	put16(p + at + 2, (guint)(4 + addr_len));
	value[0] = 0;
	value[1] = mapped->addr.family == AF_INET ? 1 : 2;
	put16(value + 2, mapped->port ^ NBH_STUN_COOKIE >> 16);

	for (i = 0; i < addr_len; i++)
		value[4 + i] = mapped->addr.bytes[i] ^ p[4 + i];

	return at + ATTR_HEADER_LEN + 4 + addr_len;
}

static gsize integrity_put(guint8 *p, gsize at, const char *password)
{
	put16(p + at, ATTR_MESSAGE_INTEGRITY);
	put16(p + at + 2, INTEGRITY_LEN);
	integrity_make(p, at, password, p + at + ATTR_HEADER_LEN);
	return at + ATTR_HEADER_LEN + INTEGRITY_LEN;
}

static gsize fingerprint_put(guint8 *p, gsize at)
{
	put16(p + at, ATTR_FINGERPRINT);
	put16(p + at + 2, FINGERPRINT_LEN);
	put32(p + at + ATTR_HEADER_LEN, fingerprint_make(p, at));
	return at + ATTR_HEADER_LEN + FINGERPRINT_LEN;
}

gsize nbh_stun_make_request(guint8 *p, const guint8 txid[NBH_STUN_TXID_LEN])
{
	return header_put(p, TYPE_REQUEST, txid);
}

/* password NULL: without MESSAGE-INTEGRITY. */
static gsize answer_make(guint8 *p, gsize room, const guint8 txid[NBH_STUN_TXID_LEN],
			 const struct nbh_endpoint *mapped, const char *password)
{
	gsize need = HEADER_LEN + ATTR_HEADER_LEN + 4 + (mapped->addr.family == AF_INET ? 4 : 16) +
		     (password ? ATTR_HEADER_LEN + INTEGRITY_LEN : 0) + ATTR_HEADER_LEN +
		     FINGERPRINT_LEN;
	gsize at;

	if (room < need || (mapped->addr.family != AF_INET && mapped->addr.family != AF_INET6))
		return 0;

	at = header_put(p, TYPE_SUCCESS, txid);
	at = mapped_put(p, at, mapped);

	if (password)
		at = integrity_put(p, at, password);

	at = fingerprint_put(p, at);
	put16(p + 2, (guint)(at - HEADER_LEN));
	return at;
}

gsize nbh_stun_make_answer(guint8 *p, gsize room, const guint8 txid[NBH_STUN_TXID_LEN],
			   const struct nbh_endpoint *mapped)
{
	return answer_make(p, room, txid, mapped, NULL);
}

gsize nbh_stun_make_ice_answer(guint8 *p, gsize room, const guint8 txid[NBH_STUN_TXID_LEN],
			       const struct nbh_endpoint *mapped, const char *password)
{
	return answer_make(p, room, txid, mapped, password);
}
