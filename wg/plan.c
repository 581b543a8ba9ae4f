#include "config.h"

#include "wg/plan.h"

#include "wg/applied.h"
#include "wg/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int by_prefix(const void *a, const void *b)
{
	return nbh_prefix_compare(a, b);
}

void wg_plan_prepare(struct nbh_peersfile *peers)
{
	for (size_t i = 0; i < peers->n_peers; i++) {
		struct nbh_peersfile_peer *peer = &peers->peers[i];
		size_t kept = 0;

		if (peer->n_allowed_ips == 0)
			continue;

		qsort(peer->allowed_ips, peer->n_allowed_ips, sizeof(*peer->allowed_ips), by_prefix);
		for (size_t j = 0; j < peer->n_allowed_ips; j++)
			if (kept == 0 ||
			    nbh_prefix_compare(&peer->allowed_ips[kept - 1], &peer->allowed_ips[j]) != 0)
				peer->allowed_ips[kept++] = peer->allowed_ips[j];
		peer->n_allowed_ips = kept;
	}
}

/* The three lists are sorted by key, so each cursor only moves forward. */
static const struct wg_peer *dev_peer(const struct wg_dev *dev, size_t *at, const struct nbh_key *key)
{
	while (*at < dev->n_peers && nbh_key_compare(&dev->peers[*at].public_key, key) < 0)
		(*at)++;

	if (*at < dev->n_peers && nbh_key_compare(&dev->peers[*at].public_key, key) == 0)
		return &dev->peers[*at];
	return NULL;
}

static const struct wg_applied_peer *applied_peer(const struct wg_applied *applied, size_t *at,
                                                  const struct nbh_key *key)
{
	if (!applied)
		return NULL;

	while (*at < applied->n_peers && nbh_key_compare(&applied->peers[*at].public_key, key) < 0)
		(*at)++;

	if (*at < applied->n_peers && nbh_key_compare(&applied->peers[*at].public_key, key) == 0)
		return &applied->peers[*at];
	return NULL;
}

static const struct nbh_peersfile_peer *want_peer(const struct nbh_peersfile *peers, size_t *at,
                                                  const struct nbh_key *key)
{
	while (*at < peers->n_peers && nbh_key_compare(&peers->peers[*at].public_key, key) < 0)
		(*at)++;

	if (*at < peers->n_peers && nbh_key_compare(&peers->peers[*at].public_key, key) == 0)
		return &peers->peers[*at];
	return NULL;
}

/*
 * Does "last applied" speak of this interface? An index of 0 is a plan that was cut off before we
 * learned the index: then the interface is ours if nobody put another key into it.
 */
static bool fits(const struct wg_applied *applied, const struct wg_dev *dev,
                 const struct nbh_key *private_key)
{
	if (!applied->known || !dev->exists)
		return false;

	if (applied->ifindex != 0)
		return applied->ifindex == dev->ifindex;

	return !dev->has_private_key || (private_key && nbh_key_equal(&dev->private_key, private_key));
}

static int check_ours(const struct wg_want *want, const struct wg_dev *dev, bool ours,
                      struct nbh_why *why)
{
	if (!dev->is_wireguard) {
		nbh_why_set(why, "device.json: interface: %s exists and is no WireGuard that we can use"
		            " (kind \"%s\"); choose another name", want->device->interface, dev->kind);
		return -EEXIST;
	}

	if (ours || (dev->has_private_key && nbh_key_equal(&dev->private_key, want->private_key)))
		return 0;

	nbh_why_set(why, "private.key: interface %s exists with another private key and was not made"
	            " by us; remove it or choose another name", want->device->interface);
	return -EKEYREJECTED;
}

static bool has_address(const struct nbh_prefix *list, size_t n, const struct nbh_prefix *address)
{
	for (size_t i = 0; i < n; i++)
		if (nbh_prefix_compare(&list[i], address) == 0)
			return true;
	return false;
}

