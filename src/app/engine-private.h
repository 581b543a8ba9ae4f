#ifndef NBH_APP_ENGINE_PRIVATE_H
#define NBH_APP_ENGINE_PRIVATE_H

/*
 * Shared by engine.c (life, ice, netbird-wg), engine-servers.c (management, signal), engine-network.c
 * (own address, network map), engine-local.c (candidates, published files, status) and
 * engine-reload.c (SIGHUP). Nobody else includes this.
 */

#include "app/cache.h"
#include "app/dirwatch.h"
#include "app/distrust.h"
#include "app/engine.h"
#include "app/meta.h"
#include "app/peers.h"
#include "app/srflx.h"
#include "base/limits.h"
#include "base/statusfile.h"
#include "core/allowance.h"
#include "core/backoff.h"
#include "ice/ice.h"
#include "loop/source.h"
#include "mgmt/mgmt.h"
#include "net/netmon.h"
#include "net/resolver.h"
#include "path/loopback.h"
#include "signal/signal.h"
#include "sink/publish.h"

/* The addresses that may become candidates, and the kernel's own source towards the Internet (v4, v6). */
typedef struct {
	struct nbh_addr hosts[NBH_HOST_ADDRESSES_MAX];
	gsize n_hosts;
	struct nbh_addr sources[2];
} NbhLocalNetwork;

typedef struct {
	NbhEngineOptions *options;
	struct nbh_config *config; /* in options */
	int dirfd, lockfd, wg_dirfd;
	struct nbh_key private_key, public_key;
	GMainLoop *loop;
	int exit_code;

	NbhHostFacts *facts;
	NbhDial *dial; /* owned; from connect to disconnect */
	NbhMgmt *mgmt;
	NbhSignal *signal;
	NbhIce *ice;
	NbhNetmon *netmon;
	NbhLoopback *loopback;
	NbhPublish *publish;
	NbhPeers *peers;
	NbhSrflx *srflx;
	nbh_mono srflx_asked; /* because a path was lost */
	NbhDirwatch *watch;
	NbhCache *cache;
	NbhResolver *resolver;
	NbhLocalNetwork network;

	NbhBackoff login_backoff;
	GSource *leave_timer; /* owned */
	GSource *login_timer, *status_timer, *grace_timer, *stun_timer; /* owned */
	gboolean status_unwritten;
	gboolean have_peer_config, logged_in, is_down, device_written;
	struct nbh_key server_key; /* as netmap.cache knew it; zero: not */
	NbhPeerConfig peer_config;
	NbhNetmap *map; /* ref */
	GPtrArray *turns, *relays;
	char *signal_url, *mgmt_error, *signal_error, *ice_backend, *ice_error, *publish_error;
	char *config_note; /* about the last SIGHUP: "" if there is nothing to say */
	gboolean mgmt_up, signal_up, refused;
	NbhRefusals refusals;
	NbhAllowance maps;
	GSource *held_timer, *trim_timer; /* owned; armed while something is held, or to be given back */
	gboolean held_peer_config;
	NbhPeerConfig held_config;
	NbhNetmap *held_map; /* ref */
	guint n_held;
	struct nbh_wgstatus wg;
	gboolean have_wg;
	char *last_status_line;
} Engine;

void nbh_engine_set_text(char **text, const char *value); /* NULL: "" */
GSource *nbh_engine_once(guint delay_ms, GSourceFunc fn, Engine *engine);

/* engine-local.c; owner is the Engine. */
void nbh_engine_status_changed(gpointer owner);
void nbh_engine_write_status(Engine *engine);
void nbh_engine_candidates_changed(gpointer owner);
void nbh_engine_network_changed(gpointer owner);
void nbh_engine_facts_changed(gpointer owner);
void nbh_engine_path_changed(gpointer owner);
void nbh_engine_publish_device(Engine *engine);
void nbh_engine_path_lost(gpointer owner);
gboolean nbh_engine_refresh_stun(gpointer owner);
void nbh_engine_source_of(const struct nbh_endpoint *to, struct nbh_addr *ret_source, gpointer owner);
extern const NbhPublishEvents nbh_engine_publish_events;

/* engine.c: the directory was removed and made again; what we know goes into the new one. */
void nbh_engine_enter_dir_again(Engine *engine);

/* engine-reload.c: config.json again */
gboolean nbh_engine_reload(gpointer owner);

/* engine-network.c */
void nbh_engine_apply_peer_config(Engine *engine, const NbhPeerConfig *config);
void nbh_engine_apply_map(Engine *engine, NbhNetmap *map);
/* TRUE: they come too fast; what it says about the network is kept for later, if nothing newer comes. */
gboolean nbh_engine_hold(Engine *engine, const NbhMgmtUpdate *update);
void nbh_engine_forget_held(Engine *engine);
void nbh_engine_trim_soon(Engine *engine); /* gives free memory back to the system */

/* engine-servers.c */
void nbh_engine_servers_init(Engine *engine);
void nbh_engine_connect(Engine *engine);
/* As disconnect, but what was just said to peers is still sent. */
void nbh_engine_leave(Engine *engine);
void nbh_engine_disconnect(Engine *engine);
void nbh_engine_try_management(Engine *engine);
void nbh_engine_wipe_setup_key(Engine *engine);
void nbh_engine_names_changed(gpointer owner);

#endif
