/* HTTP proxies: which one, what it is asked, and what becomes of its answers. */

#include "config.h"

#include "net/dial.h"
#include "net/proxy.h"

#include "base/limits.h"

#include "tests/lib/certs.h"
#include "tests/lib/listener.h"
#include "tests/lib/loop.h"

#include <string.h>

static void test_urls(void)
{
	static const struct {
		const char *url, *host;
		guint16 port;
		const char *authorization, *error;
	} cases[] = {
		{ "http://proxy.example:3128", "proxy.example", 3128, NULL, NULL },
		{ "http://proxy.example/", "proxy.example", 80, NULL, NULL },
		{ "proxy.example:3128", "proxy.example", 3128, NULL, NULL },
		{ "http://[2001:db8::1]:3128", "2001:db8::1", 3128, NULL, NULL },
		{ "http://user:p%40ss@10.0.0.1:3128", "10.0.0.1", 3128, "dXNlcjpwQHNz", NULL },
		{ "http://user@10.0.0.1", "10.0.0.1", 80, "dXNlcjo=", NULL },
		{ "https://user:secret@proxy.example", NULL, 0, NULL,
		  "https:// proxies are not supported, only http:// ones" },
		{ "socks5://10.0.0.1:1080", NULL, 0, NULL, "socks5:// proxies are not supported" },
		{ "http://user:secret@", NULL, 0, NULL, "must have the form http://HOST:PORT" },
		{ "http://h:0", NULL, 0, NULL, "must have the form" },
		{ "http://secret:99999", NULL, 0, NULL, "must have the form" },
		{ "", NULL, 0, NULL, "must have the form" },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(NbhProxy) proxy = nbh_proxy_parse(cases[i].url, &error);

		g_test_message("%s: %s", cases[i].url, error ? error->message : "good");
		if (!cases[i].host) {
			g_assert_null(proxy);
			g_assert_nonnull(strstr(error->message, cases[i].error));
			g_assert_null(strstr(error->message, "secret"));
			continue;
		}
		g_assert_no_error(error);
		g_assert_cmpstr(proxy->host, ==, cases[i].host);
		g_assert_cmpuint(proxy->port, ==, cases[i].port);
		g_assert_cmpstr(proxy->authorization, ==, cases[i].authorization);
	}
}

static void test_exclusions(void)
{
	static const struct {
		const char *no_proxy, *host;
		guint16 port;
		gboolean excluded;
	} cases[] = {
		{ "", "a.example", 443, FALSE },
		{ "*", "a.example", 443, TRUE },
		{ "example", "a.example", 443, TRUE },
		{ "a.example", "A.EXAMPLE", 443, TRUE },
		{ "example", "badexample", 443, FALSE },
		{ ".example", "a.example", 443, TRUE },
		{ ".example", "example", 443, FALSE },
		{ "*.example", "a.example", 443, TRUE },
		{ " b.example , a.example ", "a.example", 443, TRUE },
		{ "a.example:443", "a.example", 443, TRUE },
		{ "a.example:444", "a.example", 443, FALSE },
		{ "10.0.0.0/8", "10.1.2.3", 443, TRUE },
		{ "10.0.0.0/8", "11.1.2.3", 443, FALSE },
		{ "10.1.2.3", "10.1.2.3", 443, TRUE },
		{ "10.1.2.3:80", "10.1.2.3", 443, FALSE },
		{ "2001:db8::1", "2001:db8::1", 443, TRUE },
		{ "[2001:db8::1]:443", "2001:db8::1", 443, TRUE },
		{ "[2001:db8::1]:444", "2001:db8::1", 443, FALSE },
		{ "2001:db8::/32", "2001:db8::1", 443, TRUE },
		{ "1.2.3", "10.1.2.3", 443, FALSE },
		{ "::::,]:[,:,/,[", "a.example", 443, FALSE },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_test_message("\"%s\" %s", cases[i].no_proxy, cases[i].host);
		g_assert_cmpint(nbh_proxy_is_excluded(cases[i].no_proxy, cases[i].host, cases[i].port), ==,
				cases[i].excluded);
	}
}

