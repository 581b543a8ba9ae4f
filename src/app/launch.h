#ifndef NBH_APP_LAUNCH_H
#define NBH_APP_LAUNCH_H

/*
 * One program started by the launcher: fork, become its user, exec. What a program inherits besides
 * standard output and error (standard input is /dev/null), each only where it is needed:
 *
 *   3  the config directory (O_PATH), when its user does not get there by name: --config-dir is
 *      then /proc/self/fd/3
 *   4  the setup key (a memfd) for netbird-helper; NB_SETUP_KEY_FILE names /proc/self/fd/4
 *
 * Where only root may open /dev/net/tun, netbird-wg gets a mount namespace in which it is its own.
 */

#include "app/confdir.h"
#include "app/users.h"

enum nbh_launch_role {
	NBH_LAUNCH_WG,
	NBH_LAUNCH_ICE,
	NBH_LAUNCH_HELPER,
	NBH_LAUNCH_N_ROLES
};

#define NBH_LAUNCH_ARGS_MAX 24

struct nbh_launch {
	struct nbh_confdir dir;
	struct nbh_users users;
	char program_dir[PATH_MAX];    /* where our own binary is */
	char *const *helper_args;      /* borrowed; what follows --config-dir DIR; NULL-terminated */
	int path_fd;                   /* owned; O_PATH of the directory, to be inherited */
	int key_fd;                    /* owned; the setup key's memfd, or -1 */
	bool is_reachable[NBH_LAUNCH_N_ROLES];
	bool debug;                    /* netbird-wg and netbird-ice say more, too */
	bool is_once;                  /* netbird-wg --once */
	bool needs_ice_tun;            /* netbird-ice can make no namespaces: netbird-wg --ice-tun */
};

const char *nbh_launch_name(enum nbh_launch_role role);
struct nbh_identity nbh_launch_identity(const struct nbh_launch *launch, enum nbh_launch_role role);

/*
 * Prepares the directory and /run/wireguard, reads the setup key (setup_key_file or
 * NB_SETUP_KEY_FILE; "-" is standard input) while we are root.
 */
int nbh_launch_init(struct nbh_launch *launch, const char *config_dir, char *const *helper_args,
                    const char *setup_key_file, struct nbh_why *why);
/* Prepares the directory if it was removed and made again: 1; 0: it is the same, or there is none. */
int nbh_launch_enter_again(struct nbh_launch *launch, struct nbh_why *why);
void nbh_launch_clear(struct nbh_launch *launch);

/* The pid, or -errno. What fails in the child is logged there; it ends with 126 or 127. */
pid_t nbh_launch_start(const struct nbh_launch *launch, enum nbh_launch_role role, struct nbh_why *why);

#endif
