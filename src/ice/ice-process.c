/*
 * The helper's end of ice/ice.sock. Connects by itself and again whenever the link breaks; after
 * each connection: HELLO from them, our port, LIST, their sessions, END, and only then on_ready.
 * Calls made while there is no link are dropped: on_ready and the listing before it tell the
 * engine what netbird-ice really holds. Only the port is remembered.
 */

#include "config.h"

#include "base/log.h"
#include "ice/link.h"
#include "loop/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MODULE "ice"

/*
 * A restart of netbird-ice must stay below 3.9 s in all (interop.md rule 16), and a start waits for it:
 * look often in the first half second, then less and less.
 */
#define RETRY_MIN_MS 10
#define RETRY_MAX_MS 2000
#define RETRIES_QUICK 50

struct _NbhIce {
	NbhIceEvents events;
	gpointer owner;
	char *dir;        /* owned: the config directory */
	NbhIceLink *link; /* owned, NULL while down */
	GSource *retry;   /* owned; sleeps while the link is up */
	guint retry_ms, n_retries;
	gboolean greeted, ready;
	gboolean told_down; /* the engine knows that there is no link */
	char backend[NBH_ICE_BACKEND_MAX];
	guint16 port; /* 0: not set yet */
	NbhIceMessage overlay; /* to be said again to the next netbird-ice */
	gboolean has_overlay;
	GHashTable *openings; /* struct nbh_key -> number of the OPEN on this link, owned */
	guint32 n_opens;
};

static void retry_later(NbhIce *ice)
{
	g_source_set_ready_time(ice->retry, g_get_monotonic_time() + (gint64)ice->retry_ms * 1000);
	ice->retry_ms = ++ice->n_retries < RETRIES_QUICK ? RETRY_MIN_MS : MIN(2 * ice->retry_ms, RETRY_MAX_MS);
}

/* Last thing to do in a callback: the owner may free us inside. */
static void go_down(NbhIce *ice, const char *why)
{
	gboolean told = ice->told_down && !ice->greeted; /* else a listing may have begun */

	g_clear_pointer(&ice->link, nbh_ice_link_free);
	ice->greeted = ice->ready = FALSE;
	ice->told_down = TRUE;
	retry_later(ice);

	if (!told)
		ice->events.on_down(ice, why, ice->owner);
}

static gboolean send_message(NbhIce *ice, const NbhIceMessage *message)
{
	if (!ice->link || !ice->ready) {
		nbh_log(NBH_LOG_DEBUG, MODULE, "dropped command=%s reason=no-link",
		        nbh_ice_verb_name(message->verb));
		return FALSE;
	}

	/* Credentials come from the peer: what RFC 8445 does not allow cannot be used by any agent. */
	if (nbh_ice_link_send(ice->link, message))
		return TRUE;

	nbh_log(NBH_LOG_WARN, MODULE, "refused command=%s peer=%.8s reason=\"a field that cannot be right\"",
	        nbh_ice_verb_name(message->verb), nbh_key_format(&message->peer).text);
	return FALSE;
}

static void on_hello(NbhIce *ice, const NbhIceMessage *message)
{
	NbhIceMessage set_port = { .verb = NBH_ICE_MSG_SET_PORT, .u.port = ice->port };
	NbhIceMessage list = { .verb = NBH_ICE_MSG_LIST };

	if (message->u.hello.version != NBH_ICE_PROTO_VERSION) {
		char why[128];

		snprintf(why, sizeof(why),
		         "netbird-ice speaks version %u of ice.sock, this program %d: update both and restart it",
		         message->u.hello.version, NBH_ICE_PROTO_VERSION);
		go_down(ice, why);
		return;
	}

	ice->greeted = TRUE;
	g_strlcpy(ice->backend, message->u.hello.backend, sizeof(ice->backend));

	g_hash_table_remove_all(ice->openings);
	ice->n_opens = 0;

	if (ice->port)
		nbh_ice_link_send(ice->link, &set_port);

	if (ice->has_overlay)
		nbh_ice_link_send(ice->link, &ice->overlay);

	nbh_ice_link_send(ice->link, &list);
}

static void on_end(NbhIce *ice)
{
	ice->ready = TRUE;
	ice->told_down = FALSE;
	ice->retry_ms = RETRY_MIN_MS;
	ice->n_retries = 0;
	ice->events.on_ready(ice, ice->backend, ice->owner);
}

/* Said before netbird-ice had read our CLOSE, or the OPEN that came after it. */
static gboolean is_late(const NbhIce *ice, const NbhIceMessage *m)
{
	const guint32 *opening = g_hash_table_lookup(ice->openings, &m->peer);

	return m->has_opening && m->opening != (opening ? *opening : 0);
}

