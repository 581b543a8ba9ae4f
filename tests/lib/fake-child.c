/*
 * Stands for netbird-wg, netbird-ice or netbird-helper (by its name) below the launcher: becomes
 * --user as netbird-ice does, takes its lock, prints "ready" and waits for a signal. A file
 * NAME.exit beside the program holds the code that it ends with instead; NAME.deaf makes it ignore
 * SIGTERM. A SIGHUP is reported.
 */
#include "config.h"

#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void on_term(int number)
{
	(void)number;
	_exit(0);
}

static void on_hangup(int number)
{
	static const char line[] = "fake-child: SIGHUP\n";

	(void)number;
	(void)!write(STDERR_FILENO, line, sizeof(line) - 1);
}

static void become(const char *text)
{
	unsigned uid, gid;

	if (sscanf(text, "%u:%u", &uid, &gid) != 2 || setgroups(0, NULL) < 0 ||
	    setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0) {
		perror("fake-child: --user");
		_exit(3);
	}
}

static const char *value_of(int argc, char **argv, const char *option)
{
	for (int i = 1; i + 1 < argc; i++) {
		if (strcmp(argv[i], option) == 0)
			return argv[i + 1];
	}

	return NULL;
}

/* The content of a file beside the program; -1 if there is none. */
static int beside(const char *path, const char *suffix)
{
	char name[PATH_MAX + 16];
	FILE *file;
	int value = 0;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	file = fopen(name, "r");

	if (!file)
		return -1;

	if (fscanf(file, "%d", &value) != 1)
		value = 0;

	fclose(file);
	return value;
}

static int take_lock(const char *path, const char *dir, struct nbh_why *why)
{
	const char *name = strrchr(path, '/') + 1;
	char lock_dir[PATH_MAX + 8];
	int fd, lock;

	snprintf(lock_dir, sizeof(lock_dir), "%s%s", dir,
	         strcmp(name, "netbird-wg") == 0  ? "/wg" :
	         strcmp(name, "netbird-ice") == 0 ? "/ice" :
	                                            "");
	fd = open(lock_dir, O_RDONLY | O_DIRECTORY);

	if (fd < 0) {
		nbh_why_set(why, "%s: %s", lock_dir, strerror(errno));
		return -errno;
	}

	return nbh_lock_take(fd, strcmp(name, "netbird-helper") == 0 ? NBH_LOCK_HELPER : "lock", &lock,
	                     why);
}

int main(int argc, char **argv)
{
	const char *dir = value_of(argc, argv, "--config-dir"), *user = value_of(argc, argv, "--user");
	struct nbh_why why = { "" };
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	int code;

	if (n < 0 || !dir)
		return 3;

	path[n] = '\0';
	code = beside(path, ".exit");

	if (code >= 0)
		_exit(code);

	signal(SIGTERM, beside(path, ".deaf") >= 0 ? SIG_IGN : on_term);

	signal(SIGHUP, on_hangup);

	if (user)
		become(user);

	if (take_lock(path, dir, &why) < 0) {
		fprintf(stderr, "fake-child: %s\n", why.text);
		_exit(1);
	}

	printf("ready %s\n", strrchr(path, '/') + 1);
	fflush(stdout);

	for (;;)
		pause();
}
