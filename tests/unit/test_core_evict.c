/* SPDX-License-Identifier: Apache-2.0 */
/* Who gives way to whom (EVICT-1, EVICT-2): idle pools at once, busy ones after a while, nobody's stream is cut. */
#include "core_room_world.h"

/* ---- idle pools (EVICT-1) --------------------------------------------------------------------------------- */

static void test_the_third_evicts_exactly_the_least_recently_used_idle_one(void **s)
{
    begin_three();
    use("a");
    world.now_ms += 1000;
    use("b");
    world.now_ms += 1000;
    (void)ask("a");
    end_lease(the_action(&world, PM_ACT_GRANT)->lease); /* now b was used longest ago */
    (void)wish("c");
    assert_states(PM_READY, PM_STOPPING, PM_WAITING);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    assert_told(&world, PM_EV_EVICTED, "b stops: c needs its 10.0 GiB on device 0");
    assert_string_equal(pool("b").code_name, "evicting");
    ends("b");
    assert_states(PM_READY, PM_COLD, PM_STARTING);
    assert_int_equal(device(0).planned_bytes, 20 * GIB);
}

static void test_of_two_that_were_used_in_one_millisecond_the_earlier_one_goes(void **s)
{
    begin_three();
    use("a");
    use("b");
    (void)ask("a");
    end_lease(the_action(&world, PM_ACT_GRANT)->lease);
    (void)wish("c");
    assert_states(PM_READY, PM_STOPPING, PM_WAITING);
}

static void test_cheap_pools_go_before_dear_ones(void **s)
{
    begin_three();
    specs[0]->evict_cost = 5;
    use("a");
    world.now_ms += 1000;
    use("b");
    (void)wish("c");
    assert_states(PM_READY, PM_STOPPING, PM_WAITING);
}

static void test_who_is_not_needed_is_put_back(void **s)
{
    add_device(24);
    (void)spec_of("a", 2);
    (void)spec_of("b", 20);
    (void)spec_of("c", 20);
    begin();
    use("a");
    world.now_ms += 1000;
    use("b");
    (void)wish("c");
    assert_states(PM_READY, PM_STOPPING,
                  PM_WAITING); /* a alone was not enough, and beside b not needed */
}

static void test_several_go_where_one_is_not_enough(void **s)
{
    begin_three();
    specs[2]->vram.each = 20 * GIB;
    use("a");
    use("b");
    (void)wish("c");
    assert_states(PM_STOPPING, PM_STOPPING, PM_WAITING);
    ends("a");
    assert_int_equal(place("c").state, PM_WAITING);
    ends("b");
    assert_int_equal(place("c").state, PM_STARTING);
}

static void test_nobody_stops_for_what_would_not_be_enough(void **s)
{
    begin_three();
    specs[1]->pinned = true;
    specs[2]->vram.each = 20 * GIB;
    use("a");
    use("b");
    (void)wish("c");
    assert_states(PM_READY, PM_READY, PM_WAITING);
    pass(60000);
    assert_states(PM_READY, PM_READY, PM_WAITING);
}

static void test_pinned_pools_are_nobodys_victims_INV_21(void **s)
{
    begin_three();
    specs[0]->pinned = true;
    use("a");
    world.now_ms += 1000;
    use("b");
    (void)wish("c");
    assert_states(PM_READY, PM_STOPPING, PM_WAITING);
}

static void test_held_pools_are_nobodys_victims_INV_21(void **s)
{
    const struct pm_drain hold = {.then = PM_THEN_HOLD};
    struct poolmgr_error err = {0};
    uint64_t op;

    begin_three();
    use("a");
    world.now_ms += 1000;
    use("b");
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_drain(world.core, "a", &hold, world.now_ms, &world.out, &op, &err), 0);
    pm_core_persisted(world.core, the_action(&world, PM_ACT_PERSIST)->token, NULL, world.now_ms,
                      &world.out);
    (void)wish("c");
    assert_states(PM_READY, PM_STOPPING, PM_WAITING);
}

