/*
 * The JSON files of the config directory. tests/data/NAME.json is what the writer makes and what
 * the reader takes (the man pages show the same); tests/data/hostile/expected.txt names a message
 * for each file beside it.
 */
#include "config.h"

#include "base/atomicfile.h"
#include "base/configfile.h"
#include "base/devicefile.h"
#include "base/mono.h"
#include "base/peersfile.h"
#include "base/statusfile.h"

#include "tests/lib/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#define PATH_MAX_BYTES 512
#define UPDATED_UNIX_MS 1769862896789 /* 2026-01-31T12:34:56.789Z, as in the golden files */

static int dir = -1;

static char *slurp_data(const char *name, size_t *ret_len)
{
	char relative[PATH_MAX_BYTES / 2], path[PATH_MAX_BYTES];

	snprintf(relative, sizeof(relative), "tests/data/%s", name);
	return tap_slurp(tap_source_path(relative, path, sizeof(path)), ret_len);
}

/* What was written to dir must be the golden file, byte for byte. */
static void check_written(const char *name, const char *golden)
{
	nbh_cleanup_free char *wanted = slurp_data(golden, NULL);
	nbh_cleanup_free char *got = NULL;
	size_t len;

	if (OK(nbh_trustedfile_read(dir, name, 1 << 20, &got, &len, NULL) == 0, "%s written", name))
		OK_STR(got, wanted, golden);
}

static void test_golden_peers(void)
{
	struct nbh_peersfile file;
	struct nbh_why why = { "" };
	nbh_cleanup_free char *again = NULL;
	size_t len;
	nbh_cleanup_free char *text = slurp_data("peers.json", &len);
	char buf[NBH_ENDPOINT_TEXT_MAX];

	if (!OK(nbh_peersfile_parse(text, len, &file, &why) == 0, "peers.json: %s", why.text))
		return;

	OK_INT(file.n_peers, 3, "peers");
	OK_INT(file.generation, 42, "generation");
	again = nbh_peersfile_format(&file, UPDATED_UNIX_MS, &len);
	OK_STR(again, text, "the writer makes what the reader took");
	OK_STR(nbh_endpoint_format(&file.peers[0].endpoint, buf), "203.0.113.7:51820", "endpoint");
	OK(!nbh_endpoint_is_set(&file.peers[1].endpoint), "no endpoint");
	OK(file.peers[2].has_session && file.peers[2].session == 3, "session");
	OK(!file.peers[0].has_session, "no session");
	OK(!nbh_key_is_zero(&file.peers[2].preshared_key), "pre-shared key");
	OK_INT(file.peers[0].keepalive_s, 25, "keepalive");
	OK_INT(file.peers[2].n_allowed_ips, 2, "allowed IPs");
	nbh_peersfile_clear(&file);
	nbh_peersfile_clear(&file); /* harmless */
}

/* As a person writes it: little, unsorted, host bits, an empty endpoint. */
static void test_peers_by_hand(void)
{
	static const char text[] =
		"{\"peers\":["
		"{\"publicKey\":\"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzw=\",\"endpoint\":\"\"},"
		"{\"id\":\"\",\"publicKey\":\"yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAUM=\","
		"\"allowedIPs\":[\"10.2.0.9/16\",\"10.1.0.0/16\",\"10.2.0.0/16\"],\"presharedKey\":\"\"}]}";
	struct nbh_peersfile file;
	struct nbh_why why = { "" };
	char buf[NBH_PREFIX_TEXT_MAX];

	if (!OK(nbh_peersfile_parse(text, strlen(text), &file, &why) == 0, "by hand: %s", why.text))
		return;

	OK_STR(file.peers[0].id, "yDlW7wMm", "sorted by key, id from the key");
	OK_INT(file.peers[0].n_allowed_ips, 2, "masked, a repeated one dropped");
	OK_STR(nbh_prefix_format(&file.peers[0].allowed_ips[0], buf), "10.1.0.0/16", "sorted");
	OK_STR(nbh_prefix_format(&file.peers[0].allowed_ips[1], buf), "10.2.0.0/16", "sorted");
	OK(nbh_key_is_zero(&file.peers[0].preshared_key), "empty pre-shared key: none");
	OK(file.generation == 0 && file.peers[1].n_allowed_ips == 0, "defaults");
	nbh_peersfile_clear(&file);
}

