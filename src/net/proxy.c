#include "config.h"

#include "net/proxy.h"

#include "base/addr.h"

#include <gio/gio.h>
#include <string.h>

#define DEFAULT_PORT 80
#define STATUS_LEN 12 /* "HTTP/1.1 200" */
#define REASON_MAX 80

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	g_free(secret);
}

NbhProxy *nbh_proxy_parse(const char *url, GError **error)
{
	g_autofree char *scheme = NULL, *user = NULL, *host = NULL;
	char *with_scheme = g_strconcat(strstr(url, "://") ? "" : "http://", url, NULL);
	char *password = NULL, *pair = NULL;
	NbhProxy *proxy = NULL;
	int port = -1;
	gboolean ok;

	ok = g_uri_split_with_user(with_scheme, G_URI_FLAGS_HAS_PASSWORD, &scheme, &user, &password, NULL,
				   &host, &port, NULL, NULL, NULL, NULL);
	if (ok && scheme && g_ascii_strcasecmp(scheme, "http") != 0) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
			    "%s:// proxies are not supported, only http:// ones", scheme);
	} else if (!ok || !scheme || !host || !*host || strlen(host) >= sizeof(proxy->host) || port == 0) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "must have the form http://HOST:PORT");
	} else {
		proxy = g_new0(NbhProxy, 1);
		g_strlcpy(proxy->host, host, sizeof(proxy->host));
		proxy->port = port > 0 ? (guint16)port : DEFAULT_PORT;
		pair = user ? g_strconcat(user, ":", password ? password : "", NULL) : NULL;
		if (pair)
			proxy->authorization = g_base64_encode((const guchar *)pair, strlen(pair));
	}
	wipe(with_scheme);
	wipe(password);
	wipe(pair);
	return proxy;
}

NbhProxy *nbh_proxy_copy(const NbhProxy *proxy)
{
	NbhProxy *copy;

	if (!proxy)
		return NULL;
	copy = g_new0(NbhProxy, 1);
	*copy = *proxy;
	copy->authorization = g_strdup(proxy->authorization);
	return copy;
}

void nbh_proxy_free(NbhProxy *proxy)
{
	if (!proxy)
		return;
	wipe(proxy->authorization);
	g_free(proxy);
}

/* ---- exceptions ----------------------------------------------------------------------------- */

/* "NAME:443" and "[2001:db8::1]:443" lose their port. FALSE: it is for another port. */
static gboolean take_port(char *entry, guint16 port)
{
	char *colon = strrchr(entry, ':');
	char *bracket = strchr(entry, ']');
	guint64 number;

	if (colon && (bracket ? bracket < colon : strchr(entry, ':') == colon)) {
		if (!g_ascii_string_to_unsigned(colon + 1, 10, 1, G_MAXUINT16, &number, NULL) || number != port)
			return FALSE;
		*colon = '\0';
	}
	if (entry[0] == '[' && bracket) {
		*bracket = '\0';
		memmove(entry, entry + 1, strlen(entry));
	}
	return TRUE;
}

static gboolean names_host(const char *entry, const char *host)
{
	gsize host_len = strlen(host), len;

	if (g_str_has_prefix(entry, "*."))
		entry++;
	len = strlen(entry);
	if (entry[0] == '.')
		return host_len > len && g_ascii_strcasecmp(host + host_len - len, entry) == 0;
	if (host_len == len)
		return g_ascii_strcasecmp(host, entry) == 0;
	return host_len > len && host[host_len - len - 1] == '.' &&
	       g_ascii_strcasecmp(host + host_len - len, entry) == 0;
}

gboolean nbh_proxy_is_excluded(const char *no_proxy, const char *host, guint16 port)
{
	g_auto(GStrv) entries = g_strsplit(no_proxy, ",", -1);
	struct nbh_addr addr, same;
	struct nbh_prefix prefix;
	gboolean is_addr = nbh_addr_parse(host, &addr) == 0;

	for (char **entry = entries; *entry; entry++) {
		const char *text = g_strstrip(*entry);

		if (strcmp(text, "*") == 0)
			return TRUE;
		if (!*text || !take_port(*entry, port))
			continue;
		if (strchr(text, '/')) {
			if (is_addr && nbh_prefix_parse(text, &prefix) == 0 && nbh_prefix_contains(&prefix, &addr))
				return TRUE;
		} else if (nbh_addr_parse(text, &same) == 0) {
			if (is_addr && nbh_addr_equal(&addr, &same))
				return TRUE;
		} else if (!is_addr && names_host(text, host)) {
			return TRUE;
		}
	}
	return FALSE;
}

static const char *variable(const char *upper, const char *lower)
{
	const char *value = g_getenv(upper);

	return value && *value ? value : g_getenv(lower);
}

static gboolean is_this_machine(const char *host)
{
	g_autoptr(GInetAddress) address = g_inet_address_new_from_string(host);

	return address ? g_inet_address_get_is_loopback(address) : g_ascii_strcasecmp(host, "localhost") == 0;
}

const char *nbh_proxy_from_environment(const char *host, guint16 port)
{
	const char *url = variable("HTTPS_PROXY", "https_proxy");
	const char *no_proxy = variable("NO_PROXY", "no_proxy");

	if (!url || !*url || is_this_machine(host))
		return NULL;
	return no_proxy && nbh_proxy_is_excluded(no_proxy, host, port) ? NULL : url;
}

/* ---- CONNECT -------------------------------------------------------------------------------- */

char *nbh_proxy_request(const NbhProxy *proxy, const char *host, guint16 port)
{
	g_autofree char *target = g_strdup_printf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);

	return g_strdup_printf("CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", target, target,
			       proxy->authorization ? "Proxy-Authorization: Basic " : "",
			       proxy->authorization ? proxy->authorization : "",
			       proxy->authorization ? "\r\n" : "");
}

gsize nbh_proxy_head_len(const guint8 *data, gsize len)
{
	const guint8 *end = memmem(data, len, "\r\n\r\n", 4);

	return end ? (gsize)(end - data) + 4 : 0;
}

static char *first_line(const guint8 *head, gsize len)
{
	GString *line = g_string_new(NULL);

	for (gsize i = 0; i < MIN(len, REASON_MAX) && head[i] != '\r' && head[i] != '\n'; i++)
		g_string_append_c(line, g_ascii_isprint((char)head[i]) ? (char)head[i] : '?');
	return g_string_free(line, FALSE);
}

char *nbh_proxy_refusal(const guint8 *head, gsize len)
{
	g_autofree char *line = first_line(head, len);
	const char *hint;

	if (!g_str_has_prefix(line, "HTTP/1.") || strlen(line) < STATUS_LEN || !g_ascii_isdigit(line[7]) ||
	    line[8] != ' ' || !g_ascii_isdigit(line[9]) || !g_ascii_isdigit(line[10]) ||
	    !g_ascii_isdigit(line[11]))
		return g_strdup_printf("is no HTTP proxy (it answered \"%.40s\")", line);
	if (line[9] == '2')
		return NULL;
	hint = strncmp(line + 9, "407", 3) == 0 ? "; give USER:PASSWORD@ in the proxy's URL" : "";
	return g_strdup_printf("refuses the connection: %s%s", line + 9, hint);
}
