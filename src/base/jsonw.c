#include "config.h"

#include "base/json.h"

#include "base/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DEPTH_MAX 16
#define STRINGF_MAX_BYTES 1024

struct nbh_jsonw {
	char *text; /* owned */
	size_t len, size;
	bool failed; /* out of memory, or nested deeper than DEPTH_MAX: our own bug */
	unsigned depth;
	bool is_array[DEPTH_MAX];
	bool has_members[DEPTH_MAX];
};

static void put(struct nbh_jsonw *w, const char *bytes, size_t len)
{
	if (w->failed)
		return;

	if (w->size - w->len <= len) {
		size_t size = (w->len + len + 1) * 2;
		char *text = realloc(w->text, size);

		if (!text) {
			w->failed = true;
			return;
		}

		w->text = text;
		w->size = size;
	}

	memcpy(w->text + w->len, bytes, len);
	w->len += len;
}

static void put_text(struct nbh_jsonw *w, const char *text)
{
	put(w, text, strlen(text));
}

static void put_escaped(struct nbh_jsonw *w, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	char escape[8];

	put(w, "\"", 1);

	while (*p) {
		size_t n = nbh_utf8_len((const char *)p);

		if (n == 0) {
			put_text(w, "\xef\xbf\xbd"); /* U+FFFD */
			n = 1;
		} else if (*p == '"' || *p == '\\') {
			put(w, (char[]){ '\\', (char)*p }, 2);
		} else if (*p < 0x20 || *p == 0x7f) {
			snprintf(escape, sizeof(escape), "\\u%04x", *p);
			put_text(w, escape);
		} else if (*p == 0xc2 && p[1] < 0xa0) { /* U+0080 to U+009F command terminals, too */
			snprintf(escape, sizeof(escape), "\\u%04x", p[1]);
			put_text(w, escape);
		} else {
			put(w, (const char *)p, n);
		}

		p += n;
	}

	put(w, "\"", 1);
}

static void put_indent(struct nbh_jsonw *w)
{
	put(w, "\n", 1);

	for (unsigned i = 0; i < w->depth; i++)
		put(w, "  ", 2);
}

/* What stands before each value: comma, new line, key. */
static void begin_value(struct nbh_jsonw *w, const char *key)
{
	if (w->depth == 0)
		return;

	if (w->has_members[w->depth - 1])
		put(w, ",", 1);

	w->has_members[w->depth - 1] = true;
	put_indent(w);

	if (!w->is_array[w->depth - 1]) {
		put_escaped(w, key ? key : "");
		put(w, ": ", 2);
	}
}

static void open_container(struct nbh_jsonw *w, const char *key, bool is_array)
{
	if (w->depth == DEPTH_MAX) {
		w->failed = true;
		return;
	}

	begin_value(w, key);
	put(w, is_array ? "[" : "{", 1);
	w->is_array[w->depth] = is_array;
	w->has_members[w->depth] = false;
	w->depth++;
}

struct nbh_jsonw *nbh_jsonw_new(void)
{
	return calloc(1, sizeof(struct nbh_jsonw));
}

void nbh_jsonw_object(struct nbh_jsonw *w, const char *key)
{
	if (w)
		open_container(w, key, false);
}

void nbh_jsonw_array(struct nbh_jsonw *w, const char *key)
{
	if (w)
		open_container(w, key, true);
}

void nbh_jsonw_close(struct nbh_jsonw *w)
{
	if (!w || w->depth == 0)
		return;

	w->depth--;

	if (w->has_members[w->depth])
		put_indent(w);

	put(w, w->is_array[w->depth] ? "]" : "}", 1);
}

void nbh_jsonw_string(struct nbh_jsonw *w, const char *key, const char *value)
{
	if (!w)
		return;

	begin_value(w, key);

	if (value)
		put_escaped(w, value);
	else
		put_text(w, "null");
}

void nbh_jsonw_stringf(struct nbh_jsonw *w, const char *key, const char *fmt, ...)
{
	char text[STRINGF_MAX_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	nbh_jsonw_string(w, key, text);
}

void nbh_jsonw_int(struct nbh_jsonw *w, const char *key, int64_t value)
{
	char text[24];

	if (!w)
		return;

	begin_value(w, key);
	snprintf(text, sizeof(text), "%" PRId64, value);
	put_text(w, text);
}

void nbh_jsonw_uint(struct nbh_jsonw *w, const char *key, uint64_t value)
{
	char text[24];

	if (!w)
		return;

	begin_value(w, key);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	put_text(w, text);
}

void nbh_jsonw_bool(struct nbh_jsonw *w, const char *key, bool value)
{
	if (!w)
		return;

	begin_value(w, key);
	put_text(w, value ? "true" : "false");
}

char *nbh_jsonw_end(struct nbh_jsonw *w, size_t *ret_len)
{
	char *text;

	if (!w)
		return NULL;

	while (w->depth)
		nbh_jsonw_close(w);

	put(w, "\n", 1);
	put(w, "", 1); /* the NUL */

	if (w->failed) {
		free(w->text);
		free(w);
		return NULL;
	}

	text = w->text;

	if (ret_len)
		*ret_len = w->len - 1;

	free(w);
	return text;
}

const char *nbh_rfc3339(int64_t unix_ms, char buf[NBH_RFC3339_MAX])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;

	/* Go's zero time, which is what NetBird prints for "never". */
	if (unix_ms < 0 || !gmtime_r(&seconds, &tm) || tm.tm_year > 9999 - 1900) {
		snprintf(buf, NBH_RFC3339_MAX, "0001-01-01T00:00:00Z");
		return buf;
	}

	snprintf(buf, NBH_RFC3339_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
	         (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
	         (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
	         (unsigned)tm.tm_sec % 100, (unsigned)(unix_ms % 1000));
	return buf;
}

/* Days since 1970-01-01 of a day in the Gregorian calendar; month 1-12. */
static int64_t days_from_date(int year, int month, int day)
{
	struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day };

	return (int64_t)timegm(&tm) / 86400;
}

bool nbh_rfc3339_parse(const char *text, int64_t *ret_unix_ms)
{
	int year, month, day, hour, minute, second, ms = 0, used = 0;

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second,
	           &used) != 6)
		return false;

	text += used;

	if (*text == '.') {
		if (sscanf(text, ".%3d%n", &ms, &used) != 1 || used != 4)
			return false;

		text += used;
	}

	if (strcmp(text, "Z") != 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 ||
	    hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 || ms < 0)
		return false;

	if (year < 1970) {
		*ret_unix_ms = -1;
		return true;
	}

	*ret_unix_ms = ((days_from_date(year, month, day) * 24 + hour) * 60 + minute) * 60000 +
	               second * 1000 + ms;
	return true;
}
