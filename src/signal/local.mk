noinst_LIBRARIES += %D%/libnbh-signal.a
%C%_libnbh_signal_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_signal_a_SOURCES =
EXTRA_DIST += %D%/README.md
