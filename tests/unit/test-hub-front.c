/* The hub's TCP side: who is served, who is hung up on, and when. */

#include "config.h"

#include "base/limits.h"
#include "hub/front.h"
#include "net/grpc.h"

#include "tests/lib/certs.h"
#include "tests/lib/h2client.h"
#include "tests/lib/loop.h"

#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define LONG_MS 600000
#define PER_ADDRESS 12
#define BURST 60

typedef struct {
	NbhFront *front;
	guint16 port;
	guint n_started, n_messages, n_gone;
	struct nbh_addr remote;
} Fixture;

static void on_start(NbhHubCall *call, gpointer service)
{
	Fixture *f = service;

	f->n_started++;
	f->remote = call->remote;
	call->state = f;
}

static void on_message(NbhHubCall *call, const guint8 *data, gsize len, gpointer service)
{
	((Fixture *)service)->n_messages++;
	nbh_h2srv_send(call->h2, data, len);
	nbh_h2srv_finish(call->h2, 0, NULL);
}

static void on_gone(NbhHubCall *call, gpointer service)
{
	g_assert_true(call->state == service);
	((Fixture *)service)->n_gone++;
}

static const NbhHubMethod methods[] = {
	{ .path = "/echo", .on_start = on_start, .on_message = on_message, .on_gone = on_gone },
	{ .path = "/quiet", .on_start = on_start, .on_gone = on_gone },
	{ .path = NULL },
};

static void start(Fixture *f, guint connections_max, guint first_bytes_ms, guint no_call_ms)
{
	const NbhFrontLimits limits = {
		.connections_max = connections_max,
		.first_bytes_ms = first_bytes_ms,
		.no_call_ms = no_call_ms,
		.gate = { .per_address_max = PER_ADDRESS, .burst = BURST, .per_second = 1, .counts_loopback = TRUE },
	};
	struct nbh_endpoint any = { .addr = { .family = AF_INET6 } };
	g_autoptr(GError) error = NULL;

	memset(f, 0, sizeof(*f));
	f->front = nbh_front_new(&limits);
	nbh_front_add(f->front, methods, f);
	g_assert_true(nbh_front_listen(f->front, &any, &f->port, &error));
	g_assert_no_error(error);
}

static void stop(Fixture *f)
{
	nbh_front_free(f->front);
	g_assert_cmpuint(f->n_gone, ==, f->n_started);
}

static int dial_from(const Fixture *f, const char *from)
{
	struct nbh_endpoint to = { .port = f->port }, own = { .port = 0 };
	struct sockaddr_storage sa;
	socklen_t len;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_assert_cmpint(nbh_addr_parse(from, &own.addr), ==, 0);
	len = nbh_endpoint_to_sockaddr(&own, &sa);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&sa, len), ==, 0);
	g_assert_cmpint(nbh_addr_parse("127.0.0.1", &to.addr), ==, 0);
	len = nbh_endpoint_to_sockaddr(&to, &sa);
	g_assert_cmpint(connect(fd, (struct sockaddr *)&sa, len), ==, 0);
	return fd;
}

static int dial(const Fixture *f)
{
	return dial_from(f, "127.0.0.1");
}

static gboolean is_hung_up(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

/* Everything up to the end; closes fd. */
static char *read_all(Fixture *f, int fd)
{
	GString *text = g_string_new(NULL);

	/* The end of the server's side makes the loop turn; then reading cannot block. */
	test_run_until(nbh_front_connections(f->front) == 0);
	for (;;) {
		char buf[1000];
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n <= 0)
			break;
		g_string_append_len(text, buf, n);
	}
	close(fd);
	return g_string_free(text, FALSE);
}

