/* stun-standin ADDR:PORT: answers STUN Binding requests until it is ended. For the labs. */
#include "config.h"

#include "wire/stun.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct nbh_endpoint own;
	struct sockaddr_storage sa;
	socklen_t len;
	int fd;

	if (argc != 2 || nbh_endpoint_parse(argv[1], &own))
		return 2;

	len = nbh_endpoint_to_sockaddr(&own, &sa);
	fd = socket(own.addr.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len)) {
		perror(argv[1]);
		return 1;
	}

	for (;;) {
		guint8 request[1500], answer[128];
		struct nbh_endpoint from;
		gsize answer_len;
		ssize_t n;

		len = sizeof(sa);
		n = recvfrom(fd, request, sizeof(request), 0, (struct sockaddr *)&sa, &len);

		if (n < 0 || !nbh_stun_is_message(request, (gsize)n) ||
		    nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &from))
			continue;

		answer_len = nbh_stun_make_answer(answer, sizeof(answer), nbh_stun_txid(request), &from);
		sendto(fd, answer, answer_len, 0, (struct sockaddr *)&sa, len);
	}
}
