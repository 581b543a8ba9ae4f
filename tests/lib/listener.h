#ifndef NBH_TESTS_LIB_LISTENER_H
#define NBH_TESTS_LIB_LISTENER_H

/* A TCP listener, on a port of 127.0.0.1 unless told otherwise, that hands each accepted socket to a callback from the main loop. */

#include <gio/gio.h>

typedef struct {
	GSocket *socket;
	GSource *source;
	guint16 port;
	guint n_accepted;
	void (*on_accept)(GSocket *accepted, gpointer owner); /* takes accepted; NULL: stays unread */
	gpointer owner;
	GPtrArray *kept; /* sockets that nobody took */
} TestListener;

void test_listener_open(TestListener *listener, void (*on_accept)(GSocket *, gpointer), gpointer owner);
void test_listener_open_at(TestListener *listener, const char *ip, guint16 port,
			   void (*on_accept)(GSocket *, gpointer), gpointer owner);
void test_listener_close(TestListener *listener);
/* A port on which nobody listens. */
guint16 test_free_port(void);

#endif
