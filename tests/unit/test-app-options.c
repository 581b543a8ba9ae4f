#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>

#include "app/engine.h"
#include "app/options.h"

#include <getopt.h>

static int parse(const char *line, NbhOptions *ret_options, GStrv *ret_argv)
{
	int argc;

	g_assert_true(g_shell_parse_argv(line, &argc, ret_argv, NULL));
	optind = 0; /* getopt starts anew */
	return nbh_options_parse(argc, *ret_argv, ret_options);
}

static void test_good(void)
{
	static const struct {
		const char *line;
		NbhCommand command;
		const char *dir, *url;
	} cases[] = {
		{ "x", NBH_COMMAND_RUN, NBH_DEFAULT_DIR, NULL },
		{ "x --config-dir peer1", NBH_COMMAND_RUN, "peer1", NULL },
		{ "x run -c peer1", NBH_COMMAND_RUN, "peer1", NULL },
		{ "x -c peer1 run", NBH_COMMAND_RUN, "peer1", NULL },
		{ "x login -c d --management-url http://h:1 --setup-key-file -", NBH_COMMAND_LOGIN, "d", "http://h:1" },
		{ "x login --ca-file /etc/ca.pem -m https://h", NBH_COMMAND_LOGIN, NBH_DEFAULT_DIR, "https://h" },
		{ "x up -m http://h", NBH_COMMAND_UP, NBH_DEFAULT_DIR, "http://h" },
		{ "x status --json -d", NBH_COMMAND_STATUS, NBH_DEFAULT_DIR, NULL },
		{ "x version", NBH_COMMAND_VERSION, NBH_DEFAULT_DIR, NULL },
		{ "x --version", NBH_COMMAND_VERSION, NBH_DEFAULT_DIR, NULL },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_auto(GStrv) argv = NULL;
		NbhOptions options;

		g_test_message("%s", cases[i].line);
		g_assert_cmpint(parse(cases[i].line, &options, &argv), ==, -1);
		g_assert_cmpint(options.command, ==, cases[i].command);
		g_assert_cmpstr(options.config_dir, ==, cases[i].dir);
		g_assert_cmpstr(options.management_url, ==, cases[i].url);
	}
}

static void test_bad(void)
{
	static const char *const lines[] = {
		"x fly",         "x run run",          "x --nonsense",   "x run --management-url http://h", "x down --ca-file /x",
		"x down --json", "x login --detail",   "x --config-dir", "x login --setup-key AAAA",
		"x --setup-key=AAAA", "x up -k AAAA",         "x login -kAAAA", "x run --config-dir ''",
	};

	for (gsize i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_auto(GStrv) argv = NULL;
		NbhOptions options;

		g_test_message("%s", lines[i]);
		g_assert_cmpint(parse(lines[i], &options, &argv), ==, NBH_EXIT_USAGE);

		for (gsize k = 0; argv[k]; k++)
			g_assert_null(strstr(argv[k], "AAAA")); /* not left in ps */
	}
}

static void test_environment(void)
{
	static const struct {
		const char *name, *value;
		int r;
	} cases[] = {
		{ "NB_WIREGUARD_PORT", "1", 0 },           { "NB_WIREGUARD_PORT", "65535", 0 },
		{ "NB_WIREGUARD_PORT", "0", -EINVAL },     { "NB_WIREGUARD_PORT", "65536", -EINVAL },
		{ "NB_WIREGUARD_PORT", "80x", -EINVAL },   { "NB_WIREGUARD_PORT", "", 0 },
		{ "NB_WG_KERNEL_DISABLED", "true", 0 },    { "NB_WG_KERNEL_DISABLED", "yes", -EINVAL },
		{ "NB_INTERFACE_NAME", "nbh15chars_long", 0 }, { "NB_INTERFACE_NAME", "nbh16_characters", -EINVAL },
		{ "NB_LOG_LEVEL", "debug", 0 },            { "NB_LOG_LEVEL", "loud", -EINVAL },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct nbh_config config;
		struct nbh_why why = { "" };

		g_test_message("%s=%s", cases[i].name, cases[i].value);
		nbh_config_defaults(&config);
		g_setenv(cases[i].name, cases[i].value, TRUE);
		g_assert_cmpint(nbh_options_environment(&config, &why), ==, cases[i].r);

		if (cases[i].r < 0)
			g_assert_nonnull(strstr(why.text, cases[i].name));

		g_unsetenv(cases[i].name);
	}
}

static void test_setup_key(void)
{
	g_autofree char *file = g_build_filename(g_get_tmp_dir(), "nbh-setup-key-XXXXXX", NULL);
	g_autofree char *large = g_strnfill(2000, 'A');
	struct nbh_why why = { "" };
	char *key;
	int fd = g_mkstemp(file);

	g_assert_cmpint(write(fd, " AAAA-BBBB\n", 11), ==, 11);
	close(fd);
	g_assert_cmpint(nbh_options_setup_key(file, &key, &why), ==, 0);
	g_assert_cmpstr(key, ==, "AAAA-BBBB");
	g_free(key);

	g_assert_true(g_file_set_contents(file, "\n", -1, NULL));
	g_assert_cmpint(nbh_options_setup_key(file, &key, &why), ==, -EINVAL);
	g_assert_true(g_file_set_contents(file, large, -1, NULL));
	g_assert_cmpint(nbh_options_setup_key(file, &key, &why), ==, -EFBIG);
	g_assert_null(strstr(why.text, "AAAA"));
	g_unlink(file);
	g_assert_cmpint(nbh_options_setup_key(file, &key, &why), ==, -ENOENT);

	g_setenv("NB_SETUP_KEY", "CCCC", TRUE);
	g_assert_cmpint(nbh_options_setup_key(NULL, &key, &why), ==, 0);
	g_assert_cmpstr(key, ==, "CCCC");
	g_free(key);
	g_assert_null(g_getenv("NB_SETUP_KEY"));
	g_assert_cmpint(nbh_options_setup_key(NULL, &key, &why), ==, 0);
	g_assert_null(key);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/app/options/good", test_good);
	g_test_add_func("/app/options/bad", test_bad);
	g_test_add_func("/app/options/environment", test_environment);
	g_test_add_func("/app/options/setup-key", test_setup_key);
	return g_test_run();
}
