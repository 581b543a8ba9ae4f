#include "config.h"

#include "app/cache.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/atomicfile.h"
#include "base/limits.h"
#include "base/log.h"
#include "loop/source.h"

/*
 * The file: a head of lines, then the bytes of the messages.
 *
 *   netbird-helper netmap.cache 2
 *   PUBLIC-KEY
 *   URL
 *   server-key KEY                  of management; not always
 *   address NAME ADDRESS            any number
 *   messages LENGTH LENGTH LENGTH   answer to Login; Sync with servers; Sync with a map. 0: none
 */
#define NAME NBH_CACHE_NAME
#define MAGIC "netbird-helper netmap.cache 2\n"
#define MAGIC_ANY_VERSION "netbird-helper netmap.cache "
#define WRITE_DELAY_MS 2000
#define ADDRESSES_MAX (NBH_RESOLVER_NAMES_MAX * NBH_RESOLVER_ADDRESSES_MAX)
#define LINE_MAX_BYTES 512

enum { LOGIN, SERVERS, MAP, N_MESSAGES };

typedef struct {
	char *name; /* owned */
	struct nbh_addr addr;
} Address;

struct _NbhCache {
	int dirfd; /* borrowed */
	struct nbh_key own;
	char *url;
	GBytes *messages[N_MESSAGES]; /* NULL: none */
	struct nbh_key server_key;    /* zero: none */
	GPtrArray *addresses;         /* Address, owned */
	GSource *timer;        /* owned; armed while something is not written */
	gboolean is_dirty;
};

static void address_free(gpointer data)
{
	Address *address = data;

	g_free(address->name);
	g_free(address);
}

static char *format_head(const NbhCache *cache)
{
	GString *head = g_string_new(MAGIC);

	g_string_append_printf(head, "%s\n%s\n", nbh_key_format(&cache->own).text, cache->url);

	if (!nbh_key_is_zero(&cache->server_key))
		g_string_append_printf(head, "server-key %s\n", nbh_key_format(&cache->server_key).text);

	for (guint i = 0; i < cache->addresses->len; i++) {
		const Address *address = cache->addresses->pdata[i];
		char text[NBH_ADDR_TEXT_MAX];

		g_string_append_printf(head, "address %s %s\n", address->name, nbh_addr_format(&address->addr, text));
	}

	g_string_append(head, "messages");

	for (gsize i = 0; i < N_MESSAGES; i++)
		g_string_append_printf(head, " %zu",
		                       cache->messages[i] ? (size_t)g_bytes_get_size(cache->messages[i]) : 0);

	g_string_append_c(head, '\n');
	return g_string_free(head, FALSE);
}

static void write_now(NbhCache *cache)
{
	g_autoptr(GByteArray) file = g_byte_array_new();
	g_autofree char *head = format_head(cache);
	struct nbh_why why = { "" };

	cache->is_dirty = FALSE;
	g_byte_array_append(file, (const guint8 *)head, (guint)strlen(head));

	for (gsize i = 0; i < N_MESSAGES; i++) {
		gsize len;
		const guint8 *data = cache->messages[i] ? g_bytes_get_data(cache->messages[i], &len) : NULL;

		if (data)
			g_byte_array_append(file, data, (guint)len);
	}

	/* Credentials of servers are in it. Not worth an fsync: it can be made again. */
	if (nbh_atomicfile_write(cache->dirfd, NAME, file->data, file->len, 0600, 0, &why) < 0)
		nbh_log(NBH_LOG_WARN, "app", "cache-not-written error=\"%s\"", why.text);
}

/* Without a message there is nothing to begin with. */
static void changed(NbhCache *cache)
{
	if (!cache->messages[MAP] && !cache->messages[LOGIN])
		return;

	if (!cache->is_dirty)
		g_source_set_ready_time(cache->timer, g_get_monotonic_time() + WRITE_DELAY_MS * 1000);

	cache->is_dirty = TRUE;
}

static void drop_message(NbhCache *cache, gsize which)
{
	g_clear_pointer(&cache->messages[which], g_bytes_unref);
}

static gboolean on_timer(gpointer owner)
{
	NbhCache *cache = owner;

	if (cache->is_dirty)
		write_now(cache);

	return G_SOURCE_CONTINUE;
}

