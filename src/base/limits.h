#ifndef NBH_BASE_LIMITS_H
#define NBH_BASE_LIMITS_H

/* Every queue and buffer that somebody else can fill ends here. One line each, reason beside it. */

#define NBH_GRPC_MESSAGE_MAX_BYTES (16 * 1024 * 1024) /* what official clients accept: netbird-wire.md 2.1 */
#define NBH_GRPC_INPUT_MAX_BYTES (40 * 1024 * 1024)   /* per channel: two largest messages on their way, and some */
#define NBH_GRPC_CPU_BURST_MS 2000                    /* of our CPU that a server may use: the largest map takes < 1 s */
#define NBH_GRPC_CPU_PERCENT 20                       /* ... and then; more is read later */
#define NBH_GRPC_HEADERS_MAX_BYTES (16 * 1024)        /* per response; official ones stay below 1 KiB */
#define NBH_GRPC_OUTPUT_MAX_BYTES (1024 * 1024)       /* unsent bytes per client connection, then calls fail */
#define NBH_GRPC_CALLS_MAX 1024                       /* per channel: bursts of Sends for hundreds of peers */
#define NBH_H2_CONTROL_BURST 2000                     /* PING, SETTINGS, RST_STREAM ... of one far end; resets count 4 */
#define NBH_H2_CONTROL_PER_SECOND 200                 /* ... and then; honest ones answer data, which earns them more */
#define NBH_PROXY_ANSWER_MAX_BYTES 8192               /* head of the answer to CONNECT */
#define NBH_H2SRV_MESSAGE_MAX_BYTES (1024 * 1024)     /* requests are < 8 KiB in practice: netbird-hub.md 1.2 */
#define NBH_H2SRV_INPUT_MAX_BYTES (4 * 1024 * 1024)   /* incomplete messages of one connection: anybody can begin 250 */
#define NBH_H2SRV_FRAMES_MAX 2048                     /* of ours that a client does not take: 8 per stream */
#define NBH_H2SRV_STREAMS_MAX 250                     /* as the official main port announces */
#define NBH_H2SRV_HEADERS_MAX_BYTES (16 * 1024)
#define NBH_H2SRV_OUTPUT_MAX_BYTES (32 * 1024 * 1024) /* one largest map and its successor */
#define NBH_BOX_PAIRS_KEPT 64                         /* secrets shared with others, for the next message: 6 KiB */
#define NBH_SIGNAL_BODY_MAX_BYTES (64 * 1024)         /* offers are < 1 KiB */
#define NBH_SIGNAL_SENDS_MAX 512                      /* unary Sends in flight; later ones wait in line */
#define NBH_SIGNAL_QUEUE_MAX 4096                     /* Sends waiting; then the oldest is dropped */
#define NBH_PEER_MESSAGES_BURST 512                   /* of one peer at once: three sets of 80 candidates, and offers */
#define NBH_PEER_MESSAGE_EVERY_MS 20                  /* ... and then one in this time; the rest is dropped */
#define NBH_PEER_ANNOUNCEMENTS_MAX 64                 /* Sends under way; then candidates wait for an answer */
#define NBH_PEER_SESSIONS_BURST 32                    /* OFFER, ANSWER, GO_IDLE: each may make an ICE agent anew */
#define NBH_PEER_SESSION_EVERY_MS 1000                /* honest peers repeat after 0.8, 1.6, 3.2 s ... */
#define NBH_HUB_SIGNAL_QUEUE_MAX_BYTES (1024 * 1024)  /* waiting for one slow ConnectStream: 1024 of the largest usual */
#define NBH_HUB_CONNECTIONS_MAX 4096                  /* TCP connections of the hub */
#define NBH_HUB_CONNECTIONS_PER_ADDRESS_MAX 2048      /* two per machine; a whole site may be behind one NAT */
#define NBH_HUB_ARRIVALS_BURST 4096                   /* new connections of one address: a site after a power cut */
#define NBH_HUB_ARRIVALS_PER_SECOND 100               /* ... and then */
#define NBH_HUB_ADDRESSES_MAX 4096                    /* whose arrivals are remembered */
#define NBH_HUB_GATE_LINES_BURST 30                   /* log lines about hostile clients, then one per second */
#define NBH_PEERS_MAX 16384                           /* size of a network map we promise to handle */
#define NBH_MAP_PEERS_USUAL 512                       /* after a map with more, memory is given back to the system */
#define NBH_MAPS_BURST 32                              /* applied one by one; then the newest of each ... */
#define NBH_MAP_EVERY_MS 100                          /* ... of these times */
#define NBH_PEER_LINES_BURST 2048                     /* of the log, about peers that come, go and change: 100 that connect */
#define NBH_PEER_LINE_EVERY_MS 50                     /* ... and then one in this time; the rest is counted */
#define NBH_NETMAP_SKIPPED_MAX 100                    /* lines about what was left out; then only their number */
#define NBH_PREFIXES_PER_PEER_MAX 512
#define NBH_PREFIXES_TOTAL_MAX 65536                  /* bounds the arena of netbird-wg */
#define NBH_PEERSFILE_MAX_BYTES (8 * 1024 * 1024)     /* follows from the two above; checked by fstat */
#define NBH_DEVICEFILE_MAX_BYTES (64 * 1024)
#define NBH_CONFIGFILE_MAX_BYTES (256 * 1024)
#define NBH_STATUSFILE_MAX_BYTES (16 * 1024 * 1024)
#define NBH_CACHEFILE_MAX_BYTES (33 * 1024 * 1024)    /* two management messages and a head */
#define NBH_KEYFILE_MAX_BYTES 128
#define NBH_TLSFILE_MAX_BYTES (2 * 1024 * 1024)       /* certificates and CAs: Debian's whole bundle is 220 KiB */
#define NBH_ENDINGFILE_MAX_BYTES 4096                 /* ended.json: two lines of text */
#define NBH_SETUPKEYFILE_MAX_BYTES 1024
#define NBH_JSON_DEPTH_MAX 6                          /* the schemas need 4 */
#define NBH_DEVICE_ADDRESSES_MAX 16
#define NBH_CANDIDATES_PER_PEER_MAX 25                /* libnice's own limit */
#define NBH_CANDIDATE_TEXT_MAX_BYTES 512
#define NBH_HOST_ADDRESSES_MAX 64                     /* candidates of our own; libnice caps at 64, too */
#define NBH_ICE_CHECKING_MAX 50                       /* agents checking at once; the rest wait in QUEUED */
#define NBH_ICE_SESSIONS_MAX 8192                     /* as many ports as the adaptor has */
#define NBH_ICE_TXIDS_MAX 65536                       /* remembered STUN transactions per direction */
#define NBH_ICE_SOURCES_MAX 64                        /* addresses that one session's checks come from: libnice keeps each */
#define NBH_ICE_SOURCE_EVERY_MS 30000                 /* ... and then one more in this time, for NATs that change */
#define NBH_ICE_REQUESTS_BURST 1024                   /* good checks of one session at once: 25 by 64 candidates, thinned */
#define NBH_ICE_REQUEST_EVERY_MS 10                   /* ... and then one in this time; an agent at work sends 50/s */
#define NBH_ICE_MESSAGE_MAX_BYTES 4096                /* one datagram on ice.sock */
#define NBH_ICE_QUEUE_MAX 16384                       /* lines waiting at one end of ice.sock: two full listings */
#define NBH_ICE_STORE_MAX_BYTES (32 * 1024 * 1024)    /* ice/sessions: all sessions with all their candidates */
#define NBH_ICE_UFRAG_MAX 64
#define NBH_ICE_PWD_MAX 256                           /* RFC 8445 5.3: at most 256 characters */
#define NBH_STUN_SERVERS_MAX 16
#define NBH_RESOLVER_NAMES_MAX 32                     /* remembered: management, signal, proxy, STUN servers */
#define NBH_RESOLVER_ADDRESSES_MAX 8                  /* of each; both families */
#define NBH_STUN_LOOKUPS_MAX 32                       /* names of theirs that are being resolved */
#define NBH_PUBLISH_DELAY_MS 50                       /* followers of a first change */
#define NBH_RECONCILE_MS 60000                        /* safety net behind inotify */

#define NBH_BACKOFF_MIN_MS 800                        /* server connections: netbird-wire.md 8.4 */
#define NBH_BACKOFF_MAX_MS 8000                       /* and half of it jitter: back within 15 s */

#endif
