# The hub, and the gRPC server side in src/net that it is built on.
HUB_TEST_LIBS = src/hub/libnbh-hub.a src/mgmt/libnbh-mgmt.a src/signal/libnbh-signal.a \
	src/net/libnbh-net.a $(WIRE_LIBS) $(BASE_LIBS) \
	$(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(MNL_LIBS) $(SQLITE_LIBS) $(GLIB_LIBS)

hub_tests = %D%/unit/test-h2srv %D%/unit/test-h2srv-flood %D%/unit/test-hub-front %D%/unit/test-hub-limits %D%/unit/test-hub-parts %D%/unit/test-hub-store \
	%D%/unit/test-hub-maps %D%/unit/test-hub-signal %D%/unit/test-hub-stun %D%/contract/test-hub-clients
check_PROGRAMS += $(hub_tests)
TESTS += $(hub_tests)

%C%_unit_test_h2srv_SOURCES = %D%/unit/test-h2srv.c %D%/lib/h2client.c %D%/lib/h2client.h %D%/lib/loop.h
%C%_unit_test_h2srv_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS)
%C%_unit_test_h2srv_LDADD = %D%/lib/libnbh-test-net.a $(HUB_TEST_LIBS)

%C%_unit_test_h2srv_flood_SOURCES = %D%/unit/test-h2srv-flood.c %D%/lib/loop.h
%C%_unit_test_h2srv_flood_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS)
%C%_unit_test_h2srv_flood_LDADD = $(HUB_TEST_LIBS)

%C%_unit_test_hub_front_SOURCES = %D%/unit/test-hub-front.c %D%/lib/h2client.c %D%/lib/h2client.h
%C%_unit_test_hub_front_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS) $(OPENSSL_CFLAGS)
%C%_unit_test_hub_front_LDADD = %D%/lib/libnbh-test-net.a $(HUB_TEST_LIBS)

%C%_unit_test_hub_limits_SOURCES = %D%/unit/test-hub-limits.c %D%/lib/loop.h
%C%_unit_test_hub_limits_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(SQLITE_CFLAGS)
%C%_unit_test_hub_limits_LDADD = $(HUB_TEST_LIBS)

%C%_unit_test_hub_parts_SOURCES = %D%/unit/test-hub-parts.c
%C%_unit_test_hub_parts_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_hub_parts_LDADD = $(HUB_TEST_LIBS)

%C%_unit_test_hub_store_SOURCES = %D%/unit/test-hub-store.c
%C%_unit_test_hub_store_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_hub_store_LDADD = $(HUB_TEST_LIBS)

%C%_unit_test_hub_maps_SOURCES = %D%/unit/test-hub-maps.c
%C%_unit_test_hub_maps_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_hub_maps_LDADD = $(HUB_TEST_LIBS)

%C%_unit_test_hub_signal_SOURCES = %D%/unit/test-hub-signal.c %D%/lib/h2client.c %D%/lib/h2client.h
%C%_unit_test_hub_signal_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS)
%C%_unit_test_hub_signal_LDADD = $(HUB_TEST_LIBS)

%C%_unit_test_hub_stun_SOURCES = %D%/unit/test-hub-stun.c
%C%_unit_test_hub_stun_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_hub_stun_LDADD = $(HUB_TEST_LIBS)

%C%_contract_test_hub_clients_SOURCES = %D%/contract/test-hub-clients.c
%C%_contract_test_hub_clients_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_contract_test_hub_clients_LDADD = %D%/lib/libnbh-test-net.a $(HUB_TEST_LIBS)

EXTRA_DIST += %D%/netns/hub-official.sh

# For scripts/bench.
check_PROGRAMS += %D%/tools/star-hub
%C%_tools_star_hub_SOURCES = %D%/tools/star-hub.c
%C%_tools_star_hub_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_tools_star_hub_LDADD = $(HUB_TEST_LIBS)
