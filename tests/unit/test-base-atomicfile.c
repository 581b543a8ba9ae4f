/* Atomic and trusted files, the key file, locks: everything in base that touches a directory. */
#include "config.h"

#include "base/atomicfile.h"
#include "base/key.h"
#include "base/limits.h"
#include "base/lock.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int dir = -1;

static void put_file(const char *name, const char *text, size_t len, mode_t mode)
{
	int fd;

	unlinkat(dir, name, 0);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, len) != (ssize_t)len || fchmod(fd, mode) < 0)
		abort();

	close(fd);
}

static void check_read(const char *name, size_t max, int wanted, const char *wanted_why)
{
	struct nbh_why why = { "untouched" };
	nbh_cleanup_free char *data = NULL;
	size_t len = 77;
	int r = nbh_trustedfile_read(dir, name, max, &data, &len, &why);

	OK_INT(r, wanted, name);
	OK_STR(why.text, wanted_why, name);

	if (r < 0)
		OK(data == NULL && len == 77, "%s: return parameters untouched", name);
}

static void test_write(void)
{
	struct nbh_why why = { "" };
	nbh_cleanup_free char *data = NULL;
	struct stat st;
	size_t len;

	umask(0077);
	OK_INT(nbh_atomicfile_write(dir, "a", "one", 3, 0640, NBH_ATOMICFILE_FSYNC, &why), 0, "write");
	OK(fstatat(dir, "a", &st, 0) == 0 && (st.st_mode & 07777) == 0640, "mode despite the umask");
	put_file(".a.tmp", "left over", 9, 0600);
	OK_INT(nbh_atomicfile_write(dir, "a", "two!", 4, 0600, 0, &why), 0, "over a left-over");
	OK_INT(nbh_trustedfile_read(dir, "a", 4, &data, &len, &why), 0, "read at the limit");
	OK(len == 4 && strcmp(data, "two!") == 0, "the new content");
	OK(faccessat(dir, ".a.tmp", F_OK, 0) < 0, "no temporary file stays");
}

static void test_write_fails(void)
{
	struct nbh_why why = { "" };
	char name[300];
	struct stat st;

	mkdirat(dir, "d", 0700);
	OK_INT(nbh_atomicfile_write(dir, "d", "x", 1, 0600, 0, &why), -EISDIR, "over a directory");
	OK_STR(why.text, "d: cannot write: Is a directory; remove it", "says so");
	OK(faccessat(dir, ".d.tmp", F_OK, 0) < 0, "no temporary file stays");
	OK(fstatat(dir, "d", &st, 0) == 0 && S_ISDIR(st.st_mode), "the directory stays");

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	OK_INT(nbh_atomicfile_write(dir, name, "x", 1, 0600, 0, &why), -ENAMETOOLONG, "long name");
}

static void test_read_refuses(void)
{
	put_file("five", "12345", 5, 0600);
	check_read("five", 6, 0, "untouched");
	check_read("five", 5, 0, "untouched");
	check_read("five", 4, -EFBIG, "five: 5 bytes; at most 4 are accepted");
	check_read("none", 5, -ENOENT, "untouched");
	check_read("d", 5, -EINVAL, "d: not a regular file; remove it");

	if (symlinkat("five", dir, "link") < 0 || mkfifoat(dir, "fifo", 0600) < 0)
		abort();

	check_read("link", 5, -ELOOP, "link: is a symbolic link; put the file itself there");
	check_read("fifo", 5, -EINVAL, "fifo: not a regular file; remove it");
	put_file("group", "x", 1, 0620);
	check_read("group", 5, -EPERM, "group: mode 0620 lets others write; run chmod go-w on it");
	put_file("other", "x", 1, 0602);
	check_read("other", 5, -EPERM, "other: mode 0602 lets others write; run chmod go-w on it");
}

static void test_owner(void)
{
	struct stat st;

	if (geteuid() != 0 || fstatat(dir, "five", &st, 0) < 0 ||
	    fchownat(dir, "five", 61999, 61999, 0) < 0) {
		OK(true, "owners # SKIP not root");
		return;
	}

	check_read("five", 5, -EPERM, "five: owned by uid 61999; chown it to the directory's owner, uid 0");

	if (fchown(dir, 61999, 61998) < 0)
		abort();

	check_read("five", 5, 0, "untouched"); /* the directory's owner */
	nbh_atomicfile_write(dir, "given", "x", 1, 0600, 0, NULL);
	OK(fstatat(dir, "given", &st, 0) == 0 && st.st_uid == 61999 && st.st_gid == 61998,
	   "what root writes belongs to the directory's owner");

	if (fchown(dir, 0, 0) < 0)
		abort();
}

