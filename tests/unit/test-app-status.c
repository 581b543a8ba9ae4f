/*
 * app/status: what `status --json` prints, against tests/data/status-NAME.json, and why a peer is not
 * direct. Written anew with NBH_REGENERATE=1; read the difference before you commit it.
 */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include <glib.h>

#include "app/status.h"
#include "core/version.h"
#include "ice/ice-fake.h"

static void on_anything(gpointer owner)
{
	(void)owner;
}

static void source_of(const struct nbh_endpoint *to, struct nbh_addr *ret_source, gpointer owner)
{
	(void)to;
	(void)ret_source;
	(void)owner;
}

static const NbhIceEvents ice_events = { NULL }; /* it never gets to say anything */

static const NbhPeersEvents peers_events = { on_anything, on_anything, source_of, NULL };

typedef struct {
	struct nbh_key own, connected, waiting;
	struct nbh_config config;
	struct nbh_wgstatus wg;
	struct nbh_wgstatus_peer wg_peer;
	NbhPeerConfig peer_config;
	NbhNetmap *map; /* ref */
	NbhPeers *peers;
	NbhSrflx *srflx;
	NbhStatusView view;
} Fixture;

static struct nbh_endpoint endpoint(const char *text)
{
	struct nbh_endpoint parsed;

	g_assert_cmpint(nbh_endpoint_parse(text, &parsed), ==, 0);
	return parsed;
}

static void set_up(Fixture *fixture, gconstpointer data)
{
	(void)data;
	memset(&fixture->own, 1, sizeof(fixture->own));
	memset(&fixture->connected, 2, sizeof(fixture->connected));
	memset(&fixture->waiting, 3, sizeof(fixture->waiting));
	nbh_config_defaults(&fixture->config);
	fixture->peers = nbh_peers_new(&fixture->own, 51820, &peers_events, fixture);
	fixture->srflx = nbh_srflx_new(on_anything, fixture);
	fixture->view = (NbhStatusView){
		.daemon_status = "Connecting",
		.config = &fixture->config,
		.own_public = &fixture->own,
		.management = { "", FALSE, "" },
		.signal = { "", FALSE, "" },
		.ice_backend = "",
		.ice_error = "",
		.publish_error = "",
		.wg_ending = "",
		.seccomp = TRUE,
		.config_note = "",
		.peers = fixture->peers,
		.srflx = fixture->srflx,
	};
}

static void tear_down(Fixture *fixture, gconstpointer data)
{
	(void)data;
	nbh_peers_free(fixture->peers);
	nbh_srflx_free(fixture->srflx);
	nbh_netmap_unref(fixture->map);
}

/* Two peers: one whose session netbird-ice has kept, one that nobody has heard of. */
static void connect_peers(Fixture *fixture)
{
	NbhNetmapPeer *entries = g_new0(NbhNetmapPeer, 2);
	NbhIceSession session = { .peer = fixture->connected,
		                  .local = { "localufrag", "localpassword0123456789" },
		                  .remote = { "farufrag", "farpassword012345678901" },
		                  .selected = TRUE,
		                  .controlling = TRUE,
		                  .pair = { .local_type = NBH_CANDIDATE_PRFLX,
		                            .remote_type = NBH_CANDIDATE_SRFLX,
		                            .local = endpoint("203.0.113.2:51820"),
		                            .remote = endpoint("203.0.113.3:51820") } };

	for (gsize i = 0; i < 2; i++) {
		entries[i].key = i == 0 ? fixture->connected : fixture->waiting;
		entries[i].fqdn = g_strdup(i == 0 ? "b.netbird.internal" : "");
		entries[i].agent_version = g_strdup(i == 0 ? NBH_AGENT_VERSION : "0.77.1");
		entries[i].allowed_ips = g_new0(struct nbh_prefix, 2);
		entries[i].n_allowed_ips = i == 0 ? 2 : 1;
		nbh_prefix_parse(i == 0 ? "100.64.0.2/32" : "100.64.0.3/32", &entries[i].allowed_ips[0]);
		nbh_prefix_parse("fd00::2/128", &entries[i].allowed_ips[1]);
	}

	fixture->map = nbh_netmap_new(7, entries, 2, NULL);
	fixture->map->n_rules = 2;
	fixture->map->n_routes = 1;
	nbh_peers_ice_session(fixture->peers, &session);
	nbh_peers_set_map(fixture->peers, fixture->map);
	nbh_peers_ice_ready(fixture->peers);
	fixture->view.map = fixture->map;
}

