#ifndef NBH_BASE_LOG_H
#define NBH_BASE_LOG_H

#include "base/macros.h"

#include <stdbool.h>

/*
 * Messages are "event key=value ..." on stderr, with "<N>" priorities when stderr is the journal
 * (JOURNAL_STREAM), with time and level otherwise. Peers appear as the first eight characters of
 * their public key. Keys, passwords and setup keys never appear. Keeps errno.
 * Control characters in a formatted message are replaced by '?': text from peers reaches logs.
 */
enum nbh_log_level {
	NBH_LOG_ERROR,  /* we gave up on something that the administrator must see */
	NBH_LOG_WARN,   /* unexpected, handled */
	NBH_LOG_NOTICE, /* a peer or link changed state; fixed event names */
	NBH_LOG_INFO,
	NBH_LOG_DEBUG,
	NBH_LOG_N_LEVELS
};

/* program: shown in front of each message. */
void nbh_log_init(const char *program);

/* "error" .. "debug", also NetBird's "warning", "panic", "fatal", "trace". -EINVAL. */
int nbh_log_set_level(const char *name);

bool nbh_log_is_level(const char *name);

/* "conn,ice": DEBUG for these modules whatever the level is. */
void nbh_log_set_debug_modules(const char *list);

bool nbh_log_wants(enum nbh_log_level level, const char *module);

void nbh_log(enum nbh_log_level level, const char *module, const char *fmt, ...) NBH_PRINTF(3, 4);

/* Repeating failures are worth a line at the 1st, 2nd, 4th, 8th ... time. */
static inline bool nbh_log_worth(unsigned count)
{
	return count && (count & (count - 1)) == 0;
}

#endif
