/* SPDX-License-Identifier: Apache-2.0 */
/* Stopping: the ladder (SUP-7 without VRAM), idle stop (LOAD-6), shutdown, leave, adoption (SUP-9a, SUP-9d). */
#include "core_world.h"

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

static void stop_pool(uint64_t deadline_ms)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    pm_actions_clear(&world.out);
    assert_int_equal(
        pm_core_stop(world.core, POOL, deadline_ms, world.now_ms, &world.out, &op, &err), 0);
}

static void shut_down(bool at_once)
{
    pm_actions_clear(&world.out);
    pm_core_shutdown(world.core, at_once, world.now_ms, &world.out);
}

/* ---- the ladder ---------------------------------------------------------------------------------------- */

static void test_a_deaf_engine_is_killed_after_stop_grace_and_each_second_until_childless(void **s)
{
    struct pm_token token;
    uint64_t signalled_ms;

    world_begin(&world);
    token = idle_engine(&world);
    stop_pool(60000);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    signalled_ms = world.now_ms;
    tick(&world, signalled_ms + 9999);
    assert_int_equal(world.out.n, 0);
    for (uint64_t second = 10; second < 15; second++) {
        assert_int_equal(pm_core_deadline(world.core), signalled_ms + second * 1000);
        next_tick(&world);
        assert_int_equal(the_action(&world, PM_ACT_KILL)->token.serial, token.serial);
        assert_int_equal(state(&world), PM_STOPPING);
    }
    exited(&world, token, (struct pm_exit){.signalled = true, .status = 9});
    childless(&world, token);
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(replica(&world, 0).n_failures, 0);
    assert_told(&world, PM_EV_INSTANCE_STOPPED, POOL " is stopped after 14 s, by SIGKILL");
    assert_int_equal(find_event(&world, PM_EV_INSTANCE_STOPPED)->signal, 9);
}

static void test_a_second_sigterm_comes_half_way_where_the_engine_needs_it(void **s)
{
    uint64_t signalled_ms;

    world.spec->habits.second_sigterm = true;
    world_begin(&world);
    (void)idle_engine(&world);
    stop_pool(60000);
    signalled_ms = world.now_ms;
    tick(&world, signalled_ms + 5000);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    tick(&world, signalled_ms + 9999);
    assert_int_equal(world.out.n, 0);
    tick(&world, signalled_ms + 10000);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 1);
}

static void test_children_that_outlive_their_engine_are_killed(void **s)
{
    struct pm_token token;

    world_begin(&world);
    token = idle_engine(&world);
    exited(&world, token, (struct pm_exit){.status = 1});
    assert_int_equal(state(&world), PM_STOPPING);
    tick(&world, world.now_ms + 10000);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 1);
}

/* After a signal of ours the reason stays what it was: SIGTERM's own death is no crash. */
static void test_an_exit_after_our_signal_is_as_planned(void **s)
{
    struct pm_token token;

    world_begin(&world);
    token = idle_engine(&world);
    stop_pool(60000);
    crash(&world, token, (struct pm_exit){.signalled = true, .status = 15});
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(replica(&world, 0).n_failures, 0);
    assert_int_equal(view(&world).last_error.code, 0);
    assert_told(&world, PM_EV_INSTANCE_STOPPED, POOL " is stopped after 0 ms");
}

static void test_a_stop_of_a_start_that_then_cannot_be_launched_is_no_failure(void **s)
{
    struct pm_failure failure = {.text = "no shim"};
    struct pm_token token;

    world_begin(&world);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    token = the_action(&world, PM_ACT_SPAWN)->token;
    stop_pool(0);
    assert_int_equal(state(&world), PM_STOPPING);
    spawned(&world, token, &failure);
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(replica(&world, 0).n_failures, 0);
}

/* ---- idle ----------------------------------------------------------------------------------------------- */

static void test_a_request_before_the_idle_stop_keeps_the_engine(void **s)
{
    struct pm_lease lease;
    uint64_t idle_ms;

    world.spec->stall_timeout_ms = PM_NEVER;
    world_begin(&world);
    (void)idle_engine(&world);
    idle_ms = world.now_ms;
    tick(&world, idle_ms + 14 * 60 * 1000);
    lease = granted(&world);
    tick(&world, world.now_ms + 60 * 60 * 1000 - 1); /* a long answer */
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(view(&world).idle_stop_ms, world.now_ms + 15 * 60 * 1000);
}

