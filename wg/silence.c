#include "config.h"

#include "wg/silence.h"

#include <errno.h>
#include <stdlib.h>

#define KEEPALIVE_BYTES 32
#define KEEPALIVE_MIN_MS 10000 /* two of them do not come closer */

/* Both lists are sorted by key; *at is where the last search ended. */
static const struct wg_silence_peer *find(const struct wg_silence *silence, const struct nbh_key *key,
                                          size_t *at)
{
	while (*at < silence->n_peers && nbh_key_compare(&silence->peers[*at].public_key, key) < 0)
		(*at)++;

	if (*at < silence->n_peers && nbh_key_compare(&silence->peers[*at].public_key, key) == 0)
		return &silence->peers[*at];

	return NULL;
}

static bool is_silent(const struct wg_silence_peer *peer, bool has_keepalive, nbh_mono now)
{
	if (nbh_mono_before(peer->sent_at, NBH_MONO_NEVER)) {
		int64_t ms = nbh_mono_diff_ms(now, peer->sent_at);

		if (ms >= (peer->sent_again ? WG_SILENCE_ANSWER_MS : WG_SILENCE_LOST_MS))
			return true;
	}

	return has_keepalive && nbh_mono_diff_ms(now, peer->heard_at) >= WG_SILENCE_IDLE_MS;
}

static struct wg_silence_peer judge(const struct wg_silence *silence, const struct wg_silence_peer *before,
                                    const struct wg_peer *seen, int64_t unix_ms, nbh_mono now)
{
	int64_t keepalives = 1 + nbh_mono_diff_ms(now, silence->looked_at) / KEEPALIVE_MIN_MS;
	struct wg_silence_peer peer;

	/* New, made anew (its counters began again), or heard. */
	if (!before || seen->tx_bytes < before->tx_bytes || seen->rx_bytes != before->rx_bytes)
		return (struct wg_silence_peer){
			.public_key = seen->public_key,
			.rx_bytes = seen->rx_bytes,
			.tx_bytes = seen->tx_bytes,
			.heard_at = now,
			.sent_at = NBH_MONO_NEVER,
			.heard_unix_ms = unix_ms,
		};

	peer = *before;
	peer.tx_bytes = seen->tx_bytes;
	if (seen->tx_bytes - before->tx_bytes > (uint64_t)keepalives * KEEPALIVE_BYTES) {
		peer.sent_again = nbh_mono_before(peer.sent_at, NBH_MONO_NEVER);
		if (!peer.sent_again)
			peer.sent_at = now;
	}

	/* One that was never there has not fallen silent. */
	peer.is_silent = peer.is_silent || (seen->last_handshake_unix_ms > 0 &&
	                                    is_silent(&peer, seen->keepalive_s > 0, now));
	return peer;
}

static nbh_mono sooner(nbh_mono a, nbh_mono b)
{
	return nbh_mono_before(b, a) ? b : a;
}

/* When this peer is worth a look; an unanswered one by the moment when that would be silence. */
static nbh_mono next_look(const struct wg_silence_peer *before, const struct wg_silence_peer *peer,
                          const struct wg_peer *seen, nbh_mono now)
{
	uint64_t bytes = !before ? 0 : peer->rx_bytes - before->rx_bytes + (peer->tx_bytes - before->tx_bytes);
	nbh_mono next = NBH_MONO_NEVER;

	if (seen->last_handshake_unix_ms == 0)
		return next;

	if (bytes > WG_SILENCE_DATA_BYTES)
		next = nbh_mono_add_ms(now, WG_SILENCE_OFTEN_MS);
	if (!peer->is_silent && nbh_mono_before(peer->sent_at, NBH_MONO_NEVER))
		next = sooner(next, nbh_mono_add_ms(peer->sent_at, nbh_mono_diff_ms(now, peer->sent_at) <
		                                    WG_SILENCE_ANSWER_MS ? WG_SILENCE_ANSWER_MS : WG_SILENCE_LOST_MS));

	return next;
}

int wg_silence_look(struct wg_silence *silence, const struct wg_dev *dev, int64_t unix_ms, nbh_mono now)
{
	struct wg_silence_peer *peers = calloc(dev->n_peers ? dev->n_peers : 1, sizeof(*peers));
	nbh_mono next = NBH_MONO_NEVER;
	size_t at = 0;

	if (!peers)
		return -ENOMEM;

	for (size_t i = 0; i < dev->n_peers; i++) {
		const struct wg_silence_peer *before = find(silence, &dev->peers[i].public_key, &at);

		peers[i] = judge(silence, before, &dev->peers[i], unix_ms, now);
		next = sooner(next, next_look(before, &peers[i], &dev->peers[i], now));
	}

	free(silence->peers);
	silence->peers = peers;
	silence->n_peers = dev->n_peers;
	silence->looked_at = now;
	silence->next = next;
	return 0;
}

int64_t wg_silence_since(const struct wg_silence *silence, size_t i)
{
	return i < silence->n_peers && silence->peers[i].is_silent ? silence->peers[i].heard_unix_ms : 0;
}

void wg_silence_clear(struct wg_silence *silence)
{
	free(silence->peers);
	*silence = (struct wg_silence){ .next = NBH_MONO_NEVER };
}
