#ifndef NBH_WIRE_MGMTMSG_H
#define NBH_WIRE_MGMTMSG_H

/* Management messages: bytes <-> structs, both the client's and the hub's side. netbird-wire.md 2.
 */

#include "base/key.h"
#include "core/netmap.h"

#include <glib.h>

/* PeerSystemMeta. Strings are borrowed for the call and may be NULL (left out). */
typedef struct {
	const char *hostname, *go_os, *kernel, *core, *platform, *os;
	const char *netbird_version, *kernel_version, *os_version;
	const char *const *addresses; /* CIDR texts "192.168.1.5/24", NULL-terminated, or NULL */
	const char *const *macs;      /* same order, same length as addresses */
	gboolean disable_client_routes, disable_server_routes, disable_dns,
		disable_firewall; /* flags 4-7 */
	gboolean disable_ipv6;	  /* flag 16; else capability 2 is sent beside 1 */
} NbhMeta;

/* What login and sync bring. Members are owned; NULL or FALSE: not in the message. */
typedef struct {
	NbhServerConfig *servers;
	gboolean has_peer_config;
	NbhPeerConfig peer_config;
	NbhNetmap *map;
	/* Sync only: why the part that is missing above could not be used; "peerConfig.mtu 1: ..." */
	char *peer_config_refused, *map_refused;
	GBytes *plain; /* borrowed: the message this came from, for keeping; NULL: not from the wire */
	gboolean is_login; /* it is the answer to Login, not a Sync message */
} NbhMgmtUpdate;

void nbh_mgmt_update_clear(NbhMgmtUpdate *update);

/*
 * EncryptedMessage around a sealed body. seal: NULL only for a far key of low order (wire/box.h).
 * open: NULL with NBH_WIRE_ERROR when the key text is not far_public's or the box does not open.
 */
GBytes *nbh_mgmt_seal(const struct nbh_key *own_private, const struct nbh_key *far_public,
		      const guint8 *plain, gsize len);
GBytes *nbh_mgmt_open(const struct nbh_key *own_private, const struct nbh_key *far_public,
		      const guint8 *message, gsize len, GError **error);
/* The sender's key of an EncryptedMessage (hub side). */
gboolean nbh_mgmt_sender(const guint8 *message, gsize len, struct nbh_key *ret_key, GError **error);

/* Client -> server plaintexts. */
GBytes *nbh_mgmt_encode_login(const NbhMeta *meta, const char *setup_key,
			      const struct nbh_key *own_public);
GBytes *nbh_mgmt_encode_sync(const NbhMeta *meta);

/*
 * Server -> client. own_public: left out of the map. Errors are of NBH_WIRE_ERROR (wire/error.h)
 * and name the field; on failure ret_update is untouched. Addresses of servers that do not parse
 * are left out and named in servers->skipped, but for signal's in Login. In Sync a peerConfig or a
 * map that cannot be used leaves the rest of the message usable.
 */
gboolean nbh_mgmt_decode_server_key(const guint8 *message, gsize len, struct nbh_key *ret_key,
				    GError **error);
gboolean nbh_mgmt_decode_login(const guint8 *plain, gsize len, NbhMgmtUpdate *ret_update,
			       GError **error);
gboolean nbh_mgmt_decode_sync(const guint8 *plain, gsize len, const struct nbh_key *own_public,
			      NbhMgmtUpdate *ret_update, GError **error);

/*
 * Hub side: decode requests. Strings are owned by the struct, never NULL, valid UTF-8 without
 * control characters (setup_key: as received), at most 255 bytes. In Sync a meta without any text
 * is none.
 */
typedef struct {
	char *setup_key; /* "" if none */
	gboolean has_meta;
	char *hostname, *netbird_version, *go_os, *os, *os_version, *kernel_version, *platform;
	guint8 *ssh_pub_key;
	gsize ssh_pub_key_len;
	gboolean ipv6;	    /* capability 2 and flag 16 unset */
	GBytes *meta_bytes; /* PeerSystemMeta in canonical encoding, for comparing and storing */
	char **addresses;   /* "192.168.1.5/24"; only from nbh_mgmt_decode_meta() */
} NbhLoginRequest;

void nbh_login_request_clear(NbhLoginRequest *request);
gboolean nbh_mgmt_decode_login_request(const guint8 *plain, gsize len, NbhLoginRequest *ret_request,
				       GError **error);
gboolean nbh_mgmt_decode_sync_request(const guint8 *plain, gsize len, NbhLoginRequest *ret_request,
				      GError **error); /* SyncRequest and SyncMetaRequest */
/* What meta_bytes of before says. */
gboolean nbh_mgmt_decode_meta(GBytes *meta_bytes, NbhLoginRequest *ret_request, GError **error);

/* Hub side: encode answers. */
GBytes *nbh_mgmt_encode_server_key(const struct nbh_key *key);
GBytes *nbh_mgmt_encode_login_response(const NbhServerConfig *servers,
				       const NbhPeerConfig *peer_config);

typedef struct {
	const char *key_text;
	const char *const *allowed_ips; /* NULL-terminated, stable order */
	const char *fqdn, *agent_version;
	const guint8 *ssh_pub_key;
	gsize ssh_pub_key_len;
} NbhRemotePeer;

typedef struct {
	struct nbh_addr peer; /* one rule each for v4 and v6 */
	gboolean out;	      /* direction OUT; else IN */
	const char *policy_id;
} NbhFirewallRule; /* accept, all protocols: what the hub's first stage needs */

typedef struct {
	const char *fqdn;    /* without closing dot */
	const char *address; /* literal */
	gboolean v6;
} NbhZoneRecord;

typedef struct {
	const NbhServerConfig *servers;	  /* NULL: no netbirdConfig in this message */
	const NbhPeerConfig *peer_config; /* NULL: left out; so in a deleted peer's last map */
	gboolean has_map;
	guint64 serial;
	const NbhRemotePeer *peers;
	gsize n_peers;
	const NbhFirewallRule *rules;
	gsize n_rules;
	const char *dns_domain; /* for the custom zone; NULL: no DNSConfig */
	/* Names and addresses of the zone: the receiver itself and its peers. */
	const NbhZoneRecord *records;
	gsize n_records;
	guint16 dns_forwarder_port; /* 22054 when all peers are >= 0.59.0; 0: left out, 5353 */
} NbhSyncResponse;

GBytes *nbh_mgmt_encode_sync_response(const NbhSyncResponse *response);

#endif
