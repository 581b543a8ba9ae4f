/* wg/silence.c: who does not answer any more, and when to look. */
#include "config.h"

#include "wg/silence.h"

#include "tests/lib/tap.h"

#include <stdlib.h>

#define UNIX_MS 1700000000000

static struct wg_silence silence;
static struct wg_peer peers[3];
static struct wg_dev dev = { .exists = true, .peers = peers, .n_peers = 1 };

static void begin(void)
{
	wg_silence_clear(&silence);
	dev.n_peers = 1;
	for (int i = 0; i < 3; i++)
		peers[i] = (struct wg_peer){ .public_key = { { (uint8_t)(i + 1) } }, .keepalive_s = 25,
			                     .last_handshake_unix_ms = 1, .rx_bytes = 1000, .tx_bytes = 1000 };
}

/* Returns since when peer i is silent, in ms of the test's clock; -1: it is not. */
static int64_t look(int64_t now_ms, size_t i)
{
	int64_t since;

	if (wg_silence_look(&silence, &dev, UNIX_MS + now_ms, (nbh_mono){ now_ms * 1000 }) < 0)
		abort();
	since = wg_silence_since(&silence, i);
	return since ? since - UNIX_MS : -1;
}

static int64_t next_ms(void)
{
	return silence.next.usec == NBH_MONO_NEVER.usec ? -1 : silence.next.usec / 1000;
}

/* Pings all the time; answers stop after the look at 5 s. */
static void test_traffic(void)
{
	begin();
	look(0, 0);
	peers[0].tx_bytes += 3000, peers[0].rx_bytes += 3000;
	OK_INT(look(5000, 0), -1, "both ways");
	OK_INT(next_ms(), 10000, "looked at often");
	peers[0].tx_bytes += 3000;
	OK_INT(look(10000, 0), -1, "not answered for 5 s");
	peers[0].tx_bytes += 3000;
	OK_INT(look(15000, 0), -1, "nor for 10 s: a keepalive may come");
	OK_INT(next_ms(), 20000, "looked at often still");
	peers[0].tx_bytes += 3000;
	OK_INT(look(20999, 0), -1, "one short of 11 s");
	OK_INT(next_ms(), 21000, "looked at when it would be");
	OK_INT(look(21000, 0), 5000, "silent since it was heard last");
	OK_INT(next_ms(), -1, "nothing was sent: no reason to hurry");
	peers[0].tx_bytes += 3000;
	OK_INT(look(31000, 0), 5000, "it stays so");
	OK_INT(next_ms(), 36000, "while data is sent it may be over soon");
	peers[0].rx_bytes += 1;
	OK_INT(look(36000, 0), -1, "until something comes");
}

/* One packet, lost: WireGuard's own new handshake after 15 s has a chance. */
static void test_one_packet(void)
{
	begin();
	look(0, 0);
	peers[0].tx_bytes += 128;
	OK_INT(look(10000, 0), -1, "one packet");
	OK_INT(next_ms(), 21000, "when it could be answered");
	OK_INT(look(21000, 0), -1, "sent once: no");
	OK_INT(next_ms(), 26000, "when it should have been");
	OK_INT(look(25999, 0), -1, "one short of 16 s");
	OK_INT(look(26000, 0), 0, "silent");
}

/* The far end only listens: its WireGuard answers every 10 s. */
static void test_one_way(void)
{
	begin();
	look(0, 0);
	for (int64_t ms = 5000; ms <= 120000; ms += 5000) {
		peers[0].tx_bytes += 100000;
		peers[0].rx_bytes += ms % 10000 ? 0 : 32;
		if (look(ms, 0) != -1)
			break;
	}
	OK_INT(wg_silence_since(&silence, 0), 0, "one way is no silence");
}

static void test_idle(void)
{
	begin();
	look(0, 0);
	for (int64_t ms = 10000; ms <= 60000; ms += 10000) {
		peers[0].tx_bytes += ms % 20000 ? 0 : 32;
		look(ms, 0);
		OK_INT(next_ms(), -1, "an idle tunnel costs no look");
	}
	OK_INT(look(64999, 0), -1, "not yet");
	OK_INT(look(65000, 0), 0, "two keepalives and a half are missing");

	begin();
	peers[0].keepalive_s = 0;
	look(0, 0);
	OK_INT(look(600000, 0), -1, "nobody promised any");

	begin();
	look(0, 0);
	peers[0].tx_bytes += 212, peers[0].rx_bytes += 156;
	look(10000, 0);
	OK_INT(next_ms(), -1, "nor does a handshake");
}

static void test_comings_and_goings(void)
{
	begin();
	peers[0].last_handshake_unix_ms = 0;
	look(0, 0);
	peers[0].tx_bytes += 3000;
	look(10000, 0);
	OK_INT(next_ms(), -1, "one that was never there is not waited for");
	OK_INT(look(100000, 0), -1, "and has not fallen silent");

	begin();
	look(0, 0);
	peers[0].tx_bytes += 3000;
	look(10000, 0);
	peers[0].tx_bytes = 148; /* made anew */
	peers[0].rx_bytes = 0;
	OK_INT(look(30000, 0), -1, "counters that begin again");

	/* Another one comes before it, and goes: each keeps its own. */
	begin();
	dev.peers = &peers[1];
	dev.n_peers = 2;
	look(0, 0);
	peers[2].tx_bytes += 3000;
	look(10000, 0);
	dev.peers = &peers[0];
	dev.n_peers = 3;
	OK_INT(look(26000, 2), 0, "the third");
	OK_INT(wg_silence_since(&silence, 0), 0, "not the first");
	OK_INT(wg_silence_since(&silence, 1), 0, "nor the second");
	dev.peers = &peers[2];
	dev.n_peers = 1;
	OK_INT(look(27000, 0), 0, "alone");
	OK_INT(wg_silence_since(&silence, 1), 0, "nobody there");
	dev.peers = peers;
}

int main(void)
{
	test_traffic();
	test_one_packet();
	test_one_way();
	test_idle();
	test_comings_and_goings();
	wg_silence_clear(&silence);
	return tap_done();
}
