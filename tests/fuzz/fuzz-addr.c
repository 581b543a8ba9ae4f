/* Addresses, prefixes, endpoints, keys and moments as text: what parses is said again the same way. */
#include "config.h"

#include "base/addr.h"
#include "base/json.h"
#include "base/key.h"

#include "tests/fuzz/fuzz.h"

static void fuzz_prefix(const char *text)
{
	char buf[NBH_PREFIX_TEXT_MAX];
	struct nbh_prefix prefix, again, masked;

	if (nbh_prefix_parse(text, &prefix) < 0)
		return;

	fuzz_require(nbh_prefix_parse(nbh_prefix_format(&prefix, buf), &again) == 0);
	fuzz_require(nbh_prefix_compare(&prefix, &again) == 0);
	masked = nbh_prefix_masked(&prefix);
	fuzz_require(nbh_prefix_contains(&masked, &prefix.addr) &&
	             nbh_prefixes_contain(&masked, 1, &prefix.addr));
}

static void fuzz_endpoint(const char *text)
{
	char buf[NBH_ENDPOINT_TEXT_MAX];
	struct nbh_endpoint endpoint, again;
	struct sockaddr_storage sa;

	if (nbh_endpoint_parse(text, &endpoint) < 0)
		return;

	fuzz_require(nbh_endpoint_is_set(&endpoint));
	fuzz_require(nbh_endpoint_parse(nbh_endpoint_format(&endpoint, buf), &again) == 0);
	fuzz_require(nbh_endpoint_equal(&endpoint, &again));
	nbh_endpoint_to_sockaddr(&endpoint, &sa);
	fuzz_require(nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &again) == 0);
	fuzz_require(nbh_endpoint_equal(&endpoint, &again));
}

static void fuzz_addr(const char *text)
{
	char buf[NBH_ADDR_TEXT_MAX];
	struct nbh_addr addr, again;

	if (nbh_addr_parse(text, &addr) < 0)
		return;

	fuzz_require(nbh_addr_parse(nbh_addr_format(&addr, buf), &again) == 0);
	fuzz_require(nbh_addr_equal(&addr, &again));
}

static void fuzz_compact(const uint8_t *data, size_t len)
{
	struct nbh_prefix prefix;

	if (nbh_prefix_from_compact(data, len, &prefix) < 0)
		return;

	fuzz_require(prefix.addr.family == AF_INET || prefix.addr.family == AF_INET6);
	fuzz_require(prefix.len <= (prefix.addr.family == AF_INET ? 32 : 128));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = fuzz_text(data, len);
	char moment[NBH_RFC3339_MAX];
	struct nbh_key key;
	int64_t unix_ms, again_ms;

	fuzz_addr(text);
	fuzz_prefix(text);
	fuzz_endpoint(text);
	fuzz_compact(data, len);
	if (nbh_key_parse(text, &key) == 0)
		fuzz_require(strcmp(nbh_key_format(&key).text, text) == 0);
	if (nbh_rfc3339_parse(text, &unix_ms))
		fuzz_require(nbh_rfc3339_parse(nbh_rfc3339(unix_ms, moment), &again_ms) &&
		             (unix_ms < 0 || again_ms == unix_ms));
	free(text);
	return 0;
}
