#include "config.h"

#include "signal/sendline.h"

#include "base/limits.h"
#include "wire/signalmsg.h"

#define SEND_METHOD "/signalexchange.SignalExchange/Send"
#define SEND_MS 10000 /* official clients: netbird-wire.md 3.2 */
#define TURN_BATCHES 32 /* sealed in one turn of the loop: 2 ms, then others may have their turn */

typedef struct _Peer Peer;

typedef struct {
	NbhSendline *line; /* borrowed */
	Peer *peer;        /* borrowed; NULL: refused or dropped, only done is left */
	GPtrArray *bodies; /* GBytes, owned */
	guint n_left;
	gboolean ok;
	NbhSendlineDone done;
	gpointer data;
	GList peer_link, waiting_link;
} Batch;

struct _Peer {
	struct nbh_key key;
	GQueue batches;   /* Batch, owned, waiting */
	Batch *current;   /* owned; NULL: none under way */
	GList ready_link; /* in line->ready */
	gboolean is_ready;
};

struct _NbhSendline {
	NbhGrpcChannel *channel; /* borrowed */
	const struct nbh_key *own_private, *own_public; /* borrowed */
	gpointer owner;
	NbhGrpcReply on_sent; /* closes the circle sent -> next -> sent */
	GSourceFunc on_turn;  /* and this one pump -> turn -> pump */
	GHashTable *peers;    /* nbh_key -> Peer, owned: those that have batches */
	GQueue ready;         /* Peer: has batches, none under way */
	GQueue waiting;       /* Batch, oldest first */
	GQueue refused;       /* Batch, owned: done(FALSE) is due */
	guint n_waiting, n_in_flight; /* messages */
	guint n_this_turn; /* batches started */
	guint refused_id, turn_id;
};

static void batch_free(Batch *batch)
{
	g_ptr_array_unref(batch->bodies);
	g_free(batch);
}

static void peer_free(gpointer data)
{
	Peer *peer = data;
	GList *link;

	while ((link = g_queue_pop_head_link(&peer->batches)))
		batch_free(link->data);
	if (peer->current)
		batch_free(peer->current);
	g_free(peer);
}

static void line_unref(NbhSendline *line)
{
	g_rc_box_release(line);
}

static gboolean on_refused(gpointer data)
{
	NbhSendline *line = data;
	GList *link;

	line->refused_id = 0;
	g_rc_box_acquire(line);
	while ((link = g_queue_pop_head_link(&line->refused))) {
		Batch *batch = link->data;

		if (batch->done)
			batch->done(FALSE, batch->data, line->owner);
		batch_free(batch);
	}
	line_unref(line);
	return G_SOURCE_REMOVE;
}

/* Takes the batch, which is in no list. */
static void refuse(NbhSendline *line, Batch *batch)
{
	g_queue_push_tail_link(&line->refused, &batch->peer_link);
	if (!line->refused_id)
		line->refused_id = g_idle_add_full(G_PRIORITY_DEFAULT, on_refused, line, NULL);
}

static Batch *batch_new(NbhSendline *line, GPtrArray *bodies, NbhSendlineDone done, gpointer data)
{
	Batch *batch = g_new0(Batch, 1);

	batch->line = line;
	batch->bodies = bodies;
	batch->done = done;
	batch->data = data;
	batch->ok = TRUE;
	batch->peer_link.data = batch;
	batch->waiting_link.data = batch;
	return batch;
}

static Peer *peer_get(NbhSendline *line, const struct nbh_key *key)
{
	Peer *peer = g_hash_table_lookup(line->peers, key);

	if (peer)
		return peer;
	peer = g_new0(Peer, 1);
	peer->key = *key;
	peer->ready_link.data = peer;
	g_hash_table_insert(line->peers, &peer->key, peer);
	return peer;
}

/* After any change: in `ready` exactly when a batch could start; forgotten when it has none. */
static void peer_settle(NbhSendline *line, Peer *peer)
{
	gboolean is_ready = !peer->current && peer->batches.length > 0;

	if (is_ready && !peer->is_ready)
		g_queue_push_tail_link(&line->ready, &peer->ready_link);
	else if (!is_ready && peer->is_ready)
		g_queue_unlink(&line->ready, &peer->ready_link);
	peer->is_ready = is_ready;
	if (!peer->current && !is_ready)
		g_hash_table_remove(line->peers, &peer->key);
}

/* Takes a batch out of the line. The caller settles its peer. */
static Batch *take_waiting(NbhSendline *line, Batch *batch)
{
	g_queue_unlink(&line->waiting, &batch->waiting_link);
	g_queue_unlink(&batch->peer->batches, &batch->peer_link);
	line->n_waiting -= batch->bodies->len;
	return batch;
}

/* NULL: the key of this peer cannot be sealed for. */
static GPtrArray *seal_all(const NbhSendline *line, const struct nbh_key *to, const GPtrArray *bodies)
{
	g_autoptr(GPtrArray) sealed = g_ptr_array_new_full(bodies->len, (GDestroyNotify)g_bytes_unref);

	for (guint i = 0; i < bodies->len; i++) {
		GBytes *one = nbh_signal_seal_body(line->own_private, line->own_public, to, bodies->pdata[i]);

		if (!one)
			return NULL;
		g_ptr_array_add(sealed, one);
	}
	return g_steal_pointer(&sealed);
}

