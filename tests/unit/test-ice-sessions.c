/*
 * When the sessions of netbird-ice are looked at. Agents, port and clock are stand-ins: a session's
 * look asks the port once when it was heard.
 */
#include "config.h"

#include "ice/sessions.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static gint64 now_usec(void);
#define g_get_monotonic_time now_usec
#include "ice/sessions.c"
#undef g_get_monotonic_time

#define N_SESSIONS 100
#define LIVENESS_MS 6000

struct _NbhAgent {
	NbhAgentEvents events;
	gpointer owner;
	guint16 q;
};

static struct {
	gint64 now, heard[N_SESSIONS + 1];
	guint16 n_agents;
	guint n_asked, n_lost;
} world;

static gint64 now_usec(void)
{
	return world.now;
}

NbhAgent *nbh_agent_new(NbhPort *port G_GNUC_UNUSED, guint16 q, const NbhAgentWorld *agent_world G_GNUC_UNUSED,
                        const NbhIceOpen *open G_GNUC_UNUSED, const NbhAgentEvents *events, gpointer owner,
                        GError **error G_GNUC_UNUSED)
{
	NbhAgent *agent = g_new0(NbhAgent, 1);

	*agent = (NbhAgent){ .events = *events, .owner = owner, .q = q ? q : ++world.n_agents };
	return agent;
}

void nbh_agent_set_remote(NbhAgent *agent G_GNUC_UNUSED, const NbhIceCreds *creds G_GNUC_UNUSED)
{
}

gboolean nbh_agent_add_candidate(NbhAgent *agent G_GNUC_UNUSED, const NbhCandidate *candidate G_GNUC_UNUSED)
{
	return FALSE;
}

const NbhCandidateSet *nbh_agent_candidates(const NbhAgent *agent G_GNUC_UNUSED)
{
	static const NbhCandidateSet none;

	return &none;
}

guint16 nbh_agent_q(const NbhAgent *agent)
{
	return agent->q;
}

void nbh_agent_free(NbhAgent *agent)
{
	g_free(agent);
}

void nbh_agent_settle(NbhAgent *agent, const NbhPortSettled *settled G_GNUC_UNUSED)
{
	g_free(agent);
}

void nbh_port_remove(NbhPort *port G_GNUC_UNUSED, guint16 q G_GNUC_UNUSED)
{
}

gint64 nbh_port_last_heard(const NbhPort *port G_GNUC_UNUSED, guint16 q)
{
	world.n_asked++;
	return world.heard[q];
}

void nbh_port_get_overlay(const NbhPort *port G_GNUC_UNUSED, struct nbh_prefix *ret_v4, struct nbh_prefix *ret_v6)
{
	*ret_v4 = *ret_v6 = (struct nbh_prefix){ .len = 0 };
}

static void on_say(const NbhIceMessage *message, gpointer owner G_GNUC_UNUSED)
{
	world.n_lost += message->verb == NBH_ICE_MSG_LOST;
}

static void open_session(NbhSessions *sessions, guint8 n)
{
	struct nbh_key peer = { { n, 1 } };
	NbhIceMessage open = { .verb = NBH_ICE_MSG_OPEN, .peer = peer };
	NbhIceMessage remote = { .verb = NBH_ICE_MSG_REMOTE, .peer = peer };
	NbhIceMessage selected = { .verb = NBH_ICE_MSG_SELECTED, .peer = peer };

	open.u.open = (NbhIceOpen){ .peer = peer, .local = { "localufrag", "localpassword0123456789" },
		                    .liveness_ms = LIVENESS_MS };
	remote.u.remote.creds = (NbhIceCreds){ "farufrag", "farpassword012345678901" };
	g_assert_cmpint(nbh_addr_parse("203.0.113.7", &selected.u.pair.remote.addr), ==, 0);
	selected.u.pair.remote.port = 51820;
	nbh_sessions_do(sessions, &open);
	nbh_sessions_do(sessions, &remote);
	nbh_sessions_do(sessions, &selected);
}

/* One peer has fallen silent. The packets of all others must not each look at everybody. */
static void test_awake(void)
{
	static const NbhAgentWorld agent_world = { .port = 51820 };
	g_autofree char *dir = g_dir_make_tmp("test-ice-sessions.XXXXXX", NULL);
	int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	NbhSessions *sessions;

	world.now = 1000000;
	sessions = nbh_sessions_new(dirfd, NULL, &agent_world, on_say, NULL);

	for (guint8 i = 0; i < N_SESSIONS; i++)
		open_session(sessions, i);

	world.n_asked = 0;

	/* 7 s, a packet each millisecond, of each peer but the first; the loop would look when it is time. */
	for (guint ms = 0; ms < LIVENESS_MS + 1000; ms++) {
		gint64 ready = g_source_get_ready_time(sessions->look);

		world.now += 1000;
		world.heard[2 + ms % (N_SESSIONS - 1)] = world.now;

		if (ready >= 0 && ready <= world.now)
			on_look(sessions);

		nbh_sessions_awake(sessions);
	}

	g_assert_cmpuint(world.n_lost, ==, 1);
	/* Four times a second at most. */
	g_assert_cmpuint(world.n_asked, <=, N_SESSIONS * (LIVENESS_MS + 1000) / LOOK_SLACK_MS);

	nbh_sessions_free(sessions);
	unlinkat(dirfd, "sessions", 0);
	close(dirfd);
	g_assert_cmpint(rmdir(dir), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ice/sessions/awake", test_awake);
	return g_test_run();
}
