#include "config.h"

#include "net/stream.h"

#include "base/limits.h"
#include "loop/source.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Unanswered data for this long ends a connection: libraries.md 1.3. */
#define USER_TIMEOUT_MS 20000
#define TLS_HANDSHAKE 0x16 /* the first byte of every TLS connection: RFC 8446 5.1 */

typedef enum {
	CONNECTING, /* or accepted and not in the loop yet */
	ASKING_PROXY,
	SNIFFING, /* server side: plain or TLS? */
	HANDSHAKE,
	UP,
} Phase;

struct _NbhStream {
	const NbhStreamEvents *events;
	gpointer owner;
	Phase phase;
	gboolean is_server, is_closed, is_freed, want_write, is_held, is_resolving;
	char *host; /* client side */
	guint16 port;
	guint deadline_ms;
	NbhTls *tls;            /* ref; NULL: plain */
	NbhTlsLink *link;       /* owned; from HANDSHAKE on */
	NbhTlsProgress waiting; /* in HANDSHAKE: what for */
	NbhProxy *proxy;        /* owned; NULL: none */
	GByteArray *asking;     /* ASKING_PROXY: what is left of the request, then the answer */
	gboolean is_asked;
	GCancellable *cancellable; /* of the connect in progress */
	GSocketConnection *connection; /* client side: owns what socket refers to */
	GSocket *socket;
	int fd; /* of socket */
	int write_errno; /* nothing can be sent any more; reading will find the end */
	GSocketAddress *remote, *local;
	GSource *watch;
	gpointer watch_tag;
	GIOCondition watched;
	guint deadline_id, up_id, again_id, closed_id;
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
	nbh_tls_unref(stream->tls);
	nbh_proxy_free(stream->proxy);
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
	nbh_source_drop(&stream->watch);
	clear_source_id(&stream->deadline_id);
	clear_source_id(&stream->up_id);
	clear_source_id(&stream->again_id);
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
	switch (stream->phase) {
	case ASKING_PROXY:
		return stream->is_asked ? G_IO_IN : G_IO_OUT;
	case HANDSHAKE:
		return stream->waiting == NBH_TLS_WANTS_WRITE ? G_IO_OUT : G_IO_IN;
	case UP:
		if (stream->want_write || (stream->link && nbh_tls_link_wants_write(stream->link)))
			return G_IO_IN | G_IO_OUT;
		break;
	case CONNECTING:
	case SNIFFING:
		break;
	}
	return G_IO_IN;
}

static void update_watch(NbhStream *stream)
{
	if (!stream->watch || stream->watched == watched(stream))
		return;
	stream->watched = watched(stream);
	g_source_modify_unix_fd(stream->watch, stream->watch_tag, stream->watched);
}

static gboolean is_alive(const NbhStream *stream)
{
	return !stream->is_closed && !stream->is_freed;
}

static void stream_up(NbhStream *stream)
{
	clear_source_id(&stream->deadline_id);
	stream->phase = UP;
	stream->remote = g_socket_get_remote_address(stream->socket, NULL);
	stream->local = g_socket_get_local_address(stream->socket, NULL);
	stream->events->on_up(stream, stream->owner);
}

/* ---- before a stream is up ------------------------------------------------------------------ */

static void handshake(NbhStream *stream)
{
	char *error = NULL;

	stream->waiting = nbh_tls_link_handshake(stream->link, &error);
	if (stream->waiting == NBH_TLS_FAILED)
		stream_close(stream, error);
	else if (stream->waiting == NBH_TLS_UP)
		stream_up(stream);
}

static void start_tls(NbhStream *stream)
{
	char *error = NULL;

	stream->phase = HANDSHAKE;
	stream->link = stream->is_server ? nbh_tls_accept(stream->tls, stream->fd, &error)
					 : nbh_tls_connect(stream->tls, stream->fd, stream->host, &error);
	if (stream->link)
		handshake(stream);
	else
		stream_close(stream, error);
}

/* TCP, and with it the proxy, is behind us. */
static void through(NbhStream *stream)
{
	if (stream->tls)
		start_tls(stream);
	else
		stream_up(stream);
}

static void sniff(NbhStream *stream)
{
	guint8 first;
	ssize_t n = recv(stream->fd, &first, 1, MSG_PEEK);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return;
	if (n <= 0)
		stream_close(stream, n < 0 ? error_from_errno(stream, errno) : g_strdup("closed by the client"));
	else if (first == TLS_HANDSHAKE)
		start_tls(stream);
	else
		stream_up(stream);
}

