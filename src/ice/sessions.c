#include "config.h"

#include "ice/sessions.h"

#include "base/log.h"
#include "ice/store.h"

#include <stdio.h>
#include <string.h>

#define MODULE "ice"
#define LIVENESS_LOOK_MS 500
#define SAVE_DELAY_MS 20 /* between two; what belongs to one change comes at once */
#define SAVE_RETRY_MS 2000 /* a full disk heals by itself */

typedef struct {
	NbhSessions *sessions; /* borrowed */
	NbhIceOpen open;       /* open.peer is the key in the table */
	NbhIceCreds remote;
	NbhSessionId remote_session;
	gboolean selected;
	NbhIcePair pair;
	gint64 since;    /* silence is counted from here, or from the last packet */
	NbhAgent *agent; /* owned */
} Session;

struct _NbhSessions {
	int dirfd;
	NbhPort *port; /* borrowed */
	NbhAgentWorld world;
	NbhSessionsSay say;
	gpointer owner;
	GHashTable *table;          /* nbh_key -> Session, owned */
	GSource *liveness, *saving; /* owned; NULL while there is nothing to do */
	gint64 saved_usec;
	guint n_unsaved; /* failures in a row */
};

static void drop_source(GSource **source)
{
	if (*source) {
		g_source_destroy(*source);
		g_clear_pointer(source, g_source_unref);
	}
}

static void attach_timer(GSource **keep, guint ms, GSourceFunc func, gpointer data)
{
	if (*keep)
		return;

	*keep = g_timeout_source_new(ms);
	g_source_set_callback(*keep, func, data, NULL);
	g_source_attach(*keep, g_main_context_get_thread_default());
}

static const char *short_name(const struct nbh_key *peer, char buf[9])
{
	g_strlcpy(buf, nbh_key_format(peer).text, 9);
	return buf;
}

static void say_error(NbhSessions *sessions, const char *text)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_ERROR };

	g_strlcpy(m.u.text, text, sizeof(m.u.text));
	nbh_log(NBH_LOG_WARN, MODULE, "refused reason=\"%s\"", text);
	sessions->say(&m, sessions->owner);
}

/* ---- ice/sessions -------------------------------------------------------------------------- */

static void save_session(NbhStoreDraft *draft, const Session *session)
{
	const NbhCandidateSet *candidates = nbh_agent_candidates(session->agent);
	NbhIceMessage m = { .verb = NBH_ICE_MSG_OPEN, .peer = session->open.peer, .u.open = session->open };

	nbh_store_add(draft, &m);

	if (session->remote.ufrag[0]) {
		m.verb = NBH_ICE_MSG_REMOTE;
		m.u.remote.creds = session->remote;
		m.u.remote.session = session->remote_session;
		nbh_store_add(draft, &m);
	}

	for (gsize i = 0; i < candidates->n; i++) {
		m.verb = NBH_ICE_MSG_CANDIDATE;
		m.u.candidate = candidates->items[i];
		nbh_store_add(draft, &m);
	}

	if (session->selected) {
		m.verb = NBH_ICE_MSG_SELECTED;
		m.u.pair = session->pair;
		nbh_store_add(draft, &m);
	}
}

static void save_now(NbhSessions *sessions)
{
	NbhIceMessage overlay = { .verb = NBH_ICE_MSG_OVERLAY };
	NbhStoreDraft draft;
	GHashTableIter iter;
	gpointer value;
	struct nbh_why why = { "" };

	drop_source(&sessions->saving);
	nbh_store_begin(&draft, sessions->world.port);
	nbh_port_get_overlay(sessions->port, &overlay.u.overlay[0], &overlay.u.overlay[1]);

	if (overlay.u.overlay[0].addr.family || overlay.u.overlay[1].addr.family)
		nbh_store_add(&draft, &overlay);

	g_hash_table_iter_init(&iter, sessions->table);

	while (g_hash_table_iter_next(&iter, NULL, &value))
		save_session(&draft, value);

	sessions->saved_usec = g_get_monotonic_time();

	if (nbh_store_finish(&draft, sessions->dirfd, &why) == 0) {
		sessions->n_unsaved = 0;
		return;
	}

	if (nbh_log_worth(++sessions->n_unsaved))
		nbh_log(NBH_LOG_WARN, MODULE, "not-saved times=%u reason=\"%s\"", sessions->n_unsaved, why.text);
}

static gboolean on_save(gpointer data)
{
	NbhSessions *sessions = data;

	save_now(sessions);

	if (sessions->n_unsaved)
		attach_timer(&sessions->saving, SAVE_RETRY_MS, on_save, sessions);

	return G_SOURCE_REMOVE;
}

/*
 * At once, unless one was just written: who is killed before a selection is saved comes back without
 * it, and a controlled agent is not nominated twice (interop.md rule 16).
 */
