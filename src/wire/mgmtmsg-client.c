#include "config.h"

/*
 * The client's side of management: what we say about ourselves, and what the server answers. A
 * peer that cannot be used is left out and named; whatever would make the whole map doubtful (a
 * limit, our own address) refuses the message.
 */

#include "wire/mgmtmsg.h"

#include "base/limits.h"
#include "wire/error.h"
#include "wire/hostport.h"
#include "wire/pb.h"
#include "wire/stun.h"

#include <string.h>

#define TEXT_MAX_BYTES 255  /* names and versions that are kept */
#define QUOTED_MAX_BYTES 64 /* of a stranger's text in a message */
#define SERVERS_MAX 16	    /* STUN, TURN and relay addresses, each */
#define MTU_MIN 576
#define MTU_MAX 8192
#define NAME_CHARACTERS G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-._+:/@ ()~*"
/* What netbird-wg allows without being told: a shorter network would swallow the Internet. */
#define NETWORK_LEN_MIN_V4 8
#define NETWORK_LEN_MIN_V6 16

NBH_PB_AUTOPTR(Nbm__LoginResponse, nbm__login_response)
NBH_PB_AUTOPTR(Nbm__SyncResponse, nbm__sync_response)

void nbh_mgmt_update_clear(NbhMgmtUpdate *update)
{
	nbh_server_config_free(update->servers);
	nbh_netmap_unref(update->map);
	g_free(update->peer_config_refused);
	g_free(update->map_refused);
	memset(update, 0, sizeof(*update));
}

/* --- what we say ------------------------------------------------------------------------------ */

/* A PeerSystemMeta with what it points to. */
typedef struct {
	Nbm__PeerSystemMeta meta;
	Nbm__Flags flags;
	Nbm__PeerCapability capabilities[2];
	Nbm__NetworkAddress *addresses;	  /* owned */
	Nbm__NetworkAddress **address_of; /* owned */
} MetaMessage;

static void meta_addresses(const NbhMeta *in, MetaMessage *out)
{
	gsize n = in->addresses ? g_strv_length((char **)in->addresses) : 0;
	gsize i;

	out->addresses = g_new(Nbm__NetworkAddress, n);
	out->address_of = g_new(Nbm__NetworkAddress *, n);

	for (i = 0; i < n; i++) {
		nbm__network_address__init(&out->addresses[i]);
		out->addresses[i].netip = nbh_pb_optional(in->addresses[i]);
		out->addresses[i].mac = in->macs ? nbh_pb_optional(in->macs[i]) : NULL;
		out->address_of[i] = &out->addresses[i];
	}

	out->meta.networkaddresses = out->address_of;
	out->meta.n_networkaddresses = n;
}

/*
 * The whole meta, every time: Sync replaces the stored one (netbird-wire.md 2.5). Without
 * syncMessageVersion and capability 3, so that the server sends plain maps (2.6).
 */
static void meta_fill(const NbhMeta *in, MetaMessage *out)
{
	Nbm__PeerSystemMeta *meta = &out->meta;
	Nbm__Flags *flags = &out->flags;

	nbm__peer_system_meta__init(meta);
	meta->hostname = nbh_pb_optional(in->hostname);
	meta->goos = nbh_pb_optional(in->go_os);
	meta->kernel = nbh_pb_optional(in->kernel);
	meta->core = nbh_pb_optional(in->core);
	meta->platform = nbh_pb_optional(in->platform);
	meta->os = nbh_pb_optional(in->os);
	meta->netbirdversion = nbh_pb_optional(in->netbird_version);
	meta->kernelversion = nbh_pb_optional(in->kernel_version);
	meta->osversion = nbh_pb_optional(in->os_version);
	meta_addresses(in, out);

	nbm__flags__init(flags);
	flags->disableclientroutes = flags->has_disableclientroutes =
		in->disable_client_routes != FALSE;
	flags->disableserverroutes = flags->has_disableserverroutes =
		in->disable_server_routes != FALSE;
	flags->disabledns = flags->has_disabledns = in->disable_dns != FALSE;
	flags->disablefirewall = flags->has_disablefirewall = in->disable_firewall != FALSE;
	flags->disableipv6 = flags->has_disableipv6 = in->disable_ipv6 != FALSE;
	meta->flags = flags;

	out->capabilities[0] = NBM__PEER_CAPABILITY__PeerCapabilitySourcePrefixes;
	out->capabilities[1] = NBM__PEER_CAPABILITY__PeerCapabilityIPv6Overlay;
	meta->capabilities = out->capabilities;
	meta->n_capabilities = in->disable_ipv6 ? 1 : 2;
}

