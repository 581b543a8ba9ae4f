#include "config.h"

#include "hub/datadir.h"

#include "base/lock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>

#define KEY_FILE "hub.key"
#define LOCK_FILE ".lock-hub"

static gboolean fail(int err, const char *dir, const char *what, GError **error)
{
	g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(err), "%s: %s: %s", dir, what,
		    g_strerror(err));
	return FALSE;
}

static int open_dir(const char *dir, GError **error)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		fail(errno, dir, "open", error);
	return fd;
}

static gboolean become(const char *dir, uid_t uid, gid_t gid, GError **error)
{
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return fail(errno, dir, "continue as the directory's owner", error);
	return TRUE;
}

gboolean nbh_datadir_prepare(const char *dir, GError **error)
{
	nbh_cleanup_close int fd = -1;
	struct stat st;

	umask(077);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return fail(errno, dir, "create", error);
	fd = open_dir(dir, error);
	if (fd < 0)
		return FALSE;
	if (fstat(fd, &st) < 0)
		return fail(errno, dir, "stat", error);
	if (geteuid() == 0 && st.st_uid != 0 && !become(dir, st.st_uid, st.st_gid, error))
		return FALSE;
	if (st.st_uid != geteuid()) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
			    "%s: belongs to uid %u, and this is uid %u: run netbird-hub as the "
			    "directory's owner or as root",
			    dir, (guint)st.st_uid, (guint)geteuid());
		return FALSE;
	}
	if (st.st_mode & 022) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
			    "%s: others may write there (mode %o): chmod 700 %s", dir,
			    (guint)(st.st_mode & 07777), dir);
		return FALSE;
	}
	return TRUE;
}

int nbh_datadir_lock(const char *dir, GError **error)
{
	nbh_cleanup_close int fd = open_dir(dir, error);
	struct nbh_why why;
	int lock_fd, r;

	if (fd < 0)
		return -1;
	r = nbh_lock_take(fd, LOCK_FILE, &lock_fd, &why);
	if (r < 0) {
		g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(-r), "%s: %s", dir,
			    why.text);
		return -1;
	}
	return lock_fd;
}

gboolean nbh_datadir_is_served(const char *dir)
{
	nbh_cleanup_close int fd = open_dir(dir, NULL);
	pid_t holder = fd < 0 ? 0 : nbh_lock_holder(fd, LOCK_FILE);

	return holder > 0 || holder == -EAGAIN;
}

gboolean nbh_datadir_key(const char *dir, struct nbh_key *ret_private, GError **error)
{
	nbh_cleanup_close int fd = open_dir(dir, error);
	struct nbh_key key;
	struct nbh_why why;
	int r;

	if (fd < 0)
		return FALSE;
	r = nbh_keyfile_read(fd, KEY_FILE, &key, &why);
	if (r == -ENOENT) {
		nbh_key_generate_private(&key);
		r = nbh_keyfile_create(fd, KEY_FILE, &key, &why);
	}
	if (r == 0)
		*ret_private = key;
	else
		g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(-r), "%s: %s", dir,
			    why.text);
	nbh_key_wipe(&key);
	return r == 0;
}
