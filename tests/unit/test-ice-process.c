/* The helper's end of ice.sock: news of a session that was replaced or closed meanwhile is dropped. */
#include "config.h"

#include "ice/ice.h"
#include "ice/link.h"
#include "tests/lib/loop.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct {
	char *dir;
	int listener;
	NbhIceLink *far; /* netbird-ice's end */
	NbhIce *ice;
	guint n_ready, n_selected, n_failed, n_lost, n_heard;
	guint n_downs, n_sessions;
	guint n_opens, n_closes, n_lists; /* what netbird-ice was told */
	struct nbh_prefix overlay[2];
	gboolean keeps_end;               /* it does not come to the end of its listing */
} Fixture;

static const struct nbh_key peer = { { 7 } };

static void say(Fixture *f, NbhIceMessage m)
{
	g_assert_true(nbh_ice_link_send(f->far, &m));
}

static void on_message(NbhIceLink *link, const NbhIceMessage *m, gpointer owner)
{
	Fixture *f = owner;

	(void)link;
	f->n_opens += m->verb == NBH_ICE_MSG_OPEN;
	f->n_closes += m->verb == NBH_ICE_MSG_CLOSE;
	if (m->verb == NBH_ICE_MSG_OVERLAY)
		memcpy(f->overlay, m->u.overlay, sizeof(f->overlay));
	if (m->verb != NBH_ICE_MSG_LIST)
		return;

	f->n_lists++;
	if (!f->keeps_end)
		say(f, (NbhIceMessage){ .verb = NBH_ICE_MSG_END });
}

static void on_garbage(NbhIceLink *link, const char *why, gpointer owner)
{
	(void)link;
	(void)owner;
	g_error("garbage: %s", why);
}

static void on_closed(NbhIceLink *link, const char *why, gpointer owner)
{
	(void)link;
	(void)why;
	(void)owner;
}

static void on_ready(NbhIce *ice, const char *backend, gpointer owner)
{
	(void)ice;
	(void)backend;
	((Fixture *)owner)->n_ready++;
}

static void on_down(NbhIce *ice, const char *why, gpointer owner)
{
	(void)ice;
	(void)why;
	((Fixture *)owner)->n_downs++;
}

static void on_session(NbhIce *ice, const NbhIceSession *session, gpointer owner)
{
	(void)ice;
	(void)session;
	((Fixture *)owner)->n_sessions++;
}

static void on_selected(NbhIce *ice, const struct nbh_key *key, const NbhIcePair *pair, gpointer owner)
{
	(void)ice;
	(void)key;
	(void)pair;
	((Fixture *)owner)->n_selected++;
}

static void on_failed(NbhIce *ice, const struct nbh_key *key, gpointer owner)
{
	(void)ice;
	(void)key;
	((Fixture *)owner)->n_failed++;
}

static void on_lost(NbhIce *ice, const struct nbh_key *key, gpointer owner)
{
	(void)ice;
	(void)key;
	((Fixture *)owner)->n_lost++;
}

static void on_mapped(NbhIce *ice, const struct nbh_endpoint *server, const struct nbh_endpoint *mapped, gpointer owner)
{
	(void)ice;
	(void)server;
	(void)mapped;
	(void)owner;
}

static void on_heard(NbhIce *ice, const struct nbh_key *key, const struct nbh_endpoint *from, gpointer owner)
{
	(void)ice;
	(void)key;
	(void)from;
	((Fixture *)owner)->n_heard++;
}

