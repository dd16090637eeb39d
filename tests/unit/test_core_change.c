/* SPDX-License-Identifier: Apache-2.0 */
/* Pools that come, change and go (REG-2, RELOAD-2). */
#include "core_operator.h"

#define MINE "mine"

static struct world world;
static struct pm_pool_spec *mine;

static int set_up(void **s)
{
    struct poolmgr_error err = {0};

    world_init(&world);
    world_begin(&world);
    mine = pm_pool_spec_new(MINE);
    pm_strv_add(&mine->aliases, "gpt");
    assert_int_equal(
        pm_core_add_pool(world.core, mine, PM_OWNER_API, world.now_ms, &world.out, &err), 0);
    return 0;
}

static int tear_down(void **s)
{
    pm_pool_spec_unref(mine);
    world_fini(&world);
    return 0;
}

static uint64_t ask(const char *route)
{
    return request_with(&world, (struct pm_request){.route = route});
}

static struct pm_token ready_mine(struct pm_lease *ret)
{
    struct pm_token token;

    (void)ask(MINE);
    token = staged_spawn(&world);
    spawned(&world, token, NULL);
    endpoint_ready(&world, token);
    *ret = the_action(&world, PM_ACT_GRANT)->lease;
    return token;
}

static int try_remove(const char *id, bool has_drain, uint64_t drain_ms, uint64_t *ret_op)
{
    struct poolmgr_error err = {0};

    pm_actions_clear(&world.out);
    return pm_core_remove_pool(world.core, id, has_drain, drain_ms, world.now_ms, &world.out,
                               ret_op, &err);
}

static uint64_t remove_mine(uint64_t drain_ms)
{
    uint64_t op = 0;

    assert_int_equal(try_remove(MINE, true, drain_ms, &op), 0);
    durable(&world);
    return op;
}

static void test_a_removed_pool_leaves_the_routes_when_that_is_durable_and_is_forgotten(void **s)
{
    struct pm_pool_view view;
    uint64_t op = 0;

    assert_int_equal(try_remove(MINE, false, 0, &op), 0);
    assert_true(the_action(&world, PM_ACT_PERSIST)->record->removed);
    assert_non_null(pm_core_route(world.core, "gpt"));
    durable(&world);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->operation, op);
    assert_told(&world, PM_EV_POOL_REMOVED, MINE " is removed");
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_false(pm_core_pool(world.core, MINE, world.now_ms, &view));
    assert_null(pm_core_route(world.core, "gpt"));
    assert_int_equal(pm_core_n_pools(world.core), 1);
    (void)ask(MINE);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_MODEL_NOT_FOUND);
}

static void test_a_removal_lets_who_runs_finish_and_refuses_who_waits_INV_18(void **s)
{
    struct pm_pool_view view;
    struct pm_lease lease;
    struct pm_token token;
    uint64_t op;

    mine->n_slots = 1;
    token = ready_mine(&lease);
    (void)ask("gpt");
    (void)ask(MINE);
    op = remove_mine(60000);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 2);
    assert_int_equal(action_at(&world, PM_ACT_REFUSE, 1)->error->code, POOLMGR_E_MODEL_NOT_FOUND);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    assert_true(pm_core_pool(world.core, MINE, world.now_ms, &view));
    assert_int_equal(view.intent, PM_DRAINING); /* until it is gone */
    (void)ask("gpt");
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_MODEL_NOT_FOUND);
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    tick(&world, world.now_ms + 60000);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);

    pm_actions_clear(&world.out); /* a lease of a pool that is gone releases nothing */
    pm_core_release(world.core, &lease, PM_RELEASE_DONE, world.now_ms, &world.out);
    assert_int_equal(world.out.n, 0);
}

static void test_a_second_removal_joins_and_its_earlier_deadline_counts(void **s)
{
    struct pm_lease lease;
    uint64_t first, second = 0;

    (void)ready_mine(&lease);
    first = remove_mine(60000);
    assert_int_equal(try_remove(MINE, true, 1000, &second), 0);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 0);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->operation, second);
    tick(&world, world.now_ms + 1000);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_DRAINING);
    assert_int_equal(cancel(&world, first), POOLMGR_E_CONFLICT); /* it is for good */
}

