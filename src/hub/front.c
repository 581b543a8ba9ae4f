#include "config.h"

#include "hub/front.h"

#include "base/limits.h"
#include "base/log.h"
#include "net/grpc.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <malloc.h>
#include <string.h>

#define BACKLOG 512 /* all clients come back at once after a restart: 11.2 */
#define ACCEPTS_PER_TURN 64
#define CROWD 100 /* connections that are gone: worth some milliseconds */
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" /* RFC 9113 3.4 */
#define PREFACE_LEN (sizeof(PREFACE) - 1)

static const NbhFrontLimits default_limits = {
	.connections_max = NBH_HUB_CONNECTIONS_MAX,
	.first_bytes_ms = 20000,
	.no_call_ms = 60000,
	.gate = {
		.per_address_max = NBH_HUB_CONNECTIONS_PER_ADDRESS_MAX,
		.burst = NBH_HUB_ARRIVALS_BURST,
		.per_second = NBH_HUB_ARRIVALS_PER_SECOND,
	},
};

static const char not_grpc[] =
	"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
	"This is a netbird-hub. It speaks gRPC over HTTP/2: give this address to NetBird clients as\n"
	"their management URL. There are no web pages here.\n";

struct _NbhFront {
	NbhFrontLimits limits;
	NbhTls *tls; /* ref; NULL: plain only */
	GHashTable *routes;   /* path, borrowed -> Route, owned */
	GPtrArray *listeners; /* Listener, owned */
	GQueue conns;         /* Conn, owned */
	GQueue idle;          /* those without a call, the longest idle first; borrowed */
	NbhGate *gate;        /* owned */
	guint n_failed;       /* accepts */
	guint n_most;         /* connections since the last tidying up */
	int spare_fd; /* for the moment when there is no other */
};

typedef struct {
	const NbhHubMethod *method;
	gpointer service;
} Route;

typedef struct {
	int fd;
	guint watch_id;
} Listener;

typedef struct {
	NbhFront *front;
	GList link, idle_link;
	gboolean is_idle;  /* in front->idle */
	gboolean is_up;    /* with TLS: its handshake is over */
	NbhStream *stream; /* owned until h2 takes it */
	NbhH2srv *h2;      /* owned; NULL while sniffing */
	guint8 first[PREFACE_LEN];
	gsize n_first;
	guint n_calls; /* that have said what they want: only beginning one keeps no connection */
	guint timer_id; /* to the first bytes, later without a call */
	struct nbh_addr remote;
} Conn;

typedef struct {
	NbhHubCall call;
	Conn *conn; /* borrowed */
	gpointer service;
	gboolean is_counted; /* in conn->n_calls */
} FrontCall;

static void set_idle(Conn *conn, gboolean is_idle)
{
	if (conn->is_idle == is_idle)
		return;
	conn->is_idle = is_idle;
	if (is_idle)
		g_queue_push_tail_link(&conn->front->idle, &conn->idle_link);
	else
		g_queue_unlink(&conn->front->idle, &conn->idle_link);
}

static void conn_free(Conn *conn)
{
	NbhH2srv *h2 = g_steal_pointer(&conn->h2);

	/* First: the ends of its calls still look at conn. */
	nbh_h2srv_free(h2);
	if (conn->timer_id)
		g_source_remove(conn->timer_id);
	nbh_stream_free(conn->stream);
	set_idle(conn, FALSE);
	g_queue_unlink(&conn->front->conns, &conn->link);
	nbh_gate_leave(conn->front->gate, &conn->remote);
	g_free(conn);
}

static gboolean on_first_late(gpointer data)
{
	Conn *conn = data;

	conn->timer_id = 0;
	nbh_gate_cut_off(conn->front->gate, &conn->remote,
			 nbh_stream_is_tls(conn->stream) ? "no end of the TLS handshake, or nothing behind it"
							 : "no beginning of HTTP/2 in time",
			 nbh_mono_now());
	conn_free(conn);
	return G_SOURCE_REMOVE;
}

