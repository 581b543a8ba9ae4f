#include "config.h"

#include "tests/lib/listener.h"

static gboolean on_readable(GSocket *socket, GIOCondition condition, gpointer data)
{
	TestListener *listener = data;
	GSocket *accepted;

	(void)condition;
	accepted = g_socket_accept(socket, NULL, NULL);
	if (!accepted)
		return G_SOURCE_CONTINUE;
	g_socket_set_blocking(accepted, FALSE);
	listener->n_accepted++;
	if (listener->on_accept)
		listener->on_accept(accepted, listener->owner);
	else
		g_ptr_array_add(listener->kept, accepted);
	return G_SOURCE_CONTINUE;
}

static GSocket *bind_to(const char *ip, guint16 port, guint16 *ret_port)
{
	g_autoptr(GSocketAddress) address = g_inet_socket_address_new_from_string(ip, port);
	g_autoptr(GSocketAddress) bound = NULL;
	g_autoptr(GError) error = NULL;
	GSocket *socket = g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM,
				       G_SOCKET_PROTOCOL_TCP, &error);

	g_assert_no_error(error);
	g_socket_bind(socket, address, TRUE, &error);
	g_assert_no_error(error);
	bound = g_socket_get_local_address(socket, &error);
	g_assert_no_error(error);
	*ret_port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
	return socket;
}

void test_listener_open_at(TestListener *listener, const char *ip, guint16 port,
			   void (*on_accept)(GSocket *, gpointer), gpointer owner)
{
	g_autoptr(GError) error = NULL;

	*listener = (TestListener){ .on_accept = on_accept, .owner = owner };
	listener->kept = g_ptr_array_new_with_free_func(g_object_unref);
	listener->socket = bind_to(ip, port, &listener->port);
	g_socket_set_blocking(listener->socket, FALSE);
	g_socket_listen(listener->socket, &error);
	g_assert_no_error(error);
	listener->source = g_socket_create_source(listener->socket, G_IO_IN, NULL);
	g_source_set_callback(listener->source, G_SOURCE_FUNC(on_readable), listener, NULL);
	g_source_attach(listener->source, NULL);
}

void test_listener_open(TestListener *listener, void (*on_accept)(GSocket *, gpointer), gpointer owner)
{
	test_listener_open_at(listener, "127.0.0.1", 0, on_accept, owner);
}

void test_listener_close(TestListener *listener)
{
	g_source_destroy(listener->source);
	g_source_unref(listener->source);
	g_ptr_array_unref(listener->kept);
	g_object_unref(listener->socket);
}

guint16 test_free_port(void)
{
	guint16 port = 0;

	g_object_unref(bind_to("127.0.0.1", 0, &port));
	return port;
}