static void test_idle_ttl_0_and_preload_never_stop(void **s)
{
    world.spec->idle_ttl_ms = 0;
    world_begin(&world);
    (void)idle_engine(&world);
    tick(&world, world.now_ms + UINT64_C(365) * 24 * 3600 * 1000);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(view(&world).idle_stop_ms, 0);
}

static void test_a_request_in_the_middle_of_an_idle_stop_waits_for_the_next_start(void **s)
{
    struct pm_token token;

    world_begin(&world);
    token = idle_engine(&world);
    tick(&world, world.now_ms + 15 * 60 * 1000);
    assert_string_equal(view(&world).code_name, "idle_stop");
    (void)request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0); /* INV-17 */
    exited(&world, token, (struct pm_exit){.status = 0});
    childless(&world, token);
    assert_int_equal(state(&world), PM_STAGING);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 1);
}

static void test_all_replicas_stop_when_the_pool_is_idle(void **s)
{
    struct pm_lease lease = {0};

    world.spec->n_replicas = 2;
    world.spec->stall_timeout_ms = PM_NEVER;
    world_begin(&world);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    for (unsigned i = 0; i < 2; i++) {
        endpoint_ready(&world, replica(&world, i).token);
        if (i == 0)
            lease = the_action(&world, PM_ACT_GRANT)->lease;
    }
    tick(&world, world.now_ms + 16 * 60 * 1000); /* the pool is in use, and so are both */
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    release(&world, &lease, PM_RELEASE_DONE);
    tick(&world, world.now_ms + 15 * 60 * 1000);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 2);
}

/* ---- shutdown --------------------------------------------------------------------------------------------- */

static void test_a_shutdown_without_engines_is_over_at_once(void **s)
{
    world_begin(&world);
    shut_down(false);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
}

static void test_a_shutdown_refuses_who_waits_and_drains_who_runs(void **s)
{
    struct pm_lease lease;
    struct pm_token token;
    uint64_t asked_ms;

    world.spec->n_slots = 1;
    world_begin(&world);
    token = ready_engine(&world, &lease);
    (void)request(&world);
    shut_down(false);
    asked_ms = world.now_ms;
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_SHUTTING_DOWN);
    assert_int_equal(state(&world), PM_READY);
    assert_false(view(&world).ready);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    (void)request(&world);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_SHUTTING_DOWN);

    tick(&world, asked_ms + 1000);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    exited(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 0);
    childless(&world, token);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
}

static void test_at_drain_deadline_a_shutdown_cuts_what_still_runs(void **s)
{
    struct pm_lease lease;
    uint64_t asked_ms;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    shut_down(false);
    asked_ms = world.now_ms;
    while (pm_core_deadline(world.core) < asked_ms + 5 * 60 * 1000) {
        next_tick(&world);
        pm_core_progress(world.core, replica(&world, 0).token, world.now_ms, &world.out);
        assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    }
    next_tick(&world);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_SHUTTING_DOWN);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
}

static void test_a_second_shutdown_kills_at_once(void **s)
{
    struct pm_lease lease;
    struct pm_token token;

    world_begin(&world);
    token = ready_engine(&world, &lease);
    shut_down(false);
    shut_down(false);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 1);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 1);
    childless(&world, token);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
}

static void test_a_shutdown_ends_a_start_before_and_after_its_spawn(void **s)
{
    struct pm_pool_spec *other = pm_pool_spec_new("other");

    world_begin(&world);
    world_add(&world, other);
    (void)start_engine(&world);
    (void)request_with(&world, (struct pm_request){.route = "other"});
    shut_down(false);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 2);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    assert_int_equal(state(&world), PM_STOPPING);
    childless(&world, replica(&world, 0).token);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
    pm_pool_spec_unref(other);
}

