/*
 * peers.json crosses from the unprivileged helper (or a script) to the program that writes to the
 * kernel, so the reader takes nothing for granted and refuses the whole file on the first doubt.
 * What is allowed on this host (prefixes, endpoints) is policy and is checked in wg/.
 */
#include "config.h"

#include "base/peersfile.h"

#include "base/atomicfile.h"
#include "base/json.h"
#include "base/schema.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define UPDATED_AT_MAX 64
#define ID_FROM_KEY 8 /* characters, as peers appear in logs */

static int read_id(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_peersfile_peer *peer = out;

	return nbh_schema_text(value, peer->id, sizeof(peer->id), why);
}

static int read_public_key(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_peersfile_peer *peer = out;
	int r = nbh_schema_key(value, false, &peer->public_key, why);

	if (r == 0 && nbh_key_is_zero(&peer->public_key))
		return nbh_schema_fail(why, "all zero");

	return r;
}

static int read_preshared_key(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_peersfile_peer *peer = out;

	return nbh_schema_key(value, true, &peer->preshared_key, why);
}

/* The two mistakes that tools make get their own words. */
static int fail_endpoint(const char *text, struct nbh_why *why)
{
	const char *port = strrchr(text, ':');

	if (port && port[1] && !port[1 + strspn(port + 1, "0")])
		return nbh_schema_fail(why, "port 0");

	if (port && !port[1 + strspn(port + 1, "0123456789")] &&
	    (strlen(port + 1) > 5 || strtoul(port + 1, NULL, 10) > UINT16_MAX))
		return nbh_schema_fail(why, "port %.12s is above 65535", port + 1);

	return nbh_schema_fail(why, "must be ADDRESS:PORT or [IPv6]:PORT in numbers, or \"\"");
}

static int read_endpoint(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_peersfile_peer *peer = out;
	const char *text = nbh_json_string(value);

	if (!text)
		return nbh_schema_fail(why, "must be text");

	if (!text[0])
		return 0;

	return nbh_endpoint_parse(text, &peer->endpoint) < 0 ? fail_endpoint(text, why) : 0;
}

/* peer->allowed_ips stands in the arena, which has room for all of the text's. */
static int read_allowed_ip(const struct nbh_json_value *value, struct nbh_peersfile_peer *peer,
                           struct nbh_why *why)
{
	const char *text = nbh_json_string(value);
	struct nbh_prefix prefix;

	if (!text)
		return nbh_schema_fail(why, "must be text");

	if (nbh_prefix_parse(text, &prefix) < 0)
		return nbh_schema_fail(why, "must be ADDRESS/LENGTH, for example 100.64.1.2/32");

	peer->allowed_ips[peer->n_allowed_ips++] = nbh_prefix_masked(&prefix);
	return 0;
}

static int read_allowed_ips(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_peersfile_peer *peer = out;
	size_t n = nbh_json_length(value);

	for (size_t i = 0; i < n; i++) {
		int r = read_allowed_ip(nbh_json_at(value, i), peer, why);

		if (r < 0)
			return nbh_schema_element(r, i, why);
	}

	return 0;
}

static int read_keepalive(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_peersfile_peer *peer = out;
	int64_t n;
	int r = nbh_schema_int(value, 0, UINT16_MAX, &n, why);

	if (r == 0)
		peer->keepalive_s = (uint16_t)n;

	return r;
}

static int read_session(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_peersfile_peer *peer = out;
	int64_t n;
	int r = nbh_schema_int(value, 0, UINT32_MAX, &n, why);

	if (r == 0) {
		peer->session = (uint32_t)n;
		peer->has_session = true;
	}

	return r;
}

static const struct nbh_schema_field peer_fields[] = {
	{ "id", false, read_id },
	{ "publicKey", true, read_public_key },
	{ "endpoint", false, read_endpoint },
	{ "allowedIPs", false, read_allowed_ips },
	{ "keepalive", false, read_keepalive },
	{ "presharedKey", false, read_preshared_key },
	{ "session", false, read_session },
};