static void start_next(NbhSendline *line, Peer *peer)
{
	Batch *batch = take_waiting(line, peer->batches.head->data);
	g_autoptr(GPtrArray) sealed = seal_all(line, &peer->key, batch->bodies);

	if (!sealed) {
		peer_settle(line, peer);
		refuse(line, batch);
		return;
	}
	peer->current = batch;
	peer_settle(line, peer);
	batch->n_left = sealed->len;
	line->n_in_flight += batch->n_left;
	for (guint i = 0; i < sealed->len; i++)
		nbh_grpc_unary(line->channel, SEND_METHOD, sealed->pdata[i], SEND_MS, line->on_sent, batch);
}

static void pump(NbhSendline *line)
{
	while (line->ready.head && line->n_in_flight < NBH_SIGNAL_SENDS_MAX && line->n_this_turn < TURN_BATCHES) {
		line->n_this_turn++;
		start_next(line, line->ready.head->data);
	}
	if (!line->turn_id && line->n_this_turn > 0)
		line->turn_id = g_idle_add_full(G_PRIORITY_DEFAULT, line->on_turn, line, NULL);
}

static gboolean on_turn(gpointer data)
{
	NbhSendline *line = data;

	line->turn_id = 0;
	line->n_this_turn = 0;
	pump(line);
	return G_SOURCE_REMOVE;
}


static void batch_returned(NbhSendline *line, Batch *batch)
{
	g_rc_box_acquire(line);
	batch->peer->current = NULL;
	peer_settle(line, batch->peer);
	pump(line);
	if (batch->done)
		batch->done(batch->ok, batch->data, line->owner);
	batch_free(batch);
	line_unref(line);
}

static void on_sent(int status, const char *message, GBytes *reply, gpointer data)
{
	Batch *batch = data;

	(void)message;
	(void)reply;
	batch->ok = batch->ok && status == NBH_GRPC_OK;
	batch->line->n_in_flight--;
	batch->n_left--;
	if (batch->n_left == 0)
		batch_returned(batch->line, batch);
}

static void on_beside_sent(int status, const char *message, GBytes *reply, gpointer data)
{
	NbhSendline *line = data;

	(void)status;
	(void)message;
	(void)reply;
	line->n_in_flight--;
	pump(line);
}

NbhSendline *nbh_sendline_new(NbhGrpcChannel *channel, const struct nbh_key *own_private,
                              const struct nbh_key *own_public, gpointer owner)
{
	NbhSendline *line = g_rc_box_new0(NbhSendline);

	line->channel = channel;
	line->own_private = own_private;
	line->own_public = own_public;
	line->owner = owner;
	line->on_sent = on_sent;
	line->on_turn = on_turn;
	line->peers = g_hash_table_new_full(nbh_key_hash, nbh_key_hash_equal, NULL, peer_free);
	return line;
}

void nbh_sendline_add(NbhSendline *line, const struct nbh_key *to, GPtrArray *bodies,
                      NbhSendlineDone done, gpointer data)
{
	Batch *batch = batch_new(line, bodies, done, data);

	batch->peer = peer_get(line, to);
	g_queue_push_tail_link(&batch->peer->batches, &batch->peer_link);
	g_queue_push_tail_link(&line->waiting, &batch->waiting_link);
	line->n_waiting += bodies->len;
	peer_settle(line, batch->peer);
	pump(line);
	while (line->n_waiting > NBH_SIGNAL_QUEUE_MAX) {
		Batch *oldest = take_waiting(line, line->waiting.head->data);

		peer_settle(line, oldest->peer);
		refuse(line, oldest);
	}
}

void nbh_sendline_add_beside(NbhSendline *line, const struct nbh_key *to, GPtrArray *bodies)
{
	g_autoptr(GPtrArray) sealed = NULL;

	if (line->n_in_flight >= NBH_SIGNAL_SENDS_MAX) {
		nbh_sendline_add(line, to, bodies, NULL, NULL);
		return;
	}
	sealed = seal_all(line, to, bodies);
	g_ptr_array_unref(bodies);
	if (!sealed)
		return;
	line->n_in_flight += sealed->len;
	for (guint i = 0; i < sealed->len; i++)
		nbh_grpc_unary(line->channel, SEND_METHOD, sealed->pdata[i], SEND_MS, on_beside_sent, line);
}

void nbh_sendline_refuse(NbhSendline *line, NbhSendlineDone done, gpointer data)
{
	refuse(line, batch_new(line, g_ptr_array_new(), done, data));
}

void nbh_sendline_free(NbhSendline *line)
{
	GList *link;

	if (!line)
		return;
	if (line->refused_id)
		g_source_remove(line->refused_id);
	line->refused_id = 0;
	if (line->turn_id)
		g_source_remove(line->turn_id);
	while ((link = g_queue_pop_head_link(&line->refused)))
		batch_free(link->data);
	g_hash_table_unref(line->peers);
	line_unref(line);
}
