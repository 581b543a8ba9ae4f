/* What clients send to the hub: the sender of an envelope, Login, Sync and SyncMeta; names and setup keys. */
#include "config.h"

#include "hub/label.h"
#include "hub/setupkey.h"
#include "wire/error.h"
#include "wire/mgmtmsg.h"

#include "tests/fuzz/fuzz.h"

#define TEXT_MAX 255 /* mgmtmsg.h */

static void check_text(const char *text)
{
	fuzz_require(text && strlen(text) <= TEXT_MAX && g_utf8_validate(text, -1, NULL));
	for (; *text; text++)
		fuzz_require((guchar)*text >= 0x20 && *text != 0x7f);
}

static void check_names(const NbhLoginRequest *request)
{
	char label[NBH_LABEL_MAX + 1], setup_key[NBH_SETUPKEY_LEN + 1];

	if (nbh_label_from_hostname(request->hostname, label)) {
		fuzz_require(label[0] && strlen(label) <= NBH_LABEL_PLAIN_MAX);
		fuzz_require(strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(label));
		fuzz_require(label[0] != '-' && label[strlen(label) - 1] != '-');
	}

	if (nbh_setupkey_normalize(request->setup_key, setup_key))
		fuzz_require(strlen(setup_key) == NBH_SETUPKEY_LEN);
}

static void check(gboolean ok, NbhLoginRequest *request, GError *error)
{
	fuzz_require(ok == !error);
	if (!ok) {
		fuzz_require(error->domain == NBH_WIRE_ERROR && error->message[0]);
		g_error_free(error);
		return;
	}

	check_text(request->hostname);
	check_text(request->netbird_version);
	check_text(request->go_os);
	check_text(request->os);
	check_text(request->os_version);
	check_text(request->kernel_version);
	check_text(request->platform);
	fuzz_require(request->setup_key);
	check_names(request);
	nbh_login_request_clear(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	NbhLoginRequest request = { 0 };
	GError *error = NULL;
	struct nbh_key key;
	gboolean ok;

	ok = nbh_mgmt_decode_login_request(data, len, &request, &error);
	check(ok, &request, g_steal_pointer(&error));
	request = (NbhLoginRequest){ 0 };
	ok = nbh_mgmt_decode_sync_request(data, len, &request, &error);
	check(ok, &request, g_steal_pointer(&error));
	ok = nbh_mgmt_sender(data, len, &key, &error);
	fuzz_require(ok == !error);
	g_clear_error(&error);
	return 0;
}
