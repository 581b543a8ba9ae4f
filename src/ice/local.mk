# The helper's end of ice.sock: linked into netbird-helper, no libnice.
noinst_LIBRARIES += %D%/libnbh-ice.a
%C%_libnbh_ice_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_ice_a_SOURCES = \
	%D%/ice.h \
	%D%/ice-fake.c %D%/ice-fake.h \
	%D%/ice-process.c \
	%D%/link.c %D%/link.h \
	%D%/proto.c %D%/proto.h
EXTRA_DIST += %D%/README.md
