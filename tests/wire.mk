# Tests of src/wire: bytes in, structs out; no network.
wire_test_cflags = $(AM_CFLAGS) $(GLIB_CFLAGS) $(PROTOBUF_C_CFLAGS)
wire_test_ldadd = $(WIRE_LIBS) $(BASE_LIBS) $(GLIB_LIBS)

check_PROGRAMS += %D%/unit/test-wire-signal
TESTS += %D%/unit/test-wire-signal
%C%_unit_test_wire_signal_SOURCES = %D%/unit/test-wire-signal.c
%C%_unit_test_wire_signal_CFLAGS = $(wire_test_cflags)
%C%_unit_test_wire_signal_LDADD = $(wire_test_ldadd)

check_PROGRAMS += %D%/unit/test-wire-garbage
TESTS += %D%/unit/test-wire-garbage
%C%_unit_test_wire_garbage_SOURCES = %D%/unit/test-wire-garbage.c
%C%_unit_test_wire_garbage_CFLAGS = $(wire_test_cflags) $(JSON_C_CFLAGS)
%C%_unit_test_wire_garbage_LDADD = $(wire_test_ldadd)

check_PROGRAMS += %D%/unit/test-wire-mgmt-hub
TESTS += %D%/unit/test-wire-mgmt-hub
%C%_unit_test_wire_mgmt_hub_SOURCES = %D%/unit/test-wire-mgmt-hub.c %D%/lib/testkeys.h
%C%_unit_test_wire_mgmt_hub_CFLAGS = $(wire_test_cflags)
%C%_unit_test_wire_mgmt_hub_LDADD = $(wire_test_ldadd)

check_PROGRAMS += %D%/unit/test-wire-mgmt
TESTS += %D%/unit/test-wire-mgmt
%C%_unit_test_wire_mgmt_SOURCES = %D%/unit/test-wire-mgmt.c %D%/lib/testkeys.h
%C%_unit_test_wire_mgmt_CFLAGS = $(wire_test_cflags)
%C%_unit_test_wire_mgmt_LDADD = $(wire_test_ldadd)

check_PROGRAMS += %D%/unit/test-wire-stun
TESTS += %D%/unit/test-wire-stun
%C%_unit_test_wire_stun_SOURCES = %D%/unit/test-wire-stun.c
%C%_unit_test_wire_stun_CFLAGS = $(wire_test_cflags)
%C%_unit_test_wire_stun_LDADD = $(wire_test_ldadd)

EXTRA_DIST += \
	%D%/data/vectors/README.md \
	%D%/data/vectors/management.json \
	%D%/data/vectors/relay.json \
	%D%/data/vectors/signal.json \
	%D%/data/vectors/stun.json \
	%D%/data/vectors/transport.json

# Against every recorded message: test-vectors [DIR].
check_PROGRAMS += %D%/vectors/test-vectors
TESTS += %D%/vectors/test-vectors
%C%_vectors_test_vectors_SOURCES = \
	%D%/vectors/test-vectors.c \
	%D%/vectors/vec-answers.c \
	%D%/vectors/vec-management.c %D%/vectors/vec-management.h \
	%D%/vectors/vec-message.c \
	%D%/vectors/vec-relay.c \
	%D%/vectors/vec-signal.c \
	%D%/vectors/vec-stun.c \
	%D%/vectors/vec-transport.c \
	%D%/vectors/vec.c %D%/vectors/vec.h
%C%_vectors_test_vectors_CFLAGS = $(wire_test_cflags) $(JSON_C_CFLAGS)
%C%_vectors_test_vectors_LDADD = $(wire_test_ldadd)
