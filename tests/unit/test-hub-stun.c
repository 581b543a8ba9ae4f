/* The hub's STUN server over loopback UDP. */

#include "config.h"

#include "hub/stunsvc.h"
#include "wire/stun.h"

#include "tests/lib/loop.h"

#include <string.h>

typedef struct {
	NbhStunService *service;
	int fd;
	struct sockaddr_storage to;
	socklen_t to_len;
} Fixture;

/* client and server of the given families; a v4 client of a v6 server comes as ::ffff:127.0.0.1 */
static void set_up(Fixture *f, gconstpointer data)
{
	const char *kind = data;
	const struct nbh_addr any6 = { .family = AF_INET6 };
	const struct nbh_addr any4 = { .family = AF_INET };
	gboolean client6 = strcmp(kind, "6-6") == 0;
	struct nbh_endpoint to;
	g_autoptr(GError) error = NULL;

	f->service = nbh_stun_service_new(kind[0] == '6' ? &any6 : &any4, 0, &error);
	g_assert_no_error(error);
	g_assert_cmpint(nbh_addr_parse(client6 ? "::1" : "127.0.0.1", &to.addr), ==, 0);
	to.port = nbh_stun_service_port(f->service);
	f->to_len = nbh_endpoint_to_sockaddr(&to, &f->to);
	f->fd = socket(client6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	g_assert_cmpint(f->fd, >=, 0);
	/* connect(): answers from another address or port would not arrive. */
	g_assert_cmpint(connect(f->fd, (struct sockaddr *)&f->to, f->to_len), ==, 0);
}

static void tear_down(Fixture *f, gconstpointer data)
{
	(void)data;
	close(f->fd);
	nbh_stun_service_free(f->service);
}

static gssize receive(Fixture *f, guint8 *buf, gsize size)
{
	return recv(f->fd, buf, size, 0);
}

static void test_answer(Fixture *f, gconstpointer data)
{
	const guint8 txid[NBH_STUN_TXID_LEN] = "abcdefghijkl";
	guint8 buf[1500];
	gsize len = nbh_stun_make_request(buf, txid);
	gssize got = -1;
	struct nbh_endpoint mapped, own;
	struct sockaddr_storage sa;
	socklen_t sa_len = sizeof(sa);

	(void)data;
	g_assert_cmpint(send(f->fd, buf, len, 0), ==, (gssize)len);
	test_run_until(got > 0 || (got = receive(f, buf, sizeof(buf))) > 0);
	g_assert_true(nbh_stun_is_message(buf, (gsize)got));
	g_assert_cmpint(nbh_stun_class(buf), ==, NBH_STUN_SUCCESS);
	g_assert_cmpmem(nbh_stun_txid(buf), NBH_STUN_TXID_LEN, txid, NBH_STUN_TXID_LEN);
	g_assert_true(nbh_stun_check_fingerprint(buf, (gsize)got));
	g_assert_true(nbh_stun_mapped_address(buf, (gsize)got, &mapped));
	g_assert_cmpint(getsockname(f->fd, (struct sockaddr *)&sa, &sa_len), ==, 0);
	g_assert_cmpint(nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &own), ==, 0);
	g_assert_true(nbh_endpoint_equal(&mapped, &own));
}

/* Silence for what is no request; the request behind it shows that the server has read it. */
static void test_ignored(Fixture *f, gconstpointer data)
{
	const guint8 txid[NBH_STUN_TXID_LEN] = "abcdefghijkl";
	guint8 buf[1500] = { 0 };
	guint8 request[64];
	gsize len = nbh_stun_make_request(request, txid);
	gssize got = -1;

	(void)data;
	g_assert_cmpint(send(f->fd, buf, 0, 0), ==, 0);
	g_assert_cmpint(send(f->fd, buf, sizeof(buf), 0), ==, sizeof(buf));
	for (gsize cut = 1; cut < len; cut++)
		g_assert_cmpint(send(f->fd, request, cut, 0), ==, (gssize)cut);
	memcpy(buf, request, len);
	buf[0] = 0x01; /* a success response, an indication, another method */
	g_assert_cmpint(send(f->fd, buf, len, 0), ==, (gssize)len);
	buf[0] = 0x00;
	buf[1] = 0x11;
	g_assert_cmpint(send(f->fd, buf, len, 0), ==, (gssize)len);
	buf[1] = 0x03;
	g_assert_cmpint(send(f->fd, buf, len, 0), ==, (gssize)len);
	request[8] = 'Z';
	g_assert_cmpint(send(f->fd, request, len, 0), ==, (gssize)len);
	test_run_until(got > 0 || (got = receive(f, buf, sizeof(buf))) > 0);
	g_assert_cmpint(buf[8], ==, 'Z');
	g_assert_cmpint(receive(f, buf, sizeof(buf)), ==, -1);
}

static void test_port_taken(Fixture *f, gconstpointer data)
{
	const struct nbh_addr any = { .family = AF_INET6 };
	g_autoptr(GError) error = NULL;

	(void)data;
	g_assert_null(nbh_stun_service_new(&any, nbh_stun_service_port(f->service), &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
	g_assert_nonnull(strstr(error->message, "STUN on UDP"));
}

#define ADD(name, kind, func) g_test_add("/hub/stun/" name, Fixture, kind, set_up, func, tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD("answer-v4", "4-4", test_answer);
	ADD("answer-v6", "6-6", test_answer);
	ADD("answer-mapped", "6-4", test_answer);
	ADD("ignored", "6-4", test_ignored);
	ADD("port-taken", "6-6", test_port_taken);
	return g_test_run();
}
