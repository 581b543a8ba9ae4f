#include "config.h"

#include "wg/policy.h"

#include "base/macros.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * A device address with a shorter prefix would swallow the Internet: its network is what peers may
 * have, and the kernel adds a route for it.
 */
#define OVERLAY_LEN_MIN_V4 8
#define OVERLAY_LEN_MIN_V6 16

bool wg_policy_is_ifname(const char *text)
{
	size_t len = strlen(text);

	if (len < 1 || len >= IFNAMSIZ || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
		return false;

	return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == len;
}

static bool is_inside(const struct nbh_prefix *inner, const struct nbh_prefix *outer)
{
	return outer->len <= inner->len && nbh_prefix_contains(outer, &inner->addr);
}

static bool is_allowed_by_option(const struct wg_policy *policy, const struct nbh_prefix *prefix)
{
	for (size_t i = 0; i < policy->n_allow_prefixes; i++)
		if (is_inside(prefix, &policy->allow_prefixes[i]))
			return true;
	return false;
}

static int check_address(const struct wg_policy *policy, const struct nbh_prefix *address,
                         struct nbh_why *why)
{
	unsigned min = address->addr.family == AF_INET ? OVERLAY_LEN_MIN_V4 : OVERLAY_LEN_MIN_V6;
	char text[NBH_PREFIX_TEXT_MAX];

	nbh_prefix_format(address, text);
	if (nbh_addr_is_unspecified(&address->addr) || nbh_addr_is_loopback(&address->addr) ||
	    nbh_addr_is_multicast(&address->addr)) {
		nbh_why_set(why, "device.json: addresses: %s is no address for an interface", text);
		return -EPERM;
	}

	if (address->len >= min || policy->allow_default_route ||
	    is_allowed_by_option(policy, address))
		return 0;

	nbh_why_set(why, "device.json: addresses: %s: prefix shorter than /%u; --allow-prefix allows it",
	            text, min);
	return -EPERM;
}

int wg_policy_device(const struct wg_policy *policy, const struct nbh_device *device,
                     struct nbh_why *why)
{
	if (!wg_policy_is_ifname(device->interface)) {
		nbh_why_set(why, "device.json: interface: not a name of 1 to 15 letters, digits, '_', '.'"
		            " and '-'");
		return -EPERM;
	}

	if (policy->interface[0] && strcmp(policy->interface, device->interface) != 0) {
		nbh_why_set(why, "device.json: interface: \"%s\", but --interface allows only \"%s\"",
		            device->interface, policy->interface);
		return -EPERM;
	}

	for (size_t i = 0; i < device->n_addresses; i++) {
		int r = check_address(policy, &device->addresses[i], why);

		if (r < 0)
			return r;
	}

	return 0;
}

/* 127.1.0.0/16 carries relayed and idle peers, 127.2.0.0/16 TURN: architecture.md section 2. */
static bool is_our_loopback(const struct nbh_addr *addr)
{
	return addr->family == AF_INET && addr->bytes[0] == 127 &&
	       (addr->bytes[1] == 1 || addr->bytes[1] == 2);
}

static const char *endpoint_wrong(const struct nbh_endpoint *endpoint)
{
	if (!nbh_endpoint_is_set(endpoint))
		return NULL;

	if (endpoint->port == 0)
		return "port 0";

	if (nbh_addr_is_unspecified(&endpoint->addr))
		return "unspecified address";

	if (nbh_addr_is_multicast(&endpoint->addr))
		return "multicast or broadcast address";

	if (nbh_addr_is_loopback(&endpoint->addr) && !is_our_loopback(&endpoint->addr))
		return "loopback outside 127.1.0.0/16 and 127.2.0.0/16";

	return NULL;
}

static const char *prefix_wrong(const struct wg_policy *policy, const struct nbh_device *device,
                                const struct nbh_prefix *prefix)
{
	if (prefix->len == 0)
		return policy->allow_default_route ? NULL : "a default route needs --allow-default-route";

	if (is_allowed_by_option(policy, prefix))
		return NULL;

	for (size_t i = 0; i < device->n_addresses; i++) {
		struct nbh_prefix overlay = nbh_prefix_masked(&device->addresses[i]);

		if (is_inside(prefix, &overlay))
			return NULL;
	}

	return "outside the overlay networks of device.json; --allow-prefix allows it";
}

static void name_peer(const struct nbh_peersfile_peer *peer, struct nbh_why *why)
{
	nbh_why_prefix(why, "peers.json: peer %.8s (%.30s)", nbh_key_format(&peer->public_key).text,
	               peer->id);
}

static int check_peer(const struct wg_policy *policy, const struct nbh_device *device,
                      const struct nbh_key *own_public_key, const struct nbh_peersfile_peer *peer,
                      struct nbh_why *why)
{
	char text[NBH_ENDPOINT_TEXT_MAX];
	const char *wrong;

	if (own_public_key && nbh_key_compare(&peer->public_key, own_public_key) == 0) {
		nbh_why_set(why, "publicKey: this is our own key");
		return -EPERM;
	}

	wrong = endpoint_wrong(&peer->endpoint);
	if (wrong) {
		nbh_why_set(why, "endpoint: %s: %s", nbh_endpoint_format(&peer->endpoint, text), wrong);
		return -EPERM;
	}

	for (size_t i = 0; i < peer->n_allowed_ips; i++) {
		wrong = prefix_wrong(policy, device, &peer->allowed_ips[i]);
		if (wrong) {
			nbh_why_set(why, "allowedIPs: %s: %s",
			            nbh_prefix_format(&peer->allowed_ips[i], text), wrong);
			return -EPERM;
		}
	}

	return 0;
}

struct claim {
	struct nbh_prefix prefix;
	const struct nbh_peersfile_peer *peer;
};

static int by_prefix(const void *a, const void *b)
{
	return nbh_prefix_compare(&((const struct claim *)a)->prefix, &((const struct claim *)b)->prefix);
}

/* The kernel would silently give the prefix to the one that comes last. */
static int check_claims(const struct nbh_peersfile *peers, struct nbh_why *why)
{
	nbh_cleanup_free struct claim *claims = NULL;
	size_t n = 0;

	for (size_t i = 0; i < peers->n_peers; i++)
		n += peers->peers[i].n_allowed_ips;

	claims = calloc(n ? n : 1, sizeof(*claims));
	if (!claims) {
		nbh_why_set(why, "peers.json: out of memory");
		return -ENOMEM;
	}

	n = 0;
	for (size_t i = 0; i < peers->n_peers; i++)
		for (size_t j = 0; j < peers->peers[i].n_allowed_ips; j++)
			claims[n++] = (struct claim){ peers->peers[i].allowed_ips[j], &peers->peers[i] };

	qsort(claims, n, sizeof(*claims), by_prefix);
	for (size_t i = 1; i < n; i++) {
		char text[NBH_PREFIX_TEXT_MAX];

		if (by_prefix(&claims[i - 1], &claims[i]) != 0)
			continue;

		nbh_why_set(why, "allowedIPs: %s is also at peer %.8s (%.30s)",
		            nbh_prefix_format(&claims[i].prefix, text),
		            nbh_key_format(&claims[i - 1].peer->public_key).text, claims[i - 1].peer->id);
		name_peer(claims[i].peer, why);
		return -EPERM;
	}

	return 0;
}

int wg_policy_peers(const struct wg_policy *policy, const struct nbh_device *device,
                    const struct nbh_key *own_public_key, const struct nbh_peersfile *peers,
                    struct nbh_why *why)
{
	for (size_t i = 0; i < peers->n_peers; i++) {
		int r = check_peer(policy, device, own_public_key, &peers->peers[i], why);

		if (r < 0) {
			name_peer(&peers->peers[i], why);
			return r;
		}
	}

	return check_claims(peers, why);
}