static void test_golden_device(void)
{
	struct nbh_device device;
	struct nbh_why why = { "" };
	size_t len;
	nbh_cleanup_free char *text = slurp_data("device.json", &len);

	if (!OK(nbh_devicefile_parse(text, len, &device, &why) == 0, "device.json: %s", why.text))
		return;

	OK_STR(device.interface, "nbh0", "interface");
	OK(device.n_addresses == 2 && device.mtu == 1280 && device.listen_port == 51820, "values");
	OK_INT(nbh_devicefile_write(dir, &device, &why), 0, "write");
	check_written("device.json", "device.json");
	OK_INT(nbh_devicefile_read(dir, &device, &why), 0, "read");
	device.userspace = true;
	OK(nbh_devicefile_write(dir, &device, &why) == 0, "write with userspace");
	device.userspace = false;
	OK(nbh_devicefile_read(dir, &device, &why) == 0 && device.userspace, "userspace comes back");
}

static ino_t inode_of(const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, 0) == 0 ? st.st_ino : 0;
}

static void test_device_unchanged(void)
{
	struct nbh_device device;
	ino_t before;

	OK_INT(nbh_devicefile_read(dir, &device, NULL), 0, "read");
	before = inode_of("device.json");
	OK(nbh_devicefile_write(dir, &device, NULL) == 0 && inode_of("device.json") == before,
	   "equal bytes are not written again");
	device.mtu++;
	OK(nbh_devicefile_write(dir, &device, NULL) == 0 && inode_of("device.json") != before,
	   "others are");
}

/* What the reader refuses is not written, and what was there stays. */
static void test_config_not_poisoned(void)
{
	struct nbh_config config, back;
	struct nbh_why why = { "" };

	nbh_config_defaults(&config);
	snprintf(config.management_url, sizeof(config.management_url), "http://hub.example.org");
	OK_INT(nbh_configfile_check(&config, &why), 0, "good settings");
	OK_INT(nbh_configfile_write(dir, &config, &why), 0, "are written");
	snprintf(config.management_url, sizeof(config.management_url), "ftp://hub.example.org");
	OK(nbh_configfile_check(&config, &why) < 0 && strstr(why.text, "managementUrl"), "a bad URL: %s", why.text);
	OK(nbh_configfile_write(dir, &config, &why) < 0, "is not written");
	OK_INT(nbh_configfile_read(dir, &back, &why), 0, "the old file is there");
	OK_STR(back.management_url, "http://hub.example.org", "as it was");
	unlinkat(dir, NBH_CONFIGFILE_NAME, 0);
}

static void test_golden_config(void)
{
	struct nbh_config config, defaults;
	struct nbh_why why = { "" };
	struct stat st;
	size_t len;
	nbh_cleanup_free char *text = slurp_data("config.json", &len);

	if (!OK(nbh_configfile_parse(text, len, &config, &why) == 0, "config.json: %s", why.text))
		return;

	OK_STR(config.management_url, "http://hub.example.org:33073", "URL");
	OK_STR(config.log_level, "debug", "level");
	OK_STR(config.ca_file, "/etc/netbird-helper/ca.pem", "CA");
	OK_STR(config.client_cert_file, "/etc/netbird-helper/client.pem", "client certificate");
	OK_STR(config.client_key_file, "/etc/netbird-helper/client.key", "client key");
	OK_STR(config.proxy, "http://user:password@proxy.example.org:3128", "proxy");
	OK(config.userspace && !nbh_key_is_zero(&config.preshared_key), "values");
	OK_INT(config.n_iface_blacklist, 16, "blacklist");
	OK_INT(nbh_configfile_write(dir, &config, &why), 0, "write");
	OK(fstatat(dir, "config.json", &st, 0) == 0 && (st.st_mode & 07777) == 0600, "mode 0600");
	check_written("config.json", "config.json");

	nbh_config_defaults(&defaults);
	OK_INT(nbh_configfile_parse("{}", 2, &config, &why), 0, "all keys are optional");
	OK(memcmp(&config, &defaults, sizeof(config)) == 0, "absent keys have the defaults");
	OK_STR(config.interface, "nbh0", "default interface");
	OK_STR(config.iface_blacklist[15], "ice0", "default blacklist");
}

