#ifndef NBH_ICE_TXID_H
#define NBH_ICE_TXID_H

/*
 * STUN transactions in flight. Two generations: every 20 s (or when the younger one is full) the
 * older is forgotten as a whole, so an entry lives 20 to 40 s and the table never grows beyond its
 * limit. An entry is taken out by the first answer. No clock inside.
 */

#include "base/mono.h"
#include "wire/stun.h"

typedef struct {
	guint8 id[NBH_STUN_TXID_LEN];
	guint16 agent;         /* the agent's port */
	struct nbh_addr local; /* requests to us: the address that was asked */
	gboolean has_pair_id;
	guint8 pair_id[NBH_STUN_PAIR_ID_LEN];
} NbhTxid;

typedef struct _NbhTxidTable NbhTxidTable;

/* max: entries of both generations together. */
NbhTxidTable *nbh_txid_table_new(gsize max);
void nbh_txid_table_free(NbhTxidTable *table);

/* Replaces an entry with the same id. */
void nbh_txid_put(NbhTxidTable *table, const NbhTxid *entry, nbh_mono now);
/* Removes what it finds. */
gboolean nbh_txid_take(NbhTxidTable *table, const guint8 id[NBH_STUN_TXID_LEN], NbhTxid *ret_entry);
gsize nbh_txid_count(const NbhTxidTable *table);

#endif
