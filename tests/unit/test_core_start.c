/* SPDX-License-Identifier: Apache-2.0 */
/* Starting: one start for everybody who waits (LOAD-1), what ends it (LOAD-3, LOAD-4), who is told what. */
#include "core_world.h"

static struct world world;

static int set_up(void **state_)
{
    world_init(&world);
    return 0;
}

static int tear_down(void **state_)
{
    world_fini(&world);
    return 0;
}

/* The whole way of an engine, once. */
static void test_a_request_starts_a_cold_pool_and_an_idle_one_stops(void **state_)
{
    struct pm_lease lease;
    struct pm_token token;

    world_begin(&world);
    assert_int_equal(state(&world), PM_COLD);

    (void)request(&world);
    assert_int_equal(state(&world), PM_STAGING);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_int_equal(state(&world), PM_STARTING);
    assert_int_equal(the_action(&world, PM_ACT_SPAWN)->instance, 1);
    token = the_action(&world, PM_ACT_SPAWN)->token;
    spawned(&world, token, NULL);

    world.now_ms += 4100;
    endpoint_ready(&world, token);
    assert_int_equal(state(&world), PM_READY);
    assert_told(&world, PM_EV_INSTANCE_READY, POOL " is ready after 4.1 s with 4 slots");
    lease = the_action(&world, PM_ACT_GRANT)->lease;
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->waited_ms, 4100);

    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(view(&world).active_leases, 0);
    assert_int_equal(view(&world).idle_stop_ms, world.now_ms + 15 * 60 * 1000);

    tick(&world, world.now_ms + 15 * 60 * 1000);
    assert_int_equal(state(&world), PM_STOPPING);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->token.serial, token.serial);
    assert_told(&world, PM_EV_INSTANCE_STOPPING, POOL " stops: idle for 15m");

    exited(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(state(&world), PM_STOPPING);
    childless(&world, token);
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(count_actions(&world, PM_ACT_FORGET), 1);
    assert_int_equal(replica(&world, 0).n_failures, 0);
    assert_int_equal(pm_core_deadline(world.core), PM_NEVER);
}

static void test_a_thousand_requests_to_a_cold_pool_make_one_start_LOAD_1(void **state_)
{
    struct pm_token token;
    size_t n_spawns = 0;

    world_begin(&world);
    (void)request(&world);
    token = the_action(&world, PM_ACT_STAGE)->token;
    for (int i = 0; i < 999; i++) {
        (void)request(&world);
        assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
        assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    }
    staged(&world, token, NULL);
    n_spawns += count_actions(&world, PM_ACT_SPAWN);
    assert_int_equal(n_spawns, 1);
    endpoint_ready(&world, the_action(&world, PM_ACT_SPAWN)->token);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(action_at(&world, PM_ACT_GRANT, i)->request, i + 1);
    assert_int_equal(view(&world).queue_depth, 996);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_request_starts_a_cold_pool_and_an_idle_one_stops,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_a_thousand_requests_to_a_cold_pool_make_one_start_LOAD_1, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("core: start", tests, NULL, NULL);
}
