/* The port adaptor with a socket pair in the place of the TUN: nothing here needs a privilege. */
#include "config.h"

#include "ice/port.h"
#include "base/mono.h"
#include "ice/tun.h"
#include "tests/lib/stunmake.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIR_ID "0123456789abcdef0123456789abcdef:ghijklmnopqrstuvghijklmnopqrstuv"
#define PAIR_ID_SWAPPED "ghijklmnopqrstuvghijklmnopqrstuv:0123456789abcdef0123456789abcdef"

static const NbhIceCreds ours = { "aaaabbbb", "abcdefghijklmnopqrstuvwxyz" };
static const NbhIceCreds theirs = { "ccccdddd", "zyxwvutsrqponmlkjihgfedcba" };
static const guint8 txid[NBH_STUN_TXID_LEN] = "0123456789ab";

typedef struct {
	NbhPort *port;
	GMainContext *context;
	guint16 q;
	int tun, agent_end; /* the latter is what libnice's sockets would be */
	/* what left for the network */
	guint n_sent, n_answers;
	struct nbh_addr from;
	struct nbh_endpoint to;
	guint8 payload[2048];
	gsize len;
} Fixture;

static gint64 stopped_usec; /* 0: the clock goes */

/* In the place of base/mono.c. */
nbh_mono nbh_mono_now(void)
{
	return (nbh_mono){ stopped_usec ? stopped_usec : g_get_monotonic_time() };
}

static struct nbh_endpoint endpoint(const char *text)
{
	struct nbh_endpoint e;

	g_assert_cmpint(nbh_endpoint_parse(text, &e), ==, 0);
	return e;
}

static void on_send(const struct nbh_addr *from, const struct nbh_endpoint *to, const guint8 *payload, gsize len,
                    gpointer owner)
{
	Fixture *f = owner;

	f->n_sent++;
	f->from = *from;
	f->to = *to;
	memcpy(f->payload, payload, len);
	f->len = len;
}

/* The natural source is 198.51.100.1 or 2001:db8::1; 203.0.113.9 cannot be reached. */
static gboolean natural_source(const struct nbh_endpoint *to, struct nbh_addr *ret_from, gpointer owner G_GNUC_UNUSED)
{
	struct nbh_endpoint dead = endpoint("203.0.113.9:1"), v4 = endpoint("198.51.100.1:1"),
	                    v6 = endpoint("[2001:db8::1]:1");

	if (nbh_addr_equal(&to->addr, &dead.addr))
		return FALSE;

	*ret_from = to->addr.family == AF_INET6 ? v6.addr : v4.addr;
	return TRUE;
}

static gboolean on_answer(const struct nbh_endpoint *from G_GNUC_UNUSED, const guint8 *payload G_GNUC_UNUSED,
                          gsize len G_GNUC_UNUSED, gpointer owner)
{
	Fixture *f = owner;

	f->n_answers++;
	return FALSE;
}

static void set_up_with(Fixture *f, gboolean keepalives)
{
	static const NbhPortIo io = { on_send, natural_source, on_answer };
	NbhPortAgent agent = { .local = &ours, .keepalives = keepalives };
	int fds[2];

	memset(f, 0, sizeof(*f));
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==, 0);
	f->tun = fds[0];
	f->agent_end = fds[1];
	f->port = nbh_port_new(fds[0], TRUE, &io, f);
	agent.context = f->context = g_main_context_new();
	f->q = nbh_port_add(f->port, &agent);
	g_assert_cmpuint(f->q, !=, 0);
	nbh_port_set_remote(f->port, f->q, &theirs);
}

static void set_up(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	set_up_with(f, TRUE);
}

static void tear_down(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	nbh_port_remove(f->port, f->q);
	nbh_port_free(f->port);
	g_main_context_unref(f->context);
	close(f->agent_end);
	close(f->tun);
}

/* From the network; to is the local address that it was sent to. */
static void arrive(Fixture *f, const char *from, const char *to, const guint8 *payload, gsize len)
{
	guint8 copy[2048];
	NbhPacket packet = { endpoint(from), endpoint(to), copy, len };

	memcpy(copy, payload, len);
	nbh_port_take(f->port, &packet);
}

