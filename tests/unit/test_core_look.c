/* SPDX-License-Identifier: Apache-2.0 */
/* How old a look at memory is, and who stops for what it shows. Pools of 10 GiB on a device of 24, 1 of it kept free. */
#include "core_room_world.h"

/* ---- what looks show ----------------------------------------------------------------------------------------- */

static void uses(const char *id, uint64_t gib)
{
    pm_core_device_seen(world.core, place(id).token, "0", gib * GIB, world.now_ms, world.now_ms,
                        &world.out);
}

/* A look that began so long ago; nobody lists processes. */
static void seen_before(uint64_t ms, uint64_t free_gib)
{
    pm_actions_clear(&world.out);
    pm_core_device_free(world.core, "0", free_gib * GIB, false, world.now_ms - ms, world.now_ms,
                        &world.out);
}

static size_t n_told_to_stop(void)
{
    return count_actions(&world, PM_ACT_SIGNAL);
}

/* ---- while memory comes and goes ----------------------------------------------------------------------------- */

static void test_who_has_ended_counts_until_its_memory_is_free_EVICT_1(void **s)
{
    begin_three();
    seen_free("0", 24, true);
    use("a");
    use("b");
    world.now_ms += 100;
    uses("a", 10);
    uses("b", 10);
    seen_free("0", 4, true);
    (void)wish("c");
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);

    ends("a");
    world.now_ms += 100;
    uses("a", 0); /* no process is listed any more, and the memory is not free yet */
    seen_free("0", 4, true);
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);
    world.now_ms += 500;
    uses("a", 0);
    seen_free("0", 14, true);
    pass(1000);
    assert_states(PM_COLD, PM_READY, PM_STARTING);
}

static void test_what_is_free_is_not_believed_before_who_uses_it_is_told_EVICT_1(void **s)
{
    begin_three();
    seen_free("0", 24, true);
    use("a");
    (void)wish("b");
    world.now_ms += 100;
    uses("a", 10);
    uses("b", 2);
    seen_free("0", 12, true);
    end_lease(make_ready("b"));
    (void)wish("c");
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);

    world.now_ms += 100;
    devices[0].free_known = true;
    devices[0].free_bytes = 4 * GIB; /* b has loaded the rest */
    devices[0].seen_ms = world.now_ms;
    list_devices();
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);
    uses("b", 10);
    seen_free("0", 4, true);
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);
}

/* ---- waiting for a look -------------------------------------------------------------------------------------- */

/* a is idle; b has loaded since the last look, and nobody says how much. */
static void begin_after_old_look(void)
{
    begin_three();
    seen_before(0, 24);
    use("a");
    world.now_ms += 100;
    seen_before(0, 14);
    (void)wish("b");
    world.now_ms += 100;
    seen_before(0, 9);
    world.now_ms += 100;
    end_lease(make_ready("b"));
}

static void test_nobody_stops_for_a_look_of_before_an_engine_was_ready_EVICT_1(void **s)
{
    begin_after_old_look();
    (void)wish("c");
    assert_int_equal(n_told_to_stop(), 0);
    assert_int_equal(count_actions(&world, PM_ACT_LOOK), 1);
    assert_states(PM_READY, PM_READY, PM_WAITING);

    world.now_ms += 20;
    seen_before(30, 9); /* it began before */
    assert_int_equal(world.out.n, 0);
    seen_before(10, 4);
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);
    assert_int_equal(n_told_to_stop(), 1);
}

static void test_a_look_that_does_not_come_is_waited_for_a_while_INV_35(void **s)
{
    uint64_t asked_ms;

    begin_after_old_look();
    (void)wish("c");
    asked_ms = world.now_ms;
    assert_int_equal(pm_core_deadline(world.core), asked_ms + 2000);
    tick(&world, asked_ms + 1999);
    assert_int_equal(world.out.n, 0);
    next_tick(&world);
    assert_true(n_told_to_stop() > 0);
}

static void test_others_may_have_ended_since_a_look_of_seconds_ago_EVICT_1(void **s)
{
    begin_three();
    seen_before(0, 24);
    use("a");
    world.now_ms += 100;
    seen_before(0, 4); /* somebody else has 10 */
    world.now_ms += 5000;
    (void)wish("b");
    assert_int_equal(count_actions(&world, PM_ACT_LOOK), 1);
    world.now_ms += 20;
    seen_before(10, 14);
    assert_states(PM_READY, PM_STARTING, PM_COLD);
}

