#include "config.h"

#include "mgmt/mgmt-grpc.h"

#include "core/version.h"
#include "net/grpc.h"
#include "tests/lib/grpcserver.h"
#include "tests/lib/loop.h"

#include <string.h>

#define SERVICE "/management.ManagementService/"

typedef enum { NOTHING, FREE } Action;

/* Server and client of one test. */
typedef struct {
	TestGrpc server;
	struct nbh_key server_private, client_private, client_public;
	/* What the server does. */
	int login_status[4], sync_status[4]; /* of the n-th call; the last one stays */
	const char *login_text, *sync_text;
	gboolean weak_key, garbage_in_sync;
	guint n_stale; /* so often the key changes right behind GetServerKey */
	gboolean is_key_held; /* GetServerKey is not answered */
	int meta_status;
	/* What it saw. */
	guint n_key, n_login, n_sync, n_logout, n_setup_keys, n_meta, n_meta_unopened;
	char *told; /* the host name in the last Sync or SyncMeta */
	gint64 meta_usec[4];
	NbhH2srvCall *sync_call;
	/* The client. */
	NbhMgmt *mgmt;
	const char *hostname; /* NULL: tester */
	struct nbh_key remembered, server_key_heard;
	guint n_server_keys;
	gboolean is_up, was_update_before_up;
	guint n_up, n_down, n_updates, n_done, n_refused, n_peers;
	char *why, *refused;
	GError *error;
	Action in_link, in_update, in_done;
} Lab;

static void seal_reply(Lab *lab, NbhH2srvCall *call, GBytes *plain)
{
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);
	g_autoptr(GBytes) sealed = nbh_mgmt_seal(&lab->server_private, &lab->client_public, data, len);

	data = g_bytes_get_data(sealed, &len);
	g_assert_true(nbh_h2srv_send(call, data, len));
}

static void serve_key(Lab *lab, NbhH2srvCall *call)
{
	struct nbh_key public_key;
	g_autoptr(GBytes) reply = NULL;
	gsize len;
	const guint8 *data;

	lab->n_key++;
	if (lab->is_key_held)
		return;
	nbh_key_public(&lab->server_private, &public_key);
	if (lab->weak_key)
		memset(&public_key, 0, sizeof(public_key));
	reply = nbh_mgmt_encode_server_key(&public_key);
	data = g_bytes_get_data(reply, &len);
	nbh_h2srv_send(call, data, len);
	nbh_h2srv_finish(call, 0, NULL);
	if (lab->n_stale > 0) {
		lab->n_stale--;
		nbh_key_generate_private(&lab->server_private);
	}
}

/* NULL: answered with the official server's error. */
static GBytes *open_request(Lab *lab, NbhH2srvCall *call, const guint8 *data, gsize len)
{
	GBytes *plain = nbh_mgmt_open(&lab->server_private, &lab->client_public, data, len, NULL);

	if (!plain)
		nbh_h2srv_finish(call, NBH_GRPC_INVALID_ARGUMENT, "invalid request message");
	return plain;
}

static void serve_login(Lab *lab, NbhH2srvCall *call, const guint8 *data, gsize len)
{
	int status = lab->login_status[MIN(lab->n_login, 3)];
	g_autoptr(GBytes) plain = open_request(lab, call, data, len);
	g_autoptr(GBytes) reply = NULL;
	NbhLoginRequest request = { 0 };
	NbhPeerConfig config = { 0 };
	NbhServerConfig servers = { .has_signal = TRUE, .signal_host = "127.0.0.1", .signal_port = 80 };

	lab->n_login++;
	if (!plain)
		return;
	data = g_bytes_get_data(plain, &len);
	g_assert_true(nbh_mgmt_decode_login_request(data, len, &request, NULL));
	g_assert_cmpstr(request.hostname, ==, "tester");
	lab->n_setup_keys += strcmp(request.setup_key, "SECRET-KEY") == 0;
	nbh_login_request_clear(&request);
	if (status) {
		nbh_h2srv_finish(call, status, lab->login_text);
		return;
	}
	nbh_prefix_parse("100.64.0.7/16", &config.address);
	reply = nbh_mgmt_encode_login_response(&servers, &config);
	seal_reply(lab, call, reply);
	nbh_h2srv_finish(call, 0, NULL);
}

