#include "config.h"

#include "ice/agent.h"

#include "ice/tun.h"

#include <string.h>

#include <nice/agent.h>

/* RFC 8445: 500 ms, then doubled: three checks per pair take 3.5 s. */
#define CHECKS_PER_PAIR 3
#define CLOSE_TURNS_MAX 64
#define COMPONENT NICE_COMPONENT_TYPE_RTP

struct _NbhAgent {
	NbhPort *port; /* borrowed */
	NbhAgentWorld world;
	NbhAgentEvents events;
	gpointer owner;
	NiceAgent *nice;       /* owned */
	GMainContext *context; /* owned */
	guint stream;
	guint16 q;
	gboolean has_remote;
	NbhCandidateSet candidates;
	NbhIcePair pair;
	gboolean has_pair;
};

static NiceAddress to_nice(const struct nbh_endpoint *endpoint)
{
	struct sockaddr_storage sa;
	NiceAddress address;

	nbh_endpoint_to_sockaddr(endpoint, &sa);
	nice_address_init(&address);
	nice_address_set_from_sockaddr(&address, (struct sockaddr *)&sa);
	return address;
}

static struct nbh_endpoint from_nice(const NiceAddress *address)
{
	struct nbh_endpoint endpoint = { .port = 0 };
	struct sockaddr_storage sa = { .ss_family = AF_UNSPEC };

	nice_address_copy_to_sockaddr(address, (struct sockaddr *)&sa);
	nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &endpoint);
	return endpoint;
}

static NbhCandidateType type_from_nice(NiceCandidateType type)
{
	switch (type) {
	case NICE_CANDIDATE_TYPE_SERVER_REFLEXIVE:
		return NBH_CANDIDATE_SRFLX;
	case NICE_CANDIDATE_TYPE_PEER_REFLEXIVE:
		return NBH_CANDIDATE_PRFLX;
	case NICE_CANDIDATE_TYPE_RELAYED:
		return NBH_CANDIDATE_RELAY;
	case NICE_CANDIDATE_TYPE_HOST:
		break;
	}

	return NBH_CANDIDATE_HOST;
}

static NiceCandidateType type_to_nice(NbhCandidateType type)
{
	switch (type) {
	case NBH_CANDIDATE_SRFLX:
		return NICE_CANDIDATE_TYPE_SERVER_REFLEXIVE;
	case NBH_CANDIDATE_PRFLX:
		return NICE_CANDIDATE_TYPE_PEER_REFLEXIVE;
	case NBH_CANDIDATE_RELAY:
		return NICE_CANDIDATE_TYPE_RELAYED;
	case NBH_CANDIDATE_HOST:
	case NBH_CANDIDATE_N_TYPES:
		break;
	}

	return NICE_CANDIDATE_TYPE_HOST;
}

/*
 * libnice knows its own address as the dummy one, so every mapped address is peer-reflexive to it
 * (ice-port.md section 4). Told apart here: our own address and port, or something a NAT made.
 */
static void describe_local(const NbhAgent *agent, const NiceCandidate *local, NbhIcePair *pair)
{
	struct nbh_endpoint own = { .port = agent->world.port };
	gboolean has_own = agent->world.natural_source(&pair->remote, &own.addr, agent->world.owner);

	pair->local = from_nice(&local->addr);
	pair->local_type = type_from_nice(local->type);

	/* Its own check was not answered yet: it still names the dummy address. */
	if (local->type == NICE_CANDIDATE_TYPE_HOST) {
		memset(&pair->local, 0, sizeof(pair->local));

		if (has_own)
			pair->local = own;
	} else if (has_own && nbh_endpoint_equal(&own, &pair->local)) {
		pair->local_type = NBH_CANDIDATE_HOST;
	}
}

static gboolean same_pair(const NbhIcePair *a, const NbhIcePair *b)
{
	return a->local_type == b->local_type && a->remote_type == b->remote_type &&
	       nbh_endpoint_equal(&a->local, &b->local) && nbh_endpoint_equal(&a->remote, &b->remote);
}

static void on_selected(NiceAgent *nice G_GNUC_UNUSED, guint stream G_GNUC_UNUSED, guint component G_GNUC_UNUSED,
                        NiceCandidate *local, NiceCandidate *remote, gpointer data)
{
	NbhAgent *agent = data;
	NbhIcePair pair = { .remote_type = type_from_nice(remote->type), .remote = from_nice(&remote->addr) };

	describe_local(agent, local, &pair);

	if (agent->has_pair && same_pair(&pair, &agent->pair))
		return;

	agent->has_pair = TRUE;
	agent->pair = pair;
	agent->events.on_selected(agent, &pair, agent->owner);
}

static void on_state(NiceAgent *nice G_GNUC_UNUSED, guint stream G_GNUC_UNUSED, guint component G_GNUC_UNUSED,
                     guint state, gpointer data)
{
	NbhAgent *agent = data;

	if (state == NICE_COMPONENT_STATE_FAILED)
		agent->events.on_failed(agent, agent->owner);
}

static void on_heard(const struct nbh_endpoint *from, gpointer owner)
{
	NbhAgent *agent = owner;

	agent->events.on_heard(agent, from, agent->owner);
}

/* Only STUN is let through to the agent's sockets; without a reader libnice would not look at them. */
static void on_data(NiceAgent *nice G_GNUC_UNUSED, guint stream G_GNUC_UNUSED, guint component G_GNUC_UNUSED,
                    guint len G_GNUC_UNUSED, char *data G_GNUC_UNUSED, gpointer owner G_GNUC_UNUSED)
{
}

