#ifndef NBH_HUB_OVERLAY_H
#define NBH_HUB_OVERLAY_H

/* The hub's network inside 100.64.0.0/10 and the addresses in it. netbird-hub.md 5.1. */

#include "base/addr.h"

#include <glib.h>

#define NBH_OVERLAY_PREFIX_LEN 16

/* One of the 64 /16 networks, chosen by any random number. */
struct nbh_prefix nbh_overlay_network(guint32 random);

typedef gboolean (*NbhOverlayTaken)(const struct nbh_addr *addr, gpointer owner);

/*
 * A free address: never the network's, its broadcast, nor broadcast - 1, which official clients use
 * for their own DNS server. Starts at a random place and takes the next free one. FALSE: all taken.
 */
gboolean nbh_overlay_pick(const struct nbh_prefix *network, guint32 random, NbhOverlayTaken is_taken,
			  gpointer owner, struct nbh_addr *ret_addr);

guint32 nbh_overlay_to_number(const struct nbh_addr *addr);
struct nbh_addr nbh_overlay_from_number(guint32 number);

#endif