static void plan_link(const struct wg_want *want, const struct wg_dev *dev,
                      const struct wg_applied *applied, struct wg_plan *plan)
{
	const struct nbh_device *device = want->device;

	plan->create_link = !dev->exists;
	plan->private_key = want->private_key;
	plan->set_private_key = !dev->has_private_key ||
	                        !nbh_key_equal(&dev->private_key, want->private_key);
	plan->listen_port = device->listen_port;
	plan->set_listen_port = dev->listen_port != device->listen_port;
	plan->fwmark = device->fwmark;
	plan->set_fwmark = dev->fwmark != device->fwmark;
	plan->mtu = device->mtu;
	plan->set_mtu = dev->mtu != device->mtu;
	plan->set_up = !dev->is_up;

	for (size_t i = 0; i < device->n_addresses; i++)
		if (!has_address(dev->addresses, dev->n_addresses, &device->addresses[i]))
			plan->add_addresses[plan->n_add_addresses++] = device->addresses[i];

	/* An address that somebody else added stays: only ours are taken away. */
	for (size_t i = 0; applied && i < applied->n_addresses; i++)
		if (has_address(dev->addresses, dev->n_addresses, &applied->addresses[i]) &&
		    !has_address(device->addresses, device->n_addresses, &applied->addresses[i]))
			plan->remove_addresses[plan->n_remove_addresses++] = applied->addresses[i];
}

/* Where the arena's free prefixes are. */
struct prefixes {
	struct nbh_prefix *next;
};

/* Allowed IPs that are only added are only added: replacing them would open a gap for traffic. */
static void plan_allowed_ips(const struct nbh_peersfile_peer *wanted, const struct wg_peer *actual,
                             struct wg_op *op, struct prefixes *arena)
{
	struct nbh_prefix *added = arena->next;
	size_t w = 0, a = 0, n_added = 0;

	while (w < wanted->n_allowed_ips || a < actual->n_allowed_ips) {
		int c;

		if (w == wanted->n_allowed_ips)
			c = 1;
		else if (a == actual->n_allowed_ips)
			c = -1;
		else
			c = nbh_prefix_compare(&wanted->allowed_ips[w], &actual->allowed_ips[a]);

		if (c > 0) {
			op->replace_allowed_ips = true;
			op->allowed_ips = wanted->allowed_ips;
			op->n_allowed_ips = wanted->n_allowed_ips;
			return;
		}

		if (c < 0)
			added[n_added++] = wanted->allowed_ips[w];
		else
			a++;
		w++;
	}

	op->allowed_ips = added;
	op->n_allowed_ips = n_added;
	arena->next += n_added;
}

static void op_whole(struct wg_op *op, const struct nbh_peersfile_peer *wanted)
{
	op->endpoint = wanted->endpoint;
	op->set_endpoint = nbh_endpoint_is_set(&wanted->endpoint);
	op->keepalive_s = wanted->keepalive_s;
	op->set_keepalive = op->set_endpoint && wanted->keepalive_s != 0;
	op->preshared_key = &wanted->preshared_key;
	op->set_preshared_key = !nbh_key_is_zero(&wanted->preshared_key);
	op->allowed_ips = wanted->allowed_ips;
	op->n_allowed_ips = wanted->n_allowed_ips;
}

static bool is_readd(const struct nbh_peersfile_peer *wanted, const struct wg_applied_peer *applied)
{
	if (!applied)
		return false;

	/* WireGuard cannot forget an endpoint in any other way. */
	if (!nbh_endpoint_is_set(&wanted->endpoint))
		return nbh_endpoint_is_set(&applied->endpoint);

	return wanted->has_session &&
	       !(applied->has_session && applied->session == wanted->session);
}

/* Returns whether op has anything to do. */
static bool plan_peer(const struct nbh_peersfile_peer *wanted, const struct wg_peer *actual,
                      const struct wg_applied_peer *applied, struct wg_op *op,
                      struct prefixes *arena)
{
	bool has_endpoint = nbh_endpoint_is_set(&wanted->endpoint);

	memset(op, 0, sizeof(*op));
	op->public_key = &wanted->public_key;

