/* SPDX-License-Identifier: Apache-2.0 */
/* What the next daemon is told of a pool, when, and what it makes of it (STATE-1, SUP-2). */
#include <stdlib.h>

#include "core_operator.h"

static struct world world;

static int set_up(void **s)
{
    world_init(&world);
    return 0;
}

static int tear_down(void **s)
{
    world_fini(&world);
    return 0;
}

/* The last that was told in the last input. */
static struct pm_past kept(void)
{
    struct pm_past past = {0};

    for (size_t i = 0; i < world.out.n; i++) {
        if (world.out.items[i].kind == PM_ACT_KEEP)
            past = *world.out.items[i].past;
    }
    assert_string_equal(past.pool_id, POOL);
    return past;
}

/* Another daemon, which begins with this; `pause_ms` after it was told. */
static void next_daemon(struct pm_past past, uint64_t pause_ms)
{
    world_fini(&world);
    world_init(&world);
    world.spec->start = PM_PRELOAD;
    for (size_t i = 0; i < past.n; i++)
        past.replicas[i].failed_ago_ms += pause_ms;
    world_add(&world, world.spec);
    pm_core_recall_past(world.core, &past, world.now_ms, &world.out);
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
}

/* Three failures in a row, told to the next daemon. */
static struct pm_past three_failures(void)
{
    world.spec->start = PM_PRELOAD;
    world_begin(&world);
    for (int i = 0; i < 3; i++) {
        if (state(&world) == PM_BACKOFF)
            tick(&world, replica(&world, 0).next_start_ms);
        crash(&world, staged_spawn(&world), (struct pm_exit){.status = 1});
    }
    assert_int_equal(kept().replicas[0].n_failures, 3);
    return kept();
}

static void test_failures_are_told_in_their_step_and_the_rest_of_the_delay_runs_SUP_2(void **s)
{
    struct pm_past past = three_failures();

    next_daemon(past, 500);
    assert_int_equal(state(&world), PM_BACKOFF);
    assert_int_equal(replica(&world, 0).n_failures, 3);
    assert_int_equal(replica(&world, 0).restart_count, 2);
    assert_int_equal(replica(&world, 0).last_error.class, PM_CLASS_EXIT);
    assert_true(replica(&world, 0).last_error.text[0]);
    assert_in_range(replica(&world, 0).next_start_ms, world.now_ms + 500, world.now_ms + 1500);
    tick(&world, replica(&world, 0).next_start_ms);
    crash(&world, staged_spawn(&world), (struct pm_exit){.status = 1});
    assert_int_equal(replica(&world, 0).n_failures, 4);
}

static void test_a_delay_that_is_over_is_not_waited_for_again(void **s)
{
    struct pm_past past = three_failures();

    next_daemon(past, 10000);
    assert_int_equal(state(&world), PM_STAGING);
    assert_int_equal(replica(&world, 0).n_failures, 3);
}

static void test_another_specification_has_nothing_against_it_SUP_2(void **s)
{
    struct pm_past past = three_failures();

    past.identity++;
    next_daemon(past, 0);
    assert_int_equal(state(&world), PM_STAGING);
    assert_int_equal(replica(&world, 0).n_failures, 0);
    assert_int_equal(replica(&world, 0).restart_count, 2);
}

static void test_a_reset_is_told(void **s)
{
    struct poolmgr_error err = {0};

    (void)three_failures();
    pm_actions_clear(&world.out);
    assert_int_equal(
        pm_core_reset(world.core, POOL, PM_BREAKER_CLOSED, world.now_ms, &world.out, &err), 0);
    assert_int_equal(kept().replicas[0].n_failures, 0);
}

/* A request that was answered so fast. */
static void serve(uint64_t first_token_ms, uint64_t decode_ms)
{
    struct pm_lease lease;

    pm_actions_clear(&world.out);
    (void)request(&world);
    lease = the_action(&world, PM_ACT_GRANT)->lease;
    pm_core_perf(world.core, &lease, first_token_ms, 10, decode_ms);
    release(&world, &lease, PM_RELEASE_DONE);
}

static void test_speeds_are_told_once_a_second_at_most_and_not_for_noise(void **s)
{
    unsigned n = 0;

    world_begin(&world);
    (void)idle_engine(&world);
    tick(&world, world.now_ms + 5000);
    serve(20, 100);
    assert_int_equal(count_actions(&world, PM_ACT_KEEP), 1);
    for (uint64_t i = 0; i < 1000; i++) { /* slower and slower, within a second */
        world.now_ms += i % 2;
        serve(20 + i, 100 + 5 * i);
        n += count_actions(&world, PM_ACT_KEEP);
    }
    assert_int_equal(n, 0);
    pm_actions_clear(&world.out);
    tick(&world, world.now_ms + 1000); /* though nobody asks any more */
    assert_int_equal(count_actions(&world, PM_ACT_KEEP), 1);
    assert_true(kept().replicas[0].decode_ms > 0 && kept().service_ms > 0);
    for (uint64_t i = 0; i < 100; i++) {
        world.now_ms += 2000;
        serve(1019, 5095);
        n += count_actions(&world, PM_ACT_KEEP);
    }
    assert_true(n <= 5); /* the mean follows, and rests */
}

static void test_speeds_are_known_from_the_beginning(void **s)
{
    struct pm_past past;

    world_begin(&world);
    (void)idle_engine(&world);
    tick(&world, world.now_ms + 5000);
    serve(20, 100);
    past = kept();
    next_daemon(past, 0);
    assert_int_equal((int)replica(&world, 0).tokens_per_s, 100);
    assert_int_equal((int)replica(&world, 0).first_token_ms, 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_failures_are_told_in_their_step_and_the_rest_of_the_delay_runs_SUP_2),
        TEST(test_a_delay_that_is_over_is_not_waited_for_again),
        TEST(test_another_specification_has_nothing_against_it_SUP_2),
        TEST(test_a_reset_is_told),
        TEST(test_speeds_are_told_once_a_second_at_most_and_not_for_noise),
        TEST(test_speeds_are_known_from_the_beginning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
