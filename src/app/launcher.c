#include "config.h"

#include "app/launcher.h"

#include "app/launch.h"
#include "base/ending.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/mono.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>

#define DELAY_MIN_MS 200
#define DELAY_MAX_MS 5000
#define QUICK_MS 10000       /* who ends sooner is started more slowly */
#define LOOK_AGAIN_MS 2000   /* somebody else's program is gone or cannot be watched */
#define STOP_TIMEOUT_MS 8000 /* then SIGKILL */

enum state {
	WAITING, /* not running; start_at says when */
	RUNNING, /* our child, or one that we took over (pidfd) */
	FOREIGN, /* left alone */
};

struct child {
	enum nbh_launch_role role;
	enum state state;
	pid_t pid;
	int pidfd; /* owned; -1 for our own children, which SIGCHLD reports */
	nbh_mono started, start_at;
	unsigned delay_ms, n_quick;
};

struct launcher {
	struct nbh_launch launch;
	struct child children[NBH_LAUNCH_N_ROLES];
	int signal_fd, lock_fd; /* owned */
	int parent_fd;          /* owned; inotify: the directory may be made again there */
	char *const *helper_args_again; /* borrowed */
	bool has_terminal; /* whose end SIGHUP would tell */
	bool is_stopping, was_killed;
	nbh_mono kill_at;
	int code;
};

static const char *name_of(const struct child *child)
{
	return nbh_launch_name(child->role);
}

static pid_t lock_holder(const struct launcher *launcher, enum nbh_launch_role role)
{
	switch (role) {
	case NBH_LAUNCH_WG:
		return nbh_lock_holder(launcher->launch.dir.wg_fd, NBH_LOCK_WG);
	case NBH_LAUNCH_ICE:
		return nbh_lock_holder(launcher->launch.dir.ice_fd, NBH_LOCK_ICE);
	case NBH_LAUNCH_HELPER:
	case NBH_LAUNCH_N_ROLES:
		break;
	}

	return nbh_lock_holder(launcher->launch.dir.fd, NBH_LOCK_HELPER);
}

/* The beginning of /proc/PID/NAME, "" if it cannot be read. */
static void read_proc(pid_t pid, const char *name, char *buf, size_t size)
{
	nbh_cleanup_close int fd = -1;
	char path[64];
	ssize_t n = -1;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		n = read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
}

/* The real user, in our user namespace. The lock file alone proves nothing: its owner wrote it. */
static bool has_uid(pid_t pid, uid_t uid)
{
	char text[2048];
	const char *line;
	unsigned real;

	read_proc(pid, "status", text, sizeof(text));
	line = strstr(text, "\nUid:");
	return line && sscanf(line, "\nUid: %u", &real) == 1 && real == uid;
}

/* In a unit of that name, and not in the launcher's own: somebody else starts and ends it. */
static bool is_unit(pid_t pid, const char *name)
{
	char text[1024], own[1024], *line, *rest = text;
	const char *last;

	read_proc(pid, "cgroup", text, sizeof(text));
	read_proc(getpid(), "cgroup", own, sizeof(own));

	if (strcmp(text, own) == 0)
		return false;

	while ((line = strsep(&rest, "\n"))) {
		size_t len = strlen(line);

		last = strrchr(line, '/');

		if (last && strncmp(last + 1, name, strlen(name)) == 0 && len > 8 &&
		    strcmp(line + len - 8, ".service") == 0)
			return true;
	}

	return false;
}

static void start_later(struct child *child, int64_t delay_ms)
{
	nbh_close_fd(&child->pidfd);
	child->pidfd = -1;
	child->pid = 0;
	child->state = WAITING;
	child->start_at = nbh_mono_add_ms(nbh_mono_now(), delay_ms);
}

