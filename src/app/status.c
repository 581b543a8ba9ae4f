#include "config.h"

#include "app/status.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "core/version.h"

/* The official client's nanoseconds and times keep their form; what we do not have is its zero. */

#define WHY_MAX 320

typedef struct {
	struct nbh_jsonw *w;
	const NbhStatusView *view;
	guint connected, total;
} PeersOut;

static const char *peer_status(const NbhStatusView *view, const NbhConn *conn)
{
	switch (conn->state) {
	case NBH_CONN_UP:
	case NBH_CONN_DEGRADED:
		/* A path that no interface uses connects nobody. */
		return view->wg && !view->wg->link_up ? "Connecting" : "Connected";
	case NBH_CONN_IDLE:
	case NBH_CONN_DOWN:
		return "Idle";
	case NBH_CONN_QUEUED:
	case NBH_CONN_SIGNALING:
	case NBH_CONN_CHECKING:
	case NBH_CONN_BACKOFF:
	case NBH_CONN_N_STATES:
		break;
	}

	return "Connecting";
}

static void count_peer(const NbhPeerView *view, gpointer data)
{
	PeersOut *out = data;

	out->total++;
	out->connected += strcmp(peer_status(out->view, view->conn), "Connected") == 0;
}

static void write_pair(struct nbh_jsonw *w, const NbhConn *conn)
{
	char local[NBH_ENDPOINT_TEXT_MAX] = "", remote[NBH_ENDPOINT_TEXT_MAX] = "";

	if (conn->has_pair) {
		nbh_endpoint_format(&conn->pair.local, local);
		nbh_endpoint_format(&conn->pair.remote, remote);
	}

	nbh_jsonw_object(w, "iceCandidateType");
	nbh_jsonw_string(w, "local", conn->has_pair ? nbh_candidate_type_name(conn->pair.local_type) : "");
	nbh_jsonw_string(w, "remote", conn->has_pair ? nbh_candidate_type_name(conn->pair.remote_type) : "");
	nbh_jsonw_close(w);
	nbh_jsonw_object(w, "iceCandidateEndpoint");
	nbh_jsonw_string(w, "local", local);
	nbh_jsonw_string(w, "remote", remote);
	nbh_jsonw_close(w);
}

/* What is wrong on this host, for every peer alike. FALSE: nothing is. */
static gboolean why_here(const NbhStatusView *view, const NbhConn *conn, char ret[WHY_MAX])
{
	if (view->wg && view->wg->error[0])
		g_snprintf(ret, WHY_MAX, "netbird-wg: %s", view->wg->error);
	else if (conn->state == NBH_CONN_UP || conn->state == NBH_CONN_IDLE)
		return FALSE;
	else if (!view->wg_runs)
		g_snprintf(ret, WHY_MAX, "netbird-wg does not run%s%s", view->wg_ending[0] ? ": " : "", view->wg_ending);
	else if (!view->ice_backend[0])
		g_snprintf(ret, WHY_MAX, "netbird-ice is not there: %s", view->ice_error);
	else if (!view->signal.up)
		g_snprintf(ret, WHY_MAX, "signal is not connected%s%s", view->signal.error && view->signal.error[0] ? ": " : "",
		           view->signal.error ? view->signal.error : "");
	else
		return FALSE;

	return TRUE;
}

/* One offer without an answer may still be on its way. */
#define OFFERS_BEFORE_OFFLINE 3

static const char *why_not_direct(const NbhStatusView *view, const NbhConn *conn, char buf[WHY_MAX])
{
	gboolean failed_before = conn->attempts > 0 && conn->path.kind != NBH_PATH_DIRECT;

	if (why_here(view, conn, buf))
		return buf;

	if (conn->state == NBH_CONN_SIGNALING && conn->offers_sent >= OFFERS_BEFORE_OFFLINE) {
		g_snprintf(buf, WHY_MAX, "the peer did not answer %u offers; it is probably offline", conn->offers_sent);
		return buf;
	}

	if (conn->state == NBH_CONN_CHECKING && failed_before) {
		g_snprintf(buf, WHY_MAX, "checking again after %u failed attempts (a symmetric NAT, or is UDP blocked?)",
		           conn->attempts);
		return buf;
	}

	return conn->why_not_direct ? conn->why_not_direct : "";
}

