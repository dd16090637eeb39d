/* SPDX-License-Identifier: Apache-2.0 */
/* The cheap checks before every start (LOAD-2): what refuses one, in which words, and what they cost. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "provision/start.h"
#include "util/cleanup.h"
#include "util/str.h"
#include "util/time.h"

#define MIB (UINT64_C(1) << 20)

static const struct pm_start_facts good = {.folder_known = true,
                                           .folder_free_bytes = 100 * MIB,
                                           .inodes_known = true,
                                           .n_free_inodes = 1000,
                                           .descriptors_known = true,
                                           .n_free_descriptors = 8};

static void test_each_shortage_refuses_a_start_with_its_own_code(void **state)
{
    static const struct {
        struct pm_start_facts facts;
        int code;
        const char *text;
    } rows[] = {
        {{.folder_error = EROFS}, POOLMGR_E_FOLDER_DENIED, "Read-only"},
        {{.folder_known = true, .folder_free_bytes = 1000}, POOLMGR_E_DISK_FULL, "1000 B left"},
        {{.folder_known = true,
          .folder_free_bytes = 100 * MIB,
          .inodes_known = true,
          .n_free_inodes = 3},
         POOLMGR_E_DISK_FULL,
         "3 files"},
        {{.descriptors_known = true, .n_free_descriptors = 7},
         POOLMGR_E_DESCRIPTORS_SHORT,
         "7 descriptors"},
    };

    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(rows); i++) {
        struct pm_start_needs needs = {"/run/poolmgr/instances"};
        struct poolmgr_error err = {0};

        assert_int_equal(pm_start_judge(&rows[i].facts, &needs, &err), rows[i].code);
        assert_int_equal(err.code, rows[i].code);
        assert_non_null(strstr(err.message, rows[i].text));
        assert_true(err.hint[0] != '\0');
    }
}

static void test_what_is_enough_or_unknown_refuses_nothing(void **state)
{
    static const struct pm_start_facts unknown;
    struct pm_start_needs needs = {"/run/poolmgr/instances"};

    (void)state;
    assert_int_equal(pm_start_judge(&good, &needs, NULL), 0);
    assert_int_equal(pm_start_judge(&unknown, &needs, NULL), 0);
}

static void test_the_folder_is_seen(void **state)
{
    struct pm_start_needs needs = {"/tmp"};
    struct pm_start_facts facts;

    (void)state;
    pm_start_look(&needs, &facts);
    assert_int_equal(facts.folder_error, 0);
    assert_true(facts.folder_known && facts.folder_free_bytes > 0);
    needs = (struct pm_start_needs){"/tmp/there-is-no-such-folder"};
    pm_start_look(&needs, &facts);
    assert_int_equal(facts.folder_error, ENOENT);
}

static void test_descriptors_that_are_left_are_counted_and_given_back(void **state)
{
    struct pm_start_needs needs = {"/tmp"};
    struct rlimit before, few;
    struct pm_start_facts facts;
    int first;

    (void)state;
    pm_start_look(&needs, &facts);
    assert_true(facts.descriptors_known);
    assert_int_equal(facts.n_free_descriptors, 8);
    first = dup(0);
    (void)close(first);

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)first + 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    pm_start_look(&needs, &facts);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(facts.descriptors_known);
    assert_int_equal(facts.n_free_descriptors, 3);
    assert_int_equal(dup(0), first); /* none is left open */
    (void)close(first);
}

static void test_looking_costs_microseconds(void **state)
{
    struct pm_start_needs needs = {"/tmp"};
    uint64_t best_ns = UINT64_MAX;
    struct pm_start_facts facts;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        uint64_t began_ns = pm_monotonic_ns(), ns;

        pm_start_look(&needs, &facts);
        assert_int_equal(pm_start_judge(&facts, &needs, NULL), 0);
        ns = pm_monotonic_ns() - began_ns;
        best_ns = ns < best_ns ? ns : best_ns;
    }
    printf("# the checks before a start: %.1f us\n", (double)best_ns / 1000);
    assert_true(best_ns < 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_shortage_refuses_a_start_with_its_own_code),
        cmocka_unit_test(test_what_is_enough_or_unknown_refuses_nothing),
        cmocka_unit_test(test_the_folder_is_seen),
        cmocka_unit_test(test_descriptors_that_are_left_are_counted_and_given_back),
        cmocka_unit_test(test_looking_costs_microseconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
