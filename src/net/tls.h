#ifndef NBH_NET_TLS_H
#define NBH_NET_TLS_H

/*
 * TLS 1.2 and newer by OpenSSL on the descriptor (libraries.md 3.2). NbhTls is a configuration,
 * shared by all connections that use it; NbhTlsLink is TLS on one socket and belongs to `stream`.
 * Files are looked at with each new connection and read again when they have changed; what cannot
 * be used then is reported once, and what was read before stays in use.
 */

#include <glib.h>

typedef struct _NbhTls NbhTls;
typedef struct _NbhTlsLink NbhTlsLink;

typedef enum {
	NBH_TLS_FILE = 1, /* a certificate or key cannot be used; the message names the file */
} NbhTlsError;
#define NBH_TLS_ERROR (nbh_tls_error_quark())
GQuark nbh_tls_error_quark(void);

/* All may be NULL. */
typedef struct {
	const char *ca_file;   /* only these CAs; else SSL_CERT_FILE, SSL_CERT_DIR or the system's */
	const char *cert_file; /* what we show when the server asks, with intermediates */
	const char *key_file;
} NbhTlsFiles;

/* Reads nothing yet: files that are missing make connections fail until they are there. */
NbhTls *nbh_tls_client_new(const NbhTlsFiles *files);
/* cert_file: the server's certificate, then intermediates, PEM. */
NbhTls *nbh_tls_server_new(const char *cert_file, const char *key_file, GError **error);
NbhTls *nbh_tls_ref(NbhTls *tls);
void nbh_tls_unref(NbhTls *tls); /* NULL is fine */

/* ---- for stream.c ---- */

typedef enum {
	NBH_TLS_UP,
	NBH_TLS_WANTS_READ,
	NBH_TLS_WANTS_WRITE,
	NBH_TLS_FAILED,
} NbhTlsProgress;

/* Client side: offers h2 alone and checks host (name or address). NULL: *ret_error says why. */
NbhTlsLink *nbh_tls_connect(NbhTls *tls, int fd, const char *host, char **ret_error);
NbhTlsLink *nbh_tls_accept(NbhTls *tls, int fd, char **ret_error);
/* Errors are texts for users, owned by the caller. */
NbhTlsProgress nbh_tls_link_handshake(NbhTlsLink *link, char **ret_error);
gssize nbh_tls_link_read(NbhTlsLink *link, guint8 *buf, gsize size, char **ret_error); /* as nbh_stream_read */
gssize nbh_tls_link_write(NbhTlsLink *link, const guint8 *data, gsize len, char **ret_error);
/* Bytes wait inside OpenSSL, where poll() does not see them: read again. */
gboolean nbh_tls_link_has_more(NbhTlsLink *link);
gboolean nbh_tls_link_wants_write(NbhTlsLink *link); /* for itself, to go on reading */
void nbh_tls_link_free(NbhTlsLink *link); /* says goodbye when it was up; NULL is fine */

#endif
