#ifndef NBH_TESTS_FUZZ_FEED_H
#define NBH_TESTS_FUZZ_FEED_H

/* The far end of a connection: a socket that says the input, in pieces, and hears everything. */

#include "tests/fuzz/fuzz.h"

#include <gio/gio.h>
#include <sys/socket.h>

#define FEED_TURNS_MAX 10000 /* of the main loop, without anything from outside: it runs in circles */

static inline GSocket *feed_open(int *ret_far)
{
	GSocket *socket;
	int fds[2];

	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	socket = g_socket_new_from_fd(fds[0], NULL);
	fuzz_require(socket);
	*ret_far = fds[1];
	return socket;
}

/* Whatever is due, and what it makes due. */
static inline void feed_run_loop(void)
{
	int turns = 0;

	while (g_main_context_iteration(NULL, FALSE))
		fuzz_require(++turns < FEED_TURNS_MAX);
}

static inline void feed_hear(int far)
{
	char buf[65536];

	do
		feed_run_loop();
	while (recv(far, buf, sizeof(buf), 0) > 0);
}

/* In pieces of `piece` bytes; 0: all at once. Stops when nobody listens any more. */
static inline void feed_say(int far, const uint8_t *data, size_t len, size_t piece)
{
	while (len > 0) {
		size_t n = piece && piece < len ? piece : len;
		ssize_t sent = send(far, data, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		data += sent;
		len -= (size_t)sent;
		feed_hear(far);
	}
}

#endif
