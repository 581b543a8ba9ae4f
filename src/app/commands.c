#include "config.h"

#include "app/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/cache.h"
#include "app/confdir.h"
#include "app/engine.h"
#include "app/launcher.h"
#include "app/oneshot.h"
#include "app/status.h"
#include "base/confine.h"
#include "base/devicefile.h"
#include "base/key.h"
#include "base/lock.h"
#include "base/log.h"

#define FOLLOWS_WITHIN_US (3 * G_USEC_PER_SEC)
#define LOOK_EVERY_US (20 * 1000)

static int fail(int code, const char *what)
{
	fprintf(stderr, "netbird-helper: %s\n", what);
	return code;
}

static int code_of(int r)
{
	return r == -EACCES || r == -EPERM ? NBH_EXIT_PERMISSION : NBH_EXIT_CONFIG;
}

static int open_dir(const char *dir, gboolean create, int *ret_dirfd)
{
	static const char as_root[] = "; run this as root";
	int fd;

	if (create && mkdir(dir, 0751) < 0 && errno != EEXIST) {
		fprintf(stderr, "netbird-helper: cannot make %s: %s%s\n", dir, g_strerror(errno),
		        errno == EACCES ? as_root : "");
		return errno == EACCES ? NBH_EXIT_PERMISSION : NBH_EXIT_CONFIG;
	}

	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "netbird-helper: %s: %s%s\n", dir, g_strerror(errno), errno == EACCES ? as_root : "");
		return errno == EACCES ? NBH_EXIT_PERMISSION : NBH_EXIT_CONFIG;
	}

	*ret_dirfd = fd;
	return -1;
}

/*
 * As root: the directory is made or repaired and we become the helper's user for good, before
 * anything in it is read. ret_options names the directory as that user reaches it.
 */
static int leave_root(const NbhOptions *options, char path[PATH_MAX], NbhOptions *ret_options)
{
	struct nbh_why why = { "" };
	int r;

	*ret_options = *options;

	if (geteuid() != 0)
		return -1;

	r = nbh_confdir_become_helper(options->config_dir, path, &why);

	if (r < 0)
		return fail(code_of(r), why.text);

	ret_options->config_dir = path;
	return -1;
}

static gboolean take_option(const char *option, const char *value, char *ret, gsize size)
{
	if (!value || g_strlcpy(ret, value, size) < size)
		return TRUE;

	fprintf(stderr, "netbird-helper: %s: longer than %zu characters\n", option, size - 1);
	return FALSE;
}

/* config.json, then the environment, then the command line. */
static int load_config(const NbhOptions *options, int dirfd, struct nbh_config *ret_config)
{
	struct nbh_why why = { "" };
	int r = nbh_configfile_read(dirfd, ret_config, &why);

	if (r == -ENOENT)
		nbh_config_defaults(ret_config);
	else if (r < 0)
		return fail(code_of(r), why.text);

	if (ret_config->log_level[0])
		nbh_log_set_level(ret_config->log_level);

	if (nbh_options_environment(ret_config, &why) < 0)
		return fail(NBH_EXIT_CONFIG, why.text);

	if (!take_option("--management-url", options->management_url, ret_config->management_url,
	                 sizeof(ret_config->management_url)) ||
	    !take_option("--hostname", options->hostname, ret_config->hostname, sizeof(ret_config->hostname)) ||
	    !take_option("--ca-file", options->ca_file, ret_config->ca_file, sizeof(ret_config->ca_file)))
		return NBH_EXIT_CONFIG;

	if (nbh_configfile_check(ret_config, &why) < 0) {
		fprintf(stderr, "netbird-helper: the settings cannot be used (options and NB_ variables go before "
		                "config.json): %s\n", why.text);
		return NBH_EXIT_CONFIG;
	}

	if (ret_config->management_url[0])
		return -1;

	fprintf(stderr, "netbird-helper: no management URL is known for %s; run: netbird-helper login --config-dir %s "
	                "--management-url URL --setup-key-file FILE\n",
	        options->config_dir, options->config_dir);
	return NBH_EXIT_CONFIG;
}

