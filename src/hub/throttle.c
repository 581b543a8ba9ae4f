#include "config.h"

#include "hub/throttle.h"

#include <string.h>

#define V6_GROUP_BYTES 8 /* one host owns a whole /64 */

struct _NbhThrottle {
	guint burst, per_second, max_addresses;
	GHashTable *buckets; /* Bucket -> itself, owned */
};

typedef struct {
	struct nbh_addr addr;
	gint64 milli_tokens;
	nbh_mono at;
} Bucket;

static guint bucket_hash(gconstpointer p)
{
	const Bucket *bucket = p;
	guint hash = bucket->addr.family;

	for (gsize i = 0; i < sizeof(bucket->addr.bytes); i++)
		hash = hash * 31 + bucket->addr.bytes[i];
	return hash;
}

static gboolean bucket_equal(gconstpointer a, gconstpointer b)
{
	return nbh_addr_equal(&((const Bucket *)a)->addr, &((const Bucket *)b)->addr);
}

static void refill(const NbhThrottle *throttle, Bucket *bucket, nbh_mono now)
{
	gint64 full = (gint64)throttle->burst * 1000;
	gint64 passed_ms = MAX(0, nbh_mono_diff_ms(now, bucket->at));

	/* tokens/s and milli-tokens/ms are the same number. */
	if (passed_ms > full)
		bucket->milli_tokens = full;
	else
		bucket->milli_tokens =
			MIN(full, bucket->milli_tokens + passed_ms * throttle->per_second);
	bucket->at = now;
}

static void make_room(NbhThrottle *throttle, nbh_mono now)
{
	GHashTableIter iter;
	gpointer key;

	g_hash_table_iter_init(&iter, throttle->buckets);
	while (g_hash_table_iter_next(&iter, &key, NULL)) {
		refill(throttle, key, now);
		if (((Bucket *)key)->milli_tokens == (gint64)throttle->burst * 1000)
			g_hash_table_iter_remove(&iter);
	}
	if (g_hash_table_size(throttle->buckets) >= throttle->max_addresses)
		g_hash_table_remove_all(throttle->buckets);
}

NbhThrottle *nbh_throttle_new(guint burst, guint per_second, guint max_addresses)
{
	NbhThrottle *throttle = g_new0(NbhThrottle, 1);

	throttle->burst = burst;
	throttle->per_second = MAX(1, per_second);
	throttle->max_addresses = max_addresses;
	throttle->buckets = g_hash_table_new_full(bucket_hash, bucket_equal, g_free, NULL);
	return throttle;
}

struct nbh_addr nbh_throttle_group(const struct nbh_addr *addr)
{
	struct nbh_addr group = *addr;

	if (addr->family == AF_INET6)
		memset(group.bytes + V6_GROUP_BYTES, 0, sizeof(group.bytes) - V6_GROUP_BYTES);
	return group;
}

static Bucket *get_bucket(NbhThrottle *throttle, const struct nbh_addr *addr, nbh_mono now)
{
	Bucket wanted = { .addr = nbh_throttle_group(addr) };
	Bucket *bucket;

	bucket = g_hash_table_lookup(throttle->buckets, &wanted);
	if (bucket) {
		refill(throttle, bucket, now);
		return bucket;
	}
	if (g_hash_table_size(throttle->buckets) >= throttle->max_addresses)
		make_room(throttle, now);
	bucket = g_new(Bucket, 1);
	*bucket = wanted;
	bucket->milli_tokens = (gint64)throttle->burst * 1000;
	bucket->at = now;
	g_hash_table_add(throttle->buckets, bucket);
	return bucket;
}

gboolean nbh_throttle_has(NbhThrottle *throttle, const struct nbh_addr *addr, nbh_mono now)
{
	return get_bucket(throttle, addr, now)->milli_tokens >= 1000;
}

gboolean nbh_throttle_take(NbhThrottle *throttle, const struct nbh_addr *addr, nbh_mono now)
{
	Bucket *bucket = get_bucket(throttle, addr, now);

	if (bucket->milli_tokens < 1000)
		return FALSE;
	bucket->milli_tokens -= 1000;
	return TRUE;
}

guint nbh_throttle_size(const NbhThrottle *throttle)
{
	return g_hash_table_size(throttle->buckets);
}

void nbh_throttle_free(NbhThrottle *throttle)
{
	if (!throttle)
		return;
	g_hash_table_unref(throttle->buckets);
	g_free(throttle);
}
