/*
 * What every NbhIceBackend does, compiled once per backend: -DBACKEND=nbh_ice_fake and
 * -DBACKEND=nbh_ice_process. The latter needs two netbird-ice that can reach each other; a lab
 * (tests/netns/ice-pair) sets NBH_ICE_TEST_DIR_A, _DIR_B (config directories), _ADDR_A, _ADDR_B.
 */
#include "config.h"

#include "ice/ice.h"

#include <stdio.h>
#include <string.h>

#define PORT 51820
#define WAIT_S 20

typedef struct {
	NbhIce *ice;
	const char *dir, *addr;
	struct nbh_key far;
	NbhIceCreds creds;
	gboolean in_call, free_on_ready;
	guint n_ready, n_down, n_sessions, n_selected, n_failed, n_heard, n_mapped;
	NbhIceSession session;
	NbhIcePair pair;
} End;

static End ends[2];
static GMainLoop *loop;

static void on_ready(NbhIce *ice, const char *backend, gpointer owner)
{
	End *e = owner;

	g_assert_true(e->ice == ice);
	g_assert_false(e->in_call);
	g_assert_cmpstr(backend, !=, "");
	e->n_ready++;

	if (e->free_on_ready) {
		BACKEND.free(ice);
		e->ice = NULL;
	}

	g_main_loop_quit(loop);
}

static void on_down(NbhIce *ice G_GNUC_UNUSED, const char *why, gpointer owner)
{
	End *e = owner;

	g_assert_false(e->in_call);
	g_assert_cmpstr(why, !=, "");
	e->n_down++;
	g_main_loop_quit(loop);
}

static void on_session(NbhIce *ice G_GNUC_UNUSED, const NbhIceSession *session, gpointer owner)
{
	End *e = owner;

	g_assert_false(e->in_call);
	g_assert_cmpuint(e->n_ready, ==, 0);
	e->n_sessions++;
	e->session = *session;
}

static void on_selected(NbhIce *ice G_GNUC_UNUSED, const struct nbh_key *peer, const NbhIcePair *pair,
                        gpointer owner)
{
	End *e = owner;

	g_assert_false(e->in_call);
	g_assert_true(nbh_key_equal(peer, &e->far));
	e->n_selected++;
	e->pair = *pair;
	g_main_loop_quit(loop);
}

static void on_peer(NbhIce *ice G_GNUC_UNUSED, const struct nbh_key *peer G_GNUC_UNUSED, gpointer owner)
{
	End *e = owner;

	g_assert_false(e->in_call);
}

static void on_failed(NbhIce *ice, const struct nbh_key *peer, gpointer owner)
{
	on_peer(ice, peer, owner);
	((End *)owner)->n_failed++;
	g_main_loop_quit(loop);
}

static void on_mapped(NbhIce *ice G_GNUC_UNUSED, const struct nbh_endpoint *server G_GNUC_UNUSED,
                      const struct nbh_endpoint *mapped G_GNUC_UNUSED, gpointer owner)
{
	End *e = owner;

	e->n_mapped++;
}

static void on_heard(NbhIce *ice G_GNUC_UNUSED, const struct nbh_key *peer, const struct nbh_endpoint *from,
                     gpointer owner)
{
	End *e = owner;

	g_assert_false(e->in_call);
	g_assert_true(nbh_key_equal(peer, &e->far));
	g_assert_true(nbh_endpoint_is_set(from));
	g_assert_cmpuint(e->n_selected, ==, 0); /* it comes first */
	e->n_heard++;
}

static const NbhIceEvents events = { on_ready, on_down, on_session, on_selected, on_failed, on_peer, on_mapped, on_heard };

#define CALL(e, ...) \
	do { \
		(e)->in_call = TRUE; \
		__VA_ARGS__; \
		(e)->in_call = FALSE; \
	} while (0)

static gboolean on_too_late(gpointer what)
{
	g_error("waited %d s for %s", WAIT_S, (const char *)what);
	return G_SOURCE_REMOVE;
}

