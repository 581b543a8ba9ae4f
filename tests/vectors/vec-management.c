#include "config.h"

/*
 * management.json: each direction of a call by itself, then our own structs. Official programs send
 * fields that our structs leave out; those are cut off the recorded message first, and what is left
 * must be what our encoders make of the structs that our decoders filled.
 */

#include "tests/vectors/vec-management.h"

#include "wire/error.h"
#include "wire/mgmtmsg.h"

#include <string.h>

static const struct {
	const char *name;
	const ProtobufCMessageDescriptor *type;
} types[] = {
	{"management.Empty", &nbm__empty__descriptor},
	{"management.ServerKeyResponse", &nbm__server_key_response__descriptor},
	{"management.LoginRequest", &nbm__login_request__descriptor},
	{"management.LoginResponse", &nbm__login_response__descriptor},
	{"management.SyncRequest", &nbm__sync_request__descriptor},
	{"management.SyncResponse", &nbm__sync_response__descriptor},
	{"management.SyncMetaRequest", &nbm__sync_meta_request__descriptor},
	{"management.JobRequest", &nbm__job_request__descriptor},
	{"management.JobResponse", &nbm__job_response__descriptor},
	{"management.DeviceAuthorizationFlowRequest",
	 &nbm__device_authorization_flow_request__descriptor},
	{"management.DeviceAuthorizationFlow", &nbm__device_authorization_flow__descriptor},
	{"management.PKCEAuthorizationFlowRequest",
	 &nbm__pkceauthorization_flow_request__descriptor},
	{"management.PKCEAuthorizationFlow", &nbm__pkceauthorization_flow__descriptor},
	{"management.ExtendAuthSessionRequest", &nbm__extend_auth_session_request__descriptor},
	{"management.ExtendAuthSessionResponse", &nbm__extend_auth_session_response__descriptor},
};

static const char *const rpcs[] = {"GetServerKey",
				   "isHealthy",
				   "Login",
				   "Sync",
				   "SyncMeta",
				   "Job",
				   "Logout",
				   "GetDeviceAuthorizationFlow",
				   "GetPKCEAuthorizationFlow",
				   "ExtendAuthSession",
				   "NoSuchMethod"};

gboolean vec_packs_to(const ProtobufCMessage *message, GBytes *ours)
{
	gsize len = protobuf_c_message_get_packed_size(message);
	g_autofree guint8 *packed = g_malloc(len + 1);

	protobuf_c_message_pack(message, packed);
	return vec_bytes_equal(ours, packed, len);
}

/* --- the envelope ----------------------------------------------------------------------------- */

static void check_envelope(json_object *file, json_object *part, GBytes *plain)
{
	g_autoptr(GBytes) envelope = vec_hex(part, "envelope"), opened = NULL, resealed = NULL,
			  reopened = NULL;
	const char *to_name = vec_str(part, "to");
	struct nbh_key sender;
	VecKeys from, to;
	const guint8 *data;
	gsize len;

	if (!envelope || !vec_keys(file, vec_str(part, "from"), &from))
		return;

	data = g_bytes_get_data(envelope, &len);
	vec_ok(nbh_mgmt_sender(data, len, &sender, NULL) &&
		       nbh_key_equal(&sender, &from.public_key),
	       "envelope names its sender");

	if (!plain || !vec_keys(file, to_name, &to) || nbh_key_is_zero(&to.private_key))
		return;

	opened = nbh_mgmt_open(&to.private_key, &from.public_key, data, len, NULL);
	vec_ok(opened && g_bytes_equal(opened, plain), "envelope opens");

	if (nbh_key_is_zero(&from.private_key))
		return;

	data = g_bytes_get_data(plain, &len);
	resealed = nbh_mgmt_seal(&from.private_key, &to.public_key, data, len);
	data = g_bytes_get_data(resealed, &len);
	reopened = nbh_mgmt_open(&to.private_key, &from.public_key, data, len, NULL);
	vec_ok(reopened && g_bytes_equal(reopened, plain) && len == g_bytes_get_size(envelope),
	       "our own envelope has the same length and opens");
}

/* --- requests --------------------------------------------------------------------------------- */

static const char *flags_text(const Nbm__PeerSystemMeta *meta)
{
	return meta->flags && meta->flags->disableipv6 ? "flag 16" : "no flag 16";
}

/* Cuts off what NbhMeta does not have, and fills NbhMeta from the rest. addresses, macs: owned by
 * the caller. */