static void test_other_protocols(void)
{
	static const struct {
		const char *sent;
		gboolean answered;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", TRUE },
		{ "POST /management.ManagementService/Login HTTP/1.1\r\n\r\n", TRUE },
		{ "PRI * HTTP/1.1\r\n\r\n", TRUE },
		{ "\x16\x03\x01\x02", FALSE }, /* TLS */
		{ "hello", FALSE },
	};
	Fixture f;

	start(&f, 10, LONG_MS, LONG_MS);
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *answer = NULL;
		int fd = dial(&f);

		test_run_until(nbh_front_connections(f.front) == 1);
		g_assert_cmpint(send(fd, cases[i].sent, strlen(cases[i].sent), 0), >, 0);
		answer = read_all(&f, fd);
		g_assert_cmpint(g_str_has_prefix(answer, "HTTP/1.1 404 "), ==, cases[i].answered);
		g_assert_cmpint(strstr(answer, "netbird-hub") != NULL, ==, cases[i].answered);
	}
	stop(&f);
}

static void test_grpc(void)
{
	g_autoptr(GByteArray) body = test_grpc_frame("hi", 2);
	char text[NBH_ADDR_TEXT_MAX];
	TestH2Client *client;
	TestH2Stream *echo, *unknown, *empty, *quiet;
	Fixture f;

	start(&f, 10, LONG_MS, LONG_MS);
	client = test_h2client_new(dial(&f));
	echo = test_h2client_request(client, "POST", "/echo", "application/grpc", NULL, body->data,
				     body->len, 100, FALSE);
	unknown = test_h2client_request(client, "POST", "/other", "application/grpc", NULL, body->data,
					body->len, 100, FALSE);
	empty = test_h2client_request(client, "POST", "/echo", "application/grpc", NULL, NULL, 0, 0, FALSE);
	quiet = test_h2client_request(client, "POST", "/quiet", "application/grpc", NULL, NULL, 0, 0, FALSE);
	test_run_until(echo->closed && unknown->closed && empty->closed);
	g_assert_cmpstr(echo->grpc_status, ==, "0");
	g_assert_cmpstr(unknown->grpc_status, ==, "12");
	g_assert_cmpstr(empty->grpc_status, ==, "3");
	/* A call that expects no message lives on after the request's end. */
	test_run_until(f.n_started == 3);
	g_assert_false(quiet->closed);
	g_assert_cmpstr(nbh_addr_format(&f.remote, text), ==, "127.0.0.1");
	test_h2client_free(client);
	test_run_until(nbh_front_connections(f.front) == 0);
	stop(&f);
}

/* Even one byte at a time. */
static void test_slow_preface(void)
{
	Fixture f;
	char c;
	int fd;

	start(&f, 10, LONG_MS, LONG_MS);
	fd = dial(&f);
	for (const char *p = PREFACE; *p; p++) {
		g_assert_cmpint(send(fd, p, 1, 0), ==, 1);
		test_drain_loop();
	}
	/* An empty SETTINGS frame, answered by the server's. */
	g_assert_cmpint(send(fd, "\0\0\0\4\0\0\0\0\0", 9, 0), ==, 9);
	test_run_until(recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) == 1);
	close(fd);
	test_run_until(nbh_front_connections(f.front) == 0);
	stop(&f);
}

static void test_first_bytes_late(void)
{
	g_autofree char *answer = NULL;
	Fixture f;
	int fd;

	start(&f, 10, 1, LONG_MS);
	fd = dial(&f);
	test_run_until(nbh_front_connections(f.front) == 1);
	g_assert_cmpint(send(fd, PREFACE, 10, 0), ==, 10);
	answer = read_all(&f, fd);
	g_assert_cmpstr(answer, ==, "");
	stop(&f);
}

/* The clock starts with the end of the last call. */
static void test_no_call(void)
{
	g_autoptr(GByteArray) body = test_grpc_frame("hi", 2);
	TestH2Client *client;
	TestH2Stream *echo;
	Fixture f;

	start(&f, 10, LONG_MS, 200);
	client = test_h2client_new(dial(&f));
	echo = test_h2client_request(client, "POST", "/echo", "application/grpc", NULL, body->data,
				     body->len, 100, FALSE);
	test_run_until(echo->closed);
	g_assert_cmpstr(echo->grpc_status, ==, "0");
	test_run_until(test_h2client_is_closed(client));
	g_assert_true(test_h2client_got_goaway(client));
	test_h2client_free(client);
	test_run_until(nbh_front_connections(f.front) == 0);
	stop(&f);
}

