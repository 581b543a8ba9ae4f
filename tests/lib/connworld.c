#include "config.h"

#include "tests/lib/connworld.h"

#include <string.h>

guint32 world_dice(World *world, guint32 n)
{
	world->rng = world->rng * 1664525u + 1013904223u;
	return (guint32)((guint64)(world->rng >> 8) * n >> 24);
}

static nbh_mono mono(gint64 ms)
{
	return (nbh_mono){ (ms + 1000000) * 1000 };
}

NbhSessionId world_fresh_session(World *world)
{
	NbhSessionId session = { .present = TRUE };

	world->serial++;
	memcpy(session.bytes, &world->serial, 4);
	return session;
}

NbhIceCreds world_fresh_creds(World *world)
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

Item *world_add_item(World *world, gint64 delay_ms, ItemKind kind, guint side)
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

Item world_take_item(World *world, gsize i)
{
	Item item = world->items[i];

	world->items[i] = world->items[--world->n_items];
	return item;
}

/* ---- signal ---- */

static gint64 travel_ms(World *world)
{
	if (world_dice(world, 100) < world->late_percent)
		return 100 + world_dice(world, 6000);
	return 3 + world_dice(world, 30);
}

void world_send_message(World *world, guint from, const Item *message)
{
	guint copies = 1 + (world_dice(world, 100) < world->repeat_percent);

	world->last_sent_ms = world->now_ms;
	world->n_sent++;
	if (world->now_ms < world->signal_down_until_ms[from] || world->now_ms < world->signal_down_until_ms[!from])
		return;
	for (guint i = 0; i < copies; i++) {
		Item *item;
		gint64 at_ms = world->now_ms + (world->is_manual ? 0 : travel_ms(world));

		if (world_dice(world, 100) < world->loss_percent)
			continue;
		item = world_add_item(world, 0, ITEM_MESSAGE, !from);
		item->at_ms = at_ms;
		item->message = message->message;
		item->creds = message->creds;
		item->session = message->session;
		item->port = message->port;
	}
}

void world_send_offer(World *world, guint from, NbhConnEventType type, const NbhIceCreds *creds, const NbhSessionId *session)
{
	Item message = { .message = type, .creds = *creds, .session = *session };

	world_send_message(world, from, &message);
}

void world_send_candidates(World *world, guint from, const NbhIceCreds *creds)
{
	for (guint i = 0; i < 2; i++) {
		Item message = { .message = NBH_CONN_EV_CANDIDATE, .creds = *creds, .port = 1000 * (from + 1) + i };

		world_send_message(world, from, &message);
	}
}

/* ---- ICE ---- */

void world_check_match(World *world)
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
			Item *item = world_add_item(world, 15 + world_dice(world, 60), ITEM_SELECTED, i);

			item->generation = agent->generation;
		}
	}
	world->matched = matched;
}

void world_open_agent(World *world, guint side, const NbhIceCreds *local)
{
	Agent *agent = &world->sides[side].agent;

	agent->open = TRUE;
	agent->remote_set = agent->selected = agent->failed = FALSE;
	agent->local = *local;
	agent->n_candidates = 0;
	agent->generation++;
	agent->fails_at_ms = G_MAXINT64;
	agent->unmatched_since_ms = world->now_ms;
	world_check_match(world);
}

void world_close_agent(World *world, guint side)
{
	world->sides[side].agent.open = FALSE;
	world->sides[side].agent.generation++;
	world_check_match(world);
}

void world_set_remote(World *world, guint side, const NbhIceCreds *remote)
{
	Agent *agent = &world->sides[side].agent;

	agent->remote = *remote;
	agent->remote_set = TRUE;
	agent->fails_at_ms = world->now_ms + (world->sides[side].is_official ? 12000 : 7100);
	world_check_match(world);
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
			world_take_item(world, i);
	}
	if (may_shake_hands(world))
		world_add_item(world, is_due ? 60 : 120000 - (world->now_ms - world->last_handshake_ms), ITEM_HANDSHAKE, 0);
}

/* ---- a helper's end ---- */

