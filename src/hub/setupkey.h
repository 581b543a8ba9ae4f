#ifndef NBH_HUB_SETUPKEY_H
#define NBH_HUB_SETUPKEY_H

/* Setup keys: upper-case UUID text. The hub keeps only a hash and a masked form. netbird-hub.md 5.4. */

#include <glib.h>

#define NBH_SETUPKEY_LEN 36
#define NBH_SETUPKEY_SHOWN_LEN 6 /* "5B1A2*" */

/* A fresh random one (122 bits of getrandom). FALSE when the system has no randomness. */
gboolean nbh_setupkey_generate(char ret_text[NBH_SETUPKEY_LEN + 1]);
/* Any letter case; clients send the lower-case form. FALSE: no UUID. */
gboolean nbh_setupkey_normalize(const char *text, char ret_text[NBH_SETUPKEY_LEN + 1]);
/* base64 of SHA-256 over the normalized text: what the store keeps. Free with g_free. */
char *nbh_setupkey_hash(const char text[NBH_SETUPKEY_LEN + 1]);
void nbh_setupkey_mask(const char text[NBH_SETUPKEY_LEN + 1], char ret_shown[NBH_SETUPKEY_SHOWN_LEN + 1]);

#endif
