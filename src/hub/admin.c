#include "config.h"

#include "hub/admin.h"

#include "base/json.h"
#include "wire/mgmtmsg.h"

#include <stdlib.h>
#include <string.h>

static const char *time_text(gint64 unix_s, char buf[NBH_RFC3339_MAX])
{
	return unix_s ? nbh_rfc3339(unix_s * 1000, buf) : "never";
}

static gint64 time_ms(gint64 unix_s)
{
	return unix_s ? unix_s * 1000 : -1;
}

static gboolean print_json(struct nbh_jsonw *json, FILE *out)
{
	gsize len = 0;
	char *text = nbh_jsonw_end(json, &len);

	if (!text)
		g_error("out of memory");
	(void)fwrite(text, 1, len, out);
	free(text);
	return TRUE;
}

static gboolean key_create(const NbhHubOptions *options, NbhStore *store, gint64 now_s, FILE *out,
			   FILE *err, GError **error)
{
	char text[NBH_SETUPKEY_LEN + 1];
	char until[NBH_RFC3339_MAX];
	gint64 expires_s = options->expires_in_s ? now_s + options->expires_in_s : 0;
	gint64 id;

	if (!nbh_store_create_key(store, options->name, options->reusable, expires_s, now_s, text, &id,
				  error))
		return FALSE;
	fprintf(out, "%s\n", text);
	fflush(out);
	explicit_bzero(text, sizeof(text));
	fprintf(err, "setup key %lld: %s, expires %s; it is not shown again\n", (long long)id,
		options->reusable ? "reusable" : "for one machine", time_text(expires_s, until));
	return TRUE;
}

static void key_to_json(struct nbh_jsonw *json, const NbhSetupKey *key, gint64 now_s)
{
	char buf[NBH_RFC3339_MAX];

	nbh_jsonw_object(json, NULL);
	nbh_jsonw_int(json, "id", key->id);
	nbh_jsonw_string(json, "name", key->name);
	nbh_jsonw_string(json, "key", key->shown);
	nbh_jsonw_string(json, "type", key->reusable ? "reusable" : "one-off");
	nbh_jsonw_string(json, "state", nbh_setup_key_state(key, now_s));
	nbh_jsonw_int(json, "used", key->used);
	nbh_jsonw_string(json, "created", nbh_rfc3339(time_ms(key->created_s), buf));
	nbh_jsonw_string(json, "expires", nbh_rfc3339(time_ms(key->expires_s), buf));
	nbh_jsonw_string(json, "lastUsed", nbh_rfc3339(time_ms(key->last_used_s), buf));
	nbh_jsonw_close(json);
}

static gboolean key_list(const NbhHubOptions *options, NbhStore *store, gint64 now_s, FILE *out,
			 GError **error)
{
	g_autoptr(GPtrArray) keys = nbh_store_keys(store, error);
	struct nbh_jsonw *json;
	char buf[NBH_RFC3339_MAX];

	if (!keys)
		return FALSE;
	if (options->json) {
		json = nbh_jsonw_new();
		nbh_jsonw_array(json, NULL);
		for (guint i = 0; i < keys->len; i++)
			key_to_json(json, keys->pdata[i], now_s);
		nbh_jsonw_close(json);
		return print_json(json, out);
	}
	fprintf(out, "%-4s %-7s %-9s %-8s %5s  %-25s %s\n", "ID", "KEY", "TYPE", "STATE", "USED",
		"EXPIRES", "NAME");
	for (guint i = 0; i < keys->len; i++) {
		const NbhSetupKey *key = keys->pdata[i];

		fprintf(out, "%-4lld %-7s %-9s %-8s %5lld  %-25s %s\n", (long long)key->id, key->shown,
			key->reusable ? "reusable" : "one-off", nbh_setup_key_state(key, now_s),
			(long long)key->used, time_text(key->expires_s, buf), key->name);
	}
	return TRUE;
}

static gboolean key_revoke(const NbhHubOptions *options, NbhStore *store, FILE *err, GError **error)
{
	gint64 id;

	if (!g_ascii_string_to_signed(options->operand, 10, 1, G_MAXINT64, &id, NULL)) {
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_NOT_FOUND,
			    "key revoke %s: give the number that key list shows", options->operand);
		return FALSE;
	}
	if (!nbh_store_revoke_key(store, id, error))
		return FALSE;
	fprintf(err, "setup key %lld is revoked; machines that joined with it stay\n", (long long)id);
	return TRUE;
}

/* What the machine said about itself last; its name here is that of the registration. */
static void meta_to_json(struct nbh_jsonw *json, GBytes *meta)
{
	NbhLoginRequest said = { 0 };

	if (!meta || !nbh_mgmt_decode_meta(meta, &said, NULL))
		return;
	nbh_jsonw_string(json, "hostname", said.hostname);
	nbh_jsonw_string(json, "os", said.os);
	nbh_jsonw_string(json, "osVersion", said.os_version);
	nbh_jsonw_string(json, "kernelVersion", said.kernel_version);
	nbh_jsonw_array(json, "localAddresses");
	for (gsize i = 0; said.addresses[i]; i++)
		nbh_jsonw_string(json, NULL, said.addresses[i]);
	nbh_jsonw_close(json);
	nbh_login_request_clear(&said);
}