static gboolean add_address(NbhAgent *agent, const struct nbh_addr *addr)
{
	struct nbh_endpoint endpoint = { .addr = *addr };
	NiceAddress address = to_nice(&endpoint);

	return nice_agent_add_local_address(agent->nice, &address);
}

static gboolean start(NbhAgent *agent, const NbhIceOpen *open)
{
	agent->stream = nice_agent_add_stream(agent->nice, 1);

	if (!agent->stream ||
	    !nice_agent_set_local_credentials(agent->nice, agent->stream, open->local.ufrag, open->local.pwd))
		return FALSE;

	nice_agent_set_port_range(agent->nice, agent->stream, COMPONENT, agent->q, agent->q);

	if (!add_address(agent, &nbh_tun_addr4) ||
	    (nbh_port_has_v6(agent->port) && !add_address(agent, &nbh_tun_addr6)))
		return FALSE;

	return nice_agent_attach_recv(agent->nice, agent->stream, COMPONENT, agent->context, on_data, agent) &&
	       nice_agent_gather_candidates(agent->nice, agent->stream);
}

static void on_nice_closed(GObject *object, GAsyncResult *result G_GNUC_UNUSED, gpointer owner G_GNUC_UNUSED)
{
	g_object_unref(object);
}

/* The port must not know it any more. */
static void end(NbhAgent *agent)
{
	g_signal_handlers_disconnect_by_data(agent->nice, agent);

	/* So that the end of it is reported in the agent's own context, which runs right here. */
	g_main_context_push_thread_default(agent->context);
	nice_agent_close_async(agent->nice, on_nice_closed, NULL);

	/*
	 * Without TURN there is nobody to say goodbye to, so it is over within these turns. Should
	 * libnice ever wait for something, its sockets stay, but nothing runs any more.
	 */
	for (int i = 0; i < CLOSE_TURNS_MAX && g_main_context_iteration(agent->context, FALSE); i++)
		;

	g_main_context_pop_thread_default(agent->context);
	g_main_context_unref(agent->context);
	g_free(agent);
}

NbhAgent *nbh_agent_new(NbhPort *port, guint16 q, const NbhAgentWorld *world, const NbhIceOpen *open,
                        const NbhAgentEvents *events, gpointer owner, GError **error)
{
	NbhAgent *agent = g_new0(NbhAgent, 1);
	NbhPortAgent in_port = { .local = &open->local, .keepalives = open->consent_keepalives,
	                          .on_heard = on_heard, .owner = agent };

	agent->port = port;
	agent->world = *world;
	agent->events = *events;
	agent->owner = owner;
	in_port.context = agent->context = g_main_context_new();
	agent->q = q ? q : nbh_port_add(port, &in_port);

	if (!agent->q) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
		            "no session more: ufrag in use, or %d sessions are open", NBH_ICE_SESSIONS_MAX);
		g_main_context_unref(agent->context);
		g_free(agent);
		return NULL;
	}

	agent->nice = nice_agent_new_full(agent->context, NICE_COMPATIBILITY_RFC5245, NICE_AGENT_OPTION_ICE_TRICKLE);
	g_object_set(agent->nice, "ice-tcp", FALSE, "upnp", FALSE, "controlling-mode", open->controlling,
	             "stun-max-retransmissions", CHECKS_PER_PAIR, NULL);
	g_signal_connect(agent->nice, "new-selected-pair-full", G_CALLBACK(on_selected), agent);
	g_signal_connect(agent->nice, "component-state-changed", G_CALLBACK(on_state), agent);

	if (!start(agent, open)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "libnice cannot start an agent on port %u", agent->q);

		if (!q)
			nbh_port_remove(port, agent->q);

		end(agent);
		return NULL;
	}

	if (q)
		nbh_port_attach(port, q, agent->context);

	nbh_port_pump(port, agent->q);
	return agent;
}

static void hand_over(NbhAgent *agent, const NbhCandidate *candidate)
{
	NiceCandidate *nice;
	GSList one = { .data = NULL };

	if (!nbh_port_may_reach(agent->port, &candidate->endpoint))
		return;

	one.data = nice = nice_candidate_new(type_to_nice(candidate->type));
	nice->addr = to_nice(&candidate->endpoint);
	nice->transport = NICE_CANDIDATE_TRANSPORT_UDP;
	nice->component_id = COMPONENT;
	nice->stream_id = agent->stream;
	nice->priority = candidate->priority;
	g_strlcpy(nice->foundation, candidate->foundation, sizeof(nice->foundation));
	nice_agent_set_remote_candidates(agent->nice, agent->stream, COMPONENT, &one);
	nice_candidate_free(nice);
}

void nbh_agent_set_remote(NbhAgent *agent, const NbhIceCreds *creds)
{
	nbh_port_set_remote(agent->port, agent->q, creds);
	nice_agent_set_remote_credentials(agent->nice, agent->stream, creds->ufrag, creds->pwd);

	if (!agent->has_remote)
		for (gsize i = 0; i < agent->candidates.n; i++)
			hand_over(agent, &agent->candidates.items[i]);

	agent->has_remote = TRUE;
	nbh_port_pump(agent->port, agent->q);
}

gboolean nbh_agent_add_candidate(NbhAgent *agent, const NbhCandidate *candidate)
{
	if (!nbh_candidate_set_add(&agent->candidates, candidate))
		return FALSE;

	if (agent->has_remote) {
		hand_over(agent, candidate);
		nbh_port_pump(agent->port, agent->q);
	}

	return TRUE;
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
	nbh_port_remove(agent->port, agent->q);
	end(agent);
}

void nbh_agent_settle(NbhAgent *agent, const NbhPortSettled *settled)
{
	nbh_port_settle(agent->port, agent->q, settled);
	end(agent);
}