static void meta_clear(MetaMessage *message)
{
	g_free(message->addresses);
	g_free(message->address_of);
}

GBytes *nbh_mgmt_encode_login(const NbhMeta *meta, const char *setup_key,
			      const struct nbh_key *own_public)
{
	Nbm__LoginRequest request = NBM__LOGIN_REQUEST__INIT;
	Nbm__PeerKeys keys = NBM__PEER_KEYS__INIT;
	struct nbh_key_text text = nbh_key_format(own_public);
	MetaMessage message;
	GBytes *plain;

	meta_fill(meta, &message);
	keys.has_wgpubkey = TRUE;
	keys.wgpubkey = nbh_pb_bytes(text.text, NBH_KEY_TEXT_LEN);
	request.setupkey = nbh_pb_optional(setup_key);
	request.meta = &message.meta;
	request.peerkeys = &keys;
	plain = nbh_pb_pack(&request.base);
	meta_clear(&message);
	return plain;
}

GBytes *nbh_mgmt_encode_sync(const NbhMeta *meta)
{
	Nbm__SyncRequest request = NBM__SYNC_REQUEST__INIT;
	MetaMessage message;
	GBytes *plain;

	meta_fill(meta, &message);
	request.meta = &message.meta;
	plain = nbh_pb_pack(&request.base);
	meta_clear(&message);
	return plain;
}

/* --- servers ---------------------------------------------------------------------------------- */

static char *quoted(const char *text)
{
	return nbh_pb_text(text, QUOTED_MAX_BYTES);
}

/* Host names and versions are ASCII; nothing else may pass for one of them on a terminal. */
static char *name_text(const char *text)
{
	char *copy = nbh_pb_text(text, TEXT_MAX_BYTES);

	return g_strcanon(copy, NAME_CHARACTERS, '?');
}

static gboolean signal_decode(const Nbm__HostConfig *in, NbhServerConfig *out, GError **error)
{
	g_autofree char *shown = NULL;

	if (!in)
		return TRUE;

	if (in->uri && nbh_hostport_parse(in->uri, strlen(in->uri), 0, out->signal_host,
					  sizeof(out->signal_host), &out->signal_port)) {
		out->has_signal = TRUE;
		out->signal_tls = in->protocol == NBM__HOST_CONFIG__PROTOCOL__HTTPS;
		return TRUE;
	}

	shown = quoted(in->uri);
	g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
		    "netbirdConfig.signal.uri \"%s\": not host:port", shown);
	return FALSE;
}

/* An address that we cannot use is left out and named; the others still serve. netbird-wire.md 2.9. */
static void server_skip(NbhServerConfig *out, const char *list, gsize index, const char *text, const char *problem)
{
	g_autofree char *shown = quoted(text);

	if (out->skipped->len < NBH_NETMAP_SKIPPED_MAX)
		g_ptr_array_add(out->skipped, g_strdup_printf("%s[%" G_GSIZE_FORMAT "] \"%s\": %s", list, index,
							      shown, problem));
}

static void uri_add(NbhServerConfig *out, GPtrArray *list, gsize index, const char *uri, gboolean is_turn)
{
	const char *name = is_turn ? "turns" : "stuns";
	char host[256];
	guint16 port;
	gboolean turn, tls;

	if (list->len >= SERVERS_MAX)
		server_skip(out, name, index, uri, "one too many");
	else if (!uri || !nbh_stun_uri_parse(uri, host, sizeof(host), &port, &turn, &tls) || turn != is_turn)
		server_skip(out, name, index, uri, is_turn ? "not turn:HOST:PORT" : "not stun:HOST:PORT");
	else
		g_ptr_array_add(list, g_strdup(uri));
}

