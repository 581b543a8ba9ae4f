/* app/srflx: which servers are asked, and what becomes of their answers. */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include <glib.h>

#include "app/srflx.h"
#include "ice/ice-fake.h"

typedef struct {
	NbhSrflx *srflx;
	NbhIce *ice;
	guint n_changes, n_answers;
	gboolean is_ready;
} Fixture;

static void on_change(gpointer owner)
{
	((Fixture *)owner)->n_changes++;
}

static void on_mapped(NbhIce *ice, const struct nbh_endpoint *server, const struct nbh_endpoint *mapped, gpointer owner)
{
	Fixture *fixture = owner;

	(void)ice;
	nbh_srflx_mapped(fixture->srflx, server, mapped);
	fixture->n_answers++;
}

static void on_ready(NbhIce *ice, const char *backend, gpointer owner)
{
	(void)ice;
	(void)backend;
	((Fixture *)owner)->is_ready = TRUE;
}

static void on_down(NbhIce *ice, const char *why, gpointer owner)
{
	(void)ice;
	(void)why;
	(void)owner;
}

static void on_session(NbhIce *ice, const NbhIceSession *session, gpointer owner)
{
	(void)ice;
	(void)session;
	(void)owner;
}

static void on_selected(NbhIce *ice, const struct nbh_key *peer, const NbhIcePair *pair, gpointer owner)
{
	(void)ice;
	(void)peer;
	(void)pair;
	(void)owner;
}

static void on_peer(NbhIce *ice, const struct nbh_key *peer, gpointer owner)
{
	(void)ice;
	(void)peer;
	(void)owner;
}

static const NbhIceEvents events = { on_ready, on_down, on_session, on_selected, on_peer, on_peer, on_mapped, NULL };

static struct nbh_endpoint endpoint(const char *text)
{
	struct nbh_endpoint parsed;

	g_assert_cmpint(nbh_endpoint_parse(text, &parsed), ==, 0);
	return parsed;
}

static void says(Fixture *fixture, const char *text)
{
	struct nbh_endpoint mapped;

	if (text)
		mapped = endpoint(text);

	nbh_ice_fake_set_mapped(fixture->ice, text ? &mapped : NULL);
}

static void wait_answers(Fixture *fixture, guint n)
{
	while (fixture->n_answers < n)
		g_main_context_iteration(NULL, TRUE);

	while (g_main_context_iteration(NULL, FALSE))
		;

	g_assert_cmpuint(fixture->n_answers, ==, n);
	fixture->n_answers = 0;
}

static void set_servers(Fixture *fixture, const char *const *uris)
{
	g_autoptr(GPtrArray) list = g_ptr_array_new();

	for (gsize i = 0; uris[i]; i++)
		g_ptr_array_add(list, (gpointer)uris[i]);

	nbh_srflx_set_servers(fixture->srflx, list);
}

static void set_up(Fixture *fixture, gconstpointer data)
{
	(void)data;
	fixture->srflx = nbh_srflx_new(on_change, fixture);
	fixture->ice = nbh_ice_fake.open("/nonexistent", &events, fixture, NULL);
	g_assert_nonnull(fixture->ice);

	while (!fixture->is_ready)
		g_main_context_iteration(NULL, TRUE);

	nbh_srflx_set_ice(fixture->srflx, &nbh_ice_fake, fixture->ice);
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
	(void)data;
	nbh_srflx_free(fixture->srflx);
	nbh_ice_fake.free(fixture->ice);
}

static void append(const char *uri, const char *answer, const char *why, gpointer data)
{
	(void)why;
	g_string_append_printf(data, "%s=%s ", uri, answer);
}

static void assert_shown(Fixture *fixture, const char *wanted)
{
	g_autoptr(GString) shown = g_string_new(NULL);

	nbh_srflx_each(fixture->srflx, append, shown);
	g_assert_cmpstr(shown->str, ==, wanted);
}

static void append_why(const char *uri, const char *answer, const char *why, gpointer data)
{
	g_string_append_printf(data, "%s=%s ", uri, answer[0] ? answer : why);
}

/* Servers that are none, and answers that would send our peers to somebody else. */
static void test_unfit(Fixture *fixture, gconstpointer data)
{
	static const char *const uris[] = { "stun:127.0.0.1:3478", "stun:100.64.0.9:3478", "stun:[fe80::1]:3478",
		                            "stun:255.255.255.255:3478", "stun:192.0.2.1:3478", NULL };
	static const char *const answers[] = { "127.0.0.1:1", "100.64.3.4:51820", "224.0.0.1:5" };
	struct nbh_prefix overlay, none = { .len = 0 };
	struct nbh_endpoint got;
	g_autoptr(GString) shown = g_string_new(NULL);

	(void)data;
	g_assert_cmpint(nbh_prefix_parse("100.64.0.1/16", &overlay), ==, 0);
	nbh_srflx_set_overlay(fixture->srflx, &overlay, &none);
	says(fixture, "203.0.113.9:51820");
	set_servers(fixture, uris);
	wait_answers(fixture, 1);
	nbh_srflx_each(fixture->srflx, append_why, shown);
	g_assert_cmpstr(shown->str, ==,
	                "stun:127.0.0.1:3478=loopback stun:100.64.0.9:3478=inside our own network "
	                "stun:[fe80::1]:3478=link-local stun:255.255.255.255:3478=multicast or broadcast "
	                "stun:192.0.2.1:3478=203.0.113.9:51820 ");

	for (gsize i = 0; i < G_N_ELEMENTS(answers); i++) {
		says(fixture, answers[i]);
		nbh_srflx_ask(fixture->srflx);
		wait_answers(fixture, 1);
		g_assert_cmpuint(nbh_srflx_get(fixture->srflx, &got, 1), ==, 0);
	}

	g_assert_cmpuint(fixture->n_changes, ==, 2); /* there, and taken back */
}