static gboolean on_no_call(gpointer data)
{
	Conn *conn = data;

	conn->timer_id = 0;
	nbh_h2srv_shutdown(conn->h2);
	return G_SOURCE_REMOVE;
}

static void set_timer(Conn *conn, guint timeout_ms, GSourceFunc func)
{
	if (conn->timer_id)
		g_source_remove(conn->timer_id);
	conn->timer_id = func ? g_timeout_add(timeout_ms, func, conn) : 0;
}

static void count_call(FrontCall *call)
{
	if (call->is_counted)
		return;
	call->is_counted = TRUE;
	if (call->conn->n_calls++ == 0) {
		set_timer(call->conn, 0, NULL);
		set_idle(call->conn, FALSE);
	}
}

static void on_call(NbhH2srvCall *h2, const char *path, gpointer owner)
{
	Conn *conn = owner;
	const Route *route = g_hash_table_lookup(conn->front->routes, path);
	FrontCall *call;

	if (!route) {
		nbh_h2srv_finish(h2, NBH_GRPC_UNIMPLEMENTED, "unknown method");
		return;
	}
	call = g_new0(FrontCall, 1);
	call->conn = conn;
	call->service = route->service;
	call->call.method = route->method;
	call->call.h2 = h2;
	call->call.remote = conn->remote;
	nbh_h2srv_call_set_data(h2, call);
	if (!route->method->on_message)
		count_call(call);
	if (route->method->on_start)
		route->method->on_start(&call->call, call->service);
}

static void on_message(NbhH2srvCall *h2, const guint8 *data, gsize len, gpointer owner)
{
	FrontCall *call = nbh_h2srv_call_data(h2);

	(void)owner;
	if (!call)
		return;
	call->call.has_message = TRUE;
	count_call(call);
	if (call->call.method->on_message)
		call->call.method->on_message(&call->call, data, len, call->service);
}

static void on_half_close(NbhH2srvCall *h2, gpointer owner)
{
	const FrontCall *call = nbh_h2srv_call_data(h2);

	(void)owner;
	/* Where no message is expected the end of the request says nothing either. */
	if (call && call->call.method->on_message && !call->call.has_message)
		nbh_h2srv_finish(h2, NBH_GRPC_INVALID_ARGUMENT, "the request has no message");
}

static void on_gone(NbhH2srvCall *h2, gpointer owner)
{
	FrontCall *call = nbh_h2srv_call_data(h2);
	Conn *conn = owner;
	gboolean is_counted;

	if (!call)
		return;
	if (call->call.method->on_gone)
		call->call.method->on_gone(&call->call, call->service);
	is_counted = call->is_counted;
	g_free(call);
	if (is_counted && --conn->n_calls == 0 && conn->h2) {
		set_timer(conn, conn->front->limits.no_call_ms, on_no_call);
		set_idle(conn, TRUE);
	}
}

static void on_h2_closed(NbhH2srv *h2, gpointer owner)
{
	Conn *conn = owner;
	const char *abuse = nbh_h2srv_abuse(h2);

	if (abuse)
		nbh_gate_cut_off(conn->front->gate, &conn->remote, abuse, nbh_mono_now());
	conn_free(conn);
}

static const NbhH2srvEvents h2_events = {
	.on_call = on_call,
	.on_message = on_message,
	.on_half_close = on_half_close,
	.on_gone = on_gone,
	.on_closed = on_h2_closed,
};

static void on_stream_up(NbhStream *stream, gpointer owner)
{
	(void)stream;
	((Conn *)owner)->is_up = TRUE;
}

/* A browser sees the text; a TLS client to our plain port sees the end. */
static void refuse_http(Conn *conn)
{
	guint8 rest[4096];

	if (g_ascii_isupper((char)conn->first[0])) {
		/* Unread bytes would turn our close into a reset that overtakes the answer. */
		(void)nbh_stream_read(conn->stream, rest, sizeof(rest));
		(void)nbh_stream_write(conn->stream, (const guint8 *)not_grpc, sizeof(not_grpc) - 1);
	}
	conn_free(conn);
}

