/*
 * wg/status.json: written by netbird-wg, read by the helper, `status` and scripts. The reader
 * checks types and ranges but skips keys it does not know: a newer netbird-wg may say more.
 */
#include "config.h"

#include "base/statusfile.h"

#include "base/atomicfile.h"
#include "base/json.h"
#include "base/limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STATUSFILE_MODE 0640
#define WHY_NAME "wg/" NBH_WGSTATUS_NAME

static int fail(struct nbh_why *why, const char *key, const char *what)
{
	nbh_why_set(why, "%s: %s: %s", WHY_NAME, key, what);
	return -EINVAL;
}

/* Absent leaves the default. */
static int get_text(const struct nbh_json_value *object, const char *key, char *out, size_t size,
                    struct nbh_why *why)
{
	const struct nbh_json_value *value = nbh_json_get(object, key);
	const char *text = nbh_json_string(value);

	if (!value)
		return 0;

	if (!text)
		return fail(why, key, "must be text");

	snprintf(out, size, "%s", text); /* a longer text is cut */
	return 0;
}

static int get_uint(const struct nbh_json_value *object, const char *key, int64_t max, uint64_t *out,
                    struct nbh_why *why)
{
	const struct nbh_json_value *value = nbh_json_get(object, key);
	int64_t n;

	if (!value)
		return 0;

	if (!nbh_json_int(value, &n) || n < 0 || n > max)
		return fail(why, key, "must be a whole number in its range");

	*out = (uint64_t)n;
	return 0;
}

static int get_bool(const struct nbh_json_value *object, const char *key, bool *out,
                    struct nbh_why *why)
{
	const struct nbh_json_value *value = nbh_json_get(object, key);

	if (value && !nbh_json_bool(value, out))
		return fail(why, key, "must be true or false");

	return 0;
}

/* "never" becomes 0. */
static int get_time(const struct nbh_json_value *object, const char *key, int64_t *out,
                    struct nbh_why *why)
{
	char text[NBH_RFC3339_MAX] = "";
	int64_t unix_ms;
	int r = get_text(object, key, text, sizeof(text), why);

	if (r < 0 || !text[0])
		return r;

	if (!nbh_rfc3339_parse(text, &unix_ms))
		return fail(why, key, "must be a time like 2026-01-31T12:00:00.000Z");

	*out = unix_ms < 0 ? 0 : unix_ms;
	return 0;
}

static int read_peer(const struct nbh_json_value *value, struct nbh_wgstatus_peer *peer,
                     struct nbh_why *why)
{
	const char *key = nbh_json_string(nbh_json_get(value, "publicKey"));
	char endpoint[NBH_ENDPOINT_TEXT_MAX] = "";
	int r;

	if (!key || nbh_key_parse(key, &peer->public_key) < 0)
		return fail(why, "publicKey", "missing or not a key");

	r = get_text(value, "endpoint", endpoint, sizeof(endpoint), why);

	if (r == 0 && endpoint[0] && nbh_endpoint_parse(endpoint, &peer->endpoint) < 0)
		r = fail(why, "endpoint", "must be ADDRESS:PORT");

	if (r == 0)
		r = get_time(value, "lastHandshake", &peer->last_handshake_unix_ms, why);

	if (r == 0)
		r = get_uint(value, "rxBytes", INT64_MAX, &peer->rx_bytes, why);

	if (r == 0)
		r = get_uint(value, "txBytes", INT64_MAX, &peer->tx_bytes, why);

	if (r == 0)
		r = get_time(value, "silentSince", &peer->silent_since_unix_ms, why);

	return r;
}

static int compare_peers(const void *va, const void *vb)
{
	const struct nbh_wgstatus_peer *a = va, *b = vb;

	return nbh_key_compare(&a->public_key, &b->public_key);
}

static int read_peers(const struct nbh_json_value *root, struct nbh_wgstatus *status,
                      struct nbh_why *why)
{
	const struct nbh_json_value *array = nbh_json_get(root, "peers");
	size_t n = nbh_json_length(array);

	if (array && !nbh_json_is_array(array))
		return fail(why, "peers", "must be an array");

	if (n > NBH_PEERS_MAX)
		return fail(why, "peers", "too many");

	status->peers = calloc(n ? n : 1, sizeof(*status->peers));

	if (!status->peers)
		return -ENOMEM;

	for (size_t i = 0; i < n; i++) {
		int r = read_peer(nbh_json_at(array, i), &status->peers[i], why);

		if (r < 0)
			return r;
	}

	status->n_peers = n;

	if (n > 1)
		qsort(status->peers, n, sizeof(*status->peers), compare_peers);

	return 0;
}

static int read_top(const struct nbh_json_value *root, struct nbh_wgstatus *status,
                    struct nbh_why *why)
{
	uint64_t port = 0;
	int r;

