noinst_LIBRARIES += %D%/libnbh-base.a
%C%_libnbh_base_a_CFLAGS = $(AM_CFLAGS)
%C%_libnbh_base_a_SOURCES =
EXTRA_DIST += %D%/README.md
%C%_libnbh_base_a_SOURCES += %D%/notify.c %D%/notify.h
