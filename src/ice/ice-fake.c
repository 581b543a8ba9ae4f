#include "config.h"

#include "ice/ice-fake.h"

#include "ice/proto.h"
#include "loop/source.h"

#include <string.h>

typedef struct {
	NbhIceSession s; /* s.peer is the key in the table */
	NbhCandidateSet candidates;
} FakeSession;

/*
 * Events are messages, as they would come over ice.sock. The listing of a restarted link is one
 * event: made of what there is when it is delivered. `NBH_ICE_MSG_ERROR` stands for on_down.
 */
struct _NbhIce {
	NbhIceEvents events;
	gpointer owner;
	GHashTable *sessions; /* nbh_key -> FakeSession, owned */
	GQueue queue;         /* NbhIceMessage, owned */
	GSource *idle;        /* owned; while the queue holds something */
	gboolean *freed;      /* set while an event is delivered */
	gboolean up;
	struct nbh_endpoint mapped, forwarded_to;
	struct nbh_prefix overlay[2]; /* family 0: none */
	guint n_forwards;
};

/* The sessions of a process outlive its client; here, too: DIR -> GHashTable of FakeSession. */
static GHashTable *stores;
static GPtrArray *fakes; /* NbhIce, borrowed */

static void deliver_listing(NbhIce *ice)
{
	GHashTableIter iter;
	gpointer value;
	gboolean freed = FALSE;

	ice->freed = &freed;
	g_hash_table_iter_init(&iter, ice->sessions);

	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		NbhIceSession copy = ((FakeSession *)value)->s;

		ice->events.on_session(ice, &copy, ice->owner);

		if (freed)
			return;
	}

	ice->freed = NULL;
	ice->up = TRUE;
	ice->events.on_ready(ice, "user-namespace", ice->owner);
}

static void deliver(NbhIce *ice, const NbhIceMessage *m)
{
	const struct nbh_endpoint *mapped = &m->u.mapped.mapped;

	switch ((int)m->verb) {
	case NBH_ICE_MSG_LIST:
		deliver_listing(ice);
		break;
	case NBH_ICE_MSG_ERROR:
		ice->events.on_down(ice, m->u.text, ice->owner);
		break;
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
	}
}

/* One event per turn, so that free() inside one leaves nothing to look after. */
static gboolean on_idle(gpointer data)
{
	NbhIce *ice = data;
	g_autofree NbhIceMessage *m = g_queue_pop_head(&ice->queue);

	if (g_queue_is_empty(&ice->queue))
		nbh_source_drop(&ice->idle);

	deliver(ice, m);
	return G_SOURCE_CONTINUE;
}

static NbhIceMessage *post(NbhIce *ice, NbhIceVerb verb, const struct nbh_key *peer)
{
	NbhIceMessage *m = g_new0(NbhIceMessage, 1);

	m->verb = verb;

	if (peer)
		m->peer = *peer;

	g_queue_push_tail(&ice->queue, m);

	if (!ice->idle) {
		ice->idle = g_idle_source_new();
		g_source_set_priority(ice->idle, G_PRIORITY_DEFAULT);
		g_source_set_callback(ice->idle, on_idle, ice, NULL);
		g_source_attach(ice->idle, g_main_context_get_thread_default());
	}

	return m;
}

static gboolean same_creds(const NbhIceCreds *a, const NbhIceCreds *b)
{
	return g_str_equal(a->ufrag, b->ufrag) && g_str_equal(a->pwd, b->pwd);
}

static gboolean may_select(const FakeSession *session)
{
	return session->s.remote.ufrag[0] && session->candidates.n;
}

static void select_pair(NbhIce *ice, FakeSession *session, const FakeSession *far)
{
	const NbhCandidate *local = &far->candidates.items[0], *remote = &session->candidates.items[0];
	NbhIcePair pair = { local->type, remote->type, local->endpoint, remote->endpoint };

	if (session->s.selected)
		return;

	post(ice, NBH_ICE_MSG_HEARD, &session->s.peer)->u.heard = pair.remote;
	session->s.selected = TRUE;
	session->s.pair = pair;
	post(ice, NBH_ICE_MSG_SELECTED, &session->s.peer)->u.pair = pair;
}

static FakeSession *find_far(NbhIce *ice, const FakeSession *session)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, ice->sessions);

	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		FakeSession *far = value;

		if (far != session && same_creds(&far->s.local, &session->s.remote) &&
		    same_creds(&far->s.remote, &session->s.local) && may_select(far))
			return far;
	}

	return NULL;
}

static void try_select(NbhIce *ice, FakeSession *session)
{
	if (!may_select(session))
		return;

	for (guint i = 0; i < fakes->len; i++) {
		NbhIce *other = g_ptr_array_index(fakes, i);
		FakeSession *far = find_far(other, session);

		if (!far)
			continue;

		select_pair(ice, session, far);
		select_pair(other, far, session);
	}
}

static FakeSession *find(NbhIce *ice, const struct nbh_key *peer)
{
	return g_hash_table_lookup(ice->sessions, peer);
}

static NbhIce *fake_open(const char *dir, const NbhIceEvents *events, gpointer owner,
                         GError **error G_GNUC_UNUSED)
{
	NbhIce *ice = g_new0(NbhIce, 1);

	if (!fakes) {
		fakes = g_ptr_array_new();
		stores = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
		                               (GDestroyNotify)g_hash_table_unref);
	}

	ice->events = *events;
	ice->owner = owner;
	ice->sessions = g_hash_table_lookup(stores, dir);

	if (!ice->sessions) {
		ice->sessions = g_hash_table_new_full(nbh_key_hash, nbh_key_hash_equal, NULL, g_free);
		g_hash_table_insert(stores, g_strdup(dir), ice->sessions);
	}

	g_queue_init(&ice->queue);
	g_ptr_array_add(fakes, ice);
	post(ice, NBH_ICE_MSG_LIST, NULL);
	return ice;
}

