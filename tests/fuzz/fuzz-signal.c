/* Signal: the input as an envelope, and as the plaintext inside of one. */
#include "config.h"

#include "wire/box.h"
#include "wire/error.h"
#include "wire/signalmsg.h"

#include "tests/fuzz/fuzz.h"

static const struct nbh_key own_private = { { 64, 1, 2, 3, [31] = 64 } };

static void check_message(const NbhSignalMessage *message)
{
	g_autoptr(GBytes) body = NULL;
	NbhSignalMessage again;
	gsize len;
	const guint8 *data;

	fuzz_require(memchr(message->version, '\0', sizeof(message->version)));
	fuzz_require(memchr(message->relay_address, '\0', sizeof(message->relay_address)));
	fuzz_require(memchr(message->candidate, '\0', sizeof(message->candidate)));
	if (message->type > NBH_SIGNAL_CANDIDATE)
		return;

	/* What came in can be said again. */
	body = nbh_signal_body_encode(message);
	data = g_bytes_get_data(body, &len);
	fuzz_require(nbh_signal_body_decode(data, len, &again, NULL));
	fuzz_require(again.type == message->type && again.has_ice == message->has_ice);
	fuzz_require(strcmp(again.creds.ufrag, message->creds.ufrag) == 0);
	fuzz_require(strcmp(again.creds.pwd, message->creds.pwd) == 0);
	fuzz_require(strcmp(again.candidate, message->candidate) == 0);
}

static void fuzz_envelope(const uint8_t *data, size_t len)
{
	NbhSignalMessage message;
	struct nbh_key from, to;
	GError *error = NULL;
	gboolean ok = nbh_signal_route(data, len, &from, &to, &error);

	fuzz_require(ok == !error);
	g_clear_error(&error);
	ok = nbh_signal_open(&own_private, data, len, &from, &message, &error);
	fuzz_require(ok == !error);
	g_clear_error(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	NbhSignalMessage message;
	GError *error = NULL;
	gboolean ok = nbh_signal_body_decode(data, len, &message, &error);

	fuzz_require(ok == !error && (ok || error->domain == NBH_WIRE_ERROR));
	g_clear_error(&error);
	if (ok)
		check_message(&message);
	fuzz_envelope(data, len);
	return 0;
}