/* Holder runs on our directory: take it over or leave it alone. */
static void meet_holder(struct launcher *launcher, struct child *child, pid_t holder)
{
	struct nbh_identity identity = nbh_launch_identity(&launcher->launch, child->role);
	int pidfd = (int)syscall(SYS_pidfd_open, holder, 0);
	bool is_left_alone;

	/* After pidfd_open() it is still the same process, or there is none any more. */
	if (pidfd < 0 || lock_holder(launcher, child->role) != holder) {
		nbh_close_fd(&pidfd);
		start_later(child, DELAY_MIN_MS);
		return;
	}

	is_left_alone = is_unit(holder, name_of(child)) || !has_uid(holder, identity.uid);
	fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	child->state = is_left_alone ? FOREIGN : RUNNING;
	child->pid = holder;
	child->pidfd = pidfd;
	child->started = nbh_mono_now();
	nbh_log(NBH_LOG_NOTICE, "launcher", "%s program=%s pid=%d",
	        is_left_alone ? "left-alone" : "taken-over", name_of(child), (int)holder);
}

static void start(struct launcher *launcher, struct child *child)
{
	struct nbh_why why = { "" };
	pid_t holder = lock_holder(launcher, child->role);
	pid_t pid;

	if (holder > 0) {
		meet_holder(launcher, child, holder);
		return;
	}

	if (holder == -EAGAIN) {
		start_later(child, DELAY_MIN_MS);
		return;
	}

	pid = nbh_launch_start(&launcher->launch, child->role, &why);

	if (pid < 0) {
		child->n_quick++;

		if (nbh_log_worth(child->n_quick))
			nbh_log(NBH_LOG_ERROR, "launcher", "cannot-start program=%s: %s", name_of(child),
			        why.text);

		start_later(child, DELAY_MAX_MS);
		return;
	}

	/* `up` undoes an earlier `down` once: a later one must survive a restart. */
	if (child->role == NBH_LAUNCH_HELPER && launcher->helper_args_again)
		launcher->launch.helper_args = launcher->helper_args_again;

	child->state = RUNNING;
	child->pid = pid;
	child->started = nbh_mono_now();
	nbh_log(NBH_LOG_INFO, "launcher", "started program=%s pid=%d", name_of(child), (int)pid);
}

static void send_signal(const struct child *child, int number)
{
	/* A child of ours that ended is still a zombie here, so its number is nobody else's. */
	if (child->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, child->pidfd, number, NULL, 0);
	else
		kill(child->pid, number);
}

static void stop(struct launcher *launcher, int code)
{
	if (launcher->is_stopping)
		return;

	launcher->is_stopping = true;
	launcher->code = code;
	launcher->kill_at = nbh_mono_add_ms(nbh_mono_now(), STOP_TIMEOUT_MS);

	for (int i = 0; i < NBH_LAUNCH_N_ROLES; i++) {
		if (launcher->children[i].state == RUNNING)
			send_signal(&launcher->children[i], SIGTERM);
	}
}

static bool is_final(const struct child *child, int code)
{
	return child->role == NBH_LAUNCH_HELPER &&
	       (code == 2 || code == EX_UNAVAILABLE || code == EX_NOPERM || code == EX_CONFIG);
}

/* How long to wait before the next start. */
static int64_t next_delay(struct child *child, int code)
{
	int64_t lived_ms = nbh_mono_diff_ms(nbh_mono_now(), child->started);

	if (lived_ms >= QUICK_MS) {
		child->delay_ms = 0;
		child->n_quick = 0;
	}

	if (child->role == NBH_LAUNCH_ICE && code == EX_TEMPFAIL && lived_ms >= DELAY_MIN_MS)
		return 0;

	child->n_quick++;
	child->delay_ms = child->delay_ms ? 2 * child->delay_ms : DELAY_MIN_MS;

	if (child->delay_ms > DELAY_MAX_MS)
		child->delay_ms = DELAY_MAX_MS;

	return child->delay_ms;
}

/* For `status`, as the program's user: root writes nothing into a directory of somebody else. */
static void note_ending(const struct launcher *launcher, const struct child *child, int status)
{
	struct nbh_identity identity = nbh_launch_identity(&launcher->launch, child->role);
	const struct nbh_confdir *dir = &launcher->launch.dir;

	if (child->role == NBH_LAUNCH_HELPER || fork() != 0)
		return; /* it is reaped as a stranger */

	identity.caps = 0;
	identity.stay_root = false;

	if (nbh_users_become(&identity, NULL) == 0)
		nbh_ending_note(child->role == NBH_LAUNCH_WG ? dir->wg_fd : dir->ice_fd, status);

	_exit(0);
}

