#include "config.h"

#include "hub/registry.h"

#include "base/log.h"

#include <string.h>

struct _NbhRegistry {
	NbhStore *store; /* borrowed */
	GPtrArray *peers;      /* NbhHubPeer, owned; by id */
	GHashTable *by_key;    /* nbh_key in the peer -> NbhHubPeer, borrowed from peers */
	GHashTable *seen;      /* NbhHubPeer whose last seen is not written yet, borrowed */
	guint64 generation, serial;
	const NbhRegistryEvents *events; /* NULL: nobody listens */
	gpointer owner;
};

static gint64 now_s(void)
{
	return g_get_real_time() / G_USEC_PER_SEC;
}

static void log_error(const char *event, const GError *error)
{
	nbh_log(NBH_LOG_ERROR, "registry", "%s: %s", event, error ? error->message : "unknown");
}

static void index_peers(NbhRegistry *registry)
{
	g_hash_table_remove_all(registry->by_key);
	for (guint i = 0; i < registry->peers->len; i++) {
		NbhHubPeer *peer = registry->peers->pdata[i];

		g_hash_table_insert(registry->by_key, &peer->key, peer);
	}
}

static void changed(NbhRegistry *registry)
{
	g_autoptr(GError) error = NULL;

	registry->generation++;
	if (!nbh_store_serial(registry->store, &registry->serial, &error))
		log_error("serial", error);
	if (registry->events)
		registry->events->on_changed(registry->owner);
}

NbhRegistry *nbh_registry_new(NbhStore *store, GError **error)
{
	g_autoptr(GPtrArray) peers = nbh_store_peers(store, error);
	NbhRegistry *registry;

	if (!peers)
		return NULL;
	registry = g_new0(NbhRegistry, 1);
	registry->store = store;
	registry->generation = 1;
	registry->peers = g_steal_pointer(&peers);
	registry->by_key = g_hash_table_new(nbh_key_hash, nbh_key_hash_equal);
	registry->seen = g_hash_table_new(NULL, NULL);
	index_peers(registry);
	if (!nbh_store_serial(store, &registry->serial, error)) {
		nbh_registry_free(registry);
		return NULL;
	}
	return registry;
}

void nbh_registry_set_events(NbhRegistry *registry, const NbhRegistryEvents *events, gpointer owner)
{
	registry->events = events;
	registry->owner = owner;
}

void nbh_registry_free(NbhRegistry *registry)
{
	if (!registry)
		return;
	g_hash_table_unref(registry->seen);
	g_hash_table_unref(registry->by_key);
	g_ptr_array_unref(registry->peers);
	g_free(registry);
}

static NbhHubPeer *find(NbhRegistry *registry, const struct nbh_key *key)
{
	return g_hash_table_lookup(registry->by_key, key);
}

const NbhHubPeer *nbh_registry_find(NbhRegistry *registry, const struct nbh_key *key)
{
	return find(registry, key);
}

const GPtrArray *nbh_registry_peers(NbhRegistry *registry)
{
	return registry->peers;
}

guint64 nbh_registry_generation(const NbhRegistry *registry)
{
	return registry->generation;
}

guint64 nbh_registry_serial(const NbhRegistry *registry)
{
	return registry->serial;
}

const NbhHubPeer *nbh_registry_register(NbhRegistry *registry, const NbhRegistration *registration,
					GError **error)
{
	NbhHubPeer *peer = nbh_store_register(registry->store, registration, now_s(), error);

	if (!peer)
		return NULL;
	g_ptr_array_add(registry->peers, peer);
	g_hash_table_insert(registry->by_key, &peer->key, peer);
	changed(registry);
	return peer;
}

/* wanted NULL: keep; empty: none. */
static gboolean replace_bytes(GBytes **bytes, GBytes *wanted)
{
	if (!wanted || (*bytes ? g_bytes_equal(*bytes, wanted) : g_bytes_get_size(wanted) == 0))
		return FALSE;
	g_clear_pointer(bytes, g_bytes_unref);
	*bytes = g_bytes_get_size(wanted) ? g_bytes_ref(wanted) : NULL;
	return TRUE;
}

