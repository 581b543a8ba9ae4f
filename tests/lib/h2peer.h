#ifndef NBH_TESTS_LIB_H2PEER_H
#define NBH_TESTS_LIB_H2PEER_H

/*
 * A bare HTTP/2 server for tests: every frame is sent by the test, so it can misbehave where
 * net/h2srv.h would not. One TestH2 serves all connections to its port.
 */

#include "tests/lib/listener.h"

#include <nghttp2/nghttp2.h>

typedef struct _TestH2 TestH2;
typedef struct _TestH2Conn TestH2Conn;

struct _TestH2 {
	TestListener listener;
	GPtrArray *conns; /* TestH2Conn, owned; dead ones, too */
	guint n_requests, n_resets, n_pings, n_ping_acks;
	guint32 max_streams;   /* announced; 0: nothing announced */
	gboolean late_settings; /* SETTINGS only when test_h2_settings() is called */
	/* A request is complete up to its headers. */
	void (*on_request)(TestH2Conn *conn, int32_t stream_id, gpointer owner);
	gpointer owner;
};

void test_h2_open(TestH2 *h2, void (*on_request)(TestH2Conn *, int32_t, gpointer), gpointer owner);
void test_h2_close(TestH2 *h2);
char *test_h2_url(const TestH2 *h2); /* g_free */

TestH2 *test_h2_of(TestH2Conn *conn);
guint test_h2_number(TestH2Conn *conn); /* 0: the first connection */
const char *test_h2_header(TestH2Conn *conn, const char *name); /* of the last request */
GByteArray *test_h2_body(TestH2Conn *conn); /* all DATA of the connection */

void test_h2_settings(TestH2Conn *conn);
/* pairs: name, value, ..., NULL */
void test_h2_headers(TestH2Conn *conn, int32_t stream_id, gboolean end_stream, const char *const *pairs);
void test_h2_data(TestH2Conn *conn, int32_t stream_id, gconstpointer data, gsize len, gboolean end_stream);
void test_h2_trailers(TestH2Conn *conn, int32_t stream_id, const char *const *pairs);
void test_h2_reset(TestH2Conn *conn, int32_t stream_id, guint32 code);
void test_h2_goaway(TestH2Conn *conn, int32_t last_stream_id, guint32 code, const char *text);
void test_h2_ping(TestH2Conn *conn);
void test_h2_raw(TestH2Conn *conn, gconstpointer data, gsize len); /* as it is, at once */
gboolean test_h2_is_over(TestH2Conn *conn);
void test_h2_hang_up(TestH2Conn *conn);
void test_h2_freeze(TestH2Conn *conn); /* as a stopped process: reads and answers nothing any more */

/* "200", gRPC */
void test_h2_ok_headers(TestH2Conn *conn, int32_t stream_id);
/* One message in gRPC's framing. */
void test_h2_message(TestH2Conn *conn, int32_t stream_id, gconstpointer data, gsize len);
void test_h2_status(TestH2Conn *conn, int32_t stream_id, const char *status, const char *text); /* trailers */

#endif