/* status is waitpid's; NULL for a process that is not our child. */
static void on_ended(struct launcher *launcher, struct child *child, const int *status)
{
	int code = status && WIFEXITED(*status) ? WEXITSTATUS(*status) : -1;
	int number = status && WIFSIGNALED(*status) ? WTERMSIG(*status) : 0;
	int dumped = number && WCOREDUMP(*status);
	bool was_foreign = child->state == FOREIGN;
	int64_t delay_ms;

	if (launcher->is_stopping || was_foreign) {
		start_later(child, LOOK_AGAIN_MS);
		return;
	}

	if (is_final(child, code)) {
		nbh_log(NBH_LOG_ERROR, "launcher", "ended program=%s code=%d; not started again",
		        name_of(child), code);
		start_later(child, 0);
		stop(launcher, code);
		return;
	}

	delay_ms = next_delay(child, code);

	if (status && delay_ms > 0)
		note_ending(launcher, child, *status);

	if (child->n_quick == 0 || nbh_log_worth(child->n_quick))
		nbh_log(NBH_LOG_WARN, "launcher", "ended program=%s pid=%d code=%d signal=%d core=%d restart_ms=%d",
		        name_of(child), (int)child->pid, code, number, dumped, (int)delay_ms);

	start_later(child, delay_ms);
}

/* As process 1 of a container we inherit strangers: they are reaped, too. */
static void reap(struct launcher *launcher)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < NBH_LAUNCH_N_ROLES; i++) {
			struct child *child = &launcher->children[i];

			if (child->pid == pid && child->pidfd < 0 && child->state == RUNNING)
				on_ended(launcher, child, &status);
		}
	}
}

static void pass_hangup_on(struct launcher *launcher)
{
	struct child *helper = &launcher->children[NBH_LAUNCH_HELPER];

	/* One that is being started reads config.json anyway. */
	if (helper->state == RUNNING && !launcher->is_stopping)
		send_signal(helper, SIGHUP);
}

static void on_signal(struct launcher *launcher)
{
	struct signalfd_siginfo info;

	while (read(launcher->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD) {
			reap(launcher);
		} else if (info.ssi_signo == SIGHUP && !launcher->has_terminal) {
			pass_hangup_on(launcher);
		} else {
			nbh_log(NBH_LOG_NOTICE, "launcher", "stopping signal=%u", info.ssi_signo);
			stop(launcher, 0);
		}
	}
}

static bool is_any_running(const struct launcher *launcher)
{
	for (int i = 0; i < NBH_LAUNCH_N_ROLES; i++) {
		if (launcher->children[i].state == RUNNING)
			return true;
	}

	return false;
}

/* Starts what is due, kills what does not end. Returns how long poll() may wait, -1 for ever. */
static int do_what_is_due(struct launcher *launcher)
{
	nbh_mono now = nbh_mono_now(), next = NBH_MONO_NEVER;

	for (int i = 0; i < NBH_LAUNCH_N_ROLES; i++) {
		struct child *child = &launcher->children[i];

		if (launcher->is_stopping || child->state != WAITING)
			continue;

		if (!nbh_mono_before(now, child->start_at))
			start(launcher, child);

		if (child->state == WAITING && nbh_mono_before(child->start_at, next))
			next = child->start_at;
	}

	if (launcher->is_stopping && !launcher->was_killed)
		next = launcher->kill_at;

	if (launcher->is_stopping && !launcher->was_killed && !nbh_mono_before(now, launcher->kill_at)) {
		launcher->was_killed = true;

		for (int i = 0; i < NBH_LAUNCH_N_ROLES; i++) {
			if (launcher->children[i].state == RUNNING) {
				nbh_log(NBH_LOG_WARN, "launcher", "killed program=%s",
				        name_of(&launcher->children[i]));
				send_signal(&launcher->children[i], SIGKILL);
			}
		}

		return -1;
	}

	if (next.usec == NBH_MONO_NEVER.usec)
		return -1;

	/* Rounded up, so that it is due when we wake. */
	now = nbh_mono_now();
	return nbh_mono_before(now, next) ? (int)nbh_mono_diff_ms(next, now) + 1 : 0;
}

