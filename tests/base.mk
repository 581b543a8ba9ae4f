# Tests of src/base, of the launcher and of the checkers in scripts/.
EXTRA_DIST += %D%/lib/tap.h

BASE_UNIT_TESTS = %D%/unit/test-base-addr %D%/unit/test-base-key %D%/unit/test-base-atomicfile \
	%D%/unit/test-base-json %D%/unit/test-base-files %D%/unit/test-base-log %D%/unit/test-base-confine \
	%D%/unit/test-base-hostile-files %D%/unit/test-base-ending
check_PROGRAMS += $(BASE_UNIT_TESTS)
TESTS += $(BASE_UNIT_TESTS)
%C%_unit_test_base_addr_SOURCES = %D%/unit/test-base-addr.c
%C%_unit_test_base_addr_LDADD = $(BASE_LIBS)
%C%_unit_test_base_key_SOURCES = %D%/unit/test-base-key.c
%C%_unit_test_base_key_LDADD = $(BASE_LIBS)
%C%_unit_test_base_atomicfile_SOURCES = %D%/unit/test-base-atomicfile.c
%C%_unit_test_base_atomicfile_LDADD = $(BASE_LIBS)
%C%_unit_test_base_json_SOURCES = %D%/unit/test-base-json.c
%C%_unit_test_base_json_LDADD = $(BASE_LIBS)
%C%_unit_test_base_files_SOURCES = %D%/unit/test-base-files.c
%C%_unit_test_base_files_LDADD = $(BASE_LIBS)
%C%_unit_test_base_hostile_files_SOURCES = %D%/unit/test-base-hostile-files.c
%C%_unit_test_base_hostile_files_LDADD = $(BASE_LIBS)
%C%_unit_test_base_log_SOURCES = %D%/unit/test-base-log.c
%C%_unit_test_base_log_LDADD = $(BASE_LIBS)
%C%_unit_test_base_confine_SOURCES = %D%/unit/test-base-confine.c
%C%_unit_test_base_confine_LDADD = $(BASE_LIBS)
%C%_unit_test_base_ending_SOURCES = %D%/unit/test-base-ending.c
%C%_unit_test_base_ending_LDADD = $(BASE_LIBS)

# Golden files: what the writers make, the readers take and the man pages show.
EXTRA_DIST += %D%/data/config.json %D%/data/device.json %D%/data/peers.json %D%/data/wg-status.json
# One file per mistake; expected.txt names the message.
EXTRA_DIST += %D%/data/hostile/expected.txt \
	%D%/data/hostile/config-blacklist-33.json \
	%D%/data/hostile/config-blacklist.json \
	%D%/data/hostile/config-ca.json \
	%D%/data/hostile/config-hostname.json \
	%D%/data/hostile/config-proxy-https.json \
	%D%/data/hostile/config-proxy.json \
	%D%/data/hostile/config-level.json \
	%D%/data/hostile/config-psk.json \
	%D%/data/hostile/config-setup-key.json \
	%D%/data/hostile/config-url.json \
	%D%/data/hostile/device-17-addresses.json \
	%D%/data/hostile/device-long-name.json \
	%D%/data/hostile/device-mtu.json \
	%D%/data/hostile/device-multicast.json \
	%D%/data/hostile/device-name.json \
	%D%/data/hostile/device-no-address.json \
	%D%/data/hostile/device-no-port.json \
	%D%/data/hostile/device-plain-address.json \
	%D%/data/hostile/device-port-0.json \
	%D%/data/hostile/device-twice.json \
	%D%/data/hostile/device-unknown.json \
	%D%/data/hostile/device-userspace.json \
	%D%/data/hostile/peers-array.json \
	%D%/data/hostile/peers-bad-key.json \
	%D%/data/hostile/peers-control.json \
	%D%/data/hostile/peers-deep.json \
	%D%/data/hostile/peers-empty.json \
	%D%/data/hostile/peers-endpoint-name.json \
	%D%/data/hostile/peers-endpoint-object.json \
	%D%/data/hostile/peers-endpoint-zone.json \
	%D%/data/hostile/peers-huge-number.json \
	%D%/data/hostile/peers-keepalive-65536.json \
	%D%/data/hostile/peers-latin1.json \
	%D%/data/hostile/peers-missing-key.json \
	%D%/data/hostile/peers-no-peers.json \
	%D%/data/hostile/peers-nul.json \
	%D%/data/hostile/peers-null.json \
	%D%/data/hostile/peers-plain-address.json \
	%D%/data/hostile/peers-port-0.json \
	%D%/data/hostile/peers-port-70000.json \
	%D%/data/hostile/peers-prefix-33.json \
	%D%/data/hostile/peers-psk-as-object.json \
	%D%/data/hostile/peers-repeated-key.json \
	%D%/data/hostile/peers-repeated-top.json \
	%D%/data/hostile/peers-same-key.json \
	%D%/data/hostile/peers-same-prefix.json \
	%D%/data/hostile/peers-single-quotes.json \
	%D%/data/hostile/peers-trailing-comma.json \
	%D%/data/hostile/peers-trailing-text.json \
	%D%/data/hostile/peers-truncated.json \
	%D%/data/hostile/peers-unknown-key.json \
	%D%/data/hostile/peers-unknown-top.json \
	%D%/data/hostile/peers-version-2.json \
	%D%/data/hostile/peers-zero-key.json \
	%D%/data/hostile/wgstatus-key.json \
	%D%/data/hostile/wgstatus-negative.json \
	%D%/data/hostile/wgstatus-peers.json \
	%D%/data/hostile/wgstatus-time.json

# The checkers of scripts/ on trees with one mistake each.
dist_check_SCRIPTS += %D%/unit/test-checkers
TESTS += %D%/unit/test-checkers

# The launcher alone, with fakes of what it starts; needs root.
check_PROGRAMS += %D%/lib/launcher-main %D%/lib/fake-child
%C%_lib_launcher_main_SOURCES = %D%/lib/launcher-main.c
%C%_lib_launcher_main_LDADD = src/app/libnbh-launcher.a $(BASE_LIBS)
%C%_lib_fake_child_SOURCES = %D%/lib/fake-child.c
%C%_lib_fake_child_LDADD = $(BASE_LIBS)
dist_check_SCRIPTS += %D%/unit/test-launcher %D%/unit/test-units
TESTS += %D%/unit/test-launcher %D%/unit/test-units
EXTRA_DIST += %D%/units/run %D%/units/inside
