#ifndef NBH_APP_DIRWATCH_H
#define NBH_APP_DIRWATCH_H

/*
 * Tells when one of a few names in the config directory, or in its wg/, was written, moved in or
 * removed; or that wg/ or ice/ has an ended.json. The directories are watched, not the files: a file watch is deaf after the first rename.
 * Level-triggered: the callback re-reads whatever it cares for.
 */

#include <glib.h>

typedef struct _NbhDirwatch NbhDirwatch;

NbhDirwatch *nbh_dirwatch_new(const char *dir, void (*on_change)(gpointer owner), gpointer owner, GError **error);
void nbh_dirwatch_free(NbhDirwatch *watch); /* NULL is fine */

#endif
