#include "config.h"

/* management.json: LoginResponse and SyncResponse against the client's decoder and the hub's
 * encoder. */

#include "tests/vectors/vec-management.h"

#include "wire/error.h"
#include "wire/mgmtmsg.h"

#include <string.h>

static void servers_reduce(Nbm__NetbirdConfig *config)
{
	if (!config)
		return;

	config->n_turns = 0;
	config->flow = NULL;
	config->metrics = NULL;

	if (config->relay)
		config->relay->tokenpayload = config->relay->tokensignature = NULL;
}

static void peer_config_reduce(Nbm__PeerConfig *config)
{
	if (!config)
		return;

	config->dns = NULL;
	config->sshconfig = NULL;
	config->has_routingpeerdnsresolutionenabled = FALSE;
	config->autoupdate = NULL;
}

static void check_servers(const Nbm__NetbirdConfig *in, const NbhServerConfig *out)
{
	if (!in) {
		vec_ok(!out, "no servers");
		return;
	}

	vec_ok(out && out->stuns->len == in->n_stuns && out->turns->len == in->n_turns &&
		       out->relays->len == (in->relay ? in->relay->n_urls : 0) &&
		       out->has_signal == (in->signal != NULL) &&
		       (!in->signal || (g_str_has_prefix(in->signal->uri, out->signal_host) &&
					out->signal_tls == ((int)in->signal->protocol == 3))),
	       "client reads the servers");
}

static void check_peer_config(const Nbm__PeerConfig *in, const NbhMgmtUpdate *update)
{
	char text[NBH_PREFIX_TEXT_MAX];

	if (!in) {
		vec_ok(!update->has_peer_config, "no own configuration");
		return;
	}

	vec_ok(update->has_peer_config &&
		       g_strcmp0(nbh_prefix_format(&update->peer_config.address, text),
				 in->address) == 0 &&
		       g_strcmp0(update->peer_config.fqdn, in->fqdn ? in->fqdn : "") == 0 &&
		       update->peer_config.lazy == (in->lazyconnectionenabled != 0) &&
		       (update->peer_config.address_v6.addr.family != 0) ==
			       (in->address_v6.len > 0),
	       "client reads its own configuration");
}

void vec_login_response(Nbm__LoginResponse *message, GBytes *plain)
{
	g_autoptr(GBytes) ours = NULL;
	g_autoptr(GError) error = NULL;
	Nbm__Timestamp never = NBM__TIMESTAMP__INIT;
	NbhMgmtUpdate update;
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);

	if (!nbh_mgmt_decode_login(data, len, &update, &error)) {
		vec_ok(FALSE, "client reads the answer: %s", error->message);
		return;
	}

	check_servers(message->netbirdconfig, update.servers);
	check_peer_config(message->peerconfig, &update);

	if (update.servers && update.has_peer_config) {
		servers_reduce(message->netbirdconfig);
		peer_config_reduce(message->peerconfig);
		message->n_checks = 0;
		message->sessionexpiresat = &never;
		ours = nbh_mgmt_encode_login_response(update.servers, &update.peer_config);
		vec_ok(vec_packs_to(&message->base, ours),
		       "the hub's encoder makes the same of the fields that it has");
	}

	nbh_mgmt_update_clear(&update);
}

/* --- the map ---------------------------------------------------------------------------------- */

static gboolean peer_equal(const Nbm__RemotePeerConfig *in, const NbhNetmapPeer *peer)
{
	gsize i, j;

	if (!peer || peer->n_allowed_ips != in->n_allowedips ||
	    g_strcmp0(peer->fqdn, in->fqdn ? in->fqdn : "") != 0 ||
	    g_strcmp0(peer->agent_version, in->agentversion ? in->agentversion : "") != 0)
		return FALSE;

	for (i = 0; i < in->n_allowedips; i++) {
		char text[NBH_PREFIX_TEXT_MAX];

		for (j = 0; j < peer->n_allowed_ips; j++) {
			if (g_str_equal(nbh_prefix_format(&peer->allowed_ips[j], text),
					in->allowedips[i]))
				break;
		}

		if (j == peer->n_allowed_ips)
			return FALSE;
	}

	return TRUE;
}

