#include "config.h"

/*
 * What every signal backend promises: -DBACKEND=nbh_signal_grpc or nbh_signal_pair. The gRPC one
 * runs against a signal server in the same loop that only routes.
 */

#include "signal/signal-grpc.h"
#include "signal/signal-pair.h"

#include "base/limits.h"
#include "net/grpc.h"
#include "tests/lib/grpcserver.h"
#include "tests/lib/loop.h"

#include <string.h>

#define SERVICE "/signalexchange.SignalExchange/"

/* The server: who is registered under which key. */
typedef struct {
	TestGrpc server;
	GHashTable *streams; /* key text, owned -> NbhH2srvCall */
	gboolean holds_header_back; /* as a TLS proxy: interop.md rule 15 */
	gboolean swallows;          /* takes Sends and delivers nothing */
	gboolean is_mute;           /* does not even answer */
	gsize pad_to;               /* makes messages so large by a field that nobody knows; 0: no */
	guint n_streams, n_sends;
} Router;

static GByteArray *pad(const guint8 *data, gsize len, gsize size)
{
	const gsize rest = size - len - 4;
	/* Field 15, length-delimited; a length of three bytes. */
	const guint8 head[] = { 0x7a, (guint8)(0x80 | (rest & 0x7f)), (guint8)(0x80 | (rest >> 7 & 0x7f)),
				(guint8)(rest >> 14) };
	GByteArray *padded = g_byte_array_new();

	g_assert_cmpuint(rest >> 14, >, 0);
	g_byte_array_append(padded, data, (guint)len);
	g_byte_array_append(padded, head, sizeof(head));
	g_byte_array_set_size(padded, (guint)size);
	memset(padded->data + len + sizeof(head), 0, rest);
	return padded;
}

static void route(Router *router, NbhH2srvCall *call, const guint8 *data, gsize len)
{
	struct nbh_key from, to;
	NbhH2srvCall *stream;

	router->n_sends++;
	if (router->is_mute)
		return;
	g_assert_true(nbh_signal_route(data, len, &from, &to, NULL));
	stream = g_hash_table_lookup(router->streams, nbh_key_format(&to).text);
	if (stream && router->holds_header_back)
		nbh_h2srv_headers(stream, "x-wiretrustee-peer-registered", "1");
	if (stream && router->pad_to) {
		g_autoptr(GByteArray) padded = pad(data, len, router->pad_to);

		nbh_h2srv_send(stream, padded->data, padded->len);
	} else if (stream && !router->swallows) {
		nbh_h2srv_send(stream, data, len);
	}
	nbh_h2srv_send(call, (const guint8 *)"", 0);
	nbh_h2srv_finish(call, 0, NULL);
}

static void on_server_call(NbhH2srvCall *call, const char *path, const guint8 *data, gsize len, gpointer owner)
{
	Router *router = owner;
	NbhH2srvCall *older;
	const char *id;

	if (data && strcmp(path, SERVICE "Send") == 0) {
		route(router, call, data, len);
		return;
	}
	if (data || strcmp(path, SERVICE "ConnectStream") != 0)
		return;
	router->n_streams++;
	id = nbh_h2srv_call_header(call, "x-wiretrustee-peer-id");
	g_assert_nonnull(id);
	older = g_hash_table_lookup(router->streams, id);
	g_hash_table_replace(router->streams, g_strdup(id), call);
	if (older)
		nbh_h2srv_finish(older, 2, "peer registered again");
	if (!router->holds_header_back)
		nbh_h2srv_headers(call, "x-wiretrustee-peer-registered", "1");
}

static gboolean is_call(gpointer key, gpointer value, gpointer call)
{
	(void)key;
	return value == call;
}

static void on_server_gone(NbhH2srvCall *call, gpointer owner)
{
	g_hash_table_foreach_remove(((Router *)owner)->streams, is_call, call);
}

static const TestGrpcEvents router_events = { on_server_call, on_server_gone };

typedef struct _Peer Peer;
struct _Peer {
	struct nbh_key own_private, own_public;
	NbhSignal *signal;
	gboolean is_up, free_on_message, free_on_link, free_on_sent, knows_nobody, answers;
	guint n_up, n_down, n_messages, n_sent, n_failed;
	guint last_port, n_disorder; /* wg_listen_port counts the messages */
	NbhSignalMessage last;
	struct nbh_key last_from;
	char *why;
	Peer *far;
};

