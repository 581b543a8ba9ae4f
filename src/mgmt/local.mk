noinst_LIBRARIES += %D%/libnbh-mgmt.a
%C%_libnbh_mgmt_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_mgmt_a_SOURCES = %D%/mgmt-grpc.c %D%/mgmt-grpc.h %D%/mgmt.h
EXTRA_DIST += %D%/README.md
