#ifndef NBH_HUB_DATADIR_H
#define NBH_HUB_DATADIR_H

/* --config-dir of the hub: hub.db and hub.key. Private to the user that the hub runs as. */

#include "base/key.h"

#include <gio/gio.h>

/*
 * Makes the directory (0700) if it is missing. Root continues as the directory's owner, so that an
 * admin command never leaves files there that the running hub cannot write. G_IO_ERROR.
 */
gboolean nbh_datadir_prepare(const char *dir, GError **error);
/* One running hub per directory; keep the descriptor open. -1 on failure. */
int nbh_datadir_lock(const char *dir, GError **error);
gboolean nbh_datadir_is_served(const char *dir);
/* hub.key, made at the first start. */
gboolean nbh_datadir_key(const char *dir, struct nbh_key *ret_private, GError **error);

#endif
