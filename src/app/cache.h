#ifndef NBH_APP_CACHE_H
#define NBH_APP_CACHE_H

/*
 * netmap.cache (0600): what management said last, so that a start needs no answer. It keeps the
 * plaintext Sync messages themselves, the last with servers and the last with a map, and reads them
 * with the decoder that reads them from the wire. For another key or another server it does not
 * count; damaged, it is removed and made again.
 */

#include "base/key.h"
#include "wire/mgmtmsg.h"

#define NBH_CACHE_NAME "netmap.cache"

typedef struct _NbhCache NbhCache;

/* dirfd stays the caller's; url is copied. */
NbhCache *nbh_cache_new(int dirfd, const struct nbh_key *own_public, const char *url);
/* Writes what is not written yet. NULL is fine. */
void nbh_cache_free(NbhCache *cache);

/* on_update is called for each message kept, in order, before this returns. TRUE: a map was there. */
gboolean nbh_cache_load(NbhCache *cache, void (*on_update)(const NbhMgmtUpdate *update, gpointer owner), gpointer owner);
/* A Sync message that was applied. Written some seconds later, once for many. */
void nbh_cache_keep(NbhCache *cache, const NbhMgmtUpdate *update);
/* Writes what is not written yet, now. */
void nbh_cache_flush(NbhCache *cache);
/* The server does not want us any more. */
void nbh_cache_forget(NbhCache *cache);

#endif