/* What came out at the agent's side of the TUN. */
static gboolean agent_got(Fixture *f, guint8 *buf, NbhPacket *ret_packet)
{
	ssize_t n = recv(f->agent_end, buf, 2048, 0);

	if (n < 0)
		return FALSE;

	g_assert_true(nbh_packet_read(buf, (gsize)n, ret_packet));
	return TRUE;
}

static void agent_sends(Fixture *f, const char *from, guint16 port, const char *to, const guint8 *payload, gsize len)
{
	guint8 packet[2048];
	struct nbh_endpoint source = endpoint(from), target = endpoint(to);
	gsize n;

	source.port = port;
	n = nbh_packet_write(packet, sizeof(packet), &source, &target, payload, len);
	g_assert_cmpint(send(f->agent_end, packet, n, 0), ==, n);
	nbh_port_pump(f->port, f->q);
}

static gsize request(guint8 *p, const char *pair_id)
{
	return test_stun_request(p, txid, "aaaabbbb:ccccdddd", ours.pwd, pair_id);
}

static void test_request_and_answer(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	guint8 stun[512], buf[2048], swapped[NBH_STUN_PAIR_ID_LEN];
	struct nbh_endpoint mapped = endpoint("192.0.2.7:40000"), asked = endpoint("10.9.0.1:51820");
	gsize n = request(stun, PAIR_ID);
	NbhPacket got;

	arrive(f, "192.0.2.7:40000", "10.9.0.1:51820", stun, n);
	g_assert_true(agent_got(f, buf, &got));
	g_assert_true(nbh_endpoint_equal(&got.from, &mapped));
	g_assert_true(nbh_addr_equal(&got.to.addr, &nbh_tun_addr4));
	g_assert_cmpuint(got.to.port, ==, f->q);
	g_assert_cmpuint(got.len, ==, n - NBH_STUN_PAIR_ID_ROOM); /* trimmed */
	g_assert_cmpint(nbh_port_last_heard(f->port, f->q), >, 0);

	n = nbh_stun_make_ice_answer(stun, sizeof(stun), txid, &mapped, ours.pwd);
	agent_sends(f, "192.0.0.8:1", f->q, "192.0.2.7:40000", stun, n);
	g_assert_cmpuint(f->n_sent, ==, 1);
	g_assert_true(nbh_addr_equal(&f->from, &asked.addr)); /* not the natural source */
	g_assert_true(nbh_endpoint_equal(&f->to, &mapped));
	g_assert_cmpuint(f->len, ==, n + NBH_STUN_PAIR_ID_ROOM);
	g_assert_true(nbh_stun_pair_id(f->payload, f->len, swapped));
	g_assert_cmpmem(swapped, sizeof(swapped), PAIR_ID_SWAPPED, NBH_STUN_PAIR_ID_LEN);
	g_assert_true(nbh_stun_check_integrity(f->payload, f->len, ours.pwd));
}

/* Without 0x8100 in the request there is none in the answer; IPv6 goes to the other address. */
static void test_v6_without_pair_id(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	guint8 stun[512], buf[2048];
	struct nbh_endpoint mapped = endpoint("[2001:db8::7]:9");
	gsize n = request(stun, NULL);
	NbhPacket got;

	arrive(f, "[2001:db8::7]:9", "[2001:db8::2]:51820", stun, n);
	g_assert_true(agent_got(f, buf, &got));
	g_assert_true(nbh_addr_equal(&got.to.addr, &nbh_tun_addr6));
	g_assert_cmpmem(got.payload, got.len, stun, n);
	n = nbh_stun_make_ice_answer(stun, sizeof(stun), txid, &mapped, ours.pwd);
	agent_sends(f, "[100::8]:1", f->q, "[2001:db8::7]:9", stun, n);
	g_assert_cmpmem(f->payload, f->len, stun, n);
}