static gboolean is_running(int dirfd)
{
	return nbh_lock_holder(dirfd, NBH_LOCK_HELPER) != 0;
}

static int save_config(int dirfd, const struct nbh_config *config)
{
	struct nbh_why why = { "" };
	struct nbh_config old;
	int r = nbh_configfile_read(dirfd, &old, &why);

	if (r == 0 && memcmp(&old, config, sizeof(old)) == 0)
		return -1;

	r = nbh_configfile_write(dirfd, config, &why);

	if (r < 0)
		return fail(code_of(r), why.text);

	if (is_running(dirfd))
		fprintf(stderr, "netbird-helper: config.json is changed; the netbird-helper that runs keeps the old "
		                "settings until it gets SIGHUP (systemctl reload netbird-helper)\n");

	return -1;
}

static int load_key(int dirfd, gboolean create, struct nbh_key *ret_key)
{
	struct nbh_why why = { "" };
	int r = nbh_keyfile_read(dirfd, "private.key", ret_key, &why);

	if (r == -ENOENT && create) {
		nbh_key_generate_private(ret_key);
		r = nbh_keyfile_create(dirfd, "private.key", ret_key, &why);
	}

	if (r == -ENOENT)
		return fail(NBH_EXIT_CONFIG, "private.key: not there; this host has not logged in");

	return r < 0 ? fail(code_of(r), why.text) : -1;
}

static void wipe(char *secret)
{
	if (!secret)
		return;

	explicit_bzero(secret, strlen(secret));
	g_free(secret);
}

/*
 * Before the first server is spoken to, as the user that stays. What somebody gave us by a unit or
 * by hand goes as well: this program never has a capability.
 */
static int confine(void)
{
	struct nbh_why why = { "" };
	int r = nbh_confine_drop_caps(&why);

	nbh_confine_memory(); /* the kernel allowed dumps again when the user changed */

	if (r == 0)
		r = nbh_confine_filter(0, &why);

	if (r == -ENOTSUP)
		nbh_log(NBH_LOG_WARN, "app", "not-filtered: %s", why.text);
	else if (r < 0)
		return fail(NBH_EXIT_PERMISSION, why.text);

	return -1;
}

static int run_engine(const NbhOptions *options, const struct nbh_config *config, char *setup_key)
{
	NbhEngineOptions engine = { .dir = options->config_dir, .config = *config, .setup_key = setup_key };
	int r = confine();

	if (r < 0)
		return nbh_engine_run(&engine);

	wipe(setup_key);
	return r;
}

static int do_login(const NbhOptions *options, int dirfd, struct nbh_config *config, const char *setup_key)
{
	struct nbh_key key;
	int r = confine();

	if (r < 0)
		r = load_config(options, dirfd, config);

	if (r < 0)
		r = load_key(dirfd, TRUE, &key);

	if (r >= 0)
		return r;

	/* One that runs keeps its own. */
	r = nbh_oneshot_login(is_running(dirfd) ? -1 : dirfd, config, &key, setup_key);
	nbh_key_wipe(&key);

	if (r != NBH_EXIT_OK)
		return r; /* what was there still works */

	r = save_config(dirfd, config);
	return r < 0 ? NBH_EXIT_OK : r;
}

int nbh_command_login(const NbhOptions *options)
{
	nbh_cleanup_close int dirfd = -1;
	struct nbh_why why = { "" };
	struct nbh_config config;
	char *setup_key = NULL;
	char path[PATH_MAX];
	NbhOptions own;
	int r = nbh_options_setup_key(options->setup_key_file, &setup_key, &why);

	if (r < 0)
		return fail(code_of(r), why.text);

	r = leave_root(options, path, &own);

	if (r < 0)
		r = open_dir(own.config_dir, TRUE, &dirfd);

	if (r < 0)
		r = do_login(&own, dirfd, &config, setup_key);

	wipe(setup_key);
	return r;
}

