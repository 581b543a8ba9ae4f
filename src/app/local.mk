noinst_LIBRARIES += %D%/libnbh-app.a
%C%_libnbh_app_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_app_a_SOURCES = \
	%D%/peers.c %D%/peers.h %D%/peers-act.c %D%/peers-private.h
EXTRA_DIST += %D%/README.md
