#include "config.h"

#include "net/tls-text.h"

#include <openssl/err.h>
#include <openssl/pemerr.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#define PART_MAX 64  /* of a name from a certificate */
#define NAMES_MAX 4  /* named of those that a certificate is for */

/* Names in certificates are anybody's bytes. */
static void append_clean(GString *text, const void *bytes, gsize len)
{
	const guint8 *data = bytes;

	for (gsize i = 0; i < MIN(len, PART_MAX); i++)
		g_string_append_c(text, g_ascii_isprint((char)data[i]) && data[i] != '"' ? (char)data[i] : '?');
	if (len > PART_MAX)
		g_string_append(text, "...");
}

static void append_time(GString *text, const ASN1_TIME *when)
{
	struct tm tm = { 0 };
	char buf[32];

	if (ASN1_TIME_to_tm(when, &tm) == 1 && strftime(buf, sizeof(buf), "%Y-%m-%d %H:%M UTC", &tm) > 0)
		g_string_append(text, buf);
	else
		g_string_append(text, "an unreadable date");
}

static void append_address(GString *text, const ASN1_OCTET_STRING *address)
{
	const guint8 *data = ASN1_STRING_get0_data(address);
	int len = ASN1_STRING_length(address);

	if (len == 4)
		g_string_append_printf(text, "%u.%u.%u.%u", data[0], data[1], data[2], data[3]);
	for (int i = 0; len == 16 && i < 16; i += 2)
		g_string_append_printf(text, i ? ":%x" : "%x", data[i] << 8 | data[i + 1]);
}

static void append_common_name(GString *text, const X509_NAME *name)
{
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	const ASN1_STRING *value;

	if (at < 0) {
		char line[256];

		X509_NAME_oneline(name, line, sizeof(line));
		append_clean(text, line, strlen(line));
		return;
	}
	value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	append_clean(text, ASN1_STRING_get0_data(value), (gsize)ASN1_STRING_length(value));
}

/* host: what the certificate is not for. */
static void append_names(GString *text, X509 *certificate, const char *host)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int n = names ? sk_GENERAL_NAME_num(names) : 0, n_named = 0;
	gboolean is_name = FALSE;

	for (int i = 0; i < n && n_named < NAMES_MAX; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_DNS && name->type != GEN_IPADD)
			continue;
		if (n_named++)
			g_string_append(text, ", ");
		is_name |= name->type == GEN_DNS && g_hostname_is_ip_address(host) &&
			   strlen(host) == (gsize)ASN1_STRING_length(name->d.dNSName) &&
			   memcmp(host, ASN1_STRING_get0_data(name->d.dNSName), strlen(host)) == 0;
		if (name->type == GEN_DNS)
			append_clean(text, ASN1_STRING_get0_data(name->d.dNSName),
				     (gsize)ASN1_STRING_length(name->d.dNSName));
		else
			append_address(text, name->d.iPAddress);
	}
	if (n_named == 0)
		g_string_append(text, "no name at all (a common name alone does not count)");
	else if (n_named < n)
		g_string_append(text, ", ...");
	if (is_name)
		g_string_append(text, ", as a DNS name; an address must be there as an IP address");
	GENERAL_NAMES_free(names);
}

char *nbh_tls_text_refused(X509_STORE_CTX *verifying, const char *host)
{
	X509 *certificate = X509_STORE_CTX_get_current_cert(verifying);
	int error = X509_STORE_CTX_get_error(verifying);
	gboolean is_ca = X509_STORE_CTX_get_error_depth(verifying) > 0;
	GString *text = g_string_new(NULL);

	g_string_append(text, !host ? "the client's certificate" :
			      is_ca ? "a certificate above the server's" : "the server's certificate");
	if (certificate && error == X509_V_ERR_CERT_HAS_EXPIRED) {
		g_string_append(text, " expired on ");
		append_time(text, X509_get0_notAfter(certificate));
		g_string_append(text, "; renew it there, or set this machine's clock");
	} else if (certificate && error == X509_V_ERR_CERT_NOT_YET_VALID) {
		g_string_append(text, " is valid only from ");
		append_time(text, X509_get0_notBefore(certificate));
		g_string_append(text, "; is this machine's clock right?");
	} else if (certificate && host &&
		   (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH)) {
		g_string_append_printf(text, " is not for \"%s\" but for ", host);
		append_names(text, certificate, host);
	} else if (certificate && (error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
				   error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
				   error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
				   error == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN ||
				   error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT)) {
		g_string_append(text, " was issued by \"");
		append_common_name(text, X509_get_issuer_name(certificate));
		g_string_append(text, "\", which this machine does not know; caFile (login --ca-file) names a CA of your own");
	} else {
		g_string_append_printf(text, " is refused: %s", X509_verify_cert_error_string(error));
	}
	return g_string_free(text, FALSE);
}

