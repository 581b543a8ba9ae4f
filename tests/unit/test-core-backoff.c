#include "config.h"

#include "base/limits.h"
#include "core/backoff.h"

static void test_grows_to_the_cap(void)
{
	static const guint32 expected[] = { 800, 1600, 3200, 6400, 10000, 10000 };
	NbhBackoff backoff;

	nbh_backoff_init(&backoff, 800, 10000, 2.0, 0);
	for (gsize i = 0; i < G_N_ELEMENTS(expected); i++)
		g_assert_cmpuint(nbh_backoff_next(&backoff, 12345), ==, expected[i]);

	nbh_backoff_reset(&backoff);
	g_assert_cmpuint(nbh_backoff_next(&backoff, 0), ==, 800);
	g_assert_cmpuint(nbh_backoff_next(&backoff, 0), ==, 1600);
}

static void test_jitter(void)
{
	static const struct {
		guint32 random, expected;
	} cases[] = {
		{ 0, 900 },
		{ 0x80000000u, 1000 },
		{ G_MAXUINT32, 1100 },
	};
	NbhBackoff backoff;

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		nbh_backoff_init(&backoff, 1000, 8000, 2.0, 10);
		g_assert_cmpuint(nbh_backoff_next(&backoff, cases[i].random), ==, cases[i].expected);
		/* Jitter does not pile up: the next one is drawn around the nominal value. */
		g_assert_cmpuint(nbh_backoff_next(&backoff, 0x80000000u), ==, 2000);
	}
}

/* As the clients of servers use it: never more often than this, and back within 15 s. */
static void test_limits(void)
{
	static const guint32 randoms[] = { 0, 0x80000000u, G_MAXUINT32 };

	for (gsize i = 0; i < G_N_ELEMENTS(randoms); i++) {
		const guint32 permille = 500 + (guint32)i * 500; /* jitter of 50 % */
		guint32 delay_ms = 0, before_ms;
		NbhBackoff backoff;

		nbh_backoff_init(&backoff, NBH_BACKOFF_MIN_MS, NBH_BACKOFF_MAX_MS, 1.7, 50);
		for (guint n = 0; n < 10; n++) {
			before_ms = delay_ms;
			delay_ms = nbh_backoff_next(&backoff, randoms[i]);
			if (n == 0)
				g_assert_cmpuint(delay_ms, ==, NBH_BACKOFF_MIN_MS * permille / 1000);
			g_assert_cmpuint(delay_ms, >=, before_ms);
			g_assert_cmpuint(delay_ms, <=, NBH_BACKOFF_MAX_MS * permille / 1000);
		}
		g_assert_cmpuint(delay_ms, ==, NBH_BACKOFF_MAX_MS * permille / 1000);
		g_assert_cmpuint(delay_ms, <=, 15000);
	}
}

static void test_odd_parameters(void)
{
	NbhBackoff backoff;

	nbh_backoff_init(&backoff, 1000, 10, 0.5, 1000);
	for (gsize i = 0; i < 4; i++) {
		guint32 delay_ms = nbh_backoff_next(&backoff, G_MAXUINT32);

		g_assert_cmpuint(delay_ms, <=, 2000);
		g_assert_cmpuint(backoff.nominal_ms, ==, 1000);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/backoff/cap", test_grows_to_the_cap);
	g_test_add_func("/core/backoff/jitter", test_jitter);
	g_test_add_func("/core/backoff/odd", test_odd_parameters);
	g_test_add_func("/core/backoff/limits", test_limits);
	return g_test_run();
}