static void fake_set_port(NbhIce *ice, guint16 port)
{
	(void)ice;
	(void)port;
}

static void fake_set_overlay(NbhIce *ice, const struct nbh_prefix *v4, const struct nbh_prefix *v6)
{
	ice->overlay[0] = *v4;
	ice->overlay[1] = *v6;
}

static void fake_session_open(NbhIce *ice, const NbhIceOpen *open)
{
	FakeSession *session;

	if (!ice->up)
		return;

	session = g_new0(FakeSession, 1);
	session->s.peer = open->peer;
	session->s.local = open->local;
	session->s.local_session = open->local_session;
	session->s.controlling = open->controlling;
	g_hash_table_replace(ice->sessions, &session->s.peer, session);
}

static void fake_session_remote(NbhIce *ice, const struct nbh_key *peer, const NbhIceCreds *creds,
                                const NbhSessionId *remote_session)
{
	FakeSession *session = find(ice, peer);

	if (!ice->up || !session)
		return;

	session->s.remote = *creds;

	if (remote_session)
		session->s.remote_session = *remote_session;

	try_select(ice, session);
}

static void fake_session_candidate(NbhIce *ice, const struct nbh_key *peer, const NbhCandidate *candidate)
{
	FakeSession *session = find(ice, peer);

	if (nbh_prefixes_contain(ice->overlay, G_N_ELEMENTS(ice->overlay), &candidate->endpoint.addr))
		return;

	if (ice->up && session && nbh_candidate_set_add(&session->candidates, candidate))
		try_select(ice, session);
}

static void fake_session_close(NbhIce *ice, const struct nbh_key *peer)
{
	if (ice->up)
		g_hash_table_remove(ice->sessions, peer);
}

static void fake_close_all(NbhIce *ice)
{
	if (ice->up)
		g_hash_table_remove_all(ice->sessions);
}

static void fake_stun_query(NbhIce *ice, const struct nbh_endpoint *server)
{
	NbhIceMessage *m;

	if (!ice->up)
		return;

	m = post(ice, NBH_ICE_MSG_MAPPED, NULL);
	m->u.mapped.server = *server;
	m->u.mapped.mapped = ice->mapped;
}

static void fake_forward(NbhIce *ice, const struct nbh_endpoint *to, const guint8 *data G_GNUC_UNUSED,
                         gsize len)
{
	if (!ice->up || len != NBH_ICE_INITIATION_LEN)
		return;

	ice->n_forwards++;
	ice->forwarded_to = *to;
}

static void fake_free(NbhIce *ice)
{
	if (!ice)
		return;

	if (ice->freed)
		*ice->freed = TRUE;

	nbh_source_drop(&ice->idle);
	g_queue_clear_full(&ice->queue, g_free);
	g_ptr_array_remove(fakes, ice);
	g_free(ice);

	if (!fakes->len) { /* the end of a test: nothing is left for the next one */
		g_clear_pointer(&fakes, g_ptr_array_unref);
		g_clear_pointer(&stores, g_hash_table_unref);
	}
}

void nbh_ice_fake_set_mapped(NbhIce *ice, const struct nbh_endpoint *mapped)
{
	static const struct nbh_endpoint none;

	ice->mapped = mapped ? *mapped : none;
}

void nbh_ice_fake_fail(NbhIce *ice, const struct nbh_key *peer)
{
	if (find(ice, peer))
		post(ice, NBH_ICE_MSG_FAILED, peer);
}

void nbh_ice_fake_lose(NbhIce *ice, const struct nbh_key *peer)
{
	FakeSession *session = find(ice, peer);

	if (!session)
		return;

	session->s.selected = FALSE;
	post(ice, NBH_ICE_MSG_LOST, peer);
}

void nbh_ice_fake_down(NbhIce *ice, gboolean forget)
{
	NbhIceMessage *m;

	ice->up = FALSE;
	g_queue_clear_full(&ice->queue, g_free);

	if (forget)
		g_hash_table_remove_all(ice->sessions);

	m = post(ice, NBH_ICE_MSG_ERROR, NULL);
	g_strlcpy(m->u.text, "the fake was taken down", sizeof(m->u.text));
}

void nbh_ice_fake_up(NbhIce *ice)
{
	post(ice, NBH_ICE_MSG_LIST, NULL);
}

const NbhIceSession *nbh_ice_fake_session(NbhIce *ice, const struct nbh_key *peer)
{
	FakeSession *session = find(ice, peer);

	return session ? &session->s : NULL;
}

guint nbh_ice_fake_n_candidates(NbhIce *ice, const struct nbh_key *peer)
{
	FakeSession *session = find(ice, peer);

	return session ? (guint)session->candidates.n : 0;
}

guint nbh_ice_fake_n_forwards(NbhIce *ice, struct nbh_endpoint *ret_to)
{
	if (ret_to && ice->n_forwards)
		*ret_to = ice->forwarded_to;

	return ice->n_forwards;
}

const NbhIceBackend nbh_ice_fake = {
	.name = "fake",
	.open = fake_open,
	.set_port = fake_set_port,
	.set_overlay = fake_set_overlay,
	.session_open = fake_session_open,
	.session_remote = fake_session_remote,
	.session_candidate = fake_session_candidate,
	.session_close = fake_session_close,
	.close_all = fake_close_all,
	.stun_query = fake_stun_query,
	.forward = fake_forward,
	.free = fake_free,
};