static void test_another_replica_of_the_claimant_is_no_victim(void **s)
{
    add_device(24);
    (void)spec_of("a", 20);
    specs[0]->n_replicas = 2;
    specs[0]->n_slots = 1;
    begin();
    (void)run("a");
    (void)ask("a"); /* waits: the second replica is wanted, and has no room */
    pass(60000);
    assert_true(place("a").gate_open);
}

static void test_what_stops_already_is_counted_and_nobody_else_stops(void **s)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    begin_three();
    use("a");
    world.now_ms += 1000;
    use("b");
    assert_int_equal(pm_core_stop(world.core, "b", 0, world.now_ms, &world.out, &op, &err), 0);
    (void)wish("c");
    assert_states(PM_READY, PM_STOPPING, PM_WAITING);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    ends("b");
    assert_int_equal(place("c").state, PM_STARTING);
}

static void test_a_start_that_an_operator_asks_for_evicts_too(void **s)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    begin_three();
    use("a");
    use("b");
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_start(world.core, "c", world.now_ms, &world.out, &op, &err), 0);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);
}

static void test_the_device_where_it_costs_least_is_chosen(void **s)
{
    add_device(24);
    add_device(24);
    (void)spec_of("a", 20);
    (void)spec_of("b", 20);
    (void)spec_of("c", 20);
    specs[0]->evict_cost = 3;
    begin();
    use("a");
    world.now_ms += 1000;
    use("b");
    (void)wish("c");
    assert_states(PM_READY, PM_STOPPING, PM_WAITING);
}

static void test_an_evicted_preload_comes_back_when_there_is_room(void **s)
{
    add_device(24);
    spec_of("a", 20)->start = PM_PRELOAD;
    (void)spec_of("b", 20);
    begin();
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    spawned(&world, place("a").token, NULL);
    endpoint_ready(&world, place("a").token);
    (void)wish("b");
    assert_int_equal(place("a").state, PM_STOPPING);
    ends("a");
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_int_equal(place("a").state, PM_WAITING);
    assert_int_equal(place("b").state, PM_STARTING);
    (void)make_ready("b");
    pass(60000);
    assert_int_equal(place("a").state, PM_WAITING);
    ends("b");
    assert_int_equal(place("a").state, PM_STARTING);
}

/* ---- busy pools (EVICT-2) --------------------------------------------------------------------------------- */

/* a and b are busy for min_residency, and c begins to wait. */
static void begin_busy(struct pm_lease *ret_a, struct pm_lease *ret_b)
{
    begin_three();
    *ret_a = run("a");
    world.now_ms += 10;
    *ret_b = run("b");
    pass(MIN_RESIDENCY);
    (void)wish("c");
}

static void test_a_busy_pool_is_left_alone_until_max_wait_and_then_asked_INV_21(void **s)
{
    struct pm_lease a, b;
    uint64_t since_ms;

    begin_busy(&a, &b);
    since_ms = world.now_ms;
    pass(MAX_WAIT - 1);
    assert_true(place("a").gate_open && place("b").gate_open);
    assert_int_equal(pm_core_deadline(world.core), since_ms + MAX_WAIT);
    next_tick(&world);
    assert_false(place("a").gate_open); /* ready for longest */
    assert_true(place("b").gate_open);
    assert_told(&world, PM_EV_EVICT_CLAIMED,
                "a takes nothing new: c needs its 10.0 GiB; 1 request ends first");
    assert_string_equal(pool("a").code_name, "evicting");
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    pass(60000); /* nothing is cut */
    assert_states(PM_READY, PM_READY, PM_WAITING);
    end_lease(a);
    assert_states(PM_STOPPING, PM_READY, PM_WAITING);
    ends("a");
    assert_states(PM_COLD, PM_READY, PM_STARTING);
}

static void test_who_arrives_at_a_claimed_pool_waits_INV_17(void **s)
{
    struct pm_lease a, b;

    begin_busy(&a, &b);
    pass(MAX_WAIT);
    (void)ask("a");
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    end_lease(a);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    assert_int_equal(place("a").state, PM_STOPPING);
}

