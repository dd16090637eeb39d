/* SPDX-License-Identifier: Apache-2.0 */
/* Leases: never past the slots, never below zero, and a slot whose client left is not given away too early
 * (LEASE-1, LEASE-2, INV-3, INV-5). */
#include "core_world.h"

static struct world world;

static int set_up(void **s)
{
    world_init(&world);
    world.spec->n_slots = 2;
    return 0;
}

static int tear_down(void **s)
{
    world_fini(&world);
    return 0;
}

static void abandon(const struct pm_lease *lease)
{
    pm_actions_clear(&world.out);
    pm_core_abandon(world.core, lease, world.now_ms, &world.out);
}

static void busy(struct pm_token probe, uint64_t n)
{
    pm_actions_clear(&world.out);
    pm_core_busy(world.core, probe, n, world.now_ms, &world.out);
}

static void test_no_more_leases_than_slots_are_granted(void **s)
{
    struct pm_lease lease;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    assert_int_equal(view(&world).slots_free, 1);
    (void)granted(&world);
    assert_silent(&world); /* NARR-1: a request that does not wait is one line, and the gateway's */
    assert_int_equal(view(&world).slots_free, 0);
    (void)request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    assert_int_equal(view(&world).queue_depth, 1);
}

static void test_what_the_engine_says_it_has_counts_more_than_the_spec(void **s)
{
    const struct pm_ready ready = {.endpoint = "unix:/x", .n_slots = 5};
    struct pm_token token;

    world_begin(&world);
    token = start_engine(&world);
    pm_core_endpoint_ready(world.core, token, &ready, world.now_ms, &world.out);
    assert_int_equal(view(&world).slots_total, 5);
}

static void test_releasing_twice_or_late_is_harmless(void **s)
{
    struct pm_lease lease, old;
    struct pm_token token;

    world_begin(&world);
    token = ready_engine(&world, &lease);
    old = lease;
    release(&world, &lease, PM_RELEASE_DONE);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(world.out.n, 0);
    assert_int_equal(view(&world).active_leases, 0);

    /* The slot is used again: the old value does not release the new lease. */
    lease = granted(&world);
    release(&world, &old, PM_RELEASE_DONE);
    assert_int_equal(view(&world).active_leases, 1);

    /* Nor does a lease of an ended instance release one of the next. */
    crash(&world, token, (struct pm_exit){.status = 1});
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    endpoint_ready(&world, the_action(&world, PM_ACT_SPAWN)->token);
    (void)granted(&world);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(view(&world).active_leases, 1);
}

static void test_a_zero_lease_and_a_forged_one_release_nothing(void **s)
{
    struct pm_lease lease, none = {0}, forged;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    release(&world, &none, PM_RELEASE_DONE);
    forged = lease;
    forged.serial += UINT64_C(1) << 20;
    release(&world, &forged, PM_RELEASE_DONE);
    forged = lease;
    forged.replica = 1000;
    release(&world, &forged, PM_RELEASE_DONE);
    forged = lease;
    forged.pool = 1000;
    release(&world, &forged, PM_RELEASE_DONE);
    forged = lease;
    forged.serial |= 0xfffff;
    release(&world, &forged, PM_RELEASE_DONE);
    assert_int_equal(view(&world).active_leases, 1);
}

static void test_a_slot_whose_client_left_settles_before_it_is_granted_again_INV_5(void **s)
{
    struct pm_lease lease;
    uint64_t left_ms;

    world.spec->n_slots = 1;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)request(&world);
    release(&world, &lease, PM_RELEASE_CLIENT_CLOSED);
    left_ms = world.now_ms;
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    assert_int_equal(count_actions(&world, PM_ACT_ASK_BUSY), 0); /* it cannot tell */
    assert_int_equal(view(&world).active_leases, 1);
    tick(&world, left_ms + 499);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    tick(&world, left_ms + 500);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1);
}

static void test_an_idle_report_settles_at_once(void **s)
{
    struct pm_lease lease;
    struct pm_token probe;

    world.spec->n_slots = 1;
    world.spec->habits.reports_busy = true;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)request(&world);
    release(&world, &lease, PM_RELEASE_CLIENT_CLOSED);
    probe = the_action(&world, PM_ACT_ASK_BUSY)->probe;
    busy(probe, 1);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);

    tick(&world, world.now_ms + 50); /* it is asked again */
    probe = the_action(&world, PM_ACT_ASK_BUSY)->probe;
    busy(probe, 0);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1);
    busy(probe, 0); /* answered twice */
    assert_int_equal(world.out.n, 0);
}

static void test_an_abandoned_request_keeps_its_slot_until_abandon_max(void **s)
{
    struct pm_lease lease;
    uint64_t left_ms;

    world.spec->n_slots = 1;
    world.spec->stall_timeout_ms = PM_NEVER;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)request(&world);
    abandon(&lease);
    left_ms = world.now_ms;
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    assert_int_equal(view(&world).active_leases, 1);
    while (pm_core_deadline(world.core) < left_ms + 10 * 60 * 1000) {
        next_tick(&world);
        assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    }
    next_tick(&world);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->request, 1);
    assert_int_equal(view(&world).active_leases, 0); /* the waiter's own deadline came with it */
}

static void test_an_abandoned_request_that_ends_frees_its_slot(void **s)
{
    struct pm_lease lease;

    world.spec->n_slots = 1;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    abandon(&lease);
    abandon(&lease);
    assert_int_equal(world.out.n, 0);
    (void)request(&world);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1);
}

