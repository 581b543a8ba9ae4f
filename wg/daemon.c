/*
 * The loop of netbird-wg. A turn is always the same, whatever woke us (level-triggered): read the
 * files, let policy judge, make the system so, look at it, report. Woken by: a change in DIR, a
 * signal, the report's timer, the 60 s that make up for everything nobody tells us, and a growing
 * delay after a failure. An address that the host lost is no turn: only wireguard-go has to hear of it.
 */
#include "config.h"

#include "wg/daemon.h"

#include "wg/addrwatch.h"
#include "wg/apply.h"
#include "wg/backend-uapi.h"
#include "wg/icetun.h"
#include "wg/isolate.h"
#include "wg/report.h"
#include "wg/wanted.h"
#include "wg/watch.h"

#include "base/confine.h"
#include "base/ending.h"
#include "base/icetun.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/mono.h"
#include "base/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RETRY_MIN_MS 1000
#define REMOVAL_SURE_MS 200
#define WG_DIR_NAME "wg"

struct wg_daemon {
	const struct wg_options *options;
	struct wg_watch watch;
	struct wg_wanted wanted;
	struct wg_apply apply;
	struct wg_report report;
	struct nbh_wgstatus head; /* what the report says besides peers; its peers are unused */
	int wg_dirfd, lock_fd, signal_fd, addr_fd;
	unsigned failures;        /* in a row, of the same kind */
	unsigned report_failures;
	int last_error;           /* of the last turn, -errno */
	unsigned icetun_index;    /* of the device that we have made; 0: none */
	nbh_mono turn_at;         /* when to look at everything again */
	nbh_mono gone_at;         /* device.json; NBH_MONO_NEVER: it is there, or never was */
};

static int64_t unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int open_wg_dir(int dirfd, struct nbh_why *why)
{
	int fd, r;

	if (mkdirat(dirfd, WG_DIR_NAME, 0750) < 0 && errno != EEXIST) {
		r = -errno;
		nbh_why_set(why, "wg: cannot make the directory: %s", strerror(-r));
		return r;
	}

	fd = openat(dirfd, WG_DIR_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		nbh_why_set(why, "wg: %s", strerror(-r));
		return r;
	}

	return fd;
}

static const char *error_code(int r)
{
	switch (r) {
	case -EADDRINUSE:
		return "port-in-use";
	case -EPROTONOSUPPORT:
		return "no-module";
	case -EPERM:
	case -EACCES:
		return "no-capability";
	case -EKEYREJECTED:
		return "private-key";
	case -EEXIST:
		return "refused";
	default:
		return "other";
	}
}

/* The first complaint of a turn counts, in status and log: what comes after it may follow from it. */
static void complain(struct wg_daemon *daemon, int error, const char *code, const struct nbh_why *why)
{
	if (daemon->head.error[0])
		return;

	snprintf(daemon->head.error, sizeof(daemon->head.error), "%s", why->text);
	snprintf(daemon->head.error_code, sizeof(daemon->head.error_code), "%s", code);
	daemon->last_error = error;
}

static void log_outcome(struct wg_daemon *daemon, const char *error_before)
{
	if (!daemon->head.error[0]) {
		if (error_before[0])
			nbh_log(NBH_LOG_NOTICE, "wg", "recovered");
		daemon->failures = 0;
		return;
	}

	if (strcmp(error_before, daemon->head.error) != 0)
		daemon->failures = 0;
	if (nbh_log_worth(++daemon->failures))
		nbh_log(NBH_LOG_WARN, "wg", "refused code=%s times=%u: %s", daemon->head.error_code,
		        daemon->failures, daemon->head.error);
}

/*
 * device.json has gone: `netbird-helper down`, or somebody is removing the whole directory, which
 * must not cost a tunnel. The second takes private.key along, at most a moment later.
 */
static bool is_removal_in_doubt(struct wg_daemon *daemon, bool had_device, nbh_mono now)
{
	if (!had_device || daemon->wanted.has_device) {
		daemon->gone_at = NBH_MONO_NEVER;
		return false;
	}

	if (daemon->gone_at.usec == NBH_MONO_NEVER.usec)
		daemon->gone_at = now;
	return !daemon->wanted.has_key || nbh_mono_diff_ms(now, daemon->gone_at) < REMOVAL_SURE_MS;
}

