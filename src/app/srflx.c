#include "config.h"

#include "app/srflx.h"

#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "wire/stun.h"

/* At most this many addresses of one name are asked: two families, one spare. */
#define ADDRESSES_PER_SERVER 3

typedef struct {
	char *uri;  /* owned */
	char *host; /* owned */
	guint16 port;
	struct nbh_endpoint addresses[ADDRESSES_PER_SERVER];
	struct nbh_endpoint mapped[ADDRESSES_PER_SERVER];
	gsize n_addresses;
	gboolean answered, failed;
	gboolean waits; /* for its turn to be resolved */
	const char *refused; /* static text: why an address or an answer is not used; NULL: none was refused */
} Server;

typedef struct {
	NbhSrflx *srflx; /* cleared by free through the cancellable */
	char *host;
} Lookup;

struct _NbhSrflx {
	void (*on_change)(gpointer owner);
	gpointer owner;
	GPtrArray *servers; /* Server, owned */
	GHashTable *asked; /* char *, owned: names that are being resolved */
	GAsyncReadyCallback on_resolved; /* closes the circle resolved -> whoever waits -> resolved */
	GResolver *resolver;
	GCancellable *cancellable;
	const NbhIceBackend *backend;
	NbhIce *ice; /* borrowed */
	struct nbh_prefix overlay[2]; /* family 0: none */
};

static void server_free(gpointer data)
{
	Server *server = data;

	g_free(server->uri);
	g_free(server->host);
	g_free(server);
}

void nbh_srflx_free(NbhSrflx *srflx)
{
	if (!srflx)
		return;

	g_cancellable_cancel(srflx->cancellable);
	g_clear_object(&srflx->cancellable);
	g_clear_object(&srflx->resolver);
	g_ptr_array_unref(srflx->servers);
	g_hash_table_unref(srflx->asked);
	g_free(srflx);
}

/* NULL: it may be a server's, or ours. */
static const char *unfit(const NbhSrflx *srflx, const struct nbh_addr *addr)
{
	if (nbh_prefixes_contain(srflx->overlay, G_N_ELEMENTS(srflx->overlay), addr))
		return "inside our own network";

	return nbh_addr_unfit(addr);
}

static void ask_server(NbhSrflx *srflx, Server *server)
{
	for (gsize i = 0; srflx->ice && i < server->n_addresses; i++) {
		server->refused = unfit(srflx, &server->addresses[i].addr);

		if (!server->refused)
			srflx->backend->stun_query(srflx->ice, &server->addresses[i]);
	}
}

static void add_address(Server *server, const struct nbh_addr *addr)
{
	if (server->n_addresses == ADDRESSES_PER_SERVER)
		return;

	server->addresses[server->n_addresses].addr = *addr;
	server->addresses[server->n_addresses].port = server->port;
	server->n_addresses++;
}

static void take_addresses(NbhSrflx *srflx, Server *server, GList *found, const GError *error)
{
	server->waits = FALSE;

	if (!found) {
		server->failed = TRUE;
		nbh_log(NBH_LOG_WARN, "ice", "stun-server-unresolved server=%s error=\"%s\"", server->uri,
		        error->message);
		return;
	}

	server->n_addresses = 0;

	for (GList *l = found; l; l = l->next) {
		g_autofree char *text = g_inet_address_to_string(l->data);
		struct nbh_addr addr;

		if (nbh_addr_parse(text, &addr) == 0)
			add_address(server, &addr);
	}

	ask_server(srflx, server);
}

static void resolve(NbhSrflx *srflx, Server *server)
{
	struct nbh_addr addr;
	Lookup *lookup;

	if (nbh_addr_parse(server->host, &addr) == 0) {
		if (server->n_addresses == 0)
			add_address(server, &addr);

		ask_server(srflx, server);
		return;
	}

	if (g_hash_table_contains(srflx->asked, server->host))
		return;

	/* A DNS that does not answer must not make a heap of what is asked again and again. */
	server->waits = g_hash_table_size(srflx->asked) >= NBH_STUN_LOOKUPS_MAX;

	if (server->waits)
		return;

	if (!srflx->resolver)
		srflx->resolver = g_resolver_get_default();

	g_hash_table_add(srflx->asked, g_strdup(server->host));
	lookup = g_new(Lookup, 1);
	lookup->srflx = srflx;
	lookup->host = g_strdup(server->host);
	g_resolver_lookup_by_name_async(srflx->resolver, server->host, srflx->cancellable, srflx->on_resolved,
	                                lookup);
}

static void on_resolved(GObject *source, GAsyncResult *result, gpointer data)
{
	g_autoptr(GError) error = NULL;
	GList *found = g_resolver_lookup_by_name_finish(G_RESOLVER(source), result, &error);
	Lookup *lookup = data;
	NbhSrflx *srflx = lookup->srflx;

	if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
		g_free(lookup->host);
		g_free(lookup);
		return;
	}

	g_hash_table_remove(srflx->asked, lookup->host);

	for (guint i = 0; i < srflx->servers->len; i++) {
		Server *server = srflx->servers->pdata[i];

		if (strcmp(server->host, lookup->host) == 0)
			take_addresses(srflx, server, found, error);
		else if (server->waits)
			resolve(srflx, server);
	}

	g_resolver_free_addresses(found);
	g_free(lookup->host);
	g_free(lookup);
}

