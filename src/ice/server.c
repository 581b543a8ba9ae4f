#include "config.h"

#include "ice/server.h"

#include "base/log.h"
#include "base/notify.h"
#include "ice/link.h"
#include "ice/query.h"
#include "ice/sessions.h"
#include "ice/store.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>

#include <glib-unix.h>

#define MODULE "ice"
#define SOCKET_NAME "ice.sock"
#define PACKET_MAX 2048
#define READS_PER_TURN 64

typedef struct {
	int dirfd;
	const struct nbh_isolate_result *isolated;
	guint16 wg_port; /* 0: not set yet */
	NbhIceLink *client; /* owned */
	NbhPort *port;
	NbhQueries *queries;
	NbhSessions *sessions; /* NULL until the port is known */
	GPtrArray *sources;    /* GSource, owned */
	GMainLoop *loop;
	int exit_code;
} Server;

static void add_source(Server *server, int fd, GUnixFDSourceFunc func)
{
	GSource *source = g_unix_fd_source_new(fd, G_IO_IN);

	/*
	 * None of them runs the loop. Else GLib takes the descriptor out and in again around each packet,
	 * and wakes itself up for that: four system calls more.
	 */
	g_source_set_can_recurse(source, TRUE);
	g_source_set_callback(source, G_SOURCE_FUNC(func), server, NULL);
	g_source_attach(source, g_main_context_get_thread_default());
	g_ptr_array_add(server->sources, source);
}

static void end_source(gpointer data)
{
	g_source_destroy(data);
	g_source_unref(data);
}

static void say(const NbhIceMessage *message, gpointer owner)
{
	Server *server = owner;

	if (server->client)
		nbh_ice_link_send(server->client, message);
}

static void say_error(Server *server, const char *text)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_ERROR };

	g_strlcpy(m.u.text, text, sizeof(m.u.text));
	nbh_log(NBH_LOG_WARN, MODULE, "refused reason=\"%s\"", text);
	say(&m, server);
}

/* ---- the network --------------------------------------------------------------------------- */

static gboolean natural_source(const struct nbh_endpoint *to, struct nbh_addr *ret_from, gpointer owner)
{
	Server *server = owner;

	return nbh_rawsock_natural_source(&server->isolated->sock, to, ret_from);
}

static void send_from(const struct nbh_addr *from, const struct nbh_endpoint *to, const guint8 *payload,
                      gsize len, gpointer owner)
{
	Server *server = owner;
	struct nbh_endpoint source = { .addr = *from, .port = server->wg_port };
	int r = nbh_rawsock_send(&server->isolated->sock, &source, to, payload, len);

	if (r)
		nbh_log(NBH_LOG_DEBUG, MODULE, "not-sent reason=\"%s\"", g_strerror(-r));
}

static void send_natural(const struct nbh_endpoint *to, const guint8 *payload, gsize len, gpointer owner)
{
	Server *server = owner;
	struct nbh_addr from;

	if (nbh_port_may_reach(server->port, to) && natural_source(to, &from, owner))
		send_from(&from, to, payload, len, owner);
}

static gboolean on_answer(const struct nbh_endpoint *from, const guint8 *payload, gsize len, gpointer owner)
{
	Server *server = owner;

	return nbh_queries_take(server->queries, from, payload, len);
}

static void on_mapped(const struct nbh_endpoint *stun_server, const struct nbh_endpoint *mapped, gpointer owner)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_MAPPED, .u.mapped.server = *stun_server };

	if (mapped)
		m.u.mapped.mapped = *mapped;

	say(&m, owner);
}

static gboolean on_raw(int fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
	Server *server = data;
	guint8 buf[PACKET_MAX];

	for (int i = 0; i < READS_PER_TURN; i++) {
		NbhPacket packet;
		int r = nbh_rawsock_receive(&server->isolated->sock, fd, buf, sizeof(buf), &packet);

		if (r < 0)
			break;

		if (r)
			nbh_port_take(server->port, &packet);
	}

	nbh_sessions_awake(server->sessions);
	return G_SOURCE_CONTINUE;
}

/* ---- commands ------------------------------------------------------------------------------ */

static void stop(Server *server, int exit_code)
{
	server->exit_code = exit_code;
	g_main_loop_quit(server->loop);
}

/* The filter is locked: another port needs another process, and every session ends with the old one. */
static void change_port(Server *server, guint16 port)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_CLOSE_ALL };

	nbh_log(NBH_LOG_NOTICE, MODULE, "port-changed from=%u to=%u", server->wg_port, port);
	nbh_sessions_do(server->sessions, &m);
	nbh_store_forget(server->dirfd);
	stop(server, NBH_ICE_EXIT_PORT);
}

