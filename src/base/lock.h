#ifndef NBH_BASE_LOCK_H
#define NBH_BASE_LOCK_H

#include "base/why.h"

#include <sys/types.h>

/*
 * One running program per directory. Each takes its lock itself, after its last exec, and keeps
 * the descriptor (close-on-exec) until it ends. The file stays; it holds "PID STARTTIME\n", the
 * latter from /proc/PID/stat so that a pid used again is noticed.
 */
#define NBH_LOCK_HELPER ".lock-helper"     /* in DIR */
#define NBH_LOCK_LAUNCHER ".lock-launcher" /* in DIR */
#define NBH_LOCK_WG "lock"                 /* in DIR/wg */
#define NBH_LOCK_ICE "lock"                /* in DIR/ice */

/* 0, -EBUSY with "lock: pid 123 already runs on this directory" in why, or another -errno. */
int nbh_lock_take(int dirfd, const char *name, int *ret_fd, struct nbh_why *why);

/*
 * Who holds it: a pid, 0 for nobody, -EAGAIN for somebody who has not written its pid yet, or
 * another -errno. Asks without taking. Who can write the file can claim any pid: check the
 * process before acting on it.
 */
pid_t nbh_lock_holder(int dirfd, const char *name);

#endif
