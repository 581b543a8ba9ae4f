#include "config.h"

#include "app/engine-private.h"

#include <fcntl.h>
#include <string.h>

#include "app/status.h"
#include "base/atomicfile.h"
#include "base/confine.h"
#include "base/ending.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/notify.h"
#include "core/outlook.h"

#define STATUS_DELAY_MS 200
#define WRITE_AGAIN_MS 2000
#define SRFLX_ASK_EVERY_MS 5000

/* ---- status ---------------------------------------------------------------------------------- */

static const char *daemon_status(const Engine *engine)
{
	if (engine->refused)
		return "NeedsLogin";

	if (engine->is_down)
		return "Idle";

	return engine->mgmt_up && engine->signal_up ? "Connected" : "Connecting";
}

static void notify_status(Engine *engine, guint n_connected)
{
	const char *error = engine->mgmt_up ? "" : engine->mgmt_error;
	gboolean is_named = g_str_has_prefix(error, "management");
	g_autofree char *line = g_strdup_printf("STATUS=%s, %u of %zu peers%s%s%s", daemon_status(engine), n_connected,
	                                        engine->map ? (size_t)engine->map->n_peers : 0, error[0] ? ", " : "",
	                                        error[0] && !is_named ? "management: " : "", error);

	if (engine->last_status_line && strcmp(line, engine->last_status_line) == 0)
		return;

	nbh_notify(line);
	g_free(engine->last_status_line);
	engine->last_status_line = g_steal_pointer(&line);
}

