#include "config.h"

#include "ice/packet.h"

#include <string.h>

/* Made by an independent program; "hello" from 51820 to 20001. */
static const char v4_hex[] = "450000210000000040119089c6336407c0000008ca6c4e21000db93068656c6c6f";
static const char v6_hex[] = "60000000000d114020010db8000000000000000000000007"
                             "01000000000000000000000000000008ca6c4e21000d74ac68656c6c6f";

static gsize unhex(const char *hex, guint8 *ret)
{
	gsize n = strlen(hex) / 2;

	for (gsize i = 0; i < n; i++)
		ret[i] = (guint8)(g_ascii_xdigit_value(hex[2 * i]) << 4 | g_ascii_xdigit_value(hex[2 * i + 1]));

	return n;
}

static struct nbh_endpoint endpoint(const char *text)
{
	struct nbh_endpoint e;

	g_assert_cmpint(nbh_endpoint_parse(text, &e), ==, 0);
	return e;
}

static void check_both_ways(const char *hex, const char *from_text, const char *to_text)
{
	guint8 want[128], buf[128];
	gsize n = unhex(hex, want);
	struct nbh_endpoint from = endpoint(from_text), to = endpoint(to_text);
	NbhPacket packet;

	g_assert_cmpuint(nbh_packet_write(buf, n, &from, &to, (const guint8 *)"hello", 5), ==, n);
	g_assert_cmpmem(buf, n, want, n);
	g_assert_cmpuint(nbh_packet_write(buf, n - 1, &from, &to, (const guint8 *)"hello", 5), ==, 0);
	g_assert_true(nbh_packet_read(want, n, &packet));
	g_assert_true(nbh_endpoint_equal(&packet.from, &from));
	g_assert_true(nbh_endpoint_equal(&packet.to, &to));
	g_assert_cmpmem(packet.payload, packet.len, "hello", 5);

	/* Nothing shorter is taken; what hangs behind is not part of it. */
	for (gsize cut = 0; cut < n; cut++) {
		g_autofree guint8 *exact = g_memdup2(want, cut + !cut);

		g_assert_false(nbh_packet_read(exact, cut, &packet));
	}

	g_assert_true(nbh_packet_read(want, n + 8, &packet));
	g_assert_cmpuint(packet.len, ==, 5);
}

static void test_v4(void)
{
	check_both_ways(v4_hex, "198.51.100.7:51820", "192.0.0.8:20001");
}

static void test_v6(void)
{
	check_both_ways(v6_hex, "[2001:db8::7]:51820", "[100::8]:20001");
}

static void test_families_differ(void)
{
	guint8 buf[128];
	struct nbh_endpoint from = endpoint("198.51.100.7:1"), to = endpoint("[100::8]:1");

	g_assert_cmpuint(nbh_packet_write(buf, sizeof(buf), &from, &to, buf, 0), ==, 0);
}

/* RFC 768: "If the computed checksum is zero, it is transmitted as all ones". */
static void test_zero_checksum(void)
{
	guint8 buf[64], payload[2] = { 64776 >> 8, 64776 & 0xff };
	struct nbh_endpoint from = endpoint("198.51.100.7:51820"), to = endpoint("192.0.0.8:20001");

	g_assert_cmpuint(nbh_packet_write(buf, sizeof(buf), &from, &to, payload, 2), ==, 30);
	g_assert_cmphex(nbh_get16(buf + 26), ==, 0xffff);
}

static void test_refused(void)
{
	static const struct {
		const char *what;
		gsize at;
		guint8 value;
	} rows[] = {
		{ "version 5", 0, 0x55 }, { "short header", 0, 0x44 },   { "header beyond the end", 0, 0x4f },
		{ "TCP", 9, 6 },          { "more fragments", 6, 0x20 }, { "fragment offset", 7, 1 },
		{ "UDP too long", 25, 14 }, { "UDP too short", 25, 7 },
	};
	guint8 packet[128];
	gsize n = unhex(v4_hex, packet);
	NbhPacket ignored;

	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		guint8 changed[128];

		memcpy(changed, packet, n);
		changed[rows[i].at] = rows[i].value;
		g_test_message("%s", rows[i].what);
		g_assert_false(nbh_packet_read(changed, n, &ignored));
	}

	memset(packet + 20, 0, 2);
	g_assert_false(nbh_packet_read(packet, n, &ignored)); /* source port 0 */
}

/* The raw socket gives what the network sent: options are legal. */
static void test_options(void)
{
	guint8 plain[128], packet[128];
	gsize n = unhex(v4_hex, plain);
	NbhPacket found;

	memcpy(packet, plain, 20);
	memset(packet + 20, 1, 8);
	memcpy(packet + 28, plain + 20, n - 20);
	packet[0] = 0x47;
	g_assert_true(nbh_packet_read(packet, n + 8, &found));
	g_assert_cmpuint(found.to.port, ==, 20001);
	g_assert_cmpmem(found.payload, found.len, "hello", 5);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ice/packet/v4", test_v4);
	g_test_add_func("/ice/packet/v6", test_v6);
	g_test_add_func("/ice/packet/families-differ", test_families_differ);
	g_test_add_func("/ice/packet/zero-checksum", test_zero_checksum);
	g_test_add_func("/ice/packet/refused", test_refused);
	g_test_add_func("/ice/packet/options", test_options);
	return g_test_run();
}