static char *proxy_error(const NbhStream *stream, const char *problem)
{
	return g_strdup_printf("the proxy %s:%u %s", stream->proxy->host, stream->proxy->port, problem);
}

/* TRUE when all is sent. */
static gboolean send_request(NbhStream *stream)
{
	ssize_t n = send(stream->fd, stream->asking->data, stream->asking->len, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
		g_autofree char *problem = error_from_errno(stream, errno);

		stream_close(stream, proxy_error(stream, problem));
	}
	if (n <= 0)
		return FALSE;
	/* It may hold a password. */
	explicit_bzero(stream->asking->data, (gsize)n);
	g_byte_array_remove_range(stream->asking, 0, (guint)n);
	return stream->asking->len == 0;
}

/* Only up to the end of the head: what follows is the server's. FALSE: not complete. */
static gboolean receive_answer(NbhStream *stream)
{
	guint8 block[NBH_PROXY_ANSWER_MAX_BYTES];
	guint before = stream->asking->len;
	ssize_t n = recv(stream->fd, block, sizeof(block) - before, MSG_PEEK);
	gsize head;

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return FALSE;
	if (n <= 0) {
		stream_close(stream, proxy_error(stream, "hung up instead of connecting"));
		return FALSE;
	}
	g_byte_array_append(stream->asking, block, (guint)n);
	head = nbh_proxy_head_len(stream->asking->data, stream->asking->len);
	if (head)
		g_byte_array_set_size(stream->asking, (guint)head);
	(void)recv(stream->fd, block, stream->asking->len - before, 0);
	if (!head && stream->asking->len == sizeof(block))
		stream_close(stream, proxy_error(stream, "answers without end"));
	return head > 0;
}

static void ask_proxy(NbhStream *stream)
{
	g_autofree char *refusal = NULL;

	if (!stream->is_asked) {
		stream->is_asked = send_request(stream);
		return;
	}
	if (!receive_answer(stream))
		return;
	refusal = nbh_proxy_refusal(stream->asking->data, stream->asking->len);
	if (refusal) {
		stream_close(stream, proxy_error(stream, refusal));
		return;
	}
	g_clear_pointer(&stream->asking, g_byte_array_unref);
	through(stream);
}

static void step(NbhStream *stream)
{
	switch (stream->phase) {
	case ASKING_PROXY:
		ask_proxy(stream);
		break;
	case SNIFFING:
		sniff(stream);
		break;
	case HANDSHAKE:
		handshake(stream);
		break;
	case CONNECTING:
	case UP:
		break;
	}
}

/* ---- the loop ------------------------------------------------------------------------------- */

/* What OpenSSL has read ahead makes no descriptor readable (libraries.md 3.6). */
static gboolean has_more(const NbhStream *stream)
{
	return is_alive(stream) && !stream->is_held && stream->link && nbh_tls_link_has_more(stream->link);
}

