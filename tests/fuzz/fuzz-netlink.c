/* The netlink backend reading the device from a kernel that answers with anything. */
#include "config.h"

#include "wg/backend.h"

#include "tests/fuzz/fake-netlink.h"

static void check_prefix(const struct nbh_prefix *prefix)
{
	fuzz_require(prefix->addr.family == AF_INET || prefix->addr.family == AF_INET6);
	fuzz_require(prefix->len <= (prefix->addr.family == AF_INET ? 32 : 128));
}

static void check(const struct wg_dev *dev)
{
	fuzz_require(memchr(dev->kind, '\0', sizeof(dev->kind)));
	for (size_t i = 0; i < dev->n_addresses; i++)
		check_prefix(&dev->addresses[i]);
	for (size_t i = 0; i < dev->n_peers; i++) {
		fuzz_require(i == 0 || nbh_key_compare(&dev->peers[i - 1].public_key,
		                                       &dev->peers[i].public_key) <= 0);
		for (size_t j = 0; j < dev->peers[i].n_allowed_ips; j++)
			check_prefix(&dev->peers[i].allowed_ips[j]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct nbh_why why = { "" };
	struct wg_dev dev = { 0 };
	void *ctx;
	int r;

	fake_kernel(data, len);
	fuzz_require(wg_backend_netlink.open(&ctx, "nbh0", &why) == 0);
	r = wg_backend_netlink.read(ctx, &dev, &why);
	fuzz_check_why(r, &why);
	if (r == 0) {
		check(&dev);
		wg_dev_clear(&dev);
	}
	wg_backend_netlink.close(ctx);
	return 0;
}