static void send_map(Lab *lab, guint n_peers)
{
	struct nbh_key_text texts[2];
	NbhRemotePeer peers[2] = { 0 };
	const char *ips[] = { "100.64.0.9/32", NULL };
	NbhSyncResponse response = { .has_map = TRUE, .serial = 3, .peers = peers, .n_peers = n_peers };
	g_autoptr(GBytes) plain = NULL;

	for (guint i = 0; i < n_peers; i++) {
		struct nbh_key key;

		nbh_key_generate_private(&key);
		texts[i] = nbh_key_format(&key);
		peers[i] = (NbhRemotePeer){ .key_text = texts[i].text, .allowed_ips = ips, .fqdn = "p.nb" };
	}
	plain = nbh_mgmt_encode_sync_response(&response);
	seal_reply(lab, lab->sync_call, plain);
}

static void take_meta(Lab *lab, GBytes *plain)
{
	NbhLoginRequest request = { 0 };
	gsize len;
	const guint8 *data = g_bytes_get_data(plain, &len);

	g_assert_true(nbh_mgmt_decode_sync_request(data, len, &request, NULL));
	g_free(lab->told);
	lab->told = g_strdup(request.hostname);
	nbh_login_request_clear(&request);
}

static void serve_meta(Lab *lab, NbhH2srvCall *call, const guint8 *data, gsize len)
{
	g_autoptr(GBytes) plain = open_request(lab, call, data, len);

	lab->n_meta_unopened += plain ? 0 : 1;
	if (!plain)
		return;
	g_assert_cmpuint(lab->n_meta, <, G_N_ELEMENTS(lab->meta_usec));
	lab->meta_usec[lab->n_meta++] = g_get_monotonic_time();
	take_meta(lab, plain);
	if (lab->meta_status == 0)
		nbh_h2srv_send(call, (const guint8 *)"", 0);
	nbh_h2srv_finish(call, lab->meta_status, NULL);
}

static void serve_sync(Lab *lab, NbhH2srvCall *call, const guint8 *data, gsize len)
{
	int status = lab->sync_status[MIN(lab->n_sync, 3)];
	g_autoptr(GBytes) plain = open_request(lab, call, data, len);

	lab->n_sync++;
	if (!plain)
		return;
	take_meta(lab, plain);
	if (status) {
		nbh_h2srv_headers(call, NULL, NULL); /* as the main port: rule 14 */
		nbh_h2srv_finish(call, status, lab->sync_text);
		return;
	}
	lab->sync_call = call;
	if (lab->garbage_in_sync)
		nbh_h2srv_send(call, (const guint8 *)"garbage", 7);
	else
		send_map(lab, 1);
}

static void on_server_call(NbhH2srvCall *call, const char *path, const guint8 *data, gsize len, gpointer owner)
{
	Lab *lab = owner;

	if (!data)
		return;
	if (strcmp(path, SERVICE "GetServerKey") == 0) {
		serve_key(lab, call);
	} else if (strcmp(path, SERVICE "Login") == 0) {
		serve_login(lab, call, data, len);
	} else if (strcmp(path, SERVICE "Sync") == 0) {
		serve_sync(lab, call, data, len);
	} else if (strcmp(path, SERVICE "SyncMeta") == 0) {
		serve_meta(lab, call, data, len);
	} else if (strcmp(path, SERVICE "Logout") == 0) {
		g_autoptr(GBytes) plain = open_request(lab, call, data, len);

		lab->n_logout++;
		if (plain && lab->n_logout > 1) {
			nbh_h2srv_finish(call, NBH_GRPC_NOT_FOUND, "peer is not registered");
		} else if (plain) {
			nbh_h2srv_send(call, (const guint8 *)"", 0);
			nbh_h2srv_finish(call, 0, NULL);
		}
	} else {
		nbh_h2srv_finish(call, NBH_GRPC_UNIMPLEMENTED, "unknown method");
	}
}

static void on_server_gone(NbhH2srvCall *call, gpointer owner)
{
	Lab *lab = owner;

	if (lab->sync_call == call)
		lab->sync_call = NULL;
}

static const TestGrpcEvents server_events = { on_server_call, on_server_gone };

static void act(Lab *lab, Action action)
{
	if (action == FREE)
		g_clear_pointer(&lab->mgmt, nbh_mgmt_grpc.free);
}