static void test_golden_wgstatus(void)
{
	struct nbh_wgstatus status;
	struct nbh_why why = { "" };
	size_t len;
	nbh_cleanup_free char *text = slurp_data("wg-status.json", &len);
	static const char newer[] = "{\"backend\":\"netlink\",\"newKey\":{\"x\":1},\"peers\":[]}";

	if (!OK(nbh_wgstatus_parse(text, len, &status, &why) == 0, "wg-status.json: %s", why.text))
		return;

	OK(status.n_peers == 2 && status.link_up && status.generation == 42, "values");
	OK_INT(status.peers[0].last_handshake_unix_ms, UPDATED_UNIX_MS - 1000, "handshake");
	OK_INT(status.peers[1].last_handshake_unix_ms, 0, "never");
	OK_INT(status.peers[0].silent_since_unix_ms, UPDATED_UNIX_MS - 6000, "silent");
	OK_INT(status.peers[1].silent_since_unix_ms, 0, "not silent");
	OK_INT(nbh_wgstatus_write(dir, &status, &why), 0, "write");
	check_written("status.json", "wg-status.json");
	nbh_wgstatus_clear(&status);
	OK_INT(nbh_wgstatus_read(dir, &status, &why), 0, "read");
	nbh_wgstatus_clear(&status);
	OK_INT(nbh_wgstatus_parse(newer, strlen(newer), &status, &why), 0, "unknown keys are skipped");
	nbh_wgstatus_clear(&status);
}

static int parse_as(const char *name, const char *text, size_t len, struct nbh_why *why)
{
	struct nbh_peersfile peers = { 0 };
	struct nbh_wgstatus status = { 0 };
	struct nbh_device device;
	struct nbh_config config;
	int r;

	if (strncmp(name, "device", 6) == 0)
		return nbh_devicefile_parse(text, len, &device, why);

	if (strncmp(name, "config", 6) == 0)
		return nbh_configfile_parse(text, len, &config, why);

	if (strncmp(name, "wgstatus", 8) == 0) {
		r = nbh_wgstatus_parse(text, len, &status, why);
		nbh_wgstatus_clear(&status);
		return r;
	}

	r = nbh_peersfile_parse(text, len, &peers, why);
	nbh_peersfile_clear(&peers);
	return r;
}

/* Lines of expected.txt: file, one space, message. */
static void test_hostile(void)
{
	char *list = slurp_data("hostile/expected.txt", NULL);
	char *rest = list, *line;

	while ((line = strsep(&rest, "\n"))) {
		char name[PATH_MAX_BYTES / 4], *message = strchr(line, ' ');
		struct nbh_why why = { "" };
		char *text;
		size_t len;

		if (!message || line[0] == '#')
			continue;

		*message++ = '\0';
		snprintf(name, sizeof(name), "hostile/%s", line);
		text = slurp_data(name, &len);
		OK_INT(parse_as(line, text, len, &why), -EINVAL, line);
		OK_STR(why.text, message, line);
		free(text);
	}

	free(list);
}

/* n peers of n_ips prefixes each; all different. */
static void make_peers(struct nbh_peersfile *file, size_t n, size_t n_ips)
{
	*file = (struct nbh_peersfile){ .n_peers = n, .n_arena = n * n_ips };
	file->peers = calloc(n + 1, sizeof(*file->peers));
	file->arena = calloc(n * n_ips + 1, sizeof(*file->arena));

	for (size_t i = 0; i < n; i++) {
		struct nbh_peersfile_peer *peer = &file->peers[i];

		memcpy(peer->public_key.bytes, (uint32_t[]){ (uint32_t)i + 1 }, 4);
		snprintf(peer->id, sizeof(peer->id), "peer-%zu.netbird.example", i);
		nbh_endpoint_parse("198.51.100.7:51820", &peer->endpoint);
		peer->keepalive_s = 25;
		peer->allowed_ips = file->arena + i * n_ips;
		peer->n_allowed_ips = n_ips;

		for (size_t j = 0; j < n_ips; j++) {
			uint32_t number = htonl(0x0a000000u + (uint32_t)(i * n_ips + j));

			peer->allowed_ips[j].addr.family = AF_INET;
			peer->allowed_ips[j].len = 32;
			memcpy(peer->allowed_ips[j].addr.bytes, &number, 4);
		}
	}
}

