#ifndef NBH_LOOP_SOURCE_H
#define NBH_LOOP_SOURCE_H

/* What every module that lives in a main loop does with its sources alike. */

#include <glib.h>

static inline gboolean nbh_source_dispatch_timer(GSource *source, GSourceFunc fn, gpointer data)
{
	g_source_set_ready_time(source, -1);
	return fn(data);
}

/*
 * A timer that is made once and armed by g_source_set_ready_time(); -1: it sleeps, as it does first and
 * again whenever fn is called. fn returns G_SOURCE_CONTINUE. To be given to nbh_source_drop().
 */
static inline GSource *nbh_source_new_timer(GSourceFunc fn, gpointer data)
{
	static GSourceFuncs funcs = { .dispatch = nbh_source_dispatch_timer };
	GSource *source = g_source_new(&funcs, sizeof(GSource));

	g_source_set_callback(source, fn, data, NULL);
	g_source_attach(source, g_main_context_get_thread_default());
	return source;
}

/* Ends it, also from inside its callback. NULL in it: nothing. */
static inline void nbh_source_drop(GSource **source)
{
	if (!*source)
		return;

	g_source_destroy(*source);
	g_clear_pointer(source, g_source_unref);
}

#endif
