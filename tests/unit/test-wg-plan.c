/* wg/plan.c and what surrounds it: every combination for one peer, links, crashes, size. */
#include "config.h"

#include "wg/apply.h"
#include "wg/backend-fake.h"
#include "wg/plan.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct nbh_key key_of(unsigned n)
{
	struct nbh_key key = { { 0 } };

	key.bytes[0] = (uint8_t)(1 + (n >> 16)); /* big-endian: numbers and keys sort alike */
	key.bytes[1] = (uint8_t)(n >> 8);
	key.bytes[2] = (uint8_t)n;
	return key;
}

static struct nbh_endpoint endpoint_of(const char *text)
{
	struct nbh_endpoint endpoint = { 0 };

	if (text && nbh_endpoint_parse(text, &endpoint) < 0)
		abort();
	return endpoint;
}

static struct nbh_prefix prefix_of(const char *text)
{
	struct nbh_prefix prefix;

	if (nbh_prefix_parse(text, &prefix) < 0)
		abort();
	return prefix;
}

static const struct nbh_key our_key = { { 1, 2, 3 } }, other_key = { { 3, 2, 1 } };

static struct nbh_device device_of(void)
{
	struct nbh_device device = { .interface = "nbh0", .n_addresses = 1, .mtu = 1280,
		                         .listen_port = 51820 };

	device.addresses[0] = prefix_of("100.64.0.1/16");
	return device;
}

/* An interface as device_of() wants it. */
static struct wg_dev dev_of(struct nbh_prefix *address)
{
	*address = prefix_of("100.64.0.1/16");
	return (struct wg_dev){ .exists = true, .is_wireguard = true, .is_up = true, .ifindex = 7,
		                    .has_private_key = true, .private_key = our_key,
		                    .listen_port = 51820, .mtu = 1280, .kind = "wireguard",
		                    .addresses = address, .n_addresses = 1 };
}

/*
 * Every combination of one peer's endpoint and session in the three states. The expectation is
 * written down once more, from architecture.md section 6 and house-style.md 3.1, fact 4.
 */
enum { ABSENT = -2, UNKNOWN = -1, NO_ENDPOINT = 0 }; /* else an index into endpoints */
static const char *const endpoints[] = { NULL, "192.0.2.1:1", "192.0.2.2:2", "192.0.2.3:3" };

struct combination {
	int want, want_session, last, last_session, actual;
};

struct expected {
	bool any;
	enum wg_op_kind kind;
	bool endpoint;
};

static struct expected expect(const struct combination *c)
{
	bool known = c->last >= NO_ENDPOINT;

	if (c->want == ABSENT) { /* ours go, foreign ones stay */
		if (c->actual != ABSENT && known)
			return (struct expected){ true, WG_OP_REMOVE, false };
		return (struct expected){ 0 };
	}

	if (c->actual == ABSENT)
		return (struct expected){ true, WG_OP_ADD, c->want > NO_ENDPOINT };

	if (c->want == NO_ENDPOINT) {
		if (known && c->last > NO_ENDPOINT)
			return (struct expected){ true, WG_OP_READD, false };
		return (struct expected){ 0 };
	}

	if (known && c->want_session != 0 && c->want_session != c->last_session)
		return (struct expected){ true, WG_OP_READD, true };

	if (c->actual == NO_ENDPOINT || (known && c->last != c->want))
		return (struct expected){ true, WG_OP_UPDATE, true };

	return (struct expected){ 0 }; /* as it was set, or roamed since, or not ours to know */
}

