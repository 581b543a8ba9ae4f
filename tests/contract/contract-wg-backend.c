/*
 * What every WireGuard backend must do, compiled once per backend with -DBACKEND=wg_backend_x. The
 * real ones run in a network namespace and with a /run/wireguard of their own; the kernel's in a
 * virtual machine where the host has no module (tests/vm/run-all).
 */
#include "config.h"

#include "wg/backend.h"

#include "wg/applied.h"
#include "wg/backend-fake.h"
#include "wg/plan.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define IFNAME "nbc0"
#define N_MANY 4096
#define N_PREFIXES 2500 /* more than one message of the kernel's holds */

static const struct wg_backend *const backend = &BACKEND;
static void *ctx;

static bool is(const char *name)
{
	return strcmp(backend->name, name) == 0;
}

/* What the test starts (wireguard-go) ends with it, however it ends: it is init of a PID namespace. */
static void become_init(void)
{
	int status = 0;
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0)
		tap_skip_all("cannot make namespaces");

	pid = fork();
	if (pid < 0)
		abort();
	if (pid == 0) {
		/* The leak checker looks at its own threads there. */
		if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("proc", "/proc", "proc", 0, NULL) < 0)
			tap_skip_all("cannot mount /proc");
		return;
	}

	waitpid(pid, &status, 0);
	/* Without its init the namespace has no room for the leak checker's thread: the child checked. */
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 99);
}

/* Namespaces of our own; a backend that cannot work here skips the test. */
static void prepare(void)
{
	if (is("fake"))
		return;

	if (geteuid() != 0)
		tap_skip_all("needs root");

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		tap_skip_all("cannot make namespaces");

	become_init();
	if (is("netlink"))
		return;

	if (access("/usr/bin/wireguard-go", X_OK) < 0)
		tap_skip_all("wireguard-go is missing");

	if (access("/dev/net/tun", R_OK | W_OK) < 0)
		tap_skip_all("/dev/net/tun is missing");

	if (mount("none", "/run", "tmpfs", 0, "mode=755") < 0 || mkdir("/run/wireguard", 0755) < 0)
		tap_skip_all("cannot mount on /run");
}

static struct nbh_key key_of(unsigned n)
{
	struct nbh_key key = { { 0 } };

	/* Big-endian: the order of the numbers is the order of the keys. Not zero, high bit unused. */
	key.bytes[0] = (uint8_t)(1 + (n >> 16));
	key.bytes[1] = (uint8_t)(n >> 8);
	key.bytes[2] = (uint8_t)n;
	key.bytes[31] = 0x40;
	return key;
}

static struct nbh_prefix prefix_of(const char *text)
{
	struct nbh_prefix prefix;

	if (nbh_prefix_parse(text, &prefix) < 0)
		abort();
	return prefix;
}

static struct nbh_endpoint endpoint_of(const char *text)
{
	struct nbh_endpoint endpoint;

	if (nbh_endpoint_parse(text, &endpoint) < 0)
		abort();
	return endpoint;
}

static void reopen(void)
{
	struct nbh_why why = { "" };

	backend->close(ctx);
	ctx = NULL;
	if (backend->open(&ctx, IFNAME, &why) < 0) {
		printf("Bail out! open: %s\n", why.text);
		exit(99);
	}
}

static struct wg_dev look(void)
{
	struct nbh_why why = { "" };
	struct wg_dev dev = { 0 };
	int r = backend->read(ctx, &dev, &why);

	if (r < 0) {
		printf("Bail out! read: %s\n", why.text);
		exit(99);
	}

	return dev;
}

/* Plans from what is there to what is wanted and applies. Returns the backend's answer. */
static int bring(const struct wg_want *want, const struct wg_applied *applied)
{
	static const struct wg_applied nothing;
	struct wg_dev dev = look();
	struct nbh_why why = { "" };
	struct wg_plan plan;
	int r = wg_plan_make(want, &dev, applied ? applied : &nothing, &plan, &why);

	if (r == 0) {
		r = backend->apply(ctx, &plan, &why);
		wg_plan_clear(&plan);
	}

	if (r < 0)
		printf("# %s\n", why.text);
	wg_dev_clear(&dev);
	return r;
}

