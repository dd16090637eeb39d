/* SPDX-License-Identifier: Apache-2.0 */
/* Probes, sick and hung engines (HEALTH-3a, HEALTH-3b, INV-7), and why something is not ready (HEALTH-5). */
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

static void probe(bool ok)
{
    next_tick(&world);
    probed(&world, the_action(&world, PM_ACT_PROBE)->probe, ok);
}

static void limit(void)
{
    struct pm_lease lease = granted(&world);

    release(&world, &lease, PM_RELEASE_LIMIT);
}

static void test_three_missed_probes_make_it_sick_and_two_good_ones_bring_it_back(void **s)
{
    world_begin(&world);
    (void)idle_engine(&world);
    probe(false);
    probe(false);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(view(&world).n_failed_checks, 2);
    probe(false);
    assert_int_equal(state(&world), PM_SICK);
    assert_told(&world, PM_EV_INSTANCE_SICK,
                POOL " is sick: 3 probes missed; restart in 1m unless it answers");
    assert_true(view(&world).live);
    assert_false(view(&world).ready);
    (void)request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0); /* it waits */

    probe(true);
    assert_int_equal(state(&world), PM_SICK);
    probe(true);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1);
    assert_int_equal(replica(&world, 0).n_failures, 0);
}

static void test_a_probe_nobody_answers_is_a_missed_one(void **s)
{
    world_begin(&world);
    (void)idle_engine(&world);
    for (int i = 0; i < 4; i++)
        next_tick(&world);
    assert_int_equal(state(&world), PM_SICK);
}

static void test_a_missed_probe_of_an_engine_with_leases_means_nothing_INV_7(void **s)
{
    struct pm_lease lease;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    for (int i = 0; i < 10; i++)
        probe(false);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(view(&world).n_failed_checks, 0);

    release(&world, &lease, PM_RELEASE_DONE);
    probe(false);
    probe(false);
    lease = granted(&world); /* taking a lease sets the misses to 0 */
    release(&world, &lease, PM_RELEASE_DONE);
    probe(false);
    assert_int_equal(state(&world), PM_READY);
}

static void test_sick_for_sick_restart_is_stopped_with_class_health(void **s)
{
    uint64_t sick_ms;

    world_begin(&world);
    (void)idle_engine(&world);
    for (int i = 0; i < 3; i++)
        probe(false);
    sick_ms = world.now_ms;
    while (state(&world) == PM_SICK)
        next_tick(&world);
    assert_int_equal(world.now_ms, sick_ms + 60000);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->reason_code, PM_CLASS_HEALTH);
    assert_int_equal(view(&world).last_error.class, PM_CLASS_HEALTH);
    childless(&world, replica(&world, 0).token);
    assert_int_equal(replica(&world, 0).n_failures, 1);
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_leases_and_no_sign_of_life_for_stall_timeout_is_a_stall(void **s)
{
    struct pm_lease lease;
    uint64_t life_ms;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    tick(&world, world.now_ms + 100000);
    pm_core_progress(world.core, replica(&world, 0).token, world.now_ms, &world.out);
    life_ms = world.now_ms;
    tick(&world, life_ms + 119999);
    assert_int_equal(state(&world), PM_READY);
    tick(&world, life_ms + 120000);
    assert_int_equal(state(&world), PM_STOPPING);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->reason_code, PM_CLASS_STALL);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_ENGINE_TIMEOUT);
    assert_told(&world, PM_EV_INSTANCE_STALLED,
                POOL " hangs: 1 request and no sign of life for 2m");
}

static void test_an_idle_engine_never_stalls(void **s)
{
    world.spec->idle_ttl_ms = 0;
    world_begin(&world);
    (void)idle_engine(&world);
    for (int i = 0; i < 200; i++)
        probe(true);
    assert_int_equal(state(&world), PM_READY);
}

static void test_three_request_limits_in_a_row_are_a_stall_and_a_success_between_is_not(void **s)
{
    struct pm_lease lease;

    world_begin(&world);
    (void)idle_engine(&world);
    limit();
    limit();
    lease = granted(&world);
    release(&world, &lease, PM_RELEASE_DONE);
    limit();
    limit();
    assert_int_equal(state(&world), PM_READY);
    tick(&world, world.now_ms + 600); /* their slots have settled */
    limit();
    assert_int_equal(state(&world), PM_STOPPING);
    assert_told(&world, PM_EV_INSTANCE_STALLED,
                POOL " hangs: 3 requests in a row ran into their limits");
}

static void test_a_stopped_pool_wakes_nobody(void **s)
{
    world_begin(&world);
    assert_int_equal(pm_core_deadline(world.core), PM_NEVER);
}

static void test_probes_are_two_seconds_apart(void **s)
{
    uint64_t ready_ms;

    world_begin(&world);
    (void)idle_engine(&world);
    ready_ms = world.now_ms;
    assert_int_equal(pm_core_deadline(world.core), ready_ms + 2000);
    probe(true);
    assert_int_equal(view(&world).last_check_ms, ready_ms + 2000);
    assert_int_equal(pm_core_deadline(world.core), ready_ms + 4000);
}

