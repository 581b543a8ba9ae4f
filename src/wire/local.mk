noinst_LIBRARIES += %D%/libnbh-wire.a
%C%_libnbh_wire_a_CFLAGS = $(AM_CFLAGS) $(GLIB_CFLAGS) $(PROTOBUF_C_CFLAGS) $(SODIUM_CFLAGS)
%C%_libnbh_wire_a_SOURCES = \
	%D%/box.c %D%/box.h \
	%D%/error.c %D%/error.h \
	%D%/hostport.c %D%/hostport.h \
	%D%/mgmtmsg-client.c \
	%D%/mgmtmsg-hub.c \
	%D%/mgmtmsg.c %D%/mgmtmsg.h \
	%D%/pb.c %D%/pb.h \
	%D%/signalmsg.c %D%/signalmsg.h \
	%D%/stun-uri.c \
	%D%/stun.c %D%/stun.h
nodist_%C%_libnbh_wire_a_SOURCES = $(wire_generated)

# For every program that uses src/wire; before $(BASE_LIBS) $(GLIB_LIBS).
WIRE_LIBS = %D%/libnbh-wire.a src/core/libnbh-core.a $(PROTOBUF_C_LIBS)

# Made from the .proto files at build time, in the build directory, never distributed.
wire_generated = \
	%D%/management.pb-c.c %D%/management.pb-c.h \
	%D%/signal.pb-c.c %D%/signal.pb-c.h
BUILT_SOURCES += $(wire_generated)
CLEANFILES += $(wire_generated)

# One run makes both files; the header is touched so that it is never older than its .proto.
%D%/management.pb-c.c: %D%/management.proto
	$(AM_V_GEN)$(MKDIR_P) %D% && $(PROTOC_C) --proto_path=$(srcdir)/%D% --c_out=%D% $(srcdir)/%D%/management.proto \
		&& touch %D%/management.pb-c.h
%D%/signal.pb-c.c: %D%/signal.proto
	$(AM_V_GEN)$(MKDIR_P) %D% && $(PROTOC_C) --proto_path=$(srcdir)/%D% --c_out=%D% $(srcdir)/%D%/signal.proto \
		&& touch %D%/signal.pb-c.h
%D%/management.pb-c.h: %D%/management.pb-c.c
	@test -f $@ || { rm -f $< && $(MAKE) $(AM_MAKEFLAGS) $<; }
%D%/signal.pb-c.h: %D%/signal.pb-c.c
	@test -f $@ || { rm -f $< && $(MAKE) $(AM_MAKEFLAGS) $<; }

# So that the library can be made alone, without "make all".
$(%C%_libnbh_wire_a_OBJECTS): %D%/management.pb-c.h %D%/signal.pb-c.h

EXTRA_DIST += %D%/README.md %D%/management.proto %D%/signal.proto
