#ifndef NBH_TESTS_FUZZ_FUZZ_H
#define NBH_TESTS_FUZZ_FUZZ_H

/* What fuzz targets share. A target defines LLVMFuzzerTestOneInput; see README.md. libc only. */

#include "base/why.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* libFuzzer's entry; driver.c calls it as well. Always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What must hold for any input. Aborts, so that libFuzzer keeps the input. */
#define fuzz_require(condition) ((condition) ? (void)0 : fuzz_broken(__FILE__, __LINE__, #condition))

__attribute__((noreturn)) static inline void fuzz_broken(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

/* A refusal always says why, within its buffer. */
static inline void fuzz_check_why(int r, const struct nbh_why *why)
{
	fuzz_require(memchr(why->text, '\0', sizeof(why->text)));
	fuzz_require(r >= 0 || why->text[0]);
}

/* Readers of files get memory for an empty file, too; libFuzzer's empty input is NULL. */
static inline const char *fuzz_chars(const uint8_t *data)
{
	return data ? (const char *)data : "";
}

/* With a NUL behind it; for parsers of C strings. Free it. */
static inline char *fuzz_text(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);

	fuzz_require(text);
	if (len)
		memcpy(text, data, len);
	text[len] = '\0';
	return text;
}

/* The first n bytes of *data, taken off; fewer at the end. */
static inline const uint8_t *fuzz_take(const uint8_t **data, size_t *len, size_t n, size_t *ret_n)
{
	const uint8_t *taken = *data;

	*ret_n = n < *len ? n : *len;
	*data += *ret_n;
	*len -= *ret_n;
	return taken;
}

/* One byte of *data, taken off; 0 at the end. */
static inline uint8_t fuzz_byte(const uint8_t **data, size_t *len)
{
	size_t n;
	const uint8_t *byte = fuzz_take(data, len, 1, &n);

	return n ? *byte : 0;
}

/* One per process, gone with it. */
static char fuzz_dir_path[32], fuzz_file_name[32];
static int fuzz_dirfd = -1;

/* In memory where there is such a place: a disk would be most of the time that an input takes. */
static inline void fuzz_make_dir(char *path, size_t size)
{
	snprintf(path, size, "/dev/shm/nbh-fuzz-XXXXXX");
	if (mkdtemp(path))
		return;

	snprintf(path, size, "/tmp/nbh-fuzz-XXXXXX");
	fuzz_require(mkdtemp(path));
}

static inline void fuzz_remove_dir(void)
{
	unlinkat(fuzz_dirfd, fuzz_file_name, 0);
	rmdir(fuzz_dir_path);
}

/*
 * For readers of files: the input as file `name` (one per target) in a directory. Returns the
 * directory's descriptor.
 */
static inline int fuzz_file(const char *name, const void *data, size_t len)
{
	int fd;

	if (fuzz_dirfd < 0) {
		fuzz_make_dir(fuzz_dir_path, sizeof(fuzz_dir_path));
		fuzz_dirfd = open(fuzz_dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		snprintf(fuzz_file_name, sizeof(fuzz_file_name), "%s", name);
		atexit(fuzz_remove_dir);
	}

	fd = openat(fuzz_dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	fuzz_require(fd >= 0 && write(fd, data, len) == (ssize_t)len);
	close(fd);
	return fuzz_dirfd;
}

#endif
