/* Answers on wireguard-go's UAPI socket. The source itself is included: the reader is private to it. */
#include "config.h"

#include "tests/fuzz/fuzz.h"

#include "wg/backend-uapi.c"

static void check(const struct wg_dev *dev)
{
	for (size_t i = 0; i < dev->n_peers; i++) {
		fuzz_require(i == 0 || nbh_key_compare(&dev->peers[i - 1].public_key,
		                                       &dev->peers[i].public_key) <= 0);
		fuzz_require(dev->peers[i].last_handshake_unix_ms >= 0);
		for (size_t j = 0; j < dev->peers[i].n_allowed_ips; j++)
			fuzz_require(dev->peers[i].allowed_ips[j].addr.family);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct wg_devbuild build = { 0 };
	struct nbh_why why = { "" };
	struct wg_dev dev;
	int fds[2], r;

	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	if (len)
		(void)send(fds[1], data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fds[1]);
	r = receive(fds[0], &build, &why);
	close(fds[0]);
	fuzz_check_why(r, &why);
	fuzz_require(r <= 0);
	if (r < 0) {
		wg_devbuild_clear(&build);
		return 0;
	}

	wg_devbuild_finish(&build, &dev);
	check(&dev);
	wg_dev_clear(&dev);
	return 0;
}
