/*
 * What a local user can put where our programs read and write: links, FIFOs, devices, directories,
 * other people's and huge files. Nothing is followed, nothing is lost, nothing hangs (a test that
 * does is ended by its alarm), and the message names the file.
 */
#include "config.h"

#include "base/atomicfile.h"
#include "base/configfile.h"
#include "base/devicefile.h"
#include "base/ending.h"
#include "base/key.h"
#include "base/limits.h"
#include "base/lock.h"
#include "base/peersfile.h"
#include "base/statusfile.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#define VICTIM "victim"
#define SECRET "what nobody may touch"
#define HANGS_AFTER_S 60
#define STRANGER 61999

static int dir = -1;

static void put_victim(void)
{
	int fd;

	unlinkat(dir, VICTIM, 0);
	fd = openat(dir, VICTIM, O_WRONLY | O_CREAT | O_EXCL, 0600);

	if (fd < 0 || write(fd, SECRET, strlen(SECRET)) < 0)
		abort();

	close(fd);
}

static void check_victim(const char *what)
{
	char text[64] = "";
	int fd = openat(dir, VICTIM, O_RDONLY);
	struct stat st = { 0 };

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0 || fstat(fd, &st) < 0)
		text[0] = '\0';

	if (fd >= 0)
		close(fd);

	OK_STR(text, SECRET, what);
	OK(st.st_uid == geteuid() && (st.st_mode & 07777) == 0600, "%s: owner and mode", what);
}

static void put_nothing(const char *name)
{
	(void)name;
}

static void put_symlink(const char *name)
{
	if (symlinkat(VICTIM, dir, name) < 0)
		abort();
}

static void put_dangling(const char *name)
{
	if (symlinkat("nowhere", dir, name) < 0)
		abort();
}

static void put_hard_link(const char *name)
{
	if (linkat(dir, VICTIM, dir, name, 0) < 0)
		abort();
}

static void put_fifo(const char *name)
{
	if (mkfifoat(dir, name, 0600) < 0)
		abort();
}

static void put_directory(const char *name)
{
	if (mkdirat(dir, name, 0700) < 0)
		abort();
}

static void put_socket(const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%.40s", dir, name);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		abort();

	close(fd);
}

/* /dev/null's numbers; only root may, and not in every container. */
static void put_device(const char *name)
{
	if (mknodat(dir, name, S_IFCHR | 0600, makedev(1, 3)) < 0)
		put_fifo(name);
}

/* What a read of each must end with; a lock and a temporary file have their own rules. */
static const struct kind {
	const char *name;
	void (*put)(const char *name);
	int read, lock;
} kinds[] = {
	{ "nothing", put_nothing, -ENOENT, 0 },          { "symlink", put_symlink, -ELOOP, -ELOOP },
	{ "dangling link", put_dangling, -ELOOP, -ELOOP }, { "hard link", put_hard_link, 0, -EPERM },
	{ "FIFO", put_fifo, -EINVAL, -EINVAL },          { "directory", put_directory, -EINVAL, -EISDIR },
	{ "socket", put_socket, -EINVAL, -ENXIO },       { "device", put_device, -EINVAL, -EINVAL },
};

static void clear(const char *name)
{
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		unlinkat(dir, name, AT_REMOVEDIR);
}

static bool names(const struct nbh_why *why, const char *name)
{
	return strncmp(why->text, name, strlen(name)) == 0 && why->text[strlen(name)] == ':';
}

static void check_read(const struct kind *kind)
{
	struct nbh_why why = { "" };
	nbh_cleanup_free char *data = NULL;
	size_t len;

	kind->put("file");
	OK_INT(nbh_trustedfile_read(dir, "file", 1000, &data, &len, &why), kind->read, kind->name);
	OK(kind->read == 0 || kind->read == -ENOENT || names(&why, "file"), "reading: %s", why.text);
	check_victim("reading");
	clear("file");
}

/* A link is replaced, never followed; a directory stays and is named. */
static void check_write(const struct kind *kind)
{
	struct nbh_why why = { "" };
	bool is_dir = kind->put == put_directory;
	struct stat st;
	int r;

	kind->put("file");
	r = nbh_atomicfile_write(dir, "file", "new", 3, 0640, 0, &why);
	OK_INT(r, is_dir ? -EISDIR : 0, kind->name);
	OK(r == 0 || names(&why, "file"), "writing over it: %s", why.text);
	OK(fstatat(dir, "file", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	           (is_dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode) && st.st_size == 3 && st.st_nlink == 1),
	   "a file of its own, or the directory");
	check_victim("writing");
	clear("file");
}

/* The same where our temporary file goes. */
static void check_temp(const struct kind *kind)
{
	struct nbh_why why = { "" };
	bool is_dir = kind->put == put_directory;

	kind->put(".file.tmp");
	OK_INT(nbh_atomicfile_write(dir, "file", "new", 3, 0640, 0, &why), is_dir ? -EISDIR : 0, kind->name);
	OK(!is_dir || (names(&why, "file") && strstr(why.text, ".file.tmp: Is a directory; remove it")), "names both: %s", why.text);
	OK(is_dir || faccessat(dir, ".file.tmp", F_OK, AT_SYMLINK_NOFOLLOW) < 0, "nothing stays");
	check_victim("temporary file");
	clear(".file.tmp");
	clear("file");
}

