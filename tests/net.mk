# Tests of this area: programs, data, scripts.
check_LIBRARIES += %D%/lib/libnbh-test-net.a
%C%_lib_libnbh_test_net_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS) $(OPENSSL_CFLAGS)
%C%_lib_libnbh_test_net_a_SOURCES = \
	%D%/lib/certs.c %D%/lib/certs.h \
	%D%/lib/grpcrig.c %D%/lib/grpcrig.h \
	%D%/lib/grpcserver.c %D%/lib/grpcserver.h \
	%D%/lib/h2peer.c %D%/lib/h2peer.h \
	%D%/lib/listener.c %D%/lib/listener.h \
	%D%/lib/loop.h

NET_TEST_LIBS = src/net/libnbh-net.a $(BASE_LIBS) $(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(MNL_LIBS) $(GLIB_LIBS)

check_PROGRAMS += %D%/unit/test-stream
TESTS += %D%/unit/test-stream
%C%_unit_test_stream_SOURCES = %D%/unit/test-stream.c
%C%_unit_test_stream_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_stream_LDADD = %D%/lib/libnbh-test-net.a $(NET_TEST_LIBS)

check_PROGRAMS += %D%/unit/test-tls
TESTS += %D%/unit/test-tls
%C%_unit_test_tls_SOURCES = %D%/unit/test-tls.c
%C%_unit_test_tls_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(OPENSSL_CFLAGS)
%C%_unit_test_tls_LDADD = %D%/lib/libnbh-test-net.a $(NET_TEST_LIBS)

check_PROGRAMS += %D%/unit/test-proxy
TESTS += %D%/unit/test-proxy
%C%_unit_test_proxy_SOURCES = %D%/unit/test-proxy.c
%C%_unit_test_proxy_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_proxy_LDADD = %D%/lib/libnbh-test-net.a $(NET_TEST_LIBS)

check_PROGRAMS += %D%/unit/test-resolver
TESTS += %D%/unit/test-resolver
%C%_unit_test_resolver_SOURCES = %D%/unit/test-resolver.c
%C%_unit_test_resolver_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_resolver_LDADD = $(NET_TEST_LIBS)

check_PROGRAMS += %D%/unit/test-grpc
TESTS += %D%/unit/test-grpc
%C%_unit_test_grpc_SOURCES = %D%/unit/test-grpc.c
%C%_unit_test_grpc_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS)
%C%_unit_test_grpc_LDADD = %D%/lib/libnbh-test-net.a $(NET_TEST_LIBS)

check_PROGRAMS += %D%/unit/test-grpc-channel
TESTS += %D%/unit/test-grpc-channel
%C%_unit_test_grpc_channel_SOURCES = %D%/unit/test-grpc-channel.c
%C%_unit_test_grpc_channel_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS)
%C%_unit_test_grpc_channel_LDADD = %D%/lib/libnbh-test-net.a $(NET_TEST_LIBS)

check_PROGRAMS += %D%/unit/test-grpc-flood
TESTS += %D%/unit/test-grpc-flood
%C%_unit_test_grpc_flood_SOURCES = %D%/unit/test-grpc-flood.c
%C%_unit_test_grpc_flood_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS)
%C%_unit_test_grpc_flood_LDADD = %D%/lib/libnbh-test-net.a $(NET_TEST_LIBS)

check_PROGRAMS += %D%/unit/test-netmon
TESTS += %D%/unit/test-netmon
%C%_unit_test_netmon_SOURCES = %D%/unit/test-netmon.c
%C%_unit_test_netmon_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_netmon_LDADD = %D%/lib/libnbh-test-net.a $(NET_TEST_LIBS)

# Order: who needs comes before who is needed.
SERVER_TEST_LIBS = src/mgmt/libnbh-mgmt.a src/signal/libnbh-signal.a src/net/libnbh-net.a \
	$(WIRE_LIBS) src/core/libnbh-core.a $(BASE_LIBS) $(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(MNL_LIBS) $(GLIB_LIBS)

check_PROGRAMS += %D%/unit/test-mgmt
TESTS += %D%/unit/test-mgmt
%C%_unit_test_mgmt_SOURCES = %D%/unit/test-mgmt.c
%C%_unit_test_mgmt_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_mgmt_LDADD = %D%/lib/libnbh-test-net.a $(SERVER_TEST_LIBS)

check_PROGRAMS += %D%/unit/test-sendline
TESTS += %D%/unit/test-sendline
%C%_unit_test_sendline_SOURCES = %D%/unit/test-sendline.c
%C%_unit_test_sendline_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS)
%C%_unit_test_sendline_LDADD = %D%/lib/libnbh-test-net.a $(SERVER_TEST_LIBS)

check_PROGRAMS += %D%/contract/contract-signal-grpc %D%/contract/contract-signal-pair
TESTS += %D%/contract/contract-signal-grpc %D%/contract/contract-signal-pair
%C%_contract_contract_signal_grpc_SOURCES = %D%/contract/contract-signal.c
%C%_contract_contract_signal_grpc_CPPFLAGS = $(AM_CPPFLAGS) -DBACKEND=nbh_signal_grpc
%C%_contract_contract_signal_grpc_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_contract_contract_signal_grpc_LDADD = %D%/lib/libnbh-test-net.a $(SERVER_TEST_LIBS)
%C%_contract_contract_signal_pair_SOURCES = %D%/contract/contract-signal.c
%C%_contract_contract_signal_pair_CPPFLAGS = $(AM_CPPFLAGS) -DBACKEND=nbh_signal_pair
%C%_contract_contract_signal_pair_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_contract_contract_signal_pair_LDADD = %D%/lib/libnbh-test-net.a $(SERVER_TEST_LIBS)

# Run by hand against a real server; see its head.
check_PROGRAMS += %D%/tools/hostile-peer
%C%_tools_hostile_peer_SOURCES = %D%/tools/hostile-peer.c
%C%_tools_hostile_peer_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_tools_hostile_peer_LDADD = $(SERVER_TEST_LIBS)

# A hub that says what a script wants; see its head. Run by tests/netns/case-hostile-hub.py.
check_PROGRAMS += %D%/tools/bad-hub
%C%_tools_bad_hub_SOURCES = %D%/tools/bad-hub.c
%C%_tools_bad_hub_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_tools_bad_hub_LDADD = %D%/lib/libnbh-test-net.a $(SERVER_TEST_LIBS)

# Many far ends for one helper: see its head. Run by tests/lib/idlecost.py.
check_PROGRAMS += %D%/tools/far-peers
%C%_tools_far_peers_SOURCES = %D%/tools/far-peers.c %D%/tools/far-peers.h %D%/tools/far-wg.c
%C%_tools_far_peers_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(OPENSSL_CFLAGS) $(SODIUM_CFLAGS)
%C%_tools_far_peers_LDADD = $(SERVER_TEST_LIBS)

check_PROGRAMS += %D%/tools/live-servers
%C%_tools_live_servers_SOURCES = %D%/tools/live-servers.c
%C%_tools_live_servers_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_tools_live_servers_LDADD = $(SERVER_TEST_LIBS)

# For the lab: lets a peer go idle at once instead of after a quarter of an hour.
check_PROGRAMS += %D%/lib/go-idle
%C%_lib_go_idle_SOURCES = %D%/lib/go-idle.c
%C%_lib_go_idle_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_lib_go_idle_LDADD = $(SERVER_TEST_LIBS)
