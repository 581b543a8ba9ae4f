#include "config.h"

/* The hub's side of management: requests in, answers out. netbird-hub.md section 4. */

#include "wire/mgmtmsg.h"

#include "base/limits.h"
#include "wire/error.h"
#include "wire/pb.h"

#include <netinet/in.h>
#include <string.h>

#define TEXT_MAX_BYTES 255
#define SETUP_KEY_MAX_BYTES 255
#define SSH_KEY_MAX_BYTES 4096 /* an authorized_keys line; RSA ones are below 1 KiB */
#define DNS_TYPE_A 1
#define DNS_TYPE_AAAA 28
#define DNS_TTL_S 300

NBH_PB_AUTOPTR(Nbm__LoginRequest, nbm__login_request)
NBH_PB_AUTOPTR(Nbm__SyncRequest, nbm__sync_request)
NBH_PB_AUTOPTR(Nbm__PeerSystemMeta, nbm__peer_system_meta)

/* --- requests --------------------------------------------------------------------------------- */

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
}

void nbh_login_request_clear(NbhLoginRequest *request)
{
	wipe(request->setup_key);
	g_free(request->setup_key);
	g_free(request->hostname);
	g_free(request->netbird_version);
	g_free(request->go_os);
	g_free(request->os);
	g_free(request->os_version);
	g_free(request->kernel_version);
	g_free(request->platform);
	g_free(request->ssh_pub_key);
	g_clear_pointer(&request->meta_bytes, g_bytes_unref);
	g_strfreev(request->addresses);
	memset(request, 0, sizeof(*request));
}

static gboolean has_capability(const Nbm__PeerSystemMeta *meta, Nbm__PeerCapability capability)
{
	gsize i;

	for (i = 0; i < meta->n_capabilities; i++) {
		if (meta->capabilities[i] == capability)
			return TRUE;
	}

	return FALSE;
}

/* meta NULL: all texts are "". */
static void meta_decode(const Nbm__PeerSystemMeta *meta, NbhLoginRequest *request)
{
	static const Nbm__PeerSystemMeta none = NBM__PEER_SYSTEM_META__INIT;

	request->has_meta = meta != NULL;
	meta = meta ? meta : &none;
	request->hostname = nbh_pb_text(meta->hostname, TEXT_MAX_BYTES);
	request->netbird_version = nbh_pb_text(meta->netbirdversion, TEXT_MAX_BYTES);
	request->go_os = nbh_pb_text(meta->goos, TEXT_MAX_BYTES);
	request->os = nbh_pb_text(meta->os, TEXT_MAX_BYTES);
	request->os_version = nbh_pb_text(meta->osversion, TEXT_MAX_BYTES);
	request->kernel_version = nbh_pb_text(meta->kernelversion, TEXT_MAX_BYTES);
	request->platform = nbh_pb_text(meta->platform, TEXT_MAX_BYTES);
	request->ipv6 = has_capability(meta, NBM__PEER_CAPABILITY__PeerCapabilityIPv6Overlay) &&
			!(meta->flags && meta->flags->disableipv6);
	request->meta_bytes = nbh_pb_pack(&meta->base);
}

gboolean nbh_mgmt_decode_login_request(const guint8 *plain, gsize len, NbhLoginRequest *ret_request,
				       GError **error)
{
	g_autoptr(Nbm__LoginRequest) message = NULL;
	NbhLoginRequest request = {0};

	message = (Nbm__LoginRequest *)nbh_pb_unpack(&nbm__login_request__descriptor, plain, len,
						     error);

	if (!message)
		return FALSE;

	if (message->setupkey && strlen(message->setupkey) > SETUP_KEY_MAX_BYTES) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT,
			    "LoginRequest.setupKey: longer than %d bytes", SETUP_KEY_MAX_BYTES);
		return FALSE;
	}

	if (message->peerkeys && message->peerkeys->sshpubkey.len > SSH_KEY_MAX_BYTES) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT,
			    "LoginRequest.peerKeys.sshPubKey: longer than %d bytes",
			    SSH_KEY_MAX_BYTES);
		return FALSE;
	}

	request.setup_key = g_strdup(message->setupkey ? message->setupkey : "");
	wipe(message->setupkey);
	meta_decode(message->meta, &request);

	if (message->peerkeys && message->peerkeys->sshpubkey.len > 0) {
		request.ssh_pub_key_len = message->peerkeys->sshpubkey.len;
		request.ssh_pub_key =
			g_memdup2(message->peerkeys->sshpubkey.data, request.ssh_pub_key_len);
	}

	*ret_request = request;
	return TRUE;
}

