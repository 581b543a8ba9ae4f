noinst_LIBRARIES += %D%/libnbh-signal.a
%C%_libnbh_signal_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS)
%C%_libnbh_signal_a_SOURCES = \
	%D%/sendline.c %D%/sendline.h \
	%D%/signal-grpc.c %D%/signal-grpc.h %D%/signal-pair.c %D%/signal-pair.h %D%/signal.h
EXTRA_DIST += %D%/README.md