/* What only matters once the listing is over. The listing itself says what is selected before. */
static void on_event(NbhIce *ice, const NbhIceMessage *m)
{
	const struct nbh_endpoint *mapped = &m->u.mapped.mapped;

	switch (m->verb) {
	case NBH_ICE_MSG_SELECTED:
		ice->events.on_selected(ice, &m->peer, &m->u.pair, ice->owner);
		break;
	case NBH_ICE_MSG_FAILED:
		ice->events.on_failed(ice, &m->peer, ice->owner);
		break;
	case NBH_ICE_MSG_LOST:
		ice->events.on_lost(ice, &m->peer, ice->owner);
		break;
	case NBH_ICE_MSG_HEARD:
		if (ice->events.on_heard)
			ice->events.on_heard(ice, &m->peer, &m->u.heard, ice->owner);

		break;
	case NBH_ICE_MSG_MAPPED:
		ice->events.on_mapped(ice, &m->u.mapped.server, nbh_endpoint_is_set(mapped) ? mapped : NULL,
		                      ice->owner);
		break;
	case NBH_ICE_MSG_HELLO:
	case NBH_ICE_MSG_SESSION:
	case NBH_ICE_MSG_END:
	case NBH_ICE_MSG_ERROR:
	case NBH_ICE_MSG_SET_PORT:
	case NBH_ICE_MSG_LIST:
	case NBH_ICE_MSG_OPEN:
	case NBH_ICE_MSG_REMOTE:
	case NBH_ICE_MSG_CANDIDATE:
	case NBH_ICE_MSG_CLOSE:
	case NBH_ICE_MSG_CLOSE_ALL:
	case NBH_ICE_MSG_STUN:
	case NBH_ICE_MSG_FORWARD:
	case NBH_ICE_MSG_OVERLAY:
	case NBH_ICE_N_MSGS:
		nbh_log(NBH_LOG_WARN, MODULE, "unexpected message=%s", nbh_ice_verb_name(m->verb));
		break;
	}
}

static void on_message(NbhIceLink *link G_GNUC_UNUSED, const NbhIceMessage *m, gpointer owner)
{
	NbhIce *ice = owner;

	if (m->verb == NBH_ICE_MSG_ERROR)
		nbh_log(NBH_LOG_WARN, MODULE, "netbird-ice-says text=\"%s\"", m->u.text);
	else if (!ice->greeted && m->verb == NBH_ICE_MSG_HELLO)
		on_hello(ice, m);
	else if (ice->greeted && !ice->ready && m->verb == NBH_ICE_MSG_SESSION)
		ice->events.on_session(ice, &m->u.session, ice->owner);
	else if (ice->greeted && !ice->ready && m->verb == NBH_ICE_MSG_END)
		on_end(ice);
	else if (ice->ready && is_late(ice, m))
		nbh_log(NBH_LOG_DEBUG, MODULE, "late message=%s peer=%.8s", nbh_ice_verb_name(m->verb),
		        nbh_key_format(&m->peer).text);
	else if (ice->ready)
		on_event(ice, m);
}

static void on_garbage(NbhIceLink *link G_GNUC_UNUSED, const char *why, gpointer owner G_GNUC_UNUSED)
{
	nbh_log(NBH_LOG_WARN, MODULE, "bad-line reason=\"%s\"", why);
}

static void on_closed(NbhIceLink *link G_GNUC_UNUSED, const char *why, gpointer owner)
{
	char text[128];

	snprintf(text, sizeof(text), "the link to netbird-ice broke: %s", why);
	go_down(owner, text);
}

static const NbhIceLinkEvents link_events = { on_message, on_garbage, on_closed };

/* errno, said and returned. */
static int failed(struct nbh_why *why, const char *what, const char *advice)
{
	int r = -errno;

	nbh_why_set(why, "%s: %s%s", what, g_strerror(-r), advice);
	return r;
}

/* A socket in a directory that somebody else may write to is only as good as the user behind it. */
static int check_server(int fd, const struct stat *dir, struct nbh_why *why)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return failed(why, "ice/ice.sock", "");

	if (cred.uid != dir->st_uid && cred.uid != 0) {
		nbh_why_set(why, "ice/ice.sock: served by user %u, but ice/ belongs to user %u: chown ice/ to the"
		            " user of netbird-ice", cred.uid, dir->st_uid);
		return -EPERM;
	}

	return 0;
}

/* By descriptor: a config directory may be longer than a socket's path can be. */
static int connect_socket(const char *config_dir, struct nbh_why *why)
{
	g_autofree char *path = g_build_filename(config_dir, "ice", NULL);
	nbh_cleanup_close int dir = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	nbh_cleanup_close int fd = -1;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;
	int r;

	if (dir < 0 || fstat(dir, &st))
		return failed(why, path, "");

	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return failed(why, "socket", "");

	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/ice.sock", dir);

	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return failed(why, path, ": is netbird-ice running?");

	r = check_server(fd, &st, why);
	return r ? r : nbh_steal_fd(&fd);
}

