#include "config.h"

#include "wg/wanted.h"

#include <errno.h>
#include <string.h>

#define KEY_NAME "private.key"

static void load_key(struct wg_wanted *wanted, int dirfd, struct wg_refusal *refusal)
{
	int r = nbh_keyfile_read(dirfd, KEY_NAME, &wanted->private_key, &refusal->why);

	wanted->has_key = r == 0;
	refusal->refused = r < 0;
	if (r == -ENOENT)
		nbh_why_set(&refusal->why, KEY_NAME ": missing; netbird-helper login makes it, or wg genkey");
}

static void load_device(struct wg_wanted *wanted, int dirfd, const struct wg_policy *policy,
                        struct wg_refusal *refusal)
{
	struct nbh_device device;
	int r = nbh_devicefile_read(dirfd, &device, &refusal->why);

	if (r == -ENOENT) {
		wanted->has_device = false;
		return;
	}

	if (r == 0)
		r = wg_policy_device(policy, &device, &refusal->why);

	if (r < 0) {
		refusal->refused = true;
		return;
	}

	wanted->device = device;
	wanted->has_device = true;
}

static void load_peers(struct wg_wanted *wanted, int dirfd, const struct wg_policy *policy,
                       struct wg_refusal *refusal)
{
	struct nbh_peersfile peers;
	struct nbh_key public_key;
	int r = nbh_peersfile_read(dirfd, &peers, &refusal->why);

	if (r == -ENOENT || (r == 0 && !wanted->has_device)) {
		if (r == 0)
			nbh_peersfile_clear(&peers);
		return;
	}

	if (r < 0) {
		refusal->refused = true;
		return;
	}

	if (wanted->has_key)
		nbh_key_public(&wanted->private_key, &public_key);

	wg_plan_prepare(&peers);
	r = wg_policy_peers(policy, &wanted->device, wanted->has_key ? &public_key : NULL, &peers,
	                    &refusal->why);
	if (r < 0) {
		refusal->refused = true;
		nbh_peersfile_clear(&peers);
		return;
	}

	if (wanted->has_peers)
		nbh_peersfile_clear(&wanted->peers);
	wanted->peers = peers;
	wanted->has_peers = true;
}

void wg_wanted_load(struct wg_wanted *wanted, int dirfd, const struct wg_policy *policy,
                    struct wg_refusal ret_refusals[WG_N_FILES])
{
	memset(ret_refusals, 0, WG_N_FILES * sizeof(*ret_refusals));
	load_key(wanted, dirfd, &ret_refusals[WG_FILE_KEY]);
	load_device(wanted, dirfd, policy, &ret_refusals[WG_FILE_DEVICE]);
	load_peers(wanted, dirfd, policy, &ret_refusals[WG_FILE_PEERS]);

	/* Nothing needs a key that configures nothing. */
	if (!wanted->has_device)
		ret_refusals[WG_FILE_KEY].refused = false;
}

struct wg_want wg_wanted_view(const struct wg_wanted *wanted)
{
	return (struct wg_want){
		.device = wanted->has_device ? &wanted->device : NULL,
		.private_key = wanted->has_key ? &wanted->private_key : NULL,
		.peers = wanted->has_peers ? &wanted->peers : NULL,
	};
}

void wg_wanted_forget_key(struct wg_wanted *wanted)
{
	nbh_key_wipe(&wanted->private_key);
	wanted->has_key = false;
}

void wg_wanted_clear(struct wg_wanted *wanted)
{
	wg_wanted_forget_key(wanted);
	if (wanted->has_peers)
		nbh_peersfile_clear(&wanted->peers);
	memset(wanted, 0, sizeof(*wanted));
}