static bool is_settled(const struct wg_want *want)
{
	static const struct wg_applied nothing;
	struct wg_dev dev = look();
	struct wg_plan plan;
	bool empty = false;

	if (wg_plan_make(want, &dev, &nothing, &plan, NULL) == 0) {
		empty = wg_plan_is_empty(&plan);
		if (!empty)
			wg_plan_print(&plan, IFNAME, stdout);
		wg_plan_clear(&plan);
	}

	wg_dev_clear(&dev);
	return empty;
}

/* One operation, made by hand: what plan.c would not do in this situation. */
static int apply_op(struct wg_op op)
{
	struct nbh_why why = { "" };
	struct wg_plan plan = { .ops = &op, .n_ops = 1 };
	int r = backend->apply(ctx, &plan, &why);

	if (r < 0)
		printf("# %s\n", why.text);
	return r;
}

static const struct wg_peer *peer_in(const struct wg_dev *dev, unsigned n)
{
	struct nbh_key key = key_of(n);

	for (size_t i = 0; i < dev->n_peers; i++)
		if (nbh_key_compare(&dev->peers[i].public_key, &key) == 0)
			return &dev->peers[i];
	return NULL;
}

static bool endpoint_is(const struct wg_peer *peer, const char *text)
{
	char buf[NBH_ENDPOINT_TEXT_MAX];

	return peer && strcmp(nbh_endpoint_format(&peer->endpoint, buf), text) == 0;
}

/* "10.0.0.1/32 10.0.0.2/32", sorted */
static bool allowed_are(const struct wg_peer *peer, const char *wanted)
{
	char list[512] = "", buf[NBH_PREFIX_TEXT_MAX];

	for (size_t i = 0; peer && i < peer->n_allowed_ips; i++) {
		size_t len = strlen(list);

		snprintf(list + len, sizeof(list) - len, "%s%s", i ? " " : "",
		         nbh_prefix_format(&peer->allowed_ips[i], buf));
	}

	if (strcmp(list, wanted) != 0)
		printf("# allowed IPs: %s, wanted %s\n", list, wanted);
	return peer && strcmp(list, wanted) == 0;
}

static struct nbh_key private_key;
static struct nbh_device device;

static void make_device(void)
{
	memset(&device, 0, sizeof(device));
	memcpy(device.interface, IFNAME, sizeof(IFNAME));
	device.addresses[0] = prefix_of("100.64.1.2/16");
	device.addresses[1] = prefix_of("fd00:1234::2/64");
	device.n_addresses = 2;
	device.mtu = 1280;
	device.listen_port = 51999;
	device.fwmark = 77;
	device.userspace = is("uapi");
	nbh_key_generate_private(&private_key);
}

/* Three peers: everything, IPv6, and nothing but a key. */
static struct nbh_prefix three_prefixes[3];
static struct nbh_peersfile_peer three_peers[3];

static struct nbh_peersfile make_three(void)
{
	three_prefixes[0] = prefix_of("100.64.2.1/32");
	three_prefixes[1] = prefix_of("100.64.2.2/31");
	three_prefixes[2] = prefix_of("fd00:1234::9/128");
	memset(three_peers, 0, sizeof(three_peers));
	for (unsigned i = 0; i < 3; i++)
		three_peers[i].public_key = key_of(i);

	three_peers[0].endpoint = endpoint_of("192.0.2.1:51820");
	three_peers[0].keepalive_s = 25;
	three_peers[0].preshared_key = key_of(1234);
	three_peers[0].allowed_ips = three_prefixes;
	three_peers[0].n_allowed_ips = 2;
	three_peers[1].endpoint = endpoint_of("[2001:db8::1]:3");
	three_peers[1].allowed_ips = three_prefixes + 2;
	three_peers[1].n_allowed_ips = 1;
	return (struct nbh_peersfile){ .peers = three_peers, .n_peers = 3 };
}

