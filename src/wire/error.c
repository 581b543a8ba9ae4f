#include "config.h"

#include "wire/error.h"

G_DEFINE_QUARK(nbh - wire - error - quark, nbh_wire_error)
