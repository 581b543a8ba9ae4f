#ifndef NBH_APP_ONESHOT_H
#define NBH_APP_ONESHOT_H

/* What the subcommands do at the servers and at netbird-ice without a running engine. */

#include "base/configfile.h"
#include "base/key.h"

#include <glib.h>

/*
 * Registers (or logs in again) and prints FQDN and address. setup_key may be NULL. What a start can
 * use goes into netmap.cache in dirfd; -1: nothing does. Exit code.
 */
int nbh_oneshot_login(int dirfd, const struct nbh_config *config, const struct nbh_key *private_key, const char *setup_key);
/* Deletes the peer at the server. Exit code. */
int nbh_oneshot_logout(const struct nbh_config *config, const struct nbh_key *private_key);
/* CLOSE_ALL to netbird-ice, if it runs. */
void nbh_oneshot_close_sessions(const char *dir);

#endif
