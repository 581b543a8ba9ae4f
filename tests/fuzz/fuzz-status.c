/* status.json as `status` shows it: nothing in it may command the terminal. */
#include "config.h"

#include "app/status.h"
#include "base/limits.h"

#include "tests/fuzz/fuzz.h"

#include <stdbool.h>

/* What is printed goes into memory. */
static void show(bool json, bool detail)
{
	FILE *terminal = stdout, *errors = stderr;
	char path[64], *text = NULL;
	size_t len = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fuzz_dirfd);
	stdout = open_memstream(&text, &len);
	stderr = fopen("/dev/null", "w");
	fuzz_require(stdout && stderr);
	nbh_status_show(path, json, detail);
	fclose(stdout);
	fclose(stderr);
	stdout = terminal;
	stderr = errors;

	for (size_t i = 0; i < len && !json; i++)
		fuzz_require((unsigned char)text[i] >= 0x20 || text[i] == '\n');
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_file(NBH_STATUS_NAME, data, len);
	show(false, false);
	show(false, true);
	show(true, false);
	return 0;
}
