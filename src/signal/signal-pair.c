#include "config.h"

#include "signal/signal-pair.h"

#include "base/limits.h"

/*
 * The test backend: clients of one process, found by key. Messages are really sealed and opened, so
 * that whatever does not survive the encoding does not survive here either.
 */

struct _NbhSignal {
	const NbhSignalEvents *events;
	gpointer owner;
	gboolean (*is_known)(const struct nbh_key *key, gpointer owner);
	struct nbh_key own_private, own_public;
	gboolean is_up; /* as told by on_link */
};

typedef struct {
	struct nbh_key from, to;
	GBytes *sealed; /* owned; NULL: this is news for the sender */
	gboolean ok;
	void (*done)(gboolean ok, gpointer data, gpointer owner);
	gpointer data;
} Item;

/* All clients meet here, as at a server. Test code only, so globals are good enough. */
static GHashTable *clients; /* own_public -> NbhSignal, borrowed */
static GQueue items = G_QUEUE_INIT; /* Item, owned: due */
static GQueue held = G_QUEUE_INIT;  /* Item, owned */
static NbhSignalPairFilter filter;
static gpointer filter_data;
static gboolean is_down;
static guint turn_id;

static void item_free(gpointer data)
{
	Item *item = data;

	g_clear_pointer(&item->sealed, g_bytes_unref);
	g_free(item);
}

static NbhSignal *find(const struct nbh_key *key)
{
	return clients ? g_hash_table_lookup(clients, key) : NULL;
}

static void deliver(const Item *item)
{
	NbhSignal *signal = find(item->sealed ? &item->to : &item->from);
	NbhSignalMessage message;
	struct nbh_key from;
	gsize len;
	const guint8 *data;

	if (!signal)
		return;
	if (!item->sealed) {
		if (item->done)
			item->done(item->ok, item->data, signal->owner);
		return;
	}
	data = g_bytes_get_data(item->sealed, &len);
	if (signal->is_up && signal->is_known(&item->from, signal->owner) &&
	    nbh_signal_open(&signal->own_private, data, len, &from, &message, NULL))
		signal->events->on_message(signal, &from, &message, signal->owner);
}

/* One client whose state is not that of the "server" any more, or NULL. */
static NbhSignal *find_unaware(void)
{
	GHashTableIter iter;
	gpointer signal;

	g_hash_table_iter_init(&iter, clients);
	while (g_hash_table_iter_next(&iter, NULL, &signal)) {
		if (((NbhSignal *)signal)->is_up == is_down)
			return signal;
	}
	return NULL;
}

static gboolean on_turn(gpointer unused)
{
	NbhSignal *signal;
	guint n = items.length;

	(void)unused;
	turn_id = 0;
	while (clients && (signal = find_unaware())) {
		signal->is_up = !is_down;
		signal->events->on_link(signal, signal->is_up, is_down ? "the test took it down" : "",
					signal->owner);
	}
	for (; n > 0 && !g_queue_is_empty(&items); n--) {
		Item *item = g_queue_pop_head(&items);

		deliver(item);
		item_free(item);
	}
	if (!g_queue_is_empty(&items) && !turn_id)
		turn_id = g_idle_add_full(G_PRIORITY_DEFAULT, on_turn, NULL, NULL);
	return G_SOURCE_REMOVE;
}

static void wake(void)
{
	if (!turn_id)
		turn_id = g_idle_add_full(G_PRIORITY_DEFAULT, on_turn, NULL, NULL);
}

static void post(GQueue *queue, const struct nbh_key *from, const struct nbh_key *to, GBytes *sealed)
{
	Item *item = g_new0(Item, 1);

	item->from = *from;
	item->to = *to;
	item->sealed = g_bytes_ref(sealed);
	g_queue_push_tail(queue, item);
}

void nbh_signal_pair_set_filter(NbhSignalPairFilter new_filter, gpointer data)
{
	filter = new_filter;
	filter_data = data;
}

void nbh_signal_pair_release(void)
{
	while (!g_queue_is_empty(&held))
		g_queue_push_tail(&items, g_queue_pop_head(&held));
	wake();
}

