#include "config.h"

#include "hub/gate.h"

#include "base/limits.h"
#include "base/log.h"
#include "hub/throttle.h"

#define QUIET_MS 60000 /* then the next one is news again */
#define SAY_AGAIN_MS 10000
#define PENALTY 50     /* new connections that a broken rule costs */

typedef enum { REFUSED, CUT_OFF, TLS_FAILED, N_EVENTS } Event;

static const char *const event_names[] = { "connection-refused", "client-cut-off", "tls-failed" };
_Static_assert(G_N_ELEMENTS(event_names) == N_EVENTS, "each event has a name");

/* Of one address: events that it can cause as often as it likes. */
typedef struct {
	struct nbh_addr group;
	struct {
		guint times, said_at; /* times when the last line was written */
		nbh_mono last, said;
	} of[N_EVENTS];
} Noise;

struct _NbhGate {
	NbhGateLimits limits;
	GHashTable *counts;    /* nbh_addr of a group -> number of connections */
	NbhThrottle *arrivals; /* owned */
	GHashTable *noises;    /* Noise -> itself, owned */
	NbhThrottle *lines;    /* owned; of the log, all addresses together */
};

/* Also for Noise, which begins with one. */
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
	gate->noises = g_hash_table_new_full(group_hash, group_equal, g_free, NULL);
	gate->lines = nbh_throttle_new(NBH_HUB_GATE_LINES_BURST, 1, 1);
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

static Noise *get_noise(NbhGate *gate, const struct nbh_addr *remote)
{
	const struct nbh_addr group = nbh_throttle_group(remote);
	Noise *noise = g_hash_table_lookup(gate->noises, &group);

	if (noise)
		return noise;
	if (g_hash_table_size(gate->noises) >= NBH_HUB_ADDRESSES_MAX)
		g_hash_table_remove_all(gate->noises);
	noise = g_new0(Noise, 1);
	noise->group = group;
	g_hash_table_add(gate->noises, noise);
	return noise;
}

/*
 * The first of an address, and when it is twice as many: not before 10 s. All addresses together: a line
 * per second.
 */
static void say(NbhGate *gate, Event event, const struct nbh_addr *remote, const char *why, nbh_mono now)
{
	static const struct nbh_addr everybody;
	Noise *noise = get_noise(gate, remote);
	char address[NBH_ADDR_TEXT_MAX];

	if (noise->of[event].times && nbh_mono_diff_ms(now, noise->of[event].last) > QUIET_MS)
		noise->of[event].times = noise->of[event].said_at = 0;
	noise->of[event].last = now;
	noise->of[event].times++;
	if (noise->of[event].said_at && (noise->of[event].times / 2 < noise->of[event].said_at ||
					 nbh_mono_diff_ms(now, noise->of[event].said) < SAY_AGAIN_MS))
		return;
	if (!nbh_throttle_take(gate->lines, &everybody, now))
		return;
	noise->of[event].said_at = noise->of[event].times;
	noise->of[event].said = now;
	nbh_log(event == TLS_FAILED ? NBH_LOG_INFO : NBH_LOG_WARN, "front",
		"%s address=%s times=%u why=\"%s\"", event_names[event], nbh_addr_format(remote, address),
		noise->of[event].times, why);
}

void nbh_gate_refused(NbhGate *gate, const struct nbh_addr *remote, const char *why, nbh_mono now)
{
	say(gate, REFUSED, remote, why, now);
}

void nbh_gate_cut_off(NbhGate *gate, const struct nbh_addr *remote, const char *why, nbh_mono now)
{
	say(gate, CUT_OFF, remote, why, now);
	for (guint i = 0; i < PENALTY && !is_exempt(gate, remote); i++)
		(void)nbh_throttle_take(gate->arrivals, remote, now);
}

void nbh_gate_tls_failed(NbhGate *gate, const struct nbh_addr *remote, const char *why, nbh_mono now)
{
	say(gate, TLS_FAILED, remote, why, now);
}

void nbh_gate_free(NbhGate *gate)
{
	if (!gate)
		return;
	g_hash_table_unref(gate->counts);
	g_hash_table_unref(gate->noises);
	nbh_throttle_free(gate->arrivals);
	nbh_throttle_free(gate->lines);
	g_free(gate);
}
