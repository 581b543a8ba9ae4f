/*
 * Two ends against each other in one process: two machines, or a machine and a small model of the
 * official client (netbird-wire.md 4.2-4.4, 4.8; interop.md). Time is virtual; the signal server
 * loses, delays, repeats and reorders by a seeded schedule, processes and networks fail, and then
 * everybody has to be connected within bounded time and has to fall silent.
 *
 * ICE is a fake that selects when both agents are open with each other's credentials.
 */
#include "config.h"

#include "core/conn.h"

#include <string.h>

#define ITEMS_MAX 256
#define FAULTS_UNTIL_MS 60000
#define CONVERGE_MS 150000
#define QUIET_MS 300000

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

/* ---- small things ---- */

static guint32 dice(World *world, guint32 n)
{
	world->rng = world->rng * 1664525u + 1013904223u;
	return (guint32)((guint64)(world->rng >> 8) * n >> 24);
}

static nbh_mono mono(gint64 ms)
{
	return (nbh_mono){ (ms + 1000000) * 1000 };
}

static NbhSessionId fresh_session(World *world)
{
	NbhSessionId session = { .present = TRUE };

	world->serial++;
	memcpy(session.bytes, &world->serial, 4);
	return session;
}

static NbhIceCreds fresh_creds(World *world)
{
	NbhIceCreds creds = { .ufrag = "" };

	world->serial++;
	g_snprintf(creds.ufrag, sizeof(creds.ufrag), "u%u", world->serial);
	g_snprintf(creds.pwd, sizeof(creds.pwd), "p%u", world->serial);
	return creds;
}

static gboolean creds_equal(const NbhIceCreds *a, const NbhIceCreds *b)
{
	return strcmp(a->ufrag, b->ufrag) == 0 && strcmp(a->pwd, b->pwd) == 0;
}

static Item *add_item(World *world, gint64 delay_ms, ItemKind kind, guint side)
{
	Item *item = &world->items[world->n_items++];

	g_assert_cmpuint(world->n_items, <, ITEMS_MAX);
	memset(item, 0, sizeof(*item));
	item->at_ms = world->now_ms + delay_ms;
	item->order = world->order++;
	item->kind = kind;
	item->side = side;
	return item;
}

static Item take_item(World *world, gsize i)
{
	Item item = world->items[i];

	world->items[i] = world->items[--world->n_items];
	return item;
}

/* ---- signal ---- */

static gint64 travel_ms(World *world)
{
	if (dice(world, 100) < world->late_percent)
		return 100 + dice(world, 6000);
	return 3 + dice(world, 30);
}

static void send_message(World *world, guint from, const Item *message)
{
	guint copies = 1 + (dice(world, 100) < world->repeat_percent);

	world->last_sent_ms = world->now_ms;
	world->n_sent++;
	if (world->now_ms < world->signal_down_until_ms[from] || world->now_ms < world->signal_down_until_ms[!from])
		return;
	for (guint i = 0; i < copies; i++) {
		Item *item;
		gint64 at_ms = world->now_ms + (world->is_manual ? 0 : travel_ms(world));

		if (dice(world, 100) < world->loss_percent)
			continue;
		item = add_item(world, 0, ITEM_MESSAGE, !from);
		item->at_ms = at_ms;
		item->message = message->message;
		item->creds = message->creds;
		item->session = message->session;
		item->port = message->port;
	}
}

static void send_offer(World *world, guint from, NbhConnEventType type, const NbhIceCreds *creds, const NbhSessionId *session)
{
	Item message = { .message = type, .creds = *creds, .session = *session };

	send_message(world, from, &message);
}

static void send_candidates(World *world, guint from, const NbhIceCreds *creds)
{
	for (guint i = 0; i < 2; i++) {
		Item message = { .message = NBH_CONN_EV_CANDIDATE, .creds = *creds, .port = 1000 * (from + 1) + i };

		send_message(world, from, &message);
	}
}

/* ---- ICE ---- */

static void check_match(World *world)
{
	Agent *a = &world->sides[0].agent, *b = &world->sides[1].agent;
	gboolean matched = world->path_open && a->open && b->open && a->remote_set && b->remote_set &&
	                   creds_equal(&a->local, &b->remote) && creds_equal(&b->local, &a->remote) &&
	                   a->n_candidates + b->n_candidates > 0;

	for (guint i = 0; i < 2; i++) {
		Agent *agent = &world->sides[i].agent, *other = &world->sides[!i].agent;
		gboolean controlling = world->sides[i].conn.controlling;

		if (!matched) {
			if (agent->unmatched_since_ms == G_MAXINT64)
				agent->unmatched_since_ms = world->now_ms;
			continue;
		}
		agent->unmatched_since_ms = G_MAXINT64;
		/* Rule 16: who has nominated does not do so again for a controlled agent made anew. */
		if (!agent->selected && (controlling || !other->selected)) {
			Item *item = add_item(world, 15 + dice(world, 60), ITEM_SELECTED, i);

			item->generation = agent->generation;
		}
	}
	world->matched = matched;
}

static void open_agent(World *world, guint side, const NbhIceCreds *local)
{
	Agent *agent = &world->sides[side].agent;

	agent->open = TRUE;
	agent->remote_set = agent->selected = agent->failed = FALSE;
	agent->local = *local;
	agent->n_candidates = 0;
	agent->generation++;
	agent->fails_at_ms = G_MAXINT64;
	agent->unmatched_since_ms = world->now_ms;
	check_match(world);
}

static void close_agent(World *world, guint side)
{
	world->sides[side].agent.open = FALSE;
	world->sides[side].agent.generation++;
	check_match(world);
}

