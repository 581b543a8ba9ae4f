#include "config.h"

#include "app/dirwatch.h"

#include "base/ending.h"
#include "loop/source.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <gio/gio.h>
#include <glib-unix.h>

#define FILE_EVENTS (IN_MOVED_TO | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE)

struct _NbhDirwatch {
	int fd, dir_wd, wg_wd, ice_wd;
	char *wg_dir, *ice_dir; /* owned */
	GSource *source;
	void (*on_change)(gpointer owner);
	gpointer owner;
};

/* They may come later: the programs or the launcher make them. */
static void watch_subdirs(NbhDirwatch *watch)
{
	watch->wg_wd = inotify_add_watch(watch->fd, watch->wg_dir, IN_MOVED_TO | IN_ONLYDIR);
	watch->ice_wd = inotify_add_watch(watch->fd, watch->ice_dir, IN_MOVED_TO | IN_ONLYDIR);
}

static gboolean concerns_us(NbhDirwatch *watch, const struct inotify_event *event)
{
	const char *name = event->len > 0 ? event->name : "";

	if (event->mask & IN_Q_OVERFLOW)
		return TRUE;

	if (event->wd == watch->dir_wd && (strcmp(name, "wg") == 0 || strcmp(name, "ice") == 0)) {
		watch_subdirs(watch);
		return TRUE;
	}

	if (event->wd == watch->wg_wd && strcmp(name, "status.json") == 0)
		return TRUE;

	if (event->wd == watch->wg_wd || event->wd == watch->ice_wd)
		return strcmp(name, NBH_ENDING_NAME) == 0;

	/* status.json is ours and nobody else's to remove: perhaps the whole directory goes. */
	if (event->wd == watch->dir_wd && (event->mask & IN_DELETE) && strcmp(name, "status.json") == 0)
		return TRUE;

	return event->wd == watch->dir_wd && strcmp(name, "down") == 0;
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer owner)
{
	NbhDirwatch *watch = owner;
	_Alignas(struct inotify_event) char buf[4096];
	gboolean ours = FALSE;
	ssize_t n;

	(void)condition;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		const struct inotify_event *event;

		for (char *p = buf; p < buf + n; p += sizeof(*event) + event->len) {
			event = (const struct inotify_event *)(void *)p;
			ours |= concerns_us(watch, event);
		}
	}

	if (ours)
		watch->on_change(watch->owner);

	return G_SOURCE_CONTINUE;
}

NbhDirwatch *nbh_dirwatch_new(const char *dir, void (*on_change)(gpointer owner), gpointer owner, GError **error)
{
	NbhDirwatch *watch = g_new0(NbhDirwatch, 1);

	watch->wg_dir = g_build_filename(dir, "wg", NULL);
	watch->ice_dir = g_build_filename(dir, "ice", NULL);
	watch->on_change = on_change;
	watch->owner = owner;
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	watch->dir_wd = watch->fd < 0 ? -1 : inotify_add_watch(watch->fd, dir, FILE_EVENTS | IN_ONLYDIR);

	if (watch->dir_wd < 0) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "%s: cannot watch: %s", dir,
		            g_strerror(errno));
		nbh_dirwatch_free(watch);
		return NULL;
	}

	watch_subdirs(watch);
	watch->source = g_unix_fd_source_new(watch->fd, G_IO_IN);
	g_source_set_callback(watch->source, G_SOURCE_FUNC(on_readable), watch, NULL);
	g_source_attach(watch->source, NULL);
	return watch;
}

void nbh_dirwatch_free(NbhDirwatch *watch)
{
	if (!watch)
		return;

	nbh_source_drop(&watch->source);

	if (watch->fd >= 0)
		close(watch->fd);

	g_free(watch->wg_dir);
	g_free(watch->ice_dir);
	g_free(watch);
}
