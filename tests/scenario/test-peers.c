#include "config.h"

#include <string.h>
#include <unistd.h>

#include <glib.h>

#include "app/peers.h"
#include "core/version.h"
#include "ice/ice-fake.h"

/*
 * Two hosts' app/peers in one process: real machines, real signal envelopes over signal-pair, ICE by
 * the fake. What is checked is that events and actions reach the right module.
 */

typedef struct {
	struct nbh_key private_key, public_key;
	NbhPeers *peers;
	NbhSignal *signal;
	NbhIce *ice;
	NbhLoopback *loopback;
	guint n_paths;
} Host;

static void on_path(gpointer owner)
{
	((Host *)owner)->n_paths++;
}

static void on_status(gpointer owner)
{
	(void)owner;
}

static void source_of(const struct nbh_endpoint *to, struct nbh_addr *ret_source, gpointer owner)
{
	(void)to;
	(void)owner;
	g_assert_cmpint(nbh_addr_parse("192.0.2.99", ret_source), ==, 0);
}

static const NbhPeersEvents peers_events = { on_path, on_status, source_of };

static void on_message(NbhSignal *signal, const struct nbh_key *from, const NbhSignalMessage *message, gpointer owner)
{
	(void)signal;
	nbh_peers_message(((Host *)owner)->peers, from, message);
}

static void on_link(NbhSignal *signal, gboolean up, const char *why, gpointer owner)
{
	(void)signal;
	(void)why;

	if (up)
		nbh_peers_signal_up(((Host *)owner)->peers);
}

static gboolean is_known(const struct nbh_key *key, gpointer owner)
{
	return nbh_peers_knows(((Host *)owner)->peers, key);
}

static const NbhSignalEvents signal_events = { on_message, on_link };

static void on_ready(NbhIce *ice, const char *backend, gpointer owner)
{
	(void)ice;
	(void)backend;
	nbh_peers_ice_ready(((Host *)owner)->peers);
}

static void on_down(NbhIce *ice, const char *why, gpointer owner)
{
	(void)ice;
	(void)why;
	(void)owner;
}

static void on_session(NbhIce *ice, const NbhIceSession *session, gpointer owner)
{
	(void)ice;
	nbh_peers_ice_session(((Host *)owner)->peers, session);
}

static void on_selected(NbhIce *ice, const struct nbh_key *peer, const NbhIcePair *pair, gpointer owner)
{
	(void)ice;
	nbh_peers_ice_selected(((Host *)owner)->peers, peer, pair);
}

static void on_failed(NbhIce *ice, const struct nbh_key *peer, gpointer owner)
{
	(void)ice;
	nbh_peers_ice_failed(((Host *)owner)->peers, peer);
}

static void on_lost(NbhIce *ice, const struct nbh_key *peer, gpointer owner)
{
	(void)ice;
	nbh_peers_ice_lost(((Host *)owner)->peers, peer);
}

static void on_mapped(NbhIce *ice, const struct nbh_endpoint *server, const struct nbh_endpoint *mapped, gpointer owner)
{
	(void)ice;
	(void)server;
	(void)mapped;
	(void)owner;
}

static const NbhIceEvents ice_events = { on_ready, on_down, on_session, on_selected, on_failed, on_lost, on_mapped };

static void on_wake(const struct nbh_key *peer, const guint8 *data, gsize len, gboolean initiation, gpointer owner)
{
	nbh_peers_wake(((Host *)owner)->peers, peer, data, len, initiation);
}

static void host_open_peers(Host *host, const char *address)
{
	NbhCandidate candidate = { .type = NBH_CANDIDATE_HOST, .foundation = "h0", .priority = 1000 };

	host->peers = nbh_peers_new(&host->public_key, 51820, &peers_events, host);
	nbh_peers_set_loopback(host->peers, host->loopback);
	g_assert_cmpint(nbh_addr_parse(address, &candidate.endpoint.addr), ==, 0);
	candidate.endpoint.port = 51820;
	nbh_peers_set_candidates(host->peers, &candidate, 1);
}

static void host_open(Host *host, const char *address)
{
	NbhSignalConfig config = { .url = "pair", .is_known = is_known };

	nbh_key_generate_private(&host->private_key);
	nbh_key_public(&host->private_key, &host->public_key);
	config.own_private = host->private_key;
	host->loopback = nbh_loopback_new(0, on_wake, host, NULL);
	host_open_peers(host, address);
	host->ice = nbh_ice_fake.open("/nonexistent", &ice_events, host, NULL);
	g_assert_nonnull(host->ice);
	nbh_peers_set_ice(host->peers, &nbh_ice_fake, host->ice);
	host->signal = nbh_signal_pair.open(&config, &signal_events, host, NULL);
	g_assert_nonnull(host->signal);
	nbh_peers_set_signal(host->peers, &nbh_signal_pair, host->signal);
}

static void host_close(Host *host)
{
	nbh_peers_set_signal(host->peers, &nbh_signal_pair, NULL);
	nbh_signal_pair.free(host->signal);
	nbh_peers_free(host->peers);
	nbh_ice_fake.free(host->ice);
	nbh_loopback_free(host->loopback);
}

static void give_map(Host *host, const Host *other, const char *version)
{
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, 1);
	g_autoptr(NbhNetmap) map = NULL;

	if (other) {
		peers[0].key = other->public_key;
		peers[0].fqdn = g_strdup("peer.example");
		peers[0].agent_version = g_strdup(version);
		peers[0].allowed_ips = g_new0(struct nbh_prefix, 1);
		peers[0].n_allowed_ips = 1;
		g_assert_cmpint(nbh_prefix_parse("100.64.0.1/32", &peers[0].allowed_ips[0]), ==, 0);
	}

	map = nbh_netmap_new(1, peers, other ? 1 : 0, NULL);
	nbh_peers_set_map(host->peers, map);
}

