#include "config.h"

/* stun.json: packets of ICE agents and of the STUN server, and the candidates they belong to. */

#include "tests/vectors/vec.h"

#include "core/candidate.h"
#include "wire/stun.h"

#include <string.h>

static json_object *attribute(json_object *item, const char *type)
{
	json_object *list = vec_get(item, "attributes");
	gsize i;

	for (i = 0; i < vec_len(list); i++) {
		json_object *entry = json_object_array_get_idx(list, i);

		if (g_strcmp0(vec_str(entry, "type"), type) == 0)
			return entry;
	}

	return NULL;
}

static void check_header(json_object *item, const guint8 *p, gsize n)
{
	g_autoptr(GBytes) txid = vec_hex(item, "txid");
	const char *type = vec_str(item, "type");
	NbhStunClass class = NBH_STUN_ERROR;

	if (g_strcmp0(type, "Binding request") == 0)
		class = NBH_STUN_REQUEST;
	else if (g_strcmp0(type, "Binding success") == 0)
		class = NBH_STUN_SUCCESS;
	else if (g_strcmp0(type, "Binding indication") == 0)
		class = NBH_STUN_INDICATION;
	else if (g_strcmp0(type, "Binding error") != 0)
		vec_unknown("type", type);

	vec_ok(nbh_stun_class(p) == class && nbh_stun_method(p) == 1, "%s",
	       type ? type : "(no type)");
	vec_ok(vec_bytes_equal(txid, nbh_stun_txid(p), NBH_STUN_TXID_LEN), "transaction id");
	vec_ok(vec_int(item, "length_field", -1) + 20 == (gint64)n, "length field");
}

/* The value as the recording shows it: addresses, texts and PRIORITY by themselves, the rest in
 * hex. */
static gboolean value_equal(guint type, const guint8 *value, gsize len, json_object *entry)
{
	json_object *recorded = vec_get(entry, "value");
	g_autoptr(GBytes) hex = NULL;

	switch (type) {
	case 0x0020: /* check_encoder() looks at it */
		return recorded != NULL;
	case 0x0006:
	case 0x8100:
		return json_object_is_type(recorded, json_type_string) &&
		       strlen(json_object_get_string(recorded)) == len &&
		       memcmp(json_object_get_string(recorded), value, len) == 0;
	case 0x0024:
		return len == 4 && json_object_is_type(recorded, json_type_int) &&
		       json_object_get_int64(recorded) ==
			       ((gint64)value[0] << 24 | value[1] << 16 | value[2] << 8 | value[3]);
	default:
		hex = vec_hex(entry, "value");
		return vec_bytes_equal(hex, value, len);
	}
}

/* An independent walk over the attributes: types, offsets and values in order, none left over. */
static void check_attributes(json_object *item, const guint8 *p, gsize n)
{
	json_object *list = vec_get(item, "attributes");
	gsize i, at = 20;
	gboolean ok = TRUE;

	for (i = 0; ok && i < vec_len(list); i++) {
		json_object *entry = json_object_array_get_idx(list, i);
		const char *type = vec_str(entry, "type");
		gsize len = at + 4 <= n ? (gsize)p[at + 2] << 8 | p[at + 3] : 0;

		ok = type && at + 4 + len <= n && vec_int(entry, "offset", -1) == (gint64)at &&
		     g_ascii_strtoull(type, NULL, 16) == (guint)(p[at] << 8 | p[at + 1]) &&
		     value_equal((guint)(p[at] << 8 | p[at + 1]), p + at + 4, len, entry);
		at += 4 + ((len + 3) & ~(gsize)3);
	}

	vec_ok(ok && at == n, "%" G_GSIZE_FORMAT " attributes", vec_len(list));
}

static void check_texts(json_object *item, const guint8 *p, gsize n)
{
	const char *username = vec_str(attribute(item, "0x0006"), "value");
	const char *pair = vec_str(attribute(item, "0x8100"), "value");
	char ufrag[NBH_ICE_UFRAG_MAX + 1] = "";
	guint8 pair_id[NBH_STUN_PAIR_ID_LEN];
	gboolean has_ufrag = nbh_stun_local_ufrag(p, n, ufrag);

	vec_ok(has_ufrag == (username != NULL) &&
		       (!username ||
			(g_str_has_prefix(username, ufrag) && username[strlen(ufrag)] == ':')),
	       "ufrag \"%s\"", ufrag);

	if (pair)
		vec_ok(nbh_stun_pair_id(p, n, pair_id) &&
			       memcmp(pair_id, pair, NBH_STUN_PAIR_ID_LEN) == 0,
		       "ids of the pair");
	else
		vec_ok(!nbh_stun_pair_id(p, n, pair_id), "no ids of a pair");
}

