/*
 * netbird-ice's end of ice.sock behind the parser: the input's lines as commands, to sessions whose
 * agents are only remembered here. A line "+" is a selected pair, "-" the end of the checks, "!" a first
 * packet, of every agent; "*" a packet for every session that has settled; "~" 3 s without any.
 */
#include "config.h"

#include "ice/sessions.h"

#include "base/log.h"

#include "tests/fuzz/fuzz.h"

#define AGENTS_MAX 64

struct _NbhAgent {
	NbhAgentEvents events;
	gpointer owner;
	NbhCandidateSet candidates;
	gboolean has_remote;
	guint16 q; /* place in slots, from 1 */
};

static struct {
	NbhAgent *agent; /* NULL and used: settled */
	gboolean is_used;
	NbhPortSettled settled;
} slots[AGENTS_MAX];

static gint64 now_usec(void);
#define g_get_monotonic_time now_usec
#include "ice/sessions.c"
#undef g_get_monotonic_time

static struct {
	gint64 now, heard;
	guint n_said, n_ends;
} world;

static gint64 now_usec(void)
{
	return world.now;
}

/* In the place of agent.c, and of what sessions.c asks of port.c. */
NbhAgent *nbh_agent_new(NbhPort *port G_GNUC_UNUSED, guint16 q, const NbhAgentWorld *agent_world, const NbhIceOpen *open,
                        const NbhAgentEvents *events, gpointer owner, GError **error)
{
	NbhAgent *agent;

	fuzz_require(agent_world->port == 51820 && open->local.ufrag[0]);
	fuzz_require(q == 0 || (slots[q - 1].is_used && !slots[q - 1].agent));
	if (q == 0)
		while (q < AGENTS_MAX && slots[q++].is_used)
			;

	if (slots[q - 1].agent) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "no session more");
		return NULL;
	}

	slots[q - 1].is_used = TRUE;
	slots[q - 1].agent = agent = g_new0(NbhAgent, 1);
	*agent = (NbhAgent){ .events = *events, .owner = owner, .q = q };
	return agent;
}

void nbh_agent_set_remote(NbhAgent *agent, const NbhIceCreds *creds)
{
	fuzz_require(creds->ufrag[0] && creds->pwd[0]);
	agent->has_remote = TRUE;
}

gboolean nbh_agent_add_candidate(NbhAgent *agent, const NbhCandidate *candidate)
{
	fuzz_require(nbh_endpoint_is_set(&candidate->endpoint));
	return nbh_candidate_set_add(&agent->candidates, candidate);
}

const NbhCandidateSet *nbh_agent_candidates(const NbhAgent *agent)
{
	return &agent->candidates;
}

guint16 nbh_agent_q(const NbhAgent *agent)
{
	return agent->q;
}

void nbh_agent_free(NbhAgent *agent)
{
	fuzz_require(slots[agent->q - 1].agent == agent);
	memset(&slots[agent->q - 1], 0, sizeof(slots[0]));
	g_free(agent);
}

void nbh_agent_settle(NbhAgent *agent, const NbhPortSettled *settled)
{
	fuzz_require(slots[agent->q - 1].agent == agent && agent->has_remote);
	fuzz_require(nbh_endpoint_is_set(&settled->selected));
	slots[agent->q - 1].agent = NULL;
	slots[agent->q - 1].settled = *settled;
	g_free(agent);
}

void nbh_port_remove(NbhPort *port G_GNUC_UNUSED, guint16 q)
{
	fuzz_require(slots[q - 1].is_used && !slots[q - 1].agent);
	memset(&slots[q - 1], 0, sizeof(slots[0]));
}

gint64 nbh_port_last_heard(const NbhPort *port G_GNUC_UNUSED, guint16 q)
{
	fuzz_require(slots[q - 1].is_used);
	return world.heard;
}

void nbh_port_get_overlay(const NbhPort *port G_GNUC_UNUSED, struct nbh_prefix *ret_v4, struct nbh_prefix *ret_v6)
{
	*ret_v4 = *ret_v6 = (struct nbh_prefix){ .len = 0 };
}

static void on_say(const NbhIceMessage *message, gpointer owner G_GNUC_UNUSED)
{
	char line[NBH_ICE_MESSAGE_MAX_BYTES];

	world.n_said++;
	if (message->verb == NBH_ICE_MSG_END)
		world.n_ends++;
	/* Whatever we say can be said. */
	fuzz_require(nbh_ice_message_format(message, line) > 0);
}

static gboolean no_source(const struct nbh_endpoint *to G_GNUC_UNUSED, struct nbh_addr *ret_from G_GNUC_UNUSED,
                          gpointer owner G_GNUC_UNUSED)
{
	return FALSE;
}

static void tell_agents(char what)
{
	static const NbhIcePair pair = { .remote_type = NBH_CANDIDATE_SRFLX, .remote = { { AF_INET, { 192, 0, 2, 1 } }, 1 } };

	for (guint i = 0; i < AGENTS_MAX; i++) {
		NbhAgent *agent = slots[i].agent;

		if (!agent && slots[i].is_used && what == '*')
			slots[i].settled.wanted(slots[i].settled.owner);
		else if (agent && what == '+')
			agent->events.on_selected(agent, &pair, agent->owner);
		else if (agent && what == '-')
			agent->events.on_failed(agent, agent->owner);
		else if (agent && what == '!')
			agent->events.on_heard(agent, &pair.remote, agent->owner);
	}
}

static void one_line(NbhSessions *sessions, const char *line, size_t len)
{
	NbhIceMessage message;
	guint ends = world.n_ends;

	if (len == 1 && strchr("+-!*", *line)) {
		tell_agents(*line);
	} else if (len == 1 && *line == '~') {
		world.now += 3000000;
		if (g_source_get_ready_time(sessions->look) >= 0 && g_source_get_ready_time(sessions->look) <= world.now)
			on_look(sessions);
	} else if (nbh_ice_message_parse(line, len, &message, NULL)) {
		nbh_sessions_do(sessions, &message);
		fuzz_require(world.n_ends == ends + (message.verb == NBH_ICE_MSG_LIST));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const NbhAgentWorld agent_world = { .natural_source = no_source, .port = 51820 };
	NbhSessions *sessions = nbh_sessions_new(fuzz_file("sessions", "", 0), NULL, &agent_world, on_say, NULL);

	memset(&world, 0, sizeof(world));
	world.now = 1000000;
	nbh_log_set_level("error");
	while (len > 0) {
		const uint8_t *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;

		one_line(sessions, (const char *)data, n);
		n += end ? 1 : 0;
		data += n;
		len -= n;
	}

	nbh_sessions_free(sessions);
	for (guint i = 0; i < AGENTS_MAX; i++)
		fuzz_require(!slots[i].is_used);
	return 0;
}
