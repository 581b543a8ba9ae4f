/*
 * Many far ends in one process, for measuring what one helper spends on them:
 *
 *   far-peers URL SETUP-KEY-FILE N official|helper ADDRESS
 *
 * Each registers with a key of its own, answers offers, connects by ICE from a UDP port of its own at
 * ADDRESS and answers WireGuard's handshakes. An official one says that it runs 0.77.1 and, once
 * connected, checks the path every two seconds with 0x8100 behind FINGERPRINT (interop.md rules 1
 * and 11); a helper is silent then. It never offers and never sends data. Prints "registered" when
 * all are in the server's map, "connected" when all have a path, and a line of counts when it ends
 * (SIGTERM, or the end of its parent); "silent N" lines name far ends that were not answered for 6 s,
 * which is where an official client gives up.
 */
#include "config.h"

#include "core/version.h"
#include "mgmt/mgmt.h"
#include "signal/signal.h"
#include "tests/tools/far-peers.h"
#include "wire/stun.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#define CHECK_MS 2000
#define FIRST_CHECKS_MS 200
#define LOST_MS 6000
#define KEEPALIVE_MS 25000 /* WireGuard's */
#define AT_ONCE 4 /* registering */
#define PAIR_ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

typedef struct Far Far;

static struct {
	const char *url, *setup_key;
	gboolean official;
	struct nbh_addr address;
	guint n, n_started, n_registered, n_connected;
	guint64 n_checks, n_answers, n_echoed, n_asked, n_handshakes, n_lost;
	Far *fars;
	GMainLoop *loop;
} all;

struct Far {
	guint number;
	struct nbh_key own_private, own_public;
	NbhMgmt *mgmt;
	NbhSignal *signal;
	char *signal_url;
	NbhSignalMessage self;    /* our ANSWER */
	NbhIceCreds remote;       /* "": no offer yet */
	struct nbh_key peer;
	gboolean controlling, connected;
	struct nbh_endpoint to;   /* family 0: not known */
	gint64 answered_usec;
	FarWg wg;
	struct nbh_endpoint wg_to; /* family 0: no session yet */
	int fd;
	guint16 port;
};

/* ---- STUN ---------------------------------------------------------------------------------- */

static gsize put_attr(guint8 *p, gsize at, guint type, const void *value, gsize len)
{
	guint8 head[4] = { (guint8)(type >> 8), (guint8)type, (guint8)(len >> 8), (guint8)len };
	gsize padded = (len + 3) & ~(gsize)3;

	memcpy(p + at, head, 4);
	memset(p + at + 4, 0, padded);
	memcpy(p + at + 4, value, len);
	return at + 4 + padded;
}

static void put_len(guint8 *p, gsize len)
{
	p[2] = (guint8)((len - 20) >> 8);
	p[3] = (guint8)(len - 20);
}

static guint32 crc32_of(const guint8 *p, gsize n)
{
	guint32 crc = 0xffffffffu;

	for (gsize i = 0; i < n; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	return ~crc;
}

/* As the official client builds them; use-candidate only until it is connected. */
static gsize make_check(const Far *far, guint8 *p)
{
	static const guint8 priority[4] = { 0x6e, 0x7f, 0xff, 0xff }, tie[8] = { 1 };
	g_autofree char *username = g_strdup_printf("%s:%s", far->remote.ufrag, far->self.creds.ufrag);
	guint8 txid[NBH_STUN_TXID_LEN], mac[20], print[4];
	gsize at, mac_len = sizeof(mac);
	GHmac *hmac = g_hmac_new(G_CHECKSUM_SHA1, (const guchar *)far->remote.pwd, strlen(far->remote.pwd));
	guint32 crc;

	for (gsize i = 0; i < sizeof(txid); i += 4) {
		guint32 word = g_random_int();

		memcpy(txid + i, &word, 4);
	}
	at = nbh_stun_make_request(p, txid);
	at = put_attr(p, at, 0x0006, username, strlen(username));
	if (far->controlling && !far->connected)
		at = put_attr(p, at, 0x0025, "", 0);
	at = put_attr(p, at, far->controlling ? 0x802a : 0x8029, tie, sizeof(tie));
	at = put_attr(p, at, 0x0024, priority, sizeof(priority));
	put_len(p, at + 24);
	g_hmac_update(hmac, p, (gssize)at);
	g_hmac_get_digest(hmac, mac, &mac_len);
	g_hmac_unref(hmac);
	at = put_attr(p, at, 0x0008, mac, sizeof(mac));
	put_len(p, at + 8);
	crc = GUINT32_TO_BE(crc32_of(p, at) ^ 0x5354554eu);
	memcpy(print, &crc, 4);
	at = put_attr(p, at, 0x8028, print, sizeof(print));
	if (all.official)
		at = put_attr(p, at, 0x8100, PAIR_ID, NBH_STUN_PAIR_ID_LEN);
	put_len(p, at);
	return at;
}

static void send_to(const Far *far, const struct nbh_endpoint *to, const guint8 *data, gsize len)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = nbh_endpoint_to_sockaddr(to, &sa);

	if (sendto(far->fd, data, len, 0, (struct sockaddr *)&sa, sa_len) < 0)
		fprintf(stderr, "far-peers: %s\n", g_strerror(errno));
}

