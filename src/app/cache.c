#include "config.h"

#include "app/cache.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/atomicfile.h"
#include "base/limits.h"
#include "base/log.h"

/*
 * The file: four lines, then the bytes of both messages.
 *
 *   netbird-helper netmap.cache 1
 *   PUBLIC-KEY
 *   URL
 *   LENGTH-OF-SERVERS LENGTH-OF-MAP
 */
#define NAME NBH_CACHE_NAME
#define MAGIC "netbird-helper netmap.cache 1\n"
#define WRITE_DELAY_MS 2000

struct _NbhCache {
	int dirfd; /* borrowed */
	struct nbh_key own;
	char *url;
	GBytes *servers, *map; /* NULL: none */
	GSource *timer;        /* owned; armed while something is not written */
	gboolean is_dirty;
};

static void write_now(NbhCache *cache)
{
	g_autoptr(GByteArray) file = g_byte_array_new();
	g_autofree char *head = NULL;
	struct nbh_why why = { "" };
	gsize n_servers = cache->servers ? g_bytes_get_size(cache->servers) : 0;
	gsize n_map = cache->map ? g_bytes_get_size(cache->map) : 0;

	cache->is_dirty = FALSE;
	head = g_strdup_printf(MAGIC "%s\n%s\n%zu %zu\n", nbh_key_format(&cache->own).text, cache->url,
	                       (size_t)n_servers, (size_t)n_map);
	g_byte_array_append(file, (const guint8 *)head, (guint)strlen(head));

	if (n_servers > 0)
		g_byte_array_append(file, g_bytes_get_data(cache->servers, NULL), (guint)n_servers);

	if (n_map > 0)
		g_byte_array_append(file, g_bytes_get_data(cache->map, NULL), (guint)n_map);

	/* Credentials of servers are in it. Not worth an fsync: it can be made again. */
	if (nbh_atomicfile_write(cache->dirfd, NAME, file->data, file->len, 0600, 0, &why) < 0)
		nbh_log(NBH_LOG_WARN, "app", "cache-not-written error=\"%s\"", why.text);
}

static gboolean on_timer(gpointer owner)
{
	NbhCache *cache = owner;

	g_source_set_ready_time(cache->timer, -1);

	if (cache->is_dirty)
		write_now(cache);

	return G_SOURCE_CONTINUE;
}

static gboolean dispatch_timer(GSource *source, GSourceFunc callback, gpointer owner)
{
	(void)source;
	return callback(owner);
}

static GSourceFuncs timer_funcs = { .dispatch = dispatch_timer };

NbhCache *nbh_cache_new(int dirfd, const struct nbh_key *own_public, const char *url)
{
	NbhCache *cache = g_new0(NbhCache, 1);

	cache->dirfd = dirfd;
	cache->own = *own_public;
	cache->url = g_strdup(url);
	cache->timer = g_source_new(&timer_funcs, sizeof(GSource));
	g_source_set_callback(cache->timer, on_timer, cache, NULL);
	g_source_attach(cache->timer, NULL);
	return cache;
}

void nbh_cache_flush(NbhCache *cache)
{
	if (cache->is_dirty)
		write_now(cache);
}

void nbh_cache_free(NbhCache *cache)
{
	if (!cache)
		return;

	nbh_cache_flush(cache);
	g_source_destroy(cache->timer);
	g_source_unref(cache->timer);
	g_clear_pointer(&cache->servers, g_bytes_unref);
	g_clear_pointer(&cache->map, g_bytes_unref);
	g_free(cache->url);
	g_free(cache);
}

/* The line up to its newline must be exactly text; moves on behind it. */
static gboolean skip_line(const char **at, const char *end, const char *text)
{
	gsize len = strlen(text);

	if ((gsize)(end - *at) < len + 1 || memcmp(*at, text, len) != 0 || (*at)[len] != '\n')
		return FALSE;

	*at += len + 1;
	return TRUE;
}

static gboolean skip_number(const char **at, const char *end, char terminator, gsize max, gsize *ret_value)
{
	gsize value = 0;
	const char *p = *at;

	for (; p < end && *p >= '0' && *p <= '9' && p - *at < 10; p++)
		value = value * 10 + (gsize)(*p - '0');

	if (p == *at || p == end || *p != terminator || value > max)
		return FALSE;

	*at = p + 1;
	*ret_value = value;
	return TRUE;
}

typedef enum { USABLE, FOREIGN, DAMAGED } Verdict;

