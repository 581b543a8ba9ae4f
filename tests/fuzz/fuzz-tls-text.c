/* A server's certificate, in words for users: an error, whose it is, the certificate (DER). */
#include "config.h"

#include "net/tls-text.h"

#include "tests/fuzz/fuzz.h"

#define TEXT_MAX_BYTES 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const char *const hosts[] = { "hub.example", "192.0.2.1", "2001:db8::1", NULL };
	static const int errors[] = {
		X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_HOSTNAME_MISMATCH,
		X509_V_ERR_IP_ADDRESS_MISMATCH, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
		X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_CERT_REVOKED, X509_V_ERR_INVALID_PURPOSE,
	};
	uint8_t which = fuzz_byte(&data, &len);
	X509_STORE_CTX *verifying = X509_STORE_CTX_new();
	X509 *certificate = d2i_X509(NULL, &data, (long)len);
	g_autofree char *text = NULL;

	fuzz_require(verifying && X509_STORE_CTX_init(verifying, NULL, certificate, NULL) == 1);
	X509_STORE_CTX_set_error(verifying, errors[which % G_N_ELEMENTS(errors)]);
	X509_STORE_CTX_set_error_depth(verifying, which >> 7);
	X509_STORE_CTX_set_current_cert(verifying, certificate);
	text = nbh_tls_text_refused(verifying, hosts[(which >> 4) % G_N_ELEMENTS(hosts)]);
	fuzz_require(text && strlen(text) < TEXT_MAX_BYTES);
	for (const char *p = text; *p; p++)
		fuzz_require(g_ascii_isprint(*p));
	X509_STORE_CTX_free(verifying);
	X509_free(certificate);
	return 0;
}
