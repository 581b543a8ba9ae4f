#ifndef NBH_ICE_PORT_H
#define NBH_ICE_PORT_H

/*
 * The port adaptor (ice-port.md): many libnice agents appear on the wire as one UDP port. Each
 * agent's sockets are bound to the TUN's addresses and one port Q of its own; this module carries
 * STUN between the TUN and the network.
 *
 *   in   requests go by the ufrag in front of ':' in USERNAME, answers by transaction id; both must
 *        carry a MESSAGE-INTEGRITY made with the session's password, anything else is dropped here
 *        and unanswered. A session is heard from NBH_ICE_SOURCES_MAX addresses. Trimmed behind
 *        FINGERPRINT; only the first answer of a transaction passes (interop.md rules 1 and 4).
 *   out  Binding only. An answer leaves from the address that was asked and echoes 0x8100 (rule 2),
 *        a check from the kernel's natural source.
 *
 * A session that has settled has no agent: what its peer asks to know that we are there is answered
 * here (respond.h), and before anything else an agent is called for.
 *
 * It knows no socket but the TUN's and no libnice.
 */

#include "base/limits.h"
#include "core/conn.h"
#include "ice/packet.h"

typedef struct _NbhPort NbhPort;

typedef struct {
	void (*send)(const struct nbh_addr *from, const struct nbh_endpoint *to, const guint8 *payload,
	             gsize len, gpointer owner);
	gboolean (*natural_source)(const struct nbh_endpoint *to, struct nbh_addr *ret_from, gpointer owner);
	/* An answer that belongs to no agent; TRUE if somebody knows it. */
	gboolean (*on_answer)(const struct nbh_endpoint *from, const guint8 *payload, gsize len, gpointer owner);
} NbhPortIo;

typedef struct {
	guint64 in_requests, in_answers, out_requests, out_answers, out_indications;
	guint64 trimmed, echoed, plain; /* plain: requests answered without an agent */
	/* dropped: no STUN Binding, unknown ufrag, wrong password, unknown or repeated answer, not sent out */
	guint64 drop_other, drop_ufrag, drop_integrity, drop_answer, drop_out;
	guint64 drop_source; /* right password, but from more addresses than NBH_ICE_SOURCES_MAX */
	guint64 drop_often;  /* right password, but more than the allowance of one session */
} NbhPortCounters;

/* tun: borrowed; packets without header, one per read or write. */
NbhPort *nbh_port_new(int tun, gboolean has_v6, const NbhPortIo *io, gpointer owner);
void nbh_port_free(NbhPort *port); /* all agents must have been removed */

/* A packet from the raw sockets; its payload is changed. */
void nbh_port_take(NbhPort *port, NbhPacket *packet);

typedef struct {
	const NbhIceCreds *local;
	GMainContext *context; /* the agent's own; a reference is taken */
	gboolean keepalives;   /* FALSE: its Binding indications are not sent */
	/* Once: the first packet with a right MESSAGE-INTEGRITY came, and from there. Not to be answered by remove(). */
	void (*on_heard)(const struct nbh_endpoint *from, gpointer owner);
	gpointer owner;
} NbhPortAgent;

/*
 * Gives the agent its Q, from the rotating range, so that late packets do not hit a successor.
 * 0: this ufrag is in use, or too many agents.
 */
guint16 nbh_port_add(NbhPort *port, const NbhPortAgent *agent);
void nbh_port_set_remote(NbhPort *port, guint16 q, const NbhIceCreds *remote);
void nbh_port_remove(NbhPort *port, guint16 q);

/*
 * Its agent is no more; its credentials, its Q and the addresses that it was heard from stay. wanted:
 * a request that needs an agent is there, nbh_port_attach() brings it one; else it is dropped. Not
 * from inside a signal of the agent.
 */
typedef struct {
	gboolean controlling;         /* us */
	struct nbh_endpoint selected; /* the far end of the pair */
	void (*wanted)(gpointer owner);
	gpointer owner;
} NbhPortSettled;

void nbh_port_settle(NbhPort *port, guint16 q, const NbhPortSettled *settled);
void nbh_port_attach(NbhPort *port, guint16 q, GMainContext *context);

/*
 * Runs the agent's context until it has nothing to do and sends what it wrote. Call it after every
 * call on the agent. Signals of the agent come from here.
 */
void nbh_port_pump(NbhPort *port, guint16 q);

/* When the last packet with a right MESSAGE-INTEGRITY came; g_get_monotonic_time(), 0: never. */
gint64 nbh_port_last_heard(const NbhPort *port, guint16 q);

/* Addresses the agent has to use; has_v6 tells whether the second one exists. */
gboolean nbh_port_has_v6(const NbhPort *port);

/* Whether a packet may be sent there at all: no loopback, multicast, link-local v6, dummy address. */
gboolean nbh_port_may_send_to(const struct nbh_endpoint *to);

/*
 * The networks inside the tunnels (family 0: none): nothing is sent to them or taken from them. A
 * path through the tunnel would lead into itself.
 */
void nbh_port_set_overlay(NbhPort *port, const struct nbh_prefix *v4, const struct nbh_prefix *v6);
void nbh_port_get_overlay(const NbhPort *port, struct nbh_prefix *ret_v4, struct nbh_prefix *ret_v6);
gboolean nbh_port_may_reach(const NbhPort *port, const struct nbh_endpoint *to); /* not inside, and may_send_to() */

const NbhPortCounters *nbh_port_counters(const NbhPort *port);

#endif
