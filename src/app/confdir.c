#include "config.h"

#include "app/confdir.h"

#include "base/configfile.h"
#include "base/devicefile.h"
#include "base/lock.h"
#include "base/peersfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DIR_MODE 02751
#define SUBDIR_MODE 0750
#define KEY_NAME "private.key"
#define KEY_MODE 0640
#define REPAIRED_FILES_MAX 64 /* a directory of ours has a dozen */

/* What shows that a directory is one of ours, and what root may hand over in it. */
static const char *const our_files[] = {
	NBH_CONFIGFILE_NAME, KEY_NAME,      NBH_DEVICEFILE_NAME, NBH_PEERSFILE_NAME, "netmap.cache",
	"status.json",       NBH_LOCK_HELPER, NBH_LOCK_LAUNCHER, "down",
};

static int fail(struct nbh_why *why, const char *name, const char *what, int error)
{
	nbh_why_set(why, "%.80s: %s: %s", name, what, strerror(error));
	return -error;
}

static bool is_our_name(const char *name)
{
	for (size_t i = 0; i < NBH_N_ELEMENTS(our_files); i++) {
		if (strcmp(name, our_files[i]) == 0)
			return true;
	}

	return strcmp(name, "wg") == 0 || strcmp(name, "ice") == 0;
}

/* Empty, or with something of ours in it. */
static bool looks_like_ours(int fd)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	bool is_empty = true, found = false;
	const struct dirent *entry;

	if (!dir) {
		nbh_close_fd(&again);
		return false;
	}

	while (!found && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;

		is_empty = false;
		found = is_our_name(entry->d_name);
	}

	closedir(dir);
	return is_empty || found;
}

/*
 * Gives one file to the user. Only a regular one with a single name, which belonged to from or to
 * root: a link to somebody else's file must not make root give that away.
 */
static void give_file(int dirfd, const char *name, uid_t from, uid_t uid, gid_t gid)
{
	nbh_cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1)
		return;

	if (st.st_uid == uid && st.st_gid == gid)
		return;

	if (st.st_uid != 0 && st.st_uid != from && st.st_uid != uid)
		return;

	/* What cannot be repaired is found and named by the program that reads it. */
	if (fchown(fd, uid, gid) == 0 && strcmp(name, KEY_NAME) == 0)
		(void)fchmod(fd, KEY_MODE);
}

/* All files of wg/ or ice/, which belong to one program. */
static void give_files(int dirfd, uid_t from, uid_t uid, gid_t gid)
{
	int again = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = again < 0 ? NULL : fdopendir(again);
	const struct dirent *entry;

	if (!dir) {
		nbh_close_fd(&again);
		return;
	}

	for (int n = 0; n < REPAIRED_FILES_MAX && (entry = readdir(dir)); n++)
		give_file(dirfd, entry->d_name, from, uid, gid);

	closedir(dir);
}

/* Only what differs: a file system that is mounted read-only must not fail when all is well. */
static int set_owner_and_mode(int fd, const char *name, uid_t uid, gid_t gid, mode_t mode,
                              struct nbh_why *why)
{
	struct stat st;
	bool is_owner_wrong;

	if (fstat(fd, &st) < 0)
		return fail(why, name, "cannot look at it", errno);

	is_owner_wrong = st.st_uid != uid || st.st_gid != gid;

	if (is_owner_wrong && fchown(fd, uid, gid) < 0)
		return fail(why, name, "cannot give it to its user", errno);

	/* After fchown(), which may clear bits. */
	if ((is_owner_wrong || (st.st_mode & 07777) != mode) && fchmod(fd, mode) < 0)
		return fail(why, name, "cannot set its mode", errno);

	return 0;
}

/* DIR/wg or DIR/ice. number: the owner before the users had names. */
static int prepare_subdir(int dirfd, const char *name, uid_t uid, uid_t number, gid_t gid, int *ret_fd,
                          struct nbh_why *why)
{
	nbh_cleanup_close int fd = -1;
	struct stat st;
	int r;

	if (mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST)
		return fail(why, name, "cannot make the directory", errno);

	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(why, name, "cannot open the directory", errno);

	/* The helper's user can rename in DIR: a directory of its own must not become another's. */
	if (st.st_uid != 0 && st.st_uid != uid && st.st_uid != number) {
		nbh_why_set(why, "%s: belongs to uid %u, not to uid %u; remove it", name,
		            (unsigned)st.st_uid, (unsigned)uid);
		return -EPERM;
	}

