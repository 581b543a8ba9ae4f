#include "config.h"

#include "base/json.h"
#include "base/limits.h"

#include "tests/lib/tap.h"

#include <errno.h>

/* Arrays in arrays: one below, at, and one above what is allowed. */
static void test_depth(void)
{
	for (size_t depth = NBH_JSON_DEPTH_MAX - 1; depth <= NBH_JSON_DEPTH_MAX + 1; depth++) {
		char text[2 * NBH_JSON_DEPTH_MAX + 4] = "";
		struct nbh_json *doc = NULL;
		int r;

		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		r = nbh_json_parse(text, 2 * depth, &doc, NULL);
		OK((r == 0) == (depth <= NBH_JSON_DEPTH_MAX), "%zu deep", depth);
		nbh_json_free(doc);
	}
}

static void test_accepts(void)
{
	static const char *const cases[] = {
		"{}",
		"[]",
		" \t\r\n{ } \n",
		"{\"a\":1,\"b\":[true,false,null,\"x\"],\"c\":{\"a\":1}}",
		"[0,-0,1.5,-1e9,1E+2,0.0e-1]",
		"[18446744073709551615,-9223372036854775808]",
		"[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\"]",
		"[\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 \xed\x9f\xbf \xee\x80\x80 \xf4\x8f\xbf\xbf\"]",
		"{\"a\":{\"x\":1},\"b\":{\"x\":1}}",
		"[[[[[[1]]]]]]", /* NBH_JSON_DEPTH_MAX */
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		struct nbh_why why = { "" };
		struct nbh_json *doc = NULL;

		OK_INT(nbh_json_parse(cases[i], strlen(cases[i]), &doc, &why), 0, cases[i]);
		nbh_json_free(doc);
	}
}

static void test_refuses(void)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "the file is empty" },
		{ "  ", "line 1: the text ends in the middle; was it cut?" },
		{ "1", "line 1: not a JSON object" },
		{ "\"x\"", "line 1: not a JSON object" },
		{ "\xef\xbb\xbf{}", "line 1: not a JSON object" },
		{ "{} {}", "line 1: text behind the end" },
		{ "{}\n\n}", "line 3: text behind the end" },
		{ "{\"a\":1,}", "line 1: expected a key in double quotes" },
		{ "[1,]", "line 1: unexpected character" },
		{ "[,1]", "line 1: unexpected character" },
		{ "[1 2]", "line 1: expected ',' or ']'" },
		{ "{\"a\":1 \"b\":2}", "line 1: expected ',' or '}'" },
		{ "{\"a\" 1}", "line 1: expected ':' behind a key" },
		{ "{a:1}", "line 1: expected a key in double quotes" },
		{ "{'a':1}", "line 1: expected a key in double quotes" },
		{ "['a']", "line 1: unexpected character" },
		{ "[1", "line 1: the text ends in the middle; was it cut?" },
		{ "{\"a\":\n\"b", "line 2: the text ends in the middle; was it cut?" },
		{ "[\"\\", "line 1: the text ends in the middle; was it cut?" },
		{ "{\"a\":1,\"a\":2}", "a: given twice" },
		{ "{\"x\":[{},{\"a\":1,\"b\":2,\"a\":1}]}", "x[1].a: given twice" },
		{ "{\"\\u0061\":1}", "line 1: escape in a key" },
		{ "[[[[[[[1]]]]]]]", "[0][0][0][0][0][0]: nested too deeply" },
		{ "{\"a\":18446744073709551616}", "a: the number is out of range" },
		{ "{\"a\":-9223372036854775809}", "a: the number is out of range" },
		{ "{\"a\":1000000000000000000000000000000000000000000000000}",
		  "a: the number is out of range" },
		{ "[01]", "line 1: expected ',' or ']'" },
		{ "[+1]", "line 1: unexpected character" },
		{ "[-]", "line 1: unexpected character" },
		{ "[1.]", "line 1: bad number" },
		{ "[1e]", "line 1: bad number" },
		{ "[.5]", "line 1: unexpected character" },
		{ "[0x10]", "line 1: expected ',' or ']'" },
		{ "[NaN]", "line 1: unexpected character" },
		{ "[Infinity]", "line 1: unexpected character" },
		{ "[-Infinity]", "line 1: unexpected character" },
		{ "[nul]", "line 1: unexpected character" },
		{ "[True]", "line 1: unexpected character" },
		{ "[1] /* x */", "line 1: text behind the end" },
		{ "/* x */ [1]", "line 1: not a JSON object" },
		{ "[\"a\nb\"]", "line 1: control character in a string" },
		{ "[\"\\x41\"]", "line 1: unknown escape in a string" },
		{ "[\"\\u12\"]", "line 1: \\u needs four hexadecimal digits" },
		{ "[\"\\u0000\"]", "[0]: NUL inside a string" },
		{ "[\"\\ud800\"]", "[0]: half of a surrogate pair" },
		{ "[\"\\ud800\\u0041\"]", "[0]: half of a surrogate pair" },
		{ "[\"\\udc00\"]", "[0]: half of a surrogate pair" },
		{ "[\"\xff\"]", "line 1: not UTF-8" },
		{ "[\"\xc0\xaf\"]", "line 1: not UTF-8" },
		{ "[\"\xe0\x80\xaf\"]", "line 1: not UTF-8" },
		{ "[\"\xed\xa0\x80\"]", "line 1: not UTF-8" },
		{ "[\"\xf4\x90\x80\x80\"]", "line 1: not UTF-8" },
		{ "[\"\xc3", "line 1: not UTF-8" },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		struct nbh_why why = { "" };
		struct nbh_json *doc = NULL;

		OK_INT(nbh_json_parse(cases[i].text, strlen(cases[i].text), &doc, &why), -EINVAL,
		       cases[i].text);
		OK_STR(why.text, cases[i].why, cases[i].text);
	}
}

