# Tests of this area: programs, data, scripts.
check_PROGRAMS += %D%/unit/test-ice-proto
TESTS += %D%/unit/test-ice-proto
%C%_unit_test_ice_proto_SOURCES = %D%/unit/test-ice-proto.c
%C%_unit_test_ice_proto_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_ice_proto_LDADD = src/ice/libnbh-ice.a src/core/libnbh-core.a $(BASE_LIBS) $(GLIB_LIBS)

# One source, one program per backend. The process runs inside tests/netns/ice-pair.
check_PROGRAMS += %D%/contract/contract-ice-fake %D%/contract/contract-ice-process
TESTS += %D%/contract/contract-ice-fake
%C%_contract_contract_ice_fake_SOURCES = %D%/contract/contract-ice.c
%C%_contract_contract_ice_fake_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) -DBACKEND=nbh_ice_fake
%C%_contract_contract_ice_fake_LDADD = src/ice/libnbh-ice.a src/core/libnbh-core.a $(BASE_LIBS) $(GLIB_LIBS)
%C%_contract_contract_ice_process_SOURCES = %D%/contract/contract-ice.c
%C%_contract_contract_ice_process_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) -DBACKEND=nbh_ice_process
%C%_contract_contract_ice_process_LDADD = $(%C%_contract_contract_ice_fake_LDADD)

check_PROGRAMS += %D%/unit/test-ice-store
TESTS += %D%/unit/test-ice-store
%C%_unit_test_ice_store_SOURCES = %D%/unit/test-ice-store.c
%C%_unit_test_ice_store_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_ice_store_LDADD = $(ICED_LIBS)

check_PROGRAMS += %D%/unit/test-ice-txid
TESTS += %D%/unit/test-ice-txid
%C%_unit_test_ice_txid_SOURCES = %D%/unit/test-ice-txid.c
%C%_unit_test_ice_txid_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_ice_txid_LDADD = $(ICED_LIBS)

# What the namespace cases drive netbird-ice with.
check_PROGRAMS += %D%/lib/ice-drive %D%/lib/stun-standin
%C%_lib_ice_drive_SOURCES = %D%/lib/ice-drive.c
%C%_lib_ice_drive_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_lib_ice_drive_LDADD = src/ice/libnbh-ice.a src/core/libnbh-core.a $(BASE_LIBS) $(GLIB_LIBS)
%C%_lib_stun_standin_SOURCES = %D%/lib/stun-standin.c
%C%_lib_stun_standin_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_lib_stun_standin_LDADD = src/wire/libnbh-wire.a src/core/libnbh-core.a $(BASE_LIBS) $(GLIB_LIBS)

EXTRA_DIST += %D%/lib/wg-standin.py %D%/netns/iceport.py %D%/netns/case-ice-lan.py \
	%D%/netns/case-ice-nat.py %D%/netns/case-ice-v6.py %D%/netns/case-ice-official.py %D%/lib/officialpeer.py \
	%D%/netns/case-ice-socket.py %D%/netns/case-ice-settle.py %D%/netns/case-ice-symmetric.py %D%/netns/soak-ice-many.py

check_PROGRAMS += %D%/unit/test-ice-packet %D%/unit/test-ice-port
TESTS += %D%/unit/test-ice-packet %D%/unit/test-ice-port
%C%_unit_test_ice_packet_SOURCES = %D%/unit/test-ice-packet.c
%C%_unit_test_ice_packet_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_ice_packet_LDADD = $(ICED_LIBS)
%C%_unit_test_ice_port_SOURCES = %D%/unit/test-ice-port.c %D%/lib/stunmake.h
%C%_unit_test_ice_port_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_ice_port_LDADD = $(ICED_LIBS)

# Has sessions.c in itself.
check_PROGRAMS += %D%/unit/test-ice-sessions
TESTS += %D%/unit/test-ice-sessions
%C%_unit_test_ice_sessions_SOURCES = %D%/unit/test-ice-sessions.c
%C%_unit_test_ice_sessions_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_ice_sessions_LDADD = $(ICED_LIBS)

check_PROGRAMS += %D%/unit/test-ice-isolate
TESTS += %D%/unit/test-ice-isolate
%C%_unit_test_ice_isolate_SOURCES = %D%/unit/test-ice-isolate.c
%C%_unit_test_ice_isolate_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_ice_isolate_LDADD = $(ICED_LIBS)

check_PROGRAMS += %D%/unit/test-ice-link
TESTS += %D%/unit/test-ice-link
%C%_unit_test_ice_link_SOURCES = %D%/unit/test-ice-link.c
%C%_unit_test_ice_link_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_ice_link_LDADD = src/ice/libnbh-ice.a src/core/libnbh-core.a $(BASE_LIBS) $(GLIB_LIBS)

check_PROGRAMS += %D%/unit/test-ice-process
TESTS += %D%/unit/test-ice-process
%C%_unit_test_ice_process_SOURCES = %D%/unit/test-ice-process.c
%C%_unit_test_ice_process_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_ice_process_LDADD = src/ice/libnbh-ice.a src/core/libnbh-core.a $(BASE_LIBS) $(GLIB_LIBS)