static void test_environment(void)
{
	g_assert_null(nbh_proxy_from_environment("a.example", 443));
	g_setenv("https_proxy", "http://lower:1", TRUE);
	g_assert_cmpstr(nbh_proxy_from_environment("a.example", 80), ==, "http://lower:1");
	g_setenv("HTTPS_PROXY", "http://upper:1", TRUE);
	g_assert_cmpstr(nbh_proxy_from_environment("a.example", 443), ==, "http://upper:1");
	g_assert_null(nbh_proxy_from_environment("localhost", 443));
	g_assert_null(nbh_proxy_from_environment("127.0.0.5", 443));
	g_assert_null(nbh_proxy_from_environment("::1", 443));
	g_setenv("no_proxy", "example", TRUE);
	g_assert_null(nbh_proxy_from_environment("a.example", 443));
	g_setenv("NO_PROXY", "other", TRUE);
	g_assert_cmpstr(nbh_proxy_from_environment("a.example", 443), ==, "http://upper:1");
	g_unsetenv("https_proxy");
	g_unsetenv("HTTPS_PROXY");
	g_unsetenv("no_proxy");
	g_unsetenv("NO_PROXY");
}

/* ---- against a proxy ------------------------------------------------------------------------- */

typedef struct {
	NbhStream *stream;
	gboolean is_up;
	guint n_closed;
	char *error;
	GString *received;
} End;

/* proxy: accepts; its answer is written when the request is complete. far: where tunnels lead. */
typedef struct {
	TestListener proxy_listener, far_listener;
	End client, proxy, to_far, far;
	const char *answer;
	guint8 step; /* bytes of the answer per write; 0: all at once */
	gboolean hang_up, is_tunnel;
	TestCerts *certs;
	NbhTls *far_tls;
} Lab;

static void on_up(NbhStream *stream, gpointer owner)
{
	End *end = owner;

	(void)stream;
	end->is_up = TRUE;
}

static gboolean drain(End *end)
{
	char buf[4096];
	gssize n;
	gboolean any = FALSE;

	while ((n = nbh_stream_read(end->stream, (guint8 *)buf, sizeof(buf))) > 0) {
		g_string_append_len(end->received, buf, n);
		any = TRUE;
	}
	return any;
}

static void on_readable(NbhStream *stream, gpointer owner)
{
	(void)stream;
	drain(owner);
}

static void on_writable(NbhStream *stream, gpointer owner)
{
	(void)stream;
	(void)owner;
}

static void on_closed(NbhStream *stream, const char *error, gpointer owner)
{
	End *end = owner;

	(void)stream;
	end->n_closed++;
	end->error = g_strdup(error);
}

static const NbhStreamEvents end_events = { on_up, on_readable, on_writable, on_closed };

static void say(NbhStream *stream, const char *text, gsize len)
{
	g_assert_cmpint(nbh_stream_write(stream, (const guint8 *)text, len), ==, len);
}

/* From one side to the other, once both are there. */
static void forward(End *from, End *to)
{
	if (!to->stream || !to->is_up || from->received->len == 0)
		return;
	say(to->stream, from->received->str, from->received->len);
	g_string_truncate(from->received, 0);
}

static void on_far_readable(NbhStream *stream, gpointer owner)
{
	Lab *lab = owner;

	(void)stream;
	drain(&lab->to_far);
	forward(&lab->to_far, &lab->proxy);
}

static void on_far_up(NbhStream *stream, gpointer owner)
{
	Lab *lab = owner;

	(void)stream;
	lab->to_far.is_up = TRUE;
	say(lab->proxy.stream, lab->answer, strlen(lab->answer));
}

static void on_far_closed(NbhStream *stream, const char *error, gpointer owner)
{
	(void)stream;
	(void)error;
	((Lab *)owner)->to_far.n_closed++;
}

static const NbhStreamEvents to_far_events = { on_far_up, on_far_readable, on_writable, on_far_closed };

static void on_proxy_readable(NbhStream *stream, gpointer owner)
{
	Lab *lab = owner;
	gsize len = lab->answer ? strlen(lab->answer) : 0;

	drain(&lab->proxy);
	if (lab->to_far.stream) {
		forward(&lab->proxy, &lab->to_far);
		return;
	}
	if (!g_str_has_suffix(lab->proxy.received->str, "\r\n\r\n"))
		return;
	if (lab->is_tunnel) {
		lab->to_far.stream = nbh_stream_connect("127.0.0.1", lab->far_listener.port, NULL, NULL, 5000,
							&to_far_events, lab);
		g_string_truncate(lab->proxy.received, 0);
		return;
	}
	for (gsize i = 0; i < len; i += lab->step ? lab->step : len) {
		say(stream, lab->answer + i, MIN(lab->step ? lab->step : len, len - i));
		for (int turn = 0; turn < 3 && lab->step; turn++)
			g_main_context_iteration(NULL, FALSE);
	}
	if (lab->hang_up)
		nbh_stream_free(g_steal_pointer(&lab->proxy.stream));
}

static void on_proxy_up(NbhStream *stream, gpointer owner)
{
	(void)stream;
	((Lab *)owner)->proxy.is_up = TRUE;
}