static void test_leaving_signals_nobody_and_is_over_in_that_step_SUP_9d(void **s)
{
    struct pm_lease lease;

    world.spec->n_slots = 1;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)request(&world);
    pm_actions_clear(&world.out);
    pm_core_leave(world.core, world.now_ms, &world.out);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_SHUTTING_DOWN);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
    release(&world, &lease, PM_RELEASE_DONE);
    tick(&world, world.now_ms + UINT64_C(30) * 24 * 3600 * 1000);
    (void)request(&world); /* idle for long, and looked at: the next daemon decides */
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_SHUTTING_DOWN);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL) + count_actions(&world, PM_ACT_KILL), 0);
}

/* ---- adoption ------------------------------------------------------------------------------------------------ */

static struct pm_token adopt(uint64_t instance)
{
    struct poolmgr_error err = {0};
    struct pm_token token = {0};

    world_add(&world, world.spec);
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_adopt(world.core, POOL, 0, instance, 4711, 400, world.now_ms,
                                   &world.out, &token, &err),
                     0);
    return token;
}

static void test_an_adopted_engine_is_probed_like_a_fresh_one_and_goes_on(void **s)
{
    struct pm_token token;

    world.now_ms = UINT64_C(50) * 3600 * 1000; /* it runs for two days, far beyond start_max */
    token = adopt(7);
    assert_told(&world, PM_EV_INSTANCE_ADOPTED, POOL " goes on: its engine, up for 2d, is adopted");
    pm_core_begin(world.core, world.now_ms, &world.out);
    assert_int_equal(state(&world), PM_STARTING);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
    tick(&world, world.now_ms + 5);
    endpoint_ready(&world, token);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(replica(&world, 0).instance, 7);
    assert_int_equal(replica(&world, 0).pid, 4711);
    assert_int_equal(replica(&world, 0).started_ms, 400);
    assert_told(&world, PM_EV_INSTANCE_READY, POOL " is ready after 5 ms with 4 slots");
    assert_int_equal(view(&world).idle_stop_ms, world.now_ms + 15 * 60 * 1000);

    /* Streams of the old daemon may still run there: full until it is known, or they have settled. */
    (void)request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    tick(&world, world.now_ms + 500);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1);
}

static void test_an_adopted_engine_that_can_tell_is_as_full_as_it_says(void **s)
{
    struct pm_token token, probe;

    world.spec->habits.reports_busy = true;
    token = adopt(1);
    pm_core_begin(world.core, world.now_ms, &world.out);
    endpoint_ready(&world, token);
    probe = the_action(&world, PM_ACT_ASK_BUSY)->probe;
    assert_int_equal(view(&world).slots_free, 0);
    pm_core_busy(world.core, probe, 3, world.now_ms, &world.out);
    assert_int_equal(view(&world).slots_free, 1);
}

static void test_an_adopted_engine_that_has_ended_is_judged_by_its_exit(void **s)
{
    struct pm_token token = adopt(3);

    exited(&world, token, (struct pm_exit){.signalled = true, .status = 9});
    childless(&world, token);
    assert_int_equal(replica(&world, 0).n_failures, 1);
    assert_int_equal(view(&world).last_error.class, PM_CLASS_KILLED);
}

static void test_an_instance_number_is_never_used_twice(void **s)
{
    world_add(&world, world.spec);
    pm_core_seen_instance(world.core, POOL, 41);
    pm_core_begin(world.core, world.now_ms, &world.out);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_int_equal(the_action(&world, PM_ACT_SPAWN)->instance, 42);
}

static void test_strangers_and_seconds_are_not_adopted(void **s)
{
    struct poolmgr_error err = {0};
    struct pm_token token = {0};

    (void)adopt(1);
    assert_int_equal(
        pm_core_adopt(world.core, POOL, 0, 2, 1, 0, world.now_ms, &world.out, &token, &err),
        POOLMGR_E_CONFLICT);
    assert_int_equal(
        pm_core_adopt(world.core, POOL, 1, 2, 1, 0, world.now_ms, &world.out, &token, &err),
        POOLMGR_E_NOT_FOUND);
    assert_int_equal(
        pm_core_adopt(world.core, "nobody", 0, 2, 1, 0, world.now_ms, &world.out, &token, &err),
        POOLMGR_E_NOT_FOUND);
}

static void test_a_loading_engine_nobody_waits_for_is_given_up_after_its_adoption(void **s)
{
    (void)adopt(1);
    pm_core_begin(world.core, world.now_ms, &world.out);
    tick(&world, world.now_ms + 60000);
    assert_int_equal(state(&world), PM_STOPPING);
}

