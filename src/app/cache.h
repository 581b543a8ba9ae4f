#ifndef NBH_APP_CACHE_H
#define NBH_APP_CACHE_H

/*
 * netmap.cache (0600): what management said last, so that a start needs no answer. It keeps the
 * plaintext messages themselves and reads them with the decoders that read them from the wire: the
 * last Sync with servers and the last with a map, or, when there was no Sync yet, the answer to
 * Login. Beside them the server's key, which saves a round trip, and the addresses behind the names
 * of servers, so that DNS may be dead. For another key or another server it does not count; damaged,
 * it is removed and made again.
 */

#include "base/addr.h"
#include "base/key.h"
#include "wire/mgmtmsg.h"

#define NBH_CACHE_NAME "netmap.cache"

typedef struct _NbhCache NbhCache;

/* dirfd stays the caller's; url is copied. */
NbhCache *nbh_cache_new(int dirfd, const struct nbh_key *own_public, const char *url);
/* Writes what is not written yet. NULL is fine. */
void nbh_cache_free(NbhCache *cache);

typedef enum {
	NBH_CACHE_NOTHING,
	NBH_CACHE_LOGIN, /* the answer to Login: our addresses and the servers */
	NBH_CACHE_MAP,   /* a network map, and most likely servers */
} NbhCacheContent;

/* All called before nbh_cache_load() returns, in this order; none when there is nothing. */
typedef struct {
	void (*on_server_key)(const struct nbh_key *key, gpointer owner);
	void (*on_address)(const char *name, const struct nbh_addr *addr, gpointer owner);
	void (*on_update)(const NbhMgmtUpdate *update, gpointer owner); /* each message */
} NbhCacheEvents;

NbhCacheContent nbh_cache_load(NbhCache *cache, const NbhCacheEvents *events, gpointer owner);
/* A message that was applied. Written some seconds later, once for many. */
void nbh_cache_keep(NbhCache *cache, const NbhMgmtUpdate *update);
void nbh_cache_keep_server_key(NbhCache *cache, const struct nbh_key *key);
/* All anew: clear, then add each. */
void nbh_cache_clear_addresses(NbhCache *cache);
void nbh_cache_add_address(NbhCache *cache, const char *name, const struct nbh_addr *addr);
/* Writes what is not written yet, now. */
void nbh_cache_flush(NbhCache *cache);
/* The server does not want us any more. */
void nbh_cache_forget(NbhCache *cache);

#endif
