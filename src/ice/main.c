#include "config.h"

#include "base/ending.h"
#include "base/lock.h"
#include "base/log.h"
#include "ice/server.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_USER "netbird-ice"
#define DEFAULT_UID 61902 /* architecture.md section 1: where there is no such user */
#define EXIT_USAGE 2
#define EXIT_PERMISSION 77

typedef struct {
	const char *config_dir;
	gboolean debug, has_user, ended;
	struct nbh_isolate_config isolate;
} Options;

static const char usage[] =
	"usage: netbird-ice --config-dir DIR [--fwmark N] [--user USER[:GROUP]] [--debug]\n"
	"       netbird-ice --config-dir DIR --ended\n"
	"       netbird-ice --version | --help\n"
	"\n"
	"Runs the ICE agents of netbird-helper behind WireGuard's UDP port, without any privilege\n"
	"once it has started. See netbird-ice(8).\n"
	"\n"
	"  --config-dir DIR      it works in DIR/ice\n"
	"  --fwmark N            of everything that is sent; that of the WireGuard interface\n"
	"  --user USER[:GROUP]   started by root: what it becomes (netbird-ice, else 61902)\n"
	"  --debug               say more\n"
	"  --ended               for a unit's ExecStopPost=: notes for status how the daemon ended\n"
	"\n"
	"Exit codes: 0, 1 failure, 2 usage, 75 start it again, 77 permission.\n";

static gboolean parse_number(const char *text, guint64 max, guint64 *ret)
{
	char *end;
	guint64 value;

	errno = 0;
	value = g_ascii_strtoull(text, &end, 0);

	if (errno || end == text || *end || !g_ascii_isdigit(text[0]) || value > max)
		return FALSE;

	*ret = value;
	return TRUE;
}

static gboolean find_user(const char *name, uid_t *ret_user, gid_t *ret_group)
{
	const struct passwd *user;
	guint64 number;

	if (parse_number(name, G_MAXUINT32 - 1, &number)) {
		*ret_user = (uid_t)number;
		*ret_group = (gid_t)number;
		return TRUE;
	}

	user = getpwnam(name);

	if (!user)
		return FALSE;

	*ret_user = user->pw_uid;
	*ret_group = user->pw_gid;
	return TRUE;
}

static gboolean find_group(const char *name, gid_t *ret_group)
{
	const struct group *group;
	guint64 number;

	if (parse_number(name, G_MAXUINT32 - 1, &number)) {
		*ret_group = (gid_t)number;
		return TRUE;
	}

	group = getgrnam(name);

	if (!group)
		return FALSE;

	*ret_group = group->gr_gid;
	return TRUE;
}

/* "USER", or "USER:GROUP"; never root. */
static gboolean parse_user(const char *text, Options *options)
{
	g_auto(GStrv) parts = g_strsplit(text, ":", 2);
	struct nbh_isolate_config *isolate = &options->isolate;

	if (!parts[0] || !find_user(parts[0], &isolate->user, &isolate->group) ||
	    (parts[1] && !find_group(parts[1], &isolate->group))) {
		fprintf(stderr, "netbird-ice: --user %s: there is no such user or group\n", text);
		return FALSE;
	}

	if (isolate->user == 0) {
		fprintf(stderr, "netbird-ice: --user %s: root is what it wants to get rid of\n", text);
		return FALSE;
	}

	options->has_user = TRUE;
	return TRUE;
}