static const char *client_text(int reason)
{
	switch (reason) {
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
	case SSL_R_PACKET_LENGTH_TOO_LONG:
	case SSL_R_RECORD_LENGTH_MISMATCH:
		return "the server does not speak TLS on this port; is it http:// there?";
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		return "the server speaks no TLS 1.2 or newer";
	case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
		return "the server does not offer HTTP/2 (ALPN h2)";
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		return "the server wants a client certificate; set clientCertFile and clientKeyFile";
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		return "the server refuses our client certificate";
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
		return "the server refuses the TLS handshake; a client certificate may be missing";
	case SSL_R_TLSV1_UNRECOGNIZED_NAME:
		return "the server does not know the host name of this URL";
	default:
		return NULL;
	}
}

static const char *server_text(int reason)
{
	switch (reason) {
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
		return "the client does not trust our certificate";
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
		return "the client says that our certificate has expired";
	case SSL_R_NO_APPLICATION_PROTOCOL:
		return "the client offers neither HTTP/2 nor HTTP/1.1 (ALPN)";
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
		return "the client speaks no TLS 1.2 or newer";
	default:
		return NULL;
	}
}

char *nbh_tls_text_failed(gboolean is_server, gboolean is_up)
{
	unsigned long error = ERR_peek_error();
	const char *far = is_server ? "client" : "server";
	const char *known = ERR_GET_LIB(error) != ERR_LIB_SSL ? NULL
			    : is_server			      ? server_text(ERR_GET_REASON(error))
							      : client_text(ERR_GET_REASON(error));
	const char *reason = ERR_reason_error_string(error);

	if (known)
		return g_strdup(known);
	if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return is_up ? g_strdup_printf("cut off by the %s, without a TLS goodbye", far)
			     : g_strdup_printf("the %s hung up in the TLS handshake", far);
	return g_strdup_printf("TLS %s: %s", is_up ? "error" : "handshake failed",
			       reason ? reason : "unknown reason");
}

char *nbh_tls_text_file(const char *file, const char *what)
{
	unsigned long error = ERR_peek_error();
	gboolean mismatch = FALSE, encrypted = FALSE, absent = FALSE;
	const char *reason = ERR_reason_error_string(error);

	while ((error = ERR_get_error())) {
		mismatch |= ERR_GET_LIB(error) == ERR_LIB_X509 &&
			    (ERR_GET_REASON(error) == X509_R_KEY_VALUES_MISMATCH ||
			     ERR_GET_REASON(error) == X509_R_KEY_TYPE_MISMATCH);
		encrypted |= ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_BAD_PASSWORD_READ;
		absent |= (ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE) ||
			  (ERR_GET_LIB(error) == ERR_LIB_X509 &&
			   ERR_GET_REASON(error) == X509_R_NO_CERTIFICATE_OR_CRL_FOUND) ||
			  (ERR_GET_LIB(error) == ERR_LIB_OSSL_DECODER &&
			   ERR_GET_REASON(error) == ERR_R_UNSUPPORTED);
	}
	if (mismatch)
		return g_strdup_printf("%s: does not belong to the certificate", file);
	if (encrypted)
		return g_strdup_printf("%s: protected by a passphrase, which nobody could type", file);
	if (absent)
		return g_strdup_printf("%s: no %s in PEM form", file, what);
	return g_strdup_printf("%s: no usable %s (%s)", file, what, reason ? reason : "unknown reason");
}
