#ifndef NBH_BASE_JSONSCAN_H
#define NBH_BASE_JSONSCAN_H

#include "base/why.h"

#include <stddef.h>

/*
 * Checks a whole text against RFC 8259 before json-c sees it, which lets too much pass
 * (house-style.md 3.1): also refuses repeated keys, escapes in keys, NUL, invalid UTF-8, integers
 * that fit no 64 bits, depth above NBH_JSON_DEPTH_MAX and a top that is no object or array.
 * Linear but for sorting the keys of one object. 0, -EINVAL or -ENOMEM.
 */
int nbh_jsonscan(const char *text, size_t len, struct nbh_why *why);

#endif
