/* SPDX-License-Identifier: Apache-2.0 */
/* What each XID asks for (DEV-1, SUP-8). The table is written here once more, in the words of NVIDIA's lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/gpu.h"
#include "gpu/xid.h"
#include "util/str.h"

#define XID_MAX 400

enum { OTHER, NOTE, APP, RESET, LOST, ASK };

static const struct {
    int what;
    const char *xids;
} table[] = {
    {NOTE, "14 37 38 44 66 67 92 93 106-108 121 137 141 152 153 157 160 161 63"},
    {APP, "8 11 13 25 31 32 39-41 43 45 60 68-72 75-77 80 82-86 88 89 94 96-105 126-135 139 109"},
    {RESET, "46 48 62 64 74 95 110 119 120 136 140 143 155 156 158"},
    {LOST, "79"},
    {ASK, "54 78 144-151 154 159"},
};

static unsigned char wanted[XID_MAX];

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < PM_ARRAY_LEN(table); i++) {
        char *text = pm_xstrdup(table[i].xids), *rest = NULL;

        for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
            int from = atoi(word), to = strchr(word, '-') ? atoi(strchr(word, '-') + 1) : from;

            for (; from <= to; from++)
                wanted[from] = (unsigned char)table[i].what;
        }
        free(text);
    }
    return 0;
}

static enum pm_xid_action action(int what)
{
    return what == APP     ? PM_XID_APP
           : what == RESET ? PM_XID_RESET
           : what == LOST  ? PM_XID_LOST
                           : PM_XID_NOTE;
}

static struct pm_xid_verdict judge(int xid, int recovery)
{
    struct pm_xid_memory memory = {0};

    return pm_xid_judge(xid, recovery, false, 1000, &memory);
}

static void test_each_xid_asks_for_what_the_table_says(void **state)
{
    (void)state;
    for (int xid = 0; xid < XID_MAX; xid++) {
        struct pm_xid_verdict verdict = judge(xid, PM_GPU_UNKNOWN);

        if (pm_xid_action(xid) != action(wanted[xid]) || verdict.action != action(wanted[xid]))
            fail_msg("XID %d asks for %d", xid, verdict.action);
        assert_int_equal(verdict.known, wanted[xid] != OTHER && wanted[xid] != ASK);
        assert_int_equal(verdict.remap_pending, xid == 63 || xid == 94);
    }
}

static void test_the_more_severe_of_table_and_driver_counts(void **state)
{
    static const int answers[] = {NOTE, RESET, LOST, APP, RESET}; /* of the driver, by its number */

    (void)state;
    for (int xid = 0; xid < XID_MAX; xid++) {
        for (int recovery = 0; recovery < 5; recovery++) {
            enum pm_xid_action both[] = {action(wanted[xid]), action(answers[recovery])};
            struct pm_xid_verdict verdict = judge(xid, recovery);

            assert_int_equal(verdict.action, both[both[1] > both[0]]);
            assert_int_equal(verdict.known, wanted[xid] != OTHER);
        }
    }
}

static void test_109_twice_within_ten_minutes_is_a_reset(void **state)
{
    struct pm_xid_memory memory = {0};
    uint64_t now = 5;

    (void)state;
    assert_int_equal(pm_xid_judge(109, -1, false, now, &memory).action, PM_XID_APP);
    now += PM_XID_REPEAT_MS;
    assert_int_equal(pm_xid_judge(109, -1, false, now, &memory).action, PM_XID_APP);
    (void)pm_xid_judge(31, -1, false, now + 1, &memory);
    now += PM_XID_REPEAT_MS - 1;
    assert_int_equal(pm_xid_judge(109, -1, false, now, &memory).action, PM_XID_RESET);
    assert_int_equal(pm_xid_judge(109, 2, false, now, &memory).action, PM_XID_LOST);
}

static void test_45_behind_our_own_stop_is_its_echo(void **state)
{
    struct pm_xid_memory memory = {0};

    (void)state;
    assert_int_equal(pm_xid_judge(45, -1, true, 0, &memory).action, PM_XID_NOTE);
    assert_int_equal(pm_xid_judge(45, 1, true, 0, &memory).action, PM_XID_RESET);
    assert_int_equal(pm_xid_judge(31, -1, true, 0, &memory).action, PM_XID_APP);
}

/* ---- what XIDs make of a device ---------------------------------------------------------------------- */