static void on_update(NbhMgmt *mgmt, const NbhMgmtUpdate *update, gpointer owner)
{
	Lab *lab = owner;

	g_assert_true(mgmt == lab->mgmt);
	lab->n_updates++;
	if (update->map) {
		g_assert_true(lab->is_up);
		lab->n_peers = (guint)update->map->n_peers;
	} else {
		g_assert_true(update->has_peer_config);
	}
	act(lab, lab->in_update);
}

static void on_link(NbhMgmt *mgmt, gboolean up, const char *why, gpointer owner)
{
	Lab *lab = owner;

	g_assert_true(mgmt == lab->mgmt);
	lab->is_up = up;
	lab->n_up += up ? 1 : 0;
	lab->n_down += up ? 0 : 1;
	g_free(lab->why);
	lab->why = g_strdup(why);
	act(lab, lab->in_link);
}

static void on_refused(NbhMgmt *mgmt, const char *why, gpointer owner)
{
	Lab *lab = owner;

	g_assert_true(mgmt == lab->mgmt);
	lab->n_refused++;
	g_free(lab->refused);
	lab->refused = g_strdup(why);
}

static void on_server_key(NbhMgmt *mgmt, const struct nbh_key *key, gpointer owner)
{
	Lab *lab = owner;

	g_assert_true(mgmt == lab->mgmt);
	lab->n_server_keys++;
	lab->server_key_heard = *key;
}

static const NbhMgmtEvents events = { on_update, on_link, on_refused, on_server_key };

static void on_done(NbhMgmt *mgmt, const GError *error, gpointer owner)
{
	Lab *lab = owner;

	g_assert_true(mgmt == lab->mgmt);
	lab->n_done++;
	g_clear_error(&lab->error);
	lab->error = error ? g_error_copy(error) : NULL;
	act(lab, lab->in_done);
}

static void get_meta(NbhMeta *ret_meta, gpointer owner)
{
	Lab *lab = owner;

	*ret_meta = (NbhMeta){ .hostname = lab->hostname ? lab->hostname : "tester", .go_os = "linux", .netbird_version = NBH_AGENT_VERSION };
}

static void open_client(Lab *lab, const char *url)
{
	NbhMgmtConfig config = { .url = url,
				 .own_private = lab->client_private,
				 .get_meta = get_meta,
				 .server_key = &lab->remembered };
	g_autoptr(GError) error = NULL;

	lab->mgmt = nbh_mgmt_grpc.open(&config, &events, lab, &error);
	g_assert_no_error(error);
}

static void lab_open(Lab *lab)
{
	g_autofree char *url = NULL;

	nbh_key_generate_private(&lab->server_private);
	nbh_key_generate_private(&lab->client_private);
	nbh_key_public(&lab->client_private, &lab->client_public);
	test_grpc_open(&lab->server, &server_events, lab);
	url = test_grpc_url(&lab->server);
	open_client(lab, url);
}

static void lab_close(Lab *lab)
{
	nbh_mgmt_grpc.free(lab->mgmt);
	test_grpc_close(&lab->server);
	test_drain_loop();
	g_free(lab->why);
	g_free(lab->refused);
	g_free(lab->told);
	g_clear_error(&lab->error);
}

static void test_register_and_sync(void)
{
	Lab lab = { 0 };

	lab_open(&lab);
	nbh_mgmt_grpc.login(lab.mgmt, "SECRET-KEY", on_done);
	g_assert_cmpuint(lab.n_done, ==, 0);
	test_run_until(lab.n_done);
	g_assert_no_error(lab.error);
	g_assert_cmpuint(lab.n_setup_keys, ==, 1);
	g_assert_cmpuint(lab.n_updates, ==, 1);

	nbh_mgmt_grpc.sync(lab.mgmt);
	test_run_until(lab.n_peers == 1);
	g_assert_cmpuint(lab.n_up, ==, 1);
	send_map(&lab, 2);
	test_run_until(lab.n_peers == 2);
	/* One key for both, all on one connection, nothing twice. */
	g_assert_cmpuint(lab.n_key, ==, 1);
	g_assert_cmpuint(lab.n_server_keys, ==, 1);
	g_assert_cmpuint(lab.n_login, ==, 1);
	g_assert_cmpuint(lab.n_sync, ==, 1);
	g_assert_cmpuint(lab.server.listener.n_accepted, ==, 1);

	nbh_h2srv_finish(lab.sync_call, 0, NULL);
	test_run_until(lab.n_down == 1);
	g_assert_cmpstr(lab.why, ==, "management ended the stream");
	test_run_until(lab.n_up == 2);
	test_grpc_drop_all(&lab.server);
	test_run_until(lab.n_down == 2);
	test_run_until(lab.n_up == 3);

	nbh_mgmt_grpc.logout(lab.mgmt, on_done);
	test_run_until(lab.n_done == 2);
	g_assert_no_error(lab.error);
	g_assert_cmpuint(lab.n_logout, ==, 1);

	/* Not there any more is what was wanted. */
	nbh_mgmt_grpc.logout(lab.mgmt, on_done);
	test_run_until(lab.n_done == 3);
	g_assert_no_error(lab.error);
	g_assert_cmpuint(lab.n_logout, ==, 2);
	lab_close(&lab);
}

