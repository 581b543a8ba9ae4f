# The hub: everything but main() in a library, so that tests can run one in their own process.
noinst_LIBRARIES += %D%/libnbh-hub.a
%C%_libnbh_hub_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(SQLITE_CFLAGS)
%C%_libnbh_hub_a_SOURCES = \
	%D%/admin.c %D%/admin.h \
	%D%/call.h \
	%D%/datadir.c %D%/datadir.h \
	%D%/front.c %D%/front.h \
	%D%/gate.c %D%/gate.h \
	%D%/hub.c %D%/hub.h \
	%D%/label.c %D%/label.h \
	%D%/maps.c %D%/maps.h \
	%D%/mgmtsvc.c %D%/mgmtsvc.h \
	%D%/options.c %D%/options.h \
	%D%/overlay.c %D%/overlay.h \
	%D%/registry.c %D%/registry.h \
	%D%/setupkey.c %D%/setupkey.h \
	%D%/signalsvc.c %D%/signalsvc.h \
	%D%/store.c %D%/store.h \
	%D%/stunsvc.c %D%/stunsvc.h \
	%D%/throttle.c %D%/throttle.h

HUB_LIBS = %D%/libnbh-hub.a src/net/libnbh-net.a $(WIRE_LIBS) $(BASE_LIBS) \
	$(NGHTTP2_LIBS) $(OPENSSL_LIBS) $(MNL_LIBS) $(SQLITE_LIBS) $(GLIB_LIBS)

sbin_PROGRAMS += netbird-hub
netbird_hub_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
netbird_hub_SOURCES = %D%/main.c
netbird_hub_LDADD = $(HUB_LIBS)

EXTRA_DIST += %D%/README.md
