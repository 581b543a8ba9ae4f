/* netmap.cache of this key and server, whatever follows: lines, lengths, messages. */
#include "config.h"

#include "app/cache.h"
#include "base/log.h"

#include "tests/fuzz/fuzz.h"

#define URL "http://192.0.2.1:80"
#define MAGIC "netbird-helper netmap.cache 2\n"

static void on_update(const NbhMgmtUpdate *update, gpointer owner)
{
	gboolean *has_map = owner;

	*has_map = update->map != NULL;
}

static void on_server_key(const struct nbh_key *key, gpointer owner)
{
	(void)owner;
	fuzz_require(!nbh_key_is_zero(key));
}

static void on_address(const char *name, const struct nbh_addr *addr, gpointer owner)
{
	(void)owner;
	fuzz_require(*name && !strpbrk(name, " \n"));
	fuzz_require(addr->family == AF_INET || addr->family == AF_INET6);
}

static const NbhCacheEvents events = { on_server_key, on_address, on_update };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct nbh_key own = { { 9 } };
	g_autoptr(GString) text = g_string_new(MAGIC);
	NbhCache *cache;
	gboolean has_map = FALSE;
	int dirfd;

	nbh_log_set_level("error");
	g_string_append_printf(text, "%s\n" URL "\n", nbh_key_format(&own).text);
	g_string_append_len(text, fuzz_chars(data), (gssize)len);
	dirfd = fuzz_file("netmap.cache", text->str, text->len);
	cache = nbh_cache_new(dirfd, &own, URL);
	if (nbh_cache_load(cache, &events, &has_map) == NBH_CACHE_MAP)
		fuzz_require(has_map); /* and it came last */
	nbh_cache_free(cache);
	return 0;
}
