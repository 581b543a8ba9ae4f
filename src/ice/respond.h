#ifndef NBH_ICE_RESPOND_H
#define NBH_ICE_RESPOND_H

/*
 * The checks that a connected peer sends for ever, to hear that we are there (official ones every
 * two seconds: interop.md rules 11 and 19). Whatever else a check may want is libnice's. Pure.
 */

#include "core/conn.h"
#include "ice/packet.h"

typedef struct {
	const char *local_ufrag, *remote_ufrag;
	gboolean controlling; /* us */
	struct nbh_endpoint selected; /* the far end of the pair */
} NbhRespond;

/*
 * TRUE for a whole, trimmed request of this session whose answer changes nothing: both ufrags, the
 * other role, no nomination of another pair. That MESSAGE-INTEGRITY is right and that the source is
 * known has been seen.
 */
gboolean nbh_respond_is_plain(const NbhRespond *session, const NbhPacket *packet);

#endif