static void set_remote(World *world, guint side, const NbhIceCreds *remote)
{
	Agent *agent = &world->sides[side].agent;

	agent->remote = *remote;
	agent->remote_set = TRUE;
	agent->fails_at_ms = world->now_ms + (world->sides[side].is_official ? 12000 : 7100);
	check_match(world);
}

/* ---- WireGuard ---- */

static gboolean has_endpoint(const Side *side)
{
	if (side->is_official)
		return side->agent.open && side->agent.selected;
	return side->conn.path.kind == NBH_PATH_DIRECT;
}

/*
 * Who has an endpoint begins, and the other one learns its endpoint from that. An official side
 * that has none does not know us, or has forgotten us.
 */
static gboolean may_shake_hands(const World *world)
{
	gboolean a = has_endpoint(&world->sides[0]), b = has_endpoint(&world->sides[1]);

	return world->sides[1].is_official ? a && b : a || b;
}

/* One handshake as soon as it can be and one of them has a new peer; then every 120 s. */
static void check_wireguard(World *world)
{
	guint epochs = world->sides[0].wg_epoch + world->sides[1].wg_epoch;
	gboolean is_due = epochs != world->handshake_epochs || world->now_ms - world->last_handshake_ms >= 120000;

	for (gsize i = world->n_items; i-- > 0;) {
		if (world->items[i].kind == ITEM_HANDSHAKE)
			take_item(world, i);
	}
	if (may_shake_hands(world))
		add_item(world, is_due ? 60 : 120000 - (world->now_ms - world->last_handshake_ms), ITEM_HANDSHAKE, 0);
}

/* ---- a helper's end ---- */

static void step(World *world, guint side, NbhConnEvent *event);

static void act(World *world, guint side, const NbhConnAction *action)
{
	Side *self = &world->sides[side];
	NbhConn *conn = &self->conn;
	Item *item;

	switch (action->type) {
	case NBH_CONN_DO_SEND_OFFER:
	case NBH_CONN_DO_SEND_ANSWER:
		send_offer(world, side, action->type == NBH_CONN_DO_SEND_OFFER ? NBH_CONN_EV_OFFER : NBH_CONN_EV_ANSWER,
		           &conn->local, &conn->local_session);
		item = add_item(world, 2 + dice(world, 20), ITEM_SENT, side);
		item->sent = action->type == NBH_CONN_DO_SEND_OFFER ? NBH_CONN_SENT_OFFER : NBH_CONN_SENT_ANSWER;
		break;
	case NBH_CONN_DO_SEND_CANDIDATES:
		send_candidates(world, side, &conn->local);
		item = add_item(world, 2 + dice(world, 20), ITEM_SENT, side);
		item->sent = NBH_CONN_SENT_CANDIDATES;
		break;
	case NBH_CONN_DO_WANT_SLOT:
		self->has_slot_item = TRUE;
		add_item(world, world->is_faulty && dice(world, 10) == 0 ? dice(world, 5000) : 0, ITEM_SLOT, side);
		break;
	case NBH_CONN_DO_RELEASE_SLOT:
		self->has_slot_item = FALSE;
		break;
	case NBH_CONN_DO_ICE_OPEN:
		if (!self->ice_down)
			open_agent(world, side, &conn->local);
		break;
	case NBH_CONN_DO_ICE_REMOTE:
		g_assert_true(self->agent.open || self->ice_down);
		if (self->agent.open)
			set_remote(world, side, &conn->remote);
		break;
	case NBH_CONN_DO_ICE_CANDIDATE:
		g_assert_true(self->agent.open || self->ice_down);
		self->agent.n_candidates++;
		check_match(world);
		break;
	case NBH_CONN_DO_ICE_CLOSE:
		close_agent(world, side);
		break;
	case NBH_CONN_DO_PUBLISH:
		if (action->u.path.session != self->wg_session)
			self->wg_epoch++;
		self->wg_session = action->u.path.session;
		check_wireguard(world);
		break;
	case NBH_CONN_DO_SEND_GO_IDLE:
	case NBH_CONN_DO_FORWARD:
	case NBH_CONN_DO_ARM:
	case NBH_CONN_DO_DISARM:
	case NBH_CONN_N_ACTIONS:
		break;
	}
}

static void step(World *world, guint side, NbhConnEvent *event)
{
	NbhConnActions actions;

	event->random = dice(world, 1u << 24) << 8;
	event->new_session = fresh_session(world);
	event->new_creds = fresh_creds(world);
	nbh_conn_step(&world->sides[side].conn, event, mono(world->now_ms), &actions);
	g_assert_false(actions.illegal);
	g_assert_cmpuint(actions.n, <, NBH_CONN_ACTIONS_MAX);
	if (world->verbose && (actions.changed || event->type != NBH_CONN_EV_SENT))
		g_printerr("%8" G_GINT64_FORMAT " helper %u: %s: %s -> %s %s\n", world->now_ms, side,
		           nbh_conn_event_name(event->type), nbh_conn_state_name(actions.from),
		           nbh_conn_state_name(actions.to), actions.reason);
	for (gsize i = 0; i < actions.n; i++)
		act(world, side, &actions.items[i]);
}

static void give(World *world, guint side, NbhConnEventType type)
{
	NbhConnEvent event = { .type = type };

	step(world, side, &event);
}

static void helper_message(World *world, guint side, const Item *item)
{
	NbhConnEvent event = { .type = item->message };

	if (item->message == NBH_CONN_EV_CANDIDATE) {
		event.u.candidate = (NbhCandidate){ .foundation = "f", .priority = item->port };
		g_assert_cmpint(nbh_endpoint_parse("192.0.2.1:1", &event.u.candidate.endpoint), ==, 0);
		event.u.candidate.endpoint.port = (guint16)item->port;
		g_strlcpy(event.u.candidate.ufrag, item->creds.ufrag, sizeof(event.u.candidate.ufrag));
	} else {
		event.u.offer.has_ice = TRUE;
		event.u.offer.creds = item->creds;
		event.u.offer.session = item->session;
	}
	step(world, side, &event);
}