static int compare_prefixes(const void *a, const void *b)
{
	return nbh_prefix_compare(a, b);
}

/* Sorted, so that the same set has the same bytes; a prefix twice at one peer means nothing. */
static void tidy_allowed_ips(struct nbh_peersfile_peer *peer)
{
	size_t n = 0;

	if (peer->n_allowed_ips > 1)
		qsort(peer->allowed_ips, peer->n_allowed_ips, sizeof(*peer->allowed_ips),
		      compare_prefixes);

	for (size_t i = 0; i < peer->n_allowed_ips; i++) {
		if (n == 0 || nbh_prefix_compare(&peer->allowed_ips[n - 1], &peer->allowed_ips[i]) != 0)
			peer->allowed_ips[n++] = peer->allowed_ips[i];
	}

	peer->n_allowed_ips = n;
}

/* Counts before anything is allocated from what the text says. */
static int count_prefixes(const struct nbh_json_value *array, size_t *ret_total, struct nbh_why *why)
{
	size_t total = 0;

	for (size_t i = 0; i < nbh_json_length(array); i++) {
		const struct nbh_json_value *peer = nbh_json_at(array, i);
		const struct nbh_json_value *ips = nbh_json_get(peer, "allowedIPs");
		size_t n = nbh_json_length(ips);

		if (n > NBH_PREFIXES_PER_PEER_MAX) {
			nbh_why_set(why, "[%zu].allowedIPs: %zu prefixes; at most %d are accepted", i, n,
			            NBH_PREFIXES_PER_PEER_MAX);
			return -EINVAL;
		}

		if (ips && !nbh_json_is_array(ips)) {
			nbh_why_set(why, "[%zu].allowedIPs: must be an array", i);
			return -EINVAL;
		}

		total += n;
	}

	if (total > NBH_PREFIXES_TOTAL_MAX)
		return nbh_schema_fail(why, "%zu allowed IPs in all; at most %d are accepted", total,
		                       NBH_PREFIXES_TOTAL_MAX);

	*ret_total = total;
	return 0;
}

static int read_peer(const struct nbh_json_value *value, struct nbh_peersfile *file,
                     struct nbh_why *why)
{
	struct nbh_peersfile_peer *peer = &file->peers[file->n_peers];
	int r;

	peer->allowed_ips = file->arena + file->n_arena;
	r = nbh_schema_object(value, peer_fields, NBH_N_ELEMENTS(peer_fields), peer, why);

	if (r < 0)
		return r;

	if (!peer->id[0])
		snprintf(peer->id, sizeof(peer->id), "%.*s", ID_FROM_KEY,
		         nbh_key_format(&peer->public_key).text);

	tidy_allowed_ips(peer);
	file->n_arena += peer->n_allowed_ips;
	file->n_peers++;
	return 0;
}

static int read_peers(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_peersfile *file = out;
	size_t n = nbh_json_length(value), n_prefixes = 0;
	int r;

	if (!nbh_json_is_array(value))
		return nbh_schema_fail(why, "must be an array");

	if (n > NBH_PEERS_MAX)
		return nbh_schema_fail(why, "%zu peers; at most %d are accepted", n, NBH_PEERS_MAX);

	r = count_prefixes(value, &n_prefixes, why);

	if (r < 0)
		return r;

	file->peers = calloc(n ? n : 1, sizeof(*file->peers));
	file->arena = calloc(n_prefixes ? n_prefixes : 1, sizeof(*file->arena));

	if (!file->peers || !file->arena) {
		nbh_schema_fail(why, "out of memory");
		return -ENOMEM;
	}

	for (size_t i = 0; i < n; i++) {
		r = read_peer(nbh_json_at(value, i), file, why);

		if (r < 0)
			return nbh_schema_element(r, i, why);
	}

	return 0;
}

