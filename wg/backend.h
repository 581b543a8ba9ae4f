#ifndef NBH_WG_BACKEND_H
#define NBH_WG_BACKEND_H

/*
 * The seam to WireGuard and links, as low as it can be: read what is there, apply a plan. plan.c and
 * genlmsg.c are shared by all backends. libc only. One contract test runs on every backend.
 */

#include "base/devicefile.h"
#include "base/key.h"
#include "base/statusfile.h"
#include "base/why.h"

#include <stdbool.h>
#include <stdint.h>

struct wg_peer {
	struct nbh_key public_key;
	struct nbh_endpoint endpoint;
	uint16_t keepalive_s;
	const struct nbh_prefix *allowed_ips; /* sorted, masked */
	size_t n_allowed_ips;
	bool has_preshared_key;
	struct nbh_key preshared_key; /* only to compare; wiped by wg_dev_clear() */
	int64_t last_handshake_unix_ms;
	uint64_t rx_bytes, tx_bytes;
};

/*
 * What is there now. Three blocks: addresses, peers, and the prefixes of all peers (arena). Free
 * with wg_dev_clear(). A device that does not exist is all zeroes.
 */
struct wg_dev {
	bool exists, is_wireguard, is_up;
	uint32_t ifindex;
	bool has_private_key;
	struct nbh_key private_key; /* only to compare with ours; wiped by clear */
	char kind[16];              /* of the link: "wireguard", "tun", "bridge"; for messages */
	uint16_t listen_port;
	uint32_t fwmark, mtu;
	struct nbh_prefix *addresses;
	size_t n_addresses;
	struct wg_peer *peers; /* sorted by key */
	size_t n_peers;
	void *arena;
};
void wg_dev_clear(struct wg_dev *dev);

struct wg_plan; /* plan.h */

/*
 * One answer is checked per message sent; the first error stops and is returned. Errors that the
 * daemon tells apart: -EPROTONOSUPPORT (no such WireGuard here: module, program or /dev/net/tun
 * missing), -EADDRINUSE (the UDP port), -EPERM (capability). After any error the caller reads
 * again and makes a new plan: apply never rolls back.
 */
struct wg_backend {
	const char *name;
	/* Costs nothing on the system: no interface is made. */
	int (*open)(void **ret_ctx, const char *ifname, struct nbh_why *why);
	/* A missing interface is no error: ret_dev->exists is false then. */
	int (*read)(void *ctx, struct wg_dev *ret_dev, struct nbh_why *why);
	int (*apply)(void *ctx, const struct wg_plan *plan, struct nbh_why *why);
	void (*close)(void *ctx); /* NULL is fine; leaves the tunnels */
};

extern const struct wg_backend wg_backend_netlink, wg_backend_uapi, wg_backend_fake, wg_backend_dryrun;

#endif