static void test_refusals(void)
{
	const struct {
		int status;
		const char *text, *setup_key;
		int code;
		const char *expected; /* part of it */
	} cases[] = {
		{ 7, "no peer auth method provided", NULL, NBH_MGMT_REFUSED, "make a setup key there and run netbird-helper login --setup-key-file FILE" },
		{ 7, "peer login has expired", NULL, NBH_MGMT_REFUSED, "has expired" },
		{ 7, "user is blocked", "SECRET-KEY", NBH_MGMT_REFUSED, "user is blocked; ask its administrator" },
		{ 5, "couldn't add peer: setup key is invalid", "SECRET-KEY", NBH_MGMT_REFUSED,
		  "management refused the setup key: couldn't add peer: setup key is invalid; make a new one and run netbird-helper login again" },
		{ 9, "couldn't add peer: setup key is invalid", "SECRET-KEY", NBH_MGMT_REFUSED, "refused the setup key" },
		{ 3, "malformed setup key", "SECRET-KEY", NBH_MGMT_REFUSED, "refused the setup key" },
		{ 16, "token", NULL, NBH_MGMT_REFUSED, "use a setup key" },
		{ 12, "unknown method Login", NULL, NBH_MGMT_PROTOCOL, "this is no NetBird management server" },
		{ 13, "failed handling request", NULL, NBH_MGMT_UNREACHABLE, ": failed handling request" },
		{ 14, NULL, NULL, NBH_MGMT_UNREACHABLE, ": gRPC status 14" },
	};

	for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
		Lab lab = { .login_text = cases[i].text };

		for (gsize j = 0; j < G_N_ELEMENTS(lab.login_status); j++)
			lab.login_status[j] = cases[i].status;
		lab_open(&lab);
		nbh_mgmt_grpc.login(lab.mgmt, cases[i].setup_key, on_done);
		test_run_until(lab.n_done);
		g_assert_error(lab.error, NBH_MGMT_ERROR, cases[i].code);
		g_test_message("%s", lab.error->message);
		g_assert_nonnull(strstr(lab.error->message, cases[i].expected));
		g_assert_null(strstr(lab.error->message, "SECRET"));
		g_assert_true(cases[i].code == NBH_MGMT_REFUSED || strstr(lab.error->message, "127.0.0.1:"));
		g_assert_cmpuint(lab.n_login, ==, 1);
		g_assert_cmpuint(lab.n_setup_keys, ==, cases[i].setup_key ? 1 : 0);
		lab_close(&lab);
	}
}

static void test_stale_key(void)
{
	Lab once = { .n_stale = 1 }, always = { .n_stale = 100 }, race = { .login_status = { 9, 0 } };

	lab_open(&once);
	nbh_mgmt_grpc.login(once.mgmt, "SECRET-KEY", on_done);
	test_run_until(once.n_done);
	g_assert_no_error(once.error);
	g_assert_cmpuint(once.n_login, ==, 2);
	lab_close(&once);

	lab_open(&always);
	nbh_mgmt_grpc.login(always.mgmt, "SECRET-KEY", on_done);
	test_run_until(always.n_done);
	g_assert_error(always.error, NBH_MGMT_ERROR, NBH_MGMT_PROTOCOL);
	g_assert_cmpuint(always.n_login, ==, 2);
	lab_close(&always);

	race.login_text = "peer has been already registered";
	lab_open(&race);
	nbh_mgmt_grpc.login(race.mgmt, "SECRET-KEY", on_done);
	test_run_until(race.n_done);
	g_assert_no_error(race.error);
	g_assert_cmpuint(race.n_login, ==, 2);
	lab_close(&race);
}

