/* What app takes from others at once, and how much it says about that: one below each limit, at it, and one above. */

#include "config.h"

#include "app/engine-private.h"
#include "app/options.h"
#include "app/peers-private.h"

#include "base/limits.h"
#include "core/version.h"

#include <glib/gstdio.h>

/* Long ago, so that every timer's source is ready whenever the loop turns; what is due, our clock says. */
static nbh_mono clock_now = { 1000000 };

/* In the place of base/mono.c. */
nbh_mono nbh_mono_now(void)
{
	return clock_now;
}

static void turn_loop(void)
{
	for (guint i = 0; i < 100; i++)
		g_main_context_iteration(NULL, FALSE);
}

static NbhNetmap *map_of(guint n_peers)
{
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, n_peers + 1);

	for (guint i = 0; i < n_peers; i++)
		peers[i].key = (struct nbh_key){ { (guint8)i, (guint8)(i >> 8), 1 } };
	return nbh_netmap_new(1, peers, n_peers, NULL);
}

/* NBH_MAPS_BURST are applied at once, the next is held. */
static void test_maps(void)
{
	g_autoptr(NbhNetmap) map = map_of(1);
	const NbhMgmtUpdate update = { .map = map }, other = { .map = NULL };
	Engine engine = { .n_held = 0 };

	for (guint i = 0; i < NBH_MAPS_BURST - 1; i++)
		g_assert_false(nbh_engine_hold(&engine, &update));
	g_assert_false(nbh_engine_hold(&engine, &update));
	g_assert_true(nbh_engine_hold(&engine, &update));
	g_assert_cmpuint(engine.n_held, ==, 1);
	g_assert_true(engine.held_map == map);
	/* What is no map goes on at once, and the next map waits behind the one that waits. */
	g_assert_false(nbh_engine_hold(&engine, &other));
	clock_now = nbh_mono_add_ms(clock_now, NBH_MAP_EVERY_MS);
	g_assert_true(nbh_engine_hold(&engine, &update));
	nbh_engine_forget_held(&engine);
	g_assert_false(nbh_engine_hold(&engine, &update));
	clock_now = nbh_mono_add_ms(clock_now, NBH_MAP_EVERY_MS - 1);
	g_assert_true(nbh_engine_hold(&engine, &update));
	nbh_engine_forget_held(&engine);
}

static void ignore(gpointer owner)
{
	(void)owner;
}

static void no_source(const struct nbh_endpoint *to, struct nbh_addr *ret_source, gpointer owner)
{
	(void)to;
	(void)ret_source;
	(void)owner;
}

static const NbhPeersEvents peers_events = { ignore, ignore, no_source, ignore };
static const struct nbh_key own = { { 9, 9, 9 } };

/* Memory is given back to the system behind a map of more than NBH_MAP_PEERS_USUAL. */
static void test_large_maps(void)
{
	static const struct {
		guint n_peers;
		gboolean trims;
	} rows[] = { { NBH_MAP_PEERS_USUAL - 1, FALSE }, { NBH_MAP_PEERS_USUAL, FALSE }, { NBH_MAP_PEERS_USUAL + 1, TRUE } };

	for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(NbhNetmap) map = map_of(rows[i].n_peers);
		Engine engine = { .have_peer_config = TRUE };

		engine.peers = nbh_peers_new(&own, 51820, &peers_events, NULL);
		nbh_engine_apply_map(&engine, map);
		g_assert_cmpint(engine.trim_timer != NULL, ==, rows[i].trims);
		nbh_source_drop(&engine.trim_timer);
		nbh_peers_free(engine.peers);
		nbh_netmap_unref(engine.map);
	}
}

/* NBH_PEER_LINES_BURST lines of the log, then one in NBH_PEER_LINE_EVERY_MS. */
static void test_lines(void)
{
	NbhPeers *peers = nbh_peers_new(&own, 51820, &peers_events, NULL);

	for (guint i = 0; i < NBH_PEER_LINES_BURST - 1; i++)
		g_assert_true(nbh_peers_may_log(peers));
	g_assert_true(nbh_peers_may_log(peers));
	g_assert_false(nbh_peers_may_log(peers));
	clock_now = nbh_mono_add_ms(clock_now, NBH_PEER_LINE_EVERY_MS - 1);
	g_assert_false(nbh_peers_may_log(peers));
	g_assert_cmpuint(peers->n_untold, ==, 2);
	clock_now = nbh_mono_add_ms(clock_now, 1);
	g_assert_true(nbh_peers_may_log(peers));
	g_assert_false(nbh_peers_may_log(peers));
	nbh_peers_free(peers);
}

static NbhSignal *a_signal = (NbhSignal *)&clock_now; /* never looked at */
static gsize n_sent;

static void on_send(NbhSignal *signal, const struct nbh_key *to, const NbhSignalMessage *messages, gsize n,
                    void (*done)(gboolean ok, gpointer data, gpointer owner), gpointer data)
{
	g_assert_true(signal == a_signal);
	(void)to;
	if (messages[0].type == NBH_SIGNAL_CANDIDATE)
		n_sent = n;
	if (done)
		done(TRUE, data, NULL);
}