static void machine_init(World *world, guint side, gboolean controlling)
{
	const struct nbh_key low = { { 0x10 } }, high = { { 0x80 } };
	NbhConn *conn = &world->sides[side].conn;

	nbh_conn_init(conn, controlling ? &high : &low, controlling ? &low : &high, mono(world->now_ms));
	g_assert_cmpint(conn->controlling, ==, controlling);
}

static void helper_start(World *world, guint side, gboolean with_path)
{
	Side *self = &world->sides[side];
	NbhConnEvent event = { .type = NBH_CONN_EV_START };
	NbhPath path = self->conn.path;

	machine_init(world, side, self->conn.controlling);
	self->has_slot_item = FALSE;
	event.u.start.far_is_helper = !world->sides[!side].is_official;
	if (with_path && path.kind == NBH_PATH_DIRECT) {
		event.u.start.endpoint = path.endpoint;
		event.u.start.session = path.session;
	} else if (with_path && path.kind == NBH_PATH_IDLE) {
		g_assert_cmpint(nbh_endpoint_parse("127.1.0.2:7", &event.u.start.endpoint), ==, 0);
		event.u.start.session = path.session;
	}
	step(world, side, &event);
}

/* ---- the official client ---- */

static void official_open(World *world, guint side, const Item *item)
{
	Official *official = &world->sides[side].official;

	official->remote_session = item->session;
	open_agent(world, side, &official->creds);
	set_remote(world, side, &item->creds);
	send_candidates(world, side, &official->creds);
}

static void official_offer(World *world, guint side)
{
	Official *official = &world->sides[side].official;

	send_offer(world, side, NBH_CONN_EV_OFFER, &official->creds, &official->session);
}

static void official_wake(World *world, guint side)
{
	Official *official = &world->sides[side].official;

	official->awake = TRUE;
	official->creds = fresh_creds(world);
	official->session = fresh_session(world);
	official->guard_ms = 3000;
	official->guard_at_ms = world->now_ms + 3000;
	official_offer(world, side);
}

static void official_sleep(World *world, guint side)
{
	Item message = { .message = NBH_CONN_EV_GO_IDLE };

	send_message(world, side, &message);
	close_agent(world, side);
	world->sides[side].official.awake = FALSE;
	world->sides[side].wg_epoch++;
}

/* It came to nothing, or to nothing more: another session id, the credentials stay (4.3). */
static void official_drop(World *world, guint side)
{
	Official *official = &world->sides[side].official;

	if (world->sides[side].agent.selected)
		world->sides[side].wg_epoch++; /* it drops its WireGuard keys: rule 7 */
	close_agent(world, side);
	official->session = fresh_session(world);
}

static void official_process(World *world, guint side, const Item *item)
{
	Side *self = &world->sides[side];
	Official *official = &self->official;
	gboolean is_new = item->session.present &&
	                  memcmp(item->session.bytes, official->remote_session.bytes, NBH_SESSION_ID_LEN) != 0;

	if (!self->agent.open) {
		official_open(world, side, item);
	} else if (is_new) {
		official_drop(world, side);
		official_open(world, side, item);
	}
	if (item->message == NBH_CONN_EV_OFFER)
		send_offer(world, side, NBH_CONN_EV_ANSWER, &official->creds, &official->session);
}

static void official_message(World *world, guint side, const Item *item)
{
	Side *self = &world->sides[side];
	Official *official = &self->official;

	if (!official->awake) {
		official_wake(world, side);
		if (dice(world, 100) < 60) /* the message that wakes it is mostly lost: 4.2 */
			return;
	}
	if (item->message == NBH_CONN_EV_CANDIDATE) {
		/* None kept without an agent. */
		if (self->agent.open && strcmp(item->creds.ufrag, self->agent.remote.ufrag) == 0) {
			self->agent.n_candidates++;
			check_match(world);
		}
		return;
	}
	if (world->now_ms < official->busy_until_ms) /* one at a time; the others are dropped: 4.2 */
		return;
	official->busy_until_ms = world->now_ms + dice(world, 4);
	official_process(world, side, item);
}

static gint64 official_next_ms(const Side *self)
{
	gint64 next_ms = self->official.awake ? self->official.guard_at_ms : G_MAXINT64;

	if (self->agent.open && !self->agent.selected)
		next_ms = MIN(next_ms, self->agent.fails_at_ms);
	if (self->agent.open && self->agent.selected && self->agent.unmatched_since_ms != G_MAXINT64)
		next_ms = MIN(next_ms, self->agent.unmatched_since_ms + 6000);
	if (self->agent.open && self->official.wants_handshake)
		next_ms = MIN(next_ms, self->official.handshake_by_ms);
	return next_ms;
}

static void official_timers(World *world, guint side)
{
	Side *self = &world->sides[side];
	Official *official = &self->official;

	if (self->agent.open && !self->agent.selected && world->now_ms >= self->agent.fails_at_ms) {
		official_drop(world, side);
	} else if (self->agent.open && self->agent.selected && self->agent.unmatched_since_ms != G_MAXINT64 &&
	           world->now_ms >= self->agent.unmatched_since_ms + 6000) {
		official_drop(world, side);
		official->guard_ms = 800;
		official->guard_at_ms = world->now_ms + 800;
	} else if (self->agent.open && official->wants_handshake && world->now_ms >= official->handshake_by_ms) {
		/* Evidence 4.6: a new agent, and an OFFER with the same session id. */
		NbhIceCreds remote = self->agent.remote;

		world->handshake_timeouts++;
		official->wants_handshake = FALSE;
		open_agent(world, side, &official->creds);
		set_remote(world, side, &remote);
		official_offer(world, side);
		send_candidates(world, side, &official->creds);
	} else if (official->awake && world->now_ms >= official->guard_at_ms) {
		official->guard_ms = MIN(official->guard_ms * 2, 40000);
		official->guard_at_ms = world->now_ms + official->guard_ms;
		if (!self->agent.open)
			official_offer(world, side);
	}
}

