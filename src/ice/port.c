#include "config.h"

#include "ice/port.h"

#include "core/allowance.h"
#include "ice/respond.h"
#include "ice/tun.h"
#include "ice/txid.h"
#include "loop/source.h"

#include <errno.h>
#include <string.h>

#include <glib-unix.h>

#define Q_FIRST 20000
#define Q_COUNT NBH_ICE_SESSIONS_MAX
#define BINDING 1
#define PACKET_MAX 2048
#define ANSWER_MAX 128 /* 76 for IPv6 */
#define READS_PER_TURN 64
#define PUMP_MAX 64 /* dispatches of one agent in a row; the rest in the next turn */

typedef struct {
	guint16 q;
	guint index; /* in port->active */
	NbhIceCreds local, remote;
	gboolean keepalives;
	GMainContext *context; /* ref; NULL: settled */
	NbhPortSettled settled;
	gint64 due;            /* when its context wants to run again; -1: not by time */
	gint64 last_heard;
	void (*on_heard)(const struct nbh_endpoint *from, gpointer owner); /* NULL: was called */
	gpointer owner;
	struct nbh_endpoint sources[NBH_ICE_SOURCES_MAX]; /* of requests; the oldest makes room */
	guint n_sources;                                  /* ever */
	NbhAllowance new_sources, requests;
} Slot;

struct _NbhPort {
	NbhPortIo io;
	gpointer owner;
	int tun;
	gboolean has_v6;
	Slot *slots[Q_COUNT]; /* by Q - Q_FIRST; owned by active */
	GPtrArray *active;    /* Slot, owned */
	guint next;           /* where the search for a free Q begins */
	GHashTable *by_ufrag; /* Slot.local.ufrag -> Slot, borrowed */
	NbhTxidTable *asked;  /* requests of our agents */
	NbhTxidTable *asking; /* requests to our agents */
	GSource *tun_source, *timer; /* owned */
	gint64 timer_at;             /* -1: not armed. Never later than the earliest Slot.due */
	struct nbh_prefix overlay[2]; /* family 0: none */
	NbhPortCounters counters;
};

static Slot *slot_of(const NbhPort *port, guint16 q)
{
	return q >= Q_FIRST && q < Q_FIRST + Q_COUNT ? port->slots[q - Q_FIRST] : NULL;
}

gboolean nbh_port_may_send_to(const struct nbh_endpoint *to)
{
	const struct nbh_addr *addr = &to->addr;

	return to->port && !nbh_addr_is_unspecified(addr) && !nbh_addr_is_loopback(addr) &&
	       !nbh_addr_is_multicast(addr) && !nbh_addr_equal(addr, &nbh_tun_addr4) &&
	       !nbh_addr_equal(addr, &nbh_tun_addr6) &&
	       !(addr->family == AF_INET6 && nbh_addr_is_link_local(addr)); /* it would need a zone */
}

gboolean nbh_port_may_reach(const NbhPort *port, const struct nbh_endpoint *to)
{
	return nbh_port_may_send_to(to) &&
	       !nbh_prefixes_contain(port->overlay, G_N_ELEMENTS(port->overlay), &to->addr);
}

/* ---- from the agents to the network -------------------------------------------------------- */

/* buf has NBH_STUN_PAIR_ID_ROOM more bytes behind the payload. */
static void send_answer(NbhPort *port, const Slot *slot, NbhPacket *packet)
{
	NbhTxid asked;
	struct nbh_addr from;
	gsize len = packet->len;
	gboolean known = nbh_txid_take(port->asking, nbh_stun_txid(packet->payload), &asked);

	if (known && (asked.agent != slot->q || asked.local.family != packet->to.addr.family)) {
		port->counters.drop_out++;
		return;
	}

	/* An answer to a request that was forgotten meanwhile: better than none. */
	if (known)
		from = asked.local;
	else if (!port->io.natural_source(&packet->to, &from, port->owner)) {
		port->counters.drop_out++;
		return;
	}

	if (known && asked.has_pair_id) {
		len = nbh_stun_echo_pair_id(packet->payload, len, asked.pair_id);
		port->counters.echoed++;
	}

	port->counters.out_answers++;
	port->io.send(&from, &packet->to, packet->payload, len, port->owner);
}