NbhCache *nbh_cache_new(int dirfd, const struct nbh_key *own_public, const char *url)
{
	NbhCache *cache = g_new0(NbhCache, 1);

	cache->dirfd = dirfd;
	cache->own = *own_public;
	cache->url = g_strdup(url);
	cache->addresses = g_ptr_array_new_with_free_func(address_free);
	cache->timer = nbh_source_new_timer(on_timer, cache);
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
	nbh_source_drop(&cache->timer);

	for (gsize i = 0; i < N_MESSAGES; i++)
		drop_message(cache, i);

	g_ptr_array_unref(cache->addresses);
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

static gboolean take_address(NbhCache *cache, const char *text)
{
	const char *space = strchr(text, ' ');
	g_autofree char *name = NULL;
	struct nbh_addr addr;

	if (!space || space == text || cache->addresses->len == ADDRESSES_MAX || nbh_addr_parse(space + 1, &addr) < 0)
		return FALSE;

	for (const char *p = text; p < space; p++)
		if (!g_ascii_isgraph(*p))
			return FALSE;

	name = g_strndup(text, (gsize)(space - text));
	nbh_cache_add_address(cache, name, &addr);
	return TRUE;
}

/* Up to the lengths of messages. */
static gboolean take_head(NbhCache *cache, const char **at, const char *end)
{
	for (;;) {
		const char *newline = memchr(*at, '\n', MIN((gsize)(end - *at), LINE_MAX_BYTES));
		g_autofree char *line = newline ? g_strndup(*at, (gsize)(newline - *at)) : NULL;

		if (!line)
			return FALSE;

		if (g_str_has_prefix(line, "messages ")) {
			*at += strlen("messages ");
			return TRUE;
		}

		if (g_str_has_prefix(line, "server-key ")) {
			if (nbh_key_parse(line + strlen("server-key "), &cache->server_key) < 0)
				return FALSE;
		} else if (!g_str_has_prefix(line, "address ") || !take_address(cache, line + strlen("address "))) {
			return FALSE;
		}

		*at = newline + 1;
	}
}

static gboolean take_messages(NbhCache *cache, const char *at, const char *end)
{
	gsize lens[N_MESSAGES], total = 0;

	for (gsize i = 0; i < N_MESSAGES; i++) {
		if (!skip_number(&at, end, i + 1 < N_MESSAGES ? ' ' : '\n', NBH_GRPC_MESSAGE_MAX_BYTES, &lens[i]))
			return FALSE;

		total += lens[i];
	}

	if ((gsize)(end - at) != total || (lens[MAP] == 0) == (lens[LOGIN] == 0))
		return FALSE;

	for (gsize i = 0; i < N_MESSAGES; at += lens[i], i++)
		if (lens[i] > 0)
			cache->messages[i] = g_bytes_new(at, lens[i]);

	return TRUE;
}

typedef enum { USABLE, FOREIGN, DAMAGED } Verdict;

static Verdict split(NbhCache *cache, const char *text, gsize len)
{
	const char *at = text, *end = text + len;

	if (!g_str_has_prefix(text, MAGIC))
		return g_str_has_prefix(text, MAGIC_ANY_VERSION) ? FOREIGN : DAMAGED;

	at += strlen(MAGIC);

	if (!skip_line(&at, end, nbh_key_format(&cache->own).text) || !skip_line(&at, end, cache->url))
		return FOREIGN;

	return take_head(cache, &at, end) && take_messages(cache, at, end) ? USABLE : DAMAGED;
}

static gboolean decode(NbhCache *cache, gsize which, NbhMgmtUpdate *ret_update, GError **error)
{
	gsize len;
	const guint8 *data = g_bytes_get_data(cache->messages[which], &len);

	if (which == LOGIN)
		return nbh_mgmt_decode_login(data, len, ret_update, error);

	return nbh_mgmt_decode_sync(data, len, &cache->own, ret_update, error);
}

/* FALSE: the message does not decode; nothing was told. */
static gboolean tell(NbhCache *cache, gsize which, const NbhCacheEvents *events, gpointer owner)
{
	g_autoptr(GError) error = NULL;
	NbhMgmtUpdate update = { .servers = NULL };

	if (!cache->messages[which])
		return TRUE;

	if (!decode(cache, which, &update, &error)) {
		nbh_log(NBH_LOG_WARN, "app", "cache-damaged error=\"%s\"", error->message);
		return FALSE;
	}

	if (which == MAP && !update.map) {
		nbh_log(NBH_LOG_WARN, "app", "cache-damaged error=\"no map in it\"");
		nbh_mgmt_update_clear(&update);
		return FALSE;
	}

	events->on_update(&update, owner);
	nbh_mgmt_update_clear(&update);
	return TRUE;
}

static gboolean tell_all(NbhCache *cache, const NbhCacheEvents *events, gpointer owner)
{
	if (!nbh_key_is_zero(&cache->server_key))
		events->on_server_key(&cache->server_key, owner);

	for (guint i = 0; i < cache->addresses->len; i++) {
		const Address *address = cache->addresses->pdata[i];

		events->on_address(address->name, &address->addr, owner);
	}

	for (gsize i = 0; i < N_MESSAGES; i++)
		if (!tell(cache, i, events, owner))
			return FALSE;

	return TRUE;
}

NbhCacheContent nbh_cache_load(NbhCache *cache, const NbhCacheEvents *events, gpointer owner)
{
	nbh_cleanup_free char *text = NULL;
	struct nbh_why why = { "" };
	Verdict verdict;
	size_t len;
	int r = nbh_trustedfile_read(cache->dirfd, NAME, NBH_CACHEFILE_MAX_BYTES, &text, &len, &why);

	if (r < 0) {
		if (r != -ENOENT)
			nbh_log(NBH_LOG_WARN, "app", "cache-unreadable error=\"%s\"", why.text);

		return NBH_CACHE_NOTHING;
	}

	nbh_cache_clear_addresses(cache);

	for (gsize i = 0; i < N_MESSAGES; i++)
		drop_message(cache, i);

	verdict = split(cache, text, len);

	if (verdict == FOREIGN) {
		nbh_log(NBH_LOG_INFO, "app", "cache-ignored reason=\"of another key, server or version\"");
		return NBH_CACHE_NOTHING;
	}

	if (verdict == USABLE && tell_all(cache, events, owner))
		return cache->messages[MAP] ? NBH_CACHE_MAP : NBH_CACHE_LOGIN;

	nbh_log(NBH_LOG_WARN, "app", "cache-removed reason=damaged");
	nbh_cache_forget(cache);
	return NBH_CACHE_NOTHING;
}

static void keep_login(NbhCache *cache, const NbhMgmtUpdate *update)
{
	if (cache->messages[MAP])
		return;

	drop_message(cache, LOGIN);
	cache->messages[LOGIN] = g_bytes_ref(update->plain);
	changed(cache);
}

void nbh_cache_keep(NbhCache *cache, const NbhMgmtUpdate *update)
{
	gboolean has_servers = update->servers && update->servers->has_signal;

	if (!update->plain)
		return;

	if (update->is_login) {
		keep_login(cache, update);
		return;
	}

	if (!has_servers && !update->map)
		return;

	if (has_servers) {
		drop_message(cache, SERVERS);

		if (!update->map)
			cache->messages[SERVERS] = g_bytes_ref(update->plain);
	} else if (!cache->messages[SERVERS] && cache->messages[MAP]) {
		/* Until now one message was both. */
		cache->messages[SERVERS] = g_bytes_ref(cache->messages[MAP]);
	}

	if (update->map) {
		drop_message(cache, LOGIN);
		drop_message(cache, MAP);
		cache->messages[MAP] = g_bytes_ref(update->plain);
	}

	changed(cache);
}

void nbh_cache_keep_server_key(NbhCache *cache, const struct nbh_key *key)
{
	cache->server_key = *key;
	changed(cache);
}

void nbh_cache_clear_addresses(NbhCache *cache)
{
	g_ptr_array_set_size(cache->addresses, 0);
	changed(cache);
}

void nbh_cache_add_address(NbhCache *cache, const char *name, const struct nbh_addr *addr)
{
	Address *address;

	if (cache->addresses->len == ADDRESSES_MAX)
		return;

	address = g_new(Address, 1);
	address->name = g_strdup(name);
	address->addr = *addr;
	g_ptr_array_add(cache->addresses, address);
	changed(cache);
}

void nbh_cache_forget(NbhCache *cache)
{
	cache->is_dirty = FALSE;

	for (gsize i = 0; i < N_MESSAGES; i++)
		drop_message(cache, i);

	if (unlinkat(cache->dirfd, NAME, 0) < 0 && errno != ENOENT)
		nbh_log(NBH_LOG_WARN, "app", "cache-not-removed error=\"%s\"", g_strerror(errno));
}
