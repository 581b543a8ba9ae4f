#include "config.h"

#include "ice/rawsock.h"

#include "wire/stun.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/filter.h>

#define UDP_LEN 8
#define RCVBUF_BYTES (1 << 20)
#define PROBE_PORT 9 /* "discard"; nothing is ever sent by a probe socket */

static int attach_filter(int fd, struct sock_filter *code, gsize n)
{
	struct sock_fprog prog = { .len = (unsigned short)n, .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) ? -errno : 0;
}

/* What came before the filter is still in the queue. */
static void drain(int fd)
{
	guint8 junk[16];

	while (recv(fd, junk, sizeof(junk), MSG_DONTWAIT) >= 0 || errno == EINTR)
		;
}

static int close_to_all(int fd)
{
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, 0) };

	return attach_filter(fd, code, G_N_ELEMENTS(code));
}

/* The packet begins at the IPv4 header, which may have options; later fragments have no ports. */
static int open_to_port_v4(int fd, guint16 port)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 6, 0),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_IND, UDP_LEN + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NBH_STUN_COOKIE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	return attach_filter(fd, code, G_N_ELEMENTS(code));
}

/* The packet begins at the UDP header. */
static int open_to_port_v6(int fd, guint16 port)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UDP_LEN + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NBH_STUN_COOKIE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	return attach_filter(fd, code, G_N_ELEMENTS(code));
}

static int set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) ? -errno : 0;
}

static int open_one(int family, int type, guint32 fwmark, int *ret_fd, struct nbh_why *why)
{
	const char *what = type == SOCK_RAW ? "raw socket" : "UDP socket";
	nbh_cleanup_close int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	int r;

	if (fd < 0 && errno == EAFNOSUPPORT) {
		*ret_fd = -1;
		return 0;
	}

	if (fd < 0) {
		r = -errno;
		nbh_why_set(why, "%s: %s%s", what, g_strerror(-r),
		            r == -EPERM ? ": needs CAP_NET_RAW; start it by its unit or as root" : "");
		return r;
	}

	r = type == SOCK_RAW ? close_to_all(fd) : 0;

	/* It cannot be changed once the capabilities are gone. */
	if (!r && fwmark)
		r = set_option(fd, SOL_SOCKET, SO_MARK, (int)fwmark);

	if (!r && type == SOCK_RAW && family == AF_INET6)
		r = set_option(fd, IPPROTO_IPV6, IPV6_CHECKSUM, 6);

	if (!r && type == SOCK_RAW && family == AF_INET6)
		r = set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);

	if (r) {
		nbh_why_set(why, "%s: cannot set it up: %s", what, g_strerror(-r));
		return r;
	}

	/* Only a wish: without CAP_NET_ADMIN it becomes what the administrator allows. */
	if (type == SOCK_RAW && set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, RCVBUF_BYTES))
		set_option(fd, SOL_SOCKET, SO_RCVBUF, RCVBUF_BYTES);

	*ret_fd = nbh_steal_fd(&fd);
	return 0;
}

int nbh_rawsock_open(guint32 fwmark, NbhRawsock *ret_sock, struct nbh_why *why)
{
	NbhRawsock sock = NBH_RAWSOCK_NONE;
	int r = open_one(AF_INET, SOCK_RAW, fwmark, &sock.raw4, why);

	if (!r)
		r = open_one(AF_INET6, SOCK_RAW, fwmark, &sock.raw6, why);

	if (!r)
		r = open_one(AF_INET, SOCK_DGRAM, fwmark, &sock.probe4, why);

	if (!r)
		r = open_one(AF_INET6, SOCK_DGRAM, fwmark, &sock.probe6, why);

	if (r)
		nbh_rawsock_close(&sock);
	else
		*ret_sock = sock;

	return r;
}

void nbh_rawsock_close(NbhRawsock *sock)
{
	int fds[] = { sock->raw4, sock->raw6, sock->probe4, sock->probe6 };

	for (gsize i = 0; i < G_N_ELEMENTS(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);

	*sock = NBH_RAWSOCK_NONE;
}

int nbh_rawsock_set_port(const NbhRawsock *sock, guint16 port, struct nbh_why *why)
{
	int fds[] = { sock->raw4, sock->raw6 };

	for (gsize i = 0; i < G_N_ELEMENTS(fds); i++) {
		int r;

		if (fds[i] < 0)
			continue;

		r = i ? open_to_port_v6(fds[i], port) : open_to_port_v4(fds[i], port);

		if (!r)
			r = set_option(fds[i], SOL_SOCKET, SO_LOCK_FILTER, 1);

		if (r) {
			nbh_why_set(why, "filter of the raw socket: %s", g_strerror(-r));
			return r;
		}

		drain(fds[i]);
	}

	return 0;
}

gboolean nbh_rawsock_natural_source(const NbhRawsock *sock, const struct nbh_endpoint *to,
                                    struct nbh_addr *ret_from)
{
	int fd = to->addr.family == AF_INET6 ? sock->probe6 : sock->probe4;
	struct nbh_endpoint probe = { .addr = to->addr, .port = PROBE_PORT }, from;
	struct sockaddr_storage sa;
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	socklen_t len = nbh_endpoint_to_sockaddr(&probe, &sa);
	gboolean found;

	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len))
		return FALSE;

	len = sizeof(sa);
	found = !getsockname(fd, (struct sockaddr *)&sa, &len) &&
	        !nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &from);

	/* Forget the answer: the next question may be about another network. */
	connect(fd, &none, sizeof(none));

	if (found)
		*ret_from = from.addr;

	return found;
}