static void test_sync_refused(void)
{
	Lab gone = { .sync_status = { 7, 7, 7, 7 }, .login_status = { 7, 7, 7, 7 } };
	Lab back = { .sync_status = { 7, 0 } };

	gone.sync_text = gone.login_text = "peer is not registered";
	lab_open(&gone);
	nbh_mgmt_grpc.sync(gone.mgmt);
	test_run_until(gone.n_refused);
	g_assert_cmpuint(gone.n_sync, ==, 1);
	g_assert_cmpuint(gone.n_login, ==, 1);
	g_assert_nonnull(strstr(gone.refused, "netbird-helper login"));
	nbh_mgmt_grpc.network_changed(gone.mgmt); /* wakes nothing */
	test_drain_loop();
	g_assert_cmpuint(gone.n_sync, ==, 1);
	g_assert_cmpuint(gone.n_up, ==, 0);
	lab_close(&gone);

	back.sync_text = "peer login has expired";
	lab_open(&back);
	nbh_mgmt_grpc.sync(back.mgmt);
	test_run_until(back.n_up);
	g_assert_cmpuint(back.n_refused, ==, 0);
	g_assert_cmpuint(back.n_login, ==, 1);
	g_assert_cmpuint(back.n_sync, ==, 2);
	lab_close(&back);
}

static void test_unusable_answers(void)
{
	Lab weak = { .weak_key = TRUE }, garbage = { .garbage_in_sync = TRUE };

	lab_open(&weak);
	nbh_mgmt_grpc.login(weak.mgmt, NULL, on_done);
	test_run_until(weak.n_done);
	g_assert_error(weak.error, NBH_MGMT_ERROR, NBH_MGMT_PROTOCOL);
	g_assert_cmpuint(weak.n_login, ==, 0);
	lab_close(&weak);

	lab_open(&garbage);
	nbh_mgmt_grpc.sync(garbage.mgmt);
	test_run_until(garbage.n_down == 2); /* it tries again */
	g_assert_nonnull(strstr(garbage.why, "cannot be used"));
	g_assert_cmpuint(garbage.n_up + garbage.n_updates, ==, 0);
	lab_close(&garbage);
}

/* Errors with response headers do not reset the backoff: rule 14. */
static void test_backoff_grows(void)
{
	Lab lab = { .sync_status = { 13, 13, 13, 13 }, .sync_text = "no" };
	gint64 began = g_get_monotonic_time();

	lab_open(&lab);
	nbh_mgmt_grpc.sync(lab.mgmt);
	test_run_until(lab.n_down == 4);
	/* At least half of 0.8 + 1.36 + 2.3 s; with a reset it could be 3 x 0.4 s. */
	g_assert_cmpint(g_get_monotonic_time() - began, >=, 2200 * 1000);
	g_assert_cmpuint(lab.n_up, ==, 0);
	nbh_mgmt_grpc.network_changed(lab.mgmt);
	began = g_get_monotonic_time();
	test_run_until(lab.n_down == 5);
	g_assert_cmpint(g_get_monotonic_time() - began, <, 1000 * 1000); /* at once; would be 2 s or more */
	nbh_mgmt_grpc.retry_now(lab.mgmt);
	began = g_get_monotonic_time();
	test_run_until(lab.n_down == 6);
	g_assert_cmpint(g_get_monotonic_time() - began, <, 1000 * 1000);
	lab_close(&lab);
}

/* The other server is back and says so, while we connect already. */
static void test_retry_keeps_attempt(void)
{
	Lab lab = { 0 };

	lab_open(&lab);
	nbh_mgmt_grpc.sync(lab.mgmt);
	nbh_mgmt_grpc.retry_now(lab.mgmt);
	test_run_until(lab.n_up);
	nbh_mgmt_grpc.retry_now(lab.mgmt);
	test_drain_loop();
	g_assert_cmpuint(lab.server.listener.n_accepted, ==, 1);
	g_assert_cmpuint(lab.n_sync, ==, 1);
	lab_close(&lab);
}

static void test_unreachable(void)
{
	Lab lab = { 0 };
	g_autofree char *url = g_strdup_printf("http://127.0.0.1:%u", test_free_port());
	g_autofree char *expected = g_strdup_printf("management: %s: connection refused", url + 7);

	nbh_key_generate_private(&lab.client_private);
	open_client(&lab, url);
	nbh_mgmt_grpc.login(lab.mgmt, NULL, on_done);
	nbh_mgmt_grpc.sync(lab.mgmt);
	test_run_until(lab.n_done && lab.n_down);
	g_assert_error(lab.error, NBH_MGMT_ERROR, NBH_MGMT_UNREACHABLE);
	g_assert_cmpstr(lab.error->message, ==, expected);
	nbh_mgmt_grpc.free(lab.mgmt);
	nbh_mgmt_grpc.free(NULL);
	test_drain_loop();
	g_clear_error(&lab.error);
	g_free(lab.why);
}

