#include "config.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

#include "path/loopback.h"

/* A real socket, real datagrams: what WireGuard would send to an idle peer's endpoint. */

typedef struct {
	GMainLoop *loop;
	struct nbh_key peer;
	gsize len;
	gboolean initiation;
	guint n;
} Woken;

static void on_wake(const struct nbh_key *peer, const guint8 *data, gsize len, gboolean initiation, gpointer owner)
{
	Woken *woken = owner;

	(void)data;
	woken->peer = *peer;
	woken->len = len;
	woken->initiation = initiation;
	woken->n++;
	g_main_loop_quit(woken->loop);
}

static struct nbh_key key_of(guint n)
{
	struct nbh_key key = { { 0 } };

	memcpy(key.bytes, &n, sizeof(n));
	return key;
}

static void send_to(const struct nbh_endpoint *to, const void *data, gsize len)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = nbh_endpoint_to_sockaddr(to, &sa);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	g_assert_cmpint(sendto(fd, data, len, 0, (struct sockaddr *)&sa, sa_len), ==, len);
	close(fd);
}


static void test_wake(void)
{
	static const guint8 initiation[NBH_WG_INITIATION_LEN] = { 1 };
	static const guint8 data[64] = { 4 };
	Woken woken = { .loop = g_main_loop_new(NULL, FALSE) };
	NbhLoopback *loopback = nbh_loopback_new(0, on_wake, &woken, NULL);
	struct nbh_key a = key_of(1), b = key_of(2);
	struct nbh_endpoint to_a, to_b, again;

	g_assert_true(nbh_loopback_endpoint(loopback, &a, &to_a));
	g_assert_true(nbh_loopback_endpoint(loopback, &b, &to_b));
	g_assert_false(nbh_endpoint_equal(&to_a, &to_b));
	g_assert_true(nbh_loopback_endpoint(loopback, &a, &again));
	g_assert_true(nbh_endpoint_equal(&to_a, &again));

	send_to(&to_b, initiation, sizeof(initiation));
	g_main_loop_run(woken.loop);
	g_assert_true(nbh_key_equal(&woken.peer, &b));
	g_assert_true(woken.initiation);
	g_assert_cmpuint(woken.len, ==, NBH_WG_INITIATION_LEN);

	send_to(&to_a, data, sizeof(data));
	g_main_loop_run(woken.loop);
	g_assert_true(nbh_key_equal(&woken.peer, &a));
	g_assert_false(woken.initiation);

	/* One byte more or less, or another type, is no initiation. */
	send_to(&to_a, initiation, sizeof(initiation) - 1);
	g_main_loop_run(woken.loop);
	g_assert_false(woken.initiation);
	g_assert_cmpuint(woken.n, ==, 3);

	nbh_loopback_free(loopback);
	g_main_loop_unref(woken.loop);
}

static void test_forgotten_is_silent(void)
{
	Woken woken = { .loop = g_main_loop_new(NULL, FALSE) };
	NbhLoopback *loopback = nbh_loopback_new(0, on_wake, &woken, NULL);
	struct nbh_key a = key_of(1), b = key_of(2);
	struct nbh_endpoint to_a, to_b;

	nbh_loopback_endpoint(loopback, &a, &to_a);
	nbh_loopback_endpoint(loopback, &b, &to_b);
	nbh_loopback_forget(loopback, &a);
	nbh_loopback_forget(loopback, &a);
	send_to(&to_a, "x", 1);
	send_to(&to_b, "x", 1); /* in order on one socket: the first was seen before */
	g_main_loop_run(woken.loop);
	g_assert_cmpuint(woken.n, ==, 1);
	g_assert_true(nbh_key_equal(&woken.peer, &b));
	nbh_loopback_free(loopback);
	g_main_loop_unref(woken.loop);
}

static void test_restore(void)
{
	NbhLoopback *loopback = nbh_loopback_new(0, on_wake, NULL, NULL);
	struct nbh_key a = key_of(1), b = key_of(2), c = key_of(3);
	struct nbh_endpoint old, got, other;
	guint16 port;

	nbh_loopback_endpoint(loopback, &a, &old);
	port = old.port;
	nbh_loopback_free(loopback);

	loopback = nbh_loopback_new(port, on_wake, NULL, NULL);
	old.addr.bytes[3] = 77;
	g_assert_true(nbh_loopback_restore(loopback, &b, &old));
	g_assert_true(nbh_loopback_endpoint(loopback, &b, &got));
	g_assert_true(nbh_endpoint_equal(&old, &got));
	g_assert_false(nbh_loopback_restore(loopback, &c, &old)); /* taken */
	g_assert_cmpint(nbh_endpoint_parse("127.0.0.1:1", &other), ==, 0);
	other.port = port;
	g_assert_false(nbh_loopback_restore(loopback, &c, &other)); /* not one of ours */
	old.addr.bytes[3] = 78;
	old.port++;
	g_assert_false(nbh_loopback_restore(loopback, &c, &old)); /* another port */
	nbh_loopback_free(loopback);
}

static void test_all_addresses(void)
{
	NbhLoopback *loopback = nbh_loopback_new(0, on_wake, NULL, NULL);
	struct nbh_endpoint endpoint;
	struct nbh_key key;

	for (guint i = 0; i < 65534; i++) {
		key = key_of(i);
		g_assert_true(nbh_loopback_endpoint(loopback, &key, &endpoint));
		g_assert_cmpuint(endpoint.addr.bytes[0], ==, 127);
		g_assert_cmpuint(endpoint.addr.bytes[1], ==, 1);
	}

	key = key_of(65534);
	g_assert_false(nbh_loopback_endpoint(loopback, &key, &endpoint));
	key = key_of(5);
	nbh_loopback_forget(loopback, &key);
	key = key_of(65534);
	g_assert_true(nbh_loopback_endpoint(loopback, &key, &endpoint));
	nbh_loopback_free(loopback);
}

int main(int argc, char **argv)
{
	/* The C library's alarm ends a test that would wait for ever. */
	alarm(60);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/path/loopback/wake", test_wake);
	g_test_add_func("/path/loopback/forgotten", test_forgotten_is_silent);
	g_test_add_func("/path/loopback/restore", test_restore);
	g_test_add_func("/path/loopback/all-addresses", test_all_addresses);
	return g_test_run();
}
