#include "config.h"

#include "net/tls.h"

#include "base/limits.h"
#include "base/log.h"
#include "net/tls-text.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* One SSL_write takes at most a record; more only makes the copy of a blocked one longer. */
#define WRITE_MAX_BYTES 16384

enum { CA, CERT, KEY, N_FILES };

/* Tells that a file is another one than before. */
typedef struct {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
} Stamp;

struct _NbhTls {
	gboolean is_server;
	char *files[N_FILES]; /* owned; NULL: none */
	Stamp stamps[N_FILES];
	SSL_CTX *ctx; /* owned; NULL: not read yet, or never could be */
};

struct _NbhTlsLink {
	SSL *ssl; /* owned */
	int fd;   /* borrowed */
	int write_errno; /* nothing can be sent any more; reading will find the end */
	gboolean is_server, is_up;
	gboolean is_blocked;  /* the last read found nothing: SSL_has_pending() may be half a record */
	gboolean wants_write; /* reading cannot go on before something was written */
	gboolean is_broken;   /* OpenSSL allows no goodbye any more */
	char *host;           /* owned; NULL: server */
	char *refused;        /* owned; why the certificate was refused */
};

G_DEFINE_QUARK(nbh-tls-error-quark, nbh_tls_error)

/* ---- the socket under OpenSSL: its own would raise SIGPIPE ---------------------------------- */

static int socket_write(BIO *bio, const char *data, int len)
{
	NbhTlsLink *link = BIO_get_data(bio);
	ssize_t n = send(link->fd, data, (size_t)len, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
		BIO_set_retry_write(bio);
	} else if (n < 0 && link->is_up && (errno == EPIPE || errno == ECONNRESET)) {
		/* What came before may be the alert that says why: it is read first. */
		link->write_errno = errno;
		BIO_set_retry_write(bio);
	}
	return (int)n;
}

static int socket_read(BIO *bio, char *buf, int size)
{
	const NbhTlsLink *link = BIO_get_data(bio);
	ssize_t n = recv(link->fd, buf, (size_t)size, 0);

	BIO_clear_retry_flags(bio);
	BIO_clear_flags(bio, BIO_FLAGS_IN_EOF);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
		BIO_set_retry_read(bio);
	} else if (n == 0 && link->write_errno) {
		errno = link->write_errno;
		return -1;
	} else if (n == 0) {
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	}
	return (int)n;
}

static long socket_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)number;
	(void)pointer;
	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF: /* how OpenSSL 3 tells the end from an error */
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	default:
		return 0;
	}
}

static BIO *socket_bio(NbhTlsLink *link)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (!method) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "nbh-socket");
		if (!method || !BIO_meth_set_write(method, socket_write) ||
		    !BIO_meth_set_read(method, socket_read) || !BIO_meth_set_ctrl(method, socket_ctrl))
			g_error("out of memory");
	}
	bio = BIO_new(method);
	if (!bio)
		g_error("out of memory");
	BIO_set_data(bio, link);
	BIO_set_init(bio, 1);
	return bio;
}

/* ---- files ---------------------------------------------------------------------------------- */

static void take_stamps(const NbhTls *tls, Stamp ret_stamps[N_FILES])
{
	struct stat st;

	memset(ret_stamps, 0, sizeof(*ret_stamps) * N_FILES);
	for (int i = 0; i < N_FILES; i++) {
		if (!tls->files[i] || stat(tls->files[i], &st) < 0)
			continue;
		ret_stamps[i].dev = st.st_dev;
		ret_stamps[i].ino = st.st_ino;
		ret_stamps[i].size = st.st_size;
		ret_stamps[i].changed = st.st_mtim;
	}
}

static gboolean same_stamps(const Stamp *a, const Stamp *b)
{
	for (int i = 0; i < N_FILES; i++) {
		if (a[i].dev != b[i].dev || a[i].ino != b[i].ino || a[i].size != b[i].size ||
		    a[i].changed.tv_sec != b[i].changed.tv_sec ||
		    a[i].changed.tv_nsec != b[i].changed.tv_nsec)
			return FALSE;
	}
	return TRUE;
}

