# The helper's end of ice.sock: linked into netbird-helper, no libnice.
noinst_LIBRARIES += %D%/libnbh-ice.a
%C%_libnbh_ice_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_ice_a_SOURCES = \
	%D%/ice.h \
	%D%/ice-fake.c %D%/ice-fake.h \
	%D%/ice-process.c \
	%D%/link.c %D%/link.h \
	%D%/proto.c %D%/proto.h

# netbird-ice without its main(), for its tests.
noinst_LIBRARIES += %D%/libnbh-iced.a
%C%_libnbh_iced_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NICE_CFLAGS) $(MNL_CFLAGS)
%C%_libnbh_iced_a_SOURCES = \
	%D%/agent.c %D%/agent.h \
	%D%/isolate.c %D%/isolate.h \
	%D%/packet.c %D%/packet.h \
	%D%/port.c %D%/port.h \
	%D%/query.c %D%/query.h \
	%D%/rawsock.c %D%/rawsock.h \
	%D%/respond.c %D%/respond.h \
	%D%/server.c %D%/server.h \
	%D%/sessions.c %D%/sessions.h \
	%D%/store.c %D%/store.h \
	%D%/tun.c %D%/tun.h \
	%D%/txid.c %D%/txid.h

ICED_LIBS = %D%/libnbh-iced.a %D%/libnbh-ice.a src/wire/libnbh-wire.a src/core/libnbh-core.a \
	$(BASE_LIBS) $(NICE_LIBS) $(MNL_LIBS) $(GLIB_LIBS)

sbin_PROGRAMS += netbird-ice
netbird_ice_SOURCES = %D%/main.c
netbird_ice_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NICE_CFLAGS)
netbird_ice_LDADD = $(ICED_LIBS)
EXTRA_DIST += %D%/README.md
