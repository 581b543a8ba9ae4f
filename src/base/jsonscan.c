#include "config.h"

#include "base/jsonscan.h"

#include "base/limits.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_MAX_BYTES 40
#define PATH_MAX_BYTES 100

struct span {
	const char *start; /* borrowed from the text */
	size_t len;
};

/* One open object or array: where we are in it. */
struct level {
	bool is_array;
	size_t index;    /* array: the element */
	struct span key; /* object: the member */
	size_t n_keys_before;
};

struct scan {
	const char *text, *pos, *end;
	struct level levels[NBH_JSON_DEPTH_MAX];
	unsigned depth;
	struct span *keys; /* owned: of all open objects, innermost last */
	size_t n_keys, keys_size;
	struct nbh_why *why;
};

/* Something that the grammar forbids: the line helps most. */
static int fail_syntax(struct scan *s, const char *what)
{
	size_t line = 1;

	for (const char *p = s->text; p < s->pos; p++)
		line += *p == '\n';

	nbh_why_set(s->why, "line %zu: %s", line,
	            s->pos >= s->end ? "the text ends in the middle; was it cut?" : what);
	return -EINVAL;
}

/* Something that a field forbids: "peers[3].id: given twice". */
static int fail_at(struct scan *s, const char *what)
{
	char path[PATH_MAX_BYTES] = "";
	size_t used = 0;

	for (unsigned i = 0; i < s->depth && used < sizeof(path) - 1; i++) {
		struct level *level = &s->levels[i];
		int n;

		if (level->is_array)
			n = snprintf(path + used, sizeof(path) - used, "[%zu]", level->index);
		else
			n = snprintf(path + used, sizeof(path) - used, "%s%.*s", used ? "." : "",
			             level->key.len < 40 ? (int)level->key.len : 40,
			             level->key.start ? level->key.start : "");

		used += n > 0 ? (size_t)n : 0;
	}

	nbh_why_set(s->why, "%s%s%s", path, used ? ": " : "", what);
	return -EINVAL;
}

static void skip_blanks(struct scan *s)
{
	while (s->pos < s->end &&
	       (*s->pos == ' ' || *s->pos == '\t' || *s->pos == '\n' || *s->pos == '\r'))
		s->pos++;
}

static bool next_is(struct scan *s, char c)
{
	return s->pos < s->end && *s->pos == c;
}

/* RFC 3629 section 4. Returns the bytes of the sequence at p, 0 if there is no valid one. */
static size_t utf8_sequence(const char *text, const char *end)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t left = (size_t)(end - text), n;
	unsigned char low = 0x80, high = 0xbf;

	if (p[0] < 0x80)
		return 1;

	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;

	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f; /* no surrogates */
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;

	if (left < n || p[1] < low || p[1] > high)
		return 0;

	for (size_t i = 2; i < n; i++) {
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	}

	return n;
}

/* The four digits behind \u; -1 if they are not there. */
static long hex4(struct scan *s)
{
	long value = 0;

	if (s->end - s->pos < 4)
		return -1;

	for (int i = 0; i < 4; i++) {
		char c = *s->pos++;

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value = value * 16 + (c - 'A' + 10);
		else
			return -1;
	}

	return value;
}

/* pos is behind the backslash. */
static int scan_escape(struct scan *s)
{
	long code;

	if (s->pos >= s->end)
		return fail_syntax(s, "");

	if (*s->pos != 'u') {
		if (!*s->pos || !strchr("\"\\/bfnrt", *s->pos))
			return fail_syntax(s, "unknown escape in a string");

		s->pos++;
		return 0;
	}

	s->pos++;
	code = hex4(s);

	if (code < 0)
		return fail_syntax(s, "\\u needs four hexadecimal digits");

	if (code == 0)
		return fail_at(s, "NUL inside a string");

	if (code >= 0xdc00 && code <= 0xdfff)
		return fail_at(s, "half of a surrogate pair");

	if (code >= 0xd800 && code <= 0xdbff) {
		if (s->end - s->pos < 2 || s->pos[0] != '\\' || s->pos[1] != 'u')
			return fail_at(s, "half of a surrogate pair");

		s->pos += 2;
		code = hex4(s);

		if (code < 0xdc00 || code > 0xdfff)
			return fail_at(s, "half of a surrogate pair");
	}

	return 0;
}