/* HEALTH-5: a stable code, the numbers, and what a person can do next. */
static void test_what_is_not_ready_says_why(void **s)
{
    struct pm_token token;

    world_begin(&world);
    assert_string_equal(view(&world).reason, "starts with the first request");
    assert_int_equal(view(&world).code, 0);
    assert_string_equal(view(&world).code_name, "cold");

    (void)request(&world);
    assert_string_equal(view(&world).reason, "its model is checked; 1 waiting request");
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    token = the_action(&world, PM_ACT_SPAWN)->token;
    world.now_ms += 41000;
    tick(&world, world.now_ms);
    assert_string_equal(view(&world).reason,
                        "loads for 41 s, at most 30m; 1 waiting request; poolctl logs " POOL);
    crash(&world, token, (struct pm_exit){.status = 1, .evidence = {.text = "no CUDA device"}});
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    crash(&world, the_action(&world, PM_ACT_SPAWN)->token, (struct pm_exit){.status = 1});
    assert_int_equal(view(&world).code, POOLMGR_E_START_FAILED);
    assert_string_equal(view(&world).code_name, "start_failed");
    assert_non_null(strstr(view(&world).reason, "exit status 1, 2 in a row; next start in "));
    assert_int_equal(view(&world).state, PM_BACKOFF);

    next_tick(&world);
    assert_string_equal(view(&world).reason, "exit status 1, 2 in a row; the next request tries "
                                             "again; poolctl logs " POOL);
    endpoint_ready(&world, start_engine(&world));
    assert_string_equal(view(&world).reason, "");
    assert_string_equal(view(&world).code_name, "");
    assert_true(view(&world).ready);
}

static void test_views_are_in_the_order_of_their_ids_REG_3(void **s)
{
    static const char *const ids[] = {"zebra", "ant", "mole"};
    struct pm_pool_view a, b;

    for (size_t i = 0; i < 3; i++) {
        struct pm_pool_spec *spec = pm_pool_spec_new(ids[i]);

        world_add(&world, spec);
        pm_pool_spec_unref(spec);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_true(pm_core_pool_at(world.core, i, 0, &a));
        assert_true(pm_core_pool_at(world.core, i + 1, 0, &b));
        assert_true(strcmp(a.spec->id, b.spec->id) < 0);
    }
    assert_false(pm_core_pool_at(world.core, 3, 0, &a));
}

static void test_counters_count(void **s)
{
    struct pm_pool_counters n;
    struct pm_lease lease;
    struct pm_token token;

    world_begin(&world);
    token = ready_engine(&world, &lease);
    release(&world, &lease, PM_RELEASE_DONE);
    crash(&world, token, (struct pm_exit){.status = 1});
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    crash(&world, the_action(&world, PM_ACT_SPAWN)->token, (struct pm_exit){.status = 1});
    gone(&world, request(&world));
    (void)request_with(&world, (struct pm_request){.deadline_ms = 1});
    assert_true(pm_core_counters(world.core, POOL, &n));
    assert_int_equal(n.requests, 3);
    assert_int_equal(n.granted, 1);
    assert_int_equal(n.refused, 1);
    assert_int_equal(n.cancelled, 1);
    assert_int_equal(n.starts, 2);
    assert_int_equal(n.ready, 1);
    assert_int_equal(n.crashes, 1);
    assert_int_equal(n.start_failures, 1);
    assert_false(pm_core_counters(world.core, "x", &n));
}

static void test_idle_stops_are_counted_and_stops_of_operators_are_not(void **s)
{
    struct poolmgr_error err = {0};
    struct pm_pool_counters n;
    uint64_t op;

    world_begin(&world);
    (void)idle_engine(&world);
    tick(&world, world.now_ms + 15 * 60 * 1000);
    assert_int_equal(state(&world), PM_STOPPING);
    childless(&world, replica(&world, 0).token);
    (void)idle_engine(&world);
    assert_int_equal(pm_core_stop(world.core, POOL, 0, world.now_ms, &world.out, &op, &err), 0);
    assert_true(pm_core_counters(world.core, POOL, &n));
    assert_int_equal(n.idle_stops, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_three_missed_probes_make_it_sick_and_two_good_ones_bring_it_back),
        TEST(test_a_probe_nobody_answers_is_a_missed_one),
        TEST(test_a_missed_probe_of_an_engine_with_leases_means_nothing_INV_7),
        TEST(test_sick_for_sick_restart_is_stopped_with_class_health),
        TEST(test_leases_and_no_sign_of_life_for_stall_timeout_is_a_stall),
        TEST(test_an_idle_engine_never_stalls),
        TEST(test_three_request_limits_in_a_row_are_a_stall_and_a_success_between_is_not),
        TEST(test_a_stopped_pool_wakes_nobody),
        TEST(test_probes_are_two_seconds_apart),
        TEST(test_what_is_not_ready_says_why),
        TEST(test_views_are_in_the_order_of_their_ids_REG_3),
        TEST(test_counters_count),
        TEST(test_idle_stops_are_counted_and_stops_of_operators_are_not),
    };

    return cmocka_run_group_tests_name("core: health", tests, NULL, NULL);
}
