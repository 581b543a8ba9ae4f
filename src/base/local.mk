noinst_LIBRARIES += %D%/libnbh-base.a
%C%_libnbh_base_a_CFLAGS = $(AM_CFLAGS)
%C%_libnbh_base_a_SOURCES = \
	%D%/addr.c %D%/addr.h \
	%D%/atomicfile.c %D%/atomicfile.h \
	%D%/configfile.c %D%/configfile.h \
	%D%/confine.c %D%/confine.h \
	%D%/ending.c %D%/ending.h \
	%D%/devicefile.c %D%/devicefile.h \
	%D%/icetun.h \
	%D%/json.c %D%/json.h \
	%D%/jsonscan.c %D%/jsonscan.h \
	%D%/jsonw.c \
	%D%/key.c %D%/key.h \
	%D%/limits.h \
	%D%/lock.c %D%/lock.h \
	%D%/log.c %D%/log.h \
	%D%/macros.h \
	%D%/mono.c %D%/mono.h \
	%D%/notify.c %D%/notify.h \
	%D%/peersfile.c %D%/peersfile.h \
	%D%/schema.c %D%/schema.h \
	%D%/statusfile.c %D%/statusfile.h \
	%D%/text.c %D%/text.h \
	%D%/why.c %D%/why.h
EXTRA_DIST += %D%/README.md