/* ---- the loop ---- */

static void on_selected(World *world, const Item *item)
{
	Side *self = &world->sides[item->side];
	NbhConnEvent event = { .type = NBH_CONN_EV_SELECTED };

	if (!self->agent.open || self->agent.generation != item->generation || !world->matched || self->agent.selected)
		return;
	self->agent.selected = TRUE;
	if (self->is_official) {
		self->official.wants_handshake = TRUE;
		self->official.handshake_by_ms = world->now_ms + 30000;
		check_wireguard(world);
		return;
	}
	g_assert_cmpint(nbh_endpoint_parse("203.0.113.7:51820", &event.u.pair.remote), ==, 0);
	step(world, item->side, &event);
}

static void on_handshake(World *world)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_HANDSHAKE };

	if (!may_shake_hands(world))
		return;
	if (!world->path_open) {
		add_item(world, 5000, ITEM_HANDSHAKE, 0);
		return;
	}
	world->last_handshake_ms = world->now_ms;
	world->handshake_epochs = world->sides[0].wg_epoch + world->sides[1].wg_epoch;
	for (guint i = 0; i < 2; i++) {
		world->sides[i].official.wants_handshake = FALSE;
		event.u.handshake_at = mono(world->now_ms);
		if (!world->sides[i].is_official)
			step(world, i, &event);
	}
	check_wireguard(world);
}

static void helper_dies(World *world, guint side)
{
	Side *self = &world->sides[side];
	NbhConnEvent event = { .type = NBH_CONN_EV_ADOPT };
	guint how = dice(world, 3);
	NbhConn old = self->conn;

	if (how == 0) { /* the machine restarts */
		self->wg_epoch++;
		close_agent(world, side);
	}
	for (gsize i = world->n_items; i-- > 0;) {
		if (world->items[i].side == side && (world->items[i].kind == ITEM_SENT || world->items[i].kind == ITEM_SLOT))
			take_item(world, i);
	}
	helper_start(world, side, how != 0);
	if (!self->agent.open)
		return;
	event.u.adopt.local = self->agent.local;
	event.u.adopt.remote = self->agent.remote_set ? self->agent.remote : (NbhIceCreds){ .ufrag = "" };
	event.u.adopt.local_session = old.local_session;
	event.u.adopt.remote_session = old.remote_session;
	event.u.adopt.selected = self->agent.selected;
	g_assert_cmpint(nbh_endpoint_parse("203.0.113.7:51820", &event.u.adopt.pair.remote), ==, 0);
	step(world, side, &event);
}

static void helper_restarts(World *world, guint side)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_HANDSHAKE };
	guint epoch = world->sides[side].wg_epoch;

	helper_dies(world, side);
	if (epoch != world->sides[side].wg_epoch)
		return;
	event.u.handshake_at = mono(world->last_handshake_ms); /* from wg/status.json */
	step(world, side, &event);
}

static void official_dies(World *world, guint side)
{
	world->sides[side].wg_epoch++;
	close_agent(world, side);
	world->sides[side].official.awake = FALSE;
	if (dice(world, 2))
		official_wake(world, side);
}

static void helper_fault(World *world, guint side)
{
	Side *self = &world->sides[side];
	NbhConnEvent event = { .type = NBH_CONN_EV_NETWORK };

	switch (dice(world, 5)) {
	case 0:
		helper_restarts(world, side);
		break;
	case 1: /* netbird-ice dies and comes back */
		if (self->ice_down)
			break;
		self->ice_down = TRUE;
		close_agent(world, side);
		add_item(world, dice(world, 9000), ITEM_ICE_BACK, side);
		break;
	case 2:
		event.u.path_changed = (gboolean)dice(world, 2);
		step(world, side, &event);
		break;
	case 3:
		event.type = NBH_CONN_EV_WAKE;
		event.u.has_initiation = (gboolean)dice(world, 2);
		if (self->conn.path.kind != NBH_PATH_DIRECT)
			step(world, side, &event);
		break;
	default:
		give(world, side, NBH_CONN_EV_OTHER_MESSAGE);
		break;
	}
}

static void on_fault(World *world)
{
	guint side = dice(world, 2);
	Side *self = &world->sides[side];

	if (world->now_ms < FAULTS_UNTIL_MS)
		add_item(world, 500 + dice(world, 12000), ITEM_FAULT, 0);

	switch (dice(world, 5)) {
	case 0: /* nothing gets through, long enough to be noticed or not */
		world->path_open = FALSE;
		check_match(world);
		add_item(world, dice(world, 15000), ITEM_PATH_BACK, 0);
		break;
	case 1:
		world->signal_down_until_ms[side] = world->now_ms + dice(world, 8000);
		add_item(world, world->signal_down_until_ms[side] - world->now_ms, ITEM_SIGNAL_BACK, side);
		break;
	default:
		if (!self->is_official)
			helper_fault(world, side);
		else if (!self->official.awake)
			official_wake(world, side); /* local traffic there */
		else if (dice(world, 2))
			official_sleep(world, side);
		else
			official_dies(world, side);
		break;
	}
}

