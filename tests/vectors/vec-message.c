#include "config.h"

/* Any protobuf message against its "decoded" form, by walking protobuf-c's descriptors. */

#include "tests/vectors/vec.h"

#include <string.h>

static void *arena_alloc(void *data, size_t size)
{
	VecArena *arena = data;
	void *block = g_malloc(size ? size : 1);

	g_ptr_array_add(arena->blocks, block);
	return block;
}

static void arena_free(void *data, void *block)
{
	(void)data;
	(void)block;
}

void vec_arena_init(VecArena *arena)
{
	arena->blocks = g_ptr_array_new_with_free_func(g_free);
	arena->allocator = (ProtobufCAllocator){arena_alloc, arena_free, arena};
}

void vec_arena_clear(VecArena *arena)
{
	g_clear_pointer(&arena->blocks, g_ptr_array_unref);
}

static gboolean differs(GString *why, const char *key, const char *problem)
{
	if (why->len == 0)
		g_string_printf(why, "%s %s", key, problem);

	return FALSE;
}

static gboolean bytes_equal(const guint8 *data, gsize len, json_object *value)
{
	g_autoptr(GString) text = g_string_new("hex:");
	gsize i;

	for (i = 0; i < len; i++)
		g_string_append_printf(text, "%02x", data[i]);

	return json_object_is_type(value, json_type_string) &&
	       g_str_equal(json_object_get_string(value), text->str);
}

static gboolean enum_equal(const ProtobufCEnumDescriptor *type, int number, json_object *value)
{
	const ProtobufCEnumValue *entry = protobuf_c_enum_descriptor_get_value(type, number);
	g_autofree char *text = g_strdup_printf("%d %s", number, entry ? entry->name : "?");

	return json_object_is_type(value, json_type_string) &&
	       g_str_equal(json_object_get_string(value), text);
}

static gsize element_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_ENUM:
		return 4;
	}

	return 0;
}

/* Messages are compared by the caller, which may recurse. */
static gboolean scalar_equal(const ProtobufCFieldDescriptor *field, const void *at,
			     json_object *value)
{
	const ProtobufCBinaryData *bytes = at;
	gboolean is_int = json_object_is_type(value, json_type_int);

	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
		return is_int && json_object_get_int64(value) == *(const gint32 *)at;
	case PROTOBUF_C_TYPE_UINT32:
		return is_int && json_object_get_int64(value) == *(const guint32 *)at;
	case PROTOBUF_C_TYPE_INT64:
		return is_int && json_object_get_int64(value) == *(const gint64 *)at;
	case PROTOBUF_C_TYPE_UINT64:
		return is_int && json_object_get_uint64(value) == *(const guint64 *)at;
	case PROTOBUF_C_TYPE_BOOL:
		return json_object_is_type(value, json_type_boolean) &&
		       !json_object_get_boolean(value) == !*(const protobuf_c_boolean *)at;
	case PROTOBUF_C_TYPE_ENUM:
		return enum_equal(field->descriptor, *(const int *)at, value);
	case PROTOBUF_C_TYPE_STRING:
		return json_object_is_type(value, json_type_string) &&
		       g_str_equal(json_object_get_string(value), *(const char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return bytes_equal(bytes->data, bytes->len, value);
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
	case PROTOBUF_C_TYPE_MESSAGE:
		return FALSE; /* not in these protocols */
	}

	return FALSE;
}

static gboolean value_equal(const ProtobufCFieldDescriptor *field, const void *at,
			    json_object *value, const char *key, GString *why)
{
	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return scalar_equal(field, at, value) || differs(why, key, "has another value");

	if (vec_decoded_equal(*(ProtobufCMessage *const *)at, value, why))
		return TRUE;

	g_string_prepend_c(why, '.');
	g_string_prepend(why, key);
	return FALSE;
}

static gboolean is_present(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const guint8 *base = (const guint8 *)message;
	const void *at = base + field->offset;

	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const guint32 *)(const void *)(base + field->quantifier_offset) ==
		       field->id;

	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)(const void *)(base + field->quantifier_offset) > 0;

	if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(void *const *)at != NULL;

	return *(const protobuf_c_boolean *)(base + field->quantifier_offset);
}

