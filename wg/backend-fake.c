/*
 * WireGuard in memory, under the same contract test as the real ones: an allowed IP belongs to one
 * peer, UPDATE_ONLY makes nothing, a peer that is removed and added again has forgotten everything.
 */
#include "config.h"

#include "wg/backend-fake.h"

#include "wg/devbuild.h"
#include "wg/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fake_peer {
	struct wg_peer peer; /* allowed_ips unused */
	struct nbh_prefix *prefixes; /* owned */
	size_t n_prefixes;
};

static struct {
	struct wg_dev dev; /* scalars and addresses; its addresses are owned */
	char ifname[IFNAMSIZ];
	struct fake_peer *peers; /* owned */
	size_t n_peers;
	uint32_t last_ifindex;
	unsigned fail_in;
	size_t fail_after_ops;
	int fail_error;
} fake;

static void drop_peer(size_t i)
{
	free(fake.peers[i].prefixes);
	fake.peers[i] = fake.peers[--fake.n_peers];
}

static void drop_link(void)
{
	while (fake.n_peers > 0)
		drop_peer(0);
	free(fake.peers);
	fake.peers = NULL;
	wg_dev_clear(&fake.dev);
}

void wg_fake_reset(void)
{
	drop_link();
	memset(&fake, 0, sizeof(fake));
}

void wg_fake_fail_apply(unsigned nth, size_t done_ops, int error)
{
	fake.fail_in = nth;
	fake.fail_after_ops = done_ops;
	fake.fail_error = error;
}

static struct fake_peer *find_peer(const struct nbh_key *key)
{
	for (size_t i = 0; i < fake.n_peers; i++)
		if (nbh_key_compare(&fake.peers[i].peer.public_key, key) == 0)
			return &fake.peers[i];
	return NULL;
}

int wg_fake_roam(const struct nbh_key *public_key, const struct nbh_endpoint *endpoint)
{
	struct fake_peer *peer = find_peer(public_key);

	if (!peer)
		return -ENOENT;

	peer->peer.endpoint = *endpoint;
	return 0;
}

static void remove_prefix(struct fake_peer *peer, const struct nbh_prefix *prefix)
{
	for (size_t i = 0; i < peer->n_prefixes; i++)
		if (nbh_prefix_compare(&peer->prefixes[i], prefix) == 0)
			peer->prefixes[i--] = peer->prefixes[--peer->n_prefixes];
}