static void check(Far *far)
{
	guint8 p[512];
	gsize len;

	if (!nbh_endpoint_is_set(&far->to) || !far->remote.ufrag[0])
		return;
	len = make_check(far, p);
	all.n_checks++;
	send_to(far, &far->to, p, len);
}

static void on_answer(Far *far, guint8 *p, gsize len)
{
	guint8 pair_id[NBH_STUN_PAIR_ID_LEN];
	gboolean cut;

	all.n_echoed += nbh_stun_pair_id(p, len, pair_id);
	len = nbh_stun_trim(p, len, &cut);
	if (!nbh_stun_check_integrity(p, len, far->remote.pwd) || !nbh_stun_check_fingerprint(p, len)) {
		fprintf(stderr, "far-peers: %u: a bad answer\n", far->number);
		return;
	}
	all.n_answers++;
	far->answered_usec = g_get_monotonic_time();
	if (far->connected)
		return;
	far->connected = TRUE;
	if (++all.n_connected == all.n) {
		printf("connected\n");
		fflush(stdout);
	}
}

static void on_request(Far *far, const guint8 *p, gsize len, const struct nbh_endpoint *from)
{
	guint8 answer[256];
	gsize answer_len;

	if (!nbh_stun_check_integrity(p, len, far->self.creds.pwd))
		return;
	all.n_asked++;
	answer_len = nbh_stun_make_ice_answer(answer, sizeof(answer), nbh_stun_txid(p), from, far->self.creds.pwd);
	send_to(far, from, answer, answer_len);
	if (!far->connected) {
		far->to = *from;
		check(far);
	}
}

static gboolean on_udp(int fd, GIOCondition condition, gpointer data)
{
	Far *far = data;
	guint8 p[2048], response[FAR_WG_RESPONSE_LEN];
	struct sockaddr_storage sa;
	struct nbh_endpoint from;
	socklen_t sa_len = sizeof(sa);
	ssize_t n = recvfrom(fd, p, sizeof(p), 0, (struct sockaddr *)&sa, &sa_len);

	(void)condition;
	if (n <= 0 || nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &from))
		return G_SOURCE_CONTINUE;
	if (nbh_stun_is_message(p, (gsize)n)) {
		if (nbh_stun_class(p) == NBH_STUN_REQUEST)
			on_request(far, p, (gsize)n, &from);
		else if (nbh_stun_class(p) == NBH_STUN_SUCCESS)
			on_answer(far, p, (gsize)n);
	} else if (n == FAR_WG_INITIATION_LEN && p[0] == 1 &&
	           far_wg_answer(&far->own_private, p, far->number, response, &far->wg)) {
		all.n_handshakes++;
		far->wg_to = from;
		send_to(far, &from, response, sizeof(response));
	}
	return G_SOURCE_CONTINUE;
}

static gboolean on_check_time(gpointer data)
{
	Far *far = data;

	if (!far->connected)
		return G_SOURCE_CONTINUE;
	check(far);
	if (g_get_monotonic_time() - far->answered_usec > LOST_MS * 1000) {
		all.n_lost++;
		printf("silent %u\n", far->number);
		fflush(stdout);
		far->answered_usec = g_get_monotonic_time();
	}
	return G_SOURCE_CONTINUE;
}

static gboolean on_keepalive_time(gpointer data)
{
	Far *far = data;
	guint8 packet[FAR_WG_KEEPALIVE_LEN];

	if (nbh_endpoint_is_set(&far->wg_to)) {
		far_wg_keepalive(&far->wg, packet);
		send_to(far, &far->wg_to, packet, sizeof(packet));
	}
	return G_SOURCE_CONTINUE;
}

