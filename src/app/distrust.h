#ifndef NBH_APP_DISTRUST_H
#define NBH_APP_DISTRUST_H

/*
 * What management says and is not done: it decides who is in our network, not what this host reaches
 * beside it. Parts that cannot be used are named in the status and leave what was before.
 */

#include "base/why.h"
#include "mgmt/mgmt.h"

/* Zero-initialized: nothing was refused. */
typedef struct {
	GPtrArray *servers;                   /* char *, owned; NULL: nothing */
	char *signal, *peer_config, *map;     /* owned; NULL: nothing */
	guint n_signal, n_peer_config, n_map; /* how often; the log tells the first, second, fourth ... */
} NbhRefusals;

void nbh_refusals_clear(NbhRefusals *refusals);

/* What the decoder left out; a part that is in the message and good takes back what was said about it. */
void nbh_refusals_take(NbhRefusals *refusals, const NbhMgmtUpdate *update);
void nbh_refusals_signal(NbhRefusals *refusals, const char *why); /* NULL: it is good */
void nbh_refusals_peer_config(NbhRefusals *refusals, const char *why);
void nbh_refusals_map(NbhRefusals *refusals, const char *why);

/* One line each, the field first: "peerConfig.mtu 1: not 576 to 8192". */
void nbh_refusals_each(const NbhRefusals *refusals, void (*fn)(const char *line, gpointer data), gpointer data);
/* Something of the network itself is refused: not worth keeping for the next start. */
gboolean nbh_refusals_of_network(const NbhRefusals *refusals);

/* FALSE: an address of this host only, although management is elsewhere. */
gboolean nbh_distrust_signal(const char *management_url, const char *signal_host, struct nbh_why *why);

/* What our network must not contain: this host's own addresses, where tunnels and management are. */
typedef struct {
	struct nbh_addr addr;
	const char *what; /* borrowed, for people: "the address of eth0" */
} NbhNeeded;

/* FALSE: the network of config would take the way to one of them. */
gboolean nbh_distrust_network(const NbhPeerConfig *config, const NbhNeeded *needed, gsize n_needed, struct nbh_why *why);

#endif
