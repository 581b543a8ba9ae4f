#include "config.h"

#include "app/launch.h"

#include "base/configfile.h"
#include "base/limits.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define FD_DIR 3
#define FD_KEY 4
#define FD_FIRST_KEPT 10 /* ours stay above what children get */
#define ENVIRONMENT_MAX 256
#define TUN_DIR "/dev/net"
#define TUN_PATH TUN_DIR "/tun"
#define UAPI_DIR "/run/wireguard" /* compiled into wireguard-go */
#define EXIT_CANNOT_BECOME 126
#define EXIT_CANNOT_EXEC 127

static const char *const names[] = { "netbird-wg", "netbird-ice", "netbird-helper" };
_Static_assert(NBH_N_ELEMENTS(names) == NBH_LAUNCH_N_ROLES, "a name for each program");

/* All that netbird-wg and netbird-ice get of our environment: no NB_SETUP_KEY, no LD_PRELOAD. */
static const char *const passed_on[] = {
	"PATH=",         "LANG=",       "LC_ALL=",       "TZ=",           "JOURNAL_STREAM=",
	"NB_LOG_LEVEL=", "G_DEBUG=",    "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS=",
	"G_MESSAGES_DEBUG=",
};

const char *nbh_launch_name(enum nbh_launch_role role)
{
	return names[role];
}

struct nbh_identity nbh_launch_identity(const struct nbh_launch *launch, enum nbh_launch_role role)
{
	switch (role) {
	case NBH_LAUNCH_WG:
		return nbh_users_wg(&launch->users);
	case NBH_LAUNCH_ICE:
		return nbh_users_ice(&launch->users);
	case NBH_LAUNCH_HELPER:
	case NBH_LAUNCH_N_ROLES:
		break;
	}

	return nbh_users_helper(&launch->users);
}

static int keep_fd(int fd)
{
	int kept = fcntl(fd, F_DUPFD_CLOEXEC, FD_FIRST_KEPT);

	nbh_close_fd(&fd);
	return kept;
}

/* Ours is where the others are; a binary that was replaced while running ends in " (deleted)". */
static int find_program_dir(char *ret_dir, struct nbh_why *why)
{
	ssize_t n = readlink("/proc/self/exe", ret_dir, PATH_MAX - 1);
	char *slash;

	if (n < 0) {
		nbh_why_set(why, "/proc/self/exe: %s; is /proc mounted?", strerror(errno));
		return -errno;
	}

	ret_dir[n] = '\0';
	slash = strrchr(ret_dir, '/');

	if (slash)
		*slash = '\0';

	return 0;
}

/*
 * wireguard-go makes its socket there. Only what we make, what was ours by number, or root's while
 * it is empty (rmdir tells) goes to netbird-wg's user; another user's stays as it is.
 */
static void prepare_uapi_dir(const struct nbh_users *users)
{
	nbh_cleanup_close int fd = -1;
	struct stat st;
	bool is_ours;

	if (lstat(UAPI_DIR, &st) == 0 && st.st_uid == 0)
		(void)rmdir(UAPI_DIR);

	is_ours = mkdir(UAPI_DIR, 0755) == 0;
	fd = open(UAPI_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0 || (!is_ours && st.st_uid != NBH_UID_WG))
		return;

	if (fchown(fd, users->wg, users->netbird) < 0)
		nbh_log(NBH_LOG_WARN, "launcher", "cannot-give dir=%s: %m", UAPI_DIR);
}

static int open_key(const char *file, struct nbh_why *why)
{
	int fd = strcmp(file, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) :
					  open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r = -errno;

	if (fd >= 0)
		return fd;

	nbh_why_set(why, "setup key file %.80s: %s", file, strerror(-r));
	return r;
}

