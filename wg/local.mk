noinst_LIBRARIES += %D%/libnbh-wg.a
%C%_libnbh_wg_a_CFLAGS = $(AM_CFLAGS) $(MNL_CFLAGS)
%C%_libnbh_wg_a_SOURCES = \
	%D%/addrwatch.c %D%/addrwatch.h \
	%D%/applied.c %D%/applied.h \
	%D%/apply.c %D%/apply.h \
	%D%/backend.h \
	%D%/backend-dryrun.c \
	%D%/backend-fake.c %D%/backend-fake.h \
	%D%/backend-netlink.c \
	%D%/backend-uapi.c %D%/backend-uapi.h \
	%D%/daemon.c %D%/daemon.h \
	%D%/devbuild.c %D%/devbuild.h \
	%D%/genlmsg.c %D%/genlmsg.h \
	%D%/icetun.c %D%/icetun.h \
	%D%/isolate.c %D%/isolate.h \
	%D%/link.c %D%/link.h \
	%D%/nl.c %D%/nl.h \
	%D%/options.c %D%/options.h \
	%D%/plan.c %D%/plan.h \
	%D%/policy.c %D%/policy.h \
	%D%/report.c %D%/report.h \
	%D%/silence.c %D%/silence.h \
	%D%/spawn.c %D%/spawn.h \
	%D%/uapimsg.c %D%/uapimsg.h \
	%D%/wanted.c %D%/wanted.h \
	%D%/watch.c %D%/watch.h

sbin_PROGRAMS += netbird-wg
netbird_wg_SOURCES = %D%/main.c
netbird_wg_CFLAGS = $(AM_CFLAGS)
netbird_wg_LDADD = %D%/libnbh-wg.a $(BASE_LIBS) $(MNL_LIBS)
EXTRA_DIST += %D%/README.md
