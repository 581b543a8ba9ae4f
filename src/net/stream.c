#include "config.h"

#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Unanswered data for this long ends a connection: libraries.md 1.3. */
#define USER_TIMEOUT_MS 20000

struct _NbhStream {
	const NbhStreamEvents *events;
	gpointer owner;
	gboolean is_server, is_up, is_closed, is_freed, want_write;
	char *host; /* client side, for messages */
	guint16 port;
	guint deadline_ms;
	GCancellable *cancellable; /* of the connect in progress */
	GSocketConnection *connection; /* client side: owns what socket refers to */
	GSocket *socket;
	int fd; /* of socket */
	GSocketAddress *remote, *local;
	GSource *watch;
	gpointer watch_tag;
	guint deadline_id, up_id, closed_id;
	char *error;
};

typedef struct {
	GSource base;
	NbhStream *stream;
} StreamWatch;

/* The struct outlives free() while one of its callbacks is on the stack or a connect is pending. */
static void stream_destroy(gpointer data)
{
	NbhStream *stream = data;

	g_free(stream->host);
	g_free(stream->error);
}

static void stream_unref(NbhStream *stream)
{
	g_rc_box_release_full(stream, stream_destroy);
}

static void clear_source_id(guint *id)
{
	if (*id)
		g_source_remove(*id);
	*id = 0;
}

static void drop_watch(NbhStream *stream)
{
	if (!stream->watch)
		return;
	g_source_destroy(stream->watch);
	g_source_unref(stream->watch);
	stream->watch = NULL;
}

static gboolean on_closed_idle(gpointer data)
{
	NbhStream *stream = data;

	stream->closed_id = 0;
	stream->events->on_closed(stream, stream->error, stream->owner);
	return G_SOURCE_REMOVE;
}

/* Takes error. Only the first one counts; the owner hears of it from the loop. */
static void stream_close(NbhStream *stream, char *error)
{
	if (stream->is_closed || stream->is_freed) {
		g_free(error);
		return;
	}
	stream->is_closed = TRUE;
	stream->error = error;
	drop_watch(stream);
	clear_source_id(&stream->deadline_id);
	clear_source_id(&stream->up_id);
	if (stream->cancellable)
		g_cancellable_cancel(stream->cancellable);
	stream->closed_id = g_idle_add_full(G_PRIORITY_DEFAULT, on_closed_idle, stream, NULL);
}

static char *error_from_errno(const NbhStream *stream, int err)
{
	if (err == ECONNRESET || err == EPIPE)
		return g_strdup(stream->is_server ? "reset by the client" : "reset by the server");
	if (err == ETIMEDOUT)
		return g_strdup("connection timed out");
	return g_strdup(g_strerror(err));
}

static GIOCondition watched(const NbhStream *stream)
{
	return stream->want_write ? G_IO_IN | G_IO_OUT : G_IO_IN;
}

