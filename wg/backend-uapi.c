/*
 * User-space WireGuard over its UAPI socket; the link around it by rtnetlink (link.c), as with the
 * kernel. Every question is a connection of its own, so a wireguard-go that was restarted in
 * between is no special case.
 */
#include "config.h"

#include "wg/backend.h"

#include "wg/backend-uapi.h"
#include "wg/link.h"
#include "wg/spawn.h"
#include "wg/uapimsg.h"

#include "base/macros.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_DIR "/run/wireguard"
#define ANSWER_TIMEOUT_S 10
#define LINE_BYTES 65536
#define END_TIMEOUT_MS 2000

static const char *program;

void wg_uapi_set_program(const char *path)
{
	program = path;
}

static const char *find_program(void)
{
	static const char *const places[] = { "/usr/bin/wireguard-go", "/usr/sbin/wireguard-go",
	                                      "/usr/local/bin/wireguard-go",
	                                      "/usr/local/sbin/wireguard-go" };

	for (size_t i = 0; !program && i < NBH_N_ELEMENTS(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return program ? program : places[0];
}

static int uapi_open(void **ret_ctx, const char *ifname, struct nbh_why *why)
{
	struct wg_link *link = calloc(1, sizeof(*link));
	int r;

	if (!link) {
		nbh_why_set(why, "out of memory");
		return -ENOMEM;
	}

	r = wg_link_open(link, ifname, why);
	if (r < 0) {
		free(link);
		return r;
	}

	*ret_ctx = link;
	return 0;
}

static void uapi_close(void *data)
{
	if (!data)
		return;

	wg_link_close(data);
	free(data);
}

/* Our private key goes into this socket: it must be root's or our own. */
static int check_listener(int fd, const char *path, struct nbh_why *why)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	    (cred.uid == 0 || cred.uid == geteuid()))
		return 0;

	nbh_why_set(why, "%s: listened to by another user", path);
	return -EPERM;
}

static int uapi_connect(const char *ifname, struct nbh_why *why)
{
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	nbh_cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	if (fd < 0)
		return -errno;

	snprintf(sa.sun_path, sizeof(sa.sun_path), SOCKET_DIR "/%s.sock", ifname);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		r = -errno;
		nbh_why_set(why, "%s: %s%s", sa.sun_path, strerror(-r),
		            r == -EACCES ? "; end the wireguard-go of another user that made it" : "");
		return r;
	}

	r = check_listener(fd, sa.sun_path, why);
	return r < 0 ? r : nbh_steal_fd(&fd);
}

static int send_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;

		text += n;
		len -= (size_t)n;
	}

	return 0;
}

/* Parses the complete lines in buf. 1: the empty line came, 0: more is needed. */
static int take_lines(char *buf, size_t *used, struct wg_uapiparse *parse, struct wg_devbuild *build)
{
	char *line = buf, *end = buf + *used, *newline;
	int r = 0;

	while (r == 0 && (newline = memchr(line, '\n', (size_t)(end - line)))) {
		*newline = '\0';
		r = newline == line ? 1 : wg_uapimsg_parse(parse, line, build);
		line = newline + 1;
	}

	*used = (size_t)(end - line);
	memmove(buf, line, *used);
	return r;
}

/* Reads one answer up to its empty line; lines go to build. */
static int receive(int fd, struct wg_devbuild *build, struct nbh_why *why)
{
	nbh_cleanup_free char *buf = malloc(LINE_BYTES);
	struct wg_uapiparse parse = { 0 };
	size_t used = 0;
	int r = 0;

	if (!buf)
		return -ENOMEM;

	while (r == 0) {
		ssize_t n = used < LINE_BYTES ? recv(fd, buf + used, LINE_BYTES - used, 0) : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = n < 0 ? -errno : -EBADMSG;
			break;
		}

		used += (size_t)n;
		r = take_lines(buf, &used, &parse, build);
	}

	explicit_bzero(buf, LINE_BYTES);
	if (r < 0) {
		nbh_why_set(why, "wireguard-go's answer: %s", strerror(-r));
		return r;
	}

	if (parse.error == 0)
		return 0;

	r = (int)(parse.error < 0 ? parse.error : -parse.error);
	nbh_why_set(why, "wireguard-go refuses: %s", strerror(-r));
	return r;
}