static const char *address_of(const NbhNetmapPeer *entry, int family, char buf[NBH_ADDR_TEXT_MAX])
{
	guint8 full = family == AF_INET ? 32 : 128;

	for (gsize i = 0; i < entry->n_allowed_ips; i++)
		if (entry->allowed_ips[i].addr.family == family && entry->allowed_ips[i].len == full)
			return nbh_addr_format(&entry->allowed_ips[i].addr, buf);

	return "";
}

static void write_peer(const NbhPeerView *view, gpointer data)
{
	const NbhStatusView *all = ((PeersOut *)data)->view;
	struct nbh_jsonw *w = ((PeersOut *)data)->w;
	const char *status = peer_status(all, view->conn);
	char why[WHY_MAX], time[NBH_RFC3339_MAX], addr[NBH_ADDR_TEXT_MAX], endpoint[NBH_ENDPOINT_TEXT_MAX] = "";
	const char *v6 = address_of(view->entry, AF_INET6, addr);

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_string(w, "fqdn", view->fqdn);

	if (v6[0])
		nbh_jsonw_string(w, "netbirdIpv6", v6);

	nbh_jsonw_string(w, "netbirdIp", address_of(view->entry, AF_INET, addr));
	nbh_jsonw_string(w, "publicKey", nbh_key_format(&view->key).text);
	nbh_jsonw_string(w, "status", status);
	nbh_jsonw_string(w, "lastStatusUpdate", nbh_rfc3339(view->changed_unix_ms, time));
	nbh_jsonw_string(w, "connectionType", strcmp(status, "Connected") == 0 ? "P2P" : "-");
	write_pair(w, view->conn);
	nbh_jsonw_string(w, "relayAddress", "");
	nbh_jsonw_string(w, "lastWireguardHandshake",
	                 nbh_rfc3339(view->handshake_unix_ms ? view->handshake_unix_ms : -1, time));
	nbh_jsonw_uint(w, "transferReceived", view->rx_bytes);
	nbh_jsonw_uint(w, "transferSent", view->tx_bytes);
	nbh_jsonw_int(w, "latency", 0);
	nbh_jsonw_bool(w, "quantumResistance", false);
	nbh_jsonw_array(w, "networks");
	nbh_jsonw_close(w);

	/* Ours. */
	if (view->path->kind == NBH_PATH_DIRECT)
		nbh_endpoint_format(&view->path->endpoint, endpoint);

	nbh_jsonw_string(w, "state", nbh_conn_state_name(view->conn->state));
	nbh_jsonw_string(w, "endpoint", endpoint);
	nbh_jsonw_string(w, "whyNotDirect", why_not_direct(all, view->conn, why));
	nbh_jsonw_string(w, "agentVersion", view->entry->agent_version);
	nbh_jsonw_bool(w, "controlling", view->conn->controlling);
	nbh_jsonw_uint(w, "attempts", view->conn->attempts);
	nbh_jsonw_uint(w, "losses", view->conn->losses);
	nbh_jsonw_close(w);
}

static void write_server(struct nbh_jsonw *w, const char *key, const NbhServerView *server)
{
	nbh_jsonw_object(w, key);
	nbh_jsonw_string(w, "url", server->url ? server->url : "");
	nbh_jsonw_bool(w, "connected", server->up);
	nbh_jsonw_string(w, "error", server->error ? server->error : "");
	nbh_jsonw_close(w);
}

static void write_stun(const char *uri, const char *answer, const char *why, gpointer data)
{
	struct nbh_jsonw *w = data;

	(void)why; /* among the relays */

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_string(w, "uri", uri);
	nbh_jsonw_bool(w, "available", answer[0] != '\0');
	nbh_jsonw_string(w, "mappedAddress", answer);
	nbh_jsonw_close(w);
}

typedef struct {
	struct nbh_jsonw *w;
	guint total, available;
} RelaysOut;

static void count_relay(const char *uri, const char *answer, const char *why, gpointer data)
{
	RelaysOut *out = data;

	(void)uri;
	(void)why;
	out->total++;
	out->available += answer[0] != '\0';
}

