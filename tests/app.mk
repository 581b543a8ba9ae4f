# Tests of app, path and sink.
APP_TEST_LIBS = src/app/libnbh-app.a src/path/libnbh-path.a src/sink/libnbh-sink.a \
	src/core/libnbh-core.a $(BASE_LIBS) $(GLIB_LIBS)

check_PROGRAMS += %D%/unit/test-path-loopback %D%/unit/test-sink-publish %D%/unit/test-app-options
TESTS += %D%/unit/test-path-loopback %D%/unit/test-sink-publish %D%/unit/test-app-options
%C%_unit_test_path_loopback_SOURCES = %D%/unit/test-path-loopback.c
%C%_unit_test_path_loopback_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_path_loopback_LDADD = $(APP_TEST_LIBS)
%C%_unit_test_sink_publish_SOURCES = %D%/unit/test-sink-publish.c
%C%_unit_test_sink_publish_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_sink_publish_LDADD = $(APP_TEST_LIBS)
%C%_unit_test_app_options_SOURCES = %D%/unit/test-app-options.c
%C%_unit_test_app_options_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_app_options_LDADD = $(APP_TEST_LIBS)

check_PROGRAMS += %D%/scenario/test-peers
TESTS += %D%/scenario/test-peers
%C%_scenario_test_peers_SOURCES = %D%/scenario/test-peers.c %D%/lib/peerhost.c %D%/lib/peerhost.h
%C%_scenario_test_peers_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_scenario_test_peers_LDADD = src/app/libnbh-app.a src/signal/libnbh-signal.a src/ice/libnbh-ice.a \
	src/path/libnbh-path.a src/net/libnbh-net.a src/wire/libnbh-wire.a src/core/libnbh-core.a $(BASE_LIBS) \
	$(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(PROTOBUF_C_LIBS) $(MNL_LIBS) $(GLIB_LIBS)

check_PROGRAMS += %D%/unit/test-app-cache
TESTS += %D%/unit/test-app-cache
%C%_unit_test_app_cache_SOURCES = %D%/unit/test-app-cache.c
%C%_unit_test_app_cache_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_app_cache_LDADD = src/app/libnbh-app.a src/wire/libnbh-wire.a src/core/libnbh-core.a $(BASE_LIBS) \
	$(PROTOBUF_C_LIBS) $(GLIB_LIBS)

# What a malicious peer can do to app/peers.
check_PROGRAMS += %D%/scenario/test-hostile-peers
TESTS += %D%/scenario/test-hostile-peers
%C%_scenario_test_hostile_peers_SOURCES = %D%/scenario/test-hostile-peers.c %D%/lib/peerhost.c %D%/lib/peerhost.h
%C%_scenario_test_hostile_peers_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_scenario_test_hostile_peers_LDADD = src/app/libnbh-app.a src/signal/libnbh-signal.a src/ice/libnbh-ice.a \
	src/path/libnbh-path.a src/net/libnbh-net.a src/wire/libnbh-wire.a src/core/libnbh-core.a $(BASE_LIBS) \
	$(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(PROTOBUF_C_LIBS) $(MNL_LIBS) $(GLIB_LIBS)

# These need all that app is linked with; no network, no other process.
APP_FULL_LIBS = src/app/libnbh-app.a src/signal/libnbh-signal.a src/ice/libnbh-ice.a src/path/libnbh-path.a \
	src/net/libnbh-net.a src/wire/libnbh-wire.a src/core/libnbh-core.a $(BASE_LIBS) $(NGHTTP2_LIBS) $(OPENSSL_LIBS) \
	$(PROTOBUF_C_LIBS) $(MNL_LIBS) $(GLIB_LIBS)

check_PROGRAMS += %D%/unit/test-app-status %D%/unit/test-app-srflx %D%/unit/test-app-dirwatch
TESTS += %D%/unit/test-app-status %D%/unit/test-app-srflx %D%/unit/test-app-dirwatch
%C%_unit_test_app_status_SOURCES = %D%/unit/test-app-status.c
%C%_unit_test_app_status_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_app_status_LDADD = $(APP_FULL_LIBS)
%C%_unit_test_app_srflx_SOURCES = %D%/unit/test-app-srflx.c
%C%_unit_test_app_srflx_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_app_srflx_LDADD = $(APP_FULL_LIBS)
%C%_unit_test_app_dirwatch_SOURCES = %D%/unit/test-app-dirwatch.c
%C%_unit_test_app_dirwatch_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_app_dirwatch_LDADD = $(APP_FULL_LIBS)
EXTRA_DIST += %D%/data/status-empty.json %D%/data/status-full.json

check_PROGRAMS += %D%/unit/test-app-srflx-names
TESTS += %D%/unit/test-app-srflx-names
%C%_unit_test_app_srflx_names_SOURCES = %D%/unit/test-app-srflx-names.c
%C%_unit_test_app_srflx_names_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_app_srflx_names_LDADD = src/app/libnbh-app.a src/wire/libnbh-wire.a src/core/libnbh-core.a $(BASE_LIBS) \
	$(GLIB_LIBS)

check_PROGRAMS += %D%/unit/test-app-reload
TESTS += %D%/unit/test-app-reload
%C%_unit_test_app_reload_SOURCES = %D%/unit/test-app-reload.c
%C%_unit_test_app_reload_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_app_reload_LDADD = src/app/libnbh-app.a $(BASE_LIBS) $(GLIB_LIBS)

# What a malicious hub says and is not done.
check_PROGRAMS += %D%/unit/test-app-distrust
TESTS += %D%/unit/test-app-distrust
%C%_unit_test_app_distrust_SOURCES = %D%/unit/test-app-distrust.c
%C%_unit_test_app_distrust_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_app_distrust_LDADD = src/app/libnbh-app.a src/core/libnbh-core.a $(BASE_LIBS) $(GLIB_LIBS)

# The engine's and the peers' limits, with a clock of the test's own.
check_PROGRAMS += %D%/unit/test-app-limits %D%/unit/test-app-meta
TESTS += %D%/unit/test-app-limits %D%/unit/test-app-meta
%C%_unit_test_app_limits_SOURCES = %D%/unit/test-app-limits.c
%C%_unit_test_app_limits_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_app_limits_LDADD = src/app/libnbh-app.a src/mgmt/libnbh-mgmt.a src/signal/libnbh-signal.a \
	src/ice/libnbh-ice.a src/path/libnbh-path.a src/sink/libnbh-sink.a src/net/libnbh-net.a src/wire/libnbh-wire.a \
	src/core/libnbh-core.a $(BASE_LIBS) $(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(PROTOBUF_C_LIBS) $(MNL_LIBS) $(GLIB_LIBS)
%C%_unit_test_app_meta_SOURCES = %D%/unit/test-app-meta.c
%C%_unit_test_app_meta_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_unit_test_app_meta_LDADD = src/app/libnbh-app.a src/core/libnbh-core.a $(BASE_LIBS) $(GLIB_LIBS)
