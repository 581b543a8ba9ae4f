/* app/dirwatch: which names wake the engine, and that wg/ may come and go. */
#include "config.h"

#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>

#include "app/dirwatch.h"

typedef struct {
	char *dir; /* owned */
	NbhDirwatch *watch;
	guint n;
} Fixture;

static void on_change(gpointer owner)
{
	((Fixture *)owner)->n++;
}

/* The kernel queues an event before the call that made it returns: whatever is due is there. */
static guint changes(Fixture *fixture)
{
	fixture->n = 0;

	while (g_main_context_iteration(NULL, FALSE))
		;

	return fixture->n;
}

static void write_file(const Fixture *fixture, const char *name)
{
	g_autofree char *path = g_build_filename(fixture->dir, name, NULL);

	/* By temp and rename, as everything in the directory. */
	g_assert_true(g_file_set_contents(path, "{}\n", -1, NULL));
}

static void make_wg(const Fixture *fixture)
{
	g_autofree char *wg = g_build_filename(fixture->dir, "wg", NULL);

	g_assert_cmpint(g_mkdir(wg, 0700), ==, 0);
}

static void forget(const Fixture *fixture, const char *name)
{
	g_autofree char *path = g_build_filename(fixture->dir, name, NULL);

	g_assert_cmpint(g_remove(path), ==, 0);
}

static void set_up(Fixture *fixture, gconstpointer data)
{
	(void)data;
	fixture->dir = g_dir_make_tmp("test-dirwatch.XXXXXX", NULL);
	fixture->watch = nbh_dirwatch_new(fixture->dir, on_change, fixture, NULL);
	g_assert_nonnull(fixture->watch);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
	(void)data;
	nbh_dirwatch_free(fixture->watch);
	g_assert_cmpint(g_rmdir(fixture->dir), ==, 0);
	g_free(fixture->dir);
}

static void test_down(Fixture *fixture, gconstpointer data)
{
	(void)data;
	g_assert_cmpuint(changes(fixture), ==, 0);
	write_file(fixture, "down");
	g_assert_cmpuint(changes(fixture), >, 0);
	forget(fixture, "down");
	g_assert_cmpuint(changes(fixture), >, 0);
	write_file(fixture, "peers.json");
	forget(fixture, "peers.json");
	g_assert_cmpuint(changes(fixture), ==, 0); /* what we write ourselves does not wake us */
}

static void test_wg_comes_later(Fixture *fixture, gconstpointer data)
{
	(void)data;

	for (int i = 0; i < 2; i++) {
		make_wg(fixture);
		g_assert_cmpuint(changes(fixture), >, 0);
		write_file(fixture, "wg/status.json");
		g_assert_cmpuint(changes(fixture), >, 0);
		write_file(fixture, "wg/applied.json");
		g_assert_cmpuint(changes(fixture), ==, 0);
		forget(fixture, "wg/status.json");
		forget(fixture, "wg/applied.json");
		forget(fixture, "wg");
		changes(fixture);
	}
}

static void test_endings(Fixture *fixture, gconstpointer data)
{
	g_autofree char *ice = g_build_filename(fixture->dir, "ice", NULL);

	(void)data;
	make_wg(fixture);
	g_assert_cmpint(g_mkdir(ice, 0700), ==, 0);
	changes(fixture);
	write_file(fixture, "ice/ended.json");
	g_assert_cmpuint(changes(fixture), >, 0);
	write_file(fixture, "wg/ended.json");
	g_assert_cmpuint(changes(fixture), >, 0);
	write_file(fixture, "ice/sessions");
	g_assert_cmpuint(changes(fixture), ==, 0);

	for (gsize i = 0; i < 3; i++)
		forget(fixture, ((const char *const[]){ "ice/ended.json", "wg/ended.json", "ice/sessions" })[i]);

	forget(fixture, "wg");
	forget(fixture, "ice");
}

static void test_no_directory(void)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(nbh_dirwatch_new("/nonexistent/dir", on_change, NULL, &error));
	g_assert_nonnull(error);
	g_assert_nonnull(strstr(error->message, "/nonexistent/dir"));
	nbh_dirwatch_free(NULL);
}

int main(int argc, char **argv)
{
	alarm(60); /* ends a test that would wait for ever */
	g_test_init(&argc, &argv, NULL);
	g_test_add("/app/dirwatch/down", Fixture, NULL, set_up, test_down, tear_down);
	g_test_add("/app/dirwatch/wg", Fixture, NULL, set_up, test_wg_comes_later, tear_down);
	g_test_add("/app/dirwatch/endings", Fixture, NULL, set_up, test_endings, tear_down);
	g_test_add_func("/app/dirwatch/no-directory", test_no_directory);
	return g_test_run();
}
