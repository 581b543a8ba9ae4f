/* config.json and device.json: what a reader takes must survive its own writer. */
#include "config.h"

#include "base/configfile.h"
#include "base/devicefile.h"

#include "tests/fuzz/fuzz.h"

static void fuzz_config(const char *text, size_t len)
{
	struct nbh_config config, again;
	struct nbh_why why = { "" };
	int r = nbh_configfile_parse(text, len, &config, &why);
	int dirfd;

	fuzz_check_why(r, &why);
	if (r < 0)
		return;

	dirfd = fuzz_file(NBH_CONFIGFILE_NAME, "", 0);
	fuzz_require(nbh_configfile_write(dirfd, &config, NULL) == 0);
	fuzz_require(nbh_configfile_read(dirfd, &again, NULL) == 0);
	fuzz_require(again.listen_port == config.listen_port && again.mtu == config.mtu &&
	             again.n_iface_blacklist == config.n_iface_blacklist &&
	             strcmp(again.management_url, config.management_url) == 0 &&
	             strcmp(again.hostname, config.hostname) == 0);
}

static void fuzz_device(const char *text, size_t len)
{
	struct nbh_device device;
	struct nbh_why why = { "" };
	int r = nbh_devicefile_parse(text, len, &device, &why);

	fuzz_check_why(r, &why);
	if (r < 0)
		return;

	fuzz_require(device.n_addresses >= 1 && device.n_addresses <= NBH_DEVICE_ADDRESSES_MAX);
	fuzz_require(device.mtu >= 576 && device.mtu <= 8192 && device.listen_port != 0);
	fuzz_require(device.interface[0] && !strchr(device.interface, '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_config(fuzz_chars(data), len);
	fuzz_device(fuzz_chars(data), len);
	return 0;
}