/* A raw NUL, and every way to cut a text: nothing may read behind the end (AddressSanitizer). */
static void test_cut(void)
{
	static const char whole[] = "{\"a\":[1,-2.5e+3,true,null,\"\\u00e4\\ud83d\\ude00\xe2\x82\xac\"]}";
	struct nbh_json *doc = NULL;
	unsigned n_accepted = 0;

	OK_INT(nbh_json_parse("{}\0", 3, &doc, NULL), -EINVAL, "NUL behind the end");
	OK_INT(nbh_json_parse("[\"a\0b\"]", 7, &doc, NULL), -EINVAL, "NUL in a string");

	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		char *copy = malloc(len ? len : 1); /* exact, so that one byte too far is seen */

		memcpy(copy, whole, len);
		n_accepted += nbh_json_parse(copy, len, &doc, NULL) == 0;
		free(copy);
	}

	OK_INT(n_accepted, 0, "no cut text is accepted");
	OK_INT(nbh_json_parse(whole, sizeof(whole) - 1, &doc, NULL), 0, "the whole is");
	nbh_json_free(doc);
}

static int count_until_c(const char *key, const struct nbh_json_value *value, void *owner)
{
	unsigned *count = owner;

	(void)value;
	++*count;
	return strcmp(key, "c") == 0 ? 42 : 0;
}

static void test_access(void)
{
	static const char text[] = "{\"s\":\"x\",\"i\":-5,\"c\":true,\"n\":null,"
				   "\"big\":9223372036854775808,\"f\":1.0,\"a\":[7,8]}";
	const struct nbh_json_value *root, *array;
	struct nbh_json *doc;
	unsigned count = 0;
	int64_t n = 77;
	bool b = false;

	if (!OK(nbh_json_parse(text, strlen(text), &doc, NULL) == 0, "parse"))
		return;

	root = nbh_json_root(doc);
	OK_STR(nbh_json_string(nbh_json_get(root, "s")), "x", "string");
	OK(!nbh_json_string(nbh_json_get(root, "i")), "a number is no string");
	OK(!nbh_json_int(nbh_json_get(root, "s"), &n) && n == 77, "a string is no number");
	OK(!nbh_json_int(nbh_json_get(root, "f"), &n) && n == 77, "1.0 is no integer");
	OK(!nbh_json_int(nbh_json_get(root, "big"), &n) && n == 77, "2^63 is not clamped");
	OK(nbh_json_int(nbh_json_get(root, "i"), &n) && n == -5, "integer");
	OK(nbh_json_bool(nbh_json_get(root, "c"), &b) && b, "bool");
	OK(!nbh_json_bool(nbh_json_get(root, "n"), &b), "null is no bool");
	OK(!nbh_json_get(root, "none") && !nbh_json_get(NULL, "none"), "absent");
	array = nbh_json_get(root, "a");
	OK(nbh_json_is_array(array) && !nbh_json_is_object(array), "array");
	OK_INT(nbh_json_length(array), 2, "length");
	OK(nbh_json_int(nbh_json_at(array, 1), &n) && n == 8, "element");
	OK(!nbh_json_at(array, 2) && !nbh_json_at(root, 0), "behind the end");
	OK_INT(nbh_json_each(root, count_until_c, &count), 42, "each stops");
	OK_INT(count, 3, "in order");
	nbh_json_free(doc);
}

