/* TLS under a stream: our client against our server, and against servers that do it wrong. */

#include "config.h"

#include "base/limits.h"
#include "net/stream.h"

#include "tests/lib/certs.h"
#include "tests/lib/listener.h"
#include "tests/lib/loop.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BULK_BYTES (3 * 1024 * 1024) /* more than socket buffers hold */

/* One end of a connection and what happened to it. */
typedef struct {
	NbhStream *stream;
	gboolean is_up, is_tls;
	guint n_closed;
	char *error;
	gsize received, to_write, written; /* bytes of value (offset & 0xff) */
	gsize sip;                         /* read so much per event only; 0: everything */
} End;

typedef struct {
	TestCerts *certs;
	TestListener listener;
	NbhTls *server_tls, *client_tls;
	End client, server;
} Lab;

static void end_write(End *end)
{
	guint8 block[40000];

	while (end->written < end->to_write) {
		gsize len = MIN(sizeof(block), end->to_write - end->written);
		gssize n;

		for (gsize i = 0; i < len; i++)
			block[i] = (guint8)(end->written + i);
		n = nbh_stream_write(end->stream, block, len);
		if (n <= 0) {
			nbh_stream_want_write(end->stream, n == 0);
			return;
		}
		end->written += (gsize)n;
	}
	nbh_stream_want_write(end->stream, FALSE);
}

static void on_up(NbhStream *stream, gpointer owner)
{
	End *end = owner;

	g_assert_false(end->is_up);
	end->is_up = TRUE;
	end->is_tls = nbh_stream_is_tls(stream);
	end_write(end);
}

static void on_readable(NbhStream *stream, gpointer owner)
{
	End *end = owner;
	guint8 buf[4096];
	gssize n;

	while ((n = nbh_stream_read(stream, buf, end->sip ? end->sip : sizeof(buf))) > 0) {
		for (gssize i = 0; i < n; i++)
			g_assert_cmpuint(buf[i], ==, (guint8)(end->received + (gsize)i));
		end->received += (gsize)n;
		if (end->sip)
			return;
	}
}

static void on_writable(NbhStream *stream, gpointer owner)
{
	(void)stream;
	end_write(owner);
}

static void on_closed(NbhStream *stream, const char *error, gpointer owner)
{
	End *end = owner;

	g_assert_true(stream == end->stream);
	end->n_closed++;
	end->error = g_strdup(error);
}

static const NbhStreamEvents events = { on_up, on_readable, on_writable, on_closed };

static void end_clear(End *end)
{
	nbh_stream_free(end->stream);
	g_free(end->error);
	*end = (End){ 0 };
}

static void on_accept(GSocket *socket, gpointer owner)
{
	Lab *lab = owner;

	end_clear(&lab->server);
	lab->server.to_write = lab->client.sip ? 100000 : 0;
	lab->server.stream = nbh_stream_accept(socket, lab->server_tls, &events, &lab->server);
}

static NbhTls *server_tls(const Lab *lab, const char *name)
{
	g_autofree char *cert = g_strdup_printf("%s/%s.pem", lab->certs->dir, name);
	g_autofree char *key = g_strdup_printf("%s/%s.key", lab->certs->dir, name);
	g_autoptr(GError) error = NULL;
	NbhTls *tls = nbh_tls_server_new(cert, key, &error);

	g_assert_no_error(error);
	return tls;
}

static NbhTls *client_tls(const Lab *lab, const char *ca, const char *cert)
{
	g_autofree char *ca_file = ca ? test_certs_path(lab->certs, ca) : NULL;
	g_autofree char *cert_file = cert ? g_strdup_printf("%s/%s.pem", lab->certs->dir, cert) : NULL;
	g_autofree char *key_file = cert ? g_strdup_printf("%s/%s.key", lab->certs->dir, cert) : NULL;
	const NbhTlsFiles files = { ca_file, cert_file, key_file };

	return nbh_tls_client_new(&files);
}