static int read_generation(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_peersfile *file = out;
	int64_t n;
	int r = nbh_schema_int(value, 0, INT64_MAX, &n, why);

	if (r == 0)
		file->generation = (uint64_t)n;

	return r;
}

static int read_updated_at(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	char ignored[UPDATED_AT_MAX];

	(void)out; /* for people; nothing depends on it */
	return nbh_schema_text(value, ignored, sizeof(ignored), why);
}

static int read_version(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	int64_t n;

	(void)out;
	return nbh_schema_int(value, 1, 1, &n, why);
}

static const struct nbh_schema_field file_fields[] = {
	{ "peers", true, read_peers },
	{ "generation", false, read_generation },
	{ "updatedAt", false, read_updated_at },
	{ "version", false, read_version },
};

/* For sorting with what the messages need: where in the text it was. */
struct placed {
	const void *item; /* borrowed */
	size_t place;
};

static int compare_placed_peers(const void *va, const void *vb)
{
	const struct placed *a = va, *b = vb;
	const struct nbh_peersfile_peer *pa = a->item, *pb = b->item;
	int r = nbh_key_compare(&pa->public_key, &pb->public_key);

	return r ? r : a->place < b->place ? -1 : 1;
}

static int compare_placed_prefixes(const void *va, const void *vb)
{
	const struct placed *a = va, *b = vb;
	int r = nbh_prefix_compare(a->item, b->item);

	return r ? r : a->place < b->place ? -1 : 1;
}

/* Sorts the peers by key and refuses a key that comes twice. */
static int sort_peers(struct nbh_peersfile *file, struct placed *placed,
                      struct nbh_peersfile_peer *sorted, struct nbh_why *why)
{
	for (size_t i = 0; i < file->n_peers; i++)
		placed[i] = (struct placed){ &file->peers[i], i };

	qsort(placed, file->n_peers, sizeof(*placed), compare_placed_peers);

	for (size_t i = 0; i < file->n_peers; i++) {
		sorted[i] = *(const struct nbh_peersfile_peer *)placed[i].item;

		if (i > 0 && nbh_key_compare(&sorted[i - 1].public_key, &sorted[i].public_key) == 0) {
			nbh_why_set(why, "%s: peers[%zu].publicKey: the same as that of peers[%zu]",
			            NBH_PEERSFILE_NAME, placed[i].place, placed[i - 1].place);
			return -EINVAL;
		}
	}

	return 0;
}

/* WireGuard would silently move a prefix to the peer that names it last. */
static int check_prefixes(const struct nbh_peersfile *file, struct placed *placed,
                          struct nbh_why *why)
{
	char text[NBH_PREFIX_TEXT_MAX];
	size_t n = 0;

	for (size_t i = 0; i < file->n_peers; i++) {
		for (size_t j = 0; j < file->peers[i].n_allowed_ips; j++)
			placed[n++] = (struct placed){ &file->peers[i].allowed_ips[j], i };
	}

	qsort(placed, n, sizeof(*placed), compare_placed_prefixes);

	for (size_t i = 1; i < n; i++) {
		if (nbh_prefix_compare(placed[i - 1].item, placed[i].item) == 0) {
			nbh_why_set(why, "%s: peers[%zu].allowedIPs: %s belongs to peers[%zu] already",
			            NBH_PEERSFILE_NAME, placed[i].place,
			            nbh_prefix_format(placed[i].item, text), placed[i - 1].place);
			return -EINVAL;
		}
	}

	return 0;
}