/* Of every kind of stranger's packet nothing reaches the agent, and nothing is answered. */
static void test_strangers(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	guint8 stun[512], buf[2048];
	NbhPacket got;
	gsize n = test_stun_request(stun, txid, "xxxxyyyy:ccccdddd", ours.pwd, NULL);

	arrive(f, "192.0.2.7:1", "10.9.0.1:51820", stun, n);
	g_assert_cmpuint(nbh_port_counters(f->port)->drop_ufrag, ==, 1);
	n = test_stun_request(stun, txid, "aaaabbbb:ccccdddd", theirs.pwd, NULL);
	arrive(f, "192.0.2.7:1", "10.9.0.1:51820", stun, n);
	g_assert_cmpuint(nbh_port_counters(f->port)->drop_integrity, ==, 1);
	n = nbh_stun_make_request(stun, txid);
	arrive(f, "192.0.2.7:1", "10.9.0.1:51820", stun, n);
	g_assert_cmpuint(nbh_port_counters(f->port)->drop_ufrag, ==, 2);
	n = request(stun, NULL);
	arrive(f, "127.0.0.1:1", "10.9.0.1:51820", stun, n);
	arrive(f, "192.0.2.7:1", "224.0.0.1:51820", stun, n);
	arrive(f, "192.0.0.8:1", "10.9.0.1:51820", stun, n);
	arrive(f, "[fe80::1]:1", "[2001:db8::2]:51820", stun, n);
	stun[1] = 3; /* Allocate */
	arrive(f, "192.0.2.7:1", "10.9.0.1:51820", stun, n);
	stun[1] = 0x11; /* Binding indication */
	arrive(f, "192.0.2.7:1", "10.9.0.1:51820", stun, n);
	arrive(f, "192.0.2.7:1", "10.9.0.1:51820", (const guint8 *)"hello", 5);
	g_assert_cmpuint(nbh_port_counters(f->port)->drop_other, ==, 7);
	g_assert_false(agent_got(f, buf, &got));
	g_assert_cmpuint(f->n_sent, ==, 0);
	g_assert_cmpint(nbh_port_last_heard(f->port, f->q), ==, 0);
}

static void test_check_and_first_answer(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	guint8 stun[512], answer[512], buf[2048];
	struct nbh_endpoint natural = endpoint("198.51.100.1:51820"), far = endpoint("192.0.2.7:40000");
	gsize n = test_stun_request(stun, txid, "ccccdddd:aaaabbbb", theirs.pwd, NULL), answer_len;
	NbhPacket got;

	agent_sends(f, "192.0.0.8:1", f->q, "192.0.2.7:40000", stun, n);
	g_assert_cmpuint(f->n_sent, ==, 1);
	g_assert_true(nbh_addr_equal(&f->from, &natural.addr));
	g_assert_cmpmem(f->payload, f->len, stun, n);

	/* A forged answer does not use up the transaction. */
	answer_len = nbh_stun_make_ice_answer(answer, sizeof(answer), txid, &natural, ours.pwd);
	arrive(f, "192.0.2.7:40000", "10.9.0.1:51820", answer, answer_len);
	g_assert_false(agent_got(f, buf, &got));
	g_assert_cmpuint(nbh_port_counters(f->port)->drop_integrity, ==, 1);

	answer_len = nbh_stun_make_ice_answer(answer, sizeof(answer), txid, &natural, theirs.pwd);
	arrive(f, "192.0.2.7:40000", "10.9.0.1:51820", answer, answer_len);
	g_assert_true(agent_got(f, buf, &got));
	g_assert_true(nbh_endpoint_equal(&got.from, &far));
	g_assert_cmpmem(got.payload, got.len, answer, answer_len);

	/* The official client answers twice (interop.md rule 4): the second goes nowhere. */
	arrive(f, "192.0.2.7:40000", "10.9.0.1:51820", answer, answer_len);
	g_assert_false(agent_got(f, buf, &got));
	g_assert_cmpuint(nbh_port_counters(f->port)->drop_answer, ==, 1);
	g_assert_cmpuint(f->n_answers, ==, 1); /* it might have been for somebody else here */
}

static void test_nowhere(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	static const char *const targets[] = { "127.0.0.1:9", "224.0.0.1:9", "255.255.255.255:9", "192.0.0.8:9",
		                               "203.0.113.9:9" };
	static const char *const targets6[] = { "[::1]:9", "[ff02::1]:9", "[100::8]:9", "[fe80::1]:9" };
	guint8 stun[512];
	gsize n = test_stun_request(stun, txid, "ccccdddd:aaaabbbb", theirs.pwd, NULL);

	for (gsize i = 0; i < G_N_ELEMENTS(targets); i++)
		agent_sends(f, "192.0.0.8:1", f->q, targets[i], stun, n);

	for (gsize i = 0; i < G_N_ELEMENTS(targets6); i++)
		agent_sends(f, "[100::8]:1", f->q, targets6[i], stun, n);

	agent_sends(f, "192.0.0.8:1", (guint16)(f->q + 1), "192.0.2.7:9", stun, n); /* nobody's port */
	agent_sends(f, "192.0.0.8:1", 53, "192.0.2.7:9", stun, n);
	agent_sends(f, "192.0.0.8:1", f->q, "192.0.2.7:9", (const guint8 *)"no STUN", 7);
	stun[1] = 3; /* Allocate: TURN does not go out here */
	agent_sends(f, "192.0.0.8:1", f->q, "192.0.2.7:9", stun, n);
	g_assert_cmpuint(f->n_sent, ==, 0);
	g_assert_cmpuint(nbh_port_counters(f->port)->drop_out, ==, 13);
}

