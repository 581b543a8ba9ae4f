#ifndef NBH_HUB_HUB_H
#define NBH_HUB_HUB_H

/* The whole hub in one object: store, services, listeners. The only file that knows all of them. */

#include "base/addr.h"

#include <gio/gio.h>

typedef struct _NbhHub NbhHub;

/*
 * Whether two machines have each other in their maps, by the names that they registered with; must
 * be symmetric. netbird-hub shows everyone to everyone; measurements make a star.
 */
typedef gboolean (*NbhHubMaySee)(const char *name, const char *other);

typedef struct {
	const char *dir;
	gboolean has_listen;        /* else all addresses, port 8080 */
	struct nbh_endpoint listen; /* port 0: any (tests) */
	const char *public_url;     /* NULL: made of listen, when that is one address */
	const char *tls_cert, *tls_key; /* files, both or none; TLS beside plain, on the same port */
	guint16 stun_port;          /* 0: no STUN */
	const char *dns_domain;
	gboolean lazy;
	NbhHubMaySee may_see;       /* NULL: everyone */
} NbhHubConfig;

#define NBH_HUB_DEFAULT_PORT 8080
#define NBH_HUB_DEFAULT_STUN_PORT 3478
#define NBH_HUB_DEFAULT_DOMAIN "netbird.internal"

typedef enum {
	NBH_HUB_ERROR_CONFIG = 1, /* what was asked for cannot work */
} NbhHubError;
#define NBH_HUB_ERROR (nbh_hub_error_quark())
GQuark nbh_hub_error_quark(void);

/* Errors: NBH_HUB_ERROR, G_IO_ERROR, NBH_STORE_ERROR. Serves from the default main context. */
NbhHub *nbh_hub_start(const NbhHubConfig *config, GError **error);
const char *nbh_hub_public_url(const NbhHub *hub);
const char *nbh_hub_summary(const NbhHub *hub); /* one line for people: what is served where */
void nbh_hub_free(NbhHub *hub); /* ends all connections, writes what is not written yet */

#endif
