#include "config.h"

#include "wire/signalmsg.h"

#include "base/limits.h"
#include "wire/box.h"
#include "wire/error.h"
#include "wire/pb.h"

#include <string.h>

NBH_PB_AUTOPTR(Nbs__EncryptedMessage, nbs__encrypted_message)
NBH_PB_AUTOPTR(Nbs__Body, nbs__body)

/* key, remoteKey, three tags and lengths. */
#define ENVELOPE_MAX_BYTES (NBH_SIGNAL_BODY_MAX_BYTES + NBH_BOX_OVERHEAD + 256)

#define CREDS_TEXT_MAX (NBH_ICE_UFRAG_MAX + 1 + NBH_ICE_PWD_MAX)

static gboolean is_session_message(guint type)
{
	return type == NBH_SIGNAL_OFFER || type == NBH_SIGNAL_ANSWER;
}

/* The fields of OFFER and ANSWER, in the way that official clients fill them. */
static void session_fill(const NbhSignalMessage *in, Nbs__Body *body,
			 Nbs__RosenpassConfig *rosenpass, char payload[CREDS_TEXT_MAX + 1])
{
	gsize ip_len = in->relay_ip.family == AF_INET ? 4 : 16;

	g_snprintf(payload, CREDS_TEXT_MAX + 1, "%s:%s", in->has_ice ? in->creds.ufrag : "",
		   in->has_ice ? in->creds.pwd : "");
	body->payload = payload;
	body->has_wglistenport = in->wg_listen_port != 0;
	body->wglistenport = in->wg_listen_port;
	body->netbirdversion = nbh_pb_optional(in->version);
	nbs__rosenpass_config__init(rosenpass);
	body->rosenpassconfig = rosenpass;
	body->relayserveraddress = nbh_pb_optional(in->relay_address);

	if (in->session.present) {
		body->has_sessionid = TRUE;
		body->sessionid = nbh_pb_bytes(in->session.bytes, NBH_SESSION_ID_LEN);
	}

	if (in->relay_ip.family) {
		body->has_relayserverip = TRUE;
		body->relayserverip = nbh_pb_bytes(in->relay_ip.bytes, ip_len);
	}
}

GBytes *nbh_signal_body_encode(const NbhSignalMessage *message)
{
	Nbs__Body body = NBS__BODY__INIT;
	Nbs__RosenpassConfig rosenpass;
	char payload[CREDS_TEXT_MAX + 1];

	body.has_type = message->type != NBH_SIGNAL_OFFER; /* 0 is left out */
	body.type = (Nbs__Body__Type)message->type;

	if (is_session_message(message->type))
		session_fill(message, &body, &rosenpass, payload);
	else if (message->type == NBH_SIGNAL_CANDIDATE)
		body.payload = nbh_pb_optional(message->candidate);

	return nbh_pb_pack(&body.base);
}

/* RFC 8445 section 5.3: "ice-char = ALPHA / DIGIT / "+" / "/"". */
static gboolean is_ice_text(const char *text, gsize len)
{
	gsize i;

	for (i = 0; i < len; i++) {
		if (!g_ascii_isalnum(text[i]) && text[i] != '+' && text[i] != '/')
			return FALSE;
	}

	return TRUE;
}

/* "ufrag:pwd" with exactly one colon; ":" alone: no ICE. The password never reaches an error. */
static gboolean creds_decode(const char *payload, NbhSignalMessage *message, GError **error)
{
	const char *colon = payload ? strchr(payload, ':') : NULL;
	gsize ufrag_len, pwd_len;

	if (!colon || strchr(colon + 1, ':')) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED, "payload: not ufrag:pwd");
		return FALSE;
	}

	ufrag_len = (gsize)(colon - payload);
	pwd_len = strlen(colon + 1);

	if (ufrag_len == 0 && pwd_len == 0)
		return TRUE;

	if (ufrag_len == 0 || pwd_len == 0 || ufrag_len > NBH_ICE_UFRAG_MAX ||
	    pwd_len > NBH_ICE_PWD_MAX || !is_ice_text(payload, ufrag_len) ||
	    !is_ice_text(colon + 1, pwd_len)) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "payload: not the text of ICE credentials");
		return FALSE;
	}

	memcpy(message->creds.ufrag, payload, ufrag_len);
	memcpy(message->creds.pwd, colon + 1, pwd_len);
	message->has_ice = TRUE;
	return TRUE;
}

/* 4 or 16 bytes, v4-mapped unmapped; other lengths are ignored (netbird-wire.md 3.3). */
static struct nbh_addr relay_ip_decode(const ProtobufCBinaryData *bytes)
{
	static const guint8 mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct nbh_addr addr = {0};

	if (bytes->len == 4) {
		addr.family = AF_INET;
		memcpy(addr.bytes, bytes->data, 4);
	} else if (bytes->len == 16 && memcmp(bytes->data, mapped, sizeof(mapped)) == 0) {
		addr.family = AF_INET;
		memcpy(addr.bytes, bytes->data + 12, 4);
	} else if (bytes->len == 16) {
		addr.family = AF_INET6;
		memcpy(addr.bytes, bytes->data, 16);
	}

	return addr;
}

/* Compared as an exact string, so it is never cut: one that is too long or not printable is none.
 */
static void relay_address_decode(const char *text, NbhSignalMessage *message)
{
	gsize i, len = text ? strlen(text) : 0;

	if (len >= sizeof(message->relay_address))
		return;

	for (i = 0; i < len; i++) {
		if (!g_ascii_isgraph(text[i]))
			return;
	}

	if (len > 0)
		memcpy(message->relay_address, text, len + 1);
}