	r = set_owner_and_mode(fd, name, uid, gid, SUBDIR_MODE, why);

	if (r < 0)
		return r;

	give_files(fd, number, uid, gid);
	*ret_fd = nbh_steal_fd(&fd);
	return 0;
}

static int check_takeable(int fd, const char *path, const struct nbh_users *users, struct nbh_why *why)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(why, path, "cannot look at it", errno);

	if (st.st_mode & S_ISVTX) {
		nbh_why_set(why, "%.80s: is for everybody (sticky); choose a directory of its own", path);
		return -EPERM;
	}

	if (st.st_uid != users->helper && !looks_like_ours(fd)) {
		nbh_why_set(why, "%.80s: has other things in it; choose a directory of its own", path);
		return -EPERM;
	}

	return 0;
}

/* The directory itself; its parents must be there. */
static int open_top(const char *path, const struct nbh_users *users, struct nbh_confdir *dir,
                    struct nbh_why *why)
{
	struct stat st;
	int r;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fail(why, path, "cannot make the directory", errno);

	dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir->fd < 0)
		return fail(why, path, "cannot open the directory", errno);

	if (!realpath(path, dir->path))
		return fail(why, path, "has no absolute path", errno);

	r = check_takeable(dir->fd, dir->path, users, why);

	if (r == 0 && fstat(dir->fd, &st) < 0)
		r = fail(why, path, "cannot look at it", errno);

	if (r == 0)
		r = set_owner_and_mode(dir->fd, dir->path, users->helper, users->netbird, DIR_MODE, why);

	if (r < 0)
		return r;

	for (size_t i = 0; i < NBH_N_ELEMENTS(our_files); i++)
		give_file(dir->fd, our_files[i], st.st_uid, users->helper, users->netbird);

	return 0;
}

int nbh_confdir_prepare(const char *path, const struct nbh_users *users, struct nbh_confdir *ret_dir,
                        struct nbh_why *why)
{
	struct nbh_confdir dir = { .fd = -1, .wg_fd = -1, .ice_fd = -1 };
	int r = open_top(path, users, &dir, why);

	if (r == 0)
		r = prepare_subdir(dir.fd, "wg", users->wg, NBH_UID_WG, users->netbird, &dir.wg_fd, why);

	if (r == 0)
		r = prepare_subdir(dir.fd, "ice", users->ice, NBH_UID_ICE, users->netbird_ice, &dir.ice_fd,
		                   why);

	if (r < 0)
		nbh_confdir_close(&dir);
	else
		*ret_dir = dir;

	return r;
}

void nbh_confdir_close(struct nbh_confdir *dir)
{
	nbh_close_fd(&dir->fd);
	nbh_close_fd(&dir->wg_fd);
	nbh_close_fd(&dir->ice_fd);
	dir->fd = dir->wg_fd = dir->ice_fd = -1;
}

bool nbh_confdir_is_reachable(const struct nbh_confdir *dir, const struct nbh_identity *identity)
{
	struct nbh_identity plain = *identity;
	pid_t pid;
	int status;

	plain.caps = 0;
	plain.stay_root = false;
	pid = fork();

	if (pid == 0)
		_exit(nbh_users_become(&plain, NULL) < 0 ||
		      faccessat(AT_FDCWD, dir->path, X_OK, AT_EACCESS) < 0);

	while (pid > 0 && waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return false;
	}

	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int nbh_confdir_become_helper(const char *path, char *ret_path, struct nbh_why *why)
{
	struct nbh_identity helper;
	struct nbh_users users;
	struct nbh_confdir dir;
	bool is_reachable;
	int r, fd;

	nbh_users_find(&users);
	r = nbh_confdir_prepare(path, &users, &dir, why);

	if (r < 0)
		return r;

	helper = nbh_users_helper(&users);
	is_reachable = nbh_confdir_is_reachable(&dir, &helper);
	fd = nbh_steal_fd(&dir.fd);
	nbh_confdir_close(&dir);
	r = nbh_users_become(&helper, why);

	if (r < 0) {
		close(fd);
		return r;
	}

	if (is_reachable) {
		memcpy(ret_path, dir.path, sizeof(dir.path));
		close(fd);
	} else {
		snprintf(ret_path, PATH_MAX, "/proc/self/fd/%d", fd); /* stays open until we end */
	}

	return 0;
}
