/* wg/status.json, which netbird-helper reads: written by another user. */
#include "config.h"

#include "base/statusfile.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct nbh_wgstatus status;
	struct nbh_why why = { "" };
	int r = nbh_wgstatus_parse(fuzz_chars(data), len, &status, &why);

	fuzz_check_why(r, &why);
	if (r < 0)
		return 0;

	for (size_t i = 1; i < status.n_peers; i++)
		fuzz_require(nbh_key_compare(&status.peers[i - 1].public_key, &status.peers[i].public_key) <= 0);
	fuzz_require(memchr(status.error, '\0', sizeof(status.error)));
	nbh_wgstatus_clear(&status);
	return 0;
}
