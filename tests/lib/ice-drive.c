/*
 * ice-drive: plays the helper for two netbird-ice at once. Exchanges credentials and candidates by
 * hand and says what happened, one line per event with the milliseconds since both were ready:
 *
 *   ready A BACKEND | session A | mapped A ADDR:PORT|- | selected A LTYPE LOCAL RTYPE REMOTE MS
 *   failed A | lost A | down A
 *
 * Without --dir-b the far end is somebody else, who has B's credentials and host candidates.
 * MS of "selected" counts from the moment the first offer would have been processed. Ends with 0
 * when every step was done, with 1 when a step took longer than --timeout.
 */
#include "config.h"

#include "ice/ice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
	char name;
	NbhIce *ice;
	const char *dir, *role;
	char **hosts;
	struct nbh_key far;
	NbhIceCreds creds;
	gboolean ready, answered, selected, failed, lost, down;
	struct nbh_endpoint mapped;
	gint64 selected_at;
} End;

static End ends[2] = { { .name = 'A' }, { .name = 'B' } };
static GMainLoop *loop;
static gint64 ready_at, offered_at;
static int port = 51820, liveness_ms = 6000, hold_ms, timeout_s = 15;
static gboolean keepalives = TRUE;
static char *stun, *dir_a, *dir_b, *hosts_a, *hosts_b, *wait_for, *letters;
static gboolean controlled, same_role, no_open;
static int rounds = 1;

static void G_GNUC_PRINTF(1, 2) tell(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("%lld ", ready_at ? (long long)(g_get_monotonic_time() - ready_at) / 1000 : 0);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	g_main_loop_quit(loop);
}

static void on_ready(NbhIce *ice G_GNUC_UNUSED, const char *backend, gpointer owner)
{
	End *e = owner;

	e->ready = TRUE;
	e->down = FALSE;
	tell("ready %c %s", e->name, backend);
}

static void on_down(NbhIce *ice G_GNUC_UNUSED, const char *why, gpointer owner)
{
	End *e = owner;

	e->ready = FALSE;
	e->down = TRUE;
	tell("down %c %s", e->name, why);
}

static void on_session(NbhIce *ice G_GNUC_UNUSED, const NbhIceSession *session, gpointer owner)
{
	End *e = owner;

	tell("session %c %s %s", e->name, session->local.ufrag, session->selected ? "selected" : "-");
}

static void on_selected(NbhIce *ice G_GNUC_UNUSED, const struct nbh_key *peer G_GNUC_UNUSED,
                        const NbhIcePair *pair, gpointer owner)
{
	End *e = owner;
	char local[NBH_ENDPOINT_TEXT_MAX], remote[NBH_ENDPOINT_TEXT_MAX];

	e->selected = TRUE;
	tell("selected %c %s %s %s %s %lld", e->name, nbh_candidate_type_name(pair->local_type),
	     nbh_endpoint_format(&pair->local, local), nbh_candidate_type_name(pair->remote_type),
	     nbh_endpoint_format(&pair->remote, remote), (long long)(g_get_monotonic_time() - offered_at) / 1000);
}

static void on_failed(NbhIce *ice G_GNUC_UNUSED, const struct nbh_key *peer G_GNUC_UNUSED, gpointer owner)
{
	End *e = owner;

	e->failed = TRUE;
	tell("failed %c", e->name);
}

static void on_lost(NbhIce *ice G_GNUC_UNUSED, const struct nbh_key *peer G_GNUC_UNUSED, gpointer owner)
{
	End *e = owner;

	e->lost = TRUE;
	tell("lost %c", e->name);
}

static void on_mapped(NbhIce *ice G_GNUC_UNUSED, const struct nbh_endpoint *server G_GNUC_UNUSED,
                      const struct nbh_endpoint *mapped, gpointer owner)
{
	End *e = owner;
	char text[NBH_ENDPOINT_TEXT_MAX] = "-";

	e->answered = TRUE;

	if (mapped) {
		e->mapped = *mapped;
		nbh_endpoint_format(mapped, text);
	}

	tell("mapped %c %s", e->name, text);
}

