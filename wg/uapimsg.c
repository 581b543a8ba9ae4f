#include "config.h"

#include "wg/uapimsg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct hex {
	char text[2 * NBH_KEY_LEN + 1];
};

static struct hex to_hex(const struct nbh_key *key)
{
	static const char digits[] = "0123456789abcdef";
	struct hex hex;

	for (size_t i = 0; i < NBH_KEY_LEN; i++) {
		hex.text[2 * i] = digits[key->bytes[i] >> 4];
		hex.text[2 * i + 1] = digits[key->bytes[i] & 15];
	}

	hex.text[2 * NBH_KEY_LEN] = '\0';
	return hex;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int from_hex(const char *text, struct nbh_key *ret_key)
{
	if (strlen(text) != 2 * (size_t)NBH_KEY_LEN)
		return -EBADMSG;

	for (size_t i = 0; i < NBH_KEY_LEN; i++) {
		int high = nibble(text[2 * i]), low = nibble(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EBADMSG;
		ret_key->bytes[i] = (uint8_t)(high << 4 | low);
	}

	return 0;
}

void wg_uapimsg_device(const struct wg_plan *plan, char buf[WG_UAPIMSG_DEVICE_MAX])
{
	size_t n = 0;

	buf[0] = '\0';
	if (plan->set_private_key) {
		struct hex hex = to_hex(plan->private_key);

		n += (size_t)snprintf(buf + n, WG_UAPIMSG_DEVICE_MAX - n, "private_key=%s\n", hex.text);
		explicit_bzero(&hex, sizeof(hex));
	}
	if (plan->set_listen_port)
		n += (size_t)snprintf(buf + n, WG_UAPIMSG_DEVICE_MAX - n, "listen_port=%u\n",
		                      plan->listen_port);
	if (plan->set_fwmark)
		snprintf(buf + n, WG_UAPIMSG_DEVICE_MAX - n, "fwmark=%" PRIu32 "\n", plan->fwmark);
}

static void put_op(const struct wg_op *op, FILE *out)
{
	struct hex key = to_hex(op->public_key);
	char text[NBH_ENDPOINT_TEXT_MAX];

	if (op->kind == WG_OP_REMOVE || op->kind == WG_OP_READD)
		fprintf(out, "public_key=%s\nremove=true\n", key.text);
	if (op->kind == WG_OP_REMOVE)
		return;

	fprintf(out, "public_key=%s\n", key.text);
	if (op->kind == WG_OP_UPDATE)
		fprintf(out, "update_only=true\n");
	if (op->set_preshared_key)
		fprintf(out, "preshared_key=%s\n", to_hex(op->preshared_key).text);
	if (op->set_endpoint)
		fprintf(out, "endpoint=%s\n", nbh_endpoint_format(&op->endpoint, text));
	if (op->replace_allowed_ips)
		fprintf(out, "replace_allowed_ips=true\n");
	for (size_t i = 0; i < op->n_allowed_ips; i++)
		fprintf(out, "allowed_ip=%s\n", nbh_prefix_format(&op->allowed_ips[i], text));
	if (op->set_keepalive)
		fprintf(out, "persistent_keepalive_interval=%u\n", op->keepalive_s);
}

void wg_uapimsg_peers(const struct wg_plan *plan, FILE *out)
{
	for (size_t i = 0; i < plan->n_ops; i++)
		put_op(&plan->ops[i], out);
}

static bool number(const char *text, int64_t min, int64_t max, int64_t *ret_value)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max)
		return false;

	*ret_value = value;
	return true;
}

/* "[fe80::1%eth0]:51820": our addresses have no zone. */
static int parse_endpoint(char *text, struct nbh_endpoint *ret_endpoint)
{
	char *zone = strchr(text, '%'), *end = zone ? strchr(zone, ']') : NULL;

	if (zone && !end)
		return -EBADMSG;
	if (zone)
		memmove(zone, end, strlen(end) + 1);

	return nbh_endpoint_parse(text, ret_endpoint) < 0 ? -EBADMSG : 0;
}

static int parse_peer_line(struct wg_peer *peer, const char *name, char *value,
                           struct wg_devbuild *build)
{
	struct nbh_prefix prefix;
	int64_t n = 0;

	if (strcmp(name, "allowed_ip") == 0)
		return nbh_prefix_parse(value, &prefix) < 0 ? -EBADMSG : wg_devbuild_prefix(build, &prefix);

	if (strcmp(name, "endpoint") == 0)
		return parse_endpoint(value, &peer->endpoint);

	if (strcmp(name, "preshared_key") == 0) {
		if (from_hex(value, &peer->preshared_key) < 0)
			return -EBADMSG;
		peer->has_preshared_key = !nbh_key_is_zero(&peer->preshared_key);
		return 0;
	}

	if (strcmp(name, "persistent_keepalive_interval") == 0 && number(value, 0, UINT16_MAX, &n))
		peer->keepalive_s = (uint16_t)n;
	else if (strcmp(name, "last_handshake_time_sec") == 0 && number(value, 0, INT32_MAX * 16LL, &n))
		peer->last_handshake_unix_ms += n * 1000;
	else if (strcmp(name, "last_handshake_time_nsec") == 0 && number(value, 0, 999999999, &n))
		peer->last_handshake_unix_ms += n / 1000000;
	else if (strcmp(name, "rx_bytes") == 0 && number(value, 0, INT64_MAX, &n))
		peer->rx_bytes = (uint64_t)n;
	else if (strcmp(name, "tx_bytes") == 0 && number(value, 0, INT64_MAX, &n))
		peer->tx_bytes = (uint64_t)n;
	return 0;
}

static int parse_public_key(struct wg_uapiparse *parse, const char *value, struct wg_devbuild *build)
{
	struct nbh_key key;

	if (from_hex(value, &key) < 0)
		return -EBADMSG;

	parse->peer = wg_devbuild_peer(build, &key);
	return parse->peer ? 0 : -ENOMEM;
}

int wg_uapimsg_parse(struct wg_uapiparse *parse, char *line, struct wg_devbuild *build)
{
	struct wg_dev *dev = &build->dev;
	char *value = strchr(line, '=');
	int64_t n = 0;

	if (!value)
		return -EBADMSG;

	*value++ = '\0';
	if (strcmp(line, "errno") == 0)
		return number(value, -INT32_MAX, INT32_MAX, &parse->error) ? 0 : -EBADMSG;

	if (strcmp(line, "public_key") == 0)
		return parse_public_key(parse, value, build);

	if (strcmp(line, "private_key") == 0) {
		if (from_hex(value, &dev->private_key) < 0)
			return -EBADMSG;
		dev->has_private_key = !nbh_key_is_zero(&dev->private_key);
	} else if (strcmp(line, "listen_port") == 0 && number(value, 0, UINT16_MAX, &n)) {
		dev->listen_port = (uint16_t)n;
	} else if (strcmp(line, "fwmark") == 0 && number(value, 0, UINT32_MAX, &n)) {
		dev->fwmark = (uint32_t)n;
	} else if (parse->peer) {
		return parse_peer_line(parse->peer, line, value, build);
	}

	return 0;
}
