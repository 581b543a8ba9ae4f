/* A small model of the official client: netbird-wire.md 4.2-4.4, 4.8; interop.md. */
#include "config.h"

#include "tests/lib/connworld.h"

#include <string.h>

/* ---- the official client ---- */

static void official_open(World *world, guint side, const Item *item)
{
	Official *official = &world->sides[side].official;

	official->remote_session = item->session;
	world_open_agent(world, side, &official->creds);
	world_set_remote(world, side, &item->creds);
	world_send_candidates(world, side, &official->creds);
}

static void official_offer(World *world, guint side)
{
	Official *official = &world->sides[side].official;

	world_send_offer(world, side, NBH_CONN_EV_OFFER, &official->creds, &official->session);
}

void official_wake(World *world, guint side)
{
	Official *official = &world->sides[side].official;

	official->awake = TRUE;
	official->creds = world_fresh_creds(world);
	official->session = world_fresh_session(world);
	official->guard_ms = 3000;
	official->guard_at_ms = world->now_ms + 3000;
	official_offer(world, side);
}

void official_sleep(World *world, guint side)
{
	Item message = { .message = NBH_CONN_EV_GO_IDLE };

	world_send_message(world, side, &message);
	world_close_agent(world, side);
	world->sides[side].official.awake = FALSE;
	world->sides[side].wg_epoch++;
}

/* It came to nothing, or to nothing more: another session id, the credentials stay (4.3). */
static void official_drop(World *world, guint side)
{
	Official *official = &world->sides[side].official;

	if (world->sides[side].agent.selected)
		world->sides[side].wg_epoch++; /* it drops its WireGuard keys: rule 7 */
	world_close_agent(world, side);
	official->session = world_fresh_session(world);
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
		world_send_offer(world, side, NBH_CONN_EV_ANSWER, &official->creds, &official->session);
}

void official_message(World *world, guint side, const Item *item)
{
	Side *self = &world->sides[side];
	Official *official = &self->official;

	if (!official->awake) {
		official_wake(world, side);
		if (world_dice(world, 100) < 60) /* the message that wakes it is mostly lost: 4.2 */
			return;
	}
	if (item->message == NBH_CONN_EV_CANDIDATE) {
		/* None kept without an agent. */
		if (self->agent.open && strcmp(item->creds.ufrag, self->agent.remote.ufrag) == 0) {
			self->agent.n_candidates++;
			world_check_match(world);
		}
		return;
	}
	if (world->now_ms < official->busy_until_ms) /* one at a time; the others are dropped: 4.2 */
		return;
	official->busy_until_ms = world->now_ms + world_dice(world, 4);
	official_process(world, side, item);
}

gint64 official_next_ms(const Side *self)
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

void official_timers(World *world, guint side)
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
		world_open_agent(world, side, &official->creds);
		world_set_remote(world, side, &remote);
		official_offer(world, side);
		world_send_candidates(world, side, &official->creds);
	} else if (official->awake && world->now_ms >= official->guard_at_ms) {
		official->guard_ms = MIN(official->guard_ms * 2, 40000);
		official->guard_at_ms = world->now_ms + official->guard_ms;
		if (!self->agent.open)
			official_offer(world, side);
	}
}