static void do_set_port(Server *server, guint16 port)
{
	const NbhRawsock *sock = &server->isolated->sock;
	NbhAgentWorld world = { .natural_source = natural_source, .owner = server, .port = port };
	struct nbh_why why = { "" };

	if (server->wg_port == port)
		return;

	if (server->wg_port) {
		change_port(server, port);
		return;
	}

	if (nbh_rawsock_set_port(sock, port, &why)) {
		say_error(server, why.text);
		stop(server, 1);
		return;
	}

	server->wg_port = port;
	server->sessions = nbh_sessions_new(server->dirfd, server->port, &world, say, server);
	add_source(server, sock->raw4, on_raw);

	if (sock->raw6 >= 0)
		add_source(server, sock->raw6, on_raw);

	nbh_log(NBH_LOG_INFO, MODULE, "port port=%u", port);
}

/* WireGuard's message type 1 and three zero bytes: a handshake initiation. */
static void do_forward(Server *server, const NbhIceMessage *m)
{
	static const guint8 type[4] = { 1 };

	if (memcmp(m->u.forward.data, type, sizeof(type)) != 0)
		say_error(server, "FORWARD: not a handshake initiation");
	else
		send_natural(&m->u.forward.to, m->u.forward.data, sizeof(m->u.forward.data), server);
}

static void list_nothing(Server *server)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_END };

	say(&m, server);
}

static void do_command(Server *server, const NbhIceMessage *m)
{
	if (m->verb == NBH_ICE_MSG_OVERLAY)
		nbh_port_set_overlay(server->port, &m->u.overlay[0], &m->u.overlay[1]);

	if (m->verb == NBH_ICE_MSG_SET_PORT) {
		do_set_port(server, m->u.port);
	} else if (!server->sessions && m->verb == NBH_ICE_MSG_LIST) {
		list_nothing(server);
	} else if (!server->sessions) {
		if (m->verb != NBH_ICE_MSG_CLOSE_ALL && m->verb != NBH_ICE_MSG_CLOSE && m->verb != NBH_ICE_MSG_OVERLAY)
			say_error(server, "no port yet: SET_PORT comes first");
	} else if (m->verb == NBH_ICE_MSG_STUN) {
		if (!nbh_queries_ask(server->queries, &m->u.server))
			say_error(server, "STUN: too many questions are open");
	} else if (m->verb == NBH_ICE_MSG_FORWARD) {
		do_forward(server, m);
	} else {
		nbh_sessions_do(server->sessions, m);
	}
}

static void on_stored(const NbhIceMessage *message, gpointer owner)
{
	do_command(owner, message);
}

/* ---- the client ---------------------------------------------------------------------------- */

static void on_message(NbhIceLink *link G_GNUC_UNUSED, const NbhIceMessage *m, gpointer owner)
{
	Server *server = owner;

	/* Only ice/sessions may say that; a client cannot know better than we. */
	if (m->verb == NBH_ICE_MSG_SELECTED)
		say_error(server, "SELECTED: not a command");
	else
		do_command(server, m);
}

static void on_garbage(NbhIceLink *link G_GNUC_UNUSED, const char *why, gpointer owner)
{
	say_error(owner, why);
}

static void on_closed(NbhIceLink *link G_GNUC_UNUSED, const char *why, gpointer owner)
{
	Server *server = owner;

	nbh_log(NBH_LOG_INFO, MODULE, "client-gone reason=\"%s\"", why);
	g_clear_pointer(&server->client, nbh_ice_link_free);
}

static const NbhIceLinkEvents link_events = { on_message, on_garbage, on_closed };

/* Who may come is decided by the directory: in a user namespace every other user reads as 65534. */
static gboolean on_connection(int fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
	Server *server = data;
	NbhIceMessage hello = { .verb = NBH_ICE_MSG_HELLO, .u.hello.version = NBH_ICE_PROTO_VERSION };
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (client < 0)
		return G_SOURCE_CONTINUE;

	/* A new one replaces the old; but a CLOSE_ALL that was sent just before the end counts. */
	if (server->client)
		nbh_ice_link_drain(server->client);

	g_clear_pointer(&server->client, nbh_ice_link_free);
	server->client = nbh_ice_link_new(client, &link_events, server);
	g_snprintf(hello.u.hello.backend, sizeof(hello.u.hello.backend), "%s%s", server->isolated->backend,
	           server->isolated->is_filtered ? "" : NBH_ICE_NO_FILTER);
	say(&hello, server);
	return G_SOURCE_CONTINUE;
}

