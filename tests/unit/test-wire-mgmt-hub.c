#include "config.h"

/* mgmtmsg-hub.c: what the hub decodes and encodes, and both ends against each other. */

#include "base/limits.h"
#include "wire/error.h"
#include "wire/mgmtmsg.h"
#include "wire/pb.h"

#include "tests/lib/testkeys.h"

#include <string.h>

static void test_requests(void)
{
	static const char *const addresses[] = {"192.168.1.5/24", "10.0.0.1/8", NULL};
	static const char *const macs[] = {"02:00:00:00:00:01", "02:00:00:00:00:02", NULL};
	/* hostname, goOS, kernel, netbirdVersion, two addresses, flags 4 to 7, capabilities. */
	static const guint8 meta_bytes[] =
		"\x0a\x01h\x12\x05linux\x1a\x05Linux\x3a\x06"
		"0.77.1"
		"\x5a\x23\x0a\x0e"
		"192.168.1.5/24\x12\x11"
		"02:00:00:00:00:01"
		"\x5a\x1f\x0a\x0a"
		"10.0.0.1/8\x12\x11"
		"02:00:00:00:00:02"
		"\x8a\x01\x08\x20\x01\x28\x01\x30\x01\x38\x01\x92\x01\x02\x01\x02";
	NbhMeta meta = {.hostname = "h",
			.go_os = "linux",
			.kernel = "Linux",
			.core = "",
			.netbird_version = "0.77.1",
			.addresses = addresses,
			.macs = macs,
			.disable_client_routes = TRUE,
			.disable_server_routes = TRUE,
			.disable_dns = TRUE,
			.disable_firewall = TRUE};
	struct nbh_key own = test_key_of(5);
	struct nbh_key_text own_text = test_key_text(5);
	g_autoptr(GBytes) sync = nbh_mgmt_encode_sync(&meta), login = NULL, no_v6 = NULL;
	NbhLoginRequest request;
	const guint8 *data;
	gsize len;

	data = g_bytes_get_data(sync, &len);
	g_assert_cmpuint(data[0], ==, 0x0a);
	g_assert_cmpmem(data + 2, len - 2, meta_bytes, sizeof(meta_bytes) - 1);
	g_assert_true(nbh_mgmt_decode_sync_request(data, len, &request, NULL));
	g_assert_true(request.has_meta && request.ipv6);
	g_assert_cmpstr(request.hostname, ==, "h");
	g_assert_cmpstr(request.platform, ==, "");
	g_assert_cmpstr(request.setup_key, ==, "");
	g_assert_cmpmem(g_bytes_get_data(request.meta_bytes, NULL),
			g_bytes_get_size(request.meta_bytes), meta_bytes, sizeof(meta_bytes) - 1);
	nbh_login_request_clear(&request);

	login = nbh_mgmt_encode_login(&meta, "KEY", &own);
	data = g_bytes_get_data(login, &len);
	g_assert_cmpmem(data, 5, "\x0a\x03KEY", 5);
	g_assert_cmpmem(data + len - 48, 4, "\x22\x2e\x12\x2c",
			4); /* peerKeys: only the key text */
	g_assert_cmpmem(data + len - 44, 44, own_text.text, 44);
	g_assert_true(nbh_mgmt_decode_login_request(data, len, &request, NULL));
	g_assert_cmpstr(request.setup_key, ==, "KEY");
	g_assert_cmpuint(request.ssh_pub_key_len, ==, 0);
	nbh_login_request_clear(&request);

	meta.disable_ipv6 = TRUE;
	no_v6 = nbh_mgmt_encode_sync(&meta);
	data = g_bytes_get_data(no_v6, &len);
	g_assert_cmpmem(data + len - 4, 4, "\x92\x01\x01\x01", 4);
	g_assert_true(nbh_mgmt_decode_sync_request(data, len, &request, NULL));
	g_assert_false(request.ipv6);
	nbh_login_request_clear(&request);
}