static void test_answers(Fixture *fixture, gconstpointer data)
{
	static const char *const uris[] = { "stun:192.0.2.1:3478", "stun:192.0.2.2", "turn:192.0.2.3:3478",
		                            "stuns:192.0.2.4:5349", "nonsense", NULL };
	struct nbh_endpoint got[NBH_STUN_SERVERS_MAX];

	(void)data;
	says(fixture, "203.0.113.9:51820");
	set_servers(fixture, uris);
	assert_shown(fixture, "stun:192.0.2.1:3478= stun:192.0.2.2= ");
	wait_answers(fixture, 2);
	g_assert_cmpuint(fixture->n_changes, ==, 2);
	assert_shown(fixture, "stun:192.0.2.1:3478=203.0.113.9:51820 stun:192.0.2.2=203.0.113.9:51820 ");

	/* Two servers, one address. */
	g_assert_cmpuint(nbh_srflx_get(fixture->srflx, got, G_N_ELEMENTS(got)), ==, 1);
	g_assert_cmpuint(got[0].port, ==, 51820);

	/* The same servers again: nobody is asked. The same answer again: no change. */
	set_servers(fixture, uris);
	g_assert_false(g_main_context_iteration(NULL, FALSE));
	nbh_srflx_ask(fixture->srflx);
	wait_answers(fixture, 2);
	g_assert_cmpuint(fixture->n_changes, ==, 2);

	/* Silence is no news; another answer is. */
	says(fixture, NULL);
	nbh_srflx_ask(fixture->srflx);
	wait_answers(fixture, 2);
	g_assert_cmpuint(nbh_srflx_get(fixture->srflx, got, G_N_ELEMENTS(got)), ==, 1);
	says(fixture, "203.0.113.10:4000");
	nbh_srflx_ask(fixture->srflx);
	wait_answers(fixture, 2);
	g_assert_cmpuint(fixture->n_changes, ==, 4);
	g_assert_cmpuint(nbh_srflx_get(fixture->srflx, got, G_N_ELEMENTS(got)), ==, 1);
	g_assert_cmpuint(got[0].port, ==, 4000);
}

/* A symmetric NAT: every server sees another port, and there is room for some only. */
static void test_different(Fixture *fixture, gconstpointer data)
{
	static const char *const uris[] = { "stun:192.0.2.1:3478", "stun:192.0.2.2:3478", NULL };
	struct nbh_endpoint server = endpoint("192.0.2.2:3478"), mapped = endpoint("203.0.113.9:7");
	struct nbh_endpoint stranger = endpoint("192.0.2.77:3478"), got[NBH_STUN_SERVERS_MAX];

	(void)data;
	says(fixture, "203.0.113.9:51820");
	set_servers(fixture, uris);
	wait_answers(fixture, 2);
	nbh_srflx_mapped(fixture->srflx, &server, &mapped);
	nbh_srflx_mapped(fixture->srflx, &stranger, &server); /* was never asked */
	g_assert_cmpuint(nbh_srflx_get(fixture->srflx, got, G_N_ELEMENTS(got)), ==, 2);
	g_assert_cmpuint(nbh_srflx_get(fixture->srflx, got, 1), ==, 1);
}

static void test_name(Fixture *fixture, gconstpointer data)
{
	static const char *const uris[] = { "stun:localhost:3478", NULL };
	g_autoptr(GString) shown = g_string_new(NULL);

	(void)data;
	set_servers(fixture, uris);

	/* A name is as good as the address behind it. */
	do {
		g_main_context_iteration(NULL, TRUE);
		g_string_truncate(shown, 0);
		nbh_srflx_each(fixture->srflx, append_why, shown);
	} while (!strstr(shown->str, "loopback"));

	g_assert_cmpuint(fixture->n_answers, ==, 0);
}

/* Freed while a name is looked up: the answer finds nobody. */
static void test_free_early(void)
{
	static const char *const uris[] = { "stun:localhost:3478", NULL };
	Fixture fixture = { .n_changes = 0 };

	set_up(&fixture, NULL);
	set_servers(&fixture, uris);
	tear_down(&fixture, NULL);

	for (int i = 0; i < 100; i++)
		g_main_context_iteration(NULL, FALSE);

	g_assert_cmpuint(fixture.n_changes, ==, 0);
}

int main(int argc, char **argv)
{
	alarm(60); /* ends a test that would wait for ever */
	g_test_init(&argc, &argv, NULL);
	g_test_add("/app/srflx/answers", Fixture, NULL, set_up, test_answers, tear_down);
	g_test_add("/app/srflx/unfit", Fixture, NULL, set_up, test_unfit, tear_down);
	g_test_add("/app/srflx/different", Fixture, NULL, set_up, test_different, tear_down);
	g_test_add("/app/srflx/name", Fixture, NULL, set_up, test_name, tear_down);
	g_test_add_func("/app/srflx/free-early", test_free_early);
	return g_test_run();
}