static bool check_combination(const struct combination *c)
{
	struct nbh_device device = device_of();
	struct nbh_prefix address;
	struct wg_dev dev = dev_of(&address);
	struct nbh_peersfile_peer wanted = { .public_key = key_of(1),
		.has_session = c->want_session != 0, .session = (uint32_t)c->want_session };
	struct nbh_peersfile file = { .peers = &wanted, .n_peers = c->want != ABSENT };
	struct wg_want want = { &device, &our_key, &file };
	struct wg_peer actual = { .public_key = key_of(1) };
	struct wg_applied_peer entry = { .public_key = key_of(1),
		.has_session = c->last_session != 0, .session = (uint32_t)c->last_session };
	struct wg_applied applied = { .known = c->last != UNKNOWN, .made = true, .ifindex = 7,
		                          .peers = &entry, .n_peers = c->last >= NO_ENDPOINT };
	struct expected expected = expect(c);
	struct wg_plan plan;
	bool good;

	if (c->want >= NO_ENDPOINT)
		wanted.endpoint = endpoint_of(endpoints[c->want]);
	if (c->actual >= NO_ENDPOINT)
		actual.endpoint = endpoint_of(endpoints[c->actual]);
	if (c->last >= NO_ENDPOINT)
		entry.endpoint = endpoint_of(endpoints[c->last]);
	dev.peers = &actual;
	dev.n_peers = c->actual != ABSENT;

	if (wg_plan_make(&want, &dev, &applied, &plan, NULL) < 0)
		return false;

	good = plan.n_ops == expected.any;
	if (good && expected.any)
		good = plan.ops[0].kind == expected.kind && plan.ops[0].set_endpoint == expected.endpoint &&
		       (!expected.endpoint ||
		        nbh_endpoint_equal(&plan.ops[0].endpoint, &wanted.endpoint));
	if (!good) {
		printf("# want %d session %d, last %d session %d, actual %d:\n", c->want,
		       c->want_session, c->last, c->last_session, c->actual);
		wg_plan_print(&plan, "nbh0", stdout);
	}

	wg_plan_clear(&plan);
	return good;
}

static void test_combinations(void)
{
	static const int lasts[] = { UNKNOWN, ABSENT, NO_ENDPOINT, 1, 2 };
	static const int wants[] = { ABSENT, NO_ENDPOINT, 1, 2 };
	static const int actuals[] = { ABSENT, NO_ENDPOINT, 1, 3 };
	unsigned n = 0, bad = 0;

	for (size_t w = 0; w < 4; w++)
		for (int ws = 0; ws < 3; ws++)
			for (size_t l = 0; l < 5; l++)
				for (int ls = 0; ls < 3; ls++)
					for (size_t a = 0; a < 4; a++) {
						struct combination c = { wants[w], ws, lasts[l], ls, actuals[a] };

						n++;
						bad += !check_combination(&c);
					}

	OK(n == 720 && bad == 0, "all %u combinations of one peer's endpoint and session (%u wrong)", n,
	   bad);
}