/* One has answered, one has not. */
static void add_stun_servers(Fixture *fixture)
{
	struct nbh_endpoint server = endpoint("192.0.2.1:3478"), mapped = endpoint("203.0.113.2:51820");
	NbhIce *ice = nbh_ice_fake.open("/nonexistent", &ice_events, fixture, NULL);
	g_autoptr(GPtrArray) uris = g_ptr_array_new();

	g_ptr_array_add(uris, (gpointer) "stun:192.0.2.1:3478");
	g_ptr_array_add(uris, (gpointer) "stun:192.0.2.2:3478");
	nbh_srflx_set_ice(fixture->srflx, &nbh_ice_fake, ice);
	nbh_srflx_set_servers(fixture->srflx, uris);
	nbh_srflx_set_ice(fixture->srflx, &nbh_ice_fake, NULL);
	nbh_ice_fake.free(ice);
	nbh_srflx_mapped(fixture->srflx, &server, &mapped);
}

static void connect_all(Fixture *fixture)
{
	connect_peers(fixture);
	fixture->wg_peer = (struct nbh_wgstatus_peer){ .public_key = fixture->connected,
		                                       .endpoint = endpoint("203.0.113.3:51820"),
		                                       .last_handshake_unix_ms = 1700000000123,
		                                       .rx_bytes = 92,
		                                       .tx_bytes = 180 };
	fixture->wg = (struct nbh_wgstatus){ .backend = "netlink",
		                             .interface = "nbh0",
		                             .link_up = true,
		                             .listen_port = 51820,
		                             .generation = 3,
		                             .peers = &fixture->wg_peer,
		                             .n_peers = 1 };
	nbh_peers_wg_status(fixture->peers, &fixture->wg);
	nbh_prefix_parse("100.64.0.1/16", &fixture->peer_config.address);
	nbh_prefix_parse("fd00::1/64", &fixture->peer_config.address_v6);
	g_strlcpy(fixture->peer_config.fqdn, "a.netbird.internal", sizeof(fixture->peer_config.fqdn));
	fixture->peer_config.lazy = TRUE;
	add_stun_servers(fixture);
	fixture->view.daemon_status = "Connected";
	fixture->view.peer_config = &fixture->peer_config;
	fixture->view.management = (NbhServerView){ "http://mgmt.example:8080", TRUE, "" };
	fixture->view.signal = (NbhServerView){ "http://signal.example:8080", TRUE, "" };
	fixture->view.ice_backend = "user-namespace";
	fixture->view.wg = &fixture->wg;
	fixture->view.wg_runs = TRUE;
}

static char *format(Fixture *fixture)
{
	g_autoptr(GRegex) versions = g_regex_new("\"(cliVersion|daemonVersion)\": \"" PACKAGE_VERSION "\"", 0, 0, NULL);
	g_autoptr(GRegex) times = g_regex_new("\"(updatedAt|lastStatusUpdate)\": \"20[^\"]*\"", 0, 0, NULL);
	g_autofree char *text = NULL, *timeless = NULL;
	gsize len = 0;

	text = nbh_status_format(&fixture->view, &len);
	g_assert_nonnull(text);
	g_assert_cmpuint(strlen(text), ==, len);
	timeless = g_regex_replace(times, text, (gssize)len, 0, "\"\\1\": \"NOW\"", 0, NULL);
	return g_regex_replace(versions, timeless, -1, 0, "\"\\1\": \"OURS\"", 0, NULL);
}

static void assert_golden(Fixture *fixture, const char *name)
{
	g_autofree char *path = g_build_filename(g_getenv("abs_top_srcdir") ? g_getenv("abs_top_srcdir") : ".",
	                                         "tests/data", name, NULL);
	g_autofree char *text = format(fixture), *wanted = NULL;

	if (g_getenv("NBH_REGENERATE"))
		g_file_set_contents(path, text, -1, NULL);

	g_assert_true(g_file_get_contents(path, &wanted, NULL, NULL));
	g_assert_cmpstr(text, ==, wanted);
}

