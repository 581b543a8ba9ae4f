#ifndef NBH_TESTS_LIB_LOOP_H
#define NBH_TESTS_LIB_LOOP_H

/* Turns the main loop until something has happened, and fails the test when it does not. */

#include <glib.h>

static gboolean test_loop_expired(gpointer expired)
{
	*(gboolean *)expired = TRUE;
	return G_SOURCE_REMOVE;
}

/* The limit only decides how long a broken test takes. */
#define test_run_until(condition)                                                                  \
	G_STMT_START                                                                               \
	{                                                                                          \
		gboolean test_expired = FALSE;                                                     \
		guint test_id = g_timeout_add(20000, test_loop_expired, &test_expired);            \
                                                                                                   \
		while (!(condition) && !test_expired)                                              \
			g_main_context_iteration(NULL, TRUE);                                      \
		g_assert_true(condition);                                                          \
		if (!test_expired)                                                                 \
			g_source_remove(test_id);                                                  \
	}                                                                                          \
	G_STMT_END

/* The same for what the loop does not see. Asks again and again. */
#define test_poll_until(condition)                                                                 \
	G_STMT_START                                                                               \
	{                                                                                          \
		gint64 test_end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;                    \
		gboolean test_ok;                                                                  \
                                                                                                   \
		while (!(test_ok = (condition)) && g_get_monotonic_time() < test_end)              \
			g_main_context_iteration(NULL, FALSE);                                     \
		g_assert_true(test_ok);                                                            \
	}                                                                                          \
	G_STMT_END

/* Handles whatever is already due. */
static inline void test_drain_loop(void)
{
	while (g_main_context_iteration(NULL, FALSE)) {
	}
}

#endif