static void on_stream_readable(NbhStream *stream, gpointer owner)
{
	Conn *conn = owner;

	while (conn->n_first < PREFACE_LEN) {
		gssize n = nbh_stream_read(stream, conn->first + conn->n_first,
					   PREFACE_LEN - conn->n_first);

		if (n <= 0)
			return; /* more comes, or on_closed */
		conn->n_first += (gsize)n;
		if (memcmp(conn->first, PREFACE, conn->n_first) != 0) {
			refuse_http(conn);
			return;
		}
	}
	conn->h2 = nbh_h2srv_new(g_steal_pointer(&conn->stream), conn->first, conn->n_first,
				 &h2_events, conn);
	set_timer(conn, conn->front->limits.no_call_ms, on_no_call);
}

static void on_stream_writable(NbhStream *stream, gpointer owner)
{
	(void)stream;
	(void)owner;
}

static void on_stream_closed(NbhStream *stream, const char *error, gpointer owner)
{
	Conn *conn = owner;

	if (!conn->is_up && nbh_stream_is_tls(stream))
		nbh_gate_tls_failed(conn->front->gate, &conn->remote, error, nbh_mono_now());
	conn_free(conn);
}

static const NbhStreamEvents sniff_events = {
	.on_up = on_stream_up,
	.on_readable = on_stream_readable,
	.on_writable = on_stream_writable,
	.on_closed = on_stream_closed,
};

static Conn *find_idle(const GQueue *conns, const struct nbh_addr *same)
{
	for (GList *l = conns->head; l; l = l->next) {
		Conn *conn = l->data;

		if (same && !nbh_gate_is_same(same, &conn->remote))
			continue;
		if (conn->is_idle || (conn->h2 && !nbh_h2srv_has_open_call(conn->h2)))
			return conn;
	}
	return NULL;
}

/*
 * The longest idle connection ends for a new one: honest clients begin their calls at once. same NULL:
 * of any address. Who does not take his answers is no better than idle.
 */
static gboolean make_room(NbhFront *front, const struct nbh_addr *same)
{
	Conn *conn = find_idle(&front->idle, same);

	if (!conn)
		conn = find_idle(&front->conns, same);
	if (conn)
		conn_free(conn);
	return conn != NULL;
}

/* NULL: let in. */
static const char *why_refused(NbhFront *front, const struct nbh_addr *remote)
{
	switch (nbh_gate_ask(front->gate, remote, nbh_mono_now())) {
	case NBH_GATE_CLOSED:
		return "too many new connections from this address";
	case NBH_GATE_CROWDED:
		if (!make_room(front, remote))
			return "too many connections from this address";
		break;
	case NBH_GATE_OPEN:
		break;
	}
	if (front->conns.length >= front->limits.connections_max && !make_room(front, NULL))
		return "too many connections";
	return NULL;
}

static void take_connection(NbhFront *front, int fd, const struct nbh_addr *remote)
{
	const char *refusal = why_refused(front, remote);
	g_autoptr(GError) error = NULL;
	GSocket *socket;
	Conn *conn;

	if (refusal) {
		close(fd);
		nbh_gate_refused(front->gate, remote, refusal, nbh_mono_now());
		return;
	}
	socket = g_socket_new_from_fd(fd, &error);
	if (!socket) {
		close(fd);
		return;
	}
	conn = g_new0(Conn, 1);
	conn->front = front;
	conn->link.data = conn->idle_link.data = conn;
	conn->remote = *remote;
	g_queue_push_tail_link(&front->conns, &conn->link);
	front->n_most = MAX(front->n_most, front->conns.length);
	nbh_gate_enter(front->gate, remote);
	set_idle(conn, TRUE);
	set_timer(conn, front->limits.first_bytes_ms, on_first_late);
	conn->stream = nbh_stream_accept(socket, front->tls, &sniff_events, conn);
}

/*
 * No descriptor is left: the pending connection would keep the socket readable and the loop busy.
 * The spare one makes room to take it and hang up.
 */