/* Nobody has to prove anything to begin a call: without a message it keeps no connection open. */
static void test_call_without_message(void)
{
	g_autoptr(GByteArray) body = test_grpc_frame("hi", 2);
	TestH2Client *client;
	Fixture f;

	start(&f, 10, LONG_MS, 200);
	client = test_h2client_new(dial(&f));
	test_h2client_request(client, "POST", "/echo", "application/grpc", NULL, NULL, 0, 0, TRUE);
	test_h2client_request(client, "POST", "/echo", "application/grpc", NULL, body->data, body->len - 1, 100, TRUE);
	test_run_until(f.n_started == 2);
	test_run_until(test_h2client_is_closed(client));
	test_run_until(nbh_front_connections(f.front) == 0);
	g_assert_cmpuint(f.n_messages, ==, 0);
	test_h2client_free(client);
	stop(&f);
}

/* A machine with a call that stays. */
static TestH2Client *begin_call(Fixture *f, const char *from)
{
	TestH2Client *client = test_h2client_new(dial_from(f, from));
	guint n = f->n_started;

	test_h2client_request(client, "POST", "/quiet", "application/grpc", NULL, NULL, 0, 0, TRUE);
	test_run_until(f->n_started == n + 1);
	return client;
}

/* Full of connections that do nothing: the oldest makes room. */
static void test_limit_idle(void)
{
	Fixture f;
	int fds[4];

	start(&f, 3, LONG_MS, LONG_MS);
	for (guint i = 0; i < 3; i++) {
		fds[i] = dial(&f);
		test_run_until(nbh_front_connections(f.front) == i + 1);
		g_assert_false(is_hung_up(fds[0]));
	}
	fds[3] = dial(&f);
	test_run_until(is_hung_up(fds[0]));
	g_assert_cmpuint(nbh_front_connections(f.front), ==, 3);
	for (gsize i = 1; i < G_N_ELEMENTS(fds); i++)
		g_assert_false(is_hung_up(fds[i]));
	for (gsize i = 0; i < G_N_ELEMENTS(fds); i++)
		close(fds[i]);
	test_run_until(nbh_front_connections(f.front) == 0);
	stop(&f);
}

/* Full of connections with calls: the newcomer is refused. One leaves, the next is served. */
static void test_limit_calls(void)
{
	TestH2Client *clients[3];
	Fixture f;
	int fd;

	start(&f, 3, LONG_MS, LONG_MS);
	for (guint i = 0; i < 3; i++)
		clients[i] = begin_call(&f, "127.0.0.1");
	fd = dial(&f);
	test_run_until(is_hung_up(fd));
	close(fd);
	g_assert_cmpuint(nbh_front_connections(f.front), ==, 3);
	test_h2client_free(clients[0]);
	test_run_until(nbh_front_connections(f.front) == 2);
	clients[0] = begin_call(&f, "127.0.0.1");
	g_assert_cmpuint(nbh_front_connections(f.front), ==, 3);
	for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
		test_h2client_free(clients[i]);
	test_run_until(nbh_front_connections(f.front) == 0);
	stop(&f);
}

/* A call whose answer nobody takes protects no connection. */
static void test_limit_untaken(void)
{
	static const char no_window[] = PREFACE "\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0"
		"\0\0\x1f\1\4\0\0\0\1\x83\x86\1\1a\4\5/echo\x0f\x10\x10" "application/grpc"
		"\0\0\7\0\1\0\0\0\1\0\0\0\0\2hi";
	TestH2Client *client;
	Fixture f;
	int fd;

	start(&f, 2, LONG_MS, LONG_MS);
	fd = dial(&f);
	g_assert_cmpint(send(fd, no_window, sizeof(no_window) - 1, 0), ==, sizeof(no_window) - 1);
	test_run_until(f.n_messages == 1);
	client = begin_call(&f, "127.0.0.1");
	test_h2client_free(begin_call(&f, "127.0.0.1"));
	test_run_until(nbh_front_connections(f.front) == 1);
	g_assert_cmpuint(f.n_gone, ==, 2);
	close(fd);
	test_h2client_free(client);
	test_run_until(nbh_front_connections(f.front) == 0);
	stop(&f);
}