/* Accepts the helper and greets it. */
static void greet(Fixture *f)
{
	static const NbhIceLinkEvents link_events = { on_message, on_garbage, on_closed };
	NbhIceMessage hello = { .verb = NBH_ICE_MSG_HELLO,
		                .u.hello = { .version = NBH_ICE_PROTO_VERSION, .backend = "none" } };
	int fd = -1;

	test_poll_until((fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
	f->far = nbh_ice_link_new(fd, &link_events, f);
	say(f, hello);
}

static void accept_link(Fixture *f)
{
	guint n_ready = f->n_ready;

	greet(f);
	test_run_until(f->n_ready > n_ready);
}

static void set_up(Fixture *f, gconstpointer data)
{
	static const NbhIceEvents events = { on_ready, on_down, on_session, on_selected, on_failed, on_lost, on_mapped,
		                             on_heard };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	g_autofree char *ice_dir = NULL;

	(void)data;
	f->dir = g_dir_make_tmp("test-ice-process.XXXXXX", NULL);
	ice_dir = g_build_filename(f->dir, "ice", NULL);
	g_assert_cmpint(g_mkdir(ice_dir, 0700), ==, 0);
	g_assert_cmpuint(g_snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/ice.sock", ice_dir), <, sizeof(sa.sun_path));
	f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(f->listener, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	g_assert_cmpint(listen(f->listener, 4), ==, 0);
	f->ice = nbh_ice_process.open(f->dir, &events, f, NULL);
	accept_link(f);
}

static void tear_down(Fixture *f, gconstpointer data)
{
	g_autofree char *ice_dir = g_build_filename(f->dir, "ice", NULL), *path = g_build_filename(ice_dir, "ice.sock", NULL);

	(void)data;
	nbh_ice_process.free(f->ice);
	nbh_ice_link_free(f->far);
	close(f->listener);
	g_unlink(path);
	g_rmdir(ice_dir);
	g_rmdir(f->dir);
	g_free(f->dir);
}

static void open_session(Fixture *f)
{
	NbhIceOpen open = { .peer = peer, .local = { "ufragufrag", "passwordpasswordpassword" } };
	guint n = f->n_opens;

	nbh_ice_process.session_open(f->ice, &open);
	test_run_until(f->n_opens > n);
}

/* All four kinds of news about one opening; -1: of a netbird-ice that does not count. */
static void say_all(Fixture *f, gint64 opening)
{
	static const NbhIceVerb verbs[] = { NBH_ICE_MSG_HEARD, NBH_ICE_MSG_SELECTED, NBH_ICE_MSG_FAILED, NBH_ICE_MSG_LOST };
	struct nbh_endpoint remote = { { .family = AF_INET, .bytes = { 203, 0, 113, 7 } }, 51820 };

	for (gsize i = 0; i < G_N_ELEMENTS(verbs); i++) {
		NbhIceMessage m = { .verb = verbs[i], .peer = peer };

		m.has_opening = opening >= 0;
		m.opening = (guint32)MAX(opening, 0);
		if (verbs[i] == NBH_ICE_MSG_SELECTED)
			m.u.pair.remote = remote;
		else if (verbs[i] == NBH_ICE_MSG_HEARD)
			m.u.heard = remote;
		say(f, m);
	}
	test_drain_loop();
}

static void check_heard_of(const Fixture *f, guint n)
{
	g_assert_cmpuint(f->n_heard, ==, n);
	g_assert_cmpuint(f->n_selected, ==, n);
	g_assert_cmpuint(f->n_failed, ==, n);
	g_assert_cmpuint(f->n_lost, ==, n);
}

static void test_replaced(Fixture *f, gconstpointer data)
{
	(void)data;
	say_all(f, 0);
	check_heard_of(f, 1); /* listed: it was there before us */
	open_session(f);
	say_all(f, 0);
	check_heard_of(f, 1);
	say_all(f, 1);
	check_heard_of(f, 2);
	open_session(f);
	say_all(f, 1);
	check_heard_of(f, 2);
	say_all(f, 3);
	check_heard_of(f, 2);
	say_all(f, 2);
	check_heard_of(f, 3);
	say_all(f, -1);
	check_heard_of(f, 4);
}

static void test_closed(Fixture *f, gconstpointer data)
{
	(void)data;
	open_session(f);
	nbh_ice_process.session_close(f->ice, &peer);
	test_run_until(f->n_closes == 1);
	say_all(f, 1);
	check_heard_of(f, 0);
	open_session(f);
	nbh_ice_process.close_all(f->ice);
	say_all(f, 2);
	check_heard_of(f, 0);
}

/* Each link counts from the beginning. */
static void test_new_link(Fixture *f, gconstpointer data)
{
	(void)data;
	open_session(f);
	g_clear_pointer(&f->far, nbh_ice_link_free);
	accept_link(f);
	g_assert_cmpuint(f->n_lists, ==, 2);
	say_all(f, 1);
	check_heard_of(f, 0);
	say_all(f, 0);
	check_heard_of(f, 1);
	open_session(f);
	say_all(f, 1);
	check_heard_of(f, 2);
}

/* What came of a listing is void when the rest does not come: each time, not only the first. */
static void test_listing_breaks_off(Fixture *f, gconstpointer data)
{
	NbhIceMessage session = { .verb = NBH_ICE_MSG_SESSION, .peer = peer };

	(void)data;
	session.u.session = (NbhIceSession){ .peer = peer, .local = { "ufragufrag", "passwordpasswordpassword" } };
	f->keeps_end = TRUE;
	for (guint i = 1; i <= 2; i++) {
		g_clear_pointer(&f->far, nbh_ice_link_free);
		test_run_until(f->n_downs == i);
		greet(f);
		test_run_until(f->n_lists == 1 + i);
		say(f, session);
		test_run_until(f->n_sessions == i);
	}
	g_clear_pointer(&f->far, nbh_ice_link_free);
	test_run_until(f->n_downs == 3);
	f->keeps_end = FALSE;
	accept_link(f);
}

/* By family, not by place: else the line cannot be said, and netbird-ice would not know our network. */
static void test_overlay(Fixture *f, gconstpointer data)
{
	static const struct nbh_prefix none = { .len = 0 };
	struct nbh_prefix v6, v4;

	(void)data;
	g_assert_cmpint(nbh_prefix_parse("fd00:1234::5/64", &v6), ==, 0);
	g_assert_cmpint(nbh_prefix_parse("100.64.1.2/16", &v4), ==, 0);
	nbh_ice_process.set_overlay(f->ice, &v6, &none);
	test_run_until(f->overlay[1].len == 64);
	g_assert_cmpint(f->overlay[1].addr.family, ==, AF_INET6);
	g_assert_cmpint(f->overlay[1].addr.bytes[15], ==, 0);
	g_assert_cmpint(f->overlay[0].addr.family, ==, 0);
	nbh_ice_process.set_overlay(f->ice, &v4, &v6);
	test_run_until(f->overlay[0].len == 16);
	g_assert_cmpint(f->overlay[1].len, ==, 64);
	nbh_ice_process.set_overlay(f->ice, &v4, &none);
	test_run_until(f->overlay[1].len == 0);
	g_assert_cmpint(f->overlay[0].len, ==, 16);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/ice/process/replaced", Fixture, NULL, set_up, test_replaced, tear_down);
	g_test_add("/ice/process/closed", Fixture, NULL, set_up, test_closed, tear_down);
	g_test_add("/ice/process/new-link", Fixture, NULL, set_up, test_new_link, tear_down);
	g_test_add("/ice/process/overlay", Fixture, NULL, set_up, test_overlay, tear_down);
	g_test_add("/ice/process/listing-breaks-off", Fixture, NULL, set_up, test_listing_breaks_off, tear_down);
	return g_test_run();
}
