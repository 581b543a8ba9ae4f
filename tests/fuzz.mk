# One program per parser of what others wrote: fuzz/README.md. An ordinary build replays the corpus
# in "make check"; configured with --enable-fuzzing CC=clang they are libFuzzer programs.
FUZZ_TARGETS = %D%/fuzz/fuzz-addr %D%/fuzz/fuzz-applied %D%/fuzz/fuzz-box %D%/fuzz/fuzz-cache %D%/fuzz/fuzz-candidate \
	%D%/fuzz/fuzz-configfiles %D%/fuzz/fuzz-grpc-client %D%/fuzz/fuzz-h2srv %D%/fuzz/fuzz-hub-front \
	%D%/fuzz/fuzz-ice-port %D%/fuzz/fuzz-ice-proto %D%/fuzz/fuzz-ice-store %D%/fuzz/fuzz-json \
	%D%/fuzz/fuzz-keyfile %D%/fuzz/fuzz-lock %D%/fuzz/fuzz-mgmt-client %D%/fuzz/fuzz-mgmt-hub \
	%D%/fuzz/fuzz-netlink %D%/fuzz/fuzz-netmon %D%/fuzz/fuzz-peersfile %D%/fuzz/fuzz-proxy %D%/fuzz/fuzz-signal \
	%D%/fuzz/fuzz-status %D%/fuzz/fuzz-stun %D%/fuzz/fuzz-uapi %D%/fuzz/fuzz-uri %D%/fuzz/fuzz-wgstatus \
	%D%/fuzz/fuzz-addrwatch %D%/fuzz/fuzz-ending %D%/fuzz/fuzz-hub %D%/fuzz/fuzz-ice-client %D%/fuzz/fuzz-ice-sessions %D%/fuzz/fuzz-map %D%/fuzz/fuzz-peers %D%/fuzz/fuzz-query \
	%D%/fuzz/fuzz-tls %D%/fuzz/fuzz-tls-files %D%/fuzz/fuzz-tls-text
check_PROGRAMS += $(FUZZ_TARGETS)
fuzz-programs: $(FUZZ_TARGETS)
.PHONY: fuzz-programs
EXTRA_DIST += %D%/fuzz/README.md %D%/fuzz/run %D%/fuzz/corpus %D%/fuzz/dict/h2

check_LIBRARIES += %D%/lib/libnbh-test-fuzz.a
%C%_lib_libnbh_test_fuzz_a_SOURCES = %D%/fuzz/driver.c %D%/fuzz/fuzz.h %D%/fuzz/feed.h %D%/fuzz/fake-netlink.h
if FUZZING
FUZZ_MAIN = $(FUZZ_ENGINE)
else
FUZZ_MAIN = %D%/lib/libnbh-test-fuzz.a
TESTS += $(FUZZ_TARGETS)
endif

