#include "config.h"

#include "ice/txid.h"

#include <string.h>

#define GENERATION_MS 20000 /* a transaction of libnice ends after 3.5 s; ice-port.md section 2 */

struct _NbhTxidTable {
	GHashTable *young, *old; /* NbhTxid as key and value, owned */
	gsize max;
	nbh_mono born; /* of the young generation */
};

/* Ids are random; a peer that makes them equal only slows its own packets. */
static guint hash_id(gconstpointer key)
{
	guint h;

	memcpy(&h, key, sizeof(h));
	return h;
}

static gboolean same_id(gconstpointer a, gconstpointer b)
{
	return !memcmp(a, b, NBH_STUN_TXID_LEN);
}

static GHashTable *generation_new(void)
{
	return g_hash_table_new_full(hash_id, same_id, NULL, g_free);
}

NbhTxidTable *nbh_txid_table_new(gsize max)
{
	NbhTxidTable *table = g_new0(NbhTxidTable, 1);

	table->max = max;
	table->young = generation_new();
	table->old = generation_new();
	return table;
}

void nbh_txid_table_free(NbhTxidTable *table)
{
	if (!table)
		return;

	g_hash_table_unref(table->young);
	g_hash_table_unref(table->old);
	g_free(table);
}

static void turn_over(NbhTxidTable *table, nbh_mono now)
{
	g_hash_table_unref(table->old);
	table->old = table->young;
	table->young = generation_new();
	table->born = now;
}

void nbh_txid_put(NbhTxidTable *table, const NbhTxid *entry, nbh_mono now)
{
	NbhTxid *copy;

	if (nbh_mono_diff_ms(now, table->born) >= 2 * GENERATION_MS)
		g_hash_table_remove_all(table->young); /* a quiet time: both are out of date */

	if (nbh_mono_diff_ms(now, table->born) >= GENERATION_MS ||
	    g_hash_table_size(table->young) >= table->max / 2)
		turn_over(table, now);

	copy = g_memdup2(entry, sizeof(*entry));
	g_hash_table_remove(table->old, copy->id);
	g_hash_table_replace(table->young, copy->id, copy);
}

gboolean nbh_txid_take(NbhTxidTable *table, const guint8 id[NBH_STUN_TXID_LEN], NbhTxid *ret_entry)
{
	GHashTable *generation = table->young;
	const NbhTxid *entry = g_hash_table_lookup(generation, id);

	if (!entry) {
		generation = table->old;
		entry = g_hash_table_lookup(generation, id);
	}

	if (!entry)
		return FALSE;

	*ret_entry = *entry;
	g_hash_table_remove(generation, id);
	return TRUE;
}

gsize nbh_txid_count(const NbhTxidTable *table)
{
	return g_hash_table_size(table->young) + g_hash_table_size(table->old);
}
