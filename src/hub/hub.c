#include "config.h"

#include "hub/hub.h"

#include "base/log.h"
#include "hub/datadir.h"
#include "hub/front.h"
#include "hub/maps.h"
#include "hub/mgmtsvc.h"
#include "hub/signalsvc.h"
#include "hub/store.h"
#include "hub/stunsvc.h"
#include "net/grpc.h"

#include <string.h>

#define POLL_MS 500       /* what admin commands wrote */
#define TICKS_FLUSH 2     /* last seen: once a second, if there is anything */
#define TICKS_STALL 10
#define TICKS_TIDY 20
#define TICKS_CHECKPOINT 120

struct _NbhHub {
	int lock_fd;
	NbhStore *store;
	NbhRegistry *registry;
	NbhMaps *maps;
	NbhMgmtService *mgmt;
	NbhSignalService *signal;
	NbhStunService *stun; /* NULL: off */
	NbhFront *front;
	struct nbh_endpoint listen; /* as bound */
	char *public_url, *public_host, *summary;
	guint16 public_port;
	gboolean public_tls;
	guint tick_id, n_ticks;
};

GQuark nbh_hub_error_quark(void)
{
	return g_quark_from_static_string("nbh-hub-error");
}

static void on_changed(gpointer owner)
{
	NbhHub *hub = owner;

	nbh_mgmt_service_changed(hub->mgmt);
}

static void on_removed(const struct nbh_key *key, gpointer owner)
{
	NbhHub *hub = owner;

	nbh_log(NBH_LOG_NOTICE, "hub", "peer-removed peer=%.8s", nbh_key_format(key).text);
	nbh_mgmt_service_removed(hub->mgmt, key);
	nbh_signal_service_removed(hub->signal, key);
}

static const NbhRegistryEvents registry_events = {
	.on_changed = on_changed,
	.on_removed = on_removed,
};

static gboolean on_tick(gpointer data)
{
	NbhHub *hub = data;

	hub->n_ticks++;
	nbh_registry_poll(hub->registry);
	if (hub->n_ticks % TICKS_FLUSH == 0)
		nbh_registry_flush(hub->registry);
	if (hub->n_ticks % TICKS_STALL == 0)
		nbh_signal_service_check(hub->signal, nbh_mono_now());
	if (hub->n_ticks % TICKS_TIDY == 0)
		nbh_front_tidy(hub->front);
	if (hub->n_ticks % TICKS_CHECKPOINT == 0)
		nbh_store_checkpoint(hub->store);
	return G_SOURCE_CONTINUE;
}

static gboolean open_store(NbhHub *hub, const NbhHubConfig *config, struct nbh_key *ret_key,
			   GError **error)
{
	hub->lock_fd = nbh_datadir_lock(config->dir, error);
	if (hub->lock_fd < 0 || !nbh_datadir_key(config->dir, ret_key, error))
		return FALSE;
	hub->store = nbh_store_open(config->dir, error);
	if (!hub->store ||
	    !nbh_store_begin_serving(hub->store, g_get_real_time() / G_USEC_PER_SEC, error))
		return FALSE;
	hub->registry = nbh_registry_new(hub->store, error);
	return hub->registry != NULL;
}

static gboolean read_certificate(NbhHub *hub, const NbhHubConfig *config, GError **error)
{
	g_autoptr(GError) why = NULL;
	NbhTls *tls;

	if (!config->tls_cert)
		return TRUE;
	tls = nbh_tls_server_new(config->tls_cert, config->tls_key, &why);
	if (!tls) {
		g_set_error(error, NBH_HUB_ERROR, NBH_HUB_ERROR_CONFIG, "TLS: %s", why->message);
		return FALSE;
	}
	nbh_front_set_tls(hub->front, tls);
	nbh_tls_unref(tls);
	return TRUE;
}

static gboolean open_listeners(NbhHub *hub, const NbhHubConfig *config, GError **error)
{
	const struct nbh_endpoint everywhere = { .addr = { .family = AF_INET6 },
						 .port = NBH_HUB_DEFAULT_PORT };
	g_autoptr(GError) first = NULL;

	hub->listen = config->has_listen ? config->listen : everywhere;
	if (!nbh_front_listen(hub->front, &hub->listen, &hub->listen.port, &first)) {
		/* A kernel without IPv6 has no [::]. */
		if (config->has_listen || g_error_matches(first, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE)) {
			g_propagate_error(error, g_steal_pointer(&first));
			return FALSE;
		}
		hub->listen.addr = (struct nbh_addr){ .family = AF_INET };
		if (!nbh_front_listen(hub->front, &hub->listen, &hub->listen.port, error))
			return FALSE;
	}
	if (!config->stun_port)
		return TRUE;
	hub->stun = nbh_stun_service_new(&hub->listen.addr, config->stun_port, error);
	return hub->stun != NULL;
}

