/*
 * A registered peer that means harm:
 *
 *   hostile-peer URL SETUP-KEY-FILE SECONDS
 *
 * Joins, and then sends every peer of its map whatever a member of the network can send, as fast as
 * the server takes it: offers of ever new sessions, candidates that are none or lead elsewhere,
 * GO_IDLE, unknown types, large bodies; and to the Send of the server envelopes that are cut off,
 * do not open, or claim to come from another peer. Prints what it has sent.
 */
#include "config.h"

#include "base/limits.h"
#include "core/version.h"
#include "mgmt/mgmt.h"
#include "net/grpc.h"
#include "signal/signal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEND "/signalexchange.SignalExchange/Send"
#define BATCH 40 /* messages of one send */

typedef struct {
	struct nbh_key own_private, own_public;
	NbhMgmt *mgmt;
	NbhSignal *signal;
	NbhGrpcChannel *channel; /* for what the signal client would not send */
	char *signal_url;
	NbhNetmap *map;
	gboolean logged_in, time_up;
	guint64 n_sent, n_refused, n_raw;
	guint n_raw_open;
	GRand *rand;
} Mallory;

/* What the far end is told where we are. %u: ever other numbers. */
static const char *const candidates[] = {
	"1 1 udp 2130706431 203.0.113.%u 53 typ host",
	"1 1 udp 2130706430 198.51.100.%u 123 typ srflx raddr 0.0.0.0 rport 51820 cid 1",
	"1 1 udp 2130706430 100.64.0.%u 51820 typ host",
	"1 1 udp 2130706430 100.100.0.%u 51820 typ host",
	"1 1 udp 2130706430 127.0.0.%u 51820 typ host",
	"1 1 udp 2130706430 224.0.0.%u 51820 typ host",
	"1 1 udp 2130706430 169.254.169.%u 80 typ host",
	"1 1 udp 2130706430 240.0.0.%u 51820 typ host",
	"1 1 udp 2130706430 255.255.255.255 %u typ host",
	"1 1 udp 2130706430 203.0.113.255 %u typ srflx raddr 0.0.0.0 rport 5",
	"1 1 udp 2130706430 victim%u.example 51820 typ host",
	"1 1 udp 2130706430 203.0.113.1 0 typ host generation %u",
	"1 1 udp 2130706430 203.0.113.1 70000 typ host generation %u",
	"1 1 udp 2130706430 fe80::%u 51820 typ host",
	"\n\x1b[31m %u",
	"%u",
};

static void get_meta(NbhMeta *ret_meta, gpointer owner)
{
	(void)owner;
	*ret_meta = (NbhMeta){ .hostname = "mallory", .go_os = "linux", .os = "Debian GNU/Linux", .platform = "x86_64",
			       .netbird_version = NBH_AGENT_VERSION, .disable_ipv6 = TRUE };
}

static void on_update(NbhMgmt *mgmt, const NbhMgmtUpdate *update, gpointer owner)
{
	Mallory *mallory = owner;

	(void)mgmt;
	if (update->servers && update->servers->has_signal && !mallory->signal_url)
		mallory->signal_url = g_strdup_printf("http://%s:%u", update->servers->signal_host,
						      update->servers->signal_port);
	if (!update->map)
		return;
	nbh_netmap_unref(mallory->map);
	mallory->map = nbh_netmap_ref(update->map);
}

static void on_mgmt_link(NbhMgmt *mgmt, gboolean up, const char *why, gpointer owner)
{
	(void)mgmt;
	(void)up;
	(void)why;
	(void)owner;
}

static void on_refused(NbhMgmt *mgmt, const char *why, gpointer owner)
{
	(void)mgmt;
	(void)owner;
	fprintf(stderr, "hostile-peer: %s\n", why);
	exit(1);
}

static void on_login(NbhMgmt *mgmt, const GError *error, gpointer owner)
{
	if (error)
		on_refused(mgmt, error->message, owner);
	((Mallory *)owner)->logged_in = TRUE;
}

static void on_message(NbhSignal *signal, const struct nbh_key *from, const NbhSignalMessage *message, gpointer owner)
{
	(void)signal;
	(void)from;
	(void)message;
	(void)owner;
}

