/* peers.json: what the reader takes must survive its own writer. */
#include "config.h"

#include "base/peersfile.h"

#include "tests/fuzz/fuzz.h"

static void check(const struct nbh_peersfile *file)
{
	for (size_t i = 0; i < file->n_peers; i++) {
		const struct nbh_peersfile_peer *peer = &file->peers[i];

		fuzz_require(i == 0 || nbh_key_compare(&peer[-1].public_key, &peer->public_key) < 0);
		fuzz_require(!nbh_key_is_zero(&peer->public_key));
		fuzz_require(peer->n_allowed_ips == 0 ||
		             (peer->allowed_ips >= file->arena &&
		              peer->allowed_ips + peer->n_allowed_ips <= file->arena + file->n_arena));
		fuzz_require(peer->endpoint.addr.family == 0 || peer->endpoint.port != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct nbh_peersfile file, again;
	struct nbh_why why = { "" };
	int r = nbh_peersfile_parse(fuzz_chars(data), len, &file, &why);
	size_t written_len;
	char *written;

	fuzz_check_why(r, &why);
	if (r < 0)
		return 0;

	check(&file);
	written = nbh_peersfile_format(&file, 0, &written_len);
	fuzz_require(written);
	fuzz_require(nbh_peersfile_parse(written, written_len, &again, NULL) == 0);
	fuzz_require(again.n_peers == file.n_peers && again.n_arena == file.n_arena);
	free(written);
	nbh_peersfile_clear(&again);
	nbh_peersfile_clear(&file);
	return 0;
}
