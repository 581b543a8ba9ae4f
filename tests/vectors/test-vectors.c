#include "config.h"

/*
 * test-vectors DIR: checks every case of a directory of recorded messages
 * (tests/data/vectors/README.md) against our decoders and encoders, and prints TAP. Without DIR:
 * the ones that come with the source. What it does not know is a failure.
 */

#include "tests/vectors/vec.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static guint n_checks, n_failures;
static char *current;

void vec_case(const char *file, const char *name)
{
	g_free(current);
	current = g_strdup_printf("%s %s", file, name ? name : "(no name)");
}

void vec_ok(gboolean ok, const char *fmt, ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, fmt);
	text = g_strdup_vprintf(fmt, args);
	va_end(args);

	g_strdelimit(text, "\n#", ' ');
	printf("%sok %u - %s: %s\n", ok ? "" : "not ", ++n_checks, current, text);
	n_failures += ok ? 0 : 1;
}

void vec_unknown(const char *what, const char *value)
{
	vec_ok(FALSE, "unknown %s \"%s\": this program must learn it", what,
	       value ? value : "(none)");
}

static const struct {
	const char *name;
	void (*check)(json_object *file);
} parts[] = {
	{"management.json", vec_management},
	{"signal.json", vec_signal},
	{"stun.json", vec_stun},
	{"relay.json", vec_relay},
	{"transport.json", vec_transport},
};

static void check_file(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	json_object *file;
	gsize i;

	vec_case(name, "file");
	file = json_object_from_file(path);

	if (!file) {
		vec_ok(FALSE, "%s is no JSON", path);
		return;
	}

	vec_ok(vec_int(file, "format", 0) == 1, "format 1");

	for (i = 0; i < G_N_ELEMENTS(parts); i++) {
		if (g_str_equal(name, parts[i].name))
			break;
	}

	if (i < G_N_ELEMENTS(parts))
		parts[i].check(file);
	else
		vec_unknown("file", name);

	json_object_put(file);
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int main(int argc, char **argv)
{
	const char *top = g_getenv("abs_top_srcdir");
	g_autofree char *dir =
		argc > 1 ? g_strdup(argv[1])
			 : g_build_filename(top ? top : ".", "tests", "data", "vectors", NULL);
	g_autoptr(GError) error = NULL;
	GDir *listing = g_dir_open(dir, 0, &error);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	const char *name;
	guint i;

	if (!listing) {
		printf("Bail out! %s\n", error->message);
		return 1;
	}

	while ((name = g_dir_read_name(listing))) {
		if (g_str_has_suffix(name, ".json"))
			g_ptr_array_add(names, g_strdup(name));
	}

	g_dir_close(listing);
	g_ptr_array_sort(names, compare_names);

	for (i = 0; i < names->len; i++)
		check_file(dir, g_ptr_array_index(names, i));

	vec_case(dir, "directory");
	vec_ok(names->len > 0, "%u files", names->len);
	g_clear_pointer(&current, g_free);
	printf("1..%u\n# %u of %u checks failed\n", n_checks, n_failures, n_checks);
	return n_failures ? 1 : 0;
}
