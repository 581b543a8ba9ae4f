#ifndef NBH_BASE_KEY_H
#define NBH_BASE_KEY_H

#include "base/why.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NBH_KEY_LEN 32
/* "Key text" of NetBird and wg(8): RFC 4648 base64 with padding. Without the closing NUL. */
#define NBH_KEY_TEXT_LEN 44

struct nbh_key {
	uint8_t bytes[NBH_KEY_LEN];
};

struct nbh_key_text {
	char text[NBH_KEY_TEXT_LEN + 1];
};

/* Accepts exactly the 44 characters that nbh_key_format() makes, nothing looser. -EINVAL. */
int nbh_key_parse(const char *text, struct nbh_key *ret_key);
struct nbh_key_text nbh_key_format(const struct nbh_key *key);

bool nbh_key_equal(const struct nbh_key *a, const struct nbh_key *b); /* constant time */
bool nbh_key_is_zero(const struct nbh_key *key);
int nbh_key_compare(const struct nbh_key *a, const struct nbh_key *b); /* memcmp order, for sorting */
unsigned nbh_key_hash(const void *key); /* GHashFunc over the raw bytes */
int nbh_key_hash_equal(const void *a, const void *b); /* GEqualFunc */

void nbh_key_generate_private(struct nbh_key *ret_private); /* clamped: netbird-wire.md 1.1 */
void nbh_key_public(const struct nbh_key *private_key, struct nbh_key *ret_public);
void nbh_key_wipe(struct nbh_key *key);

/*
 * private.key: one line of key text. read: opens relative to dirfd with O_NOFOLLOW, refuses
 * anything but a regular file of at most 128 bytes that is owned by root, by us or by the
 * directory's owner and not writable by group or others. create: whole or not at all, mode 0640, fsync of file and
 * directory; -EEXIST when there already is one, which is never overwritten. Created by root it belongs to the
 * directory's owner. The text never reaches a message.
 */
int nbh_keyfile_read(int dirfd, const char *name, struct nbh_key *ret_private, struct nbh_why *why);
int nbh_keyfile_create(int dirfd, const char *name, const struct nbh_key *private_key, struct nbh_why *why);

#endif
