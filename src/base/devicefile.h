#ifndef NBH_BASE_DEVICEFILE_H
#define NBH_BASE_DEVICEFILE_H

#include "base/addr.h"
#include "base/limits.h"
#include "base/why.h"

#include <net/if.h>
#include <stdbool.h>

/* device.json: netbird-device.json(5), architecture.md section 6. */
struct nbh_device {
	char interface[IFNAMSIZ];
	struct nbh_prefix addresses[NBH_DEVICE_ADDRESSES_MAX]; /* host bits kept: the overlay address */
	size_t n_addresses;
	uint32_t mtu;         /* 576..8192; 1280 when absent */
	uint16_t listen_port; /* 1..65535 */
	uint32_t fwmark;      /* 0: none */
	bool userspace;       /* start wireguard-go; never chosen silently */
};

#define NBH_DEVICEFILE_NAME "device.json"

/* 0, -ENOENT, or another -errno with "device.json: listenPort: ..." in why. ret_device untouched on failure. */
int nbh_devicefile_read(int dirfd, struct nbh_device *ret_device, struct nbh_why *why);
int nbh_devicefile_parse(const char *text, size_t len, struct nbh_device *ret_device, struct nbh_why *why);
/* Skips the write when the bytes are equal to what is there. Mode 0644. */
int nbh_devicefile_write(int dirfd, const struct nbh_device *device, struct nbh_why *why);

#endif
