EXTRA_DIST += %D%/README.md
EXTRA_DIST += %D%/install-deps %D%/check %D%/demo %D%/demo-lab %D%/own-root %D%/interop %D%/bench
EXTRA_DIST += %D%/check-layers %D%/check-banned %D%/check-headers %D%/check-limits %D%/layers.txt

# Part of make check: who includes whom, what is banned, limits without a test, headers that compile alone.
HEADERS_CC = $(CC) $(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) $(CPPFLAGS) $(AM_CFLAGS) $(CFLAGS) \
	$(GLIB_CFLAGS) $(NICE_CFLAGS) $(NGHTTP2_CFLAGS) $(PROTOBUF_C_CFLAGS) $(SODIUM_CFLAGS) \
	$(JSON_C_CFLAGS) $(MNL_CFLAGS) $(SQLITE_CFLAGS)

check-local: $(BUILT_SOURCES)
	@python3 $(srcdir)/%D%/check-layers $(srcdir)
	@python3 $(srcdir)/%D%/check-banned $(srcdir)
	@python3 $(srcdir)/%D%/check-limits $(srcdir)
	@python3 $(srcdir)/%D%/check-headers $(srcdir) $(HEADERS_CC)

# systemd: units, users, directories.
EXTRA_DIST += %D%/units/README.md %D%/units/netbird-helper.service.in %D%/units/netbird-ice.service.in \
	%D%/units/netbird-wg.service.in %D%/units/sysusers.d/netbird-helper.conf \
	%D%/units/tmpfiles.d/netbird-helper.conf %D%/units/wg-userspace.conf
if UNITS
systemdsystemunit_DATA = %D%/units/netbird-helper.service %D%/units/netbird-ice.service \
	%D%/units/netbird-wg.service
unitsexampledir = $(pkgdatadir)
unitsexample_DATA = %D%/units/wg-userspace.conf
sysusersdir = $(prefix)/lib/sysusers.d
sysusers_DATA = %D%/units/sysusers.d/netbird-helper.conf
tmpfilesdir = $(prefix)/lib/tmpfiles.d
tmpfiles_DATA = %D%/units/tmpfiles.d/netbird-helper.conf
CLEANFILES += $(systemdsystemunit_DATA)

SUFFIXES = .service.in .service
.service.in.service:
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) 's,@sbindir[@],$(sbindir),g' $< > $@.tmp && mv $@.tmp $@
endif
