/*
 * The port adaptor between the network and an agent, a socket pair in the place of the TUN. The
 * input is a row of packets: one byte of flags, one of length, the bytes.
 */
#include "config.h"

#include "ice/port.h"

#include "tests/fuzz/fuzz.h"

#include "ice/tun.h"
#include "wire/stun.h"

#include <sys/socket.h>

enum {
	EGRESS = 1,  /* from the agent; else from the network */
	WHOLE = 2,   /* the bytes are an IP packet; else what UDP carries */
	SIGN = 4,    /* give MESSAGE-INTEGRITY its right value */
	IPV6 = 8,
	NO_SOURCE = 16, /* no route to there */
	SETTLED = 32,   /* it has no agent */
	NO_AGENT = 64,  /* nor can it get one */
};

#define PACKET_MAX 2048
#define MESSAGE_INTEGRITY 0x0008
#define HEADER_LEN 20

static const NbhIceCreds ours = { "aaaabbbb", "abcdefghijklmnopqrstuvwxyz" };
static const NbhIceCreds theirs = { "ccccdddd", "zyxwvutsrqponmlkjihgfedcba" };

typedef struct {
	NbhPort *port;
	GMainContext *context;
	guint16 q;
	int fds[2]; /* the TUN, the agent's sockets */
	gboolean has_source, has_agent;
} World;

static void on_send(const struct nbh_addr *from, const struct nbh_endpoint *to, const guint8 *payload, gsize len,
                    gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(from->family == to->addr.family && nbh_port_may_send_to(to));
	fuzz_require(nbh_stun_is_message(payload, len) && nbh_stun_method(payload) == 1);
}

static gboolean natural_source(const struct nbh_endpoint *to, struct nbh_addr *ret_from, gpointer owner)
{
	const World *world = owner;

	*ret_from = (struct nbh_addr){ .family = to->addr.family, .bytes = { 198, 51, 100, 1 } };
	return world->has_source;
}

static gboolean on_answer(const struct nbh_endpoint *from G_GNUC_UNUSED, const guint8 *payload,
                          gsize len, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(nbh_stun_is_message(payload, len));
	return FALSE;
}

/* Nobody can guess 20 bytes of HMAC: they are computed here where the message has room for them. */
static void sign(guint8 *p, gsize n, const char *password)
{
	gsize at = HEADER_LEN, mac_len = 20;
	guint16 length = nbh_get16(p + 2);
	GHmac *hmac;

	while (at + 24 <= n && nbh_get16(p + at) != MESSAGE_INTEGRITY)
		at += 4 + ((nbh_get16(p + at + 2) + 3u) & ~3u);
	if (at + 24 > n || nbh_get16(p + at + 2) != 20)
		return;

	nbh_put16(p + 2, (guint16)(at + 24 - HEADER_LEN));
	hmac = g_hmac_new(G_CHECKSUM_SHA1, (const guchar *)password, strlen(password));
	g_hmac_update(hmac, p, (gssize)at);
	g_hmac_get_digest(hmac, p + at + 4, &mac_len);
	g_hmac_unref(hmac);
	nbh_put16(p + 2, length);
}

static void set_endpoint(struct nbh_endpoint *endpoint, const char *v4, const char *v6, guint8 flags)
{
	fuzz_require(nbh_endpoint_parse(flags & IPV6 ? v6 : v4, endpoint) == 0);
}

static void from_network(World *world, guint8 flags, guint8 *bytes, gsize len)
{
	NbhPacket packet = { .payload = bytes, .len = len };

	if (flags & WHOLE) {
		if (!nbh_packet_read(bytes, len, &packet))
			return;
		fuzz_require(packet.payload >= bytes && packet.payload + packet.len <= bytes + len);
	} else {
		set_endpoint(&packet.from, "192.0.2.7:40000", "[2001:db8::7]:40000", flags);
		set_endpoint(&packet.to, "10.9.0.1:51820", "[2001:db8::1]:51820", flags);
	}

	nbh_port_take(world->port, &packet);
}

static void from_agent(World *world, guint8 flags, const guint8 *bytes, gsize len)
{
	struct nbh_endpoint from, to;
	guint8 packet[PACKET_MAX];

	if (!(flags & WHOLE)) {
		set_endpoint(&from, "192.0.0.8:1", "[100::8]:1", flags);
		set_endpoint(&to, "192.0.2.7:40000", "[2001:db8::7]:40000", flags);
		from.port = world->q;
		len = nbh_packet_write(packet, sizeof(packet), &from, &to, bytes, len);
		fuzz_require(len);
		bytes = packet;
	}

	fuzz_require(send(world->fds[1], bytes, len, 0) == (ssize_t)len);
	nbh_port_pump(world->port, world->q);
}

/* Only what carries one of the two passwords ever gets to the agent. */
static void check_agent(World *world)
{
	guint8 buf[PACKET_MAX];
	NbhPacket packet;
	ssize_t n;

	while ((n = recv(world->fds[1], buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		fuzz_require(nbh_packet_read(buf, (gsize)n, &packet));
		fuzz_require(packet.to.port == world->q);
		fuzz_require(nbh_stun_check_integrity(packet.payload, packet.len, ours.pwd) ||
		             nbh_stun_check_integrity(packet.payload, packet.len, theirs.pwd));
	}
}

static void on_wanted(gpointer owner)
{
	World *world = owner;

	if (world->has_agent)
		nbh_port_attach(world->port, world->q, world->context);
}

static void settle(World *world, guint8 flags)
{
	NbhPortSettled settled = { .controlling = !!(flags & NO_SOURCE), .wanted = on_wanted, .owner = world };

	set_endpoint(&settled.selected, "192.0.2.7:40000", "[2001:db8::7]:40000", flags);
	nbh_port_settle(world->port, world->q, &settled);
}

static void one_packet(World *world, guint8 flags, const guint8 *data, gsize len)
{
	/* The room that port.c has behind a packet from the TUN; packets from the network have none. */
	guint8 *bytes = malloc(len + 1);

	fuzz_require(bytes);
	memcpy(bytes, data, len);
	if ((flags & SIGN) && !(flags & WHOLE) && len > HEADER_LEN)
		sign(bytes, len, bytes[0] & 1 ? theirs.pwd : ours.pwd);

	world->has_source = !(flags & NO_SOURCE);
	world->has_agent = !(flags & NO_AGENT);
	if (flags & SETTLED)
		settle(world, flags);
	if (flags & EGRESS)
		from_agent(world, flags, bytes, len);
	else
		from_network(world, flags, bytes, len);
	free(bytes);
	check_agent(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const NbhPortIo io = { on_send, natural_source, on_answer };
	World world = { 0 };
	NbhPortAgent agent = { .local = &ours, .keepalives = TRUE };

	fuzz_require(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, world.fds) == 0);
	world.port = nbh_port_new(world.fds[0], TRUE, &io, &world);
	agent.context = world.context = g_main_context_new();
	world.q = nbh_port_add(world.port, &agent);
	nbh_port_set_remote(world.port, world.q, &theirs);

	while (len > 0) {
		guint8 flags = fuzz_byte(&data, &len);
		size_t n = fuzz_byte(&data, &len);
		const uint8_t *bytes = fuzz_take(&data, &len, n, &n);

		one_packet(&world, flags, bytes, n);
	}

	nbh_port_remove(world.port, world.q);
	nbh_port_free(world.port);
	g_main_context_unref(world.context);
	close(world.fds[0]);
	close(world.fds[1]);
	return 0;
}