/* Between helpers WireGuard's own keepalive holds the NAT open. */
static void test_keepalives(void)
{
	for (int on = 0; on < 2; on++) {
		Fixture f;
		guint8 stun[64];
		gsize n = nbh_stun_make_request(stun, txid);

		set_up_with(&f, on);
		stun[1] = 0x11;
		agent_sends(&f, "192.0.0.8:1", f.q, "192.0.2.7:9", stun, n);
		g_assert_cmpuint(f.n_sent, ==, on);
		tear_down(&f, NULL);
	}
}

static void test_agents(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	NbhIceCreds other = { "eeeeffff", "abcdefghijklmnopqrstuvwxyz" };
	NbhPortAgent same = { .local = &ours, .context = f->context }, agent = { .local = &other, .context = f->context };
	guint8 stun[512], buf[2048];
	guint16 q, again;
	NbhPacket got;
	gsize n;

	g_assert_cmpuint(nbh_port_add(f->port, &same), ==, 0); /* whose would a request be? */
	q = nbh_port_add(f->port, &agent);
	g_assert_cmpuint(q, !=, 0);
	g_assert_cmpuint(q, !=, f->q);

	n = test_stun_request(stun, txid, "eeeeffff:ccccdddd", other.pwd, NULL);
	arrive(f, "192.0.2.7:1", "10.9.0.1:51820", stun, n);
	g_assert_true(agent_got(f, buf, &got));
	g_assert_cmpuint(got.to.port, ==, q);

	/* An answer from another agent than the asked one is not let out in its name. */
	n = nbh_stun_make_ice_answer(stun, sizeof(stun), txid, &got.from, ours.pwd);
	agent_sends(f, "192.0.0.8:1", f->q, "192.0.2.7:1", stun, n);
	g_assert_cmpuint(f->n_sent, ==, 0);

	/* A successor with the same credentials gets another port. */
	nbh_port_remove(f->port, q);
	nbh_port_remove(f->port, q);
	again = nbh_port_add(f->port, &agent);
	g_assert_cmpuint(again, !=, 0);
	g_assert_cmpuint(again, !=, q);
	nbh_port_remove(f->port, again);
}

static void test_full(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	GArray *ports = g_array_new(FALSE, FALSE, sizeof(guint16));
	NbhIceCreds creds = ours;
	NbhPortAgent agent = { .local = &creds, .context = f->context };
	guint16 q;

	for (int i = 1; i < NBH_ICE_SESSIONS_MAX; i++) {
		g_snprintf(creds.ufrag, sizeof(creds.ufrag), "ufrag%d", i);
		q = nbh_port_add(f->port, &agent);
		g_assert_cmpuint(q, !=, 0);
		g_array_append_val(ports, q);
	}

	g_strlcpy(creds.ufrag, "onetoomany", sizeof(creds.ufrag));
	g_assert_cmpuint(nbh_port_add(f->port, &agent), ==, 0);

	for (guint i = 0; i < ports->len; i++)
		nbh_port_remove(f->port, g_array_index(ports, guint16, i));

	q = nbh_port_add(f->port, &agent);
	g_assert_cmpuint(q, !=, 0);
	nbh_port_remove(f->port, q);
	g_array_unref(ports);
}

static gboolean is_heard_from(Fixture *f, guint port)
{
	g_autofree char *from = g_strdup_printf("192.0.2.7:%u", port);
	guint8 stun[512], buf[2048];
	gsize n = request(stun, NULL);
	NbhPacket got;

	arrive(f, from, "10.9.0.1:51820", stun, n);
	return agent_got(f, buf, &got);
}