static void lab_open(Lab *lab)
{
	memset(lab, 0, sizeof(*lab));
	lab->certs = test_certs_new();
	test_certs_make(lab->certs, "good", "DNS:localhost,IP:127.0.0.1", -1, 10);
	lab->server_tls = server_tls(lab, "good");
	lab->client_tls = client_tls(lab, "ca.pem", NULL);
	test_listener_open(&lab->listener, on_accept, lab);
}

static void lab_close(Lab *lab)
{
	end_clear(&lab->client);
	end_clear(&lab->server);
	test_listener_close(&lab->listener);
	test_drain_loop();
	nbh_tls_unref(lab->server_tls);
	nbh_tls_unref(lab->client_tls);
	test_certs_free(lab->certs);
}

static void dial(Lab *lab, const char *host, guint deadline_ms)
{
	lab->client.stream = nbh_stream_connect(host, lab->listener.port, lab->client_tls, NULL, deadline_ms,
						&events, &lab->client);
}

/* Error of the client, or "" when it came up. */
static char *try(Lab *lab, const char *host)
{
	char *error;

	end_clear(&lab->client);
	dial(lab, host, 5000);
	test_run_until(lab->client.is_up || lab->client.n_closed);
	error = g_strdup(lab->client.is_up ? "" : lab->client.error);
	end_clear(&lab->client);
	return error;
}

static void expect(Lab *lab, const char *host, const char *text)
{
	g_autofree char *error = try(lab, host);

	g_test_message("%s: %s", host, error);
	if (*text)
		g_assert_nonnull(strstr(error, text));
	else
		g_assert_cmpstr(error, ==, "");
}

static void test_transfer(void)
{
	Lab lab;

	lab_open(&lab);
	lab.client.to_write = BULK_BYTES;
	dial(&lab, "localhost", 5000);
	test_run_until(lab.server.received == BULK_BYTES);
	g_assert_true(lab.client.is_tls && lab.server.is_tls);
	/* An end with goodbye, from either side. */
	nbh_stream_free(g_steal_pointer(&lab.server.stream));
	test_run_until(lab.client.n_closed);
	g_assert_cmpstr(lab.client.error, ==, "closed by the server");
	end_clear(&lab.client);
	dial(&lab, "127.0.0.1", 5000);
	test_run_until(lab.client.is_up && lab.server.is_up);
	nbh_stream_free(g_steal_pointer(&lab.client.stream));
	test_run_until(lab.server.n_closed);
	g_assert_cmpstr(lab.server.error, ==, "closed by the client");
	lab_close(&lab);
}

/* A reader that stops early: the rest is inside OpenSSL, where poll() does not see it. */
static void test_read_ahead(void)
{
	Lab lab;

	lab_open(&lab);
	lab.client.sip = 100;
	dial(&lab, "localhost", 5000);
	test_run_until(lab.client.received == 100000);
	lab_close(&lab);
}

static void test_names(void)
{
	Lab lab;

	lab_open(&lab);
	expect(&lab, "localhost", "");
	expect(&lab, "localhost.", "");
	expect(&lab, "127.0.0.1", "");
	nbh_tls_unref(lab.server_tls);
	test_certs_make(lab.certs, "other", "DNS:*.example.org,IP:2001:db8::1", -1, 10);
	lab.server_tls = server_tls(&lab, "other");
	expect(&lab, "localhost",
	       "the server's certificate is not for \"localhost\" but for *.example.org, 2001:db8:0:0:0:0:0:1");
	expect(&lab, "127.0.0.1", "is not for \"127.0.0.1\" but for ");
	nbh_tls_unref(lab.server_tls);
	/* A name that looks like the address is none. */
	test_certs_make(lab.certs, "dns", "DNS:127.0.0.1", -1, 10);
	lab.server_tls = server_tls(&lab, "dns");
	expect(&lab, "127.0.0.1",
	       "is not for \"127.0.0.1\" but for 127.0.0.1, as a DNS name; an address must be there as an IP address");
	nbh_tls_unref(lab.server_tls);
	test_certs_make(lab.certs, "mail", "email:root@localhost", -1, 10);
	lab.server_tls = server_tls(&lab, "mail");
	expect(&lab, "localhost",
	       "is not for \"localhost\" but for no name at all (a common name alone does not count)");
	lab_close(&lab);
}