/* wanted and actual allowed IPs -> what the update carries. */
static void test_allowed_ips(void)
{
	static const struct {
		const char *want, *actual, *op; /* one letter per prefix; op: "+..." adds, "=..." replaces */
	} table[] = {
		{ "abc", "abc", "" },    { "abc", "ab", "+c" },  { "abc", "", "+abc" },
		{ "abc", "b", "+ac" },   { "ab", "abc", "=ab" }, { "", "abc", "=" },
		{ "ac", "ab", "=ac" },   { "a", "b", "=a" },     { "", "", "" },
		{ "ccbaab", "abc", "" }, { "cba", "bc", "+a" },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(table); i++) {
		struct nbh_device device = device_of();
		struct nbh_prefix address, wanted_list[8], actual_list[8];
		struct wg_dev dev = dev_of(&address);
		struct nbh_peersfile_peer wanted = { .public_key = key_of(1), .allowed_ips = wanted_list };
		struct nbh_peersfile file = { .peers = &wanted, .n_peers = 1 };
		struct wg_want want = { &device, &our_key, &file };
		struct wg_peer actual = { .public_key = key_of(1), .allowed_ips = actual_list };
		struct wg_applied nothing = { 0 };
		struct wg_plan plan;
		char got[16] = "";
		size_t n = 0;

		for (const char *p = table[i].want; *p; p++) {
			wanted_list[wanted.n_allowed_ips] = prefix_of("100.64.0.0/32");
			wanted_list[wanted.n_allowed_ips++].addr.bytes[3] = (uint8_t)*p;
		}
		for (const char *p = table[i].actual; *p; p++) {
			actual_list[actual.n_allowed_ips] = prefix_of("100.64.0.0/32");
			actual_list[actual.n_allowed_ips++].addr.bytes[3] = (uint8_t)*p;
		}
		dev.peers = &actual;
		dev.n_peers = 1;
		wg_plan_prepare(&file);
		if (wg_plan_make(&want, &dev, &nothing, &plan, NULL) < 0)
			abort();
		if (plan.n_ops == 1) {
			got[n++] = plan.ops[0].replace_allowed_ips ? '=' : '+';
			for (size_t j = 0; j < plan.ops[0].n_allowed_ips; j++)
				got[n++] = (char)plan.ops[0].allowed_ips[j].addr.bytes[3];
		}
		OK_STR(got, table[i].op, "allowed IPs");
		wg_plan_clear(&plan);
	}
}

static void test_keepalive_and_psk(void)
{
	struct nbh_device device = device_of();
	struct nbh_prefix address;
	struct wg_dev dev = dev_of(&address);
	struct nbh_peersfile_peer wanted = { .public_key = key_of(1), .keepalive_s = 25 };
	struct nbh_peersfile file = { .peers = &wanted, .n_peers = 1 };
	struct wg_want want = { &device, &our_key, &file };
	struct wg_peer actual = { .public_key = key_of(1) };
	struct wg_applied nothing = { 0 };
	struct wg_plan plan;

	dev.peers = &actual;
	dev.n_peers = 1;
	wg_plan_make(&want, &dev, &nothing, &plan, NULL);
	OK(wg_plan_is_empty(&plan), "a keepalive without an endpoint is nothing");
	wg_plan_clear(&plan);

	actual.keepalive_s = 25;
	wg_plan_make(&want, &dev, &nothing, &plan, NULL);
	OK(plan.n_ops == 1 && plan.ops[0].set_keepalive && plan.ops[0].keepalive_s == 0,
	   "and one that is there without an endpoint is taken away");
	wg_plan_clear(&plan);

	wanted.endpoint = actual.endpoint = endpoint_of("192.0.2.1:1");
	wanted.preshared_key = other_key;
	wg_plan_make(&want, &dev, &nothing, &plan, NULL);
	OK(plan.n_ops == 1 && !plan.ops[0].set_keepalive && !plan.ops[0].set_endpoint &&
	   plan.ops[0].set_preshared_key, "a pre-shared key changes alone");
	wg_plan_clear(&plan);

	wanted.preshared_key = (struct nbh_key){ { 0 } };
	actual.preshared_key = other_key;
	actual.has_preshared_key = true;
	wg_plan_make(&want, &dev, &nothing, &plan, NULL);
	OK(plan.n_ops == 1 && plan.ops[0].set_preshared_key &&
	   nbh_key_is_zero(plan.ops[0].preshared_key), "and is taken away");
	wg_plan_clear(&plan);
}

static int make(const struct wg_want *want, const struct wg_dev *dev,
                const struct wg_applied *applied, struct wg_plan *plan)
{
	struct nbh_why why = { "" };
	int r = wg_plan_make(want, dev, applied, plan, &why);

	if (r < 0)
		printf("# %s\n", why.text);
	OK((r < 0) == (why.text[0] != '\0'), "a refusal says why");
	return r;
}

