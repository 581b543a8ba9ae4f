#include "config.h"

#include "hub/label.h"

#include <gio/gio.h>
#include <string.h>

#define HOSTNAME_MAX_BYTES 1024 /* g_hostname_to_ascii() is quadratic */

gboolean nbh_label_from_hostname(const char *hostname, char ret_label[NBH_LABEL_MAX + 1])
{
	gsize len = strcspn(hostname, ".");
	g_autofree char *first = NULL;
	g_autofree char *ascii = NULL;
	char label[NBH_LABEL_MAX + 1];
	gsize n = 0;

	if (len == 0 || len > HOSTNAME_MAX_BYTES || !g_utf8_validate(hostname, (gssize)len, NULL))
		return FALSE;
	first = g_strndup(hostname, len);
	/* Punycode where IDNA allows it; what it refuses (blanks, say) turns into dashes below. */
	ascii = g_hostname_to_ascii(first);
	for (const char *p = ascii ? ascii : first; *p && n < NBH_LABEL_PLAIN_MAX; p++) {
		if (g_ascii_isalnum(*p))
			label[n++] = g_ascii_tolower(*p);
		else if (n > 0 && (*p == '-' || label[n - 1] != '-'))
			label[n++] = '-';
	}
	while (n > 0 && label[n - 1] == '-')
		n--;
	if (n == 0)
		return FALSE;
	memcpy(ret_label, label, n);
	ret_label[n] = '\0';
	return TRUE;
}

void nbh_label_with_address(const char *label, const struct nbh_addr *ip,
			    char ret_label[NBH_LABEL_MAX + 1])
{
	g_snprintf(ret_label, NBH_LABEL_MAX + 1, "%.*s-%u-%u", NBH_LABEL_PLAIN_MAX, label,
		   ip->bytes[2], ip->bytes[3]);
}
