/* wg/report.c: when wg/status.json is worth writing. */
#include "config.h"

#include "wg/backend.h"
#include "wg/report.h"

#include "tests/lib/tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/test-wg-report.XXXXXX";
static int dirfd_;
static struct wg_report report;
static struct nbh_wgstatus head = { .backend = "fake", .interface = "nbh0" };
static struct wg_peer peer;
static struct wg_dev dev = { .exists = true, .is_up = true, .listen_port = 1, .peers = &peer,
	                         .n_peers = 1 };

/* One look at now_ms; returns whether the file was written. */
static bool look(const struct wg_dev *what, int64_t now_ms)
{
	nbh_mono now = { now_ms * 1000 };

	unlinkat(dirfd_, NBH_WGSTATUS_NAME, 0);
	if (wg_report_update(&report, dirfd_, &head, what, 1700000000000 + now_ms, now, NULL) < 0)
		abort();
	return faccessat(dirfd_, NBH_WGSTATUS_NAME, F_OK, 0) == 0;
}

static int64_t next_ms(int64_t now_ms)
{
	return wg_report_next(&report).usec / 1000 - now_ms;
}

static void test_when(void)
{
	OK(look(&dev, 0), "the first time");
	OK_INT(next_ms(0), WG_REPORT_SLOW_MS, "then slowly");
	OK(!look(&dev, 10000), "nothing new");
	peer.rx_bytes = 5;
	OK(!look(&dev, 20000), "bytes alone wait");
	OK(!look(&dev, 59999), "up to a minute");
	OK(look(&dev, 60000), "a minute");
	peer.tx_bytes = 5;
	OK(!look(&dev, 60250), "and wait again");
	peer.last_handshake_unix_ms = 1;
	OK(look(&dev, 60500), "a handshake is news");
	peer.endpoint.addr.family = AF_INET;
	peer.endpoint.port = 7;
	OK(look(&dev, 60750), "an endpoint is");
	memcpy(head.error, "x", 2);
	OK(look(&dev, 61000), "an error is");
	OK(!look(&dev, 61250), "once");
	head.error[0] = '\0';
	OK(look(&dev, 61500), "and so is its end");
	head.generation = 9;
	OK(look(&dev, 61750), "a generation is");
	dev.listen_port = 2;
	OK(look(&dev, 62000), "a port is");
	dev.is_up = false;
	OK(look(&dev, 62250), "down is");
	dev.n_peers = 0;
	OK(look(&dev, 62500), "a peer that went is");
	dev.n_peers = 1;
	OK(look(&dev, 62750), "a peer that came is");
}

static void test_pace(void)
{
	wg_report_changed(&report, (nbh_mono){ 100000 * 1000 });
	OK_INT(next_ms(100000), 0, "after a change: at once");
	look(&dev, 100000);
	OK_INT(next_ms(100000), WG_REPORT_FAST_MS, "then fast");
	look(&dev, 102999);
	OK_INT(next_ms(102999), WG_REPORT_FAST_MS, "for three seconds");
	look(&dev, 103000);
	OK_INT(next_ms(103000), WG_REPORT_SLOW_MS, "then slowly");
}

/* A first handshake is news that somebody waits for. Not for ever, and not from a sleeping peer. */
static void test_awaited(void)
{
	peer.last_handshake_unix_ms = 0;
	peer.endpoint.addr = (struct nbh_addr){ .family = AF_INET, .bytes = { 203, 0, 113, 7 } };
	wg_report_changed(&report, (nbh_mono){ 200000 * 1000 });
	look(&dev, 203000);
	OK_INT(next_ms(203000), WG_REPORT_AWAIT_MS, "after the fast looks: every second");
	look(&dev, 229999);
	OK_INT(next_ms(229999), WG_REPORT_AWAIT_MS, "for half a minute");
	look(&dev, 230000);
	OK_INT(next_ms(230000), WG_REPORT_SLOW_MS, "then slowly");

	wg_report_changed(&report, (nbh_mono){ 300000 * 1000 });
	peer.endpoint.addr.bytes[0] = 127;
	look(&dev, 303000);
	OK_INT(next_ms(303000), WG_REPORT_SLOW_MS, "one that sleeps is not awaited");
	peer.endpoint.addr.bytes[0] = 203;
	look(&dev, 303000);
	OK_INT(next_ms(303000), WG_REPORT_AWAIT_MS, "another one is");
	peer.last_handshake_unix_ms = 5;
	look(&dev, 304000);
	OK_INT(next_ms(304000), WG_REPORT_SLOW_MS, "until it is there");
}

static void test_silence(void)
{
	struct nbh_wgstatus back;

	peer.rx_bytes++;
	look(&dev, 400000);
	peer.tx_bytes += 128;
	look(&dev, 410000);
	OK_INT(next_ms(410000), WG_REPORT_SLOW_MS, "no earlier than needed");
	look(&dev, 420000);
	OK_INT(next_ms(420000), 1000, "when it should have been answered");
	look(&dev, 421000);
	OK(look(&dev, 426000), "silence is news");
	OK_INT(nbh_wgstatus_read(dirfd_, &back, NULL), 0, "read it");
	OK_INT(back.peers[0].silent_since_unix_ms, 1700000000000 + 400000, "since it was heard last");
	nbh_wgstatus_clear(&back);
	OK(!look(&dev, 427000), "once");
	peer.rx_bytes++;
	OK(look(&dev, 428000), "and so is its end");
}

static void test_unreadable(void)
{
	struct nbh_wgstatus back;

	OK(!look(NULL, 104000), "an unreadable device is no news");
	memcpy(head.error, "y", 2);
	OK(look(NULL, 104250), "its error is");
	OK_INT(nbh_wgstatus_read(dirfd_, &back, NULL), 0, "read it");
	OK(back.n_peers == 1 && strcmp(back.error, "y") == 0, "the peers known last stay");
	nbh_wgstatus_clear(&back);
}

/* The interface may have no port, or not be there at all: the refused one is what counts. */
static void test_refused_port(void)
{
	const struct wg_dev none = { .exists = false };
	struct nbh_wgstatus back;

	memcpy(head.error, "z", 2);
	head.listen_port = 51820;
	OK(look(&none, 105000), "a refused port is news");
	OK_INT(nbh_wgstatus_read(dirfd_, &back, NULL), 0, "read it");
	OK_INT(back.listen_port, 51820, "and named");
	nbh_wgstatus_clear(&back);
	head.listen_port = 51821;
	OK(look(NULL, 105250), "another one, too");
	OK(!look(NULL, 105500), "once");
	head.listen_port = 0;
}

int main(void)
{
	if (!mkdtemp(dir))
		abort();
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	test_when();
	test_pace();
	test_unreadable();
	test_refused_port();
	test_awaited();
	test_silence();
	wg_report_clear(&report);
	unlinkat(dirfd_, NBH_WGSTATUS_NAME, 0);
	close(dirfd_);
	rmdir(dir);
	return tap_done();
}