/*
 * The peer knows the password, so its checks count from wherever they seem to come: libnice would
 * remember each address, check it and answer it. Those that are known go on being heard.
 */
static void test_sources(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	const NbhPortCounters *counters = nbh_port_counters(f->port);

	for (guint i = 0; i < NBH_ICE_SOURCES_MAX; i++)
		g_assert_true(is_heard_from(f, 1000 + i));

	g_assert_cmpuint(counters->drop_source, ==, 0);

	for (guint i = NBH_ICE_SOURCES_MAX; i < 10000; i++)
		g_assert_false(is_heard_from(f, 1000 + i));

	g_assert_cmpuint(counters->drop_source, ==, 10000 - NBH_ICE_SOURCES_MAX);

	for (guint i = 0; i < NBH_ICE_SOURCES_MAX; i++)
		g_assert_true(is_heard_from(f, 1000 + i));
}

/* The last new source that is heard at once, the first that is not, and the next when its time has come. */
static void test_source_limit(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	stopped_usec = g_get_monotonic_time();

	for (guint i = 0; i < NBH_ICE_SOURCES_MAX - 1; i++)
		g_assert_true(is_heard_from(f, 1000 + i));

	g_assert_true(is_heard_from(f, 2000));
	g_assert_false(is_heard_from(f, 3000));
	stopped_usec += (NBH_ICE_SOURCE_EVERY_MS - 1) * 1000;
	g_assert_false(is_heard_from(f, 3000));
	stopped_usec += 1000;
	g_assert_true(is_heard_from(f, 3000));
	g_assert_false(is_heard_from(f, 4000));
	g_assert_cmpuint(nbh_port_counters(f->port)->drop_source, ==, 3);
	stopped_usec = 0;
}

/* Requests with single bytes changed, and noise: nothing breaks (run it with sanitizers). */
static void test_damaged(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(7);
	guint8 stun[512], buf[2048];
	gsize n = request(stun, PAIR_ID);
	NbhPacket got;

	for (int i = 0; i < 20000; i++) {
		gsize len = (gsize)g_rand_int_range(rand, 0, (gint32)n + 1);
		g_autofree guint8 *copy = g_memdup2(stun, n);

		if (i & 1)
			len = n;

		if (len)
			copy[g_rand_int_range(rand, 0, (gint32)len)] = (guint8)g_rand_int(rand);

		arrive(f, "192.0.2.7:1", "10.9.0.1:51820", copy, len);

		while (agent_got(f, buf, &got))
			g_assert_cmpuint(got.to.port, ==, f->q);

		send(f->agent_end, copy, len, 0);
		nbh_port_pump(f->port, f->q);
	}
}

/* Who knows the password may ask so often, and then in measure; who does not uses nothing up. */
static void test_often(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	const guint n_tries = 4 * NBH_ICE_REQUESTS_BURST;
	const NbhPortCounters *counters = nbh_port_counters(f->port);
	gint64 began_usec = g_get_monotonic_time();
	guint n_heard = 0, n_earned;
	guint8 stun[512];

	for (guint i = 0; i < n_tries; i++) {
		gsize n = test_stun_request(stun, txid, "aaaabbbb:ccccdddd", "not the password......", NULL);

		arrive(f, "192.0.2.7:1000", "10.9.0.1:51820", stun, n);
	}

	g_assert_cmpuint(counters->drop_integrity, ==, n_tries);

	for (guint i = 0; i < n_tries; i++)
		n_heard += is_heard_from(f, 1000);

	n_earned = (guint)((g_get_monotonic_time() - began_usec) / 1000 / NBH_ICE_REQUEST_EVERY_MS);
	g_assert_cmpuint(n_heard, >=, NBH_ICE_REQUESTS_BURST);
	g_assert_cmpuint(n_heard, <=, NBH_ICE_REQUESTS_BURST + n_earned + 1);
	g_assert_cmpuint(counters->drop_often, ==, n_tries - n_heard);
}

