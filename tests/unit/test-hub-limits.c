/* The hub's limits as they are, not smaller ones for tests: one below each, at it, and one above. */

#include "config.h"

#include "base/limits.h"
#include "hub/front.h"
#include "hub/gate.h"
#include "hub/store.h"

#include "tests/lib/loop.h"

#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const NbhGateLimits gate_limits = {
	.per_address_max = NBH_HUB_CONNECTIONS_PER_ADDRESS_MAX,
	.burst = NBH_HUB_ARRIVALS_BURST,
	.per_second = NBH_HUB_ARRIVALS_PER_SECOND,
};

static struct nbh_addr address(guint32 n)
{
	return (struct nbh_addr){ AF_INET, { 198, (guint8)(n >> 16), (guint8)(n >> 8), (guint8)n } };
}

static nbh_mono at_ms(gint64 ms)
{
	return (nbh_mono){ (1000000 + ms) * 1000 };
}

static void test_per_address(void)
{
	NbhGate *gate = nbh_gate_new(&gate_limits);
	const struct nbh_addr a = address(1), b = address(2);

	for (guint i = 0; i < NBH_HUB_CONNECTIONS_PER_ADDRESS_MAX - 1; i++)
		nbh_gate_enter(gate, &a);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_OPEN);
	nbh_gate_enter(gate, &a);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_CROWDED);
	g_assert_cmpint(nbh_gate_ask(gate, &b, at_ms(0)), ==, NBH_GATE_OPEN);
	nbh_gate_leave(gate, &a);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_OPEN);
	nbh_gate_free(gate);
}

static void test_arrivals(void)
{
	NbhGate *gate = nbh_gate_new(&gate_limits);
	const struct nbh_addr a = address(1);
	const gint64 each_ms = 1000 / NBH_HUB_ARRIVALS_PER_SECOND;

	for (guint i = 0; i < NBH_HUB_ARRIVALS_BURST - 1; i++)
		g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_OPEN);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_OPEN);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_CLOSED);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(each_ms - 1)), ==, NBH_GATE_CLOSED);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(each_ms)), ==, NBH_GATE_OPEN);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(each_ms)), ==, NBH_GATE_CLOSED);
	nbh_gate_free(gate);
}

/* The arrivals of NBH_HUB_ADDRESSES_MAX addresses are remembered; with one more all begin anew. */
static void test_addresses(void)
{
	const NbhGateLimits once = { .per_address_max = 1, .burst = 1, .per_second = 1 };
	NbhGate *gate = nbh_gate_new(&once);
	struct nbh_addr a = address(0);

	for (guint32 i = 0; i < NBH_HUB_ADDRESSES_MAX - 1; i++) {
		a = address(i);
		g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_OPEN);
	}
	a = address(0);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_CLOSED);
	a = address(NBH_HUB_ADDRESSES_MAX - 1);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_OPEN);
	a = address(0);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_CLOSED);
	a = address(NBH_HUB_ADDRESSES_MAX);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_OPEN);
	a = address(0);
	g_assert_cmpint(nbh_gate_ask(gate, &a, at_ms(0)), ==, NBH_GATE_OPEN);
	nbh_gate_free(gate);
}

/* What the gate writes about that many addresses at once. */
static guint lines_about(guint n_addresses)
{
	NbhGate *gate = nbh_gate_new(&gate_limits);
	FILE *log = tmpfile();
	int old = dup(STDERR_FILENO), c;
	guint n = 0;

	g_assert_cmpint(dup2(fileno(log), STDERR_FILENO), >=, 0);
	for (guint32 i = 0; i < n_addresses; i++) {
		const struct nbh_addr a = address(i);

		nbh_gate_refused(gate, &a, "test", at_ms(0));
	}
	g_assert_cmpint(dup2(old, STDERR_FILENO), >=, 0);
	close(old);
	rewind(log);
	while ((c = fgetc(log)) != EOF)
		n += c == '\n';
	fclose(log);
	nbh_gate_free(gate);
	return n;
}

static void test_lines(void)
{
	g_assert_cmpuint(lines_about(NBH_HUB_GATE_LINES_BURST - 1), ==, NBH_HUB_GATE_LINES_BURST - 1);
	g_assert_cmpuint(lines_about(NBH_HUB_GATE_LINES_BURST), ==, NBH_HUB_GATE_LINES_BURST);
	g_assert_cmpuint(lines_about(NBH_HUB_GATE_LINES_BURST + 1), ==, NBH_HUB_GATE_LINES_BURST);
}

static int dial(guint16 port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	g_assert_cmpint(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), ==, 0);
	return fd;
}