static void test_a_daemon_without_pools_stops_too(void **s)
{
    pm_core_begin(world.core, world.now_ms, &world.out);
    shut_down(false);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
    shut_down(true);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 0);
}

static void test_leaving_interrupts_every_operation(void **s)
{
    struct poolmgr_error err = {0};
    struct pm_operation op;
    struct pm_lease lease;
    uint64_t id;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    assert_int_equal(pm_core_stop(world.core, POOL, 9000, world.now_ms, &world.out, &id, &err), 0);
    pm_actions_clear(&world.out);
    pm_core_leave(world.core, world.now_ms, &world.out);
    assert_true(pm_core_operation(world.core, id, &op));
    assert_int_equal(op.state, PM_OP_INTERRUPTED);
    assert_int_equal(the_action(&world, PM_ACT_OPERATION)->operation, id);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
}

static void test_a_preloaded_pool_that_waits_for_its_place_gives_it_up(void **s)
{
    struct pm_pool_spec *specs[3];
    struct poolmgr_error err = {0};
    struct pm_pool_view view;
    uint64_t op;
    char id[] = "pool-0";

    for (int i = 0; i < 3; i++) {
        id[5] = (char)('0' + i);
        specs[i] = pm_pool_spec_new(id);
        specs[i]->start = PM_PRELOAD;
        world_add(&world, specs[i]);
    }
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
    for (int i = 0; i < 3; i++) /* the first question of each pool, in order */
        pm_core_staged(world.core, action_at(&world, PM_ACT_STAGE, (size_t)i)->token, NULL, NULL, 0,
                       world.now_ms, &world.out);
    assert_true(pm_core_pool(world.core, "pool-2", world.now_ms, &view));
    assert_int_equal(view.state, PM_WAITING);
    assert_string_equal(view.reason, "waits while 2 other pools load; a request starts it now");
    assert_int_equal(pm_core_stop(world.core, "pool-2", 0, world.now_ms, &world.out, &op, &err), 0);
    assert_true(pm_core_pool(world.core, "pool-2", world.now_ms, &view));
    assert_int_equal(view.state, PM_COLD);
    for (int i = 0; i < 3; i++)
        pm_pool_spec_unref(specs[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_deaf_engine_is_killed_after_stop_grace_and_each_second_until_childless),
        TEST(test_a_second_sigterm_comes_half_way_where_the_engine_needs_it),
        TEST(test_children_that_outlive_their_engine_are_killed),
        TEST(test_an_exit_after_our_signal_is_as_planned),
        TEST(test_a_stop_of_a_start_that_then_cannot_be_launched_is_no_failure),
        TEST(test_a_request_before_the_idle_stop_keeps_the_engine),
        TEST(test_idle_ttl_0_and_preload_never_stop),
        TEST(test_a_request_in_the_middle_of_an_idle_stop_waits_for_the_next_start),
        TEST(test_all_replicas_stop_when_the_pool_is_idle),
        TEST(test_a_shutdown_without_engines_is_over_at_once),
        TEST(test_a_shutdown_refuses_who_waits_and_drains_who_runs),
        TEST(test_at_drain_deadline_a_shutdown_cuts_what_still_runs),
        TEST(test_a_second_shutdown_kills_at_once),
        TEST(test_a_shutdown_ends_a_start_before_and_after_its_spawn),
        TEST(test_leaving_signals_nobody_and_is_over_in_that_step_SUP_9d),
        TEST(test_an_adopted_engine_is_probed_like_a_fresh_one_and_goes_on),
        TEST(test_an_adopted_engine_that_can_tell_is_as_full_as_it_says),
        TEST(test_an_adopted_engine_that_has_ended_is_judged_by_its_exit),
        TEST(test_an_instance_number_is_never_used_twice),
        TEST(test_strangers_and_seconds_are_not_adopted),
        TEST(test_a_loading_engine_nobody_waits_for_is_given_up_after_its_adoption),
        TEST(test_a_daemon_without_pools_stops_too),
        TEST(test_leaving_interrupts_every_operation),
        TEST(test_a_preloaded_pool_that_waits_for_its_place_gives_it_up),
    };

    return cmocka_run_group_tests_name("core: stop", tests, NULL, NULL);
}
