/*
 * A hub that says whatever a script wants:
 *
 *   bad-hub ADDRESS PORT FIFO
 *
 * Serves management and signal on one port, without TLS, to whoever comes: client N (from 0, printed
 * as "client N KEY") gets 100.64.0.(N+1)/16. It is honest until a line in FIFO says otherwise:
 *
 *   send N FILE                      FILE is the plaintext of a SyncResponse; client N gets it now
 *   flood N FILE FILE RATE SECONDS   the two in turn, RATE times a second
 *   first N FILE                     a new Sync of client N begins with it; "-": honest again
 *   signal HOST PORT                 what Login and honest maps name as the signal server
 *   honest                           everybody gets the honest map
 *
 * Each line is answered by "done LINE" on stdout, a flood when it is over.
 */
#include "config.h"

#include "base/limits.h"
#include "net/grpc.h"
#include "tests/lib/grpcserver.h"
#include "wire/mgmtmsg.h"
#include "wire/signalmsg.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <glib-unix.h>

#define MANAGEMENT "/management.ManagementService/"
#define SIGNAL "/signalexchange.SignalExchange/"
#define CLIENTS_MAX 200
#define TICK_MS 10

typedef struct {
	struct nbh_key key;
	NbhH2srvCall *sync, *signal; /* NULL: not there */
	GBytes *first;               /* owned; NULL: honest */
} Client;

typedef struct {
	guint client;
	GBytes *plain[2]; /* owned */
	guint rate, turn;
	guint64 n_sent, n_wanted;
	gint64 began_usec;
	char *line; /* owned */
} Flood;

static TestGrpc server;
static struct nbh_key own_private, own_public;
static GArray *clients;       /* Client */
static GHashTable *streaming; /* NbhH2srvCall -> where it is kept (NbhH2srvCall **) */
static char *signal_host;     /* owned */
static guint16 signal_port;
static guint64 serial;
static GString *lines; /* of FIFO, until now */

static Client *client_at(guint index)
{
	return index < clients->len ? &g_array_index(clients, Client, index) : NULL;
}

static gint index_of(const struct nbh_key *key)
{
	for (guint i = 0; i < clients->len; i++)
		if (nbh_key_equal(&client_at(i)->key, key))
			return (gint)i;

	return -1;
}

/* ---- what an honest hub says ------------------------------------------------------------------ */

static void fill_servers(NbhServerConfig *servers)
{
	servers->has_signal = TRUE;
	servers->signal_port = signal_port;
	g_strlcpy(servers->signal_host, signal_host, sizeof(servers->signal_host));
	servers->stuns = g_ptr_array_new();
	servers->turns = g_ptr_array_new();
	servers->relays = g_ptr_array_new();
}

static void clear_servers(NbhServerConfig *servers)
{
	g_ptr_array_unref(servers->stuns);
	g_ptr_array_unref(servers->turns);
	g_ptr_array_unref(servers->relays);
}

static NbhPeerConfig config_of(guint index)
{
	NbhPeerConfig config = { .address = { .addr = { AF_INET, { 100, 64, 0, (guint8)(index + 1) } }, .len = 16 } };

	g_snprintf(config.fqdn, sizeof(config.fqdn), "client-%u.netbird.lab", index);
	return config;
}

static GBytes *honest_map(guint index)
{
	NbhRemotePeer peers[CLIENTS_MAX] = { { .key_text = NULL } };
	struct nbh_key_text keys[CLIENTS_MAX];
	g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
	const char *allowed[CLIENTS_MAX][2];
	NbhServerConfig servers = { .has_signal = FALSE };
	NbhPeerConfig config = config_of(index);
	NbhSyncResponse response = { .servers = &servers, .peer_config = &config, .has_map = TRUE, .serial = ++serial };
	GBytes *plain;

	for (guint i = 0; i < clients->len; i++) {
		NbhRemotePeer *peer = &peers[response.n_peers];

		if (i == index)
			continue;

		keys[i] = nbh_key_format(&client_at(i)->key);
		g_ptr_array_add(texts, g_strdup_printf("100.64.0.%u/32", i + 1));
		allowed[i][0] = texts->pdata[texts->len - 1];
		allowed[i][1] = NULL;
		g_ptr_array_add(texts, g_strdup_printf("client-%u.netbird.lab", i));
		*peer = (NbhRemotePeer){ .key_text = keys[i].text, .allowed_ips = allowed[i],
			                 .fqdn = texts->pdata[texts->len - 1], .agent_version = "0.77.1+nbh" };
		response.n_peers++;
	}

	response.peers = peers;
	fill_servers(&servers);
	plain = nbh_mgmt_encode_sync_response(&response);
	clear_servers(&servers);
	return plain;
}

static gboolean send_sealed(NbhH2srvCall *call, const struct nbh_key *to, GBytes *plain)
{
	g_autoptr(GBytes) sealed = nbh_mgmt_seal(&own_private, to, g_bytes_get_data(plain, NULL), g_bytes_get_size(plain));
	gsize len;
	const guint8 *data = g_bytes_get_data(sealed, &len);

	return nbh_h2srv_send(call, data, len);
}

