#ifndef NBH_TESTS_LIB_H2CLIENT_H
#define NBH_TESTS_LIB_H2CLIENT_H

/* A bare HTTP/2 client on one end of a socket pair, which also sends what no decent client would. */

#include <glib.h>

typedef struct _TestH2Client TestH2Client;

typedef struct {
	gint32 id;
	char *http_status, *grpc_status, *grpc_message, *extra; /* extra: header "x-extra" */
	guint n_header_blocks;
	GByteArray *data; /* all DATA */
	gboolean closed;
	guint32 error_code;
	/* The request's body, sent in DATA frames of at most chunk bytes. */
	const guint8 *body;
	gsize body_len, body_off, chunk;
	gboolean keep_open;
} TestH2Stream;

TestH2Client *test_h2client_new(int fd); /* takes fd */
void test_h2client_free(TestH2Client *client);
gboolean test_h2client_is_closed(const TestH2Client *client); /* by the far end */
gboolean test_h2client_got_goaway(const TestH2Client *client);

/* method e.g. "POST"; content_type NULL: none. The result lives as long as the client. */
TestH2Stream *test_h2client_request(TestH2Client *client, const char *method, const char *path,
				    const char *content_type, const char *extra, const guint8 *body,
				    gsize body_len, gsize chunk, gboolean keep_open);
/* A gRPC stream that stays open, with one header of metadata. */
TestH2Stream *test_h2client_open(TestH2Client *client, const char *path, const char *header,
				 const char *value);
void test_h2client_reset(TestH2Client *client, TestH2Stream *stream);
void test_h2client_hold_window(TestH2Client *client, gboolean hold);
void test_h2client_raw(TestH2Client *client, const void *data, gsize len);

/* gRPC framing of one message. */
GByteArray *test_grpc_frame(const void *message, gsize len);

#endif
