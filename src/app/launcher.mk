# The launcher: no GLib, so that what runs as root stays small.
noinst_LIBRARIES += %D%/libnbh-launcher.a
%C%_libnbh_launcher_a_CFLAGS = $(AM_CFLAGS)
%C%_libnbh_launcher_a_SOURCES = \
	%D%/confdir.c %D%/confdir.h \
	%D%/launch.c %D%/launch.h \
	%D%/launcher.c %D%/launcher.h \
	%D%/users.c %D%/users.h