static int uapi_read(void *data, struct wg_dev *ret_dev, struct nbh_why *why)
{
	struct wg_link *link = data;
	struct wg_devbuild build = { 0 };
	nbh_cleanup_close int fd = -1;
	int r;

	r = wg_link_read(link, &build, why);
	if (r == 0 && build.dev.exists && strcmp(build.dev.kind, "wireguard") != 0)
		fd = r = uapi_connect(link->ifname, why);

	if (fd >= 0) {
		static const char get[] = "get=1\n\n";

		r = send_all(fd, get, sizeof(get) - 1);
		if (r == 0)
			r = receive(fd, &build, why);
		build.dev.is_wireguard = r == 0;
	}

	/* Nobody listens: an interface of another kind, which the plan refuses to touch. */
	if (r == -ENOENT || r == -ECONNREFUSED)
		r = 0;

	if (r < 0) {
		wg_devbuild_clear(&build);
		return r;
	}

	wg_devbuild_finish(&build, ret_dev);
	return 0;
}

static int set(struct wg_link *link, const char *text, size_t len, struct nbh_why *why)
{
	nbh_cleanup_close int fd = uapi_connect(link->ifname, why);
	struct wg_devbuild ignored = { 0 };
	int r;

	if (fd < 0)
		return fd;

	r = send_all(fd, "set=1\n", 6);
	if (r == 0)
		r = send_all(fd, text, len);
	if (r == 0)
		r = send_all(fd, "\n", 1);
	if (r == 0)
		r = receive(fd, &ignored, why);
	else
		nbh_why_set(why, "writing to wireguard-go: %s", strerror(-r));
	wg_devbuild_clear(&ignored);
	return r;
}

static int apply_device(struct wg_link *link, const struct wg_plan *plan, struct nbh_why *why)
{
	char text[WG_UAPIMSG_DEVICE_MAX];
	int r;

	wg_uapimsg_device(plan, text);
	if (!text[0])
		return 0;

	r = set(link, text, strlen(text), why);
	explicit_bzero(text, sizeof(text));
	if (r == -EADDRINUSE)
		nbh_why_set(why, "UDP port %u is in use; choose another listenPort", plan->listen_port);
	return r;
}

static int apply_peers(struct wg_link *link, const struct wg_plan *plan, struct nbh_why *why)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out;
	int r;

	if (plan->n_ops == 0)
		return 0;

	out = open_memstream(&text, &len);
	if (!out)
		return -ENOMEM;

	wg_uapimsg_peers(plan, out);
	r = fclose(out) < 0 ? -ENOMEM : set(link, text, len, why);
	if (text)
		explicit_bzero(text, len); /* pre-shared keys */
	free(text);
	return r;
}

/*
 * While it is down wireguard-go takes any port and binds later, in the background: a port in use
 * would only be seen in its log, and it would stay down even after the port got free. So we try a
 * port before we give it away.
 */
static int check_port(uint16_t port, struct nbh_why *why)
{
	struct sockaddr_in sa4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 sa6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	nbh_cleanup_close int fd4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	nbh_cleanup_close int fd6 = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd6 >= 0)
		setsockopt(fd6, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));

	if ((fd4 >= 0 && bind(fd4, (struct sockaddr *)&sa4, sizeof(sa4)) < 0 && errno == EADDRINUSE) ||
	    (fd6 >= 0 && bind(fd6, (struct sockaddr *)&sa6, sizeof(sa6)) < 0 && errno == EADDRINUSE)) {
		nbh_why_set(why, "UDP port %u is in use; choose another listenPort", port);
		return -EADDRINUSE;
	}

	return 0;
}

/*
 * wireguard-go ends when its interface goes, but a little later: made again at once, the interface
 * would find the old socket in use. An idle connection tells us when it is gone.
 */
static int remove_link(struct wg_link *link, struct nbh_why *why)
{
	nbh_cleanup_close int fd = uapi_connect(link->ifname, NULL);
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int r = wg_link_remove(link, why);

	if (r == 0 && fd >= 0)
		poll(&pfd, 1, END_TIMEOUT_MS);
	return r;
}

static int uapi_apply(void *data, const struct wg_plan *plan, struct nbh_why *why)
{
	struct wg_link *link = data;
	int r = 0;

	if (plan->remove_link)
		return remove_link(link, why);

	if (plan->set_listen_port)
		r = check_port(plan->listen_port, why);
	if (r == 0 && plan->create_link)
		r = wg_spawn_wireguard_go(find_program(), link->ifname, why);
	if (r == 0)
		r = apply_device(link, plan, why);
	/* Only now: it sets its own MTU once more before it answers the first question. */
	if (r == 0)
		r = wg_link_apply_mtu(link, plan, why);
	if (r == 0)
		r = apply_peers(link, plan, why);
	if (r == 0)
		r = wg_link_apply_rest(link, plan, why);
	return r;
}

const struct wg_backend wg_backend_uapi = {
	.name = "uapi",
	.open = uapi_open,
	.read = uapi_read,
	.apply = uapi_apply,
	.close = uapi_close,
};
