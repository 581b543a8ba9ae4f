#ifndef NBH_WG_ISOLATE_H
#define NBH_WG_ISOLATE_H

#include "base/why.h"

/*
 * Giving power away in stages, as passt does. The systemd unit repeats the same limits from
 * outside, so a mistake in either is covered by the other.
 */

/*
 * First thing in main.
 * Should: refuse core dumps and ptrace, so that a private key in memory stays there; set the umask.
 * Must not: look at input, or drop what the next stage needs.
 */
void wg_isolate_early(void);

/*
 * Once the command line is known and DIR/wg exists and is open as wg_dirfd.
 * Should: as root on a directory that belongs to somebody else, become that user and its group
 * (what we write must be readable for the helper); keep CAP_NET_ADMIN alone; no_new_privs.
 * Must not: have read a file of DIR before.
 * -EPERM: CAP_NET_ADMIN is not there to keep; why says how to get it.
 */
int wg_isolate_configured(int dirfd, int wg_dirfd, struct nbh_why *why);

/*
 * Before the loop.
 * Should: check that nothing but CAP_NET_ADMIN is left, leave the directory we were started in,
 * filter system calls (base/confine); wireguard-go inherits that.
 * Must not: fail for want of a filter.
 */
int wg_isolate_final(struct nbh_why *why);

#endif
