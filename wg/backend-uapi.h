#ifndef NBH_WG_BACKEND_UAPI_H
#define NBH_WG_BACKEND_UAPI_H

/*
 * The program that the UAPI backend starts when the interface is missing: an absolute path,
 * borrowed. NULL (the start): wireguard-go in the usual places.
 */
void wg_uapi_set_program(const char *path);

#endif