static void test_create(void)
{
	struct nbh_peersfile file = make_three();
	struct wg_want want = { &device, &private_key, &file };
	struct wg_dev dev = look();
	const struct wg_peer *peer;

	OK(!dev.exists, "nothing is there, and that is no error");
	wg_dev_clear(&dev);
	OK_INT(bring(&want, NULL), 0, "create");
	dev = look();
	OK(dev.exists && dev.is_wireguard && dev.ifindex != 0, "exists");
	OK(dev.is_up, "up");
	OK(dev.has_private_key && nbh_key_equal(&dev.private_key, &private_key), "private key");
	OK_INT(dev.listen_port, 51999, "port");
	OK_INT(dev.fwmark, 77, "fwmark");
	OK_INT(dev.mtu, 1280, "MTU");
	OK(dev.n_addresses >= 2, "addresses");
	OK_INT((intmax_t)dev.n_peers, 3, "peers");
	peer = peer_in(&dev, 0);
	OK(endpoint_is(peer, "192.0.2.1:51820"), "IPv4 endpoint");
	OK(peer && peer->keepalive_s == 25, "keepalive");
	OK(peer && peer->has_preshared_key &&
	   nbh_key_equal(&peer->preshared_key, &three_peers[0].preshared_key), "pre-shared key");
	OK(allowed_are(peer, "100.64.2.1/32 100.64.2.2/31"), "allowed IPs");
	peer = peer_in(&dev, 1);
	OK(endpoint_is(peer, "[2001:db8::1]:3"), "IPv6 endpoint");
	OK(peer && !peer->has_preshared_key && peer->keepalive_s == 0, "nothing that was not asked for");
	OK(allowed_are(peer, "fd00:1234::9/128"), "IPv6 allowed IP");
	OK(endpoint_is(peer_in(&dev, 2), ""), "no endpoint");
	wg_dev_clear(&dev);
	OK(is_settled(&want), "a second plan is empty");
	reopen();
	OK(is_settled(&want), "and still after close and open: close leaves the tunnels");
}

static void test_update(void)
{
	struct nbh_key missing = key_of(500), first = key_of(0), none = { { 0 } };
	struct nbh_prefix stolen = prefix_of("100.64.2.1/32"), more = prefix_of("100.64.9.0/24");
	struct nbh_key second = key_of(1);
	struct wg_dev dev;

	OK_INT(apply_op((struct wg_op){ .kind = WG_OP_UPDATE, .public_key = &missing,
	                                .set_endpoint = true,
	                                .endpoint = endpoint_of("192.0.2.9:9") }),
	       0, "update of a missing peer is no error");
	OK_INT(apply_op((struct wg_op){ .kind = WG_OP_UPDATE, .public_key = &first,
	                                .set_endpoint = true,
	                                .endpoint = endpoint_of("192.0.2.2:7") }),
	       0, "new endpoint");
	dev = look();
	OK(!peer_in(&dev, 500), "and makes no peer");
	OK(endpoint_is(peer_in(&dev, 0), "192.0.2.2:7"), "the endpoint is set");
	OK(allowed_are(peer_in(&dev, 0), "100.64.2.1/32 100.64.2.2/31"), "its allowed IPs stay");
	OK(peer_in(&dev, 0) && peer_in(&dev, 0)->has_preshared_key, "its pre-shared key stays");
	wg_dev_clear(&dev);

	OK_INT(apply_op((struct wg_op){ .kind = WG_OP_UPDATE, .public_key = &second,
	                                .allowed_ips = &more, .n_allowed_ips = 1 }),
	       0, "add an allowed IP");
	OK_INT(apply_op((struct wg_op){ .kind = WG_OP_UPDATE, .public_key = &second,
	                                .allowed_ips = &stolen, .n_allowed_ips = 1 }),
	       0, "add one that another peer has");
	OK_INT(apply_op((struct wg_op){ .kind = WG_OP_UPDATE, .public_key = &first,
	                                .set_keepalive = true, .set_preshared_key = true,
	                                .preshared_key = &none }),
	       0, "no keepalive, no pre-shared key");
	dev = look();
	OK(allowed_are(peer_in(&dev, 0), "100.64.2.2/31"), "an allowed IP belongs to one peer");
	OK(allowed_are(peer_in(&dev, 1), "100.64.2.1/32 100.64.9.0/24 fd00:1234::9/128"),
	   "the last one that asked");
	OK(peer_in(&dev, 0) && peer_in(&dev, 0)->keepalive_s == 0, "keepalive is off");
	OK(peer_in(&dev, 0) && !peer_in(&dev, 0)->has_preshared_key, "the pre-shared key is gone");
	wg_dev_clear(&dev);

	OK_INT(apply_op((struct wg_op){ .kind = WG_OP_UPDATE, .public_key = &second,
	                                .replace_allowed_ips = true, .allowed_ips = &more,
	                                .n_allowed_ips = 1 }),
	       0, "replace");
	dev = look();
	OK(allowed_are(peer_in(&dev, 1), "100.64.9.0/24"), "only what replaced is left");
	OK(endpoint_is(peer_in(&dev, 1), "[2001:db8::1]:3"), "the endpoint stays");
	wg_dev_clear(&dev);
}

