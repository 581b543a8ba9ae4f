#ifndef NBH_HUB_REGISTRY_H
#define NBH_HUB_REGISTRY_H

/*
 * The running hub's peers, in memory, over the store. Everything that serves asks here; every change
 * goes to the store first. poll() takes over what admin commands wrote.
 */

#include "hub/store.h"

typedef struct _NbhRegistry NbhRegistry;

/* Called from inside the functions that change something; must not change the registry. */
typedef struct {
	void (*on_changed)(gpointer owner); /* maps differ from now on: a new generation */
	void (*on_removed)(const struct nbh_key *key, gpointer owner); /* before its on_changed */
} NbhRegistryEvents;

/* The store is borrowed and outlives the registry. */
NbhRegistry *nbh_registry_new(NbhStore *store, GError **error);
void nbh_registry_set_events(NbhRegistry *registry, const NbhRegistryEvents *events, gpointer owner);
void nbh_registry_free(NbhRegistry *registry);

const NbhHubPeer *nbh_registry_find(NbhRegistry *registry, const struct nbh_key *key);
const GPtrArray *nbh_registry_peers(NbhRegistry *registry); /* const NbhHubPeer, by id */
guint64 nbh_registry_generation(const NbhRegistry *registry); /* grows when any map differs */
guint64 nbh_registry_serial(const NbhRegistry *registry);

const NbhHubPeer *nbh_registry_register(NbhRegistry *registry, const NbhRegistration *registration,
					GError **error);
/* What a peer says about itself; stored if it differs. NULL: keep; an empty ssh_key: none. */
void nbh_registry_update(NbhRegistry *registry, const struct nbh_key *key, const char *version,
			 GBytes *meta, GBytes *ssh_key);
void nbh_registry_note_login(NbhRegistry *registry, const struct nbh_key *key);
void nbh_registry_note_connected(NbhRegistry *registry, const struct nbh_key *key, gboolean connected);
gboolean nbh_registry_remove(NbhRegistry *registry, const struct nbh_key *key, GError **error);

void nbh_registry_poll(NbhRegistry *registry);  /* about twice a second */
void nbh_registry_flush(NbhRegistry *registry); /* writes last seen and connected; once a second */

#endif