static void on_proxy_closed(NbhStream *stream, const char *error, gpointer owner)
{
	(void)stream;
	(void)error;
	((Lab *)owner)->proxy.n_closed++;
}

static const NbhStreamEvents proxy_events = { on_proxy_up, on_proxy_readable, on_writable, on_proxy_closed };

static void on_proxy_accept(GSocket *socket, gpointer owner)
{
	Lab *lab = owner;

	lab->proxy.stream = nbh_stream_accept(socket, NULL, &proxy_events, lab);
}

static void on_far_accept(GSocket *socket, gpointer owner)
{
	Lab *lab = owner;

	lab->far.stream = nbh_stream_accept(socket, lab->far_tls, &end_events, &lab->far);
}

static void lab_open(Lab *lab)
{
	End *ends[] = { &lab->client, &lab->proxy, &lab->to_far, &lab->far };

	memset(lab, 0, sizeof(*lab));
	for (gsize i = 0; i < G_N_ELEMENTS(ends); i++)
		ends[i]->received = g_string_new(NULL);
	test_listener_open(&lab->proxy_listener, on_proxy_accept, lab);
	test_listener_open(&lab->far_listener, on_far_accept, lab);
}

static void lab_close(Lab *lab)
{
	End *ends[] = { &lab->client, &lab->proxy, &lab->to_far, &lab->far };

	for (gsize i = 0; i < G_N_ELEMENTS(ends); i++) {
		nbh_stream_free(ends[i]->stream);
		g_free(ends[i]->error);
		g_string_free(ends[i]->received, TRUE);
	}
	test_listener_close(&lab->proxy_listener);
	test_listener_close(&lab->far_listener);
	nbh_tls_unref(lab->far_tls);
	test_drain_loop();
}

static void dial(Lab *lab, const char *host, gboolean tls, guint deadline_ms)
{
	g_autofree char *url = g_strdup_printf("http://user:secret@127.0.0.1:%u", lab->proxy_listener.port);
	g_autofree char *ca = lab->certs ? test_certs_path(lab->certs, "ca.pem") : NULL;
	const NbhDialConfig config = { .proxy = url, .ca_file = ca };
	g_autoptr(GError) error = NULL;
	g_autoptr(NbhDial) dialing = nbh_dial_new(&config, &error);

	g_assert_no_error(error);
	lab->client.stream = nbh_dial_connect(dialing, host, lab->far_listener.port, tls, deadline_ms,
					      &end_events, &lab->client);
}

/* The server speaks first, in the same segment as the proxy's answer; and the answer in pieces. */
static void test_good(void)
{
	for (guint8 step = 0; step < 8; step += 7) {
		g_autofree char *expected = NULL;
		Lab lab;

		lab_open(&lab);
		lab.answer = "HTTP/1.1 200 Connection established\r\nX: y\r\n\r\nhello";
		lab.step = step;
		dial(&lab, "server.example", FALSE, 5000);
		test_run_until(lab.client.received->len == 5);
		g_assert_cmpstr(lab.client.received->str, ==, "hello");
		expected = g_strdup_printf("CONNECT server.example:%u HTTP/1.1\r\nHost: server.example:%u\r\n"
					   "Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n",
					   lab.far_listener.port, lab.far_listener.port);
		g_assert_cmpstr(lab.proxy.received->str, ==, expected);
		lab_close(&lab);
	}
}

static void test_tls_inside(void)
{
	g_autofree char *cert = NULL, *key = NULL;
	TestCerts *certs = test_certs_new();
	Lab lab;

	lab_open(&lab);
	lab.certs = certs;
	test_certs_make(certs, "far", "IP:2001:db8::7", -1, 10);
	cert = test_certs_path(certs, "far.pem");
	key = test_certs_path(certs, "far.key");
	lab.far_tls = nbh_tls_server_new(cert, key, NULL);
	lab.is_tunnel = TRUE;
	lab.answer = "HTTP/1.0 200 OK\r\n\r\n";
	/* Checked is the server's name, not the proxy's. */
	dial(&lab, "2001:db8::7", TRUE, 5000);
	test_run_until(lab.client.is_up || lab.client.n_closed);
	g_assert_cmpstr(lab.client.error, ==, NULL);
	say(lab.client.stream, "ping", 4);
	test_run_until(lab.far.received->len == 4);
	g_assert_true(nbh_stream_is_tls(lab.far.stream));
	lab_close(&lab);
	test_certs_free(certs);
}

