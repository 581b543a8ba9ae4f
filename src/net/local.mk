noinst_LIBRARIES += %D%/libnbh-net.a
%C%_libnbh_net_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_net_a_SOURCES =
EXTRA_DIST += %D%/README.md