static void write_relay(const char *uri, const char *answer, const char *why, gpointer data)
{
	struct nbh_jsonw *w = ((RelaysOut *)data)->w;

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_string(w, "uri", uri);
	nbh_jsonw_bool(w, "available", answer[0] != '\0');
	nbh_jsonw_string(w, "error", answer[0] ? "" : why);
	nbh_jsonw_close(w);
}

/* NetBird counts STUN servers among the relays. */
static void write_relays(struct nbh_jsonw *w, NbhSrflx *srflx)
{
	RelaysOut out = { .w = w };

	nbh_srflx_each(srflx, count_relay, &out);
	nbh_jsonw_object(w, "relays");
	nbh_jsonw_uint(w, "total", out.total);
	nbh_jsonw_uint(w, "available", out.available);
	nbh_jsonw_array(w, "details");
	nbh_srflx_each(srflx, write_relay, &out);
	nbh_jsonw_close(w);
	nbh_jsonw_close(w);
}

static void write_empty(struct nbh_jsonw *w)
{
	nbh_jsonw_bool(w, "quantumResistance", false);
	nbh_jsonw_bool(w, "quantumResistancePermissive", false);
	nbh_jsonw_array(w, "networks");
	nbh_jsonw_close(w);
	nbh_jsonw_int(w, "forwardingRules", 0);
	nbh_jsonw_array(w, "dnsServers");
	nbh_jsonw_close(w);
	nbh_jsonw_array(w, "events");
	nbh_jsonw_close(w);
	nbh_jsonw_string(w, "profileName", "default");
	nbh_jsonw_object(w, "sshServer");
	nbh_jsonw_bool(w, "enabled", false);
	nbh_jsonw_array(w, "sessions");
	nbh_jsonw_close(w);
	nbh_jsonw_close(w);
}

static void write_refused(const char *line, gpointer data)
{
	nbh_jsonw_stringf(data, NULL, "refused from management: %s", line);
}

static void write_notes(struct nbh_jsonw *w, const NbhStatusView *view)
{
	nbh_jsonw_array(w, "notes");

	if (view->config_note[0])
		nbh_jsonw_string(w, NULL, view->config_note);

	if (view->map && view->map->n_rules > 0)
		nbh_jsonw_stringf(w, NULL, "access policies are not enforced on this host yet (%zu rules received)",
		                  (size_t)view->map->n_rules);
	else if (view->map)
		nbh_jsonw_string(w, NULL, "access policies are not enforced on this host yet");

	if (view->map && view->map->n_routes > 0)
		nbh_jsonw_stringf(w, NULL, "routes are not used yet (%zu received)", (size_t)view->map->n_routes);

	if (view->turns && view->turns->len > 0)
		nbh_jsonw_stringf(w, NULL, "TURN servers are not used yet (%u received)", view->turns->len);

	if (view->relays && view->relays->len > 0)
		nbh_jsonw_stringf(w, NULL, "relays are not used yet (%u received)", view->relays->len);

	if (view->refusals)
		nbh_refusals_each(view->refusals, write_refused, w);

	for (guint i = 0; view->map && view->map->skipped && i < view->map->skipped->len; i++)
		nbh_jsonw_stringf(w, NULL, "skipped %s", (const char *)view->map->skipped->pdata[i]);

	nbh_jsonw_close(w);
}

static const char *wg_error(const NbhStatusView *view, char buf[WHY_MAX])
{
	const char *ending = view->wg_ending;

	if (view->wg && (view->wg->error[0] || view->wg_runs))
		return view->wg->error;

	if (!view->wg && !ending[0])
		return "netbird-wg has not reported yet";

	g_snprintf(buf, WHY_MAX, "netbird-wg does not run%s%s%s", view->wg ? "; tunnels stay as they are" : "",
	           ending[0] ? ": " : "", ending);
	return buf;
}

static void write_wg(struct nbh_jsonw *w, const NbhStatusView *view)
{
	char buf[WHY_MAX];

	nbh_jsonw_object(w, "wireguard");
	nbh_jsonw_string(w, "interface", view->config->interface);
	nbh_jsonw_string(w, "backend", view->wg ? view->wg->backend : "");
	nbh_jsonw_bool(w, "up", view->wg && view->wg->link_up);
	nbh_jsonw_string(w, "error", wg_error(view, buf));
	nbh_jsonw_uint(w, "generation", view->wg ? view->wg->generation : 0);
	nbh_jsonw_string(w, "publishError", view->publish_error);
	nbh_jsonw_close(w);
}

