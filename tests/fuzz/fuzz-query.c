/*
 * STUN servers' answers to our own questions, and the hub's answers to anybody's. Nobody can guess a
 * transaction id: it is written into the input where the first byte asks for that.
 */
#include "config.h"

#include "tests/fuzz/fuzz.h"

#include "hub/stunsvc.c"
#include "ice/query.h"

static struct {
	guint8 txid[NBH_STUN_TXID_LEN];
	guint n_asked, n_mapped;
	gboolean is_answered;
} world;

static const struct nbh_endpoint server = { { AF_INET, { 192, 0, 2, 1 } }, 3478 };

static void on_send(const struct nbh_endpoint *to, const guint8 *payload, gsize len, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(nbh_endpoint_equal(to, &server) && nbh_stun_is_message(payload, len));
	memcpy(world.txid, nbh_stun_txid(payload), sizeof(world.txid));
	world.n_asked++;
}

static void on_mapped(const struct nbh_endpoint *asked, const struct nbh_endpoint *mapped, gpointer owner G_GNUC_UNUSED)
{
	fuzz_require(nbh_endpoint_equal(asked, &server) && mapped && world.is_answered);
	fuzz_require(mapped->addr.family == AF_INET || mapped->addr.family == AF_INET6);
	fuzz_require(++world.n_mapped == 1);
}

enum { OUR_TXID = 1, FROM_ELSEWHERE = 2 };

static void fuzz_query(guint8 flags, guint8 *packet, gsize len)
{
	static const NbhQueryIo io = { on_send, on_mapped };
	NbhQueries *queries = nbh_queries_new(&io, NULL);
	struct nbh_endpoint from = server;
	gboolean known;

	memset(&world, 0, sizeof(world));
	fuzz_require(nbh_queries_ask(queries, &server) && nbh_queries_ask(queries, &server) && world.n_asked == 1);
	if (flags & OUR_TXID)
		memcpy(packet + 8, world.txid, sizeof(world.txid));
	if (flags & FROM_ELSEWHERE)
		from.port++;
	world.is_answered = (flags & (OUR_TXID | FROM_ELSEWHERE)) == OUR_TXID;
	known = nbh_queries_take(queries, &from, packet, len);
	fuzz_require(known == !!(flags & OUR_TXID));
	/* A second one is nobody's, when the first was good. */
	fuzz_require(!world.n_mapped || !nbh_queries_take(queries, &from, packet, len));
	nbh_queries_free(queries);
}

static void fuzz_service(guint8 *packet, gsize len)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr = { htonl(0xc0000207) } };
	NbhStunService service = { .fd = -1, .throttle = nbh_throttle_new(BURST, PER_SECOND, ADDRESSES_MAX) };
	struct sockaddr_storage sa = { 0 };
	struct nbh_endpoint mapped;
	guint8 answer[ANSWER_MAX_BYTES];
	gsize n;

	memcpy(&sa, &from, sizeof(from));
	n = make_answer(&service, packet, len, &sa, answer, sizeof(answer));
	fuzz_require(n <= sizeof(answer) && n <= 3 * len);
	if (n)
		fuzz_require(nbh_stun_is_message(answer, n) && nbh_stun_class(answer) == NBH_STUN_SUCCESS &&
		             nbh_stun_mapped_address(answer, n, &mapped) && mapped.port == 9);
	nbh_throttle_free(service.throttle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	guint8 flags = fuzz_byte(&data, &len);
	guint8 *packet;

	if (!nbh_stun_is_message(data, len))
		return 0;
	packet = malloc(len);
	fuzz_require(packet);
	memcpy(packet, data, len);
	fuzz_service(packet, len);
	fuzz_query(flags, packet, len);
	free(packet);
	return 0;
}
