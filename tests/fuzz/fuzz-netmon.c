/* netmon: events and lists of links and addresses from a kernel that says anything. */
#include "config.h"

#include "net/netmon.h"

#include "base/log.h"

#include "tests/fuzz/fake-netlink.h"

static void on_change(gpointer owner)
{
	(void)owner;
}

static void check(const NbhNetmonAddress *address)
{
	fuzz_require(address->local.interface == address->interface);
	fuzz_require(memchr(address->interface, '\0', sizeof(address->interface)));
	fuzz_require(memchr(address->mac, '\0', sizeof(address->mac)));
	fuzz_require(address->local.addr.family == AF_INET || address->local.addr.family == AF_INET6);
	fuzz_require(address->prefix_len <= (address->local.addr.family == AF_INET ? 32 : 128));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	NbhNetmon *netmon;
	GArray *addresses;

	/* The first byte says how many of the others are events. */
	size_t n, n_events = fuzz_byte(&data, &len);
	const uint8_t *events = fuzz_take(&data, &len, n_events, &n);

	nbh_log_set_level("error");
	fake_kernel(events, n);
	netmon = nbh_netmon_new(on_change, NULL, NULL);
	fuzz_require(netmon);
	g_main_context_iteration(NULL, FALSE);
	nbh_netmon_free(netmon);

	fake_kernel(data, len);
	addresses = nbh_netmon_addresses();
	for (guint i = 0; i < addresses->len; i++)
		check(&g_array_index(addresses, NbhNetmonAddress, i));
	g_array_unref(addresses);
	return 0;
}