static const NbhPath *path(Host *host, const Host *other)
{
	return nbh_peers_path(host->peers, &other->public_key);
}

static gboolean is_direct(Host *host, const Host *other)
{
	const NbhPath *found = path(host, other);

	return found && found->kind == NBH_PATH_DIRECT;
}

static void until_direct(Host *a, Host *b)
{
	while (!is_direct(a, b) || !is_direct(b, a))
		g_main_context_iteration(NULL, TRUE);
}

static void test_helpers_connect(void)
{
	Host a = { .n_paths = 0 }, b = { .n_paths = 0 };

	host_open(&a, "192.0.2.1");
	host_open(&b, "192.0.2.2");
	give_map(&a, &b, NBH_AGENT_VERSION);
	give_map(&b, &a, NBH_AGENT_VERSION);
	g_assert_cmpint(path(&a, &b)->kind, ==, NBH_PATH_NONE);
	until_direct(&a, &b);
	g_assert_cmpuint(path(&a, &b)->endpoint.addr.bytes[3], ==, 2);
	g_assert_cmpuint(path(&b, &a)->endpoint.addr.bytes[3], ==, 1);
	g_assert_cmpuint(path(&a, &b)->keepalive_s, ==, 25);

	/* Gone from the map: the session is closed, nothing is left of it. */
	give_map(&a, NULL, NULL);
	g_assert_null(path(&a, &b));
	g_assert_null(nbh_ice_fake_session(a.ice, &b.public_key));
	host_close(&a);
	host_close(&b);
}

static void test_restart_adopts(void)
{
	Host a = { .n_paths = 0 }, b = { .n_paths = 0 };
	struct nbh_peersfile old = { .n_peers = 1 };
	struct nbh_peersfile_peer entry = { .has_session = true };

	host_open(&a, "192.0.2.1");
	host_open(&b, "192.0.2.2");
	give_map(&a, &b, NBH_AGENT_VERSION);
	give_map(&b, &a, NBH_AGENT_VERSION);
	until_direct(&a, &b);
	entry.public_key = b.public_key;
	entry.endpoint = path(&a, &b)->endpoint;
	entry.session = path(&a, &b)->session;
	entry.keepalive_s = 25;
	old.peers = &entry;

	/* The helper dies and comes back; netbird-ice and peers.json are as they were. */
	nbh_peers_set_signal(a.peers, &nbh_signal_pair, NULL);
	nbh_peers_free(a.peers);
	host_open_peers(&a, "192.0.2.1");
	nbh_ice_fake_down(a.ice, FALSE);
	nbh_peers_restore(a.peers, &old, a.loopback);
	nbh_peers_set_ice(a.peers, &nbh_ice_fake, a.ice);
	nbh_peers_set_signal(a.peers, &nbh_signal_pair, a.signal);
	nbh_ice_fake_up(a.ice);
	b.n_paths = 0;
	give_map(&a, &b, NBH_AGENT_VERSION);

	/* At no moment is the endpoint withdrawn. */
	do {
		g_main_context_iteration(NULL, TRUE);
		g_assert_true(path(&a, &b)->kind != NBH_PATH_IDLE);
	} while (nbh_peers_unconnected(a.peers));

	g_assert_true(is_direct(&a, &b));
	g_assert_cmpuint(path(&a, &b)->session, ==, entry.session);
	g_assert_cmpuint(b.n_paths, ==, 0); /* the other side noticed nothing */
	host_close(&a);
	host_close(&b);
}

static void test_idle_and_wake(void)
{
	static const guint8 initiation[NBH_WG_INITIATION_LEN] = { 1 };
	Host a = { .n_paths = 0 }, b = { .n_paths = 0 };
	NbhSignalMessage idle = { .type = NBH_SIGNAL_GO_IDLE };
	struct nbh_endpoint to;
	guint32 session;

	host_open(&a, "192.0.2.1");
	host_open(&b, "192.0.2.2");
	give_map(&a, &b, "0.77.1"); /* with an official peer's rules */
	give_map(&b, &a, "0.77.1");
	until_direct(&a, &b);
	session = path(&a, &b)->session;
	nbh_peers_message(a.peers, &b.public_key, &idle);
	g_assert_cmpint(path(&a, &b)->kind, ==, NBH_PATH_IDLE);
	g_assert_cmpuint(path(&a, &b)->session, >, session);
	session = path(&a, &b)->session;

	nbh_peers_wake(a.peers, &b.public_key, initiation, sizeof(initiation), TRUE);

	while (nbh_ice_fake_n_forwards(a.ice, &to) == 0)
		g_main_context_iteration(NULL, TRUE);

	/* The captured initiation went out, the peer was not made anew. */
	g_assert_true(is_direct(&a, &b));
	g_assert_cmpuint(path(&a, &b)->session, ==, session);
	g_assert_true(nbh_endpoint_equal(&to, &path(&a, &b)->endpoint));
	g_assert_cmpuint(nbh_ice_fake_n_forwards(a.ice, &to), ==, 1);
	host_close(&a);
	host_close(&b);
}

int main(int argc, char **argv)
{
	alarm(60); /* ends a test that would wait for ever */
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/app/peers/connect", test_helpers_connect);
	g_test_add_func("/app/peers/restart", test_restart_adopts);
	g_test_add_func("/app/peers/idle", test_idle_and_wake);
	return g_test_run();
}
