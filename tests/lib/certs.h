#ifndef NBH_TESTS_LIB_CERTS_H
#define NBH_TESTS_LIB_CERTS_H

/* A CA of our own and certificates of it, made when a test runs, in a directory that goes with it. */

#include <glib.h>

typedef struct {
	char *dir;
	gpointer ca, ca_key; /* X509, EVP_PKEY */
} TestCerts;

TestCerts *test_certs_new(void); /* DIR/ca.pem */
/* DIR/NAME.pem and DIR/NAME.key. san: "DNS:localhost,IP:127.0.0.1". Valid between now + days. */
void test_certs_make(TestCerts *certs, const char *name, const char *san, int from_days, int to_days);
void test_certs_encrypt_key(TestCerts *certs, const char *name); /* DIR/NAME.key, with a passphrase */
char *test_certs_path(const TestCerts *certs, const char *file); /* free it */
void test_certs_free(TestCerts *certs);                          /* NULL is fine */

#endif
