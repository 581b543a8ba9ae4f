#include "config.h"

#include "hub/gate.h"

#include "base/limits.h"
#include "base/log.h"
#include "hub/throttle.h"

#define QUIET_MS 60000 /* then the next one is news again */
#define PENALTY 50     /* new connections that a broken rule costs */

/* A kind of event that anybody can cause as often as he likes. */
typedef struct {
	guint times;
	nbh_mono last;
} Noise;

struct _NbhGate {
	NbhGateLimits limits;
	GHashTable *counts;    /* nbh_addr of a group -> number of connections */
	NbhThrottle *arrivals; /* owned */
	Noise refused, cut_off;
};

static guint group_hash(gconstpointer p)
{
	const struct nbh_addr *addr = p;
	guint hash = addr->family;

	for (gsize i = 0; i < sizeof(addr->bytes); i++)
		hash = hash * 31 + addr->bytes[i];
	return hash;
}

static gboolean group_equal(gconstpointer a, gconstpointer b)
{
	return nbh_addr_equal(a, b);
}

NbhGate *nbh_gate_new(const NbhGateLimits *limits)
{
	NbhGate *gate = g_new0(NbhGate, 1);

	gate->limits = *limits;
	gate->counts = g_hash_table_new_full(group_hash, group_equal, g_free, NULL);
	gate->arrivals = nbh_throttle_new(limits->burst, limits->per_second, NBH_HUB_ADDRESSES_MAX);
	return gate;
}

static gboolean is_exempt(const NbhGate *gate, const struct nbh_addr *remote)
{
	return !gate->limits.counts_loopback && nbh_addr_is_loopback(remote);
}

static guint count(const NbhGate *gate, const struct nbh_addr *group)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(gate->counts, group));
}

NbhGateAnswer nbh_gate_ask(NbhGate *gate, const struct nbh_addr *remote, nbh_mono now)
{
	struct nbh_addr group = nbh_throttle_group(remote);

	if (is_exempt(gate, remote))
		return NBH_GATE_OPEN;
	if (!nbh_throttle_take(gate->arrivals, remote, now))
		return NBH_GATE_CLOSED;
	return count(gate, &group) < gate->limits.per_address_max ? NBH_GATE_OPEN : NBH_GATE_CROWDED;
}

gboolean nbh_gate_is_same(const struct nbh_addr *a, const struct nbh_addr *b)
{
	struct nbh_addr group_a = nbh_throttle_group(a), group_b = nbh_throttle_group(b);

	return nbh_addr_equal(&group_a, &group_b);
}

void nbh_gate_enter(NbhGate *gate, const struct nbh_addr *remote)
{
	struct nbh_addr group = nbh_throttle_group(remote);

	g_hash_table_replace(gate->counts, g_memdup2(&group, sizeof(group)),
			     GUINT_TO_POINTER(count(gate, &group) + 1));
}

void nbh_gate_leave(NbhGate *gate, const struct nbh_addr *remote)
{
	struct nbh_addr group = nbh_throttle_group(remote);
	guint n = count(gate, &group);

	if (n <= 1)
		g_hash_table_remove(gate->counts, &group);
	else
		g_hash_table_replace(gate->counts, g_memdup2(&group, sizeof(group)), GUINT_TO_POINTER(n - 1));
}

/* The first, the second, the fourth ... of an attack that goes on. */
static void say(Noise *noise, const char *event, const struct nbh_addr *remote, const char *why, nbh_mono now)
{
	char address[NBH_ADDR_TEXT_MAX];

	if (noise->times && nbh_mono_diff_ms(now, noise->last) > QUIET_MS)
		noise->times = 0;
	noise->last = now;
	if (nbh_log_worth(++noise->times))
		nbh_log(NBH_LOG_WARN, "front", "%s address=%s times=%u why=\"%s\"", event,
			nbh_addr_format(remote, address), noise->times, why);
}

void nbh_gate_refused(NbhGate *gate, const struct nbh_addr *remote, const char *why, nbh_mono now)
{
	say(&gate->refused, "connection-refused", remote, why, now);
}

void nbh_gate_cut_off(NbhGate *gate, const struct nbh_addr *remote, const char *why, nbh_mono now)
{
	say(&gate->cut_off, "client-cut-off", remote, why, now);
	for (guint i = 0; i < PENALTY && !is_exempt(gate, remote); i++)
		(void)nbh_throttle_take(gate->arrivals, remote, now);
}

void nbh_gate_free(NbhGate *gate)
{
	if (!gate)
		return;
	g_hash_table_unref(gate->counts);
	nbh_throttle_free(gate->arrivals);
	g_free(gate);
}
