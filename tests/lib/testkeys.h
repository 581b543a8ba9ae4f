#ifndef NBH_TESTS_LIB_TESTKEYS_H
#define NBH_TESTS_LIB_TESTKEYS_H

#include "base/key.h"

#include <glib.h>

/* A valid key text for each number; number 0 is "our own". */
static inline struct nbh_key_text test_key_text(guint number)
{
	struct nbh_key key = {{0}};

	key.bytes[0] = 1;
	key.bytes[1] = (guint8)(number >> 16);
	key.bytes[2] = (guint8)(number >> 8);
	key.bytes[3] = (guint8)number;
	return nbh_key_format(&key);
}

static inline struct nbh_key test_key_of(guint number)
{
	struct nbh_key_text text = test_key_text(number);
	struct nbh_key key;

	g_assert_cmpint(nbh_key_parse(text.text, &key), ==, 0);
	return key;
}

#endif
