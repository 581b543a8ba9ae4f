/*
 * main() of the fuzz targets in an ordinary build: runs every file of the target's corpus, or of the
 * files and directories named, as it is and then changed a few times by a fixed seed. So every file
 * that once broke something is an ordinary test.
 *
 *   fuzz-NAME [-n CHANGED-INPUTS-PER-FILE] [FILE-OR-DIRECTORY...]
 */
#include "config.h"

#include "tests/fuzz/fuzz.h"

#include <dirent.h>

#define INPUT_MAX_BYTES (1 << 20)
#define PATH_MAX_BYTES 1024

static uint32_t random_state = 1;
static unsigned n_changed = 20, n_files, n_inputs;

/* xorshift32: the same sequence everywhere. */
static uint32_t next_random(uint32_t below)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return below ? random_state % below : 0;
}

static size_t mutate(uint8_t *data, size_t len, size_t size)
{
	static const char *const pieces[] = { "\"", "{", "}", "[", "]", ",", ":", "\\u0000", "\\ud800", "-", "0",
					      "1e9", "99999999999999999999", "null", "true", "\xff", "/33",
					      "[::1]:0", "\n" };
	size_t at = next_random((uint32_t)len + 1), n = 1 + next_random(16);
	const char *piece = pieces[next_random(sizeof(pieces) / sizeof(pieces[0]))];

	switch (next_random(4)) {
	case 0: /* a byte */
		if (at < len)
			data[at] = (uint8_t)next_random(256);
		return len;
	case 1: /* cut out */
		n = n < len - at ? n : len - at;
		memmove(data + at, data + at + n, len - at - n);
		return len - n;
	case 2: /* twice */
		n = n < len - at ? n : len - at;
		if (len + n > size)
			return len;
		memmove(data + at + n, data + at, len - at);
		return len + n;
	default: /* something that means something */
		n = strlen(piece);
		if (len + n > size)
			return len;
		memmove(data + at + n, data + at, len - at);
		memcpy(data + at, piece, n);
		return len + n;
	}
}

/* In memory of exactly this size, so that AddressSanitizer sees a byte too many. */
static void run_input(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	fuzz_require(copy);
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
	n_inputs++;
}

static void run_file(const char *path)
{
	static uint8_t original[INPUT_MAX_BYTES], changed[INPUT_MAX_BYTES];
	FILE *file = fopen(path, "rb");
	size_t len, changed_len;

	if (!file)
		return;

	len = fread(original, 1, sizeof(original), file);
	fclose(file);
	n_files++;
	run_input(original, len);

	for (unsigned i = 0; i < n_changed; i++) {
		memcpy(changed, original, len);
		changed_len = len;

		for (uint32_t n = 1 + next_random(4); n > 0; n--)
			changed_len = mutate(changed, changed_len, sizeof(changed));

		run_input(changed, changed_len);
	}
}

static void run_path(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	char name[PATH_MAX_BYTES];

	if (!dir) {
		run_file(path);
		return;
	}

	while ((entry = readdir(dir))) {
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.')
			run_file(name);
	}

	closedir(dir);
}

/* "tests/fuzz/fuzz-json" has its corpus in tests/fuzz/corpus/json. */
static void run_own_corpus(const char *program)
{
	const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;
	const char *top = getenv("abs_top_srcdir");
	char path[PATH_MAX_BYTES];

	if (strncmp(name, "fuzz-", 5) == 0)
		name += 5;
	snprintf(path, sizeof(path), "%s/tests/fuzz/corpus/%s", top ? top : ".", name);
	run_path(path);
}

int main(int argc, char **argv)
{
	int first = 1;

	if (argc > 2 && strcmp(argv[1], "-n") == 0) {
		n_changed = (unsigned)strtoul(argv[2], NULL, 10);
		first = 3;
	}

	for (int i = first; i < argc; i++)
		run_path(argv[i]);
	if (first == argc)
		run_own_corpus(argv[0]);

	fprintf(stderr, "%u files, %u inputs\n", n_files, n_inputs);
	return n_files ? 0 : 1;
}
