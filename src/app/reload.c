#include "config.h"

#include "app/reload.h"

#include <stddef.h>
#include <string.h>

typedef struct {
	const char *name;
	gsize offset, size;
	gboolean is_text; /* behind its end there may be anything */
	NbhReloadEffect effect;
} Field;

#define FIELD(name, member, is_text, effect) \
	{ name, offsetof(struct nbh_config, member), sizeof(((struct nbh_config *)NULL)->member), is_text, effect }

static const Field fields[] = {
	FIELD("managementUrl", management_url, TRUE, NBH_RELOAD_SERVERS),
	FIELD("caFile", ca_file, TRUE, NBH_RELOAD_SERVERS),
	FIELD("clientCertFile", client_cert_file, TRUE, NBH_RELOAD_SERVERS),
	FIELD("clientKeyFile", client_key_file, TRUE, NBH_RELOAD_SERVERS),
	FIELD("proxy", proxy, TRUE, NBH_RELOAD_SERVERS),
	FIELD("hostname", hostname, TRUE, NBH_RELOAD_FACTS),
	FIELD("interface", interface, TRUE, NBH_RELOAD_RESTART),
	FIELD("listenPort", listen_port, FALSE, NBH_RELOAD_RESTART),
	FIELD("mtu", mtu, FALSE, NBH_RELOAD_DEVICE),
	FIELD("fwmark", fwmark, FALSE, NBH_RELOAD_RESTART),
	FIELD("userspace", userspace, FALSE, NBH_RELOAD_RESTART),
	FIELD("presharedKey", preshared_key, FALSE, NBH_RELOAD_PEERS),
	FIELD("interfaceBlacklist", iface_blacklist, FALSE, NBH_RELOAD_CANDIDATES),
	FIELD("logLevel", log_level, TRUE, NBH_RELOAD_LOG),
};

static gboolean is_same_blacklist(const struct nbh_config *a, const struct nbh_config *b)
{
	if (a->n_iface_blacklist != b->n_iface_blacklist)
		return FALSE;

	for (gsize i = 0; i < a->n_iface_blacklist; i++)
		if (strcmp(a->iface_blacklist[i], b->iface_blacklist[i]) != 0)
			return FALSE;

	return TRUE;
}

static gboolean is_same(const Field *field, const struct nbh_config *a, const struct nbh_config *b)
{
	const char *one = (const char *)a + field->offset, *two = (const char *)b + field->offset;

	if (field->effect == NBH_RELOAD_CANDIDATES)
		return is_same_blacklist(a, b);

	return field->is_text ? strcmp(one, two) == 0 : memcmp(one, two, field->size) == 0;
}

void nbh_reload_compare(const struct nbh_config *now, const struct nbh_config *wanted, NbhReload *ret_reload)
{
	g_autoptr(GString) changed = g_string_new(NULL);
	g_autoptr(GString) waiting = g_string_new(NULL);
	NbhReload reload = { .config = *wanted };

	for (gsize i = 0; i < G_N_ELEMENTS(fields); i++) {
		const Field *field = &fields[i];
		gboolean waits = field->effect == NBH_RELOAD_RESTART;
		GString *list = waits ? waiting : changed;

		if (is_same(field, now, wanted))
			continue;

		reload.effects |= field->effect;
		g_string_append_printf(list, "%s%s", list->len ? ", " : "", field->name);

		if (waits)
			memcpy((char *)&reload.config + field->offset, (const char *)now + field->offset, field->size);
	}

	reload.changed = g_strdup(changed->str);
	reload.waiting = g_strdup(waiting->str);
	*ret_reload = reload;
}

void nbh_reload_clear(NbhReload *reload)
{
	g_free(reload->changed);
	g_free(reload->waiting);
	nbh_key_wipe(&reload->config.preshared_key);
	*reload = (NbhReload){ .effects = 0 };
}