void nbh_signal_pair_set_up(gboolean up)
{
	is_down = !up;
	wake();
}

static NbhSignal *pair_open(const NbhSignalConfig *config, const NbhSignalEvents *events, gpointer owner, GError **error)
{
	NbhSignal *signal = g_new0(NbhSignal, 1);

	(void)error;
	signal->events = events;
	signal->owner = owner;
	signal->is_known = config->is_known;
	signal->own_private = config->own_private;
	nbh_key_public(&signal->own_private, &signal->own_public);
	if (!clients)
		clients = g_hash_table_new(nbh_key_hash, nbh_key_hash_equal);
	g_hash_table_replace(clients, &signal->own_public, signal);
	wake();
	return signal;
}

/* FALSE: the Send fails. */
static gboolean send_one(NbhSignal *signal, const struct nbh_key *to, const NbhSignalMessage *message)
{
	NbhSignalPairFate fate = NBH_SIGNAL_PAIR_DELIVER;
	g_autoptr(GBytes) sealed = NULL;

	sealed = nbh_signal_seal(&signal->own_private, &signal->own_public, to, message);
	if (!sealed || !signal->is_up)
		return FALSE;
	if (filter)
		fate = filter(&signal->own_public, to, message, filter_data);
	switch (fate) {
	case NBH_SIGNAL_PAIR_FAIL:
		return FALSE;
	case NBH_SIGNAL_PAIR_HOLD:
		post(&held, &signal->own_public, to, sealed);
		break;
	case NBH_SIGNAL_PAIR_REPEAT:
		post(&items, &signal->own_public, to, sealed);
		post(&items, &signal->own_public, to, sealed);
		break;
	case NBH_SIGNAL_PAIR_DELIVER:
		post(&items, &signal->own_public, to, sealed);
		break;
	case NBH_SIGNAL_PAIR_DROP:
		break;
	}
	return TRUE;
}

static void pair_send(NbhSignal *signal, const struct nbh_key *to, const NbhSignalMessage *messages, gsize n,
                      void (*done)(gboolean ok, gpointer data, gpointer owner), gpointer data)
{
	Item *item = g_new0(Item, 1);

	item->ok = n > 0;
	for (gsize i = 0; i < n; i++)
		item->ok = send_one(signal, to, &messages[i]) && item->ok;
	item->from = signal->own_public;
	item->done = done;
	item->data = data;
	g_queue_push_tail(&items, item);
	wake();
}

static void pair_send_beside(NbhSignal *signal, const struct nbh_key *to, const NbhSignalMessage *messages, gsize n)
{
	pair_send(signal, to, messages, n, NULL, NULL);
}

static gboolean pair_is_up(NbhSignal *signal)
{
	return signal->is_up;
}

static void pair_retry_now(NbhSignal *signal)
{
	(void)signal;
}

static void pair_network_changed(NbhSignal *signal)
{
	(void)signal;
}

static void forget(GQueue *queue, const struct nbh_key *key)
{
	GList *next;

	for (GList *link = queue->head; link; link = next) {
		Item *item = link->data;

		next = link->next;
		if (!nbh_key_equal(&item->from, key) && !nbh_key_equal(&item->to, key))
			continue;
		g_queue_delete_link(queue, link);
		item_free(item);
	}
}

static void pair_free(NbhSignal *signal)
{
	if (!signal)
		return;
	forget(&items, &signal->own_public);
	forget(&held, &signal->own_public);
	if (find(&signal->own_public) == signal)
		g_hash_table_remove(clients, &signal->own_public);
	if (g_hash_table_size(clients) == 0)
		g_clear_pointer(&clients, g_hash_table_unref);
	nbh_key_wipe(&signal->own_private);
	g_free(signal);
}

const NbhSignalBackend nbh_signal_pair = {
	.name = "pair",
	.open = pair_open,
	.send = pair_send,
	.send_beside = pair_send_beside,
	.is_up = pair_is_up,
	.retry_now = pair_retry_now,
	.network_changed = pair_network_changed,
	.free = pair_free,
};
