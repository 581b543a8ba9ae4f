#include "config.h"

#include "wg/apply.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One to make things, one to see that they are there; more when somebody interferes. */
#define ROUNDS_MAX 4

static void close_backend(struct wg_apply *apply)
{
	if (apply->backend)
		apply->backend->close(apply->ctx);
	apply->backend = NULL;
	apply->ctx = NULL;
}

static int use_backend(struct wg_apply *apply, const struct wg_backend *backend, const char *ifname,
                       struct nbh_why *why)
{
	int r;

	if (apply->backend == backend && strcmp(apply->ifname, ifname) == 0)
		return 0;

	close_backend(apply);
	r = backend->open(&apply->ctx, ifname, why);
	if (r < 0)
		return r;

	apply->backend = backend;
	snprintf(apply->ifname, sizeof(apply->ifname), "%s", ifname);
	return 0;
}

static const struct wg_backend *wanted_backend(const struct wg_apply *apply, bool userspace)
{
	if (apply->dry_run)
		return &wg_backend_dryrun;
	if (apply->instead)
		return apply->instead;
	return userspace ? &wg_backend_uapi : &wg_backend_netlink;
}

static bool is_same(const struct wg_applied *a, const struct wg_applied *b)
{
	if (a->known != b->known || a->made != b->made || a->ifindex != b->ifindex ||
	    strcmp(a->backend, b->backend) != 0 || strcmp(a->interface, b->interface) != 0 ||
	    a->n_addresses != b->n_addresses || a->n_peers != b->n_peers)
		return false;

	for (size_t i = 0; i < a->n_addresses; i++)
		if (nbh_prefix_compare(&a->addresses[i], &b->addresses[i]) != 0)
			return false;

	for (size_t i = 0; i < a->n_peers; i++) {
		const struct wg_applied_peer *p = &a->peers[i], *q = &b->peers[i];

		if (nbh_key_compare(&p->public_key, &q->public_key) != 0 ||
		    !nbh_endpoint_equal(&p->endpoint, &q->endpoint) ||
		    p->has_session != q->has_session || p->session != q->session)
			return false;
	}

	return true;
}

/*
 * Remembers what last applied becomes, in memory and, if it is news, in the file. A full disk does
 * not keep tunnels from coming up: it is reported when everything else is done.
 */
static int remember(struct wg_apply *apply, const struct wg_plan *plan, const struct wg_want *want,
                    const struct wg_dev *dev, bool done, struct nbh_why *why)
{
	struct wg_applied after;
	bool same;
	int r;

	r = wg_plan_applied(plan, want, dev, &apply->applied, done, &after);
	if (r < 0) {
		nbh_why_set(why, "out of memory");
		return r;
	}

	if (after.known)
		snprintf(after.backend, sizeof(after.backend), "%s", apply->backend->name);

	same = is_same(&after, &apply->applied);
	wg_applied_clear(&apply->applied);
	apply->applied = after;
	if ((!same || apply->unsaved) && apply->wg_dirfd >= 0)
		apply->unsaved = wg_applied_write(apply->wg_dirfd, &after, why) < 0;
	return 0;
}

static void count_plan(const struct wg_plan *plan, struct wg_apply_count *count)
{
	count->link += plan->remove_link + plan->create_link + plan->set_private_key +
	               plan->set_listen_port + plan->set_fwmark + plan->set_mtu + plan->set_up +
	               (unsigned)plan->n_add_addresses + (unsigned)plan->n_remove_addresses;
	for (size_t i = 0; i < plan->n_ops; i++)
		count->ops[plan->ops[i].kind]++;
}

static void log_plan(const struct wg_plan *plan, const char *ifname)
{
	char *text = NULL, *line, *rest;
	size_t len = 0;
	FILE *out;

	if (!nbh_log_wants(NBH_LOG_DEBUG, "plan"))
		return;

	out = open_memstream(&text, &len);
	if (!out)
		return;

	wg_plan_print(plan, ifname, out);
	if (fclose(out) == 0)
		for (rest = text; (line = strsep(&rest, "\n"));)
			if (line[0])
				nbh_log(NBH_LOG_DEBUG, "plan", "%s", line);
	free(text);
}

/* One round. 1: something was done, look again; 0: the plan was empty. */
static int run_round(struct wg_apply *apply, const struct wg_want *want,
                     struct wg_apply_count *count, struct nbh_why *why)
{
	struct wg_dev dev = { 0 };
	struct wg_plan plan = { 0 };
	bool idle = true;
	int r;

	r = apply->backend->read(apply->ctx, &dev, why);
	if (r < 0)
		return r;

	r = wg_plan_make(want, &dev, &apply->applied, &plan, why);
	if (r < 0)
		goto out;