static gboolean connect_now(gpointer data)
{
	NbhIce *ice = data;
	struct nbh_why why = { "" };
	int fd = connect_socket(ice->dir, &why);

	if (fd < 0)
		go_down(ice, why.text);
	else
		ice->link = nbh_ice_link_new(fd, &link_events, ice);

	return G_SOURCE_CONTINUE;
}

static NbhIce *process_open(const char *dir, const NbhIceEvents *events, gpointer owner,
                            GError **error G_GNUC_UNUSED)
{
	NbhIce *ice = g_new0(NbhIce, 1);

	ice->events = *events;
	ice->owner = owner;
	ice->dir = g_strdup(dir);
	ice->openings = g_hash_table_new_full(nbh_key_hash, nbh_key_hash_equal, g_free, g_free);
	ice->retry = nbh_source_new_timer(connect_now, ice);
	retry_later(ice); /* at once, but from the loop */
	return ice;
}

static void process_set_port(NbhIce *ice, guint16 port)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_SET_PORT, .u.port = port };

	ice->port = port;

	/* Between HELLO and END the order is still right; before HELLO on_hello() will send it. */
	if (ice->link && ice->greeted)
		nbh_ice_link_send(ice->link, &m);
}

static void process_set_overlay(NbhIce *ice, const struct nbh_prefix *v4, const struct nbh_prefix *v6)
{
	const struct nbh_prefix *const given[] = { v4, v6 };
	NbhIceMessage m = { .verb = NBH_ICE_MSG_OVERLAY };

	/* The only address of a network may be an IPv6 one, in the place of the other. */
	for (gsize i = 0; i < G_N_ELEMENTS(given); i++)
		if (given[i]->addr.family)
			m.u.overlay[given[i]->addr.family == AF_INET6] = nbh_prefix_masked(given[i]);

	/* Management repeats it with every map. */
	if (ice->has_overlay && memcmp(&m.u.overlay, &ice->overlay.u.overlay, sizeof(m.u.overlay)) == 0)
		return;

	ice->overlay = m;
	ice->has_overlay = TRUE;

	/* As for the port. */
	if (ice->link && ice->greeted)
		nbh_ice_link_send(ice->link, &m);
}

static void process_session_open(NbhIce *ice, const NbhIceOpen *open)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_OPEN, .peer = open->peer, .u.open = *open };

	if (!send_message(ice, &m))
		return;

	ice->n_opens++;
	g_hash_table_replace(ice->openings, g_memdup2(&open->peer, sizeof(open->peer)),
	                     g_memdup2(&ice->n_opens, sizeof(ice->n_opens)));
}

static void process_session_remote(NbhIce *ice, const struct nbh_key *peer, const NbhIceCreds *creds,
                                   const NbhSessionId *remote_session)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_REMOTE, .peer = *peer, .u.remote = { .creds = *creds } };

	if (remote_session)
		m.u.remote.session = *remote_session;

	send_message(ice, &m);
}

static void process_session_candidate(NbhIce *ice, const struct nbh_key *peer,
                                      const NbhCandidate *candidate)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_CANDIDATE, .peer = *peer, .u.candidate = *candidate };

	send_message(ice, &m);
}

static void process_session_close(NbhIce *ice, const struct nbh_key *peer)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_CLOSE, .peer = *peer };

	g_hash_table_remove(ice->openings, peer);
	send_message(ice, &m);
}

static void process_close_all(NbhIce *ice)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_CLOSE_ALL };

	g_hash_table_remove_all(ice->openings);
	send_message(ice, &m);
}

static void process_stun_query(NbhIce *ice, const struct nbh_endpoint *server)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_STUN, .u.server = *server };

	send_message(ice, &m);
}

static void process_forward(NbhIce *ice, const struct nbh_endpoint *to, const guint8 *data, gsize len)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_FORWARD, .u.forward = { .to = *to } };

	if (len != sizeof(m.u.forward.data))
		return; /* not a handshake initiation: nothing that would have to be sent from here */

	memcpy(m.u.forward.data, data, len);
	send_message(ice, &m);
}

static void process_free(NbhIce *ice)
{
	if (!ice)
		return;

	nbh_source_drop(&ice->retry);
	nbh_ice_link_free(ice->link);
	g_hash_table_unref(ice->openings);
	g_free(ice->dir);
	g_free(ice);
}

const NbhIceBackend nbh_ice_process = {
	.name = "process",
	.open = process_open,
	.set_port = process_set_port,
	.set_overlay = process_set_overlay,
	.session_open = process_session_open,
	.session_remote = process_session_remote,
	.session_candidate = process_session_candidate,
	.session_close = process_session_close,
	.close_all = process_close_all,
	.stun_query = process_stun_query,
	.forward = process_forward,
	.free = process_free,
};
