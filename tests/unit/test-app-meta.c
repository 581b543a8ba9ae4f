/* What we tell management about this host's addresses. The list of them is ours. */

#include "config.h"

#include "app/meta.h"
#include "base/limits.h"
#include "net/netmon.h"

static guint n_addresses;

/* In the place of net/netmon.c. */
GArray *nbh_netmon_addresses(void)
{
	GArray *list = g_array_new(FALSE, TRUE, sizeof(NbhNetmonAddress));

	for (guint i = 0; i < n_addresses; i++) {
		NbhNetmonAddress address = { .is_up = TRUE, .prefix_len = 24, .interface = "eth0", .mac = "02:00:00:00:00:01" };

		address.local.addr = (struct nbh_addr){ AF_INET, { 10, (guint8)(i >> 8), (guint8)i, 1 } };
		g_array_append_val(list, address);
	}
	return list;
}

static void test_limit(void)
{
	NbhHostFacts *facts = nbh_host_facts_new();
	struct nbh_config config;
	NbhMeta meta = { .hostname = NULL };

	nbh_config_defaults(&config);
	for (n_addresses = NBH_HOST_ADDRESSES_MAX - 1; n_addresses <= NBH_HOST_ADDRESSES_MAX + 1; n_addresses++) {
		const guint expected = MIN(n_addresses, NBH_HOST_ADDRESSES_MAX);

		nbh_host_facts_fill(facts, &config, &meta);
		g_assert_cmpuint(g_strv_length((char **)meta.addresses), ==, expected);
		g_assert_cmpuint(g_strv_length((char **)meta.macs), ==, expected);
	}
	nbh_host_facts_free(facts);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/app/meta/limit", test_limit);
	return g_test_run();
}