/* Clients use these addresses literally (netbird-hub.md trap 18). */
static gboolean choose_public_url(NbhHub *hub, const NbhHubConfig *config, GError **error)
{
	char host[256];
	char text[NBH_ENDPOINT_TEXT_MAX];
	g_autoptr(GError) why = NULL;

	if (!config->public_url && nbh_addr_is_unspecified(&hub->listen.addr)) {
		g_set_error(error, NBH_HUB_ERROR, NBH_HUB_ERROR_CONFIG,
			    "--public-url is needed when the hub listens on all addresses: the URL at "
			    "which clients reach it, e.g. --public-url http://203.0.113.1:%u",
			    hub->listen.port);
		return FALSE;
	}
	hub->public_url = config->public_url
				  ? g_strdup(config->public_url)
				  : g_strdup_printf("%s://%s", config->tls_cert ? "https" : "http",
						    nbh_endpoint_format(&hub->listen, text));
	if (!nbh_grpc_url_parse(hub->public_url, &hub->public_tls, host, sizeof(host),
				&hub->public_port, &why)) {
		g_set_error(error, NBH_HUB_ERROR, NBH_HUB_ERROR_CONFIG, "--public-url: %s",
			    why->message);
		return FALSE;
	}
	hub->public_host = g_strdup(host);
	return TRUE;
}

static void make_services(NbhHub *hub, const NbhHubConfig *config, const struct nbh_key *own_private,
			  const struct nbh_prefix *network)
{
	const NbhMapsConfig maps_config = {
		.public_host = hub->public_host,
		.public_port = hub->public_port,
		.public_tls = hub->public_tls,
		.stun_port = config->stun_port,
		.dns_domain = config->dns_domain,
		.lazy = config->lazy,
		.may_see = config->may_see,
	};

	hub->maps = nbh_maps_new(&maps_config, network);
	hub->mgmt = nbh_mgmt_service_new(hub->registry, hub->maps, own_private);
	hub->signal = nbh_signal_service_new(hub->registry);
	nbh_front_add(hub->front, nbh_mgmt_methods, hub->mgmt);
	nbh_front_add(hub->front, nbh_signal_methods, hub->signal);
	nbh_registry_set_events(hub->registry, &registry_events, hub);
	hub->tick_id = g_timeout_add(POLL_MS, on_tick, hub);
}

static void make_summary(NbhHub *hub, const NbhHubConfig *config, const struct nbh_prefix *network)
{
	char listen[NBH_ENDPOINT_TEXT_MAX];
	char overlay[NBH_PREFIX_TEXT_MAX];
	g_autofree char *stun = config->stun_port
					? g_strdup_printf("UDP port %u", config->stun_port)
					: g_strdup("off (machines behind NATs will not find each other)");

	hub->summary = g_strdup_printf(
		"management and signal on TCP %s (%s), STUN %s; clients use %s; network %s, %u peers",
		nbh_endpoint_format(&hub->listen, listen), config->tls_cert ? "TLS and plain" : "plain", stun, hub->public_url,
		nbh_prefix_format(network, overlay), nbh_registry_peers(hub->registry)->len);
}

NbhHub *nbh_hub_start(const NbhHubConfig *config, GError **error)
{
	NbhHub *hub = g_new0(NbhHub, 1);
	struct nbh_key own_private;
	struct nbh_prefix network;

	hub->lock_fd = -1;
	hub->front = nbh_front_new(NULL);
	/* Nothing is answered before the loop runs, so listening first is no race. */
	if (!open_store(hub, config, &own_private, error) ||
	    !read_certificate(hub, config, error) || !open_listeners(hub, config, error) ||
	    !choose_public_url(hub, config, error) ||
	    !nbh_store_network(hub->store, &network, error)) {
		nbh_hub_free(hub);
		return NULL;
	}
	make_services(hub, config, &own_private, &network);
	nbh_key_wipe(&own_private);
	make_summary(hub, config, &network);
	return hub;
}

const char *nbh_hub_public_url(const NbhHub *hub)
{
	return hub->public_url;
}

const char *nbh_hub_summary(const NbhHub *hub)
{
	return hub->summary;
}

void nbh_hub_free(NbhHub *hub)
{
	if (!hub)
		return;
	if (hub->tick_id)
		g_source_remove(hub->tick_id);
	nbh_front_free(hub->front);
	nbh_stun_service_free(hub->stun);
	nbh_signal_service_free(hub->signal);
	nbh_mgmt_service_free(hub->mgmt);
	nbh_maps_free(hub->maps);
	if (hub->registry)
		nbh_registry_flush(hub->registry);
	nbh_registry_free(hub->registry);
	nbh_store_close(hub->store);
	if (hub->lock_fd >= 0)
		close(hub->lock_fd);
	g_free(hub->public_url);
	g_free(hub->public_host);
	g_free(hub->summary);
	g_free(hub);
}