static gboolean on_again(gpointer data)
{
	NbhStream *stream = data;
	gboolean go_on;

	g_rc_box_acquire(stream);
	stream->events->on_readable(stream, stream->owner);
	go_on = has_more(stream);
	if (is_alive(stream)) {
		stream->again_id = go_on ? stream->again_id : 0;
		update_watch(stream);
	}
	stream_unref(stream);
	return go_on ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void dispatch_up(NbhStream *stream, GIOCondition ready)
{
	/* Errors and hang-ups show in the next read, behind what is still to be read. */
	if ((ready & (G_IO_IN | G_IO_ERR | G_IO_HUP)) ||
	    (stream->link && nbh_tls_link_wants_write(stream->link)))
		stream->events->on_readable(stream, stream->owner);
	if ((ready & G_IO_OUT) && stream->want_write && is_alive(stream))
		stream->events->on_writable(stream, stream->owner);
}

static gboolean watch_dispatch(GSource *source, GSourceFunc unused_func, gpointer unused_data)
{
	NbhStream *stream = ((StreamWatch *)source)->stream;
	GIOCondition ready = g_source_query_unix_fd(source, stream->watch_tag);

	(void)unused_func;
	(void)unused_data;
	g_rc_box_acquire(stream);
	if (stream->phase == UP)
		dispatch_up(stream, ready);
	else
		step(stream);
	if (has_more(stream) && !stream->again_id)
		stream->again_id = g_idle_add_full(G_PRIORITY_DEFAULT, on_again, stream, NULL);
	if (is_alive(stream))
		update_watch(stream);
	stream_unref(stream);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs watch_funcs = { .dispatch = watch_dispatch };

static void add_watch(NbhStream *stream)
{
	stream->watch = g_source_new(&watch_funcs, sizeof(StreamWatch));
	((StreamWatch *)stream->watch)->stream = stream;
	g_source_set_static_name(stream->watch, "nbh-stream");
	stream->watched = watched(stream);
	stream->watch_tag = g_source_add_unix_fd(stream->watch, stream->fd, stream->watched);
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

/* There is a socket: whatever comes first on it. */
static void begin(NbhStream *stream)
{
	g_rc_box_acquire(stream);
	add_watch(stream);
	if (stream->proxy) {
		char *request = nbh_proxy_request(stream->proxy, stream->host, stream->port);
		gsize len = strlen(request);

		stream->phase = ASKING_PROXY;
		stream->asking = g_byte_array_new_take((guint8 *)request, len);
		step(stream);
	} else if (stream->is_server && stream->tls) {
		stream->phase = SNIFFING;
		step(stream);
	} else {
		through(stream);
	}
	if (is_alive(stream))
		update_watch(stream);
	stream_unref(stream);
}

static char *connect_error(const NbhStream *stream, const GError *error)
{
	if (error->domain == G_RESOLVER_ERROR)
		return g_strdup_printf("the host name \"%s\" cannot be resolved",
				       stream->proxy ? stream->proxy->host : stream->host);
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
		case G_IO_ERROR_CONNECTION_CLOSED:
			return g_strdup("reset by the server");
		default:
			break;
		}
	}
	return g_strdup(error->message);
}

static char *connect_failure(const NbhStream *stream, const GError *error)
{
	g_autofree char *problem = connect_error(stream, error);

	if (!stream->proxy)
		return g_steal_pointer(&problem);
	return g_strdup_printf("the proxy %s:%u: %s", stream->proxy->host, stream->proxy->port, problem);
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
			begin(stream);
		} else {
			stream_close(stream, connect_failure(stream, error));
		}
	}
	stream_unref(stream);
}

const char *nbh_stream_missing(const NbhStream *stream)
{
	switch (stream->phase) {
	case UP:
		return "no answer";
	case HANDSHAKE:
		return "no end of the TLS handshake";
	case ASKING_PROXY:
		return "no answer from the proxy";
	case CONNECTING:
	case SNIFFING:
		break;
	}
	if (stream->is_resolving)
		return "no answer from DNS";
	return stream->proxy ? "no connection to the proxy" : "no connection";
}

static void on_connect_event(GSocketClient *client, GSocketClientEvent event, GSocketConnectable *address,
			     GIOStream *connection, gpointer data)
{
	NbhStream *stream = data; /* kept for on_connected() */

	(void)client;
	(void)address;
	(void)connection;
	if (event == G_SOCKET_CLIENT_RESOLVING)
		stream->is_resolving = TRUE;
	else if (event == G_SOCKET_CLIENT_RESOLVED || event == G_SOCKET_CLIENT_CONNECTING)
		stream->is_resolving = FALSE;
}