static void test_readd_and_remove(void)
{
	struct nbh_key first = key_of(0), second = key_of(1), missing = key_of(500);
	struct nbh_prefix prefix = prefix_of("100.64.2.7/32");
	struct wg_dev dev;

	OK_INT(apply_op((struct wg_op){ .kind = WG_OP_READD, .public_key = &first,
	                                .set_endpoint = true, .endpoint = endpoint_of("192.0.2.3:1"),
	                                .allowed_ips = &prefix, .n_allowed_ips = 1 }),
	       0, "re-add");
	OK_INT(apply_op((struct wg_op){ .kind = WG_OP_READD, .public_key = &second }), 0,
	       "re-add without endpoint");
	dev = look();
	OK_INT((intmax_t)dev.n_peers, 3, "peers");
	OK(endpoint_is(peer_in(&dev, 0), "192.0.2.3:1"), "with its new endpoint");
	OK(allowed_are(peer_in(&dev, 0), "100.64.2.7/32"), "with its new allowed IPs only");
	OK(endpoint_is(peer_in(&dev, 1), ""), "an endpoint can be forgotten that way");
	wg_dev_clear(&dev);

	OK_INT(apply_op((struct wg_op){ .kind = WG_OP_REMOVE, .public_key = &first }), 0, "remove");
	OK_INT(apply_op((struct wg_op){ .kind = WG_OP_REMOVE, .public_key = &missing }), 0,
	       "remove what is not there");
	dev = look();
	OK(!peer_in(&dev, 0) && dev.n_peers == 2, "it is gone");
	wg_dev_clear(&dev);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void test_many(void)
{
	struct nbh_peersfile file = { .n_peers = N_MANY };
	struct wg_want want = { &device, &private_key, &file };
	struct nbh_prefix *prefixes = calloc(N_MANY + N_PREFIXES, sizeof(*prefixes));
	struct nbh_peersfile_peer *peers = calloc(N_MANY, sizeof(*peers));
	struct wg_applied applied = { .known = true };
	struct wg_dev dev;
	double start;

	if (!prefixes || !peers)
		abort();

	for (unsigned i = 0; i < N_MANY + N_PREFIXES; i++) {
		prefixes[i] = prefix_of("100.65.0.0/32");
		prefixes[i].addr.bytes[2] = (uint8_t)(i >> 8);
		prefixes[i].addr.bytes[3] = (uint8_t)i;
	}

	for (unsigned i = 0; i < N_MANY; i++) {
		peers[i].public_key = key_of(1000 + i);
		peers[i].endpoint = endpoint_of("192.0.2.77:1000");
		peers[i].endpoint.port = (uint16_t)(1000 + i);
		peers[i].allowed_ips = &prefixes[i];
		peers[i].n_allowed_ips = 1;
	}

	peers[N_MANY - 1].n_allowed_ips = N_PREFIXES;
	file.peers = peers;
	start = seconds();
	OK_INT(bring(&want, NULL), 0, "4096 peers");
	printf("# added in %.0f ms\n", (seconds() - start) * 1e3);
	OK(is_settled(&want), "all of them, and each allowed IP of a peer that needs several messages");

	dev = look();
	applied.ifindex = dev.ifindex;
	wg_dev_clear(&dev);
	applied.peers = calloc(N_MANY, sizeof(*applied.peers));
	if (!applied.peers)
		abort();
	for (unsigned i = 0; i < N_MANY; i++) {
		applied.peers[i].public_key = peers[i].public_key;
		applied.peers[i].endpoint = peers[i].endpoint;
	}
	applied.n_peers = N_MANY;

	for (unsigned i = 0; i < N_MANY; i++)
		peers[i].endpoint.port++;
	OK_INT(bring(&want, &applied), 0, "4096 new endpoints");
	dev = look();
	OK(endpoint_is(peer_in(&dev, 1000), "192.0.2.77:1001") &&
	   endpoint_is(peer_in(&dev, 1000 + N_MANY - 1), "192.0.2.77:5096"), "are set");
	wg_dev_clear(&dev);

	file.n_peers = 1;
	OK_INT(bring(&want, &applied), 0, "remove all but one");
	dev = look();
	OK_INT((intmax_t)dev.n_peers, 3, "that one and two that are not ours are left");
	wg_dev_clear(&dev);
	free(applied.peers);
	free(peers);
	free(prefixes);
}

static void test_device(void)
{
	struct wg_want want = { &device, &private_key, NULL };
	struct wg_applied applied = { .known = true, .made = true, .n_addresses = 1 };
	struct wg_dev dev = look();

	applied.ifindex = dev.ifindex;
	applied.addresses[0] = device.addresses[0];
	wg_dev_clear(&dev);
	device.addresses[0] = prefix_of("100.64.7.7/16");
	device.mtu = 1300;
	device.listen_port = 52000;
	device.fwmark = 0;
	nbh_key_generate_private(&private_key);
	OK_INT(bring(&want, &applied), 0, "another address, MTU, port, mark and key");
	OK(is_settled(&want), "are set");
	dev = look();
	for (size_t i = 0; i < dev.n_addresses; i++)
		OK(nbh_prefix_compare(&dev.addresses[i], &applied.addresses[0]) != 0,
		   "the old address is gone (%zu)", i);
	wg_dev_clear(&dev);
}

static void test_remove(void)
{
	struct wg_want nothing = { 0 };
	struct wg_dev dev = look();
	struct wg_applied applied = { .known = true, .made = true, .ifindex = dev.ifindex };
	struct wg_plan remove = { .remove_link = true };

	wg_dev_clear(&dev);
	OK_INT(bring(&nothing, &applied), 0, "remove the interface");
	dev = look();
	OK(!dev.exists && dev.n_peers == 0, "it is gone");
	wg_dev_clear(&dev);
	OK_INT(backend->apply(ctx, &remove, NULL), 0, "removing it again is no error");
}

static void test_port_in_use(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(52000) };
	struct wg_want want = { &device, &private_key, NULL };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), r;

	if (is("fake")) /* it has no ports */
		return;

	OK(bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0, "take the port");
	OK_INT(bring(&want, NULL), -EADDRINUSE, "a port in use is told apart");
	close(fd);
	r = bring(&want, NULL);
	OK_INT(r, 0, "once it is free, the same plan works");
	OK(is_settled(&want), "completely");
}

int main(void)
{
	prepare();
	make_device();
	reopen();
	if (is("netlink")) {
		struct wg_want want = { &device, &private_key, NULL };

		if (bring(&want, NULL) == -EPROTONOSUPPORT)
			tap_skip_all("this kernel has no WireGuard; tests/vm/run-all has one");
		test_remove();
	}

	test_create();
	test_update();
	test_readd_and_remove();
	test_many();
	test_device();
	test_remove();
	test_port_in_use();
	backend->close(ctx);
	if (is("fake"))
		wg_fake_reset();
	return tap_done();
}
