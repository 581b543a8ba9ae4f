#ifndef NBH_BASE_ENDING_H
#define NBH_BASE_ENDING_H

/*
 * Why netbird-ice or netbird-wg is not there: ended.json in its own directory, for `status`. The program
 * puts its last words there when it gives up; whoever runs it (the launcher, or ExecStopPost= of the
 * unit) adds how it ended; a start that succeeds removes the file. No secrets, 0644.
 */

#include "base/why.h"

#include <stddef.h>
#include <stdint.h>

#define NBH_ENDING_NAME "ended.json"
#define NBH_ENDING_TEXT_MAX 256

struct nbh_ending {
	int code;        /* exit code; -1: not known, or a signal */
	char signal[16]; /* "SEGV"; "": none */
	char error[160]; /* "": it said nothing */
	int64_t at_unix_ms;
};

/* By the program, with what it says in its log. */
void nbh_ending_say(int dirfd, const char *error);

/* By the program, once it has started. */
void nbh_ending_forget(int dirfd);

/* By who runs it, as the program's user. status is waitpid()'s. */
void nbh_ending_note(int dirfd, int status);

/* The same from $EXIT_CODE and $EXIT_STATUS of systemd.exec(5). 0, or -EINVAL when they are not there. */
int nbh_ending_note_from_environment(int dirfd, struct nbh_why *why);

/* -ENOENT when there is none, or another -errno. */
int nbh_ending_read(int dirfd, struct nbh_ending *ret_ending, struct nbh_why *why);

int nbh_ending_parse(const char *text, size_t len, struct nbh_ending *ret_ending, struct nbh_why *why);

/* "killed by SIGSEGV", "exit code 77: /dev/net/tun: ...", "stopped". */
const char *nbh_ending_format(const struct nbh_ending *ending, char buf[NBH_ENDING_TEXT_MAX]);

#endif