static void test_a_pool_that_became_ready_a_moment_ago_is_not_asked(void **s)
{
    begin_three();
    specs[2]->vram.each = 20 * GIB;
    (void)run("a");
    pass(20000);
    (void)run("b");
    (void)wish("c"); /* needs both */
    pass(MIN_RESIDENCY - 1);
    assert_true(place("a").gate_open && place("b").gate_open);
    next_tick(&world);
    assert_false(place("a").gate_open || place("b").gate_open);
}

static void test_the_gate_opens_again_when_the_claimant_is_gone(void **s)
{
    struct pm_lease a, b;
    uint64_t request;

    begin_three();
    a = run("a");
    b = run("b");
    pass(MIN_RESIDENCY);
    request = wish("c");
    pass(MAX_WAIT);
    assert_false(place("a").gate_open);
    gone(&world, request);
    assert_true(place("a").gate_open);
    assert_told(&world, PM_EV_EVICT_CALLED_OFF,
                "a takes requests again: c does not need its room any more");
    end_lease(a);
    end_lease(b);
    assert_states(PM_READY, PM_READY, PM_WAITING); /* in hope of the next, and stops nobody */
}

static void test_an_idle_pool_that_is_enough_frees_the_busy_one(void **s)
{
    struct pm_lease a, b;

    begin_busy(&a, &b);
    pass(MAX_WAIT);
    assert_false(place("a").gate_open);
    end_lease(b);
    assert_true(place("a").gate_open);
    assert_states(PM_READY, PM_STOPPING, PM_WAITING);
    assert_non_null(find_event(&world, PM_EV_EVICT_CALLED_OFF));
    end_lease(a);
    assert_int_equal(place("a").state, PM_READY);
}

static void test_idle_ones_that_are_needed_besides_stop_when_the_busy_one_has(void **s)
{
    struct pm_lease b;

    begin_three();
    specs[2]->vram.each = 20 * GIB;
    use("a");
    b = run("b");
    pass(MIN_RESIDENCY);
    (void)wish("c");
    pass(MAX_WAIT);
    assert_true(place("a").gate_open);
    assert_false(place("b").gate_open);
    end_lease(b);
    assert_states(PM_STOPPING, PM_STOPPING, PM_WAITING);
}

static void test_what_an_eviction_freed_is_its_claimants_while_it_waits_INV_22(void **s)
{
    struct pm_lease b;

    begin_three();
    specs[0]->pinned = true;
    specs[2]->vram.each = 13 * GIB;
    use("a");
    b = run("b");
    pass(MIN_RESIDENCY);
    (void)wish("c");
    pass(MAX_WAIT);
    end_lease(b);
    (void)spec_of("d", 5);
    world_add(&world, specs[3]);
    (void)request_with(&world, (struct pm_request){.route = "d", .retried = true, .arrived_ms = 1});
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_int_equal(place("d").state, PM_WAITING); /* older, but 3 GiB are too little */
    ends("b");
    assert_int_equal(place("c").state, PM_STARTING);
    assert_int_equal(place("d").state, PM_WAITING);
}

static void test_who_waited_longer_does_not_keep_it_from_what_it_had_freed_INV_22(void **s)
{
    begin_three();
    specs[2]->vram.each = 13 * GIB;
    (void)run("a");
    use("b");
    (void)wish("c");
    assert_states(PM_READY, PM_STOPPING, PM_WAITING);
    (void)spec_of("d", 5);
    world_add(&world, specs[3]);
    (void)request_with(&world, (struct pm_request){.route = "d", .retried = true, .arrived_ms = 1});
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_int_equal(place("d").state, PM_WAITING); /* a may go one day */
    ends("b");
    assert_int_equal(place("c").state, PM_STARTING);
}

static void test_a_reservation_ends_when_nobody_waits_any_more_INV_22(void **s)
{
    uint64_t request;

    begin_three();
    specs[2]->vram.each = 20 * GIB;
    use("a");
    use("b");
    request = wish("c");
    ends("a");
    assert_int_equal(device(0).claimed_bytes, 10 * GIB);
    gone(&world, request);
    assert_int_equal(place("c").state, PM_WAITING); /* in hope of the next */
    assert_int_equal(device(0).claimed_bytes, 0);
}

