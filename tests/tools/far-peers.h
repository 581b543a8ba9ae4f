#ifndef NBH_TESTS_TOOLS_FAR_PEERS_H
#define NBH_TESTS_TOOLS_FAR_PEERS_H

/*
 * The WireGuard end of a far peer, as little as its neighbour needs to believe in the path: every
 * handshake initiation gets its response (Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s), and keepalives can
 * be sent in the session; data is not read.
 */

#include "base/key.h"

#include <glib.h>

#define FAR_WG_INITIATION_LEN 148
#define FAR_WG_RESPONSE_LEN 92
#define FAR_WG_KEEPALIVE_LEN 32

/* A session, once a handshake was answered. */
typedef struct {
	guint8 send_key[32], receiver[4];
	guint64 counter;
} FarWg;

/* FALSE: not an initiation to this key. index: ours in the response. */
gboolean far_wg_answer(const struct nbh_key *own_private, const guint8 initiation[FAR_WG_INITIATION_LEN],
                       guint32 index, guint8 ret_response[FAR_WG_RESPONSE_LEN], FarWg *ret_session);
void far_wg_keepalive(FarWg *session, guint8 ret_packet[FAR_WG_KEEPALIVE_LEN]);

#endif
