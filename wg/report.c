#include "config.h"

#include "wg/report.h"

#include "wg/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void wg_report_changed(struct wg_report *report, nbh_mono now)
{
	report->fast_until = nbh_mono_add_ms(now, WG_REPORT_FAST_FOR_MS);
	report->await_until = nbh_mono_add_ms(now, WG_REPORT_AWAIT_FOR_MS);
	report->next = now;
}

nbh_mono wg_report_next(const struct wg_report *report)
{
	return report->next;
}

/* Is a file with "now" worth writing over "then"? bytes_due: bytes alone are. */
static bool is_news(const struct nbh_wgstatus *then, const struct nbh_wgstatus *now, bool bytes_due)
{
	if (strcmp(then->backend, now->backend) != 0 || strcmp(then->interface, now->interface) != 0 ||
	    strcmp(then->error, now->error) != 0 || strcmp(then->error_code, now->error_code) != 0 ||
	    then->link_up != now->link_up || then->seccomp != now->seccomp || then->listen_port != now->listen_port ||
	    then->generation != now->generation || then->n_peers != now->n_peers)
		return true;

	for (size_t i = 0; i < now->n_peers; i++) {
		const struct nbh_wgstatus_peer *a = &then->peers[i], *b = &now->peers[i];

		if (nbh_key_compare(&a->public_key, &b->public_key) != 0 ||
		    !nbh_endpoint_equal(&a->endpoint, &b->endpoint) ||
		    a->last_handshake_unix_ms != b->last_handshake_unix_ms ||
		    a->silent_since_unix_ms != b->silent_since_unix_ms)
			return true;

		if (bytes_due && (a->rx_bytes != b->rx_bytes || a->tx_bytes != b->tx_bytes))
			return true;
	}

	return false;
}

static int take_peers(struct nbh_wgstatus *status, const struct wg_dev *dev, const struct wg_silence *silence)
{
	status->peers = calloc(dev->n_peers ? dev->n_peers : 1, sizeof(*status->peers));
	if (!status->peers)
		return -ENOMEM;

	status->n_peers = dev->n_peers;
	for (size_t i = 0; i < dev->n_peers; i++) {
		const struct wg_peer *peer = &dev->peers[i];

		status->peers[i] = (struct nbh_wgstatus_peer){
			.public_key = peer->public_key,
			.endpoint = peer->endpoint,
			.last_handshake_unix_ms = peer->last_handshake_unix_ms,
			.rx_bytes = peer->rx_bytes,
			.tx_bytes = peer->tx_bytes,
			.silent_since_unix_ms = wg_silence_since(silence, i),
		};
	}

	status->link_up = dev->is_up;
	if (!status->listen_port)
		status->listen_port = dev->listen_port;
	return 0;
}

/* Keeps what was known when the system cannot be asked. */
static void keep_peers(struct nbh_wgstatus *status, struct nbh_wgstatus *written)
{
	status->peers = written->peers;
	status->n_peers = written->n_peers;
	status->link_up = written->link_up;
	if (!status->listen_port)
		status->listen_port = written->listen_port;
	written->peers = NULL;
	written->n_peers = 0;
}

static bool is_due(const struct wg_report *report, const struct nbh_wgstatus *status, nbh_mono now)
{
	bool bytes_due = nbh_mono_diff_ms(now, report->written_at) >= WG_REPORT_BYTES_MS;

	return !report->is_written || is_news(&report->written, status, bytes_due);
}

/* A first handshake, when it comes, is news that somebody waits for. */
static bool is_one_awaited(const struct wg_dev *dev)
{
	for (size_t i = 0; i < dev->n_peers; i++)
		if (dev->peers[i].last_handshake_unix_ms == 0 && nbh_endpoint_is_set(&dev->peers[i].endpoint) &&
		    !nbh_addr_is_loopback(&dev->peers[i].endpoint.addr))
			return true;

	return false;
}

static nbh_mono next_look(const struct wg_report *report, const struct wg_dev *dev, nbh_mono now)
{
	nbh_mono next = nbh_mono_add_ms(now, WG_REPORT_SLOW_MS);

	if (nbh_mono_before(now, report->fast_until))
		next = nbh_mono_add_ms(now, WG_REPORT_FAST_MS);
	else if (dev && nbh_mono_before(now, report->await_until) && is_one_awaited(dev))
		next = nbh_mono_add_ms(now, WG_REPORT_AWAIT_MS);

	if (dev && nbh_mono_before(report->silence.next, next))
		next = report->silence.next;
	return next;
}

int wg_report_update(struct wg_report *report, int wg_dirfd, const struct nbh_wgstatus *head,
                     const struct wg_dev *dev, int64_t unix_ms, nbh_mono now, struct nbh_why *why)
{
	struct nbh_wgstatus status = *head;
	int r;

	r = dev ? wg_silence_look(&report->silence, dev, unix_ms, now) : 0;
	report->next = next_look(report, r == 0 ? dev : NULL, now);
	if (r < 0)
		return r;
	status.peers = NULL;
	status.n_peers = 0;
	status.updated_unix_ms = unix_ms;
	if (dev) {
		r = take_peers(&status, dev, &report->silence);
		if (r < 0)
			return r;
		if (!is_due(report, &status, now)) {
			nbh_wgstatus_clear(&status);
			return 0;
		}
	} else {
		struct nbh_wgstatus same = status;

		same.peers = report->written.peers;
		same.n_peers = report->written.n_peers;
		same.link_up = report->written.link_up;
		if (!same.listen_port)
			same.listen_port = report->written.listen_port;
		if (!is_due(report, &same, now))
			return 0;
		keep_peers(&status, &report->written);
	}

	r = nbh_wgstatus_write(wg_dirfd, &status, why);
	nbh_wgstatus_clear(&report->written);
	report->written = status;
	report->is_written = r == 0;
	report->written_at = now;
	return r;
}

void wg_report_clear(struct wg_report *report)
{
	nbh_wgstatus_clear(&report->written);
	wg_silence_clear(&report->silence);
}
