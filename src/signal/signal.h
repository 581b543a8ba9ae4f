#ifndef NBH_SIGNAL_SIGNAL_H
#define NBH_SIGNAL_SIGNAL_H

/*
 * The signal client: ConnectStream with the registration header, sealed messages by unary Send, the
 * 30 s + 10 s stall watchdog, reconnection. netbird-wire.md section 3. Events only from the loop.
 */

#include "base/key.h"
#include "net/dial.h"
#include "wire/signalmsg.h"

#include <gio/gio.h>

typedef struct _NbhSignal NbhSignal;

typedef struct {
	void (*on_message)(NbhSignal *signal, const struct nbh_key *from, const NbhSignalMessage *message, gpointer owner);
	void (*on_link)(NbhSignal *signal, gboolean up, const char *why, gpointer owner);
} NbhSignalEvents;

typedef struct {
	const char *url; /* "http://host:port" or "https://..." */
	struct nbh_key own_private;
	/* A message from a key that is not in our map is dropped before it is opened. */
	gboolean (*is_known)(const struct nbh_key *key, gpointer owner);
	NbhDial *dial; /* borrowed; NULL: the system's CAs, the environment's proxy */
} NbhSignalConfig;

typedef struct {
	const char *name;
	NbhSignal *(*open)(const NbhSignalConfig *config, const NbhSignalEvents *events, gpointer owner, GError **error);
	/*
	 * done (may be NULL) comes from the loop when the Send has returned; ok says whether the
	 * server took it, which is no proof of delivery. Sends to one peer keep their order: the
	 * next goes out when the one before has returned. CANDIDATEs of one call go together.
	 */
	void (*send)(NbhSignal *signal, const struct nbh_key *to, const NbhSignalMessage *messages, gsize n,
	             void (*done)(gboolean ok, gpointer data, gpointer owner), gpointer data);
	/*
	 * Without waiting for the Sends before to that peer, which these may overtake, and without news:
	 * for what is welcome whenever it comes.
	 */
	void (*send_beside)(NbhSignal *signal, const struct nbh_key *to, const NbhSignalMessage *messages, gsize n);
	gboolean (*is_up)(NbhSignal *signal);
	void (*retry_now)(NbhSignal *signal); /* if it waits for its next attempt; one under way goes on */
	void (*network_changed)(NbhSignal *signal);
	void (*free)(NbhSignal *signal);
} NbhSignalBackend;

extern const NbhSignalBackend nbh_signal_grpc, nbh_signal_pair; /* pair: two in one process, for tests */

#endif
