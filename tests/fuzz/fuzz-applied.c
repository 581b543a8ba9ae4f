/* wg/applied.json: what the reader takes must survive its own writer. */
#include "config.h"

#include "wg/applied.h"

#include "tests/fuzz/fuzz.h"

#define BOOT_ID "5d0c7e2a-8a0f-4a34-9f0e-2f1a6f3f7c11"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct wg_applied applied, again;
	struct nbh_why why = { "" };
	int r = wg_applied_parse(fuzz_chars(data), len, BOOT_ID, &applied, &why);
	size_t written_len;
	char *written;

	fuzz_require(r == 0 || r == -ENOMEM || r == -EINVAL);
	fuzz_check_why(r, &why);
	if (r < 0)
		return 0;

	fuzz_require(applied.n_addresses <= NBH_DEVICE_ADDRESSES_MAX);
	if (applied.known) {
		written = wg_applied_format(&applied, BOOT_ID, &written_len);
		fuzz_require(written);
		fuzz_require(wg_applied_parse(written, written_len, BOOT_ID, &again, NULL) == 0);
		fuzz_require(again.known && again.n_peers == applied.n_peers &&
		             again.n_addresses == applied.n_addresses);
		wg_applied_clear(&again);
		free(written);
	}

	wg_applied_clear(&applied);
	return 0;
}