static void meta_reduce(Nbm__PeerSystemMeta *meta, Nbm__Flags *flags,
			Nbm__PeerCapability capabilities[2], NbhMeta *ret_meta,
			GPtrArray *addresses, GPtrArray *macs)
{
	gboolean ipv6 = FALSE;
	gsize i;

	for (i = 0; i < meta->n_capabilities; i++)
		ipv6 = ipv6 ||
		       meta->capabilities[i] == NBM__PEER_CAPABILITY__PeerCapabilityIPv6Overlay;

	if (meta->flags) {
		flags->disableclientroutes = flags->has_disableclientroutes =
			meta->flags->disableclientroutes;
		flags->disableserverroutes = flags->has_disableserverroutes =
			meta->flags->disableserverroutes;
		flags->disabledns = flags->has_disabledns = meta->flags->disabledns;
		flags->disablefirewall = flags->has_disablefirewall = meta->flags->disablefirewall;
		ipv6 = ipv6 && !meta->flags->disableipv6;
	}

	flags->disableipv6 = flags->has_disableipv6 = !ipv6;
	capabilities[0] = NBM__PEER_CAPABILITY__PeerCapabilitySourcePrefixes;
	capabilities[1] = NBM__PEER_CAPABILITY__PeerCapabilityIPv6Overlay;
	meta->capabilities = capabilities;
	meta->n_capabilities = ipv6 ? 2 : 1;
	meta->flags = flags;
	meta->uiversion = meta->sysserialnumber = meta->sysproductname = meta->sysmanufacturer =
		NULL;
	meta->environment = NULL;
	meta->n_files = 0;
	meta->has_syncmessageversion = FALSE;

	for (i = 0; i < meta->n_networkaddresses; i++) {
		g_ptr_array_add(addresses, meta->networkaddresses[i]->netip);
		g_ptr_array_add(macs, meta->networkaddresses[i]->mac);
	}

	g_ptr_array_add(addresses, NULL);
	*ret_meta = (NbhMeta){
		.hostname = meta->hostname,
		.go_os = meta->goos,
		.kernel = meta->kernel,
		.core = meta->core,
		.platform = meta->platform,
		.os = meta->os,
		.netbird_version = meta->netbirdversion,
		.kernel_version = meta->kernelversion,
		.os_version = meta->osversion,
		.addresses = (const char *const *)addresses->pdata,
		.macs = (const char *const *)macs->pdata,
		.disable_client_routes = flags->disableclientroutes,
		.disable_server_routes = flags->disableserverroutes,
		.disable_dns = flags->disabledns,
		.disable_firewall = flags->disablefirewall,
		.disable_ipv6 = !ipv6,
	};
}

static void check_request_struct(const NbhLoginRequest *request, const Nbm__PeerSystemMeta *meta)
{
	gboolean ipv6 = FALSE;
	gsize i;

	for (i = 0; meta && i < meta->n_capabilities; i++)
		ipv6 = ipv6 || (int)meta->capabilities[i] == 2;

	ipv6 = ipv6 && !(meta->flags && meta->flags->disableipv6);
	vec_ok(request->has_meta == (meta != NULL) &&
		       g_strcmp0(request->hostname, meta && meta->hostname ? meta->hostname : "") ==
			       0 &&
		       g_strcmp0(request->netbird_version,
				 meta && meta->netbirdversion ? meta->netbirdversion : "") == 0 &&
		       g_strcmp0(request->kernel_version,
				 meta && meta->kernelversion ? meta->kernelversion : "") == 0 &&
		       request->ipv6 == ipv6,
	       "hub reads the meta (%s)", meta ? flags_text(meta) : "none");
}

static void check_login_request(json_object *file, json_object *part, Nbm__LoginRequest *message,
				GBytes *plain)
{
	g_autoptr(GPtrArray) addresses = g_ptr_array_new(), macs = g_ptr_array_new();
	g_autoptr(GBytes) ours = NULL;
	Nbm__PeerCapability capabilities[2];
	Nbm__PeerKeys keys = NBM__PEER_KEYS__INIT;
	Nbm__Flags flags = NBM__FLAGS__INIT;
	NbhLoginRequest request;
	struct nbh_key_text text;
	NbhMeta meta;
	VecKeys from;
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);

	if (nbh_mgmt_decode_login_request(data, len, &request, NULL)) {
		check_request_struct(&request, message->meta);
		vec_ok(g_strcmp0(request.setup_key, message->setupkey ? message->setupkey : "") ==
			       0,
		       "hub reads the setup key");
		nbh_login_request_clear(&request);
	} else {
		vec_ok(FALSE, "hub reads the request");
	}

	if (!message->meta || !vec_bool(part, "canonical", FALSE) ||
	    !vec_keys(file, vec_str(part, "from"), &from))
		return;

	text = nbh_key_format(&from.public_key);
	keys.has_wgpubkey = TRUE;
	keys.wgpubkey = (ProtobufCBinaryData){NBH_KEY_TEXT_LEN, (guint8 *)text.text};
	message->peerkeys = &keys;
	message->jwttoken = NULL;
	message->n_dnslabels = 0;
	meta_reduce(message->meta, &flags, capabilities, &meta, addresses, macs);
	ours = nbh_mgmt_encode_login(&meta, message->setupkey, &from.public_key);
	vec_ok(vec_packs_to(&message->base, ours),
	       "our encoder makes the same of the fields that we send");
}