static gboolean on_deadline(gpointer data)
{
	NbhStream *stream = data;

	stream->deadline_id = 0;
	stream_close(stream, g_strdup_printf("%s after %.3g s", nbh_stream_missing(stream), stream->deadline_ms / 1e3));
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

NbhStream *nbh_stream_new_failed(const char *error, const NbhStreamEvents *events, gpointer owner)
{
	NbhStream *stream = stream_new(events, owner);

	stream_close(stream, g_strdup(error));
	return stream;
}

NbhStream *nbh_stream_connect(const char *host, guint16 port, NbhTls *tls, const NbhProxy *proxy,
                              guint deadline_ms, const NbhStreamEvents *events, gpointer owner)
{
	NbhStream *stream = stream_new(events, owner);
	g_autoptr(GSocketConnectable) address = NULL;
	g_autoptr(GSocketClient) client = NULL;

	stream->host = g_strdup(host);
	stream->port = port;
	stream->deadline_ms = deadline_ms;
	stream->tls = tls ? nbh_tls_ref(tls) : NULL;
	stream->proxy = nbh_proxy_copy(proxy);
	/* Resolves in a thread and races IPv6 with IPv4 (RFC 8305). */
	address = proxy ? g_network_address_new(proxy->host, proxy->port) : g_network_address_new(host, port);
	client = g_socket_client_new();
	g_socket_client_set_enable_proxy(client, FALSE);
	g_signal_connect(client, "event", G_CALLBACK(on_connect_event), stream);
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
	begin(stream);
	return G_SOURCE_REMOVE;
}

NbhStream *nbh_stream_accept(GSocket *socket, NbhTls *tls, const NbhStreamEvents *events, gpointer owner)
{
	NbhStream *stream = stream_new(events, owner);

	stream->is_server = TRUE;
	stream->tls = tls ? nbh_tls_ref(tls) : NULL;
	take_socket(stream, socket);
	stream->up_id = g_idle_add_full(G_PRIORITY_DEFAULT, on_accepted_idle, stream, NULL);
	return stream;
}

gssize nbh_stream_read(NbhStream *stream, guint8 *buf, gsize size)
{
	gssize n;

	if (stream->is_closed || stream->phase != UP)
		return stream->is_closed ? -1 : 0;
	if (stream->link) {
		char *error = NULL;

		n = nbh_tls_link_read(stream->link, buf, size, &error);
		if (n < 0)
			stream_close(stream, error);
		return n;
	}
	do
		n = recv(stream->fd, buf, size, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n == 0 && stream->write_errno) {
		n = -1;
		errno = stream->write_errno;
	}
	stream_close(stream, n < 0 ? error_from_errno(stream, errno)
				   : g_strdup(stream->is_server ? "closed by the client"
								: "closed by the server"));
	return -1;
}

gssize nbh_stream_write(NbhStream *stream, const guint8 *data, gsize len)
{
	gssize n;

	if (stream->is_closed || stream->phase != UP)
		return stream->is_closed ? -1 : 0;
	if (stream->link) {
		char *error = NULL;

		n = nbh_tls_link_write(stream->link, data, len, &error);
		if (n < 0)
			stream_close(stream, error);
		return n;
	}
	do
		n = send(stream->fd, data, len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return 0;
	if (errno == EPIPE || errno == ECONNRESET) {
		/* What came before says more than this: it is read first, and then the end is found. */
		stream->write_errno = errno;
		return 0;
	}
	stream_close(stream, error_from_errno(stream, errno));
	return -1;
}

void nbh_stream_set_events(NbhStream *stream, const NbhStreamEvents *events, gpointer owner)
{
	stream->events = events;
	stream->owner = owner;
}

void nbh_stream_hold(NbhStream *stream, gboolean hold)
{
	if (stream->is_closed || stream->phase != UP || stream->is_held == hold)
		return;
	stream->is_held = hold;
	if (hold) {
		/* Not only other conditions: a hang-up would wake the loop all the time. */
		nbh_source_drop(&stream->watch);
		clear_source_id(&stream->again_id);
		return;
	}
	add_watch(stream);
	/* OpenSSL may have read ahead, and the descriptor has nothing to say. */
	if (!stream->again_id)
		stream->again_id = g_idle_add_full(G_PRIORITY_DEFAULT, on_again, stream, NULL);
}

void nbh_stream_want_write(NbhStream *stream, gboolean want)
{
	stream->want_write = !!want;
	update_watch(stream);
}

gboolean nbh_stream_is_tls(NbhStream *stream)
{
	return stream->link != NULL;
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
	nbh_source_drop(&stream->watch);
	clear_source_id(&stream->deadline_id);
	clear_source_id(&stream->up_id);
	clear_source_id(&stream->again_id);
	clear_source_id(&stream->closed_id);
	if (stream->cancellable)
		g_cancellable_cancel(stream->cancellable);
	g_clear_pointer(&stream->link, nbh_tls_link_free);
	g_clear_pointer(&stream->asking, g_byte_array_unref);
	if (stream->socket)
		(void)g_socket_close(stream->socket, NULL);
	g_clear_object(&stream->socket);
	g_clear_object(&stream->connection);
	g_clear_object(&stream->remote);
	g_clear_object(&stream->local);
	stream_unref(stream);
}
