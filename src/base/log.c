/*
 * One write(2) per message, so that lines of several programs on one terminal never mix. The
 * programs that log are single-threaded: the state here needs no lock.
 */
#include "config.h"

#include "base/log.h"

#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LINE_MAX_BYTES 1024
#define MODULES_MAX_BYTES 256

static struct {
	const char *program; /* borrowed: argv[0] or a literal */
	enum nbh_log_level level;
	char modules[MODULES_MAX_BYTES]; /* ",conn,ice," or "" */
	bool journal;
} state = { .program = "", .level = NBH_LOG_INFO };

static const struct {
	const char *name;
	enum nbh_log_level level;
} level_names[] = {
	{ "error", NBH_LOG_ERROR },  { "warn", NBH_LOG_WARN },   { "notice", NBH_LOG_NOTICE },
	{ "info", NBH_LOG_INFO },    { "debug", NBH_LOG_DEBUG }, { "warning", NBH_LOG_WARN },
	{ "panic", NBH_LOG_ERROR },  { "fatal", NBH_LOG_ERROR }, { "trace", NBH_LOG_DEBUG },
};

/* sd-daemon(3) priorities, from our levels. */
static const char *const journal_prefix[] = { "<3>", "<4>", "<5>", "<6>", "<7>" };
_Static_assert(NBH_N_ELEMENTS(journal_prefix) == NBH_LOG_N_LEVELS, "a priority for each level");
static const char *const level_text[] = { "error", "warn", "notice", "info", "debug" };
_Static_assert(NBH_N_ELEMENTS(level_text) == NBH_LOG_N_LEVELS, "a text for each level");

/* systemd.exec(5): JOURNAL_STREAM is inherited, so it counts only if it names our stderr. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%ju:%ju", &dev, &ino) != 2)
		return false;

	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void nbh_log_init(const char *program)
{
	state.program = program;
	state.journal = stderr_is_journal();
}

/* -1 if there is no such level. */
static int find_level(const char *name)
{
	for (size_t i = 0; i < NBH_N_ELEMENTS(level_names); i++) {
		if (strcmp(name, level_names[i].name) == 0)
			return (int)level_names[i].level;
	}

	return -1;
}

bool nbh_log_is_level(const char *name)
{
	return find_level(name) >= 0;
}

int nbh_log_set_level(const char *name)
{
	int level = find_level(name);

	if (level < 0)
		return -EINVAL;

	state.level = (enum nbh_log_level)level;
	return 0;
}

void nbh_log_set_debug_modules(const char *list)
{
	if (!list || !*list)
		state.modules[0] = '\0';
	else
		snprintf(state.modules, sizeof(state.modules), ",%s,", list);
}

bool nbh_log_wants(enum nbh_log_level level, const char *module)
{
	char token[64];

	if (level <= state.level)
		return true;

	if (!state.modules[0] || !module)
		return false;

	snprintf(token, sizeof(token), ",%s,", module);
	return strstr(state.modules, token) != NULL;
}

static size_t put_head(char *line, size_t size, enum nbh_log_level level, const char *module)
{
	struct timespec now;
	struct tm tm;
	int n;

	if (state.journal) {
		n = snprintf(line, size, "%s%s: ", journal_prefix[level], module ? module : "");
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		gmtime_r(&now.tv_sec, &tm);
		n = snprintf(line, size, "%02d:%02d:%02d.%03ld %s %s %s: ", tm.tm_hour, tm.tm_min,
		             tm.tm_sec, now.tv_nsec / 1000000, state.program, level_text[level],
		             module ? module : "");
	}

	return n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
}

void nbh_log(enum nbh_log_level level, const char *module, const char *fmt, ...)
{
	int saved = errno;
	char line[LINE_MAX_BYTES];
	size_t head, len;
	va_list args;
	int n;

	if (!nbh_log_wants(level, module))
		return;

	head = put_head(line, sizeof(line) - 1, level, module);
	errno = saved; /* for %m */
	va_start(args, fmt);
	n = vsnprintf(line + head, sizeof(line) - 1 - head, fmt, args);
	va_end(args);

	len = head + (n < 0 ? 0 : (size_t)n);

	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;

	line[len] = '\0';
	nbh_text_make_printable(line + head, "");
	len = head + strlen(line + head);
	line[len++] = '\n';

	/* A log that cannot be written has nowhere to say so. */
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;

	errno = saved;
}
