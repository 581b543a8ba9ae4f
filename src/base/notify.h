#ifndef NBH_BASE_NOTIFY_H
#define NBH_BASE_NOTIFY_H

/*
 * sd_notify(3) without libsystemd: one datagram to $NOTIFY_SOCKET, e.g. "READY=1\nSTATUS=...".
 * Nothing happens when the variable is not set; errors are ignored, as sd_notify's callers do.
 */
void nbh_notify(const char *state);

#endif
