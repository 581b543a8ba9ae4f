#include "config.h"

#include "sink/publish.h"

#include "base/atomicfile.h"
#include "base/limits.h"
#include "base/log.h"
#include "loop/source.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <gio/gio.h>

/* A full disk heals by itself: try again now and then. */
#define RETRY_MS 2000

struct _NbhPublish {
	int dirfd; /* borrowed */
	guint64 generation;
	NbhPublishEvents events;
	gpointer owner;
	char *last; /* owned: text of the last file; its content is compared, content_len() */
	gboolean held, dirty, armed;
	gint64 last_write_usec;
	GSource *timer; /* owned */
	guint failures;
};

static void arm(NbhPublish *publish, guint delay_ms)
{
	if (publish->armed)
		return;

	publish->armed = TRUE;
	g_source_set_ready_time(publish->timer, g_get_monotonic_time() + delay_ms * 1000);
}

static void written(NbhPublish *publish, guint64 generation, const char *error)
{
	if (error) {
		publish->failures++;

		if (nbh_log_worth(publish->failures))
			nbh_log(NBH_LOG_ERROR, "sink", "publish-failed error=\"%s\" count=%u", error,
			        publish->failures);

		publish->dirty = TRUE;
		arm(publish, RETRY_MS);
	} else {
		publish->failures = 0;
	}

	if (publish->events.on_written)
		publish->events.on_written(generation, error, publish->owner);
}

/* The text up to the counters that end the file and are other ones each time. */
static size_t content_len(const char *text)
{
	const char *end = g_strrstr(text, "\n  \"generation\":");

	return end ? (size_t)(end - text) : strlen(text);
}

static gboolean is_same_content(const char *a, const char *b)
{
	size_t len = content_len(a);

	return len == content_len(b) && memcmp(a, b, len) == 0;
}

static void publish_now(NbhPublish *publish)
{
	struct nbh_peersfile file = { 0 };
	guint64 generation = publish->generation + 1;
	nbh_cleanup_free char *text = NULL;
	struct nbh_why why = { "" };
	size_t len;
	int r;

	publish->dirty = FALSE;

	if (!publish->events.build(generation, &file, publish->owner))
		return;

	text = nbh_peersfile_format(&file, g_get_real_time() / 1000, &len);
	nbh_peersfile_clear(&file);

	if (!text) {
		written(publish, generation, "peers.json: out of memory");
		return;
	}

	if (publish->last && is_same_content(publish->last, text))
		return;

	r = nbh_atomicfile_write(publish->dirfd, NBH_PEERSFILE_NAME, text, len, 0640, 0, &why);
	publish->last_write_usec = g_get_monotonic_time();

	if (r < 0) {
		written(publish, generation, why.text);
		return;
	}

	free(publish->last);
	publish->last = g_steal_pointer(&text);
	publish->generation = generation;
	written(publish, generation, NULL);
}

static gboolean on_timer(gpointer owner)
{
	NbhPublish *publish = owner;

	publish->armed = FALSE;

	if (publish->dirty && !publish->held)
		publish_now(publish);

	return G_SOURCE_CONTINUE;
}

NbhPublish *nbh_publish_new(int dirfd, guint64 last_generation, const NbhPublishEvents *events, gpointer owner)
{
	NbhPublish *publish = g_new0(NbhPublish, 1);

	publish->dirfd = dirfd;
	publish->generation = last_generation;
	publish->events = *events;
	publish->owner = owner;
	publish->held = TRUE;
	publish->timer = nbh_source_new_timer(on_timer, publish);
	return publish;
}

void nbh_publish_free(NbhPublish *publish)
{
	if (!publish)
		return;

	nbh_source_drop(&publish->timer);
	free(publish->last);
	g_free(publish);
}

void nbh_publish_release(NbhPublish *publish)
{
	publish->held = FALSE;

	if (publish->dirty)
		nbh_publish_changed(publish);
}

void nbh_publish_changed(NbhPublish *publish)
{
	gint64 since_ms = (g_get_monotonic_time() - publish->last_write_usec) / 1000;

	publish->dirty = TRUE;

	if (publish->held || publish->armed)
		return;

	/* From the loop in any case: several changes of one turn are one file. */
	arm(publish, since_ms >= NBH_PUBLISH_DELAY_MS ? 0 : NBH_PUBLISH_DELAY_MS - (guint)since_ms);
}

void nbh_publish_again(NbhPublish *publish)
{
	free(publish->last);
	publish->last = NULL;
	nbh_publish_changed(publish);
}

gboolean nbh_publish_device(NbhPublish *publish, const struct nbh_device *device, GError **error)
{
	struct nbh_why why = { "" };
	int r = nbh_devicefile_write(publish->dirfd, device, &why);

	if (r < 0) {
		g_set_error_literal(error, G_IO_ERROR, g_io_error_from_errno(-r), why.text);
		return FALSE;
	}

	return TRUE;
}

gboolean nbh_publish_remove_device(NbhPublish *publish, GError **error)
{
	if (unlinkat(publish->dirfd, NBH_DEVICEFILE_NAME, 0) == 0 || errno == ENOENT)
		return TRUE;

	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "%s: cannot remove: %s",
	            NBH_DEVICEFILE_NAME, g_strerror(errno));
	return FALSE;
}