static gboolean watch_dispatch(GSource *source, GSourceFunc unused_func, gpointer unused_data)
{
	NbhStream *stream = ((StreamWatch *)source)->stream;
	GIOCondition ready = g_source_query_unix_fd(source, stream->watch_tag);

	(void)unused_func;
	(void)unused_data;
	g_rc_box_acquire(stream);
	/* Errors and hang-ups show in the next read, behind what is still to be read. */
	if (ready & (G_IO_IN | G_IO_ERR | G_IO_HUP))
		stream->events->on_readable(stream, stream->owner);
	if ((ready & G_IO_OUT) && stream->want_write && !stream->is_closed && !stream->is_freed)
		stream->events->on_writable(stream, stream->owner);
	stream_unref(stream);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs watch_funcs = { .dispatch = watch_dispatch };

static void add_watch(NbhStream *stream)
{
	stream->watch = g_source_new(&watch_funcs, sizeof(StreamWatch));
	((StreamWatch *)stream->watch)->stream = stream;
	g_source_set_static_name(stream->watch, "nbh-stream");
	stream->watch_tag = g_source_add_unix_fd(stream->watch, stream->fd, watched(stream));
	g_source_attach(stream->watch, NULL);
}

static void take_socket(NbhStream *stream, GSocket *socket)
{
	int on = 1;
	unsigned timeout_ms = USER_TIMEOUT_MS;

	stream->socket = socket;
	stream->fd = g_socket_get_fd(socket);
	g_socket_set_blocking(socket, FALSE);
	/* Without them we are slower, or notice a dead server later: no reason to fail. */
	(void)setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(stream->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

static void stream_up(NbhStream *stream)
{
	clear_source_id(&stream->deadline_id);
	stream->is_up = TRUE;
	stream->remote = g_socket_get_remote_address(stream->socket, NULL);
	stream->local = g_socket_get_local_address(stream->socket, NULL);
	add_watch(stream);
	stream->events->on_up(stream, stream->owner);
}

static char *connect_error(const NbhStream *stream, const GError *error)
{
	if (error->domain == G_RESOLVER_ERROR)
		return g_strdup_printf("the host name \"%s\" cannot be resolved", stream->host);
	if (error->domain == G_IO_ERROR) {
		switch (error->code) {
		case G_IO_ERROR_CONNECTION_REFUSED:
			return g_strdup("connection refused");
		case G_IO_ERROR_TIMED_OUT:
			return g_strdup("connection timed out");
		case G_IO_ERROR_HOST_UNREACHABLE:
			return g_strdup("no route to the host");
		case G_IO_ERROR_NETWORK_UNREACHABLE:
			return g_strdup("the network is unreachable");
		default:
			break;
		}
	}
	return g_strdup(error->message);
}

static void on_connected(GObject *client, GAsyncResult *result, gpointer data)
{
	NbhStream *stream = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GSocketConnection) connection =
		g_socket_client_connect_finish(G_SOCKET_CLIENT(client), result, &error);

	g_clear_object(&stream->cancellable);
	if (!stream->is_freed && !stream->is_closed) {
		if (connection) {
			stream->connection = g_object_ref(connection);
			take_socket(stream,
				    g_object_ref(g_socket_connection_get_socket(connection)));
			stream_up(stream);
		} else {
			stream_close(stream, connect_error(stream, error));
		}
	}
	stream_unref(stream);
}

static gboolean on_deadline(gpointer data)
{
	NbhStream *stream = data;

	stream->deadline_id = 0;
	stream_close(stream, g_strdup_printf("no connection after %.3g s", stream->deadline_ms / 1e3));
	return G_SOURCE_REMOVE;
}

static NbhStream *stream_new(const NbhStreamEvents *events, gpointer owner)
{
	NbhStream *stream = g_rc_box_new0(NbhStream);

	stream->events = events;
	stream->owner = owner;
	stream->fd = -1;
	return stream;
}

NbhStream *nbh_stream_connect(const char *host, guint16 port, gboolean tls, guint deadline_ms,
                              const NbhStreamEvents *events, gpointer owner)
{
	NbhStream *stream = stream_new(events, owner);
	g_autoptr(GSocketConnectable) address = NULL;
	g_autoptr(GSocketClient) client = NULL;

	stream->host = g_strdup(host);
	stream->port = port;
	stream->deadline_ms = deadline_ms;
	if (tls) {
		stream_close(stream, g_strdup("https is not supported yet, use http"));
		return stream;
	}
	/* Resolves in a thread and races IPv6 with IPv4 (RFC 8305). */
	address = g_network_address_new(host, port);
	client = g_socket_client_new();
	g_socket_client_set_enable_proxy(client, FALSE);
	stream->cancellable = g_cancellable_new();
	if (deadline_ms)
		stream->deadline_id = g_timeout_add(deadline_ms, on_deadline, stream);
	g_socket_client_connect_async(client, address, stream->cancellable, on_connected,
				      g_rc_box_acquire(stream));
	return stream;
}

static gboolean on_accepted_idle(gpointer data)
{
	NbhStream *stream = data;

	stream->up_id = 0;
	stream_up(stream);
	return G_SOURCE_REMOVE;
}

NbhStream *nbh_stream_accept(GSocket *socket, const NbhStreamEvents *events, gpointer owner)
{
	NbhStream *stream = stream_new(events, owner);

	stream->is_server = TRUE;
	take_socket(stream, socket);
	stream->up_id = g_idle_add_full(G_PRIORITY_DEFAULT, on_accepted_idle, stream, NULL);
	return stream;
}

gssize nbh_stream_read(NbhStream *stream, guint8 *buf, gsize size)
{
	gssize n;

	if (stream->is_closed || !stream->is_up)
		return stream->is_closed ? -1 : 0;
	do
		n = recv(stream->fd, buf, size, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	stream_close(stream, n < 0 ? error_from_errno(stream, errno)
				   : g_strdup(stream->is_server ? "closed by the client"
								: "closed by the server"));
	return -1;
}

gssize nbh_stream_write(NbhStream *stream, const guint8 *data, gsize len)
{
	gssize n;

	if (stream->is_closed || !stream->is_up)
		return stream->is_closed ? -1 : 0;
	do
		n = send(stream->fd, data, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return 0;
	stream_close(stream, error_from_errno(stream, errno));
	return -1;
}

void nbh_stream_set_events(NbhStream *stream, const NbhStreamEvents *events, gpointer owner)
{
	stream->events = events;
	stream->owner = owner;
}

void nbh_stream_want_write(NbhStream *stream, gboolean want)
{
	if (stream->want_write == !!want)
		return;
	stream->want_write = !!want;
	if (stream->watch)
		g_source_modify_unix_fd(stream->watch, stream->watch_tag, watched(stream));
}

GSocketAddress *nbh_stream_remote(NbhStream *stream)
{
	return stream->remote;
}

GSocketAddress *nbh_stream_local(NbhStream *stream)
{
	return stream->local;
}

/* Asks the kernel by the cheapest question that depends on it. */
gboolean nbh_stream_is_stranded(NbhStream *stream)
{
	struct sockaddr_storage own = { 0 };
	socklen_t len = sizeof(own);
	gboolean is_gone;
	int fd;

	if (!stream->socket || getsockname(stream->fd, (struct sockaddr *)&own, &len) < 0)
		return FALSE;
	if (own.ss_family == AF_INET)
		((struct sockaddr_in *)&own)->sin_port = 0;
	else if (own.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&own)->sin6_port = 0;
	fd = socket(own.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return FALSE;
	is_gone = bind(fd, (struct sockaddr *)&own, len) < 0 && errno == EADDRNOTAVAIL;
	close(fd);
	return is_gone;
}

void nbh_stream_free(NbhStream *stream)
{
	if (!stream)
		return;
	stream->is_freed = TRUE;
	drop_watch(stream);
	clear_source_id(&stream->deadline_id);
	clear_source_id(&stream->up_id);
	clear_source_id(&stream->closed_id);
	if (stream->cancellable)
		g_cancellable_cancel(stream->cancellable);
	if (stream->socket)
		(void)g_socket_close(stream->socket, NULL);
	g_clear_object(&stream->socket);
	g_clear_object(&stream->connection);
	g_clear_object(&stream->remote);
	g_clear_object(&stream->local);
	stream_unref(stream);
}