static void test_dates(void)
{
	Lab lab;

	lab_open(&lab);
	nbh_tls_unref(lab.server_tls);
	test_certs_make(lab.certs, "old", "DNS:localhost", -20, -10);
	lab.server_tls = server_tls(&lab, "old");
	expect(&lab, "localhost", "the server's certificate expired on 20");
	nbh_tls_unref(lab.server_tls);
	test_certs_make(lab.certs, "young", "DNS:localhost", 10, 20);
	lab.server_tls = server_tls(&lab, "young");
	expect(&lab, "localhost", "the server's certificate is valid only from 20");
	lab_close(&lab);
}

static void test_unknown_ca(void)
{
	TestCerts *others = test_certs_new();
	g_autofree char *stranger = test_certs_path(others, "ca.pem");
	const NbhTlsFiles files = { .ca_file = stranger }, nothing = { NULL };
	Lab lab;

	lab_open(&lab);
	nbh_tls_unref(lab.client_tls);
	lab.client_tls = nbh_tls_client_new(&files);
	expect(&lab, "localhost", "\", which this machine does not know; caFile ");
	nbh_tls_unref(lab.client_tls);
	lab.client_tls = nbh_tls_client_new(&nothing); /* the system's */
	expect(&lab, "localhost", "the server's certificate was issued by \"Test CA ");
	lab_close(&lab);
	test_certs_free(others);
}

/* What SSL_CERT_FILE names counts as the system's; a wrong one is named. */
static void test_environment(void)
{
	const NbhTlsFiles nothing = { NULL };
	g_autofree char *ca = NULL;
	Lab lab;

	lab_open(&lab);
	ca = test_certs_path(lab.certs, "ca.pem");
	nbh_tls_unref(lab.client_tls);
	g_setenv("SSL_CERT_FILE", ca, TRUE);
	lab.client_tls = nbh_tls_client_new(&nothing);
	expect(&lab, "localhost", "");
	nbh_tls_unref(lab.client_tls);
	g_setenv("SSL_CERT_FILE", "/nonexistent/ca", TRUE);
	lab.client_tls = nbh_tls_client_new(&nothing);
	expect(&lab, "localhost", "/nonexistent/ca: No such file or directory");
	g_unsetenv("SSL_CERT_FILE");
	lab_close(&lab);
}