/* Of this process only: other work on the machine does not count. */
static int64_t cpu_usec(void)
{
	struct timespec ts = { 0 };

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int parse_generated(size_t n, size_t n_ips, struct nbh_why *why, int64_t *ret_usec)
{
	struct nbh_peersfile file, back = { 0 };
	int64_t start;
	char *text;
	size_t len;
	int r;

	make_peers(&file, n, n_ips);
	text = nbh_peersfile_format(&file, 0, &len);
	start = cpu_usec();
	r = nbh_peersfile_parse(text, len, &back, why);
	*ret_usec = cpu_usec() - start;

	if (r == 0 && (back.n_peers != n || back.n_arena != n * n_ips))
		r = -EBADMSG;

	nbh_peersfile_clear(&back);
	nbh_peersfile_clear(&file);
	free(text);
	return r;
}

static void test_device_limit(void)
{
	for (size_t n = NBH_DEVICE_ADDRESSES_MAX - 1; n <= NBH_DEVICE_ADDRESSES_MAX + 1; n++) {
		struct nbh_device device;
		struct nbh_why why = { "" };
		char text[1024] = "{\"interface\":\"nbh0\",\"listenPort\":1,\"addresses\":[";
		int r;

		for (size_t i = 0; i < n; i++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s\"100.64.0.%zu/16\"", i ? "," : "",
			         i + 1);

		snprintf(text + strlen(text), sizeof(text) - strlen(text), "]}");
		r = nbh_devicefile_parse(text, strlen(text), &device, &why);
		OK(n <= NBH_DEVICE_ADDRESSES_MAX ? r == 0 && device.n_addresses == n : r < 0, "%zu addresses: %s", n,
		   why.text);
	}
}

static void test_peers_limits(void)
{
	static const struct {
		size_t n, n_ips;
		const char *why; /* "": accepted */
	} cases[] = {
		{ 0, 0, "" },
		{ NBH_PEERS_MAX - 1, 1, "" },
		{ NBH_PEERS_MAX, 1, "" },
		{ NBH_PEERS_MAX + 1, 1, "peers.json: peers: 16385 peers; at most 16384 are accepted" },
		{ 1, NBH_PREFIXES_PER_PEER_MAX - 1, "" },
		{ 1, NBH_PREFIXES_PER_PEER_MAX, "" },
		{ 1, NBH_PREFIXES_PER_PEER_MAX + 1,
		  "peers.json: peers[0].allowedIPs: 513 prefixes; at most 512 are accepted" },
		{ NBH_PREFIXES_TOTAL_MAX / 256, 256, "" },
		{ NBH_PREFIXES_TOTAL_MAX / 256 + 1, 256,
		  "peers.json: peers: 65792 allowed IPs in all; at most 65536 are accepted" },
	};
	int64_t usec;

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		struct nbh_why why = { "" };
		int r = parse_generated(cases[i].n, cases[i].n_ips, &why, &usec);

		OK_INT(r, cases[i].why[0] ? -EINVAL : 0, "peers and prefixes");
		OK_STR(why.text, cases[i].why, "why");
	}
}

/* Not how fast, which a busy machine blurs, but that four times as many take no 16 times as long. */
static void test_peers_linear(void)
{
	int64_t small = INT64_MAX, large = INT64_MAX, usec;

	for (int i = 0; i < 5; i++) {
		OK_INT(parse_generated(4096, 1, NULL, &usec), 0, "4096 peers");
		small = usec < small ? usec : small;
		OK_INT(parse_generated(16384, 1, NULL, &usec), 0, "16384 peers");
		large = usec < large ? usec : large;
	}

	OK(large < 10 * small, "4096 peers %jd us, 16384 peers %jd us", (intmax_t)small, (intmax_t)large);
}

