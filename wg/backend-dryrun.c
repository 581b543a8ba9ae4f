/*
 * Prints the plan to stdout instead of carrying it out. Where we may read the real state the plan
 * starts there; without CAP_NET_ADMIN it starts from nothing, and says so.
 */
#include "config.h"

#include "wg/backend.h"

#include "wg/plan.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dryrun_ctx {
	char ifname[IFNAMSIZ];
};

static int dryrun_open(void **ret_ctx, const char *ifname, struct nbh_why *why)
{
	struct dryrun_ctx *ctx = calloc(1, sizeof(*ctx));

	if (!ctx) {
		nbh_why_set(why, "out of memory");
		return -ENOMEM;
	}

	snprintf(ctx->ifname, sizeof(ctx->ifname), "%s", ifname);
	*ret_ctx = ctx;
	return 0;
}

static int read_by(const struct wg_backend *backend, const char *ifname, struct wg_dev *ret_dev)
{
	void *ctx = NULL;
	int r = backend->open(&ctx, ifname, NULL);

	if (r < 0)
		return r;

	r = backend->read(ctx, ret_dev, NULL);
	backend->close(ctx);
	return r;
}

static int dryrun_read(void *data, struct wg_dev *ret_dev, struct nbh_why *why)
{
	struct dryrun_ctx *ctx = data;
	struct wg_dev dev = { 0 };
	int r;

	(void)why;
	r = read_by(&wg_backend_netlink, ctx->ifname, &dev);
	if (r == 0 && dev.exists && !dev.is_wireguard) {
		wg_dev_clear(&dev);
		r = read_by(&wg_backend_uapi, ctx->ifname, &dev);
	}

	if (r < 0) {
		printf("# the state of %s cannot be read (%s): planned from nothing\n", ctx->ifname,
		       strerror(-r));
		memset(&dev, 0, sizeof(dev));
	}

	*ret_dev = dev;
	return 0;
}

static int dryrun_apply(void *data, const struct wg_plan *plan, struct nbh_why *why)
{
	struct dryrun_ctx *ctx = data;

	wg_plan_print(plan, ctx->ifname, stdout);
	if (fflush(stdout) == 0)
		return 0;

	nbh_why_set(why, "writing to stdout: %s", strerror(errno));
	return -EIO;
}

static void dryrun_close(void *ctx)
{
	free(ctx);
}

const struct wg_backend wg_backend_dryrun = {
	.name = "dryrun",
	.open = dryrun_open,
	.read = dryrun_read,
	.apply = dryrun_apply,
	.close = dryrun_close,
};