static gboolean session_decode(const Nbs__Body *body, NbhSignalMessage *message, GError **error)
{
	g_autofree char *version = NULL;

	if (!creds_decode(body->payload, message, error))
		return FALSE;

	if (body->sessionid.len == NBH_SESSION_ID_LEN) {
		message->session.present = TRUE;
		memcpy(message->session.bytes, body->sessionid.data, NBH_SESSION_ID_LEN);
	}

	version = nbh_pb_text(body->netbirdversion, sizeof(message->version) - 1);
	g_strlcpy(message->version, version, sizeof(message->version));
	message->wg_listen_port = body->wglistenport;
	message->relay_ip = relay_ip_decode(&body->relayserverip);
	relay_address_decode(body->relayserveraddress, message);
	return TRUE;
}

gboolean nbh_signal_body_decode(const guint8 *plain, gsize len, NbhSignalMessage *ret_message,
				GError **error)
{
	g_autoptr(Nbs__Body) body = NULL;
	NbhSignalMessage message = {0};

	if (len > NBH_SIGNAL_BODY_MAX_BYTES) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT,
			    "Body: %" G_GSIZE_FORMAT " bytes, limit %d", len,
			    NBH_SIGNAL_BODY_MAX_BYTES);
		return FALSE;
	}

	body = (Nbs__Body *)nbh_pb_unpack(&nbs__body__descriptor, plain, len, error);

	if (!body)
		return FALSE;

	message.type = body->type;

	if (is_session_message(message.type)) {
		if (!session_decode(body, &message, error)) {
			g_prefix_error(error,
				       message.type == NBH_SIGNAL_OFFER ? "OFFER: " : "ANSWER: ");
			return FALSE;
		}
	} else if (message.type == NBH_SIGNAL_CANDIDATE) {
		/* Its grammar is core/candidate.c's business. */
		gsize n = body->payload ? strlen(body->payload) : 0;

		if (n == 0 || n >= sizeof(message.candidate)) {
			g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
				    "CANDIDATE: payload %s", n ? "too long" : "missing");
			return FALSE;
		}

		memcpy(message.candidate, body->payload, n + 1);
	}

	*ret_message = message;
	return TRUE;
}

GBytes *nbh_signal_seal_body(const struct nbh_key *own_private, const struct nbh_key *own_public,
			     const struct nbh_key *far_public, GBytes *body)
{
	Nbs__EncryptedMessage envelope = NBS__ENCRYPTED_MESSAGE__INIT;
	struct nbh_key_text own_text = nbh_key_format(own_public),
			    far_text = nbh_key_format(far_public);
	g_autoptr(GBytes) sealed = NULL;
	const guint8 *data;
	gsize len;

	data = g_bytes_get_data(body, &len);
	sealed = nbh_box_seal(own_private, far_public, data, len, NULL);

	if (!sealed)
		return NULL;

	envelope.key = own_text.text;
	envelope.remotekey = far_text.text;
	envelope.has_body = TRUE;
	envelope.body.data = (guint8 *)g_bytes_get_data(sealed, &envelope.body.len);
	return nbh_pb_pack(&envelope.base);
}

GBytes *nbh_signal_seal(const struct nbh_key *own_private, const struct nbh_key *own_public,
			const struct nbh_key *far_public, const NbhSignalMessage *message)
{
	g_autoptr(GBytes) body = nbh_signal_body_encode(message);

	return nbh_signal_seal_body(own_private, own_public, far_public, body);
}

static Nbs__EncryptedMessage *envelope_unpack(const guint8 *data, gsize len,
					      struct nbh_key *ret_from, GError **error)
{
	g_autoptr(Nbs__EncryptedMessage) envelope = NULL;

	if (len > ENVELOPE_MAX_BYTES) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT,
			    "EncryptedMessage: %" G_GSIZE_FORMAT " bytes, limit %d", len,
			    ENVELOPE_MAX_BYTES);
		return NULL;
	}

	envelope = (Nbs__EncryptedMessage *)nbh_pb_unpack(&nbs__encrypted_message__descriptor, data,
							  len, error);

	if (!envelope)
		return NULL;

	if (!envelope->key || nbh_key_parse(envelope->key, ret_from) < 0) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "EncryptedMessage.key is no key");
		return NULL;
	}

	return g_steal_pointer(&envelope);
}

gboolean nbh_signal_open(const struct nbh_key *own_private, const guint8 *data, gsize len,
			 struct nbh_key *ret_far, NbhSignalMessage *ret_message, GError **error)
{
	g_autoptr(Nbs__EncryptedMessage) envelope = NULL;
	g_autoptr(GBytes) plain = NULL;
	struct nbh_key far;
	const guint8 *body;
	gsize body_len;

	envelope = envelope_unpack(data, len, &far, error);

	if (!envelope)
		return FALSE;

	plain = nbh_box_open(own_private, &far, envelope->body.data, envelope->body.len);

	if (!plain) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_SEALED,
			    "EncryptedMessage.body does not open");
		return FALSE;
	}

	body = g_bytes_get_data(plain, &body_len);

	if (!nbh_signal_body_decode(body, body_len, ret_message, error))
		return FALSE;

	*ret_far = far;
	return TRUE;
}

gboolean nbh_signal_route(const guint8 *data, gsize len, struct nbh_key *ret_from,
			  struct nbh_key *ret_to, GError **error)
{
	g_autoptr(Nbs__EncryptedMessage) envelope = NULL;
	struct nbh_key from, to;

	envelope = envelope_unpack(data, len, &from, error);

	if (!envelope)
		return FALSE;

	if (!envelope->remotekey || nbh_key_parse(envelope->remotekey, &to) < 0) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "EncryptedMessage.remoteKey is no key");
		return FALSE;
	}

	*ret_from = from;
	*ret_to = to;
	return TRUE;
}
