#ifndef NBH_APP_CONFDIR_H
#define NBH_APP_CONFDIR_H

/*
 * The config directory as architecture.md section 6 wants it:
 *
 *   DIR       2751  netbird-helper:netbird
 *   DIR/wg    0750  netbird-wg:netbird
 *   DIR/ice   0750  netbird-ice:netbird-ice
 *
 * Made and repaired as root, by descriptors only: DIR belongs to a user that root does not trust.
 */

#include "app/users.h"
#include "base/why.h"

#include <limits.h>

struct nbh_confdir {
	int fd, wg_fd, ice_fd; /* owned */
	char path[PATH_MAX];   /* absolute */
};

/*
 * Refuses (-EPERM) a directory that is not ours to take: somebody else's with other things in it,
 * or one that everybody writes to. Files of ours in it that belong to root (login, hand-made)
 * or to the earlier owner go to their program's user.
 */
int nbh_confdir_prepare(const char *path, const struct nbh_users *users, struct nbh_confdir *ret_dir,
                        struct nbh_why *why);
void nbh_confdir_close(struct nbh_confdir *dir);

/*
 * Whether that user gets to the directory by its path: not if it is below /root, for example. Then
 * "/proc/self/fd/N" of an inherited descriptor serves as the path.
 */
bool nbh_confdir_is_reachable(const struct nbh_confdir *dir, const struct nbh_identity *identity);

/*
 * For login, down and logout as root: prepares the directory and becomes the helper's user for
 * good. ret_path, PATH_MAX: the directory's path from now on. Read a setup key file before.
 */
int nbh_confdir_become_helper(const char *path, char *ret_path, struct nbh_why *why);

#endif
