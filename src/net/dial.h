#ifndef NBH_NET_DIAL_H
#define NBH_NET_DIAL_H

/*
 * How we get to servers: CAs, client certificate and proxy from the configuration and the
 * environment. One for all channels of a process, so that they share certificates.
 */

#include "net/stream.h"

typedef struct _NbhDial NbhDial;

/* NULL or "": not set. */
typedef struct {
	const char *ca_file;              /* NULL: the system's CAs */
	const char *cert_file, *key_file; /* key_file NULL: in cert_file */
	const char *proxy; /* "http://[USER:PASSWORD@]HOST:PORT"; "none"; NULL: the environment's */
} NbhDialConfig;

/* config NULL: nothing set. Fails for a proxy that cannot be used and a key without a certificate. */
NbhDial *nbh_dial_new(const NbhDialConfig *config, GError **error);
NbhDial *nbh_dial_ref(NbhDial *dial);
void nbh_dial_unref(NbhDial *dial); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbhDial, nbh_dial_unref)

/* As nbh_stream_connect(). */
NbhStream *nbh_dial_connect(NbhDial *dial, const char *host, guint16 port, gboolean tls, guint deadline_ms,
                            const NbhStreamEvents *events, gpointer owner);

#endif