static gboolean is_hung_up(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

/* Real connections: 4096 at one end and 4097 at the other. */
static void test_connections(void)
{
	const NbhFrontLimits limits = {
		.connections_max = NBH_HUB_CONNECTIONS_MAX,
		.first_bytes_ms = 600000,
		.no_call_ms = 600000,
		.gate = gate_limits,
	};
	struct nbh_endpoint any = { .addr = { .family = AF_INET } };
	struct rlimit files;
	g_autofree int *fds = g_new(int, NBH_HUB_CONNECTIONS_MAX + 1);
	NbhFront *front;
	guint16 port;
	guint n = 0, n_hung_up = 0;

	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &files), ==, 0);
	files.rlim_cur = MIN(files.rlim_max, 3 * NBH_HUB_CONNECTIONS_MAX);
	if (files.rlim_cur < 2 * NBH_HUB_CONNECTIONS_MAX + 100 || setrlimit(RLIMIT_NOFILE, &files) < 0) {
		g_test_skip("not that many open files are allowed here (ulimit -n)");
		return;
	}
	front = nbh_front_new(&limits);
	g_assert_true(nbh_front_listen(front, &any, &port, NULL));
	while (n < NBH_HUB_CONNECTIONS_MAX - 1) {
		fds[n++] = dial(port);
		if (n % 8 == 0 || n == NBH_HUB_CONNECTIONS_MAX - 1)
			test_run_until(nbh_front_connections(front) == n);
	}
	fds[n++] = dial(port);
	test_run_until(nbh_front_connections(front) == NBH_HUB_CONNECTIONS_MAX);
	fds[n++] = dial(port);
	/* One has to go: the new one, or an older one that has said nothing. */
	while (n_hung_up == 0) {
		test_drain_loop();
		g_assert_cmpuint(nbh_front_connections(front), <=, NBH_HUB_CONNECTIONS_MAX);
		for (guint i = 0; i < n; i++)
			n_hung_up += is_hung_up(fds[i]);
		if (n_hung_up == 0)
			g_main_context_iteration(NULL, TRUE);
	}
	g_assert_cmpuint(n_hung_up, ==, 1);
	g_assert_cmpuint(nbh_front_connections(front), ==, NBH_HUB_CONNECTIONS_MAX);
	nbh_front_free(front);
	for (guint i = 0; i < n; i++)
		close(fds[i]);
}

/* Rows as the hub writes them, all at once. */
static void add_peers(const char *dir, guint n)
{
	g_autofree char *path = g_build_filename(dir, "hub.db", NULL);
	g_autofree char *sql = g_strdup_printf(
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %u) "
		"INSERT INTO peer (key, name, label, ip, version, setup_key_id, created_s)"
		" SELECT 'key' || i, 'x', 'label' || i, i, '', 1, 1 FROM n", n);
	sqlite3 *db = NULL;

	g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_exec(db, sql, NULL, NULL, NULL), ==, SQLITE_OK);
	g_assert_cmpint(sqlite3_close(db), ==, SQLITE_OK);
}

static gboolean joins(NbhStore *store, const char *setup_key, guint8 number, GError **error)
{
	const NbhRegistration registration = { .key = { { number, 1 } }, .setup_key = setup_key, .hostname = "host" };
	g_autoptr(NbhHubPeer) peer = nbh_store_register(store, &registration, 1, error);

	return peer != NULL;
}

static void test_peers(void)
{
	static const char *const names[] = { "hub.db", "hub.db-wal", "hub.db-shm" };
	g_autofree char *dir = g_dir_make_tmp("test-hub-limits-XXXXXX", NULL);
	g_autoptr(GError) error = NULL;
	char setup_key[NBH_SETUPKEY_LEN + 1];
	NbhStore *store = nbh_store_open(dir, NULL);
	gint64 id;

	g_assert_true(nbh_store_create_key(store, "", TRUE, 0, 1, setup_key, &id, NULL));
	add_peers(dir, NBH_PEERS_MAX - 2);
	g_assert_true(joins(store, setup_key, 1, NULL));
	g_assert_true(joins(store, setup_key, 2, NULL));
	g_assert_false(joins(store, setup_key, 3, &error));
	g_assert_error(error, NBH_STORE_ERROR, NBH_STORE_FULL);
	nbh_store_close(store);
	for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *path = g_build_filename(dir, names[i], NULL);

		(void)g_unlink(path);
	}
	g_assert_cmpint(g_rmdir(dir), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/hub/limits/per-address", test_per_address);
	g_test_add_func("/hub/limits/arrivals", test_arrivals);
	g_test_add_func("/hub/limits/addresses", test_addresses);
	g_test_add_func("/hub/limits/lines", test_lines);
	g_test_add_func("/hub/limits/connections", test_connections);
	g_test_add_func("/hub/limits/peers", test_peers);
	return g_test_run();
}
