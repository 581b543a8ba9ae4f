#ifndef NBH_ICE_PACKET_H
#define NBH_ICE_PACKET_H

/* IP packets with UDP inside, as they pass the TUN device and the IPv4 raw socket. Pure. */

#include "base/addr.h"

#include <glib.h>

#define NBH_PACKET_HEADERS_MAX 48 /* IPv6 and UDP */

typedef struct {
	struct nbh_endpoint from, to;
	guint8 *payload; /* inside the packet that was read */
	gsize len;
} NbhPacket;

/* FALSE: not UDP, a fragment, IPv6 with extension headers, lengths that do not fit, or port 0. */
gboolean nbh_packet_read(guint8 *bytes, gsize len, NbhPacket *ret_packet);

/* Headers with checksums and the payload; both ends of one family. Returns the size, 0 if there is no room. */
gsize nbh_packet_write(guint8 *buf, gsize room, const struct nbh_endpoint *from,
                       const struct nbh_endpoint *to, const guint8 *payload, gsize len);

/* Of the UDP header at udp (its checksum field 0) and what follows; never 0. RFC 768, RFC 8200 8.1. */
guint16 nbh_packet_udp_checksum(const struct nbh_addr *from, const struct nbh_addr *to,
                                const guint8 *udp, gsize len);

static inline guint16 nbh_get16(const guint8 *p)
{
	return (guint16)(p[0] << 8 | p[1]);
}

static inline void nbh_put16(guint8 *p, guint16 value)
{
	p[0] = (guint8)(value >> 8);
	p[1] = (guint8)value;
}

#endif