/* A watch that cannot be had costs only this: a directory that is made again is not ours at once. */
static void watch_parent(struct launcher *launcher)
{
	char parent[PATH_MAX], *slash;

	snprintf(parent, sizeof(parent), "%s", launcher->launch.dir.path);
	slash = strrchr(parent, '/');

	if (!slash)
		return;

	slash[1] = '\0';
	launcher->parent_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (launcher->parent_fd >= 0)
		(void)inotify_add_watch(launcher->parent_fd, parent, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

/* Removed and made again: the helper brings its files back, netbird-ice needs a new socket. */
static void on_parent(struct launcher *launcher)
{
	struct child *ice = &launcher->children[NBH_LAUNCH_ICE];
	struct nbh_why why = { "" };
	char buf[4096];
	int lock_fd = -1, r;

	while (read(launcher->parent_fd, buf, sizeof(buf)) > 0)
		;

	r = nbh_launch_enter_again(&launcher->launch, &why);

	if (r == 0)
		return;

	if (r > 0)
		r = nbh_lock_take(launcher->launch.dir.fd, NBH_LOCK_LAUNCHER, &lock_fd, &why);

	if (r < 0) {
		nbh_log(NBH_LOG_ERROR, "launcher", "config-dir-replaced: %s", why.text);
		return;
	}

	nbh_log(NBH_LOG_NOTICE, "launcher", "config-dir-replaced dir=%s", launcher->launch.dir.path);
	nbh_close_fd(&launcher->lock_fd);
	launcher->lock_fd = lock_fd;

	if (ice->state == RUNNING)
		send_signal(ice, SIGTERM);
}

static void turn(struct launcher *launcher, int timeout_ms)
{
	enum { ON_SIGNAL, ON_CHILD, ON_PARENT = ON_CHILD + NBH_LAUNCH_N_ROLES, N_FDS };
	struct pollfd fds[N_FDS] = {
		[ON_SIGNAL] = { .fd = launcher->signal_fd, .events = POLLIN },
		[ON_PARENT] = { .fd = launcher->parent_fd, .events = POLLIN },
	};

	/* poll() passes over those that are -1. */
	for (int i = 0; i < NBH_LAUNCH_N_ROLES; i++)
		fds[ON_CHILD + i] = (struct pollfd){ .fd = launcher->children[i].pidfd, .events = POLLIN };

	if (poll(fds, NBH_N_ELEMENTS(fds), timeout_ms) <= 0)
		return;

	for (int i = 0; i < NBH_LAUNCH_N_ROLES; i++) {
		if (fds[ON_CHILD + i].revents) {
			/* If it is our child after all (we are process 1), reap() takes the zombie. */
			on_ended(launcher, &launcher->children[i], NULL);
		}
	}

	if (fds[ON_SIGNAL].revents)
		on_signal(launcher);

	if (fds[ON_PARENT].revents && !launcher->is_stopping)
		on_parent(launcher);
}

/* As nohup(1) leaves it, SIGHUP is no end. */
static bool has_terminal(void)
{
	nbh_cleanup_close int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
	struct sigaction hangup;

	return fd >= 0 && sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);

	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;

	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int run_loop(struct launcher *launcher)
{
	for (int i = 0; i < NBH_LAUNCH_N_ROLES; i++) {
		launcher->children[i] = (struct child){ .role = (enum nbh_launch_role)i, .pidfd = -1 };
		start_later(&launcher->children[i], 0);
	}

	for (;;) {
		int timeout_ms = do_what_is_due(launcher);

		if (launcher->is_stopping && !is_any_running(launcher))
			return launcher->code;

		turn(launcher, timeout_ms);
	}
}

static void say_users(const struct nbh_launch *launch)
{
	const struct nbh_users *users = &launch->users;

	nbh_log(NBH_LOG_INFO, "launcher", "users helper=%u ice=%u wg=%u netbird=%u%s", (unsigned)users->helper,
	        (unsigned)users->ice, (unsigned)users->wg, (unsigned)users->netbird,
	        users->by_number ? " (by number: there is no such user or group; see sysusers.d)" : "");
}

/* Root of a container that gives less than docker does: what then fails should not be a riddle. */
static void say_missing_caps(void)
{
	static const struct {
		unsigned cap;
		const char *name;
	} needed[] = {
		{ CAP_CHOWN, " CAP_CHOWN" },   { CAP_DAC_OVERRIDE, " CAP_DAC_OVERRIDE" },
		{ CAP_FOWNER, " CAP_FOWNER" }, { CAP_KILL, " CAP_KILL" },
		{ CAP_SETUID, " CAP_SETUID" }, { CAP_SETGID, " CAP_SETGID" }, { CAP_SETPCAP, " CAP_SETPCAP" },
		{ CAP_NET_ADMIN, " CAP_NET_ADMIN" }, { CAP_NET_RAW, " CAP_NET_RAW" },
	};
	uint32_t caps = nbh_users_own_caps();
	char missing[160] = "";
	size_t len = 0;

	for (size_t i = 0; i < NBH_N_ELEMENTS(needed); i++) {
		if (!(caps & (UINT32_C(1) << needed[i].cap)))
			len += (size_t)snprintf(missing + len, sizeof(missing) - len, "%s", needed[i].name);
	}

	if (missing[0])
		nbh_log(NBH_LOG_WARN, "launcher", "root lacks%s; not all of it will work", missing);
}

int nbh_launcher_run(const struct nbh_launcher_options *options)
{
	struct launcher launcher = { .signal_fd = -1,
		                     .lock_fd = -1,
		                     .parent_fd = -1,
		                     .has_terminal = has_terminal(),
		                     .helper_args_again = options->helper_args_again };
	struct nbh_why why = { "" };
	int code = EX_CONFIG, r;

	say_missing_caps();
	r = nbh_launch_init(&launcher.launch, options->config_dir, options->helper_args,
	                    options->setup_key_file, &why);

	if (r < 0) {
		nbh_log(NBH_LOG_ERROR, "launcher", "cannot-run: %s", why.text);
		return r == -EPERM || r == -EACCES ? EX_NOPERM : EX_CONFIG;
	}

	launcher.launch.debug = options->debug;
	r = nbh_lock_take(launcher.launch.dir.fd, NBH_LOCK_LAUNCHER, &launcher.lock_fd, &why);
	launcher.signal_fd = r < 0 ? -1 : open_signals();

	if (launcher.signal_fd < 0) {
		nbh_log(NBH_LOG_ERROR, "launcher", "cannot-run dir=%s: %s", launcher.launch.dir.path,
		        r < 0 ? why.text : strerror(errno));
		code = EXIT_FAILURE;
	} else {
		say_users(&launcher.launch);
		watch_parent(&launcher);
		code = run_loop(&launcher);
	}

	for (int i = 0; i < NBH_LAUNCH_N_ROLES && launcher.signal_fd >= 0; i++)
		nbh_close_fd(&launcher.children[i].pidfd);

	nbh_close_fd(&launcher.parent_fd);
	nbh_close_fd(&launcher.signal_fd);
	nbh_close_fd(&launcher.lock_fd);
	nbh_launch_clear(&launcher.launch);
	return code;
}

int nbh_launcher_apply_once(const char *config_dir)
{
	struct nbh_launch launch;
	struct nbh_why why = { "" };
	int r = nbh_launch_init(&launch, config_dir, NULL, "", &why); /* "": no setup key */
	int status = 0;
	pid_t pid;

	if (r < 0) {
		nbh_log(NBH_LOG_ERROR, "launcher", "cannot-run: %s", why.text);
		return r == -EPERM || r == -EACCES ? EX_NOPERM : EX_CONFIG;
	}

	if (nbh_lock_holder(launch.dir.wg_fd, NBH_LOCK_WG) != 0) {
		nbh_launch_clear(&launch);
		return EXIT_SUCCESS;
	}

	launch.is_once = true;
	pid = nbh_launch_start(&launch, NBH_LAUNCH_WG, &why);

	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;

	if (pid < 0)
		nbh_log(NBH_LOG_ERROR, "launcher", "cannot-start program=netbird-wg: %s", why.text);

	nbh_launch_clear(&launch);
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}
