#ifndef NBH_WIRE_HOSTPORT_H
#define NBH_WIRE_HOSTPORT_H

/* "host:port" as servers write it in signal, STUN and TURN addresses. Inside of src/wire only. */

#include <glib.h>

/*
 * Names, IPv4 literals and IPv6 literals in brackets (which are taken off). default_port 0: the
 * port must be there. FALSE: not of this form, or longer than host_size.
 */
gboolean nbh_hostport_parse(const char *text, gsize len, guint16 default_port, char *ret_host,
			    gsize host_size, guint16 *ret_port);

#endif
