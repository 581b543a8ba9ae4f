#include "config.h"

#include "ice/store.h"

#include "base/atomicfile.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define NAME "sessions"
#define HEADER "NETBIRD-ICE-SESSIONS 1 "

/* "" if the kernel does not tell; then nothing matches and nothing is brought back. */
static char *boot_id(void)
{
	char *text = NULL;

	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
		return g_strdup("");

	return g_strstrip(text);
}

void nbh_store_begin(NbhStoreDraft *draft, guint16 port)
{
	g_autofree char *boot = boot_id();
	NbhIceMessage m = { .verb = NBH_ICE_MSG_SET_PORT, .u.port = port };

	draft->text = g_string_new(NULL);
	g_string_printf(draft->text, HEADER "%s\n", boot);
	nbh_store_add(draft, &m);
}

void nbh_store_add(NbhStoreDraft *draft, const NbhIceMessage *message)
{
	char line[NBH_ICE_MESSAGE_MAX_BYTES];
	gsize len = nbh_ice_message_format(message, line);

	if (!len)
		return;

	g_string_append_len(draft->text, line, (gssize)len);
	g_string_append_c(draft->text, '\n');
}

int nbh_store_finish(NbhStoreDraft *draft, int dirfd, struct nbh_why *why)
{
	NbhIceMessage end = { .verb = NBH_ICE_MSG_END };
	int r;

	nbh_store_add(draft, &end);
	r = nbh_atomicfile_write(dirfd, NAME, draft->text->str, draft->text->len, 0600, 0, why);
	g_string_free(draft->text, TRUE);
	draft->text = NULL;
	return r;
}

/* Walks over the lines; with on_message NULL only looks whether all are good. */
static int walk(const char *at, const char *end, void (*on_message)(const NbhIceMessage *, gpointer),
                gpointer owner, struct nbh_why *why)
{
	while (at < end) {
		const char *stop = memchr(at, '\n', (gsize)(end - at));
		NbhIceMessage m;

		if (!stop) {
			nbh_why_set(why, NAME ": cut off");
			return -EINVAL;
		}

		if (!nbh_ice_message_parse(at, (gsize)(stop - at), &m, why)) {
			nbh_why_prefix(why, NAME);
			return -EINVAL;
		}

		at = stop + 1;

		if (m.verb == NBH_ICE_MSG_END && at == end)
			return 0;

		if (on_message)
			on_message(&m, owner);
	}

	nbh_why_set(why, NAME ": no END");
	return -EINVAL;
}

int nbh_store_read(int dirfd, void (*on_message)(const NbhIceMessage *message, gpointer owner),
                   gpointer owner, struct nbh_why *why)
{
	nbh_cleanup_free char *text = NULL;
	g_autofree char *boot = boot_id(), *header = g_strdup_printf(HEADER "%s\n", boot);
	gsize len;
	int r = nbh_trustedfile_read(dirfd, NAME, NBH_ICE_STORE_MAX_BYTES, &text, &len, why);

	if (r == -ENOENT)
		return 0;

	if (r)
		return r;

	if (!boot[0] || !g_str_has_prefix(text, header))
		return 0;

	r = walk(text + strlen(header), text + len, NULL, NULL, why);
	return r ? r : walk(text + strlen(header), text + len, on_message, owner, why);
}

void nbh_store_forget(int dirfd)
{
	unlinkat(dirfd, NAME, 0);
}
