#include "config.h"

#include "wg/options.h"

#include "base/log.h"

#include <getopt.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: netbird-wg --config-dir DIR [OPTION]...\n"
	"Applies device.json and peers.json of DIR to WireGuard and follows every change.\n"
	"\n"
	"  --config-dir DIR       where the files are; netbird-device.json(5), netbird-peers.json(5)\n"
	"  --interface NAME       the only interface name that device.json may ask for\n"
	"  --allow-prefix PREFIX  peers may have this outside of the overlay, too; repeatable\n"
	"  --allow-default-route  peers may have 0.0.0.0/0 and ::/0\n"
	"  --ice-tun USER         a TUN device for a netbird-ice that may make no namespaces\n"
	"  --once                 apply once, then end\n"
	"  --ended                for a unit's ExecStopPost=: notes for status how the daemon ended\n"
	"  --dry-run              print what would be done; needs no privilege\n"
	"  --wireguard-go PATH    the program for \"userspace\": true\n"
	"  --debug[=MODULES]      say more; module: plan (each operation)\n"
	"  --help, --version\n"
	"\n"
	"Exit codes: 0, 1 failure, 2 usage, 77 permission, 78 configuration.\n";

static int usage(const char *what, const char *value)
{
	fprintf(stderr, "netbird-wg: %s%s%s; see netbird-wg --help\n", what, value ? ": " : "",
	        value ? value : "");
	return WG_EXIT_USAGE;
}

static int take_dir(struct wg_options *options, const char *text)
{
	char cwd[PATH_MAX] = "";
	size_t len;
	int n;

	if (text[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return usage("--config-dir: no working directory", NULL);

	n = snprintf(options->config_dir, sizeof(options->config_dir), "%s%s%s", cwd,
	             cwd[0] ? "/" : "", text);
	if (text[0] == '\0' || n < 0 || (size_t)n >= sizeof(options->config_dir))
		return usage("--config-dir: not a path", text);

	len = strlen(options->config_dir);
	while (len > 1 && options->config_dir[len - 1] == '/')
		options->config_dir[--len] = '\0';
	return -1;
}

static int take_interface(struct wg_options *options, const char *text)
{
	if (!wg_policy_is_ifname(text))
		return usage("--interface: not a name of 1 to 15 letters, digits, '_', '.' and '-'", text);

	memcpy(options->policy.interface, text, strlen(text) + 1);
	return -1;
}

static int take_prefix(struct wg_options *options, const char *text)
{
	struct wg_policy *policy = &options->policy;
	struct nbh_prefix prefix;

	if (nbh_prefix_parse(text, &prefix) < 0)
		return usage("--allow-prefix: not ADDRESS/LENGTH", text);

	if (policy->n_allow_prefixes == WG_POLICY_PREFIXES_MAX)
		return usage("--allow-prefix: too many", NULL);

	policy->allow_prefixes[policy->n_allow_prefixes++] = nbh_prefix_masked(&prefix);
	return -1;
}

static int take_ice_user(struct wg_options *options, const char *text)
{
	const struct passwd *user = getpwnam(text);
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (!user && (text[0] < '0' || text[0] > '9' || *end || number >= UINT32_MAX))
		return usage("--ice-tun: no such user", text);

	options->has_ice_tun = true;
	options->ice_user = user ? user->pw_uid : (uid_t)number;
	return -1;
}

static int take_option(int option, struct wg_options *options)
{
	switch (option) {
	case 'c':
		return take_dir(options, optarg);
	case 'i':
		return take_interface(options, optarg);
	case 'p':
		return take_prefix(options, optarg);
	case 'r':
		options->policy.allow_default_route = true;
		return -1;
	case '1':
		options->once = true;
		return -1;
	case 'n':
		options->dry_run = true;
		return -1;
	case 't':
		return take_ice_user(options, optarg);
	case 'e':
		options->ended = true;
		return -1;
	case 'g':
		if (optarg[0] != '/')
			return usage("--wireguard-go: not an absolute path", optarg);
		options->wireguard_go = optarg;
		return -1;
	case 'd':
		if (optarg)
			nbh_log_set_debug_modules(optarg);
		else
			nbh_log_set_level("debug");
		return -1;
	case 'h':
		fputs(help, stdout);
		return WG_EXIT_OK;
	case 'v':
		puts("netbird-wg " PACKAGE_VERSION);
		return WG_EXIT_OK;
	default:
		return WG_EXIT_USAGE; /* getopt has said why */
	}
}

int wg_options_parse(int argc, char **argv, struct wg_options *ret_options)
{
	static const struct option options[] = {
		{ "config-dir", required_argument, NULL, 'c' },
		{ "interface", required_argument, NULL, 'i' },
		{ "allow-prefix", required_argument, NULL, 'p' },
		{ "allow-default-route", no_argument, NULL, 'r' },
		{ "once", no_argument, NULL, '1' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "wireguard-go", required_argument, NULL, 'g' },
		{ "ice-tun", required_argument, NULL, 't' },
		{ "ended", no_argument, NULL, 'e' },
		{ "debug", optional_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option, r;

	memset(ret_options, 0, sizeof(*ret_options));
	nbh_log_init("netbird-wg");
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		r = take_option(option, ret_options);
		if (r >= 0)
			return r;
	}

	if (optind < argc)
		return usage("unexpected argument", argv[optind]);

	if (!ret_options->config_dir[0])
		return usage("--config-dir is missing", NULL);

	return -1;
}