static struct pm_gpu_seen gpu_that(enum pm_device_state state, int recovery, int64_t n_ecc)
{
    return (struct pm_gpu_seen){.state = state, .recovery = recovery, .n_ecc_uncorrected = n_ecc};
}

static enum pm_device_state state_of(struct pm_xid_memory *memory, enum pm_device_state state,
                                     int recovery, int64_t n_ecc)
{
    struct pm_gpu_seen gpu = gpu_that(state, recovery, n_ecc);

    pm_xid_see(memory, &gpu);
    return pm_xid_state(memory, gpu.state);
}

static void test_without_an_xid_a_device_is_as_it_is_seen(void **state)
{
    struct pm_xid_memory memory = {0};

    (void)state;
    (void)pm_xid_judge(31, -1, false, 0, &memory);
    for (int i = 0; i < PM_DEVICE_STATE_COUNT; i++)
        assert_int_equal(state_of(&memory, (enum pm_device_state)i, -1, -1), i);
}

static void test_an_xid_holds_where_the_driver_cannot_ask(void **state)
{
    struct pm_xid_memory memory = {0};

    (void)state;
    (void)pm_xid_judge(48, -1, false, 0, &memory);
    for (int i = 0; i < 100; i++)
        assert_int_equal(state_of(&memory, PM_DEVICE_OK, -1, -1), PM_DEVICE_RESET_REQUIRED);
    assert_int_equal(state_of(&memory, PM_DEVICE_UNKNOWN, -1, -1), PM_DEVICE_RESET_REQUIRED);
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, -1, -1), PM_DEVICE_RESET_REQUIRED);
    (void)pm_xid_judge(79, -1, false, 0, &memory);
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, -1, -1), PM_DEVICE_LOST);
    (void)pm_xid_judge(62, -1, false, 0, &memory); /* no better by one that weighs less */
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, -1, -1), PM_DEVICE_LOST);
    memory = (struct pm_xid_memory){0}; /* an operator says so */
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, -1, -1), PM_DEVICE_OK);
}

static void test_a_reset_that_is_seen_ends_it(void **state)
{
    struct pm_xid_memory memory = {0};

    (void)state;
    (void)pm_xid_judge(95, 0, false, 0,
                       &memory); /* the driver asks for nothing, and the table weighs more */
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, 0, -1), PM_DEVICE_RESET_REQUIRED);
    assert_int_equal(state_of(&memory, PM_DEVICE_RESET_REQUIRED, 1, -1), PM_DEVICE_RESET_REQUIRED);
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, 0, -1), PM_DEVICE_OK);

    (void)pm_xid_judge(48, -1, false, 0, &memory);
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, -1, 2), PM_DEVICE_RESET_REQUIRED);
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, -1, 2), PM_DEVICE_RESET_REQUIRED);
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, -1, 0), PM_DEVICE_OK); /* it counts anew */

    (void)pm_xid_judge(79, -1, false, 0, &memory);
    assert_int_equal(state_of(&memory, PM_DEVICE_LOST, -1, -1), PM_DEVICE_LOST);
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, -1, -1), PM_DEVICE_OK);

    (void)pm_xid_judge(154, 1, false, 0, &memory); /* the driver's own word */
    assert_int_equal(state_of(&memory, PM_DEVICE_OK, 0, -1), PM_DEVICE_OK);
}

static void test_texts_are_there_for_people(void **state)
{
    (void)state;
    assert_string_equal(pm_xid_text(79), "the GPU has fallen off the bus");
    assert_string_equal(pm_xid_text(-1), "");
    for (int xid = 0; xid < XID_MAX; xid++)
        assert_true(strlen(pm_xid_text(xid)) <= 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_xid_asks_for_what_the_table_says),
        cmocka_unit_test(test_the_more_severe_of_table_and_driver_counts),
        cmocka_unit_test(test_109_twice_within_ten_minutes_is_a_reset),
        cmocka_unit_test(test_45_behind_our_own_stop_is_its_echo),
        cmocka_unit_test(test_without_an_xid_a_device_is_as_it_is_seen),
        cmocka_unit_test(test_an_xid_holds_where_the_driver_cannot_ask),
        cmocka_unit_test(test_a_reset_that_is_seen_ends_it),
        cmocka_unit_test(test_texts_are_there_for_people),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
