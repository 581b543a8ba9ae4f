#include "config.h"

#include "wire/pb.h"

#include "wire/error.h"

#include <stdlib.h>
#include <string.h>

/*
 * protobuf-c allocates a struct per sub-message and a scratch entry per field before anybody can
 * count them. Recorded maps take up to 5 times their length, the densest honest one (short firewall
 * rules and nothing else, see test-wire-mgmt) about 10 times. So memory is bounded by the length
 * that the caller already bounded.
 */
#define BUDGET_FACTOR 16
#define BUDGET_BASE_BYTES (64 * 1024)
#define ALLOCATION_COST_BYTES 16 /* malloc's own, and what an empty allocation costs */

static void *budget_alloc(void *allocator_data, size_t size)
{
	gsize *left = allocator_data;

	if (size > *left || *left - size < ALLOCATION_COST_BYTES)
		return NULL;

	*left -= size + ALLOCATION_COST_BYTES;
	return malloc(size ? size : 1);
}

static void budget_free(void *allocator_data, void *p)
{
	(void)allocator_data; /* what was given back stays spent: simpler, and still enough */
	free(p);
}

ProtobufCMessage *nbh_pb_unpack(const ProtobufCMessageDescriptor *type, const guint8 *data,
				gsize len, GError **error)
{
	gsize left = BUDGET_BASE_BYTES + len * BUDGET_FACTOR;
	ProtobufCAllocator allocator = {budget_alloc, budget_free, &left};
	ProtobufCMessage *message = NULL;

	if (len <= G_MAXSIZE / (2 * BUDGET_FACTOR))
		message = protobuf_c_message_unpack(type, &allocator, len, data);

	if (!message)
		g_set_error(error, NBH_WIRE_ERROR, NBH_WIRE_MALFORMED,
			    "%s of %" G_GSIZE_FORMAT " bytes does not parse", type->short_name,
			    len);

	return message;
}

GBytes *nbh_pb_pack(const ProtobufCMessage *message)
{
	gsize len = protobuf_c_message_get_packed_size(message);
	guint8 *data = g_malloc(len ? len : 1);

	protobuf_c_message_pack(message, data);
	return g_bytes_new_take(data, len);
}

char *nbh_pb_optional(const char *text)
{
	return text && *text ? (char *)text : NULL;
}

ProtobufCBinaryData nbh_pb_bytes(const void *data, gsize len)
{
	return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)data};
}

char *nbh_pb_text(const char *text, gsize max_bytes)
{
	char *valid, *p;

	if (!text)
		return g_strdup("");

	valid = g_utf8_make_valid(text, (gssize)strnlen(text, max_bytes));

	/* A bad byte became three, so it may have grown. */
	if (strlen(valid) > max_bytes)
		*g_utf8_find_prev_char(valid, valid + max_bytes + 1) = '\0';

	for (p = valid; *p; p++) {
		if (g_ascii_iscntrl(*p))
			*p = '?';
		else if ((guint8)p[0] == 0xc2 &&
			 (guint8)p[1] < 0xa0) /* U+0080 to U+009F are controls, too */
			p[0] = p[1] = '?';
	}

	return valid;
}
