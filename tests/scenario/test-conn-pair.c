/*
 * Two ends against each other (tests/lib/connworld.h): whatever the signal server and the networks did,
 * then everybody has to be connected within bounded time and has to fall silent.
 */
#include "config.h"

#include "tests/lib/connworld.h"

#include <string.h>

#define CONVERGE_MS 150000
#define QUIET_MS 300000

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

		world_machine_init(world, i, (gboolean)(i ^ (guint)flip_roles));
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
			world_step(world, i, &event);
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
		if (world_turn(world, begin_ms + CONVERGE_MS))
			continue;
		describe(world);
		g_error("seed %u: not connected after %d s", seed, CONVERGE_MS / 1000);
	}
	*longest_ms = MAX(*longest_ms, world->now_ms - begin_ms);

	/* Messages under way may still cause a word or two; then nobody says anything any more. */
	world_run(world, world->now_ms + 60000);
	if (!is_converged(world))
		g_error("seed %u: lost again without any cause", seed);
	sent = world->n_sent;
	timeouts = world->handshake_timeouts;
	world_run(world, world->now_ms + QUIET_MS);
	if (world->n_sent != sent || !is_converged(world) || world->handshake_timeouts != timeouts)
		g_error("seed %u: not quiet: %u messages", seed, world->n_sent - sent);
}

static void run_seed(guint32 seed, gboolean with_official, gboolean with_faults, gint64 *longest_ms)
{
	g_autofree World *world = g_new(World, 1);

	world_init(world, seed, with_official, seed & 1);
	world->verbose = g_getenv("NBH_TEST_SEED") != NULL;
	world->is_faulty = TRUE;
	world->loss_percent = world_dice(world, 4) ? world_dice(world, 40) : 0;
	world->repeat_percent = world_dice(world, 30);
	world->late_percent = world_dice(world, 30);
	world_start(world, world_dice(world, 2));
	world_run(world, world_dice(world, 2) ? (gint64)world_dice(world, 3000) : 0);
	for (guint i = 0; i < 2; i++) {
		gboolean is_running = world->sides[i].is_official ? world->sides[i].official.awake :
		                                                    world->sides[i].conn.state != NBH_CONN_DOWN;

		/* A lazy official is left asleep: our OFFER wakes it. */
		if (!is_running && !(world->sides[i].is_official && world_dice(world, 2)))
			world_start(world, i);
	}
	if (with_faults)
		world_add_item(world, world_dice(world, 10000), ITEM_FAULT, 0);
	world_run(world, with_faults ? FAULTS_UNTIL_MS + 20000 : (gint64)world_dice(world, 30000));

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
		world_run(world, world_dice(world, 40));
		if (!with_official)
			world_start(world, 1); /* an official is woken by our OFFER */
		/* An official drops what comes while it is busy; its next OFFER is due after 3 s. */
		limit_ms = world->now_ms + (with_official ? 3500 : 300);
		while (!is_converged(world) && world_turn(world, limit_ms))
			continue;
		if (!is_converged(world))
			describe(world);
		g_assert_true(is_converged(world));
		n_slow += world->now_ms > 600;
		g_assert_cmpuint(world->sides[0].conn.attempts + world->sides[0].conn.losses, ==, 0);
		g_assert_cmpuint(world->sides[0].agent.generation, ==, 1);
		g_assert_cmpuint(world->sides[1].agent.generation, ==, 1);
		world_run(world, world->now_ms + QUIET_MS);
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
	world_run(world, world->now_ms + 700);
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
				world_take_item(world, i);
			if (how != 1)
				world_on_item(world, &item);
			world_run(world, world->now_ms + 100);
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
		world_run(world, 50);
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
	*ret_item = world_take_item(world, found);
	return TRUE;
}

/* The oldest of that type; then slots and Sends come back, and what ICE makes of it. */
static void deliver(World *world, guint to, NbhConnEventType type)
{
	Item item;

	g_assert_true(pop(world, to, type, &item));
	world_on_item(world, &item);
	world_run(world, world->now_ms + 30);
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
			world_on_item(world, &item);
	}
	world_run(world, world->now_ms + 300);
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
	world_run(world, 10);
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
	world_run(world, 10);
	drop(world, 0, NBH_CONN_EV_OFFER);
	world_start(world, 0);
	world_run(world, 20);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	drop(world, 0, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_cmpint(world->sides[0].conn.state, ==, NBH_CONN_SIGNALING);
	g_assert_cmpuint(world->sides[0].conn.candidates.n, ==, 2);
	world_run(world, 2500);
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
	world_run(world, 10);
	world_start(world, 1);
	world_run(world, 20);
	drop(world, 0, NBH_CONN_EV_OFFER);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	deliver(world, 0, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_true(is_converged(world));
	old = session_of(world, 1);

	world_close_agent(world, 0);
	helper_start(world, 0, FALSE);
	world_run(world, world->now_ms + 10);
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
	world_run(world, 10);
	g_assert_true(pop(world, 0, NBH_CONN_EV_OFFER, &late));
	world_start(world, 0);
	world_run(world, 20);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	drop(world, 0, NBH_CONN_EV_ANSWER);
	helper_start(world, 0, FALSE); /* a2 */
	world_run(world, world->now_ms + 10);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	world_on_item(world, &late);
	world_run(world, world->now_ms + 10);
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
	world_run(world, 10);
	world_start(world, 1);
	world_run(world, 20);
	drop(world, 0, NBH_CONN_EV_OFFER);
	deliver(world, 1, NBH_CONN_EV_OFFER);
	deliver(world, 0, NBH_CONN_EV_ANSWER);
	deliver_candidates(world);
	g_assert_true(is_converged(world));

	world_step(world, 0, &event);
	world_step(world, 1, &event);
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
	world_run(world, 10);
	g_assert_true(pop(world, 1, NBH_CONN_EV_OFFER, &ours));
	official_wake(world, 1);
	world_run(world, 20);
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
