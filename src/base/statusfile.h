#ifndef NBH_BASE_STATUSFILE_H
#define NBH_BASE_STATUSFILE_H

#include "base/addr.h"
#include "base/key.h"
#include "base/why.h"

#include <stdbool.h>
#include <stdint.h>

/* wg/status.json: what netbird-wg reports back. architecture.md section 6. */
struct nbh_wgstatus_peer {
	struct nbh_key public_key;
	struct nbh_endpoint endpoint;
	int64_t last_handshake_unix_ms; /* 0: never */
	uint64_t rx_bytes, tx_bytes;
	int64_t silent_since_unix_ms; /* 0: it answers, as far as can be known */
};

struct nbh_wgstatus {
	char backend[16];       /* "netlink", "uapi", "fake" */
	char interface[16];
	bool link_up;
	bool seccomp;           /* netbird-wg filters its system calls */
	uint16_t listen_port;   /* with "port-in-use": the one that is taken */
	uint64_t generation;    /* of the peers.json that is applied; 0: none */
	char error[192];        /* "": fine; else what netbird-wg refuses or cannot do */
	char error_code[24];    /* "", "port-in-use", "no-module", "no-capability", "refused", "private-key", "other" */
	struct nbh_wgstatus_peer *peers; /* owned; sorted by key */
	size_t n_peers;
	int64_t updated_unix_ms;
};

#define NBH_WGSTATUS_NAME "status.json" /* inside wg/ */

int nbh_wgstatus_read(int wg_dirfd, struct nbh_wgstatus *ret_status, struct nbh_why *why);
int nbh_wgstatus_parse(const char *text, size_t len, struct nbh_wgstatus *ret_status, struct nbh_why *why);
int nbh_wgstatus_write(int wg_dirfd, const struct nbh_wgstatus *status, struct nbh_why *why); /* 0640 */
void nbh_wgstatus_clear(struct nbh_wgstatus *status);

#endif
