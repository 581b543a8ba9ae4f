/* URLs of servers, of users and from management; STUN and TURN URIs from management. */
#include "config.h"

#include "net/grpc.h"
#include "wire/stun.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = fuzz_text(data, len), host[256];
	gboolean turn, tls;
	guint16 port = 0;
	GError *error = NULL;

	if (nbh_stun_uri_parse(text, host, sizeof(host), &port, &turn, &tls))
		fuzz_require(host[0] && port && strlen(host) < sizeof(host));

	if (nbh_grpc_url_parse(text, &tls, host, sizeof(host), &port, &error))
		fuzz_require(host[0] && port && strlen(host) < sizeof(host) && !error);
	else
		fuzz_require(error && error->message[0]);
	g_clear_error(&error);
	free(text);
	return 0;
}