static void test_an_abandoned_request_holds_up_no_stop_but_the_idle_time_LEASE_2(void **s)
{
    struct poolmgr_error err = {0};
    struct pm_lease lease;
    uint64_t op;

    world.spec->idle_ttl_ms = 1000;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    abandon(&lease);
    tick(&world, world.now_ms + 1500);
    assert_int_equal(state(&world), PM_READY);

    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_stop(world.core, POOL, 60000, world.now_ms, &world.out, &op, &err), 0);
    assert_int_equal(state(&world), PM_STOPPING);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
}

static void test_an_engine_that_dies_ends_all_its_leases_in_that_step(void **s)
{
    struct pm_lease lease;
    struct pm_token token;

    world_begin(&world);
    token = ready_engine(&world, &lease);
    (void)granted(&world);
    exited(&world, token, (struct pm_exit){.signalled = true, .status = 11});
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 2);
    assert_int_equal(action_at(&world, PM_ACT_CUT, 0)->error->code, POOLMGR_E_ENGINE_CRASHED);
    assert_string_equal(action_at(&world, PM_ACT_CUT, 0)->error->message,
                        "the engine of " POOL " died: signal 11 (SIGSEGV)");
    assert_int_equal(view(&world).active_leases, 0);
    assert_false(replica(&world, 0).gate_open);
}

static void test_leases_go_to_the_replica_with_the_fewest(void **s)
{
    struct pm_token tokens[2];
    unsigned n_at[2] = {0};

    world.spec->n_replicas = 2;
    world_begin(&world);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 2); /* all replicas start */
    tokens[0] = action_at(&world, PM_ACT_SPAWN, 0)->token;
    tokens[1] = action_at(&world, PM_ACT_SPAWN, 1)->token;
    endpoint_ready(&world, tokens[0]);
    n_at[the_action(&world, PM_ACT_GRANT)->replica]++;
    endpoint_ready(&world, tokens[1]);
    for (int i = 0; i < 3; i++) {
        (void)request(&world);
        n_at[the_action(&world, PM_ACT_GRANT)->replica]++;
    }
    assert_int_equal(n_at[0], 2);
    assert_int_equal(n_at[1], 2);
}

static void test_keep_alive_of_a_request_counts_until_the_next_that_names_one(void **s)
{
    struct pm_lease lease;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    pm_core_keep_alive(world.core, &lease, PM_NEVER, world.now_ms, &world.out);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(view(&world).idle_stop_ms, 0);

    lease = granted(&world);
    pm_core_keep_alive(world.core, &lease, 5000, world.now_ms, &world.out);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(view(&world).idle_stop_ms, world.now_ms + 5000);

    lease = granted(&world);
    pm_core_keep_alive(world.core, &lease, 0, world.now_ms, &world.out);
    release(&world, &lease, PM_RELEASE_DONE); /* 0: stop after this */
    assert_int_equal(state(&world), PM_STOPPING);
}

static void test_a_request_that_may_not_have_arrived_yet_settles_nothing(void **s)
{
    struct pm_lease lease;
    struct pm_token probe;

    world.spec->habits.reports_busy = true;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    tick(&world, world.now_ms + 1000);
    (void)granted(&world);
    (void)request(&world); /* waits */
    release(&world, &lease, PM_RELEASE_CLIENT_CLOSED);
    probe = the_action(&world, PM_ACT_ASK_BUSY)->probe;
    busy(probe, 1); /* the one that settles, or the one just granted: nobody knows */
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    tick(&world, world.now_ms + 50);
    busy(the_action(&world, PM_ACT_ASK_BUSY)->probe, 0);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1);
}

static void test_an_engine_that_does_not_answer_is_asked_again(void **s)
{
    struct pm_lease lease;

    world.spec->habits.reports_busy = true;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    release(&world, &lease, PM_RELEASE_CLIENT_CLOSED);
    assert_int_equal(count_actions(&world, PM_ACT_ASK_BUSY), 1);
    for (int i = 0; i < 9; i++) {
        tick(&world, world.now_ms + 50);
        assert_int_equal(count_actions(&world, PM_ACT_ASK_BUSY), 1);
    }
    tick(&world, world.now_ms + 50);
    assert_int_equal(view(&world).active_leases, 0);
    tick(&world, world.now_ms + 50);
    assert_int_equal(count_actions(&world, PM_ACT_ASK_BUSY), 0);
}

static void test_a_slot_that_settles_for_long_is_no_stall(void **s)
{
    struct pm_lease lease;

    world.spec->cancel_settle_ms = 10 * 60 * 1000;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    release(&world, &lease, PM_RELEASE_CLIENT_CLOSED);
    tick(&world, world.now_ms + 3 * 60 * 1000);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(view(&world).active_leases, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_more_leases_than_slots_are_granted),
        TEST(test_what_the_engine_says_it_has_counts_more_than_the_spec),
        TEST(test_releasing_twice_or_late_is_harmless),
        TEST(test_a_zero_lease_and_a_forged_one_release_nothing),
        TEST(test_a_slot_whose_client_left_settles_before_it_is_granted_again_INV_5),
        TEST(test_an_idle_report_settles_at_once),
        TEST(test_an_abandoned_request_keeps_its_slot_until_abandon_max),
        TEST(test_an_abandoned_request_that_ends_frees_its_slot),
        TEST(test_an_abandoned_request_holds_up_no_stop_but_the_idle_time_LEASE_2),
        TEST(test_an_engine_that_dies_ends_all_its_leases_in_that_step),
        TEST(test_leases_go_to_the_replica_with_the_fewest),
        TEST(test_keep_alive_of_a_request_counts_until_the_next_that_names_one),
        TEST(test_a_request_that_may_not_have_arrived_yet_settles_nothing),
        TEST(test_an_engine_that_does_not_answer_is_asked_again),
        TEST(test_a_slot_that_settles_for_long_is_no_stall),
    };

    return cmocka_run_group_tests_name("core: leases", tests, NULL, NULL);
}
