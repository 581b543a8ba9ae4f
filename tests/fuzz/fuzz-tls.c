/* Bytes in the place of a TLS handshake, to a server or to a client, in pieces, and the end. */
#include "config.h"

#include "net/tls.h"

#include "tests/fuzz/feed.h"
#include "tests/lib/certs.h"

static struct {
	TestCerts *certs;
	NbhTls *server, *client;
} own;

static void close_own(void)
{
	nbh_tls_unref(own.server);
	nbh_tls_unref(own.client);
	test_certs_free(own.certs);
}

static void open_own(void)
{
	g_autofree char *ca = NULL;
	g_autofree char *cert = NULL;
	g_autofree char *key = NULL;

	own.certs = test_certs_new();
	test_certs_make(own.certs, "own", "DNS:localhost", -1, 10);
	ca = test_certs_path(own.certs, "ca.pem");
	cert = test_certs_path(own.certs, "own.pem");
	key = test_certs_path(own.certs, "own.key");
	own.server = nbh_tls_server_new(cert, key, NULL);
	own.client = nbh_tls_client_new(&(NbhTlsFiles){ .ca_file = ca });
	fuzz_require(own.server);
	atexit(close_own);
}

/* Nobody without our keys gets through a handshake. */
static gboolean step(NbhTlsLink *link, int far)
{
	g_autofree char *error = NULL;
	NbhTlsProgress progress = nbh_tls_link_handshake(link, &error);
	char buf[65536];

	while (recv(far, buf, sizeof(buf), 0) > 0) {
	}
	fuzz_require(progress != NBH_TLS_UP);
	fuzz_require((progress == NBH_TLS_FAILED) == (error != NULL));
	fuzz_require(!error || (error[0] && g_utf8_validate(error, -1, NULL) && !strchr(error, '\n')));
	return progress != NBH_TLS_FAILED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	gboolean is_server;
	g_autofree char *error = NULL;
	NbhTlsLink *link;
	uint8_t piece;
	int fds[2];

	if (!own.certs)
		open_own();
	is_server = fuzz_byte(&data, &len) & 1;
	piece = fuzz_byte(&data, &len);
	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
	link = is_server ? nbh_tls_accept(own.server, fds[0], &error)
			 : nbh_tls_connect(own.client, fds[0], "localhost", &error);
	fuzz_require(link);
	for (gboolean goes_on = step(link, fds[1]); goes_on && len > 0; goes_on = step(link, fds[1])) {
		size_t n = piece && piece < len ? piece : len;
		ssize_t sent = send(fds[1], data, n, MSG_NOSIGNAL);

		fuzz_require(sent > 0);
		data += sent;
		len -= (size_t)sent;
	}
	shutdown(fds[1], SHUT_RDWR);
	for (guint i = 0; step(link, fds[1]); i++)
		fuzz_require(i < 10);
	nbh_tls_link_free(link);
	close(fds[0]);
	close(fds[1]);
	return 0;
}
