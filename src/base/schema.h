#ifndef NBH_BASE_SCHEMA_H
#define NBH_BASE_SCHEMA_H

#include "base/json.h"
#include "base/key.h"
#include "base/why.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How the file readers in base walk a document: a table of the allowed keys, one reader each.
 * Private to base.
 *
 * Texts grow from the inside outwards without building paths for what is fine: a reader of a value
 * says ": port 0", its object makes that ".endpoint: port 0", the array "[3].endpoint: port 0".
 * nbh_schema_file() turns the whole into "peers.json: peers[3].endpoint: port 0".
 */
struct nbh_schema_field {
	const char *key;
	bool required;
	int (*read)(const struct nbh_json_value *value, void *out, struct nbh_why *why);
};

/* Refuses what is no object, unknown keys and missing required ones. 0 or -errno. */
int nbh_schema_object(const struct nbh_json_value *value, const struct nbh_schema_field *fields,
                      size_t n_fields, void *out, struct nbh_why *why);

/* Puts "[i]" before an element's text. Returns r. */
int nbh_schema_element(int r, size_t i, struct nbh_why *why);

/* Parses text and reads its top object. */
int nbh_schema_file(const char *name, const char *text, size_t len,
                    const struct nbh_schema_field *fields, size_t n_fields, void *out,
                    struct nbh_why *why);

/* Says ": ..." and returns -EINVAL. */
int nbh_schema_fail(struct nbh_why *why, const char *fmt, ...) NBH_PRINTF(2, 3);

/* min <= value <= max. */
int nbh_schema_int(const struct nbh_json_value *value, int64_t min, int64_t max, int64_t *ret_value,
                   struct nbh_why *why);
int nbh_schema_bool(const struct nbh_json_value *value, bool *ret_value, struct nbh_why *why);
/* Text of at most size - 1 bytes without control characters. */
int nbh_schema_text(const struct nbh_json_value *value, char *ret_text, size_t size,
                    struct nbh_why *why);
/* A valid interface name, IFNAMSIZ. */
int nbh_schema_ifname(const struct nbh_json_value *value, char *ret_name, struct nbh_why *why);
/* may_be_empty: "" gives the zero key. The text never reaches why. */
int nbh_schema_key(const struct nbh_json_value *value, bool may_be_empty, struct nbh_key *ret_key,
                   struct nbh_why *why);

#endif
