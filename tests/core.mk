# Tests of src/core: pure code, so no network, no clock, no files.
core_test_cflags = $(AM_CFLAGS) $(GLIB_CFLAGS)
core_test_ldadd = src/core/libnbh-core.a $(BASE_LIBS) $(GLIB_LIBS)

check_PROGRAMS += %D%/unit/test-core-allowance
TESTS += %D%/unit/test-core-allowance
%C%_unit_test_core_allowance_SOURCES = %D%/unit/test-core-allowance.c
%C%_unit_test_core_allowance_CFLAGS = $(core_test_cflags)
%C%_unit_test_core_allowance_LDADD = $(core_test_ldadd)

check_PROGRAMS += %D%/unit/test-core-backoff
TESTS += %D%/unit/test-core-backoff
%C%_unit_test_core_backoff_SOURCES = %D%/unit/test-core-backoff.c
%C%_unit_test_core_backoff_CFLAGS = $(core_test_cflags)
%C%_unit_test_core_backoff_LDADD = $(core_test_ldadd)

check_PROGRAMS += %D%/unit/test-core-candidate
TESTS += %D%/unit/test-core-candidate
%C%_unit_test_core_candidate_SOURCES = %D%/unit/test-core-candidate.c
%C%_unit_test_core_candidate_CFLAGS = $(core_test_cflags)
%C%_unit_test_core_candidate_LDADD = $(core_test_ldadd)

check_PROGRAMS += %D%/unit/test-core-netmap
TESTS += %D%/unit/test-core-netmap
%C%_unit_test_core_netmap_SOURCES = %D%/unit/test-core-netmap.c
%C%_unit_test_core_netmap_CFLAGS = $(core_test_cflags)
%C%_unit_test_core_netmap_LDADD = $(core_test_ldadd)

check_PROGRAMS += %D%/unit/test-core-outlook
TESTS += %D%/unit/test-core-outlook
%C%_unit_test_core_outlook_SOURCES = %D%/unit/test-core-outlook.c
%C%_unit_test_core_outlook_CFLAGS = $(core_test_cflags)
%C%_unit_test_core_outlook_LDADD = $(core_test_ldadd)

check_PROGRAMS += %D%/unit/test-core-peerset
TESTS += %D%/unit/test-core-peerset
%C%_unit_test_core_peerset_SOURCES = %D%/unit/test-core-peerset.c
%C%_unit_test_core_peerset_CFLAGS = $(core_test_cflags)
%C%_unit_test_core_peerset_LDADD = $(core_test_ldadd)

check_PROGRAMS += %D%/unit/test-conn
TESTS += %D%/unit/test-conn
%C%_unit_test_conn_SOURCES = %D%/unit/test-conn.c %D%/lib/connrig.c %D%/lib/connrig.h
%C%_unit_test_conn_CFLAGS = $(core_test_cflags)
%C%_unit_test_conn_LDADD = $(core_test_ldadd)

check_PROGRAMS += %D%/unit/test-conn-paths
TESTS += %D%/unit/test-conn-paths
%C%_unit_test_conn_paths_SOURCES = %D%/unit/test-conn-paths.c %D%/lib/connrig.c %D%/lib/connrig.h
%C%_unit_test_conn_paths_CFLAGS = $(core_test_cflags)
%C%_unit_test_conn_paths_LDADD = $(core_test_ldadd)

check_PROGRAMS += %D%/scenario/test-conn-pair
TESTS += %D%/scenario/test-conn-pair
%C%_scenario_test_conn_pair_SOURCES = %D%/scenario/test-conn-pair.c \
	%D%/lib/connworld.c %D%/lib/connworld-official.c %D%/lib/connworld.h
%C%_scenario_test_conn_pair_CFLAGS = $(core_test_cflags)
%C%_scenario_test_conn_pair_LDADD = $(core_test_ldadd)
