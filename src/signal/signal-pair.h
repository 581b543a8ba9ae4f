#ifndef NBH_SIGNAL_SIGNAL_PAIR_H
#define NBH_SIGNAL_SIGNAL_PAIR_H

/*
 * What tests may do to the messages between the clients of nbh_signal_pair in one process. Without
 * any of it every message arrives once, in order, from the next turn of the loop.
 */

#include "signal/signal.h"

typedef enum {
	NBH_SIGNAL_PAIR_DELIVER,
	NBH_SIGNAL_PAIR_DROP,   /* the sender does not notice, as with the real server */
	NBH_SIGNAL_PAIR_REPEAT, /* arrives twice */
	NBH_SIGNAL_PAIR_HOLD,   /* stays until nbh_signal_pair_release(); later ones overtake it */
	NBH_SIGNAL_PAIR_FAIL,   /* dropped, and the Send fails */
} NbhSignalPairFate;

/* Asked once for each message when it is sent. NULL: deliver everything. */
typedef NbhSignalPairFate (*NbhSignalPairFilter)(const struct nbh_key *from, const struct nbh_key *to,
                                                 const NbhSignalMessage *message, gpointer data);
void nbh_signal_pair_set_filter(NbhSignalPairFilter filter, gpointer data);
/* Delivers what was held, in the order in which it was sent. */
void nbh_signal_pair_release(void);
/* The "server" goes away or comes back for all clients. */
void nbh_signal_pair_set_up(gboolean up);

#endif