static void send_to(guint index, GBytes *plain)
{
	Client *client = client_at(index);

	if (client && client->sync)
		send_sealed(client->sync, &client->key, plain);
}

static void send_honest(guint index)
{
	g_autoptr(GBytes) plain = honest_map(index);

	send_to(index, plain);
}

/* ---- calls ------------------------------------------------------------------------------------ */

static void keep(NbhH2srvCall **place, NbhH2srvCall *call)
{
	if (*place)
		g_hash_table_remove(streaming, *place);

	*place = call;
	g_hash_table_insert(streaming, call, place);
}

static guint client_of(const struct nbh_key *key)
{
	Client client = { .key = *key };
	gint index = index_of(key);

	if (index >= 0)
		return (guint)index;

	if (clients->len == CLIENTS_MAX)
		exit(3);

	g_array_append_val(clients, client);
	printf("client %u %s\n", clients->len - 1, nbh_key_format(key).text);

	for (guint i = 0; i + 1 < clients->len; i++)
		send_honest(i);

	return clients->len - 1;
}

static void answer(NbhH2srvCall *call, const struct nbh_key *to, GBytes *plain)
{
	send_sealed(call, to, plain);
	nbh_h2srv_finish(call, NBH_GRPC_OK, NULL);
}

static void on_login(NbhH2srvCall *call, const struct nbh_key *key)
{
	guint index = client_of(key);
	NbhServerConfig servers = { .has_signal = FALSE };
	NbhPeerConfig config = config_of(index);
	g_autoptr(GBytes) plain = NULL;

	fill_servers(&servers);
	plain = nbh_mgmt_encode_login_response(&servers, &config);
	clear_servers(&servers);
	answer(call, key, plain);
}

static void on_sync(NbhH2srvCall *call, const struct nbh_key *key)
{
	guint index = client_of(key);
	Client *client = client_at(index);

	keep(&client->sync, call);

	if (client->first)
		send_to(index, client->first);
	else
		send_honest(index);
}

static void on_management(NbhH2srvCall *call, const char *method, const guint8 *data, gsize len)
{
	g_autoptr(GBytes) empty = g_bytes_new_static("", 0);
	struct nbh_key key;

	if (strcmp(method, "GetServerKey") == 0) {
		g_autoptr(GBytes) reply = nbh_mgmt_encode_server_key(&own_public);

		nbh_h2srv_send(call, g_bytes_get_data(reply, NULL), g_bytes_get_size(reply));
		nbh_h2srv_finish(call, NBH_GRPC_OK, NULL);
	} else if (!nbh_mgmt_sender(data, len, &key, NULL)) {
		nbh_h2srv_finish(call, NBH_GRPC_INVALID_ARGUMENT, "who are you?");
	} else if (strcmp(method, "Login") == 0) {
		on_login(call, &key);
	} else if (strcmp(method, "Sync") == 0) {
		on_sync(call, &key);
	} else {
		answer(call, &key, empty);
	}
}

static void on_connect_stream(NbhH2srvCall *call)
{
	const char *text = nbh_h2srv_call_header(call, "x-wiretrustee-peer-id");
	struct nbh_key key;

	if (!text || nbh_key_parse(text, &key) < 0) {
		nbh_h2srv_finish(call, NBH_GRPC_INVALID_ARGUMENT, "who are you?");
		return;
	}

	keep(&client_at(client_of(&key))->signal, call);
	nbh_h2srv_headers(call, "x-wiretrustee-peer-registered", "1");
}

static void on_signal_send(NbhH2srvCall *call, const guint8 *data, gsize len)
{
	struct nbh_key from, to;

	if (nbh_signal_route(data, len, &from, &to, NULL) && index_of(&to) >= 0) {
		NbhH2srvCall *stream = client_at((guint)index_of(&to))->signal;

		if (stream)
			nbh_h2srv_send(stream, data, len);
	}

	nbh_h2srv_send(call, NULL, 0);
	nbh_h2srv_finish(call, NBH_GRPC_OK, NULL);
}

static void on_call(NbhH2srvCall *call, const char *path, const guint8 *data, gsize len, gpointer owner)
{
	(void)owner;

	if (strcmp(path, SIGNAL "ConnectStream") == 0) {
		if (!data)
			on_connect_stream(call);
	} else if (strcmp(path, SIGNAL "Send") == 0) {
		if (data)
			on_signal_send(call, data, len);
	} else if (g_str_has_prefix(path, MANAGEMENT)) {
		if (data)
			on_management(call, path + strlen(MANAGEMENT), data, len);
	} else {
		nbh_h2srv_finish(call, NBH_GRPC_UNIMPLEMENTED, "no such method");
	}
}

static void on_gone(NbhH2srvCall *call, gpointer owner)
{
	NbhH2srvCall **place = g_hash_table_lookup(streaming, call);

	(void)owner;

	if (place)
		*place = NULL;

	g_hash_table_remove(streaming, call);
}

/* ---- the script ------------------------------------------------------------------------------- */