void nbh_registry_update(NbhRegistry *registry, const struct nbh_key *key, const char *version,
			 GBytes *meta, GBytes *ssh_key)
{
	NbhHubPeer *peer = find(registry, key);
	g_autoptr(GError) error = NULL;
	gboolean visible, hidden;

	if (!peer)
		return;
	/* Only what others' maps show makes new maps: netbird-hub.md 5.3. */
	visible = replace_bytes(&peer->ssh_key, ssh_key);
	if (version && strcmp(version, peer->version) != 0) {
		g_free(peer->version);
		peer->version = g_strdup(version);
		visible = TRUE;
	}
	hidden = replace_bytes(&peer->meta, meta);
	if (!visible && !hidden)
		return;
	if (!nbh_store_update_peer(registry->store, peer, visible, &error))
		log_error("update-peer", error);
	if (visible)
		changed(registry);
}

void nbh_registry_note_login(NbhRegistry *registry, const struct nbh_key *key)
{
	NbhHubPeer *peer = find(registry, key);

	if (!peer)
		return;
	peer->last_login_s = now_s();
	g_hash_table_add(registry->seen, peer);
}

void nbh_registry_note_connected(NbhRegistry *registry, const struct nbh_key *key, gboolean connected)
{
	NbhHubPeer *peer = find(registry, key);

	if (!peer)
		return;
	peer->connected = connected;
	peer->last_seen_s = now_s();
	g_hash_table_add(registry->seen, peer);
}

static void forget(NbhRegistry *registry, NbhHubPeer *peer)
{
	struct nbh_key key = peer->key;

	g_hash_table_remove(registry->by_key, &key);
	g_hash_table_remove(registry->seen, peer);
	g_ptr_array_remove(registry->peers, peer);
	if (registry->events)
		registry->events->on_removed(&key, registry->owner);
}

gboolean nbh_registry_remove(NbhRegistry *registry, const struct nbh_key *key, GError **error)
{
	NbhHubPeer *peer = find(registry, key);

	if (!peer) {
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_NOT_FOUND, "the peer is not registered");
		return FALSE;
	}
	if (!nbh_store_remove_peer(registry->store, peer->id, error))
		return FALSE;
	forget(registry, peer);
	changed(registry);
	return TRUE;
}

/* Admin commands only remove peers; what else differs is taken over as it is. */
static void take_over(NbhRegistry *registry, GPtrArray *stored)
{
	g_autoptr(GHashTable) ids = g_hash_table_new(g_int64_hash, g_int64_equal);
	gboolean different = FALSE;

	for (guint i = 0; i < stored->len; i++)
		g_hash_table_add(ids, &((NbhHubPeer *)stored->pdata[i])->id);
	for (guint i = registry->peers->len; i-- > 0;) {
		NbhHubPeer *peer = registry->peers->pdata[i];

		if (g_hash_table_contains(ids, &peer->id))
			continue;
		forget(registry, peer);
		different = TRUE;
	}
	for (guint i = 0; i < stored->len; i++) {
		NbhHubPeer *peer = stored->pdata[i];

		if (find(registry, &peer->key))
			continue;
		g_ptr_array_add(registry->peers, peer);
		stored->pdata[i] = NULL;
		g_hash_table_insert(registry->by_key, &peer->key, peer);
		different = TRUE;
	}
	if (different)
		changed(registry);
}

void nbh_registry_poll(NbhRegistry *registry)
{
	g_autoptr(GPtrArray) stored = NULL;
	g_autoptr(GError) error = NULL;

	if (!nbh_store_changed(registry->store))
		return;
	stored = nbh_store_peers(registry->store, &error);
	if (stored)
		take_over(registry, stored);
	else
		log_error("poll", error);
}

void nbh_registry_flush(NbhRegistry *registry)
{
	g_autoptr(GPtrArray) peers = NULL;
	g_autoptr(GError) error = NULL;
	GHashTableIter iter;
	gpointer peer;

	if (g_hash_table_size(registry->seen) == 0)
		return;
	peers = g_ptr_array_new();
	g_hash_table_iter_init(&iter, registry->seen);
	while (g_hash_table_iter_next(&iter, &peer, NULL))
		g_ptr_array_add(peers, peer);
	/* Kept for the next time when the disk is full, say. */
	if (nbh_store_note_seen(registry->store, peers, &error))
		g_hash_table_remove_all(registry->seen);
	else
		log_error("note-seen", error);
}
