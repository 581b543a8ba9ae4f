#ifndef NBH_BASE_TEXT_H
#define NBH_BASE_TEXT_H

#include <stddef.h>

/* Bytes of the valid UTF-8 sequence at text (RFC 3629 section 4); 0: none. Needs the NUL behind it. */
size_t nbh_utf8_len(const char *text);

/*
 * Makes text fit for a terminal, in place: what is no UTF-8, controls (C0, DEL, C1) and characters
 * that are invisible or turn the line around become '?' each, so it never grows. The bytes in `keep`
 * stay, for example "\n".
 */
void nbh_text_make_printable(char *text, const char *keep);

#endif