static void test_what_cannot_be_removed_is_refused_and_nothing_changed(void **s)
{
    struct pm_lease lease;
    uint64_t op = 0;

    assert_int_equal(try_remove(POOL, true, 0, &op), POOLMGR_E_OWNED_BY_FILE);
    assert_int_equal(try_remove("x", true, 0, &op), POOLMGR_E_NOT_FOUND);
    (void)ready_mine(&lease);
    assert_int_equal(try_remove(MINE, false, 0, &op), POOLMGR_E_HAS_LEASES);
    assert_int_equal(world.out.n, 0);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(try_remove(MINE, false, 0, &op), 0);
}

static void test_a_removal_that_is_not_durable_did_not_happen_INV_27(void **s)
{
    uint64_t op = 0;

    assert_int_equal(try_remove(MINE, true, 0, &op), 0);
    disk_full(&world);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->error->code, POOLMGR_E_STORE_FAILED);
    assert_non_null(pm_core_route(world.core, "gpt"));
    (void)ask(MINE);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 1);
}

static void test_nothing_but_a_stop_meets_a_removal(void **s)
{
    struct poolmgr_error err = {0};
    struct pm_drain drain = {0};
    struct pm_lease lease;
    uint64_t op = 0;

    (void)ready_mine(&lease);
    (void)remove_mine(60000);
    assert_int_equal(pm_core_drain(world.core, MINE, &drain, world.now_ms, &world.out, &op, &err),
                     POOLMGR_E_CONFLICT);
    assert_string_equal(err.message, MINE " is being removed: no drain now");
    assert_int_equal(pm_core_resume(world.core, MINE, world.now_ms, &world.out, &op, &err),
                     POOLMGR_E_CONFLICT);
    assert_int_equal(pm_core_start(world.core, MINE, world.now_ms, &world.out, &op, &err),
                     POOLMGR_E_CONFLICT);
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_stop(world.core, MINE, 0, world.now_ms, &world.out, &op, &err), 0);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 1); /* hurried */
    crash(&world, action_at(&world, PM_ACT_SIGNAL, 0)->token, (struct pm_exit){.status = 0});
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
}

static void test_an_alias_that_is_left_is_the_next_pool_s(void **s)
{
    struct pm_pool_spec *other = pm_pool_spec_new("other");
    struct poolmgr_error err = {0};

    pm_strv_add(&other->aliases, "gpt");
    assert_int_equal(
        pm_core_add_pool(world.core, other, PM_OWNER_API, world.now_ms, &world.out, &err), 0);
    (void)remove_mine(0);
    assert_ptr_equal(pm_core_route(world.core, "gpt"), other);
    pm_pool_spec_unref(other);
}

static void test_a_shutdown_ends_a_removal_by_the_earlier_deadline(void **s)
{
    struct pm_lease lease;
    struct pm_token token = ready_mine(&lease);
    uint64_t op = remove_mine(1000);

    pm_actions_clear(&world.out);
    pm_core_shutdown(world.core, false, world.now_ms, &world.out);
    tick(&world, world.now_ms + 1000);
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_removed_pool_leaves_the_routes_when_that_is_durable_and_is_forgotten),
        TEST(test_a_removal_lets_who_runs_finish_and_refuses_who_waits_INV_18),
        TEST(test_a_second_removal_joins_and_its_earlier_deadline_counts),
        TEST(test_what_cannot_be_removed_is_refused_and_nothing_changed),
        TEST(test_a_removal_that_is_not_durable_did_not_happen_INV_27),
        TEST(test_nothing_but_a_stop_meets_a_removal),
        TEST(test_an_alias_that_is_left_is_the_next_pool_s),
        TEST(test_a_shutdown_ends_a_removal_by_the_earlier_deadline),
    };

    return cmocka_run_group_tests_name("core: change", tests, NULL, NULL);
}