/* Returns whether there is a state to apply. */
static bool load(struct wg_daemon *daemon, nbh_mono now)
{
	bool had_device = daemon->wanted.has_device;
	static const char *const codes[] = {
		[WG_FILE_KEY] = "private-key",
		[WG_FILE_DEVICE] = "refused",
		[WG_FILE_PEERS] = "refused",
	};
	struct wg_refusal refusals[WG_N_FILES];

	wg_wanted_load(&daemon->wanted, daemon->watch.dirfd, &daemon->options->policy, refusals);
	for (int i = 0; i < WG_N_FILES; i++)
		if (refusals[i].refused)
			complain(daemon, -EBADMSG, codes[i], &refusals[i].why);

	if (is_removal_in_doubt(daemon, had_device, now)) {
		daemon->wanted.has_device = true; /* as it was */
		if (!daemon->wanted.has_key)
			complain(daemon, -EBADMSG, codes[WG_FILE_KEY], &refusals[WG_FILE_KEY].why);
		return false;
	}

	/* Killed, and started again while device.json cannot be used: what is there stays. */
	if (refusals[WG_FILE_DEVICE].refused && !daemon->wanted.has_device)
		return false;

	return !refusals[WG_FILE_KEY].refused;
}

static void on_applied(struct wg_daemon *daemon, const struct wg_apply_count *count,
                       nbh_mono started)
{
	unsigned n = count->link;

	for (int i = 0; i < WG_OP_N_KINDS; i++)
		n += count->ops[i];

	if (n == 0)
		return;

	wg_report_changed(&daemon->report, started);
	nbh_log(NBH_LOG_NOTICE, "plan", "applied interface=%s added=%u updated=%u readded=%u"
	        " removed=%u link=%u generation=%llu ms=%lld", daemon->apply.ifname,
	        count->ops[WG_OP_ADD], count->ops[WG_OP_UPDATE], count->ops[WG_OP_READD],
	        count->ops[WG_OP_REMOVE], count->link,
	        (unsigned long long)daemon->wanted.peers.generation,
	        (long long)nbh_mono_diff_ms(nbh_mono_now(), started));
}

static void apply(struct wg_daemon *daemon, nbh_mono now)
{
	struct wg_want want = wg_wanted_view(&daemon->wanted);
	struct wg_apply_count count;
	struct nbh_why why = { "" };
	int r;

	r = wg_apply_run(&daemon->apply, &want, &count, &why);
	on_applied(daemon, &count, now);
	/* Which port it is that is taken: the helper must not give up one that it chose meanwhile. */
	if (r == -EADDRINUSE && want.device)
		daemon->head.listen_port = want.device->listen_port;
	if (r < 0)
		complain(daemon, r, error_code(r), &why);
	else
		daemon->head.generation = daemon->wanted.has_device && daemon->wanted.has_peers ?
		                          daemon->wanted.peers.generation : 0;

	snprintf(daemon->head.interface, sizeof(daemon->head.interface), "%s",
	         want.device ? want.device->interface : "");
	snprintf(daemon->head.backend, sizeof(daemon->head.backend), "%s",
	         daemon->apply.backend ? daemon->apply.backend->name : "");
}

/* As long as there is a device.json, like the interface itself. */
static void keep_icetun(struct wg_daemon *daemon)
{
	struct nbh_why why = { "" };
	unsigned index;
	int r = 0;

	if (!daemon->options->has_ice_tun || daemon->options->dry_run)
		return;

	index = if_nametoindex(NBH_ICETUN_NAME);
	if (!daemon->wanted.has_device)
		r = index ? wg_icetun_remove(&why) : 0;
	else if (index == 0 || index != daemon->icetun_index)
		r = wg_icetun_make(daemon->options->ice_user, &why);
	else
		return;

	daemon->icetun_index = r == 0 ? if_nametoindex(NBH_ICETUN_NAME) : 0;
	if (r < 0)
		complain(daemon, r, error_code(r), &why);
	else if (daemon->icetun_index != index)
		nbh_log(NBH_LOG_NOTICE, "wg", "ice-tun interface=%s %s", NBH_ICETUN_NAME,
		        daemon->icetun_index ? "made" : "removed");
}

static void report(struct wg_daemon *daemon, nbh_mono now)
{
	struct wg_dev dev = { 0 };
	struct nbh_why why = { "" };
	bool known;
	int r;

	if (daemon->options->dry_run || daemon->wg_dirfd < 0)
		return;

	r = wg_apply_look(&daemon->apply, &dev, &why);
	known = r == 0 || r == -ENODEV;
	if (r == -ENODEV && daemon->apply.applied.known && !daemon->head.error[0])
		daemon->turn_at = now; /* somebody removed it: make it again */

	r = wg_report_update(&daemon->report, daemon->wg_dirfd, &daemon->head, known ? &dev : NULL,
	                     unix_ms(), now, &why);
	wg_dev_clear(&dev);
	if (r == 0)
		daemon->report_failures = 0;
	else if (nbh_log_worth(++daemon->report_failures))
		nbh_log(NBH_LOG_WARN, "report", "status-not-written: %s", why.text);
}