static void test_link(void)
{
	struct nbh_device device = device_of();
	struct wg_want want = { &device, &our_key, NULL };
	struct nbh_prefix address;
	struct wg_dev none = { 0 }, dev = dev_of(&address);
	struct wg_applied nothing = { 0 }, made = { .known = true, .made = true, .ifindex = 7 },
	                  other = { .known = true, .made = true, .ifindex = 8 },
	                  pending = { .known = true, .made = true };
	struct wg_plan plan;

	OK_INT(make(&want, &none, &nothing, &plan), 0, "no interface");
	OK(plan.create_link && plan.set_private_key && plan.set_listen_port && !plan.set_fwmark &&
	   plan.set_mtu && plan.n_add_addresses == 1 && plan.set_up && wg_plan_makes(&plan),
	   "is created");
	wg_plan_clear(&plan);

	OK_INT(make(&want, &dev, &nothing, &plan), 0, "one with our key");
	OK(wg_plan_is_empty(&plan), "is adopted as it is");
	wg_plan_clear(&plan);

	dev.private_key = other_key;
	OK_INT(make(&want, &dev, &nothing, &plan), -EKEYREJECTED, "one with another key is not ours");
	OK_INT(make(&want, &dev, &other, &plan), -EKEYREJECTED, "nor if we made one of another index");
	OK_INT(make(&want, &dev, &made, &plan), 0, "unless we made it");
	OK(plan.set_private_key && !plan.create_link, "then it gets the new key");
	wg_plan_clear(&plan);
	OK_INT(make(&want, &dev, &pending, &plan), -EKEYREJECTED, "about to be made: not with that key");
	dev.has_private_key = false;
	OK_INT(make(&want, &dev, &nothing, &plan), -EKEYREJECTED, "one without a key is not ours");
	OK_INT(make(&want, &dev, &pending, &plan), 0, "unless we were about to make it");
	wg_plan_clear(&plan);
	dev.is_wireguard = false;
	OK_INT(make(&want, &dev, &made, &plan), -EEXIST, "one of another kind is refused");
}

static void test_down(void)
{
	struct wg_want want = { 0 };
	struct nbh_prefix address;
	struct wg_dev none = { 0 }, dev = dev_of(&address);
	struct wg_peer peers[2] = { { .public_key = key_of(1) }, { .public_key = key_of(2) } };
	struct wg_applied_peer entry = { .public_key = key_of(2) };
	struct wg_applied nothing = { 0 }, made = { .known = true, .made = true, .ifindex = 7 };
	struct wg_plan plan;

	dev.peers = peers;
	dev.n_peers = 2;
	OK_INT(make(&want, &none, &made, &plan), 0, "no device.json, no interface");
	OK(wg_plan_is_empty(&plan), "nothing to do");
	wg_plan_clear(&plan);
	OK_INT(make(&want, &dev, &nothing, &plan), 0, "no device.json, an interface that we do not know");
	OK(wg_plan_is_empty(&plan), "nothing to do");
	wg_plan_clear(&plan);
	OK_INT(make(&want, &dev, &made, &plan), 0, "one that we made");
	OK(plan.remove_link, "goes");
	wg_plan_clear(&plan);
	made.made = false;
	made.peers = &entry;
	made.n_peers = 1;
	made.addresses[0] = address;
	made.n_addresses = 1;
	OK_INT(make(&want, &dev, &made, &plan), 0, "one that we adopted");
	OK(!plan.remove_link && plan.n_ops == 1 && plan.ops[0].kind == WG_OP_REMOVE &&
	   nbh_key_compare(plan.ops[0].public_key, &peers[1].public_key) == 0 &&
	   plan.n_remove_addresses == 1, "stays, without our peers and addresses");
	wg_plan_clear(&plan);
}