	if (!nbh_json_is_object(root))
		return fail(why, "the file", "must be an object");

	r = get_text(root, "backend", status->backend, sizeof(status->backend), why);

	if (r == 0)
		r = get_text(root, "interface", status->interface, sizeof(status->interface), why);

	if (r == 0)
		r = get_bool(root, "linkUp", &status->link_up, why);

	if (r == 0)
		r = get_bool(root, "seccomp", &status->seccomp, why);

	if (r == 0)
		r = get_uint(root, "listenPort", UINT16_MAX, &port, why);

	if (r == 0)
		r = get_uint(root, "generation", INT64_MAX, &status->generation, why);

	if (r == 0)
		r = get_text(root, "error", status->error, sizeof(status->error), why);

	if (r == 0)
		r = get_text(root, "errorCode", status->error_code, sizeof(status->error_code), why);

	if (r == 0)
		r = get_time(root, "updatedAt", &status->updated_unix_ms, why);

	status->listen_port = (uint16_t)port;
	return r < 0 ? r : read_peers(root, status, why);
}

int nbh_wgstatus_parse(const char *text, size_t len, struct nbh_wgstatus *ret_status,
                       struct nbh_why *why)
{
	struct nbh_wgstatus status = { 0 };
	struct nbh_json *doc;
	int r = nbh_json_parse(text, len, &doc, why);

	if (r < 0) {
		nbh_why_prefix(why, "%s", WHY_NAME);
		return r;
	}

	r = read_top(nbh_json_root(doc), &status, why);
	nbh_json_free(doc);

	if (r < 0)
		nbh_wgstatus_clear(&status);
	else
		*ret_status = status;

	return r;
}

int nbh_wgstatus_read(int wg_dirfd, struct nbh_wgstatus *ret_status, struct nbh_why *why)
{
	nbh_cleanup_free char *text = NULL;
	size_t len;
	int r = nbh_trustedfile_read(wg_dirfd, NBH_WGSTATUS_NAME, NBH_STATUSFILE_MAX_BYTES, &text, &len,
	                             why);

	return r < 0 ? r : nbh_wgstatus_parse(text, len, ret_status, why);
}

static void put_peer(struct nbh_jsonw *w, const struct nbh_wgstatus_peer *peer)
{
	int64_t handshake = peer->last_handshake_unix_ms;
	char endpoint[NBH_ENDPOINT_TEXT_MAX], time[NBH_RFC3339_MAX];

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_string(w, "publicKey", nbh_key_format(&peer->public_key).text);
	nbh_jsonw_string(w, "endpoint", nbh_endpoint_format(&peer->endpoint, endpoint));
	nbh_jsonw_string(w, "lastHandshake", nbh_rfc3339(handshake > 0 ? handshake : -1, time));
	nbh_jsonw_uint(w, "rxBytes", peer->rx_bytes);
	nbh_jsonw_uint(w, "txBytes", peer->tx_bytes);
	if (peer->silent_since_unix_ms > 0)
		nbh_jsonw_string(w, "silentSince", nbh_rfc3339(peer->silent_since_unix_ms, time));
	nbh_jsonw_close(w);
}

int nbh_wgstatus_write(int wg_dirfd, const struct nbh_wgstatus *status, struct nbh_why *why)
{
	struct nbh_jsonw *w = nbh_jsonw_new();
	nbh_cleanup_free char *text = NULL;
	char time[NBH_RFC3339_MAX];
	size_t len;

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_string(w, "backend", status->backend);
	nbh_jsonw_string(w, "interface", status->interface);
	nbh_jsonw_bool(w, "linkUp", status->link_up);
	nbh_jsonw_bool(w, "seccomp", status->seccomp);
	nbh_jsonw_uint(w, "listenPort", status->listen_port);
	nbh_jsonw_uint(w, "generation", status->generation);
	nbh_jsonw_string(w, "error", status->error);
	nbh_jsonw_string(w, "errorCode", status->error_code);
	nbh_jsonw_array(w, "peers");

	for (size_t i = 0; i < status->n_peers; i++)
		put_peer(w, &status->peers[i]);

	nbh_jsonw_close(w);
	nbh_jsonw_string(w, "updatedAt", nbh_rfc3339(status->updated_unix_ms, time));
	text = nbh_jsonw_end(w, &len);

	if (!text) {
		nbh_why_set(why, "%s: out of memory", WHY_NAME);
		return -ENOMEM;
	}

	return nbh_atomicfile_write(wg_dirfd, NBH_WGSTATUS_NAME, text, len, STATUSFILE_MODE, 0, why);
}

void nbh_wgstatus_clear(struct nbh_wgstatus *status)
{
	free(status->peers);
	*status = (struct nbh_wgstatus){ 0 };
}
