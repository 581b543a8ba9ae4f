#ifndef NBH_HUB_LABEL_H
#define NBH_HUB_LABEL_H

/* From a host name to the DNS label of a peer, and its form for a taken label. netbird-hub.md 5.2. */

#include "base/addr.h"

#include <glib.h>

#define NBH_LABEL_MAX 63       /* RFC 1035 2.3.4 */
#define NBH_LABEL_PLAIN_MAX 55 /* leaves room for "-255-255" */

/* FALSE: nothing usable is left ("", "...", not UTF-8). */
gboolean nbh_label_from_hostname(const char *hostname, char ret_label[NBH_LABEL_MAX + 1]);
/* "web" and 100.70.3.4 make "web-3-4", which is unique as long as addresses are. */
void nbh_label_with_address(const char *label, const struct nbh_addr *ip, char ret_label[NBH_LABEL_MAX + 1]);

#endif
