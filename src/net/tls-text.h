#ifndef NBH_NET_TLS_TEXT_H
#define NBH_NET_TLS_TEXT_H

/* What went wrong with TLS, in words for users. Everything from the far end is escaped and cut. */

#include <glib.h>
#include <openssl/ssl.h>

/* Why certificate was refused in the middle of verifying it. host NULL: a client's certificate. */
char *nbh_tls_text_refused(X509_STORE_CTX *verifying, const char *host);
/* The thread's error queue, after an SSL function has failed with it. */
char *nbh_tls_text_failed(gboolean is_server, gboolean is_up);
/* The error queue after a function that reads file: "FILE: why". */
char *nbh_tls_text_file(const char *file, const char *what);

#endif
