noinst_LIBRARIES += %D%/libnbh-core.a
%C%_libnbh_core_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_core_a_SOURCES = \
	%D%/allowance.c %D%/allowance.h \
	%D%/backoff.c %D%/backoff.h \
	%D%/candidate.c %D%/candidate.h \
	%D%/conn.c %D%/conn-act.c %D%/conn-names.c %D%/conn.h %D%/conn-private.h \
	%D%/netmap.c %D%/netmap.h \
	%D%/outlook.c %D%/outlook.h \
	%D%/peerset.c %D%/peerset.h \
	%D%/version.h
EXTRA_DIST += %D%/README.md
