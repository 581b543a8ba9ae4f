/* A line on ice.sock, of either end: what parses is said again the same way. */
#include "config.h"

#include "ice/proto.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char first[NBH_ICE_MESSAGE_MAX_BYTES], second[NBH_ICE_MESSAGE_MAX_BYTES];
	NbhIceMessage message, again;
	struct nbh_why why = { "" };
	gboolean ok = nbh_ice_message_parse(fuzz_chars(data), len, &message, &why);
	gsize n;

	fuzz_check_why(ok ? 0 : -1, &why);
	if (!ok)
		return 0;

	n = nbh_ice_message_format(&message, first);
	fuzz_require(n > 0 && strlen(first) == n);
	fuzz_require(nbh_ice_message_parse(first, n, &again, NULL) && again.verb == message.verb);
	fuzz_require(nbh_ice_message_format(&again, second) == n && strcmp(first, second) == 0);
	return 0;
}
