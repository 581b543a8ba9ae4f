#ifndef NBH_WG_APPLIED_H
#define NBH_WG_APPLIED_H

#include "base/addr.h"
#include "base/key.h"
#include "base/limits.h"
#include "base/why.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WG_APPLIED_NAME "applied.json" /* inside wg/ */

struct wg_applied_peer {
	struct nbh_key public_key;
	struct nbh_endpoint endpoint; /* that we set last; the peer may have roamed since */
	bool has_session;
	uint32_t session;
};

/*
 * What we did last: it tells roaming from a new wish, and what is ours from what is not. Survives
 * kill -9 in wg/applied.json. Written before an apply that makes things (so that nothing that we
 * made can be taken for foreign) and after every successful one.
 */
struct wg_applied {
	bool known;               /* false: nothing is known, leave existing endpoints alone */
	bool made;                /* the interface is ours to remove; false: adopted */
	char backend[16];
	char interface[IFNAMSIZ];
	uint32_t ifindex;         /* 0: about to be made */
	struct nbh_prefix addresses[NBH_DEVICE_ADDRESSES_MAX]; /* that we added */
	size_t n_addresses;
	struct wg_applied_peer *peers; /* owned; sorted by key */
	size_t n_peers;
};

void wg_applied_clear(struct wg_applied *applied);

/*
 * A missing file, a damaged one and one of another boot all give known = false and 0: the file can
 * be made again. why then says what was wrong, "" when nothing was. Negative only on OOM.
 */
int wg_applied_read(int wg_dirfd, struct wg_applied *ret_applied, struct nbh_why *why);
int wg_applied_parse(const char *text, size_t len, const char *boot_id,
                     struct wg_applied *ret_applied, struct nbh_why *why);
char *wg_applied_format(const struct wg_applied *applied, const char *boot_id, size_t *ret_len);
int wg_applied_write(int wg_dirfd, const struct wg_applied *applied, struct nbh_why *why);

#endif