static void test_addresses(void)
{
	struct nbh_device device = device_of();
	struct wg_want want = { &device, &our_key, NULL };
	struct nbh_prefix address[3];
	struct wg_dev dev = dev_of(address);
	struct wg_applied made = { .known = true, .made = true, .ifindex = 7 };
	struct wg_plan plan;

	made.addresses[0] = address[0];
	made.addresses[1] = address[1] = prefix_of("100.64.0.9/16");
	made.n_addresses = 2;
	address[2] = prefix_of("10.9.9.9/24");
	dev.n_addresses = 3;
	wg_plan_make(&want, &dev, &made, &plan, NULL);
	OK(plan.n_add_addresses == 0 && plan.n_remove_addresses == 1 &&
	   nbh_prefix_compare(&plan.remove_addresses[0], &address[1]) == 0,
	   "only an address that was ours is removed");
	wg_plan_clear(&plan);
}

/*
 * The whole of apply.c on the fake: each apply is cut off after each of its operations, as a
 * kill -9 would; a fresh start from applied.json must then converge.
 */
static struct nbh_prefix crash_prefixes[6];
static struct nbh_peersfile_peer crash_peers[6];

static struct nbh_peersfile crash_file(unsigned step)
{
	memset(crash_peers, 0, sizeof(crash_peers));
	for (unsigned i = 0; i < 6; i++) {
		crash_prefixes[i] = prefix_of("100.64.1.0/32");
		crash_prefixes[i].addr.bytes[3] = (uint8_t)(i + step);
		crash_peers[i].public_key = key_of(2 * i + step); /* some stay, some go, some come */
		crash_peers[i].endpoint = endpoint_of(i == 3 ? NULL : endpoints[1 + step]);
		crash_peers[i].has_session = true;
		crash_peers[i].session = step;
		crash_peers[i].allowed_ips = &crash_prefixes[i];
		crash_peers[i].n_allowed_ips = 1;
	}
	return (struct nbh_peersfile){ .peers = crash_peers, .n_peers = 6, .generation = step };
}

static bool fake_is(const struct nbh_peersfile *file)
{
	struct wg_dev dev;
	bool good = wg_backend_fake.read(NULL, &dev, NULL) == 0 && dev.n_peers == file->n_peers + 1;

	/* The one more is key 60000: somebody else's. */
	for (size_t i = 0; good && i < file->n_peers; i++)
		good = nbh_key_compare(&dev.peers[i].public_key, &file->peers[i].public_key) == 0 &&
		       nbh_endpoint_equal(&dev.peers[i].endpoint, &file->peers[i].endpoint) &&
		       dev.peers[i].n_allowed_ips == 1;
	wg_dev_clear(&dev);
	return good;
}

static void add_foreign_peer(void)
{
	struct nbh_key key = key_of(60000);
	struct wg_op op = { .kind = WG_OP_ADD, .public_key = &key };
	struct wg_plan plan = { .ops = &op, .n_ops = 1 };

	wg_backend_fake.apply(NULL, &plan, NULL);
}

static int run_fresh(int dirfd, const struct wg_want *want)
{
	struct wg_apply apply = { .wg_dirfd = dirfd, .instead = &wg_backend_fake };
	struct wg_apply_count count;
	struct nbh_why why = { "" };
	int r = wg_applied_read(dirfd, &apply.applied, &why);

	if (r == 0)
		r = wg_apply_run(&apply, want, &count, &why);
	wg_apply_clear(&apply);
	return r;
}

