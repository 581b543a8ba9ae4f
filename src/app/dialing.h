#ifndef NBH_APP_DIALING_H
#define NBH_APP_DIALING_H

/* config.json's caFile, clientCertFile, clientKeyFile and proxy as what connections are made with. */

#include "base/configfile.h"
#include "net/dial.h"

/* NULL: a setting cannot be used; the error names its key. */
NbhDial *nbh_dialing_new(const struct nbh_config *config, GError **error);

#endif
