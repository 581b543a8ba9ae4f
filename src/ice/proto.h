#ifndef NBH_ICE_PROTO_H
#define NBH_ICE_PROTO_H

/*
 * What is said on ice.sock (SOCK_SEQPACKET): one line of text per datagram, fields separated by
 * exactly one space, no newline. "-" stands for an absent value. Both ends use this file; so does
 * ice/sessions, which holds such lines. Strict: an unknown word, a missing or an extra field and a
 * number out of range are all refused. A command that is new needs no new version: a netbird-ice that
 * does not know it answers ERROR and goes on.
 *
 *   helper to netbird-ice
 *     SET_PORT port                     WireGuard's port; another one than before ends netbird-ice (75)
 *     LIST                              answered by SESSION ... END
 *     OPEN peer ufrag pwd sid role liveness_ms on|off
 *                                       on|off: keep the NAT open from here
 *     REMOTE peer ufrag pwd sid
 *     CANDIDATE peer candidate-text
 *     CLOSE peer, CLOSE_ALL
 *     STUN server
 *     FORWARD to hex                    a WireGuard handshake initiation, 148 bytes
 *     OVERLAY prefix4 prefix6           the networks inside the tunnels: nothing is sent there and
 *                                       nothing taken from there; "-": none
 *   netbird-ice to helper
 *     HELLO version backend             first, by itself
 *     SESSION peer ufrag pwd sid role rufrag rpwd rsid [ltype local rtype remote]
 *     END
 *     SELECTED peer ltype local rtype remote [opening]
 *     FAILED peer [opening], LOST peer [opening]
 *     HEARD peer from [opening]         its first check, or answer, of a session without a pair
 *                                       opening: of which OPEN since LIST, counted from 1, this session
 *                                       is; 0: it was listed. So nobody takes one session's news for
 *                                       another's
 *     MAPPED server mapped
 *     ERROR text
 */

#include "ice/ice.h"

#define NBH_ICE_PROTO_VERSION 1
#define NBH_ICE_INITIATION_LEN 148 /* WireGuard's first message; nothing else is forwarded */
#define NBH_ICE_UFRAG_MIN 4        /* RFC 8445 section 5.3 */
#define NBH_ICE_PWD_MIN 22

typedef enum {
	NBH_ICE_MSG_SET_PORT,
	NBH_ICE_MSG_LIST,
	NBH_ICE_MSG_OPEN,
	NBH_ICE_MSG_REMOTE,
	NBH_ICE_MSG_CANDIDATE,
	NBH_ICE_MSG_CLOSE,
	NBH_ICE_MSG_CLOSE_ALL,
	NBH_ICE_MSG_STUN,
	NBH_ICE_MSG_FORWARD,
	NBH_ICE_MSG_OVERLAY,
	NBH_ICE_MSG_HELLO,
	NBH_ICE_MSG_SESSION,
	NBH_ICE_MSG_END,
	NBH_ICE_MSG_SELECTED,
	NBH_ICE_MSG_FAILED,
	NBH_ICE_MSG_LOST,
	NBH_ICE_MSG_HEARD,
	NBH_ICE_MSG_MAPPED,
	NBH_ICE_MSG_ERROR,
	NBH_ICE_N_MSGS
} NbhIceVerb;

typedef struct {
	NbhIceVerb verb;
	struct nbh_key peer; /* where the line has one; also set inside open and session */
	gboolean has_opening; /* SELECTED, FAILED, LOST, HEARD */
	guint32 opening;
	union {
		guint16 port;
		NbhIceOpen open;
		struct {
			NbhIceCreds creds;
			NbhSessionId session;
		} remote;
		NbhCandidate candidate;
		struct nbh_endpoint server; /* STUN */
		struct {
			struct nbh_endpoint to;
			guint8 data[NBH_ICE_INITIATION_LEN];
		} forward;
		struct nbh_prefix overlay[2]; /* IPv4 and IPv6, masked; family 0: none */
		struct {
			guint version;
			char backend[NBH_ICE_BACKEND_MAX];
		} hello;
		NbhIceSession session;
		struct nbh_endpoint heard;
		NbhIcePair pair; /* SELECTED; local.addr.family 0 if not known */
		struct {
			struct nbh_endpoint server, mapped; /* mapped.addr.family 0: nobody answered */
		} mapped;
		char text[256]; /* ERROR */
	} u;
} NbhIceMessage;

/* line needs no NUL; its length is len. FALSE with the reason, ret_message untouched. No secret gets into why. */
gboolean nbh_ice_message_parse(const char *line, gsize len, NbhIceMessage *ret_message, struct nbh_why *why);

/*
 * Writes the line and a NUL; returns its length, or 0 when a field cannot be said (credentials with
 * characters or a length that RFC 8445 does not have, a candidate or address that is not set).
 */
gsize nbh_ice_message_format(const NbhIceMessage *message, char buf[NBH_ICE_MESSAGE_MAX_BYTES]);

const char *nbh_ice_verb_name(NbhIceVerb verb);

#endif
