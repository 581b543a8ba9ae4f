/* What a management server sends: server key, Login and Sync. */
#include "config.h"

#include "wire/error.h"
#include "wire/mgmtmsg.h"

#include "tests/fuzz/fuzz.h"

static const struct nbh_key own_private = { { 64, 1, 2, 3, [31] = 64 } };
static struct nbh_key own_public, far_public;

static void check_map(const NbhNetmap *map)
{
	for (gsize i = 0; i < map->n_peers; i++) {
		const NbhNetmapPeer *peer = &map->peers[i];

		fuzz_require(peer->fqdn && peer->agent_version && !nbh_key_is_zero(&peer->key));
		fuzz_require(g_utf8_validate(peer->fqdn, -1, NULL));
		fuzz_require(!nbh_key_equal(&peer->key, &own_public));
		fuzz_require(i == 0 || nbh_key_compare(&peer[-1].key, &peer->key) < 0);
		fuzz_require(nbh_netmap_find(map, &peer->key) == peer);
		for (gsize j = 0; j < peer->n_allowed_ips; j++)
			fuzz_require(peer->allowed_ips[j].len <=
			             (peer->allowed_ips[j].addr.family == AF_INET ? 32 : 128));
	}
}

static void check_update(gboolean ok, NbhMgmtUpdate *update, GError *error)
{
	fuzz_require(ok == !error);
	if (!ok) {
		fuzz_require(error->domain == NBH_WIRE_ERROR && error->message[0]);
		g_error_free(error);
		return;
	}

	if (update->map)
		check_map(update->map);
	if (update->servers && update->servers->has_signal)
		fuzz_require(update->servers->signal_host[0] && update->servers->signal_port);
	nbh_mgmt_update_clear(update);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	NbhMgmtUpdate update = { 0 };
	g_autoptr(GBytes) plain = NULL;
	struct nbh_key key;
	GError *error = NULL;
	gboolean ok;

	if (nbh_key_is_zero(&own_public)) {
		nbh_key_public(&own_private, &own_public);
		nbh_key_public(&own_public, &far_public);
	}

	ok = nbh_mgmt_decode_login(data, len, &update, &error);
	check_update(ok, &update, g_steal_pointer(&error));
	update = (NbhMgmtUpdate){ 0 };
	ok = nbh_mgmt_decode_sync(data, len, &own_public, &update, &error);
	check_update(ok, &update, g_steal_pointer(&error));

	ok = nbh_mgmt_decode_server_key(data, len, &key, &error);
	fuzz_require(ok == !error && (!ok || !nbh_key_is_zero(&key)));
	g_clear_error(&error);

	plain = nbh_mgmt_open(&own_private, &far_public, data, len, &error);
	fuzz_require(!!plain == !error);
	g_clear_error(&error);
	return 0;
}
