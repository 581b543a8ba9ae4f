/* What wg/status.json says about the peers. */
#include "config.h"

#include "app/peers-private.h"

/* Once for each silence. */
static void take_silence(NbhPeers *peers, Peer *peer, gint64 silent_unix_ms)
{
	NbhConnEvent event = { .type = NBH_CONN_EV_SILENT };

	if (silent_unix_ms && silent_unix_ms != peer->silent_unix_ms)
		nbh_peers_queue(peers, &peer->key, &event);

	peer->silent_unix_ms = silent_unix_ms;
}

void nbh_peers_wg_status(NbhPeers *peers, const struct nbh_wgstatus *status)
{
	gint64 real_ms = g_get_real_time() / 1000;
	nbh_mono now = nbh_mono_now();

	for (gsize i = 0; i < status->n_peers; i++) {
		const struct nbh_wgstatus_peer *seen = &status->peers[i];
		Peer *peer = nbh_peers_find(peers, &seen->public_key);
		NbhConnEvent event = { .type = NBH_CONN_EV_HANDSHAKE };

		if (!peer)
			continue;

		peer->rx_bytes = seen->rx_bytes;
		peer->tx_bytes = seen->tx_bytes;
		take_silence(peers, peer, seen->silent_since_unix_ms);

		if (seen->last_handshake_unix_ms == 0 || seen->last_handshake_unix_ms == peer->handshake_unix_ms)
			continue;

		peer->handshake_unix_ms = seen->last_handshake_unix_ms;
		/* Not in the future: somebody may have set the clock back since. */
		event.u.handshake_at = nbh_mono_add_ms(now, -MAX(0, real_ms - seen->last_handshake_unix_ms));
		nbh_peers_queue(peers, &peer->key, &event);
	}

	nbh_peers_run(peers);
	peers->events.on_status(peers->owner);
}
