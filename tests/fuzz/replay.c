/*
 * Runs a fuzz target without libFuzzer: replay [-n ROUNDS] FILE-OR-DIRECTORY... Each file as it is,
 * then ROUNDS of it with bytes changed, cut, repeated or spliced in, by a fixed seed. So the corpus
 * is part of make check, under the sanitizers when they are on.
 */
#include "config.h"

#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX_BYTES (1 << 20)
#define PATH_MAX_BYTES 1024

static uint32_t random_state = 1;
static unsigned n_rounds = 200, n_files, n_inputs;

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
	static const char *const pieces[] = { "\"", "{", "}", "[", "]", ",", ":", "\\u0000", "\\ud800", "-",
					      "0",  "1e9", "99999999999999999999", "null", "true", "\xff",
					      "/33", "[::1]:0", "\n" };
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
	LLVMFuzzerTestOneInput(original, len);

	for (unsigned i = 0; i < n_rounds; i++) {
		memcpy(changed, original, len);
		changed_len = len;

		for (uint32_t n = 1 + next_random(4); n > 0; n--)
			changed_len = mutate(changed, changed_len, sizeof(changed));

		LLVMFuzzerTestOneInput(changed, changed_len);
		n_inputs++;
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
		struct stat st;

		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);

		if (stat(name, &st) == 0 && S_ISREG(st.st_mode))
			run_file(name);
	}

	closedir(dir);
}

int main(int argc, char **argv)
{
	int first = 1;

	if (argc > 2 && strcmp(argv[1], "-n") == 0) {
		n_rounds = (unsigned)strtoul(argv[2], NULL, 10);
		first = 3;
	}

	for (int i = first; i < argc; i++)
		run_path(argv[i]);

	printf("%u files, %u changed inputs\n", n_files, n_inputs);
	return n_files ? 0 : 1;
}