/* DIR was replaced: its wg/ and the lock in it are others now. */
static int enter_dir(struct wg_daemon *daemon, struct nbh_why *why)
{
	int r;

	nbh_close_fd(&daemon->wg_dirfd);
	nbh_close_fd(&daemon->lock_fd);
	daemon->lock_fd = daemon->apply.wg_dirfd = -1;
	daemon->wg_dirfd = open_wg_dir(daemon->watch.dirfd, why);
	if (daemon->wg_dirfd < 0)
		return daemon->wg_dirfd;

	daemon->apply.wg_dirfd = daemon->wg_dirfd;
	daemon->report.is_written = false;
	r = nbh_lock_take(daemon->wg_dirfd, NBH_LOCK_WG, &daemon->lock_fd, why);
	if (r < 0) {
		nbh_close_fd(&daemon->wg_dirfd);
		daemon->wg_dirfd = daemon->apply.wg_dirfd = -1;
	}
	return r;
}

static void turn(struct wg_daemon *daemon, nbh_mono now)
{
	struct nbh_why why = { "" };
	char error_before[sizeof(daemon->head.error)];
	int r;

	memcpy(error_before, daemon->head.error, sizeof(error_before));
	daemon->head.error[0] = daemon->head.error_code[0] = '\0';
	daemon->head.listen_port = 0;
	daemon->last_error = 0;

	r = wg_watch_refresh(&daemon->watch, &why);
	if (!daemon->options->dry_run && (r == 1 || (r == 0 && daemon->wg_dirfd < 0)))
		r = enter_dir(daemon, &why);
	if (r < 0)
		complain(daemon, r, "other", &why); /* nothing there to read: nothing changes */
	else if (load(daemon, now)) {
		keep_icetun(daemon);
		apply(daemon, now);
	}

	wg_wanted_forget_key(&daemon->wanted);
	log_outcome(daemon, error_before);
	daemon->turn_at = nbh_mono_add_ms(now, NBH_RECONCILE_MS);
	if (daemon->failures > 0 && daemon->failures < 7 && daemon->last_error != -EBADMSG)
		daemon->turn_at = nbh_mono_add_ms(now, (int64_t)RETRY_MIN_MS << (daemon->failures - 1));
	if (daemon->gone_at.usec != NBH_MONO_NEVER.usec && daemon->last_error == 0)
		daemon->turn_at = nbh_mono_add_ms(daemon->gone_at, REMOVAL_SURE_MS);
	report(daemon, now);
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;

	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* True: end. */
static bool on_signal(struct wg_daemon *daemon, nbh_mono now)
{
	struct signalfd_siginfo info;

	while (read(daemon->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			daemon->turn_at = now;
		else
			return true;
	}

	return false;
}

static void on_address_gone(struct wg_daemon *daemon)
{
	struct nbh_why why = { "" };

	if (wg_apply_forget_sources(&daemon->apply, &why) < 0)
		nbh_log(NBH_LOG_WARN, "wg", "sources-not-forgotten: %s", why.text);
}

static int wait_ms(const struct wg_daemon *daemon, nbh_mono now)
{
	nbh_mono next = daemon->turn_at;
	int64_t ms;

	if (!daemon->options->dry_run && nbh_mono_before(wg_report_next(&daemon->report), next))
		next = wg_report_next(&daemon->report);

	ms = nbh_mono_diff_ms(next, now) + 1;
	return ms < 0 ? 0 : (int)ms;
}

static int loop(struct wg_daemon *daemon)
{
	enum { ON_WATCH, ON_SIGNAL, ON_ADDRESS, N_FDS };
	struct pollfd fds[N_FDS] = {
		[ON_WATCH] = { .fd = daemon->watch.fd, .events = POLLIN },
		[ON_SIGNAL] = { .fd = daemon->signal_fd, .events = POLLIN },
		[ON_ADDRESS] = { .fd = daemon->addr_fd, .events = POLLIN },
	};

	for (;;) {
		nbh_mono now = nbh_mono_now();
		int n = poll(fds, N_FDS, wait_ms(daemon, now));

		if (n < 0 && errno != EINTR)
			return WG_EXIT_FAILURE;

		now = nbh_mono_now();
		for (int i = 0; n > 0 && i < N_FDS; i++) {
			if (!fds[i].revents)
				continue;

			switch (i) {
			case ON_WATCH:
				if (wg_watch_drain(&daemon->watch))
					daemon->turn_at = now;
				break;
			case ON_SIGNAL:
				if (on_signal(daemon, now))
					return WG_EXIT_OK;
				break;
			case ON_ADDRESS:
				if (wg_addrwatch_drain(daemon->addr_fd))
					on_address_gone(daemon);
				break;
			}
		}

		if (!nbh_mono_before(now, daemon->turn_at))
			turn(daemon, now);
		else if (!nbh_mono_before(now, wg_report_next(&daemon->report)))
			report(daemon, now);
	}
}

static int say(const struct wg_daemon *daemon, int exit_code, const struct nbh_why *why)
{
	nbh_log(NBH_LOG_ERROR, "wg", "%s", why->text);
	if (daemon->wg_dirfd >= 0)
		nbh_ending_say(daemon->wg_dirfd, why->text);
	return exit_code;
}

/* Everything up to the loop, in the order of isolate.h. -1: go on. */
static int start(struct wg_daemon *daemon)
{
	struct nbh_why why = { "" };
	int r;

	r = wg_watch_open(&daemon->watch, daemon->options->config_dir, &why);
	if (r < 0)
		return say(daemon, r == -EACCES ? WG_EXIT_PERMISSION : WG_EXIT_CONFIG, &why);

	daemon->signal_fd = open_signals();
	if (daemon->signal_fd < 0)
		return WG_EXIT_FAILURE;

	daemon->addr_fd = wg_addrwatch_open(&why);
	if (daemon->addr_fd < 0)
		return say(daemon, WG_EXIT_FAILURE, &why);

	wg_uapi_set_program(daemon->options->wireguard_go);
	if (daemon->options->dry_run) {
		int fd = openat(daemon->watch.dirfd, WG_DIR_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0)
			wg_applied_read(fd, &daemon->apply.applied, NULL);
		nbh_close_fd(&fd);
		return -1;
	}

	daemon->wg_dirfd = open_wg_dir(daemon->watch.dirfd, &why);
	if (daemon->wg_dirfd < 0)
		return say(daemon, daemon->wg_dirfd == -EACCES ? WG_EXIT_PERMISSION : WG_EXIT_FAILURE, &why);

	if (wg_isolate_configured(daemon->watch.dirfd, daemon->wg_dirfd, &why) < 0 ||
	    wg_isolate_final(&why) < 0)
		return say(daemon, WG_EXIT_PERMISSION, &why);

	daemon->head.seccomp = nbh_confine_is_filtered();
	r = enter_dir(daemon, &why);
	if (r < 0)
		return say(daemon, r == -EACCES ? WG_EXIT_PERMISSION : WG_EXIT_FAILURE, &why);

	r = wg_applied_read(daemon->wg_dirfd, &daemon->apply.applied, &why);
	if (r < 0)
		return say(daemon, WG_EXIT_FAILURE, &why);

	nbh_ending_forget(daemon->wg_dirfd);
	if (why.text[0])
		nbh_log(NBH_LOG_WARN, "wg", "last-applied-unknown: %s; existing endpoints are left alone",
		        why.text);
	return -1;
}

static int once_exit_code(const struct wg_daemon *daemon)
{
	switch (daemon->last_error) {
	case 0:
		return WG_EXIT_OK;
	case -EBADMSG: /* a file was refused */
	case -EEXIST:
	case -EKEYREJECTED:
		return WG_EXIT_CONFIG;
	case -EPERM:
	case -EACCES:
		return WG_EXIT_PERMISSION;
	default:
		return WG_EXIT_FAILURE;
	}
}

int wg_daemon_note_ending(const struct wg_options *options)
{
	struct wg_watch watch = { .fd = -1, .dirfd = -1 };
	nbh_cleanup_close int wg_dirfd = -1;
	struct nbh_why why = { "" };
	int r = wg_watch_open(&watch, options->config_dir, &why);

	if (r == 0)
		r = wg_dirfd = open_wg_dir(watch.dirfd, &why);
	if (r >= 0)
		r = nbh_ending_note_from_environment(wg_dirfd, &why);
	if (r < 0)
		nbh_log(NBH_LOG_ERROR, "wg", "--ended: %s", why.text);

	wg_watch_close(&watch);
	return r < 0 ? WG_EXIT_FAILURE : WG_EXIT_OK;
}

int wg_daemon_run(const struct wg_options *options)
{
	struct wg_daemon daemon = {
		.options = options,
		.apply = { .wg_dirfd = -1, .dry_run = options->dry_run },
		.watch = { .fd = -1, .dirfd = -1 },
		.wg_dirfd = -1, .lock_fd = -1, .signal_fd = -1, .addr_fd = -1,
		.gone_at = NBH_MONO_NEVER,
	};
	int code = start(&daemon);

	if (code < 0) {
		turn(&daemon, nbh_mono_now());
		nbh_notify("READY=1");
		code = options->once ? once_exit_code(&daemon) : loop(&daemon);
	}

	/* Tunnels stay: only our own memory and descriptors go. */
	wg_apply_clear(&daemon.apply);
	wg_wanted_clear(&daemon.wanted);
	wg_report_clear(&daemon.report);
	wg_watch_close(&daemon.watch);
	nbh_close_fd(&daemon.wg_dirfd);
	nbh_close_fd(&daemon.lock_fd);
	nbh_close_fd(&daemon.signal_fd);
	nbh_close_fd(&daemon.addr_fd);
	return code;
}
