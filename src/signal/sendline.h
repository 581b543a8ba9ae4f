#ifndef NBH_SIGNAL_SENDLINE_H
#define NBH_SIGNAL_SENDLINE_H

/*
 * Outgoing signal messages as unary Sends. A batch is what one send() brought: its messages go
 * together, the batches for one peer one after the other, different peers at the same time.
 */

#include "base/key.h"
#include "net/grpc.h"

typedef struct _NbhSendline NbhSendline;
typedef void (*NbhSendlineDone)(gboolean ok, gpointer data, gpointer owner);

NbhSendline *nbh_sendline_new(NbhGrpcChannel *channel, gpointer owner);
/* sealed: GBytes, taken with the array (its free function is g_bytes_unref). done (may be NULL) comes from the loop. */
void nbh_sendline_add(NbhSendline *line, const struct nbh_key *to, GPtrArray *sealed,
                      NbhSendlineDone done, gpointer data);
/* Only tells, from the loop: not sent. */
void nbh_sendline_refuse(NbhSendline *line, NbhSendlineDone done, gpointer data);
/* Behind the channel, whose calls point here. done is not called any more. */
void nbh_sendline_free(NbhSendline *line);

#endif
