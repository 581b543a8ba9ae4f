#ifndef NBH_TESTS_LIB_PEERHOST_H
#define NBH_TESTS_LIB_PEERHOST_H

/*
 * One host's app/peers in a test: a real machine for each peer, real signal envelopes over
 * signal-pair, ICE by the fake.
 */

#include "app/peers.h"
#include "ice/ice-fake.h"

typedef struct {
	struct nbh_key private_key, public_key;
	NbhPeers *peers;
	NbhSignal *signal;
	NbhIce *ice;
	NbhLoopback *loopback;
	guint n_paths;
} Host;

/* host: all zeros. Its only candidate is address:51820. */
void test_host_open(Host *host, const char *address);
void test_host_open_peers(Host *host, const char *address); /* only the peers, after they were freed */
void test_host_close(Host *host);

/* A map of these peers, the first with 100.64.0.1/32 and so on; all run the version. */
void test_host_give_map(Host *host, const struct nbh_key *keys, guint n_keys, const char *version);

const NbhPath *test_host_path(Host *host, const struct nbh_key *peer);
gboolean test_host_is_direct(Host *host, const struct nbh_key *peer);

#endif