static int launch(const NbhOptions *options, const char *command)
{
	const char *args[10] = { command }, *again[] = { "run", options->debug ? "--debug" : NULL, options->debug, NULL };
	gsize n = 1;
	struct nbh_launcher_options launcher = { .config_dir = options->config_dir,
		                                 .setup_key_file = options->setup_key_file,
		                                 .debug = options->debug != NULL };

	if (options->management_url) {
		args[n++] = "--management-url";
		args[n++] = options->management_url;
	}

	if (options->ca_file) {
		args[n++] = "--ca-file";
		args[n++] = options->ca_file;
	}

	if (options->hostname) {
		args[n++] = "--hostname";
		args[n++] = options->hostname;
	}

	if (options->debug) {
		args[n++] = "--debug";
		args[n++] = options->debug;
	}

	args[n] = NULL;
	launcher.helper_args = (char *const *)args;
	launcher.helper_args_again = (char *const *)again;
	return nbh_launcher_run(&launcher);
}

int nbh_command_run(const NbhOptions *options)
{
	nbh_cleanup_close int dirfd = -1;
	struct nbh_why why = { "" };
	struct nbh_config config;
	char *setup_key = NULL;
	int r;

	if (geteuid() == 0)
		return launch(options, "run");

	r = nbh_options_setup_key(NULL, &setup_key, &why);

	if (r < 0)
		return fail(code_of(r), why.text);

	r = open_dir(options->config_dir, FALSE, &dirfd);

	if (r < 0)
		r = load_config(options, dirfd, &config);

	if (r < 0)
		r = save_config(dirfd, &config);

	if (r >= 0) {
		wipe(setup_key);
		return r;
	}

	return run_engine(options, &config, setup_key);
}

/* What comes after down and up is about what they did: wait until it runs that way, within limits. */
static int wait_running(int dirfd, gboolean idle)
{
	const gint64 deadline_us = g_get_monotonic_time() + FOLLOWS_WITHIN_US;

	while (is_running(dirfd) && nbh_status_is_idle(dirfd) != idle) {
		if (g_get_monotonic_time() > deadline_us) {
			fprintf(stderr, "netbird-helper: the running one does not %s; see its log\n",
			        idle ? "go down" : "come up");
			return NBH_EXIT_FAILURE;
		}

		g_usleep(LOOK_EVERY_US);
	}

	return NBH_EXIT_OK;
}

/* Somebody runs on the directory already: log in for it and take the marker away. */
static int wake(const NbhOptions *options, int dirfd)
{
	int r = nbh_command_login(options);

	if (r != NBH_EXIT_OK)
		return r;

	if (unlinkat(dirfd, NBH_DOWN_NAME, 0) == 0 || errno == ENOENT)
		return wait_running(dirfd, FALSE);

	fprintf(stderr, "netbird-helper: %s/%s: %s\n", options->config_dir, NBH_DOWN_NAME, g_strerror(errno));
	return NBH_EXIT_PERMISSION;
}

