#ifndef NBH_SIGNAL_SENDLINE_H
#define NBH_SIGNAL_SENDLINE_H

/*
 * Outgoing signal messages as unary Sends. A batch is what one send() brought: its messages go
 * together, the batches for one peer one after the other, different peers at the same time. What goes
 * beside waits for nobody, and nobody waits for it.
 *
 * A message is sealed when its turn has come: a box costs 0.06 ms, and a first map of 4096 peers
 * would hold the main loop for a quarter of a second.
 */

#include "base/key.h"
#include "net/grpc.h"

typedef struct _NbhSendline NbhSendline;
typedef void (*NbhSendlineDone)(gboolean ok, gpointer data, gpointer owner);

/* The keys stay the caller's and outlive the line. */
NbhSendline *nbh_sendline_new(NbhGrpcChannel *channel, const struct nbh_key *own_private,
                              const struct nbh_key *own_public, gpointer owner);
/*
 * bodies: GBytes of nbh_signal_body_encode(), taken with the array (its free function is
 * g_bytes_unref). done (may be NULL) comes from the loop.
 */
void nbh_sendline_add(NbhSendline *line, const struct nbh_key *to, GPtrArray *bodies,
                      NbhSendlineDone done, gpointer data);
/* Out at once, whatever is under way to that peer; in line as above when too much is under way at all. */
void nbh_sendline_add_beside(NbhSendline *line, const struct nbh_key *to, GPtrArray *bodies);
/* Only tells, from the loop: not sent. */
void nbh_sendline_refuse(NbhSendline *line, NbhSendlineDone done, gpointer data);
/* Behind the channel, whose calls point here. done is not called any more. */
void nbh_sendline_free(NbhSendline *line);

#endif