/* OpenSSL's own messages about files say little, and it would wait for ever at a FIFO. */
static char *check_file(const char *file)
{
	struct stat st;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *problem = NULL;

	if (fd < 0)
		return g_strdup_printf("%s: %s%s", file, g_strerror(errno),
				       errno == EACCES ? "; the user of this program must be able to read it" : "");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		problem = g_strdup_printf("%s: not a regular file", file);
	else if (st.st_size > NBH_TLSFILE_MAX_BYTES)
		problem = g_strdup_printf("%s: larger than 2 MiB, so not what was meant", file);
	close(fd);
	return problem;
}

/* Else OpenSSL asks for passphrases on the terminal. */
static int no_passphrase(char *buf, int size, int is_writing, void *data)
{
	(void)buf;
	(void)size;
	(void)is_writing;
	(void)data;
	return -1;
}

static char *load_own(SSL_CTX *ctx, const char *cert_file, const char *key_file)
{
	char *problem = check_file(cert_file);

	if (problem)
		return problem;
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
		return nbh_tls_text_file(cert_file, "certificate");
	problem = check_file(key_file);
	if (problem)
		return problem;
	if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1)
		return nbh_tls_text_file(key_file, "private key");
	return NULL;
}

/*
 * A hashed directory costs one file per connection; the bundle beside it would be 140 parsed
 * certificates in our memory. Systems that have no such directory get OpenSSL's default.
 */
static char *load_system_cas(SSL_CTX *ctx)
{
	const char *file = g_getenv(X509_get_default_cert_file_env());
	const char *dir = g_getenv(X509_get_default_cert_dir_env());

	if (file && *file) {
		char *problem = check_file(file);

		if (problem)
			return problem;
		return SSL_CTX_load_verify_file(ctx, file) == 1 ? NULL : nbh_tls_text_file(file, "certificate");
	}
	if (!dir || !*dir)
		dir = X509_get_default_cert_dir();
	if (g_file_test(dir, G_FILE_TEST_IS_DIR))
		SSL_CTX_load_verify_dir(ctx, dir);
	else
		SSL_CTX_set_default_verify_paths(ctx);
	return NULL;
}

static char *load_cas(SSL_CTX *ctx, const char *ca_file)
{
	char *problem;

	if (!ca_file)
		return load_system_cas(ctx);
	problem = check_file(ca_file);
	if (problem)
		return problem;
	return SSL_CTX_load_verify_file(ctx, ca_file) == 1 ? NULL : nbh_tls_text_file(ca_file, "certificate");
}

/* ---- contexts ------------------------------------------------------------------------------- */

/* Says why while there still is a chain to talk about. */
static int on_verify(int ok, X509_STORE_CTX *verifying)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(verifying, SSL_get_ex_data_X509_STORE_CTX_idx());
	NbhTlsLink *link = SSL_get_app_data(ssl);

	if (!ok && !link->refused)
		link->refused = nbh_tls_text_refused(verifying, link->host);
	return ok;
}

/*
 * Proxies in front of a gRPC server offer both and must get h2 (netbird-hub.md 1.1). No offer at
 * all does not come here and is sniffed. Nothing in common ends the handshake (RFC 7301 3.2).
 */