static void on_item(World *world, const Item *item)
{
	Side *self = &world->sides[item->side];
	NbhConnEvent event = { .type = NBH_CONN_EV_SENT };

	switch (item->kind) {
	case ITEM_MESSAGE:
		if (world->verbose)
			g_printerr("%8" G_GINT64_FORMAT " -> %u %s %s\n", world->now_ms, item->side,
			           nbh_conn_event_name(item->message), item->creds.ufrag);
		if (self->is_official)
			official_message(world, item->side, item);
		else
			helper_message(world, item->side, item);
		break;
	case ITEM_SENT:
		event.u.sent.what = item->sent;
		event.u.sent.ok = TRUE;
		step(world, item->side, &event);
		break;
	case ITEM_SLOT:
		if (self->has_slot_item)
			give(world, item->side, NBH_CONN_EV_SLOT);
		break;
	case ITEM_SELECTED:
		on_selected(world, item);
		break;
	case ITEM_HANDSHAKE:
		on_handshake(world);
		break;
	case ITEM_FAULT:
		on_fault(world);
		break;
	case ITEM_ICE_BACK:
		self->ice_down = FALSE;
		if (self->conn.agent_open)
			give(world, item->side, NBH_CONN_EV_ICE_GONE);
		break;
	case ITEM_PATH_BACK:
		world->path_open = TRUE;
		check_match(world);
		check_wireguard(world);
		break;
	case ITEM_SIGNAL_BACK:
		if (!self->is_official)
			give(world, item->side, NBH_CONN_EV_SIGNAL_UP);
		break;
	}
}

/* What libnice and netbird-ice's 6 s timer tell a helper. */
static gint64 helper_agent_next_ms(const Side *self)
{
	const Agent *agent = &self->agent;

	if (!agent->open)
		return G_MAXINT64;
	if (!agent->selected && !agent->failed)
		return agent->fails_at_ms;
	if (self->conn.state == NBH_CONN_UP && !self->conn.far_is_helper && agent->unmatched_since_ms != G_MAXINT64)
		return agent->unmatched_since_ms + 6000;
	return G_MAXINT64;
}

static void helper_timers(World *world, guint side)
{
	Side *self = &world->sides[side];
	NbhConnEvent event = { .type = NBH_CONN_EV_TIMER };
	nbh_mono at = nbh_conn_next_timer(&self->conn, &event.u.timer);

	if (!nbh_mono_before(mono(world->now_ms), at)) {
		step(world, side, &event);
	} else if (world->now_ms >= helper_agent_next_ms(self)) {
		if (self->agent.selected || self->agent.failed) {
			self->agent.unmatched_since_ms = world->now_ms;
			give(world, side, NBH_CONN_EV_LOST);
		} else {
			self->agent.failed = TRUE;
			give(world, side, NBH_CONN_EV_FAILED);
		}
	}
}

static gint64 side_next_ms(const Side *self)
{
	NbhConnTimer timer;
	nbh_mono at;
	gint64 next_ms;

	if (self->is_official)
		return official_next_ms(self);
	at = nbh_conn_next_timer(&self->conn, &timer);
	next_ms = nbh_mono_before(at, NBH_MONO_NEVER) ? (at.usec + 999) / 1000 - 1000000 : G_MAXINT64;
	return MIN(next_ms, helper_agent_next_ms(self));
}

/* One event. FALSE: nothing before the limit. In manual mode messages wait until they are popped. */
static gboolean turn(World *world, gint64 until_ms)
{
	gint64 best_ms = G_MAXINT64;
	gsize best = 0;

	for (gsize i = 0; i < world->n_items; i++) {
		const Item *item = &world->items[i];

		if (world->is_manual && item->kind == ITEM_MESSAGE)
			continue;
		if (item->at_ms < best_ms || (item->at_ms == best_ms && item->order < world->items[best].order)) {
			best_ms = item->at_ms;
			best = i;
		}
	}

	{
		gint64 ms[2] = { side_next_ms(&world->sides[0]), side_next_ms(&world->sides[1]) };
		guint side = ms[1] < ms[0];

		if (ms[side] < best_ms && ms[side] <= until_ms) {
			world->now_ms = MAX(world->now_ms, ms[side]);
			if (world->sides[side].is_official)
				official_timers(world, side);
			else
				helper_timers(world, side);
			return TRUE;
		}
	}
	if (best_ms > until_ms)
		return FALSE;

	world->now_ms = MAX(world->now_ms, best_ms);
	{
		Item item = take_item(world, best);

		on_item(world, &item);
	}
	return TRUE;
}

static void run(World *world, gint64 until_ms)
{
	while (turn(world, until_ms))
		continue;
	world->now_ms = until_ms;
}

/* ---- what must come out ---- */

static gboolean is_up(const World *world, guint side)
{
	const Side *self = &world->sides[side];

	if (self->is_official)
		return self->agent.open && self->agent.selected;
	return self->conn.state == NBH_CONN_UP && self->conn.path.kind == NBH_PATH_DIRECT &&
	       self->conn.why_not_direct == NULL && self->agent.open;
}

static gboolean is_converged(const World *world)
{
	return is_up(world, 0) && is_up(world, 1) && world->matched;
}

static void world_init(World *world, guint32 seed, gboolean with_official, gboolean flip_roles)
{
	memset(world, 0, sizeof(*world));
	world->rng = seed * 2654435761u + 1;
	world->path_open = TRUE;
	world->last_handshake_ms = -1000000;
	world->sides[1].is_official = with_official;
	for (guint i = 0; i < 2; i++) {
		Side *self = &world->sides[i];

		machine_init(world, i, (gboolean)(i ^ (guint)flip_roles));
		self->agent.unmatched_since_ms = 0;
		self->agent.fails_at_ms = G_MAXINT64;
		self->official.guard_at_ms = G_MAXINT64;
	}
}