static void on_signal_link(NbhSignal *signal, gboolean up, const char *why, gpointer owner)
{
	(void)signal;
	(void)up;
	(void)why;
	(void)owner;
}

static gboolean is_known(const struct nbh_key *key, gpointer owner)
{
	(void)key;
	(void)owner;
	return TRUE;
}

static void fill_session(Mallory *mallory, NbhSignalMessage *message)
{
	guint32 number = g_rand_int(mallory->rand);

	message->has_ice = number % 16 != 0;
	g_snprintf(message->creds.ufrag, sizeof(message->creds.ufrag), "u%08x", number);
	g_snprintf(message->creds.pwd, sizeof(message->creds.pwd), number % 8 ? "p%032x" : "p%x", number);
	message->session.present = number % 4 != 0;
	memcpy(message->session.bytes, &number, sizeof(number));
	g_strlcpy(message->version, "\x1b]0;mallory\a\"\n", sizeof(message->version));
}

static void fill(Mallory *mallory, NbhSignalMessage *message)
{
	guint which = (guint)g_rand_int_range(mallory->rand, 0, 20);

	if (which < 6) {
		message->type = which % 2 ? NBH_SIGNAL_OFFER : NBH_SIGNAL_ANSWER;
		fill_session(mallory, message);
	} else if (which < 17) {
		const char *form = candidates[g_rand_int_range(mallory->rand, 0, G_N_ELEMENTS(candidates))];
		g_autofree char *number = g_strdup_printf("%d", g_rand_int_range(mallory->rand, 1, 255));
		g_auto(GStrv) parts = g_strsplit(form, "%u", 2);

		message->type = NBH_SIGNAL_CANDIDATE;
		g_snprintf(message->candidate, sizeof(message->candidate), "%s%s%s", parts[0], number, parts[1]);
	} else {
		static const guint types[] = { NBH_SIGNAL_GO_IDLE, 99, NBH_SIGNAL_HEARTBEAT };

		message->type = types[which - 17];
	}
}

static void put_field(GByteArray *out, guint number, const void *data, gsize len)
{
	guint8 head[] = { (guint8)(number << 3 | 2), (guint8)(len & 0x7f) | 0x80, (guint8)(len >> 7 & 0x7f) | 0x80,
			  (guint8)(len >> 14 & 0x7f) };

	g_byte_array_append(out, head, sizeof(head));
	g_byte_array_append(out, data, (guint)len);
}

static void on_raw_done(int status, const char *message, GBytes *reply, gpointer owner)
{
	Mallory *mallory = owner;

	(void)status;
	(void)message;
	(void)reply;
	mallory->n_raw_open--;
}

/* An envelope that the server routes; its body is a cut or damaged box, or noise, up to the largest size. */
static void send_raw(Mallory *mallory, const NbhNetmapPeer *to, const NbhNetmapPeer *as)
{
	struct nbh_key_text to_text = nbh_key_format(&to->key);
	struct nbh_key_text from_text = nbh_key_format(as ? &as->key : &mallory->own_public);
	g_autoptr(GByteArray) envelope = g_byte_array_new();
	g_autoptr(GByteArray) body = g_byte_array_new();
	g_autoptr(GBytes) bytes = NULL;
	guint len = (guint)g_rand_int_range(mallory->rand, 0, g_rand_boolean(mallory->rand) ? 100 : 65000);

	g_byte_array_set_size(body, len);
	for (guint i = 0; i < len; i++)
		body->data[i] = (guint8)g_rand_int(mallory->rand);
	put_field(envelope, 2, from_text.text, strlen(from_text.text));
	put_field(envelope, 3, to_text.text, strlen(to_text.text));
	put_field(envelope, 4, body->data, len);
	if (len % 7 == 0)
		g_byte_array_set_size(envelope, envelope->len - MIN(envelope->len, len / 2 + 1));
	bytes = g_bytes_new(envelope->data, envelope->len);
	mallory->n_raw++;
	mallory->n_raw_open++;
	nbh_grpc_unary(mallory->channel, SEND, bytes, 10000, on_raw_done, mallory);
}

/* Fills the line of one peer again and again: the answer to a batch calls for the next. */
static void on_sent(gboolean ok, gpointer data, gpointer owner)
{
	Mallory *mallory = owner;

	mallory->n_refused += ok ? 0 : 1;
	*(gboolean *)data = FALSE;
}

