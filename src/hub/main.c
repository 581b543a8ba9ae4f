#include "config.h"

#include "base/log.h"
#include "base/notify.h"
#include "hub/admin.h"
#include "hub/datadir.h"
#include "hub/hub.h"
#include "hub/options.h"

#include <glib-unix.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum {
	STATUS_OK = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_PERMISSION = 77,
	STATUS_CONFIG = 78,
};

static int status_of(const GError *error)
{
	if (error->domain == G_OPTION_ERROR)
		return STATUS_USAGE;
	if (error->domain == NBH_HUB_ERROR)
		return STATUS_CONFIG;
	if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED))
		return STATUS_PERMISSION;
	if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT))
		return STATUS_CONFIG; /* hub.key is damaged, an address that is none of ours */
	return STATUS_FAILED;
}

static int fail(const GError *error)
{
	fprintf(stderr, "netbird-hub: %s\n", error->message);
	return status_of(error);
}

/* One descriptor per connection; the usual soft limit is a quarter of our own cap. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static gboolean on_terminate(gpointer data)
{
	nbh_notify("STOPPING=1");
	g_main_loop_quit(data);
	return G_SOURCE_CONTINUE;
}

/* For `systemctl reload` and the habit of a lifetime: there is nothing that does not read itself. */
static gboolean on_hangup(gpointer unused)
{
	(void)unused;
	nbh_log(NBH_LOG_NOTICE, "hub",
		"hangup: certificates are read again by themselves; all else are options of the command line");
	return G_SOURCE_CONTINUE;
}

static int serve(const NbhHubOptions *options)
{
	g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
	g_autoptr(GError) error = NULL;
	g_autofree char *ready = NULL;
	NbhHub *hub;

	raise_descriptor_limit();
	hub = nbh_hub_start(&options->hub, &error);
	if (!hub)
		return fail(error);
	g_unix_signal_add(SIGTERM, on_terminate, loop);
	g_unix_signal_add(SIGINT, on_terminate, loop);
	g_unix_signal_add(SIGHUP, on_hangup, NULL);
	printf("netbird-hub: %s\n", nbh_hub_summary(hub));
	fflush(stdout);
	ready = g_strdup_printf("READY=1\nSTATUS=%s", nbh_hub_summary(hub));
	nbh_notify(ready);
	g_main_loop_run(loop);
	nbh_hub_free(hub);
	return STATUS_OK;
}

static int administer(const NbhHubOptions *options)
{
	g_autoptr(GError) error = NULL;
	NbhStore *store = nbh_store_open(options->dir, &error);
	int status = STATUS_OK;

	if (!store)
		return fail(error);
	if (!nbh_admin_run(options, store, nbh_datadir_is_served(options->dir),
			   g_get_real_time() / G_USEC_PER_SEC, stdout, stderr, &error))
		status = fail(error);
	nbh_store_close(store);
	return fflush(stdout) == 0 ? status : STATUS_FAILED;
}

static int run(const NbhHubOptions *options)
{
	g_autoptr(GError) error = NULL;
	const char *level = options->log_level ? options->log_level : g_getenv("NB_LOG_LEVEL");

	if (options->command == NBH_HUB_VERSION) {
		printf("netbird-hub %s\n", PACKAGE_VERSION);
		return STATUS_OK;
	}
	if (level && nbh_log_set_level(level) < 0) {
		fprintf(stderr, "netbird-hub: log level \"%s\": use error, warn, notice, info or debug\n",
			level);
		return STATUS_USAGE;
	}
	if (!nbh_datadir_prepare(options->dir, &error))
		return fail(error);
	return options->command == NBH_HUB_SERVE ? serve(options) : administer(options);
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	NbhHubOptions options;
	int status;

	setlocale(LC_ALL, "");
	(void)signal(SIGPIPE, SIG_IGN);
	/* Its private key and clients' setup keys are in memory: no core dump. */
	(void)prctl(PR_SET_DUMPABLE, 0);
	nbh_log_init("netbird-hub");
	if (!nbh_hub_options_parse(argc, argv, &options, &error))
		return fail(error);
	status = run(&options);
	nbh_hub_options_clear(&options);
	return status;
}