static void world_start(World *world, guint side)
{
	if (world->sides[side].is_official)
		official_wake(world, side);
	else
		helper_start(world, side, FALSE);
}

/* Local traffic where somebody sleeps, as the last thing that happens. */
static void wake_all(World *world)
{
	for (guint i = 0; i < 2; i++) {
		NbhConnEvent event = { .type = NBH_CONN_EV_WAKE, .u.has_initiation = TRUE };

		if (!world->sides[i].is_official && world->sides[i].conn.state == NBH_CONN_IDLE)
			step(world, i, &event);
	}
}

static void describe(const World *world)
{
	for (guint i = 0; i < 2; i++) {
		const Side *self = &world->sides[i];
		const Agent *agent = &self->agent;

		g_printerr("%8" G_GINT64_FORMAT " side %u: %s %s controlling=%d awake=%d agent open=%d remote=%d"
		           " selected=%d candidates=%u local=%s remote=%s matched=%d path=%d\n",
		           world->now_ms, i, self->is_official ? "official" : "helper",
		           nbh_conn_state_name(self->conn.state), self->conn.controlling, self->official.awake,
		           agent->open, agent->remote_set, agent->selected, agent->n_candidates, agent->local.ufrag,
		           agent->remote.ufrag, world->matched, world->path_open);
	}
}

static void wait_and_be_quiet(World *world, guint32 seed, gint64 *longest_ms)
{
	gint64 begin_ms = world->now_ms;
	guint sent, timeouts;

	while (!is_converged(world)) {
		if (turn(world, begin_ms + CONVERGE_MS))
			continue;
		describe(world);
		g_error("seed %u: not connected after %d s", seed, CONVERGE_MS / 1000);
	}
	*longest_ms = MAX(*longest_ms, world->now_ms - begin_ms);

	/* Messages under way may still cause a word or two; then nobody says anything any more. */
	run(world, world->now_ms + 60000);
	if (!is_converged(world))
		g_error("seed %u: lost again without any cause", seed);
	sent = world->n_sent;
	timeouts = world->handshake_timeouts;
	run(world, world->now_ms + QUIET_MS);
	if (world->n_sent != sent || !is_converged(world) || world->handshake_timeouts != timeouts)
		g_error("seed %u: not quiet: %u messages", seed, world->n_sent - sent);
}

static void run_seed(guint32 seed, gboolean with_official, gboolean with_faults, gint64 *longest_ms)
{
	g_autofree World *world = g_new(World, 1);

	world_init(world, seed, with_official, seed & 1);
	world->verbose = g_getenv("NBH_TEST_SEED") != NULL;
	world->is_faulty = TRUE;
	world->loss_percent = dice(world, 4) ? dice(world, 40) : 0;
	world->repeat_percent = dice(world, 30);
	world->late_percent = dice(world, 30);
	world_start(world, dice(world, 2));
	run(world, dice(world, 2) ? (gint64)dice(world, 3000) : 0);
	for (guint i = 0; i < 2; i++) {
		gboolean is_running = world->sides[i].is_official ? world->sides[i].official.awake :
		                                                    world->sides[i].conn.state != NBH_CONN_DOWN;

		/* A lazy official is left asleep: our OFFER wakes it. */
		if (!is_running && !(world->sides[i].is_official && dice(world, 2)))
			world_start(world, i);
	}
	if (with_faults)
		add_item(world, dice(world, 10000), ITEM_FAULT, 0);
	run(world, with_faults ? FAULTS_UNTIL_MS + 20000 : (gint64)dice(world, 30000));

	world->is_faulty = FALSE;
	world->loss_percent = world->repeat_percent = world->late_percent = 0;
	wake_all(world);
	wait_and_be_quiet(world, seed, longest_ms);
}

static void run_seeds(gboolean with_official, gboolean with_faults, guint32 n)
{
	const char *only = g_getenv("NBH_TEST_SEED");
	gint64 longest_ms = 0;

	if (only) {
		run_seed((guint32)g_ascii_strtoull(only, NULL, 10), with_official, with_faults, &longest_ms);
		return;
	}
	for (guint32 seed = 0; seed < n; seed++)
		run_seed(seed, with_official, with_faults, &longest_ms);
	g_test_message("longest: %" G_GINT64_FORMAT " ms", longest_ms);
}

static void test_helpers_bad_signal(void)
{
	run_seeds(FALSE, FALSE, 2000);
}

static void test_helpers_faults(void)
{
	run_seeds(FALSE, TRUE, 2000);
}

static void test_official_bad_signal(void)
{
	run_seeds(TRUE, FALSE, 2000);
}

static void test_official_faults(void)
{
	run_seeds(TRUE, TRUE, 2000);
}

/* Nothing wrong at all: at once, one agent each, no word too many. */
static void test_clean(void)
{
	guint n_slow = 0;

	for (guint32 seed = 0; seed < 400; seed++) {
		gboolean with_official = (seed >> 1) & 1;
		g_autofree World *world = g_new(World, 1);
		gint64 limit_ms;

		world_init(world, seed, with_official, seed & 1);
		world_start(world, 0);
		run(world, dice(world, 40));
		if (!with_official)
			world_start(world, 1); /* an official is woken by our OFFER */
		/* An official drops what comes while it is busy; its next OFFER is due after 3 s. */
		limit_ms = world->now_ms + (with_official ? 3500 : 300);
		while (!is_converged(world) && turn(world, limit_ms))
			continue;
		if (!is_converged(world))
			describe(world);
		g_assert_true(is_converged(world));
		n_slow += world->now_ms > 600;
		g_assert_cmpuint(world->sides[0].conn.attempts + world->sides[0].conn.losses, ==, 0);
		g_assert_cmpuint(world->sides[0].agent.generation, ==, 1);
		g_assert_cmpuint(world->sides[1].agent.generation, ==, 1);
		run(world, world->now_ms + QUIET_MS);
		g_assert_cmpuint(world->n_sent, <, 24);
		g_assert_true(is_converged(world));
		g_assert_cmpuint(world->handshake_timeouts, ==, 0);
	}
	g_assert_cmpuint(n_slow, <, 20);
}

