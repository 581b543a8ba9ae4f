/*
 * netbird-hub for measurements: machines whose names begin with "far" have all others in their maps
 * but not one another. So one helper can have a hundred peers without 4950 tunnels among them.
 * It takes the options of netbird-hub that serve; keys are made by netbird-hub itself.
 */
#include "config.h"

#include "base/log.h"
#include "hub/datadir.h"
#include "hub/hub.h"
#include "hub/options.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>

static gboolean may_see(const char *name, const char *other)
{
	return !g_str_has_prefix(name, "far") || !g_str_has_prefix(other, "far");
}

static gboolean on_terminate(gpointer loop)
{
	g_main_loop_quit(loop);
	return G_SOURCE_CONTINUE;
}

static int serve(NbhHubOptions *options, GError **error)
{
	g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
	NbhHub *hub;

	options->hub.may_see = may_see;
	if (!nbh_datadir_prepare(options->dir, error))
		return 1;
	hub = nbh_hub_start(&options->hub, error);
	if (!hub)
		return 1;
	g_unix_signal_add(SIGTERM, on_terminate, loop);
	g_main_loop_run(loop);
	nbh_hub_free(hub);
	return 0;
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	NbhHubOptions options;
	int status = 2;

	(void)signal(SIGPIPE, SIG_IGN);
	nbh_log_init("star-hub");
	if (nbh_hub_options_parse(argc, argv, &options, &error)) {
		status = serve(&options, &error);
		nbh_hub_options_clear(&options);
	}
	if (error)
		fprintf(stderr, "star-hub: %s\n", error->message);
	return status;
}
