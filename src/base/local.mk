noinst_LIBRARIES += %D%/libnbh-base.a
%C%_libnbh_base_a_CFLAGS = $(AM_CFLAGS)
%C%_libnbh_base_a_SOURCES = \
	%D%/addr.c %D%/addr.h \
	%D%/atomicfile.c %D%/atomicfile.h \
	%D%/configfile.h \
	%D%/devicefile.h \
	%D%/json.h \
	%D%/key.c %D%/key.h \
	%D%/limits.h \
	%D%/log.c %D%/log.h \
	%D%/macros.h \
	%D%/mono.c %D%/mono.h \
	%D%/peersfile.h \
	%D%/statusfile.h \
	%D%/why.c %D%/why.h
EXTRA_DIST += %D%/README.md
%C%_libnbh_base_a_SOURCES += %D%/notify.c %D%/notify.h
