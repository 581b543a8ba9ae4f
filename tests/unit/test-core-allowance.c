#include "config.h"

#include "core/allowance.h"

#define BURST 5
#define EVERY_MS 100

static gboolean take(NbhAllowance *allowance, gint64 at_ms)
{
	return nbh_allowance_take(allowance, BURST, EVERY_MS, nbh_mono_add_ms((nbh_mono){ 1000000 }, at_ms));
}

/* One below, at and above. */
static void test_burst(void)
{
	NbhAllowance allowance = { .spent = 0 };

	for (guint i = 0; i < BURST - 1; i++)
		g_assert_true(take(&allowance, 0));
	g_assert_true(take(&allowance, 0));
	g_assert_false(take(&allowance, 0));
	g_assert_false(take(&allowance, EVERY_MS - 1));
	g_assert_true(take(&allowance, EVERY_MS));
	g_assert_false(take(&allowance, EVERY_MS));
}

static void test_parts_of_a_period_count(void)
{
	NbhAllowance allowance = { .spent = 0 };
	guint taken = 0;

	/* Whoever asks all the time gets the burst and then exactly one per period. */
	for (gint64 ms = 0; ms < 100 * EVERY_MS; ms++)
		taken += take(&allowance, ms);
	g_assert_cmpuint(taken, ==, BURST + 99);
}

static void test_rest_fills_it(void)
{
	NbhAllowance allowance = { .spent = 0 };

	for (guint round = 0; round < 3; round++) {
		guint taken = 0;

		while (take(&allowance, round * 1000000))
			taken++;
		g_assert_cmpuint(taken, ==, BURST);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/allowance/burst", test_burst);
	g_test_add_func("/core/allowance/parts", test_parts_of_a_period_count);
	g_test_add_func("/core/allowance/rest", test_rest_fills_it);
	return g_test_run();
}
