#include "config.h"

#include "ice/sessions.h"

#include "base/log.h"
#include "ice/store.h"
#include "loop/source.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#define MODULE "ice"
/*
 * libnice is still looking for a better pair 7 s after the last candidate came, and so is the peer's:
 * its last checks should meet an agent.
 */
#define SETTLE_MS 10000
#define LOOK_EARLY_MS 2500 /* two packets of a peer that checks every 2 s, and nothing is due for 6 s */
#define LOOK_SLACK_MS 250 /* sessions that are due about the same time are seen to together */
#define SAVE_DELAY_MS 20 /* between two; what belongs to one change comes at once */
#define SAVE_RETRY_MS 2000 /* a full disk heals by itself */

typedef struct {
	NbhSessions *sessions; /* borrowed */
	NbhIceOpen open;       /* open.peer is the key in the table */
	NbhIceCreds remote;
	NbhSessionId remote_session;
	gboolean selected;
	NbhIcePair pair;
	guint32 opening; /* proto.h */
	gint64 since;   /* silence is counted from here, or from the last packet */
	gint64 changed; /* the last time that its agent had something to do */
	guint16 q;
	gboolean is_again; /* its agent is not the first one of this pair */
	NbhAgent *agent;   /* owned; NULL: settled */
	NbhCandidate *kept; /* owned; while settled, its candidates */
	gsize n_kept;
} Session;

struct _NbhSessions {
	int dirfd;
	NbhPort *port; /* borrowed */
	NbhAgentWorld world;
	NbhSessionsSay say;
	gpointer owner;
	GHashTable *table; /* nbh_key -> Session, owned */
	guint32 n_opens;   /* since LIST */
	GSource *look;   /* owned; ready when a session may be lost or settle */
	gint64 looked_usec;
	GSource *saving; /* owned; NULL while there is nothing to do */
	gint64 saved_usec;
	guint n_unsaved; /* failures in a row */
};

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

/* News of one session. */
static NbhIceMessage news_of(const Session *session, NbhIceVerb verb)
{
	return (NbhIceMessage){
		.verb = verb,
		.peer = session->open.peer,
		.has_opening = TRUE,
		.opening = session->opening,
	};
}

/* ---- ice/sessions -------------------------------------------------------------------------- */

static const NbhCandidate *candidates_of(const Session *session, gsize *ret_n)
{
	const NbhCandidateSet *set;

	if (!session->agent) {
		*ret_n = session->n_kept;
		return session->kept;
	}

	set = nbh_agent_candidates(session->agent);
	*ret_n = set->n;
	return set->items;
}

