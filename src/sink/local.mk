noinst_LIBRARIES += %D%/libnbh-sink.a
%C%_libnbh_sink_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_sink_a_SOURCES = %D%/publish.c %D%/publish.h
EXTRA_DIST += %D%/README.md