static gboolean login_request_decode(Nbm__LoginRequest *message, NbhLoginRequest *ret_request,
				     GError **error)
{
	g_autoptr(GBytes) plain = nbh_pb_pack(&message->base);

	return nbh_mgmt_decode_login_request(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain),
					     ret_request, error);
}

static void test_request_limits(void)
{
	Nbm__LoginRequest message = NBM__LOGIN_REQUEST__INIT;
	Nbm__PeerSystemMeta meta = NBM__PEER_SYSTEM_META__INIT;
	Nbm__PeerKeys keys = NBM__PEER_KEYS__INIT;
	g_autofree char *text = g_strnfill(5000, 'k');
	NbhLoginRequest request;
	gsize len;

	g_assert_true(login_request_decode(&message, &request, NULL));
	g_assert_false(request.has_meta);
	g_assert_cmpstr(request.hostname, ==, "");
	nbh_login_request_clear(&request);

	for (len = 254; len <= 256; len++) {
		g_autofree char *key = g_strndup(text, len);
		g_autoptr(GError) error = NULL;
		gboolean ok;

		message.setupkey = key;
		ok = login_request_decode(&message, &request, &error);
		g_assert_cmpint(ok, ==, len <= 255);

		if (ok) {
			g_assert_cmpstr(request.setup_key, ==, key);
			nbh_login_request_clear(&request);
		} else {
			g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT);
			g_assert_null(strstr(error->message, "kkk"));
		}
	}

	message.setupkey = NULL;
	message.peerkeys = &keys;
	keys.has_sshpubkey = TRUE;

	for (len = 4095; len <= 4097; len++) {
		keys.sshpubkey = nbh_pb_bytes(text, len);
		g_assert_cmpint(login_request_decode(&message, &request, NULL), ==, len <= 4096);

		if (len <= 4096) {
			g_assert_cmpmem(request.ssh_pub_key, request.ssh_pub_key_len, text, len);
			nbh_login_request_clear(&request);
		}
	}

	keys.has_sshpubkey = FALSE;
	message.meta = &meta;
	meta.hostname = text; /* cut, not refused: the hub makes a label of it */
	g_assert_true(login_request_decode(&message, &request, NULL));
	g_assert_cmpuint(strlen(request.hostname), ==, 255);
	nbh_login_request_clear(&request);
}

static void test_sync_without_text(void)
{
	Nbm__SyncRequest message = NBM__SYNC_REQUEST__INIT;
	Nbm__PeerSystemMeta meta = NBM__PEER_SYSTEM_META__INIT;
	Nbm__Flags flags = NBM__FLAGS__INIT;
	NbhLoginRequest request;
	guint i;

	message.meta = &meta;
	meta.flags = &flags;
	meta.hostname = (char *)"";

	for (i = 0; i < 2; i++) {
		g_autoptr(GBytes) plain = nbh_pb_pack(&message.base);

		g_assert_true(nbh_mgmt_decode_sync_request(
			g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), &request, NULL));
		g_assert_cmpint(request.has_meta, ==, i == 1);
		nbh_login_request_clear(&request);
		meta.osversion = (char *)"12";
	}
}

static NbhServerConfig *servers_new(void)
{
	NbhServerConfig *servers = g_new0(NbhServerConfig, 1);

	servers->has_signal = TRUE;
	g_strlcpy(servers->signal_host, "2001:db8::1", sizeof(servers->signal_host));
	servers->signal_port = 8080;
	servers->stuns = g_ptr_array_new_with_free_func(g_free);
	servers->turns = g_ptr_array_new_with_free_func(g_free);
	servers->relays = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(servers->stuns, g_strdup("stun:192.0.2.1:3478"));
	return servers;
}