static void test_crashes(void)
{
	char dir[] = "/tmp/test-wg-plan.XXXXXX";
	struct nbh_device device = device_of();
	unsigned bad = 0, n = 0;
	int dirfd;

	if (!mkdtemp(dir))
		abort();
	dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (size_t cut = 0; cut < 20; cut++) {
		for (unsigned cut_step = 0; cut_step < 2; cut_step++) {
			wg_fake_reset();
			unlinkat(dirfd, WG_APPLIED_NAME, 0);
			for (unsigned step = 0; step < 2; step++) {
				struct nbh_peersfile file = crash_file(step);
				struct wg_want want = { &device, &our_key, &file };

				if (step == cut_step) {
					wg_fake_fail_apply(1, cut, -EINTR);
					if (run_fresh(dirfd, &want) != -EINTR)
						bad++;
				}
				n++;
				if (run_fresh(dirfd, &want) < 0)
					bad++;
				if (step == 0)
					add_foreign_peer();
				if (!fake_is(&file))
					bad++;
			}
		}
	}

	OK(bad == 0, "killed after any operation, a fresh start converges (%u of %u wrong)", bad, n);
	{
		struct wg_want want = { .private_key = &our_key };
		struct wg_dev dev;

		OK_INT(run_fresh(dirfd, &want), 0, "down");
		wg_backend_fake.read(NULL, &dev, NULL);
		OK(!dev.exists, "removes what we made");
		OK(faccessat(dirfd, WG_APPLIED_NAME, F_OK, 0) < 0, "and applied.json");
		wg_dev_clear(&dev);
	}
	unlinkat(dirfd, WG_APPLIED_NAME, 0);
	close(dirfd);
	rmdir(dir);
	wg_fake_reset();
}

static void test_roaming(void)
{
	struct nbh_device device = device_of();
	struct nbh_peersfile file = crash_file(0);
	struct wg_want want = { &device, &our_key, &file };
	struct wg_apply apply = { .wg_dirfd = -1, .instead = &wg_backend_fake };
	struct nbh_endpoint roamed = endpoint_of("192.0.2.200:4");
	struct wg_apply_count count;
	struct wg_dev dev;

	wg_fake_reset();
	wg_apply_run(&apply, &want, &count, NULL);
	OK_INT(count.ops[WG_OP_ADD], 6, "peers are added");
	wg_fake_roam(&crash_peers[0].public_key, &roamed);
	OK_INT(wg_apply_run(&apply, &want, &count, NULL), 0, "the same files again");
	OK(count.link == 0 && count.ops[WG_OP_UPDATE] == 0 && count.ops[WG_OP_READD] == 0,
	   "do nothing to a peer that roamed");
	crash_peers[0].endpoint = endpoint_of("192.0.2.201:4");
	wg_apply_run(&apply, &want, &count, NULL);
	OK_INT(count.ops[WG_OP_UPDATE], 1, "a new endpoint in the file is set");
	wg_apply_look(&apply, &dev, NULL);
	OK(nbh_endpoint_equal(&dev.peers[0].endpoint, &crash_peers[0].endpoint), "over the roamed one");
	wg_dev_clear(&dev);
	wg_apply_clear(&apply);
	wg_fake_reset();
}

static void test_applied_text(void)
{
	struct wg_applied_peer peers[2] = {
		{ .public_key = key_of(1), .endpoint = endpoint_of("[2001:db8::1]:5") },
		{ .public_key = key_of(2), .has_session = true, .session = 4294967295u },
	};
	struct wg_applied applied = { .known = true, .made = true, .backend = "uapi",
		.interface = "nbh0", .ifindex = 12, .n_addresses = 1, .peers = peers, .n_peers = 2 };
	struct wg_applied back;
	struct nbh_why why = { "" };
	size_t len;
	char *text;

	applied.addresses[0] = prefix_of("100.64.0.1/16");
	text = wg_applied_format(&applied, "boot", &len);
	OK_INT(wg_applied_parse(text, len, "boot", &back, &why), 0, "applied.json is read back");
	OK(back.known && back.made && strcmp(back.backend, "uapi") == 0 && back.ifindex == 12 &&
	   back.n_addresses == 1 && back.n_peers == 2 &&
	   nbh_endpoint_equal(&back.peers[0].endpoint, &peers[0].endpoint) &&
	   !back.peers[0].has_session && back.peers[1].session == 4294967295u, "with everything in it");
	wg_applied_clear(&back);
	OK_INT(wg_applied_parse(text, len, "other boot", &back, &why), 0, "of another boot");
	OK(!back.known && !back.peers, "nothing is known");
	for (size_t cut = 0; cut < len - 2; cut += 7) {
		wg_applied_parse(text, cut, "boot", &back, &why);
		if (back.known)
			OK(false, "cut at %zu", cut);
		wg_applied_clear(&back);
	}
	free(text);
}