/* "A meta whose textual fields are all empty counts as no meta": netbird-wire.md 2.5. */
static gboolean has_text(const Nbm__PeerSystemMeta *meta)
{
	const char *const texts[] = {
		meta->hostname,	       meta->goos,	meta->kernel,	       meta->core,
		meta->platform,	       meta->os,	meta->netbirdversion,  meta->uiversion,
		meta->kernelversion,   meta->osversion, meta->sysserialnumber, meta->sysproductname,
		meta->sysmanufacturer,
	};
	gsize i;

	for (i = 0; i < G_N_ELEMENTS(texts); i++) {
		if (texts[i] && *texts[i])
			return TRUE;
	}

	return FALSE;
}

/* SyncMetaRequest has the same single field. */
gboolean nbh_mgmt_decode_sync_request(const guint8 *plain, gsize len, NbhLoginRequest *ret_request,
				      GError **error)
{
	g_autoptr(Nbm__SyncRequest) message = NULL;
	NbhLoginRequest request = {0};

	message = (Nbm__SyncRequest *)nbh_pb_unpack(&nbm__sync_request__descriptor, plain, len,
						    error);

	if (!message)
		return FALSE;

	request.setup_key = g_strdup("");
	meta_decode(message->meta && has_text(message->meta) ? message->meta : NULL, &request);
	*ret_request = request;
	return TRUE;
}

gboolean nbh_mgmt_decode_meta(GBytes *meta_bytes, NbhLoginRequest *ret_request, GError **error)
{
	gsize len, n;
	const guint8 *data = g_bytes_get_data(meta_bytes, &len);
	g_autoptr(Nbm__PeerSystemMeta) meta = NULL;
	NbhLoginRequest request = { 0 };

	meta = (Nbm__PeerSystemMeta *)nbh_pb_unpack(&nbm__peer_system_meta__descriptor, data, len, error);

	if (!meta)
		return FALSE;

	request.setup_key = g_strdup("");
	meta_decode(meta, &request);
	n = MIN(meta->n_networkaddresses, NBH_HOST_ADDRESSES_MAX);
	request.addresses = g_new0(char *, n + 1);

	for (gsize i = 0; i < n; i++)
		request.addresses[i] = nbh_pb_text(meta->networkaddresses[i]->netip, TEXT_MAX_BYTES);

	*ret_request = request;
	return TRUE;
}

/* --- configuration ---------------------------------------------------------------------------- */

/* A NetbirdConfig with what it points to. */
typedef struct {
	Nbm__NetbirdConfig config;
	Nbm__HostConfig signal;
	Nbm__RelayConfig relay;
	Nbm__HostConfig *stuns;	   /* owned */
	Nbm__HostConfig **stun_of; /* owned */
	char *signal_uri;	   /* owned */
} ServersMessage;

/* turns are not filled: they would need credentials, and the hub has no TURN server. */
static Nbm__NetbirdConfig *servers_fill(const NbhServerConfig *in, ServersMessage *out)
{
	gsize i, n = in->stuns ? in->stuns->len : 0;
	gboolean is_v6 = strchr(in->signal_host, ':') != NULL;

	memset(out, 0, sizeof(*out));
	nbm__netbird_config__init(&out->config);
	out->stuns = g_new(Nbm__HostConfig, n);
	out->stun_of = g_new(Nbm__HostConfig *, n);

	for (i = 0; i < n; i++) {
		nbm__host_config__init(&out->stuns[i]);
		out->stuns[i].uri = g_ptr_array_index(in->stuns, i);
		out->stun_of[i] = &out->stuns[i];
	}

	out->config.stuns = out->stun_of;
	out->config.n_stuns = n;

	if (in->has_signal) {
		nbm__host_config__init(&out->signal);
		out->signal_uri = g_strdup_printf(is_v6 ? "[%s]:%u" : "%s:%u", in->signal_host,
						  in->signal_port);
		out->signal.uri = out->signal_uri;
		out->signal.has_protocol = TRUE;
		out->signal.protocol = in->signal_tls ? NBM__HOST_CONFIG__PROTOCOL__HTTPS
						      : NBM__HOST_CONFIG__PROTOCOL__HTTP;
		out->config.signal = &out->signal;
	}

	if (in->relays && in->relays->len > 0) {
		nbm__relay_config__init(&out->relay);
		out->relay.urls = (char **)in->relays->pdata;
		out->relay.n_urls = in->relays->len;
		out->config.relay = &out->relay;
	}

	return &out->config;
}

static void servers_clear(ServersMessage *message)
{
	g_free(message->stuns);
	g_free(message->stun_of);
	g_free(message->signal_uri);
}

static ProtobufCBinaryData compact_fill(const struct nbh_addr *addr, guint8 prefix_len,
					guint8 buf[17])
{
	gsize n = addr->family == AF_INET ? 4 : 16;

	memcpy(buf, addr->bytes, n);
	buf[n] = prefix_len;
	return nbh_pb_bytes(buf, n + 1);
}