static void check_key(const struct kind *kind)
{
	struct nbh_why why = { "" };
	bool is_there = kind->put != put_nothing;
	struct nbh_key key;

	nbh_key_generate_private(&key);
	kind->put("file");
	OK_INT(nbh_keyfile_create(dir, "file", &key, &why), is_there ? -EEXIST : 0, kind->name);
	OK(!is_there || names(&why, "file"), "key: %s", why.text);
	check_victim("key");
	clear("file");
	kind->put(".file.new");
	OK_INT(nbh_keyfile_create(dir, "file", &key, &why), kind->put == put_directory ? -EISDIR : 0, kind->name);
	check_victim("key by way of its temporary file");
	clear(".file.new");
	clear("file");
}

static void check_lock(const struct kind *kind)
{
	struct nbh_why why = { "" };
	int fd = -1;

	kind->put("lock");
	OK(nbh_lock_holder(dir, "lock") <= 0, "%s: nobody holds it", kind->name);
	OK_INT(nbh_lock_take(dir, "lock", &fd, &why), kind->lock, kind->name);
	OK(kind->lock == 0 || (fd == -1 && names(&why, "lock") && strstr(why.text, "remove")), "lock: %s", why.text);

	if (fd >= 0)
		close(fd);

	check_victim("lock");
	OK(faccessat(dir, "nowhere", F_OK, 0) < 0, "no file is made behind a link");
	clear("lock");
}

/* A file of somebody else, and a directory where everybody may write. */
static void test_strangers(void)
{
	struct nbh_why why = { "" };
	nbh_cleanup_free char *data = NULL;
	size_t len;
	int fd = -1;

	if (fchmod(dir, 0777) < 0)
		abort();

	OK_INT(nbh_trustedfile_read(dir, VICTIM, 1000, &data, &len, &why), -EPERM, "everybody may rename");
	OK_STR(why.text, "victim: its directory (mode 0777) lets everybody write; run chmod o-w on it", "why");

	if (fchmod(dir, 01777) < 0)
		abort();

	OK_INT(nbh_trustedfile_read(dir, VICTIM, 1000, &data, &len, &why), 0, "sticky: everybody may add only");

	if (fchmod(dir, 0700) < 0)
		abort();

	if (geteuid() != 0) {
		OK(true, "owners # SKIP not root");
		return;
	}

	put_fifo("lock");
	clear("lock");
	fd = openat(dir, "lock", O_WRONLY | O_CREAT, 0666);

	if (fd < 0 || fchown(fd, STRANGER, STRANGER) < 0)
		abort();

	close(fd);
	OK_INT(nbh_lock_take(dir, "lock", &fd, &why), -EPERM, "a stranger's lock");
	OK_STR(why.text, "lock: owned by uid 61999; remove it", "why");
	clear("lock");
}

/* One below and at the limit its content counts, one above only its size; no disk is used. */
static void check_size(const char *name, size_t max, int (*read_file)(struct nbh_why *why))
{
	struct nbh_why why;
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL, 0600);

	for (int above = -1; above <= 1; above++) {
		int r;

		why.text[0] = '\0';

		if (fd < 0 || ftruncate(fd, (off_t)max + above) < 0)
			abort();

		r = read_file(&why);
		OK(above == 1 ? r == -EFBIG : r < 0 && r != -EFBIG, "%s of the limit%+d bytes: %s", name, above,
		   why.text);
		OK(strstr(why.text, name), "%s is named", name);
	}

	close(fd);
	clear(name);
}

static int read_config(struct nbh_why *why)
{
	struct nbh_config config;

	return nbh_configfile_read(dir, &config, why);
}

static int read_device(struct nbh_why *why)
{
	struct nbh_device device;

	return nbh_devicefile_read(dir, &device, why);
}

static int read_peers(struct nbh_why *why)
{
	struct nbh_peersfile peers;

	return nbh_peersfile_read(dir, &peers, why);
}

static int read_wgstatus(struct nbh_why *why)
{
	struct nbh_wgstatus status;

	return nbh_wgstatus_read(dir, &status, why);
}

static int read_key(struct nbh_why *why)
{
	struct nbh_key key;

	return nbh_keyfile_read(dir, "private.key", &key, why);
}

static int read_ending(struct nbh_why *why)
{
	struct nbh_ending ending;

	return nbh_ending_read(dir, &ending, why);
}

int main(void)
{
	char path[] = "/tmp/test-base-hostile-XXXXXX";

	if (!mkdtemp(path) || (dir = open(path, O_RDONLY | O_DIRECTORY)) < 0)
		tap_skip_all("no temporary directory");

	alarm(HANGS_AFTER_S);
	put_victim();

	for (size_t i = 0; i < NBH_N_ELEMENTS(kinds); i++) {
		check_read(&kinds[i]);
		check_write(&kinds[i]);
		check_temp(&kinds[i]);
		check_key(&kinds[i]);
		check_lock(&kinds[i]);
	}

	test_strangers();
	check_size(NBH_CONFIGFILE_NAME, NBH_CONFIGFILE_MAX_BYTES, read_config);
	check_size(NBH_DEVICEFILE_NAME, NBH_DEVICEFILE_MAX_BYTES, read_device);
	check_size(NBH_PEERSFILE_NAME, NBH_PEERSFILE_MAX_BYTES, read_peers);
	check_size("status.json", NBH_STATUSFILE_MAX_BYTES, read_wgstatus);
	check_size(NBH_ENDING_NAME, NBH_ENDINGFILE_MAX_BYTES, read_ending);
	check_size("private.key", NBH_KEYFILE_MAX_BYTES, read_key);
	clear(VICTIM);
	OK(rmdir(path) == 0, "nothing else was left behind");
	return tap_done();
}
