#ifndef NBH_WIRE_PB_H
#define NBH_WIRE_PB_H

/*
 * What all message modules need around protobuf-c: decoding with bounded memory, encoding into
 * GBytes, and the few helpers for text that strangers wrote. Inside of src/wire only.
 *
 * Decoded messages live in ordinary malloc memory, so X__free_unpacked(message, NULL) frees them.
 */

#include "wire/management.pb-c.h"
#include "wire/signal.pb-c.h"

#include <glib.h>

/*
 * NULL with NBH_WIRE_MALFORMED naming the message type when the bytes do not parse, or when they
 * would take more memory than honest messages of this length do (two bytes can stand for a struct
 * of two hundred).
 */
ProtobufCMessage *nbh_pb_unpack(const ProtobufCMessageDescriptor *type, const guint8 *data,
				gsize len, GError **error);

GBytes *nbh_pb_pack(const ProtobufCMessage *message);

/* "" and NULL are the same on the wire of the official programs: left out. */
char *nbh_pb_optional(const char *text);

/* Borrows text; for fields of type bytes. */
ProtobufCBinaryData nbh_pb_bytes(const void *data, gsize len);

/*
 * A copy that can be shown: valid UTF-8, control characters replaced by '?', at most max_bytes.
 * NULL gives "".
 */
char *nbh_pb_text(const char *text, gsize max_bytes);

/* g_autoptr() for a message type: NBH_PB_AUTOPTR(Nbm__SyncResponse, nbm__sync_response). */
#define NBH_PB_AUTOPTR(Type, prefix)                                                               \
	static inline void prefix##_autofree(Type *message)                                        \
	{                                                                                          \
		prefix##__free_unpacked(message, NULL);                                            \
	}                                                                                          \
	G_DEFINE_AUTOPTR_CLEANUP_FUNC(Type, prefix##_autofree)

#endif
