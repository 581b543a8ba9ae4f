#include "config.h"

#include "ice/respond.h"

#include "wire/stun.h"

#include <string.h>

static gboolean is_between(const NbhStunCheck *check, const NbhRespond *session)
{
	gsize local = strlen(session->local_ufrag), remote = strlen(session->remote_ufrag);

	return check->username && check->username_len == local + 1 + remote &&
	       !memcmp(check->username, session->local_ufrag, local) && check->username[local] == ':' &&
	       !memcmp(check->username + local + 1, session->remote_ufrag, remote);
}

gboolean nbh_respond_is_plain(const NbhRespond *session, const NbhPacket *packet)
{
	NbhStunCheck check;

	if (!nbh_stun_read_check(packet->payload, packet->len, &check) || check.has_more || !check.has_priority)
		return FALSE;

	if (check.controlling == check.controlled || check.controlling == session->controlling)
		return FALSE;

	if (check.use_candidate && !nbh_endpoint_equal(&packet->from, &session->selected))
		return FALSE;

	return is_between(&check, session) && nbh_stun_check_fingerprint(packet->payload, packet->len);
}