int nbh_command_up(const NbhOptions *options)
{
	nbh_cleanup_close int dirfd = open(options->config_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct nbh_why why = { "" };
	struct nbh_config config;
	char *setup_key = NULL;
	int r;

	if (dirfd >= 0 && is_running(dirfd))
		return wake(options, dirfd);

	if (dirfd >= 0)
		unlinkat(dirfd, NBH_DOWN_NAME, 0);

	if (geteuid() == 0)
		return launch(options, "up");

	r = nbh_options_setup_key(options->setup_key_file, &setup_key, &why);

	if (r < 0)
		return fail(code_of(r), why.text);

	if (dirfd < 0)
		r = open_dir(options->config_dir, TRUE, &dirfd);
	else
		r = -1;

	if (r < 0)
		r = load_config(options, dirfd, &config);

	if (r < 0)
		r = save_config(dirfd, &config);

	if (r >= 0) {
		wipe(setup_key);
		return r;
	}

	return run_engine(options, &config, setup_key);
}

/* The marker first: whoever runs sees it; what follows is for when nobody does. */
static int go_down(const NbhOptions *options, int dirfd)
{
	/* Never written to; a FIFO in its place must not hold us up. */
	int fd = openat(dirfd, NBH_DOWN_NAME, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);

	if (fd < 0) {
		gboolean is_other = errno == ELOOP || errno == EISDIR || errno == ENXIO;

		fprintf(stderr, "netbird-helper: %s/%s: %s\n", options->config_dir, NBH_DOWN_NAME,
		        is_other ? "not a regular file; remove it" : g_strerror(errno));
		return errno == EACCES ? NBH_EXIT_PERMISSION : NBH_EXIT_FAILURE;
	}

	close(fd);

	if (is_running(dirfd))
		return wait_running(dirfd, TRUE);

	nbh_oneshot_close_sessions(options->config_dir);

	if (unlinkat(dirfd, NBH_DEVICEFILE_NAME, 0) < 0 && errno != ENOENT) {
		fprintf(stderr, "netbird-helper: %s/%s: %s\n", options->config_dir, NBH_DEVICEFILE_NAME,
		        g_strerror(errno));
		return NBH_EXIT_FAILURE;
	}

	return NBH_EXIT_OK;
}

static int down(const NbhOptions *options)
{
	nbh_cleanup_close int dirfd = -1;
	char path[PATH_MAX];
	NbhOptions own;
	int r = leave_root(options, path, &own);

	if (r < 0)
		r = open_dir(own.config_dir, FALSE, &dirfd);

	return r < 0 ? go_down(&own, dirfd) : r;
}

static int logout(const NbhOptions *options)
{
	nbh_cleanup_close int dirfd = -1;
	struct nbh_config config;
	struct nbh_key key;
	char path[PATH_MAX];
	NbhOptions own;
	int r = leave_root(options, path, &own);

	if (r < 0)
		r = confine();

	if (r < 0)
		r = open_dir(own.config_dir, FALSE, &dirfd);

	if (r < 0)
		r = load_config(&own, dirfd, &config);

	if (r < 0)
		r = load_key(dirfd, FALSE, &key);

	if (r >= 0)
		return r;

	r = nbh_oneshot_logout(&config, &key);
	nbh_key_wipe(&key);

	if (r == NBH_EXIT_OK)
		r = go_down(&own, dirfd);

	/* The next registration is another peer with another address. */
	if (r == NBH_EXIT_OK && unlinkat(dirfd, NBH_CACHE_NAME, 0) < 0 && errno != ENOENT) {
		fprintf(stderr, "netbird-helper: %s/%s: %s\n", own.config_dir, NBH_CACHE_NAME, g_strerror(errno));
		r = NBH_EXIT_FAILURE;
	}

	return r;
}

/*
 * What takes the interface away. Without a netbird-wg that runs, root starts one for that; so the
 * command itself, which leaves root for good, runs in a child.
 */
static int run_and_apply(const NbhOptions *options, int (*command)(const NbhOptions *options))
{
	int dirfd, r, status = 0;
	pid_t pid;

	/* Not made by a mistyped name. */
	if (access(options->config_dir, F_OK) < 0)
		return open_dir(options->config_dir, FALSE, &dirfd);

	if (geteuid() != 0)
		return command(options);

	pid = fork();

	if (pid == 0) {
		r = command(options);
		fflush(NULL);
		_exit(r);
	}

	if (pid < 0)
		return fail(NBH_EXIT_FAILURE, g_strerror(errno));

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;

	if (!WIFEXITED(status) || WEXITSTATUS(status) != NBH_EXIT_OK)
		return WIFEXITED(status) ? WEXITSTATUS(status) : NBH_EXIT_FAILURE;

	return nbh_launcher_apply_once(options->config_dir);
}

int nbh_command_down(const NbhOptions *options)
{
	return run_and_apply(options, down);
}

int nbh_command_logout(const NbhOptions *options)
{
	return run_and_apply(options, logout);
}