/* A PeerConfig with what it points to. */
typedef struct {
	Nbm__PeerConfig config;
	char address[NBH_PREFIX_TEXT_MAX];
	guint8 address_v6[17];
} PeerConfigMessage;

static Nbm__PeerConfig *peer_config_fill(const NbhPeerConfig *in, PeerConfigMessage *out)
{
	Nbm__PeerConfig *config = &out->config;

	nbm__peer_config__init(config);
	nbh_prefix_format(&in->address, out->address);
	config->address = out->address;
	config->fqdn = nbh_pb_optional(in->fqdn);
	config->lazyconnectionenabled = config->has_lazyconnectionenabled = in->lazy != FALSE;
	config->has_mtu = in->mtu != 0;
	config->mtu = (gint32)in->mtu;

	if (in->address_v6.addr.family == AF_INET6) {
		config->has_address_v6 = TRUE;
		config->address_v6 =
			compact_fill(&in->address_v6.addr, in->address_v6.len, out->address_v6);
	}

	return config;
}

/* sessionExpiresAt present and zero: a session that never expires. netbird-wire.md 2.11. */
GBytes *nbh_mgmt_encode_login_response(const NbhServerConfig *servers,
				       const NbhPeerConfig *peer_config)
{
	Nbm__LoginResponse response = NBM__LOGIN_RESPONSE__INIT;
	Nbm__Timestamp never = NBM__TIMESTAMP__INIT;
	ServersMessage servers_message;
	PeerConfigMessage peer_config_message;
	GBytes *plain;

	response.netbirdconfig = servers_fill(servers, &servers_message);
	response.peerconfig = peer_config_fill(peer_config, &peer_config_message);
	response.sessionexpiresat = &never;
	plain = nbh_pb_pack(&response.base);
	servers_clear(&servers_message);
	return plain;
}

/* --- the map ---------------------------------------------------------------------------------- */

typedef struct {
	Nbm__RemotePeerConfig peer;
	Nbm__SSHConfig ssh;
} PeerMessage;

typedef struct {
	Nbm__FirewallRule rule;
	char peer_ip[NBH_ADDR_TEXT_MAX];
	guint8 compact[17];
	ProtobufCBinaryData prefix;
} RuleMessage;

/* A NetworkMap with what it points to; the arrays are owned. */
typedef struct {
	Nbm__NetworkMap map;
	PeerMessage *peers;
	Nbm__RemotePeerConfig **peer_of;
	RuleMessage *rules;
	Nbm__FirewallRule **rule_of;
	Nbm__DNSConfig dns;
	Nbm__CustomZone zone, *zone_of[1];
	Nbm__SimpleRecord *records, **record_of;
	char *domain;
} MapMessage;

static void peers_fill(const NbhSyncResponse *in, MapMessage *out)
{
	gsize i;

	out->peers = g_new(PeerMessage, in->n_peers);
	out->peer_of = g_new(Nbm__RemotePeerConfig *, in->n_peers);

	for (i = 0; i < in->n_peers; i++) {
		const NbhRemotePeer *far = &in->peers[i];
		Nbm__RemotePeerConfig *peer = &out->peers[i].peer;

		nbm__remote_peer_config__init(peer);
		peer->wgpubkey = (char *)far->key_text;
		peer->allowedips = (char **)far->allowed_ips;
		peer->n_allowedips =
			far->allowed_ips ? g_strv_length((char **)far->allowed_ips) : 0;
		peer->fqdn = nbh_pb_optional(far->fqdn);
		peer->agentversion = nbh_pb_optional(far->agent_version);

		if (far->ssh_pub_key_len > 0) {
			nbm__sshconfig__init(&out->peers[i].ssh);
			out->peers[i].ssh.has_sshpubkey = TRUE;
			out->peers[i].ssh.sshpubkey =
				nbh_pb_bytes(far->ssh_pub_key, far->ssh_pub_key_len);
			peer->sshconfig = &out->peers[i].ssh;
		}

		out->peer_of[i] = peer;
	}

	out->map.remotepeers = out->peer_of;
	out->map.n_remotepeers = in->n_peers;
	out->map.remotepeersisempty = out->map.has_remotepeersisempty = in->n_peers == 0;
}

