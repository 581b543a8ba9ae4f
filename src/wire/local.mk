noinst_LIBRARIES += %D%/libnbh-wire.a
%C%_libnbh_wire_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_wire_a_SOURCES =
EXTRA_DIST += %D%/README.md