/* Trimmed, it is what a strict agent takes; with the ids appended again, what was sent. */
static void check_trim(json_object *item, const guint8 *packet, gsize n)
{
	g_autoptr(GBytes) expected = vec_hex(item, "trimmed_packet");
	g_autofree guint8 *copy = g_malloc(n + NBH_STUN_PAIR_ID_ROOM);
	guint8 pair_id[NBH_STUN_PAIR_ID_LEN], swapped[NBH_STUN_PAIR_ID_LEN];
	gboolean has_pair = nbh_stun_pair_id(packet, n, pair_id), cut;
	const char *password = vec_str(item, "integrity_password");
	gsize len;

	memcpy(copy, packet, n);
	len = nbh_stun_trim(copy, n, &cut);
	vec_ok(cut == (vec_len(vec_get(item, "attributes_after_fingerprint")) > 0), "%s",
	       cut ? "was cut" : "nothing to cut");

	if (expected)
		vec_ok(vec_bytes_equal(expected, copy, len), "trimmed to the recorded form");

	if (vec_get(item, "fingerprint_valid_when_cut_there"))
		vec_ok(nbh_stun_check_fingerprint(copy, len) ==
			       vec_bool(item, "fingerprint_valid_when_cut_there", FALSE),
		       "fingerprint");

	vec_ok(nbh_stun_check_fingerprint(packet, n) == (!cut && attribute(item, "0x8028") != NULL),
	       "fingerprint of the whole packet is refused when something follows it");

	if (password) {
		gboolean valid = vec_bool(item, "integrity_valid", FALSE);

		vec_ok(nbh_stun_check_integrity(copy, len, password) == valid, "integrity");
		vec_ok(nbh_stun_check_integrity(packet, n, password) == valid,
		       "integrity of the whole packet");
		vec_ok(!nbh_stun_check_integrity(copy, len, "wrong"),
		       "integrity with another password");
	}

	if (has_pair && cut) {
		memcpy(swapped, pair_id + 33, 32);
		swapped[32] = ':';
		memcpy(swapped + 33, pair_id, 32);
		len = nbh_stun_echo_pair_id(copy, len, swapped);
		vec_ok(len == n && memcmp(copy, packet, n) == 0,
		       "the echo of the swapped ids gives the packet again");
	}
}

/* Success answers out of our own encoder, and bare requests. */
static void check_encoder(json_object *item, const guint8 *packet, gsize n)
{
	const char *mapped_text = vec_str(attribute(item, "0x0020"), "value");
	const char *password = vec_str(item, "integrity_password");
	g_autofree guint8 *trimmed = g_memdup2(packet, n);
	gsize trimmed_len, len;
	struct nbh_endpoint mapped, expected;
	gboolean cut;
	guint8 ours[128];

	if (vec_len(vec_get(item, "attributes")) == 0) {
		len = nbh_stun_make_request(ours, nbh_stun_txid(packet));
		vec_ok(len == n && memcmp(ours, packet, n) == 0, "our bare request is the same");
		return;
	}

	if (!mapped_text) {
		vec_ok(!nbh_stun_mapped_address(packet, n, &mapped), "no mapped address");
		return;
	}

	vec_ok(nbh_endpoint_parse(mapped_text, &expected) == 0 &&
		       nbh_stun_mapped_address(packet, n, &mapped) &&
		       nbh_endpoint_equal(&mapped, &expected),
	       "mapped address %s", mapped_text);
	trimmed_len = nbh_stun_trim(trimmed, n, &cut);
	len = password ? nbh_stun_make_ice_answer(ours, sizeof(ours), nbh_stun_txid(packet),
						  &expected, password)
		       : nbh_stun_make_answer(ours, sizeof(ours), nbh_stun_txid(packet), &expected);

	/* Answers to ICE checks whose password is not known cannot be made. */
	if (password || !attribute(item, "0x0008"))
		vec_ok(len == trimmed_len && memcmp(ours, trimmed, len) == 0,
		       "our answer is the same");
}

static void check_candidates(json_object *candidates)
{
	if (!candidates)
		return;

	json_object_object_foreach(candidates, cid, value)
	{
		const char *text = vec_str(value, "candidate");
		NbhCandidate candidate;
		struct nbh_why why = {""};
		gboolean ok = text && nbh_candidate_parse(text, &candidate, &why);
		g_autofree char *found = NULL;

		vec_case("stun candidate", cid);
		vec_ok(ok && candidate.has_cid && candidate.ufrag[0], "parses %s", why.text);

		if (ok) {
			found = g_strdup_printf(" ufrag %s cid ", candidate.ufrag);
			vec_ok(strstr(text, found) != NULL, "ufrag");
		}
	}
}

void vec_stun(json_object *file)
{
	json_object *cases = vec_get(file, "cases");
	gsize i, n_cases = vec_len(cases);

	vec_ok(n_cases > 0, "%" G_GSIZE_FORMAT " cases", n_cases);

	for (i = 0; i < n_cases; i++) {
		json_object *item = json_object_array_get_idx(cases, i);
		g_autoptr(GBytes) packet = vec_hex(item, "packet");
		g_autofree char *name =
			g_strdup_printf("%" G_GSIZE_FORMAT " %s", i, vec_str(item, "txid"));
		const guint8 *p;
		gsize n;

		vec_case("stun", name);

		if (!packet) {
			vec_ok(FALSE, "packet is missing");
			continue;
		}

		p = g_bytes_get_data(packet, &n);

		if (!nbh_stun_is_message(p, n)) {
			vec_ok(FALSE, "is STUN");
			continue;
		}

		check_header(item, p, n);
		check_attributes(item, p, n);
		check_texts(item, p, n);
		check_trim(item, p, n);
		check_encoder(item, p, n);
	}

	check_candidates(vec_get(file, "candidates"));
}