static void save_soon(NbhSessions *sessions)
{
	gint64 since_ms = (g_get_monotonic_time() - sessions->saved_usec) / 1000;

	if (sessions->n_unsaved)
		drop_source(&sessions->saving);

	attach_timer(&sessions->saving, since_ms >= SAVE_DELAY_MS ? 0 : (guint)(SAVE_DELAY_MS - since_ms), on_save,
	             sessions);
}

/* ---- what agents tell ---------------------------------------------------------------------- */

static gint64 last_heard(const Session *session)
{
	return MAX(session->since, nbh_port_last_heard(session->sessions->port, nbh_agent_q(session->agent)));
}

/* TRUE if it goes on being watched. */
static gboolean watch(Session *session, gint64 now)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_LOST, .peer = session->open.peer };
	gint64 silent_ms = (now - last_heard(session)) / 1000;
	char name[9];

	if (!session->selected || !session->open.liveness_ms)
		return FALSE;

	if (silent_ms < session->open.liveness_ms)
		return TRUE;

	session->selected = FALSE;
	nbh_log(NBH_LOG_NOTICE, MODULE, "lost peer=%s silent_ms=%" G_GINT64_FORMAT,
	        short_name(&session->open.peer, name), silent_ms);
	session->sessions->say(&m, session->sessions->owner);
	save_soon(session->sessions);
	return FALSE;
}

static gboolean on_liveness(gpointer data)
{
	NbhSessions *sessions = data;
	GHashTableIter iter;
	gpointer value;
	gint64 now = g_get_monotonic_time();
	gboolean any = FALSE;

	g_hash_table_iter_init(&iter, sessions->table);

	while (g_hash_table_iter_next(&iter, NULL, &value))
		any |= watch(value, now);

	if (!any)
		drop_source(&sessions->liveness);

	return G_SOURCE_CONTINUE; /* destroyed above if it is not needed */
}

static void set_selected(Session *session, const NbhIcePair *pair)
{
	session->selected = TRUE;
	session->pair = *pair;
	session->since = g_get_monotonic_time();

	if (session->open.liveness_ms)
		attach_timer(&session->sessions->liveness, LIVENESS_LOOK_MS, on_liveness, session->sessions);

	save_soon(session->sessions);
}

static void on_selected(NbhAgent *agent G_GNUC_UNUSED, const NbhIcePair *pair, gpointer owner)
{
	Session *session = owner;
	NbhIceMessage m = { .verb = NBH_ICE_MSG_SELECTED, .peer = session->open.peer, .u.pair = *pair };
	char name[9], local[NBH_ENDPOINT_TEXT_MAX], remote[NBH_ENDPOINT_TEXT_MAX];

	set_selected(session, pair);
	nbh_log(NBH_LOG_NOTICE, MODULE, "selected peer=%s local=%s/%s remote=%s/%s",
	        short_name(&session->open.peer, name), nbh_candidate_type_name(pair->local_type),
	        nbh_endpoint_format(&pair->local, local), nbh_candidate_type_name(pair->remote_type),
	        nbh_endpoint_format(&pair->remote, remote));
	session->sessions->say(&m, session->sessions->owner);
}

/*
 * A re-created controlled agent is never nominated again and fails after 7 s, but goes on answering
 * and is in use all the time (interop.md rule 16): only silence counts then.
 */
static void on_failed(NbhAgent *agent G_GNUC_UNUSED, gpointer owner)
{
	Session *session = owner;
	NbhIceMessage m = { .verb = NBH_ICE_MSG_FAILED, .peer = session->open.peer };
	char name[9];

	if (session->selected)
		return;

	nbh_log(NBH_LOG_NOTICE, MODULE, "failed peer=%s", short_name(&session->open.peer, name));
	session->sessions->say(&m, session->sessions->owner);
}

/* Of use before there is a pair only: architecture.md section 5, wake by local traffic. */
static void on_heard(NbhAgent *agent G_GNUC_UNUSED, const struct nbh_endpoint *from, gpointer owner)
{
	Session *session = owner;
	NbhIceMessage m = { .verb = NBH_ICE_MSG_HEARD, .peer = session->open.peer, .u.heard = *from };

	if (!session->selected)
		session->sessions->say(&m, session->sessions->owner);
}

static const NbhAgentEvents agent_events = { on_selected, on_failed, on_heard };

/* ---- commands ------------------------------------------------------------------------------ */

static void session_free(gpointer data)
{
	Session *session = data;

	if (session->agent)
		nbh_agent_free(session->agent);

	g_free(session);
}

