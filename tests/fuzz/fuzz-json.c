/* JSON text of any file: the scanner, the parser behind it, and what the writer makes of it. */
#include "config.h"

#include "base/json.h"
#include "base/jsonscan.h"

#include "tests/fuzz/fuzz.h"

/* Our keys are our own: members are written as elements. */
static int copy(const char *key, const struct nbh_json_value *value, void *owner)
{
	struct nbh_jsonw *w = owner;
	int64_t number;
	bool truth;

	(void)key;

	if (nbh_json_is_object(value)) {
		nbh_jsonw_array(w, NULL);
		fuzz_require(nbh_json_each(value, copy, w) == 0);
		nbh_jsonw_close(w);
	} else if (nbh_json_is_array(value)) {
		nbh_jsonw_array(w, NULL);
		for (size_t i = 0; i < nbh_json_length(value); i++)
			copy(NULL, nbh_json_at(value, i), w);
		nbh_jsonw_close(w);
	} else if (nbh_json_int(value, &number)) {
		nbh_jsonw_int(w, NULL, number);
	} else if (nbh_json_bool(value, &truth)) {
		nbh_jsonw_bool(w, NULL, truth);
	} else {
		nbh_jsonw_string(w, NULL, nbh_json_string(value));
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct nbh_json *doc, *again;
	struct nbh_why why = { "" };
	int scanned = nbh_jsonscan(fuzz_chars(data), len, &why), r;
	struct nbh_jsonw *w;
	size_t written_len;
	char *written;

	fuzz_check_why(scanned, &why);
	r = nbh_json_parse(fuzz_chars(data), len, &doc, &why);
	fuzz_check_why(r, &why);
	fuzz_require((scanned < 0) == (r < 0)); /* json-c takes whatever the scanner lets pass */
	if (r < 0)
		return 0;

	w = nbh_jsonw_new();
	copy(NULL, nbh_json_root(doc), w);
	written = nbh_jsonw_end(w, &written_len);
	fuzz_require(written);
	fuzz_require(nbh_json_parse(written, written_len, &again, NULL) == 0);
	nbh_json_free(again);
	free(written);
	nbh_json_free(doc);
	return 0;
}
