#ifndef NBH_HUB_CALL_H
#define NBH_HUB_CALL_H

/* What front hands to the services: one gRPC call and who makes it. */

#include "base/addr.h"
#include "net/h2srv.h"

typedef struct _NbhHubMethod NbhHubMethod;

typedef struct {
	const NbhHubMethod *method;
	NbhH2srvCall *h2;          /* borrowed; gone after on_gone */
	struct nbh_addr remote;    /* of the TCP connection */
	gboolean has_message;      /* a request has come */
	gpointer state;            /* the service's */
} NbhHubCall;

struct _NbhHubMethod {
	const char *path;
	/* Each may be NULL. service: as given to nbh_front_new(). */
	void (*on_start)(NbhHubCall *call, gpointer service);
	void (*on_message)(NbhHubCall *call, const guint8 *data, gsize len, gpointer service);
	void (*on_gone)(NbhHubCall *call, gpointer service);
};

#endif
