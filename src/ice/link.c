#include "config.h"

#include "ice/link.h"

#include "loop/source.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <glib-unix.h>

#define STALL_MS 5000
#define READS_PER_TURN 64

struct _NbhIceLink {
	int fd;
	int refs; /* one of the owner, one while a callback runs */
	gboolean freed;
	const NbhIceLinkEvents *events; /* borrowed */
	gpointer owner;
	GSource *in, *out, *stall, *broken; /* owned; out and stall only while the queue holds something */
	GQueue queue;                       /* GBytes, owned */
	const char *broken_why;             /* static text */
};

static void attach(GSource **keep, GSource *source, GSourceFunc func, NbhIceLink *link)
{
	g_source_set_callback(source, func, link, NULL);
	g_source_attach(source, g_main_context_get_thread_default());
	*keep = source;
}

static void unref(NbhIceLink *link)
{
	if (--link->refs)
		return;

	close(link->fd);
	g_free(link);
}

static void stop(NbhIceLink *link)
{
	nbh_source_drop(&link->in);
	nbh_source_drop(&link->out);
	nbh_source_drop(&link->stall);
	nbh_source_drop(&link->broken);
	g_queue_clear_full(&link->queue, (GDestroyNotify)g_bytes_unref);
}

/* Must be called from a source; the owner usually frees us inside. */
static void report_closed(NbhIceLink *link, const char *why)
{
	stop(link);

	if (!link->freed)
		link->events->on_closed(link, why, link->owner);
}

static gboolean on_broken(gpointer data)
{
	NbhIceLink *link = data;

	link->refs++;
	report_closed(link, link->broken_why);
	unref(link);
	return G_SOURCE_REMOVE;
}

/* From inside a call: tell the owner from the loop. */
static void break_later(NbhIceLink *link, const char *why)
{
	if (link->broken)
		return;

	nbh_source_drop(&link->in);
	nbh_source_drop(&link->out);
	nbh_source_drop(&link->stall);
	g_queue_clear_full(&link->queue, (GDestroyNotify)g_bytes_unref);
	link->broken_why = why;
	attach(&link->broken, g_idle_source_new(), on_broken, link);
}

static gboolean on_stall(gpointer data)
{
	NbhIceLink *link = data;

	nbh_source_drop(&link->stall);
	break_later(link, "the other end does not read");
	return G_SOURCE_REMOVE;
}

/* Sends what the kernel takes; keeps the sources in step with the queue. Its own callback of `out`. */
static gboolean flush(int fd, GIOCondition condition, gpointer data)
{
	NbhIceLink *link = data;
	gboolean progress = FALSE;

	(void)condition;

	while (!g_queue_is_empty(&link->queue)) {
		gsize len;
		const void *bytes = g_bytes_get_data(g_queue_peek_head(&link->queue), &len);

		if (send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
			if (errno == EINTR)
				continue;

			if (errno != EAGAIN) {
				break_later(link, "cannot write to it");
				return G_SOURCE_CONTINUE;
			}

			break;
		}

		progress = TRUE;
		g_bytes_unref(g_queue_pop_head(&link->queue));
	}

	if (progress || g_queue_is_empty(&link->queue))
		nbh_source_drop(&link->stall);

	if (g_queue_is_empty(&link->queue)) {
		nbh_source_drop(&link->out);
		return G_SOURCE_CONTINUE;
	}

	if (!link->stall)
		attach(&link->stall, g_timeout_source_new(STALL_MS), on_stall, link);

	if (!link->out)
		attach(&link->out, g_unix_fd_source_new(link->fd, G_IO_OUT), G_SOURCE_FUNC(flush), link);

	return G_SOURCE_CONTINUE;
}

static void take_line(NbhIceLink *link, const char *line, gsize len)
{
	struct nbh_why why = { "" };
	NbhIceMessage message;

	if (nbh_ice_message_parse(line, len, &message, &why))
		link->events->on_message(link, &message, link->owner);
	else
		link->events->on_garbage(link, why.text, link->owner);
}

static void read_lines(NbhIceLink *link, guint max)
{
	char buf[NBH_ICE_MESSAGE_MAX_BYTES];

	link->refs++;

	for (guint i = 0; i < max && link->in; i++) {
		ssize_t n = recv(link->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && errno == EINTR)
			continue;

		if (n < 0 && errno == EAGAIN)
			break;

		if (n <= 0) {
			report_closed(link, n ? g_strerror(errno) : "the other end closed it");
			break;
		}

		if ((gsize)n > sizeof(buf))
			link->events->on_garbage(link, "line too long", link->owner);
		else
			take_line(link, buf, (gsize)n);
	}

	unref(link);
}

static gboolean on_readable(int fd G_GNUC_UNUSED, GIOCondition condition G_GNUC_UNUSED, gpointer data)
{
	read_lines(data, READS_PER_TURN);
	return G_SOURCE_CONTINUE;
}

void nbh_ice_link_drain(NbhIceLink *link)
{
	read_lines(link, NBH_ICE_QUEUE_MAX);
}

NbhIceLink *nbh_ice_link_new(int fd, const NbhIceLinkEvents *events, gpointer owner)
{
	NbhIceLink *link = g_new0(NbhIceLink, 1);

	link->fd = fd;
	link->refs = 1;
	link->events = events;
	link->owner = owner;
	g_queue_init(&link->queue);
	attach(&link->in, g_unix_fd_source_new(fd, G_IO_IN | G_IO_HUP | G_IO_ERR), G_SOURCE_FUNC(on_readable),
	       link);
	return link;
}

void nbh_ice_link_free(NbhIceLink *link)
{
	if (!link)
		return;

	stop(link);
	link->freed = TRUE;
	unref(link);
}

gboolean nbh_ice_link_send(NbhIceLink *link, const NbhIceMessage *message)
{
	char buf[NBH_ICE_MESSAGE_MAX_BYTES];
	gsize len = nbh_ice_message_format(message, buf);

	if (!len)
		return FALSE;

	if (!link->in)
		return TRUE; /* broken or closed: on_closed tells, or has told */

	if (g_queue_get_length(&link->queue) >= NBH_ICE_QUEUE_MAX) {
		break_later(link, "too much waits for the other end to read");
		return TRUE;
	}

	g_queue_push_tail(&link->queue, g_bytes_new(buf, len));

	if (!link->out)
		flush(link->fd, G_IO_OUT, link);

	return TRUE;
}