static void rules_fill(const NbhSyncResponse *in, MapMessage *out)
{
	gsize i;

	out->rules = g_new(RuleMessage, in->n_rules);
	out->rule_of = g_new(Nbm__FirewallRule *, in->n_rules);

	for (i = 0; i < in->n_rules; i++) {
		const NbhFirewallRule *from = &in->rules[i];
		RuleMessage *message = &out->rules[i];
		Nbm__FirewallRule *rule = &message->rule;
		guint8 host_len = from->peer.family == AF_INET ? 32 : 128;

		nbm__firewall_rule__init(rule);
		nbh_addr_format(&from->peer, message->peer_ip);
		rule->peerip = message->peer_ip;
		rule->has_direction = from->out != FALSE;
		rule->direction = from->out ? NBM__RULE_DIRECTION__OUT : NBM__RULE_DIRECTION__IN;
		rule->has_protocol = TRUE;
		rule->protocol = NBM__RULE_PROTOCOL__ALL;

		if (from->policy_id && *from->policy_id) {
			rule->has_policyid = TRUE;
			rule->policyid = nbh_pb_bytes(from->policy_id, strlen(from->policy_id));
		}

		/* 0.0.0.0 and :: stand for everybody. netbird-hub.md 6.1. */
		message->prefix = compact_fill(&from->peer,
					       nbh_addr_is_unspecified(&from->peer) ? 0 : host_len,
					       message->compact);
		rule->sourceprefixes = &message->prefix;
		rule->n_sourceprefixes = 1;
		out->rule_of[i] = rule;
	}

	out->map.firewallrules = out->rule_of;
	out->map.n_firewallrules = in->n_rules;
	out->map.firewallrulesisempty = out->map.has_firewallrulesisempty = in->n_rules == 0;
}

/* Names without the closing dot, the zone with it: netbird-hub.md 6.3. */
static void dns_fill(const NbhSyncResponse *in, MapMessage *out)
{
	gsize i;

	nbm__dnsconfig__init(&out->dns);
	out->dns.has_forwarderport = in->dns_forwarder_port != 0;
	out->dns.forwarderport = in->dns_forwarder_port;

	if (in->dns_domain) {
		out->records = g_new(Nbm__SimpleRecord, in->n_records);
		out->record_of = g_new(Nbm__SimpleRecord *, in->n_records);

		for (i = 0; i < in->n_records; i++) {
			Nbm__SimpleRecord *record = &out->records[i];

			nbm__simple_record__init(record);
			record->name = (char *)in->records[i].fqdn;
			record->has_type = TRUE;
			record->type = in->records[i].v6 ? DNS_TYPE_AAAA : DNS_TYPE_A;
			record->class_ = (char *)"IN";
			record->has_ttl = TRUE;
			record->ttl = DNS_TTL_S;
			record->rdata = (char *)in->records[i].address;
			out->record_of[i] = record;
		}

		nbm__custom_zone__init(&out->zone);
		out->domain = g_strconcat(in->dns_domain,
					  g_str_has_suffix(in->dns_domain, ".") ? NULL : ".", NULL);
		out->zone.domain = out->domain;
		out->zone.records = out->record_of;
		out->zone.n_records = in->n_records;
		out->zone_of[0] = &out->zone;
		out->dns.customzones = out->zone_of;
		out->dns.n_customzones = 1;
		out->dns.serviceenable = out->dns.has_serviceenable = TRUE;
	}

	if (out->dns.has_forwarderport || in->dns_domain)
		out->map.dnsconfig = &out->dns;
}

static void map_clear(MapMessage *message)
{
	g_free(message->peers);
	g_free(message->peer_of);
	g_free(message->rules);
	g_free(message->rule_of);
	g_free(message->records);
	g_free(message->record_of);
	g_free(message->domain);
}

GBytes *nbh_mgmt_encode_sync_response(const NbhSyncResponse *in)
{
	Nbm__SyncResponse response = NBM__SYNC_RESPONSE__INIT;
	Nbm__Timestamp never = NBM__TIMESTAMP__INIT;
	ServersMessage servers = {0};
	PeerConfigMessage peer_config;
	MapMessage map = {0};
	GBytes *plain;

	if (in->servers)
		response.netbirdconfig = servers_fill(in->servers, &servers);

	if (in->has_map) {
		nbm__network_map__init(&map.map);
		map.map.has_serial = in->serial != 0;
		map.map.serial = in->serial;
		peers_fill(in, &map);
		rules_fill(in, &map);
		dns_fill(in, &map);
		response.has_remotepeersisempty = response.remotepeersisempty =
			map.map.remotepeersisempty;
		response.networkmap = &map.map;
	}

	/* A deleted peer's last map has none of these, nor has a refresh of credentials (2.8). */
	if (in->peer_config) {
		response.peerconfig = peer_config_fill(in->peer_config, &peer_config);
		response.sessionexpiresat = &never;
		map.map.peerconfig = response.peerconfig;
		map.map.has_routesfirewallrulesisempty = map.map.routesfirewallrulesisempty = TRUE;
	}

	plain = nbh_pb_pack(&response.base);
	servers_clear(&servers);
	map_clear(&map);
	return plain;
}