static void save_session(NbhStoreDraft *draft, const Session *session)
{
	gsize n;
	const NbhCandidate *candidates = candidates_of(session, &n);
	NbhIceMessage m = { .verb = NBH_ICE_MSG_OPEN, .peer = session->open.peer, .u.open = session->open };

	nbh_store_add(draft, &m);

	if (session->remote.ufrag[0]) {
		m.verb = NBH_ICE_MSG_REMOTE;
		m.u.remote.creds = session->remote;
		m.u.remote.session = session->remote_session;
		nbh_store_add(draft, &m);
	}

	for (gsize i = 0; i < n; i++) {
		m.verb = NBH_ICE_MSG_CANDIDATE;
		m.u.candidate = candidates[i];
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

	nbh_source_drop(&sessions->saving);
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
		nbh_source_drop(&sessions->saving);

	attach_timer(&sessions->saving, since_ms >= SAVE_DELAY_MS ? 0 : (guint)(SAVE_DELAY_MS - since_ms), on_save,
	             sessions);
}

/* ---- lost, settled ------------------------------------------------------------------------- */

static gint64 last_heard(const Session *session)
{
	return MAX(session->since, nbh_port_last_heard(session->sessions->port, session->q));
}

static void look_at(NbhSessions *sessions, gint64 when)
{
	gint64 ready = g_source_get_ready_time(sessions->look);

	if (ready < 0 || when < ready)
		g_source_set_ready_time(sessions->look, when);
}

static void touch(Session *session)
{
	session->changed = g_get_monotonic_time();

	if (session->selected)
		look_at(session->sessions, session->changed + SETTLE_MS * 1000);
}

/* When it has to be looked at again; G_MAXINT64: not by time. */
static gint64 watch(Session *session, gint64 now)
{
	gint64 heard = last_heard(session), lost_at = heard + (gint64)session->open.liveness_ms * 1000;
	NbhIceMessage m;
	char name[9];

	if (!session->selected || !session->open.liveness_ms)
		return G_MAXINT64;

	if (now < lost_at)
		return lost_at;

	m = news_of(session, NBH_ICE_MSG_LOST);
	session->selected = FALSE;
	nbh_log(NBH_LOG_NOTICE, MODULE, "lost peer=%s silent_ms=%" G_GINT64_FORMAT,
	        short_name(&session->open.peer, name), (now - heard) / 1000);
	session->sessions->say(&m, session->sessions->owner);
	save_soon(session->sessions);
	return G_MAXINT64;
}

static void wake(gpointer data);

/* When it will; G_MAXINT64: it has, or cannot. */
static gint64 settle(Session *session, gint64 now)
{
	NbhPortSettled settled = { .controlling = session->open.controlling, .selected = session->pair.remote,
		                   .wanted = wake, .owner = session };
	const NbhCandidate *candidates;
	char name[9];

	if (!session->selected || !session->remote.ufrag[0] || !session->agent)
		return G_MAXINT64;

	if (now < session->changed + SETTLE_MS * 1000)
		return session->changed + SETTLE_MS * 1000;

	candidates = candidates_of(session, &session->n_kept);
	session->kept = g_memdup2(candidates, session->n_kept * sizeof(*candidates));
	nbh_agent_settle(session->agent, &settled);
	session->agent = NULL;
	nbh_log(NBH_LOG_DEBUG, MODULE, "settled peer=%s", short_name(&session->open.peer, name));
	return G_MAXINT64;
}

static gboolean on_look(gpointer data)
{
	NbhSessions *sessions = data;
	gint64 now = g_get_monotonic_time(), next = G_MAXINT64, next_settle = G_MAXINT64;
	gboolean any_settled = FALSE;
	GHashTableIter iter;
	gpointer value;

	sessions->looked_usec = now;
	g_source_set_ready_time(sessions->look, -1); /* nbh_sessions_awake() calls, too */
	g_hash_table_iter_init(&iter, sessions->table);

	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Session *session = value;
		gboolean had_agent = session->agent != NULL;

		next = MIN(next, watch(session, now));
		next_settle = MIN(next_settle, settle(session, now));
		any_settled |= had_agent && !session->agent;
	}

	next = MIN(next, next_settle);

	if (next != G_MAXINT64)
		g_source_set_ready_time(sessions->look, MAX(next, now + LOOK_SLACK_MS * 1000));

	/* The agents of a hundred peers had more than the rest of this process. */
	if (any_settled && next_settle == G_MAXINT64)
		malloc_trim(0);

	return G_SOURCE_CONTINUE;
}

void nbh_sessions_awake(NbhSessions *sessions)
{
	gint64 ready = g_source_get_ready_time(sessions->look), now = g_get_monotonic_time();

	/* One peer is silent and thousands are not: each of their packets would look at all of them. */
	if (ready >= 0 && ready < now + LOOK_EARLY_MS * 1000 && now >= sessions->looked_usec + LOOK_SLACK_MS * 1000)
		on_look(sessions);
}

/* ---- what agents tell ---------------------------------------------------------------------- */

static void set_selected(Session *session, const NbhIcePair *pair)
{
	session->selected = TRUE;
	session->pair = *pair;
	session->since = g_get_monotonic_time();

	if (session->open.liveness_ms)
		look_at(session->sessions, session->since + (gint64)session->open.liveness_ms * 1000);

	touch(session);
	save_soon(session->sessions);
}

static void on_selected(NbhAgent *agent G_GNUC_UNUSED, const NbhIcePair *pair, gpointer owner)
{
	Session *session = owner;
	NbhIceMessage m = news_of(session, NBH_ICE_MSG_SELECTED);
	char name[9], local[NBH_ENDPOINT_TEXT_MAX], remote[NBH_ENDPOINT_TEXT_MAX];

	/* The pair in use, found again: nobody needs to hear of it. */
	if (session->is_again && session->selected && nbh_endpoint_equal(&pair->remote, &session->pair.remote)) {
		touch(session);
		return;
	}

	m.u.pair = *pair;
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
	NbhIceMessage m = news_of(session, NBH_ICE_MSG_FAILED);
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
	NbhIceMessage m = news_of(session, NBH_ICE_MSG_HEARD);

	m.u.heard = *from;

	if (!session->selected)
		session->sessions->say(&m, session->sessions->owner);
}

