/* One end of ice.sock against somebody who sends anything, or does not read. */
#include "config.h"

#include "base/limits.h"
#include "ice/link.h"
#include "tests/lib/loop.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
	NbhIceLink *link;
	int far;
	guint n_messages, n_garbage, n_closed;
	char *why;
	gboolean free_on_message;
} Fixture;

static void on_message(NbhIceLink *link, const NbhIceMessage *m, gpointer owner)
{
	Fixture *f = owner;

	(void)link;
	(void)m;
	f->n_messages++;
	if (f->free_on_message)
		g_clear_pointer(&f->link, nbh_ice_link_free);
}

static void on_garbage(NbhIceLink *link, const char *why, gpointer owner)
{
	(void)link;
	g_assert_cmpuint(strlen(why), >, 0);
	((Fixture *)owner)->n_garbage++;
}

static void on_closed(NbhIceLink *link, const char *why, gpointer owner)
{
	Fixture *f = owner;

	(void)link;
	f->n_closed++;
	g_free(f->why);
	f->why = g_strdup(why);
}

static void set_up(Fixture *f, gconstpointer data)
{
	static const NbhIceLinkEvents events = { on_message, on_garbage, on_closed };
	int fds[2];

	(void)data;
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==, 0);
	f->link = nbh_ice_link_new(fds[0], &events, f);
	f->far = fds[1];
}

static void tear_down(Fixture *f, gconstpointer data)
{
	(void)data;
	nbh_ice_link_free(f->link);
	close(f->far);
	g_free(f->why);
}

/* How many lines the kernel takes before the queue begins. */
static guint kernel_room(void)
{
	int fds[2];
	guint n = 0;

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==, 0);
	while (send(fds[0], "END", 3, MSG_DONTWAIT | MSG_NOSIGNAL) == 3)
		n++;
	close(fds[0]);
	close(fds[1]);
	return n;
}

/* One below, at and above what may wait for an end that does not read. */
static void test_queue_limit(Fixture *f, gconstpointer data)
{
	NbhIceMessage end = { .verb = NBH_ICE_MSG_END };
	guint room = kernel_room() + NBH_ICE_QUEUE_MAX;

	(void)data;
	for (guint i = 0; i < room; i++)
		g_assert_true(nbh_ice_link_send(f->link, &end));
	test_drain_loop();
	g_assert_cmpuint(f->n_closed, ==, 0);
	g_assert_true(nbh_ice_link_send(f->link, &end));
	g_assert_cmpuint(f->n_closed, ==, 0); /* from the loop, not from inside */
	test_run_until(f->n_closed == 1);
	g_assert_nonnull(strstr(f->why, "too much waits"));
	g_assert_true(nbh_ice_link_send(f->link, &end)); /* harmless */
	test_drain_loop();
	g_assert_cmpuint(f->n_closed, ==, 1);
}

static void far_says(Fixture *f, const void *line, gsize len)
{
	g_assert_cmpint(send(f->far, line, len, 0), ==, (gssize)len);
}

static void test_garbage(Fixture *f, gconstpointer data)
{
	static const char long_line[NBH_ICE_MESSAGE_MAX_BYTES + 1] = "END";
	static const char *const bad[] = {
		"X", " ", "END ", "END END", "LIST\n", "SET_PORT 0", "SET_PORT 65536", "SET_PORT -1",
		"STUN victim.example:53", "STUN 192.0.2.1:0", "CLOSE x", "FORWARD 192.0.2.1:1 00",
		"OPEN AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= a b - controlling 0 on",
		"CANDIDATE AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= 1 1 udp 1 127.0.0.1 9 typ host",
	};

	(void)data;
	for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
		far_says(f, bad[i], strlen(bad[i]));
	far_says(f, "END\0END", 7);
	far_says(f, long_line, sizeof(long_line));
	test_drain_loop();
	g_assert_cmpuint(f->n_garbage, ==, G_N_ELEMENTS(bad) + 2);
	g_assert_cmpuint(f->n_messages, ==, 0);
	far_says(f, "END", 3);
	test_drain_loop();
	g_assert_cmpuint(f->n_messages, ==, 1); /* none of it broke the link */
}

static void test_free_inside(Fixture *f, gconstpointer data)
{
	(void)data;
	f->free_on_message = TRUE;
	for (guint i = 0; i < 3; i++)
		far_says(f, "END", 3);
	test_drain_loop();
	g_assert_cmpuint(f->n_messages, ==, 1);
	g_assert_cmpuint(f->n_closed, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/ice/link/queue-limit", Fixture, NULL, set_up, test_queue_limit, tear_down);
	g_test_add("/ice/link/garbage", Fixture, NULL, set_up, test_garbage, tear_down);
	g_test_add("/ice/link/free-inside", Fixture, NULL, set_up, test_free_inside, tear_down);
	return g_test_run();
}
