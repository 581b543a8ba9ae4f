#include "config.h"

#include "hub/maps.h"

#include "wire/mgmtmsg.h"

#include <string.h>

#define POLICY_ID "everyone"
#define DNS_FORWARDER_PORT 22054 /* when all peers are >= 0.59.0: netbird-wire.md 2.7 */

/* The texts that the messages point to, made once per generation. */
typedef struct {
	struct nbh_key_text key;
	char address[NBH_ADDR_TEXT_MAX];
	char allowed_ip[NBH_PREFIX_TEXT_MAX];
	const char *allowed_ips[2];
	char fqdn[256];
	char *version;   /* owned */
	GBytes *ssh_key; /* ref or NULL */
} Entry;

struct _NbhMaps {
	NbhMapsConfig config; /* texts owned */
	struct nbh_prefix network;
	NbhServerConfig *servers; /* owned */
	guint64 generation;       /* of the arrays below */
	gsize n;
	Entry *entries;        /* owned */
	NbhRemotePeer *peers;  /* owned; point into entries */
	NbhZoneRecord *records;
	NbhRemotePeer *others; /* room for a list without its receiver */
};

static void drop_entries(NbhMaps *maps)
{
	for (gsize i = 0; i < maps->n; i++) {
		g_free(maps->entries[i].version);
		g_clear_pointer(&maps->entries[i].ssh_key, g_bytes_unref);
	}
	maps->n = 0;
	g_clear_pointer(&maps->entries, g_free);
	g_clear_pointer(&maps->peers, g_free);
	g_clear_pointer(&maps->records, g_free);
	g_clear_pointer(&maps->others, g_free);
}

static void format_fqdn(const NbhMaps *maps, const NbhHubPeer *peer, char *buf, gsize size)
{
	g_snprintf(buf, size, "%s.%s", peer->label, maps->config.dns_domain);
}

static void make_entry(NbhMaps *maps, const NbhHubPeer *peer, gsize i)
{
	Entry *entry = &maps->entries[i];
	NbhRemotePeer *remote = &maps->peers[i];

	entry->key = nbh_key_format(&peer->key);
	nbh_addr_format(&peer->ip, entry->address);
	g_snprintf(entry->allowed_ip, sizeof(entry->allowed_ip), "%s/32", entry->address);
	entry->allowed_ips[0] = entry->allowed_ip;
	format_fqdn(maps, peer, entry->fqdn, sizeof(entry->fqdn));
	entry->version = g_strdup(peer->version);
	entry->ssh_key = peer->ssh_key ? g_bytes_ref(peer->ssh_key) : NULL;
	remote->key_text = entry->key.text;
	remote->allowed_ips = entry->allowed_ips;
	remote->fqdn = entry->fqdn;
	remote->agent_version = entry->version;
	if (entry->ssh_key)
		remote->ssh_pub_key = g_bytes_get_data(entry->ssh_key, &remote->ssh_pub_key_len);
	maps->records[i] = (NbhZoneRecord){ .fqdn = entry->fqdn, .address = entry->address };
}

static void update_entries(NbhMaps *maps, NbhRegistry *registry)
{
	const GPtrArray *peers = nbh_registry_peers(registry);

	if (maps->generation == nbh_registry_generation(registry))
		return;
	drop_entries(maps);
	maps->generation = nbh_registry_generation(registry);
	maps->n = peers->len;
	maps->entries = g_new0(Entry, maps->n);
	maps->peers = g_new0(NbhRemotePeer, maps->n);
	maps->records = g_new0(NbhZoneRecord, maps->n);
	maps->others = g_new0(NbhRemotePeer, maps->n);
	for (gsize i = 0; i < maps->n; i++)
		make_entry(maps, peers->pdata[i], i);
}

/* The entries in order of id, without the receiver's and those that it may not see. */
static gsize list_others(NbhMaps *maps, const GPtrArray *peers, const NbhHubPeer *receiver)
{
	gsize n = 0;

	for (gsize i = 0; i < maps->n; i++) {
		const NbhHubPeer *other = peers->pdata[i];

		if (nbh_key_equal(&other->key, &receiver->key))
			continue;
		if (maps->config.may_see && !maps->config.may_see(receiver->name, other->name))
			continue;
		maps->others[n++] = maps->peers[i];
	}
	return n;
}

