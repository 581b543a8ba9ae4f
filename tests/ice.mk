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