/* How the program of that directory ended, "" if nobody says. */
static const char *ending_of(const Engine *engine, const char *name, char buf[NBH_ENDING_TEXT_MAX])
{
	nbh_cleanup_close int dir = openat(engine->dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct nbh_ending ending;

	if (dir < 0 || nbh_ending_read(dir, &ending, NULL) < 0)
		return "";

	return nbh_ending_format(&ending, buf);
}

void nbh_engine_write_status(Engine *engine)
{
	char ice_ending[NBH_ENDING_TEXT_MAX], wg_ending[NBH_ENDING_TEXT_MAX];
	NbhStatusView view = {
		.daemon_status = daemon_status(engine),
		.config = engine->config,
		.own_public = &engine->public_key,
		.peer_config = engine->have_peer_config ? &engine->peer_config : NULL,
		.management = { engine->config->management_url, engine->mgmt_up, engine->mgmt_error },
		.signal = { engine->signal_url, engine->signal_up, engine->signal_error },
		.ice_backend = engine->ice_backend,
		.ice_error = engine->ice_error,
		.wg = engine->have_wg ? &engine->wg : NULL,
		.wg_runs = engine->wg_dirfd >= 0 && nbh_lock_holder(engine->wg_dirfd, NBH_LOCK_WG) != 0,
		.publish_error = engine->publish_error,
		.config_note = engine->config_note,
		.map = engine->map,
		.refusals = &engine->refusals,
		.peers = engine->peers,
		.srflx = engine->srflx,
		.seccomp = nbh_confine_is_filtered(),
		.turns = engine->turns,
		.relays = engine->relays,
	};
	struct nbh_why why = { "" };
	gsize len;
	nbh_cleanup_free char *text = NULL;

	view.wg_ending = view.wg_runs ? "" : ending_of(engine, "wg", wg_ending);

	/* What it said itself is more than that its socket does not answer. */
	if (!engine->ice_backend[0] && ending_of(engine, "ice", ice_ending)[0])
		view.ice_error = ice_ending;

	text = nbh_status_format(&view, &len);
	engine->status_unwritten =
		text && nbh_atomicfile_write(engine->dirfd, NBH_STATUS_NAME, text, len, 0644, 0, &why) < 0;

	if (engine->status_unwritten)
		nbh_log(NBH_LOG_DEBUG, "status", "write-failed error=\"%s\"", why.text);

	notify_status(engine, nbh_status_connected(&view));
}

static gboolean on_status_timer(gpointer owner)
{
	Engine *engine = owner;

	nbh_source_drop(&engine->status_timer);

	if (engine->status_unwritten)
		nbh_engine_enter_dir_again(engine);

	if (engine->have_peer_config && !engine->device_written)
		nbh_engine_publish_device(engine);

	nbh_engine_write_status(engine);

	/* A full disk heals by itself. */
	if (engine->status_unwritten && !engine->status_timer)
		engine->status_timer = nbh_engine_once(WRITE_AGAIN_MS, on_status_timer, engine);

	return G_SOURCE_REMOVE;
}

void nbh_engine_status_changed(gpointer owner)
{
	Engine *engine = owner;

	if (!engine->status_timer)
		engine->status_timer = nbh_engine_once(STATUS_DELAY_MS, on_status_timer, engine);
}

/* ---- candidates ------------------------------------------------------------------------------ */

/* Any address of the Internet does: nothing is sent (RFC 5737 and RFC 3849 addresses). */
static const char *const probes[] = { "192.0.2.1:9", "[2001:db8::1]:9" };

G_STATIC_ASSERT(G_N_ELEMENTS(probes) == G_N_ELEMENTS(((NbhLocalNetwork *)NULL)->sources));

static gboolean is_natural(const NbhLocalNetwork *network, const struct nbh_addr *addr)
{
	for (gsize i = 0; i < G_N_ELEMENTS(network->sources); i++)
		if (nbh_addr_equal(&network->sources[i], addr))
			return TRUE;

	return FALSE;
}

static void look(const Engine *engine, NbhLocalNetwork *ret_network)
{
	g_autoptr(GArray) found = nbh_netmon_addresses();
	const char *blacklist[NBH_IFACE_BLACKLIST_MAX + 1] = { NULL };
	NbhCandidateFilter filter = { .blacklist = blacklist, .own_interface = engine->config->interface };

	memset(ret_network, 0, sizeof(*ret_network));

	for (gsize i = 0; i < engine->config->n_iface_blacklist; i++)
		blacklist[i] = engine->config->iface_blacklist[i];

	if (engine->have_peer_config) {
		filter.overlay = engine->peer_config.address;
		filter.overlay_v6 = engine->peer_config.address_v6;
	}

	for (gsize i = 0; i < G_N_ELEMENTS(probes); i++) {
		struct nbh_endpoint to;

		if (nbh_endpoint_parse(probes[i], &to) == 0)
			nbh_netmon_natural_source(&to, engine->config->fwmark, &ret_network->sources[i]);
	}

	for (guint i = 0; i < found->len && ret_network->n_hosts < NBH_HOST_ADDRESSES_MAX; i++) {
		NbhNetmonAddress *address = &g_array_index(found, NbhNetmonAddress, i);

		if (!address->is_up || address->is_loopback)
			continue;

		address->local.interface = address->interface;
		address->local.is_natural_source = is_natural(ret_network, &address->local.addr);

		if (nbh_candidate_filter_allows(&filter, &address->local))
			ret_network->hosts[ret_network->n_hosts++] = address->local.addr;
	}
}

void nbh_engine_candidates_changed(gpointer owner)
{
	Engine *engine = owner;
	struct nbh_endpoint mapped[NBH_STUN_SERVERS_MAX];
	NbhCandidate candidates[NBH_HOST_ADDRESSES_MAX + NBH_STUN_SERVERS_MAX];
	gsize n_mapped, n;

	look(engine, &engine->network);
	n_mapped = nbh_srflx_get(engine->srflx, mapped, G_N_ELEMENTS(mapped));
	n = nbh_candidates_make(engine->network.hosts, engine->network.n_hosts, mapped, n_mapped,
	                        engine->config->listen_port, candidates, G_N_ELEMENTS(candidates));
	nbh_log(NBH_LOG_DEBUG, "ice", "candidates hosts=%zu srflx=%zu", (size_t)engine->network.n_hosts,
	        (size_t)n_mapped);
	nbh_peers_set_candidates(engine->peers, candidates, n);
	nbh_engine_status_changed(engine);
}

void nbh_engine_source_of(const struct nbh_endpoint *to, struct nbh_addr *ret_source, gpointer owner)
{
	const Engine *engine = owner;

	nbh_netmon_natural_source(to, engine->config->fwmark, ret_source);
}

/* Management compares: what is the same is not told. */
void nbh_engine_facts_changed(gpointer owner)
{
	Engine *engine = owner;

	if (engine->mgmt)
		nbh_mgmt_grpc.facts_changed(engine->mgmt);
}

void nbh_engine_network_changed(gpointer owner)
{
	Engine *engine = owner;
	NbhLocalNetwork now;

	nbh_engine_facts_changed(engine);

	/* A router that was exchanged shows only in what the STUN servers see. */
	nbh_srflx_ask(engine->srflx);
	look(engine, &now);

	/* Our own interface and other people's containers come and go without meaning for us. */
	if (memcmp(&now, &engine->network, sizeof(now)) == 0)
		return;

	nbh_log(NBH_LOG_NOTICE, "net", "network-changed addresses=%zu", (size_t)now.n_hosts);
	nbh_engine_candidates_changed(engine);
	nbh_peers_network(engine->peers);

	nbh_engine_try_management(engine);

	if (engine->signal)
		nbh_signal_grpc.network_changed(engine->signal);
}

/*
 * Ours may have been the NAT that has another address now: the offers that follow need the right one,
 * and a connection to signal that lives. Not as often as a peer can lose paths.
 */
void nbh_engine_path_lost(gpointer owner)
{
	Engine *engine = owner;
	nbh_mono now = nbh_mono_now();

	if (engine->srflx_asked.usec && nbh_mono_diff_ms(now, engine->srflx_asked) < SRFLX_ASK_EVERY_MS)
		return;

	engine->srflx_asked = now;
	nbh_srflx_ask(engine->srflx);

	if (engine->signal)
		nbh_signal_grpc.network_changed(engine->signal);
}

gboolean nbh_engine_refresh_stun(gpointer owner)
{
	Engine *engine = owner;

	if (nbh_peers_unconnected(engine->peers))
		nbh_srflx_ask(engine->srflx);

	return G_SOURCE_CONTINUE;
}

/* ---- publishing ------------------------------------------------------------------------------ */

static const NbhPath *path_of(const struct nbh_key *key, gpointer owner)
{
	return nbh_peers_path(((Engine *)owner)->peers, key);
}

static gboolean idle_of(const struct nbh_key *key, struct nbh_endpoint *ret_endpoint, gpointer owner)
{
	return nbh_loopback_endpoint(((Engine *)owner)->loopback, key, ret_endpoint);
}

static gboolean build_peers(guint64 generation, struct nbh_peersfile *ret_file, gpointer owner)
{
	Engine *engine = owner;

	if (!engine->map || engine->is_down)
		return FALSE;

	nbh_outlook_peers(engine->map, engine->config, generation, path_of, idle_of, engine, ret_file);
	return TRUE;
}

static void on_written(guint64 generation, const char *error, gpointer owner)
{
	Engine *engine = owner;

	nbh_log(NBH_LOG_DEBUG, "sink", "published generation=%" G_GUINT64_FORMAT, generation);
	nbh_engine_set_text(&engine->publish_error, error);
	nbh_engine_status_changed(engine);
}

void nbh_engine_path_changed(gpointer owner)
{
	Engine *engine = owner;

	if (engine->map && !engine->is_down)
		nbh_publish_changed(engine->publish);
}

void nbh_engine_publish_device(Engine *engine)
{
	g_autoptr(GError) error = NULL;
	struct nbh_device device;

	if (!engine->have_peer_config || engine->is_down)
		return;

	nbh_outlook_device(&engine->peer_config, engine->config, &device);
	engine->device_written = nbh_publish_device(engine->publish, &device, &error);

	if (error)
		nbh_log(NBH_LOG_ERROR, "sink", "publish-failed error=\"%s\"", error->message);

	nbh_engine_set_text(&engine->publish_error, error ? error->message : "");
}

const NbhPublishEvents nbh_engine_publish_events = { build_peers, on_written };
