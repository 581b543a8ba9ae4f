/* What the kernel tells netbird-wg about addresses that go: whole datagrams of netlink messages. */
#include "config.h"

#include "wg/addrwatch.h"

#include "tests/fuzz/fuzz.h"

#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int fds[2];

	fuzz_require(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	(void)send(fds[1], fuzz_chars(data), len, 0);
	(void)wg_addrwatch_drain(fds[0]);
	/* Nothing of it is left, and nothing is made up. */
	fuzz_require(!wg_addrwatch_drain(fds[0]));
	close(fds[0]);
	close(fds[1]);
	return 0;
}