/* Runs the loop until `done`; every event ends one round. */
#define WAIT_FOR(done) \
	do { \
		guint timer_ = g_timeout_add_seconds(WAIT_S, on_too_late, (gpointer) #done); \
		while (!(done)) \
			g_main_loop_run(loop); \
		g_source_remove(timer_); \
	} while (0)

static void start(End *e)
{
	e->n_ready = e->n_down = e->n_sessions = e->n_selected = e->n_heard = 0;
	e->free_on_ready = FALSE;
	CALL(e, e->ice = BACKEND.open(e->dir, &events, e, NULL));
	g_assert_nonnull(e->ice);
	CALL(e, BACKEND.set_port(e->ice, PORT));
	WAIT_FOR(e->n_ready);
}

static void stop(End *e)
{
	CALL(e, BACKEND.free(e->ice));
	e->ice = NULL;
}

static void set_creds(End *e, char letter)
{
	memset(&e->creds, 0, sizeof(e->creds));
	memset(e->creds.ufrag, letter, 16);
	memset(e->creds.pwd, letter + 1, 32);
}

static void open_session(End *e, gboolean controlling)
{
	NbhIceOpen open = { .peer = e->far, .local = e->creds, .controlling = controlling,
		            .liveness_ms = 6000, .consent_keepalives = TRUE,
		            .local_session = { TRUE, { 1, 2, 3, 4, 5 } } };

	e->n_selected = e->n_heard = 0;
	CALL(e, BACKEND.session_open(e->ice, &open));
}

static void tell_about(End *e, const End *far)
{
	NbhSessionId sid = { TRUE, { 5, 4, 3, 2, 1 } };
	NbhCandidate candidate;
	g_autofree char *text = g_strdup_printf("h0 1 udp 2015363327 %s %d typ host", far->addr, PORT);

	g_assert_true(nbh_candidate_parse(text, &candidate, NULL));
	CALL(e, BACKEND.session_remote(e->ice, &e->far, &far->creds, &sid));
	CALL(e, BACKEND.session_candidate(e->ice, &e->far, &candidate));
}

static void connect_both(void)
{
	End *a = &ends[0], *b = &ends[1];

	open_session(a, TRUE);
	open_session(b, FALSE);
	tell_about(a, b);
	tell_about(b, a);
	WAIT_FOR(a->n_selected && b->n_selected);
	g_assert_cmpuint(a->n_heard, >=, 1);
	g_assert_cmpuint(b->n_heard, >=, 1);
}

static void check_pair(const End *e, const End *far)
{
	struct nbh_endpoint want = { .port = PORT };

	g_assert_cmpint(nbh_addr_parse(far->addr, &want.addr), ==, 0);
	g_assert_true(nbh_endpoint_equal(&e->pair.remote, &want));
	g_assert_cmpint(nbh_addr_parse(e->addr, &want.addr), ==, 0);
	g_assert_true(nbh_endpoint_equal(&e->pair.local, &want));
}

static void start_clean(void)
{
	for (int i = 0; i < 2; i++) {
		start(&ends[i]);
		BACKEND.close_all(ends[i].ice);
		set_creds(&ends[i], i ? 'P' : 'a');
	}
}

static void stop_clean(void)
{
	for (int i = 0; i < 2; i++) {
		BACKEND.close_all(ends[i].ice);
		stop(&ends[i]);
	}
}

static void test_select(void)
{
	start_clean();
	connect_both();
	check_pair(&ends[0], &ends[1]);
	check_pair(&ends[1], &ends[0]);
	stop_clean();
}

/* The other role order, and opening what is open: the new credentials hold, the old are gone. */
static void test_replace(void)
{
	start_clean();
	connect_both();
	set_creds(&ends[0], 'c');
	set_creds(&ends[1], 'R');
	connect_both();
	check_pair(&ends[0], &ends[1]);
	stop_clean();
}

/* Sessions outlive the client and are listed to the next one, before on_ready. */
static void test_listing(void)
{
	End *a = &ends[0];

	start_clean();
	connect_both();
	stop(a);
	start(a);
	g_assert_cmpuint(a->n_sessions, ==, 1);
	g_assert_true(nbh_key_equal(&a->session.peer, &a->far));
	g_assert_cmpstr(a->session.local.ufrag, ==, a->creds.ufrag);
	g_assert_cmpstr(a->session.local.pwd, ==, a->creds.pwd);
	g_assert_cmpstr(a->session.remote.ufrag, ==, ends[1].creds.ufrag);
	g_assert_cmpstr(a->session.remote.pwd, ==, ends[1].creds.pwd);
	g_assert_true(a->session.local_session.present);
	g_assert_cmpint(a->session.local_session.bytes[0], ==, 1);
	g_assert_true(a->session.remote_session.present);
	g_assert_cmpint(a->session.remote_session.bytes[0], ==, 5);
	g_assert_true(a->session.controlling);
	g_assert_true(a->session.selected);
	g_assert_true(nbh_endpoint_equal(&a->session.pair.remote, &a->pair.remote));

	/* Closed ones are not listed any more, whichever way they were closed. */
	BACKEND.session_close(a->ice, &a->far);
	stop(a);
	start(a);
	g_assert_cmpuint(a->n_sessions, ==, 0);
	open_session(a, TRUE);
	BACKEND.close_all(a->ice);
	stop(a);
	start(a);
	g_assert_cmpuint(a->n_sessions, ==, 0);
	stop_clean();
}

/* What is said to be inside the tunnels is neither checked nor listened to; taken back, all is as before. */
static void test_overlay(void)
{
	End *a = &ends[0], *b = &ends[1];
	struct nbh_prefix far = { .len = 24 }, none = { .len = 0 };

	start_clean();
	g_assert_cmpint(nbh_addr_parse(b->addr, &far.addr), ==, 0);
	CALL(a, BACKEND.set_overlay(a->ice, &far, &none));
	open_session(a, TRUE);
	open_session(b, FALSE);
	b->n_failed = 0;
	tell_about(a, b);
	tell_about(b, a);

	if (g_str_equal(BACKEND.name, "fake"))
		while (g_main_context_iteration(NULL, FALSE))
			;
	else
		WAIT_FOR(b->n_failed);

	g_assert_cmpuint(a->n_selected, ==, 0);
	g_assert_cmpuint(b->n_selected, ==, 0);
	CALL(a, BACKEND.set_overlay(a->ice, &none, &none));
	set_creds(a, 'e');
	set_creds(b, 'T');
	connect_both();
	stop_clean();
}

/* Unknown peers, wrong lengths: nothing happens. */
static void test_harmless(void)
{
	End *a = &ends[0];
	struct nbh_endpoint to = { .port = PORT };
	guint8 junk[148] = { 1 };

	start_clean();
	tell_about(a, &ends[1]);
	BACKEND.session_close(a->ice, &a->far);
	g_assert_cmpint(nbh_addr_parse(ends[1].addr, &to.addr), ==, 0);
	BACKEND.forward(a->ice, &to, junk, 147);
	BACKEND.forward(a->ice, &to, junk, 148);
	connect_both();
	stop_clean();
}

/* No event after free(), also when it is called inside of one, or with events under way. */
static void test_free(void)
{
	End *a = &ends[0];

	BACKEND.free(NULL);
	start_clean();
	stop_clean();
	a->n_ready = a->n_down = 0;
	CALL(a, a->ice = BACKEND.open(a->dir, &events, a, NULL));
	stop(a);
	start(&ends[1]);
	stop(&ends[1]);

	while (g_main_context_iteration(NULL, FALSE))
		;

	g_assert_cmpuint(a->n_ready, ==, 0);
	g_assert_cmpuint(a->n_down, ==, 0);
	a->free_on_ready = TRUE;
	CALL(a, a->ice = BACKEND.open(a->dir, &events, a, NULL));
	WAIT_FOR(a->n_ready);
	g_assert_null(a->ice);
	a->free_on_ready = FALSE;
}

static const char *env(const char *name, const char *otherwise)
{
	const char *value = g_getenv(name);

	return value ? value : otherwise;
}

int main(int argc, char **argv)
{
	int r;

	if (strcmp(BACKEND.name, "fake") != 0 && !g_getenv("NBH_ICE_TEST_DIR_A")) {
		puts("1..0 # SKIP needs two running netbird-ice: see tests/netns/ice-pair");
		return 77;
	}

	g_test_init(&argc, &argv, NULL);
	loop = g_main_loop_new(NULL, FALSE);
	ends[0].dir = env("NBH_ICE_TEST_DIR_A", "/a");
	ends[1].dir = env("NBH_ICE_TEST_DIR_B", "/b");
	ends[0].addr = env("NBH_ICE_TEST_ADDR_A", "192.0.2.1");
	ends[1].addr = env("NBH_ICE_TEST_ADDR_B", "192.0.2.2");
	memset(ends[0].far.bytes, 0xb0, NBH_KEY_LEN);
	memset(ends[1].far.bytes, 0xa0, NBH_KEY_LEN);
	g_test_add_func("/ice/contract/select", test_select);
	g_test_add_func("/ice/contract/replace", test_replace);
	g_test_add_func("/ice/contract/listing", test_listing);
	g_test_add_func("/ice/contract/overlay", test_overlay);
	g_test_add_func("/ice/contract/harmless", test_harmless);
	g_test_add_func("/ice/contract/free", test_free);
	r = g_test_run();
	g_main_loop_unref(loop);
	return r;
}
