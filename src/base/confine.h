#ifndef NBH_BASE_CONFINE_H
#define NBH_BASE_CONFINE_H

/*
 * What each program takes from itself, whoever started it; the systemd units say the same from
 * outside. None of it can be taken back.
 */

#include "base/why.h"

#include <stdbool.h>

/*
 * No core file and no pipe to a core handler, no ptrace() by our own user, no /proc/PID/mem: keys
 * and passwords in memory stay there. Again after every change of user or capabilities (the kernel
 * allows dumps again), never before writing /proc/self/uid_map (which would be root's).
 */
void nbh_confine_memory(void);

/* What exec could bring back. While we still have CAP_SETPCAP: before the user is changed. */
void nbh_confine_drop_bounding_set(void);

/* Every capability of this process and the bounding set; then no_new_privs. 0 or -errno. */
int nbh_confine_drop_caps(struct nbh_why *why);

/* What a program needs beyond computing, files and ordinary sockets. */
enum nbh_confine_keep {
	NBH_CONFINE_KEEP_EXEC = 1 << 0, /* starts wireguard-go, and hands a capability to it */
};

/*
 * A system call filter for all threads and for what we start. It refuses what none of us needs and
 * an intruder would like, with an errno: tracing, mounting, namespaces, modules, BPF, io_uring, keyrings,
 * changing users, raw and packet sockets, forged sources, other ABIs; exec, unless it is kept. A list
 * of what is allowed would end the program at the first stranger's call of a library (NSS, OpenSSL).
 * Needs no_new_privs. 0; -ENOTSUP: not for this architecture or kernel, or refused to us: nothing has changed.
 */
int nbh_confine_filter(unsigned keep, struct nbh_why *why);

/* Whether nbh_confine_filter() has been successful. */
bool nbh_confine_is_filtered(void);

#endif