static void attack(Mallory *mallory, const NbhNetmapPeer *to, gboolean *busy)
{
	g_autofree NbhSignalMessage *messages = g_new0(NbhSignalMessage, BATCH);

	for (guint i = 0; i < BATCH; i++)
		fill(mallory, &messages[i]);
	*busy = TRUE;
	mallory->n_sent += BATCH;
	nbh_signal_grpc.send(mallory->signal, &to->key, messages, BATCH, on_sent, busy);
}

static gboolean on_time_up(gpointer data)
{
	((Mallory *)data)->time_up = TRUE;
	return G_SOURCE_REMOVE;
}

static void run(Mallory *mallory, guint seconds)
{
	NbhNetmap *map = nbh_netmap_ref(mallory->map);
	g_autofree gboolean *busy = g_new0(gboolean, map->n_peers);

	g_timeout_add_seconds(seconds, on_time_up, mallory);
	while (!mallory->time_up) {
		for (gsize i = 0; i < map->n_peers; i++) {
			if (!busy[i])
				attack(mallory, &map->peers[i], &busy[i]);
			if (mallory->n_raw_open < 16)
				send_raw(mallory, &map->peers[i], g_rand_boolean(mallory->rand)
									  ? &map->peers[(i + 1) % map->n_peers]
									  : NULL);
		}
		g_main_context_iteration(NULL, TRUE);
	}
	nbh_signal_grpc.free(mallory->signal); /* before busy */
	nbh_netmap_unref(map);
}

#define wait_for(condition)                                   \
	G_STMT_START                                          \
	{                                                     \
		while (!(condition))                          \
			g_main_context_iteration(NULL, TRUE); \
	}                                                     \
	G_STMT_END

int main(int argc, char **argv)
{
	static const NbhMgmtEvents mgmt_events = { on_update, on_mgmt_link, on_refused, NULL };
	static const NbhSignalEvents signal_events = { on_message, on_signal_link };
	Mallory mallory = { .rand = g_rand_new_with_seed(1) };
	NbhMgmtConfig config = { .get_meta = get_meta };
	NbhSignalConfig signal_config = { .is_known = is_known };
	g_autofree char *key = NULL;

	if (argc != 4 || !g_file_get_contents(argv[2], &key, NULL, NULL)) {
		fprintf(stderr, "usage: hostile-peer URL SETUP-KEY-FILE SECONDS\n");
		return 2;
	}
	g_strstrip(key);
	nbh_key_generate_private(&mallory.own_private);
	nbh_key_public(&mallory.own_private, &mallory.own_public);
	printf("key %s\n", nbh_key_format(&mallory.own_public).text);
	fflush(stdout);
	config.url = argv[1];
	config.own_private = signal_config.own_private = mallory.own_private;
	mallory.mgmt = nbh_mgmt_grpc.open(&config, &mgmt_events, &mallory, NULL);
	if (!mallory.mgmt)
		return 1;
	nbh_mgmt_grpc.login(mallory.mgmt, key, on_login);
	wait_for(mallory.logged_in);
	nbh_mgmt_grpc.sync(mallory.mgmt);
	wait_for(mallory.map && mallory.map->n_peers > 0 && mallory.signal_url);
	signal_config.url = mallory.signal_url;
	mallory.signal = nbh_signal_grpc.open(&signal_config, &signal_events, &mallory, NULL);
	mallory.channel = nbh_grpc_channel_new(mallory.signal_url, NULL, NULL);
	if (!mallory.signal || !mallory.channel)
		return 1;
	wait_for(nbh_signal_grpc.is_up(mallory.signal));
	run(&mallory, (guint)strtoul(argv[3], NULL, 10));
	printf("sent %" G_GUINT64_FORMAT " refused %" G_GUINT64_FORMAT " raw %" G_GUINT64_FORMAT "\n", mallory.n_sent,
	       mallory.n_refused, mallory.n_raw);
	nbh_grpc_channel_free(mallory.channel);
	nbh_mgmt_grpc.free(mallory.mgmt);
	nbh_netmap_unref(mallory.map);
	g_free(mallory.signal_url);
	g_rand_free(mallory.rand);
	return 0;
}
