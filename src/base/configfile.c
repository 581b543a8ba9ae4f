#include "config.h"

#include "base/configfile.h"

#include "base/atomicfile.h"
#include "base/json.h"
#include "base/log.h"
#include "base/schema.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define CONFIGFILE_MODE 0600

/* NetBird's list and our own interfaces: their addresses are no candidates. */
static const char *const blacklist_default[] = {
	"wt0",       "wt",     "utun", "tun0", "zt",  "ZeroTier", "wg",   "ts", "Tailscale",
	"tailscale", "docker", "veth", "br-",  "lo",  "nbh",      "ice0",
};
_Static_assert(NBH_N_ELEMENTS(blacklist_default) <= NBH_IFACE_BLACKLIST_MAX, "fits");

void nbh_config_defaults(struct nbh_config *ret_config)
{
	*ret_config = (struct nbh_config){
		.interface = "nbh0",
		.listen_port = 51820,
		.mtu = 1280,
		.n_iface_blacklist = NBH_N_ELEMENTS(blacklist_default),
	};

	for (size_t i = 0; i < NBH_N_ELEMENTS(blacklist_default); i++)
		snprintf(ret_config->iface_blacklist[i], IFNAMSIZ, "%s", blacklist_default[i]);
}

static int read_management_url(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;
	char *url = config->management_url;
	int r = nbh_schema_text(value, url, sizeof(config->management_url), why);

	if (r < 0)
		return r;

	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return nbh_schema_fail(why, "must begin with http:// or https://");

	return 0;
}

static int read_path(const struct nbh_json_value *value, char *ret_path, size_t size, struct nbh_why *why)
{
	int r = nbh_schema_text(value, ret_path, size, why);

	if (r == 0 && ret_path[0] && ret_path[0] != '/')
		return nbh_schema_fail(why, "must be an absolute path");

	return r;
}

static int read_ca_file(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;

	return read_path(value, config->ca_file, sizeof(config->ca_file), why);
}

static int read_client_cert_file(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;

	return read_path(value, config->client_cert_file, sizeof(config->client_cert_file), why);
}

static int read_client_key_file(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;

	return read_path(value, config->client_key_file, sizeof(config->client_key_file), why);
}

/* What it says never reaches why: there may be a password in it. */
static int read_proxy(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;
	char *url = config->proxy;
	int r = nbh_schema_text(value, url, sizeof(config->proxy), why);

	if (r < 0)
		return r;

	if (strncmp(url, "https://", 8) == 0)
		return nbh_schema_fail(why, "https:// proxies are not supported, only http:// ones");

	if (url[0] && strcmp(url, "none") != 0 && strncmp(url, "http://", 7) != 0)
		return nbh_schema_fail(why, "must begin with http://, or be \"none\"");

	return 0;
}

static int read_hostname(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;

	return nbh_schema_text(value, config->hostname, sizeof(config->hostname), why);
}

static int read_interface(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;

	return nbh_schema_ifname(value, config->interface, why);
}

static int read_listen_port(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;
	int64_t n;
	int r = nbh_schema_int(value, 1, UINT16_MAX, &n, why);

	if (r == 0)
		config->listen_port = (uint16_t)n;

	return r;
}

static int read_mtu(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;
	int64_t n;
	int r = nbh_schema_int(value, 576, 8192, &n, why); /* as device.json */

	if (r == 0)
		config->mtu = (uint32_t)n;

	return r;
}

static int read_fwmark(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;
	int64_t n;
	int r = nbh_schema_int(value, 0, UINT32_MAX, &n, why);

	if (r == 0)
		config->fwmark = (uint32_t)n;

	return r;
}

static int read_userspace(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;

	return nbh_schema_bool(value, &config->userspace, why);
}

static int read_preshared_key(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;

	return nbh_schema_key(value, true, &config->preshared_key, why);
}

static int read_blacklist(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;
	size_t n = nbh_json_length(value);

	if (!nbh_json_is_array(value))
		return nbh_schema_fail(why, "must be an array");

	if (n > NBH_IFACE_BLACKLIST_MAX)
		return nbh_schema_fail(why, "%zu names; at most %d are accepted", n,
		                       NBH_IFACE_BLACKLIST_MAX);

	for (size_t i = 0; i < n; i++) {
		int r = nbh_schema_ifname(nbh_json_at(value, i), config->iface_blacklist[i], why);

		if (r < 0)
			return nbh_schema_element(r, i, why);
	}

	config->n_iface_blacklist = n;
	return 0;
}

static int read_log_level(const struct nbh_json_value *value, void *out, struct nbh_why *why)
{
	struct nbh_config *config = out;
	int r = nbh_schema_text(value, config->log_level, sizeof(config->log_level), why);

	if (r < 0)
		return r;

	if (config->log_level[0] && !nbh_log_is_level(config->log_level))
		return nbh_schema_fail(why, "no level; use error, warn, notice, info or debug");

	return 0;
}

