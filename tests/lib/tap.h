#ifndef NBH_TESTS_LIB_TAP_H
#define NBH_TESTS_LIB_TAP_H

/*
 * Test Anything Protocol for the tests of base and wg, which have no GLib. A failed check prints
 * where and what, and the program goes on; tap_done() gives main() its exit code.
 */

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	unsigned n_checks, n_failed;
} tap_state;

__attribute__((format(printf, 4, 5))) static inline bool
tap_check(bool good, const char *file, int line, const char *fmt, ...)
{
	va_list args;

	tap_state.n_checks++;
	tap_state.n_failed += !good;
	printf("%sok %u - ", good ? "" : "not ", tap_state.n_checks);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");

	if (!good)
		printf("# at %s:%d\n", file, line);

	fflush(stdout);
	return good;
}

static inline bool tap_check_int(intmax_t got, intmax_t wanted, const char *what, const char *file,
                                 int line)
{
	return tap_check(got == wanted, file, line, "%s: %jd (wanted %jd)", what, got, wanted);
}

static inline bool tap_check_str(const char *got, const char *wanted, const char *what,
                                 const char *file, int line)
{
	bool good = got && wanted ? strcmp(got, wanted) == 0 : got == wanted;

	if (good)
		return tap_check(true, file, line, "%s", what);

	return tap_check(false, file, line, "%s:\n#    got: %s\n# wanted: %s", what,
	                 got ? got : "(null)", wanted ? wanted : "(null)");
}

/* OK(condition, "what %s", ...) */
#define OK(condition, ...) tap_check((condition), __FILE__, __LINE__, __VA_ARGS__)
#define OK_INT(got, wanted, what) tap_check_int((got), (wanted), (what), __FILE__, __LINE__)
#define OK_STR(got, wanted, what) tap_check_str((got), (wanted), (what), __FILE__, __LINE__)

/* A test that cannot run here: automake's 77. */
__attribute__((noreturn)) static inline void tap_skip_all(const char *reason)
{
	printf("1..0 # SKIP %s\n", reason);
	exit(77);
}

static inline int tap_done(void)
{
	printf("1..%u\n", tap_state.n_checks);

	if (tap_state.n_failed)
		printf("# %u of %u failed\n", tap_state.n_failed, tap_state.n_checks);

	return tap_state.n_failed ? 1 : 0;
}

/* A file below the source tree, by make check's abs_top_srcdir or from the current directory. */
static inline const char *tap_source_path(const char *relative, char *buf, size_t size)
{
	const char *top = getenv("abs_top_srcdir");

	snprintf(buf, size, "%s/%s", top ? top : ".", relative);
	return buf;
}

/* The whole file, NUL-terminated and malloc'ed; ends the test if it is not there. */
static inline char *tap_slurp(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "rb");
	char *data = NULL;
	size_t len = 0, n;

	if (!file) {
		printf("Bail out! cannot open %s\n", path);
		exit(99);
	}

	do {
		data = realloc(data, len + 65536 + 1);

		if (!data)
			abort();

		n = fread(data + len, 1, 65536, file);
		len += n;
	} while (n);

	fclose(file);
	data[len] = '\0';

	if (ret_len)
		*ret_len = len;

	return data;
}

#endif
