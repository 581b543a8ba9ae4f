#ifndef NBH_TESTS_LIB_CONNWORLD_H
#define NBH_TESTS_LIB_CONNWORLD_H

/*
 * Two ends against each other in one process: two machines, or a machine and a small model of the
 * official client (netbird-wire.md 4.2-4.4, 4.8; interop.md; connworld-official.c). Time is virtual; the
 * signal server loses, delays, repeats and reorders by a seeded schedule, processes and networks fail.
 *
 * ICE is a fake that selects when both agents are open with each other's credentials.
 */

#include "core/conn.h"

#define ITEMS_MAX 256
#define FAULTS_UNTIL_MS 60000

typedef enum {
	ITEM_MESSAGE,
	ITEM_SENT,
	ITEM_SLOT,
	ITEM_SELECTED,
	ITEM_HANDSHAKE,
	ITEM_FAULT,
	ITEM_ICE_BACK,
	ITEM_PATH_BACK,
	ITEM_SIGNAL_BACK,
} ItemKind;

typedef struct {
	gint64 at_ms;
	guint32 order;
	ItemKind kind;
	guint side; /* whom it is for */
	NbhConnEventType message;
	NbhIceCreds creds; /* of an offer; of a candidate only the ufrag */
	NbhSessionId session;
	guint port;
	NbhConnSent sent;
	guint generation; /* of the agent that is selected */
} Item;

typedef struct {
	gboolean open, remote_set, selected, failed;
	NbhIceCreds local, remote;
	guint n_candidates, generation;
	gint64 fails_at_ms, unmatched_since_ms; /* G_MAXINT64: never; matched */
} Agent;

typedef struct {
	gboolean awake;
	NbhIceCreds creds;
	NbhSessionId session, remote_session;
	gboolean wants_handshake;
	gint64 guard_at_ms, handshake_by_ms, busy_until_ms;
	guint guard_ms;
} Official;

typedef struct {
	gboolean is_official;
	NbhConn conn;
	Official official;
	Agent agent;
	guint wg_epoch; /* grows when this side's WireGuard peer is made anew */
	guint32 wg_session;
	gboolean has_slot_item;
	gboolean ice_down; /* netbird-ice is not there: what it is told is lost */
} Side;

typedef struct {
	Side sides[2];
	Item items[ITEMS_MAX];
	gsize n_items;
	gint64 now_ms;
	guint32 order, serial, rng;
	gboolean path_open, matched, is_manual, is_faulty;
	guint loss_percent, repeat_percent, late_percent;
	gint64 signal_down_until_ms[2], last_sent_ms, last_handshake_ms;
	guint handshake_epochs, handshake_timeouts, n_sent;
	gboolean verbose;
} World;

guint32 world_dice(World *world, guint32 n);
NbhSessionId world_fresh_session(World *world);
NbhIceCreds world_fresh_creds(World *world);
Item *world_add_item(World *world, gint64 delay_ms, ItemKind kind, guint side);
Item world_take_item(World *world, gsize i);
void world_send_message(World *world, guint from, const Item *message);
void world_send_offer(World *world, guint from, NbhConnEventType type, const NbhIceCreds *creds, const NbhSessionId *session);
void world_send_candidates(World *world, guint from, const NbhIceCreds *creds);
void world_check_match(World *world);
void world_open_agent(World *world, guint side, const NbhIceCreds *local);
void world_close_agent(World *world, guint side);
void world_set_remote(World *world, guint side, const NbhIceCreds *remote);
void world_step(World *world, guint side, NbhConnEvent *event);
void world_machine_init(World *world, guint side, gboolean controlling);
void helper_start(World *world, guint side, gboolean with_path);
void world_on_item(World *world, const Item *item);
/* One event. FALSE: nothing before the limit. In manual mode messages wait until they are popped. */
gboolean world_turn(World *world, gint64 until_ms);
void world_run(World *world, gint64 until_ms);

/* The official client. */
void official_wake(World *world, guint side);
void official_sleep(World *world, guint side);
void official_message(World *world, guint side, const Item *item);
gint64 official_next_ms(const Side *self);
void official_timers(World *world, guint side);

#endif