	idle = wg_plan_is_empty(&plan) || apply->dry_run;
	if (!idle && wg_plan_makes(&plan))
		r = remember(apply, &plan, want, &dev, false, why);
	if (!idle)
		log_plan(&plan, apply->ifname);
	if (r == 0 && (!idle || apply->dry_run))
		r = apply->backend->apply(apply->ctx, &plan, why);
	if (r == 0 && !apply->dry_run) {
		count_plan(&plan, count);
		r = remember(apply, &plan, want, &dev, true, why);
	}
out:
	wg_plan_clear(&plan);
	wg_dev_clear(&dev);
	return r < 0 ? r : !idle;
}

static int run_rounds(struct wg_apply *apply, const struct wg_want *want,
                      struct wg_apply_count *count, struct nbh_why *why)
{
	int r = 1;

	for (int i = 0; i < ROUNDS_MAX && r > 0; i++)
		r = run_round(apply, want, count, why);

	if (r > 0) {
		nbh_why_set(why, "%s does not stay as it was set; does another program change it?",
		            apply->ifname);
		return -EBUSY;
	}

	return r;
}

/* The interface has another name now, or another backend: what we made before goes first. */
static int leave_old(struct wg_apply *apply, const struct wg_want *want, const char *ifname,
                     const struct wg_backend *backend, struct wg_apply_count *count,
                     struct nbh_why *why)
{
	const struct wg_applied *old = &apply->applied;
	const struct wg_want nothing = { .private_key = want->private_key };
	char old_name[IFNAMSIZ];
	int r;

	if (!old->known || (strcmp(old->interface, ifname) == 0 &&
	                    (apply->dry_run || strcmp(old->backend, backend->name) == 0)))
		return 0;

	memcpy(old_name, old->interface, sizeof(old_name));
	r = use_backend(apply, wanted_backend(apply, strcmp(old->backend, "uapi") == 0), old_name, why);
	if (r == 0)
		r = run_rounds(apply, &nothing, count, why);
	if (r < 0)
		nbh_why_prefix(why, "leaving %s", old_name);
	return r;
}

int wg_apply_run(struct wg_apply *apply, const struct wg_want *want,
                 struct wg_apply_count *ret_count, struct nbh_why *why)
{
	const struct wg_backend *backend;
	const char *ifname;
	int r = 0;

	memset(ret_count, 0, sizeof(*ret_count));
	if (!want->device && !apply->applied.known)
		return 0;

	if (want->device) {
		backend = wanted_backend(apply, want->device->userspace);
		ifname = want->device->interface;
		r = leave_old(apply, want, ifname, backend, ret_count, why);
	} else {
		backend = wanted_backend(apply, strcmp(apply->applied.backend, "uapi") == 0);
		ifname = apply->applied.interface;
	}

	if (r == 0)
		r = use_backend(apply, backend, ifname, why);
	if (r == 0)
		r = run_rounds(apply, want, ret_count, why);
	return r == 0 && apply->unsaved ? -EIO : r;
}

int wg_apply_look(struct wg_apply *apply, struct wg_dev *ret_dev, struct nbh_why *why)
{
	struct wg_dev dev = { 0 };
	int r;

	if (!apply->backend || !apply->applied.known) {
		nbh_why_set(why, "no interface");
		return -ENODEV;
	}

	r = apply->backend->read(apply->ctx, &dev, why);
	if (r < 0)
		return r;

	if (!dev.exists || !dev.is_wireguard) {
		wg_dev_clear(&dev);
		nbh_why_set(why, "interface %s is gone", apply->ifname);
		return -ENODEV;
	}

	*ret_dev = dev;
	return 0;
}

int wg_apply_forget_sources(struct wg_apply *apply, struct nbh_why *why)
{
	struct wg_plan plan = { 0 };
	struct wg_dev dev;
	int r;

	if (apply->backend != &wg_backend_uapi)
		return 0;

	r = wg_apply_look(apply, &dev, why);
	if (r < 0)
		return r == -ENODEV ? 0 : r;

	plan.ops = plan.arena = calloc(dev.n_peers ? dev.n_peers : 1, sizeof(*plan.ops));
	for (size_t i = 0; plan.ops && i < dev.n_peers; i++) {
		const struct wg_peer *peer = &dev.peers[i];

		if (nbh_endpoint_is_set(&peer->endpoint) && !nbh_addr_is_loopback(&peer->endpoint.addr))
			plan.ops[plan.n_ops++] = (struct wg_op){ .kind = WG_OP_UPDATE, .public_key = &peer->public_key,
				                                 .set_endpoint = true, .endpoint = peer->endpoint };
	}

	r = plan.ops ? 0 : -ENOMEM;
	if (r == 0 && plan.n_ops > 0)
		r = apply->backend->apply(apply->ctx, &plan, why);
	wg_plan_clear(&plan);
	wg_dev_clear(&dev);
	return r;
}

void wg_apply_clear(struct wg_apply *apply)
{
	close_backend(apply);
	wg_applied_clear(&apply->applied);
}