/* ---- every order ---- */

static guint leaves;

static void explore(const World *from, guint depth)
{
	g_autofree World *world = g_new(World, 1);
	gint64 longest_ms = 0;

	if (depth == 0) {
		*world = *from;
		world->is_manual = FALSE;
		wait_and_be_quiet(world, leaves++, &longest_ms);
		return;
	}

	/* Let time pass, to whatever a timer says. */
	*world = *from;
	run(world, world->now_ms + 700);
	explore(world, depth - 1);

	for (gsize i = 0; i < from->n_items; i++) {
		for (guint how = 0; how < 3; how++) {
			Item item;

			if (from->items[i].kind != ITEM_MESSAGE)
				continue;
			/* Candidates are two of a kind: one order of the two is enough. */
			if (from->items[i].message == NBH_CONN_EV_CANDIDATE && (from->items[i].port & 1 || how == 2))
				continue;
			*world = *from;
			item = world->items[i];
			if (how < 2) /* else: repeated, the copy stays under way */
				take_item(world, i);
			if (how != 1)
				on_item(world, &item);
			run(world, world->now_ms + 100);
			explore(world, depth - 1);
		}
	}
}

static void test_every_order(void)
{
	for (guint kind = 0; kind < 4; kind++) {
		g_autofree World *world = g_new(World, 1);

		world_init(world, kind, kind & 2, kind & 1);
		world->is_manual = TRUE;
		world_start(world, 0);
		world_start(world, 1);
		run(world, 50);
		leaves = 0;
		explore(world, 4);
		g_test_message("%u orders", leaves);
		g_assert_cmpuint(leaves, >, 500);
	}
}

/* ---- collisions, by hand ---- */

static World *hand_new(gboolean with_official)
{
	World *world = g_new(World, 1);

	world_init(world, 1, with_official, FALSE);
	world->is_manual = TRUE;
	return world;
}

static gboolean pop(World *world, guint to, NbhConnEventType type, Item *ret_item)
{
	gsize found = ITEMS_MAX;

	for (gsize i = 0; i < world->n_items; i++) {
		const Item *item = &world->items[i];

		if (item->kind == ITEM_MESSAGE && item->side == to && item->message == type &&
		    (found == ITEMS_MAX || item->order < world->items[found].order))
			found = i;
	}
	if (found == ITEMS_MAX)
		return FALSE;
	*ret_item = take_item(world, found);
	return TRUE;
}

/* The oldest of that type; then slots and Sends come back, and what ICE makes of it. */
static void deliver(World *world, guint to, NbhConnEventType type)
{
	Item item;

	g_assert_true(pop(world, to, type, &item));
	on_item(world, &item);
	run(world, world->now_ms + 30);
}

static void drop(World *world, guint to, NbhConnEventType type)
{
	Item item;

	g_assert_true(pop(world, to, type, &item));
}

static void deliver_candidates(World *world)
{
	Item item;

	for (guint to = 0; to < 2; to++) {
		while (pop(world, to, NBH_CONN_EV_CANDIDATE, &item))
			on_item(world, &item);
	}
	run(world, world->now_ms + 300);
}

static gboolean is_silent(const World *world)
{
	for (gsize i = 0; i < world->n_items; i++) {
		if (world->items[i].kind == ITEM_MESSAGE && world->items[i].message != NBH_CONN_EV_CANDIDATE)
			return FALSE;
	}
	return TRUE;
}

static guint8 session_of(const World *world, guint side)
{
	return world->sides[side].conn.local_session.bytes[0];
}

/*
 *   A                                B
 *   OFFER a1 ---------.    .--------- OFFER b1
 *                      \  /
 *   open(b1) <----------\'
 *   ANSWER a1 ---.       `----------> open(a1)
 *                 \   .-------------- ANSWER b1
 *   same <---------\-'
 *                   `---------------> same
 */
