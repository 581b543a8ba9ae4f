#include "config.h"

#include "base/log.h"
#include "base/text.h"
#include "base/why.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static int out = -1; /* what stderr is while a message is logged */

/* The text of one message behind its time. */
static const char *logged(enum nbh_log_level level, const char *module, const char *text)
{
	static char buf[4096];
	int saved = dup(STDERR_FILENO);
	ssize_t n;

	if (saved < 0 || ftruncate(out, 0) < 0 || lseek(out, 0, SEEK_SET) < 0)
		abort();

	dup2(out, STDERR_FILENO);
	errno = ENOENT;
	nbh_log(level, module, "%s: %m", text);
	OK_INT(errno, ENOENT, "errno is kept");
	dup2(saved, STDERR_FILENO);
	close(saved);
	n = pread(out, buf, sizeof(buf) - 1, 0);
	buf[n > 0 ? n : 0] = '\0';
	return strchr(buf, ' ') ? strchr(buf, ' ') + 1 : buf;
}

static void test_levels(void)
{
	static const char *const names[] = { "error", "warn", "notice", "info",  "debug",
		                             "panic", "fatal", "warning", "trace" };

	for (size_t i = 0; i < NBH_N_ELEMENTS(names); i++)
		OK(nbh_log_is_level(names[i]) && nbh_log_set_level(names[i]) == 0, "%s", names[i]);

	OK_INT(nbh_log_set_level("loud"), -EINVAL, "no such level");
	OK_INT(nbh_log_set_level(""), -EINVAL, "no level");
	nbh_log_set_level("notice");
	OK(nbh_log_wants(NBH_LOG_NOTICE, "conn") && !nbh_log_wants(NBH_LOG_INFO, "conn"), "notice");
	nbh_log_set_debug_modules("conn,ice");
	OK(nbh_log_wants(NBH_LOG_DEBUG, "conn") && nbh_log_wants(NBH_LOG_DEBUG, "ice"), "modules");
	OK(!nbh_log_wants(NBH_LOG_DEBUG, "con") && !nbh_log_wants(NBH_LOG_DEBUG, "ic"), "whole names");
	nbh_log_set_debug_modules(NULL);
	OK(!nbh_log_wants(NBH_LOG_DEBUG, "conn"), "none again");
}

static void test_lines(void)
{
	char huge[3000];

	nbh_log_init("prog");
	OK_STR(logged(NBH_LOG_WARN, "ice", "event key=1"),
	       "prog warn ice: event key=1: No such file or directory\n", "a line");
	OK_STR(logged(NBH_LOG_ERROR, NULL, "a\nb\x1b[2J\x7f"),
	       "prog error : a?b?[2J?: No such file or directory\n", "control characters");
	OK_STR(logged(NBH_LOG_ERROR, NULL, "\x9b" "2J\xc2\x9b" "2J"),
	       "prog error : ?2J?2J: No such file or directory\n", "controls of 8 bits");
	OK_STR(logged(NBH_LOG_DEBUG, "ice", "not wanted"), "", "below the level");
	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	OK(strlen(logged(NBH_LOG_ERROR, "ice", huge)) < 1100, "a long one is cut");
}

static void check_printable(const char *text, const char *keep, const char *wanted)
{
	char buf[64];

	snprintf(buf, sizeof(buf), "%s", text);
	nbh_text_make_printable(buf, keep);
	OK_STR(buf, wanted, wanted);
}

static void test_printable(void)
{
	check_printable("", "", "");
	check_printable("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
	check_printable("a\nb\tc", "\n", "a\nb?c");
	check_printable("a\nb", "", "a?b");
	check_printable("\x1b]0;x\a", "", "?]0;x?");
	check_printable("\x7f\xc2\x80\xc2\x9f\xc2\xa0", "", "???\xc2\xa0");
	check_printable("\xff\xc3", "", "??");
	check_printable("\xe2\x82", "", "??");
	check_printable("\xed\xa0\x80\xf4\x90\x80\x80\xc0\xaf", "", "?????????");
	check_printable("ab\xe2\x80\xaegnp.sh\xe2\x80\x8b", "", "ab?gnp.sh?");
	check_printable("\xf3\xa0\x81\x81\xef\xbb\xbf\xc2\xadx", "", "???x");
}

static void test_journal(void)
{
	char value[64];
	struct stat st;

	if (fstat(out, &st) < 0)
		abort();

	/* Set, but naming something else than our stderr: inherited by accident. */
	setenv("JOURNAL_STREAM", "1:1", 1);
	nbh_log_init("prog");
	OK_STR(logged(NBH_LOG_WARN, "ice", "x"), "prog warn ice: x: No such file or directory\n",
	       "not our stderr");

	snprintf(value, sizeof(value), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", value, 1);
	int saved = dup(STDERR_FILENO);

	dup2(out, STDERR_FILENO);
	nbh_log_init("prog");
	dup2(saved, STDERR_FILENO);
	close(saved);
	OK_STR(logged(NBH_LOG_WARN, "ice", "x"), "x: No such file or directory\n", "journal");
	unsetenv("JOURNAL_STREAM");
	nbh_log_init("prog");
}

static void test_worth(void)
{
	OK(nbh_log_worth(1) && nbh_log_worth(2) && nbh_log_worth(4) && nbh_log_worth(1024), "worth");
	OK(!nbh_log_worth(0) && !nbh_log_worth(3) && !nbh_log_worth(1023), "not worth");
}

static void test_why(void)
{
	struct nbh_why why;
	char huge[400];

	nbh_why_set(&why, "port %d", 0);
	nbh_why_prefix(&why, "peers[%d].endpoint", 3);
	OK_STR(why.text, "peers[3].endpoint: port 0", "prefix");
	memset(huge, 'x', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	nbh_why_set(&why, "%s", huge);
	OK_INT(strlen(why.text), sizeof(why.text) - 1, "cut");
	nbh_why_prefix(&why, "file");
	OK(strncmp(why.text, "file: xxx", 9) == 0 && strlen(why.text) == sizeof(why.text) - 1,
	   "the prefix stays whole");
	nbh_why_set(NULL, "x");
	nbh_why_prefix(NULL, "x");
}

int main(void)
{
	char path[] = "/tmp/test-base-log-XXXXXX";

	out = mkstemp(path);

	if (out < 0)
		tap_skip_all("no temporary file");

	unlink(path);
	test_levels();
	test_lines();
	test_printable();
	test_journal();
	test_worth();
	test_why();
	return tap_done();
}