static void relay_add(NbhServerConfig *out, gsize index, const char *url)
{
	if (out->relays->len >= SERVERS_MAX)
		server_skip(out, "relay.urls", index, url, "one too many");
	else if (strlen(url) > TEXT_MAX_BYTES || (!g_str_has_prefix(url, "rel://") && !g_str_has_prefix(url, "rels://")))
		server_skip(out, "relay.urls", index, url, "not rel:// or rels://");
	else
		g_ptr_array_add(out->relays, g_strdup(url));
}

/* The signal address counts in Login only (2.9), so a bad one in Sync does no harm. */
static NbhServerConfig *servers_decode(const Nbm__NetbirdConfig *in, gboolean is_login,
				       GError **error)
{
	g_autoptr(NbhServerConfig) out = g_new0(NbhServerConfig, 1);
	gsize i;

	out->stuns = g_ptr_array_new_with_free_func(g_free);
	out->turns = g_ptr_array_new_with_free_func(g_free);
	out->relays = g_ptr_array_new_with_free_func(g_free);
	out->skipped = g_ptr_array_new_with_free_func(g_free);

	if (!signal_decode(in->signal, out, is_login ? error : NULL) && is_login)
		return NULL;

	for (i = 0; i < in->n_stuns; i++)
		uri_add(out, out->stuns, i, in->stuns[i]->uri, FALSE);

	for (i = 0; i < in->n_turns; i++) {
		if (in->turns[i]->hostconfig)
			uri_add(out, out->turns, i, in->turns[i]->hostconfig->uri, TRUE);
	}

	for (i = 0; in->relay && i < in->relay->n_urls; i++)
		relay_add(out, i, in->relay->urls[i]);

	return g_steal_pointer(&out);
}

/* --- our own configuration -------------------------------------------------------------------- */

static gboolean is_too_wide(const struct nbh_prefix *prefix)
{
	return prefix->len < (prefix->addr.family == AF_INET ? NETWORK_LEN_MIN_V4 : NETWORK_LEN_MIN_V6);
}

static gboolean is_usable_host(const struct nbh_prefix *prefix)
{
	return !nbh_addr_is_unspecified(&prefix->addr) && !nbh_addr_is_loopback(&prefix->addr) &&
	       !nbh_addr_is_multicast(&prefix->addr);
}

static gboolean peer_config_decode(const Nbm__PeerConfig *in, NbhPeerConfig *ret_config,
				   GError **error)
{
	NbhPeerConfig config = {.lazy = in->lazyconnectionenabled != 0};
	g_autofree char *fqdn = name_text(in->fqdn);

	if (!in->address || nbh_prefix_parse(in->address, &config.address) < 0 ||
	    !is_usable_host(&config.address)) {
		g_autofree char *shown = quoted(in->address);

		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "peerConfig.address \"%s\": not an address with prefix length", shown);
		return FALSE;
	}

	if (is_too_wide(&config.address)) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "peerConfig.address \"%.60s\": a network wider than /%d", in->address,
			    config.address.addr.family == AF_INET ? NETWORK_LEN_MIN_V4 : NETWORK_LEN_MIN_V6);
		return FALSE;
	}

	if (in->address_v6.len > 0 &&
	    (nbh_prefix_from_compact(in->address_v6.data, in->address_v6.len, &config.address_v6) <
		     0 ||
	     config.address_v6.addr.family != AF_INET6 || !is_usable_host(&config.address_v6))) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "peerConfig.address_v6: not an IPv6 address with prefix length "
			    "(%" G_GSIZE_FORMAT " bytes)",
			    in->address_v6.len);
		return FALSE;
	}

	if (config.address_v6.addr.family && is_too_wide(&config.address_v6)) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "peerConfig.address_v6: a network wider than /%d", NETWORK_LEN_MIN_V6);
		return FALSE;
	}

	if (in->mtu != 0 && (in->mtu < MTU_MIN || in->mtu > MTU_MAX)) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "peerConfig.mtu %d: not %d to %d", in->mtu, MTU_MIN, MTU_MAX);
		return FALSE;
	}

	config.mtu = (guint32)in->mtu;
	g_strlcpy(config.fqdn, fqdn, sizeof(config.fqdn));
	*ret_config = config;
	return TRUE;
}

/* --- the map ---------------------------------------------------------------------------------- */

/* The peers so far, and what was left out. Repeated keys and prefixes are nbh_netmap_new()'s
 * business. */