static void peer_to_json(struct nbh_jsonw *json, const NbhHubPeer *peer, gboolean is_served)
{
	char buf[NBH_RFC3339_MAX];
	char address[NBH_ADDR_TEXT_MAX];
	struct nbh_key_text key = nbh_key_format(&peer->key);

	nbh_jsonw_object(json, NULL);
	nbh_jsonw_int(json, "id", peer->id);
	nbh_jsonw_string(json, "name", peer->name);
	nbh_jsonw_string(json, "label", peer->label);
	nbh_jsonw_string(json, "ip", nbh_addr_format(&peer->ip, address));
	nbh_jsonw_string(json, "publicKey", key.text);
	nbh_jsonw_bool(json, "connected", is_served && peer->connected);
	nbh_jsonw_string(json, "version", peer->version);
	nbh_jsonw_int(json, "setupKey", peer->setup_key_id);
	nbh_jsonw_string(json, "created", nbh_rfc3339(time_ms(peer->created_s), buf));
	nbh_jsonw_string(json, "lastLogin", nbh_rfc3339(time_ms(peer->last_login_s), buf));
	nbh_jsonw_string(json, "lastSeen", nbh_rfc3339(time_ms(peer->last_seen_s), buf));
	meta_to_json(json, peer->meta);
	nbh_jsonw_close(json);
}

static gboolean peer_list(const NbhHubOptions *options, NbhStore *store, gboolean is_served, FILE *out,
			  GError **error)
{
	g_autoptr(GPtrArray) peers = nbh_store_peers(store, error);
	struct nbh_jsonw *json;
	char address[NBH_ADDR_TEXT_MAX];
	char buf[NBH_RFC3339_MAX];

	if (!peers)
		return FALSE;
	if (options->json) {
		json = nbh_jsonw_new();
		nbh_jsonw_array(json, NULL);
		for (guint i = 0; i < peers->len; i++)
			peer_to_json(json, peers->pdata[i], is_served);
		nbh_jsonw_close(json);
		return print_json(json, out);
	}
	fprintf(out, "%-24s %-15s %-9s %-25s %-14s %s\n", "NAME", "ADDRESS", "CONNECTED", "LAST SEEN",
		"VERSION", "KEY");
	for (guint i = 0; i < peers->len; i++) {
		const NbhHubPeer *peer = peers->pdata[i];
		struct nbh_key_text key = nbh_key_format(&peer->key);

		fprintf(out, "%-24s %-15s %-9s %-25s %-14s %s\n", peer->label,
			nbh_addr_format(&peer->ip, address),
			is_served && peer->connected ? "yes" : "no",
			time_text(peer->last_seen_s, buf), peer->version, key.text);
	}
	return TRUE;
}

/* By label (unique), public key, overlay address, or name when only one peer has it. */
static gint64 find_peer(const GPtrArray *peers, const char *wanted, GError **error)
{
	char address[NBH_ADDR_TEXT_MAX];
	gint64 found = 0;

	for (guint i = 0; i < peers->len; i++) {
		const NbhHubPeer *peer = peers->pdata[i];
		struct nbh_key_text key = nbh_key_format(&peer->key);

		if (g_ascii_strcasecmp(peer->label, wanted) == 0 || strcmp(key.text, wanted) == 0 ||
		    strcmp(nbh_addr_format(&peer->ip, address), wanted) == 0)
			return peer->id;
	}
	for (guint i = 0; i < peers->len; i++) {
		const NbhHubPeer *peer = peers->pdata[i];

		if (strcmp(peer->name, wanted) != 0)
			continue;
		if (found) {
			g_set_error(error, NBH_STORE_ERROR, NBH_STORE_NOT_FOUND,
				    "peer %s: several have this name; give the key or the NAME that "
				    "peer list shows",
				    wanted);
			return 0;
		}
		found = peer->id;
	}
	if (!found)
		g_set_error(error, NBH_STORE_ERROR, NBH_STORE_NOT_FOUND,
			    "peer %s: there is none; see peer list", wanted);
	return found;
}

static gboolean peer_remove(const NbhHubOptions *options, NbhStore *store, gboolean is_served, FILE *err,
			    GError **error)
{
	g_autoptr(GPtrArray) peers = nbh_store_peers(store, error);
	gint64 id = peers ? find_peer(peers, options->operand, error) : 0;

	if (!id || !nbh_store_remove_peer(store, id, error))
		return FALSE;
	fprintf(err, "peer %s is removed%s\n", options->operand,
		is_served ? "; the running hub disconnects it within a second" : "");
	return TRUE;
}

gboolean nbh_admin_run(const NbhHubOptions *options, NbhStore *store, gboolean is_served, gint64 now_s,
		       FILE *out, FILE *err, GError **error)
{
	switch (options->command) {
	case NBH_HUB_KEY_CREATE:
		return key_create(options, store, now_s, out, err, error);
	case NBH_HUB_KEY_LIST:
		return key_list(options, store, now_s, out, error);
	case NBH_HUB_KEY_REVOKE:
		return key_revoke(options, store, err, error);
	case NBH_HUB_PEER_LIST:
		return peer_list(options, store, is_served, out, error);
	case NBH_HUB_PEER_REMOVE:
		return peer_remove(options, store, is_served, err, error);
	case NBH_HUB_SERVE:
	case NBH_HUB_VERSION:
		break;
	}
	g_assert_not_reached();
}