/* One below, at and one above what an address may have; another address is served all the time. */
static void test_limit_per_address(void)
{
	TestH2Client *clients[PER_ADDRESS], *other;
	Fixture f;
	int fd;

	start(&f, 100, LONG_MS, LONG_MS);
	for (guint i = 0; i < PER_ADDRESS - 1; i++)
		clients[i] = begin_call(&f, "127.0.0.1");
	fd = dial(&f);
	test_run_until(nbh_front_connections(f.front) == PER_ADDRESS);
	/* At: the one without a call makes room for this one. */
	clients[PER_ADDRESS - 1] = begin_call(&f, "127.0.0.1");
	test_run_until(is_hung_up(fd));
	close(fd);
	g_assert_cmpuint(nbh_front_connections(f.front), ==, PER_ADDRESS);
	/* Above. */
	fd = dial(&f);
	test_run_until(is_hung_up(fd));
	close(fd);
	other = begin_call(&f, "127.0.0.2");
	g_assert_cmpuint(nbh_front_connections(f.front), ==, PER_ADDRESS + 1);
	test_h2client_free(other);
	for (guint i = 0; i < PER_ADDRESS; i++)
		test_h2client_free(clients[i]);
	test_run_until(nbh_front_connections(f.front) == 0);
	stop(&f);
}

/* As many new ones as an address may make at once, and one more. */
static void test_arrivals(void)
{
	TestH2Client *client;
	Fixture f;
	int fd;

	start(&f, 100, LONG_MS, LONG_MS);
	for (guint i = 0; i < BURST; i++) {
		fd = dial(&f);
		test_run_until(nbh_front_connections(f.front) == 1);
		g_assert_false(is_hung_up(fd));
		close(fd);
		test_run_until(nbh_front_connections(f.front) == 0);
	}
	/* A slow machine earns some more: one in a second. */
	for (guint i = 0; i < BURST; i++) {
		gboolean refused;

		fd = dial(&f);
		test_run_until(nbh_front_connections(f.front) == 1 || is_hung_up(fd));
		refused = is_hung_up(fd);
		close(fd);
		test_run_until(nbh_front_connections(f.front) == 0);
		if (refused)
			break;
		g_assert_cmpuint(i, <, BURST - 1);
	}
	client = begin_call(&f, "127.0.0.2");
	test_h2client_free(client);
	test_run_until(nbh_front_connections(f.front) == 0);
	stop(&f);
}

/* Whoever floods is cut off, and pays with new connections. */
static void test_flood(void)
{
	static const char ping[] = "\0\0\x08\6\0\0\0\0\0" "12345678";
	g_autoptr(GByteArray) flood = g_byte_array_new();
	guint n_cut_off = 0;
	Fixture f;

	start(&f, 100, LONG_MS, LONG_MS);
	for (guint i = 0; i < 2 * NBH_H2_CONTROL_BURST; i++)
		g_byte_array_append(flood, (const guint8 *)ping, sizeof(ping) - 1);
	while (n_cut_off < BURST) {
		TestH2Client *client = test_h2client_new(dial(&f));

		test_h2client_raw(client, flood->data, flood->len);
		test_run_until(test_h2client_is_closed(client));
		if (!test_h2client_got_goaway(client)) {
			test_h2client_free(client);
			break; /* not let in any more */
		}
		test_h2client_free(client);
		n_cut_off++;
	}
	g_assert_cmpuint(n_cut_off, >, 0);
	g_assert_cmpuint(n_cut_off, <, BURST / 10);
	test_run_until(nbh_front_connections(f.front) == 0);
	stop(&f);
}

static void test_free_with_calls(void)
{
	TestH2Client *client;
	Fixture f;

	start(&f, 10, LONG_MS, LONG_MS);
	client = test_h2client_new(dial(&f));
	test_h2client_request(client, "POST", "/quiet", "application/grpc", NULL, NULL, 0, 0, TRUE);
	test_h2client_request(client, "POST", "/quiet", "application/grpc", NULL, NULL, 0, 0, TRUE);
	test_run_until(f.n_started == 2);
	stop(&f);
	test_h2client_free(client);
}

