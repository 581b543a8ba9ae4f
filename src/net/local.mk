noinst_LIBRARIES += %D%/libnbh-net.a
%C%_libnbh_net_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(NGHTTP2_CFLAGS) $(OPENSSL_CFLAGS) $(MNL_CFLAGS)
%C%_libnbh_net_a_SOURCES = \
	%D%/dial.c %D%/dial.h \
	%D%/grpc.c %D%/grpc.h %D%/grpc-call.c %D%/grpc-pace.c %D%/grpc-private.h %D%/grpc-transport.c \
	%D%/netmon.c %D%/netmon.h \
	%D%/proxy.c %D%/proxy.h \
	%D%/resolver.c %D%/resolver.h \
	%D%/stream.c %D%/stream.h \
	%D%/tls.c %D%/tls.h %D%/tls-text.c %D%/tls-text.h
EXTRA_DIST += %D%/README.md
%C%_libnbh_net_a_SOURCES += %D%/h2guard.c %D%/h2guard.h %D%/h2srv.c %D%/h2srv.h %D%/h2srv-call.c %D%/h2srv-private.h
