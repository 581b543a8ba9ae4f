noinst_LIBRARIES += %D%/libnbh-app.a
%C%_libnbh_app_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_app_a_SOURCES = \
	%D%/cache.c %D%/cache.h \
	%D%/commands.c %D%/commands.h \
	%D%/dialing.c %D%/dialing.h \
	%D%/dirwatch.c %D%/dirwatch.h \
	%D%/distrust.c %D%/distrust.h \
	%D%/engine.c %D%/engine.h %D%/engine-local.c %D%/engine-network.c %D%/engine-private.h %D%/engine-reload.c %D%/engine-servers.c \
	%D%/oneshot.c %D%/oneshot.h %D%/options.c %D%/options.h \
	%D%/meta.c %D%/meta.h \
	%D%/peers.c %D%/peers.h %D%/peers-act.c %D%/peers-private.h %D%/peers-wg.c \
	%D%/reload.c %D%/reload.h \
	%D%/srflx.c %D%/srflx.h \
	%D%/status.c %D%/status.h %D%/status-show.c
EXTRA_DIST += %D%/README.md

sbin_PROGRAMS += netbird-helper
netbird_helper_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
netbird_helper_SOURCES = %D%/main.c
netbird_helper_LDADD = %D%/libnbh-app.a %D%/libnbh-launcher.a src/mgmt/libnbh-mgmt.a src/signal/libnbh-signal.a \
	src/ice/libnbh-ice.a src/path/libnbh-path.a src/sink/libnbh-sink.a src/net/libnbh-net.a \
	src/wire/libnbh-wire.a src/core/libnbh-core.a src/base/libnbh-base.a \
	$(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(PROTOBUF_C_LIBS) $(MNL_LIBS) $(JSON_C_LIBS) $(SODIUM_LIBS) $(GLIB_LIBS)
