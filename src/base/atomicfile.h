#ifndef NBH_BASE_ATOMICFILE_H
#define NBH_BASE_ATOMICFILE_H

#include "base/why.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum nbh_atomicfile_flags {
	NBH_ATOMICFILE_FSYNC = 1 << 0, /* file and directory: only what cannot be made again */
};

/*
 * Writes a temporary file ".NAME.tmp" in the same directory, checks write, fchmod and close, then
 * renames it over NAME. On any failure NAME is as it was and the temporary file is gone. 0 or
 * -errno with the file named in why. Written by root it belongs to the directory's owner and group.
 */
int nbh_atomicfile_write(int dirfd, const char *name, const void *data, size_t len, mode_t mode,
                         unsigned flags, struct nbh_why *why);

/*
 * What root makes (login before the first start) belongs to the directory's owner, who must read
 * it later. Does nothing for others. Root without CAP_CHOWN keeps the file: readers accept root's.
 */
int nbh_give_to_directory_owner(int dirfd, int fd);

/*
 * Reads a whole file that may have been written by somebody else: relative to dirfd, O_NOFOLLOW,
 * O_NONBLOCK; must be a regular file of at most max_bytes, owned by root, by us or by the
 * directory's owner, not writable by group or others, in a directory where not everybody may rename.
 * ret_data is malloc'ed, NUL-terminated behind ret_len bytes.
 * -ENOENT (why untouched) when missing, -EFBIG, -EPERM (owner or mode), -EINVAL (not regular),
 * -ELOOP (symlink). why names the file and what to do.
 */
int nbh_trustedfile_read(int dirfd, const char *name, size_t max_bytes, char **ret_data,
                         size_t *ret_len, struct nbh_why *why);

#endif
