#include "config.h"

#include "base/devicefile.h"

#include "base/atomicfile.h"
#include "base/json.h"
#include "base/schema.h"

#include <errno.h>
#include <string.h>

#define MTU_DEFAULT 1280
#define MTU_MIN 576 /* RFC 791: what every host must take */
#define MTU_MAX 8192
#define DEVICEFILE_MODE 0644

static int read_interface(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_device *device = out;

	return nbh_schema_ifname(value, device->interface, why);
}

static int read_address(const struct nbh_json_value *value, struct nbh_device *device,
                        struct nbh_why *why)
{
	const char *text = nbh_json_string(value);
	struct nbh_prefix prefix;

	if (!text)
		return nbh_schema_fail(why, "must be text");

	if (nbh_prefix_parse(text, &prefix) < 0)
		return nbh_schema_fail(why, "must be ADDRESS/LENGTH, for example 100.64.1.2/16");

	if (nbh_addr_is_unspecified(&prefix.addr) || nbh_addr_is_multicast(&prefix.addr))
		return nbh_schema_fail(why, "no address that a host can have");

	for (size_t i = 0; i < device->n_addresses; i++) {
		if (nbh_addr_equal(&device->addresses[i].addr, &prefix.addr))
			return nbh_schema_fail(why, "the same address as [%zu]", i);
	}

	device->addresses[device->n_addresses++] = prefix;
	return 0;
}

static int read_addresses(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_device *device = out;
	size_t n = nbh_json_length(value);

	if (!nbh_json_is_array(value))
		return nbh_schema_fail(why, "must be an array");

	if (n < 1 || n > NBH_DEVICE_ADDRESSES_MAX)
		return nbh_schema_fail(why, "%zu addresses; 1 to %d are accepted", n,
		                       NBH_DEVICE_ADDRESSES_MAX);

	for (size_t i = 0; i < n; i++) {
		int r = read_address(nbh_json_at(value, i), device, why);

		if (r < 0)
			return nbh_schema_element(r, i, why);
	}

	return 0;
}

static int read_mtu(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_device *device = out;
	int64_t n;
	int r = nbh_schema_int(value, MTU_MIN, MTU_MAX, &n, why);

	if (r == 0)
		device->mtu = (uint32_t)n;

	return r;
}

static int read_listen_port(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_device *device = out;
	int64_t n;
	int r = nbh_schema_int(value, 1, UINT16_MAX, &n, why);

	if (r == 0)
		device->listen_port = (uint16_t)n;

	return r;
}

static int read_fwmark(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_device *device = out;
	int64_t n;
	int r = nbh_schema_int(value, 0, UINT32_MAX, &n, why);

	if (r == 0)
		device->fwmark = (uint32_t)n;

	return r;
}

static int read_userspace(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_device *device = out;

	return nbh_schema_bool(value, &device->userspace, why);
}

static const struct nbh_schema_field device_fields[] = {
	{ "interface", true, read_interface },    { "addresses", true, read_addresses },
	{ "mtu", false, read_mtu },               { "listenPort", true, read_listen_port },
	{ "fwmark", false, read_fwmark },         { "userspace", false, read_userspace },
};

int nbh_devicefile_parse(const char *text, size_t len, struct nbh_device *ret_device,
                         struct nbh_why *why)
{
	struct nbh_device device = { .mtu = MTU_DEFAULT };
	int r = nbh_schema_file(NBH_DEVICEFILE_NAME, text, len, device_fields,
	                        NBH_N_ELEMENTS(device_fields), &device, why);

	if (r == 0)
		*ret_device = device;

	return r;
}

int nbh_devicefile_read(int dirfd, struct nbh_device *ret_device, struct nbh_why *why)
{
	nbh_cleanup_free char *text = NULL;
	size_t len;
	int r = nbh_trustedfile_read(dirfd, NBH_DEVICEFILE_NAME, NBH_DEVICEFILE_MAX_BYTES, &text, &len,
	                             why);

	return r < 0 ? r : nbh_devicefile_parse(text, len, ret_device, why);
}

static char *format(const struct nbh_device *device, size_t *ret_len)
{
	struct nbh_jsonw *w = nbh_jsonw_new();
	char text[NBH_PREFIX_TEXT_MAX];

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_string(w, "interface", device->interface);
	nbh_jsonw_array(w, "addresses");

	for (size_t i = 0; i < device->n_addresses; i++)
		nbh_jsonw_string(w, NULL, nbh_prefix_format(&device->addresses[i], text));

	nbh_jsonw_close(w);
	nbh_jsonw_uint(w, "mtu", device->mtu);
	nbh_jsonw_uint(w, "listenPort", device->listen_port);
	nbh_jsonw_uint(w, "fwmark", device->fwmark);

	if (device->userspace)
		nbh_jsonw_bool(w, "userspace", true);

	return nbh_jsonw_end(w, ret_len);
}

int nbh_devicefile_write(int dirfd, const struct nbh_device *device, struct nbh_why *why)
{
	nbh_cleanup_free char *old = NULL;
	nbh_cleanup_free char *text = NULL;
	size_t old_len, len;

	text = format(device, &len);

	if (!text) {
		nbh_why_set(why, "%s: out of memory", NBH_DEVICEFILE_NAME);
		return -ENOMEM;
	}

	if (nbh_trustedfile_read(dirfd, NBH_DEVICEFILE_NAME, NBH_DEVICEFILE_MAX_BYTES, &old, &old_len,
	                         NULL) == 0 &&
	    old_len == len && memcmp(old, text, len) == 0)
		return 0;

	return nbh_atomicfile_write(dirfd, NBH_DEVICEFILE_NAME, text, len, DEVICEFILE_MODE, 0, why);
}