static const NbhAgentEvents agent_events = { on_selected, on_failed, on_heard };

/* FALSE: it has none, and why was said. q 0: its first. */
static gboolean open_agent(Session *session)
{
	NbhSessions *sessions = session->sessions;
	g_autoptr(GError) error = NULL;
	char name[9];

	session->agent = nbh_agent_new(sessions->port, session->q, &sessions->world, &session->open, &agent_events, session,
	                               &error);

	if (!session->agent) {
		g_autofree char *text = g_strdup_printf("OPEN %s: %s", short_name(&session->open.peer, name),
		                                        error->message);

		say_error(sessions, text);
		return FALSE;
	}

	session->q = nbh_agent_q(session->agent);
	touch(session);
	return TRUE;
}

/* A settled session gets its agent back. */
static void wake(gpointer data)
{
	Session *session = data;
	g_autofree NbhCandidate *kept = NULL;
	char name[9];

	session->is_again = TRUE;

	if (!open_agent(session))
		return;

	nbh_log(NBH_LOG_DEBUG, MODULE, "unsettled peer=%s", short_name(&session->open.peer, name));
	kept = g_steal_pointer(&session->kept);
	nbh_agent_set_remote(session->agent, &session->remote);

	for (gsize i = 0; i < session->n_kept; i++)
		nbh_agent_add_candidate(session->agent, &kept[i]);
}

/* ---- commands ------------------------------------------------------------------------------ */

static void session_free(gpointer data)
{
	Session *session = data;

	if (session->agent)
		nbh_agent_free(session->agent);
	else if (session->q)
		nbh_port_remove(session->sessions->port, session->q);

	g_free(session->kept);
	g_free(session);
}

static void do_open(NbhSessions *sessions, const NbhIceOpen *open)
{
	Session *session;
	char name[9];

	/* First: the same credentials may come again, and the adaptor knows agents by them. */
	g_hash_table_remove(sessions->table, &open->peer);

	session = g_new0(Session, 1);
	session->sessions = sessions;
	session->open = *open;
	session->opening = ++sessions->n_opens; /* also of one that fails: the helper counts, too */

	if (!open_agent(session)) {
		session_free(session);
		return;
	}

	g_hash_table_insert(sessions->table, &session->open.peer, session);
	nbh_log(NBH_LOG_INFO, MODULE, "open peer=%s role=%s agent=%u", short_name(&open->peer, name),
	        open->controlling ? "controlling" : "controlled", session->q);
}

static void do_remote(Session *session, const NbhIceMessage *m)
{
	gboolean same = !strcmp(session->remote.ufrag, m->u.remote.creds.ufrag) &&
	                !strcmp(session->remote.pwd, m->u.remote.creds.pwd);

	session->remote_session = m->u.remote.session;

	if (!session->agent && same)
		return;

	session->remote = m->u.remote.creds;

	if (!session->agent)
		wake(session);
	else
		nbh_agent_set_remote(session->agent, &session->remote);

	touch(session);
}

static void do_candidate(Session *session, const NbhCandidate *candidate)
{
	NbhCandidateSet known = { .n = session->n_kept };

	if (!session->agent) {
		if (session->n_kept)
			memcpy(known.items, session->kept, session->n_kept * sizeof(*candidate));

		if (!nbh_candidate_set_add(&known, candidate))
			return;

		wake(session);
	}

	if (session->agent && nbh_agent_add_candidate(session->agent, candidate))
		touch(session);
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

	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		((Session *)value)->opening = 0;
		say_session(value);
	}

	sessions->n_opens = 0;
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
		do_candidate(session, &m->u.candidate);
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
	sessions->look = nbh_source_new_timer(on_look, sessions);
	return sessions;
}

void nbh_sessions_free(NbhSessions *sessions)
{
	if (!sessions)
		return;

	if (sessions->saving)
		save_now(sessions);

	nbh_source_drop(&sessions->look);
	g_hash_table_unref(sessions->table);
	g_free(sessions);
}