/* pos is at the opening quote. */
static int scan_string(struct scan *s, struct span *ret_span, bool may_escape)
{
	const char *start = ++s->pos;
	size_t n;
	int r;

	for (;;) {
		if (s->pos >= s->end)
			return fail_syntax(s, "");

		if (*s->pos == '"')
			break;

		if ((unsigned char)*s->pos < 0x20)
			return fail_syntax(s, "control character in a string");

		if (*s->pos == '\\') {
			if (!may_escape)
				return fail_syntax(s, "escape in a key");

			s->pos++;
			r = scan_escape(s);

			if (r < 0)
				return r;

			continue;
		}

		n = utf8_sequence(s->pos, s->end);

		if (n == 0)
			return fail_syntax(s, "not UTF-8");

		s->pos += n;
	}

	*ret_span = (struct span){ start, (size_t)(s->pos - start) };
	s->pos++;
	return 0;
}

static size_t skip_digits(struct scan *s)
{
	const char *start = s->pos;

	while (s->pos < s->end && *s->pos >= '0' && *s->pos <= '9')
		s->pos++;

	return (size_t)(s->pos - start);
}

static int check_integer(struct scan *s, const char *start, bool is_negative)
{
	char copy[NUMBER_MAX_BYTES + 1];
	size_t len = (size_t)(s->pos - start);

	memcpy(copy, start, len);
	copy[len] = '\0';
	errno = 0;

	if (is_negative)
		strtoll(copy, NULL, 10);
	else
		strtoull(copy, NULL, 10);

	return errno == ERANGE ? fail_at(s, "the number is out of range") : 0;
}

/* RFC 8259 section 6. */
static int scan_number(struct scan *s)
{
	const char *start = s->pos;
	bool is_negative = *s->pos == '-', is_integer = true;

	s->pos += is_negative;

	if (next_is(s, '0'))
		s->pos++;
	else if (skip_digits(s) == 0)
		return fail_syntax(s, "unexpected character");

	if (next_is(s, '.')) {
		is_integer = false;
		s->pos++;

		if (skip_digits(s) == 0)
			return fail_syntax(s, "bad number");
	}

	if (next_is(s, 'e') || next_is(s, 'E')) {
		is_integer = false;
		s->pos++;
		s->pos += next_is(s, '+') || next_is(s, '-');

		if (skip_digits(s) == 0)
			return fail_syntax(s, "bad number");
	}

	if (s->pos - start > NUMBER_MAX_BYTES)
		return fail_at(s, "the number is out of range");

	return is_integer ? check_integer(s, start, is_negative) : 0;
}

static int scan_literal(struct scan *s)
{
	static const char *const literals[] = { "true", "false", "null" };

	for (size_t i = 0; i < NBH_N_ELEMENTS(literals); i++) {
		size_t len = strlen(literals[i]);

		if ((size_t)(s->end - s->pos) >= len && memcmp(s->pos, literals[i], len) == 0) {
			s->pos += len;
			return 0;
		}
	}

	return fail_syntax(s, "unexpected character");
}

static int scan_scalar(struct scan *s)
{
	struct span ignored;

	if (s->pos >= s->end)
		return fail_syntax(s, "");

	if (*s->pos == '"')
		return scan_string(s, &ignored, true);

	if (*s->pos == '-' || (*s->pos >= '0' && *s->pos <= '9'))
		return scan_number(s);

	return scan_literal(s);
}