/* In the working directory, so that the length of its path does not matter. */
static int listen_here(struct nbh_why *why)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = SOCKET_NAME };
	nbh_cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	unlink(SOCKET_NAME); /* of a predecessor: the lock says that it is gone */

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || chmod(SOCKET_NAME, 0660) || listen(fd, 8)) {
		int r = -errno;

		nbh_why_set(why, "ice/" SOCKET_NAME ": %s", g_strerror(-r));
		return r;
	}

	return nbh_steal_fd(&fd);
}

/* ---- running ------------------------------------------------------------------------------- */

static void log_counters(const Server *server)
{
	const NbhPortCounters *c = nbh_port_counters(server->port);

	nbh_log(NBH_LOG_NOTICE, MODULE,
	        "counters in_requests=%" G_GUINT64_FORMAT " in_answers=%" G_GUINT64_FORMAT
	        " out_requests=%" G_GUINT64_FORMAT " out_answers=%" G_GUINT64_FORMAT
	        " out_indications=%" G_GUINT64_FORMAT " trimmed=%" G_GUINT64_FORMAT " echoed=%" G_GUINT64_FORMAT
	        " plain=%" G_GUINT64_FORMAT
	        " drop_other=%" G_GUINT64_FORMAT " drop_ufrag=%" G_GUINT64_FORMAT
	        " drop_integrity=%" G_GUINT64_FORMAT " drop_answer=%" G_GUINT64_FORMAT
	        " drop_out=%" G_GUINT64_FORMAT " drop_source=%" G_GUINT64_FORMAT " drop_often=%" G_GUINT64_FORMAT,
	        c->in_requests, c->in_answers, c->out_requests, c->out_answers, c->out_indications, c->trimmed,
	        c->echoed, c->plain, c->drop_other, c->drop_ufrag, c->drop_integrity, c->drop_answer, c->drop_out,
	        c->drop_source, c->drop_often);
}

static gboolean on_signal(int fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return G_SOURCE_CONTINUE;

	if (info.ssi_signo == SIGUSR1)
		log_counters(data);
	else
		stop(data, 0);

	return G_SOURCE_CONTINUE;
}

/* netbird-wg took it away (`down`), or somebody else did. */
static gboolean on_tun_gone(int fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
	nbh_log(NBH_LOG_WARN, MODULE, "tun-gone");
	stop(data, EX_TEMPFAIL);
	return G_SOURCE_REMOVE;
}

static void watch_tun(Server *server)
{
	GSource *source = g_unix_fd_source_new(server->isolated->tun, G_IO_ERR);

	g_source_set_callback(source, G_SOURCE_FUNC(on_tun_gone), server, NULL);
	g_source_attach(source, NULL);
	g_ptr_array_add(server->sources, source);
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void bring_back(Server *server)
{
	struct nbh_why why = { "" };

	if (nbh_store_read(server->dirfd, on_stored, server, &why))
		nbh_log(NBH_LOG_WARN, MODULE, "sessions-not-restored reason=\"%s\"", why.text);
}

int nbh_server_run(int dirfd, const struct nbh_isolate_result *isolated, struct nbh_why *why)
{
	static const NbhPortIo port_io = { send_from, natural_source, on_answer };
	static const NbhQueryIo query_io = { send_natural, on_mapped };
	Server server = { .dirfd = dirfd, .isolated = isolated };
	nbh_cleanup_close int signals = open_signals();
	nbh_cleanup_close int listener = listen_here(why);

	if (signals < 0 || listener < 0)
		return 1;

	server.loop = g_main_loop_new(NULL, FALSE);
	server.sources = g_ptr_array_new_with_free_func(end_source);
	server.port = nbh_port_new(isolated->tun, isolated->has_v6, &port_io, &server);
	server.queries = nbh_queries_new(&query_io, &server);
	add_source(&server, signals, on_signal);
	watch_tun(&server);
	bring_back(&server); /* before the first client, so that its LIST is complete */
	add_source(&server, listener, on_connection);
	nbh_log(NBH_LOG_NOTICE, MODULE, "started backend=%s ipv6=%s", isolated->backend,
	        isolated->has_v6 ? "yes" : "no");
	nbh_notify("READY=1");
	g_main_loop_run(server.loop);

	nbh_sessions_free(server.sessions);
	g_ptr_array_unref(server.sources);
	nbh_ice_link_free(server.client);
	nbh_queries_free(server.queries);
	nbh_port_free(server.port);
	g_main_loop_unref(server.loop);

	if (server.exit_code == 1)
		nbh_why_set(why, "the raw sockets could not be set up");

	return server.exit_code;
}