static Verdict split(NbhCache *cache, const char *text, gsize len)
{
	const char *at = text, *end = text + len;
	gsize n_servers, n_map;

	if (!g_str_has_prefix(text, MAGIC))
		return DAMAGED;

	at += strlen(MAGIC);

	if (!skip_line(&at, end, nbh_key_format(&cache->own).text) || !skip_line(&at, end, cache->url))
		return FOREIGN;

	if (!skip_number(&at, end, ' ', NBH_GRPC_MESSAGE_MAX_BYTES, &n_servers) ||
	    !skip_number(&at, end, '\n', NBH_GRPC_MESSAGE_MAX_BYTES, &n_map) ||
	    (gsize)(end - at) != n_servers + n_map || n_map == 0)
		return DAMAGED;

	if (n_servers > 0)
		cache->servers = g_bytes_new(at, n_servers);

	cache->map = g_bytes_new(at + n_servers, n_map);
	return USABLE;
}

/* FALSE: the message does not decode; nothing was told. */
static gboolean tell(NbhCache *cache, GBytes *message, void (*on_update)(const NbhMgmtUpdate *update, gpointer owner), gpointer owner)
{
	g_autoptr(GError) error = NULL;
	NbhMgmtUpdate update = { .servers = NULL };
	const guint8 *data;
	gsize len;

	if (!message)
		return TRUE;

	data = g_bytes_get_data(message, &len);

	if (!nbh_mgmt_decode_sync(data, len, &cache->own, &update, &error)) {
		nbh_log(NBH_LOG_WARN, "app", "cache-damaged error=\"%s\"", error->message);
		return FALSE;
	}

	if (message == cache->map && !update.map) {
		nbh_log(NBH_LOG_WARN, "app", "cache-damaged error=\"no map in it\"");
		nbh_mgmt_update_clear(&update);
		return FALSE;
	}

	on_update(&update, owner);
	nbh_mgmt_update_clear(&update);
	return TRUE;
}

gboolean nbh_cache_load(NbhCache *cache, void (*on_update)(const NbhMgmtUpdate *update, gpointer owner), gpointer owner)
{
	nbh_cleanup_free char *text = NULL;
	struct nbh_why why = { "" };
	Verdict verdict;
	size_t len;
	int r = nbh_trustedfile_read(cache->dirfd, NAME, NBH_CACHEFILE_MAX_BYTES, &text, &len, &why);

	if (r < 0) {
		if (r != -ENOENT)
			nbh_log(NBH_LOG_WARN, "app", "cache-unreadable error=\"%s\"", why.text);

		return FALSE;
	}

	verdict = split(cache, text, len);

	if (verdict == FOREIGN) {
		nbh_log(NBH_LOG_INFO, "app", "cache-ignored reason=\"of another key or server\"");
		return FALSE;
	}

	if (verdict == USABLE && tell(cache, cache->servers, on_update, owner) && tell(cache, cache->map, on_update, owner))
		return TRUE;

	nbh_log(NBH_LOG_WARN, "app", "cache-removed reason=damaged");
	nbh_cache_forget(cache);
	return FALSE;
}

void nbh_cache_keep(NbhCache *cache, const NbhMgmtUpdate *update)
{
	gboolean has_servers = update->servers && update->servers->has_signal;

	if (!update->plain || (!has_servers && !update->map))
		return;

	if (has_servers) {
		g_clear_pointer(&cache->servers, g_bytes_unref);

		if (!update->map)
			cache->servers = g_bytes_ref(update->plain);
	} else if (!cache->servers && cache->map) {
		/* Until now one message was both. */
		cache->servers = g_bytes_ref(cache->map);
	}

	if (update->map) {
		g_clear_pointer(&cache->map, g_bytes_unref);
		cache->map = g_bytes_ref(update->plain);
	}

	if (!cache->map)
		return;

	if (!cache->is_dirty)
		g_source_set_ready_time(cache->timer, g_get_monotonic_time() + WRITE_DELAY_MS * 1000);

	cache->is_dirty = TRUE;
}

void nbh_cache_forget(NbhCache *cache)
{
	cache->is_dirty = FALSE;
	g_clear_pointer(&cache->servers, g_bytes_unref);
	g_clear_pointer(&cache->map, g_bytes_unref);

	if (unlinkat(cache->dirfd, NAME, 0) < 0 && errno != ENOENT)
		nbh_log(NBH_LOG_WARN, "app", "cache-not-removed error=\"%s\"", g_strerror(errno));
}