static void send_check(NbhPort *port, const Slot *slot, const NbhPacket *packet, gboolean is_request)
{
	NbhTxid entry = { .agent = slot->q };
	struct nbh_addr from;

	if (!port->io.natural_source(&packet->to, &from, port->owner)) {
		port->counters.drop_out++;
		return;
	}

	if (is_request) {
		memcpy(entry.id, nbh_stun_txid(packet->payload), NBH_STUN_TXID_LEN);
		nbh_txid_put(port->asked, &entry, nbh_mono_now());
		port->counters.out_requests++;
	} else {
		port->counters.out_indications++;
	}

	port->io.send(&from, &packet->to, packet->payload, packet->len, port->owner);
}

static void take_from_agent(NbhPort *port, guint8 *bytes, gsize len)
{
	NbhPacket packet;
	const Slot *slot;

	/* The kernel itself speaks on every new interface, too: router solicitations and the like. */
	if (!nbh_packet_read(bytes, len, &packet))
		return;

	slot = slot_of(port, packet.from.port);

	if (!slot || !nbh_stun_is_message(packet.payload, packet.len) ||
	    nbh_stun_method(packet.payload) != BINDING || !nbh_port_may_reach(port, &packet.to)) {
		port->counters.drop_out++;
		return;
	}

	switch (nbh_stun_class(packet.payload)) {
	case NBH_STUN_REQUEST:
		send_check(port, slot, &packet, TRUE);
		break;
	case NBH_STUN_INDICATION:
		if (slot->keepalives)
			send_check(port, slot, &packet, FALSE);
		break;
	case NBH_STUN_SUCCESS:
	case NBH_STUN_ERROR:
		send_answer(port, slot, &packet);
		break;
	}
}

static gboolean on_tun(int fd, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
	NbhPort *port = data;
	guint8 buf[PACKET_MAX + NBH_STUN_PAIR_ID_ROOM];

	for (int i = 0; i < READS_PER_TURN; i++) {
		ssize_t n = read(fd, buf, PACKET_MAX);

		if (n < 0 && errno == EINTR)
			continue;

		if (n <= 0)
			break;

		take_from_agent(port, buf, (gsize)n);
	}

	return G_SOURCE_CONTINUE;
}

/* ---- running the agents -------------------------------------------------------------------- */

static void arm(NbhPort *port, gint64 due)
{
	if (due < 0 || (port->timer_at >= 0 && port->timer_at <= due))
		return;

	port->timer_at = due;
	g_source_set_ready_time(port->timer, due);
}

/*
 * Nobody polls the agents' sockets: a packet is in the socket as soon as it was written to the TUN,
 * so the context is run right then. Its timers are asked for the same way (ice-port.md section 6).
 */
static void run_context(NbhPort *port, Slot *slot)
{
	GMainContext *context = slot->context;
	int n = 0, priority, timeout_ms;

	while (n < PUMP_MAX && g_main_context_iteration(context, FALSE))
		n++;

	if (n == PUMP_MAX) {
		slot->due = g_get_monotonic_time();
	} else if (g_main_context_acquire(context)) {
		g_main_context_prepare(context, &priority);
		g_main_context_query(context, priority, &timeout_ms, NULL, 0);
		g_main_context_release(context);
		slot->due = timeout_ms < 0 ? -1 : g_get_monotonic_time() + (gint64)timeout_ms * 1000;
	}

	arm(port, slot->due);
}

void nbh_port_pump(NbhPort *port, guint16 q)
{
	Slot *slot = slot_of(port, q);

	if (!slot || !slot->context)
		return;

	run_context(port, slot);
	on_tun(port->tun, G_IO_IN, port);
}

