#include "config.h"

#include "tests/lib/peerhost.h"

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

static const NbhPeersEvents peers_events = { on_path, on_status, source_of, NULL };

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
	nbh_peers_ice_down(((Host *)owner)->peers);
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

static void on_heard(NbhIce *ice, const struct nbh_key *peer, const struct nbh_endpoint *from, gpointer owner)
{
	(void)ice;
	nbh_peers_ice_heard(((Host *)owner)->peers, peer, from);
}

static const NbhIceEvents ice_events = { on_ready, on_down, on_session, on_selected, on_failed, on_lost, on_mapped,
	                                   on_heard };

static void on_wake(const struct nbh_key *peer, const guint8 *data, gsize len, gboolean initiation, gpointer owner)
{
	nbh_peers_wake(((Host *)owner)->peers, peer, data, len, initiation);
}

void test_host_open_peers(Host *host, const char *address)
{
	NbhCandidate candidate = { .type = NBH_CANDIDATE_HOST, .foundation = "h0", .priority = 1000 };

	host->peers = nbh_peers_new(&host->public_key, 51820, &peers_events, host);
	nbh_peers_set_loopback(host->peers, host->loopback);
	g_assert_cmpint(nbh_addr_parse(address, &candidate.endpoint.addr), ==, 0);
	candidate.endpoint.port = 51820;
	nbh_peers_set_candidates(host->peers, &candidate, 1);
}

void test_host_open(Host *host, const char *address)
{
	static guint n_hosts;
	NbhSignalConfig config = { .url = "pair", .is_known = is_known };
	g_autofree char *dir = NULL;

	nbh_key_generate_private(&host->private_key);
	nbh_key_public(&host->private_key, &host->public_key);
	config.own_private = host->private_key;
	host->loopback = nbh_loopback_new(0, on_wake, host, NULL);
	test_host_open_peers(host, address);
	/* Hosts of one directory would share their sessions. */
	dir = g_strdup_printf("/nonexistent/%u", ++n_hosts);
	host->ice = nbh_ice_fake.open(dir, &ice_events, host, NULL);
	g_assert_nonnull(host->ice);
	nbh_peers_set_ice(host->peers, &nbh_ice_fake, host->ice);
	host->signal = nbh_signal_pair.open(&config, &signal_events, host, NULL);
	g_assert_nonnull(host->signal);
	nbh_peers_set_signal(host->peers, &nbh_signal_pair, host->signal);
}

void test_host_close(Host *host)
{
	nbh_peers_set_signal(host->peers, &nbh_signal_pair, NULL);
	nbh_signal_pair.free(host->signal);
	nbh_peers_free(host->peers);
	nbh_ice_fake.free(host->ice);
	nbh_loopback_free(host->loopback);
}

void test_host_give_map(Host *host, const struct nbh_key *keys, guint n_keys, const char *version)
{
	NbhNetmapPeer *peers = g_new0(NbhNetmapPeer, n_keys + 1);
	g_autoptr(NbhNetmap) map = NULL;

	for (guint i = 0; i < n_keys; i++) {
		peers[i].key = keys[i];
		peers[i].fqdn = g_strdup("peer.example");
		peers[i].agent_version = g_strdup(version);
		peers[i].allowed_ips = g_new0(struct nbh_prefix, 1);
		peers[i].n_allowed_ips = 1;
		g_assert_cmpint(nbh_prefix_parse("100.64.0.0/32", &peers[i].allowed_ips[0]), ==, 0);
		peers[i].allowed_ips[0].addr.bytes[3] = (guint8)(i + 1);
	}

	map = nbh_netmap_new(1, peers, n_keys, NULL);
	nbh_peers_set_map(host->peers, map);
}

const NbhPath *test_host_path(Host *host, const struct nbh_key *peer)
{
	return nbh_peers_path(host->peers, peer);
}

gboolean test_host_is_direct(Host *host, const struct nbh_key *peer)
{
	const NbhPath *found = test_host_path(host, peer);

	return found && found->kind == NBH_PATH_DIRECT;
}
