#ifndef NBH_TESTS_VECTORS_VEC_H
#define NBH_TESTS_VECTORS_VEC_H

/* What the parts of test-vectors share: TAP lines, JSON access, protobuf by descriptor. */

#include "base/key.h"

#include <glib.h>
#include <json-c/json.h>
#include <protobuf-c/protobuf-c.h>

/* One TAP line. vec_case() names what the following ones are about. */
void vec_case(const char *file, const char *name);
void vec_ok(gboolean ok, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* For a part of a case that this program does not know: a failure, never silence. */
void vec_unknown(const char *what, const char *value);

json_object *vec_get(json_object *object, const char *key); /* NULL if absent or null */
const char *vec_str(json_object *object, const char *key);  /* NULL if absent */
gint64 vec_int(json_object *object, const char *key, gint64 fallback);
gboolean vec_bool(json_object *object, const char *key, gboolean fallback);
GBytes *vec_hex(json_object *object, const char *key); /* NULL if absent; a bad one is a failure */
gsize vec_len(json_object *array);		       /* 0 if NULL */

/* A named pair of the file's "keys". FALSE if there is no such name. private_key zero: not known.
 */
typedef struct {
	struct nbh_key public_key, private_key;
} VecKeys;
gboolean vec_keys(json_object *file, const char *name, VecKeys *ret_keys);

gboolean vec_bytes_equal(GBytes *bytes, const void *data, gsize len);

/* Headers: pairs of texts. trailers may be NULL. */
void vec_headers(json_object *headers, const char *what);
const char *vec_header(json_object *headers, const char *name);
/* The "result" of a call: statuses in headers or trailers, grpc-message percent-decodes. */
void vec_result(json_object *result);

/* Sealed and envelope of one direction; plain may be NULL. Opens, seals again, compares. */
void vec_sealed(json_object *file, json_object *part, GBytes *plain);

/* Message memory of one case: nothing is freed singly, so that parts may be cut off. */
typedef struct {
	GPtrArray *blocks;
	ProtobufCAllocator allocator;
} VecArena;
void vec_arena_init(VecArena *arena);
void vec_arena_clear(VecArena *arena);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VecArena, vec_arena_clear)

/* Compares with the "decoded" form by walking the descriptor. why: the first difference. */
gboolean vec_decoded_equal(const ProtobufCMessage *message, json_object *decoded, GString *why);
/* plain decodes, equals decoded, and packs to the same bytes when canonical. NULL if it does not
 * decode. */
ProtobufCMessage *vec_message(VecArena *arena, const ProtobufCMessageDescriptor *type,
			      json_object *part, GBytes *plain);

/* The parts, one per file of the directory. */
void vec_management(json_object *file);
void vec_signal(json_object *file);
void vec_stun(json_object *file);
void vec_relay(json_object *file);
void vec_transport(json_object *file);

#endif