static void test_a_reservation_ends_with_its_claimant_INV_22(void **s)
{
    uint64_t request;

    begin_three();
    specs[2]->vram.each = 20 * GIB;
    specs[2]->abandon_after_ms = 0;
    use("a");
    use("b");
    request = wish("c");
    ends("a");
    assert_int_equal(device(0).claimed_bytes, 10 * GIB);
    gone(&world, request);
    assert_int_equal(device(0).claimed_bytes, 0);
    ends("b");
    assert_int_equal(device(0).claimed_bytes, 0);
    assert_int_equal(device(0).planned_bytes, 0);
}

/* INV-35: two pools that exclude each other and are asked for all the time take turns, and nobody waits longer than
 * max_wait or the rest of min_residency, one request, and the stop. */
static void test_two_busy_pools_take_turns_within_their_bound_INV_35(void **s)
{
    const uint64_t request_ms = 5000, stop_ms = 500, load_ms = 2000;
    const char *up = "a", *other = "b", *former;
    struct pm_token staging;
    struct pm_lease lease;

    add_device(24);
    spec_of("a", 20)->n_slots = 1;
    spec_of("b", 20)->n_slots = 1;
    begin();
    lease = run("a");
    (void)wish("b");
    for (int turn = 0; turn < 10; turn++) {
        uint64_t since_ms = world.now_ms;

        while (place(up).state ==
               PM_READY) { /* one answer after the other, and always one more that waits */
            (void)ask(up);
            pass(request_ms);
            end_lease(lease);
            if (count_actions(&world, PM_ACT_GRANT) > 0)
                lease = the_action(&world, PM_ACT_GRANT)->lease;
        }
        pass(stop_ms);
        exited(&world, place(up).token, (struct pm_exit){.signalled = true, .status = 15});
        childless(&world, place(up).token);
        staging =
            the_action(&world, PM_ACT_STAGE)->token; /* those who wait there want it up again */
        assert_int_equal(place(other).state, PM_STARTING);
        assert_true(world.now_ms - since_ms <= MIN_RESIDENCY + request_ms + stop_ms);
        pass(load_ms);
        staged(&world, staging, NULL);
        assert_int_equal(place(up).state, PM_WAITING);
        lease = make_ready(other);
        former = up;
        up = other;
        other = former;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_third_evicts_exactly_the_least_recently_used_idle_one),
        TEST(test_of_two_that_were_used_in_one_millisecond_the_earlier_one_goes),
        TEST(test_cheap_pools_go_before_dear_ones),
        TEST(test_who_is_not_needed_is_put_back),
        TEST(test_several_go_where_one_is_not_enough),
        TEST(test_nobody_stops_for_what_would_not_be_enough),
        TEST(test_pinned_pools_are_nobodys_victims_INV_21),
        TEST(test_held_pools_are_nobodys_victims_INV_21),
        TEST(test_another_replica_of_the_claimant_is_no_victim),
        TEST(test_what_stops_already_is_counted_and_nobody_else_stops),
        TEST(test_a_start_that_an_operator_asks_for_evicts_too),
        TEST(test_the_device_where_it_costs_least_is_chosen),
        TEST(test_an_evicted_preload_comes_back_when_there_is_room),
        TEST(test_a_busy_pool_is_left_alone_until_max_wait_and_then_asked_INV_21),
        TEST(test_who_arrives_at_a_claimed_pool_waits_INV_17),
        TEST(test_a_pool_that_became_ready_a_moment_ago_is_not_asked),
        TEST(test_the_gate_opens_again_when_the_claimant_is_gone),
        TEST(test_an_idle_pool_that_is_enough_frees_the_busy_one),
        TEST(test_idle_ones_that_are_needed_besides_stop_when_the_busy_one_has),
        TEST(test_what_an_eviction_freed_is_its_claimants_while_it_waits_INV_22),
        TEST(test_who_waited_longer_does_not_keep_it_from_what_it_had_freed_INV_22),
        TEST(test_a_reservation_ends_when_nobody_waits_any_more_INV_22),
        TEST(test_a_reservation_ends_with_its_claimant_INV_22),
        TEST(test_two_busy_pools_take_turns_within_their_bound_INV_35),
    };

    return cmocka_run_group_tests_name("core: evict", tests, NULL, NULL);
}