static void peer_free_signal(Peer *peer)
{
	g_clear_pointer(&peer->signal, BACKEND.free);
}

static void on_sent(gboolean ok, gpointer data, gpointer owner)
{
	Peer *peer = owner;

	g_assert_true(data == peer);
	peer->n_sent++;
	peer->n_failed += ok ? 0 : 1;
	if (peer->free_on_sent)
		peer_free_signal(peer);
}

static void send_numbered(Peer *peer, const struct nbh_key *to, guint first, guint n)
{
	g_autofree NbhSignalMessage *messages = g_new0(NbhSignalMessage, n);

	for (guint i = 0; i < n; i++) {
		messages[i].type = NBH_SIGNAL_OFFER;
		messages[i].has_ice = TRUE;
		messages[i].wg_listen_port = first + i;
		g_strlcpy(messages[i].creds.ufrag, "ufrag", sizeof(messages[i].creds.ufrag));
		g_strlcpy(messages[i].creds.pwd, "0123456789012345678901", sizeof(messages[i].creds.pwd));
		g_strlcpy(messages[i].version, "0.77.1+nbh", sizeof(messages[i].version));
	}
	BACKEND.send(peer->signal, to, messages, n, on_sent, peer);
}

static void on_message(NbhSignal *signal, const struct nbh_key *from, const NbhSignalMessage *message, gpointer owner)
{
	Peer *peer = owner;

	g_assert_true(signal == peer->signal);
	peer->n_messages++;
	peer->last = *message;
	peer->last_from = *from;
	peer->n_disorder += message->wg_listen_port < peer->last_port;
	peer->last_port = message->wg_listen_port;
	if (peer->answers)
		send_numbered(peer, from, 1, 1);
	if (peer->free_on_message)
		peer_free_signal(peer);
}

static void on_link(NbhSignal *signal, gboolean up, const char *why, gpointer owner)
{
	Peer *peer = owner;

	(void)signal;
	peer->is_up = up;
	peer->n_up += up ? 1 : 0;
	peer->n_down += up ? 0 : 1;
	g_free(peer->why);
	peer->why = g_strdup(why);
	if (peer->signal)
		g_assert_cmpint(BACKEND.is_up(signal), ==, up);
	if (peer->free_on_link)
		peer_free_signal(peer);
}

static const NbhSignalEvents events = { on_message, on_link };

static gboolean is_known(const struct nbh_key *key, gpointer owner)
{
	Peer *peer = owner;

	return !peer->knows_nobody && peer->far && nbh_key_equal(key, &peer->far->own_public);
}

static void peer_connect(Peer *peer, Router *router)
{
	g_autofree char *url = test_grpc_url(&router->server);
	NbhSignalConfig config = { .url = url, .own_private = peer->own_private, .is_known = is_known };
	g_autoptr(GError) error = NULL;

	peer->signal = BACKEND.open(&config, &events, peer, &error);
	g_assert_no_error(error);
	g_assert_false(BACKEND.is_up(peer->signal));
	g_assert_cmpuint(peer->n_up, ==, 0); /* from the loop */
}

typedef struct {
	Router router;
	Peer a, b;
} Lab;

static gboolean is_grpc(void)
{
	return strcmp(BACKEND.name, "grpc") == 0;
}

static void lab_prepare(Lab *lab)
{
	lab->router.streams = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	test_grpc_open(&lab->router.server, &router_events, &lab->router);
	lab->a.far = &lab->b;
	lab->b.far = &lab->a;
	nbh_key_generate_private(&lab->a.own_private);
	nbh_key_generate_private(&lab->b.own_private);
	nbh_key_public(&lab->a.own_private, &lab->a.own_public);
	nbh_key_public(&lab->b.own_private, &lab->b.own_public);
}

static void lab_open(Lab *lab)
{
	lab_prepare(lab);
	peer_connect(&lab->a, &lab->router);
	peer_connect(&lab->b, &lab->router);
	test_run_until(lab->a.is_up && lab->b.is_up);
}

