#ifndef NBH_WIRE_STUN_H
#define NBH_WIRE_STUN_H

/* STUN Binding, as much as the port adaptor and the hub's server need. RFC 8489; ice-port.md. */

#include "base/addr.h"
#include "base/limits.h"

#include <glib.h>

#define NBH_STUN_COOKIE 0x2112A442u
#define NBH_STUN_TXID_LEN 12
#define NBH_STUN_PAIR_ID_LEN 65	 /* value of 0x8100: 32 characters, ':', 32 characters */
#define NBH_STUN_PAIR_ID_ROOM 72 /* what nbh_stun_echo_pair_id() appends */

typedef enum {
	NBH_STUN_REQUEST,
	NBH_STUN_INDICATION,
	NBH_STUN_SUCCESS,
	NBH_STUN_ERROR
} NbhStunClass;

gboolean nbh_stun_is_message(const guint8 *p,
			     gsize n); /* cookie, length field a multiple of 4 and inside n */
NbhStunClass nbh_stun_class(const guint8 *p);
guint nbh_stun_method(const guint8 *p); /* 1: Binding */
const guint8 *nbh_stun_txid(const guint8 *p);

/* Cuts behind FINGERPRINT and corrects the length; returns the new total length.
 * netbird-wire.md 4.9. */
gsize nbh_stun_trim(guint8 *p, gsize n, gboolean *ret_cut);
/* USERNAME's part before ':' (of a request to us: our ufrag). */
gboolean nbh_stun_local_ufrag(const guint8 *p, gsize n, char ret_ufrag[NBH_ICE_UFRAG_MAX + 1]);
/* The 0x8100 value "A:B" when it has exactly that shape. Call before trimming. */
gboolean nbh_stun_pair_id(const guint8 *p, gsize n, guint8 ret_pair_id[NBH_STUN_PAIR_ID_LEN]);
/* Appends 0x8100 "B:A" behind FINGERPRINT; p must have NBH_STUN_PAIR_ID_ROOM more bytes. New
 * length. */
gsize nbh_stun_echo_pair_id(guint8 *p, gsize n, const guint8 pair_id[NBH_STUN_PAIR_ID_LEN]);
/* MESSAGE-INTEGRITY with a short-term password. FALSE if absent or wrong, or the password is empty.
 */
gboolean nbh_stun_check_integrity(const guint8 *p, gsize n, const char *password);
gboolean nbh_stun_check_fingerprint(const guint8 *p, gsize n);

/* What an ICE connectivity check says (RFC 8445 7.1). Points into the packet. */
typedef struct {
	const char *username; /* no NUL; NULL: absent */
	gsize username_len;
	gboolean has_priority, use_candidate, controlling, controlled;
	/* Something that must be understood and is not, or behind MESSAGE-INTEGRITY and not FINGERPRINT. */
	gboolean has_more;
} NbhStunCheck;

/* FALSE: its attributes do not fit. Does not judge what it reads. */
gboolean nbh_stun_read_check(const guint8 *p, gsize n, NbhStunCheck *ret_check);

/* Bare Binding request (20 bytes) and its answer with XOR-MAPPED-ADDRESS and FINGERPRINT. Sizes are
 * returned. */
gsize nbh_stun_make_request(guint8 *p, const guint8 txid[NBH_STUN_TXID_LEN]);
gsize nbh_stun_make_answer(guint8 *p, gsize room, const guint8 txid[NBH_STUN_TXID_LEN],
			   const struct nbh_endpoint *mapped);
/* An ICE answer: XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY, FINGERPRINT. */
gsize nbh_stun_make_ice_answer(guint8 *p, gsize room, const guint8 txid[NBH_STUN_TXID_LEN],
			       const struct nbh_endpoint *mapped, const char *password);
gboolean nbh_stun_mapped_address(const guint8 *p, gsize n,
				 struct nbh_endpoint *ret_mapped); /* XOR- or MAPPED-ADDRESS */

/* "stun:host[:port]" and "turn:..." URIs: netbird-wire.md 6. is_tls for stuns/turns. */
gboolean nbh_stun_uri_parse(const char *uri, char *ret_host, gsize host_size, guint16 *ret_port,
			    gboolean *ret_turn, gboolean *ret_tls);

#endif