static void hang_up_one(NbhFront *front, int listening_fd, int err)
{
	int fd;

	if (nbh_log_worth(++front->n_failed))
		nbh_log(NBH_LOG_ERROR, "front", "accept: %s times=%u", g_strerror(err), front->n_failed);
	if (front->spare_fd >= 0)
		close(front->spare_fd);
	fd = accept4(listening_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	front->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static gboolean on_acceptable(gint fd, GIOCondition condition, gpointer data)
{
	NbhFront *front = data;

	(void)condition;
	for (guint i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage sa = { 0 };
		socklen_t len = sizeof(sa);
		struct nbh_endpoint remote = { 0 };
		int accepted = accept4(fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (accepted >= 0) {
			(void)nbh_endpoint_from_sockaddr((const struct sockaddr *)&sa, &remote);
			take_connection(front, accepted, &remote.addr);
			continue;
		}
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		if (errno != EINTR && errno != ECONNABORTED) {
			hang_up_one(front, fd, errno);
			break;
		}
	}
	return G_SOURCE_CONTINUE;
}

static void listener_free(gpointer data)
{
	Listener *listener = data;

	g_source_remove(listener->watch_id);
	close(listener->fd);
	g_free(listener);
}

static int open_listener(const struct nbh_endpoint *endpoint, guint16 *ret_port)
{
	struct sockaddr_storage sa;
	socklen_t len = nbh_endpoint_to_sockaddr(endpoint, &sa);
	gboolean v6 = endpoint->addr.family == AF_INET6;
	int on = 1, off = 0;
	nbh_cleanup_close int fd = -1;
	struct nbh_endpoint bound;

	fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    (v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0) ||
	    bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	len = sizeof(sa);
	if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	if (nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &bound) < 0)
		return -EINVAL;
	*ret_port = bound.port;
	return nbh_steal_fd(&fd);
}

NbhFront *nbh_front_new(const NbhFrontLimits *limits)
{
	NbhFront *front = g_new0(NbhFront, 1);

	front->limits = limits ? *limits : default_limits;
	front->gate = nbh_gate_new(&front->limits.gate);
	front->routes = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
	front->listeners = g_ptr_array_new_with_free_func(listener_free);
	front->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return front;
}

void nbh_front_add(NbhFront *front, const NbhHubMethod *methods, gpointer service)
{
	for (; methods->path; methods++) {
		Route *route = g_new(Route, 1);

		route->method = methods;
		route->service = service;
		g_hash_table_insert(front->routes, (gpointer)methods->path, route);
	}
}

gboolean nbh_front_listen(NbhFront *front, const struct nbh_endpoint *endpoint, guint16 *ret_port,
			  GError **error)
{
	char text[NBH_ADDR_TEXT_MAX];
	int fd = open_listener(endpoint, ret_port);
	Listener *listener;

	if (fd < 0) {
		g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(-fd),
			    "listen on TCP %s port %u: %s", nbh_addr_format(&endpoint->addr, text),
			    endpoint->port, g_strerror(-fd));
		return FALSE;
	}
	listener = g_new0(Listener, 1);
	listener->fd = fd;
	listener->watch_id = g_unix_fd_add(fd, G_IO_IN, on_acceptable, front);
	g_ptr_array_add(front->listeners, listener);
	return TRUE;
}

void nbh_front_set_tls(NbhFront *front, NbhTls *tls)
{
	nbh_tls_unref(front->tls);
	front->tls = nbh_tls_ref(tls);
}

guint nbh_front_connections(const NbhFront *front)
{
	return front->conns.length;
}

/* glibc keeps what lies below anything that is still in use. */
void nbh_front_tidy(NbhFront *front)
{
	if (front->n_most > 2 * front->conns.length + CROWD) {
		(void)malloc_trim(0);
		front->n_most = front->conns.length;
	}
}

void nbh_front_free(NbhFront *front)
{
	if (!front)
		return;
	g_ptr_array_unref(front->listeners);
	while (front->conns.head)
		conn_free(front->conns.head->data);
	g_hash_table_unref(front->routes);
	nbh_tls_unref(front->tls);
	nbh_gate_free(front->gate);
	if (front->spare_fd >= 0)
		close(front->spare_fd);
	g_free(front);
}