static gboolean on_timer(gpointer data)
{
	NbhPort *port = data;
	gint64 now = g_get_monotonic_time();

	port->timer_at = -1;

	for (guint i = 0; i < port->active->len; i++) {
		Slot *slot = g_ptr_array_index(port->active, i);

		/* libnice counts in milliseconds; a millisecond early costs less than a second wake-up. */
		if (slot->due >= 0 && slot->due <= now + 1000)
			nbh_port_pump(port, slot->q);
		else
			arm(port, slot->due);
	}

	return G_SOURCE_CONTINUE;
}

/* ---- from the network to the agents -------------------------------------------------------- */

static void inject(NbhPort *port, Slot *slot, const NbhPacket *packet)
{
	guint8 buf[PACKET_MAX];
	struct nbh_endpoint to = { .port = slot->q };
	gsize len;

	to.addr = packet->to.addr.family == AF_INET6 ? nbh_tun_addr6 : nbh_tun_addr4;
	len = nbh_packet_write(buf, sizeof(buf), &packet->from, &to, packet->payload, packet->len);

	if (!len || write(port->tun, buf, len) < 0) {
		port->counters.drop_other++;
		return;
	}

	slot->last_heard = g_get_monotonic_time();

	if (slot->on_heard) {
		slot->on_heard(&packet->from, slot->owner);
		slot->on_heard = NULL;
	}

	nbh_port_pump(port, slot->q);
}

static gboolean is_known_source(const Slot *slot, const struct nbh_endpoint *from)
{
	for (guint i = 0; i < MIN(slot->n_sources, NBH_ICE_SOURCES_MAX); i++)
		if (nbh_endpoint_equal(&slot->sources[i], from))
			return TRUE;

	return FALSE;
}

/*
 * libnice makes a candidate of every address that a good request comes from, keeps it as long as the
 * agent lives, and checks it. So a peer that lies about where its packets come from would fill our
 * memory and have us send to strangers.
 */
static gboolean may_come_from(Slot *slot, const struct nbh_endpoint *from)
{
	if (!nbh_allowance_take(&slot->new_sources, NBH_ICE_SOURCES_MAX, NBH_ICE_SOURCE_EVERY_MS, nbh_mono_now()))
		return FALSE;

	slot->sources[slot->n_sources++ % NBH_ICE_SOURCES_MAX] = *from;
	return TRUE;
}

/* TRUE: done. FALSE: there is an agent now, and it is for that. */
static gboolean take_settled(NbhPort *port, Slot *slot, const NbhPacket *packet, const NbhTxid *entry, gboolean is_known)
{
	NbhRespond session = { slot->local.ufrag, slot->remote.ufrag, slot->settled.controlling, slot->settled.selected };
	guint8 answer[ANSWER_MAX + NBH_STUN_PAIR_ID_ROOM];
	gsize len;

	if (!is_known || !nbh_respond_is_plain(&session, packet)) {
		slot->settled.wanted(slot->settled.owner);

		if (!slot->context)
			port->counters.drop_other++;

		return !slot->context;
	}

	slot->last_heard = g_get_monotonic_time();
	len = nbh_stun_make_ice_answer(answer, ANSWER_MAX, entry->id, &packet->from, slot->local.pwd);

	if (entry->has_pair_id) {
		len = nbh_stun_echo_pair_id(answer, len, entry->pair_id);
		port->counters.echoed++;
	}

	port->counters.in_requests++;
	port->counters.out_answers++;
	port->counters.plain++;
	port->io.send(&packet->to.addr, &packet->from, answer, len, port->owner);
	return TRUE;
}