static void test_empty(Fixture *fixture, gconstpointer data)
{
	(void)data;
	g_assert_cmpuint(nbh_status_connected(&fixture->view), ==, 0);
	assert_golden(fixture, "status-empty.json");
}

static void test_full(Fixture *fixture, gconstpointer data)
{
	(void)data;
	connect_all(fixture);
	g_assert_cmpuint(nbh_status_connected(&fixture->view), ==, 1);
	assert_golden(fixture, "status-full.json");
}

/* The keys that scripts for NetBird read (`netbird status --json` of 0.77), all of them. */
static void test_netbird_keys(Fixture *fixture, gconstpointer data)
{
	static const char *const keys[] = {
		"peers", "total", "connected", "details", "fqdn", "netbirdIp", "publicKey", "status",
		"lastStatusUpdate", "connectionType", "iceCandidateType", "local", "remote", "iceCandidateEndpoint",
		"relayAddress", "lastWireguardHandshake", "transferReceived", "transferSent", "latency",
		"quantumResistance", "networks", "cliVersion", "daemonVersion", "daemonStatus", "management", "url",
		"error", "signal", "relays", "available", "usesKernelInterface", "wireguardPort",
		"quantumResistancePermissive", "forwardingRules", "dnsServers", "events", "lazyConnectionEnabled",
		"profileName", "sshServer", "enabled", "sessions",
	};
	g_autofree char *text = NULL;

	(void)data;
	connect_all(fixture);
	text = format(fixture);

	for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
		g_autofree char *quoted = g_strdup_printf("\"%s\": ", keys[i]);

		g_test_message("%s", keys[i]);
		g_assert_nonnull(strstr(text, quoted));
	}
}

static void assert_says(Fixture *fixture, const char *wanted, guint n_connected)
{
	g_autofree char *text = format(fixture), *field = g_strdup_printf("\"whyNotDirect\": \"%s\"", wanted);

	g_test_message("%s in %s", field, text);
	g_assert_nonnull(strstr(text, field));
	g_assert_cmpuint(nbh_status_connected(&fixture->view), ==, n_connected);
}

static void test_why(Fixture *fixture, gconstpointer data)
{
	(void)data;
	connect_all(fixture);
	assert_says(fixture, "waiting for the peer's answer", 1);

	fixture->view.signal = (NbhServerView){ "http://signal.example:8080", FALSE, "connection refused" };
	assert_says(fixture, "signal is not connected: connection refused", 1);

	fixture->view.ice_backend = "";
	fixture->view.ice_error = "is netbird-ice running?";
	assert_says(fixture, "netbird-ice is not there: is netbird-ice running?", 1);

	fixture->view.wg_runs = FALSE;
	assert_says(fixture, "netbird-wg does not run", 1); /* and the tunnel that is there goes on */
	fixture->view.wg_runs = TRUE;

	/* What stops WireGuard stops everybody; a path that no interface uses connects nobody. */
	g_strlcpy(fixture->wg.error, "peers.json: peers[3].endpoint: port 0", sizeof(fixture->wg.error));
	assert_says(fixture, "netbird-wg: peers.json: peers[3].endpoint: port 0", 1);
	fixture->wg.link_up = false;
	assert_says(fixture, "netbird-wg: peers.json: peers[3].endpoint: port 0", 0);
}

int main(int argc, char **argv)
{
	alarm(60);
	g_test_init(&argc, &argv, NULL);
	g_test_add("/app/status/empty", Fixture, NULL, set_up, test_empty, tear_down);
	g_test_add("/app/status/full", Fixture, NULL, set_up, test_full, tear_down);
	g_test_add("/app/status/netbird-keys", Fixture, NULL, set_up, test_netbird_keys, tear_down);
	g_test_add("/app/status/why", Fixture, NULL, set_up, test_why, tear_down);
	return g_test_run();
}