static void test_nobody_stops_for_a_look_of_before_an_error_of_the_driver_EVICT_1(void **s)
{
    begin_three();
    seen_before(0, 24);
    use("a");
    use("b");
    world.now_ms += 100;
    seen_before(0, 4);
    world.now_ms += 100;
    driver_error((struct pm_token){0}, PM_XID_NOTE);
    (void)wish("c");
    assert_int_equal(n_told_to_stop(), 0);
    assert_int_equal(count_actions(&world, PM_ACT_LOOK), 1);
    world.now_ms += 20;
    seen_before(0, 4);
    assert_int_equal(n_told_to_stop(), 1);
}

static void test_where_nobody_looks_nobody_waits_for_a_look(void **s)
{
    begin_three();
    use("a");
    use("b");
    world.now_ms += 5000;
    (void)wish("c");
    assert_int_equal(count_actions(&world, PM_ACT_LOOK), 0);
    assert_int_equal(n_told_to_stop(), 1);
}

static void test_who_gives_way_already_goes_on_giving_way_whatever_is_old(void **s)
{
    struct pm_lease lease;

    begin_three();
    seen_before(0, 24);
    use("a");
    lease = run("b");
    specs[0]->pinned = true;
    world.now_ms += MIN_RESIDENCY;
    seen_before(0, 4);
    (void)wish("c");
    world.now_ms += MAX_WAIT;
    seen_before(0, 4);
    assert_non_null(find_event(&world, PM_EV_EVICT_CLAIMED));
    tick(&world, world.now_ms + 5000);
    assert_int_equal(count_actions(&world, PM_ACT_LOOK), 0);
    end_lease(lease);
    assert_states(PM_READY, PM_STOPPING, PM_WAITING);
}

/* ---- what came back ------------------------------------------------------------------------------------------ */

static void test_a_look_of_before_an_end_says_nothing_of_what_came_back_SUP_7(void **s)
{
    begin_three();
    specs[0]->restart = PM_RESTART_NEVER;
    seen_before(0, 24);
    (void)run("a");
    world.now_ms += 100;
    seen_before(0, 14);
    crash(&world, place("a").token, (struct pm_exit){.status = 1});
    world.now_ms += 10;
    seen_before(20, 14);
    tick(&world, world.now_ms + 1500);
    assert_int_equal(place("a").state, PM_STOPPING);
    seen_before(10, 24);
    tick(&world, world.now_ms + 1000);
    assert_int_equal(place("a").state, PM_COLD);
}

static void test_what_others_are_charged_later_brings_no_memory_back_SUP_7(void **s)
{
    struct pm_token token;

    add_device(24);
    spec_of("a", 10)->restart = PM_RESTART_NEVER;
    (void)spec_of("b", 6);
    begin();
    seen_free("0", 24, true);
    (void)run("a");
    token = place("a").token;
    crash(&world, token, (struct pm_exit){.status = 1});
    world.now_ms += 500;
    uses("a", 0);
    seen_free("0", 18, true); /* 6 GiB are nobody's */
    tick(&world, world.now_ms + 1500);
    (void)wish("b");
    assert_int_equal(place("b").state, PM_STARTING);
    childless(&world, token); /* once more */
    assert_int_equal(world.out.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_who_has_ended_counts_until_its_memory_is_free_EVICT_1),
        TEST(test_what_is_free_is_not_believed_before_who_uses_it_is_told_EVICT_1),
        TEST(test_nobody_stops_for_a_look_of_before_an_engine_was_ready_EVICT_1),
        TEST(test_a_look_that_does_not_come_is_waited_for_a_while_INV_35),
        TEST(test_others_may_have_ended_since_a_look_of_seconds_ago_EVICT_1),
        TEST(test_nobody_stops_for_a_look_of_before_an_error_of_the_driver_EVICT_1),
        TEST(test_where_nobody_looks_nobody_waits_for_a_look),
        TEST(test_who_gives_way_already_goes_on_giving_way_whatever_is_old),
        TEST(test_what_others_are_charged_later_brings_no_memory_back_SUP_7),
        TEST(test_a_look_of_before_an_end_says_nothing_of_what_came_back_SUP_7),
    };

    return cmocka_run_group_tests_name("core: looks", tests, NULL, NULL);
}
