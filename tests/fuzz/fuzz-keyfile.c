/* private.key, and the file with a setup key. */
#include "config.h"

#include "app/options.h"
#include "base/key.h"
#include "base/limits.h"

#include "tests/fuzz/fuzz.h"

#include <glib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int dirfd = fuzz_file("private.key", data, len);
	char path[64], *setup_key = NULL;
	struct nbh_why why = { "" };
	struct nbh_key key;
	int r = nbh_keyfile_read(dirfd, "private.key", &key, &why);

	fuzz_check_why(r, &why);
	fuzz_require(r < 0 || len <= NBH_KEYFILE_MAX_BYTES);

	snprintf(path, sizeof(path), "/proc/self/fd/%d/private.key", dirfd);
	r = nbh_options_setup_key(path, &setup_key, &why);
	fuzz_check_why(r, &why);
	fuzz_require((r == 0) == (setup_key != NULL));
	fuzz_require(!setup_key || (setup_key[0] && strlen(setup_key) <= NBH_SETUPKEYFILE_MAX_BYTES));
	g_free(setup_key);
	return 0;
}
