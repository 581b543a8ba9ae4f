#ifndef NBH_WIRE_ERROR_H
#define NBH_WIRE_ERROR_H

/* What can be wrong with received bytes. The text names the field and what was wrong with it. */

#include <glib.h>

typedef enum {
	NBH_WIRE_MALFORMED = 1, /* does not parse, or a field that is needed cannot be used */
	NBH_WIRE_SEALED, /* the box does not open: another key (a restarted server), or forged */
	NBH_WIRE_LIMIT,	 /* larger than base/limits.h allows */
	NBH_WIRE_UNSUPPORTED, /* understood, but in a form that we never asked for */
} NbhWireError;

#define NBH_WIRE_ERROR (nbh_wire_error_quark())
GQuark nbh_wire_error_quark(void);

#endif
