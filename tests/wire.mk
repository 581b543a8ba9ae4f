# Tests of src/wire: bytes in, structs out; no network.
wire_test_cflags = $(AM_CFLAGS) $(GLIB_CFLAGS) $(PROTOBUF_C_CFLAGS)
wire_test_ldadd = $(WIRE_LIBS) $(BASE_LIBS) $(GLIB_LIBS)

check_PROGRAMS += %D%/unit/test-wire-signal
TESTS += %D%/unit/test-wire-signal
%C%_unit_test_wire_signal_SOURCES = %D%/unit/test-wire-signal.c
%C%_unit_test_wire_signal_CFLAGS = $(wire_test_cflags)
%C%_unit_test_wire_signal_LDADD = $(wire_test_ldadd)

EXTRA_DIST += \
	%D%/data/vectors/README.md \
	%D%/data/vectors/management.json \
	%D%/data/vectors/relay.json \
	%D%/data/vectors/signal.json \
	%D%/data/vectors/stun.json \
	%D%/data/vectors/transport.json
