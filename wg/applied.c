#include "config.h"

#include "wg/applied.h"

#include "base/atomicfile.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOOT_ID_LEN 36

void wg_applied_clear(struct wg_applied *applied)
{
	free(applied->peers);
	memset(applied, 0, sizeof(*applied));
}

static int read_boot_id(char ret_id[BOOT_ID_LEN + 1])
{
	nbh_cleanup_close int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char id[BOOT_ID_LEN + 1] = "";

	if (fd < 0 || read(fd, id, BOOT_ID_LEN) != BOOT_ID_LEN)
		return -ENODATA;

	memcpy(ret_id, id, sizeof(id));
	return 0;
}

static bool copy_text(const struct nbh_json_value *value, char *buf, size_t size)
{
	const char *text = nbh_json_string(value);

	if (!text || strlen(text) >= size)
		return false;

	memcpy(buf, text, strlen(text) + 1);
	return true;
}

static int parse_peer(const struct nbh_json_value *value, struct wg_applied_peer *ret_peer)
{
	const char *key = nbh_json_string(nbh_json_get(value, "publicKey"));
	const char *endpoint = nbh_json_string(nbh_json_get(value, "endpoint"));
	struct wg_applied_peer peer = { 0 };
	int64_t session;

	if (!key || nbh_key_parse(key, &peer.public_key) < 0)
		return -EINVAL;

	if (endpoint && nbh_endpoint_parse(endpoint, &peer.endpoint) < 0)
		return -EINVAL;

	if (nbh_json_int(nbh_json_get(value, "session"), &session)) {
		if (session < 0 || session > UINT32_MAX)
			return -EINVAL;
		peer.has_session = true;
		peer.session = (uint32_t)session;
	}

	*ret_peer = peer;
	return 0;
}

static int by_key(const void *a, const void *b)
{
	return nbh_key_compare(&((const struct wg_applied_peer *)a)->public_key,
	                       &((const struct wg_applied_peer *)b)->public_key);
}

static int parse_peers(const struct nbh_json_value *array, struct wg_applied *applied)
{
	size_t n = nbh_json_length(array);
	int r;

	if (!nbh_json_is_array(array) || n > 2 * NBH_PEERS_MAX)
		return -EINVAL;

	applied->peers = calloc(n ? n : 1, sizeof(*applied->peers));
	if (!applied->peers)
		return -ENOMEM;

	for (size_t i = 0; i < n; i++) {
		r = parse_peer(nbh_json_at(array, i), &applied->peers[i]);
		if (r < 0)
			return r;
	}

	applied->n_peers = n;
	qsort(applied->peers, n, sizeof(*applied->peers), by_key);
	return 0;
}

static int parse_addresses(const struct nbh_json_value *array, struct wg_applied *applied)
{
	size_t n = nbh_json_length(array);

	if (!nbh_json_is_array(array) || n > NBH_DEVICE_ADDRESSES_MAX)
		return -EINVAL;

	for (size_t i = 0; i < n; i++) {
		const char *text = nbh_json_string(nbh_json_at(array, i));

		if (!text || nbh_prefix_parse(text, &applied->addresses[i]) < 0)
			return -EINVAL;
	}

	applied->n_addresses = n;
	return 0;
}

static int parse_root(const struct nbh_json_value *root, const char *boot_id,
                      struct wg_applied *applied)
{
	const char *boot = nbh_json_string(nbh_json_get(root, "bootId"));
	int64_t ifindex;
	int r;

	if (!boot || !copy_text(nbh_json_get(root, "backend"), applied->backend, sizeof(applied->backend)) ||
	    !copy_text(nbh_json_get(root, "interface"), applied->interface, sizeof(applied->interface)) ||
	    !nbh_json_bool(nbh_json_get(root, "made"), &applied->made) ||
	    !nbh_json_int(nbh_json_get(root, "ifindex"), &ifindex) || ifindex < 0 || ifindex > INT32_MAX)
		return -EINVAL;

	if (strcmp(boot, boot_id) != 0)
		return -ESTALE;

	applied->ifindex = (uint32_t)ifindex;
	r = parse_addresses(nbh_json_get(root, "addresses"), applied);
	return r < 0 ? r : parse_peers(nbh_json_get(root, "peers"), applied);
}

