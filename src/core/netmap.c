#include "config.h"

#include "core/netmap.h"

#include "base/limits.h"

#include <string.h>

static void peer_clear(NbhNetmapPeer *peer)
{
	g_free(peer->allowed_ips);
	g_free(peer->fqdn);
	g_free(peer->agent_version);
	memset(peer, 0, sizeof(*peer));
}

static gint peer_compare(gconstpointer a, gconstpointer b, gpointer unused)
{
	const NbhNetmapPeer *pa = a, *pb = b;

	(void)unused;
	return nbh_key_compare(&pa->key, &pb->key);
}

/* Lines for people; whoever makes thousands of them does not get thousands of lines. */
typedef struct {
	GPtrArray *lines; /* borrowed */
	gsize n_more;
} Report;

/* Takes line. */
static void report(Report *to, char *line)
{
	if (to->lines->len < NBH_NETMAP_SKIPPED_MAX) {
		g_ptr_array_add(to->lines, line);
		return;
	}

	to->n_more++;
	g_free(line);
}

static void report_end(Report *to)
{
	if (to->n_more)
		g_ptr_array_add(to->lines, g_strdup_printf("%" G_GSIZE_FORMAT " more", to->n_more));
}

static void skip(NbhNetmapPeer *peer, const char *what, Report *skipped)
{
	struct nbh_key_text text = nbh_key_format(&peer->key);

	report(skipped, g_strdup_printf("peer %.8s: %s", text.text, what));
	peer_clear(peer);
}

/*
 * Of peers with the same key the first one stays: the sort is stable. A key of zeros is nobody's.
 * Returns how many are left.
 */
static gsize drop_unusable(NbhNetmapPeer *peers, gsize n_peers, Report *skipped)
{
	gsize n = 0;

	for (gsize i = 0; i < n_peers; i++) {
		if (nbh_key_is_zero(&peers[i].key)) {
			skip(&peers[i], "the key is all zero", skipped);
			continue;
		}
		if (n > 0 && nbh_key_equal(&peers[n - 1].key, &peers[i].key)) {
			skip(&peers[i], "the same key a second time", skipped);
			continue;
		}

		if (n != i)
			peers[n] = peers[i];
		n++;
	}

	return n;
}

/* One prefix and the peer that wants it. */
typedef struct {
	struct nbh_prefix prefix;
	gsize peer;
} Claim;

static gint claim_compare(gconstpointer a, gconstpointer b)
{
	const Claim *ca = a, *cb = b;
	int order = nbh_prefix_compare(&ca->prefix, &cb->prefix);

	if (order)
		return order;
	return ca->peer < cb->peer ? -1 : ca->peer > cb->peer;
}

static void name_conflict(const NbhNetmap *map, const Claim *owner, const Claim *claim, Report *skipped)
{
	struct nbh_key_text owner_text = nbh_key_format(&map->peers[owner->peer].key);
	struct nbh_key_text text = nbh_key_format(&map->peers[claim->peer].key);
	char prefix[NBH_PREFIX_TEXT_MAX];

	nbh_prefix_format(&claim->prefix, prefix);
	report(skipped, g_strdup_printf("peer %.8s: allowedIps \"%s\": peer %.8s has it already", text.text,
	                                prefix, owner_text.text));
}

/*
 * A prefix at two peers would have netbird-wg refuse peers.json whole, so the first peer in key
 * order keeps it and the other goes without. Each peer's list comes out sorted, so that another
 * order on the wire is no change.
 */
static void settle_prefixes(NbhNetmap *map, Report *skipped)
{
	g_autoptr(GArray) claims = g_array_new(FALSE, FALSE, sizeof(Claim));
	const Claim *owner = NULL;

	for (gsize i = 0; i < map->n_peers; i++) {
		for (gsize j = 0; j < map->peers[i].n_allowed_ips; j++) {
			Claim claim = { nbh_prefix_masked(&map->peers[i].allowed_ips[j]), i };

			g_array_append_val(claims, claim);
		}
		map->peers[i].n_allowed_ips = 0;
	}

	g_array_sort(claims, claim_compare);
	for (guint i = 0; i < claims->len; i++) {
		const Claim *claim = &g_array_index(claims, Claim, i);
		NbhNetmapPeer *peer = &map->peers[claim->peer];

		if (owner && nbh_prefix_compare(&owner->prefix, &claim->prefix) == 0) {
			if (owner->peer != claim->peer)
				name_conflict(map, owner, claim, skipped);
			continue;
		}
		owner = claim;
		peer->allowed_ips[peer->n_allowed_ips++] = claim->prefix;
	}
}