/* Root reads the file, which the helper's user often may not; the key stays out of every environment. */
static int copy_key(const char *file, int *ret_fd, struct nbh_why *why)
{
	char key[NBH_SETUPKEYFILE_MAX_BYTES + 1];
	nbh_cleanup_close int in = open_key(file, why);
	nbh_cleanup_close int out = -1;
	size_t len = 0;
	ssize_t n;
	int r = 0;

	if (in < 0)
		return in;

	while (len < sizeof(key) && (n = read(in, key + len, sizeof(key) - len)) > 0)
		len += (size_t)n;

	out = memfd_create("setup-key", MFD_CLOEXEC);

	if (len == sizeof(key)) {
		nbh_why_set(why, "setup key file %.80s: larger than %d bytes", file,
		            NBH_SETUPKEYFILE_MAX_BYTES);
		r = -EFBIG;
	} else if (out < 0 || write(out, key, len) != (ssize_t)len) {
		nbh_why_set(why, "setup key: cannot keep it: %s", strerror(errno));
		r = -EIO;
	}

	explicit_bzero(key, sizeof(key));

	if (r == 0)
		*ret_fd = keep_fd(nbh_steal_fd(&out));

	return r;
}

/* How each user gets to the directory. */
static void find_ways(struct nbh_launch *launch)
{
	/* No more than a place to start from: each user's own rights count from there. */
	nbh_close_fd(&launch->path_fd);
	launch->path_fd = keep_fd(openat(launch->dir.fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));

	for (int role = 0; role < NBH_LAUNCH_N_ROLES; role++) {
		struct nbh_identity identity = nbh_launch_identity(launch, (enum nbh_launch_role)role);

		launch->is_reachable[role] = nbh_confdir_is_reachable(&launch->dir, &identity);
	}
}

/* What netbird-ice will try (ice/isolate.c), tried by a process that ends at once. */
static bool can_make_namespaces(const struct nbh_launch *launch)
{
	struct nbh_identity ice = nbh_users_ice(&launch->users);
	pid_t pid = fork();
	int status = 1;

	if (pid == 0) {
		if (nbh_users_become(&ice, NULL) < 0)
			_exit(1);

		if (geteuid() == 0 && unshare(CLONE_NEWNET) == 0)
			_exit(0);

		_exit((geteuid() == 0 && setresuid(ice.uid, ice.uid, ice.uid) < 0) ||
		      unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0);
	}

	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;

	return pid > 0 && status == 0;
}

int nbh_launch_init(struct nbh_launch *launch, const char *config_dir, char *const *helper_args,
                    const char *setup_key_file, struct nbh_why *why)
{
	const char *key = setup_key_file ? setup_key_file : getenv("NB_SETUP_KEY_FILE");
	int r;

	*launch = (struct nbh_launch){ .path_fd = -1, .key_fd = -1, .helper_args = helper_args };
	launch->dir = (struct nbh_confdir){ .fd = -1, .wg_fd = -1, .ice_fd = -1 };
	nbh_users_find(&launch->users);
	r = find_program_dir(launch->program_dir, why);

	if (r == 0)
		r = nbh_confdir_prepare(config_dir, &launch->users, &launch->dir, why);

	if (r == 0 && key && key[0])
		r = copy_key(key, &launch->key_fd, why);

	if (r < 0) {
		nbh_launch_clear(launch);
		return r;
	}

	find_ways(launch);
	launch->needs_ice_tun = !can_make_namespaces(launch);
	prepare_uapi_dir(&launch->users);
	return 0;
}

int nbh_launch_enter_again(struct nbh_launch *launch, struct nbh_why *why)
{
	struct nbh_confdir dir;
	struct stat now, then;
	int r;

	if (stat(launch->dir.path, &now) < 0 || fstat(launch->dir.fd, &then) < 0 ||
	    (now.st_dev == then.st_dev && now.st_ino == then.st_ino))
		return 0;

	r = nbh_confdir_prepare(launch->dir.path, &launch->users, &dir, why);

	if (r < 0)
		return r;

	nbh_confdir_close(&launch->dir);
	launch->dir = dir;
	find_ways(launch);
	return 1;
}

void nbh_launch_clear(struct nbh_launch *launch)
{
	nbh_confdir_close(&launch->dir);
	nbh_close_fd(&launch->path_fd);
	nbh_close_fd(&launch->key_fd);
	launch->path_fd = launch->key_fd = -1;
}

/*
 * netbird-ice marks its sockets before it can ask anybody. config.json belongs to the helper's
 * user, so a process that is that user reads it: root parses nothing.
 */