static void act(World *world, guint side, const NbhConnAction *action)
{
	Side *self = &world->sides[side];
	NbhConn *conn = &self->conn;
	Item *item;

	switch (action->type) {
	case NBH_CONN_DO_SEND_OFFER:
	case NBH_CONN_DO_SEND_ANSWER:
		world_send_offer(world, side, action->type == NBH_CONN_DO_SEND_OFFER ? NBH_CONN_EV_OFFER : NBH_CONN_EV_ANSWER,
		           &conn->local, &conn->local_session);
		item = world_add_item(world, 2 + world_dice(world, 20), ITEM_SENT, side);
		item->sent = action->type == NBH_CONN_DO_SEND_OFFER ? NBH_CONN_SENT_OFFER : NBH_CONN_SENT_ANSWER;
		break;
	case NBH_CONN_DO_SEND_CANDIDATES:
		world_send_candidates(world, side, &conn->local);
		item = world_add_item(world, 2 + world_dice(world, 20), ITEM_SENT, side);
		item->sent = NBH_CONN_SENT_CANDIDATES;
		break;
	case NBH_CONN_DO_WANT_SLOT:
		self->has_slot_item = TRUE;
		world_add_item(world, world->is_faulty && world_dice(world, 10) == 0 ? world_dice(world, 5000) : 0, ITEM_SLOT, side);
		break;
	case NBH_CONN_DO_RELEASE_SLOT:
		self->has_slot_item = FALSE;
		break;
	case NBH_CONN_DO_ICE_OPEN:
		if (!self->ice_down)
			world_open_agent(world, side, &conn->local);
		break;
	case NBH_CONN_DO_ICE_REMOTE:
		g_assert_true(self->agent.open || self->ice_down);
		if (self->agent.open)
			world_set_remote(world, side, &conn->remote);
		break;
	case NBH_CONN_DO_ICE_CANDIDATE:
		g_assert_true(self->agent.open || self->ice_down);
		self->agent.n_candidates++;
		world_check_match(world);
		break;
	case NBH_CONN_DO_ICE_CLOSE:
		world_close_agent(world, side);
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

void world_step(World *world, guint side, NbhConnEvent *event)
{
	NbhConnActions actions;

	event->random = world_dice(world, 1u << 24) << 8;
	event->new_session = world_fresh_session(world);
	event->new_creds = world_fresh_creds(world);
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

	world_step(world, side, &event);
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
	world_step(world, side, &event);
}

void world_machine_init(World *world, guint side, gboolean controlling)
{
	const struct nbh_key low = { { 0x10 } }, high = { { 0x80 } };
	NbhConn *conn = &world->sides[side].conn;

	nbh_conn_init(conn, controlling ? &high : &low, controlling ? &low : &high, mono(world->now_ms));
	g_assert_cmpint(conn->controlling, ==, controlling);
}

void helper_start(World *world, guint side, gboolean with_path)
{
	Side *self = &world->sides[side];
	NbhConnEvent event = { .type = NBH_CONN_EV_START };
	NbhPath path = self->conn.path;

	world_machine_init(world, side, self->conn.controlling);
	self->has_slot_item = FALSE;
	event.u.start.far_is_helper = !world->sides[!side].is_official;
	if (with_path && path.kind == NBH_PATH_DIRECT) {
		event.u.start.endpoint = path.endpoint;
		event.u.start.session = path.session;
	} else if (with_path && path.kind == NBH_PATH_IDLE) {
		g_assert_cmpint(nbh_endpoint_parse("127.1.0.2:7", &event.u.start.endpoint), ==, 0);
		event.u.start.session = path.session;
	}
	world_step(world, side, &event);
}

/* ---- the loop ---- */

static void on_selected(World *world, const Item *item)
{
	Side *self = &world->sides[item->side];
	NbhConnEvent event = { .type = NBH_CONN_EV_SELECTED }, heard = { .type = NBH_CONN_EV_HEARD };

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
	heard.u.heard = event.u.pair.remote;
	world_step(world, item->side, &heard);
	world_step(world, item->side, &event);
}

static void on_handshake(World *world)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_HANDSHAKE };

	if (!may_shake_hands(world))
		return;
	if (!world->path_open) {
		world_add_item(world, 5000, ITEM_HANDSHAKE, 0);
		return;
	}
	world->last_handshake_ms = world->now_ms;
	world->handshake_epochs = world->sides[0].wg_epoch + world->sides[1].wg_epoch;
	for (guint i = 0; i < 2; i++) {
		world->sides[i].official.wants_handshake = FALSE;
		event.u.handshake_at = mono(world->now_ms);
		if (!world->sides[i].is_official)
			world_step(world, i, &event);
	}
	check_wireguard(world);
}