static gboolean field_equal(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
			    json_object *value, const char *key, GString *why)
{
	const guint8 *base = (const guint8 *)message;
	const guint8 *at = base + field->offset;
	gsize i, n;

	if (field->label != PROTOBUF_C_LABEL_REPEATED)
		return value_equal(field, at, value, key, why);

	n = *(const size_t *)(const void *)(base + field->quantifier_offset);
	at = *(const guint8 *const *)(const void *)at;

	if (vec_len(value) != n)
		return differs(why, key, "has another number of elements");

	for (i = 0; i < n; i++) {
		if (!value_equal(field, at + i * element_size(field->type),
				 json_object_array_get_idx(value, i), key, why))
			return FALSE;
	}

	return TRUE;
}

/* Fields that our .proto does not have: key "77 ?", a list of values. */
static gboolean unknown_equal(const ProtobufCMessage *message, json_object *decoded,
			      guint *ret_keys, GString *why)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
	guint i;

	for (i = 0; i < message->n_unknown_fields; i++) {
		const ProtobufCMessageUnknownField *field = &message->unknown_fields[i];
		g_autofree char *key = g_strdup_printf("%u ?", field->tag);
		guint index =
			GPOINTER_TO_UINT(g_hash_table_lookup(seen, GUINT_TO_POINTER(field->tag)));
		json_object *list = vec_get(decoded, key);
		gsize skip = 0;

		if (index >= vec_len(list))
			return differs(why, key, "is not in the decoded form");

		g_hash_table_insert(seen, GUINT_TO_POINTER(field->tag),
				    GUINT_TO_POINTER(index + 1));

		if (field->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
			continue;

		/* protobuf-c keeps the length in front. */
		while (skip < field->len && field->data[skip++] & 0x80)
			;

		if (!bytes_equal(field->data + skip, field->len - skip,
				 json_object_array_get_idx(list, index)))
			return differs(why, key, "has another value");
	}

	*ret_keys = g_hash_table_size(seen);
	return TRUE;
}

gboolean vec_decoded_equal(const ProtobufCMessage *message, json_object *decoded, GString *why)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	guint i, n_keys = 0, n_unknown = 0;

	if (!json_object_is_type(decoded, json_type_object))
		return differs(why, type->short_name, "is no object in the decoded form");

	for (i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		g_autofree char *key = g_strdup_printf("%u %s", field->id, field->name);
		json_object *value = vec_get(decoded, key);

		if (!is_present(message, field)) {
			if (value)
				return differs(why, key, "is missing in our decoding");
			continue;
		}

		if (!value)
			return differs(why, key, "is not in the decoded form");

		if (!field_equal(message, field, value, key, why))
			return FALSE;

		n_keys++;
	}

	if (!unknown_equal(message, decoded, &n_unknown, why))
		return FALSE;

	if (n_keys + n_unknown != (guint)json_object_object_length(decoded))
		return differs(why, type->short_name, "has fields that our .proto does not name");

	return TRUE;
}

ProtobufCMessage *vec_message(VecArena *arena, const ProtobufCMessageDescriptor *type,
			      json_object *part, GBytes *plain)
{
	g_autoptr(GString) why = g_string_new(NULL);
	json_object *decoded = vec_get(part, "decoded");
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);
	ProtobufCMessage *message = protobuf_c_message_unpack(type, &arena->allocator, len, data);
	gboolean equal;

	if (!message) {
		vec_ok(!decoded, "%s: does not parse, and is recorded so", type->short_name);
		return NULL;
	}

	vec_ok(TRUE, "%s: decodes", type->short_name);

	if (decoded) {
		equal = vec_decoded_equal(message, decoded, why);
		vec_ok(equal, "%s: equals its decoded form %s", type->short_name, why->str);
	} else {
		vec_ok(len == 0, "%s: empty, as there is no decoded form", type->short_name);
	}

	if (vec_bool(part, "canonical", len == 0)) {
		gsize packed_len = protobuf_c_message_get_packed_size(message);
		g_autofree guint8 *packed = g_malloc(packed_len + 1);

		protobuf_c_message_pack(message, packed);
		vec_ok(vec_bytes_equal(plain, packed, packed_len), "%s: packs to the same bytes",
		       type->short_name);
	}

	return message;
}
