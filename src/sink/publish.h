#ifndef NBH_SINK_PUBLISH_H
#define NBH_SINK_PUBLISH_H

/*
 * Publishing the desired state: peers.json and device.json, written atomically into the config
 * directory. The first change goes out at once, followers are collected for NBH_PUBLISH_DELAY_MS;
 * a file whose content would be equal is not written. peers.json counts its generation up.
 */

#include "base/devicefile.h"
#include "base/peersfile.h"

#include <glib.h>

typedef struct _NbhPublish NbhPublish;

typedef struct {
	/*
	 * Fill ret_file with what is wanted now; nbh_peersfile_clear() is ours. generation is given.
	 * FALSE: nothing is known now; the file stays as it is.
	 */
	gboolean (*build)(guint64 generation, struct nbh_peersfile *ret_file, gpointer owner);
	/* The file is there (error NULL), or could not be written; the old one is still in place. */
	void (*on_written)(guint64 generation, const char *error, gpointer owner);
} NbhPublishEvents;

/* dirfd stays the caller's. last_generation: of the file that is there, 0 if none. */
NbhPublish *nbh_publish_new(int dirfd, guint64 last_generation, const NbhPublishEvents *events, gpointer owner);
void nbh_publish_free(NbhPublish *publish); /* NULL is fine; nothing is written any more */

/* Held at first: nothing is written before the sessions of an earlier run are known. */
void nbh_publish_release(NbhPublish *publish);
void nbh_publish_changed(NbhPublish *publish);
/* The directory is another: whatever was written before is not there. */
void nbh_publish_again(NbhPublish *publish);

/* Writes device.json now if it differs. FALSE: reason in error. */
gboolean nbh_publish_device(NbhPublish *publish, const struct nbh_device *device, GError **error);
/* Removes device.json, and with it the interface. Missing is fine. */
gboolean nbh_publish_remove_device(NbhPublish *publish, GError **error);

#endif