static void do_open(NbhSessions *sessions, const NbhIceOpen *open)
{
	g_autoptr(GError) error = NULL;
	Session *session;
	char name[9];

	/* First: the same credentials may come again, and the adaptor knows agents by them. */
	g_hash_table_remove(sessions->table, &open->peer);

	session = g_new0(Session, 1);
	session->sessions = sessions;
	session->open = *open;
	session->agent = nbh_agent_new(sessions->port, &sessions->world, open, &agent_events, session, &error);

	if (!session->agent) {
		g_autofree char *text = g_strdup_printf("OPEN %s: %s", short_name(&open->peer, name), error->message);

		say_error(sessions, text);
		session_free(session);
		return;
	}

	g_hash_table_insert(sessions->table, &session->open.peer, session);
	nbh_log(NBH_LOG_INFO, MODULE, "open peer=%s role=%s agent=%u", short_name(&open->peer, name),
	        open->controlling ? "controlling" : "controlled", nbh_agent_q(session->agent));
}

static void do_remote(Session *session, const NbhIceMessage *m)
{
	session->remote = m->u.remote.creds;
	session->remote_session = m->u.remote.session;
	nbh_agent_set_remote(session->agent, &session->remote);
}

static void say_session(const Session *session)
{
	NbhIceMessage m = { .verb = NBH_ICE_MSG_SESSION, .peer = session->open.peer };

	m.u.session = (NbhIceSession){
		.peer = session->open.peer,
		.local = session->open.local,
		.remote = session->remote,
		.local_session = session->open.local_session,
		.remote_session = session->remote_session,
		.controlling = session->open.controlling,
		.selected = session->selected,
		.pair = session->pair,
	};
	session->sessions->say(&m, session->sessions->owner);
}

static void do_list(NbhSessions *sessions)
{
	NbhIceMessage end = { .verb = NBH_ICE_MSG_END };
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, sessions->table);

	while (g_hash_table_iter_next(&iter, NULL, &value))
		say_session(value);

	sessions->say(&end, sessions->owner);
}

/* Those for an open session. A command that crossed a CLOSE on its way is nothing strange. */
static void do_for_session(NbhSessions *sessions, const NbhIceMessage *m)
{
	Session *session = g_hash_table_lookup(sessions->table, &m->peer);

	if (!session)
		return;

	if (m->verb == NBH_ICE_MSG_REMOTE)
		do_remote(session, m);
	else if (m->verb == NBH_ICE_MSG_CANDIDATE)
		nbh_agent_add_candidate(session->agent, &m->u.candidate);
	else if (m->verb == NBH_ICE_MSG_SELECTED)
		set_selected(session, &m->u.pair);
	else
		g_hash_table_remove(sessions->table, &m->peer);
}

void nbh_sessions_do(NbhSessions *sessions, const NbhIceMessage *m)
{
	switch (m->verb) {
	case NBH_ICE_MSG_LIST:
		do_list(sessions);
		return;
	case NBH_ICE_MSG_OPEN:
		do_open(sessions, &m->u.open);
		break;
	case NBH_ICE_MSG_REMOTE:
	case NBH_ICE_MSG_CANDIDATE:
	case NBH_ICE_MSG_CLOSE:
	case NBH_ICE_MSG_SELECTED:
		do_for_session(sessions, m);
		break;
	case NBH_ICE_MSG_CLOSE_ALL:
		g_hash_table_remove_all(sessions->table);
		save_now(sessions); /* we may be stopped next */
		return;
	case NBH_ICE_MSG_OVERLAY: /* the port has it already */
		break;
	case NBH_ICE_MSG_SET_PORT:
	case NBH_ICE_MSG_STUN:
	case NBH_ICE_MSG_FORWARD:
	case NBH_ICE_MSG_HELLO:
	case NBH_ICE_MSG_SESSION:
	case NBH_ICE_MSG_END:
	case NBH_ICE_MSG_FAILED:
	case NBH_ICE_MSG_LOST:
	case NBH_ICE_MSG_HEARD:
	case NBH_ICE_MSG_MAPPED:
	case NBH_ICE_MSG_ERROR:
	case NBH_ICE_N_MSGS:
		return;
	}

	save_soon(sessions);
}

NbhSessions *nbh_sessions_new(int dirfd, NbhPort *port, const NbhAgentWorld *world, NbhSessionsSay say,
                              gpointer owner)
{
	NbhSessions *sessions = g_new0(NbhSessions, 1);

	sessions->dirfd = dirfd;
	sessions->port = port;
	sessions->world = *world;
	sessions->say = say;
	sessions->owner = owner;
	sessions->table = g_hash_table_new_full(nbh_key_hash, nbh_key_hash_equal, NULL, session_free);
	return sessions;
}

void nbh_sessions_free(NbhSessions *sessions)
{
	if (!sessions)
		return;

	if (sessions->saving)
		save_now(sessions);

	drop_source(&sessions->liveness);
	g_hash_table_unref(sessions->table);
	g_free(sessions);
}