static void test_keyfile(void)
{
	struct nbh_key key, other, back = { { 7 } };
	struct nbh_key_text text;
	struct nbh_why why = { "" };
	struct stat st;

	nbh_key_generate_private(&key);
	nbh_key_generate_private(&other);
	OK_INT(nbh_keyfile_create(dir, "private.key", &key, &why), 0, "create");
	OK(fstatat(dir, "private.key", &st, 0) == 0 && (st.st_mode & 07777) == 0640 && st.st_size == 45 &&
	           st.st_nlink == 1,
	   "45 bytes, mode 0640, one name");
	OK_INT(nbh_keyfile_read(dir, "private.key", &back, &why), 0, "read");
	OK(nbh_key_equal(&key, &back), "the same key");
	OK_INT(nbh_keyfile_create(dir, "private.key", &other, &why), -EEXIST, "never overwritten");
	OK_STR(why.text, "private.key: exists already and is never overwritten", "says so");
	OK(nbh_keyfile_read(dir, "private.key", &back, &why) == 0 && nbh_key_equal(&key, &back),
	   "still the first");

	text = nbh_key_format(&key);
	put_file("k1", text.text, 44, 0600);
	OK_INT(nbh_keyfile_read(dir, "k1", &back, &why), 0, "without a newline");
	put_file("k2", text.text, 43, 0600);
	OK_INT(nbh_keyfile_read(dir, "k2", &back, &why), -EINVAL, "cut");
	OK(strstr(why.text, "k2: not one line") && !strstr(why.text, "="), "why without the text");
	text.text[20] = '\0';
	put_file("k3", text.text, 44, 0600);
	OK_INT(nbh_keyfile_read(dir, "k3", &back, &why), -EINVAL, "NUL inside");
	put_file("k4", "", 0, 0600);
	OK_INT(nbh_keyfile_read(dir, "k4", &back, &why), -EINVAL, "empty");
	OK_INT(nbh_keyfile_read(dir, "k5", &back, &why), -ENOENT, "missing");
}

static void test_lock(void)
{
	struct nbh_why why = { "" };
	char wanted[80];
	int fd = -1, again = -1, status;
	pid_t child;

	OK_INT(nbh_lock_holder(dir, "lock"), 0, "no file: nobody");
	OK_INT(nbh_lock_take(dir, "lock", &fd, &why), 0, "take");
	OK_INT(nbh_lock_holder(dir, "lock"), getpid(), "holder");
	OK_INT(nbh_lock_take(dir, "lock", &again, &why), -EBUSY, "busy, also for ourselves");
	snprintf(wanted, sizeof(wanted), "lock: pid %d already runs on this directory", getpid());
	OK_STR(why.text, wanted, "names the pid");

	fflush(stdout);
	child = fork();

	if (child == 0)
		_exit(nbh_lock_take(dir, "lock", &again, &why) == -EBUSY &&
		                      nbh_lock_holder(dir, "lock") == getppid() ?
		              0 :
		              1);

	OK(waitpid(child, &status, 0) == child && status == 0, "busy for another process");
	close(fd);
	OK_INT(nbh_lock_holder(dir, "lock"), 0, "nobody after close, although the file stays");
	OK_INT(nbh_lock_take(dir, "lock", &fd, &why), 0, "take again");
	put_file("lock2", "", 0, 0600);
	OK_INT(nbh_lock_take(dir, "lock2", &again, &why), 0, "another name");

	/* A pid that was used again: same number, other start time. */
	if (pwrite(again, "1 1\n", 4, 0) != 4 || ftruncate(again, 4) < 0)
		abort();

	OK_INT(nbh_lock_holder(dir, "lock2"), -EAGAIN, "a stale pid is not believed");
	close(fd);
	close(again);
	OK_INT(nbh_lock_take(dir, "link", &fd, &why), -ELOOP, "no symlink");
}

int main(void)
{
	static const char *const names[] = { "a",           "five", "link", "fifo", "group",
		                             "other",       "given", "k1",  "k2",   "k3",
		                             "private.key", "k4",   "lock", "lock2" };
	char path[] = "/tmp/test-base-XXXXXX";

	if (!mkdtemp(path) || (dir = open(path, O_RDONLY | O_DIRECTORY)) < 0)
		tap_skip_all("no temporary directory");

	test_write();
	test_write_fails();
	test_read_refuses();
	test_owner();
	test_keyfile();
	test_lock();

	for (size_t i = 0; i < NBH_N_ELEMENTS(names); i++)
		unlinkat(dir, names[i], 0);

	unlinkat(dir, "d", AT_REMOVEDIR);
	OK(rmdir(path) == 0, "nothing else was left behind");
	return tap_done();
}