static void write_file(const Lab *lab, const char *name, const char *text)
{
	g_autofree char *path = test_certs_path(lab->certs, name);

	g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* Settings that cannot be used: the error names the file. What is put right works from then on. */
static void test_client_files(void)
{
	Lab lab;

	lab_open(&lab);
	nbh_tls_unref(lab.client_tls);
	lab.client_tls = client_tls(&lab, "late.pem", NULL);
	expect(&lab, "localhost", "late.pem: No such file or directory");
	write_file(&lab, "late.pem", "no certificate");
	expect(&lab, "localhost", "late.pem: no certificate in PEM form");
	{
		g_autofree char *ca = test_certs_path(lab.certs, "ca.pem");
		g_autofree char *text = NULL;

		g_assert_true(g_file_get_contents(ca, &text, NULL, NULL));
		write_file(&lab, "late.pem", text);
	}
	expect(&lab, "localhost", "");
	nbh_tls_unref(lab.client_tls);
	lab.client_tls = client_tls(&lab, "ca.pem", "client");
	expect(&lab, "localhost", "client.pem: No such file or directory");
	test_certs_make(lab.certs, "client", "DNS:c", -1, 10);
	test_certs_encrypt_key(lab.certs, "client");
	expect(&lab, "localhost", "client.key: protected by a passphrase, which nobody could type");
	lab_close(&lab);
}

static void copy(const Lab *lab, const char *from, const char *to)
{
	static const char *const suffixes[] = { ".pem", ".key" };

	for (gsize i = 0; i < G_N_ELEMENTS(suffixes); i++) {
		g_autofree char *source = g_strconcat(lab->certs->dir, "/", from, suffixes[i], NULL);
		g_autofree char *target = g_strconcat(to, suffixes[i], NULL);
		g_autofree char *text = NULL;

		g_assert_true(g_file_get_contents(source, &text, NULL, NULL));
		write_file(lab, target, text);
	}
}

/* Renewal: the next connection gets the new one; a broken or half renewed one changes nothing. */
static void test_reload(void)
{
	Lab lab;

	lab_open(&lab);
	nbh_tls_unref(lab.server_tls);
	test_certs_make(lab.certs, "old", "DNS:old.example", -1, 10);
	test_certs_make(lab.certs, "new", "DNS:localhost", -1, 10);
	copy(&lab, "old", "live");
	lab.server_tls = server_tls(&lab, "live");
	expect(&lab, "localhost", "but for old.example");
	write_file(&lab, "live.pem", "");
	expect(&lab, "localhost", "but for old.example");
	{
		g_autofree char *from = test_certs_path(lab.certs, "new.pem");
		g_autofree char *text = NULL;

		g_assert_true(g_file_get_contents(from, &text, NULL, NULL));
		write_file(&lab, "live.pem", text); /* the key is still the old one */
	}
	expect(&lab, "localhost", "but for old.example");
	copy(&lab, "new", "live");
	expect(&lab, "localhost", "");
	{
		g_autofree char *path = test_certs_path(lab.certs, "live.key");

		g_assert_cmpint(g_unlink(path), ==, 0);
	}
	expect(&lab, "localhost", "");
	lab_close(&lab);
}

static void test_server_files(void)
{
	static const struct {
		const char *cert, *key, *text;
	} cases[] = {
		{ "none.pem", "good.key", "none.pem: No such file or directory" },
		{ "good.pem", "none.key", "none.key: No such file or directory" },
		{ "good.key", "good.key", "good.key: no certificate in PEM form" },
		{ "good.pem", "good.pem", "good.pem: no private key in PEM form" },
		{ "good.pem", "other.key", "other.key: does not belong to the certificate" },
		{ ".", "good.key", "not a regular file" },
	};
	Lab lab;

	lab_open(&lab);
	test_certs_make(lab.certs, "other", "DNS:x", -1, 10);
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *cert = test_certs_path(lab.certs, cases[i].cert);
		g_autofree char *key = test_certs_path(lab.certs, cases[i].key);
		g_autoptr(GError) error = NULL;

		g_assert_null(nbh_tls_server_new(cert, key, &error));
		g_test_message("%s", error->message);
		g_assert_nonnull(strstr(error->message, cases[i].text));
	}
	lab_close(&lab);
}

/* One below, at, and one above the limit; a text may follow the certificate. */
static void test_file_size(void)
{
	g_autofree char *key = NULL;
	g_autofree char *cert = NULL;
	Lab lab;

	lab_open(&lab);
	cert = test_certs_path(lab.certs, "good.pem");
	key = test_certs_path(lab.certs, "good.key");
	for (int more = -1; more <= 1; more++) {
		g_autoptr(GError) error = NULL;
		NbhTls *tls;

		g_assert_cmpint(truncate(cert, NBH_TLSFILE_MAX_BYTES + more), ==, 0);
		tls = nbh_tls_server_new(cert, key, &error);
		g_assert_cmpint(tls != NULL, ==, more <= 0);
		if (!tls)
			g_assert_nonnull(strstr(error->message, "good.pem: larger than 2 MiB"));
		nbh_tls_unref(tls);
	}
	lab_close(&lab);
}

