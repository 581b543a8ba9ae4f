#include "config.h"

/* signal.json: conversations through Send, and the headers of ConnectStream. */

#include "tests/vectors/vec.h"

#include "core/candidate.h"
#include "wire/signal.pb-c.h"
#include "wire/signalmsg.h"

#include <string.h>

static void check_envelope(json_object *file, json_object *item, GBytes *plain,
			   NbhSignalMessage *ret_message)
{
	g_autoptr(GBytes) envelope = vec_hex(item, "envelope"), ours = NULL;
	struct nbh_key far, routed_from, routed_to;
	NbhSignalMessage message;
	VecKeys from, to;
	const guint8 *data;
	gsize len;

	if (!envelope || !vec_keys(file, vec_str(item, "from"), &from)) {
		vec_ok(FALSE, "envelope and sender are there");
		return;
	}

	data = g_bytes_get_data(envelope, &len);

	if (!vec_keys(file, vec_str(item, "to"), &to)) {
		vec_ok(!nbh_signal_route(data, len, &routed_from, &routed_to, NULL),
		       "cannot be routed: no receiver");
		return;
	}

	vec_ok(nbh_signal_route(data, len, &routed_from, &routed_to, NULL) &&
		       nbh_key_equal(&routed_from, &from.public_key) &&
		       nbh_key_equal(&routed_to, &to.public_key),
	       "envelope names sender and receiver");

	if (!plain || nbh_key_is_zero(&to.private_key))
		return;

	vec_ok(nbh_signal_open(&to.private_key, data, len, &far, &message, NULL) &&
		       nbh_key_equal(&far, &from.public_key),
	       "envelope opens");

	if (nbh_key_is_zero(&from.private_key))
		return;

	ours = nbh_signal_seal(&from.private_key, &from.public_key, &to.public_key, ret_message);
	data = g_bytes_get_data(ours, &len);
	vec_ok(nbh_signal_open(&to.private_key, data, len, &far, &message, NULL) &&
		       message.type == ret_message->type,
	       "our own envelope opens");
}

static void check_fields(const Nbs__Body *body, const NbhSignalMessage *message)
{
	g_autofree char *payload =
		g_strdup_printf("%s:%s", message->creds.ufrag, message->creds.pwd);
	NbhCandidate candidate;
	struct nbh_why why;

	switch ((NbhSignalType)message->type) {
	case NBH_SIGNAL_OFFER:
	case NBH_SIGNAL_ANSWER:
		vec_ok(g_str_equal(payload, body->payload) &&
			       message->has_ice == !g_str_equal(payload, ":") &&
			       message->wg_listen_port == body->wglistenport &&
			       g_strcmp0(message->version,
					 body->netbirdversion ? body->netbirdversion : "") == 0 &&
			       g_strcmp0(message->relay_address, body->relayserveraddress
									 ? body->relayserveraddress
									 : "") == 0 &&
			       message->session.present ==
				       (body->sessionid.len == NBH_SESSION_ID_LEN) &&
			       (message->relay_ip.family != 0) == (body->relayserverip.len > 0),
		       "fields of the session");
		break;
	case NBH_SIGNAL_CANDIDATE:
		vec_ok(g_str_equal(message->candidate, body->payload) &&
			       nbh_candidate_parse(message->candidate, &candidate, &why),
		       "the candidate parses");
		break;
	case NBH_SIGNAL_MODE:
	case NBH_SIGNAL_GO_IDLE:
	case NBH_SIGNAL_HEARTBEAT:
	default:
		vec_ok(message->candidate[0] == '\0' && !message->has_ice &&
			       !message->session.present,
		       "nothing but its type");
		break;
	}
}

/* Types that we send must come out of our encoder byte for byte; MODE and unknown ones lose their
 * fields. */
