/* Every function of wire/stun.h on a packet that may be anything, in the order of the port adaptor. */
#include "config.h"

#include "wire/stun.h"

#include "tests/fuzz/fuzz.h"

#define PASSWORD "abcdefghijklmnopqrstuvwxyz"

/* An answer to the input's transaction is a good message, and says what we wanted to say. */
static void fuzz_answer(const guint8 *txid, gsize room)
{
	struct nbh_endpoint mapped = { .addr = { .family = AF_INET, .bytes = { 192, 0, 2, 1 } }, .port = 9 }, got;
	guint8 answer[256];
	gsize n;

	n = nbh_stun_make_answer(answer, MIN(room, sizeof(answer)), txid, &mapped);
	fuzz_require(n <= room);
	if (n)
		fuzz_require(nbh_stun_is_message(answer, n) && nbh_stun_check_fingerprint(answer, n) &&
		             nbh_stun_mapped_address(answer, n, &got) && nbh_endpoint_equal(&got, &mapped));

	n = nbh_stun_make_ice_answer(answer, MIN(room, sizeof(answer)), txid, &mapped, PASSWORD);
	fuzz_require(n <= room);
	if (n)
		fuzz_require(nbh_stun_is_message(answer, n) && nbh_stun_check_fingerprint(answer, n) &&
		             nbh_stun_check_integrity(answer, n, PASSWORD));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	/* Room behind it as stun.h asks; exactly that, for AddressSanitizer. */
	guint8 *p = malloc(len + NBH_STUN_PAIR_ID_ROOM), pair_id[NBH_STUN_PAIR_ID_LEN];
	char ufrag[NBH_ICE_UFRAG_MAX + 1];
	struct nbh_endpoint mapped;
	NbhStunCheck check;
	gboolean has_pair_id, was_good, cut = FALSE;
	gsize n;

	fuzz_require(p);
	if (len)
		memcpy(p, data, len);
	if (!nbh_stun_is_message(data, len)) {
		free(p);
		return 0;
	}

	(void)nbh_stun_class(data);
	(void)nbh_stun_method(data);
	was_good = nbh_stun_check_integrity(data, len, PASSWORD);
	(void)nbh_stun_check_fingerprint(data, len);
	if (nbh_stun_mapped_address(data, len, &mapped))
		fuzz_require(mapped.addr.family == AF_INET || mapped.addr.family == AF_INET6);
	if (nbh_stun_local_ufrag(data, len, ufrag))
		fuzz_require(strlen(ufrag) <= NBH_ICE_UFRAG_MAX);
	if (nbh_stun_read_check(data, len, &check) && check.username)
		fuzz_require((const guint8 *)check.username >= data &&
		             (const guint8 *)check.username + check.username_len <= data + len);
	has_pair_id = nbh_stun_pair_id(data, len, pair_id);

	n = nbh_stun_trim(p, len, &cut);
	fuzz_require(n <= len);
	fuzz_require(nbh_stun_is_message(p, n));
	fuzz_require(!was_good || nbh_stun_check_integrity(p, n, PASSWORD));
	if (has_pair_id) {
		n = nbh_stun_echo_pair_id(p, n, pair_id);
		fuzz_require(n <= len + NBH_STUN_PAIR_ID_ROOM && nbh_stun_is_message(p, n));
	}

	fuzz_answer(nbh_stun_txid(data), len);
	free(p);
	return 0;
}
