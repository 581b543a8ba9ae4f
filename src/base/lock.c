/*
 * Open file description locks (fcntl(2)) rather than flock(2): they can be asked for without being
 * taken, so that looking never makes a starting program fail.
 */
#include "config.h"

#include "base/lock.h"

#include "base/atomicfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TEXT_MAX 64
#define STAT_FIELDS_BEFORE_START 19 /* between comm's ")" and starttime: proc(5) */

static ssize_t read_some(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	if (n < 0)
		return -errno;

	buf[n] = '\0';
	return n;
}

/* 0 if it cannot be read: hidepid, or no such process. */
static unsigned long long start_time(pid_t pid)
{
	nbh_cleanup_close int fd = -1;
	unsigned long long start = 0;
	char path[32], text[1024];
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read_some(fd, text, sizeof(text)) <= 0)
		return 0;

	p = strrchr(text, ')');

	for (int i = 0; p && i <= STAT_FIELDS_BEFORE_START; i++)
		p = strchr(p + 1, ' ');

	return p && sscanf(p, "%llu", &start) == 1 ? start : 0;
}

/* The pid in the file, 0 if there is none or the process started at another time. */
static pid_t read_pid(int fd)
{
	unsigned long long start, actual;
	char text[TEXT_MAX];
	int pid;

	if (read_some(fd, text, sizeof(text)) <= 0)
		return 0;

	if (sscanf(text, "%d %llu", &pid, &start) != 2 || pid <= 0)
		return 0;

	actual = start_time(pid);
	return actual && start && actual != start ? 0 : pid;
}

static int open_lock(int dirfd, const char *name, struct nbh_why *why)
{
	int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
	int r = -errno;

	if (fd >= 0)
		return fd;

	if (r == -ELOOP || r == -EISDIR || r == -ENXIO)
		nbh_why_set(why, "%s: not a regular file; remove it", name);
	else
		nbh_why_set(why, "%s: cannot open: %s%s", name, strerror(-r),
		            r == -EACCES ? "; chown it to this user or remove it" : "");

	return r;
}

/*
 * We write into what is there, and as root give it away: it must be a lock and nothing else. A second
 * name, or another owner, is somebody who would like to have that done to another file.
 */
static int check_lock(int dirfd, int fd, const char *name, struct nbh_why *why)
{
	struct stat st, dir;

	if (fstat(fd, &st) < 0 || fstat(dirfd, &dir) < 0) {
		int r = -errno;

		nbh_why_set(why, "%s: cannot look at it: %s", name, strerror(-r));
		return r;
	}

	if (!S_ISREG(st.st_mode)) {
		nbh_why_set(why, "%s: not a regular file; remove it", name);
		return -EINVAL;
	}

	if (st.st_nlink > 1) {
		nbh_why_set(why, "%s: has %ju names (hard links); remove this one", name,
		            (uintmax_t)st.st_nlink);
		return -EPERM;
	}

	if (st.st_uid != 0 && st.st_uid != geteuid() && st.st_uid != dir.st_uid) {
		nbh_why_set(why, "%s: owned by uid %u; remove it", name, (unsigned)st.st_uid);
		return -EPERM;
	}

	return 0;
}

int nbh_lock_take(int dirfd, const char *name, int *ret_fd, struct nbh_why *why)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	nbh_cleanup_close int fd = open_lock(dirfd, name, why);
	char text[TEXT_MAX];
	int n, r;

	if (fd < 0)
		return fd;

	r = check_lock(dirfd, fd, name, why);

	if (r < 0)
		return r;

	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		r = errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;

		if (r == -EBUSY)
			nbh_why_set(why, "%s: pid %d already runs on this directory", name,
			            (int)read_pid(fd));
		else
			nbh_why_set(why, "%s: cannot lock: %s", name, strerror(-r));

		return r;
	}

	/* Always as long as before, and over it: on a full disk there is room for nothing else. */
	n = snprintf(text, sizeof(text), "%-10d %-20llu\n", (int)getpid(), start_time(getpid()));
	r = nbh_give_to_directory_owner(dirfd, fd);

	if (r == 0 && (pwrite(fd, text, (size_t)n, 0) != n || ftruncate(fd, n) < 0))
		r = errno ? -errno : -EIO;

	if (r < 0) {
		nbh_why_set(why, "%s: cannot write: %s", name, strerror(-r));
		return r;
	}

	*ret_fd = nbh_steal_fd(&fd);
	return 0;
}

pid_t nbh_lock_holder(int dirfd, const char *name)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	nbh_cleanup_close int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	pid_t pid;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
		return -errno;

	if (lock.l_type == F_UNLCK)
		return 0;

	pid = read_pid(fd);
	return pid ? pid : -EAGAIN;
}