static void check_encoder(json_object *item, GBytes *plain, const NbhSignalMessage *message)
{
	g_autoptr(GBytes) ours = nbh_signal_body_encode(message);
	gboolean is_ours = message->type <= NBH_SIGNAL_CANDIDATE ||
			   message->type == NBH_SIGNAL_GO_IDLE ||
			   message->type == NBH_SIGNAL_HEARTBEAT;

	if (is_ours && vec_bool(item, "canonical", FALSE))
		vec_ok(g_bytes_equal(ours, plain), "our encoder makes the same bytes");
}

static void check_case(json_object *file, json_object *item)
{
	g_autoptr(GBytes) plain = vec_hex(item, "plain"), answer = vec_hex(item, "answer");
	const ProtobufCEnumValue *name;
	g_autofree char *type = NULL;
	NbhSignalMessage message = {0};
	g_auto(VecArena) arena = {0};
	Nbs__Body *body;
	gsize len;
	const guint8 *data;

	vec_arena_init(&arena);
	vec_sealed(file, item, plain);
	vec_ok(vec_int(item, "grpc_status", -1) == 0, "Send always succeeds");

	if (answer) {
		data = g_bytes_get_data(answer, &len);
		vec_ok(protobuf_c_message_unpack(&nbs__encrypted_message__descriptor,
						 &arena.allocator, len, data) != NULL,
		       "the answer is an EncryptedMessage");
	}

	if (!plain) {
		vec_ok(!vec_bool(item, "opens", TRUE), "has no plain text, and is recorded so");
		check_envelope(file, item, NULL, &message);
		return;
	}

	body = (Nbs__Body *)vec_message(&arena, &nbs__body__descriptor, item, plain);

	if (!body)
		return;

	data = g_bytes_get_data(plain, &len);

	if (!nbh_signal_body_decode(data, len, &message, NULL)) {
		vec_ok(FALSE, "decodes into our struct");
		return;
	}

	name = protobuf_c_enum_descriptor_get_value(&nbs__body__type__descriptor,
						    (int)message.type);
	type = g_strdup_printf("%u %s", message.type, name ? name->name : "?");
	vec_ok(g_strcmp0(vec_str(item, "type"), type) == 0, "type %s", type);
	check_fields(body, &message);
	check_encoder(item, plain, &message);
	check_envelope(file, item, plain, &message);
}

static void check_registration(json_object *file, json_object *item)
{
	json_object *headers = vec_get(item, "request_headers"), *result = vec_get(item, "result");
	const char *id = vec_header(headers, "x-wiretrustee-peer-id");
	const char *answer =
		vec_header(vec_get(result, "response_headers"), "x-wiretrustee-peer-registered");
	struct nbh_key key;
	VecKeys keys;

	vec_headers(headers, "request headers");
	vec_ok(g_strcmp0(vec_header(headers, ":path"),
			 "/signalexchange.SignalExchange/ConnectStream") == 0,
	       "path");
	vec_result(result);

	/* netbird-wire.md 3.1: registered if and only if the header came, which needs the id. */
	vec_ok((answer && g_str_equal(answer, "1")) == (id != NULL), "registered: %s",
	       answer ? "yes" : "no");

	if (id && vec_keys(file, vec_str(item, "peer"), &keys))
		vec_ok(nbh_key_parse(id, &key) == 0 && nbh_key_equal(&key, &keys.public_key),
		       "the id is the peer's key text");
}

void vec_signal(json_object *file)
{
	json_object *cases = vec_get(file, "cases"),
		    *registrations = vec_get(file, "registrations");
	gsize i, n = vec_len(cases);

	vec_ok(n > 0, "%" G_GSIZE_FORMAT " cases", n);

	for (i = 0; i < n; i++) {
		json_object *item = json_object_array_get_idx(cases, i);

		vec_case("signal", vec_str(item, "name"));

		if (g_strcmp0(vec_str(item, "rpc"), "/signalexchange.SignalExchange/Send") == 0)
			check_case(file, item);
		else
			vec_unknown("rpc", vec_str(item, "rpc"));
	}

	for (i = 0; i < vec_len(registrations); i++) {
		json_object *item = json_object_array_get_idx(registrations, i);

		vec_case("signal", vec_str(item, "name"));
		check_registration(file, item);
	}
}
