#ifndef NBH_APP_META_H
#define NBH_APP_META_H

/* What we tell management about this host, truthfully. netbird-wire.md 2.5. */

#include "base/configfile.h"
#include "wire/mgmtmsg.h"

typedef struct _NbhHostFacts NbhHostFacts;

NbhHostFacts *nbh_host_facts_new(void);
/* on_change when the system's host name has changed; addresses are netmon's. Where the kernel does not tell, nothing comes. */
void nbh_host_facts_watch_name(NbhHostFacts *facts, void (*on_change)(gpointer owner), gpointer owner);
void nbh_host_facts_free(NbhHostFacts *facts); /* NULL is fine */
/* Reads the facts anew; strings in ret_meta are valid until the next call. */
void nbh_host_facts_fill(NbhHostFacts *facts, const struct nbh_config *config, NbhMeta *ret_meta);

#endif
