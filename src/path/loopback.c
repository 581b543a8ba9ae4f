#include "config.h"

#include "path/loopback.h"

#include "loop/source.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gio/gio.h>
#include <glib-unix.h>

/* 127.1.0.1 .. 127.1.255.254; 127.2.0.0/16 belongs to netbird-ice. */
#define FIRST_ADDRESS 0x7f010001u
#define N_ADDRESSES 65534u
#define READS_PER_TURN 64

struct _NbhLoopback {
	int fd;
	guint16 port;
	GSource *source;
	NbhLoopbackWake on_wake;
	gpointer owner;
	GHashTable *by_key;   /* struct nbh_key (owned) -> index + 1 */
	GHashTable *by_index; /* index + 1 -> struct nbh_key, borrowed from by_key */
	guint next;
};

static gboolean open_socket(guint16 port, int *ret_fd, guint16 *ret_port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
	socklen_t len = sizeof(sa);
	int on = 1;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return FALSE;

	/*
	 * Bound to every address, as there is no way to bind to 127.1.0.0/16. Nothing but loopback
	 * may reach it: the device binding says so where the kernel lets us (5.7 and later), and
	 * on_readable() looks at each datagram's addresses anyway.
	 */
	(void)!setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo"));

	if (setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0) {
		int saved = errno;

		close(fd);
		errno = saved;
		return FALSE;
	}

	*ret_fd = fd;
	*ret_port = ntohs(sa.sin_port);
	return TRUE;
}

static guint32 destination_of(struct msghdr *mh)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		struct in_pktinfo info;

		if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
			continue;

		memcpy(&info, CMSG_DATA(c), sizeof(info));
		return ntohl(info.ipi_addr.s_addr);
	}

	return 0;
}

static gboolean is_initiation(const guint8 *data, gsize len)
{
	static const guint8 head[4] = { 1, 0, 0, 0 };

	return len == NBH_WG_INITIATION_LEN && memcmp(data, head, sizeof(head)) == 0;
}

static gboolean read_one(NbhLoopback *loopback)
{
	guint8 data[2048];
	char control[CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct sockaddr_in from;
	struct iovec iov = { data, sizeof(data) };
	struct msghdr mh = { .msg_name = &from,
		             .msg_namelen = sizeof(from),
		             .msg_iov = &iov,
		             .msg_iovlen = 1,
		             .msg_control = control,
		             .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(loopback->fd, &mh, 0);
	const struct nbh_key *peer;
	struct nbh_key key;
	guint32 to;

	if (n < 0)
		return FALSE;

	to = destination_of(&mh);

	if (to < FIRST_ADDRESS || to - FIRST_ADDRESS >= N_ADDRESSES ||
	    ntohl(from.sin_addr.s_addr) >> 24 != 127 || n == 0)
		return TRUE;

	peer = g_hash_table_lookup(loopback->by_index, GUINT_TO_POINTER(to - FIRST_ADDRESS + 1));

	if (!peer)
		return TRUE;

	key = *peer; /* the callback may forget the peer */
	loopback->on_wake(&key, data, (gsize)n, is_initiation(data, (gsize)n), loopback->owner);
	return TRUE;
}

static gboolean on_readable(gint fd, GIOCondition condition, gpointer owner)
{
	(void)fd;
	(void)condition;

	for (int i = 0; i < READS_PER_TURN; i++)
		if (!read_one(owner))
			break;

	return G_SOURCE_CONTINUE;
}

NbhLoopback *nbh_loopback_new(guint16 preferred_port, NbhLoopbackWake on_wake, gpointer owner, GError **error)
{
	NbhLoopback *loopback;
	guint16 port;
	int fd;

	if (!open_socket(preferred_port, &fd, &port) && !open_socket(0, &fd, &port)) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "loopback socket: %s",
		            g_strerror(errno));
		return NULL;
	}

	loopback = g_new0(NbhLoopback, 1);
	loopback->fd = fd;
	loopback->port = port;
	loopback->on_wake = on_wake;
	loopback->owner = owner;
	loopback->by_key = g_hash_table_new_full(nbh_key_hash, nbh_key_hash_equal, g_free, NULL);
	loopback->by_index = g_hash_table_new(NULL, NULL);
	loopback->source = g_unix_fd_source_new(fd, G_IO_IN);
	g_source_set_callback(loopback->source, G_SOURCE_FUNC(on_readable), loopback, NULL);
	g_source_attach(loopback->source, NULL);
	return loopback;
}

void nbh_loopback_free(NbhLoopback *loopback)
{
	if (!loopback)
		return;

	nbh_source_drop(&loopback->source);
	g_hash_table_unref(loopback->by_index);
	g_hash_table_unref(loopback->by_key);
	close(loopback->fd);
	g_free(loopback);
}

static void take(NbhLoopback *loopback, const struct nbh_key *peer, guint index)
{
	struct nbh_key *key = g_memdup2(peer, sizeof(*peer));

	g_hash_table_insert(loopback->by_key, key, GUINT_TO_POINTER(index + 1));
	g_hash_table_insert(loopback->by_index, GUINT_TO_POINTER(index + 1), key);
}

static gboolean index_of(NbhLoopback *loopback, const struct nbh_key *peer, guint *ret_index)
{
	gpointer found = g_hash_table_lookup(loopback->by_key, peer);

	if (!found)
		return FALSE;

	*ret_index = GPOINTER_TO_UINT(found) - 1;
	return TRUE;
}

static struct nbh_endpoint endpoint_at(const NbhLoopback *loopback, guint index)
{
	guint32 address = g_htonl(FIRST_ADDRESS + index);
	struct nbh_endpoint endpoint = { .addr = { .family = AF_INET }, .port = loopback->port };

	memcpy(endpoint.addr.bytes, &address, sizeof(address));
	return endpoint;
}

gboolean nbh_loopback_endpoint(NbhLoopback *loopback, const struct nbh_key *peer,
                               struct nbh_endpoint *ret_endpoint)
{
	guint index;

	if (!index_of(loopback, peer, &index)) {
		guint tried = 0;

		index = loopback->next;

		while (g_hash_table_contains(loopback->by_index, GUINT_TO_POINTER(index + 1))) {
			if (++tried == N_ADDRESSES)
				return FALSE;

			index = (index + 1) % N_ADDRESSES;
		}

		loopback->next = (index + 1) % N_ADDRESSES;
		take(loopback, peer, index);
	}

	*ret_endpoint = endpoint_at(loopback, index);
	return TRUE;
}

gboolean nbh_loopback_restore(NbhLoopback *loopback, const struct nbh_key *peer,
                              const struct nbh_endpoint *endpoint)
{
	guint32 address;
	guint index;

	if (endpoint->addr.family != AF_INET || endpoint->port != loopback->port)
		return FALSE;

	memcpy(&address, endpoint->addr.bytes, sizeof(address));
	address = g_ntohl(address);

	if (address < FIRST_ADDRESS || address - FIRST_ADDRESS >= N_ADDRESSES)
		return FALSE;

	index = address - FIRST_ADDRESS;

	if (g_hash_table_contains(loopback->by_index, GUINT_TO_POINTER(index + 1)) ||
	    g_hash_table_contains(loopback->by_key, peer))
		return FALSE;

	take(loopback, peer, index);
	return TRUE;
}

void nbh_loopback_forget(NbhLoopback *loopback, const struct nbh_key *peer)
{
	guint index;

	if (!index_of(loopback, peer, &index))
		return;

	g_hash_table_remove(loopback->by_index, GUINT_TO_POINTER(index + 1));
	g_hash_table_remove(loopback->by_key, peer);
}
