#include "config.h"

#include "tests/lib/certs.h"

#include <glib/gstdio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	g_assert_nonnull(extension);
	g_assert_cmpint(X509_add_ext(certificate, extension, -1), ==, 1);
	X509_EXTENSION_free(extension);
}

static X509 *make(EVP_PKEY *key, const char *name, int from_days, int to_days)
{
	static long serial;
	X509 *certificate = X509_new();

	g_assert_nonnull(certificate);
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
	X509_time_adj_ex(X509_getm_notBefore(certificate), from_days, -60, NULL);
	X509_time_adj_ex(X509_getm_notAfter(certificate), to_days, -60, NULL);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
				   (const guchar *)name, -1, -1, 0);
	return certificate;
}

static FILE *open_file(const TestCerts *certs, const char *name, const char *suffix)
{
	g_autofree char *file = g_strconcat(name, suffix, NULL);
	g_autofree char *path = test_certs_path(certs, file);
	FILE *out = fopen(path, "we");

	g_assert_nonnull(out);
	return out;
}

static void write_pem(const TestCerts *certs, const char *name, X509 *certificate, EVP_PKEY *key)
{
	FILE *out = open_file(certs, name, ".pem");

	g_assert_cmpint(PEM_write_X509(out, certificate), ==, 1);
	fclose(out);
	if (!key)
		return;
	out = open_file(certs, name, ".key");
	g_assert_cmpint(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), ==, 1);
	fclose(out);
}

TestCerts *test_certs_new(void)
{
	static guint n_cas;
	g_autofree char *name = g_strdup_printf("Test CA %u", ++n_cas);
	TestCerts *certs = g_new0(TestCerts, 1);
	X509 *ca;

	certs->dir = g_dir_make_tmp("test-certs-XXXXXX", NULL);
	g_assert_nonnull(certs->dir);
	certs->ca_key = EVP_EC_gen("P-256");
	certs->ca = ca = make(certs->ca_key, name, -1, 100);
	X509_set_issuer_name(ca, X509_get_subject_name(ca));
	add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(ca, ca, NID_subject_key_identifier, "hash");
	g_assert_cmpint(X509_sign(ca, certs->ca_key, EVP_sha256()), >, 0);
	write_pem(certs, "ca", ca, NULL);
	return certs;
}

void test_certs_make(TestCerts *certs, const char *name, const char *san, int from_days, int to_days)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = make(key, name, from_days, to_days);

	X509_set_issuer_name(certificate, X509_get_subject_name(certs->ca));
	add_extension(certificate, certs->ca, NID_subject_alt_name, san);
	g_assert_cmpint(X509_sign(certificate, certs->ca_key, EVP_sha256()), >, 0);
	write_pem(certs, name, certificate, key);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

void test_certs_encrypt_key(TestCerts *certs, const char *name)
{
	FILE *out = open_file(certs, name, ".key");
	EVP_PKEY *key = EVP_EC_gen("P-256");

	g_assert_cmpint(PEM_write_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL), ==, 1);
	EVP_PKEY_free(key);
	fclose(out);
}

char *test_certs_path(const TestCerts *certs, const char *file)
{
	return g_build_filename(certs->dir, file, NULL);
}

void test_certs_free(TestCerts *certs)
{
	GDir *dir;
	const char *name;

	if (!certs)
		return;
	dir = g_dir_open(certs->dir, 0, NULL);
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *path = test_certs_path(certs, name);

		g_assert_cmpint(g_unlink(path), ==, 0);
	}
	g_dir_close(dir);
	g_assert_cmpint(g_rmdir(certs->dir), ==, 0);
	X509_free(certs->ca);
	EVP_PKEY_free(certs->ca_key);
	g_free(certs->dir);
	g_free(certs);
}
