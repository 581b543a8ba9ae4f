#include "config.h"

#include "app/distrust.h"

#include <string.h>

#include "base/limits.h"
#include "base/log.h"

void nbh_refusals_clear(NbhRefusals *refusals)
{
	g_clear_pointer(&refusals->servers, g_ptr_array_unref);
	g_clear_pointer(&refusals->signal, g_free);
	g_clear_pointer(&refusals->peer_config, g_free);
	g_clear_pointer(&refusals->map, g_free);
}

/* A server may say it a thousand times a second. */
static void set(char **text, guint *n, const char *why)
{
	gboolean is_news = g_strcmp0(*text, why) != 0;

	if (why && (nbh_log_worth(++*n) || (is_news && *n < NBH_NETMAP_SKIPPED_MAX)))
		nbh_log(NBH_LOG_WARN, "mgmt", "refused why=\"%s\" times=%u", why, *n);

	if (!why)
		*n = 0;

	if (!is_news)
		return;

	g_free(*text);
	*text = g_strdup(why);
}

void nbh_refusals_signal(NbhRefusals *refusals, const char *why)
{
	set(&refusals->signal, &refusals->n_signal, why);
}

void nbh_refusals_peer_config(NbhRefusals *refusals, const char *why)
{
	set(&refusals->peer_config, &refusals->n_peer_config, why);
}

void nbh_refusals_map(NbhRefusals *refusals, const char *why)
{
	set(&refusals->map, &refusals->n_map, why);
}

void nbh_refusals_take(NbhRefusals *refusals, const NbhMgmtUpdate *update)
{
	if (update->servers) {
		g_clear_pointer(&refusals->servers, g_ptr_array_unref);

		if (update->servers->skipped)
			refusals->servers = g_ptr_array_ref(update->servers->skipped);
	}

	if (update->has_peer_config || update->peer_config_refused)
		nbh_refusals_peer_config(refusals, update->peer_config_refused);

	if (update->map || update->map_refused)
		nbh_refusals_map(refusals, update->map_refused);
}

gboolean nbh_refusals_of_network(const NbhRefusals *refusals)
{
	return refusals->peer_config || refusals->map;
}

void nbh_refusals_each(const NbhRefusals *refusals, void (*fn)(const char *line, gpointer data), gpointer data)
{
	const char *const lines[] = { refusals->map, refusals->peer_config, refusals->signal };

	for (gsize i = 0; i < G_N_ELEMENTS(lines); i++)
		if (lines[i])
			fn(lines[i], data);

	for (guint i = 0; refusals->servers && i < refusals->servers->len; i++)
		fn(refusals->servers->pdata[i], data);
}

/* ---- signal ---------------------------------------------------------------------------------- */

static gboolean is_this_host(const char *host)
{
	struct nbh_addr addr;

	if (nbh_addr_parse(host, &addr) == 0)
		return nbh_addr_unfit(&addr) != NULL;

	return g_ascii_strcasecmp(host, "localhost") == 0 || g_str_has_suffix(host, ".localhost");
}

/*
 * A hub elsewhere would have us talk to services that only listen to this host, or to its cloud's
 * metadata service. Names that DNS answers so are not looked at: whoever can do that needs no hub.
 */
gboolean nbh_distrust_signal(const char *management_url, const char *signal_host, struct nbh_why *why)
{
	g_autofree char *management = NULL;

	if (!is_this_host(signal_host))
		return TRUE;

	if (g_uri_split_network(management_url, G_URI_FLAGS_NONE, NULL, &management, NULL, NULL) &&
	    management && is_this_host(management))
		return TRUE;

	nbh_why_set(why, "netbirdConfig.signal.uri \"%.60s\": an address of this host only, but management is elsewhere",
	            signal_host);
	return FALSE;
}

/* ---- our network ----------------------------------------------------------------------------- */

gboolean nbh_distrust_network(const NbhPeerConfig *config, const NbhNeeded *needed, gsize n_needed, struct nbh_why *why)
{
	const struct nbh_prefix *const networks[] = { &config->address, &config->address_v6 };

	for (gsize i = 0; i < G_N_ELEMENTS(networks); i++) {
		char network[NBH_PREFIX_TEXT_MAX], addr[NBH_ADDR_TEXT_MAX];

		for (gsize k = 0; networks[i]->addr.family && k < n_needed; k++) {
			if (!nbh_prefix_contains(networks[i], &needed[k].addr))
				continue;

			nbh_why_set(why, "peerConfig.address \"%s\": %s, %s, would be inside",
			            nbh_prefix_format(networks[i], network), needed[k].what,
			            nbh_addr_format(&needed[k].addr, addr));
			return FALSE;
		}
	}

	return TRUE;
}