static void test_address_in_use(void)
{
	struct nbh_endpoint same = { .addr = { .family = AF_INET6 } };
	g_autoptr(GError) error = NULL;
	Fixture f;

	start(&f, 10, LONG_MS, LONG_MS);
	same.port = f.port;
	g_assert_false(nbh_front_listen(f.front, &same, &same.port, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
	stop(&f);
}

/* A blocking TLS client in a thread: offers protocols, asks for a page, reads to the end. */
typedef struct {
	int fd;
	const char *alpn; /* as on the wire; NULL: none */
	gboolean is_up;
	char chosen[16], answer[64];
} TlsClient;

static gpointer ask_over_tls(gpointer data)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	TlsClient *client = data;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	const unsigned char *chosen;
	unsigned len;

	SSL_set_fd(ssl, client->fd);
	if (client->alpn)
		SSL_set_alpn_protos(ssl, (const guchar *)client->alpn, (unsigned)strlen(client->alpn));
	if (SSL_connect(ssl) == 1) {
		client->is_up = TRUE;
		SSL_get0_alpn_selected(ssl, &chosen, &len);
		if (len > 0)
			memcpy(client->chosen, chosen, MIN(len, sizeof(client->chosen) - 1));
		SSL_write(ssl, request, sizeof(request) - 1);
		SSL_read(ssl, client->answer, sizeof(client->answer) - 1);
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(client->fd);
	return NULL;
}

/* netbird-hub.md 1.1: h2 before http/1.1; no offer is sniffed; nothing in common is refused. */
static void test_tls(void)
{
	static const struct {
		const char *alpn, *chosen;
		gboolean up, answered;
	} cases[] = {
		{ NULL, "", TRUE, TRUE },
		{ "\x08http/1.1", "http/1.1", TRUE, TRUE },
		{ "\x08http/1.1\x02h2", "h2", TRUE, TRUE },
		{ "\x02h2", "h2", TRUE, TRUE },
		{ "\x06spdy/3", "", FALSE, FALSE },
	};
	TestCerts *certs = test_certs_new();
	g_autofree char *cert = test_certs_path(certs, "hub.pem");
	g_autofree char *key = test_certs_path(certs, "hub.key");
	NbhTls *tls;
	Fixture f;

	test_certs_make(certs, "hub", "IP:127.0.0.1", -1, 10);
	tls = nbh_tls_server_new(cert, key, NULL);
	start(&f, 10, LONG_MS, LONG_MS);
	nbh_front_set_tls(f.front, tls);
	nbh_tls_unref(tls);
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		TlsClient client = { .fd = dial(&f), .alpn = cases[i].alpn };
		GThread *thread = g_thread_new("client", ask_over_tls, &client);

		test_run_until(nbh_front_connections(f.front) == 1);
		test_run_until(nbh_front_connections(f.front) == 0);
		g_thread_join(thread);
		g_assert_cmpint(client.is_up, ==, cases[i].up);
		g_assert_cmpstr(client.chosen, ==, cases[i].chosen);
		g_assert_cmpint(g_str_has_prefix(client.answer, "HTTP/1.1 404 "), ==, cases[i].answered);
	}
	stop(&f);
	test_certs_free(certs);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/hub/front/other-protocols", test_other_protocols);
	g_test_add_func("/hub/front/grpc", test_grpc);
	g_test_add_func("/hub/front/tls", test_tls);
	g_test_add_func("/hub/front/slow-preface", test_slow_preface);
	g_test_add_func("/hub/front/first-bytes-late", test_first_bytes_late);
	g_test_add_func("/hub/front/no-call", test_no_call);
	g_test_add_func("/hub/front/call-without-message", test_call_without_message);
	g_test_add_func("/hub/front/limit-idle", test_limit_idle);
	g_test_add_func("/hub/front/limit-calls", test_limit_calls);
	g_test_add_func("/hub/front/limit-untaken", test_limit_untaken);
	g_test_add_func("/hub/front/limit-per-address", test_limit_per_address);
	g_test_add_func("/hub/front/arrivals", test_arrivals);
	g_test_add_func("/hub/front/flood", test_flood);
	g_test_add_func("/hub/front/free-with-calls", test_free_with_calls);
	g_test_add_func("/hub/front/address-in-use", test_address_in_use);
	return g_test_run();
}