	if (!actual || is_readd(wanted, applied)) {
		op->kind = actual ? WG_OP_READD : WG_OP_ADD;
		op_whole(op, wanted);
		return true;
	}

	op->kind = WG_OP_UPDATE;
	op->endpoint = wanted->endpoint;
	op->set_endpoint = has_endpoint &&
	                   (!nbh_endpoint_is_set(&actual->endpoint) ||
	                    (applied && !nbh_endpoint_equal(&applied->endpoint, &wanted->endpoint)));
	op->keepalive_s = has_endpoint ? wanted->keepalive_s : 0;
	op->set_keepalive = actual->keepalive_s != op->keepalive_s;
	op->preshared_key = &wanted->preshared_key;
	op->set_preshared_key = !nbh_key_equal(&actual->preshared_key, &wanted->preshared_key);
	plan_allowed_ips(wanted, actual, op, arena);

	return op->set_endpoint || op->set_keepalive || op->set_preshared_key ||
	       op->replace_allowed_ips || op->n_allowed_ips > 0;
}

/* wanted NULL: none is wanted any more. Peers that never were in the file are not ours to remove. */
static void plan_removals(const struct nbh_peersfile *wanted, const struct wg_dev *dev,
                          const struct wg_applied *applied, struct wg_plan *plan)
{
	size_t in_dev = 0, in_want = 0;

	for (size_t i = 0; applied && i < applied->n_peers; i++) {
		const struct nbh_key *key = &applied->peers[i].public_key;
		const struct wg_peer *actual = dev_peer(dev, &in_dev, key);

		if (!actual || (wanted && want_peer(wanted, &in_want, key)))
			continue;

		plan->ops[plan->n_ops++] = (struct wg_op){ .kind = WG_OP_REMOVE,
			                                       .public_key = &actual->public_key };
	}
}

static int alloc_arena(struct wg_plan *plan, const struct wg_want *want,
                       const struct wg_applied *applied, struct prefixes *ret_prefixes)
{
	size_t n_ops = applied ? applied->n_peers : 0, n_prefixes = 0, bytes;

	if (want->peers) {
		n_ops += want->peers->n_peers;
		for (size_t i = 0; i < want->peers->n_peers; i++)
			n_prefixes += want->peers->peers[i].n_allowed_ips;
	}

	bytes = n_ops * sizeof(struct wg_op);
	plan->arena = malloc(bytes + n_prefixes * sizeof(struct nbh_prefix) + 1);
	if (!plan->arena)
		return -ENOMEM;

	plan->ops = plan->arena;
	ret_prefixes->next = (struct nbh_prefix *)((char *)plan->arena + bytes);
	return 0;
}

/* Without device.json: what we made goes, on an adopted interface our peers and addresses go. */
static void plan_down(const struct wg_dev *dev, const struct wg_applied *applied,
                      struct wg_plan *plan)
{
	if (!applied)
		return;

	if (applied->made) {
		plan->remove_link = true;
		return;
	}

	if (!dev->is_wireguard)
		return;

	plan_removals(NULL, dev, applied, plan);
	for (size_t i = 0; i < applied->n_addresses; i++)
		if (has_address(dev->addresses, dev->n_addresses, &applied->addresses[i]))
			plan->remove_addresses[plan->n_remove_addresses++] = applied->addresses[i];
}

int wg_plan_make(const struct wg_want *want, const struct wg_dev *dev,
                 const struct wg_applied *applied, struct wg_plan *ret_plan, struct nbh_why *why)
{
	const struct wg_applied *ours = fits(applied, dev, want->private_key) ? applied : NULL;
	struct wg_plan plan = { 0 };
	struct prefixes prefixes;
	size_t in_dev = 0, in_applied = 0;
	int r;

	if (want->device && dev->exists) {
		r = check_ours(want, dev, ours && ours->made, why);
		if (r < 0)
			return r;
	}

	r = alloc_arena(&plan, want, ours, &prefixes);
	if (r < 0) {
		nbh_why_set(why, "out of memory");
		return r;
	}

	if (!want->device) {
		plan_down(dev, ours, &plan);
		*ret_plan = plan;
		return 0;
	}

	plan_link(want, dev, ours, &plan);
	if (want->peers)
		plan_removals(want->peers, dev, ours, &plan);

	for (size_t i = 0; want->peers && i < want->peers->n_peers; i++) {
		const struct nbh_peersfile_peer *wanted = &want->peers->peers[i];
		const struct wg_peer *actual = dev_peer(dev, &in_dev, &wanted->public_key);
		const struct wg_applied_peer *last = applied_peer(ours, &in_applied, &wanted->public_key);

		if (plan_peer(wanted, actual, last, &plan.ops[plan.n_ops], &prefixes))
			plan.n_ops++;
	}

	*ret_plan = plan;
	return 0;
}