/* SyncMetaRequest has the same single field. */
static void check_sync_request(json_object *part, Nbm__SyncRequest *message, GBytes *plain)
{
	g_autoptr(GPtrArray) addresses = g_ptr_array_new(), macs = g_ptr_array_new();
	g_autoptr(GBytes) ours = NULL;
	Nbm__PeerCapability capabilities[2];
	Nbm__Flags flags = NBM__FLAGS__INIT;
	NbhLoginRequest request;
	NbhMeta meta;
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);

	if (nbh_mgmt_decode_sync_request(data, len, &request, NULL)) {
		check_request_struct(&request, message->meta);
		nbh_login_request_clear(&request);
	} else {
		vec_ok(FALSE, "hub reads the request");
	}

	if (!message->meta || !vec_bool(part, "canonical", FALSE))
		return;

	meta_reduce(message->meta, &flags, capabilities, &meta, addresses, macs);
	ours = nbh_mgmt_encode_sync(&meta);
	vec_ok(vec_packs_to(&message->base, ours),
	       "our encoder makes the same of the fields that we send");
}

/* --- one direction ---------------------------------------------------------------------------- */

static void check_server_key(Nbm__ServerKeyResponse *message, GBytes *plain)
{
	g_autoptr(GBytes) ours = NULL;
	struct nbh_key key;
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);
	gboolean ok = nbh_mgmt_decode_server_key(data, len, &key, NULL);

	vec_ok(ok, "client reads the server's key");

	if (!ok)
		return;

	message->expiresat = NULL;
	ours = nbh_mgmt_encode_server_key(&key);
	vec_ok(vec_packs_to(&message->base, ours), "our encoder makes the same, but for expiresAt");
}

static void check_struct(json_object *file, json_object *part, ProtobufCMessage *message,
			 GBytes *plain)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;

	if (type == &nbm__server_key_response__descriptor)
		check_server_key((Nbm__ServerKeyResponse *)message, plain);
	else if (type == &nbm__login_request__descriptor)
		check_login_request(file, part, (Nbm__LoginRequest *)message, plain);
	else if (type == &nbm__sync_request__descriptor ||
		 type == &nbm__sync_meta_request__descriptor)
		check_sync_request(part, (Nbm__SyncRequest *)message, plain);
	else if (type == &nbm__login_response__descriptor)
		vec_login_response((Nbm__LoginResponse *)message, plain);
	else if (type == &nbm__sync_response__descriptor)
		vec_sync_response(file, part, (Nbm__SyncResponse *)message, plain);
}

static void check_part(json_object *file, json_object *part)
{
	const char *name = vec_str(part, "message");
	g_autoptr(GBytes) plain = vec_hex(part, "plain");
	g_auto(VecArena) arena = {0};
	ProtobufCMessage *message;
	gsize i;

	if (!part)
		return;

	vec_arena_init(&arena);
	vec_sealed(file, part, plain);
	check_envelope(file, part, plain);

	/* A box that nobody could open, or a method that does not exist. */
	if (!name) {
		vec_ok(!plain, "nothing is known of what is inside");
		return;
	}

	for (i = 0; i < G_N_ELEMENTS(types) && !g_str_equal(name, types[i].name); i++)
		;

	if (i == G_N_ELEMENTS(types)) {
		vec_unknown("message", name);
		return;
	}

	if (!plain) {
		vec_ok(FALSE, "plain is missing");
		return;
	}

	message = vec_message(&arena, types[i].type, part, plain);

	if (message)
		check_struct(file, part, message, plain);
}

void vec_management(json_object *file)
{
	json_object *cases = vec_get(file, "cases");
	gsize i, j, n = vec_len(cases);

	vec_ok(n > 0, "%" G_GSIZE_FORMAT " cases", n);

	for (i = 0; i < n; i++) {
		json_object *item = json_object_array_get_idx(cases, i);
		const char *rpc = vec_str(item, "rpc");
		const char *method = rpc && g_str_has_prefix(rpc, "/management.ManagementService/")
					     ? strrchr(rpc, '/') + 1
					     : NULL;

		vec_case("management", vec_str(item, "name"));

		for (j = 0; method && j < G_N_ELEMENTS(rpcs) && !g_str_equal(method, rpcs[j]); j++)
			;

		if (!method || j == G_N_ELEMENTS(rpcs)) {
			vec_unknown("rpc", rpc);
			continue;
		}

		vec_ok(vec_get(item, "request") || vec_get(item, "response") ||
			       vec_get(item, "result"),
		       "has a request, a response or a result");
		check_part(file, vec_get(item, "request"));
		check_part(file, vec_get(item, "response"));
		vec_result(vec_get(item, "result"));
	}
}