static double plan_seconds(size_t n)
{
	struct nbh_device device = device_of();
	struct nbh_prefix address;
	struct wg_dev dev = dev_of(&address);
	struct nbh_peersfile file = { .n_peers = n };
	struct wg_want want = { &device, &our_key, &file };
	struct wg_applied applied = { .known = true, .made = true, .ifindex = 7, .n_peers = n };
	double best = 1e9;

	file.peers = calloc(n, sizeof(*file.peers));
	dev.peers = calloc(n, sizeof(*dev.peers));
	applied.peers = calloc(n, sizeof(*applied.peers));
	if (!file.peers || !dev.peers || !applied.peers)
		abort();
	dev.n_peers = n;
	for (unsigned i = 0; i < n; i++) {
		file.peers[i].public_key = key_of(3 * i + 1);
		file.peers[i].endpoint = endpoint_of(endpoints[1]);
		dev.peers[i].public_key = applied.peers[i].public_key = key_of(3 * i + i % 3);
	}

	for (int i = 0; i < 5; i++) {
		struct wg_plan plan;
		clock_t start = clock();
		double took;

		if (wg_plan_make(&want, &dev, &applied, &plan, NULL) < 0)
			abort();
		took = (double)(clock() - start) / CLOCKS_PER_SEC;
		best = took < best ? took : best;
		wg_plan_clear(&plan);
	}

	free(file.peers);
	free(dev.peers);
	free(applied.peers);
	return best;
}

static void test_linear(void)
{
	double small = plan_seconds(1024), large = plan_seconds(16384);

	printf("# %.2f ms for 1024 peers, %.2f ms for 16384\n", small * 1e3, large * 1e3);
	/* Linear is 16 times as long, quadratic 256 times. */
	OK(large < 80 * small + 0.001, "16384 peers take about 16 times as long as 1024");
}

static void test_print(void)
{
	struct nbh_device device = device_of();
	struct nbh_prefix prefix = prefix_of("100.64.0.2/32");
	struct nbh_peersfile_peer wanted = { .public_key = key_of(1), .keepalive_s = 25,
		.endpoint = endpoint_of("192.0.2.1:1"), .preshared_key = other_key,
		.allowed_ips = &prefix, .n_allowed_ips = 1 };
	struct nbh_peersfile file = { .peers = &wanted, .n_peers = 1 };
	struct wg_want want = { &device, &our_key, &file };
	struct wg_dev none = { 0 };
	struct wg_applied nothing = { 0 };
	struct wg_plan plan;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	wg_plan_make(&want, &none, &nothing, &plan, NULL);
	wg_plan_print(&plan, "nbh0", out);
	fclose(out);
	OK_STR(text,
	       "create interface nbh0\n"
	       "set private key\n"
	       "set listen port 51820\n"
	       "set mtu 1280\n"
	       "add peer AQABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= endpoint 192.0.2.1:1"
	       " keepalive 25s preshared-key set allowed-ips 100.64.0.2/32\n"
	       "add address 100.64.0.1/16\n"
	       "set interface nbh0 up\n", "what --dry-run prints");
	OK(!strstr(text, nbh_key_format(&our_key).text) && !strstr(text, nbh_key_format(&other_key).text),
	   "no secret in it");
	free(text);
	wg_plan_clear(&plan);
}

int main(void)
{
	test_combinations();
	test_allowed_ips();
	test_keepalive_and_psk();
	test_link();
	test_down();
	test_addresses();
	test_crashes();
	test_roaming();
	test_applied_text();
	test_linear();
	test_print();
	return tap_done();
}