/* Their clocks do not agree: spread over the two seconds. */
static gboolean start_checks(gpointer data)
{
	g_timeout_add(CHECK_MS, on_check_time, data);
	return G_SOURCE_REMOVE;
}

static gboolean on_first_checks(gpointer data)
{
	(void)data;
	for (guint i = 0; i < all.n; i++)
		if (!all.fars[i].connected)
			check(&all.fars[i]);
	return G_SOURCE_CONTINUE;
}

/* ---- signal -------------------------------------------------------------------------------- */

static void answer_offer(Far *far, const struct nbh_key *from)
{
	NbhSignalMessage messages[2] = { far->self, { .type = NBH_SIGNAL_CANDIDATE } };
	struct nbh_endpoint own = { .addr = all.address, .port = far->port };
	NbhCandidate candidate = { .foundation = "h0", .priority = 2130706431, .endpoint = own };

	nbh_candidate_format(&candidate, messages[1].candidate, sizeof(messages[1].candidate));
	nbh_signal_grpc.send(far->signal, from, messages, 1, NULL, NULL);
	nbh_signal_grpc.send(far->signal, from, messages + 1, 1, NULL, NULL);
}

static void on_message(NbhSignal *signal, const struct nbh_key *from, const NbhSignalMessage *message, gpointer owner)
{
	Far *far = owner;
	NbhCandidate candidate;
	struct nbh_why why;

	(void)signal;
	if (message->type == NBH_SIGNAL_OFFER && message->has_ice) {
		if (strcmp(far->remote.ufrag, message->creds.ufrag) != 0) {
			all.n_connected -= far->connected;
			far->connected = FALSE;
			memset(&far->to, 0, sizeof(far->to));
		}
		far->remote = message->creds;
		far->peer = *from;
		far->controlling = strcmp(nbh_key_format(&far->own_public).text, nbh_key_format(from).text) > 0;
		answer_offer(far, from);
	} else if (message->type == NBH_SIGNAL_CANDIDATE && nbh_candidate_parse(message->candidate, &candidate, &why) &&
	           !nbh_endpoint_is_set(&far->to)) {
		far->to = candidate.endpoint;
		check(far);
	}
}

static void on_signal_link(NbhSignal *signal, gboolean up, const char *why, gpointer owner)
{
	Far *far = owner;

	(void)signal;
	if (!up) {
		fprintf(stderr, "far-peers: %u: signal: %s\n", far->number, why);
		return;
	}
	if (++all.n_registered == all.n) {
		printf("registered\n");
		fflush(stdout);
	}
}

static gboolean is_known(const struct nbh_key *key, gpointer owner)
{
	(void)key;
	(void)owner;
	return TRUE;
}

/* ---- registering --------------------------------------------------------------------------- */

static void start_next(void);

static void get_meta(NbhMeta *ret_meta, gpointer owner)
{
	static char name[24];

	g_snprintf(name, sizeof(name), "far%u", ((Far *)owner)->number);
	*ret_meta = (NbhMeta){ .hostname = name, .go_os = "linux", .os = "Debian GNU/Linux", .platform = "x86_64",
			       .netbird_version = all.official ? "0.77.1" : NBH_AGENT_VERSION, .disable_ipv6 = TRUE };
}

static void on_update(NbhMgmt *mgmt, const NbhMgmtUpdate *update, gpointer owner)
{
	Far *far = owner;

	(void)mgmt;
	if (update->servers && update->servers->has_signal && !far->signal_url)
		far->signal_url = g_strdup_printf("http://%s:%u", update->servers->signal_host,
						  update->servers->signal_port);
}

static void on_mgmt_link(NbhMgmt *mgmt, gboolean up, const char *why, gpointer owner)
{
	(void)mgmt;
	(void)up;
	(void)why;
	(void)owner;
}

static void on_refused(NbhMgmt *mgmt, const char *why, gpointer owner)
{
	(void)mgmt;
	(void)owner;
	fprintf(stderr, "far-peers: %s\n", why);
	exit(1);
}

static gboolean forget_mgmt(gpointer data)
{
	Far *far = data;

	nbh_mgmt_grpc.free(far->mgmt);
	far->mgmt = NULL;
	start_next();
	return G_SOURCE_REMOVE;
}

static const NbhSignalEvents signal_events = { on_message, on_signal_link };

