#include "config.h"

#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define V4_BITS 32
#define V6_BITS 128
#define MAPPED_BITS 96 /* RFC 4291 2.5.5.2: ::ffff:0:0/96 */

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static unsigned addr_bits(const struct nbh_addr *addr)
{
	return addr->family == AF_INET ? V4_BITS : addr->family == AF_INET6 ? V6_BITS : 0;
}

static struct nbh_addr addr_from_v4(const void *bytes)
{
	struct nbh_addr addr = { .family = AF_INET };

	memcpy(addr.bytes, bytes, 4);
	return addr;
}

/* One address has one form: a v4-mapped one is IPv4. */
static struct nbh_addr addr_from_v6(const uint8_t bytes[16])
{
	struct nbh_addr addr = { .family = AF_INET6 };

	if (memcmp(bytes, mapped, sizeof(mapped)) == 0)
		return addr_from_v4(bytes + sizeof(mapped));

	memcpy(addr.bytes, bytes, 16);
	return addr;
}

/* Decimal without sign, blanks or leading zeros; -1 if it is anything else or above max. */
static long parse_decimal(const char *text, long max)
{
	long value = 0;

	if (!*text || (text[0] == '0' && text[1]))
		return -1;

	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -1;

		value = value * 10 + (*text - '0');

		if (value > max)
			return -1;
	}

	return value;
}

int nbh_addr_parse(const char *text, struct nbh_addr *ret_addr)
{
	uint8_t bytes[16];

	if (inet_pton(AF_INET, text, bytes) == 1)
		*ret_addr = addr_from_v4(bytes);
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		*ret_addr = addr_from_v6(bytes);
	else
		return -EINVAL;

	return 0;
}

/* len counts in the family that was written, was_v6: before a v4-mapped address became IPv4. */
static int prefix_make(const struct nbh_addr *addr, bool was_v6, unsigned len,
                       struct nbh_prefix *ret_prefix)
{
	if (was_v6 && addr->family == AF_INET) {
		if (len < MAPPED_BITS)
			return -EINVAL;

		len -= MAPPED_BITS;
	}

	if (len > addr_bits(addr))
		return -EINVAL;

	*ret_prefix = (struct nbh_prefix){ .addr = *addr, .len = (uint8_t)len };
	return 0;
}

int nbh_prefix_parse(const char *text, struct nbh_prefix *ret_prefix)
{
	const char *slash = strchr(text, '/');
	char copy[NBH_ADDR_TEXT_MAX];
	struct nbh_addr addr;
	size_t n;
	long len;

	if (!slash)
		return -EINVAL;

	n = (size_t)(slash - text);

	if (n >= sizeof(copy))
		return -EINVAL;

	memcpy(copy, text, n);
	copy[n] = '\0';
	len = parse_decimal(slash + 1, V6_BITS);

	if (len < 0 || nbh_addr_parse(copy, &addr) < 0)
		return -EINVAL;

	return prefix_make(&addr, strchr(copy, ':') != NULL, (unsigned)len, ret_prefix);
}

int nbh_endpoint_parse(const char *text, struct nbh_endpoint *ret_endpoint)
{
	char copy[NBH_ADDR_TEXT_MAX];
	struct nbh_endpoint endpoint = { 0 };
	bool v6 = text[0] == '[';
	const char *end = v6 ? strstr(text, "]:") : strchr(text, ':');
	const char *start = text + v6;
	long port;

	if (!end || (size_t)(end - start) >= sizeof(copy))
		return -EINVAL;

	memcpy(copy, start, (size_t)(end - start));
	copy[end - start] = '\0';

	if (v6 != (strchr(copy, ':') != NULL) || nbh_addr_parse(copy, &endpoint.addr) < 0)
		return -EINVAL;

	port = parse_decimal(end + (v6 ? 2 : 1), UINT16_MAX);

	if (port < 1)
		return -EINVAL;

	endpoint.port = (uint16_t)port;
	*ret_endpoint = endpoint;
	return 0;
}

const char *nbh_addr_format(const struct nbh_addr *addr, char buf[NBH_ADDR_TEXT_MAX])
{
	if (!addr_bits(addr) || !inet_ntop(addr->family, addr->bytes, buf, NBH_ADDR_TEXT_MAX))
		buf[0] = '\0';

	return buf;
}

const char *nbh_prefix_format(const struct nbh_prefix *prefix, char buf[NBH_PREFIX_TEXT_MAX])
{
	char addr[NBH_ADDR_TEXT_MAX];

	nbh_addr_format(&prefix->addr, addr);

	if (addr[0])
		snprintf(buf, NBH_PREFIX_TEXT_MAX, "%s/%u", addr, prefix->len);
	else
		buf[0] = '\0';

	return buf;
}

const char *nbh_endpoint_format(const struct nbh_endpoint *endpoint, char buf[NBH_ENDPOINT_TEXT_MAX])
{
	char addr[NBH_ADDR_TEXT_MAX];

	nbh_addr_format(&endpoint->addr, addr);
	buf[0] = '\0';

	if (addr[0] && endpoint->addr.family == AF_INET6)
		snprintf(buf, NBH_ENDPOINT_TEXT_MAX, "[%s]:%u", addr, endpoint->port);
	else if (addr[0])
		snprintf(buf, NBH_ENDPOINT_TEXT_MAX, "%s:%u", addr, endpoint->port);

	return buf;
}

