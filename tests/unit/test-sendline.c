/* How many Sends are on their way at once, to a server that answers when it is told to. */

#include "config.h"

#include "base/limits.h"
#include "signal/sendline.h"

#include "tests/lib/h2peer.h"
#include "tests/lib/loop.h"

static GArray *waiting; /* stream ids that have no answer yet */

static void on_request(TestH2Conn *conn, int32_t stream_id, gpointer owner)
{
	(void)conn;
	(void)owner;
	g_array_append_val(waiting, stream_id);
}

static void on_sent(gboolean ok, gpointer data, gpointer owner)
{
	(void)data;
	g_assert_true(ok);
	++*(guint *)owner;
}

static void add(NbhSendline *line, guint number)
{
	const struct nbh_key to = { { (guint8)number, (guint8)(number >> 8), 1 } };
	GPtrArray *sealed = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);

	g_ptr_array_add(sealed, g_bytes_new_static("x", 1));
	nbh_sendline_add(line, &to, sealed, on_sent, NULL);
}

/* One below, at and one above the limit. */
static void test_sends_max(void)
{
	TestH2 h2 = { .n_requests = 0 };
	g_autofree char *url = NULL;
	const struct nbh_key own_private = { { 8, [31] = 64 } };
	struct nbh_key own_public;
	NbhGrpcChannel *channel;
	NbhSendline *line;
	TestH2Conn *conn;
	guint n_sent = 0;

	waiting = g_array_new(FALSE, FALSE, sizeof(int32_t));
	test_h2_open(&h2, on_request, NULL);
	url = test_h2_url(&h2);
	channel = nbh_grpc_channel_new(url, NULL, NULL);
	nbh_key_public(&own_private, &own_public);
	line = nbh_sendline_new(channel, &own_private, &own_public, &n_sent);
	for (guint i = 0; i < NBH_SIGNAL_SENDS_MAX - 1; i++)
		add(line, i);
	test_run_until(h2.n_requests == NBH_SIGNAL_SENDS_MAX - 1);
	add(line, NBH_SIGNAL_SENDS_MAX - 1);
	test_run_until(h2.n_requests == NBH_SIGNAL_SENDS_MAX);
	add(line, NBH_SIGNAL_SENDS_MAX);
	conn = h2.conns->pdata[0];
	/* Behind a PING and its answer: a request of before would be there, too. */
	test_h2_ping(conn);
	test_run_until(h2.n_ping_acks == 1);
	g_assert_cmpuint(h2.n_requests, ==, NBH_SIGNAL_SENDS_MAX);
	test_h2_ok_headers(conn, g_array_index(waiting, int32_t, 0));
	test_h2_message(conn, g_array_index(waiting, int32_t, 0), "", 0);
	test_h2_status(conn, g_array_index(waiting, int32_t, 0), "0", NULL);
	test_run_until(h2.n_requests == NBH_SIGNAL_SENDS_MAX + 1);
	g_assert_cmpuint(n_sent, ==, 1);
	nbh_grpc_channel_free(channel);
	nbh_sendline_free(line);
	test_h2_close(&h2);
	test_drain_loop();
	g_array_unref(waiting);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sendline/sends-max", test_sends_max);
	return g_test_run();
}
