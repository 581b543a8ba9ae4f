#ifndef NBH_TESTS_VECTORS_VEC_MANAGEMENT_H
#define NBH_TESTS_VECTORS_VEC_MANAGEMENT_H

#include "tests/vectors/vec.h"

#include "wire/management.pb-c.h"

gboolean vec_packs_to(const ProtobufCMessage *message, GBytes *ours);

/* The message is cut down to what our structs have. */
void vec_login_response(Nbm__LoginResponse *message, GBytes *plain);
void vec_sync_response(json_object *file, json_object *part, Nbm__SyncResponse *message,
		       GBytes *plain);

#endif
