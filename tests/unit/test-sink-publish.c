#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>
#include <glib/gstdio.h>

#include "base/limits.h"
#include "sink/publish.h"

typedef struct {
	GMainLoop *loop;
	guint16 port; /* what changes */
	guint n_peers, builds, written, failed;
	guint64 generation;
} Sink;

static gboolean build(guint64 generation, struct nbh_peersfile *ret_file, gpointer owner)
{
	Sink *sink = owner;

	memset(ret_file, 0, sizeof(*ret_file));
	ret_file->generation = generation;
	ret_file->n_peers = sink->n_peers;
	ret_file->peers = calloc(sink->n_peers + 1, sizeof(*ret_file->peers));

	for (guint i = 0; i < sink->n_peers; i++) {
		ret_file->peers[i].public_key.bytes[0] = (uint8_t)(i + 1);
		g_assert_cmpint(nbh_endpoint_parse("192.0.2.1:1", &ret_file->peers[i].endpoint), ==, 0);
		ret_file->peers[i].endpoint.port = sink->port;
		g_strlcpy(ret_file->peers[i].id, "p", sizeof(ret_file->peers[i].id));
	}

	sink->builds++;
	return TRUE;
}

static void on_written(guint64 generation, const char *error, gpointer owner)
{
	Sink *sink = owner;

	sink->written += error == NULL;
	sink->failed += error != NULL;
	sink->generation = generation;
	g_main_loop_quit(sink->loop);
}

static const NbhPublishEvents events = { build, on_written };

static char *make_dir(int *ret_dirfd)
{
	char *dir = g_dir_make_tmp("nbh-publish-XXXXXX", NULL);

	*ret_dirfd = open(dir, O_RDONLY | O_DIRECTORY);
	g_assert_cmpint(*ret_dirfd, >=, 0);
	return dir;
}

static void remove_dir(char *dir, int dirfd)
{
	unlinkat(dirfd, NBH_PEERSFILE_NAME, 0);
	unlinkat(dirfd, NBH_DEVICEFILE_NAME, 0);
	close(dirfd);
	g_assert_cmpint(g_rmdir(dir), ==, 0);
	g_free(dir);
}

static guint16 port_on_disk(int dirfd)
{
	struct nbh_peersfile file;
	struct nbh_why why = { "" };
	guint16 port;

	g_assert_cmpint(nbh_peersfile_read(dirfd, &file, &why), ==, 0);
	g_assert_cmpuint(file.n_peers, ==, 1);
	port = file.peers[0].endpoint.port;
	nbh_peersfile_clear(&file);
	return port;
}

static void test_collects_and_counts(void)
{
	Sink sink = { .loop = g_main_loop_new(NULL, FALSE), .port = 1000, .n_peers = 1 };
	int dirfd;
	char *dir = make_dir(&dirfd);
	NbhPublish *publish = nbh_publish_new(dirfd, 41, &events, &sink);
	gint64 before_usec;

	/* Held: nothing until the release. */
	nbh_publish_changed(publish);

	while (g_main_context_iteration(NULL, FALSE))
		;

	g_assert_cmpuint(sink.builds, ==, 0);
	before_usec = g_get_monotonic_time();
	nbh_publish_release(publish);
	g_main_loop_run(sink.loop);
	g_assert_cmpuint(sink.generation, ==, 42);
	g_assert_cmpuint(port_on_disk(dirfd), ==, 1000);

	/* Followers of one moment are one file. */
	for (guint i = 0; i < 100; i++) {
		sink.port = (guint16)(1001 + i);
		nbh_publish_changed(publish);
	}

	g_main_loop_run(sink.loop);
	g_assert_cmpuint(sink.builds, ==, 2);
	g_assert_cmpuint(sink.written, ==, 2);
	g_assert_cmpint(g_get_monotonic_time() - before_usec, >=, NBH_PUBLISH_DELAY_MS * 1000);
	g_assert_cmpuint(port_on_disk(dirfd), ==, 1100);
	nbh_publish_free(publish);
	remove_dir(dir, dirfd);
	g_main_loop_unref(sink.loop);
}

