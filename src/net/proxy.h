#ifndef NBH_NET_PROXY_H
#define NBH_NET_PROXY_H

/*
 * HTTP proxies by CONNECT (RFC 9110 9.3.6): the words, no sockets. `stream` speaks them, `dial`
 * decides which proxy.
 */

#include <glib.h>

typedef struct {
	char host[256];
	guint16 port;
	char *authorization; /* owned; base64 of "user:password"; NULL: none. A secret */
} NbhProxy;

/* "http://[USER:PASSWORD@]HOST[:PORT]", or without the scheme; port 80. Errors never show a password. */
NbhProxy *nbh_proxy_parse(const char *url, GError **error);
NbhProxy *nbh_proxy_copy(const NbhProxy *proxy); /* NULL is fine */
void nbh_proxy_free(NbhProxy *proxy);            /* wipes; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbhProxy, nbh_proxy_free)

/*
 * As grpc-go does, for http and https URLs alike: HTTPS_PROXY, then https_proxy, unless host is this
 * machine or NO_PROXY (no_proxy) names it. NULL: none.
 */
const char *nbh_proxy_from_environment(const char *host, guint16 port);
/* One of: "*", NAME (and what ends in .NAME), .NAME, *.NAME, ADDRESS, PREFIX/LEN; each with :PORT. */
gboolean nbh_proxy_is_excluded(const char *no_proxy, const char *host, guint16 port);

char *nbh_proxy_request(const NbhProxy *proxy, const char *host, guint16 port);
/* Length of the answer's head in data, with the empty line; 0: not complete. */
gsize nbh_proxy_head_len(const guint8 *data, gsize len);
/* NULL: the way is free. Else what the proxy said, for users, escaped. */
char *nbh_proxy_refusal(const guint8 *head, gsize len);

#endif