static uint32_t read_fwmark(const struct nbh_launch *launch)
{
	struct nbh_identity helper = nbh_users_helper(&launch->users);
	struct nbh_config config;
	uint32_t fwmark = 0, got;
	int pipe_fds[2];
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return 0;

	pid = fork();

	if (pid == 0) {
		if (nbh_users_become(&helper, NULL) < 0 ||
		    nbh_configfile_read(launch->dir.fd, &config, NULL) < 0)
			_exit(1);

		_exit(write(pipe_fds[1], &config.fwmark, sizeof(config.fwmark)) < 0);
	}

	close(pipe_fds[1]);

	if (pid > 0 && read(pipe_fds[0], &got, sizeof(got)) == sizeof(got))
		fwmark = got;

	close(pipe_fds[0]);

	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;

	return fwmark;
}

/*
 * wireguard-go opens /dev/net/tun, which is root's alone where no udev made it 0666. netbird-wg then
 * gets a mount namespace of its own, the same as ours but for /dev/net: there the device belongs to
 * its user. (Handing over an open one would do as well, but versions of wireguard-go do not agree
 * about the packet header that it must have.) If it cannot be done, netbird-wg says what it misses.
 */
static void give_tun(const struct nbh_identity *wg)
{
	struct stat st;

	if (stat(TUN_PATH, &st) < 0 || !S_ISCHR(st.st_mode) || (st.st_mode & 0006) == 0006)
		return;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
	    mount("tmpfs", TUN_DIR, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k") < 0) {
		nbh_log(NBH_LOG_INFO, "launcher", "no-own-tun step=mount: %m");
		return;
	}

	if (mknod(TUN_PATH, S_IFCHR | 0600, st.st_rdev) < 0 || chown(TUN_PATH, wg->uid, wg->gid) < 0) {
		nbh_log(NBH_LOG_INFO, "launcher", "no-own-tun step=mknod: %m");
		(void)umount2(TUN_DIR, MNT_DETACH);
	}
}

struct command {
	const char *argv[NBH_LAUNCH_ARGS_MAX + 1];
	size_t n;
	char user[32], fwmark[16], ice_user[16];
};

static void add(struct command *command, const char *arg)
{
	if (command->n < NBH_LAUNCH_ARGS_MAX)
		command->argv[command->n++] = arg;
}

static void make_command(const struct nbh_launch *launch, enum nbh_launch_role role,
                         const struct nbh_identity *identity, struct command *command)
{
	uint32_t fwmark;

	add(command, names[role]);
	add(command, "--config-dir");
	add(command, launch->is_reachable[role] ? launch->dir.path : "/proc/self/fd/3");

	for (char *const *arg = launch->helper_args; role == NBH_LAUNCH_HELPER && arg && *arg; arg++)
		add(command, *arg);

	if (role != NBH_LAUNCH_HELPER && launch->debug)
		add(command, "--debug");

	if (role == NBH_LAUNCH_WG && launch->is_once)
		add(command, "--once");

	if (role == NBH_LAUNCH_WG && launch->needs_ice_tun) {
		snprintf(command->ice_user, sizeof(command->ice_user), "%u", (unsigned)launch->users.ice);
		add(command, "--ice-tun");
		add(command, command->ice_user);
	}

	if (role != NBH_LAUNCH_ICE)
		return;

	fwmark = read_fwmark(launch);

	if (fwmark) {
		snprintf(command->fwmark, sizeof(command->fwmark), "%u", (unsigned)fwmark);
		add(command, "--fwmark");
		add(command, command->fwmark);
	}

	if (identity->stay_root) {
		snprintf(command->user, sizeof(command->user), "%u:%u", (unsigned)identity->uid,
		         (unsigned)identity->gid);
		add(command, "--user");
		add(command, command->user);
	}
}

static bool is_passed_on(const char *variable, enum nbh_launch_role role)
{
	if (role == NBH_LAUNCH_HELPER)
		return strncmp(variable, "NB_SETUP_KEY_FILE=", 18) != 0;

	for (size_t i = 0; i < NBH_N_ELEMENTS(passed_on); i++) {
		if (strncmp(variable, passed_on[i], strlen(passed_on[i])) == 0)
			return true;
	}

	return false;
}

