#ifndef NBH_CORE_CANDIDATE_H
#define NBH_CORE_CANDIDATE_H

#include "base/addr.h"
#include "base/limits.h"
#include "base/why.h"

#include <glib.h>

/* RFC 8445 candidate types. */
typedef enum {
	NBH_CANDIDATE_HOST,
	NBH_CANDIDATE_SRFLX,
	NBH_CANDIDATE_PRFLX,
	NBH_CANDIDATE_RELAY,
	NBH_CANDIDATE_N_TYPES
} NbhCandidateType;

typedef struct {
	NbhCandidateType type;
	char foundation[33];
	guint32 priority;
	struct nbh_endpoint endpoint;
	struct nbh_endpoint related; /* raddr/rport; family 0 if absent; the address may be 0.0.0.0 */
	char ufrag[NBH_ICE_UFRAG_MAX + 1]; /* extension "ufrag"; "" if absent */
	gboolean has_cid;                  /* extension "cid": a NetBird peer */
} NbhCandidate;

const char *nbh_candidate_type_name(NbhCandidateType type); /* "host", "srflx", ... */

/*
 * The text of netbird-wire.md 3.4, strictly: component 1, UDP, priority > 0, IP literal, port
 * 1-65535, known type. "candidate:" in front is accepted, unknown extensions are skipped, an IPv6
 * zone is cut. Refuses TCP, names and addresses that can be no host elsewhere (nbh_addr_unfit())
 * with the reason.
 */
gboolean nbh_candidate_parse(const char *text, NbhCandidate *ret_candidate, struct nbh_why *why);

/* Without "candidate:" in front, without extensions. buf of NBH_CANDIDATE_TEXT_MAX_BYTES. */
const char *nbh_candidate_format(const NbhCandidate *candidate, char *buf, gsize size);

/*
 * Our own candidates: host ones from local addresses with WireGuard's port, priorities and
 * foundations as ice-port.md section 4 (type preference 120 for host, 100 for srflx, distinct local
 * preference per index), srflx from the mapped endpoints with raddr 0.0.0.0 rport port; an srflx
 * equal to a host candidate or to an earlier one is left out. Returns the number written.
 */
gsize nbh_candidates_make(const struct nbh_addr *hosts, gsize n_hosts,
                          const struct nbh_endpoint *mapped, gsize n_mapped, guint16 port,
                          NbhCandidate *ret, gsize max);

/*
 * The candidates of one remote session: no duplicate (address, port, type), at most
 * NBH_CANDIDATES_PER_PEER_MAX; when full, server-reflexive ones stay first, then by priority.
 */
typedef struct {
	NbhCandidate items[NBH_CANDIDATES_PER_PEER_MAX];
	gsize n;
	guint dropped; /* that did not fit */
} NbhCandidateSet;

/* TRUE if it is in now and was not before. */
gboolean nbh_candidate_set_add(NbhCandidateSet *set, const NbhCandidate *candidate);

/* Which local interfaces and addresses may become candidates. Pure; the caller lists the interfaces. */
typedef struct {
	const char *interface;      /* name */
	struct nbh_addr addr;
	gboolean is_temporary;      /* IFA_F_TEMPORARY */
	gboolean is_deprecated;     /* IFA_F_DEPRECATED */
	gboolean is_natural_source; /* what the kernel would use by itself towards the Internet */
} NbhLocalAddress;

typedef struct {
	const char *const *blacklist; /* interface name prefixes, NULL-terminated */
	const char *own_interface;    /* the overlay device */
	struct nbh_prefix overlay, overlay_v6; /* family 0: none */
} NbhCandidateFilter;

/* No loopback, link-local, overlay, blacklisted; no temporary or deprecated IPv6 but the natural source. */
gboolean nbh_candidate_filter_allows(const NbhCandidateFilter *filter, const NbhLocalAddress *local);

#endif
