/* Certificates, private keys and CAs that an administrator gives us. */
#include "config.h"

#include "base/limits.h"
#include "net/tls.h"

#include "tests/fuzz/fuzz.h"

#include <sys/socket.h>

static void check_text(const char *text, const char *path)
{
	fuzz_require(text && strstr(text, path) && g_utf8_validate(text, -1, NULL));
	fuzz_require(!strchr(text, '\n') && strlen(text) < strlen(path) + 200);
}

/* Every file at its first use. */
static void connect_with(const NbhTlsFiles *files, const char *path)
{
	g_autofree char *error = NULL;
	NbhTls *tls = nbh_tls_client_new(files);
	NbhTlsLink *link;
	int fds[2];

	fuzz_require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	link = nbh_tls_connect(tls, fds[0], "localhost", &error);
	fuzz_require((link == NULL) == (error != NULL));
	if (error)
		check_text(error, path);
	nbh_tls_link_free(link);
	nbh_tls_unref(tls);
	close(fds[0]);
	close(fds[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int dirfd = fuzz_file("tls.pem", data, len);
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/tls.pem", dirfd);
	g_autoptr(GError) error = NULL;
	NbhTls *tls = nbh_tls_server_new(path, path, &error);

	fuzz_require((tls == NULL) == (error != NULL));
	fuzz_require(!tls || len <= NBH_TLSFILE_MAX_BYTES);
	if (error)
		check_text(error->message, path);
	nbh_tls_unref(tls);
	connect_with(&(NbhTlsFiles){ .ca_file = path }, path);
	connect_with(&(NbhTlsFiles){ .ca_file = path, .cert_file = path }, path);
	return 0;
}