void wg_plan_clear(struct wg_plan *plan)
{
	free(plan->arena);
	memset(plan, 0, sizeof(*plan));
}

bool wg_plan_is_empty(const struct wg_plan *plan)
{
	return !plan->remove_link && !plan->create_link && !plan->set_private_key &&
	       !plan->set_listen_port && !plan->set_fwmark && !plan->set_mtu && plan->n_ops == 0 &&
	       plan->n_remove_addresses == 0 && plan->n_add_addresses == 0 && !plan->set_up;
}

bool wg_plan_makes(const struct wg_plan *plan)
{
	if (plan->create_link || plan->n_add_addresses > 0)
		return true;

	for (size_t i = 0; i < plan->n_ops; i++)
		if (plan->ops[i].kind == WG_OP_ADD)
			return true;
	return false;
}

static const char *const op_names[] = {
	[WG_OP_REMOVE] = "remove",
	[WG_OP_UPDATE] = "update",
	[WG_OP_READD] = "re-add",
	[WG_OP_ADD] = "add",
};
_Static_assert(sizeof(op_names) / sizeof(op_names[0]) == WG_OP_N_KINDS, "a name for each kind");

static void print_op(const struct wg_op *op, FILE *out)
{
	char text[NBH_ENDPOINT_TEXT_MAX];

	fprintf(out, "%s peer %s", op_names[op->kind], nbh_key_format(op->public_key).text);
	if (op->set_endpoint)
		fprintf(out, " endpoint %s", nbh_endpoint_format(&op->endpoint, text));
	if (op->set_keepalive)
		fprintf(out, " keepalive %us", op->keepalive_s);
	if (op->set_preshared_key)
		fprintf(out, " preshared-key %s", nbh_key_is_zero(op->preshared_key) ? "removed" : "set");
	if (op->replace_allowed_ips)
		fprintf(out, " replacing");
	for (size_t i = 0; i < op->n_allowed_ips; i++)
		fprintf(out, "%s%s", i == 0 ? " allowed-ips " : ",",
		        nbh_prefix_format(&op->allowed_ips[i], text));
	fprintf(out, "\n");
}

void wg_plan_print(const struct wg_plan *plan, const char *ifname, FILE *out)
{
	char text[NBH_PREFIX_TEXT_MAX];

	if (plan->remove_link)
		fprintf(out, "remove interface %s\n", ifname);
	if (plan->create_link)
		fprintf(out, "create interface %s\n", ifname);
	if (plan->set_private_key)
		fprintf(out, "set private key\n");
	if (plan->set_listen_port)
		fprintf(out, "set listen port %u\n", plan->listen_port);
	if (plan->set_fwmark)
		fprintf(out, "set fwmark %u\n", plan->fwmark);
	if (plan->set_mtu)
		fprintf(out, "set mtu %u\n", plan->mtu);
	for (size_t i = 0; i < plan->n_ops; i++)
		print_op(&plan->ops[i], out);
	for (size_t i = 0; i < plan->n_remove_addresses; i++)
		fprintf(out, "remove address %s\n", nbh_prefix_format(&plan->remove_addresses[i], text));
	for (size_t i = 0; i < plan->n_add_addresses; i++)
		fprintf(out, "add address %s\n", nbh_prefix_format(&plan->add_addresses[i], text));
	if (plan->set_up)
		fprintf(out, "set interface %s up\n", ifname);
	if (wg_plan_is_empty(plan))
		fprintf(out, "nothing to do\n");
}

