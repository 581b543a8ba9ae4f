/*
 * Drives the management and signal clients against a running server and prints what it took:
 *
 *   live-servers URL SETUP-KEY-FILE [SENDS [SECONDS]]
 *
 * Registers two machines, syncs both, exchanges messages between them, watches the links for some
 * seconds (restart the server meanwhile), logs both out again.
 */
#include "config.h"

#include "mgmt/mgmt.h"
#include "signal/signal.h"

#include "core/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	const char *name;
	struct nbh_key own_private, own_public;
	NbhMgmt *mgmt;
	NbhSignal *signal;
	gboolean logged_in, is_synced, sees_far, signal_up, logged_out;
	guint n_updates, n_messages, n_sent, n_failed;
	char *signal_url;
	struct nbh_key far;
} Machine;

static gint64 started;

static double ms_since(gint64 then)
{
	return (double)(g_get_monotonic_time() - then) / 1000;
}

G_GNUC_PRINTF(2, 3)
static void say(const Machine *machine, const char *format, ...)
{
	va_list args;

	printf("%9.2f ms  %s  ", ms_since(started), machine->name);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static void get_meta(NbhMeta *ret_meta, gpointer owner)
{
	Machine *machine = owner;

	*ret_meta = (NbhMeta){
		.hostname = machine->name,
		.go_os = "linux",
		.kernel = "Linux",
		.platform = "x86_64",
		.os = "Debian GNU/Linux",
		.os_version = "12",
		.netbird_version = NBH_AGENT_VERSION,
		.kernel_version = "6.1.0",
		.disable_ipv6 = TRUE,
	};
}

static void on_update(NbhMgmt *mgmt, const NbhMgmtUpdate *update, gpointer owner)
{
	Machine *machine = owner;

	(void)mgmt;
	machine->n_updates++;
	if (update->servers && update->servers->has_signal) {
		g_free(machine->signal_url);
		machine->signal_url = g_strdup_printf("%s://%s:%u", update->servers->signal_tls ? "https" : "http",
						      update->servers->signal_host, update->servers->signal_port);
	}
	if (update->map && nbh_netmap_find(update->map, &machine->far))
		machine->sees_far = TRUE;
	say(machine, "update: servers %d, own config %d, peers %d", update->servers != NULL,
	    update->has_peer_config, update->map ? (int)update->map->n_peers : -1);
}

static void on_mgmt_link(NbhMgmt *mgmt, gboolean up, const char *why, gpointer owner)
{
	Machine *machine = owner;

	(void)mgmt;
	machine->is_synced = up;
	say(machine, "sync %s %s", up ? "up" : "down", why);
}

static void on_refused(NbhMgmt *mgmt, const char *why, gpointer owner)
{
	(void)mgmt;
	say(owner, "REFUSED %s", why);
}

static const NbhMgmtEvents mgmt_events = { on_update, on_mgmt_link, on_refused, NULL };

static void on_login(NbhMgmt *mgmt, const GError *error, gpointer owner)
{
	Machine *machine = owner;

	(void)mgmt;
	say(machine, "login %s", error ? error->message : "ok");
	if (error)
		exit(1);
	machine->logged_in = TRUE;
}

static void on_logout(NbhMgmt *mgmt, const GError *error, gpointer owner)
{
	Machine *machine = owner;

	(void)mgmt;
	say(machine, "logout %s", error ? error->message : "ok");
	machine->logged_out = TRUE;
}

static void on_message(NbhSignal *signal, const struct nbh_key *from, const NbhSignalMessage *message, gpointer owner)
{
	Machine *machine = owner;

	(void)signal;
	(void)from;
	if (machine->n_messages++ == 0)
		say(machine, "first signal message, type %u", message->type);
}

static void on_signal_link(NbhSignal *signal, gboolean up, const char *why, gpointer owner)
{
	Machine *machine = owner;

	(void)signal;
	machine->signal_up = up;
	say(machine, "signal %s %s", up ? "up" : "down", why);
}

static const NbhSignalEvents signal_events = { on_message, on_signal_link };

static gboolean is_known(const struct nbh_key *key, gpointer owner)
{
	return nbh_key_equal(key, &((Machine *)owner)->far);
}

static void on_sent(gboolean ok, gpointer data, gpointer owner)
{
	Machine *machine = owner;

	if (machine->n_sent++ == 0)
		say(machine, "first send returned");
	machine->n_failed += ok ? 0 : 1;
	(void)data;
}

static void send_offer(Machine *machine)
{
	NbhSignalMessage offer = { .type = NBH_SIGNAL_OFFER, .has_ice = TRUE, .wg_listen_port = 51820 };

	g_strlcpy(offer.creds.ufrag, "abcdefghijklmnop", sizeof(offer.creds.ufrag));
	g_strlcpy(offer.creds.pwd, "abcdefghijklmnopabcdefghijklmnop", sizeof(offer.creds.pwd));
	g_strlcpy(offer.version, NBH_AGENT_VERSION, sizeof(offer.version));
	nbh_signal_grpc.send(machine->signal, &machine->far, &offer, 1, on_sent, NULL);
}

static void machine_open(Machine *machine, const char *name, const char *url)
{
	NbhMgmtConfig config = { .url = url, .get_meta = get_meta };
	g_autoptr(GError) error = NULL;

	machine->name = name;
	nbh_key_generate_private(&machine->own_private);
	nbh_key_public(&machine->own_private, &machine->own_public);
	config.own_private = machine->own_private;
	machine->mgmt = nbh_mgmt_grpc.open(&config, &mgmt_events, machine, &error);
	if (!machine->mgmt) {
		fprintf(stderr, "%s\n", error->message);
		exit(1);
	}
}

static void machine_open_signal(Machine *machine)
{
	NbhSignalConfig config = { .url = machine->signal_url, .own_private = machine->own_private, .is_known = is_known };
	g_autoptr(GError) error = NULL;

	machine->signal = nbh_signal_grpc.open(&config, &signal_events, machine, &error);
	if (!machine->signal) {
		fprintf(stderr, "%s\n", error->message);
		exit(1);
	}
}

static gboolean on_time_up(gpointer time_up)
{
	*(gboolean *)time_up = TRUE;
	return G_SOURCE_REMOVE;
}

#define wait_for(condition)                                       \
	G_STMT_START                                              \
	{                                                         \
		while (!(condition))                              \
			g_main_context_iteration(NULL, TRUE);     \
	}                                                         \
	G_STMT_END

int main(int argc, char **argv)
{
	Machine a = { 0 }, b = { 0 };
	g_autofree char *key = NULL;
	guint n_sends = argc > 3 ? (guint)strtoul(argv[3], NULL, 10) : 1000;
	gboolean time_up = FALSE;
	gint64 then;

	if (argc < 3 || !g_file_get_contents(argv[2], &key, NULL, NULL)) {
		fprintf(stderr, "usage: live-servers URL SETUP-KEY-FILE [SENDS [SECONDS]]\n");
		return 2;
	}
	g_strstrip(key);
	machine_open(&a, "live-a", argv[1]);
	machine_open(&b, "live-b", argv[1]);
	a.far = b.own_public;
	b.far = a.own_public;
	started = g_get_monotonic_time();
	nbh_mgmt_grpc.login(a.mgmt, key, on_login);
	wait_for(a.logged_in);
	nbh_mgmt_grpc.sync(a.mgmt);
	wait_for(a.is_synced);
	nbh_mgmt_grpc.login(b.mgmt, key, on_login);
	wait_for(b.logged_in);
	nbh_mgmt_grpc.sync(b.mgmt);
	wait_for(a.sees_far && b.sees_far);
	say(&a, "both see each other");
	machine_open_signal(&a);
	machine_open_signal(&b);
	wait_for(a.signal_up && b.signal_up);
	then = g_get_monotonic_time();
	send_offer(&a);
	wait_for(b.n_messages == 1 && a.n_sent == 1);
	say(&b, "one message took %.2f ms", ms_since(then));
	then = g_get_monotonic_time();
	for (guint i = 0; i < n_sends; i++)
		send_offer(i % 2 ? &a : &b);
	wait_for(a.n_sent + b.n_sent == n_sends + 1 && a.n_messages + b.n_messages == n_sends + 1);
	say(&b, "%u messages took %.2f ms, %u failed", n_sends, ms_since(then), a.n_failed + b.n_failed);
	if (argc > 4) {
		g_timeout_add_seconds((guint)strtoul(argv[4], NULL, 10), on_time_up, &time_up);
		wait_for(time_up);
		/* Whoever was cut off may need a moment. */
		wait_for(a.is_synced && b.is_synced && a.signal_up && b.signal_up);
	}
	nbh_mgmt_grpc.logout(a.mgmt, on_logout);
	nbh_mgmt_grpc.logout(b.mgmt, on_logout);
	wait_for(a.logged_out && b.logged_out);
	nbh_signal_grpc.free(a.signal);
	nbh_signal_grpc.free(b.signal);
	nbh_mgmt_grpc.free(a.mgmt);
	nbh_mgmt_grpc.free(b.mgmt);
	g_free(a.signal_url);
	g_free(b.signal_url);
	return 0;
}