static void helper_dies(World *world, guint side)
{
	Side *self = &world->sides[side];
	NbhConnEvent event = { .type = NBH_CONN_EV_ADOPT };
	guint how = world_dice(world, 3);
	NbhConn old = self->conn;

	if (how == 0) { /* the machine restarts */
		self->wg_epoch++;
		world_close_agent(world, side);
	}
	for (gsize i = world->n_items; i-- > 0;) {
		if (world->items[i].side == side && (world->items[i].kind == ITEM_SENT || world->items[i].kind == ITEM_SLOT))
			world_take_item(world, i);
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
	world_step(world, side, &event);
}

static void helper_restarts(World *world, guint side)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_HANDSHAKE };
	guint epoch = world->sides[side].wg_epoch;

	helper_dies(world, side);
	if (epoch != world->sides[side].wg_epoch)
		return;
	event.u.handshake_at = mono(world->last_handshake_ms); /* from wg/status.json */
	world_step(world, side, &event);
}

static void official_dies(World *world, guint side)
{
	world->sides[side].wg_epoch++;
	world_close_agent(world, side);
	world->sides[side].official.awake = FALSE;
	if (world_dice(world, 2))
		official_wake(world, side);
}

static void helper_fault(World *world, guint side)
{
	Side *self = &world->sides[side];
	NbhConnEvent event = { .type = NBH_CONN_EV_NETWORK };

	switch (world_dice(world, 6)) {
	case 0:
		helper_restarts(world, side);
		break;
	case 1: /* netbird-ice dies and comes back */
		if (self->ice_down)
			break;
		self->ice_down = TRUE;
		world_close_agent(world, side);
		world_add_item(world, world_dice(world, 9000), ITEM_ICE_BACK, side);
		break;
	case 2:
		event.u.path_changed = (gboolean)world_dice(world, 2);
		world_step(world, side, &event);
		break;
	case 3:
		event.type = NBH_CONN_EV_WAKE;
		event.u.has_initiation = (gboolean)world_dice(world, 2);
		if (self->conn.path.kind != NBH_PATH_DIRECT)
			world_step(world, side, &event);
		break;
	case 4: /* a NAT forgot a mapping, or netbird-wg thinks so */
		give(world, side, NBH_CONN_EV_SILENT);
		break;
	default:
		give(world, side, NBH_CONN_EV_OTHER_MESSAGE);
		break;
	}
}

static void on_fault(World *world)
{
	guint side = world_dice(world, 2);
	Side *self = &world->sides[side];

	if (world->now_ms < FAULTS_UNTIL_MS)
		world_add_item(world, 500 + world_dice(world, 12000), ITEM_FAULT, 0);

	switch (world_dice(world, 5)) {
	case 0: /* nothing gets through, long enough to be noticed or not */
		world->path_open = FALSE;
		world_check_match(world);
		world_add_item(world, world_dice(world, 15000), ITEM_PATH_BACK, 0);
		break;
	case 1:
		world->signal_down_until_ms[side] = world->now_ms + world_dice(world, 8000);
		world_add_item(world, world->signal_down_until_ms[side] - world->now_ms, ITEM_SIGNAL_BACK, side);
		break;
	default:
		if (!self->is_official)
			helper_fault(world, side);
		else if (!self->official.awake)
			official_wake(world, side); /* local traffic there */
		else if (world_dice(world, 2))
			official_sleep(world, side);
		else
			official_dies(world, side);
		break;
	}
}

void world_on_item(World *world, const Item *item)
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
		world_step(world, item->side, &event);
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
		world_check_match(world);
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
		world_step(world, side, &event);
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

gboolean world_turn(World *world, gint64 until_ms)
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
		Item item = world_take_item(world, best);

		world_on_item(world, &item);
	}
	return TRUE;
}

void world_run(World *world, gint64 until_ms)
{
	while (world_turn(world, until_ms))
		continue;
	world->now_ms = until_ms;
}
