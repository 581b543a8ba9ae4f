#ifndef NBH_ICE_STORE_H
#define NBH_ICE_STORE_H

/*
 * ice/sessions: what netbird-ice needs to bring its agents back after a restart, so that peers
 * notice nothing (interop.md rule 16). Lines of proto.h, 0600:
 *
 *     NETBIRD-ICE-SESSIONS 1 BOOT-ID
 *     SET_PORT ...
 *     OPEN ...  [REMOTE ...]  [CANDIDATE ...]*  [SELECTED ...]     for each session
 *     END
 *
 * After a reboot, NAT mappings and the peers' patience are gone: another boot id is no sessions.
 */

#include "ice/proto.h"

typedef struct {
	GString *text; /* owned */
} NbhStoreDraft;

void nbh_store_begin(NbhStoreDraft *draft, guint16 port);
void nbh_store_add(NbhStoreDraft *draft, const NbhIceMessage *message);
/* Frees the draft, also on failure. 0 or -errno. */
int nbh_store_finish(NbhStoreDraft *draft, int dirfd, struct nbh_why *why);

/*
 * Calls on_message for each line but END if the whole file is good; otherwise not at all. 0, also
 * for a missing or outdated file, or -errno.
 */
int nbh_store_read(int dirfd, void (*on_message)(const NbhIceMessage *message, gpointer owner),
                   gpointer owner, struct nbh_why *why);

/* Nothing is brought back any more. */
void nbh_store_forget(int dirfd);

#endif
