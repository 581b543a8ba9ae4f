noinst_LIBRARIES += %D%/libnbh-path.a
%C%_libnbh_path_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_path_a_SOURCES = %D%/loopback.c %D%/loopback.h
EXTRA_DIST += %D%/README.md
