#include "config.h"

#include "app/dialing.h"

NbhDial *nbh_dialing_new(const struct nbh_config *config, GError **error)
{
	const NbhDialConfig dial = { .ca_file = config->ca_file,
		                     .cert_file = config->client_cert_file,
		                     .key_file = config->client_key_file,
		                     .proxy = config->proxy };
	NbhDial *made = nbh_dial_new(&dial, error);

	if (!made)
		g_prefix_error(error, "%s: ", NBH_CONFIGFILE_NAME);

	return made;
}
