#ifndef NBH_BASE_JSON_H
#define NBH_BASE_JSON_H

#include "base/macros.h"
#include "base/why.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Writing JSON without json-c outside base: an append-only text builder that escapes strings,
 * puts commas and indents by two spaces. Invalid UTF-8 becomes U+FFFD. Never fails: on OOM it
 * remembers and nbh_jsonw_end() returns NULL.
 */
struct nbh_jsonw;

struct nbh_jsonw *nbh_jsonw_new(void);
void nbh_jsonw_object(struct nbh_jsonw *w, const char *key); /* key is NULL inside an array or at the top */
void nbh_jsonw_array(struct nbh_jsonw *w, const char *key);
void nbh_jsonw_close(struct nbh_jsonw *w); /* the innermost object or array */
void nbh_jsonw_string(struct nbh_jsonw *w, const char *key, const char *value); /* NULL value: null */
void nbh_jsonw_stringf(struct nbh_jsonw *w, const char *key, const char *fmt, ...) NBH_PRINTF(3, 4);
void nbh_jsonw_int(struct nbh_jsonw *w, const char *key, int64_t value);
void nbh_jsonw_uint(struct nbh_jsonw *w, const char *key, uint64_t value);
void nbh_jsonw_bool(struct nbh_jsonw *w, const char *key, bool value);
/* Frees w. The text ends in a newline and belongs to the caller (free). */
char *nbh_jsonw_end(struct nbh_jsonw *w, size_t *ret_len);

/* RFC 3339 in UTC with milliseconds, e.g. for updatedAt. unix_ms < 0: NetBird's "never". */
#define NBH_RFC3339_MAX 32
const char *nbh_rfc3339(int64_t unix_ms, char buf[NBH_RFC3339_MAX]);
/* The inverse: UTC ("Z"), with or without milliseconds. "never" becomes -1. */
bool nbh_rfc3339_parse(const char *text, int64_t *ret_unix_ms);

/*
 * Reading strictly on top of json-c (which is not strict: house-style.md 3.1): refuses repeated
 * keys, single quotes, trailing text, depth above NBH_JSON_DEPTH_MAX. The schema readers in
 * base refuse unknown keys and check every range. Paths in why read "peers[3].endpoint".
 */
struct nbh_json; /* a parsed document; opaque, freed as a whole */
struct nbh_json_value; /* borrowed from the document */

int nbh_json_parse(const char *text, size_t len, struct nbh_json **ret_doc, struct nbh_why *why);
void nbh_json_free(struct nbh_json *doc);
const struct nbh_json_value *nbh_json_root(const struct nbh_json *doc);

/* Members and elements; NULL when absent or of another type. Lenient readers (status files) use these. */
const struct nbh_json_value *nbh_json_get(const struct nbh_json_value *object, const char *key);
size_t nbh_json_length(const struct nbh_json_value *array);
const struct nbh_json_value *nbh_json_at(const struct nbh_json_value *array, size_t i);
const char *nbh_json_string(const struct nbh_json_value *value); /* NULL if no string or one with NUL inside */
bool nbh_json_int(const struct nbh_json_value *value, int64_t *ret_value); /* false if no integer */
bool nbh_json_bool(const struct nbh_json_value *value, bool *ret_value);
bool nbh_json_is_object(const struct nbh_json_value *value);
bool nbh_json_is_array(const struct nbh_json_value *value);
/* Calls fn for each member in order; stops at the first non-zero and returns it. */
int nbh_json_each(const struct nbh_json_value *object,
                  int (*fn)(const char *key, const struct nbh_json_value *value, void *owner),
                  void *owner);

#endif