static const NbhIceEvents events = { on_ready, on_down, on_session, on_selected, on_failed, on_lost, on_mapped, NULL };

static gboolean on_too_late(gpointer what)
{
	printf("timeout %s\n", (const char *)what);
	exit(1);
}

#define WAIT_FOR(done) \
	do { \
		guint timer_ = g_timeout_add_seconds((guint)timeout_s, on_too_late, (gpointer) #done); \
		while (!(done)) \
			g_main_loop_run(loop); \
		g_source_remove(timer_); \
	} while (0)

static gboolean on_hold_over(gpointer data)
{
	*(gboolean *)data = TRUE;
	g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

static void wait_ms(int ms)
{
	gboolean over = FALSE;

	g_timeout_add((guint)ms, on_hold_over, &over);

	while (!over)
		g_main_loop_run(loop);
}

static void set_up(End *e, char **hosts, guint8 key_byte, char letter)
{
	e->hosts = hosts;
	memset(e->far.bytes, key_byte, NBH_KEY_LEN);
	memset(&e->creds, 0, sizeof(e->creds));
	memset(e->creds.ufrag, letter, 16);
	memset(e->creds.pwd, letter, 32);

	if (!e->dir) { /* nothing to wait for */
		e->ready = e->answered = e->selected = e->failed = e->lost = e->down = TRUE;
		return;
	}

	e->ice = nbh_ice_process.open(e->dir, &events, e, NULL);
	nbh_ice_process.set_port(e->ice, (guint16)port);
}

static void open_session(End *e, gboolean controlling)
{
	NbhIceOpen open = { .peer = e->far, .local = e->creds, .controlling = controlling,
		            .liveness_ms = (guint)liveness_ms, .consent_keepalives = keepalives };

	if (!e->ice)
		return;

	e->selected = e->failed = e->lost = FALSE;
	nbh_ice_process.session_open(e->ice, &open);
}

static void send_candidates(End *to, const End *of)
{
	struct nbh_addr hosts[8];
	gsize n_hosts = 0, n;
	NbhCandidate candidates[16];

	for (char **host = of->hosts; *host && n_hosts < G_N_ELEMENTS(hosts); host++)
		if (!nbh_addr_parse(*host, &hosts[n_hosts]))
			n_hosts++;

	n = nbh_candidates_make(hosts, n_hosts, &of->mapped, nbh_endpoint_is_set(&of->mapped), (guint16)port,
	                        candidates, G_N_ELEMENTS(candidates));

	for (gsize i = 0; i < n; i++)
		nbh_ice_process.session_candidate(to->ice, &to->far, &candidates[i]);
}

static void connect_ends(void)
{
	End *a = &ends[0], *b = &ends[1];

	offered_at = g_get_monotonic_time();
	open_session(a, !controlled);
	open_session(b, same_role ? !controlled : controlled);
	nbh_ice_process.session_remote(a->ice, &a->far, &b->creds, NULL);
	send_candidates(a, b);

	if (!b->ice)
		return;

	nbh_ice_process.session_remote(b->ice, &b->far, &a->creds, NULL);
	send_candidates(b, a);
}

static void ask_stun(void)
{
	struct nbh_endpoint server;

	if (!stun || nbh_endpoint_parse(stun, &server))
		return;

	for (int i = 0; i < 2 && ends[i].ice; i++)
		nbh_ice_process.stun_query(ends[i].ice, &server);

	WAIT_FOR(ends[0].answered && ends[1].answered);
}

static void wait_for_what_was_asked(void)
{
	if (!strcmp(wait_for, "failed"))
		WAIT_FOR(ends[0].failed && ends[1].failed);
	else if (!strcmp(wait_for, "lost"))
		WAIT_FOR(ends[0].lost && ends[1].lost);
	else if (!strcmp(wait_for, "down"))
		WAIT_FOR(ends[0].down && ends[1].down);
}

static int run(void)
{
	g_auto(GStrv) list_a = g_strsplit(hosts_a ? hosts_a : "", ",", 8);
	g_auto(GStrv) list_b = g_strsplit(hosts_b ? hosts_b : "", ",", 8);

	loop = g_main_loop_new(NULL, FALSE);
	ends[0].dir = dir_a;
	ends[1].dir = dir_b;
	set_up(&ends[0], list_a, 0xb0, letters ? letters[0] : 'a');
	set_up(&ends[1], list_b, 0xa0, letters ? letters[1] : 'B');
	WAIT_FOR(ends[0].ready && ends[1].ready);
	ready_at = g_get_monotonic_time();
	ask_stun();

	for (int i = 0; i < rounds && !no_open; i++) {
		connect_ends();

		if (!wait_for || strcmp(wait_for, "failed") != 0)
			WAIT_FOR(ends[0].selected && ends[1].selected);
	}

	if (wait_for)
		wait_for_what_was_asked();

	if (hold_ms)
		wait_ms(hold_ms);

	for (int i = 0; i < 2; i++)
		nbh_ice_process.free(ends[i].ice);

	g_main_loop_unref(loop);
	return 0;
}

int main(int argc, char **argv)
{
	const GOptionEntry entries[] = {
		{ "dir-a", 0, 0, G_OPTION_ARG_STRING, &dir_a, "config directory", "DIR" },
		{ "dir-b", 0, 0, G_OPTION_ARG_STRING, &dir_b, "config directory", "DIR" },
		{ "hosts-a", 0, 0, G_OPTION_ARG_STRING, &hosts_a, "host candidates", "ADDR,..." },
		{ "hosts-b", 0, 0, G_OPTION_ARG_STRING, &hosts_b, "host candidates", "ADDR,..." },
		{ "stun", 0, 0, G_OPTION_ARG_STRING, &stun, "STUN server", "ADDR:PORT" },
		{ "port", 0, 0, G_OPTION_ARG_INT, &port, "WireGuard's port", "N" },
		{ "a-controlled", 0, 0, G_OPTION_ARG_NONE, &controlled, "A is controlled", NULL },
		{ "same-role", 0, 0, G_OPTION_ARG_NONE, &same_role, "both have A's role", NULL },
		{ "liveness", 0, 0, G_OPTION_ARG_INT, &liveness_ms, "as in OPEN", "MS" },
		{ "no-keepalives", 0, G_OPTION_FLAG_REVERSE, G_OPTION_ARG_NONE, &keepalives, "as in OPEN", NULL },
		{ "no-open", 0, 0, G_OPTION_ARG_NONE, &no_open, "only list and wait", NULL },
		{ "rounds", 0, 0, G_OPTION_ARG_INT, &rounds, "connect so many times", "N" },
		{ "letters", 0, 0, G_OPTION_ARG_STRING, &letters, "credentials", "aB" },
		{ "wait", 0, 0, G_OPTION_ARG_STRING, &wait_for, "selected, failed, lost or down", "WHAT" },
		{ "hold", 0, 0, G_OPTION_ARG_INT, &hold_ms, "stay so long at the end", "MS" },
		{ "timeout", 0, 0, G_OPTION_ARG_INT, &timeout_s, "for each step", "S" },
		G_OPTION_ENTRY_NULL,
	};
	g_autoptr(GOptionContext) context = g_option_context_new(NULL);
	char **texts[] = { &dir_a, &dir_b, &hosts_a, &hosts_b, &stun, &wait_for, &letters };
	int r;

	g_option_context_add_main_entries(context, entries, NULL);

	if (!g_option_context_parse(context, &argc, &argv, NULL) || !dir_a)
		return 2;

	r = run();

	for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(*texts[i]);

	return r;
}
