# netbird-wg: tables for what is pure, one contract for all backends, scripts for the whole program.
wg_test_libs = wg/libnbh-wg.a $(BASE_LIBS) $(MNL_LIBS)

wg_unit_tests = %D%/unit/test-wg-plan %D%/unit/test-wg-policy %D%/unit/test-wg-genlmsg \
	%D%/unit/test-wg-report %D%/unit/test-wg-silence
wg_contract_tests = %D%/contract/contract-wg-fake %D%/contract/contract-wg-uapi \
	%D%/contract/contract-wg-netlink
check_PROGRAMS += $(wg_unit_tests) $(wg_contract_tests)
TESTS += $(wg_unit_tests) $(wg_contract_tests)

%C%_unit_test_wg_plan_SOURCES = %D%/unit/test-wg-plan.c %D%/lib/tap.h
%C%_unit_test_wg_plan_CFLAGS = $(AM_CFLAGS)
%C%_unit_test_wg_plan_LDADD = $(wg_test_libs)

%C%_unit_test_wg_policy_SOURCES = %D%/unit/test-wg-policy.c %D%/lib/tap.h
%C%_unit_test_wg_policy_CFLAGS = $(AM_CFLAGS)
%C%_unit_test_wg_policy_LDADD = $(wg_test_libs)

%C%_unit_test_wg_genlmsg_SOURCES = %D%/unit/test-wg-genlmsg.c %D%/lib/tap.h
%C%_unit_test_wg_genlmsg_CFLAGS = $(AM_CFLAGS) $(MNL_CFLAGS)
%C%_unit_test_wg_genlmsg_LDADD = $(wg_test_libs)

%C%_unit_test_wg_report_SOURCES = %D%/unit/test-wg-report.c %D%/lib/tap.h
%C%_unit_test_wg_report_CFLAGS = $(AM_CFLAGS)
%C%_unit_test_wg_report_LDADD = $(wg_test_libs)

%C%_unit_test_wg_silence_SOURCES = %D%/unit/test-wg-silence.c %D%/lib/tap.h
%C%_unit_test_wg_silence_CFLAGS = $(AM_CFLAGS)
%C%_unit_test_wg_silence_LDADD = $(wg_test_libs)

%C%_contract_contract_wg_fake_SOURCES = %D%/contract/contract-wg-backend.c %D%/lib/tap.h
%C%_contract_contract_wg_fake_CPPFLAGS = $(AM_CPPFLAGS) -DBACKEND=wg_backend_fake
%C%_contract_contract_wg_fake_CFLAGS = $(AM_CFLAGS)
%C%_contract_contract_wg_fake_LDADD = $(wg_test_libs)

%C%_contract_contract_wg_uapi_SOURCES = %D%/contract/contract-wg-backend.c %D%/lib/tap.h
%C%_contract_contract_wg_uapi_CPPFLAGS = $(AM_CPPFLAGS) -DBACKEND=wg_backend_uapi
%C%_contract_contract_wg_uapi_CFLAGS = $(AM_CFLAGS)
%C%_contract_contract_wg_uapi_LDADD = $(wg_test_libs)

%C%_contract_contract_wg_netlink_SOURCES = %D%/contract/contract-wg-backend.c %D%/lib/tap.h
%C%_contract_contract_wg_netlink_CPPFLAGS = $(AM_CPPFLAGS) -DBACKEND=wg_backend_netlink
%C%_contract_contract_wg_netlink_CFLAGS = $(AM_CFLAGS)
%C%_contract_contract_wg_netlink_LDADD = $(wg_test_libs)

# Scripts skip with the reason (77) without root, wireguard-go or /dev/net/tun.
wg_scripts = %D%/netns/wg-uapi.sh %D%/netns/wg-bad-input.sh
dist_check_SCRIPTS += $(wg_scripts)
TESTS += $(wg_scripts)
EXTRA_DIST += %D%/lib/wg.sh %D%/lib/vm.sh %D%/vm/run-all %D%/vm/wg-kernel.sh %D%/vm/nat-kernel.py