static void test_equal_is_not_written(void)
{
	Sink sink = { .loop = g_main_loop_new(NULL, FALSE), .port = 7, .n_peers = 1 };
	int dirfd;
	char *dir = make_dir(&dirfd);
	NbhPublish *publish = nbh_publish_new(dirfd, 0, &events, &sink);
	struct stat before, after;

	nbh_publish_release(publish);
	nbh_publish_changed(publish);
	g_main_loop_run(sink.loop);
	g_assert_cmpint(fstatat(dirfd, NBH_PEERSFILE_NAME, &before, 0), ==, 0);
	nbh_publish_changed(publish);

	while (sink.builds < 2)
		g_main_context_iteration(NULL, TRUE);

	g_assert_cmpint(fstatat(dirfd, NBH_PEERSFILE_NAME, &after, 0), ==, 0);
	g_assert_cmpuint(before.st_ino, ==, after.st_ino);
	g_assert_cmpuint(sink.written, ==, 1);
	g_assert_cmpuint(sink.generation, ==, 1);
	nbh_publish_free(publish);
	remove_dir(dir, dirfd);
	g_main_loop_unref(sink.loop);
}

static void test_failure_heals(void)
{
	Sink sink = { .loop = g_main_loop_new(NULL, FALSE), .port = 7, .n_peers = 1 };
	int dirfd;
	char *dir = make_dir(&dirfd);
	NbhPublish *publish = nbh_publish_new(dirfd, 0, &events, &sink);

	/* A directory in the file's place: rename fails, also for root. */
	g_assert_cmpint(mkdirat(dirfd, NBH_PEERSFILE_NAME, 0700), ==, 0);
	nbh_publish_release(publish);
	nbh_publish_changed(publish);
	g_main_loop_run(sink.loop);
	g_assert_cmpuint(sink.failed, ==, 1);
	g_assert_cmpint(unlinkat(dirfd, NBH_PEERSFILE_NAME, AT_REMOVEDIR), ==, 0);
	g_main_loop_run(sink.loop); /* by itself */
	g_assert_cmpuint(sink.written, ==, 1);
	g_assert_cmpuint(port_on_disk(dirfd), ==, 7);
	nbh_publish_free(publish);
	remove_dir(dir, dirfd);
	g_main_loop_unref(sink.loop);
}

static void test_device(void)
{
	Sink sink = { .loop = g_main_loop_new(NULL, FALSE) };
	int dirfd;
	char *dir = make_dir(&dirfd);
	NbhPublish *publish = nbh_publish_new(dirfd, 0, &events, &sink);
	struct nbh_device device = { .interface = "nbh0", .mtu = 1280, .listen_port = 51820 }, read;
	struct nbh_why why = { "" };

	g_assert_cmpint(nbh_prefix_parse("100.64.1.2/16", &device.addresses[0]), ==, 0);
	device.n_addresses = 1;
	g_assert_true(nbh_publish_device(publish, &device, NULL));
	g_assert_cmpint(nbh_devicefile_read(dirfd, &read, &why), ==, 0);
	g_assert_cmpuint(read.listen_port, ==, 51820);
	g_assert_true(nbh_publish_remove_device(publish, NULL));
	g_assert_true(nbh_publish_remove_device(publish, NULL));
	g_assert_cmpint(nbh_devicefile_read(dirfd, &read, &why), ==, -ENOENT);
	nbh_publish_free(publish);
	remove_dir(dir, dirfd);
	g_main_loop_unref(sink.loop);
}

int main(int argc, char **argv)
{
	alarm(60); /* ends a test that would wait for ever */
	umask(022);
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sink/publish/collects", test_collects_and_counts);
	g_test_add_func("/sink/publish/equal", test_equal_is_not_written);
	g_test_add_func("/sink/publish/heals", test_failure_heals);
	g_test_add_func("/sink/publish/device", test_device);
	return g_test_run();
}