static void test_both_offer(void)
{
	g_autofree World *world = hand_new(FALSE);

	world_start(world, 0);
	world_start(world, 1);
	run(world, 10);
	deliver(world, 0, NBH_CONN_EV_OFFER);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	deliver(world, 0, NBH_CONN_EV_ANSWER);
	deliver(world, 1, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_true(is_converged(world));
	g_assert_true(is_silent(world));
	g_assert_cmpuint(world->sides[0].agent.generation, ==, 1);
	g_assert_cmpuint(world->sides[1].agent.generation, ==, 1);
}

/*
 *   A                                B
 *   OFFER a1 -----------------------> open(a1)
 *                  X <--------------- ANSWER b1, candidates
 *   keeps candidates <---------------
 *   2 s: OFFER a1 ------------------> same: ANSWER b1 again
 *   open(b1), candidates into it <---
 */
static void test_answer_lost(void)
{
	g_autofree World *world = hand_new(FALSE);

	world_start(world, 1);
	run(world, 10);
	drop(world, 0, NBH_CONN_EV_OFFER);
	world_start(world, 0);
	run(world, 20);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	drop(world, 0, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_cmpint(world->sides[0].conn.state, ==, NBH_CONN_SIGNALING);
	g_assert_cmpuint(world->sides[0].conn.candidates.n, ==, 2);
	run(world, 2500);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	deliver(world, 0, NBH_CONN_EV_ANSWER);
	g_assert_cmpuint(world->sides[0].agent.n_candidates, ==, 2);
	deliver_candidates(world);
	g_assert_true(is_converged(world));
	g_assert_cmpuint(world->sides[1].agent.generation, ==, 1);
}

/*
 *   A (up, a1/b1)                    B (up, b1/a1)
 *   killed, started: a2
 *   OFFER a2 -----------------------> another session: close, open(a2) with b1; the path stays
 *   open(b1) <----------------------- ANSWER b1
 */
static void test_restart_while_up(void)
{
	g_autofree World *world = hand_new(FALSE);
	guint8 old;

	world_start(world, 0);
	run(world, 10);
	world_start(world, 1);
	run(world, 20);
	drop(world, 0, NBH_CONN_EV_OFFER);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	deliver(world, 0, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_true(is_converged(world));
	old = session_of(world, 1);

	close_agent(world, 0);
	helper_start(world, 0, FALSE);
	run(world, world->now_ms + 10);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	g_assert_cmpint(session_of(world, 1), ==, old);
	g_assert_cmpint(world->sides[1].conn.path.kind, ==, NBH_PATH_DIRECT);
	deliver(world, 0, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_true(is_converged(world));
	g_assert_true(is_silent(world));
}

/*
 *   A (a2)                           B (b1/a1)
 *   OFFER a2 -----------------------> close, open(a2) with b1
 *              .--------------------- ANSWER b1
 *   open(b1) <-|---- an old OFFER b1, late
 *   ANSWER a2 -|--------------------> same
 *   same     <-'                       an old OFFER still tells the truth: b1 lives until B loses it
 */
static void test_late_offer(void)
{
	g_autofree World *world = hand_new(FALSE);
	Item late;

	world_start(world, 1);
	run(world, 10);
	g_assert_true(pop(world, 0, NBH_CONN_EV_OFFER, &late));
	world_start(world, 0);
	run(world, 20);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	drop(world, 0, NBH_CONN_EV_ANSWER);
	helper_start(world, 0, FALSE); /* a2 */
	run(world, world->now_ms + 10);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	on_item(world, &late);
	run(world, world->now_ms + 10);
	g_assert_cmpint(world->sides[0].conn.state, ==, NBH_CONN_CHECKING);
	deliver(world, 1, NBH_CONN_EV_ANSWER);
	deliver(world, 0, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_true(is_converged(world));
	g_assert_true(is_silent(world));
}

/*
 *   A (up)                           B (up)
 *   lost: a2                          lost: b2
 *   OFFER a2 ---------.    .--------- OFFER b2       no agent on either side: nobody draws again
 *   open(b2) <---------\--'
 *                       `-----------> open(a2)
 */
static void test_both_lose(void)
{
	g_autofree World *world = hand_new(FALSE);
	NbhConnEvent event = { .type = NBH_CONN_EV_NETWORK, .u.path_changed = TRUE };
	guint8 a2, b2;

	world_start(world, 0);
	run(world, 10);
	world_start(world, 1);
	run(world, 20);
	drop(world, 0, NBH_CONN_EV_OFFER);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	deliver(world, 0, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_true(is_converged(world));

	step(world, 0, &event);
	step(world, 1, &event);
	a2 = session_of(world, 0);
	b2 = session_of(world, 1);
	deliver(world, 0, NBH_CONN_EV_OFFER);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	deliver(world, 0, NBH_CONN_EV_ANSWER);
	deliver(world, 1, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_true(is_converged(world));
	g_assert_true(is_silent(world));
	g_assert_cmpint(session_of(world, 0), ==, a2);
	g_assert_cmpint(session_of(world, 1), ==, b2);
}

/*
 *   A helper                         B official, lazily asleep
 *   OFFER a1 -----------------------> wakes; the message itself is lost
 *   open(b1) <----------------------- OFFER b1
 *   ANSWER a1 ----------------------> makes its agent, candidates
 *   Send returned: candidates ------>
 */
static void test_official_asleep(void)
{
	g_autofree World *world = hand_new(TRUE);
	Item ours;

	world_start(world, 0);
	run(world, 10);
	g_assert_true(pop(world, 1, NBH_CONN_EV_OFFER, &ours));
	official_wake(world, 1);
	run(world, 20);
	deliver(world, 0, NBH_CONN_EV_OFFER);
	deliver(world, 1, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_true(is_converged(world));
	g_assert_true(is_silent(world));
	g_assert_cmpuint(world->sides[0].agent.generation, ==, 1);
	g_assert_cmpuint(world->sides[1].agent.generation, ==, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/core/conn-pair/both-offer", test_both_offer);
	g_test_add_func("/core/conn-pair/answer-lost", test_answer_lost);
	g_test_add_func("/core/conn-pair/restart-while-up", test_restart_while_up);
	g_test_add_func("/core/conn-pair/late-offer", test_late_offer);
	g_test_add_func("/core/conn-pair/both-lose", test_both_lose);
	g_test_add_func("/core/conn-pair/official-asleep", test_official_asleep);
	g_test_add_func("/core/conn-pair/clean", test_clean);
	g_test_add_func("/core/conn-pair/every-order", test_every_order);
	g_test_add_func("/core/conn-pair/helpers-bad-signal", test_helpers_bad_signal);
	g_test_add_func("/core/conn-pair/helpers-faults", test_helpers_faults);
	g_test_add_func("/core/conn-pair/official-bad-signal", test_official_bad_signal);
	g_test_add_func("/core/conn-pair/official-faults", test_official_faults);
	return g_test_run();
}
