#include "config.h"

#include "ice/query.h"

#include "loop/source.h"
#include "wire/stun.h"

#include <string.h>
#include <sys/random.h>

#define TRY_MS 3000
#define TRIES 3

typedef struct {
	NbhQueries *queries; /* borrowed */
	struct nbh_endpoint server;
	guint8 txid[NBH_STUN_TXID_LEN];
	guint tries;
	GSource *timer; /* owned */
} Query;

struct _NbhQueries {
	NbhQueryIo io;
	gpointer owner;
	GPtrArray *open; /* Query, owned */
};

static void query_free(gpointer data)
{
	Query *query = data;

	nbh_source_drop(&query->timer);
	g_free(query);
}

NbhQueries *nbh_queries_new(const NbhQueryIo *io, gpointer owner)
{
	NbhQueries *queries = g_new0(NbhQueries, 1);

	queries->io = *io;
	queries->owner = owner;
	queries->open = g_ptr_array_new_with_free_func(query_free);
	return queries;
}

void nbh_queries_free(NbhQueries *queries)
{
	if (!queries)
		return;

	g_ptr_array_unref(queries->open);
	g_free(queries);
}

static void finish(Query *query, const struct nbh_endpoint *mapped)
{
	NbhQueries *queries = query->queries;
	struct nbh_endpoint server = query->server;

	g_ptr_array_remove_fast(queries->open, query);
	queries->io.on_mapped(&server, mapped, queries->owner);
}

static void try_once(Query *query)
{
	guint8 request[64];
	gsize len = nbh_stun_make_request(request, query->txid);

	query->tries++;
	query->queries->io.send(&query->server, request, len, query->queries->owner);
}

static gboolean on_timer(gpointer data)
{
	Query *query = data;

	if (query->tries >= TRIES) {
		finish(query, NULL);
		return G_SOURCE_REMOVE;
	}

	try_once(query);
	return G_SOURCE_CONTINUE;
}

gboolean nbh_queries_ask(NbhQueries *queries, const struct nbh_endpoint *server)
{
	Query *query;

	for (guint i = 0; i < queries->open->len; i++) {
		query = g_ptr_array_index(queries->open, i);

		if (nbh_endpoint_equal(&query->server, server))
			return TRUE;
	}

	/* One line may have several addresses: v4 and v6. */
	if (queries->open->len >= 2 * NBH_STUN_SERVERS_MAX)
		return FALSE;

	query = g_new0(Query, 1);
	query->queries = queries;
	query->server = *server;

	/* Guessing it is all that stands between a stranger and our mapped address. */
	if (getrandom(query->txid, sizeof(query->txid), 0) != sizeof(query->txid)) {
		g_free(query);
		return FALSE;
	}

	query->timer = g_timeout_source_new(TRY_MS);
	g_source_set_callback(query->timer, on_timer, query, NULL);
	g_source_attach(query->timer, g_main_context_get_thread_default());
	g_ptr_array_add(queries->open, query);
	try_once(query);
	return TRUE;
}

gboolean nbh_queries_take(NbhQueries *queries, const struct nbh_endpoint *from, const guint8 *payload,
                          gsize len)
{
	for (guint i = 0; i < queries->open->len; i++) {
		Query *query = g_ptr_array_index(queries->open, i);
		struct nbh_endpoint mapped;

		if (memcmp(query->txid, nbh_stun_txid(payload), NBH_STUN_TXID_LEN) != 0)
			continue;

		if (nbh_endpoint_equal(&query->server, from) && nbh_stun_class(payload) == NBH_STUN_SUCCESS &&
		    nbh_stun_mapped_address(payload, len, &mapped))
			finish(query, &mapped);

		return TRUE;
	}

	return FALSE;
}