NbhNetmap *nbh_netmap_new(guint64 serial, NbhNetmapPeer *peers, gsize n_peers, GPtrArray *skipped)
{
	NbhNetmap *map = g_rc_box_new0(NbhNetmap);
	Report report_to = { .n_more = 0 };

	for (gsize i = 0; i < n_peers; i++) {
		if (!peers[i].fqdn)
			peers[i].fqdn = g_strdup("");
		if (!peers[i].agent_version)
			peers[i].agent_version = g_strdup("");
	}

	map->serial = serial;
	map->peers = peers;
	map->skipped = skipped ? skipped : g_ptr_array_new_with_free_func(g_free);

	if (n_peers > 1)
		g_qsort_with_data(peers, (gint)n_peers, sizeof(*peers), peer_compare, NULL);
	report_to.lines = map->skipped;
	map->n_peers = drop_unusable(peers, n_peers, &report_to);
	settle_prefixes(map, &report_to);
	report_end(&report_to);
	return map;
}

NbhNetmap *nbh_netmap_ref(NbhNetmap *map)
{
	return g_rc_box_acquire(map);
}

/* ---- confining ---- */

typedef struct {
	const struct nbh_prefix *networks[2];
} Confines;

/* NULL: a peer may have it. */
static const char *wrong_with(const Confines *confines, const struct nbh_prefix *prefix)
{
	guint8 full = prefix->addr.family == AF_INET ? 32 : 128;

	for (gsize i = 0; i < G_N_ELEMENTS(confines->networks); i++) {
		const struct nbh_prefix *network = confines->networks[i];

		if (!network->addr.family || network->len > prefix->len || !nbh_prefix_contains(network, &prefix->addr))
			continue;
		return prefix->len == full && nbh_addr_equal(&prefix->addr, &network->addr) ? "our own address" : NULL;
	}

	return "outside our own network";
}

static gboolean is_confined(const NbhNetmap *map, const Confines *confines)
{
	for (gsize i = 0; i < map->n_peers; i++)
		for (gsize j = 0; j < map->peers[i].n_allowed_ips; j++)
			if (wrong_with(confines, &map->peers[i].allowed_ips[j]))
				return FALSE;

	return TRUE;
}

static NbhNetmapPeer copy_confined(const NbhNetmapPeer *from, const Confines *confines, Report *skipped)
{
	struct nbh_key_text key = nbh_key_format(&from->key);
	NbhNetmapPeer peer = { .key = from->key };
	char text[NBH_PREFIX_TEXT_MAX];

	peer.fqdn = g_strdup(from->fqdn);
	peer.agent_version = g_strdup(from->agent_version);
	peer.allowed_ips = g_new0(struct nbh_prefix, from->n_allowed_ips);

	for (gsize i = 0; i < from->n_allowed_ips; i++) {
		const char *wrong = wrong_with(confines, &from->allowed_ips[i]);

		if (wrong)
			report(skipped, g_strdup_printf("peer %.8s: allowedIps \"%s\": %s", key.text,
			                                nbh_prefix_format(&from->allowed_ips[i], text), wrong));
		else
			peer.allowed_ips[peer.n_allowed_ips++] = from->allowed_ips[i];
	}

	return peer;
}

NbhNetmap *nbh_netmap_confine(NbhNetmap *map, const struct nbh_prefix *v4, const struct nbh_prefix *v6)
{
	const Confines confines = { { v4, v6 } };
	Report report_to = { .n_more = 0 };
	NbhNetmap *copy;

	if (is_confined(map, &confines))
		return nbh_netmap_ref(map);

	copy = g_rc_box_new0(NbhNetmap);
	*copy = *map;
	copy->peers = g_new0(NbhNetmapPeer, map->n_peers);
	copy->skipped = report_to.lines = g_ptr_array_new_with_free_func(g_free);

	for (guint i = 0; i < map->skipped->len; i++)
		g_ptr_array_add(copy->skipped, g_strdup(map->skipped->pdata[i]));
	for (gsize i = 0; i < map->n_peers; i++)
		copy->peers[i] = copy_confined(&map->peers[i], &confines, &report_to);

	report_end(&report_to);
	return copy;
}

static void netmap_clear(gpointer data)
{
	NbhNetmap *map = data;

	for (gsize i = 0; i < map->n_peers; i++)
		peer_clear(&map->peers[i]);
	g_free(map->peers);
	g_ptr_array_unref(map->skipped);
}

void nbh_netmap_unref(NbhNetmap *map)
{
	if (map)
		g_rc_box_release_full(map, netmap_clear);
}

const NbhNetmapPeer *nbh_netmap_find(const NbhNetmap *map, const struct nbh_key *key)
{
	gsize from = 0, to = map->n_peers;

	while (from < to) {
		gsize middle = from + (to - from) / 2;
		int order = nbh_key_compare(key, &map->peers[middle].key);

		if (order == 0)
			return &map->peers[middle];
		if (order < 0)
			to = middle;
		else
			from = middle + 1;
	}

	return NULL;
}

void nbh_server_config_free(NbhServerConfig *config)
{
	if (!config)
		return;

	g_clear_pointer(&config->stuns, g_ptr_array_unref);
	g_clear_pointer(&config->turns, g_ptr_array_unref);
	g_clear_pointer(&config->relays, g_ptr_array_unref);
	g_clear_pointer(&config->skipped, g_ptr_array_unref);
	g_free(config);
}
