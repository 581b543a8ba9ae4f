#include "config.h"

#include "wire/hostport.h"

#include "base/addr.h"

#include <string.h>

static gboolean port_parse(const char *text, gsize len, guint16 *ret_port)
{
	guint32 port = 0;
	gsize i;

	if (len == 0 || len > 5)
		return FALSE;

	for (i = 0; i < len; i++) {
		if (!g_ascii_isdigit(text[i]))
			return FALSE;

		port = port * 10 + (guint32)(text[i] - '0');
	}

	if (port == 0 || port > 65535)
		return FALSE;

	*ret_port = (guint16)port;
	return TRUE;
}

static gboolean is_host_name(const char *text, gsize len)
{
	gsize i;

	for (i = 0; i < len; i++) {
		if (!g_ascii_isalnum(text[i]) && text[i] != '-' && text[i] != '.' && text[i] != '_')
			return FALSE;
	}

	return len > 0;
}

static gboolean is_ipv6_literal(const char *text, gsize len)
{
	char literal[NBH_ADDR_TEXT_MAX];
	struct nbh_addr addr;

	if (len >= sizeof(literal) || !memchr(text, ':', len))
		return FALSE;

	memcpy(literal, text, len);
	literal[len] = '\0';
	return nbh_addr_parse(literal, &addr) == 0;
}

gboolean nbh_hostport_parse(const char *text, gsize len, guint16 default_port, char *ret_host,
			    gsize host_size, guint16 *ret_port)
{
	const char *host = text, *end = text + len, *host_end, *rest;
	guint16 port = default_port;

	if (len > 0 && *text == '[') {
		host = text + 1;
		host_end = memchr(host, ']', (gsize)(end - host));

		if (!host_end || !is_ipv6_literal(host, (gsize)(host_end - host)))
			return FALSE;

		rest = host_end + 1;
	} else {
		host_end = len ? memchr(text, ':', len) : NULL;
		host_end = host_end ? host_end : end;

		if (!is_host_name(host, (gsize)(host_end - host)))
			return FALSE;

		rest = host_end;
	}

	if (rest < end) {
		if (*rest != ':' || !port_parse(rest + 1, (gsize)(end - rest - 1), &port))
			return FALSE;
	}

	if (port == 0 || (gsize)(host_end - host) >= host_size)
		return FALSE;

	memcpy(ret_host, host, (gsize)(host_end - host));
	ret_host[host_end - host] = '\0';
	*ret_port = port;
	return TRUE;
}
