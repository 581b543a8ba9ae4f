#include "config.h"

#include "wg/watch.h"

#include "base/devicefile.h"
#include "base/macros.h"
#include "base/peersfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* IN_ATTRIB: an owner or mode that was refused may have been repaired. */
#define DIR_EVENTS (IN_MOVED_TO | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_DELETE | IN_ATTRIB | \
                    IN_DELETE_SELF | IN_MOVE_SELF)

static int open_dir(struct wg_watch *watch, struct nbh_why *why)
{
	int fd = open(watch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0) {
		r = -errno;
		nbh_why_set(why, "%.100s: %s", watch->path, strerror(-r));
		return r;
	}

	/* The same inode gives the same watch again. */
	watch->wd_dir = inotify_add_watch(watch->fd, watch->path, DIR_EVENTS | IN_ONLYDIR);
	if (watch->wd_dir < 0) {
		r = -errno;
		close(fd);
		nbh_why_set(why, "%.80s: cannot watch: %s", watch->path, strerror(-r));
		return r;
	}

	watch->dirfd = fd;
	return 0;
}

/* Not being able to watch the parent is harmless: the slow timer looks, too. */
static void watch_parent(struct wg_watch *watch)
{
	const char *slash = strrchr(watch->path, '/');
	char parent[PATH_MAX];
	int len = slash ? (int)(slash - watch->path) : 0;

	watch->wd_parent = -1;
	if (snprintf(parent, sizeof(parent), "%.*s/", len, watch->path) < (int)sizeof(parent))
		watch->wd_parent = inotify_add_watch(watch->fd, parent,
		                                     IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

int wg_watch_open(struct wg_watch *watch, const char *path, struct nbh_why *why)
{
	int r;

	watch->path = path;
	watch->dirfd = -1;
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->fd < 0) {
		r = -errno;
		nbh_why_set(why, "inotify: %s", strerror(-r));
		return r;
	}

	r = open_dir(watch, why);
	if (r < 0) {
		close(watch->fd);
		watch->fd = -1;
		return r;
	}

	watch_parent(watch);
	return 0;
}

void wg_watch_close(struct wg_watch *watch)
{
	nbh_close_fd(&watch->fd);
	nbh_close_fd(&watch->dirfd);
	watch->fd = watch->dirfd = -1;
}

static bool is_ours(const struct wg_watch *watch, const struct inotify_event *event)
{
	static const char *const names[] = { NBH_DEVICEFILE_NAME, NBH_PEERSFILE_NAME, "private.key" };

	if (event->len == 0)
		return true; /* overflow, or the directory itself */

	if (event->wd == watch->wd_parent)
		return strcmp(event->name, strrchr(watch->path, '/') + 1) == 0;

	for (size_t i = 0; i < NBH_N_ELEMENTS(names); i++)
		if (strcmp(event->name, names[i]) == 0)
			return true;
	return false; /* temporary files, other programs' files */
}

bool wg_watch_drain(struct wg_watch *watch)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool ours = false;
	ssize_t len;

	while ((len = read(watch->fd, buf, sizeof(buf))) > 0) {
		for (const char *at = buf; at < buf + len;) {
			const struct inotify_event *event = (const struct inotify_event *)at;

			ours = is_ours(watch, event) || ours;
			at += sizeof(*event) + event->len;
		}
	}

	return ours;
}

int wg_watch_refresh(struct wg_watch *watch, struct nbh_why *why)
{
	struct stat now, then;
	int r;

	if (stat(watch->path, &now) < 0) {
		r = -errno;
		nbh_why_set(why, "%.100s: %s", watch->path, strerror(-r));
		return r;
	}

	if (watch->dirfd >= 0 && fstat(watch->dirfd, &then) == 0 && then.st_dev == now.st_dev &&
	    then.st_ino == now.st_ino)
		return 0;

	if (watch->dirfd >= 0)
		inotify_rm_watch(watch->fd, watch->wd_dir);
	nbh_close_fd(&watch->dirfd);
	watch->dirfd = -1;
	r = open_dir(watch, why);
	return r < 0 ? r : 1;
}