static void test_overlay(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	const NbhPortCounters *counters = nbh_port_counters(f->port);
	struct nbh_endpoint inside = endpoint("192.0.2.7:9"), inside6 = endpoint("[fd00:64::7]:9"),
	                    outside = endpoint("192.0.3.7:9");
	struct nbh_prefix v4 = { inside.addr, 24 }, v6 = { inside6.addr, 64 }, none = { .len = 0 };
	guint8 stun[512];
	gsize n = test_stun_request(stun, txid, "ccccdddd:aaaabbbb", theirs.pwd, NULL);

	nbh_port_set_overlay(f->port, &v4, &v6);
	g_assert_false(nbh_port_may_reach(f->port, &inside));
	g_assert_false(nbh_port_may_reach(f->port, &inside6));
	g_assert_true(nbh_port_may_reach(f->port, &outside));
	agent_sends(f, "192.0.0.8:1", f->q, "192.0.2.9:9", stun, n);
	g_assert_cmpuint(f->n_sent, ==, 0);
	g_assert_cmpuint(counters->drop_out, ==, 1);
	g_assert_false(is_heard_from(f, 1000));
	g_assert_cmpuint(counters->drop_other, ==, 1);

	nbh_port_set_overlay(f->port, &none, &none);
	g_assert_true(is_heard_from(f, 1000));
	agent_sends(f, "192.0.0.8:1", f->q, "192.0.2.9:9", stun, n);
	g_assert_cmpuint(f->n_sent, ==, 1);
}

/* ---- settled ------------------------------------------------------------------------------- */

#define PEER "192.0.2.7:40000"
#define OTHER "192.0.2.8:40000"

static guint n_wanted;
static gboolean gives_agent;

static void on_wanted(gpointer owner)
{
	Fixture *f = owner;

	n_wanted++;

	if (gives_agent)
		nbh_port_attach(f->port, f->q, f->context);
}

/* We control; both addresses of the peer were heard while there was an agent. */
static void settle(Fixture *f, gboolean attach)
{
	NbhPortSettled settled = { .controlling = TRUE, .selected = endpoint(PEER), .wanted = on_wanted, .owner = f };
	guint8 stun[512], buf[2048];
	gsize n = request(stun, NULL);
	NbhPacket got;

	arrive(f, PEER, "10.9.0.1:51820", stun, n);
	arrive(f, OTHER, "10.9.0.1:51820", stun, n);

	while (agent_got(f, buf, &got))
		;

	nbh_port_settle(f->port, f->q, &settled);
	gives_agent = attach;
	n_wanted = 0;
}

static void test_settled(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	static const struct {
		const char *username;
		guint flags;
	} plain[] = {
		{ "aaaabbbb:ccccdddd", 0 },
		{ "aaaabbbb:ccccdddd", TEST_CHECK_NOMINATES }, /* the pair that it is */
	};
	struct nbh_endpoint asked = endpoint("10.9.0.2:51820"), peer = endpoint(PEER), mapped;
	guint8 stun[512], buf[2048], swapped[NBH_STUN_PAIR_ID_LEN];
	gboolean cut;
	NbhPacket got;

	settle(f, TRUE);

	for (gsize i = 0; i < G_N_ELEMENTS(plain); i++) {
		gsize n = test_stun_check(stun, txid, plain[i].username, ours.pwd, plain[i].flags, PAIR_ID);

		arrive(f, PEER, "10.9.0.2:51820", stun, n);
		g_assert_cmpuint(f->n_sent, ==, i + 1);
		g_assert_true(nbh_addr_equal(&f->from, &asked.addr));
		g_assert_true(nbh_endpoint_equal(&f->to, &peer));
		g_assert_cmpmem(nbh_stun_txid(f->payload), NBH_STUN_TXID_LEN, txid, NBH_STUN_TXID_LEN);
		g_assert_true(nbh_stun_pair_id(f->payload, f->len, swapped));
		g_assert_cmpmem(swapped, sizeof(swapped), PAIR_ID_SWAPPED, NBH_STUN_PAIR_ID_LEN);
		g_assert_true(nbh_stun_mapped_address(f->payload, f->len, &mapped));
		g_assert_true(nbh_endpoint_equal(&mapped, &peer));
		g_assert_true(nbh_stun_check_integrity(f->payload, f->len, ours.pwd));
		f->len = nbh_stun_trim(f->payload, f->len, &cut);
		g_assert_true(nbh_stun_check_fingerprint(f->payload, f->len));
	}

	g_assert_cmpuint(n_wanted, ==, 0);
	g_assert_false(agent_got(f, buf, &got));
	g_assert_cmpuint(nbh_port_counters(f->port)->plain, ==, 2);
}

