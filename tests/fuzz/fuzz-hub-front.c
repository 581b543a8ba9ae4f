/* The hub's TCP side: what comes first on a connection, and calls behind it. */
#include "config.h"

#include "hub/front.h"

#include "tests/fuzz/feed.h"


static guint n_started, n_gone;

static void on_start(NbhHubCall *call, gpointer service G_GNUC_UNUSED)
{
	fuzz_require(call->remote.family == AF_INET);
	n_started++;
}

static void on_message(NbhHubCall *call, const guint8 *data, gsize len, gpointer service G_GNUC_UNUSED)
{
	nbh_h2srv_send(call->h2, data, len);
	nbh_h2srv_finish(call->h2, 0, NULL);
}

static void on_gone(NbhHubCall *call G_GNUC_UNUSED, gpointer service G_GNUC_UNUSED)
{
	n_gone++;
}

static const NbhHubMethod methods[] = {
	{ .path = "/echo", .on_start = on_start, .on_message = on_message, .on_gone = on_gone },
	{ .path = NULL },
};

static int dial(guint16 port)
{
	struct nbh_endpoint to = { .addr = { .family = AF_INET, .bytes = { 127, 0, 0, 1 } }, .port = port };
	struct sockaddr_in from = { .sin_family = AF_INET };
	static uint32_t n_dialled;
	struct sockaddr_storage sa;
	socklen_t len = nbh_endpoint_to_sockaddr(&to, &sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* Each from another address: closed connections wait and would use up the ports of one. */
	n_dialled++;
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (n_dialled & 0xffff));
	fuzz_require(fd >= 0 && bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0);
	fuzz_require(connect(fd, (struct sockaddr *)&sa, len) == 0);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static NbhFront *front;
	static guint16 port;
	struct nbh_endpoint loopback = { .addr = { .family = AF_INET, .bytes = { 127, 0, 0, 1 } } };
	int fd;

	if (!front) {
		front = nbh_front_new(NULL);
		nbh_front_add(front, methods, NULL);
		fuzz_require(nbh_front_listen(front, &loopback, &port, NULL));
	}

	n_started = n_gone = 0;
	fd = dial(port);
	while (nbh_front_connections(front) == 0)
		g_main_context_iteration(NULL, TRUE);

	if (len)
		(void)send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(fd, SHUT_WR);
	while (nbh_front_connections(front) > 0)
		g_main_context_iteration(NULL, TRUE);
	close(fd);
	fuzz_require(n_started == n_gone);
	return 0;
}
