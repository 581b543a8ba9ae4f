#include "config.h"

#include "hub/overlay.h"

#define CGNAT_BASE 0x64400000u /* 100.64.0.0/10, RFC 6598 */
#define CGNAT_NETWORKS 64u

guint32 nbh_overlay_to_number(const struct nbh_addr *addr)
{
	return (guint32)addr->bytes[0] << 24 | (guint32)addr->bytes[1] << 16 |
	       (guint32)addr->bytes[2] << 8 | addr->bytes[3];
}

struct nbh_addr nbh_overlay_from_number(guint32 number)
{
	return (struct nbh_addr){
		.family = AF_INET,
		.bytes = { (guint8)(number >> 24), (guint8)(number >> 16), (guint8)(number >> 8),
			   (guint8)number },
	};
}

struct nbh_prefix nbh_overlay_network(guint32 random)
{
	return (struct nbh_prefix){
		.addr = nbh_overlay_from_number(CGNAT_BASE + (random % CGNAT_NETWORKS << 16)),
		.len = NBH_OVERLAY_PREFIX_LEN,
	};
}

gboolean nbh_overlay_pick(const struct nbh_prefix *network, guint32 random, NbhOverlayTaken is_taken,
			  gpointer owner, struct nbh_addr *ret_addr)
{
	guint32 base = nbh_overlay_to_number(&network->addr);
	guint32 size = 1u << (32 - network->len);
	guint32 usable = size - 3; /* 1 .. broadcast - 2 */

	for (guint32 i = 0; i < usable; i++) {
		struct nbh_addr addr = nbh_overlay_from_number(base + 1 + (random % usable + i) % usable);

		if (!is_taken(&addr, owner)) {
			*ret_addr = addr;
			return TRUE;
		}
	}
	return FALSE;
}
