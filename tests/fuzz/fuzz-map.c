/*
 * From what management says to what WireGuard has: two Sync messages after each other become maps,
 * peers.json, a plan, and peers of the fake backend. Whatever is in them, what we write ourselves is
 * never refused whole by its reader, and what is wanted comes about. The first two bytes are the length
 * of the first message.
 */
#include "config.h"

#include "core/outlook.h"
#include "core/peerset.h"
#include "wire/mgmtmsg.h"

#include "tests/fuzz/fuzz.h"

#include "wg/applied.h"
#include "wg/backend-fake.h"
#include "wg/plan.h"
#include "wg/policy.h"

static const struct nbh_key own_private = { { 64, 1, 2, 3, [31] = 64 } };

static struct {
	struct nbh_key own_public;
	NbhPeerConfig peer_config;
	NbhNetmap *map;
	struct wg_applied applied;
	guint64 generation;
	guint n_added, n_removed, n_changed;
} world;

static const NbhPath *path_of(const struct nbh_key *key, gpointer owner G_GNUC_UNUSED)
{
	static NbhPath path;

	/* Some have one, and a new one each time. */
	path = (NbhPath){ .kind = key->bytes[1] % 3, .keepalive_s = 25, .session = key->bytes[2] & world.generation };
	path.endpoint = (struct nbh_endpoint){ { AF_INET, { 192, 0, 2, key->bytes[3] } }, (guint16)(1 + world.generation) };
	return &path;
}

static gboolean idle_of(const struct nbh_key *key, struct nbh_endpoint *ret_endpoint, gpointer owner G_GNUC_UNUSED)
{
	*ret_endpoint = (struct nbh_endpoint){ { AF_INET, { 127, 1, key->bytes[4], 1 } }, 9 };
	return TRUE;
}

static void on_added(const NbhNetmapPeer *peer, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(peer->fqdn);
	world.n_added++;
}

static void on_removed(const NbhNetmapPeer *peer, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(nbh_netmap_find(world.map, &peer->key) == peer);
	world.n_removed++;
}

static void on_changed(const NbhNetmapPeer *peer, guint mask, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(nbh_netmap_find(world.map, &peer->key) && mask);
	world.n_changed++;
}

/* As the engine does it. */
static NbhNetmap *next_map(const NbhMgmtUpdate *update)
{
	static const NbhPeersetEvents events = { on_added, on_removed, on_changed };
	NbhNetmap *map;
	gsize n_before = world.map ? world.map->n_peers : 0;

	map = nbh_netmap_confine(update->map, &world.peer_config.address, &world.peer_config.address_v6);
	world.n_added = world.n_removed = world.n_changed = 0;
	nbh_peerset_diff(world.map, map, &events, NULL);
	fuzz_require(n_before + world.n_added - world.n_removed == map->n_peers);
	fuzz_require(world.n_changed + world.n_removed <= n_before);
	return map;
}

static void read_device(const struct nbh_config *config, struct nbh_device *ret_device)
{
	struct nbh_device device;
	struct nbh_why why = { "" };
	int dirfd = fuzz_file(NBH_DEVICEFILE_NAME, "", 0);

	nbh_outlook_device(&world.peer_config, config, &device);
	fuzz_require(nbh_devicefile_write(dirfd, &device, &why) == 0);
	fuzz_require(nbh_devicefile_read(dirfd, ret_device, &why) == 0);
}

static void read_peers(const NbhNetmap *map, const struct nbh_config *config, struct nbh_peersfile *ret_peers)
{
	struct nbh_peersfile file;
	struct nbh_why why = { "" };
	size_t len;
	char *text;

	nbh_outlook_peers(map, config, ++world.generation, path_of, idle_of, NULL, &file);
	text = nbh_peersfile_format(&file, 0, &len);
	fuzz_require(text && nbh_peersfile_parse(text, len, ret_peers, &why) == 0);
	fuzz_require(ret_peers->n_peers == map->n_peers);
	free(text);
	nbh_peersfile_clear(&file);
}

static void check_applied(const struct wg_want *want)
{
	struct nbh_why why = { "" };
	struct wg_dev dev = { 0 };
	struct wg_plan plan;
	void *ctx;

	fuzz_require(wg_backend_fake.open(&ctx, "wt0", &why) == 0 && wg_backend_fake.read(ctx, &dev, &why) == 0);
	fuzz_require(dev.n_peers == want->peers->n_peers);
	/* Nothing is left to do. */
	fuzz_require(wg_plan_make(want, &dev, &world.applied, &plan, &why) == 0 && wg_plan_is_empty(&plan));
	wg_plan_clear(&plan);
	wg_dev_clear(&dev);
	wg_backend_fake.close(ctx);
}

static void apply(const struct wg_want *want)
{
	struct wg_applied after;
	struct nbh_why why = { "" };
	struct wg_dev dev = { 0 };
	struct wg_plan plan;
	void *ctx;

	fuzz_require(wg_backend_fake.open(&ctx, "wt0", &why) == 0 && wg_backend_fake.read(ctx, &dev, &why) == 0);
	fuzz_require(wg_plan_make(want, &dev, &world.applied, &plan, &why) == 0);
	fuzz_require(wg_backend_fake.apply(ctx, &plan, &why) == 0);
	fuzz_require(wg_plan_applied(&plan, want, &dev, &world.applied, true, &after) == 0);
	wg_applied_clear(&world.applied);
	world.applied = after;
	snprintf(world.applied.interface, sizeof(world.applied.interface), "wt0");
	wg_plan_clear(&plan);
	wg_dev_clear(&dev);
	wg_backend_fake.close(ctx);
	check_applied(want);
}

static void to_wireguard(const NbhNetmap *map)
{
	struct wg_policy policy = { .interface = "wt0" };
	struct nbh_config config;
	struct nbh_device device;
	struct nbh_peersfile peers;
	struct nbh_why why = { "" };
	const struct wg_want want = { &device, &own_private, &peers };

	nbh_config_defaults(&config);
	read_device(&config, &device);
	snprintf(policy.interface, sizeof(policy.interface), "%s", device.interface);
	read_peers(map, &config, &peers);
	wg_plan_prepare(&peers);
	/* A network of ours that is none is refused whole; a peer never is. */
	if (wg_policy_device(&policy, &device, &why) == 0) {
		fuzz_require(wg_policy_peers(&policy, &device, &world.own_public, &peers, &why) == 0);
		apply(&want);
	}
	nbh_peersfile_clear(&peers);
}

static void one_sync(const uint8_t *data, size_t len)
{
	NbhMgmtUpdate update = { 0 };
	NbhNetmap *map;

	if (!nbh_mgmt_decode_sync(data, len, &world.own_public, &update, NULL))
		return;

	if (update.has_peer_config)
		world.peer_config = update.peer_config;
	if (update.map) {
		map = next_map(&update);
		to_wireguard(map);
		nbh_netmap_unref(world.map);
		world.map = map;
	}
	nbh_mgmt_update_clear(&update);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t first = fuzz_byte(&data, &len) << 8, n;
	const uint8_t *message;

	first |= fuzz_byte(&data, &len);
	memset(&world, 0, sizeof(world));
	nbh_key_public(&own_private, &world.own_public);
	fuzz_require(nbh_prefix_parse("100.64.0.9/16", &world.peer_config.address) == 0);
	wg_fake_reset();

	message = fuzz_take(&data, &len, first, &n);
	one_sync(message, n);
	one_sync(data, len);

	nbh_netmap_unref(world.map);
	wg_applied_clear(&world.applied);
	return 0;
}