static int add_prefixes(const struct nbh_key *key, const struct wg_op *op)
{
	struct fake_peer *peer = find_peer(key);
	struct nbh_prefix *more = reallocarray(peer->prefixes,
	                                       peer->n_prefixes + op->n_allowed_ips + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;

	peer->prefixes = more;
	for (size_t i = 0; i < op->n_allowed_ips; i++) {
		for (size_t j = 0; j < fake.n_peers; j++)
			remove_prefix(&fake.peers[j], &op->allowed_ips[i]);
		peer->prefixes[peer->n_prefixes++] = op->allowed_ips[i];
	}

	return 0;
}

static int apply_op(const struct wg_op *op)
{
	struct fake_peer *peer = find_peer(op->public_key), *more;

	if (peer && (op->kind == WG_OP_REMOVE || op->kind == WG_OP_READD)) {
		drop_peer((size_t)(peer - fake.peers));
		peer = NULL;
	}

	if (op->kind == WG_OP_REMOVE || (!peer && op->kind == WG_OP_UPDATE))
		return 0;

	if (!peer) {
		more = reallocarray(fake.peers, fake.n_peers + 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		fake.peers = more;
		peer = &fake.peers[fake.n_peers++];
		memset(peer, 0, sizeof(*peer));
		peer->peer.public_key = *op->public_key;
	}

	if (op->set_endpoint)
		peer->peer.endpoint = op->endpoint;
	if (op->set_keepalive)
		peer->peer.keepalive_s = op->keepalive_s;
	if (op->set_preshared_key)
		peer->peer.preshared_key = *op->preshared_key;
	if (op->replace_allowed_ips)
		peer->n_prefixes = 0;
	return add_prefixes(op->public_key, op);
}

static int change_addresses(const struct wg_plan *plan)
{
	struct wg_dev *dev = &fake.dev;
	struct nbh_prefix *more = reallocarray(dev->addresses, dev->n_addresses + NBH_DEVICE_ADDRESSES_MAX,
	                                       sizeof(*more));

	if (!more)
		return -ENOMEM;

	dev->addresses = more;
	for (size_t i = 0; i < plan->n_remove_addresses; i++)
		for (size_t j = 0; j < dev->n_addresses; j++)
			if (nbh_prefix_compare(&dev->addresses[j], &plan->remove_addresses[i]) == 0)
				dev->addresses[j--] = dev->addresses[--dev->n_addresses];
	for (size_t i = 0; i < plan->n_add_addresses; i++)
		dev->addresses[dev->n_addresses++] = plan->add_addresses[i];
	return 0;
}

static void create_link(void)
{
	fake.dev.exists = fake.dev.is_wireguard = true;
	fake.dev.ifindex = ++fake.last_ifindex;
	fake.dev.mtu = 1420;
	memcpy(fake.dev.kind, "fake", sizeof("fake"));
}

static int fake_apply(void *ctx, const struct wg_plan *plan, struct nbh_why *why)
{
	bool fails = fake.fail_in > 0 && --fake.fail_in == 0;

	(void)ctx;
	if (plan->remove_link) {
		drop_link();
		return 0;
	}

	if (plan->create_link)
		create_link();
	if (plan->set_private_key) {
		fake.dev.private_key = *plan->private_key;
		fake.dev.has_private_key = true;
	}
	if (plan->set_listen_port)
		fake.dev.listen_port = plan->listen_port;
	if (plan->set_fwmark)
		fake.dev.fwmark = plan->fwmark;
	if (plan->set_mtu)
		fake.dev.mtu = plan->mtu;

	for (size_t i = 0; i < plan->n_ops; i++) {
		int r = fails && i == fake.fail_after_ops ? fake.fail_error : apply_op(&plan->ops[i]);

		if (r < 0) {
			nbh_why_set(why, "operation %zu: %s", i, strerror(-r));
			return r;
		}
	}

	if (fails) {
		nbh_why_set(why, "%s", strerror(-fake.fail_error));
		return fake.fail_error;
	}

	if (plan->set_up)
		fake.dev.is_up = true;
	return change_addresses(plan);
}

static int fill(struct wg_devbuild *build)
{
	for (size_t i = 0; i < fake.dev.n_addresses; i++)
		if (wg_devbuild_address(build, &fake.dev.addresses[i]) < 0)
			return -ENOMEM;

	for (size_t i = 0; i < fake.n_peers; i++) {
		struct wg_peer *peer = wg_devbuild_peer(build, &fake.peers[i].peer.public_key);

		if (!peer)
			return -ENOMEM;

		*peer = fake.peers[i].peer;
		peer->has_preshared_key = !nbh_key_is_zero(&peer->preshared_key);
		for (size_t j = 0; j < fake.peers[i].n_prefixes; j++)
			if (wg_devbuild_prefix(build, &fake.peers[i].prefixes[j]) < 0)
				return -ENOMEM;
	}

	return 0;
}

static int fake_read(void *ctx, struct wg_dev *ret_dev, struct nbh_why *why)
{
	struct wg_devbuild build = { .dev = fake.dev };

	(void)ctx;
	build.dev.addresses = NULL;
	build.dev.n_addresses = 0;
	if (fill(&build) < 0) {
		wg_devbuild_clear(&build);
		nbh_why_set(why, "out of memory");
		return -ENOMEM;
	}

	wg_devbuild_finish(&build, ret_dev);
	return 0;
}

static int fake_open(void **ret_ctx, const char *ifname, struct nbh_why *why)
{
	(void)ifname;
	(void)why;
	*ret_ctx = &fake;
	return 0;
}

static void fake_close(void *ctx)
{
	(void)ctx;
}

const struct wg_backend wg_backend_fake = {
	.name = "fake",
	.open = fake_open,
	.read = fake_read,
	.apply = fake_apply,
	.close = fake_close,
};