/* An object with very many keys must not be a way to stop netbird-wg. */
static void test_many_keys(void)
{
	size_t n = 400000, size = n * 16, len = 1;
	nbh_cleanup_free char *text = malloc(size);
	struct nbh_peersfile file;
	struct nbh_why why = { "" };
	nbh_mono start = nbh_mono_now();

	text[0] = '{';

	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, size - len, "\"%zu\":1%s", i, i + 1 < n ? "," : "}");

	OK_INT(nbh_peersfile_parse(text, len, &file, &why), -EINVAL, "many keys");
	OK_STR(why.text, "peers.json: 0: unknown key", "many keys");
	OK(nbh_mono_diff_ms(nbh_mono_now(), start) < 10000, "in time");
}

struct number_case {
	const char *key;
	int64_t min, max;
};

static void test_number_limits(void)
{
	static const struct number_case cases[] = {
		{ "mtu", 576, 8192 },
		{ "listenPort", 1, 65535 },
		{ "fwmark", 0, UINT32_MAX },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		const int64_t values[] = { cases[i].min - 1, cases[i].min, cases[i].max, cases[i].max + 1 };

		for (size_t j = 0; j < NBH_N_ELEMENTS(values); j++) {
			bool good = j == 1 || j == 2;
			struct nbh_config config;
			char text[80];
			int n = snprintf(text, sizeof(text), "{\"%s\":%" PRId64 "}", cases[i].key, values[j]);

			OK_INT(nbh_configfile_parse(text, (size_t)n, &config, NULL), good ? 0 : -EINVAL, text);
		}
	}
}

static void test_keepalive_and_session(void)
{
	static const struct {
		const char *member;
		bool good;
	} cases[] = {
		{ "\"keepalive\":-1", false },    { "\"keepalive\":0", true },
		{ "\"keepalive\":65535", true },  { "\"keepalive\":65536", false },
		{ "\"keepalive\":1.5", false },   { "\"keepalive\":\"25\"", false },
		{ "\"session\":-1", false },      { "\"session\":0", true },
		{ "\"session\":4294967295", true }, { "\"session\":4294967296", false },
		{ "\"id\":\"123456789012345678901234567890123456789012345678901234567890123\"", true },
		{ "\"id\":\"1234567890123456789012345678901234567890123456789012345678901234\"", false },
		{ "\"id\":\"a\\nb\"", false },    { "\"id\":5", false },
		{ "\"endpoint\":null", false },   { "\"endpoint\":\"1.2.3.4:65535\"", true },
		{ "\"allowedIPs\":\"1.2.3.4/32\"", false },
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(cases); i++) {
		struct nbh_peersfile file = { 0 };
		char text[256];
		int n = snprintf(text, sizeof(text),
		                 "{\"peers\":[{\"publicKey\":"
		                 "\"yDlW7wMmh6iJ5yMfCs2YUoXSEgt2h6m8WSEb0aTjAUM=\",%s}]}",
		                 cases[i].member);

		OK_INT(nbh_peersfile_parse(text, (size_t)n, &file, NULL), cases[i].good ? 0 : -EINVAL,
		       cases[i].member);
		nbh_peersfile_clear(&file);
	}
}

static void test_missing_files(void)
{
	struct nbh_why why = { "untouched" };
	struct nbh_peersfile peers;
	struct nbh_config config;

	unlinkat(dir, "peers.json", 0);
	unlinkat(dir, "config.json", 0);
	OK_INT(nbh_peersfile_read(dir, &peers, &why), -ENOENT, "no peers.json");
	OK_INT(nbh_configfile_read(dir, &config, &why), -ENOENT, "no config.json");
	OK_STR(why.text, "untouched", "why untouched");
}

int main(void)
{
	char path[] = "/tmp/test-base-files-XXXXXX";

	if (!mkdtemp(path) || (dir = open(path, O_RDONLY | O_DIRECTORY)) < 0)
		tap_skip_all("no temporary directory");

	test_golden_peers();
	test_peers_by_hand();
	test_golden_device();
	test_device_unchanged();
	test_golden_config();
	test_config_not_poisoned();
	test_golden_wgstatus();
	test_hostile();
	test_device_limit();
	test_peers_limits();
	test_peers_linear();
	test_many_keys();
	test_number_limits();
	test_keepalive_and_session();
	test_missing_files();
	unlinkat(dir, "device.json", 0);
	unlinkat(dir, "status.json", 0);
	OK(rmdir(path) == 0, "nothing else was left behind");
	return tap_done();
}