/* One map with everything that the hub can send. */
static GBytes *hub_message(void)
{
	static const char *const allowed[] = {"100.64.0.2/32", "fd00::2/128", NULL};
	static const NbhZoneRecord records[] = {{"a.nb.test", "100.64.0.1", FALSE},
						{"b.nb.test", "fd00::2", TRUE}};
	g_autoptr(NbhServerConfig) servers = servers_new();
	NbhPeerConfig config = {.fqdn = "a.nb.test", .lazy = TRUE};
	struct nbh_key_text far_text = test_key_text(2);
	NbhRemotePeer peer = {.key_text = far_text.text,
			      .allowed_ips = allowed,
			      .fqdn = "b.nb.test",
			      .agent_version = "0.77.1",
			      .ssh_pub_key = (const guint8 *)"ssh",
			      .ssh_pub_key_len = 3};
	NbhFirewallRule rules[2] = {{.policy_id = "p"}, {.out = TRUE}};
	NbhSyncResponse response = {.servers = servers,
				    .peer_config = &config,
				    .has_map = TRUE,
				    .serial = 7,
				    .peers = &peer,
				    .n_peers = 1,
				    .rules = rules,
				    .n_rules = 2,
				    .dns_domain = "nb.test",
				    .records = records,
				    .n_records = 2,
				    .dns_forwarder_port = 22054};

	g_assert_cmpint(nbh_prefix_parse("100.64.0.1/16", &config.address), ==, 0);
	g_assert_cmpint(nbh_prefix_parse("fd00::1/64", &config.address_v6), ==, 0);
	g_assert_cmpint(nbh_addr_parse("100.64.0.2", &rules[0].peer), ==, 0);
	g_assert_cmpint(nbh_addr_parse("::", &rules[1].peer), ==, 0);
	return nbh_mgmt_encode_sync_response(&response);
}

/* What the hub says, the client understands. */
static void test_hub_to_client(void)
{
	g_autoptr(GBytes) plain = hub_message();
	struct nbh_key far = test_key_of(2), own = test_key_of(0);
	char text[NBH_PREFIX_TEXT_MAX];
	NbhMgmtUpdate update;

	g_assert_true(nbh_mgmt_decode_sync(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain),
					   &own, &update, NULL));
	g_assert_cmpstr(update.servers->signal_host, ==, "2001:db8::1");
	g_assert_cmpuint(update.servers->signal_port, ==, 8080);
	g_assert_false(update.servers->signal_tls);
	g_assert_cmpuint(update.servers->relays->len, ==, 0);
	g_assert_true(update.has_peer_config && update.peer_config.lazy);
	g_assert_cmpstr(nbh_prefix_format(&update.peer_config.address, text), ==, "100.64.0.1/16");
	g_assert_cmpstr(nbh_prefix_format(&update.peer_config.address_v6, text), ==, "fd00::1/64");
	g_assert_cmpuint(update.map->serial, ==, 7);
	g_assert_cmpuint(update.map->n_rules, ==, 2);
	g_assert_nonnull(nbh_netmap_find(update.map, &far));
	g_assert_cmpuint(nbh_netmap_find(update.map, &far)->n_allowed_ips, ==, 2);
	nbh_mgmt_update_clear(&update);
}

/* And what only official clients read is there, too. */
static void test_hub_to_official(void)
{
	g_autoptr(GBytes) plain = hub_message();
	Nbm__SyncResponse *message = nbm__sync_response__unpack(NULL, g_bytes_get_size(plain),
								g_bytes_get_data(plain, NULL));

	g_assert_nonnull(message);
	g_assert_nonnull(message->sessionexpiresat);
	g_assert_null(message->netbirdconfig->relay);
	g_assert_cmpstr(message->netbirdconfig->signal->uri, ==, "[2001:db8::1]:8080");
	g_assert_false(message->remotepeersisempty || message->networkmap->remotepeersisempty);
	g_assert_false(message->networkmap->firewallrulesisempty);
	g_assert_true(message->networkmap->routesfirewallrulesisempty);
	g_assert_cmpstr(message->networkmap->dnsconfig->customzones[0]->domain, ==, "nb.test.");
	g_assert_cmpint(message->networkmap->dnsconfig->customzones[0]->records[1]->type, ==, 28);
	g_assert_cmpstr(message->networkmap->firewallrules[0]->peerip, ==, "100.64.0.2");
	g_assert_cmpmem(message->networkmap->firewallrules[0]->sourceprefixes[0].data,
			message->networkmap->firewallrules[0]->sourceprefixes[0].len,
			"\x64\x40\x00\x02\x20", 5);
	g_assert_cmpuint(message->networkmap->firewallrules[1]->sourceprefixes[0].len, ==, 17);
	g_assert_cmpuint(message->networkmap->firewallrules[1]->sourceprefixes[0].data[16], ==,
			 0); /* everybody */
	g_assert_true(message->networkmap->firewallrules[1]->direction == NBM__RULE_DIRECTION__OUT);
	nbm__sync_response__free_unpacked(message, NULL);
}

