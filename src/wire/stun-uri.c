#include "config.h"

/* netbird-wire.md section 6: "stun:host[:port]" and the like, RFC 7064 and 7065. */

#include "wire/stun.h"

#include "wire/hostport.h"

#include <string.h>

static const struct {
	const char *scheme; /* with its colon */
	guint16 port;
	gboolean is_turn, is_tls;
} schemes[] = {
	{"stun:", 3478, FALSE, FALSE},
	{"stuns:", 5349, FALSE, TRUE},
	{"turn:", 3478, TRUE, FALSE},
	{"turns:", 5349, TRUE, TRUE},
};

/* The only query there is, and for TURN only. */
static gboolean is_transport(const char *query)
{
	return strcmp(query, "transport=udp") == 0 || strcmp(query, "transport=tcp") == 0;
}

gboolean nbh_stun_uri_parse(const char *uri, char *ret_host, gsize host_size, guint16 *ret_port,
			    gboolean *ret_turn, gboolean *ret_tls)
{
	gsize i;

	for (i = 0; i < G_N_ELEMENTS(schemes); i++) {
		const char *rest, *query;

		if (g_ascii_strncasecmp(uri, schemes[i].scheme, strlen(schemes[i].scheme)) != 0)
			continue;

		rest = uri + strlen(schemes[i].scheme);
		query = strchr(rest, '?');

		if (query && (!schemes[i].is_turn || !is_transport(query + 1)))
			return FALSE;

		if (!nbh_hostport_parse(rest, query ? (gsize)(query - rest) : strlen(rest),
					schemes[i].port, ret_host, host_size, ret_port))
			return FALSE;

		*ret_turn = schemes[i].is_turn;
		*ret_tls = schemes[i].is_tls;
		return TRUE;
	}

	return FALSE;
}
