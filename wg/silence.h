#ifndef NBH_WG_SILENCE_H
#define NBH_WG_SILENCE_H

#include "base/mono.h"

#include "wg/backend.h"

/*
 * Which peers do not answer any more. A NAT that forgets a mapping, or a public address that changes,
 * leaves no sign on this host but that: WireGuard itself only goes on trying. Pure; looked at together
 * with the report, and more often only while something is sent, so an idle tunnel costs nothing.
 *
 * What has to be answered: WireGuard's passive keepalive comes 10 s after data that had no answer of
 * its own, and a handshake response at once. Data that is sent in two looks and not answered for 11 s,
 * or in one and not for 16 s (its own new handshake after 15 s was in vain, too), is silence. On an
 * idle tunnel it is two persistent keepalives of the far end and a half that did not come; whether
 * the far end sends any is for the reader of the report to know.
 */
#define WG_SILENCE_OFTEN_MS 5000  /* between two looks while data flows */
#define WG_SILENCE_DATA_BYTES 512 /* between two looks: more than a handshake and keepalives */
#define WG_SILENCE_ANSWER_MS 11000
#define WG_SILENCE_LOST_MS 16000
#define WG_SILENCE_IDLE_MS 65000

struct wg_silence_peer {
	struct nbh_key public_key;
	uint64_t rx_bytes, tx_bytes;
	nbh_mono heard_at; /* the last look at which something had come */
	nbh_mono sent_at;  /* the first look at which something unanswered had been sent; or NBH_MONO_NEVER */
	int64_t heard_unix_ms;
	bool sent_again, is_silent;
};

struct wg_silence {
	struct wg_silence_peer *peers; /* owned; sorted by key */
	size_t n_peers;
	nbh_mono looked_at;
	nbh_mono next; /* when to look again; NBH_MONO_NEVER: whenever the report does */
};

/* One look. -ENOMEM: as before. */
int wg_silence_look(struct wg_silence *silence, const struct wg_dev *dev, int64_t unix_ms, nbh_mono now);

/* Since when nothing came of dev->peers[i] of the last look, if that is silence; else 0. */
int64_t wg_silence_since(const struct wg_silence *silence, size_t i);

void wg_silence_clear(struct wg_silence *silence);

#endif
