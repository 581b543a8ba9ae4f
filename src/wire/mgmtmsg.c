#include "config.h"

/*
 * The envelope that both sides share, and GetServerKey. The client's messages are in
 * mgmtmsg-client.c, the hub's in mgmtmsg-hub.c.
 */

#include "wire/mgmtmsg.h"

#include "base/limits.h"
#include "wire/box.h"
#include "wire/error.h"
#include "wire/pb.h"

NBH_PB_AUTOPTR(Nbm__EncryptedMessage, nbm__encrypted_message)
NBH_PB_AUTOPTR(Nbm__ServerKeyResponse, nbm__server_key_response)

GBytes *nbh_mgmt_seal(const struct nbh_key *own_private, const struct nbh_key *far_public,
		      const guint8 *plain, gsize len)
{
	Nbm__EncryptedMessage message = NBM__ENCRYPTED_MESSAGE__INIT;
	g_autoptr(GBytes) sealed = nbh_box_seal(own_private, far_public, plain, len, NULL);
	struct nbh_key own_public;
	struct nbh_key_text text;

	if (!sealed)
		return NULL;

	nbh_key_public(own_private, &own_public);
	text = nbh_key_format(&own_public);
	message.wgpubkey = text.text;
	message.has_body = TRUE;
	message.body.data = (guint8 *)g_bytes_get_data(sealed, &message.body.len);
	return nbh_pb_pack(&message.base);
}

static Nbm__EncryptedMessage *envelope_unpack(const guint8 *data, gsize len,
					      struct nbh_key *ret_sender, GError **error)
{
	g_autoptr(Nbm__EncryptedMessage) message = NULL;

	if (len > NBH_GRPC_MESSAGE_MAX_BYTES) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_LIMIT,
			    "EncryptedMessage: %" G_GSIZE_FORMAT " bytes", len);
		return NULL;
	}

	message = (Nbm__EncryptedMessage *)nbh_pb_unpack(&nbm__encrypted_message__descriptor, data,
							 len, error);

	if (!message)
		return NULL;

	if (!message->wgpubkey || nbh_key_parse(message->wgpubkey, ret_sender) < 0) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "EncryptedMessage.wgPubKey is no key");
		return NULL;
	}

	return g_steal_pointer(&message);
}

GBytes *nbh_mgmt_open(const struct nbh_key *own_private, const struct nbh_key *far_public,
		      const guint8 *data, gsize len, GError **error)
{
	g_autoptr(Nbm__EncryptedMessage) message = NULL;
	struct nbh_key sender;
	GBytes *plain;

	message = envelope_unpack(data, len, &sender, error);

	if (!message)
		return NULL;

	/* The box proves who sent it; comparing first only gives the better text. */
	if (!nbh_key_equal(&sender, far_public)) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_SEALED,
			    "EncryptedMessage.wgPubKey is not the key that was expected (a "
			    "restarted server?)");
		return NULL;
	}

	plain = nbh_box_open(own_private, far_public, message->body.data, message->body.len);

	if (!plain) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_SEALED,
			    "EncryptedMessage.body does not open (sealed for another key?)");
	}

	return plain;
}

gboolean nbh_mgmt_sender(const guint8 *data, gsize len, struct nbh_key *ret_key, GError **error)
{
	g_autoptr(Nbm__EncryptedMessage) message = NULL;
	struct nbh_key sender;

	message = envelope_unpack(data, len, &sender, error);

	if (!message)
		return FALSE;

	*ret_key = sender;
	return TRUE;
}

GBytes *nbh_mgmt_encode_server_key(const struct nbh_key *key)
{
	Nbm__ServerKeyResponse message = NBM__SERVER_KEY_RESPONSE__INIT;
	struct nbh_key_text text = nbh_key_format(key);

	message.key = text.text;
	return nbh_pb_pack(&message.base);
}

gboolean nbh_mgmt_decode_server_key(const guint8 *data, gsize len, struct nbh_key *ret_key,
				    GError **error)
{
	g_autoptr(Nbm__ServerKeyResponse) message = NULL;

	message = (Nbm__ServerKeyResponse *)nbh_pb_unpack(&nbm__server_key_response__descriptor,
							  data, len, error);

	if (!message)
		return FALSE;

	if (!message->key || nbh_key_parse(message->key, ret_key) < 0) {
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "ServerKeyResponse.key is no key");
		return FALSE;
	}

	return TRUE;
}
