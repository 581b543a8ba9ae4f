/*
 * Every reader of a JSON file in base, keys and addresses, on any bytes: none may crash, read
 * outside, leak, or take long. What peers.json's reader takes must survive its own writer.
 */
#include "config.h"

#include "base/addr.h"
#include "base/configfile.h"
#include "base/devicefile.h"
#include "base/json.h"
#include "base/peersfile.h"
#include "base/statusfile.h"

#include "tests/fuzz/fuzz.h"

#include <string.h>

static void check_why(int r, const struct nbh_why *why)
{
	/* A refusal always says why, within its buffer. */
	if (r < 0 && (!why->text[0] || !memchr(why->text, '\0', sizeof(why->text))))
		abort();
}

static void fuzz_peers(const char *text, size_t len)
{
	struct nbh_peersfile file, again;
	struct nbh_why why = { "" };
	int r = nbh_peersfile_parse(text, len, &file, &why);
	size_t written_len;
	char *written;

	check_why(r, &why);

	if (r < 0)
		return;

	written = nbh_peersfile_format(&file, 0, &written_len);

	if (nbh_peersfile_parse(written, written_len, &again, NULL) < 0 ||
	    again.n_peers != file.n_peers || again.n_arena != file.n_arena)
		abort();

	free(written);
	nbh_peersfile_clear(&again);
	nbh_peersfile_clear(&file);
}

static void fuzz_others(const char *text, size_t len)
{
	struct nbh_why why = { "" };
	struct nbh_wgstatus status;
	struct nbh_config config;
	struct nbh_device device;
	int r = nbh_wgstatus_parse(text, len, &status, &why);

	check_why(r, &why);

	if (r == 0)
		nbh_wgstatus_clear(&status);

	check_why(nbh_configfile_parse(text, len, &config, &why), &why);
	check_why(nbh_devicefile_parse(text, len, &device, &why), &why);
}

static void fuzz_text(const char *text)
{
	char buf[NBH_ENDPOINT_TEXT_MAX];
	struct nbh_endpoint endpoint, again;
	struct nbh_prefix prefix;
	struct nbh_key key;
	int64_t unix_ms;

	if (nbh_endpoint_parse(text, &endpoint) == 0 &&
	    (nbh_endpoint_parse(nbh_endpoint_format(&endpoint, buf), &again) < 0 ||
	     !nbh_endpoint_equal(&endpoint, &again)))
		abort();

	if (nbh_prefix_parse(text, &prefix) == 0)
		prefix = nbh_prefix_masked(&prefix);

	if (nbh_key_parse(text, &key) == 0 && strcmp(nbh_key_format(&key).text, text) != 0)
		abort();

	(void)nbh_rfc3339_parse(text, &unix_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);

	if (!text)
		return 0;

	memcpy(text, data, len);
	text[len] = '\0';
	fuzz_peers(text, len);
	fuzz_others(text, len);
	fuzz_text(text);
	free(text);
	return 0;
}
