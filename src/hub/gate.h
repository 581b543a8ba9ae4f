#ifndef NBH_HUB_GATE_H
#define NBH_HUB_GATE_H

/*
 * Who may connect: how many connections one address (or IPv6 /64) has and how fast it makes new
 * ones, and what is said in the log about those who are turned away or cut off. Whoever breaks the
 * rules pays with new connections. Loopback is a proxy on this machine, with everybody behind it.
 */

#include "base/addr.h"
#include "base/mono.h"

#include <glib.h>

typedef struct _NbhGate NbhGate;

typedef struct {
	guint per_address_max;
	guint burst, per_second; /* new connections of one address */
	gboolean counts_loopback; /* tests only */
} NbhGateLimits;

typedef enum {
	NBH_GATE_OPEN,
	NBH_GATE_CROWDED, /* this address has as many as it may */
	NBH_GATE_CLOSED,  /* too many new ones: try later */
} NbhGateAnswer;

NbhGate *nbh_gate_new(const NbhGateLimits *limits);
NbhGateAnswer nbh_gate_ask(NbhGate *gate, const struct nbh_addr *remote, nbh_mono now);
gboolean nbh_gate_is_same(const struct nbh_addr *a, const struct nbh_addr *b); /* one address, for us */
void nbh_gate_enter(NbhGate *gate, const struct nbh_addr *remote);
void nbh_gate_leave(NbhGate *gate, const struct nbh_addr *remote);
/* For the log: a connection was not taken, or ended for what the client did. */
void nbh_gate_refused(NbhGate *gate, const struct nbh_addr *remote, const char *why, nbh_mono now);
void nbh_gate_cut_off(NbhGate *gate, const struct nbh_addr *remote, const char *why, nbh_mono now);
void nbh_gate_tls_failed(NbhGate *gate, const struct nbh_addr *remote, const char *why, nbh_mono now);
void nbh_gate_free(NbhGate *gate);

#endif
