#ifndef NBH_CORE_VERSION_H
#define NBH_CORE_VERSION_H

#include <glib.h>
#include <string.h>

/*
 * The text that official servers compare and hand to other peers. It stays the same over our
 * releases: any change makes every official peer rebuild its connection. By it two helpers know
 * each other. architecture.md section 5, netbird-wire.md 2.7.
 */
#define NBH_AGENT_VERSION "0.77.1+nbh"

static inline gboolean nbh_version_is_helper(const char *agent_version)
{
	return agent_version && strcmp(agent_version, NBH_AGENT_VERSION) == 0;
}

#endif