/* One port: the first byte tells. Silence is the owner's to end. */
static void test_both_kinds(void)
{
	Lab lab;

	lab_open(&lab);
	nbh_tls_unref(g_steal_pointer(&lab.client_tls));
	lab.client.to_write = 1000;
	dial(&lab, "localhost", 5000);
	test_run_until(lab.server.received == 1000);
	g_assert_false(lab.server.is_tls);
	end_clear(&lab.client);
	test_run_until(lab.server.n_closed);
	lab.client.stream = NULL;
	dial(&lab, "localhost", 5000);
	test_run_until(lab.client.is_up && lab.server.stream && !lab.server.n_closed);
	test_drain_loop();
	g_assert_false(lab.server.is_up); /* not a byte yet */
	end_clear(&lab.client);
	test_run_until(lab.server.n_closed);
	g_assert_cmpstr(lab.server.error, ==, "closed by the client");
	lab_close(&lab);
}

/* ---- servers that do it wrong ---------------------------------------------------------------- */

/* A blocking OpenSSL server in a thread; one connection. */
typedef struct {
	SSL_CTX *ctx;
	int fd;
	gboolean cut; /* end without goodbye */
} Odd;

static gpointer serve(gpointer data)
{
	Odd *odd = data;
	SSL *ssl = SSL_new(odd->ctx);
	char c;

	SSL_set_fd(ssl, odd->fd);
	if (SSL_accept(ssl) == 1 && !odd->cut)
		while (SSL_read(ssl, &c, 1) > 0)
			;
	SSL_free(ssl);
	shutdown(odd->fd, SHUT_WR);
	/* What the client still says must not turn our end into a reset. */
	while (recv(odd->fd, &c, 1, 0) > 0)
		;
	close(odd->fd);
	return NULL;
}

typedef struct {
	Lab *lab;
	Odd odd;
	GThread *thread;
} OddLab;

static void on_odd_accept(GSocket *socket, gpointer owner)
{
	OddLab *o = owner;

	o->odd.fd = dup(g_socket_get_fd(socket));
	g_assert_cmpint(fcntl(o->odd.fd, F_SETFL, 0), ==, 0);
	g_object_unref(socket);
	o->thread = g_thread_new("odd", serve, &o->odd);
}

static SSL_CTX *odd_ctx(const Lab *lab)
{
	g_autofree char *cert = test_certs_path(lab->certs, "good.pem");
	g_autofree char *key = test_certs_path(lab->certs, "good.key");
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	g_assert_cmpint(SSL_CTX_use_certificate_chain_file(ctx, cert), ==, 1);
	g_assert_cmpint(SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM), ==, 1);
	return ctx;
}

static int choose_h2(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *offered,
		     unsigned n, void *data)
{
	(void)ssl;
	(void)data;
	g_assert_cmpmem(offered, n, "\x02h2", 3);
	*ret = offered + 1;
	*ret_len = 2;
	return SSL_TLSEXT_ERR_OK;
}

static void expect_odd(Lab *lab, SSL_CTX *ctx, gboolean cut, const char *text)
{
	OddLab o = { .lab = lab, .odd = { .ctx = ctx, .cut = cut } };

	test_listener_close(&lab->listener);
	test_listener_open(&lab->listener, on_odd_accept, &o);
	end_clear(&lab->client);
	dial(lab, "localhost", 5000);
	test_run_until(*text ? lab->client.n_closed > 0 : lab->client.is_up);
	g_test_message("%s", lab->client.error ? lab->client.error : "up");
	if (*text)
		g_assert_nonnull(strstr(lab->client.error, text));
	end_clear(&lab->client);
	g_thread_join(o.thread);
	SSL_CTX_free(ctx);
}

static void test_odd_servers(void)
{
	SSL_CTX *ctx;
	Lab lab;

	lab_open(&lab);
	expect_odd(&lab, odd_ctx(&lab), FALSE, "the server did not choose HTTP/2 (ALPN h2)");
	ctx = odd_ctx(&lab);
	SSL_CTX_set_alpn_select_cb(ctx, choose_h2, NULL);
	expect_odd(&lab, ctx, FALSE, "");
	ctx = odd_ctx(&lab);
	SSL_CTX_set_alpn_select_cb(ctx, choose_h2, NULL);
	expect_odd(&lab, ctx, TRUE, "cut off by the server, without a TLS goodbye");
	ctx = odd_ctx(&lab);
	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
	expect_odd(&lab, ctx, FALSE, "the server speaks no TLS 1.2 or newer");
	lab_close(&lab);
}

