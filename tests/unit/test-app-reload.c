#include "config.h"

#include <stdio.h>
#include <string.h>

#include <glib.h>

#include "app/reload.h"

static void compare(const struct nbh_config *now, const struct nbh_config *wanted, guint effects,
                    const char *changed, const char *waiting)
{
	NbhReload reload;

	nbh_reload_compare(now, wanted, &reload);
	g_assert_cmpuint(reload.effects, ==, effects);
	g_assert_cmpstr(reload.changed, ==, changed);
	g_assert_cmpstr(reload.waiting, ==, waiting);
	nbh_reload_clear(&reload);
}

static void test_nothing(void)
{
	struct nbh_config now, wanted;

	nbh_config_defaults(&now);
	wanted = now;
	compare(&now, &wanted, 0, "", "");

	/* What a longer value left behind the end of a text is no change. */
	memcpy(now.hostname + 2, "old", 4);
	memcpy(now.iface_blacklist[now.n_iface_blacklist], "gone", 5);
	compare(&now, &wanted, 0, "", "");
}

static void test_live(void)
{
	struct nbh_config now, wanted;

	nbh_config_defaults(&now);
	wanted = now;
	snprintf(wanted.management_url, sizeof(wanted.management_url), "http://b");
	snprintf(wanted.ca_file, sizeof(wanted.ca_file), "/ca");
	snprintf(wanted.client_cert_file, sizeof(wanted.client_cert_file), "/cert");
	snprintf(wanted.client_key_file, sizeof(wanted.client_key_file), "/key");
	snprintf(wanted.proxy, sizeof(wanted.proxy), "none");
	compare(&now, &wanted, NBH_RELOAD_SERVERS, "managementUrl, caFile, clientCertFile, clientKeyFile, proxy", "");
	wanted = now;
	snprintf(wanted.hostname, sizeof(wanted.hostname), "h");
	snprintf(wanted.log_level, sizeof(wanted.log_level), "debug");
	compare(&now, &wanted, NBH_RELOAD_FACTS | NBH_RELOAD_LOG, "hostname, logLevel", "");
	wanted = now;
	wanted.mtu = 1400;
	wanted.preshared_key.bytes[31] = 1;
	compare(&now, &wanted, NBH_RELOAD_DEVICE | NBH_RELOAD_PEERS, "mtu, presharedKey", "");
	wanted = now;
	snprintf(wanted.iface_blacklist[3], IFNAMSIZ, "other");
	compare(&now, &wanted, NBH_RELOAD_CANDIDATES, "interfaceBlacklist", "");
	wanted = now;
	wanted.n_iface_blacklist--;
	compare(&now, &wanted, NBH_RELOAD_CANDIDATES, "interfaceBlacklist", "");
}

static void test_waiting(void)
{
	struct nbh_config now, wanted;
	NbhReload reload;

	nbh_config_defaults(&now);
	wanted = now;
	snprintf(wanted.interface, sizeof(wanted.interface), "wg9");
	wanted.listen_port = 1;
	wanted.fwmark = 2;
	wanted.userspace = true;
	wanted.mtu = 1400;
	nbh_reload_compare(&now, &wanted, &reload);
	g_assert_cmpuint(reload.effects, ==, NBH_RELOAD_RESTART | NBH_RELOAD_DEVICE);
	g_assert_cmpstr(reload.waiting, ==, "interface, listenPort, fwmark, userspace");
	g_assert_cmpstr(reload.changed, ==, "mtu");

	/* What we go on with is as before, so that the next comparison finds the same. */
	g_assert_cmpstr(reload.config.interface, ==, now.interface);
	g_assert_cmpuint(reload.config.listen_port, ==, now.listen_port);
	g_assert_cmpuint(reload.config.fwmark, ==, 0);
	g_assert_false(reload.config.userspace);
	g_assert_cmpuint(reload.config.mtu, ==, 1400);
	now = reload.config;
	nbh_reload_clear(&reload);
	compare(&now, &wanted, NBH_RELOAD_RESTART, "", "interface, listenPort, fwmark, userspace");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/reload/nothing", test_nothing);
	g_test_add_func("/reload/live", test_live);
	g_test_add_func("/reload/waiting", test_waiting);
	return g_test_run();
}
