/* The text of an ICE candidate: what parses is said again the same way. */
#include "config.h"

#include "core/candidate.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = fuzz_text(data, len), buf[NBH_CANDIDATE_TEXT_MAX_BYTES];
	NbhCandidate candidate, again;
	struct nbh_why why = { "" };
	gboolean ok = nbh_candidate_parse(text, &candidate, &why);

	fuzz_check_why(ok ? 0 : -1, &why);
	if (ok) {
		fuzz_require(candidate.priority > 0 && nbh_endpoint_is_set(&candidate.endpoint));
		fuzz_require(!nbh_addr_is_loopback(&candidate.endpoint.addr) &&
		             !nbh_addr_is_multicast(&candidate.endpoint.addr) &&
		             !nbh_addr_is_unspecified(&candidate.endpoint.addr));
		nbh_candidate_format(&candidate, buf, sizeof(buf));
		fuzz_require(nbh_candidate_parse(buf, &again, NULL));
		fuzz_require(nbh_endpoint_equal(&candidate.endpoint, &again.endpoint) &&
		             candidate.type == again.type && candidate.priority == again.priority);
		fuzz_require(strcmp(candidate.foundation, again.foundation) == 0);
	}
	free(text);
	return 0;
}