static void check_map(const Nbm__NetworkMap *in, const NbhNetmap *map, const struct nbh_key *own)
{
	gsize i, n = 0;
	gboolean ok = TRUE;

	if (!in) {
		vec_ok(!map, "no map");
		return;
	}

	for (i = 0; map && i < in->n_remotepeers; i++) {
		struct nbh_key key;

		if (nbh_key_parse(in->remotepeers[i]->wgpubkey, &key) < 0) {
			ok = FALSE;
			continue;
		}

		if (own && nbh_key_equal(&key, own)) {
			ok = ok && !nbh_netmap_find(map, &key);
			continue;
		}

		ok = ok && peer_equal(in->remotepeers[i], nbh_netmap_find(map, &key));
		n++;
	}

	vec_ok(map && ok && map->n_peers == n && map->skipped->len == 0 &&
		       map->serial == in->serial,
	       "client reads the map: %" G_GSIZE_FORMAT " peers", n);
	vec_ok(map && map->n_routes == in->n_routes && map->n_offline == in->n_offlinepeers &&
		       map->n_rules == in->n_firewallrules + in->n_routesfirewallrules,
	       "client counts what it does not use");
}

/* Rules that NbhFirewallRule can say: accept, all protocols. The others are cut off. */
static GArray *rules_reduce(Nbm__NetworkMap *map)
{
	GArray *rules = g_array_new(FALSE, TRUE, sizeof(NbhFirewallRule));
	gsize i, n = 0;

	for (i = 0; i < map->n_firewallrules; i++) {
		Nbm__FirewallRule *rule = map->firewallrules[i];
		NbhFirewallRule ours = {.out = (int)rule->direction == 1};
		char *policy_id;

		if ((int)rule->action != 0 || (int)rule->protocol != 1 || rule->port ||
		    rule->portinfo || rule->n_sourceprefixes != 1 || !rule->peerip ||
		    nbh_addr_parse(rule->peerip, &ours.peer) < 0)
			continue;

		policy_id = g_strndup((const char *)rule->policyid.data, rule->policyid.len);
		ours.policy_id = policy_id;
		g_array_append_val(rules, ours);
		map->firewallrules[n++] = rule;
	}

	map->n_firewallrules = n;
	map->firewallrulesisempty = map->has_firewallrulesisempty = n == 0;
	return rules;
}

static void rules_free(GArray *rules)
{
	guint i;

	for (i = 0; i < rules->len; i++)
		g_free((char *)g_array_index(rules, NbhFirewallRule, i).policy_id);

	g_array_unref(rules);
}

static GArray *peers_reduce(Nbm__NetworkMap *map, GPtrArray *lists)
{
	GArray *peers = g_array_new(FALSE, TRUE, sizeof(NbhRemotePeer));
	gsize i, j;

	for (i = 0; i < map->n_remotepeers; i++) {
		Nbm__RemotePeerConfig *in = map->remotepeers[i];
		NbhRemotePeer ours = {.key_text = in->wgpubkey,
				      .fqdn = in->fqdn,
				      .agent_version = in->agentversion};
		char **list = g_new0(char *, in->n_allowedips + 1);

		for (j = 0; j < in->n_allowedips; j++)
			list[j] = in->allowedips[j];

		g_ptr_array_add(lists, list);
		ours.allowed_ips = (const char *const *)list;

		if (in->sshconfig && in->sshconfig->sshpubkey.len > 0) {
			ours.ssh_pub_key = in->sshconfig->sshpubkey.data;
			ours.ssh_pub_key_len = in->sshconfig->sshpubkey.len;
			in->sshconfig->has_sshenabled = FALSE;
			in->sshconfig->jwtconfig = NULL;
		} else {
			in->sshconfig = NULL;
		}

		g_array_append_val(peers, ours);
	}

	map->remotepeersisempty = map->has_remotepeersisempty = map->n_remotepeers == 0;
	return peers;
}