bool nbh_addr_equal(const struct nbh_addr *a, const struct nbh_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int nbh_addr_compare(const struct nbh_addr *a, const struct nbh_addr *b)
{
	return memcmp(a, b, sizeof(*a)); /* family is the first byte */
}

int nbh_prefix_compare(const struct nbh_prefix *a, const struct nbh_prefix *b)
{
	int r = nbh_addr_compare(&a->addr, &b->addr);

	return r ? r : (int)a->len - (int)b->len;
}

bool nbh_endpoint_equal(const struct nbh_endpoint *a, const struct nbh_endpoint *b)
{
	return a->port == b->port && nbh_addr_equal(&a->addr, &b->addr);
}

bool nbh_endpoint_is_set(const struct nbh_endpoint *endpoint)
{
	return endpoint->addr.family != 0;
}

bool nbh_prefix_contains(const struct nbh_prefix *prefix, const struct nbh_addr *addr)
{
	unsigned whole = prefix->len / 8, rest = prefix->len % 8, bits = addr_bits(&prefix->addr);
	uint8_t mask = (uint8_t)(0xff00u >> rest);

	if (!bits || prefix->addr.family != addr->family || prefix->len > bits)
		return false;

	if (memcmp(prefix->addr.bytes, addr->bytes, whole) != 0)
		return false;

	return rest == 0 || ((prefix->addr.bytes[whole] ^ addr->bytes[whole]) & mask) == 0;
}

bool nbh_prefixes_contain(const struct nbh_prefix *prefixes, size_t n, const struct nbh_addr *addr)
{
	for (size_t i = 0; i < n; i++)
		if (nbh_prefix_contains(&prefixes[i], addr))
			return true;

	return false;
}

struct nbh_prefix nbh_prefix_masked(const struct nbh_prefix *prefix)
{
	struct nbh_prefix masked = *prefix;
	unsigned whole = prefix->len / 8, rest = prefix->len % 8;

	for (unsigned i = whole; i < sizeof(masked.addr.bytes); i++) {
		if (i == whole && rest)
			masked.addr.bytes[i] &= (uint8_t)(0xff00u >> rest);
		else
			masked.addr.bytes[i] = 0;
	}

	return masked;
}

bool nbh_addr_is_unspecified(const struct nbh_addr *addr)
{
	static const uint8_t zero[sizeof(addr->bytes)];

	return memcmp(addr->bytes, zero, sizeof(zero)) == 0;
}

bool nbh_addr_is_loopback(const struct nbh_addr *addr)
{
	if (addr->family == AF_INET)
		return addr->bytes[0] == 127;

	return addr->family == AF_INET6 && memcmp(addr->bytes, &in6addr_loopback, 16) == 0;
}

bool nbh_addr_is_multicast(const struct nbh_addr *addr)
{
	static const uint8_t broadcast[4] = { 255, 255, 255, 255 };

	if (addr->family == AF_INET)
		return (addr->bytes[0] & 0xf0) == 0xe0 || memcmp(addr->bytes, broadcast, 4) == 0;

	return addr->family == AF_INET6 && addr->bytes[0] == 0xff;
}

bool nbh_addr_is_link_local(const struct nbh_addr *addr)
{
	if (addr->family == AF_INET)
		return addr->bytes[0] == 169 && addr->bytes[1] == 254;

	return addr->family == AF_INET6 && addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

const char *nbh_addr_unfit(const struct nbh_addr *addr)
{
	static const uint8_t zero[12];

	if (nbh_addr_is_unspecified(addr))
		return "unspecified";

	if (nbh_addr_is_loopback(addr))
		return "loopback";

	if (nbh_addr_is_multicast(addr))
		return "multicast or broadcast";

	if (nbh_addr_is_link_local(addr))
		return "link-local";

	/* RFC 1122 3.2.1.3 (this network), RFC 1112 4 (reserved), RFC 4291 2.5.5.1 (IPv4-compatible). */
	if (addr->family == AF_INET)
		return addr->bytes[0] == 0 || addr->bytes[0] >= 240 ? "reserved" : NULL;

	return memcmp(addr->bytes, zero, sizeof(zero)) == 0 ? "reserved" : NULL;
}

int nbh_prefix_from_compact(const uint8_t *bytes, size_t len, struct nbh_prefix *ret_prefix)
{
	struct nbh_addr addr;

	if (len == 5)
		addr = addr_from_v4(bytes);
	else if (len == 17)
		addr = addr_from_v6(bytes);
	else
		return -EINVAL;

	return prefix_make(&addr, len == 17, bytes[len - 1], ret_prefix);
}

socklen_t nbh_endpoint_to_sockaddr(const struct nbh_endpoint *endpoint, struct sockaddr_storage *ret_sa)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)ret_sa;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ret_sa;

	memset(ret_sa, 0, sizeof(*ret_sa));

	switch (endpoint->addr.family) {
	case AF_INET:
		sin->sin_family = AF_INET;
		sin->sin_port = htons(endpoint->port);
		memcpy(&sin->sin_addr, endpoint->addr.bytes, 4);
		return sizeof(*sin);
	case AF_INET6:
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(endpoint->port);
		memcpy(&sin6->sin6_addr, endpoint->addr.bytes, 16);
		return sizeof(*sin6);
	default:
		return 0;
	}
}

int nbh_endpoint_from_sockaddr(const struct sockaddr *sa, struct nbh_endpoint *ret_endpoint)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)sa;
	struct nbh_endpoint endpoint = { 0 };

	switch (sa->sa_family) {
	case AF_INET:
		endpoint.addr = addr_from_v4(&sin->sin_addr);
		endpoint.port = ntohs(sin->sin_port);
		break;
	case AF_INET6:
		endpoint.addr = addr_from_v6(sin6->sin6_addr.s6_addr);
		endpoint.port = ntohs(sin6->sin6_port);
		break;
	default:
		return -EINVAL;
	}

	*ret_endpoint = endpoint;
	return 0;
}