/* For each program that runs: does it filter its system calls? */
static void write_seccomp(struct nbh_jsonw *w, const NbhStatusView *view)
{
	nbh_jsonw_object(w, "seccomp");
	nbh_jsonw_bool(w, "helper", view->seccomp);

	if (view->ice_backend[0])
		nbh_jsonw_bool(w, "ice", !g_str_has_suffix(view->ice_backend, NBH_ICE_NO_FILTER));

	if (view->wg && view->wg_runs)
		nbh_jsonw_bool(w, "wg", view->wg->seccomp);

	nbh_jsonw_close(w);
}

/* Without what is said in write_seccomp(). */
static void write_ice_backend(struct nbh_jsonw *w, const char *backend)
{
	gsize len = strlen(backend);

	if (g_str_has_suffix(backend, NBH_ICE_NO_FILTER))
		len -= strlen(NBH_ICE_NO_FILTER);

	nbh_jsonw_stringf(w, "backend", "%.*s", (int)len, backend);
}

static void write_own(struct nbh_jsonw *w, const NbhStatusView *view)
{
	char text[NBH_PREFIX_TEXT_MAX];
	const NbhPeerConfig *own = view->peer_config;

	nbh_jsonw_string(w, "netbirdIp", own ? nbh_prefix_format(&own->address, text) : "");

	if (own && own->address_v6.addr.family)
		nbh_jsonw_string(w, "netbirdIpv6", nbh_prefix_format(&own->address_v6, text));

	nbh_jsonw_string(w, "publicKey", nbh_key_format(view->own_public).text);
	nbh_jsonw_bool(w, "usesKernelInterface", view->wg && strcmp(view->wg->backend, "netlink") == 0);
	nbh_jsonw_int(w, "wireguardPort", view->config->listen_port);
	nbh_jsonw_string(w, "fqdn", own ? own->fqdn : "");
	nbh_jsonw_bool(w, "lazyConnectionEnabled", own && own->lazy);
}

guint nbh_status_connected(const NbhStatusView *view)
{
	PeersOut out = { .view = view };

	nbh_peers_each(view->peers, count_peer, &out);
	return out.connected;
}

char *nbh_status_format(const NbhStatusView *view, gsize *ret_len)
{
	struct nbh_jsonw *w = nbh_jsonw_new();
	PeersOut out = { .w = w, .view = view };
	char time[NBH_RFC3339_MAX];

	nbh_peers_each(view->peers, count_peer, &out);
	nbh_jsonw_object(w, NULL);
	nbh_jsonw_object(w, "peers");
	nbh_jsonw_uint(w, "total", out.total);
	nbh_jsonw_uint(w, "connected", out.connected);
	nbh_jsonw_array(w, "details");
	nbh_peers_each(view->peers, write_peer, &out);
	nbh_jsonw_close(w);
	nbh_jsonw_close(w);
	nbh_jsonw_string(w, "cliVersion", PACKAGE_VERSION);
	nbh_jsonw_string(w, "daemonVersion", PACKAGE_VERSION);
	nbh_jsonw_string(w, "daemonStatus", view->daemon_status);
	write_server(w, "management", &view->management);
	write_server(w, "signal", &view->signal);
	write_own(w, view);
	write_relays(w, view->srflx);
	write_empty(w);
	nbh_jsonw_string(w, "agentVersion", NBH_AGENT_VERSION);
	nbh_jsonw_object(w, "ice");
	write_ice_backend(w, view->ice_backend);
	nbh_jsonw_string(w, "error", view->ice_error);
	nbh_jsonw_array(w, "stunServers");
	nbh_srflx_each(view->srflx, write_stun, w);
	nbh_jsonw_close(w);
	nbh_jsonw_close(w);
	write_wg(w, view);
	write_seccomp(w, view);
	write_notes(w, view);
	nbh_jsonw_string(w, "updatedAt", nbh_rfc3339(g_get_real_time() / 1000, time));
	return nbh_jsonw_end(w, ret_len);
}
