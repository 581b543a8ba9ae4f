#include "config.h"

#include "app/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/engine.h"
#include "base/limits.h"
#include "base/log.h"

static const char *const commands[] = { "run", "login", "up", "down", "status", "logout", "version" };

_Static_assert(G_N_ELEMENTS(commands) == NBH_COMMAND_N, "a name for each command");

static const char help[] =
	"usage: netbird-helper [run] [--config-dir DIR]\n"
	"       netbird-helper login [--config-dir DIR] --management-url URL\n"
	"                            [--setup-key-file FILE|-] [--hostname NAME] [--ca-file FILE]\n"
	"       netbird-helper up [--config-dir DIR] [options of login]\n"
	"       netbird-helper down|logout [--config-dir DIR]\n"
	"       netbird-helper status [--json] [--detail] [--config-dir DIR]\n"
	"       netbird-helper version\n"
	"\n"
	"A NetBird-compatible mesh VPN client. Run as root it starts netbird-helper, netbird-ice and\n"
	"netbird-wg, each as its own user with what it needs.\n"
	"\n"
	"  run      connect and stay connected (the default)\n"
	"  login    register with a setup key; writes config.json and private.key\n"
	"  up       undo `down`, then run; or log in and wake the one that runs\n"
	"  down     disconnect and remove the interface until `up`\n"
	"  status   who is connected, how, and why not\n"
	"  logout   delete this peer at the server, then down\n"
	"\n"
	"  -c, --config-dir DIR         default " NBH_DEFAULT_DIR "\n"
	"  -m, --management-url URL     login, up: https://HOST[:PORT] or http://...\n"
	"      --setup-key-file FILE    login, up: file with the key, - for standard input\n"
	"      --ca-file FILE           login, up: the server's own CA, instead of the system's\n"
	"  -n, --hostname NAME          login, up: instead of the system's\n"
	"      --json                   status: NetBird's JSON\n"
	"  -d, --detail                 status: everything about each peer\n"
	"      --debug MODULES          debug messages of: ice,mgmt,path,signal,sink,status\n"
	"  -h, --help                   this text\n"
	"      --version                as version\n"
	"\n"
	"Environment: NB_MANAGEMENT_URL NB_SETUP_KEY NB_SETUP_KEY_FILE NB_HOSTNAME NB_INTERFACE_NAME\n"
	"NB_WIREGUARD_PORT NB_WG_KERNEL_DISABLED NB_LOG_LEVEL HTTPS_PROXY NO_PROXY SSL_CERT_FILE\n"
	"SSL_CERT_DIR. Exit codes: 0, 1 failure, 2 usage, 69 refused by the server, 77 permission,\n"
	"78 configuration. See netbird-helper(8).\n";

enum { OPT_SETUP_KEY_FILE = 256, OPT_SETUP_KEY, OPT_JSON, OPT_DEBUG, OPT_VERSION, OPT_CA_FILE };