/* One control message that names the source address. */
static void set_source(struct msghdr *mh, const struct nbh_addr *from)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(mh);

	if (from->family == AF_INET6) {
		struct in6_pktinfo info = { .ipi6_ifindex = 0 };

		memcpy(&info.ipi6_addr, from->bytes, 16);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		mh->msg_controllen = CMSG_SPACE(sizeof(info));
	} else {
		struct in_pktinfo info = { .ipi_ifindex = 0 };

		memcpy(&info.ipi_spec_dst, from->bytes, 4);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		mh->msg_controllen = CMSG_SPACE(sizeof(info));
	}
}

int nbh_rawsock_send(const NbhRawsock *sock, const struct nbh_endpoint *from,
                     const struct nbh_endpoint *to, const guint8 *payload, gsize len)
{
	int fd = to->addr.family == AF_INET6 ? sock->raw6 : sock->raw4;
	struct nbh_endpoint bare = { .addr = to->addr, .port = 0 }; /* raw sockets have no port */
	struct sockaddr_storage sa;
	guint8 udp[NBH_PACKET_HEADERS_MAX + 2048];
	struct iovec iov = { .iov_base = udp, .iov_len = UDP_LEN + len };
	char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] __attribute__((aligned(__alignof__(struct cmsghdr)))) = { 0 };
	struct msghdr mh = { .msg_name = &sa, .msg_iov = &iov, .msg_iovlen = 1,
		             .msg_control = control, .msg_controllen = sizeof(control) };

	if (fd < 0 || from->addr.family != to->addr.family)
		return -EAFNOSUPPORT;

	if (UDP_LEN + len > sizeof(udp))
		return -EMSGSIZE;

	mh.msg_namelen = nbh_endpoint_to_sockaddr(&bare, &sa);
	set_source(&mh, &from->addr);
	nbh_put16(udp, from->port);
	nbh_put16(udp + 2, to->port);
	nbh_put16(udp + 4, (guint16)(UDP_LEN + len));
	nbh_put16(udp + 6, 0);
	memcpy(udp + UDP_LEN, payload, len);
	nbh_put16(udp + 6, nbh_packet_udp_checksum(&from->addr, &to->addr, udp, UDP_LEN + len));
	return sendmsg(fd, &mh, MSG_DONTWAIT) < 0 ? -errno : 0;
}

static int receive_v6(const struct msghdr *mh, const struct sockaddr_in6 *sa, guint8 *udp, gsize n,
                      NbhPacket *ret_packet)
{
	NbhPacket packet = { .payload = udp + UDP_LEN };
	gsize udp_len;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR((struct msghdr *)mh, c)) {
		struct in6_pktinfo info;

		if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO)
			continue;

		memcpy(&info, CMSG_DATA(c), sizeof(info));
		packet.to.addr.family = AF_INET6;
		memcpy(packet.to.addr.bytes, &info.ipi6_addr, 16);
	}

	if (n < UDP_LEN || !packet.to.addr.family)
		return 0;

	packet.from.addr.family = AF_INET6;
	memcpy(packet.from.addr.bytes, &sa->sin6_addr, 16);
	packet.from.port = nbh_get16(udp);
	packet.to.port = nbh_get16(udp + 2);
	udp_len = nbh_get16(udp + 4);

	if (udp_len < UDP_LEN || udp_len > n || !packet.from.port)
		return 0;

	packet.len = udp_len - UDP_LEN;
	*ret_packet = packet;
	return 1;
}

int nbh_rawsock_receive(const NbhRawsock *sock, int fd, guint8 *buf, gsize size, NbhPacket *ret_packet)
{
	struct sockaddr_in6 sa;
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	char control[128] __attribute__((aligned(__alignof__(struct cmsghdr))));
	struct msghdr mh = { .msg_name = &sa, .msg_namelen = sizeof(sa), .msg_iov = &iov, .msg_iovlen = 1,
		             .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &mh, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : 0; /* ICMP errors of the past and the like */

	if (mh.msg_flags & MSG_TRUNC)
		return 0;

	if (fd == sock->raw6)
		return receive_v6(&mh, &sa, buf, (gsize)n, ret_packet);

	return nbh_packet_read(buf, (gsize)n, ret_packet);
}