/* The account's own zone, which comes first. */
static GArray *dns_reduce(Nbm__NetworkMap *map, NbhSyncResponse *response, char **ret_domain)
{
	GArray *records = g_array_new(FALSE, TRUE, sizeof(NbhZoneRecord));
	Nbm__DNSConfig *dns = map->dnsconfig;
	gsize i;

	*ret_domain = NULL;

	if (!dns)
		return records;

	dns->n_nameservergroups = 0;
	dns->n_customzones = dns->n_customzones ? 1 : 0;
	dns->serviceenable = dns->has_serviceenable = dns->n_customzones == 1;
	response->dns_forwarder_port = (guint16)dns->forwarderport;

	if (dns->n_customzones) {
		Nbm__CustomZone *zone = dns->customzones[0];

		for (i = 0; i < zone->n_records; i++) {
			NbhZoneRecord record = {zone->records[i]->name, zone->records[i]->rdata,
						zone->records[i]->type == 28};

			g_array_append_val(records, record);
		}

		*ret_domain = g_strdup(zone->domain);
		(*ret_domain)[strlen(*ret_domain) - 1] =
			'\0'; /* its dot, which the encoder puts back */
	}

	return records;
}

/* The rest that the hub does not send. */
static void map_reduce(Nbm__NetworkMap *map, gboolean has_peer_config)
{
	map->n_routes = map->n_offlinepeers = map->n_routesfirewallrules = map->n_forwardingrules =
		0;
	map->sshauth = NULL;
	map->has_routesfirewallrulesisempty = map->routesfirewallrulesisempty = has_peer_config;
	peer_config_reduce(map->peerconfig);
}

static GBytes *encode_again(Nbm__SyncResponse *message, const NbhMgmtUpdate *update)
{
	NbhSyncResponse response = {.servers = update->servers};
	Nbm__NetworkMap none = NBM__NETWORK_MAP__INIT,
			*map = message->networkmap ? message->networkmap : &none;
	Nbm__Timestamp never = NBM__TIMESTAMP__INIT;
	g_autoptr(GPtrArray) lists = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *domain = NULL;
	GArray *peers, *rules, *records;
	GBytes *ours;

	servers_reduce(message->netbirdconfig);
	peer_config_reduce(message->peerconfig);
	message->n_checks = 0;
	message->sessionexpiresat = message->peerconfig ? message->sessionexpiresat : NULL;

	if (message->sessionexpiresat)
		*message->sessionexpiresat = never;

	peers = peers_reduce(map, lists);
	rules = rules_reduce(map);
	records = dns_reduce(map, &response, &domain);
	map_reduce(map, message->peerconfig != NULL);
	response.peer_config = update->has_peer_config ? &update->peer_config : NULL;
	response.has_map = message->networkmap != NULL;
	response.serial = map->serial;
	response.peers = (const NbhRemotePeer *)(const void *)peers->data;
	response.n_peers = peers->len;
	response.rules = (const NbhFirewallRule *)(const void *)rules->data;
	response.n_rules = rules->len;
	response.records = (const NbhZoneRecord *)(const void *)records->data;
	response.n_records = records->len;
	response.dns_domain = domain;
	ours = nbh_mgmt_encode_sync_response(&response);
	g_array_unref(peers);
	rules_free(rules);
	g_array_unref(records);
	return ours;
}

void vec_sync_response(json_object *file, json_object *part, Nbm__SyncResponse *message,
		       GBytes *plain)
{
	g_autoptr(GBytes) ours = NULL;
	g_autoptr(GError) error = NULL;
	NbhMgmtUpdate update;
	VecKeys to;
	gboolean has_to = vec_keys(file, vec_str(part, "to"), &to);
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);
	gboolean ok =
		nbh_mgmt_decode_sync(data, len, has_to ? &to.public_key : NULL, &update, &error);

	if (message->version != 0 || message->networkmapenvelope) {
		vec_ok(!ok && g_error_matches(error, NBH_WIRE_ERROR, NBH_WIRE_UNSUPPORTED),
		       "client refuses the components format");
		return;
	}

	if (!ok) {
		vec_ok(FALSE, "client reads the message: %s", error->message);
		return;
	}

	check_servers(message->netbirdconfig, update.servers);
	check_peer_config(message->peerconfig, &update);
	check_map(message->networkmap, update.map, has_to ? &to.public_key : NULL);

	ours = encode_again(message, &update);
	vec_ok(vec_packs_to(&message->base, ours),
	       "the hub's encoder makes the same of the fields that it has");
	nbh_mgmt_update_clear(&update);
}
