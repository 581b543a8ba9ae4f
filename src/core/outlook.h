#ifndef NBH_CORE_OUTLOOK_H
#define NBH_CORE_OUTLOOK_H

#include "base/devicefile.h"
#include "base/configfile.h"
#include "base/peersfile.h"
#include "core/conn.h"
#include "core/netmap.h"

/* The desired files, from the map and the paths. Pure. */

typedef const NbhPath *(*NbhOutlookPathFunc)(const struct nbh_key *key, gpointer owner); /* NULL: none */
typedef gboolean (*NbhOutlookIdleFunc)(const struct nbh_key *key, struct nbh_endpoint *ret_endpoint, gpointer owner);

/* Fills ret_file (clear it with nbh_peersfile_clear). idle_of gives the loopback endpoint of an idle peer. */
void nbh_outlook_peers(const NbhNetmap *map, const struct nbh_config *config, guint64 generation,
                       NbhOutlookPathFunc path_of, NbhOutlookIdleFunc idle_of, gpointer owner,
                       struct nbh_peersfile *ret_file);

void nbh_outlook_device(const NbhPeerConfig *peer_config, const struct nbh_config *config,
                        struct nbh_device *ret_device);

#endif