static void lab_close(Lab *lab)
{
	nbh_signal_pair_set_filter(NULL, NULL);
	nbh_signal_pair_set_up(TRUE);
	peer_free_signal(&lab->a);
	peer_free_signal(&lab->b);
	test_grpc_close(&lab->router.server);
	test_drain_loop();
	g_hash_table_unref(lab->router.streams);
	g_free(lab->a.why);
	g_free(lab->b.why);
}

static void test_exchange(void)
{
	Lab lab = { 0 };

	lab_open(&lab);
	lab.b.answers = TRUE;
	send_numbered(&lab.a, &lab.b.own_public, 51820, 1);
	g_assert_cmpuint(lab.a.n_sent + lab.b.n_messages, ==, 0); /* from the loop */
	test_run_until(lab.a.n_messages && lab.a.n_sent && lab.b.n_sent);
	g_assert_cmpuint(lab.a.n_failed + lab.b.n_failed, ==, 0);
	g_assert_true(nbh_key_equal(&lab.b.last_from, &lab.a.own_public));
	g_assert_cmpuint(lab.b.last.type, ==, NBH_SIGNAL_OFFER);
	g_assert_cmpuint(lab.b.last.wg_listen_port, ==, 51820);
	g_assert_cmpstr(lab.b.last.creds.ufrag, ==, "ufrag");
	lab_close(&lab);
}

/* Batches for one peer arrive in order, also when there are many; the messages of one may mix. */
static void test_order(void)
{
	Lab lab = { 0 };

	lab_open(&lab);
	for (guint i = 0; i < 100; i++)
		send_numbered(&lab.a, &lab.b.own_public, 1 + i, 1);
	test_run_until(lab.a.n_sent == 100 && lab.b.n_messages == 100);
	g_assert_cmpuint(lab.b.n_disorder, ==, 0);
	send_numbered(&lab.a, &lab.b.own_public, 200, 25);
	send_numbered(&lab.a, &lab.b.own_public, 300, 1);
	test_run_until(lab.a.n_sent == 102 && lab.b.n_messages == 126);
	g_assert_cmpuint(lab.b.last_port, ==, 300);
	g_assert_cmpuint(lab.a.n_failed, ==, 0);
	lab_close(&lab);
}

/* What goes beside does not wait for a Send that does not return, nor is it waited for. */
static void test_beside(void)
{
	NbhSignalMessage message = { .type = NBH_SIGNAL_CANDIDATE, .candidate = "candidate" };
	Lab lab = { 0 };

	lab_open(&lab);
	lab.router.is_mute = TRUE;
	send_numbered(&lab.a, &lab.b.own_public, 1, 1);
	test_run_until(!is_grpc() || lab.router.n_sends == 1);
	lab.router.is_mute = FALSE;
	BACKEND.send_beside(lab.a.signal, &lab.b.own_public, &message, 1);
	BACKEND.send_beside(lab.a.signal, &lab.b.own_public, NULL, 0);
	test_run_until(lab.b.n_messages && lab.b.last.type == NBH_SIGNAL_CANDIDATE);
	g_assert_cmpuint(lab.a.n_sent, ==, is_grpc() ? 0 : 1);
	if (is_grpc()) {
		/* In line behind the one that has not returned. */
		send_numbered(&lab.a, &lab.b.own_public, 2, 1);
		BACKEND.send_beside(lab.a.signal, &lab.b.own_public, &message, 1);
		test_run_until(lab.b.n_messages == 2);
		g_assert_cmpuint(lab.b.last.type, ==, NBH_SIGNAL_CANDIDATE);
	}
	lab_close(&lab);
}

static void test_unknown_and_absent(void)
{
	Lab lab = { 0 };
	struct nbh_key nobody;

	lab_open(&lab);
	lab.b.knows_nobody = TRUE;
	nbh_key_generate_private(&nobody);
	send_numbered(&lab.a, &lab.b.own_public, 1, 1);
	send_numbered(&lab.a, &nobody, 2, 1);
	test_run_until(lab.a.n_sent == 2);
	g_assert_cmpuint(lab.a.n_failed, ==, 0); /* no report of delivery */
	lab.b.knows_nobody = FALSE;
	send_numbered(&lab.a, &lab.b.own_public, 3, 1);
	test_run_until(lab.b.n_messages);
	g_assert_cmpuint(lab.b.last_port, ==, 3);
	BACKEND.send(lab.a.signal, &lab.b.own_public, NULL, 0, NULL, NULL);
	send_numbered(&lab.a, &lab.b.own_public, 4, 0); /* an empty send is not sent */
	test_run_until(lab.a.n_failed == 1);
	lab_close(&lab);
}