static void test_refusals(void)
{
	static const struct {
		const char *answer;
		gboolean hang_up;
		guint deadline_ms;
		const char *text; /* after "the proxy HOST:PORT " */
	} cases[] = {
		{ "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", FALSE, 5000,
		  "refuses the connection: 407 Proxy Authentication Required; give USER:PASSWORD@ in the proxy's URL" },
		{ "HTTP/1.1 403 No\x1b[31m\x07\r\nA: b\r\n\r\n", FALSE, 5000, "refuses the connection: 403 No?[31m?" },
		{ "HTTP/1.1 302 Found\r\n\r\n", FALSE, 5000, "refuses the connection: 302 Found" },
		{ "SSH-2.0-OpenSSH\r\n\r\n", FALSE, 5000, "is no HTTP proxy (it answered \"SSH-2.0-OpenSSH\")" },
		{ "\r\n\r\n", FALSE, 5000, "is no HTTP proxy (it answered \"\")" },
		{ "HTTP/1.1 20", TRUE, 5000, "hung up instead of connecting" },
		{ "", TRUE, 5000, "hung up instead of connecting" },
		{ "HTTP/1.1 200 OK\r\n", FALSE, 150, NULL },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *expected = NULL;
		Lab lab;

		lab_open(&lab);
		lab.answer = cases[i].answer;
		lab.hang_up = cases[i].hang_up;
		dial(&lab, "server.example", FALSE, cases[i].deadline_ms);
		test_run_until(lab.client.n_closed);
		g_assert_false(lab.client.is_up);
		expected = cases[i].text ? g_strdup_printf("the proxy 127.0.0.1:%u %s",
							   lab.proxy_listener.port, cases[i].text)
					 : g_strdup("no answer from the proxy after 0.15 s");
		g_assert_cmpstr(lab.client.error, ==, expected);
		lab_close(&lab);
	}
}

/* At the limit it is an answer, above it is none. */
static void test_limit(void)
{
	for (int over = 0; over < 2; over++) {
		GString *answer = g_string_new("HTTP/1.1 200 OK\r\nX: ");
		Lab lab;

		while (answer->len < NBH_PROXY_ANSWER_MAX_BYTES - 4 + (gsize)over)
			g_string_append_c(answer, 'x');
		g_string_append(answer, "\r\n\r\n");
		lab_open(&lab);
		lab.answer = answer->str;
		dial(&lab, "server.example", FALSE, 5000);
		test_run_until(lab.client.n_closed || lab.client.is_up);
		g_assert_cmpint(lab.client.is_up, ==, !over);
		if (over)
			g_assert_nonnull(strstr(lab.client.error, " answers without end"));
		lab_close(&lab);
		g_string_free(answer, TRUE);
	}
}

static void test_unreachable(void)
{
	static const struct {
		const char *variable, *text;
	} cases[] = {
		{ "http://no-such-proxy.invalid:3128",
		  "the proxy no-such-proxy.invalid:3128: the host name \"no-such-proxy.invalid\" cannot be resolved" },
		{ "https://10.0.0.1:3128",
		  "the proxy in the environment (HTTPS_PROXY): https:// proxies are not supported, only http:// ones" },
	};
	g_autoptr(NbhDial) dialing = nbh_dial_new(NULL, NULL);
	const NbhDialConfig no_key = { .key_file = "/x" }, bad = { .proxy = "https://u:secret@h" };
	g_autoptr(GError) error = NULL;

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		End end = { .received = NULL };

		g_setenv("HTTPS_PROXY", cases[i].variable, TRUE);
		end.stream = nbh_dial_connect(dialing, "server.example", 80, FALSE, 5000, &end_events, &end);
		test_run_until(end.n_closed);
		g_assert_cmpstr(end.error, ==, cases[i].text);
		nbh_stream_free(end.stream);
		g_free(end.error);
	}
	g_unsetenv("HTTPS_PROXY");
	g_assert_null(nbh_dial_new(&no_key, &error));
	g_assert_cmpstr(error->message, ==, "clientKeyFile: there is no clientCertFile");
	g_clear_error(&error);
	g_assert_null(nbh_dial_new(&bad, &error));
	g_assert_cmpstr(error->message, ==, "proxy: https:// proxies are not supported, only http:// ones");
	test_drain_loop();
}

int main(int argc, char **argv)
{
	static const char *const variables[] = { "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy" };

	for (gsize i = 0; i < G_N_ELEMENTS(variables); i++)
		g_unsetenv(variables[i]);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/proxy/urls", test_urls);
	g_test_add_func("/proxy/exclusions", test_exclusions);
	g_test_add_func("/proxy/environment", test_environment);
	g_test_add_func("/proxy/good", test_good);
	g_test_add_func("/proxy/tls-inside", test_tls_inside);
	g_test_add_func("/proxy/refusals", test_refusals);
	g_test_add_func("/proxy/limit", test_limit);
	g_test_add_func("/proxy/unreachable", test_unreachable);
	return g_test_run();
}