typedef struct {
	const struct nbh_key *own;
	NbhNetmapPeer *peers; /* owned, with its members */
	gsize n_peers, n_prefixes;
	GPtrArray *skipped; /* char *, owned */
	gsize n_skipped;
} MapReader;

static void reader_clear(MapReader *reader)
{
	gsize i;

	for (i = 0; i < reader->n_peers; i++) {
		g_free(reader->peers[i].allowed_ips);
		g_free(reader->peers[i].fqdn);
		g_free(reader->peers[i].agent_version);
	}

	g_free(reader->peers);
	g_clear_pointer(&reader->skipped, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MapReader, reader_clear)

/* "peer 3 (abcdefgh): allowedIps \"x\": not a prefix" */
static void skip(MapReader *reader, gsize index, const Nbm__RemotePeerConfig *peer,
		 const char *field, const char *value, const char *problem)
{
	g_autofree char *key = NULL, *shown = NULL;

	if (++reader->n_skipped > NBH_NETMAP_SKIPPED_MAX)
		return;

	key = nbh_pb_text(peer->wgpubkey, 8);
	shown = quoted(value);
	g_ptr_array_add(reader->skipped,
			g_strdup_printf("peer %" G_GSIZE_FORMAT " (%s): %s \"%s\": %s", index, key,
					field, shown, problem));
}

/* The prefixes of one peer, masked. NULL: skipped, or *error set. */
static struct nbh_prefix *prefixes_decode(MapReader *reader, gsize index,
					  const Nbm__RemotePeerConfig *in, GError **error)
{
	g_autofree struct nbh_prefix *prefixes = NULL;
	gsize i;

	if (in->n_allowedips > NBH_PREFIXES_PER_PEER_MAX) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT,
			    "remotePeers[%" G_GSIZE_FORMAT "].allowedIps: %" G_GSIZE_FORMAT
			    " entries, limit %d",
			    index, in->n_allowedips, NBH_PREFIXES_PER_PEER_MAX);
		return NULL;
	}

	reader->n_prefixes += in->n_allowedips;

	if (reader->n_prefixes > NBH_PREFIXES_TOTAL_MAX) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT,
			    "remotePeers: more than %d allowedIps together",
			    NBH_PREFIXES_TOTAL_MAX);
		return NULL;
	}

	prefixes = g_new0(struct nbh_prefix, in->n_allowedips + 1);

	for (i = 0; i < in->n_allowedips; i++) {
		struct nbh_prefix prefix;

		if (nbh_prefix_parse(in->allowedips[i], &prefix) < 0) {
			skip(reader, index, in, "allowedIps", in->allowedips[i], "not a prefix");
			return NULL;
		}

		prefixes[i] = nbh_prefix_masked(&prefix);
	}

	return g_steal_pointer(&prefixes);
}

static gboolean peer_decode(MapReader *reader, gsize index, const Nbm__RemotePeerConfig *in,
			    GError **error)
{
	NbhNetmapPeer *peer = &reader->peers[reader->n_peers];
	struct nbh_prefix *prefixes;
	GError *problem = NULL;
	struct nbh_key key;

	if (!in->wgpubkey || nbh_key_parse(in->wgpubkey, &key) < 0) {
		skip(reader, index, in, "wgPubKey", in->wgpubkey, "no key");
		return TRUE;
	}

	if (reader->own && nbh_key_equal(&key, reader->own)) {
		skip(reader, index, in, "wgPubKey", in->wgpubkey, "our own key");
		return TRUE;
	}

	prefixes = prefixes_decode(reader, index, in, &problem);

	if (problem) {
		g_propagate_error(error, problem);
		return FALSE;
	}

	if (!prefixes)
		return TRUE;

	peer->key = key;
	peer->allowed_ips = prefixes;
	peer->n_allowed_ips = in->n_allowedips;
	peer->fqdn = name_text(in->fqdn);
	peer->agent_version = name_text(in->agentversion);
	reader->n_peers++;
	return TRUE;
}

