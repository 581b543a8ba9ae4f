#ifndef NBH_BASE_ADDR_H
#define NBH_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* family is AF_INET or AF_INET6; 0 means "none". Unused bytes are zero, so memcmp compares. */
struct nbh_addr {
	uint8_t family;
	uint8_t bytes[16];
};

struct nbh_prefix {
	struct nbh_addr addr;
	uint8_t len;
};

/* port in host order. */
struct nbh_endpoint {
	struct nbh_addr addr;
	uint16_t port;
};

#define NBH_ADDR_TEXT_MAX 46     /* INET6_ADDRSTRLEN */
#define NBH_PREFIX_TEXT_MAX 50
#define NBH_ENDPOINT_TEXT_MAX 56 /* "[v6]:65535" */

/* Literals only, no names, no zone. v4-mapped IPv6 becomes IPv4. All return 0 or -EINVAL. */
int nbh_addr_parse(const char *text, struct nbh_addr *ret_addr);
int nbh_prefix_parse(const char *text, struct nbh_prefix *ret_prefix); /* host bits are kept; "/len" required */
int nbh_endpoint_parse(const char *text, struct nbh_endpoint *ret_endpoint); /* "1.2.3.4:5", "[::1]:5"; port 1-65535 */

/* Each returns buf. A "none" becomes "". */
const char *nbh_addr_format(const struct nbh_addr *addr, char buf[NBH_ADDR_TEXT_MAX]);
const char *nbh_prefix_format(const struct nbh_prefix *prefix, char buf[NBH_PREFIX_TEXT_MAX]);
const char *nbh_endpoint_format(const struct nbh_endpoint *endpoint, char buf[NBH_ENDPOINT_TEXT_MAX]);

bool nbh_addr_equal(const struct nbh_addr *a, const struct nbh_addr *b);
int nbh_addr_compare(const struct nbh_addr *a, const struct nbh_addr *b);
int nbh_prefix_compare(const struct nbh_prefix *a, const struct nbh_prefix *b);
bool nbh_endpoint_equal(const struct nbh_endpoint *a, const struct nbh_endpoint *b);
bool nbh_endpoint_is_set(const struct nbh_endpoint *endpoint);
bool nbh_prefix_contains(const struct nbh_prefix *prefix, const struct nbh_addr *addr);
bool nbh_prefixes_contain(const struct nbh_prefix *prefixes, size_t n, const struct nbh_addr *addr); /* family 0: nothing */
struct nbh_prefix nbh_prefix_masked(const struct nbh_prefix *prefix); /* host bits cleared */

bool nbh_addr_is_unspecified(const struct nbh_addr *addr);
bool nbh_addr_is_loopback(const struct nbh_addr *addr);
bool nbh_addr_is_multicast(const struct nbh_addr *addr); /* and IPv4 broadcast */
bool nbh_addr_is_link_local(const struct nbh_addr *addr);

/*
 * Why it can be no host elsewhere, for people ("loopback"): also unspecified, multicast, broadcast,
 * link-local, IPv4 0/8 and 240/4, IPv6 ::/96. NULL: it can. The text is static.
 */
const char *nbh_addr_unfit(const struct nbh_addr *addr);

/* The compact form of netbird-wire.md 1.3: address bytes and one byte of prefix length, 5 or 17. */
int nbh_prefix_from_compact(const uint8_t *bytes, size_t len, struct nbh_prefix *ret_prefix);

socklen_t nbh_endpoint_to_sockaddr(const struct nbh_endpoint *endpoint, struct sockaddr_storage *ret_sa);
int nbh_endpoint_from_sockaddr(const struct sockaddr *sa, struct nbh_endpoint *ret_endpoint);

#endif