static void test_client_certificate(void)
{
	static const struct {
		const char *name, *answer, *answer_1_2;
	} shown[] = {
		{ "client", "", "" },
		{ NULL, "the server wants a client certificate; set clientCertFile", "client certificate may be missing" },
		{ "old", "the server refuses our client certificate", "the server refuses our client certificate" },
	};
	Lab lab;

	lab_open(&lab);
	test_certs_make(lab.certs, "client", "DNS:client", -1, 10);
	test_certs_make(lab.certs, "old", "DNS:client", -20, -10);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		for (gsize i = 0; i < G_N_ELEMENTS(shown); i++) {
			g_autofree char *ca = test_certs_path(lab.certs, "ca.pem");
			SSL_CTX *ctx = odd_ctx(&lab);

			SSL_CTX_set_max_proto_version(ctx, version);
			SSL_CTX_set_alpn_select_cb(ctx, choose_h2, NULL);
			SSL_CTX_load_verify_file(ctx, ca);
			SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
			nbh_tls_unref(lab.client_tls);
			lab.client_tls = client_tls(&lab, "ca.pem", shown[i].name);
			expect_odd(&lab, ctx, FALSE,
				   version == TLS1_3_VERSION ? shown[i].answer : shown[i].answer_1_2);
		}
	}
	lab_close(&lab);
}

/* Bytes instead of a handshake, then the end or silence. */
typedef struct {
	const char *bytes;
	gsize len;
	gboolean stay;
	GSocket *socket;
	GThread *thread;
} Garbage;

static gpointer serve_garbage(gpointer data)
{
	Garbage *garbage = data;
	char hello[4096];

	/* An unread ClientHello makes the end a reset. */
	if (!garbage->bytes) {
		g_assert_true(g_socket_condition_wait(garbage->socket, G_IO_IN, NULL, NULL));
		g_socket_close(garbage->socket, NULL);
		return NULL;
	}
	g_assert_cmpint(g_socket_receive(garbage->socket, hello, sizeof(hello), NULL, NULL), >, 0);
	g_assert_cmpuint((guint8)hello[0], ==, 0x16);
	if (garbage->len)
		g_socket_send(garbage->socket, garbage->bytes, garbage->len, NULL, NULL);
	if (!garbage->stay)
		g_socket_shutdown(garbage->socket, FALSE, TRUE, NULL);
	return NULL;
}

static void on_garbage_accept(GSocket *socket, gpointer owner)
{
	Garbage *garbage = owner;

	g_socket_set_blocking(socket, TRUE);
	garbage->socket = socket;
	garbage->thread = g_thread_new("garbage", serve_garbage, garbage);
}

static void test_garbage(void)
{
	static const struct {
		const char *bytes;
		gsize len;
		gboolean stay;
		guint deadline_ms;
		const char *text;
	} cases[] = {
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", 28, FALSE, 5000,
		  "the server does not speak TLS on this port; is it http:// there?" },
		{ "\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\200\0\4\0\1\0\0", 21, FALSE, 5000, "the server does not speak TLS" },
		{ "\x16\3\3\0\4\1\2\3\4", 9, FALSE, 5000, "TLS handshake failed: " },
		{ "\x15\3\3\0\2\2\x28", 7, FALSE, 5000, "the server refuses the TLS handshake" },
		{ "\x15\3\3\0\2\2\x78", 7, FALSE, 5000, "the server does not offer HTTP/2" },
		{ "", 0, FALSE, 5000, "the server hung up in the TLS handshake" },
		{ NULL, 0, FALSE, 5000, "reset by the server in the TLS handshake; is it http:// there?" },
		{ "\x16\3\3\0\x50\2\0", 7, FALSE, 5000, "the server hung up in the TLS handshake" },
		{ "\x16\3\3\0\x50\2\0", 7, TRUE, 600, "no end of the TLS handshake after 0.6 s" },
	};
	Lab lab;

	lab_open(&lab);
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		Garbage garbage = { cases[i].bytes, cases[i].len, cases[i].stay, NULL, NULL };

		test_listener_close(&lab.listener);
		test_listener_open(&lab.listener, on_garbage_accept, &garbage);
		end_clear(&lab.client);
		dial(&lab, "localhost", cases[i].deadline_ms);
		test_run_until(lab.client.n_closed);
		g_test_message("%s", lab.client.error);
		g_assert_false(lab.client.is_up);
		g_assert_nonnull(strstr(lab.client.error, cases[i].text));
		g_thread_join(garbage.thread);
		g_clear_object(&garbage.socket);
	}
	lab_close(&lab);
}