static NbhNetmap *map_decode(const Nbm__NetworkMap *in, const struct nbh_key *own_public,
			     GError **error)
{
	g_auto(MapReader) reader = {.own = own_public};
	gsize i, n = in->remotepeersisempty ? 0 : in->n_remotepeers;
	NbhNetmap *map;

	if (n > NBH_PEERS_MAX) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT,
			    "remotePeers: %" G_GSIZE_FORMAT " peers, limit %d", n, NBH_PEERS_MAX);
		return NULL;
	}

	reader.peers = g_new0(NbhNetmapPeer, n);
	reader.skipped = g_ptr_array_new_with_free_func(g_free);

	for (i = 0; i < n; i++) {
		if (!peer_decode(&reader, i, in->remotepeers[i], error))
			return NULL;
	}

	if (reader.n_skipped > NBH_NETMAP_SKIPPED_MAX)
		g_ptr_array_add(reader.skipped, g_strdup_printf("%" G_GSIZE_FORMAT " more",
								reader.n_skipped - NBH_NETMAP_SKIPPED_MAX));

	map = nbh_netmap_new(in->serial, g_steal_pointer(&reader.peers), reader.n_peers,
			     g_steal_pointer(&reader.skipped));
	reader.n_peers = 0;
	map->n_offline = in->n_offlinepeers;
	map->n_rules = in->n_firewallrules + in->n_routesfirewallrules;
	map->n_routes = in->n_routes;
	return map;
}

/* --- answers ---------------------------------------------------------------------------------- */

static gboolean update_decode(const Nbm__NetbirdConfig *servers, const Nbm__PeerConfig *peer_config,
			      gboolean is_login, NbhMgmtUpdate *update, GError **error)
{
	if (servers) {
		update->servers = servers_decode(servers, is_login, error);

		if (!update->servers)
			return FALSE;
	}

	if (peer_config) {
		g_autoptr(GError) problem = NULL;

		update->has_peer_config = peer_config_decode(peer_config, &update->peer_config, &problem);

		if (problem && is_login) {
			g_propagate_error(error, g_steal_pointer(&problem));
			return FALSE;
		}

		if (problem)
			update->peer_config_refused = g_strdup(problem->message);
	}

	return TRUE;
}

gboolean nbh_mgmt_decode_login(const guint8 *plain, gsize len, NbhMgmtUpdate *ret_update,
			       GError **error)
{
	g_autoptr(Nbm__LoginResponse) message = NULL;
	NbhMgmtUpdate update = {0};

	message = (Nbm__LoginResponse *)nbh_pb_unpack(&nbm__login_response__descriptor, plain, len,
						      error);

	if (!message)
		return FALSE;

	if (!update_decode(message->netbirdconfig, message->peerconfig, TRUE, &update, error)) {
		nbh_mgmt_update_clear(&update);
		g_prefix_error(error, "LoginResponse: ");
		return FALSE;
	}

	*ret_update = update;
	return TRUE;
}

gboolean nbh_mgmt_decode_sync(const guint8 *plain, gsize len, const struct nbh_key *own_public,
			      NbhMgmtUpdate *ret_update, GError **error)
{
	g_autoptr(Nbm__SyncResponse) message = NULL;
	const Nbm__PeerConfig *peer_config;
	NbhMgmtUpdate update = {0};
	gboolean ok;

	message = (Nbm__SyncResponse *)nbh_pb_unpack(&nbm__sync_response__descriptor, plain, len,
						     error);

	if (!message)
		return FALSE;

	if (message->version != 0 || message->networkmapenvelope) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_UNSUPPORTED,
			    "SyncResponse: map in the components format (version %d), though we "
			    "asked for the plain one",
			    message->version);
		return FALSE;
	}

	/* Field 2 is a copy of the map's own; official clients read the latter. */
	peer_config = message->networkmap && message->networkmap->peerconfig
			      ? message->networkmap->peerconfig
			      : message->peerconfig;
	ok = update_decode(message->netbirdconfig, peer_config, FALSE, &update, error);

	if (ok && message->networkmap) {
		g_autoptr(GError) problem = NULL;

		update.map = map_decode(message->networkmap, own_public, &problem);

		if (problem)
			update.map_refused = g_strdup(problem->message);
	}

	if (!ok) {
		nbh_mgmt_update_clear(&update);
		g_prefix_error(error, "SyncResponse: ");
		return FALSE;
	}

	*ret_update = update;
	return TRUE;
}
