#include "config.h"

#include "net/grpc.h"
#include "net/netmon.h"

#include "tests/lib/loop.h"

#include <errno.h>
#include <gio/gio.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

static void ip(const char *command)
{
	g_autofree char *line = g_strdup_printf("ip %s", command);
	g_autoptr(GError) error = NULL;
	int status = 0;

	g_spawn_command_line_sync(line, NULL, NULL, &status, &error);
	g_assert_no_error(error);
	g_assert_true(g_spawn_check_wait_status(status, &error));
}

static const NbhNetmonAddress *find(GArray *addresses, const char *text)
{
	struct nbh_addr addr;

	g_assert_cmpint(nbh_addr_parse(text, &addr), ==, 0);
	for (guint i = 0; i < addresses->len; i++) {
		const NbhNetmonAddress *address = &g_array_index(addresses, NbhNetmonAddress, i);

		if (nbh_addr_equal(&address->local.addr, &addr))
			return address;
	}
	return NULL;
}

static void on_change(gpointer owner)
{
	(*(guint *)owner)++;
}

static void test_addresses(void)
{
	g_autoptr(GArray) addresses = NULL;
	const NbhNetmonAddress *address;

	ip("link set lo up");
	ip("link add va address 02:00:00:00:00:0a type veth peer name vb");
	ip("addr add 10.77.0.1/24 dev va");
	ip("addr add 10.77.0.2/32 peer 10.78.0.1/32 dev va");
	ip("addr add fd77::1/64 dev va nodad");
	ip("addr add fd77::2/64 dev va nodad preferred_lft 0");
	addresses = nbh_netmon_addresses();
	address = find(addresses, "127.0.0.1");
	g_assert_nonnull(address);
	g_assert_true(address->is_loopback && address->is_up);
	g_assert_cmpstr(address->mac, ==, "");
	g_assert_cmpuint(address->prefix_len, ==, 8);

	address = find(addresses, "10.77.0.1");
	g_assert_nonnull(address);
	g_assert_cmpstr(address->interface, ==, "va");
	g_assert_cmpstr(address->local.interface, ==, "va");
	g_assert_cmpstr(address->mac, ==, "02:00:00:00:00:0a");
	g_assert_cmpuint(address->prefix_len, ==, 24);
	g_assert_false(address->is_up || address->is_loopback || address->local.is_natural_source);

	g_assert_nonnull(find(addresses, "10.77.0.2"));
	g_assert_null(find(addresses, "10.78.0.1"));
	g_assert_false(find(addresses, "fd77::1")->local.is_deprecated);
	g_assert_true(find(addresses, "fd77::2")->local.is_deprecated);
	g_assert_false(find(addresses, "fd77::2")->local.is_temporary);
}

static void test_natural_source(void)
{
	g_autoptr(GArray) addresses = NULL;
	struct nbh_endpoint to = { .port = 9 };
	struct nbh_addr source;
	char text[NBH_ADDR_TEXT_MAX];

	nbh_addr_parse("10.77.0.9", &to.addr);
	g_assert_false(nbh_netmon_natural_source(&to, 0, &source));
	ip("link set va up");
	ip("link set vb up");
	g_assert_true(nbh_netmon_natural_source(&to, 0, &source));
	g_assert_cmpstr(nbh_addr_format(&source, text), ==, "10.77.0.1");
	ip("route add default via 10.77.0.9 src 10.77.0.1");
	addresses = nbh_netmon_addresses();
	g_assert_true(find(addresses, "10.77.0.1")->local.is_natural_source);
	g_assert_true(find(addresses, "10.77.0.1")->is_up);
	g_assert_false(find(addresses, "10.77.0.2")->local.is_natural_source);
}

static void test_changes(void)
{
	g_autoptr(GError) error = NULL;
	guint n_changes = 0;
	NbhNetmon *netmon = nbh_netmon_new(on_change, &n_changes, &error);
	gint64 began = g_get_monotonic_time();

	g_assert_no_error(error);
	for (guint i = 10; i < 20; i++) {
		g_autofree char *command = g_strdup_printf("addr add 10.77.0.%u/24 dev va", i);

		ip(command);
	}
	g_assert_cmpuint(n_changes, ==, 0); /* only from the loop */
	test_run_until(n_changes > 0);
	g_assert_cmpuint(n_changes, ==, 1); /* one burst */
	g_assert_cmpint(g_get_monotonic_time() - began, >=, 100 * 1000);

	ip("route del default");
	test_run_until(n_changes == 2);
	ip("link set va down");
	test_run_until(n_changes >= 3);
	ip("link del va");
	nbh_netmon_free(netmon); /* with a change due */
	nbh_netmon_free(NULL);
	n_changes = 0;
	test_drain_loop();
	g_assert_cmpuint(n_changes, ==, 0);
}

static void on_reply(int status, const char *message, GBytes *reply, gpointer owner)
{
	(void)reply;
	g_assert_cmpint(status, ==, NBH_GRPC_UNAVAILABLE);
	*(char **)owner = g_strdup(message);
}

static GSocket *listen_on(const char *address, guint16 *ret_port)
{
	g_autoptr(GSocketAddress) any = g_inet_socket_address_new_from_string(address, 0);
	g_autoptr(GSocketAddress) bound = NULL;
	GSocket *socket = g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);

	g_assert_true(g_socket_bind(socket, any, TRUE, NULL) && g_socket_listen(socket, NULL));
	bound = g_socket_get_local_address(socket, NULL);
	*ret_port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
	return socket;
}

/* A connection from an address that is gone ends at once; another one lives on. */
static void test_stranded(void)
{
	g_autoptr(GBytes) message = g_bytes_new_static("", 0);
	g_autofree char *text = NULL, *url = NULL, *expected = NULL;
	g_autoptr(GSocket) accepted = NULL;
	g_autoptr(GSocket) listener = NULL;
	NbhGrpcChannel *channel;
	guint16 port = 0;

	ip("addr add 10.79.0.1/32 dev lo");
	listener = listen_on("10.79.0.1", &port);
	url = g_strdup_printf("http://10.79.0.1:%u", port);
	channel = nbh_grpc_channel_new(url, NULL, NULL);
	nbh_grpc_unary(channel, "/a.B/C", message, 0, on_reply, &text);
	g_socket_set_blocking(listener, FALSE);
	test_poll_until((accepted = g_socket_accept(listener, NULL, NULL)) != NULL);
	test_poll_until(g_socket_get_available_bytes(accepted) > 0); /* it is up */
	nbh_grpc_channel_probe(channel);
	test_drain_loop();
	g_assert_null(text);
	ip("addr del 10.79.0.1/32 dev lo");
	nbh_grpc_channel_probe(channel);
	g_assert_null(text); /* from the loop */
	test_drain_loop();
	expected = g_strdup_printf("10.79.0.1:%u: the network has changed", port);
	g_assert_cmpstr(text, ==, expected);
	nbh_grpc_channel_free(channel);
	test_drain_loop();
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		g_print("1..0 # SKIP no network namespace of our own: %s\n", g_strerror(errno));
		return 77;
	}
	g_test_add_func("/netmon/addresses", test_addresses);
	g_test_add_func("/netmon/natural-source", test_natural_source);
	g_test_add_func("/netmon/stranded-connection", test_stranded);
	g_test_add_func("/netmon/changes", test_changes);
	return g_test_run();
}
