/* The signal service behind its front: routing, and a receiver that does not read. */

#include "config.h"

#include "base/limits.h"
#include "hub/front.h"
#include "hub/signalsvc.h"

#include "tests/lib/h2client.h"
#include "tests/lib/loop.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECT "/signalexchange.SignalExchange/ConnectStream"
#define SEND "/signalexchange.SignalExchange/Send"

typedef struct {
	char *dir;
	NbhStore *store;
	NbhRegistry *registry;
	NbhSignalService *service;
	NbhFront *front;
	guint16 port;
	struct nbh_key a, b; /* registered */
} Fixture;

static void join(Fixture *f, guint8 number, struct nbh_key *ret_key)
{
	char text[NBH_SETUPKEY_LEN + 1];
	const NbhRegistration registration = {
		.key = { .bytes = { number, 1 } },
		.setup_key = text,
		.hostname = "host",
	};
	gint64 id;

	g_assert_true(nbh_store_create_key(f->store, "", FALSE, 0, 1, text, &id, NULL));
	g_assert_nonnull(nbh_registry_register(f->registry, &registration, NULL));
	*ret_key = registration.key;
}

static void set_up(Fixture *f, gconstpointer data)
{
	struct nbh_endpoint any = { .addr = { .family = AF_INET } };

	(void)data;
	f->dir = g_dir_make_tmp("test-hub-signal-XXXXXX", NULL);
	f->store = nbh_store_open(f->dir, NULL);
	f->registry = nbh_registry_new(f->store, NULL);
	f->service = nbh_signal_service_new(f->registry);
	f->front = nbh_front_new(NULL);
	nbh_front_add(f->front, nbh_signal_methods, f->service);
	g_assert_true(nbh_front_listen(f->front, &any, &f->port, NULL));
	join(f, 1, &f->a);
	join(f, 2, &f->b);
}

static void tear_down(Fixture *f, gconstpointer data)
{
	static const char *const names[] = { "hub.db", "hub.db-wal", "hub.db-shm" };

	(void)data;
	nbh_front_free(f->front);
	nbh_signal_service_free(f->service);
	nbh_registry_free(f->registry);
	nbh_store_close(f->store);
	for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(f->dir, names[i], NULL);

		(void)g_unlink(path);
	}
	g_assert_cmpint(g_rmdir(f->dir), ==, 0);
	g_free(f->dir);
}

