#ifndef NBH_APP_SRFLX_H
#define NBH_APP_SRFLX_H

/*
 * Our server-reflexive addresses, asked once for all peers: resolves the STUN servers' names, has
 * netbird-ice ask them from WireGuard's port, keeps what they said. architecture.md section 7, STUN.
 */

#include "ice/ice.h"

#include <glib.h>

typedef struct _NbhSrflx NbhSrflx;

NbhSrflx *nbh_srflx_new(void (*on_change)(gpointer owner), gpointer owner);
void nbh_srflx_free(NbhSrflx *srflx); /* NULL is fine */

/* "stun:host:port" texts; turn ones are skipped. Asks at once if the set is new. */
void nbh_srflx_set_servers(NbhSrflx *srflx, GPtrArray *uris);
void nbh_srflx_set_ice(NbhSrflx *srflx, const NbhIceBackend *backend, NbhIce *ice);
void nbh_srflx_ask(NbhSrflx *srflx); /* all servers again; answers replace the old ones as they come */
void nbh_srflx_mapped(NbhSrflx *srflx, const struct nbh_endpoint *server, const struct nbh_endpoint *mapped);
gsize nbh_srflx_get(NbhSrflx *srflx, struct nbh_endpoint *ret, gsize max); /* distinct mapped addresses */

/*
 * The networks inside the tunnels (family 0: none): no server there is asked, and no answer that
 * names an address there is believed. Before the servers, or they are not asked again.
 */
void nbh_srflx_set_overlay(NbhSrflx *srflx, const struct nbh_prefix *v4, const struct nbh_prefix *v6);

/* For status: uri, what was answered ("" if nothing yet), and then why nothing. */
void nbh_srflx_each(NbhSrflx *srflx, void (*fn)(const char *uri, const char *answer, const char *why, gpointer data), gpointer data);

#endif
