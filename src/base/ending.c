#include "config.h"

#include "base/ending.h"

#include "base/atomicfile.h"
#include "base/json.h"
#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE 0644

/* What cannot be written is in the log, which says it first. */
static void put(int dirfd, struct nbh_ending *ending)
{
	struct nbh_jsonw *w = nbh_jsonw_new();
	nbh_cleanup_free char *text = NULL;
	char at[NBH_RFC3339_MAX];
	struct timespec now;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	nbh_jsonw_object(w, NULL);

	if (ending->code >= 0)
		nbh_jsonw_int(w, "code", ending->code);

	if (ending->signal[0])
		nbh_jsonw_string(w, "signal", ending->signal);

	nbh_jsonw_string(w, "error", ending->error);
	nbh_jsonw_string(w, "at", nbh_rfc3339((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, at));
	text = nbh_jsonw_end(w, &len);

	if (text)
		(void)nbh_atomicfile_write(dirfd, NBH_ENDING_NAME, text, len, FILE_MODE, 0, NULL);
}

void nbh_ending_say(int dirfd, const char *error)
{
	struct nbh_ending ending = { .code = -1 };

	snprintf(ending.error, sizeof(ending.error), "%s", error);
	put(dirfd, &ending);
}

void nbh_ending_forget(int dirfd)
{
	(void)unlinkat(dirfd, NBH_ENDING_NAME, 0);
}

/* The words of this run stay; a file that says how it ended is of an earlier one. */
static void note(int dirfd, int code, const char *signal)
{
	struct nbh_ending ending;

	if (nbh_ending_read(dirfd, &ending, NULL) < 0 || ending.code >= 0 || ending.signal[0])
		ending.error[0] = '\0';

	ending.code = code;
	snprintf(ending.signal, sizeof(ending.signal), "%s", signal);
	put(dirfd, &ending);
}

void nbh_ending_note(int dirfd, int status)
{
	const char *name = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;

	if (WIFEXITED(status))
		note(dirfd, WEXITSTATUS(status), "");
	else if (WIFSIGNALED(status))
		note(dirfd, -1, name ? name : "?");
}

int nbh_ending_note_from_environment(int dirfd, struct nbh_why *why)
{
	const char *how = getenv("EXIT_CODE"), *status = getenv("EXIT_STATUS");
	char *end = NULL;
	long code = status ? strtol(status, &end, 10) : -1;

	if (!how || !status) {
		nbh_why_set(why, "EXIT_CODE and EXIT_STATUS are not set: it is for ExecStopPost= of a unit");
		return -EINVAL;
	}

	if (strcmp(how, "exited") != 0)
		note(dirfd, -1, status); /* "killed", "dumped"; systemd names signals without SIG */
	else if (end != status && *end == '\0' && code >= 0 && code <= 255)
		note(dirfd, (int)code, "");

	return 0;
}

static void read_text(const struct nbh_json_value *root, const char *key, char *out, size_t size)
{
	const char *text = nbh_json_string(nbh_json_get(root, key));

	snprintf(out, size, "%s", text ? text : "");
}

int nbh_ending_parse(const char *text, size_t len, struct nbh_ending *ret_ending, struct nbh_why *why)
{
	struct nbh_ending ending = { .code = -1 };
	const struct nbh_json_value *root;
	char at[NBH_RFC3339_MAX];
	struct nbh_json *doc;
	int64_t code;
	int r = nbh_json_parse(text, len, &doc, why);

	if (r < 0) {
		nbh_why_prefix(why, NBH_ENDING_NAME);
		return r;
	}

	root = nbh_json_root(doc);
	read_text(root, "signal", ending.signal, sizeof(ending.signal));
	read_text(root, "error", ending.error, sizeof(ending.error));
	read_text(root, "at", at, sizeof(at));

	if (nbh_json_int(nbh_json_get(root, "code"), &code) && code >= 0 && code <= 255)
		ending.code = (int)code;

	(void)nbh_rfc3339_parse(at, &ending.at_unix_ms);
	nbh_json_free(doc);
	*ret_ending = ending;
	return 0;
}

int nbh_ending_read(int dirfd, struct nbh_ending *ret_ending, struct nbh_why *why)
{
	nbh_cleanup_free char *text = NULL;
	size_t len;
	int r = nbh_trustedfile_read(dirfd, NBH_ENDING_NAME, NBH_ENDINGFILE_MAX_BYTES, &text, &len, why);

	return r < 0 ? r : nbh_ending_parse(text, len, ret_ending, why);
}

const char *nbh_ending_format(const struct nbh_ending *ending, char buf[NBH_ENDING_TEXT_MAX])
{
	char how[32] = "";

	if (ending->signal[0])
		snprintf(how, sizeof(how), "killed by SIG%.15s", ending->signal);
	else if (ending->code > 0)
		snprintf(how, sizeof(how), "exit code %d", ending->code);
	else if (ending->code == 0)
		snprintf(how, sizeof(how), "stopped");

	snprintf(buf, NBH_ENDING_TEXT_MAX, "%s%s%s", how, how[0] && ending->error[0] ? ": " : "",
	         ending->error);
	return buf;
}
