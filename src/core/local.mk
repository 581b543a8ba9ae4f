noinst_LIBRARIES += %D%/libnbh-core.a
%C%_libnbh_core_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_core_a_SOURCES =
EXTRA_DIST += %D%/README.md
