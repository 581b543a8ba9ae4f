/* ice/ended.json and wg/ended.json, which netbird-helper reads: written by other users. */
#include "config.h"

#include "base/ending.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char text[NBH_ENDING_TEXT_MAX];
	struct nbh_ending ending;
	struct nbh_why why = { "" };
	int r = nbh_ending_parse(fuzz_chars(data), len, &ending, &why);

	fuzz_check_why(r, &why);
	if (r < 0)
		return 0;

	fuzz_require(ending.code >= -1 && ending.code <= 255);
	fuzz_require(strlen(nbh_ending_format(&ending, text)) < sizeof(text));
	return 0;
}