static void test_link(void)
{
	Lab lab = { 0 };

	lab_open(&lab);
	if (is_grpc())
		test_grpc_drop_all(&lab.router.server);
	else
		nbh_signal_pair_set_up(FALSE);
	test_run_until(!lab.a.is_up && !lab.b.is_up);
	g_assert_cmpuint(strlen(lab.a.why), >, 0);
	send_numbered(&lab.a, &lab.b.own_public, 1, 1);
	g_assert_cmpuint(lab.a.n_sent, ==, 0);
	test_run_until(lab.a.n_failed == 1);
	nbh_signal_pair_set_up(TRUE);
	BACKEND.network_changed(lab.a.signal);
	BACKEND.network_changed(lab.b.signal);
	test_run_until(lab.a.is_up && lab.b.is_up);
	send_numbered(&lab.a, &lab.b.own_public, 2, 1);
	test_run_until(lab.b.last_port == 2);
	lab_close(&lab);
}

static void test_free(void)
{
	for (guint where = 0; where < 4; where++) {
		Lab lab = { 0 };

		lab_prepare(&lab);
		lab.a.free_on_link = where == 0;
		lab.b.free_on_message = where == 1;
		lab.a.free_on_sent = where == 2;
		peer_connect(&lab.a, &lab.router);
		peer_connect(&lab.b, &lab.router);
		test_run_until((lab.a.is_up && lab.b.is_up) || !lab.a.signal);
		if (where > 0) {
			for (guint i = 0; i < 30; i++)
				send_numbered(&lab.a, &lab.b.own_public, i, 3);
		}
		if (where == 3)
			peer_free_signal(&lab.a); /* with sends under way */
		test_run_until(!lab.a.signal || !lab.b.signal);
		test_drain_loop();
		if (where == 1)
			g_assert_cmpuint(lab.b.n_messages, ==, 1);
		else
			g_assert_cmpuint(lab.a.n_sent, ==, where == 2 ? 1 : 0);
		lab_close(&lab);
	}
	BACKEND.free(NULL);
}

/* What only the real client does. */
static void test_held_back_header(void)
{
	Lab lab = { .router.holds_header_back = TRUE };
	gint64 began = g_get_monotonic_time();

	if (!is_grpc()) {
		g_test_skip("only for the gRPC backend");
		return;
	}
	lab_open(&lab);
	g_assert_cmpint(g_get_monotonic_time() - began, >=, 1000 * 1000);
	g_assert_cmpint(g_get_monotonic_time() - began, <, 2500 * 1000);
	g_assert_cmpuint(lab.router.n_streams, ==, 2);
	g_assert_cmpuint(lab.a.n_messages, ==, 0); /* a HEARTBEAT is nobody's business */
	lab_close(&lab);
}

static void test_displaced(void)
{
	Lab lab = { 0 };
	Peer twin = { 0 };

	if (!is_grpc()) {
		g_test_skip("only for the gRPC backend");
		return;
	}
	lab_open(&lab);
	twin.own_private = lab.a.own_private;
	peer_connect(&twin, &lab.router);
	test_run_until(twin.is_up && lab.a.n_down == 1);
	g_assert_cmpstr(lab.a.why, ==, "peer registered again");
	peer_free_signal(&twin);
	test_run_until(lab.a.is_up);
	g_free(twin.why);
	lab_close(&lab);
}

static void test_watchdog(void)
{
	Lab lab = { 0 };

	if (!is_grpc()) {
		g_test_skip("only for the gRPC backend");
		return;
	}
	lab_prepare(&lab);
	peer_connect(&lab.a, &lab.router);
	nbh_signal_grpc_set_watchdog(lab.a.signal, 50, 2000);
	test_run_until(lab.router.n_sends == 3); /* three echoes came back */
	g_assert_cmpuint(lab.a.n_down, ==, 0);
	g_assert_cmpuint(lab.a.n_messages, ==, 0);
	nbh_signal_grpc_set_watchdog(lab.a.signal, 50, 100);
	lab.router.swallows = TRUE;
	test_run_until(lab.a.n_down == 1);
	g_assert_true(g_str_has_suffix(lab.a.why, ": the signal server does not deliver messages"));
	lab.router.swallows = FALSE;
	test_run_until(lab.a.n_up == 2);
	lab_close(&lab);
}

