#ifndef NBH_WG_UAPIMSG_H
#define NBH_WG_UAPIMSG_H

#include "wg/devbuild.h"
#include "wg/plan.h"

#include <stdio.h>

/* Operations <-> the text of the cross-platform UAPI (wireguard.com/xplatform). No socket in here. */

/* Private key, port and fwmark of the plan; "" when it has none of them. The caller wipes buf. */
#define WG_UAPIMSG_DEVICE_MAX 160
void wg_uapimsg_device(const struct wg_plan *plan, char buf[WG_UAPIMSG_DEVICE_MAX]);

/* The peers' operations, without "set=1" and the closing empty line. */
void wg_uapimsg_peers(const struct wg_plan *plan, FILE *out);

/*
 * Adds one line "key=value" of an answer to get=1, without the newline; the text is cut in place.
 * "errno" goes to *ret_errno. 0, -ENOMEM or -EBADMSG. Unknown keys are skipped.
 */
struct wg_uapiparse {
	struct wg_peer *peer; /* borrowed: the last one */
	int64_t error;
};
int wg_uapimsg_parse(struct wg_uapiparse *parse, char *line, struct wg_devbuild *build);

#endif