/* The entry that stands for a wanted peer, before or after the plan ran. */
static struct wg_applied_peer applied_entry(const struct nbh_peersfile_peer *wanted,
                                            const struct wg_peer *actual,
                                            const struct wg_applied_peer *last, bool done)
{
	struct wg_applied_peer entry = { .public_key = wanted->public_key };

	if (last)
		entry = *last;
	if (done)
		entry.endpoint = wanted->endpoint;

	/*
	 * A session is remembered once it was acted on. Without an endpoint an existing peer was not
	 * re-created: it still has to be when the endpoint comes.
	 */
	if (wanted->has_session &&
	    (!actual || !last || (done && nbh_endpoint_is_set(&wanted->endpoint)))) {
		entry.has_session = true;
		entry.session = wanted->session;
	}

	return entry;
}

static void applied_addresses(const struct wg_plan *plan, const struct wg_want *want,
                              const struct wg_applied *last, bool done, struct wg_applied *after)
{
	const struct nbh_device *device = want->device;

	for (size_t i = 0; last && i < last->n_addresses; i++)
		if (!done || has_address(device->addresses, device->n_addresses, &last->addresses[i]))
			after->addresses[after->n_addresses++] = last->addresses[i];

	for (size_t i = 0; i < plan->n_add_addresses; i++)
		if (after->n_addresses < NBH_DEVICE_ADDRESSES_MAX &&
		    !has_address(after->addresses, after->n_addresses, &plan->add_addresses[i]))
			after->addresses[after->n_addresses++] = plan->add_addresses[i];
}

/*
 * One merge of wanted and last: done keeps what is wanted; before that, a peer that is to go stays
 * listed (it is still ours if we are killed now), and one that exists and was unknown is not listed
 * yet.
 */
static void applied_peers(const struct wg_want *want, const struct wg_dev *dev,
                          const struct wg_applied *last, bool done, struct wg_applied *after)
{
	size_t n_want = want->peers ? want->peers->n_peers : 0, n_last = last ? last->n_peers : 0;
	size_t w = 0, l = 0, in_dev = 0;

	while (w < n_want || l < n_last) {
		const struct nbh_peersfile_peer *wanted = w < n_want ? &want->peers->peers[w] : NULL;
		const struct wg_applied_peer *known = l < n_last ? &last->peers[l] : NULL;
		const struct wg_peer *actual;
		int c = !wanted ? 1 : !known ? -1 : nbh_key_compare(&wanted->public_key,
		                                                    &known->public_key);

		if (c > 0) {
			if (!done || !want->peers)
				after->peers[after->n_peers++] = *known;
			l++;
			continue;
		}

		actual = dev_peer(dev, &in_dev, &wanted->public_key);
		if (done || c == 0 || !actual)
			after->peers[after->n_peers++] = applied_entry(wanted, actual, c == 0 ? known : NULL,
			                                               done);
		w++;
		l += c == 0;
	}
}

int wg_plan_applied(const struct wg_plan *plan, const struct wg_want *want,
                    const struct wg_dev *dev, const struct wg_applied *before, bool done,
                    struct wg_applied *ret_after)
{
	const struct wg_applied *last = fits(before, dev, want->private_key) ? before : NULL;
	struct wg_applied after = { 0 };
	size_t n = (want->peers ? want->peers->n_peers : 0) + (last ? last->n_peers : 0);

	if (!want->device) { /* nothing is ours any more */
		*ret_after = after;
		return 0;
	}

	after.peers = calloc(n ? n : 1, sizeof(*after.peers));
	if (!after.peers)
		return -ENOMEM;

	after.known = true;
	after.made = plan->create_link || (last && last->made);
	after.ifindex = dev->ifindex;
	memcpy(after.interface, want->device->interface, sizeof(after.interface));
	applied_addresses(plan, want, last, done, &after);
	applied_peers(want, dev, last, done, &after);
	*ret_after = after;
	return 0;
}
