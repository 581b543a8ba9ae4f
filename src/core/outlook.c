#include "config.h"

#include "core/outlook.h"

#include <string.h>

#define MTU_DEFAULT 1280
#define MTU_MIN 576
#define MTU_MAX 8192

/* The FQDN, else the beginning of the key. It came from a server: printable ASCII only. */
static void set_id(struct nbh_peersfile_peer *peer, const NbhNetmapPeer *from)
{
	if (from->fqdn[0]) {
		g_strlcpy(peer->id, from->fqdn, sizeof(peer->id));
	} else {
		struct nbh_key_text text = nbh_key_format(&from->key);

		g_snprintf(peer->id, sizeof(peer->id), "%.8s", text.text);
	}

	for (char *c = peer->id; *c; c++) {
		if (!g_ascii_isprint(*c))
			*c = '?';
	}
}

/*
 * Without an endpoint there is no keepalive (interop.md rule 5). The session is there from the
 * beginning, so that the first endpoint does not come with a new one: netbird-wg would then make the
 * peer anew and undo a handshake that the far end began.
 */
static void set_path(struct nbh_peersfile_peer *peer, const NbhPath *path, NbhOutlookIdleFunc idle_of, gpointer owner)
{
	if (!path)
		return;

	peer->has_session = true;
	peer->session = path->session;

	switch (path->kind) {
	case NBH_PATH_NONE:
		break;
	case NBH_PATH_IDLE:
		if (!idle_of || !idle_of(&peer->public_key, &peer->endpoint, owner))
			return;
		break;
	case NBH_PATH_DIRECT:
		peer->endpoint = path->endpoint;
		peer->keepalive_s = path->keepalive_s;
		break;
	}
}

void nbh_outlook_peers(const NbhNetmap *map, const struct nbh_config *config, guint64 generation,
                       NbhOutlookPathFunc path_of, NbhOutlookIdleFunc idle_of, gpointer owner,
                       struct nbh_peersfile *ret_file)
{
	struct nbh_peersfile file = { .generation = generation, .n_peers = map->n_peers };
	gsize n_prefixes = 0;

	for (gsize i = 0; i < map->n_peers; i++)
		n_prefixes += map->peers[i].n_allowed_ips;

	/* Freed by nbh_peersfile_clear() with free(): g_malloc() is malloc(). */
	file.peers = g_new0(struct nbh_peersfile_peer, MAX(map->n_peers, 1));
	file.arena = g_new0(struct nbh_prefix, MAX(n_prefixes, 1));

	for (gsize i = 0; i < map->n_peers; i++) {
		const NbhNetmapPeer *from = &map->peers[i];
		struct nbh_peersfile_peer *peer = &file.peers[i];

		peer->public_key = from->key;
		peer->preshared_key = config->preshared_key;
		set_id(peer, from);
		set_path(peer, path_of(&from->key, owner), idle_of, owner);

		peer->allowed_ips = file.arena + file.n_arena;
		for (gsize j = 0; j < from->n_allowed_ips; j++)
			peer->allowed_ips[j] = nbh_prefix_masked(&from->allowed_ips[j]);
		peer->n_allowed_ips = from->n_allowed_ips;
		file.n_arena += from->n_allowed_ips;
	}

	*ret_file = file;
}

/* A value of our own goes first, then management's, as in the official client. */
static guint32 choose_mtu(guint32 own, guint32 from_management)
{
	if (own && own != MTU_DEFAULT)
		return own;
	if (from_management >= MTU_MIN && from_management <= MTU_MAX)
		return from_management;
	return MTU_DEFAULT;
}

void nbh_outlook_device(const NbhPeerConfig *peer_config, const struct nbh_config *config,
                        struct nbh_device *ret_device)
{
	struct nbh_device device = {
		.mtu = choose_mtu(config->mtu, peer_config->mtu),
		.listen_port = config->listen_port,
		.fwmark = config->fwmark,
		.userspace = config->userspace,
	};

	memcpy(device.interface, config->interface, sizeof(device.interface));
	if (peer_config->address.addr.family)
		device.addresses[device.n_addresses++] = peer_config->address;
	if (peer_config->address_v6.addr.family)
		device.addresses[device.n_addresses++] = peer_config->address_v6;

	*ret_device = device;
}
