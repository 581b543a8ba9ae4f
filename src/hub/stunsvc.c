/*
 * A request is answered from the address and port that it was sent to (IPV6_PKTINFO), else NATs on
 * the way drop the answer. Nothing is kept per client but a token bucket; answers are at most twice
 * as long as requests.
 */

#include "config.h"

#include "hub/stunsvc.h"

#include "base/mono.h"
#include "hub/throttle.h"
#include "wire/stun.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>

#define PER_TURN 64
#define REQUEST_MAX_BYTES 1500
#define ANSWER_MAX_BYTES 128
#define BURST 200 /* a whole site behind one address */
#define PER_SECOND 100
#define ADDRESSES_MAX 16384
#define BINDING_METHOD 1

struct _NbhStunService {
	int fd;
	guint watch_id;
	NbhThrottle *throttle; /* owned */
};

typedef union {
	struct cmsghdr align;
	guint8 bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
} Control;

static gsize make_answer(NbhStunService *service, guint8 *request, gsize len,
			 const struct sockaddr_storage *from, guint8 *answer, gsize room)
{
	struct nbh_endpoint mapped;

	if (!nbh_stun_is_message(request, len) || nbh_stun_class(request) != NBH_STUN_REQUEST ||
	    nbh_stun_method(request) != BINDING_METHOD)
		return 0;
	/* v4-mapped becomes IPv4 there. */
	if (nbh_endpoint_from_sockaddr((const struct sockaddr *)from, &mapped) < 0 ||
	    !nbh_throttle_take(service->throttle, &mapped.addr, nbh_mono_now()))
		return 0;
	return nbh_stun_make_answer(answer, room, nbh_stun_txid(request), &mapped);
}

/* FALSE: nothing more to read. */
static gboolean serve_one(NbhStunService *service)
{
	guint8 request[REQUEST_MAX_BYTES];
	guint8 answer[ANSWER_MAX_BYTES];
	struct sockaddr_storage from = { 0 };
	Control control = { 0 };
	struct iovec iov = { .iov_base = request, .iov_len = sizeof(request) };
	struct msghdr message = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(service->fd, &message, MSG_DONTWAIT);
	gsize len;

	if (n < 0)
		return errno == EINTR || errno == ECONNREFUSED;
	len = make_answer(service, request, (gsize)n, &from, answer, sizeof(answer));
	if (len == 0)
		return TRUE;
	/* The control data goes back as it came: "sent to" becomes "send from". */
	iov = (struct iovec){ .iov_base = answer, .iov_len = len };
	message.msg_flags = 0;
	(void)sendmsg(service->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	return TRUE;
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer data)
{
	(void)fd;
	(void)condition;
	for (guint i = 0; i < PER_TURN; i++)
		if (!serve_one(data))
			break;
	return G_SOURCE_CONTINUE;
}

static gboolean open_socket(NbhStunService *service, const struct nbh_endpoint *endpoint)
{
	struct sockaddr_storage sa;
	socklen_t len = nbh_endpoint_to_sockaddr(endpoint, &sa);
	int on = 1, off = 0;
	gboolean v6 = endpoint->addr.family == AF_INET6;

	service->fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (service->fd < 0)
		return FALSE;
	if (v6 && (setsockopt(service->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0 ||
		   setsockopt(service->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) < 0))
		return FALSE;
	if (!v6 && setsockopt(service->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) < 0)
		return FALSE;
	return bind(service->fd, (struct sockaddr *)&sa, len) == 0;
}

NbhStunService *nbh_stun_service_new(const struct nbh_addr *addr, guint16 port, GError **error)
{
	NbhStunService *service = g_new0(NbhStunService, 1);
	const struct nbh_endpoint endpoint = { .addr = *addr, .port = port };
	char text[NBH_ADDR_TEXT_MAX];

	if (!open_socket(service, &endpoint)) {
		int err = errno;

		g_set_error(error, G_IO_ERROR, (gint)g_io_error_from_errno(err),
			    "STUN on UDP %s port %u: %s", nbh_addr_format(addr, text), port,
			    g_strerror(err));
		nbh_stun_service_free(service);
		return NULL;
	}
	service->throttle = nbh_throttle_new(BURST, PER_SECOND, ADDRESSES_MAX);
	service->watch_id = g_unix_fd_add(service->fd, G_IO_IN, on_readable, service);
	return service;
}

guint16 nbh_stun_service_port(const NbhStunService *service)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct nbh_endpoint endpoint;

	if (getsockname(service->fd, (struct sockaddr *)&sa, &len) < 0 ||
	    nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &endpoint) < 0)
		return 0;
	return endpoint.port;
}

void nbh_stun_service_free(NbhStunService *service)
{
	if (!service)
		return;
	if (service->watch_id)
		g_source_remove(service->watch_id);
	if (service->fd >= 0)
		close(service->fd);
	nbh_throttle_free(service->throttle);
	g_free(service);
}
