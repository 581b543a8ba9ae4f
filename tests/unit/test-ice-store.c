/* ice/sessions: what is written comes back; the largest file that is read. */

#include "config.h"

#include "ice/store.h"

#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>

typedef struct {
	char *dir;
	int dirfd;
	guint n_messages;
	NbhIceVerb last;
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
	(void)data;
	f->dir = g_dir_make_tmp("test-ice-store-XXXXXX", NULL);
	f->dirfd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	g_assert_cmpint(f->dirfd, >=, 0);
}

static void tear_down(Fixture *f, gconstpointer data)
{
	(void)data;
	nbh_store_forget(f->dirfd);
	close(f->dirfd);
	g_assert_cmpint(g_rmdir(f->dir), ==, 0);
	g_free(f->dir);
}

static void on_message(const NbhIceMessage *message, gpointer owner)
{
	Fixture *f = owner;

	f->n_messages++;
	f->last = message->verb;
}

static void test_round(Fixture *f, gconstpointer data)
{
	const NbhIceMessage close_all = { .verb = NBH_ICE_MSG_CLOSE_ALL };
	struct nbh_why why = { "" };
	NbhStoreDraft draft;

	(void)data;
	g_assert_cmpint(nbh_store_read(f->dirfd, on_message, f, &why), ==, 0);
	g_assert_cmpuint(f->n_messages, ==, 0);
	nbh_store_begin(&draft, 51820);
	nbh_store_add(&draft, &close_all);
	g_assert_cmpint(nbh_store_finish(&draft, f->dirfd, &why), ==, 0);
	g_assert_cmpint(nbh_store_read(f->dirfd, on_message, f, &why), ==, 0);
	g_assert_cmpuint(f->n_messages, ==, 2);
	g_assert_cmpint(f->last, ==, NBH_ICE_MSG_CLOSE_ALL);
}

/* Below and at the limit it is read, and is none of this boot; no disk is used. */
static void test_limit(Fixture *f, gconstpointer data)
{
	int fd = openat(f->dirfd, "sessions", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	(void)data;
	for (int above = -1; above <= 1; above++) {
		struct nbh_why why = { "" };

		g_assert_cmpint(ftruncate(fd, NBH_ICE_STORE_MAX_BYTES + above), ==, 0);
		g_assert_cmpint(nbh_store_read(f->dirfd, on_message, f, &why), ==, above > 0 ? -EFBIG : 0);
		g_assert_cmpuint(f->n_messages, ==, 0);
	}

	close(fd);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/ice/store/round", Fixture, NULL, set_up, test_round, tear_down);
	g_test_add("/ice/store/limit", Fixture, NULL, set_up, test_limit, tear_down);
	return g_test_run();
}
