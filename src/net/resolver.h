#ifndef NBH_NET_RESOLVER_H
#define NBH_NET_RESOLVER_H

/*
 * Names of servers, remembered: a GResolver around the system's that keeps what was answered last.
 * The system is asked first. When it cannot be asked (not: when it says that there is no such name) or
 * has not answered within a second, the addresses of before are the answer. The owner keeps them over
 * restarts, so that DNS may be dead. TLS goes on checking names, not addresses.
 */

#include "base/addr.h"

#include <glib.h>

typedef struct _NbhResolver NbhResolver;

/* The default resolver of GIO from now on; on_change when there is something new to keep, and may be NULL. */
NbhResolver *nbh_resolver_install(void (*on_change)(gpointer owner), gpointer owner);
void nbh_resolver_uninstall(NbhResolver *resolver); /* the one of before is back; NULL is fine */

/* From before. No on_change. */
void nbh_resolver_remember(NbhResolver *resolver, const char *name, const struct nbh_addr *addr);
/* Oldest name first. */
void nbh_resolver_each(NbhResolver *resolver, void (*fn)(const char *name, const struct nbh_addr *addr, gpointer data), gpointer data);

/* For tests: another time than 1 s. */
void nbh_resolver_set_patience(NbhResolver *resolver, guint ms);

#endif