static const struct nbh_schema_field config_fields[] = {
	{ "managementUrl", false, read_management_url },
	{ "caFile", false, read_ca_file },
	{ "clientCertFile", false, read_client_cert_file },
	{ "clientKeyFile", false, read_client_key_file },
	{ "proxy", false, read_proxy },
	{ "hostname", false, read_hostname },
	{ "interface", false, read_interface },
	{ "listenPort", false, read_listen_port },
	{ "mtu", false, read_mtu },
	{ "fwmark", false, read_fwmark },
	{ "userspace", false, read_userspace },
	{ "presharedKey", false, read_preshared_key },
	{ "interfaceBlacklist", false, read_blacklist },
	{ "logLevel", false, read_log_level },
};

int nbh_configfile_parse(const char *text, size_t len, struct nbh_config *ret_config,
                         struct nbh_why *why)
{
	struct nbh_config config;
	int r;

	nbh_config_defaults(&config);
	r = nbh_schema_file(NBH_CONFIGFILE_NAME, text, len, config_fields,
	                    NBH_N_ELEMENTS(config_fields), &config, why);

	if (r == 0)
		*ret_config = config;

	nbh_key_wipe(&config.preshared_key);
	return r;
}

int nbh_configfile_read(int dirfd, struct nbh_config *ret_config, struct nbh_why *why)
{
	char *text;
	size_t len;
	int r = nbh_trustedfile_read(dirfd, NBH_CONFIGFILE_NAME, NBH_CONFIGFILE_MAX_BYTES, &text, &len,
	                             why);

	if (r < 0)
		return r;

	r = nbh_configfile_parse(text, len, ret_config, why);
	sodium_memzero(text, len);
	free(text);
	return r;
}

static char *format(const struct nbh_config *config, size_t *ret_len)
{
	struct nbh_jsonw *w = nbh_jsonw_new();
	struct nbh_key_text key = nbh_key_format(&config->preshared_key);

	nbh_jsonw_object(w, NULL);

	if (config->management_url[0])
		nbh_jsonw_string(w, "managementUrl", config->management_url);

	if (config->ca_file[0])
		nbh_jsonw_string(w, "caFile", config->ca_file);

	if (config->client_cert_file[0])
		nbh_jsonw_string(w, "clientCertFile", config->client_cert_file);

	if (config->client_key_file[0])
		nbh_jsonw_string(w, "clientKeyFile", config->client_key_file);

	if (config->proxy[0])
		nbh_jsonw_string(w, "proxy", config->proxy);

	if (config->hostname[0])
		nbh_jsonw_string(w, "hostname", config->hostname);

	nbh_jsonw_string(w, "interface", config->interface);
	nbh_jsonw_uint(w, "listenPort", config->listen_port);
	nbh_jsonw_uint(w, "mtu", config->mtu);
	nbh_jsonw_uint(w, "fwmark", config->fwmark);
	nbh_jsonw_bool(w, "userspace", config->userspace);

	if (!nbh_key_is_zero(&config->preshared_key))
		nbh_jsonw_string(w, "presharedKey", key.text);

	nbh_jsonw_array(w, "interfaceBlacklist");

	for (size_t i = 0; i < config->n_iface_blacklist; i++)
		nbh_jsonw_string(w, NULL, config->iface_blacklist[i]);

	nbh_jsonw_close(w);

	if (config->log_level[0])
		nbh_jsonw_string(w, "logLevel", config->log_level);

	sodium_memzero(&key, sizeof(key));
	return nbh_jsonw_end(w, ret_len);
}

/* What the reader would refuse is never written: it would lock its owner out. */
static int format_checked(const struct nbh_config *config, char **ret_text, size_t *ret_len, struct nbh_why *why)
{
	struct nbh_config again;
	size_t len;
	char *text = format(config, &len);
	int r;

	if (!text) {
		nbh_why_set(why, "%s: out of memory", NBH_CONFIGFILE_NAME);
		return -ENOMEM;
	}

	r = nbh_configfile_parse(text, len, &again, why);

	if (r < 0) {
		sodium_memzero(text, len);
		free(text);
		return r;
	}

	nbh_key_wipe(&again.preshared_key);
	*ret_text = text;
	*ret_len = len;
	return 0;
}

int nbh_configfile_check(const struct nbh_config *config, struct nbh_why *why)
{
	char *text;
	size_t len;
	int r = format_checked(config, &text, &len, why);

	if (r < 0)
		return r;

	sodium_memzero(text, len);
	free(text);
	return 0;
}

int nbh_configfile_write(int dirfd, const struct nbh_config *config, struct nbh_why *why)
{
	char *text;
	size_t len;
	int r = format_checked(config, &text, &len, why);

	if (r < 0)
		return r;

	r = nbh_atomicfile_write(dirfd, NBH_CONFIGFILE_NAME, text, len, CONFIGFILE_MODE,
	                         NBH_ATOMICFILE_FSYNC, why);
	sodium_memzero(text, len);
	free(text);
	return r;
}