static void test_free_in_callbacks(void)
{
	for (int where = 0; where < 4; where++) {
		Lab lab = { 0 };

		lab_open(&lab);
		lab.in_done = where == 0 ? FREE : NOTHING;
		lab.in_update = where == 1 || where == 3 ? FREE : NOTHING;
		lab.in_link = where == 2 ? FREE : NOTHING;
		if (where < 2)
			nbh_mgmt_grpc.login(lab.mgmt, "SECRET-KEY", on_done);
		else
			nbh_mgmt_grpc.sync(lab.mgmt);
		test_run_until(!lab.mgmt);
		test_drain_loop();
		g_assert_cmpuint(lab.n_done, ==, where == 0 ? 1 : 0);
		g_assert_cmpuint(lab.n_updates, ==, where == 2 ? 0 : 1);
		g_assert_cmpuint(lab.n_up, ==, where >= 2 ? 1 : 0);
		lab_close(&lab);
	}
}

/* A key of before: used without waiting for the server's answer. */
static void test_remembered_key(void)
{
	Lab right = { .is_key_held = TRUE }, wrong = { 0 }, weak = { 0 };
	struct nbh_key now;

	lab_open(&right);
	nbh_mgmt_grpc.free(right.mgmt);
	nbh_key_public(&right.server_private, &right.remembered);
	{
		g_autofree char *url = test_grpc_url(&right.server);

		open_client(&right, url);
	}
	nbh_mgmt_grpc.sync(right.mgmt);
	test_run_until(right.n_up);
	g_assert_cmpuint(right.n_key, ==, 1); /* asked all the same */
	g_assert_cmpuint(right.n_sync, ==, 1);
	g_assert_cmpuint(right.n_server_keys, ==, 0);
	lab_close(&right);

	/* The server was started again meanwhile. */
	nbh_key_generate_private(&now);
	nbh_key_public(&now, &wrong.remembered);
	lab_open(&wrong);
	nbh_mgmt_grpc.sync(wrong.mgmt);
	test_run_until(wrong.n_up);
	g_assert_cmpuint(wrong.n_sync, ==, 2);
	g_assert_cmpuint(wrong.n_down, ==, 0); /* nobody need hear of it */
	g_assert_cmpuint(wrong.n_key, ==, 1);
	g_assert_cmpuint(wrong.n_server_keys, ==, 1);
	nbh_key_public(&wrong.server_private, &now);
	g_assert_true(nbh_key_equal(&now, &wrong.server_key_heard));
	lab_close(&wrong);

	/* Of low order: nothing can be sealed for it. */
	weak.remembered.bytes[0] = 1;
	lab_open(&weak);
	nbh_mgmt_grpc.sync(weak.mgmt);
	test_run_until(weak.n_up);
	g_assert_cmpuint(weak.n_sync, ==, 1);
	lab_close(&weak);
}

/* The key that the server gives out is never the one that opens: said in words, slowly repeated. */
static void test_wrong_key_for_ever(void)
{
	Lab lab = { .n_stale = 100 };

	lab_open(&lab);
	nbh_mgmt_grpc.sync(lab.mgmt);
	test_run_until(lab.n_down == 2);
	g_assert_nonnull(strstr(lab.why, "cannot open what is sealed for the key that it gives out"));
	g_assert_cmpuint(lab.n_sync, ==, 4); /* twice each time */
	g_assert_cmpuint(lab.n_up, ==, 0);
	lab_close(&lab);
}

static void open_facts(Lab *lab, guint interval_ms)
{
	lab_open(lab);
	nbh_mgmt_grpc_set_facts_times(lab->mgmt, 1, interval_ms);
	nbh_mgmt_grpc.sync(lab->mgmt);
	test_run_until(lab->n_up);
	g_assert_cmpstr(lab->told, ==, "tester");
}

static gboolean on_later(gpointer later)
{
	*(gboolean *)later = TRUE;
	return G_SOURCE_REMOVE;
}