/* -1: go on; otherwise the exit code. */
static int parse_options(int argc, char **argv, Options *options)
{
	static const struct option known[] = {
		{ "config-dir", required_argument, NULL, 'c' }, { "fwmark", required_argument, NULL, 'm' },
		{ "user", required_argument, NULL, 'u' },       { "debug", no_argument, NULL, 'd' },
		{ "ended", no_argument, NULL, 'e' },
		{ "version", no_argument, NULL, 'V' },          { "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	guint64 number;
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'c':
			options->config_dir = optarg;
			break;
		case 'm':
			if (!parse_number(optarg, G_MAXUINT32, &number)) {
				fprintf(stderr, "netbird-ice: --fwmark %s: not a number\n", optarg);
				return EXIT_USAGE;
			}

			options->isolate.fwmark = (guint32)number;
			break;
		case 'u':
			if (!parse_user(optarg, options))
				return EXIT_USAGE;
			break;
		case 'd':
			options->debug = TRUE;
			break;
		case 'e':
			options->ended = TRUE;
			break;
		case 'V':
			puts("netbird-ice " PACKAGE_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}

	if (!options->config_dir || optind != argc) {
		fprintf(stderr, "netbird-ice: %s\n%s", optind != argc ? "unexpected argument" : "--config-dir is missing",
		        usage);
		return EXIT_USAGE;
	}

	return -1;
}

/*
 * DIR/ice, made if it is not there. As root by hand: for the user that we become; only what we have
 * just made is given away.
 */
static int open_directory(const Options *options, int *ret_fd, struct nbh_why *why)
{
	nbh_cleanup_close int dir = open(options->config_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	nbh_cleanup_close int ice = -1;
	gboolean is_new, cannot_make;
	int r;

	if (dir < 0) {
		r = -errno;
		nbh_why_set(why, "%s: %s", options->config_dir, g_strerror(-r));
		return r;
	}

	is_new = !mkdirat(dir, "ice", 0750);
	r = -errno;
	cannot_make = !is_new && r != -EEXIST;

	if (!cannot_make) {
		ice = openat(dir, "ice", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = -errno;
	}

	if (ice < 0) {
		nbh_why_set(why, "%s/ice: %s: make it, owned by the user of netbird-ice, mode 0750",
		            options->config_dir, g_strerror(-r));
		return r;
	}

	if (is_new && (fchmod(ice, 0750) || (geteuid() == 0 &&
	                                     fchown(ice, options->isolate.user, options->isolate.group)))) {
		r = -errno;
		nbh_why_set(why, "%s/ice: cannot hand it over: %s", options->config_dir, g_strerror(-r));
		return r;
	}

	*ret_fd = nbh_steal_fd(&ice);
	return 0;
}

/* dir: DIR/ice, or -1. */
static int report(const Options *options, int dir, int r, const struct nbh_why *why)
{
	const struct nbh_isolate_config *to = &options->isolate;

	nbh_log(NBH_LOG_ERROR, "ice", "stopped reason=\"%s\"", why->text);

	/* Root without CAP_DAC_OVERRIDE may not write there; it ends anyway. */
	if (dir >= 0 && (geteuid() != 0 || (!setgroups(0, NULL) && !setresgid(to->group, to->group, to->group) &&
	                                    !setresuid(to->user, to->user, to->user))))
		nbh_ending_say(dir, why->text);

	return r == -EPERM || r == -EACCES || r == -ENOSPC || r == -EUSERS ? EXIT_PERMISSION : 1;
}

static int note_ending(const Options *options)
{
	nbh_cleanup_close int dir = -1;
	struct nbh_why why = { "" };
	int r = open_directory(options, &dir, &why);

	if (!r)
		r = nbh_ending_note_from_environment(dir, &why);

	if (r)
		fprintf(stderr, "netbird-ice: --ended: %s\n", why.text);

	return r ? 1 : 0;
}

static int run(const Options *options)
{
	struct nbh_isolate_result isolated;
	nbh_cleanup_close int dir = -1, lock = -1;
	struct nbh_why why = { "" };
	int r = open_directory(options, &dir, &why);

	if (r)
		return report(options, -1, r, &why);

	r = nbh_isolate(&options->isolate, &isolated, &why);

	if (r)
		return report(options, dir, r, &why);

	if (fchdir(dir)) {
		r = -errno;
		nbh_why_set(&why, "%s/ice: %s", options->config_dir, g_strerror(-r));
		return report(options, dir, r, &why);
	}

	r = nbh_lock_take(dir, NBH_LOCK_ICE, &lock, &why);

	if (r)
		return report(options, r == -EBUSY ? -1 : dir, r, &why);

	nbh_ending_forget(dir);
	r = nbh_server_run(dir, &isolated, &why);
	nbh_rawsock_close(&isolated.sock);
	close(isolated.tun);
	return r == 1 ? report(options, dir, -EIO, &why) : r;
}

int main(int argc, char **argv)
{
	Options options = { .isolate = { .user = DEFAULT_UID, .group = DEFAULT_UID } };
	int r;

	nbh_log_init("netbird-ice");
	r = parse_options(argc, argv, &options);

	if (r >= 0)
		return r;

	if (options.has_user && geteuid() != 0) {
		fputs("netbird-ice: --user: only root can change the user\n", stderr);
		return EXIT_USAGE;
	}

	if (!options.has_user && !find_user(DEFAULT_USER, &options.isolate.user, &options.isolate.group))
		options.isolate.user = options.isolate.group = DEFAULT_UID;

	if (options.debug)
		nbh_log_set_level("debug");

	signal(SIGPIPE, SIG_IGN);
	umask(0077);
	return options.ended ? note_ending(&options) : run(&options);
}