static TestH2Client *dial(const Fixture *f)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(f->port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	g_assert_cmpint(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	return test_h2client_new(fd);
}

static void add_field(GByteArray *message, guint8 number, const void *data, gsize len)
{
	/* The length as a varint of three bytes, needed or not. */
	const guint8 head[] = { (guint8)(number << 3 | 2), (guint8)((len & 0x7f) | 0x80),
				(guint8)((len >> 7 & 0x7f) | 0x80), (guint8)(len >> 14) };

	g_byte_array_append(message, head, sizeof(head));
	g_byte_array_append(message, data, (guint)len);
}

/* A framed EncryptedMessage with a body of that many bytes, which nobody but the receiver reads. */
static GByteArray *envelope(const struct nbh_key *from, const struct nbh_key *to, gsize body_len)
{
	g_autoptr(GByteArray) message = g_byte_array_new();
	g_autofree guint8 *body = g_malloc0(body_len);
	struct nbh_key_text key = nbh_key_format(from);

	add_field(message, 2, key.text, NBH_KEY_TEXT_LEN);
	key = nbh_key_format(to);
	add_field(message, 3, key.text, NBH_KEY_TEXT_LEN);
	add_field(message, 4, body, body_len);
	return test_grpc_frame(message->data, message->len);
}

/* The stream's status, as text; the Send itself has ended. */
static const char *send_message(TestH2Client *client, const GByteArray *message)
{
	TestH2Stream *stream = test_h2client_request(client, "POST", SEND, "application/grpc", NULL,
						     message->data, message->len, 16384, FALSE);

	test_run_until(stream->closed);
	return stream->grpc_status;
}

static TestH2Stream *connect_as(TestH2Client *client, const struct nbh_key *key)
{
	struct nbh_key_text text = nbh_key_format(key);
	TestH2Stream *stream =
		test_h2client_open(client, CONNECT, "x-wiretrustee-peer-id", text.text);

	test_run_until(stream->n_header_blocks > 0 || stream->closed);
	return stream;
}

static void test_routing(Fixture *f, gconstpointer data)
{
	TestH2Client *a = dial(f), *b = dial(f);
	TestH2Stream *to_b, *newer, *refused;
	g_autoptr(GByteArray) message = envelope(&f->a, &f->b, 100);
	g_autoptr(GByteArray) to_self = envelope(&f->b, &f->b, 50);
	g_autoptr(GByteArray) to_nobody = envelope(&f->a, &(struct nbh_key){ { 9 } }, 50);
	g_autoptr(GByteArray) from_nobody = envelope(&(struct nbh_key){ { 9 } }, &f->b, 50);
	g_autoptr(GByteArray) too_large = envelope(&f->a, &f->b, NBH_SIGNAL_BODY_MAX_BYTES);

	(void)data;
	g_assert_cmpstr(send_message(a, message), ==, "0"); /* nobody is there: no report */
	to_b = connect_as(b, &f->b);
	g_assert_false(to_b->closed);
	g_assert_cmpstr(send_message(a, message), ==, "0");
	test_run_until(to_b->data->len == message->len);
	g_assert_cmpmem(to_b->data->data, to_b->data->len, message->data, message->len);
	/* The watchdog's probe to its own key comes back. */
	g_assert_cmpstr(send_message(b, to_self), ==, "0");
	test_run_until(to_b->data->len == message->len + to_self->len);
	g_assert_cmpstr(send_message(a, to_nobody), ==, "0");
	g_assert_cmpstr(send_message(a, from_nobody), ==, "0");
	g_assert_cmpstr(send_message(a, too_large), ==, "8");
	refused = connect_as(a, &(struct nbh_key){ { 9 } });
	g_assert_cmpstr(refused->grpc_status, ==, "7");
	/* The newer stream of a key takes over. */
	newer = connect_as(a, &f->b);
	test_run_until(to_b->closed);
	g_assert_cmpstr(to_b->grpc_status, ==, "2");
	g_assert_cmpstr(send_message(a, message), ==, "0");
	test_run_until(newer->data->len == message->len);
	g_assert_cmpuint(to_b->data->len, ==, message->len + to_self->len);
	nbh_signal_service_removed(f->service, &f->b);
	test_run_until(newer->closed);
	g_assert_cmpstr(newer->grpc_status, ==, "7");
	test_h2client_free(a);
	test_h2client_free(b);
}

/* One below, at, and one above the largest message. */
static void test_largest(Fixture *f, gconstpointer data)
{
	g_autoptr(GByteArray) like_it = envelope(&f->a, &f->b, 60000);
	const gsize keys_and_heads = like_it->len - 5 - 60000;
	TestH2Client *a = dial(f);

	(void)data;
	for (int more = -1; more <= 1; more++) {
		g_autoptr(GByteArray) message =
			envelope(&f->a, &f->b, (gsize)(NBH_SIGNAL_BODY_MAX_BYTES + more) - keys_and_heads);

		g_assert_cmpuint(message->len - 5, ==, NBH_SIGNAL_BODY_MAX_BYTES + more);
		g_assert_cmpstr(send_message(a, message), ==, more <= 0 ? "0" : "8");
	}
	test_h2client_free(a);
}

/* Bounded memory; a stream that takes nothing for 10 s ends, one that reads does not. */
static void test_slow_receiver(Fixture *f, gconstpointer data)
{
	TestH2Client *a = dial(f), *b = dial(f);
	TestH2Stream *to_b = connect_as(b, &f->b);
	g_autoptr(GByteArray) message = envelope(&f->a, &f->b, 60000);
	gsize n = 2 * NBH_HUB_SIGNAL_QUEUE_MAX_BYTES / message->len;
	nbh_mono now = nbh_mono_now();

	(void)data;
	test_h2client_hold_window(b, TRUE);
	for (gsize i = 0; i < n; i++)
		g_assert_cmpstr(send_message(a, message), ==, "0");
	nbh_signal_service_check(f->service, now);
	g_assert_false(to_b->closed);
	nbh_signal_service_check(f->service, nbh_mono_add_ms(now, 9999));
	/* It reads again: what was kept arrives, the rest is lost. */
	test_h2client_hold_window(b, FALSE);
	test_run_until(to_b->data->len >= NBH_HUB_SIGNAL_QUEUE_MAX_BYTES - message->len);
	g_assert_cmpuint(to_b->data->len, <=, NBH_HUB_SIGNAL_QUEUE_MAX_BYTES + 3 * message->len);
	nbh_signal_service_check(f->service, nbh_mono_add_ms(now, 20000));
	test_drain_loop();
	g_assert_false(to_b->closed);
	/* Now it stops for good. */
	test_h2client_hold_window(b, TRUE);
	for (gsize i = 0; i < 4; i++)
		g_assert_cmpstr(send_message(a, message), ==, "0");
	nbh_signal_service_check(f->service, nbh_mono_add_ms(now, 30000));
	nbh_signal_service_check(f->service, nbh_mono_add_ms(now, 39999));
	test_drain_loop();
	g_assert_false(to_b->closed);
	nbh_signal_service_check(f->service, nbh_mono_add_ms(now, 40000));
	test_h2client_hold_window(b, FALSE);
	test_run_until(to_b->closed);
	g_assert_cmpstr(to_b->grpc_status, ==, "2");
	g_assert_cmpstr(to_b->grpc_message, ==, "the stream takes no messages");
	test_h2client_free(a);
	test_h2client_free(b);
}

#define ADD(name, func) g_test_add("/hub/signal/" name, Fixture, NULL, set_up, func, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("routing", test_routing);
	ADD("largest", test_largest);
	ADD("slow-receiver", test_slow_receiver);
	return g_test_run();
}