static void test_writer(void)
{
	static const char wanted[] = "{\n"
				     "  \"s\": \"a\\\"\\\\\\u000a\\u007f\\u009b\xc3\xa4\xef\xbf\xbd\",\n"
				     "  \"null\": null,\n"
				     "  \"f\": \"x1\",\n"
				     "  \"empty\": [],\n"
				     "  \"eo\": {},\n"
				     "  \"list\": [\n"
				     "    -9223372036854775808,\n"
				     "    18446744073709551615,\n"
				     "    true,\n"
				     "    {\n"
				     "      \"k\\\"\": false\n"
				     "    }\n"
				     "  ]\n"
				     "}\n";
	struct nbh_jsonw *w = nbh_jsonw_new();
	char *text;
	size_t len;

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_string(w, "s", "a\"\\\n\x7f\xc2\x9b\xc3\xa4\xff");
	nbh_jsonw_string(w, "null", NULL);
	nbh_jsonw_stringf(w, "f", "x%d", 1);
	nbh_jsonw_array(w, "empty");
	nbh_jsonw_close(w);
	nbh_jsonw_object(w, "eo");
	nbh_jsonw_close(w);
	nbh_jsonw_array(w, "list");
	nbh_jsonw_int(w, NULL, INT64_MIN);
	nbh_jsonw_uint(w, NULL, UINT64_MAX);
	nbh_jsonw_bool(w, NULL, true);
	nbh_jsonw_object(w, NULL);
	nbh_jsonw_bool(w, "k\"", false);
	text = nbh_jsonw_end(w, &len); /* closes what is open */
	OK_STR(text, wanted, "writer");
	OK_INT(len, strlen(wanted), "length");
	free(text);
}

/* Cut UTF-8 at the end of a string must not be read over. */
static void test_writer_utf8(void)
{
	static const char *const cut[] = { "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xe0\x80", "\xed\xa0\x80" };

	for (size_t i = 0; i < NBH_N_ELEMENTS(cut); i++) {
		struct nbh_jsonw *w = nbh_jsonw_new();
		char *exact = strdup(cut[i]), *text;
		struct nbh_json *doc = NULL;
		size_t len;

		nbh_jsonw_array(w, NULL);
		nbh_jsonw_string(w, NULL, exact);
		text = nbh_jsonw_end(w, &len);
		OK(nbh_json_parse(text, len, &doc, NULL) == 0, "broken UTF-8 %zu becomes valid JSON", i);
		OK(strstr(text, "\xef\xbf\xbd"), "with U+FFFD");
		nbh_json_free(doc);
		free(text);
		free(exact);
	}
}

static void test_times(void)
{
	static const struct {
		const char *text;
		int64_t unix_ms;
	} cases[] = {
		{ "1970-01-01T00:00:00.000Z", 0 },
		{ "2026-01-31T12:34:56.789Z", 1769862896789 },
		{ "2024-02-29T23:59:59.999Z", 1709251199999 },
		{ "0001-01-01T00:00:00Z", -1 },
	};
	static const char *const bad[] = { "",
		                           "2026-01-31",
		                           "2026-01-31T12:34:56",
		                           "2026-13-31T12:34:56Z",
		                           "2026-01-31T24:34:56Z",
		                           "2026-01-31T12:34:56.7Z",
		                           "2026-01-31T12:34:56+01:00",
		                           "2026-01-31T12:34:56.789Zx" };
	char buf[NBH_RFC3339_MAX];
	int64_t ms = 77;

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		OK_STR(nbh_rfc3339(cases[i].unix_ms, buf), cases[i].text, cases[i].text);
		OK(nbh_rfc3339_parse(cases[i].text, &ms) && ms == cases[i].unix_ms, "and back");
	}

	OK(nbh_rfc3339_parse("2026-01-31T12:34:56Z", &ms) && ms == 1769862896000, "without ms");
	OK_STR(nbh_rfc3339(INT64_MAX, buf), "0001-01-01T00:00:00Z", "no such year");
	ms = 77;

	for (size_t i = 0; i < NBH_N_ELEMENTS(bad); i++)
		OK(!nbh_rfc3339_parse(bad[i], &ms) && ms == 77, "refused: '%s'", bad[i]);
}

int main(void)
{
	test_depth();
	test_accepts();
	test_refuses();
	test_cut();
	test_access();
	test_writer();
	test_writer_utf8();
	test_times();
	return tap_done();
}