/* Long behind what facts_changed() could lead to. */
static void run_a_while(void)
{
	gboolean is_later = FALSE;

	g_timeout_add(100, on_later, &is_later);
	test_run_until(is_later);
}

static void test_facts(void)
{
	Lab lab = { 0 };

	open_facts(&lab, 300);
	nbh_mgmt_grpc.facts_changed(lab.mgmt);
	run_a_while();
	g_assert_cmpuint(lab.n_meta, ==, 0);

	lab.hostname = "other";
	nbh_mgmt_grpc.facts_changed(lab.mgmt);
	nbh_mgmt_grpc.facts_changed(lab.mgmt);
	test_run_until(lab.n_meta);
	g_assert_cmpstr(lab.told, ==, "other");

	/* Many changes: the last counts, and not at once. */
	lab.hostname = "flap";
	nbh_mgmt_grpc.facts_changed(lab.mgmt);
	run_a_while();
	g_assert_cmpuint(lab.n_meta, ==, 1);
	lab.hostname = "last";
	nbh_mgmt_grpc.facts_changed(lab.mgmt);
	test_run_until(lab.n_meta == 2);
	g_assert_cmpstr(lab.told, ==, "last");
	g_assert_cmpint(lab.meta_usec[1] - lab.meta_usec[0], >=, 250 * 1000);

	/* There and back again is nothing. */
	lab.hostname = "flap";
	nbh_mgmt_grpc.facts_changed(lab.mgmt);
	lab.hostname = "last";
	run_a_while();
	run_a_while();
	run_a_while();
	run_a_while();
	g_assert_cmpuint(lab.n_meta, ==, 2);
	g_assert_cmpuint(lab.n_sync, ==, 1);
	lab_close(&lab);
}

static void test_facts_heal(void)
{
	Lab lab = { 0 };

	/* The server's key has changed: sealed again. */
	open_facts(&lab, 1);
	nbh_key_generate_private(&lab.server_private);
	lab.hostname = "other";
	nbh_mgmt_grpc.facts_changed(lab.mgmt);
	test_run_until(lab.n_meta);
	g_assert_cmpuint(lab.n_meta_unopened, ==, 1);
	g_assert_cmpuint(lab.n_server_keys, ==, 2);

	/* Something that may pass: once more. */
	lab.meta_status = NBH_GRPC_UNAVAILABLE;
	lab.hostname = "third";
	nbh_mgmt_grpc.facts_changed(lab.mgmt);
	test_run_until(lab.n_meta == 2);
	lab.meta_status = NBH_GRPC_UNIMPLEMENTED;
	test_run_until(lab.n_meta == 3);
	/* The server does not know the call: not again. */
	run_a_while();
	g_assert_cmpuint(lab.n_meta, ==, 3);
	lab_close(&lab);
}

/* Changed while Sync is away: the next one brings it, and nothing else. */
static void test_facts_without_sync(void)
{
	Lab lab = { 0 };

	open_facts(&lab, 1);
	test_grpc_drop_all(&lab.server);
	test_run_until(lab.n_down);
	lab.hostname = "other";
	nbh_mgmt_grpc.facts_changed(lab.mgmt);
	test_run_until(lab.n_up == 2);
	run_a_while();
	g_assert_cmpstr(lab.told, ==, "other");
	g_assert_cmpuint(lab.n_meta, ==, 0);
	lab_close(&lab);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mgmt/register-and-sync", test_register_and_sync);
	g_test_add_func("/mgmt/refusals", test_refusals);
	g_test_add_func("/mgmt/stale-key", test_stale_key);
	g_test_add_func("/mgmt/sync-refused", test_sync_refused);
	g_test_add_func("/mgmt/unusable-answers", test_unusable_answers);
	g_test_add_func("/mgmt/backoff-grows", test_backoff_grows);
	g_test_add_func("/mgmt/retry-keeps-attempt", test_retry_keeps_attempt);
	g_test_add_func("/mgmt/unreachable", test_unreachable);
	g_test_add_func("/mgmt/free-in-callbacks", test_free_in_callbacks);
	g_test_add_func("/mgmt/remembered-key", test_remembered_key);
	g_test_add_func("/mgmt/wrong-key-for-ever", test_wrong_key_for_ever);
	g_test_add_func("/mgmt/facts", test_facts);
	g_test_add_func("/mgmt/facts-heal", test_facts_heal);
	g_test_add_func("/mgmt/facts-without-sync", test_facts_without_sync);
	return g_test_run();
}