/* What no single field shows. On success the peers of file are sorted. */
static int check_whole(struct nbh_peersfile *file, struct nbh_why *why)
{
	size_t n_placed = file->n_peers > file->n_arena ? file->n_peers : file->n_arena;
	nbh_cleanup_free struct placed *placed = calloc(n_placed + 1, sizeof(*placed));
	struct nbh_peersfile_peer *sorted = calloc(file->n_peers + 1, sizeof(*sorted));
	int r;

	if (!placed || !sorted) {
		nbh_why_set(why, "%s: out of memory", NBH_PEERSFILE_NAME);
		free(sorted);
		return -ENOMEM;
	}

	r = check_prefixes(file, placed, why);

	if (r == 0)
		r = sort_peers(file, placed, sorted, why);

	if (r < 0) {
		sodium_memzero(sorted, file->n_peers * sizeof(*sorted));
		free(sorted);
		return r;
	}

	sodium_memzero(file->peers, file->n_peers * sizeof(*file->peers));
	free(file->peers);
	file->peers = sorted;
	return 0;
}

int nbh_peersfile_parse(const char *text, size_t len, struct nbh_peersfile *ret_file,
                        struct nbh_why *why)
{
	struct nbh_peersfile file = { 0 };
	int r = nbh_schema_file(NBH_PEERSFILE_NAME, text, len, file_fields,
	                        NBH_N_ELEMENTS(file_fields), &file, why);

	if (r == 0)
		r = check_whole(&file, why);

	if (r < 0)
		nbh_peersfile_clear(&file);
	else
		*ret_file = file;

	return r;
}

int nbh_peersfile_read(int dirfd, struct nbh_peersfile *ret_file, struct nbh_why *why)
{
	char *text;
	size_t len;
	int r = nbh_trustedfile_read(dirfd, NBH_PEERSFILE_NAME, NBH_PEERSFILE_MAX_BYTES, &text, &len,
	                             why);

	if (r < 0)
		return r;

	r = nbh_peersfile_parse(text, len, ret_file, why);
	sodium_memzero(text, len); /* it may hold pre-shared keys */
	free(text);
	return r;
}

void nbh_peersfile_clear(struct nbh_peersfile *file)
{
	if (file->peers)
		sodium_memzero(file->peers, file->n_peers * sizeof(*file->peers));

	free(file->peers);
	free(file->arena);
	*file = (struct nbh_peersfile){ 0 };
}

static void put_peer(struct nbh_jsonw *w, const struct nbh_peersfile_peer *peer)
{
	char text[NBH_ENDPOINT_TEXT_MAX];
	struct nbh_key_text key;

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_string(w, "id", peer->id);
	nbh_jsonw_string(w, "publicKey", nbh_key_format(&peer->public_key).text);
	nbh_jsonw_string(w, "endpoint", nbh_endpoint_format(&peer->endpoint, text));
	nbh_jsonw_array(w, "allowedIPs");

	for (size_t i = 0; i < peer->n_allowed_ips; i++)
		nbh_jsonw_string(w, NULL, nbh_prefix_format(&peer->allowed_ips[i], text));

	nbh_jsonw_close(w);
	nbh_jsonw_uint(w, "keepalive", peer->keepalive_s);

	if (!nbh_key_is_zero(&peer->preshared_key)) {
		key = nbh_key_format(&peer->preshared_key);
		nbh_jsonw_string(w, "presharedKey", key.text);
		sodium_memzero(&key, sizeof(key));
	}

	if (peer->has_session)
		nbh_jsonw_uint(w, "session", peer->session);

	nbh_jsonw_close(w);
}

char *nbh_peersfile_format(const struct nbh_peersfile *file, int64_t updated_unix_ms, size_t *ret_len)
{
	struct nbh_jsonw *w = nbh_jsonw_new();
	char time[NBH_RFC3339_MAX];

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_array(w, "peers");

	for (size_t i = 0; i < file->n_peers; i++)
		put_peer(w, &file->peers[i]);

	nbh_jsonw_close(w);
	nbh_jsonw_uint(w, "generation", file->generation);
	nbh_jsonw_string(w, "updatedAt", nbh_rfc3339(updated_unix_ms, time));
	nbh_jsonw_int(w, "version", 1);
	return nbh_jsonw_end(w, ret_len);
}
