noinst_LIBRARIES += %D%/libnbh-sink.a
%C%_libnbh_sink_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_sink_a_SOURCES =
EXTRA_DIST += %D%/README.md