/* Whatever may change something finds an agent. */
static void test_settled_wants_agent(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	static const struct {
		const char *from, *username;
		guint flags;
	} cases[] = {
		{ "192.0.2.7:40001", "aaaabbbb:ccccdddd", 0 }, /* a NAT that changed */
		{ PEER, "aaaabbbb:ccccdddd", TEST_CHECK_CONTROLLING },
		{ PEER, "aaaabbbb:ccccdddd", TEST_CHECK_NO_ROLE },
		{ PEER, "aaaabbbb:ccccdddd", TEST_CHECK_NO_PRIORITY },
		{ PEER, "aaaabbbb:ccccdddd", TEST_CHECK_UNKNOWN },
		{ PEER, "aaaabbbb:ccccdddd", TEST_CHECK_BAD_FINGERPRINT },
		{ PEER, "aaaabbbb:ccccdddd", TEST_CHECK_UNSIGNED },
		{ PEER, "aaaabbbb:xxxxdddd", 0 }, /* a successor of the peer's agent */
		{ PEER, "aaaabbbb:ccccddd", 0 },
		{ OTHER, "aaaabbbb:ccccdddd", TEST_CHECK_NOMINATES },
	};
	guint8 stun[512], buf[2048];
	NbhPacket got;

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		gsize n = test_stun_check(stun, txid, cases[i].username, ours.pwd, cases[i].flags, NULL);
		struct nbh_endpoint from = endpoint(cases[i].from);

		settle(f, TRUE);
		arrive(f, cases[i].from, "10.9.0.1:51820", stun, n);
		g_assert_cmpuint(n_wanted, ==, 1);
		g_assert_true(agent_got(f, buf, &got));
		g_assert_true(nbh_endpoint_equal(&got.from, &from));
		g_assert_cmpuint(f->n_sent, ==, 0);

		/* That address is known now; while there is an agent, everything is for it. */
		arrive(f, PEER, "10.9.0.1:51820", stun, n);
		g_assert_true(agent_got(f, buf, &got));
		g_assert_cmpuint(n_wanted, ==, 1);
	}
}

static void test_settled_strangers(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
	const NbhPortCounters *counters = nbh_port_counters(f->port);
	guint8 stun[512], buf[2048];
	gsize n = test_stun_check(stun, txid, "aaaabbbb:ccccdddd", theirs.pwd, 0, NULL);
	NbhPacket got;

	settle(f, FALSE);
	arrive(f, PEER, "10.9.0.1:51820", stun, n);
	g_assert_cmpuint(counters->drop_integrity, ==, 1);
	g_assert_cmpuint(n_wanted, ==, 0);

	/* Nobody can be made for it: dropped, and the next one asks again. */
	n = test_stun_check(stun, txid, "aaaabbbb:ccccdddd", ours.pwd, TEST_CHECK_CONTROLLING, NULL);
	arrive(f, PEER, "10.9.0.1:51820", stun, n);
	arrive(f, PEER, "10.9.0.1:51820", stun, n);
	g_assert_cmpuint(n_wanted, ==, 2);
	g_assert_cmpuint(counters->drop_other, ==, 2);

	/* An answer that comes late has nobody to go to. */
	n = nbh_stun_make_ice_answer(stun, sizeof(stun), txid, &(struct nbh_endpoint){ .addr.family = AF_INET },
	                             theirs.pwd);
	arrive(f, PEER, "10.9.0.1:51820", stun, n);
	g_assert_false(agent_got(f, buf, &got));
	g_assert_cmpuint(f->n_sent, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, func) g_test_add("/ice/port/" name, Fixture, NULL, set_up, func, tear_down)
	ADD("request-and-answer", test_request_and_answer);
	ADD("v6-without-pair-id", test_v6_without_pair_id);
	ADD("strangers", test_strangers);
	ADD("check-and-first-answer", test_check_and_first_answer);
	ADD("nowhere", test_nowhere);
	ADD("agents", test_agents);
	ADD("full", test_full);
	ADD("sources", test_sources);
	ADD("source-limit", test_source_limit);
	ADD("often", test_often);
	ADD("overlay", test_overlay);
	ADD("damaged", test_damaged);
	ADD("settled", test_settled);
	ADD("settled-wants-agent", test_settled_wants_agent);
	ADD("settled-strangers", test_settled_strangers);
	g_test_add_func("/ice/port/keepalives", test_keepalives);
	return g_test_run();
}
