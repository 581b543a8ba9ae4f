#include "config.h"

#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void nbh_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int saved = errno;
	size_t len;
	int fd;

	if (!path || (path[0] != '/' && path[0] != '@'))
		return;

	len = strlen(path);

	if (len < 2 || len >= sizeof(sa.sun_path))
		return;

	memcpy(sa.sun_path, path, len);

	if (sa.sun_path[0] == '@')
		sa.sun_path[0] = '\0';

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0) {
		(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
		              (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
		close(fd);
	}

	errno = saved;
}