static int on_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *offered,
		   unsigned offered_len, void *data)
{
	static const unsigned char ours[] = "\x02h2\x08http/1.1";
	unsigned char *chosen = NULL;

	(void)ssl;
	(void)data;
	if (SSL_select_next_proto(&chosen, ret_len, ours, sizeof(ours) - 1, offered, offered_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*ret = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *new_ctx(gboolean is_server)
{
	static const unsigned char h2[] = "\x02h2";
	SSL_CTX *ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());

	if (!ctx)
		g_error("out of memory");
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	/* One read per 16 KB instead of two per record; see nbh_tls_link_has_more(). */
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (is_server) {
		SSL_CTX_set_num_tickets(ctx, 0);
		SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	} else {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
		SSL_CTX_set_alpn_protos(ctx, h2, sizeof(h2) - 1);
	}
	return ctx;
}

static SSL_CTX *load(const NbhTls *tls, char **ret_error)
{
	SSL_CTX *ctx = new_ctx(tls->is_server);
	char *problem = NULL;

	ERR_clear_error();
	if (tls->files[CERT])
		problem = load_own(ctx, tls->files[CERT], tls->files[KEY] ? tls->files[KEY] : tls->files[CERT]);
	if (!problem && !tls->is_server)
		problem = load_cas(ctx, tls->files[CA]);
	ERR_clear_error();
	if (!problem)
		return ctx;
	SSL_CTX_free(ctx);
	*ret_error = problem;
	return NULL;
}

/* The context for a new connection. */
static SSL_CTX *current(NbhTls *tls, char **ret_error)
{
	g_autofree char *problem = NULL;
	Stamp stamps[N_FILES];
	SSL_CTX *fresh;

	take_stamps(tls, stamps);
	if (tls->ctx && same_stamps(stamps, tls->stamps))
		return tls->ctx;
	fresh = load(tls, &problem);
	memcpy(tls->stamps, stamps, sizeof(stamps));
	if (!fresh && !tls->ctx) {
		*ret_error = g_steal_pointer(&problem);
		return NULL;
	}
	if (fresh && tls->ctx)
		nbh_log(NBH_LOG_NOTICE, "tls", "certificates-read-again file=%s",
			tls->files[CERT] ? tls->files[CERT] : tls->files[CA]);
	if (!fresh) {
		nbh_log(NBH_LOG_WARN, "tls", "old-certificate-stays-in-use why=\"%s\"", problem);
		return tls->ctx;
	}
	SSL_CTX_free(tls->ctx);
	tls->ctx = fresh;
	return fresh;
}

static NbhTls *tls_new(gboolean is_server, const char *ca, const char *cert, const char *key)
{
	NbhTls *tls = g_rc_box_new0(NbhTls);

	tls->is_server = is_server;
	tls->files[CA] = g_strdup(ca);
	tls->files[CERT] = g_strdup(cert);
	tls->files[KEY] = g_strdup(key);
	return tls;
}

NbhTls *nbh_tls_client_new(const NbhTlsFiles *files)
{
	return tls_new(FALSE, files->ca_file, files->cert_file, files->key_file);
}

NbhTls *nbh_tls_server_new(const char *cert_file, const char *key_file, GError **error)
{
	NbhTls *tls = tls_new(TRUE, NULL, cert_file, key_file);
	g_autofree char *problem = NULL;

	if (current(tls, &problem))
		return tls;
	g_set_error(error, NBH_TLS_ERROR, NBH_TLS_FILE, "%s", problem);
	nbh_tls_unref(tls);
	return NULL;
}

static void tls_destroy(gpointer data)
{
	NbhTls *tls = data;

	SSL_CTX_free(tls->ctx);
	for (int i = 0; i < N_FILES; i++)
		g_free(tls->files[i]);
}

NbhTls *nbh_tls_ref(NbhTls *tls)
{
	return g_rc_box_acquire(tls);
}

void nbh_tls_unref(NbhTls *tls)
{
	if (tls)
		g_rc_box_release_full(tls, tls_destroy);
}

/* ---- one connection ------------------------------------------------------------------------- */

static NbhTlsLink *link_new(SSL_CTX *ctx, int fd)
{
	NbhTlsLink *link = g_new0(NbhTlsLink, 1);
	BIO *bio = socket_bio(link);

	link->fd = fd;
	link->ssl = SSL_new(ctx);
	if (!link->ssl)
		g_error("out of memory");
	SSL_set_bio(link->ssl, bio, bio);
	SSL_set_app_data(link->ssl, link);
	return link;
}

/* A server name is never an address (RFC 6066 3), but a certificate may be for one. */
static gboolean expect_host(SSL *ssl, const char *host)
{
	g_autofree char *name = NULL;
	gsize len;

	if (g_hostname_is_ip_address(host))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	name = g_hostname_to_ascii(host);
	if (!name)
		return FALSE;
	len = strlen(name);
	if (len > 1 && name[len - 1] == '.')
		name[len - 1] = '\0';
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

NbhTlsLink *nbh_tls_connect(NbhTls *tls, int fd, const char *host, char **ret_error)
{
	SSL_CTX *ctx = current(tls, ret_error);
	NbhTlsLink *link;

	if (!ctx)
		return NULL;
	link = link_new(ctx, fd);
	link->host = g_strdup(host);
	if (!expect_host(link->ssl, host)) {
		*ret_error = g_strdup_printf("\"%s\" can be in no certificate", host);
		nbh_tls_link_free(link);
		return NULL;
	}
	SSL_set_connect_state(link->ssl);
	return link;
}

NbhTlsLink *nbh_tls_accept(NbhTls *tls, int fd, char **ret_error)
{
	SSL_CTX *ctx = current(tls, ret_error);
	NbhTlsLink *link;

	if (!ctx)
		return NULL;
	link = link_new(ctx, fd);
	link->is_server = TRUE;
	SSL_set_accept_state(link->ssl);
	return link;
}

/* After an SSL function that returned result <= 0. FALSE: it only waits. */
static gboolean has_failed(NbhTlsLink *link, int result, NbhTlsProgress *ret_progress, char **ret_error)
{
	int err = errno;

	switch (SSL_get_error(link->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		*ret_progress = NBH_TLS_WANTS_READ;
		return FALSE;
	case SSL_ERROR_WANT_WRITE:
		*ret_progress = NBH_TLS_WANTS_WRITE;
		return FALSE;
	case SSL_ERROR_ZERO_RETURN:
		*ret_error = g_strdup(link->is_server ? "closed by the client" : "closed by the server");
		break;
	case SSL_ERROR_SYSCALL:
		link->is_broken = TRUE;
		if (err == ECONNRESET || err == EPIPE)
			*ret_error = g_strdup(link->is_server ? "reset by the client" :
					      link->is_up     ? "reset by the server" :
								"reset by the server in the TLS handshake; is it http:// there?");
		else
			*ret_error = g_strdup(err ? g_strerror(err) : "connection lost");
		break;
	default:
		link->is_broken = TRUE;
		*ret_error = link->refused ? g_steal_pointer(&link->refused)
					   : nbh_tls_text_failed(link->is_server, link->is_up);
		break;
	}
	ERR_clear_error();
	*ret_progress = NBH_TLS_FAILED;
	return TRUE;
}

NbhTlsProgress nbh_tls_link_handshake(NbhTlsLink *link, char **ret_error)
{
	const unsigned char *alpn;
	unsigned alpn_len;
	NbhTlsProgress progress = NBH_TLS_UP;
	int result;

	ERR_clear_error();
	errno = 0;
	result = SSL_do_handshake(link->ssl);
	if (result != 1) {
		(void)has_failed(link, result, &progress, ret_error);
		return progress;
	}
	SSL_get0_alpn_selected(link->ssl, &alpn, &alpn_len);
	if (!link->is_server && (alpn_len != 2 || memcmp(alpn, "h2", 2) != 0)) {
		*ret_error = g_strdup("the server did not choose HTTP/2 (ALPN h2); a proxy in front of it must pass it on");
		return NBH_TLS_FAILED;
	}
	link->is_up = TRUE;
	return NBH_TLS_UP;
}

gssize nbh_tls_link_read(NbhTlsLink *link, guint8 *buf, gsize size, char **ret_error)
{
	NbhTlsProgress progress;
	int n;

	ERR_clear_error();
	errno = 0;
	n = SSL_read(link->ssl, buf, (int)MIN(size, G_MAXINT));
	link->is_blocked = link->wants_write = FALSE;
	if (n > 0)
		return n;
	if (has_failed(link, n, &progress, ret_error))
		return -1;
	link->is_blocked = TRUE;
	link->wants_write = progress == NBH_TLS_WANTS_WRITE;
	return 0;
}

gssize nbh_tls_link_write(NbhTlsLink *link, const guint8 *data, gsize len, char **ret_error)
{
	NbhTlsProgress progress;
	int n;

	if (len == 0)
		return 0;
	ERR_clear_error();
	errno = 0;
	n = SSL_write(link->ssl, data, (int)MIN(len, WRITE_MAX_BYTES));
	if (n > 0)
		return n;
	return has_failed(link, n, &progress, ret_error) ? -1 : 0;
}

gboolean nbh_tls_link_has_more(NbhTlsLink *link)
{
	return link->is_up && !link->is_blocked && SSL_has_pending(link->ssl);
}

gboolean nbh_tls_link_wants_write(NbhTlsLink *link)
{
	return link->wants_write;
}

void nbh_tls_link_free(NbhTlsLink *link)
{
	if (!link)
		return;
	ERR_clear_error();
	if (link->is_up && !link->is_broken)
		(void)SSL_shutdown(link->ssl);
	ERR_clear_error();
	SSL_free(link->ssl);
	g_free(link->host);
	g_free(link->refused);
	g_free(link);
}
