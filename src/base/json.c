/*
 * The tree comes from json-c. A text reaches it only after nbh_jsonscan() found it well-formed, so
 * what json-c would let pass, clamp or overwrite never arrives here.
 */
#include "config.h"

#include "base/json.h"

#include "base/jsonscan.h"
#include "base/limits.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <string.h>

struct nbh_json {
	json_object *root; /* owned */
};

/* A value is json-c's object under our name, so that json-c's header stays in this file. */
static json_object *from_value(const struct nbh_json_value *value)
{
	return (json_object *)(uintptr_t)value;
}

static const struct nbh_json_value *to_value(json_object *object)
{
	return (const struct nbh_json_value *)object;
}

int nbh_json_parse(const char *text, size_t len, struct nbh_json **ret_doc, struct nbh_why *why)
{
	struct json_tokener *tokener;
	struct nbh_json *doc;
	int r;

	if (len > INT_MAX) {
		nbh_why_set(why, "too large");
		return -EFBIG;
	}

	r = nbh_jsonscan(text, len, why);

	if (r < 0)
		return r;

	doc = calloc(1, sizeof(*doc));
	/* json-c counts scalars as a level, too; the limit is the scan's. */
	tokener = json_tokener_new_ex(NBH_JSON_DEPTH_MAX + 2);

	if (doc && tokener) {
		json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		doc->root = json_tokener_parse_ex(tokener, text, (int)len);
	}

	if (!doc || !doc->root) {
		nbh_why_set(why, "%s",
		            doc && tokener ? json_tokener_error_desc(json_tokener_get_error(tokener)) :
		                             "out of memory");
		r = doc && tokener ? -EINVAL : -ENOMEM;
		free(doc);
	} else {
		*ret_doc = doc;
	}

	if (tokener)
		json_tokener_free(tokener);

	return r;
}

void nbh_json_free(struct nbh_json *doc)
{
	if (!doc)
		return;

	json_object_put(doc->root);
	free(doc);
}

const struct nbh_json_value *nbh_json_root(const struct nbh_json *doc)
{
	return to_value(doc->root);
}

bool nbh_json_is_object(const struct nbh_json_value *value)
{
	return value && json_object_is_type(from_value(value), json_type_object);
}

bool nbh_json_is_array(const struct nbh_json_value *value)
{
	return value && json_object_is_type(from_value(value), json_type_array);
}

const struct nbh_json_value *nbh_json_get(const struct nbh_json_value *object, const char *key)
{
	json_object *member;

	if (!nbh_json_is_object(object) ||
	    !json_object_object_get_ex(from_value(object), key, &member))
		return NULL;

	return to_value(member);
}

size_t nbh_json_length(const struct nbh_json_value *array)
{
	return nbh_json_is_array(array) ? json_object_array_length(from_value(array)) : 0;
}

const struct nbh_json_value *nbh_json_at(const struct nbh_json_value *array, size_t i)
{
	if (i >= nbh_json_length(array))
		return NULL;

	return to_value(json_object_array_get_idx(from_value(array), i));
}

const char *nbh_json_string(const struct nbh_json_value *value)
{
	json_object *object = from_value(value);
	const char *text;

	if (!value || !json_object_is_type(object, json_type_string))
		return NULL;

	text = json_object_get_string(object);
	return strlen(text) == (size_t)json_object_get_string_len(object) ? text : NULL;
}

bool nbh_json_int(const struct nbh_json_value *value, int64_t *ret_value)
{
	json_object *object = from_value(value);

	if (!value || !json_object_is_type(object, json_type_int))
		return false;

	/* json_object_get_int64() clamps what is above. */
	if (json_object_get_uint64(object) > INT64_MAX)
		return false;

	*ret_value = json_object_get_int64(object);
	return true;
}

bool nbh_json_bool(const struct nbh_json_value *value, bool *ret_value)
{
	json_object *object = from_value(value);

	if (!value || !json_object_is_type(object, json_type_boolean))
		return false;

	*ret_value = json_object_get_boolean(object);
	return true;
}

int nbh_json_each(const struct nbh_json_value *object,
                  int (*fn)(const char *key, const struct nbh_json_value *value, void *owner),
                  void *owner)
{
	if (!nbh_json_is_object(object))
		return 0;

	for (struct lh_entry *e = json_object_get_object(from_value(object))->head; e; e = e->next) {
		int r = fn(lh_entry_k(e), to_value(lh_entry_v(e)), owner);

		if (r)
			return r;
	}

	return 0;
}