static gsize n_candidates_sent(gsize n)
{
	static const NbhSignalBackend backend = { .name = "counts", .send = on_send };
	g_autofree NbhCandidate *candidates = g_new0(NbhCandidate, n);
	g_autoptr(NbhNetmap) map = map_of(1);
	NbhSignalMessage answer = { .type = NBH_SIGNAL_ANSWER, .has_ice = TRUE };
	NbhPeers *peers = nbh_peers_new(&own, 51820, &peers_events, NULL);

	for (gsize i = 0; i < n; i++)
		candidates[i] = (NbhCandidate){ NBH_CANDIDATE_HOST, "h", 1, { { AF_INET, { 10, (guint8)(i >> 8), (guint8)i, 1 } }, 1 },
			                        { .port = 0 }, "", FALSE };
	nbh_peers_set_signal(peers, &backend, a_signal);
	nbh_peers_set_candidates(peers, candidates, n);
	nbh_peers_ice_ready(peers);
	nbh_peers_set_map(peers, map);
	turn_loop();
	g_strlcpy(answer.creds.ufrag, "aaaabbbb", sizeof(answer.creds.ufrag));
	g_strlcpy(answer.creds.pwd, "abcdefghijklmnopqrstuvwxyz", sizeof(answer.creds.pwd));
	n_sent = 0;
	nbh_peers_message(peers, &map->peers[0].key, &answer);
	for (guint i = 0; i < 10 && n_sent == 0; i++) {
		clock_now = nbh_mono_add_ms(clock_now, 100);
		nbh_peers_signal_up(peers);
		turn_loop();
	}
	nbh_peers_set_signal(peers, NULL, NULL);
	nbh_peers_free(peers);
	return n_sent;
}

/* Our own candidates: NBH_HOST_ADDRESSES_MAX addresses, and what NBH_STUN_SERVERS_MAX servers saw. */
static void test_candidates(void)
{
	const gsize max = NBH_HOST_ADDRESSES_MAX + NBH_STUN_SERVERS_MAX;

	g_assert_cmpuint(n_candidates_sent(max - 1), ==, max - 1);
	g_assert_cmpuint(n_candidates_sent(max), ==, max);
	g_assert_cmpuint(n_candidates_sent(max + 1), ==, max);
}

static guint n_sets;

static void on_send_and_wait(NbhSignal *signal, const struct nbh_key *to, const NbhSignalMessage *messages, gsize n,
                             void (*done)(gboolean ok, gpointer data, gpointer owner), gpointer data)
{
	(void)signal;
	(void)to;
	(void)n;
	(void)done;
	(void)data;
	n_sets += messages[0].type == NBH_SIGNAL_CANDIDATE;
}

static void on_send_beside(NbhSignal *signal, const struct nbh_key *to, const NbhSignalMessage *messages, gsize n)
{
	(void)signal;
	(void)to;
	n_sets += n > 0 && messages[0].type == NBH_SIGNAL_CANDIDATE;
}

/* Candidates before there is an answer: to no more helpers at once than NBH_PEER_ANNOUNCEMENTS_MAX. */
static void test_announcements(void)
{
	static const NbhSignalBackend backend = {
		.name = "never answers", .send = on_send_and_wait, .send_beside = on_send_beside,
	};
	const NbhCandidate candidate = { NBH_CANDIDATE_HOST, "h", 1, { { AF_INET, { 10, 0, 0, 1 } }, 1 }, { .port = 0 }, "", FALSE };

	for (guint n = NBH_PEER_ANNOUNCEMENTS_MAX - 1; n <= NBH_PEER_ANNOUNCEMENTS_MAX + 1; n++) {
		g_autoptr(NbhNetmap) map = map_of(n);
		NbhPeers *peers = nbh_peers_new(&own, 51820, &peers_events, NULL);

		for (guint i = 0; i < n; i++) {
			g_free(map->peers[i].agent_version);
			map->peers[i].agent_version = g_strdup(NBH_AGENT_VERSION);
		}
		n_sets = 0;
		nbh_peers_set_signal(peers, &backend, a_signal);
		nbh_peers_set_candidates(peers, &candidate, 1);
		nbh_peers_ice_ready(peers);
		nbh_peers_set_map(peers, map);
		nbh_peers_signal_up(peers);
		turn_loop();
		g_assert_cmpuint(n_sets, ==, MIN(n, NBH_PEER_ANNOUNCEMENTS_MAX));
		nbh_peers_set_signal(peers, NULL, NULL);
		nbh_peers_free(peers);
	}
}

static void test_setup_key_file(void)
{
	g_autofree char *dir = g_dir_make_tmp("test-app-limits-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "key", NULL);

	for (gsize len = NBH_SETUPKEYFILE_MAX_BYTES - 1; len <= NBH_SETUPKEYFILE_MAX_BYTES + 1; len++) {
		g_autofree char *content = g_strnfill(len, ' '), *key = NULL;
		struct nbh_why why = { "" };
		int r;

		memcpy(content, "a-key", 5);
		g_assert_true(g_file_set_contents(path, content, (gssize)len, NULL));
		r = nbh_options_setup_key(path, &key, &why);
		if (len <= NBH_SETUPKEYFILE_MAX_BYTES) {
			g_assert_cmpint(r, ==, 0);
			g_assert_cmpstr(key, ==, "a-key");
		} else {
			g_assert_cmpint(r, ==, -EFBIG);
			g_assert_nonnull(strstr(why.text, "larger than 1024 bytes"));
		}
	}
	g_unlink(path);
	g_rmdir(dir);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/app/limits/maps", test_maps);
	g_test_add_func("/app/limits/large-maps", test_large_maps);
	g_test_add_func("/app/limits/lines", test_lines);
	g_test_add_func("/app/limits/candidates", test_candidates);
	g_test_add_func("/app/limits/announcements", test_announcements);
	g_test_add_func("/app/limits/setup-key-file", test_setup_key_file);
	return g_test_run();
}
