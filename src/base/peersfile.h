#ifndef NBH_BASE_PEERSFILE_H
#define NBH_BASE_PEERSFILE_H

#include "base/addr.h"
#include "base/key.h"
#include "base/limits.h"
#include "base/why.h"

#include <stdbool.h>
#include <stdint.h>

/* peers.json: netbird-peers.json(5), architecture.md section 6. */
struct nbh_peersfile_peer {
	char id[64];                /* free text: the FQDN, or the key's beginning */
	struct nbh_key public_key;
	struct nbh_key preshared_key; /* zero: none */
	struct nbh_endpoint endpoint; /* unset: none */
	struct nbh_prefix *allowed_ips; /* masked; points into the arena */
	size_t n_allowed_ips;
	uint16_t keepalive_s;       /* takes effect only together with an endpoint; 0: off */
	bool has_session;
	uint32_t session; /* a new value together with an endpoint: remove and re-add in one message */
};

struct nbh_peersfile {
	uint64_t generation; /* 0: absent */
	struct nbh_peersfile_peer *peers; /* sorted by public key, no key twice */
	size_t n_peers;
	struct nbh_prefix *arena; /* owned */
	size_t n_arena;
};

#define NBH_PEERSFILE_NAME "peers.json"

/*
 * Strict: unknown or repeated keys, a key twice, a prefix at two peers, port 0, too many peers or
 * prefixes refuse the file whole ("peers.json: peers[3].endpoint: port 0"). 0, -ENOENT or -errno.
 * On success the caller frees with nbh_peersfile_clear().
 */
int nbh_peersfile_read(int dirfd, struct nbh_peersfile *ret_file, struct nbh_why *why);
int nbh_peersfile_parse(const char *text, size_t len, struct nbh_peersfile *ret_file, struct nbh_why *why);
void nbh_peersfile_clear(struct nbh_peersfile *file);

/*
 * The text that netbird-helper publishes, in the order of file->peers: {"peers":[{"id",
 * "publicKey","endpoint","allowedIPs","keepalive",...}],"generation","updatedAt","version":1}.
 * updated_unix_ms goes into updatedAt. malloc'ed; NULL on OOM.
 */
char *nbh_peersfile_format(const struct nbh_peersfile *file, int64_t updated_unix_ms, size_t *ret_len);

#endif