static int push_key(struct scan *s, struct span key)
{
	if (s->n_keys == s->keys_size) {
		size_t size = s->keys_size ? 2 * s->keys_size : 64;
		struct span *keys = realloc(s->keys, size * sizeof(*keys));

		if (!keys) {
			nbh_why_set(s->why, "out of memory");
			return -ENOMEM;
		}

		s->keys = keys;
		s->keys_size = size;
	}

	s->keys[s->n_keys++] = key;
	return 0;
}

/* Reads "key": and stands at the value. */
static int scan_key(struct scan *s)
{
	struct span key;
	int r;

	skip_blanks(s);

	if (!next_is(s, '"'))
		return fail_syntax(s, "expected a key in double quotes");

	r = scan_string(s, &key, false);

	if (r < 0)
		return r;

	skip_blanks(s);

	if (!next_is(s, ':'))
		return fail_syntax(s, "expected ':' behind a key");

	s->pos++;
	s->levels[s->depth - 1].key = key;
	return push_key(s, key);
}

static int compare_keys(const void *va, const void *vb)
{
	const struct span *a = va, *b = vb;

	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;

	return memcmp(a->start, b->start, a->len);
}

/* At the end of an object: its keys are the last ones, sorted to find equal neighbours. */
static int check_keys(struct scan *s)
{
	struct level *level = &s->levels[s->depth - 1];
	size_t n = s->n_keys - level->n_keys_before;
	struct span *keys = n > 0 ? s->keys + level->n_keys_before : NULL; /* there may be no memory yet */

	if (n > 1)
		qsort(keys, n, sizeof(*keys), compare_keys);

	for (size_t i = 1; i < n; i++) {
		if (compare_keys(&keys[i - 1], &keys[i]) == 0) {
			level->key = keys[i];
			return fail_at(s, "given twice");
		}
	}

	s->n_keys = level->n_keys_before;
	return 0;
}

static int enter(struct scan *s, bool is_array)
{
	if (s->depth == NBH_JSON_DEPTH_MAX)
		return fail_at(s, "nested too deeply");

	s->levels[s->depth++] = (struct level){ .is_array = is_array, .n_keys_before = s->n_keys };
	s->pos++;
	return 0;
}

static int scan_value(struct scan *s);

/* pos is at the opening bracket. */
static int scan_container(struct scan *s)
{
	bool is_array = *s->pos == '[';
	char closing = is_array ? ']' : '}';
	struct level *level;
	int r = enter(s, is_array);

	if (r < 0)
		return r;

	level = &s->levels[s->depth - 1];
	skip_blanks(s);

	while (!next_is(s, closing) || level->index > 0) {
		r = is_array ? 0 : scan_key(s);

		if (r == 0)
			r = scan_value(s);

		if (r < 0)
			return r;

		skip_blanks(s);
		level->index++;

		if (next_is(s, closing))
			break;

		if (!next_is(s, ','))
			return fail_syntax(s, is_array ? "expected ',' or ']'" : "expected ',' or '}'");

		s->pos++;
	}

	r = is_array ? 0 : check_keys(s);

	if (r < 0)
		return r;

	s->pos++;
	s->depth--;
	return 0;
}

/* The one forward declaration: values hold containers hold values, at most to the limit. */
static int scan_value(struct scan *s)
{
	skip_blanks(s);

	if (next_is(s, '{') || next_is(s, '['))
		return scan_container(s);

	return scan_scalar(s);
}

int nbh_jsonscan(const char *text, size_t len, struct nbh_why *why)
{
	struct scan s = { .text = text, .pos = text, .end = text + len, .why = why };
	int r;

	skip_blanks(&s);

	if (len == 0) {
		nbh_why_set(why, "the file is empty");
		return -EINVAL;
	}

	if (!next_is(&s, '{') && !next_is(&s, '['))
		return fail_syntax(&s, "not a JSON object");

	r = scan_container(&s);
	free(s.keys);

	if (r < 0)
		return r;

	skip_blanks(&s);
	return s.pos == s.end ? 0 : fail_syntax(&s, "text behind the end");
}