/* netbird-hub.md 4.3: the flags are what tells "none" from "too old to know". */
static void test_empty_flags(void)
{
	/* {4: true, 5: {1: 47, 4: true, 6: {4: 22054}, 9: true}}, a deleted peer's last message. */
	static const guint8 deleted[] =
		"\x20\x01\x2a\x0c\x08\x2f\x20\x01\x32\x04\x20\xa6\xac\x01\x48\x01";
	NbhSyncResponse response = {.has_map = TRUE, .serial = 47, .dns_forwarder_port = 22054};
	g_autoptr(GBytes) plain = nbh_mgmt_encode_sync_response(&response), none = NULL;

	g_assert_cmpmem(g_bytes_get_data(plain, NULL), g_bytes_get_size(plain), deleted,
			sizeof(deleted) - 1);

	response = (NbhSyncResponse){0};
	none = nbh_mgmt_encode_sync_response(&response);
	g_assert_cmpuint(g_bytes_get_size(none), ==, 0);
}

static void test_envelope(void)
{
	struct nbh_key a, b, c, a_public, b_public, c_public, sender;
	g_autoptr(GBytes) sealed = NULL, opened = NULL;
	g_autoptr(GError) error = NULL;
	const guint8 *data;
	gsize i, len;

	nbh_key_generate_private(&a);
	nbh_key_generate_private(&b);
	nbh_key_generate_private(&c);
	nbh_key_public(&a, &a_public);
	nbh_key_public(&b, &b_public);
	nbh_key_public(&c, &c_public);
	sealed = nbh_mgmt_seal(&a, &b_public, NULL, 0);
	data = g_bytes_get_data(sealed, &len);
	g_assert_cmpuint(len, ==, 88); /* netbird-wire.md 1.2: an empty body is still a box */
	opened = nbh_mgmt_open(&b, &a_public, data, len, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(g_bytes_get_size(opened), ==, 0);
	g_assert_true(nbh_mgmt_sender(data, len, &sender, NULL));
	g_assert_true(nbh_key_equal(&sender, &a_public));

	g_assert_null(nbh_mgmt_open(&c, &a_public, data, len, &error));
	g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_SEALED);
	g_clear_error(&error);
	g_assert_null(nbh_mgmt_open(&b, &c_public, data, len, &error)); /* a restarted server */
	g_assert_error(error, NBH_WIRE_ERROR, NBH_WIRE_SEALED);

	for (i = 0; i < len; i++)
		g_assert_null(nbh_mgmt_open(&b, &a_public, data, i, NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/wire/mgmt/requests", test_requests);
	g_test_add_func("/wire/mgmt/request-limits", test_request_limits);
	g_test_add_func("/wire/mgmt/sync-without-text", test_sync_without_text);
	g_test_add_func("/wire/mgmt/hub-to-client", test_hub_to_client);
	g_test_add_func("/wire/mgmt/hub-to-official", test_hub_to_official);
	g_test_add_func("/wire/mgmt/empty-flags", test_empty_flags);
	g_test_add_func("/wire/mgmt/envelope", test_envelope);
	return g_test_run();
}
