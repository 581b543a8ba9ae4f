#include "config.h"

#include "ice/txid.h"

#include "base/limits.h"

#include <string.h>

static NbhTxid make(guint32 n)
{
	NbhTxid entry = { .agent = (guint16)n };

	memcpy(entry.id, &n, sizeof(n));
	memcpy(entry.id + 8, &n, sizeof(n));
	return entry;
}

static nbh_mono at_ms(gint64 ms)
{
	return (nbh_mono){ (1000 * 1000 + ms) * 1000 };
}

static void test_take_once(void)
{
	NbhTxidTable *table = nbh_txid_table_new(100);
	NbhTxid entry = make(7), found, untouched;

	nbh_txid_put(table, &entry, at_ms(0));
	memset(&found, 0xa5, sizeof(found));
	untouched = found;
	g_assert_false(nbh_txid_take(table, make(8).id, &found));
	g_assert_cmpmem(&found, sizeof(found), &untouched, sizeof(untouched));
	g_assert_true(nbh_txid_take(table, entry.id, &found));
	g_assert_cmpuint(found.agent, ==, 7);
	g_assert_false(nbh_txid_take(table, entry.id, &found));
	g_assert_cmpuint(nbh_txid_count(table), ==, 0);
	nbh_txid_table_free(table);
}

static void test_replace(void)
{
	NbhTxidTable *table = nbh_txid_table_new(100);
	NbhTxid entry = make(7), found;

	nbh_txid_put(table, &entry, at_ms(0));
	entry.agent = 9;
	nbh_txid_put(table, &entry, at_ms(21000)); /* the first one is in the older generation now */
	g_assert_cmpuint(nbh_txid_count(table), ==, 1);
	g_assert_true(nbh_txid_take(table, entry.id, &found));
	g_assert_cmpuint(found.agent, ==, 9);
	g_assert_false(nbh_txid_take(table, entry.id, &found));
	nbh_txid_table_free(table);
}

/* Alive for 20 s at least, gone after 40 s at most. */
static void test_age(void)
{
	static const struct {
		gint64 put_ms, other_ms, take_after_other;
	} rows[] = { { 0, 1, TRUE }, { 0, 19999, TRUE }, { 0, 20000, TRUE }, { 0, 40000, FALSE },
		     { 19999, 39998, TRUE }, { 19999, 60000, FALSE } };

	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		NbhTxidTable *table = nbh_txid_table_new(100);
		NbhTxid first = make(1), entry = make(2), other = make(3), found;

		g_test_message("row %zu", i);
		nbh_txid_put(table, &first, at_ms(0));
		nbh_txid_put(table, &entry, at_ms(rows[i].put_ms));
		nbh_txid_put(table, &other, at_ms(rows[i].other_ms));
		g_assert_cmpint(nbh_txid_take(table, entry.id, &found), ==, rows[i].take_after_other);
		g_assert_true(nbh_txid_take(table, other.id, &found));
		nbh_txid_table_free(table);
	}
}

static void test_cap(void)
{
	NbhTxidTable *table = nbh_txid_table_new(64);
	NbhTxid found;

	for (guint32 n = 0; n < 100000; n++) {
		NbhTxid entry = make(n);

		nbh_txid_put(table, &entry, at_ms(0));
		g_assert_cmpuint(nbh_txid_count(table), <=, 64);
	}

	/* The newest half is always there. */
	for (guint32 n = 100000 - 32; n < 100000; n++)
		g_assert_true(nbh_txid_take(table, make(n).id, &found));

	nbh_txid_table_free(table);
	nbh_txid_table_free(NULL);
}

/* Below and at the limit everything is there; one more, and the older half is forgotten. */
static void test_limit(void)
{
	NbhTxidTable *table = nbh_txid_table_new(NBH_ICE_TXIDS_MAX);
	NbhTxid entry, found;
	guint32 n;

	for (n = 0; n < NBH_ICE_TXIDS_MAX - 1; n++) {
		entry = make(n);
		nbh_txid_put(table, &entry, at_ms(0));
	}

	g_assert_cmpuint(nbh_txid_count(table), ==, NBH_ICE_TXIDS_MAX - 1);
	entry = make(n++);
	nbh_txid_put(table, &entry, at_ms(0));
	g_assert_cmpuint(nbh_txid_count(table), ==, NBH_ICE_TXIDS_MAX);
	g_assert_true(nbh_txid_take(table, make(0).id, &found));
	entry = make(n);
	nbh_txid_put(table, &entry, at_ms(0));
	g_assert_cmpuint(nbh_txid_count(table), ==, NBH_ICE_TXIDS_MAX / 2 + 1);
	g_assert_false(nbh_txid_take(table, make(1).id, &found));
	g_assert_true(nbh_txid_take(table, make(n).id, &found));
	nbh_txid_table_free(table);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ice/txid/take-once", test_take_once);
	g_test_add_func("/ice/txid/replace", test_replace);
	g_test_add_func("/ice/txid/age", test_age);
	g_test_add_func("/ice/txid/cap", test_cap);
	g_test_add_func("/ice/txid/limit", test_limit);
	return g_test_run();
}
