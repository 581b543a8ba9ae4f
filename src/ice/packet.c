#include "config.h"

#include "ice/packet.h"

#include <string.h>

#define UDP_LEN 8
#define IP4_LEN 20
#define IP6_LEN 40
#define TTL 64

static gsize addr_len(const struct nbh_addr *addr)
{
	return addr->family == AF_INET6 ? 16 : 4;
}

static guint32 sum(guint32 s, const guint8 *p, gsize n)
{
	for (; n > 1; n -= 2, p += 2)
		s += nbh_get16(p);

	return n ? s + (guint32)(p[0] << 8) : s;
}

static guint16 fold(guint32 s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);

	return (guint16)~s;
}

guint16 nbh_packet_udp_checksum(const struct nbh_addr *from, const struct nbh_addr *to,
                                const guint8 *udp, gsize len)
{
	guint32 s = IPPROTO_UDP + (guint32)len;
	guint16 folded;

	s = sum(s, from->bytes, addr_len(from));
	s = sum(s, to->bytes, addr_len(to));
	folded = fold(sum(s, udp, len));
	return folded ? folded : 0xffff;
}

static gsize read_ip4(const guint8 *p, gsize n, NbhPacket *packet)
{
	gsize header = (gsize)(p[0] & 15) * 4;

	/* Fragments: flag "more" or an offset. */
	if (header < IP4_LEN || n < header + UDP_LEN || p[9] != IPPROTO_UDP || (nbh_get16(p + 6) & 0x3fff))
		return 0;

	packet->from.addr.family = packet->to.addr.family = AF_INET;
	memcpy(packet->from.addr.bytes, p + 12, 4);
	memcpy(packet->to.addr.bytes, p + 16, 4);
	return header;
}

static gsize read_ip6(const guint8 *p, gsize n, NbhPacket *packet)
{
	if (n < IP6_LEN + UDP_LEN || p[6] != IPPROTO_UDP)
		return 0;

	packet->from.addr.family = packet->to.addr.family = AF_INET6;
	memcpy(packet->from.addr.bytes, p + 8, 16);
	memcpy(packet->to.addr.bytes, p + 24, 16);
	return IP6_LEN;
}

gboolean nbh_packet_read(guint8 *bytes, gsize len, NbhPacket *ret_packet)
{
	NbhPacket packet = { .payload = NULL };
	gsize header = 0, udp_len;

	if (len >= IP4_LEN && bytes[0] >> 4 == 4)
		header = read_ip4(bytes, len, &packet);
	else if (len >= IP6_LEN && bytes[0] >> 4 == 6)
		header = read_ip6(bytes, len, &packet);

	if (!header)
		return FALSE;

	packet.from.port = nbh_get16(bytes + header);
	packet.to.port = nbh_get16(bytes + header + 2);
	udp_len = nbh_get16(bytes + header + 4);

	if (udp_len < UDP_LEN || header + udp_len > len || !packet.from.port || !packet.to.port)
		return FALSE;

	packet.payload = bytes + header + UDP_LEN;
	packet.len = udp_len - UDP_LEN;
	*ret_packet = packet;
	return TRUE;
}

gsize nbh_packet_write(guint8 *buf, gsize room, const struct nbh_endpoint *from,
                       const struct nbh_endpoint *to, const guint8 *payload, gsize len)
{
	gboolean is_v6 = to->addr.family == AF_INET6;
	gsize header = is_v6 ? IP6_LEN : IP4_LEN, total = header + UDP_LEN + len;
	guint8 *udp = buf + header;

	if (from->addr.family != to->addr.family || total > room || total > 0xffff)
		return 0;

	memset(buf, 0, header + UDP_LEN);
	nbh_put16(udp, from->port);
	nbh_put16(udp + 2, to->port);
	nbh_put16(udp + 4, (guint16)(UDP_LEN + len));
	memcpy(udp + UDP_LEN, payload, len);
	nbh_put16(udp + 6, nbh_packet_udp_checksum(&from->addr, &to->addr, udp, UDP_LEN + len));

	if (is_v6) {
		buf[0] = 0x60;
		nbh_put16(buf + 4, (guint16)(UDP_LEN + len));
		buf[6] = IPPROTO_UDP;
		buf[7] = TTL;
		memcpy(buf + 8, from->addr.bytes, 16);
		memcpy(buf + 24, to->addr.bytes, 16);
	} else {
		buf[0] = 0x45;
		nbh_put16(buf + 2, (guint16)total);
		buf[8] = TTL;
		buf[9] = IPPROTO_UDP;
		memcpy(buf + 12, from->addr.bytes, 4);
		memcpy(buf + 16, to->addr.bytes, 4);
		nbh_put16(buf + 10, fold(sum(0, buf, IP4_LEN)));
	}

	return total;
}
