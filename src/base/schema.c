#include "config.h"

#include "base/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIELDS_MAX 32

int nbh_schema_fail(struct nbh_why *why, const char *fmt, ...)
{
	char text[sizeof(why->text)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	nbh_why_set(why, ": %s", text);
	return -EINVAL;
}

/* Puts text directly before what is there. */
static void prepend(struct nbh_why *why, const char *text)
{
	struct nbh_why old;

	if (!why)
		return;

	old = *why;
	nbh_why_set(why, "%s%s", text, old.text);
}

struct object_walk {
	const struct nbh_schema_field *fields;
	size_t n_fields;
	uint32_t seen; /* bit i: fields[i] */
	void *out;
	struct nbh_why *why;
};

static int fail_in(struct nbh_why *why, const char *key, int r)
{
	char place[64];

	snprintf(place, sizeof(place), ".%.48s", key);
	prepend(why, place);
	return r;
}

static int read_member(const char *key, const struct nbh_json_value *value, void *owner)
{
	struct object_walk *walk = owner;

	for (size_t i = 0; i < walk->n_fields; i++) {
		int r;

		if (strcmp(key, walk->fields[i].key) != 0)
			continue;

		walk->seen |= UINT32_C(1) << i;
		r = walk->fields[i].read(value, walk->out, walk->why);
		return r < 0 ? fail_in(walk->why, key, r) : 0;
	}

	return fail_in(walk->why, key, nbh_schema_fail(walk->why, "unknown key"));
}

int nbh_schema_object(const struct nbh_json_value *value, const struct nbh_schema_field *fields,
                      size_t n_fields, void *out, struct nbh_why *why)
{
	struct object_walk walk = { .fields = fields, .n_fields = n_fields, .out = out, .why = why };
	int r;

	if (!nbh_json_is_object(value) || n_fields > FIELDS_MAX)
		return nbh_schema_fail(why, "must be an object");

	r = nbh_json_each(value, read_member, &walk);

	if (r < 0)
		return r;

	for (size_t i = 0; i < n_fields; i++) {
		if (fields[i].required && !(walk.seen & UINT32_C(1) << i))
			return fail_in(why, fields[i].key, nbh_schema_fail(why, "missing"));
	}

	return 0;
}

int nbh_schema_element(int r, size_t i, struct nbh_why *why)
{
	char place[32];

	if (r < 0) {
		snprintf(place, sizeof(place), "[%zu]", i);
		prepend(why, place);
	}

	return r;
}

int nbh_schema_file(const char *name, const char *text, size_t len,
                    const struct nbh_schema_field *fields, size_t n_fields, void *out,
                    struct nbh_why *why)
{
	struct nbh_why inner = { "" };
	struct nbh_json *doc;
	const char *rest = inner.text;
	int r = nbh_json_parse(text, len, &doc, &inner);

	if (r == 0) {
		r = nbh_schema_object(nbh_json_root(doc), fields, n_fields, out, &inner);
		nbh_json_free(doc);
	}

	if (r < 0) {
		if (rest[0] == '.')
			rest++;
		else if (strncmp(rest, ": ", 2) == 0)
			rest += 2;

		nbh_why_set(why, "%s: %s", name, rest);
	}

	return r;
}

int nbh_schema_int(const struct nbh_json_value *value, int64_t min, int64_t max, int64_t *ret_value,
                   struct nbh_why *why)
{
	int64_t n;

	if (!nbh_json_int(value, &n))
		return nbh_schema_fail(why, "must be a whole number from %" PRId64 " to %" PRId64, min,
		                       max);

	if (n < min || n > max)
		return nbh_schema_fail(why, "%" PRId64 " is outside of %" PRId64 " to %" PRId64, n, min,
		                       max);

	*ret_value = n;
	return 0;
}

int nbh_schema_bool(const struct nbh_json_value *value, bool *ret_value, struct nbh_why *why)
{
	return nbh_json_bool(value, ret_value) ? 0 : nbh_schema_fail(why, "must be true or false");
}

int nbh_schema_text(const struct nbh_json_value *value, char *ret_text, size_t size,
                    struct nbh_why *why)
{
	const char *text = nbh_json_string(value);
	size_t len;

	if (!text)
		return nbh_schema_fail(why, "must be text");

	len = strlen(text);

	if (len >= size)
		return nbh_schema_fail(why, "longer than %zu bytes", size - 1);

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return nbh_schema_fail(why, "control character inside");
	}

	memcpy(ret_text, text, len + 1);
	return 0;
}

int nbh_schema_ifname(const struct nbh_json_value *value, char *ret_name, struct nbh_why *why)
{
	/* What wg(8) takes: the name becomes part of a path and of commands, too. */
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				      "_=+.-";
	const char *text = nbh_json_string(value);

	if (!text)
		return nbh_schema_fail(why, "must be text");

	if (!text[0] || strlen(text) >= IFNAMSIZ)
		return nbh_schema_fail(why, "an interface name has 1 to %d characters", IFNAMSIZ - 1);

	if (text[strspn(text, allowed)] || text[0] == '-' || strcmp(text, ".") == 0 ||
	    strcmp(text, "..") == 0)
		return nbh_schema_fail(why, "no interface name: letters, digits and _=+.- only");

	memcpy(ret_name, text, strlen(text) + 1);
	return 0;
}

int nbh_schema_key(const struct nbh_json_value *value, bool may_be_empty, struct nbh_key *ret_key,
                   struct nbh_why *why)
{
	const char *text = nbh_json_string(value);

	if (!text)
		return nbh_schema_fail(why, "must be text");

	if (!text[0] && may_be_empty) {
		*ret_key = (struct nbh_key){ { 0 } };
		return 0;
	}

	if (nbh_key_parse(text, ret_key) < 0)
		return nbh_schema_fail(why, "not a key of 44 characters of base64");

	return 0;
}
