#include "config.h"

#include "wg/nl.h"

#include <errno.h>
#include <limits.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <libmnl/libmnl.h>

#define RECEIVE_BYTES 65536
#define ANSWER_TIMEOUT_S 10 /* the kernel answers at once; this bounds a bug */

int wg_nl_open(struct wg_nl *nl, int protocol, struct nbh_why *why)
{
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	int one = 1, r;

	memset(nl, 0, sizeof(*nl));
	nl->buf = malloc(RECEIVE_BYTES);
	nl->sock = nl->buf ? mnl_socket_open2(protocol, SOCK_CLOEXEC) : NULL;
	if (!nl->sock || mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		r = nl->buf ? -errno : -ENOMEM;
		wg_nl_close(nl);
		nbh_why_set(why, "cannot open a netlink socket: %s", strerror(-r));
		return r;
	}

	nl->portid = mnl_socket_get_portid(nl->sock);
	/* Both only improve messages and safety: an old kernel may refuse them. */
	mnl_socket_setsockopt(nl->sock, NETLINK_EXT_ACK, &one, sizeof(one));
	mnl_socket_setsockopt(nl->sock, NETLINK_CAP_ACK, &one, sizeof(one));
	setsockopt(mnl_socket_get_fd(nl->sock), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	return 0;
}

void wg_nl_close(struct wg_nl *nl)
{
	if (nl->sock)
		mnl_socket_close(nl->sock);
	free(nl->buf);
	memset(nl, 0, sizeof(*nl));
}

/* Keeps what the receive buffer held of keys from staying in memory. */
static void wipe(struct wg_nl *nl)
{
	explicit_bzero(nl->buf, RECEIVE_BYTES);
}

static int find_ext_ack(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
		*(const char **)data = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

static int on_error_message(const struct nlmsghdr *nlh, struct nbh_why *why)
{
	const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
	const char *text = NULL;
	size_t offset = sizeof(*err);

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*err)) {
		nbh_why_set(why, "%s", strerror(EBADMSG));
		return -EBADMSG;
	}

	if (err->error == 0)
		return 0;

	/* Also keeps the sign right, which tells the caller that this was the end. */
	if (err->error > 0 || err->error == INT_MIN) {
		nbh_why_set(why, "no error that exists: %d", err->error);
		return -EBADMSG;
	}

	if (nlh->nlmsg_flags & NLM_F_ACK_TLVS) {
		if (!(nlh->nlmsg_flags & NLM_F_CAPPED) && err->msg.nlmsg_len >= sizeof(err->msg))
			offset += err->msg.nlmsg_len - sizeof(err->msg);
		if (offset <= mnl_nlmsg_get_payload_len(nlh))
			mnl_attr_parse(nlh, (unsigned)offset, find_ext_ack, &text);
	}

	if (text)
		nbh_why_set(why, "%s (%s)", strerror(-err->error), text);
	else
		nbh_why_set(why, "%s", strerror(-err->error));
	return err->error;
}

static int on_done_message(const struct nlmsghdr *nlh, struct nbh_why *why)
{
	int error = 0;

	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(error))
		memcpy(&error, mnl_nlmsg_get_payload(nlh), sizeof(error));

	if (error == INT_MIN)
		error = -EBADMSG;
	if (error < 0)
		nbh_why_set(why, "%s", strerror(-error));
	return error < 0 ? error : 0;
}

struct answer {
	wg_nl_cb cb;
	void *data;
	int result;       /* first negative of cb */
	bool interrupted; /* the dump is not one consistent picture */
};

/* 1: more to come, 0 or -errno: complete. */
static int on_messages(struct wg_nl *nl, int len, struct answer *answer, struct nbh_why *why)
{
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)nl->buf;

	for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
		if (nlh->nlmsg_seq != nl->seq || nlh->nlmsg_pid != nl->portid)
			continue;

		if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
			answer->interrupted = true;

		if (nlh->nlmsg_type == NLMSG_ERROR)
			return on_error_message(nlh, why);

		if (nlh->nlmsg_type == NLMSG_DONE)
			return on_done_message(nlh, why);

		if (nlh->nlmsg_type >= NLMSG_MIN_TYPE && answer->cb && answer->result == 0)
			answer->result = answer->cb(nlh, answer->data);
	}

	return 1;
}

int wg_nl_talk(struct wg_nl *nl, struct nlmsghdr *nlh, wg_nl_cb cb, void *data, struct nbh_why *why)
{
	struct answer answer = { .cb = cb, .data = data };
	int r = 1;

	nlh->nlmsg_seq = ++nl->seq;
	nlh->nlmsg_flags |= NLM_F_REQUEST;
	if ((nlh->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		nlh->nlmsg_flags |= NLM_F_ACK;

	if (mnl_socket_sendto(nl->sock, nlh, nlh->nlmsg_len) < 0) {
		r = -errno;
		nbh_why_set(why, "sending to the kernel: %s", strerror(-r));
		return r;
	}

	while (r > 0) {
		ssize_t len = mnl_socket_recvfrom(nl->sock, nl->buf, RECEIVE_BYTES);

		if (len < 0 && errno == EINTR)
			continue;

		if (len <= 0) {
			r = len < 0 ? -errno : -EPIPE;
			nbh_why_set(why, "reading the kernel's answer: %s", strerror(-r));
			break;
		}

		r = on_messages(nl, (int)len, &answer, why);
	}

	wipe(nl);
	if (r < 0)
		return r;

	if (answer.result < 0) {
		nbh_why_set(why, "unexpected answer from the kernel: %s", strerror(-answer.result));
		return answer.result;
	}

	if (answer.interrupted) {
		nbh_why_set(why, "changed while it was read");
		return -EAGAIN;
	}

	return 0;
}
