#ifndef NBH_NET_NETMON_H
#define NBH_NET_NETMON_H

/* Listens to link, address and route changes by rtnetlink and lists local addresses. Writes nothing. */

#include "core/candidate.h"


#include <glib.h>

typedef struct _NbhNetmon NbhNetmon;

/* on_change comes from the loop, collected over 100 ms after the last event (1 s at most). */
NbhNetmon *nbh_netmon_new(void (*on_change)(gpointer owner), gpointer owner, GError **error);
void nbh_netmon_free(NbhNetmon *netmon);

typedef struct {
	char interface[16];
	NbhLocalAddress local; /* local.interface points to interface above */
	char mac[18];          /* "" if none */
	guint8 prefix_len;
	gboolean is_up, is_loopback;
} NbhNetmonAddress;

/* GArray of NbhNetmonAddress in kernel order, fresh; free with g_array_unref. Never NULL. */
GArray *nbh_netmon_addresses(void);

/* The kernel's own source towards a destination: connect()+getsockname() on an unbound UDP socket. */
gboolean nbh_netmon_natural_source(const struct nbh_endpoint *to, guint32 fwmark, struct nbh_addr *ret_source);

#endif