/* One below, at, and one above what a peer's message may be: that one is as if it had never been. */
static void test_message_limit(void)
{
	Lab lab = { 0 };

	if (!is_grpc()) {
		g_test_skip("only for the gRPC backend");
		return;
	}
	lab_open(&lab);
	for (guint more = 0; more < 3; more++) {
		lab.router.pad_to = NBH_SIGNAL_BODY_MAX_BYTES - 1 + more;
		send_numbered(&lab.a, &lab.b.own_public, more + 1, 1);
		test_run_until(lab.a.n_sent == more + 1);
	}
	lab.router.pad_to = 0;
	send_numbered(&lab.a, &lab.b.own_public, 9, 1);
	test_run_until(lab.b.last_port == 9);
	g_assert_cmpuint(lab.b.n_messages, ==, 3);
	g_assert_cmpuint(lab.b.n_down, ==, 0);
	lab_close(&lab);
}

static void test_queue_limit(void)
{
	Lab lab = { 0 };

	if (!is_grpc()) {
		g_test_skip("only for the gRPC backend");
		return;
	}
	lab_open(&lab);
	lab.router.is_mute = TRUE;
	for (guint i = 0; i <= NBH_SIGNAL_QUEUE_MAX; i++)
		send_numbered(&lab.a, &lab.b.own_public, i, 1);
	test_run_until(lab.router.n_sends == 1); /* the others wait for it */
	g_assert_cmpuint(lab.a.n_failed, ==, 0);
	send_numbered(&lab.a, &lab.b.own_public, 1, 1);
	test_run_until(lab.a.n_failed == 1); /* the oldest that waited */
	g_assert_cmpuint(lab.a.n_sent, ==, 1);
	lab_close(&lab);
}

static NbhSignalPairFate fates(const struct nbh_key *from, const struct nbh_key *to, const NbhSignalMessage *message, gpointer data)
{
	(void)from;
	(void)to;
	(void)data;
	return (NbhSignalPairFate)message->wg_listen_port;
}

static void test_fates(void)
{
	Lab lab = { 0 };

	if (is_grpc()) {
		g_test_skip("only for the pair backend");
		return;
	}
	lab_open(&lab);
	nbh_signal_pair_set_filter(fates, NULL);
	send_numbered(&lab.a, &lab.b.own_public, NBH_SIGNAL_PAIR_HOLD, 1);
	send_numbered(&lab.a, &lab.b.own_public, NBH_SIGNAL_PAIR_DROP, 1);
	send_numbered(&lab.a, &lab.b.own_public, NBH_SIGNAL_PAIR_REPEAT, 1);
	send_numbered(&lab.a, &lab.b.own_public, NBH_SIGNAL_PAIR_FAIL, 1);
	test_run_until(lab.a.n_sent == 4);
	test_drain_loop();
	g_assert_cmpuint(lab.a.n_failed, ==, 1);
	g_assert_cmpuint(lab.b.n_messages, ==, 2);
	g_assert_cmpuint(lab.b.last_port, ==, NBH_SIGNAL_PAIR_REPEAT);
	nbh_signal_pair_release();
	test_run_until(lab.b.n_messages == 3);
	g_assert_cmpuint(lab.b.last_port, ==, NBH_SIGNAL_PAIR_HOLD);
	lab_close(&lab);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/signal/exchange", test_exchange);
	g_test_add_func("/signal/order", test_order);
	g_test_add_func("/signal/beside", test_beside);
	g_test_add_func("/signal/unknown-and-absent", test_unknown_and_absent);
	g_test_add_func("/signal/link", test_link);
	g_test_add_func("/signal/free", test_free);
	g_test_add_func("/signal/held-back-header", test_held_back_header);
	g_test_add_func("/signal/displaced", test_displaced);
	g_test_add_func("/signal/watchdog", test_watchdog);
	g_test_add_func("/signal/message-limit", test_message_limit);
	g_test_add_func("/signal/queue-limit", test_queue_limit);
	g_test_add_func("/signal/fates", test_fates);
	return g_test_run();
}
