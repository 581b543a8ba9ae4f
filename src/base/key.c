#include "config.h"

#include "base/key.h"

#include "base/atomicfile.h"
#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define KEYFILE_MODE 0640 /* netbird-wg reads it through the group */

_Static_assert(sodium_base64_ENCODED_LEN(NBH_KEY_LEN, sodium_base64_VARIANT_ORIGINAL) ==
                       NBH_KEY_TEXT_LEN + 1,
               "key text is padded base64");

/* Fails only where the system has no source of randomness; a weak key would be worse than the end. */
static void init_sodium(void)
{
	if (sodium_init() < 0)
		abort();
}

int nbh_key_parse(const char *text, struct nbh_key *ret_key)
{
	struct nbh_key key;
	struct nbh_key_text again;
	const char *end;
	size_t len;
	int r = -EINVAL;

	if (strnlen(text, NBH_KEY_TEXT_LEN + 1) != NBH_KEY_TEXT_LEN)
		return -EINVAL;

	/* Encoding it again catches what a decoder may let pass: bits beyond the 256th. */
	if (sodium_base642bin(key.bytes, sizeof(key.bytes), text, NBH_KEY_TEXT_LEN, NULL, &len, &end,
	                      sodium_base64_VARIANT_ORIGINAL) == 0 &&
	    len == sizeof(key.bytes) && end == text + NBH_KEY_TEXT_LEN) {
		again = nbh_key_format(&key);

		if (sodium_memcmp(again.text, text, NBH_KEY_TEXT_LEN) == 0) {
			*ret_key = key;
			r = 0;
		}

		sodium_memzero(&again, sizeof(again));
	}

	sodium_memzero(&key, sizeof(key));
	return r;
}

struct nbh_key_text nbh_key_format(const struct nbh_key *key)
{
	struct nbh_key_text text;

	sodium_bin2base64(text.text, sizeof(text.text), key->bytes, sizeof(key->bytes),
	                  sodium_base64_VARIANT_ORIGINAL);
	return text;
}

bool nbh_key_equal(const struct nbh_key *a, const struct nbh_key *b)
{
	return sodium_memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool nbh_key_is_zero(const struct nbh_key *key)
{
	return sodium_is_zero(key->bytes, sizeof(key->bytes));
}

int nbh_key_compare(const struct nbh_key *a, const struct nbh_key *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* Keyed: whoever registers peers chooses their keys and must not choose the table slots, too. */
unsigned nbh_key_hash(const void *key)
{
	static unsigned char hash_key[crypto_shorthash_KEYBYTES];
	static bool has_key;
	unsigned char out[crypto_shorthash_BYTES];
	unsigned hash;

	if (!has_key) {
		init_sodium();
		crypto_shorthash_keygen(hash_key);
		has_key = true;
	}

	crypto_shorthash(out, key, NBH_KEY_LEN, hash_key);
	memcpy(&hash, out, sizeof(hash));
	return hash;
}

int nbh_key_hash_equal(const void *a, const void *b)
{
	return memcmp(a, b, NBH_KEY_LEN) == 0;
}

void nbh_key_generate_private(struct nbh_key *ret_private)
{
	init_sodium();
	randombytes_buf(ret_private->bytes, sizeof(ret_private->bytes));
	/* RFC 7748 section 5, decodeScalar25519 */
	ret_private->bytes[0] &= 248;
	ret_private->bytes[31] = (uint8_t)((ret_private->bytes[31] & 127) | 64);
}

void nbh_key_public(const struct nbh_key *private_key, struct nbh_key *ret_public)
{
	crypto_scalarmult_base(ret_public->bytes, private_key->bytes);
}

void nbh_key_wipe(struct nbh_key *key)
{
	sodium_memzero(key, sizeof(*key));
}

int nbh_keyfile_read(int dirfd, const char *name, struct nbh_key *ret_private, struct nbh_why *why)
{
	char *text;
	size_t len, line;
	int r = nbh_trustedfile_read(dirfd, name, NBH_KEYFILE_MAX_BYTES, &text, &len, why);

	if (r < 0)
		return r;

	line = len;

	if (line > 0 && text[line - 1] == '\n')
		text[--line] = '\0';

	r = strlen(text) == line ? nbh_key_parse(text, ret_private) : -EINVAL;

	if (r < 0)
		nbh_why_set(why, "%s: not one line of 44 characters of base64, as wg genkey prints", name);

	sodium_memzero(text, len);
	free(text);
	return r;
}

/*
 * The text is written to a file of its own and linked to its name only when complete: the name
 * never holds half a key, and link(2) never replaces what is there.
 */
static int create_by_link(int dirfd, const char *name, const struct nbh_key_text *line,
                          struct nbh_why *why)
{
	char temp[64];
	int r;

	if (snprintf(temp, sizeof(temp), ".%s.new", name) >= (int)sizeof(temp)) {
		nbh_why_set(why, "%.40s...: the file name is too long", name);
		return -ENAMETOOLONG;
	}

	r = nbh_atomicfile_write(dirfd, temp, line->text, sizeof(line->text), KEYFILE_MODE,
	                         NBH_ATOMICFILE_FSYNC, why);

	if (r < 0)
		return r;

	if (linkat(dirfd, temp, dirfd, name, 0) < 0)
		r = -errno;

	unlinkat(dirfd, temp, 0);

	if (r == 0 && fsync(dirfd) < 0)
		r = -errno;

	if (r == -EEXIST)
		nbh_why_set(why, "%s: exists already and is never overwritten", name);
	else if (r < 0)
		nbh_why_set(why, "%s: cannot create: %s", name, strerror(-r));

	return r;
}

int nbh_keyfile_create(int dirfd, const char *name, const struct nbh_key *private_key,
                       struct nbh_why *why)
{
	struct nbh_key_text line = nbh_key_format(private_key);
	int r;

	line.text[NBH_KEY_TEXT_LEN] = '\n'; /* in the place of the NUL */
	r = create_by_link(dirfd, name, &line, why);
	sodium_memzero(&line, sizeof(line));
	return r;
}