/* A client that breaks off in the handshake, or sends rubbish: the server says so and lives on. */
static void test_bad_clients(void)
{
	static const struct {
		const char *bytes;
		gsize len;
		const char *text;
	} cases[] = {
		{ "\x16", 1, "the client hung up in the TLS handshake" },
		{ "\x16\3\1\0\4\1\2\3\4", 9, "TLS handshake failed: " },
		{ "\x16GET / HTTP/1.1\r\n\r\n", 19, "TLS handshake failed: " },
	};
	Lab lab;

	lab_open(&lab);
	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GSocketClient) client = g_socket_client_new();
		g_autoptr(GSocketConnection) raw = g_socket_client_connect_to_host(
			client, "127.0.0.1", lab.listener.port, NULL, NULL);

		g_assert_nonnull(raw);
		g_socket_send(g_socket_connection_get_socket(raw), cases[i].bytes, cases[i].len, NULL, NULL);
		g_socket_shutdown(g_socket_connection_get_socket(raw), FALSE, TRUE, NULL);
		test_run_until(lab.server.n_closed);
		g_test_message("%s", lab.server.error);
		g_assert_false(lab.server.is_up);
		g_assert_nonnull(strstr(lab.server.error, cases[i].text));
		end_clear(&lab.server);
	}
	expect(&lab, "localhost", "");
	lab_close(&lab);
}

/* free() at every step of a connection: no callback, no leak. */
static void test_free_early(void)
{
	for (guint steps = 0; steps < 12; steps++) {
		Lab lab;

		lab_open(&lab);
		dial(&lab, "127.0.0.1", 5000);
		for (guint i = 0; i < steps && !lab.client.is_up; i++)
			g_main_context_iteration(NULL, TRUE);
		nbh_stream_free(g_steal_pointer(&lab.client.stream));
		test_drain_loop();
		g_assert_cmpuint(lab.client.n_closed, ==, 0);
		lab_close(&lab);
	}
}

int main(int argc, char **argv)
{
	g_unsetenv("SSL_CERT_FILE");
	g_unsetenv("SSL_CERT_DIR");
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/tls/transfer", test_transfer);
	g_test_add_func("/tls/read-ahead", test_read_ahead);
	g_test_add_func("/tls/names", test_names);
	g_test_add_func("/tls/dates", test_dates);
	g_test_add_func("/tls/unknown-ca", test_unknown_ca);
	g_test_add_func("/tls/environment", test_environment);
	g_test_add_func("/tls/client-files", test_client_files);
	g_test_add_func("/tls/server-files", test_server_files);
	g_test_add_func("/tls/file-size", test_file_size);
	g_test_add_func("/tls/reload", test_reload);
	g_test_add_func("/tls/both-kinds", test_both_kinds);
	g_test_add_func("/tls/odd-servers", test_odd_servers);
	g_test_add_func("/tls/client-certificate", test_client_certificate);
	g_test_add_func("/tls/garbage", test_garbage);
	g_test_add_func("/tls/bad-clients", test_bad_clients);
	g_test_add_func("/tls/free-early", test_free_early);
	return g_test_run();
}