# The same for all: a linker takes what it needs.
FUZZ_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS) $(MNL_CFLAGS)
FUZZ_LIBS = $(FUZZ_MAIN) src/app/libnbh-app.a src/path/libnbh-path.a src/hub/libnbh-hub.a src/net/libnbh-net.a src/ice/libnbh-iced.a \
	src/ice/libnbh-ice.a wg/libnbh-wg.a $(WIRE_LIBS) $(BASE_LIBS) $(NICE_LIBS) $(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(MNL_LIBS) \
	$(SQLITE_LIBS) $(GLIB_LIBS)

%C%_fuzz_fuzz_addr_SOURCES = %D%/fuzz/fuzz-addr.c
%C%_fuzz_fuzz_addr_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_addr_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_applied_SOURCES = %D%/fuzz/fuzz-applied.c
%C%_fuzz_fuzz_applied_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_applied_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_box_SOURCES = %D%/fuzz/fuzz-box.c
%C%_fuzz_fuzz_box_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_box_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_cache_SOURCES = %D%/fuzz/fuzz-cache.c
%C%_fuzz_fuzz_cache_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_cache_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_candidate_SOURCES = %D%/fuzz/fuzz-candidate.c
%C%_fuzz_fuzz_candidate_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_candidate_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_configfiles_SOURCES = %D%/fuzz/fuzz-configfiles.c
%C%_fuzz_fuzz_configfiles_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_configfiles_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_grpc_client_SOURCES = %D%/fuzz/fuzz-grpc-client.c
%C%_fuzz_fuzz_grpc_client_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_grpc_client_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_h2srv_SOURCES = %D%/fuzz/fuzz-h2srv.c
%C%_fuzz_fuzz_h2srv_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_h2srv_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_hub_front_SOURCES = %D%/fuzz/fuzz-hub-front.c
%C%_fuzz_fuzz_hub_front_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_hub_front_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_ice_port_SOURCES = %D%/fuzz/fuzz-ice-port.c
%C%_fuzz_fuzz_ice_port_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_ice_port_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_ice_proto_SOURCES = %D%/fuzz/fuzz-ice-proto.c
%C%_fuzz_fuzz_ice_proto_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_ice_proto_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_ice_store_SOURCES = %D%/fuzz/fuzz-ice-store.c
%C%_fuzz_fuzz_ice_store_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_ice_store_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_json_SOURCES = %D%/fuzz/fuzz-json.c
%C%_fuzz_fuzz_json_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_json_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_keyfile_SOURCES = %D%/fuzz/fuzz-keyfile.c
%C%_fuzz_fuzz_keyfile_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_keyfile_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_lock_SOURCES = %D%/fuzz/fuzz-lock.c
%C%_fuzz_fuzz_lock_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_lock_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_mgmt_client_SOURCES = %D%/fuzz/fuzz-mgmt-client.c
%C%_fuzz_fuzz_mgmt_client_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_mgmt_client_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_mgmt_hub_SOURCES = %D%/fuzz/fuzz-mgmt-hub.c
%C%_fuzz_fuzz_mgmt_hub_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_mgmt_hub_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_netlink_SOURCES = %D%/fuzz/fuzz-netlink.c
%C%_fuzz_fuzz_netlink_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_netlink_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_netmon_SOURCES = %D%/fuzz/fuzz-netmon.c
%C%_fuzz_fuzz_netmon_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_netmon_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_peersfile_SOURCES = %D%/fuzz/fuzz-peersfile.c
%C%_fuzz_fuzz_peersfile_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_peersfile_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_proxy_SOURCES = %D%/fuzz/fuzz-proxy.c
%C%_fuzz_fuzz_proxy_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_proxy_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_signal_SOURCES = %D%/fuzz/fuzz-signal.c
%C%_fuzz_fuzz_signal_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_signal_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_status_SOURCES = %D%/fuzz/fuzz-status.c
%C%_fuzz_fuzz_status_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_status_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_stun_SOURCES = %D%/fuzz/fuzz-stun.c
%C%_fuzz_fuzz_stun_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_stun_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_uapi_SOURCES = %D%/fuzz/fuzz-uapi.c
%C%_fuzz_fuzz_uapi_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_uapi_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_uri_SOURCES = %D%/fuzz/fuzz-uri.c
%C%_fuzz_fuzz_uri_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_uri_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_ending_SOURCES = %D%/fuzz/fuzz-ending.c
%C%_fuzz_fuzz_ending_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_ending_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_wgstatus_SOURCES = %D%/fuzz/fuzz-wgstatus.c
%C%_fuzz_fuzz_wgstatus_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_wgstatus_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_addrwatch_SOURCES = %D%/fuzz/fuzz-addrwatch.c
%C%_fuzz_fuzz_addrwatch_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_addrwatch_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_ice_client_SOURCES = %D%/fuzz/fuzz-ice-client.c
%C%_fuzz_fuzz_ice_client_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_ice_client_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_ice_sessions_SOURCES = %D%/fuzz/fuzz-ice-sessions.c
%C%_fuzz_fuzz_ice_sessions_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_ice_sessions_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_peers_SOURCES = %D%/fuzz/fuzz-peers.c
%C%_fuzz_fuzz_peers_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_peers_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_query_SOURCES = %D%/fuzz/fuzz-query.c
%C%_fuzz_fuzz_query_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_query_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_hub_SOURCES = %D%/fuzz/fuzz-hub.c
%C%_fuzz_fuzz_hub_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_hub_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_map_SOURCES = %D%/fuzz/fuzz-map.c
%C%_fuzz_fuzz_map_CFLAGS = $(FUZZ_CFLAGS)
%C%_fuzz_fuzz_map_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_tls_SOURCES = %D%/fuzz/fuzz-tls.c
%C%_fuzz_fuzz_tls_CFLAGS = $(FUZZ_CFLAGS) $(OPENSSL_CFLAGS)
%C%_fuzz_fuzz_tls_LDADD = %D%/lib/libnbh-test-net.a $(FUZZ_LIBS)
%C%_fuzz_fuzz_tls_files_SOURCES = %D%/fuzz/fuzz-tls-files.c
%C%_fuzz_fuzz_tls_files_CFLAGS = $(FUZZ_CFLAGS) $(OPENSSL_CFLAGS)
%C%_fuzz_fuzz_tls_files_LDADD = $(FUZZ_LIBS)
%C%_fuzz_fuzz_tls_text_SOURCES = %D%/fuzz/fuzz-tls-text.c
%C%_fuzz_fuzz_tls_text_CFLAGS = $(FUZZ_CFLAGS) $(OPENSSL_CFLAGS)
%C%_fuzz_fuzz_tls_text_LDADD = $(FUZZ_LIBS)