static void make_environment(const struct nbh_launch *launch, enum nbh_launch_role role,
                             const char *environment[ENVIRONMENT_MAX + 1])
{
	size_t n = 0;

	for (char **variable = environ; *variable && n < ENVIRONMENT_MAX - 1; variable++) {
		if (is_passed_on(*variable, role))
			environment[n++] = *variable;
	}

	if (role == NBH_LAUNCH_HELPER && launch->key_fd >= 0)
		environment[n++] = "NB_SETUP_KEY_FILE=/proc/self/fd/4";

	environment[n] = NULL;
}

static int give_fds(const struct nbh_launch *launch, enum nbh_launch_role role)
{
	int null = open("/dev/null", O_RDONLY);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		return -errno;

	if (null != STDIN_FILENO)
		close(null);

	if (!launch->is_reachable[role] && dup2(launch->path_fd, FD_DIR) < 0)
		return -errno;

	if (role == NBH_LAUNCH_HELPER && launch->key_fd >= 0 && dup2(launch->key_fd, FD_KEY) < 0)
		return -errno;

	return 0;
}

/* As root, because the user may not get to where it is; then only the file itself must let it in. */
static int open_program(const struct nbh_launch *launch, enum nbh_launch_role role, char *ret_path)
{
	const char *const dirs[] = { launch->program_dir, NBH_SBINDIR };

	for (size_t i = 0; i < NBH_N_ELEMENTS(dirs); i++) {
		int fd;

		if (snprintf(ret_path, PATH_MAX, "%s/%s", dirs[i], names[role]) >= PATH_MAX)
			continue;

		fd = open(ret_path, O_PATH | O_CLOEXEC);

		if (fd >= 0)
			return keep_fd(fd);
	}

	return -ENOENT;
}

static __attribute__((noreturn)) void run_child(const struct nbh_launch *launch,
                                                enum nbh_launch_role role,
                                                const struct nbh_identity *identity, int program,
                                                const char *path)
{
	const char *environment[ENVIRONMENT_MAX + 1];
	struct command command = { .n = 0 };
	struct nbh_why why = { "" };
	sigset_t none;
	int r;

	/* Before anything is dropped: the mark is read by a process of its own. */
	make_command(launch, role, identity, &command);
	make_environment(launch, role, environment);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A session of its own: what the terminal sends reaches the launcher, who passes it on. */
	setsid();
	r = give_fds(launch, role);

	if (role == NBH_LAUNCH_WG)
		give_tun(identity);

	if (r == 0)
		r = nbh_users_become(identity, &why);

	if (r < 0) {
		nbh_log(NBH_LOG_ERROR, "launcher", "cannot-start program=%s: %s", names[role],
		        why.text[0] ? why.text : strerror(-r));
		_exit(EXIT_CANNOT_BECOME);
	}

	/* By name first: ps shows the name then on every kernel. */
	execve(path, (char *const *)command.argv, (char *const *)environment);

	if (errno == EACCES)
		fexecve(program, (char *const *)command.argv, (char *const *)environment);

	nbh_log(NBH_LOG_ERROR, "launcher", "cannot-exec program=%s: %m", path);
	_exit(EXIT_CANNOT_EXEC);
}

pid_t nbh_launch_start(const struct nbh_launch *launch, enum nbh_launch_role role, struct nbh_why *why)
{
	struct nbh_identity identity = nbh_launch_identity(launch, role);
	char path[PATH_MAX] = "";
	nbh_cleanup_close int program = open_program(launch, role, path);
	pid_t pid;

	if (program < 0) {
		nbh_why_set(why, "%s: neither beside netbird-helper nor in %s", names[role], NBH_SBINDIR);
		return -ENOENT;
	}

	pid = fork();

	if (pid == 0)
		run_child(launch, role, &identity, program, path);

	if (pid < 0) {
		pid = -errno;
		nbh_why_set(why, "%s: cannot fork: %s", names[role], strerror(-pid));
	}

	return pid;
}