int wg_applied_parse(const char *text, size_t len, const char *boot_id,
                     struct wg_applied *ret_applied, struct nbh_why *why)
{
	struct wg_applied applied = { 0 };
	struct nbh_json *doc = NULL;
	int r;

	r = nbh_json_parse(text, len, &doc, why);
	if (r == 0) {
		r = parse_root(nbh_json_root(doc), boot_id, &applied);
		if (r == -EINVAL)
			nbh_why_set(why, "damaged");
		nbh_json_free(doc);
	}

	if (r == -ENOMEM) {
		wg_applied_clear(&applied);
		return r;
	}

	applied.known = r == 0;
	if (!applied.known)
		wg_applied_clear(&applied);
	*ret_applied = applied;
	return 0;
}

int wg_applied_read(int wg_dirfd, struct wg_applied *ret_applied, struct nbh_why *why)
{
	nbh_cleanup_free char *text = NULL;
	char boot_id[BOOT_ID_LEN + 1];
	size_t len;
	int r;

	nbh_why_set(why, "%s", "");
	r = nbh_trustedfile_read(wg_dirfd, WG_APPLIED_NAME, NBH_STATUSFILE_MAX_BYTES, &text, &len, why);
	if (r == -ENOMEM)
		return r;

	if (r < 0 || read_boot_id(boot_id) < 0) {
		*ret_applied = (struct wg_applied){ 0 };
		return 0;
	}

	r = wg_applied_parse(text, len, boot_id, ret_applied, why);
	if (why && why->text[0])
		nbh_why_prefix(why, WG_APPLIED_NAME);
	return r;
}

static void format_peer(struct nbh_jsonw *w, const struct wg_applied_peer *peer)
{
	char text[NBH_ENDPOINT_TEXT_MAX];

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_string(w, "publicKey", nbh_key_format(&peer->public_key).text);
	if (nbh_endpoint_is_set(&peer->endpoint))
		nbh_jsonw_string(w, "endpoint", nbh_endpoint_format(&peer->endpoint, text));
	if (peer->has_session)
		nbh_jsonw_uint(w, "session", peer->session);
	nbh_jsonw_close(w);
}

char *wg_applied_format(const struct wg_applied *applied, const char *boot_id, size_t *ret_len)
{
	struct nbh_jsonw *w = nbh_jsonw_new();
	char text[NBH_PREFIX_TEXT_MAX];

	nbh_jsonw_object(w, NULL);
	nbh_jsonw_string(w, "bootId", boot_id);
	nbh_jsonw_string(w, "backend", applied->backend);
	nbh_jsonw_string(w, "interface", applied->interface);
	nbh_jsonw_uint(w, "ifindex", applied->ifindex);
	nbh_jsonw_bool(w, "made", applied->made);
	nbh_jsonw_array(w, "addresses");
	for (size_t i = 0; i < applied->n_addresses; i++)
		nbh_jsonw_string(w, NULL, nbh_prefix_format(&applied->addresses[i], text));
	nbh_jsonw_close(w);
	nbh_jsonw_array(w, "peers");
	for (size_t i = 0; i < applied->n_peers; i++)
		format_peer(w, &applied->peers[i]);
	nbh_jsonw_close(w);
	nbh_jsonw_close(w);
	return nbh_jsonw_end(w, ret_len);
}

int wg_applied_write(int wg_dirfd, const struct wg_applied *applied, struct nbh_why *why)
{
	nbh_cleanup_free char *text = NULL;
	char boot_id[BOOT_ID_LEN + 1];
	size_t len;
	int r;

	if (!applied->known) {
		if (unlinkat(wg_dirfd, WG_APPLIED_NAME, 0) < 0 && errno != ENOENT) {
			r = -errno;
			nbh_why_set(why, WG_APPLIED_NAME ": cannot remove: %s", strerror(-r));
			return r;
		}
		return 0;
	}

	r = read_boot_id(boot_id);
	if (r < 0) {
		nbh_why_set(why, "/proc/sys/kernel/random/boot_id: cannot read");
		return r;
	}

	text = wg_applied_format(applied, boot_id, &len);
	if (!text) {
		nbh_why_set(why, WG_APPLIED_NAME ": out of memory");
		return -ENOMEM;
	}

	return nbh_atomicfile_write(wg_dirfd, WG_APPLIED_NAME, text, len, 0640, 0, why);
}
