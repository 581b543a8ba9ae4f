#ifndef NBH_WIRE_SIGNALMSG_H
#define NBH_WIRE_SIGNALMSG_H

/* Signal messages: bytes <-> structs. netbird-wire.md 3. Field numbers of the envelope start at 2.
 */

#include "base/key.h"
#include "core/conn.h"

#include <glib.h>

typedef enum {
	NBH_SIGNAL_OFFER = 0,
	NBH_SIGNAL_ANSWER = 1,
	NBH_SIGNAL_CANDIDATE = 2,
	NBH_SIGNAL_MODE = 4,
	NBH_SIGNAL_GO_IDLE = 5,
	NBH_SIGNAL_HEARTBEAT = 6,
} NbhSignalType;

typedef struct {
	guint type; /* NbhSignalType or an unknown number */
	/* OFFER, ANSWER */
	gboolean has_ice; /* FALSE: payload ":" */
	NbhIceCreds creds;
	NbhSessionId session;
	guint32 wg_listen_port;
	char version[64];
	char relay_address[256];  /* "" if none */
	struct nbh_addr relay_ip; /* family 0: none */
	/* CANDIDATE */
	char candidate[NBH_CANDIDATE_TEXT_MAX_BYTES];
} NbhSignalMessage;

/* The protobuf Body. encode: as official clients write it (rosenpassConfig present and empty in
 * OFFER and ANSWER). */
GBytes *nbh_signal_body_encode(const NbhSignalMessage *message);
gboolean nbh_signal_body_decode(const guint8 *plain, gsize len, NbhSignalMessage *ret_message,
				GError **error);

/*
 * The whole EncryptedMessage. seal: NULL only for a far key of low order (wire/box.h). open: far is
 * the sender's key out of the message, proved by the box. Errors are of NBH_WIRE_ERROR.
 */
GBytes *nbh_signal_seal(const struct nbh_key *own_private, const struct nbh_key *own_public,
			const struct nbh_key *far_public, const NbhSignalMessage *message);
/* The same of what nbh_signal_body_encode() made. */
GBytes *nbh_signal_seal_body(const struct nbh_key *own_private, const struct nbh_key *own_public,
			     const struct nbh_key *far_public, GBytes *body);
gboolean nbh_signal_open(const struct nbh_key *own_private, const guint8 *envelope, gsize len,
			 struct nbh_key *ret_far, NbhSignalMessage *ret_message, GError **error);

/* Hub side: sender and receiver texts without opening. */
gboolean nbh_signal_route(const guint8 *envelope, gsize len, struct nbh_key *ret_from,
			  struct nbh_key *ret_to, GError **error);

#endif