static void take_request(NbhPort *port, NbhPacket *packet, const NbhTxid *entry)
{
	char ufrag[NBH_ICE_UFRAG_MAX + 1];
	NbhTxid asking = *entry;
	gboolean is_known;
	Slot *slot = NULL;

	if (nbh_stun_local_ufrag(packet->payload, packet->len, ufrag))
		slot = g_hash_table_lookup(port->by_ufrag, ufrag);

	if (!slot) {
		port->counters.drop_ufrag++;
		return;
	}

	if (!nbh_stun_check_integrity(packet->payload, packet->len, slot->local.pwd)) {
		port->counters.drop_integrity++;
		return;
	}

	is_known = is_known_source(slot, &packet->from);

	if (!is_known && !may_come_from(slot, &packet->from)) {
		port->counters.drop_source++;
		return;
	}

	/* After the password: whoever has only seen the ufrag must not use up what the peer may ask. */
	if (!nbh_allowance_take(&slot->requests, NBH_ICE_REQUESTS_BURST, NBH_ICE_REQUEST_EVERY_MS, nbh_mono_now())) {
		port->counters.drop_often++;
		return;
	}

	if (!slot->context && take_settled(port, slot, packet, entry, is_known))
		return;

	asking.agent = slot->q;
	asking.local = packet->to.addr;
	nbh_txid_put(port->asking, &asking, nbh_mono_now());
	port->counters.in_requests++;
	inject(port, slot, packet);
}

static void take_answer(NbhPort *port, NbhPacket *packet)
{
	NbhTxid asked;
	Slot *slot;

	if (!nbh_txid_take(port->asked, nbh_stun_txid(packet->payload), &asked)) {
		if (!port->io.on_answer(&packet->from, packet->payload, packet->len, port->owner))
			port->counters.drop_answer++;

		return;
	}

	slot = slot_of(port, asked.agent);

	if (!slot || !slot->context || !slot->remote.pwd[0]) {
		port->counters.drop_answer++;
		return;
	}

	/* Somebody who has only seen the id must not be able to use it up. */
	if (!nbh_stun_check_integrity(packet->payload, packet->len, slot->remote.pwd)) {
		nbh_txid_put(port->asked, &asked, nbh_mono_now());
		port->counters.drop_integrity++;
		return;
	}

	port->counters.in_answers++;
	inject(port, slot, packet);
}

void nbh_port_take(NbhPort *port, NbhPacket *packet)
{
	NbhTxid entry = { .agent = 0 };
	gboolean cut;

	if (!nbh_stun_is_message(packet->payload, packet->len) || nbh_stun_method(packet->payload) != BINDING ||
	    !nbh_port_may_reach(port, &packet->from) || nbh_addr_is_multicast(&packet->to.addr)) {
		port->counters.drop_other++;
		return;
	}

	entry.has_pair_id = nbh_stun_pair_id(packet->payload, packet->len, entry.pair_id);
	packet->len = nbh_stun_trim(packet->payload, packet->len, &cut);
	port->counters.trimmed += !!cut;

	switch (nbh_stun_class(packet->payload)) {
	case NBH_STUN_REQUEST:
		memcpy(entry.id, nbh_stun_txid(packet->payload), NBH_STUN_TXID_LEN);
		take_request(port, packet, &entry);
		break;
	case NBH_STUN_SUCCESS:
	case NBH_STUN_ERROR:
		take_answer(port, packet);
		break;
	case NBH_STUN_INDICATION:
		port->counters.drop_other++; /* keeps a NAT open, says nothing */
		break;
	}
}

/* ---- agents -------------------------------------------------------------------------------- */

static void slot_free(gpointer data)
{
	Slot *slot = data;

	g_clear_pointer(&slot->context, g_main_context_unref);
	g_free(slot);
}

guint16 nbh_port_add(NbhPort *port, const NbhPortAgent *agent)
{
	Slot *slot;

	if (port->active->len >= Q_COUNT || g_hash_table_contains(port->by_ufrag, agent->local->ufrag))
		return 0;

	while (port->slots[port->next])
		port->next = (port->next + 1) % Q_COUNT;

	slot = g_new0(Slot, 1);
	slot->q = (guint16)(Q_FIRST + port->next);
	slot->index = port->active->len;
	slot->local = *agent->local;
	slot->keepalives = agent->keepalives;
	slot->on_heard = agent->on_heard;
	slot->owner = agent->owner;
	slot->context = g_main_context_ref(agent->context);
	slot->due = -1;
	port->slots[port->next] = slot;
	port->next = (port->next + 1) % Q_COUNT;
	g_ptr_array_add(port->active, slot);
	g_hash_table_insert(port->by_ufrag, slot->local.ufrag, slot);
	return slot->q;
}

