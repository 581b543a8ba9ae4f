/* ended.json: what a program says, what its parent or systemd adds, what status makes of it. */
#include "config.h"

#include "base/ending.h"
#include "base/limits.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int dir;

/* As text; "(errno N)" when there is none. */
static const char *ending(void)
{
	static char buf[NBH_ENDING_TEXT_MAX];
	struct nbh_ending found;
	int r = nbh_ending_read(dir, &found, NULL);

	if (r < 0) {
		snprintf(buf, sizeof(buf), "(errno %d)", -r);
		return buf;
	}

	OK(found.at_unix_ms > INT64_C(1700000000000), "the time is there");
	return nbh_ending_format(&found, buf);
}

static const char *none(void)
{
	static char buf[32];

	snprintf(buf, sizeof(buf), "(errno %d)", ENOENT);
	return buf;
}

/* What waitpid() says of a child that ends by this signal, or with this code. */
static int status_of(int number, int code)
{
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		raise(number);
		_exit(code);
	}

	if (child < 0 || waitpid(child, &status, 0) != child)
		abort();

	return status;
}

static void environment(const char *how, const char *status)
{
	setenv("EXIT_CODE", how, 1);
	setenv("EXIT_STATUS", status, 1);
}

/* So many bytes of JSON. */
static int read_padded(size_t bytes)
{
	static const char text[] = "{\"code\": 3}";
	int fd = openat(dir, NBH_ENDING_NAME, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	struct nbh_ending found;

	if (fd < 0 || write(fd, text, sizeof(text) - 1) != sizeof(text) - 1)
		abort();

	for (size_t n = sizeof(text) - 1; n < bytes; n++)
		if (write(fd, " ", 1) != 1)
			abort();

	close(fd);
	return nbh_ending_read(dir, &found, NULL);
}

int main(void)
{
	char path[] = "/tmp/test-ending.XXXXXX";
	struct nbh_why why = { "" };
	char longer[1000];
	struct stat st;

	dir = mkdtemp(path) ? open(path, O_RDONLY | O_DIRECTORY) : -1;
	OK(dir >= 0, "directory");
	OK_STR(ending(), none(), "nothing at first");

	nbh_ending_note(dir, status_of(0, 77));
	OK_STR(ending(), "exit code 77", "a code");
	OK(fstatat(dir, NBH_ENDING_NAME, &st, 0) == 0 && (st.st_mode & 0777) == 0644, "for everybody to read");
	nbh_ending_note(dir, status_of(SIGKILL, 0));
	OK_STR(ending(), "killed by SIGKILL", "a signal");
	nbh_ending_note(dir, status_of(0, 0));
	OK_STR(ending(), "stopped", "on purpose");

	nbh_ending_say(dir, "/dev/net/tun: Permission denied");
	OK_STR(ending(), "/dev/net/tun: Permission denied", "its last words");
	nbh_ending_note(dir, status_of(0, 1));
	OK_STR(ending(), "exit code 1: /dev/net/tun: Permission denied", "and how it ended");
	nbh_ending_note(dir, status_of(SIGTERM, 0));
	OK_STR(ending(), "killed by SIGTERM", "the next run has said nothing");

	nbh_ending_say(dir, "no module \"wireguard\"\n");
	environment("exited", "77");
	OK_INT(nbh_ending_note_from_environment(dir, &why), 0, "systemd's code");
	OK_STR(ending(), "exit code 77: no module \"wireguard\"\n", "with the words");
	environment("dumped", "ABRT");
	OK_INT(nbh_ending_note_from_environment(dir, &why), 0, "systemd's signal");
	OK_STR(ending(), "killed by SIGABRT", "by name");
	environment("exited", "seven");
	OK_INT(nbh_ending_note_from_environment(dir, &why), 0, "what systemd never says");
	OK_STR(ending(), "killed by SIGABRT", "changes nothing");
	unsetenv("EXIT_CODE");
	OK_INT(nbh_ending_note_from_environment(dir, &why), -EINVAL, "not from systemd");
	OK(strstr(why.text, "ExecStopPost"), "and what it is for: %s", why.text);

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	nbh_ending_say(dir, longer);
	OK_INT((int)strlen(ending()), 159, "long words are cut");

	OK_INT(read_padded(NBH_ENDINGFILE_MAX_BYTES - 1), 0, "a file below the limit");
	OK_INT(read_padded(NBH_ENDINGFILE_MAX_BYTES), 0, "at it");
	OK_INT(read_padded(NBH_ENDINGFILE_MAX_BYTES + 1), -EFBIG, "above it");

	nbh_ending_forget(dir);
	OK_STR(ending(), none(), "a start that succeeds removes it");
	rmdir(path);
	return tap_done();
}
