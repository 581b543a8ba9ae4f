noinst_LIBRARIES += %D%/libnbh-ice.a
%C%_libnbh_ice_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_ice_a_SOURCES =
EXTRA_DIST += %D%/README.md