static const struct option longopts[] = {
	{ "config-dir", required_argument, NULL, 'c' },
	{ "management-url", required_argument, NULL, 'm' },
	{ "setup-key-file", required_argument, NULL, OPT_SETUP_KEY_FILE },
	{ "setup-key", required_argument, NULL, OPT_SETUP_KEY },
	{ "ca-file", required_argument, NULL, OPT_CA_FILE },
	{ "hostname", required_argument, NULL, 'n' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "detail", no_argument, NULL, 'd' },
	{ "debug", required_argument, NULL, OPT_DEBUG },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int usage(const char *fmt, const char *what)
{
	if (what)
		fprintf(stderr, "netbird-helper: %s %s\n", what, fmt);
	else if (fmt)
		fprintf(stderr, "netbird-helper: %s\n", fmt);

	fprintf(stderr, "netbird-helper: try netbird-helper --help\n");
	return NBH_EXIT_USAGE;
}

static int one_option(int c, NbhOptions *options)
{
	switch (c) {
	case 'c':
		options->config_dir = optarg;
		return -1;
	case 'm':
		options->management_url = optarg;
		return -1;
	case 'n':
		options->hostname = optarg;
		return -1;
	case OPT_CA_FILE:
		options->ca_file = optarg;
		return -1;
	case 'd':
		options->detail = TRUE;
		return -1;
	case OPT_SETUP_KEY_FILE:
		options->setup_key_file = optarg;
		return -1;
	case OPT_JSON:
		options->json = TRUE;
		return -1;
	case OPT_DEBUG:
		options->debug = optarg;
		return -1;
	case OPT_VERSION:
		options->command = NBH_COMMAND_VERSION;
		return -1;
	case 'h':
		fputs(help, stdout);
		return NBH_EXIT_OK;
	case 'k': /* NetBird's short form */
	case OPT_SETUP_KEY:
		/* Gone from ps as far as we can, though the harm is done. */
		explicit_bzero(optarg, strlen(optarg));
		return usage("a setup key on the command line is refused: every user of this host can see it there. "
		             "Use --setup-key-file FILE, --setup-key-file - or NB_SETUP_KEY",
		             NULL);
	default:
		return usage(NULL, NULL);
	}
}

static int check(const NbhOptions *options)
{
	gboolean configures = options->command == NBH_COMMAND_LOGIN || options->command == NBH_COMMAND_UP;

	if (!configures && (options->management_url || options->setup_key_file || options->hostname || options->ca_file))
		return usage("takes no --management-url, --setup-key-file, --hostname or --ca-file; use login or up",
		             commands[options->command]);

	if (!options->config_dir[0])
		return usage("--config-dir is empty", NULL);

	if (options->command != NBH_COMMAND_STATUS && (options->json || options->detail))
		return usage("takes no --json or --detail; they belong to status", commands[options->command]);

	return -1;
}

int nbh_options_parse(int argc, char **argv, NbhOptions *ret_options)
{
	NbhOptions options = { .config_dir = NBH_DEFAULT_DIR };
	int c, r;

	/* "+" would stop at the command; options may stand before and after it. */
	while ((c = getopt_long(argc, argv, "c:m:n:k:dh", longopts, NULL)) != -1) {
		r = one_option(c, &options);

		if (r >= 0)
			return r;
	}

	if (optind < argc && options.command != NBH_COMMAND_VERSION) {
		gsize i;

		for (i = 0; i < G_N_ELEMENTS(commands); i++)
			if (strcmp(argv[optind], commands[i]) == 0)
				break;

		if (i == G_N_ELEMENTS(commands))
			return usage("is no command", argv[optind]);

		options.command = (NbhCommand)i;
		optind++;
	}

	if (optind < argc)
		return usage("is one argument too many", argv[optind]);

	r = check(&options);

	if (r < 0)
		*ret_options = options;

	return r;
}

static int take_text(const char *variable, char *ret, gsize size, struct nbh_why *why)
{
	const char *value = g_getenv(variable);

	if (!value || !value[0])
		return 0;

	if (strlen(value) >= size) {
		nbh_why_set(why, "%s: longer than %zu characters", variable, (size_t)size - 1);
		return -EINVAL;
	}

	g_strlcpy(ret, value, size);
	return 0;
}

int nbh_options_environment(struct nbh_config *config, struct nbh_why *why)
{
	const char *port = g_getenv("NB_WIREGUARD_PORT");
	const char *disabled = g_getenv("NB_WG_KERNEL_DISABLED");
	const char *level = g_getenv("NB_LOG_LEVEL");
	int r = take_text("NB_MANAGEMENT_URL", config->management_url, sizeof(config->management_url), why);

	if (r == 0)
		r = take_text("NB_HOSTNAME", config->hostname, sizeof(config->hostname), why);

	if (r == 0)
		r = take_text("NB_INTERFACE_NAME", config->interface, sizeof(config->interface), why);

	if (r < 0)
		return r;

	if (port && port[0]) {
		guint64 value;

		if (!g_ascii_string_to_unsigned(port, 10, 1, 65535, &value, NULL)) {
			nbh_why_set(why, "NB_WIREGUARD_PORT: \"%s\" is no port (1-65535)", port);
			return -EINVAL;
		}

		config->listen_port = (uint16_t)value;
	}

	if (disabled && disabled[0]) {
		gboolean yes = strcmp(disabled, "true") == 0 || strcmp(disabled, "1") == 0;

		if (!yes && strcmp(disabled, "false") != 0 && strcmp(disabled, "0") != 0) {
			nbh_why_set(why, "NB_WG_KERNEL_DISABLED: \"%s\" is neither true nor false", disabled);
			return -EINVAL;
		}

		config->userspace = yes;
	}

	if (level && level[0] && nbh_log_set_level(level) < 0) {
		nbh_why_set(why, "NB_LOG_LEVEL: \"%s\" is no level (error, warn, notice, info, debug)", level);
		return -EINVAL;
	}

	return 0;
}

/* The launcher's way of handing it over: read once, nobody can read it from us again. */
static void close_inherited(const char *file)
{
	char rest;
	int fd;

	if (sscanf(file, "/proc/self/fd/%d%c", &fd, &rest) == 1 && fd > STDERR_FILENO)
		close(fd);
}

static int read_key_file(const char *file, char **ret_key, struct nbh_why *why)
{
	char buf[NBH_SETUPKEYFILE_MAX_BYTES + 1];
	nbh_cleanup_close int opened = -1;
	int fd = STDIN_FILENO, r = 0;
	gsize n = 0;
	ssize_t got;

	if (strcmp(file, "-") != 0) {
		fd = opened = open(file, O_RDONLY | O_CLOEXEC);

		if (fd < 0) {
			r = -errno;
			nbh_why_set(why, "setup key file %s: %s", file, g_strerror(errno));
			return r;
		}
	}

	while (n < sizeof(buf) && (got = read(fd, buf + n, sizeof(buf) - n)) > 0)
		n += (gsize)got;

	if (n == sizeof(buf)) {
		nbh_why_set(why, "setup key file %s: larger than %d bytes", file, NBH_SETUPKEYFILE_MAX_BYTES);
		r = -EFBIG;
	} else {
		buf[n] = '\0';
		*ret_key = g_strdup(buf);
	}

	close_inherited(file);
	explicit_bzero(buf, sizeof(buf));
	return r;
}

/* Also from where /proc/self/environ shows it. */
static void wipe_variable(const char *name)
{
	char *value = getenv(name);

	if (value)
		explicit_bzero(value, strlen(value));

	g_unsetenv(name);
}

int nbh_options_setup_key(const char *file, char **ret_key, struct nbh_why *why)
{
	char *key = NULL;
	int r = 0;

	if (!file)
		file = g_getenv("NB_SETUP_KEY_FILE");

	if (file && file[0])
		r = read_key_file(file, &key, why);
	else if (g_getenv("NB_SETUP_KEY"))
		key = g_strdup(g_getenv("NB_SETUP_KEY"));

	if (r < 0)
		return r;

	wipe_variable("NB_SETUP_KEY");

	if (key)
		g_strstrip(key);

	if (key && !key[0]) {
		g_clear_pointer(&key, g_free);

		if (file && file[0]) {
			nbh_why_set(why, "setup key file %s: empty", file);
			return -EINVAL;
		}
	}

	*ret_key = key;
	return 0;
}
