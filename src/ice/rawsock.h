#ifndef NBH_ICE_RAWSOCK_H
#define NBH_ICE_RAWSOCK_H

/*
 * The sockets in the host's network namespace: raw ones that see and send only STUN of one UDP
 * port, and probe ones that ask the kernel which source address it would use. Opening needs
 * CAP_NET_RAW; everything else works without any capability (architecture.md section 7).
 */

#include "base/why.h"
#include "ice/packet.h"

typedef struct {
	int raw4, raw6, probe4, probe6; /* -1: the kernel does not have that family */
} NbhRawsock;

#define NBH_RAWSOCK_NONE ((NbhRawsock){ -1, -1, -1, -1 })

/*
 * Before any namespace is entered and before GLib has threads. fwmark 0: none. Nothing passes the
 * raw sockets until nbh_rawsock_set_port(). 0 or -errno.
 */
int nbh_rawsock_open(guint32 fwmark, NbhRawsock *ret_sock, struct nbh_why *why);
void nbh_rawsock_close(NbhRawsock *sock);

/*
 * Once: lets STUN to this UDP port pass and locks the filter, so that whoever may later run in this
 * process cannot read the other traffic of the host.
 */
int nbh_rawsock_set_port(const NbhRawsock *sock, guint16 port, struct nbh_why *why);

/* What the kernel's WireGuard will use towards it. FALSE: no route. */
gboolean nbh_rawsock_natural_source(const NbhRawsock *sock, const struct nbh_endpoint *to,
                                    struct nbh_addr *ret_from);

/* from->port is WireGuard's. 0 or -errno. */
int nbh_rawsock_send(const NbhRawsock *sock, const struct nbh_endpoint *from,
                     const struct nbh_endpoint *to, const guint8 *payload, gsize len);

/* 1 and a packet inside buf, 0 for one to be skipped, -EAGAIN when there is none. fd: raw4 or raw6. */
int nbh_rawsock_receive(const NbhRawsock *sock, int fd, guint8 *buf, gsize size, NbhPacket *ret_packet);

#endif
