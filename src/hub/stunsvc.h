#ifndef NBH_HUB_STUNSVC_H
#define NBH_HUB_STUNSVC_H

/* STUN Binding over UDP, nothing else. netbird-hub.md 10. */

#include "base/addr.h"

#include <gio/gio.h>

typedef struct _NbhStunService NbhStunService;

/* An unspecified IPv6 address serves IPv4, too. port 0: any (tests). */
NbhStunService *nbh_stun_service_new(const struct nbh_addr *addr, guint16 port, GError **error);
guint16 nbh_stun_service_port(const NbhStunService *service);
void nbh_stun_service_free(NbhStunService *service); /* NULL is fine */

#endif
