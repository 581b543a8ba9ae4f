/*
 * The kernel's WireGuard: links by rtnetlink (link.c), the rest by generic netlink. This file only
 * sends; what the messages are is decided in plan.c and genlmsg.c.
 */
#include "config.h"

#include "wg/backend.h"

#include "wg/genlmsg.h"
#include "wg/link.h"
#include "wg/nl.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>

#define READ_TRIES 5 /* a dump that changes while it is read is asked for again */

struct netlink_ctx {
	struct wg_link link;
	struct wg_nl genl;
	uint16_t family; /* 0: not asked yet; the module may come later */
	char *buf;       /* owned; WG_NL_MESSAGE_MAX_BYTES, for sending */
};

static void netlink_close(void *data)
{
	struct netlink_ctx *ctx = data;

	if (!ctx)
		return;

	wg_link_close(&ctx->link);
	wg_nl_close(&ctx->genl);
	free(ctx->buf);
	free(ctx);
}

static int netlink_open(void **ret_ctx, const char *ifname, struct nbh_why *why)
{
	struct netlink_ctx *ctx = calloc(1, sizeof(*ctx));
	int r;

	if (!ctx || !(ctx->buf = calloc(1, WG_NL_MESSAGE_MAX_BYTES))) {
		free(ctx);
		nbh_why_set(why, "out of memory");
		return -ENOMEM;
	}

	r = wg_link_open(&ctx->link, ifname, why);
	if (r == 0)
		r = wg_nl_open(&ctx->genl, NETLINK_GENERIC, why);
	if (r < 0) {
		netlink_close(ctx);
		return r;
	}

	*ret_ctx = ctx;
	return 0;
}

static int no_module(struct nbh_why *why)
{
	nbh_why_set(why, "kernel module \"wireguard\" is missing: modprobe it or install the kernel's"
	            " modules, or set \"userspace\": true in config.json (netbird-helper's) or device.json");
	return -EPROTONOSUPPORT;
}

static int on_family(const struct nlmsghdr *nlh, void *data)
{
	uint16_t *family = data;
	const struct nlattr *attr;

	mnl_attr_for_each(attr, nlh, sizeof(struct genlmsghdr))
		if (mnl_attr_get_type(attr) == CTRL_ATTR_FAMILY_ID && mnl_attr_get_payload_len(attr) >= 2)
			*family = mnl_attr_get_u16(attr);
	return 0;
}

static int find_family(struct netlink_ctx *ctx, struct nbh_why *why)
{
	struct nlmsghdr *nlh;
	struct genlmsghdr *genl;
	int r;

	if (ctx->family)
		return 0;

	nlh = mnl_nlmsg_put_header(ctx->buf);
	nlh->nlmsg_type = GENL_ID_CTRL;
	genl = mnl_nlmsg_put_extra_header(nlh, sizeof(*genl));
	genl->cmd = CTRL_CMD_GETFAMILY;
	genl->version = 1;
	mnl_attr_put_strz(nlh, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
	r = wg_nl_talk(&ctx->genl, nlh, on_family, &ctx->family, why);
	if (r == -ENOENT || (r == 0 && ctx->family == 0))
		return no_module(why);
	return r;
}

static int on_device(const struct nlmsghdr *nlh, void *data)
{
	return wg_genlmsg_parse(nlh, data);
}

static int read_once(struct netlink_ctx *ctx, struct wg_dev *ret_dev, struct nbh_why *why)
{
	struct wg_devbuild build = { 0 };
	int r;

	r = wg_link_read(&ctx->link, &build, why);
	if (r == 0 && build.dev.exists && strcmp(build.dev.kind, "wireguard") == 0) {
		build.dev.is_wireguard = true;
		r = find_family(ctx, why);
		if (r == 0)
			r = wg_nl_talk(&ctx->genl, wg_genlmsg_get(ctx->family, ctx->link.ifname, ctx->buf),
			               on_device, &build, why);
		if (r == -EPERM)
			nbh_why_set(why, "reading %s: CAP_NET_ADMIN is missing", ctx->link.ifname);
		if (r == -ENODEV) /* removed since the first question */
			r = -EAGAIN;
	}

	if (r < 0) {
		wg_devbuild_clear(&build);
		return r;
	}

	wg_devbuild_finish(&build, ret_dev);
	return 0;
}

static int netlink_read(void *data, struct wg_dev *ret_dev, struct nbh_why *why)
{
	int r = -EAGAIN;

	for (int i = 0; i < READ_TRIES && r == -EAGAIN; i++)
		r = read_once(data, ret_dev, why);
	return r;
}

static int apply_wireguard(struct netlink_ctx *ctx, const struct wg_plan *plan, struct nbh_why *why)
{
	struct wg_genlmsg at = { 0 };
	unsigned n = 0;
	int r;

	r = find_family(ctx, why);
	if (r < 0)
		return r;

	for (;;) {
		r = wg_genlmsg_next(&at, plan, ctx->family, ctx->link.ifname, ctx->buf,
		                    WG_NL_MESSAGE_MAX_BYTES);
		if (r <= 0)
			break;

		n++;
		r = wg_nl_talk(&ctx->genl, (struct nlmsghdr *)ctx->buf, NULL, NULL, why);
		if (r < 0)
			break;
	}

	explicit_bzero(ctx->buf, WG_NL_MESSAGE_MAX_BYTES); /* keys were in it */
	if (r == -EADDRINUSE)
		nbh_why_set(why, "UDP port %u is in use; choose another listenPort", plan->listen_port);
	else if (r < 0)
		nbh_why_prefix(why, "configuring %s (message %u)", ctx->link.ifname, n);
	return r;
}

static int netlink_apply(void *data, const struct wg_plan *plan, struct nbh_why *why)
{
	struct netlink_ctx *ctx = data;
	int r = 0;

	if (plan->remove_link)
		return wg_link_remove(&ctx->link, why);

	if (plan->create_link) {
		r = wg_link_create(&ctx->link, "wireguard", why);
		if (r == -EOPNOTSUPP)
			return no_module(why);
	}

	if (r == 0)
		r = wg_link_apply_mtu(&ctx->link, plan, why);
	if (r == 0)
		r = apply_wireguard(ctx, plan, why);
	if (r == 0)
		r = wg_link_apply_rest(&ctx->link, plan, why);
	return r;
}

const struct wg_backend wg_backend_netlink = {
	.name = "netlink",
	.open = netlink_open,
	.read = netlink_read,
	.apply = netlink_apply,
	.close = netlink_close,
};
