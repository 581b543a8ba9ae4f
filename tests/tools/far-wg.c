#include "config.h"

#include "tests/tools/far-peers.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>
#include <sodium.h>

/* https://www.wireguard.com/papers/wireguard.pdf section 5.4; byte offsets of its messages. */
#define AT_SENDER 4
#define AT_EPHEMERAL 8
#define AT_STATIC 40 /* sealed: 32 + 16 */
#define AT_STAMP 88  /* sealed: 12 + 16 */
#define AT_RECEIVER 8
#define AT_ANSWER_EPHEMERAL 12
#define AT_EMPTY 44 /* sealed nothing: 16 */
#define AT_MAC1 60
#define HASH 32

typedef struct {
	guint8 chain[HASH], hash[HASH];
} Noise;

static void digest(guint8 ret[HASH], const void *a, gsize a_len, const void *b, gsize b_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	EVP_DigestInit_ex(ctx, EVP_blake2s256(), NULL);
	EVP_DigestUpdate(ctx, a, a_len);
	EVP_DigestUpdate(ctx, b, b_len);
	EVP_DigestFinal_ex(ctx, ret, NULL);
	EVP_MD_CTX_free(ctx);
}

static void mix_hash(Noise *noise, const void *data, gsize len)
{
	guint8 out[HASH];

	digest(out, noise->hash, HASH, data, len);
	memcpy(noise->hash, out, HASH);
}

/* The paper's KDF: the chain and up to two more keys. */
static void mix_key(Noise *noise, const void *data, gsize len, guint8 *ret_second, guint8 *ret_third)
{
	guint8 secret[HASH], text[HASH + 1];

	HMAC(EVP_blake2s256(), noise->chain, HASH, data, len, secret, NULL);
	HMAC(EVP_blake2s256(), secret, HASH, (const guint8 *)"\1", 1, noise->chain, NULL);
	memcpy(text, noise->chain, HASH);
	text[HASH] = 2;
	if (ret_second)
		HMAC(EVP_blake2s256(), secret, HASH, text, sizeof(text), ret_second, NULL);
	if (!ret_third)
		return;
	memcpy(text, ret_second, HASH);
	text[HASH] = 3;
	HMAC(EVP_blake2s256(), secret, HASH, text, sizeof(text), ret_third, NULL);
}

static gboolean mix_secret(Noise *noise, const guint8 *private_key, const guint8 *public_key, guint8 *ret_key)
{
	guint8 shared[32];

	if (crypto_scalarmult_curve25519(shared, private_key, public_key))
		return FALSE;
	mix_key(noise, shared, sizeof(shared), ret_key, NULL);
	return TRUE;
}

static gboolean open_part(Noise *noise, const guint8 *sealed, gsize len, const guint8 *key, guint8 *ret_plain)
{
	static const guint8 nonce[12];

	if (crypto_aead_chacha20poly1305_ietf_decrypt(ret_plain, NULL, NULL, sealed, len, noise->hash, HASH, nonce, key))
		return FALSE;
	mix_hash(noise, sealed, len);
	return TRUE;
}

static void begin(Noise *noise, const guint8 *own_public)
{
	static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
	static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";

	digest(noise->chain, construction, strlen(construction), NULL, 0);
	digest(noise->hash, noise->chain, HASH, identifier, strlen(identifier));
	mix_hash(noise, own_public, 32);
}

static void put_mac1(guint8 *response, const guint8 *far_public)
{
	guint8 key[HASH];
	EVP_MAC *algorithm = EVP_MAC_fetch(NULL, "BLAKE2SMAC", NULL);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(algorithm);
	gsize size = 16, len;
	OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t("size", &size), OSSL_PARAM_construct_end() };

	digest(key, "mac1----", 8, far_public, 32);
	EVP_MAC_init(ctx, key, sizeof(key), params);
	EVP_MAC_update(ctx, response, AT_MAC1);
	EVP_MAC_final(ctx, response + AT_MAC1, &len, size);
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(algorithm);
}

gboolean far_wg_answer(const struct nbh_key *own, const guint8 in[FAR_WG_INITIATION_LEN], guint32 index,
                       guint8 out[FAR_WG_RESPONSE_LEN], FarWg *ret_session)
{
	static const guint8 no_psk[32], nonce[12];
	guint8 key[HASH], mixed[HASH], far_static[32], stamp[12], ephemeral[32];
	struct nbh_key own_public;
	Noise noise;

	nbh_key_public(own, &own_public);
	begin(&noise, own_public.bytes);
	mix_key(&noise, in + AT_EPHEMERAL, 32, NULL, NULL);
	mix_hash(&noise, in + AT_EPHEMERAL, 32);
	if (!mix_secret(&noise, own->bytes, in + AT_EPHEMERAL, key) ||
	    !open_part(&noise, in + AT_STATIC, 48, key, far_static) ||
	    !mix_secret(&noise, own->bytes, far_static, key) || !open_part(&noise, in + AT_STAMP, 28, key, stamp))
		return FALSE;

	memset(out, 0, FAR_WG_RESPONSE_LEN);
	out[0] = 2;
	memcpy(out + AT_SENDER, &index, 4);
	memcpy(out + AT_RECEIVER, in + AT_SENDER, 4);
	randombytes_buf(ephemeral, sizeof(ephemeral));
	crypto_scalarmult_curve25519_base(out + AT_ANSWER_EPHEMERAL, ephemeral);
	mix_key(&noise, out + AT_ANSWER_EPHEMERAL, 32, NULL, NULL);
	mix_hash(&noise, out + AT_ANSWER_EPHEMERAL, 32);
	if (!mix_secret(&noise, ephemeral, in + AT_EPHEMERAL, NULL) || !mix_secret(&noise, ephemeral, far_static, NULL))
		return FALSE;
	mix_key(&noise, no_psk, sizeof(no_psk), mixed, key);
	mix_hash(&noise, mixed, HASH);
	crypto_aead_chacha20poly1305_ietf_encrypt(out + AT_EMPTY, NULL, NULL, 0, noise.hash, HASH, NULL, nonce, key);
	put_mac1(out, far_static);
	/* The responder sends with the second of the two keys. */
	mix_key(&noise, "", 0, ret_session->send_key, NULL);
	memcpy(ret_session->receiver, in + AT_SENDER, 4);
	ret_session->counter = 0;
	return TRUE;
}

void far_wg_keepalive(FarWg *session, guint8 out[FAR_WG_KEEPALIVE_LEN])
{
	guint64 counter = GUINT64_TO_LE(session->counter);
	guint8 nonce[12] = { 0 };

	memset(out, 0, FAR_WG_KEEPALIVE_LEN);
	out[0] = 4;
	memcpy(out + 4, session->receiver, 4);
	memcpy(out + 8, &counter, 8);
	memcpy(nonce + 4, &counter, 8);
	crypto_aead_chacha20poly1305_ietf_encrypt(out + 16, NULL, NULL, 0, NULL, 0, NULL, nonce, session->send_key);
	session->counter++;
}
