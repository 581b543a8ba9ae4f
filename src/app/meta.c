#include "config.h"

#include "app/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <glib-unix.h>

#include "base/limits.h"
#include "base/log.h"
#include "core/version.h"
#include "net/netmon.h"

/* poll(2) reports an exception on it with each sethostname(2): proc(5). */
#define HOSTNAME_FILE "/proc/sys/kernel/hostname"

struct _NbhHostFacts {
	struct utsname uts;
	char *os, *os_version;       /* owned */
	GPtrArray *addresses, *macs; /* char *, owned, NULL-terminated */
	int name_fd;                 /* -1: not watched */
	guint name_id;
	void (*on_change)(gpointer owner);
	gpointer owner;
};

static char *os_release(const char *const *lines, const char *key, const char *fallback)
{
	for (gsize i = 0; lines && lines[i]; i++) {
		const char *value;
		char *copy;
		gsize len;

		if (!g_str_has_prefix(lines[i], key) || lines[i][strlen(key)] != '=')
			continue;

		value = lines[i] + strlen(key) + 1;
		copy = g_strdup(*value == '"' ? value + 1 : value);
		len = strlen(copy);

		if (len > 0 && copy[len - 1] == '"')
			copy[len - 1] = '\0';

		return copy;
	}

	return g_strdup(fallback);
}

NbhHostFacts *nbh_host_facts_new(void)
{
	NbhHostFacts *facts = g_new0(NbhHostFacts, 1);
	g_autofree char *text = NULL;
	g_auto(GStrv) lines = NULL;

	if (g_file_get_contents("/etc/os-release", &text, NULL, NULL))
		lines = g_strsplit(text, "\n", 0);

	facts->name_fd = -1;
	facts->os = os_release((const char *const *)lines, "NAME", "Linux");
	facts->os_version = os_release((const char *const *)lines, "VERSION_ID", "");
	return facts;
}

static gboolean on_name(gint fd, GIOCondition condition, gpointer data)
{
	NbhHostFacts *facts = data;

	(void)fd;
	(void)condition;
	facts->on_change(facts->owner);
	return G_SOURCE_CONTINUE;
}

void nbh_host_facts_watch_name(NbhHostFacts *facts, void (*on_change)(gpointer owner), gpointer owner)
{
	facts->on_change = on_change;
	facts->owner = owner;
	facts->name_fd = open(HOSTNAME_FILE, O_RDONLY | O_CLOEXEC);

	if (facts->name_fd < 0)
		nbh_log(NBH_LOG_INFO, "app", "hostname-not-watched error=\"%s\"", g_strerror(errno));
	else
		facts->name_id = g_unix_fd_add(facts->name_fd, G_IO_PRI, on_name, facts);
}

void nbh_host_facts_free(NbhHostFacts *facts)
{
	if (!facts)
		return;

	if (facts->name_id)
		g_source_remove(facts->name_id);

	if (facts->name_fd >= 0)
		close(facts->name_fd);

	g_clear_pointer(&facts->addresses, g_ptr_array_unref);
	g_clear_pointer(&facts->macs, g_ptr_array_unref);
	g_free(facts->os);
	g_free(facts->os_version);
	g_free(facts);
}

/* Up, not loopback, not link-local, with a MAC, not our overlay's: as official clients report them. */
static gboolean is_reported(const NbhNetmonAddress *address, const struct nbh_config *config)
{
	return address->is_up && !address->is_loopback && address->mac[0] &&
	       !nbh_addr_is_link_local(&address->local.addr) &&
	       strcmp(address->interface, config->interface) != 0;
}

/* An address that was away is listed behind the others: the order says nothing. */
static gint by_address(gconstpointer a, gconstpointer b)
{
	const NbhNetmonAddress *one = a, *two = b;
	int order = memcmp(&one->local.addr, &two->local.addr, sizeof(one->local.addr));

	return order ? order : strcmp(one->interface, two->interface);
}

static void list_addresses(NbhHostFacts *facts, const struct nbh_config *config)
{
	g_autoptr(GArray) found = nbh_netmon_addresses();

	g_array_sort(found, by_address);
	g_clear_pointer(&facts->addresses, g_ptr_array_unref);
	g_clear_pointer(&facts->macs, g_ptr_array_unref);
	facts->addresses = g_ptr_array_new_with_free_func(g_free);
	facts->macs = g_ptr_array_new_with_free_func(g_free);

	for (guint i = 0; i < found->len && facts->addresses->len < NBH_HOST_ADDRESSES_MAX; i++) {
		const NbhNetmonAddress *address = &g_array_index(found, NbhNetmonAddress, i);
		struct nbh_prefix prefix = { address->local.addr, address->prefix_len };
		char text[NBH_PREFIX_TEXT_MAX];

		if (!is_reported(address, config))
			continue;

		g_ptr_array_add(facts->addresses, g_strdup(nbh_prefix_format(&prefix, text)));
		g_ptr_array_add(facts->macs, g_strdup(address->mac));
	}

	g_ptr_array_add(facts->addresses, NULL);
	g_ptr_array_add(facts->macs, NULL);
}

void nbh_host_facts_fill(NbhHostFacts *facts, const struct nbh_config *config, NbhMeta *ret_meta)
{
	if (uname(&facts->uts) < 0)
		memset(&facts->uts, 0, sizeof(facts->uts));

	list_addresses(facts, config);
	*ret_meta = (NbhMeta){
		.hostname = config->hostname[0] ? config->hostname : facts->uts.nodename,
		.go_os = "linux",
		.kernel = facts->uts.sysname,
		.core = facts->os_version,
		.platform = facts->uts.machine,
		.os = facts->os,
		.netbird_version = NBH_AGENT_VERSION,
		.kernel_version = facts->uts.release,
		.os_version = facts->os_version,
		.addresses = (const char *const *)facts->addresses->pdata,
		.macs = (const char *const *)facts->macs->pdata,
		/* What this version does not do yet is said, not hidden. */
		.disable_client_routes = TRUE,
		.disable_server_routes = TRUE,
		.disable_dns = TRUE,
		.disable_firewall = TRUE,
	};
}