static void on_login(NbhMgmt *mgmt, const GError *error, gpointer owner)
{
	Far *far = owner;
	NbhSignalConfig config = { .is_known = is_known, .own_private = far->own_private };

	if (error && g_error_matches(error, NBH_MGMT_ERROR, NBH_MGMT_UNREACHABLE)) {
		nbh_mgmt_grpc.login(mgmt, all.setup_key, on_login);
		return;
	}
	if (error || !far->signal_url)
		on_refused(mgmt, error ? error->message : "no signal server", owner);
	config.url = far->signal_url;
	far->signal = nbh_signal_grpc.open(&config, &signal_events, far, NULL);
	g_idle_add(forget_mgmt, far);
}

static void open_socket(Far *far)
{
	struct nbh_endpoint own = { .addr = all.address };
	struct sockaddr_storage sa;
	socklen_t sa_len = nbh_endpoint_to_sockaddr(&own, &sa);

	far->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (far->fd < 0 || bind(far->fd, (struct sockaddr *)&sa, sa_len) ||
	    getsockname(far->fd, (struct sockaddr *)&sa, &sa_len) ||
	    nbh_endpoint_from_sockaddr((struct sockaddr *)&sa, &own)) {
		perror("far-peers: socket");
		exit(1);
	}
	far->port = own.port;
	g_unix_fd_add(far->fd, G_IO_IN, on_udp, far);
}

static void start_next(void)
{
	static const NbhMgmtEvents events = { .on_update = on_update, .on_link = on_mgmt_link, .on_refused = on_refused };
	Far *far = &all.fars[all.n_started];
	NbhMgmtConfig config = { .url = all.url, .get_meta = get_meta };

	if (all.n_started == all.n)
		return;
	far->number = all.n_started++;
	nbh_key_generate_private(&far->own_private);
	nbh_key_public(&far->own_private, &far->own_public);
	config.own_private = far->own_private;
	far->self = (NbhSignalMessage){ .type = NBH_SIGNAL_ANSWER, .has_ice = TRUE };
	g_snprintf(far->self.creds.ufrag, sizeof(far->self.creds.ufrag), "far%05u%08x", far->number, g_random_int());
	g_snprintf(far->self.creds.pwd, sizeof(far->self.creds.pwd), "far%029u", g_random_int());
	far->self.session.present = TRUE;
	memcpy(far->self.session.bytes, far->own_public.bytes, NBH_SESSION_ID_LEN);
	g_strlcpy(far->self.version, all.official ? "0.77.1" : NBH_AGENT_VERSION, sizeof(far->self.version));
	open_socket(far);
	far->self.wg_listen_port = far->port;
	far->mgmt = nbh_mgmt_grpc.open(&config, &events, far, NULL);
	nbh_mgmt_grpc.login(far->mgmt, all.setup_key, on_login);
	g_timeout_add(KEEPALIVE_MS, on_keepalive_time, far);
	if (all.official)
		g_timeout_add(1 + far->number * CHECK_MS / all.n, start_checks, far);
}

static gboolean on_end(gpointer data)
{
	(void)data;
	g_main_loop_quit(all.loop);
	return G_SOURCE_REMOVE;
}

int main(int argc, char **argv)
{
	g_autofree char *key = NULL;

	if (argc != 6 || !g_file_get_contents(argv[2], &key, NULL, NULL) || nbh_addr_parse(argv[5], &all.address) ||
	    (strcmp(argv[4], "official") != 0 && strcmp(argv[4], "helper") != 0)) {
		fprintf(stderr, "usage: far-peers URL SETUP-KEY-FILE N official|helper ADDRESS\n");
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	all.url = argv[1];
	all.setup_key = g_strstrip(key);
	all.n = (guint)strtoul(argv[3], NULL, 10);
	all.official = strcmp(argv[4], "official") == 0;
	all.fars = g_new0(Far, all.n + 1);
	all.loop = g_main_loop_new(NULL, FALSE);
	for (guint i = 0; i < MIN(all.n, AT_ONCE); i++)
		start_next();
	g_timeout_add(FIRST_CHECKS_MS, on_first_checks, NULL);
	g_unix_signal_add(SIGTERM, on_end, NULL);
	g_main_loop_run(all.loop);
	printf("checks %" G_GUINT64_FORMAT " answers %" G_GUINT64_FORMAT " echoed %" G_GUINT64_FORMAT
	       " asked %" G_GUINT64_FORMAT " handshakes %" G_GUINT64_FORMAT " lost %" G_GUINT64_FORMAT " connected %u\n",
	       all.n_checks, all.n_answers, all.n_echoed, all.n_asked, all.n_handshakes, all.n_lost, all.n_connected);
	return 0;
}
