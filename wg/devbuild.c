#include "config.h"

#include "wg/devbuild.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Doubles: reading n peers stays linear. */
static int grow(void **array, size_t *cap, size_t n, size_t size)
{
	size_t want = *cap ? *cap * 2 : 16;
	void *bigger;

	if (n < *cap)
		return 0;

	bigger = reallocarray(*array, want, size);
	if (!bigger)
		return -ENOMEM;

	*array = bigger;
	*cap = want;
	return 0;
}

struct wg_peer *wg_devbuild_peer(struct wg_devbuild *build, const struct nbh_key *public_key)
{
	struct wg_dev *dev = &build->dev;
	size_t cap = build->cap_peers;
	struct wg_peer *peer;

	if (dev->n_peers > 0 &&
	    nbh_key_compare(&dev->peers[dev->n_peers - 1].public_key, public_key) == 0)
		return &dev->peers[dev->n_peers - 1];

	if (grow((void **)&build->first_prefix, &cap, dev->n_peers, sizeof(size_t)) < 0 ||
	    grow((void **)&dev->peers, &build->cap_peers, dev->n_peers, sizeof(*dev->peers)) < 0)
		return NULL;

	build->first_prefix[dev->n_peers] = build->n_prefixes;
	peer = &dev->peers[dev->n_peers++];
	memset(peer, 0, sizeof(*peer));
	peer->public_key = *public_key;
	return peer;
}

int wg_devbuild_prefix(struct wg_devbuild *build, const struct nbh_prefix *prefix)
{
	int r;

	if (build->dev.n_peers == 0)
		return -EPROTO;

	r = grow((void **)&build->prefixes, &build->cap_prefixes, build->n_prefixes, sizeof(*prefix));
	if (r < 0)
		return r;

	build->prefixes[build->n_prefixes++] = nbh_prefix_masked(prefix);
	build->dev.peers[build->dev.n_peers - 1].n_allowed_ips++;
	return 0;
}

int wg_devbuild_address(struct wg_devbuild *build, const struct nbh_prefix *address)
{
	int r = grow((void **)&build->dev.addresses, &build->cap_addresses, build->dev.n_addresses,
	             sizeof(*address));

	if (r < 0)
		return r;

	build->dev.addresses[build->dev.n_addresses++] = *address;
	return 0;
}

static int by_prefix(const void *a, const void *b)
{
	return nbh_prefix_compare(a, b);
}

static int by_key(const void *a, const void *b)
{
	return nbh_key_compare(&((const struct wg_peer *)a)->public_key,
	                       &((const struct wg_peer *)b)->public_key);
}

void wg_devbuild_finish(struct wg_devbuild *build, struct wg_dev *ret_dev)
{
	struct wg_dev *dev = &build->dev;

	for (size_t i = 0; i < dev->n_peers; i++) {
		struct wg_peer *peer = &dev->peers[i];

		if (peer->n_allowed_ips == 0)
			continue;

		qsort(build->prefixes + build->first_prefix[i], peer->n_allowed_ips,
		      sizeof(*build->prefixes), by_prefix);
		peer->allowed_ips = build->prefixes + build->first_prefix[i];
	}

	if (dev->n_peers > 0)
		qsort(dev->peers, dev->n_peers, sizeof(*dev->peers), by_key);
	if (dev->n_addresses > 0)
		qsort(dev->addresses, dev->n_addresses, sizeof(*dev->addresses), by_prefix);

	dev->arena = build->prefixes;
	*ret_dev = *dev;
	free(build->first_prefix);
	/* The private key was copied to ret_dev, whose owner wipes it there. */
	nbh_key_wipe(&dev->private_key);
	memset(build, 0, sizeof(*build));
}

void wg_devbuild_clear(struct wg_devbuild *build)
{
	build->dev.arena = build->prefixes;
	wg_dev_clear(&build->dev);
	free(build->first_prefix);
	memset(build, 0, sizeof(*build));
}

void wg_dev_clear(struct wg_dev *dev)
{
	for (size_t i = 0; i < dev->n_peers; i++)
		nbh_key_wipe(&dev->peers[i].preshared_key);

	nbh_key_wipe(&dev->private_key);
	free(dev->addresses);
	free(dev->peers);
	free(dev->arena);
	memset(dev, 0, sizeof(*dev));
}
