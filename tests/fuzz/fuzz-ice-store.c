/* ice/sessions of this boot: all of it or nothing. */
#include "config.h"

#include "ice/store.h"

#include "tests/fuzz/fuzz.h"

typedef struct {
	guint n_messages;
} Reader;

static void on_message(const NbhIceMessage *message, gpointer owner)
{
	Reader *reader = owner;

	fuzz_require(message->verb < NBH_ICE_N_MSGS);
	reader->n_messages++;
}

/* The first line as nbh_store_begin() writes it, and the input behind it. */
static GString *with_header(const uint8_t *data, size_t len)
{
	static char *header;
	NbhStoreDraft draft;
	GString *text;

	if (!header) {
		nbh_store_begin(&draft, 51820);
		header = g_strndup(draft.text->str, strcspn(draft.text->str, "\n") + 1);
		g_string_free(draft.text, TRUE);
	}

	text = g_string_new(header);
	g_string_append_len(text, fuzz_chars(data), (gssize)len);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	GString *text = with_header(data, len);
	int dirfd = fuzz_file("sessions", text->str, text->len);
	Reader reader = { 0 };
	struct nbh_why why = { "" };
	int r = nbh_store_read(dirfd, on_message, &reader, &why);

	fuzz_check_why(r, &why);
	fuzz_require(r == 0 || reader.n_messages == 0);
	g_string_free(text, TRUE);
	return 0;
}