static NbhServerConfig *make_servers(const NbhMapsConfig *config)
{
	NbhServerConfig *servers = g_new0(NbhServerConfig, 1);
	gboolean bracket = strchr(config->public_host, ':') != NULL;

	servers->stuns = g_ptr_array_new_with_free_func(g_free);
	servers->turns = g_ptr_array_new_with_free_func(g_free);
	servers->relays = g_ptr_array_new_with_free_func(g_free);
	servers->has_signal = TRUE;
	g_strlcpy(servers->signal_host, config->public_host, sizeof(servers->signal_host));
	servers->signal_port = config->public_port;
	servers->signal_tls = config->public_tls;
	if (config->stun_port)
		g_ptr_array_add(servers->stuns,
				g_strdup_printf(bracket ? "stun:[%s]:%u" : "stun:%s:%u",
						config->public_host, config->stun_port));
	return servers;
}

NbhMaps *nbh_maps_new(const NbhMapsConfig *config, const struct nbh_prefix *network)
{
	NbhMaps *maps = g_new0(NbhMaps, 1);

	maps->config = *config;
	maps->config.public_host = g_strdup(config->public_host);
	maps->config.dns_domain = g_strdup(config->dns_domain);
	maps->network = *network;
	maps->servers = make_servers(config);
	return maps;
}

void nbh_maps_free(NbhMaps *maps)
{
	if (!maps)
		return;
	drop_entries(maps);
	nbh_server_config_free(maps->servers);
	g_free((char *)maps->config.public_host);
	g_free((char *)maps->config.dns_domain);
	g_free(maps);
}

/* The same text in Login and in every Sync, else official clients restart for ever (4.3). */
static void fill_peer_config(const NbhMaps *maps, const NbhHubPeer *peer, NbhPeerConfig *ret_config)
{
	memset(ret_config, 0, sizeof(*ret_config));
	ret_config->address.addr = peer->ip;
	ret_config->address.len = maps->network.len;
	format_fqdn(maps, peer, ret_config->fqdn, sizeof(ret_config->fqdn));
	ret_config->lazy = maps->config.lazy;
}

GBytes *nbh_maps_login(NbhMaps *maps, const NbhHubPeer *peer)
{
	NbhPeerConfig peer_config;

	fill_peer_config(maps, peer, &peer_config);
	return nbh_mgmt_encode_login_response(maps->servers, &peer_config);
}

GBytes *nbh_maps_sync(NbhMaps *maps, NbhRegistry *registry, const NbhHubPeer *peer, gboolean first)
{
	static const NbhFirewallRule rules[] = {
		{ .peer = { .family = AF_INET }, .policy_id = POLICY_ID },
		{ .peer = { .family = AF_INET }, .out = TRUE, .policy_id = POLICY_ID },
	};
	NbhPeerConfig peer_config;
	NbhSyncResponse response = {
		.servers = first ? maps->servers : NULL,
		.peer_config = &peer_config,
		.has_map = TRUE,
		.serial = nbh_registry_serial(registry),
		.rules = rules,
		.n_rules = G_N_ELEMENTS(rules),
		.dns_domain = maps->config.dns_domain,
		.dns_forwarder_port = DNS_FORWARDER_PORT,
	};

	update_entries(maps, registry);
	fill_peer_config(maps, peer, &peer_config);
	response.n_peers = list_others(maps, nbh_registry_peers(registry), peer);
	response.peers = maps->others;
	response.records = maps->records;
	response.n_records = maps->n;
	return nbh_mgmt_encode_sync_response(&response);
}

GBytes *nbh_maps_goodbye(NbhMaps *maps, guint64 serial)
{
	const NbhSyncResponse response = { .has_map = TRUE, .serial = serial };

	(void)maps;
	return nbh_mgmt_encode_sync_response(&response);
}
