/*
 * The helper's end of ice.sock against a netbird-ice that says anything: the input's lines, one
 * datagram each. A line "!" is a command of ours in between.
 */
#include "config.h"

#include "ice/proto.h"

#include "base/log.h"

#include "tests/fuzz/feed.h"

#include <sys/un.h>

static struct {
	NbhIce *ice;
	gboolean is_ready, is_down;
	guint n_commands;
} world;

static void on_ready(NbhIce *ice, const char *backend, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(ice == world.ice && !world.is_ready && backend);
	world.is_ready = TRUE;
	world.is_down = FALSE;
}

static void on_down(NbhIce *ice, const char *why, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(ice == world.ice && !world.is_down && why[0]);
	world.is_ready = FALSE;
	world.is_down = TRUE;
}

static void on_session(NbhIce *ice, const NbhIceSession *session, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(ice == world.ice && !world.is_ready);
	fuzz_require(strlen(session->local.ufrag) >= NBH_ICE_UFRAG_MIN && strlen(session->local.pwd) >= NBH_ICE_PWD_MIN);
	fuzz_require(!session->selected || nbh_endpoint_is_set(&session->pair.remote));
}

static void on_selected(NbhIce *ice, const struct nbh_key *peer G_GNUC_UNUSED, const NbhIcePair *pair,
                        gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(ice == world.ice && world.is_ready && nbh_endpoint_is_set(&pair->remote));
}

static void on_ended(NbhIce *ice, const struct nbh_key *peer G_GNUC_UNUSED, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(ice == world.ice && world.is_ready);
}

static void on_heard(NbhIce *ice, const struct nbh_key *peer G_GNUC_UNUSED, const struct nbh_endpoint *from,
                     gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(ice == world.ice && world.is_ready && nbh_endpoint_is_set(from));
}

static void on_mapped(NbhIce *ice, const struct nbh_endpoint *server, const struct nbh_endpoint *mapped,
                      gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(ice == world.ice && world.is_ready && nbh_endpoint_is_set(server));
	fuzz_require(!mapped || nbh_endpoint_is_set(mapped));
}

/* Legal at any time, whether there is a link or not. */
static void command(void)
{
	static const NbhIceOpen open = { .local = { "aaaabbbb", "abcdefghijklmnopqrstuvwxyz" } };
	static const guint8 initiation[NBH_ICE_INITIATION_LEN] = { 1 };
	static const struct nbh_endpoint far = { { AF_INET, { 192, 0, 2, 1 } }, 1 };

	static const struct nbh_prefix overlay = { { AF_INET, { 100, 64 } }, 16 };

	switch (world.n_commands++ % 7) {
	case 0:
		nbh_ice_process.set_port(world.ice, 51820);
		break;
	case 1:
		nbh_ice_process.session_open(world.ice, &open);
		break;
	case 2:
		nbh_ice_process.session_remote(world.ice, &open.peer, &open.local, NULL);
		break;
	case 3:
		nbh_ice_process.stun_query(world.ice, &far);
		break;
	case 4:
		nbh_ice_process.set_overlay(world.ice, &overlay, &overlay);
		break;
	case 5:
		nbh_ice_process.forward(world.ice, &far, initiation, sizeof(initiation));
		break;
	default:
		nbh_ice_process.close_all(world.ice);
		break;
	}
}

static char dir[32], ice_dir[40];

static void remove_dirs(void)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/ice.sock", ice_dir);
	unlink(path);
	rmdir(ice_dir);
	rmdir(dir);
}

static int listen_once(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	fuzz_make_dir(dir, sizeof(dir));
	snprintf(ice_dir, sizeof(ice_dir), "%s/ice", dir);
	fuzz_require(mkdir(ice_dir, 0700) == 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/ice.sock", ice_dir);
	fuzz_require(bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 1) == 0);
	atexit(remove_dirs);
	return fd;
}

static void say_lines(int far, const uint8_t *data, size_t len)
{
	while (len > 0) {
		const uint8_t *end = memchr(data, '\n', len);
		size_t n = end ? (size_t)(end - data) : len;

		if (n == 1 && *data == '!')
			command();
		else
			(void)send(far, fuzz_chars(data), n, MSG_NOSIGNAL | MSG_DONTWAIT);
		feed_hear(far);
		n += end ? 1 : 0;
		data += n;
		len -= n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const NbhIceEvents events = { on_ready, on_down,  on_session, on_selected,
		                              on_ended, on_ended, on_mapped,  on_heard };
	static int listener = -1;
	int far;

	if (listener < 0)
		listener = listen_once();

	nbh_log_set_level("error");
	memset(&world, 0, sizeof(world));
	world.ice = nbh_ice_process.open(dir, &events, NULL, NULL);
	g_main_context_iteration(NULL, TRUE);
	far = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	fuzz_require(far >= 0);
	say_lines(far, data, len);
	close(far);
	feed_run_loop();
	nbh_ice_process.free(g_steal_pointer(&world.ice));
	feed_run_loop();
	return 0;
}