static GBytes *read_file(const char *path)
{
	g_autoptr(GError) error = NULL;
	char *text;
	gsize len;

	if (!g_file_get_contents(path, &text, &len, &error)) {
		fprintf(stderr, "bad-hub: %s\n", error->message);
		exit(2);
	}

	return g_bytes_new_take(text, len);
}

/* As many as are due, but no more than the client takes. */
static gboolean on_flood(gpointer data)
{
	Flood *flood = data;
	guint64 due = (guint64)(g_get_monotonic_time() - flood->began_usec) * flood->rate / G_USEC_PER_SEC;
	const Client *client = client_at(flood->client);
	gboolean over = due >= flood->n_wanted;

	for (due = MIN(due, flood->n_wanted); flood->n_sent < due && client->sync; flood->n_sent++) {
		GBytes *plain = flood->plain[flood->turn++ % 2];

		if (nbh_h2srv_queued(client->sync) > NBH_GRPC_MESSAGE_MAX_BYTES || !send_sealed(client->sync, &client->key, plain))
			break;
	}

	if (!over)
		return G_SOURCE_CONTINUE;

	printf("flooded %" G_GUINT64_FORMAT "\ndone %s\n", flood->n_sent, flood->line);
	g_bytes_unref(flood->plain[0]);
	g_bytes_unref(flood->plain[1]);
	g_free(flood->line);
	g_free(flood);
	return G_SOURCE_REMOVE;
}

static void start_flood(char **words, const char *line)
{
	Flood *flood = g_new0(Flood, 1);

	flood->client = (guint)strtoul(words[1], NULL, 10);
	flood->plain[0] = read_file(words[2]);
	flood->plain[1] = read_file(words[3]);
	flood->rate = (guint)strtoul(words[4], NULL, 10);
	flood->n_wanted = (guint64)flood->rate * strtoul(words[5], NULL, 10);
	flood->began_usec = g_get_monotonic_time();
	flood->line = g_strdup(line);
	g_timeout_add(TICK_MS, on_flood, flood);
}

static void set_first(Client *client, const char *path)
{
	g_clear_pointer(&client->first, g_bytes_unref);

	if (strcmp(path, "-") != 0)
		client->first = read_file(path);
}

static void obey(const char *line)
{
	g_auto(GStrv) words = g_strsplit(line, " ", -1);
	guint n = g_strv_length(words);
	guint index = n > 1 ? (guint)strtoul(words[1], NULL, 10) : 0;

	if (n == 6 && strcmp(words[0], "flood") == 0 && client_at(index)) {
		start_flood(words, line);
		return;
	}

	if (n == 3 && strcmp(words[0], "send") == 0) {
		g_autoptr(GBytes) plain = read_file(words[2]);

		send_to(index, plain);
	} else if (n == 3 && strcmp(words[0], "first") == 0 && client_at(index)) {
		set_first(client_at(index), words[2]);
	} else if (n == 3 && strcmp(words[0], "signal") == 0) {
		g_free(signal_host);
		signal_host = g_strdup(words[1]);
		signal_port = (guint16)strtoul(words[2], NULL, 10);
	} else if (n == 1 && strcmp(words[0], "honest") == 0) {
		for (guint i = 0; i < clients->len; i++)
			send_honest(i);
	} else {
		fprintf(stderr, "bad-hub: what is \"%s\"?\n", line);
		exit(2);
	}

	printf("done %s\n", line);
}

static gboolean on_fifo(int fd, GIOCondition condition, gpointer data)
{
	char buf[4096], *end;
	ssize_t n = read(fd, buf, sizeof(buf));

	(void)condition;
	(void)data;

	if (n > 0)
		g_string_append_len(lines, buf, n);

	while ((end = strchr(lines->str, '\n'))) {
		g_autofree char *line = g_strndup(lines->str, (gsize)(end - lines->str));

		g_string_erase(lines, 0, end - lines->str + 1);
		obey(line);
	}

	return G_SOURCE_CONTINUE;
}

int main(int argc, char **argv)
{
	static const TestGrpcEvents events = { on_call, on_gone };
	int fifo = argc == 4 ? open(argv[3], O_RDWR | O_NONBLOCK | O_CLOEXEC) : -1;

	if (fifo < 0) {
		fprintf(stderr, "usage: bad-hub ADDRESS PORT FIFO\n");
		return 2;
	}

	setvbuf(stdout, NULL, _IOLBF, 0);
	nbh_key_generate_private(&own_private);
	nbh_key_public(&own_private, &own_public);
	/* Places in it are remembered, so it never moves. */
	clients = g_array_sized_new(FALSE, TRUE, sizeof(Client), CLIENTS_MAX);
	streaming = g_hash_table_new(NULL, NULL);
	lines = g_string_new(NULL);
	signal_host = g_strdup(argv[1]);
	signal_port = (guint16)strtoul(argv[2], NULL, 10);
	test_grpc_open_at(&server, argv[1], signal_port, &events, NULL);
	g_unix_fd_add(fifo, G_IO_IN, on_fifo, NULL);
	printf("listening\n");
	g_main_loop_run(g_main_loop_new(NULL, FALSE));
	return 0;
}
