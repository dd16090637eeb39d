/* SPDX-License-Identifier: Apache-2.0 */
/* The restart clock and its breaker (SUP-2, SUP-3, SUP-4): arithmetic that must hold for every number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/restart.h"

#define BASE   1000
#define CAP    300000
#define JITTER 0.5

static uint64_t draw(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void test_the_first_failure_costs_nothing_and_then_the_delay_doubles_up_to_the_cap(void **s)
{
    static const uint64_t expected[] = {0,     0,     1000,   2000,   4000,   8000,  16000,
                                        32000, 64000, 128000, 256000, 300000, 300000};

    for (uint64_t n = 0; n < sizeof(expected) / sizeof(expected[0]); n++)
        assert_int_equal(pm_restart_delay(n, BASE, CAP, 0, 12345), expected[n]);
}

static void test_a_million_draws_stay_within_the_jitter_and_reach_both_ends(void **s)
{
    uint64_t state = 1, least = UINT64_MAX, most = 0;

    for (int i = 0; i < 1000000; i++) {
        uint64_t n = 2 + (uint64_t)i % 12;
        uint64_t t = n < 11 ? UINT64_C(1000) << (n - 2) : CAP;
        uint64_t delay = pm_restart_delay(n, BASE, CAP, JITTER, draw(&state));

        assert_in_range(delay, t / 2, t);
        if (n == 13) {
            least = delay < least ? delay : least;
            most = delay > most ? delay : most;
        }
    }
    assert_true(least < CAP / 2 + 500);
    assert_true(most > CAP - 500);
}

static void test_no_number_of_failures_overflows(void **s)
{
    static const uint64_t counts[] = {64, 65, 66, 1000, UINT64_C(1) << 32, UINT64_MAX};

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        assert_int_equal(pm_restart_delay(counts[i], BASE, CAP, 0, 0), CAP);
        assert_int_equal(pm_restart_delay(counts[i], BASE, UINT64_MAX, 0, 0), UINT64_MAX);
        assert_in_range(pm_restart_delay(counts[i], BASE, CAP, JITTER, UINT64_MAX), CAP / 2, CAP);
    }
    assert_int_equal(pm_restart_delay(UINT64_MAX, 0, CAP, JITTER, 99), 0);
    assert_int_equal(pm_restart_delay(5, CAP + 1, CAP, 0, 0), CAP);
}

static void test_full_jitter_may_be_nothing_and_never_more_than_the_delay(void **s)
{
    assert_int_equal(pm_restart_delay(4, BASE, CAP, 1, 0), 4000);
    assert_in_range(pm_restart_delay(4, BASE, CAP, 1, UINT64_MAX), 0, 1);
}

static void test_a_failure_at_the_end_of_time_waits_for_ever_instead_of_wrapping(void **s)
{
    struct pm_clock clock = {.n = UINT64_MAX - 1};

    pm_clock_fail(&clock, 2, CAP, UINT64_MAX - 10);
    assert_int_equal(clock.n, UINT64_MAX);
    assert_int_equal(clock.next_ms, UINT64_MAX);
    assert_false(pm_clock_permits(&clock, UINT64_MAX - 1));
}

static void test_the_clock_permits_when_the_delay_is_over_and_not_before(void **s)
{
    struct pm_clock clock = {0};

    assert_true(pm_clock_permits(&clock, 0));
    pm_clock_fail(&clock, 1, 0, 5000);
    assert_true(pm_clock_permits(&clock, 5000));
    pm_clock_fail(&clock, 1, 1000, 6000);
    assert_int_equal(clock.n, 2);
    assert_false(pm_clock_permits(&clock, 6999));
    assert_true(pm_clock_permits(&clock, 7000));
}

/* SUP-2: 60 s ready: n = min(n, 4); 300 s ready: n = 0. */
static void test_time_spent_ready_forgives(void **s)
{
    assert_int_equal(pm_clock_forgiven(9, 59999, 60000, 300000, 5), 9);
    assert_int_equal(pm_clock_forgiven(9, 60000, 60000, 300000, 5), 4);
    assert_int_equal(pm_clock_forgiven(3, 60000, 60000, 300000, 5), 3);
    assert_int_equal(pm_clock_forgiven(9, 299999, 60000, 300000, 5), 4);
    assert_int_equal(pm_clock_forgiven(9, 300000, 60000, 300000, 5), 0);
}

static void test_the_breaker_is_a_view_of_the_clock(void **s)
{
    struct pm_clock clock = {0};

    for (clock.n = 0; clock.n < 5; clock.n++) {
        assert_int_equal(pm_clock_breaker(&clock, PM_BREAKER_AUTOMATIC, 5, true),
                         PM_BREAKER_CLOSED);
    }
    assert_int_equal(pm_clock_breaker(&clock, PM_BREAKER_AUTOMATIC, 5, false), PM_BREAKER_OPEN);
    assert_int_equal(pm_clock_breaker(&clock, PM_BREAKER_AUTOMATIC, 5, true), PM_BREAKER_HALF_OPEN);
    assert_int_equal(pm_clock_breaker(&clock, PM_BREAKER_FORCED, 5, true), PM_BREAKER_FORCED_OPEN);
    assert_int_equal(pm_clock_breaker(&clock, PM_BREAKER_OFF, 5, false), PM_BREAKER_DISABLED);
}

/* SUP-4, INV-14: with the default backoff, whatever is drawn, an engine that fails at once fails at most ten times in
 * any 60 s. */
static void test_no_more_than_ten_starts_fail_in_any_minute(void **s)
{
    for (uint64_t seed = 0; seed < 2000; seed++) {
        uint64_t state = seed, failed_ms[40], now_ms = 0;
        struct pm_clock clock = {0};

        for (int i = 0; i < 40; i++) {
            uint64_t random = seed == 0 ? UINT64_MAX : draw(&state);

            now_ms = clock.next_ms > now_ms ? clock.next_ms : now_ms;
            failed_ms[i] = now_ms;
            pm_clock_fail(&clock, 1, pm_restart_delay(clock.n + 1, BASE, CAP, JITTER, random),
                          now_ms);
            if (i >= 10)
                assert_true(failed_ms[i] - failed_ms[i - 10] > 60000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_the_first_failure_costs_nothing_and_then_the_delay_doubles_up_to_the_cap),
        cmocka_unit_test(test_a_million_draws_stay_within_the_jitter_and_reach_both_ends),
        cmocka_unit_test(test_no_number_of_failures_overflows),
        cmocka_unit_test(test_full_jitter_may_be_nothing_and_never_more_than_the_delay),
        cmocka_unit_test(test_a_failure_at_the_end_of_time_waits_for_ever_instead_of_wrapping),
        cmocka_unit_test(test_the_clock_permits_when_the_delay_is_over_and_not_before),
        cmocka_unit_test(test_time_spent_ready_forgives),
        cmocka_unit_test(test_the_breaker_is_a_view_of_the_clock),
        cmocka_unit_test(test_no_more_than_ten_starts_fail_in_any_minute),
    };

    return cmocka_run_group_tests_name("core: restart clock", tests, NULL, NULL);
}
