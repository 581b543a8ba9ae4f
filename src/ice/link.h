#ifndef NBH_ICE_LINK_H
#define NBH_ICE_LINK_H

/*
 * One end of ice.sock in a main loop: lines in and out as messages. Used by the helper and by
 * netbird-ice. Never blocks; what the kernel does not take waits in a bounded queue, and a far end
 * that reads nothing for 5 s is dropped.
 */

#include "ice/proto.h"

typedef struct _NbhIceLink NbhIceLink;

/* From the loop only, never from inside a call, never after free(); free() is legal inside each. */
typedef struct {
	void (*on_message)(NbhIceLink *link, const NbhIceMessage *message, gpointer owner);
	void (*on_garbage)(NbhIceLink *link, const char *why, gpointer owner); /* one line that does not parse */
	void (*on_closed)(NbhIceLink *link, const char *why, gpointer owner);  /* once, nothing follows */
} NbhIceLinkEvents;

/* fd: a connected SOCK_SEQPACKET socket, non-blocking; owned from now on. events must live on. */
NbhIceLink *nbh_ice_link_new(int fd, const NbhIceLinkEvents *events, gpointer owner);
void nbh_ice_link_free(NbhIceLink *link);

/*
 * Takes what has already arrived, with all callbacks, from inside this call: before a link is given
 * up for another one, so that its last words are heard. The link may be freed afterwards.
 */
void nbh_ice_link_drain(NbhIceLink *link);

/* FALSE: the message cannot be said (see nbh_ice_message_format()); a broken link swallows it. */
gboolean nbh_ice_link_send(NbhIceLink *link, const NbhIceMessage *message);

#endif
