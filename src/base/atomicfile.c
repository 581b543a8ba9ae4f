/*
 * Files that two programs share: written whole by one, read whole by the other, never seen half
 * done. The reader trusts nothing about the name: it opens once, looks at what it opened, and
 * reads that descriptor.
 */
#include "config.h"

#include "base/atomicfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;

		if (n <= 0)
			return n < 0 ? -errno : -EIO;

		data += n;
		len -= (size_t)n;
	}

	return 0;
}

int nbh_give_to_directory_owner(int dirfd, int fd)
{
	struct stat dir;

	if (geteuid() != 0)
		return 0;

	if (fstat(dirfd, &dir) < 0)
		return -errno;

	if (fchown(fd, dir.st_uid, dir.st_gid) < 0 && errno != EPERM)
		return -errno;

	return 0;
}

static int open_temp(int dirfd, const char *temp)
{
	int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dirfd, temp, flags, 0600);

	/* Left over by a program that was killed here: each file has one writer, so it is ours. */
	if (fd < 0 && errno == EEXIST && unlinkat(dirfd, temp, 0) == 0)
		fd = openat(dirfd, temp, flags, 0600);

	return fd < 0 ? -errno : fd;
}

static int fill(int dirfd, int fd, const void *data, size_t len, mode_t mode, unsigned flags)
{
	int r = write_all(fd, data, len);

	if (r < 0)
		return r;

	r = nbh_give_to_directory_owner(dirfd, fd);

	if (r < 0)
		return r;

	if (fchmod(fd, mode) < 0)
		return -errno;

	if ((flags & NBH_ATOMICFILE_FSYNC) && fsync(fd) < 0)
		return -errno;

	return 0;
}

int nbh_atomicfile_write(int dirfd, const char *name, const void *data, size_t len, mode_t mode,
                         unsigned flags, struct nbh_why *why)
{
	char temp[NAME_MAX + 1];
	int fd, r;

	if (strlen(name) + sizeof(".tmp") + 1 > sizeof(temp)) {
		nbh_why_set(why, "%.40s...: the file name is too long", name);
		return -ENAMETOOLONG;
	}

	snprintf(temp, sizeof(temp), ".%s.tmp", name);
	fd = open_temp(dirfd, temp);

	if (fd < 0) {
		nbh_why_set(why, "%s: cannot create %s: %s%s", name, temp, strerror(-fd),
		            fd == -EISDIR ? "; remove it" : "");
		return fd;
	}

	r = fill(dirfd, fd, data, len, mode, flags);

	if (close(fd) < 0 && r == 0)
		r = -errno;

	if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
		r = -errno;

	if (r == 0 && (flags & NBH_ATOMICFILE_FSYNC) && fsync(dirfd) < 0)
		r = -errno;

	if (r < 0) {
		unlinkat(dirfd, temp, 0);
		nbh_why_set(why, "%s: cannot write: %s%s", name, strerror(-r),
		            r == -EISDIR ? "; remove it" : "");
	}

	return r;
}

static int check_trusted(int dirfd, const char *name, const struct stat *st, size_t max_bytes,
                         struct nbh_why *why)
{
	struct stat dir;

	if (!S_ISREG(st->st_mode)) {
		nbh_why_set(why, "%s: not a regular file; remove it", name);
		return -EINVAL;
	}

	if (fstat(dirfd, &dir) < 0) {
		nbh_why_set(why, "%s: cannot look at its directory: %s", name, strerror(errno));
		return -errno;
	}

	/* Whoever can rename there decides which of our files we read under this name. */
	if ((dir.st_mode & S_IWOTH) && !(dir.st_mode & S_ISVTX)) {
		nbh_why_set(why, "%s: its directory (mode %04o) lets everybody write; run chmod o-w on it",
		            name, (unsigned)(dir.st_mode & 07777));
		return -EPERM;
	}

	if (st->st_uid != 0 && st->st_uid != geteuid() && st->st_uid != dir.st_uid) {
		nbh_why_set(why, "%s: owned by uid %u; chown it to the directory's owner, uid %u", name,
		            (unsigned)st->st_uid, (unsigned)dir.st_uid);
		return -EPERM;
	}

	if (st->st_mode & (S_IWGRP | S_IWOTH)) {
		nbh_why_set(why, "%s: mode %04o lets others write; run chmod go-w on it", name,
		            (unsigned)(st->st_mode & 07777));
		return -EPERM;
	}

	if (st->st_size < 0 || (uintmax_t)st->st_size > max_bytes) {
		nbh_why_set(why, "%s: %jd bytes; at most %zu are accepted", name, (intmax_t)st->st_size,
		            max_bytes);
		return -EFBIG;
	}

	return 0;
}

/* Reads at most max bytes; a file that grows meanwhile is cut and then fails to parse. */
static ssize_t read_all(int fd, char *data, size_t max)
{
	size_t len = 0;

	while (len < max) {
		ssize_t n = read(fd, data + len, max - len);

		if (n < 0 && errno == EINTR)
			continue;

		if (n < 0)
			return -errno;

		if (n == 0)
			break;

		len += (size_t)n;
	}

	return (ssize_t)len;
}

static int open_trusted(int dirfd, const char *name, struct nbh_why *why)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd >= 0)
		return fd;

	if (errno == ENOENT)
		return -ENOENT;

	if (errno == ELOOP) {
		nbh_why_set(why, "%s: is a symbolic link; put the file itself there", name);
		return -ELOOP;
	}

	if (errno == ENXIO || errno == ENODEV) {
		nbh_why_set(why, "%s: not a regular file; remove it", name);
		return -EINVAL;
	}

	fd = -errno;
	nbh_why_set(why, "%s: cannot open: %s", name, strerror(-fd));
	return fd;
}

int nbh_trustedfile_read(int dirfd, const char *name, size_t max_bytes, char **ret_data,
                         size_t *ret_len, struct nbh_why *why)
{
	nbh_cleanup_close int fd = open_trusted(dirfd, name, why);
	struct stat st;
	char *data;
	ssize_t n;
	int r;

	if (fd < 0)
		return fd;

	if (fstat(fd, &st) < 0) {
		r = -errno;
		nbh_why_set(why, "%s: cannot look at it: %s", name, strerror(-r));
		return r;
	}

	r = check_trusted(dirfd, name, &st, max_bytes, why);

	if (r < 0)
		return r;

	data = malloc((size_t)st.st_size + 1);

	if (!data) {
		nbh_why_set(why, "%s: out of memory", name);
		return -ENOMEM;
	}

	n = read_all(fd, data, (size_t)st.st_size);

	if (n < 0) {
		sodium_memzero(data, (size_t)st.st_size); /* it may be a key */
		free(data);
		nbh_why_set(why, "%s: cannot read: %s", name, strerror((int)-n));
		return (int)n;
	}

	data[n] = '\0';
	*ret_data = data;
	*ret_len = (size_t)n;
	return 0;
}