NbhSrflx *nbh_srflx_new(void (*on_change)(gpointer owner), gpointer owner)
{
	NbhSrflx *srflx = g_new0(NbhSrflx, 1);

	srflx->on_change = on_change;
	srflx->owner = owner;
	srflx->on_resolved = on_resolved;
	srflx->servers = g_ptr_array_new_with_free_func(server_free);
	srflx->asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	srflx->cancellable = g_cancellable_new();
	return srflx;
}

void nbh_srflx_set_servers(NbhSrflx *srflx, GPtrArray *uris)
{
	g_autoptr(GPtrArray) servers = g_ptr_array_new_with_free_func(server_free);
	gboolean same;

	for (guint i = 0; i < uris->len && servers->len < NBH_STUN_SERVERS_MAX; i++) {
		const char *uri = uris->pdata[i];
		gboolean is_turn, is_tls;
		char host[256];
		guint16 port;
		Server *server;

		if (!nbh_stun_uri_parse(uri, host, sizeof(host), &port, &is_turn, &is_tls)) {
			nbh_log(NBH_LOG_WARN, "ice", "stun-uri-refused uri=\"%s\"", uri);
			continue;
		}

		if (is_turn || is_tls)
			continue;

		server = g_new0(Server, 1);
		server->uri = g_strdup(uri);
		server->host = g_strdup(host);
		server->port = port;
		g_ptr_array_add(servers, server);
	}

	same = servers->len == srflx->servers->len;

	for (guint i = 0; same && i < servers->len; i++)
		same = strcmp(((Server *)servers->pdata[i])->uri, ((Server *)srflx->servers->pdata[i])->uri) == 0;

	if (same)
		return;

	g_ptr_array_unref(srflx->servers);
	srflx->servers = g_steal_pointer(&servers);
	nbh_srflx_ask(srflx);
}

void nbh_srflx_set_overlay(NbhSrflx *srflx, const struct nbh_prefix *v4, const struct nbh_prefix *v6)
{
	srflx->overlay[0] = *v4;
	srflx->overlay[1] = *v6;
}

void nbh_srflx_set_ice(NbhSrflx *srflx, const NbhIceBackend *backend, NbhIce *ice)
{
	srflx->backend = backend;
	srflx->ice = ice;
}

void nbh_srflx_ask(NbhSrflx *srflx)
{
	if (!srflx->ice)
		return;

	for (guint i = 0; i < srflx->servers->len; i++)
		resolve(srflx, srflx->servers->pdata[i]);
}

void nbh_srflx_mapped(NbhSrflx *srflx, const struct nbh_endpoint *server_endpoint, const struct nbh_endpoint *mapped)
{
	gboolean changed = FALSE;

	for (guint i = 0; i < srflx->servers->len; i++) {
		Server *server = srflx->servers->pdata[i];

		for (gsize k = 0; k < server->n_addresses; k++) {
			if (!nbh_endpoint_equal(&server->addresses[k], server_endpoint))
				continue;

			/* Silence is no news: the address of before may still be right. */
			server->failed = mapped == NULL;

			/* A candidate of ours made of it would send peers there. */
			if (mapped && unfit(srflx, &mapped->addr)) {
				server->refused = "it answered with an address that cannot be ours";
				changed |= nbh_endpoint_is_set(&server->mapped[k]);
				memset(&server->mapped[k], 0, sizeof(server->mapped[k]));
				continue;
			}

			if (!mapped || nbh_endpoint_equal(&server->mapped[k], mapped))
				continue;

			server->mapped[k] = *mapped;
			server->answered = TRUE;
			changed = TRUE;
		}
	}

	if (changed)
		srflx->on_change(srflx->owner);
}

gsize nbh_srflx_get(NbhSrflx *srflx, struct nbh_endpoint *ret, gsize max)
{
	gsize n = 0;

	for (guint i = 0; i < srflx->servers->len; i++) {
		const Server *server = srflx->servers->pdata[i];

		for (gsize k = 0; k < server->n_addresses && n < max; k++) {
			gboolean known = !nbh_endpoint_is_set(&server->mapped[k]);

			for (gsize j = 0; j < n && !known; j++)
				known = nbh_endpoint_equal(&ret[j], &server->mapped[k]);

			if (!known)
				ret[n++] = server->mapped[k];
		}
	}

	return n;
}

void nbh_srflx_each(NbhSrflx *srflx, void (*fn)(const char *uri, const char *answer, const char *why, gpointer data), gpointer data)
{
	for (guint i = 0; i < srflx->servers->len; i++) {
		const Server *server = srflx->servers->pdata[i];
		char text[NBH_ENDPOINT_TEXT_MAX] = "";

		for (gsize k = 0; k < server->n_addresses && !text[0]; k++)
			if (nbh_endpoint_is_set(&server->mapped[k]))
				nbh_endpoint_format(&server->mapped[k], text);

		fn(server->uri, text, server->refused ? server->refused : "no answer yet", data);
	}
}