void nbh_port_set_remote(NbhPort *port, guint16 q, const NbhIceCreds *remote)
{
	Slot *slot = slot_of(port, q);

	if (slot)
		slot->remote = *remote;
}

void nbh_port_remove(NbhPort *port, guint16 q)
{
	Slot *slot = slot_of(port, q), *last;

	if (!slot)
		return;

	g_hash_table_remove(port->by_ufrag, slot->local.ufrag);
	port->slots[q - Q_FIRST] = NULL;
	last = g_ptr_array_index(port->active, port->active->len - 1);
	last->index = slot->index;
	g_ptr_array_remove_index_fast(port->active, slot->index);
}

void nbh_port_settle(NbhPort *port, guint16 q, const NbhPortSettled *settled)
{
	Slot *slot = slot_of(port, q);

	if (!slot)
		return;

	g_clear_pointer(&slot->context, g_main_context_unref);
	slot->due = -1;
	slot->on_heard = NULL; /* its owner goes */
	slot->settled = *settled;
}

void nbh_port_attach(NbhPort *port, guint16 q, GMainContext *context)
{
	Slot *slot = slot_of(port, q);

	if (slot && !slot->context)
		slot->context = g_main_context_ref(context);
}

gint64 nbh_port_last_heard(const NbhPort *port, guint16 q)
{
	const Slot *slot = slot_of(port, q);

	return slot ? slot->last_heard : 0;
}

void nbh_port_set_overlay(NbhPort *port, const struct nbh_prefix *v4, const struct nbh_prefix *v6)
{
	port->overlay[0] = *v4;
	port->overlay[1] = *v6;
}

void nbh_port_get_overlay(const NbhPort *port, struct nbh_prefix *ret_v4, struct nbh_prefix *ret_v6)
{
	*ret_v4 = port->overlay[0];
	*ret_v6 = port->overlay[1];
}

gboolean nbh_port_has_v6(const NbhPort *port)
{
	return port->has_v6;
}

const NbhPortCounters *nbh_port_counters(const NbhPort *port)
{
	return &port->counters;
}

NbhPort *nbh_port_new(int tun, gboolean has_v6, const NbhPortIo *io, gpointer owner)
{
	NbhPort *port = g_new0(NbhPort, 1);

	port->io = *io;
	port->owner = owner;
	port->tun = tun;
	port->has_v6 = has_v6;
	port->active = g_ptr_array_new_with_free_func(slot_free);
	port->by_ufrag = g_hash_table_new(g_str_hash, g_str_equal);
	port->asked = nbh_txid_table_new(NBH_ICE_TXIDS_MAX);
	port->asking = nbh_txid_table_new(NBH_ICE_TXIDS_MAX);
	port->timer_at = -1;
	port->timer = nbh_source_new_timer(on_timer, port);
	port->tun_source = g_unix_fd_source_new(tun, G_IO_IN);
	g_source_set_can_recurse(port->tun_source, TRUE); /* see server.c */
	g_source_set_callback(port->tun_source, G_SOURCE_FUNC(on_tun), port, NULL);
	g_source_attach(port->tun_source, g_main_context_get_thread_default());
	return port;
}

void nbh_port_free(NbhPort *port)
{
	if (!port)
		return;

	nbh_source_drop(&port->timer);
	nbh_source_drop(&port->tun_source);
	g_hash_table_unref(port->by_ufrag);
	g_ptr_array_unref(port->active);
	nbh_txid_table_free(port->asked);
	nbh_txid_table_free(port->asking);
	g_free(port);
}
