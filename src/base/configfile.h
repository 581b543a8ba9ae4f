#ifndef NBH_BASE_CONFIGFILE_H
#define NBH_BASE_CONFIGFILE_H

#include "base/key.h"
#include "base/limits.h"
#include "base/why.h"

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#define NBH_IFACE_BLACKLIST_MAX 32

/* config.json: netbird-config.json(5). Made by login and up; written with fsync, mode 0600. */
struct nbh_config {
	char management_url[256];      /* "http://host:port" or "https://..." */
	char ca_file[512];             /* "": the system's CAs */
	char client_cert_file[512];    /* "": none */
	char client_key_file[512];     /* "": in client_cert_file */
	char proxy[512];               /* "http://[USER:PASSWORD@]host:port"; "none"; "": the environment's */
	char hostname[256];            /* "": the system's */
	char interface[IFNAMSIZ];      /* "nbh0" */
	uint16_t listen_port;          /* 51820 */
	uint32_t mtu;                  /* 1280 */
	uint32_t fwmark;               /* 0 */
	bool userspace;                /* goes into device.json */
	struct nbh_key preshared_key;  /* zero: none */
	char iface_blacklist[NBH_IFACE_BLACKLIST_MAX][IFNAMSIZ]; /* name prefixes, NetBird's default list if absent */
	size_t n_iface_blacklist;
	char log_level[16];            /* "": info */
};

#define NBH_CONFIGFILE_NAME "config.json"

void nbh_config_defaults(struct nbh_config *ret_config);
int nbh_configfile_read(int dirfd, struct nbh_config *ret_config, struct nbh_why *why); /* -ENOENT: none yet */
int nbh_configfile_parse(const char *text, size_t len, struct nbh_config *ret_config, struct nbh_why *why);
/* -EINVAL: a value that the reader would refuse; the file stays as it was. */
int nbh_configfile_write(int dirfd, const struct nbh_config *config, struct nbh_why *why);
int nbh_configfile_check(const struct nbh_config *config, struct nbh_why *why); /* as write, without writing */

#endif
