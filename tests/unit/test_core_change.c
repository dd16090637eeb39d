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

static void test_nothing_is_written_behind_a_removal_that_is_on_its_way_INV_26(void **s)
{
    static const struct pm_drain drain = {.has_deadline = true, .deadline_ms = 60000};
    struct poolmgr_error err = {0};
    uint64_t draining = 0, op = 0;
    struct pm_lease lease;
    struct pm_token disk;

    (void)ready_mine(&lease);
    pm_actions_clear(&world.out);
    assert_int_equal(
        pm_core_drain(world.core, MINE, &drain, world.now_ms, &world.out, &draining, &err), 0);
    durable(&world);
    assert_int_equal(try_remove(MINE, true, 60000, &op), 0);
    disk = the_action(&world, PM_ACT_PERSIST)->token;
    assert_int_equal(cancel(&world, draining), POOLMGR_E_CONFLICT);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 0); /* it would bring the pool back */
    pm_core_persisted(world.core, disk, NULL, world.now_ms, &world.out);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->operation, op);
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

static void test_a_restart_carries_a_removal_on_INV_26(void **s)
{
    struct pm_pool_record record = {.pool_id = MINE,
                                    .removed = true,
                                    .owner = PM_OWNER_API,
                                    .has_operation = true,
                                    .operation = 7,
                                    .kind = PM_OP_REMOVE};
    struct pm_pool_view view;

    pm_actions_clear(&world.out);
    pm_core_restore(world.core, &record, world.now_ms, &world.out);
    assert_int_equal(operation(&world, 7).state, PM_OP_INTERRUPTED);
    assert_false(pm_core_pool(world.core, MINE, world.now_ms, &view));
    assert_null(pm_core_route(world.core, "gpt"));
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

/* ---- what differs ------------------------------------------------------------------------------------------------- */

static struct pm_pool_spec *spec_with(const char *id, const char *model)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(id);

    spec->model.main = pm_xstrdup(model);
    return spec;
}

static void test_what_an_engine_sees_is_a_reload_and_the_rest_is_limits(void **s)
{
    struct pm_pool_spec *a = spec_with("a", "/m/a.gguf"), *b = spec_with("a", "/m/a.gguf");

    assert_int_equal(pm_spec_compare(a, b), PM_SPEC_SAME);
    b->n_replicas = 2;
    b->queue.max_age_ms = 1;
    b->pinned = true;
    pm_strv_add(&b->aliases, "x");
    assert_int_equal(pm_spec_compare(a, b), PM_SPEC_LIMITS);
    b->n_slots++;
    assert_int_equal(pm_spec_compare(a, b), PM_SPEC_ENGINE);
    b->n_slots--;
    pm_strv_add(&b->args, "--flash-attn");
    assert_int_equal(pm_spec_compare(a, b), PM_SPEC_ENGINE);
    pm_pool_spec_unref(b);
    b = spec_with("a", "/m/b.gguf");
    assert_int_equal(pm_spec_compare(a, b), PM_SPEC_ENGINE);
    pm_pool_spec_unref(a);
    pm_pool_spec_unref(b);
}

/* ---- PUT ------------------------------------------------------------------------------------------------------------ */

static int try_put(struct pm_pool_spec *spec, uint64_t *ret_op)
{
    struct poolmgr_error err = {0};
    int r;

    pm_actions_clear(&world.out);
    r = pm_core_put_pool(world.core, spec, world.now_ms, &world.out, ret_op, &err);
    pm_pool_spec_unref(spec);
    return r;
}

static uint64_t put(struct pm_pool_spec *spec)
{
    uint64_t op = 0;

    assert_int_equal(try_put(spec, &op), 0);
    return op;
}

static struct pm_pool_view view_of(const char *id)
{
    struct pm_pool_view view;

    assert_true(pm_core_pool(world.core, id, world.now_ms, &view));
    return view;
}

static bool exists(const char *id)
{
    struct pm_pool_view view;

    return pm_core_pool(world.core, id, world.now_ms, &view);
}

static void test_a_new_pool_is_there_when_it_is_durable(void **s)
{
    struct pm_pool_spec *spec = spec_with("new", "/m/a.gguf");
    uint64_t op;

    spec->stored = pm_xstrdup("{}");
    op = put(spec);
    assert_string_equal(the_action(&world, PM_ACT_PERSIST)->record->pool_id, "new");
    assert_string_equal(the_action(&world, PM_ACT_PERSIST)->record->spec_text, "{}");
    assert_int_equal(the_action(&world, PM_ACT_PERSIST)->record->owner, PM_OWNER_API);
    assert_false(exists("new"));
    durable(&world);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->operation, op);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_int_equal(view_of("new").owner, PM_OWNER_API);

    op = put(spec_with("full", "/m/a.gguf"));
    disk_full(&world);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->error->code, POOLMGR_E_STORE_FAILED);
    assert_false(exists("full"));
}

static void test_limits_are_changed_in_place_when_they_are_durable(void **s)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(MINE);
    struct pm_lease lease;
    uint64_t op;

    (void)ready_mine(&lease);
    spec->queue.n_requests = 1;
    pm_strv_add(&spec->aliases, "other-name");
    op = put(spec);
    assert_int_equal(view_of(MINE).spec->queue.n_requests, 1024);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_int_equal(view_of(MINE).spec->queue.n_requests, 1);
    assert_told(&world, PM_EV_POOL_CHANGED, "limits of " MINE " change in place");
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    assert_non_null(pm_core_route(world.core, "other-name"));
    assert_null(pm_core_route(world.core, "gpt"));
    assert_int_equal(view_of(MINE).state, PM_READY);
}

static void test_limits_that_are_not_durable_were_not_asked_for_INV_27(void **s)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(MINE);
    uint64_t op;

    spec->queue.n_requests = 1;
    op = put(spec);
    disk_full(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_int_equal(view_of(MINE).spec->queue.n_requests, 1024);
    assert_false(view_of(MINE).config_drift);
}

static void test_a_put_of_what_is_there_already_changes_nothing(void **s)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(MINE);
    uint64_t op;

    pm_strv_add(&spec->aliases, "gpt");
    op = put(spec);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_null(find_event(&world, PM_EV_POOL_CHANGED));
}

static void test_another_model_is_a_reload_and_what_is_not_good_is_drift(void **s)
{
    const struct pm_failure missing = {
        .code = POOLMGR_E_MODEL_MISSING, .permanent = true, .text = "no such file"};
    uint64_t op;

    op = put(spec_with(MINE, "/m/b.gguf"));
    assert_int_equal(operation(&world, op).kind, PM_OP_RELOAD);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->operation, op);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &missing);
    assert_int_equal(operation(&world, op).error.code, POOLMGR_E_MODEL_MISSING);
    assert_null(view_of(MINE).spec->model.main);
    assert_true(view_of(MINE).config_drift);
}

static void test_a_put_waits_for_a_reload_and_the_newest_wins(void **s)
{
    struct pm_token staging;
    uint64_t first, second, third;

    first = put(spec_with(MINE, "/m/b.gguf"));
    staging = the_action(&world, PM_ACT_STAGE)->token;
    second = put(spec_with(MINE, "/m/c.gguf"));
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    third = put(spec_with(MINE, "/m/d.gguf"));
    assert_int_equal(operation(&world, second).state, PM_OP_CANCELLED);
    assert_int_equal(operation(&world, second).replaced_by, third);
    staged(&world, staging, NULL);
    durable(&world);
    assert_int_equal(operation(&world, first).state, PM_OP_SUCCEEDED);
    assert_string_equal(the_action(&world, PM_ACT_STAGE)->spec->model.main, "/m/d.gguf");
}

static void test_a_change_that_waits_ends_with_the_daemon(void **s)
{
    uint64_t first, second;

    first = put(spec_with(MINE, "/m/b.gguf"));
    second = put(spec_with(MINE, "/m/c.gguf"));
    pm_actions_clear(&world.out);
    pm_core_leave(world.core, world.now_ms, &world.out);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    assert_int_equal(operation(&world, first).state, PM_OP_CANCELLED);
    assert_int_equal(operation(&world, second).state, PM_OP_CANCELLED);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
}

static void test_a_put_of_what_is_not_the_api_s_is_refused(void **s)
{
    struct pm_pool_spec *spec = spec_with("new", "/m/a.gguf");
    uint64_t op;

    pm_strv_add(&spec->aliases, POOL);
    assert_int_equal(try_put(spec, &op), POOLMGR_E_CONFLICT);
    assert_int_equal(try_put(spec_with(POOL, "/m/a.gguf"), &op), POOLMGR_E_OWNED_BY_FILE);
    assert_int_equal(try_put(spec_with("gpt", "/m/a.gguf"), &op), POOLMGR_E_CONFLICT);
    assert_int_equal(world.out.n, 0);
}

/* The same as behind a removal that is durable. */
static void test_a_put_that_meets_a_removal_on_its_way_comes_back_after_it(void **s)
{
    uint64_t removing = 0, putting;
    struct pm_token token, disk;
    struct pm_lease lease;

    token = ready_mine(&lease);
    assert_int_equal(try_remove(MINE, true, 60000, &removing), 0);
    disk = the_action(&world, PM_ACT_PERSIST)->token;
    putting = put(spec_with(MINE, "/m/b.gguf"));
    pm_core_persisted(world.core, disk, NULL, world.now_ms, &world.out);
    assert_int_equal(operation(&world, putting).state, PM_OP_RUNNING);
    release(&world, &lease, PM_RELEASE_DONE);
    crash(&world, token, (struct pm_exit){.status = 0});
    durable(&world);
    assert_int_equal(operation(&world, putting).state, PM_OP_SUCCEEDED);
    assert_true(operation(&world, putting).made);
    assert_string_equal(view_of(MINE).spec->model.main, "/m/b.gguf");
}

static void test_a_put_behind_a_removal_that_is_not_durable_is_refused(void **s)
{
    uint64_t removing = 0, putting;
    struct pm_token disk;
    struct pm_lease lease;
    const struct poolmgr_error full = {.code = POOLMGR_E_STORE_FAILED, .message = "no space left"};

    (void)ready_mine(&lease);
    assert_int_equal(try_remove(MINE, true, 60000, &removing), 0);
    disk = the_action(&world, PM_ACT_PERSIST)->token;
    putting = put(spec_with(MINE, "/m/b.gguf"));
    pm_actions_clear(&world.out);
    pm_core_persisted(world.core, disk, &full, world.now_ms, &world.out);
    assert_int_equal(operation(&world, putting).state, PM_OP_FAILED);
    assert_int_equal(operation(&world, putting).error.code, POOLMGR_E_CONFLICT);
    assert_int_equal(count_actions(&world, PM_ACT_ACCEPTED), 2);
    assert_ptr_equal(view_of(MINE).spec, mine);
}

/* The last word wins: who asked for the pool is told that it does not come back. */
static void test_a_removal_replaces_the_put_that_waits_for_a_removal(void **s)
{
    uint64_t again = 0, putting;
    struct pm_lease lease;

    (void)ready_mine(&lease);
    (void)remove_mine(60000);
    putting = put(spec_with(MINE, "/m/b.gguf"));
    assert_int_equal(try_remove(MINE, true, 60000, &again), 0);
    assert_int_equal(operation(&world, putting).state, PM_OP_CANCELLED);
    assert_int_equal(operation(&world, putting).replaced_by, again);
    assert_int_equal(operation(&world, putting).error.code, POOLMGR_E_CONFLICT);
    assert_int_equal(count_actions(&world, PM_ACT_ACCEPTED), 2);
}

/* INV-26: what was stored at the acceptance of a drain is not taken back by what is stored beside it. */
static void test_a_put_beside_a_drain_stores_what_comes_after_the_drain_INV_26(void **s)
{
    static const struct pm_drain drain = {.has_deadline = true, .deadline_ms = 60000};
    struct poolmgr_error err = {0};
    struct pm_pool_spec *spec = pm_pool_spec_new(MINE);
    struct pm_lease lease;
    uint64_t op;

    (void)ready_mine(&lease);
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_drain(world.core, MINE, &drain, world.now_ms, &world.out, &op, &err),
                     0);
    durable(&world);
    pm_strv_add(&spec->aliases, "gpt");
    spec->idle_ttl_ms++;
    (void)put(spec);
    assert_int_equal(the_action(&world, PM_ACT_PERSIST)->record->intent, PM_DISABLED);
}

static void test_a_pool_that_is_removed_comes_back_after_it(void **s)
{
    struct pm_lease lease;
    struct pm_token token;
    uint64_t op;

    token = ready_mine(&lease);
    (void)remove_mine(60000);
    op = put(spec_with(MINE, "/m/b.gguf"));
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 0);
    release(&world, &lease, PM_RELEASE_DONE);
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_string_equal(the_action(&world, PM_ACT_PERSIST)->record->pool_id, MINE);
    assert_false(the_action(&world, PM_ACT_PERSIST)->record->removed);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_string_equal(view_of(MINE).spec->model.main, "/m/b.gguf");
}

/* ---- the file --------------------------------------------------------------------------------------------------------- */

static int try_file(struct pm_pool_spec *const *specs, size_t n, uint64_t *ret_op)
{
    struct poolmgr_error err = {0};
    int r;

    pm_actions_clear(&world.out);
    r = pm_core_apply_file(world.core, specs, n, world.now_ms, &world.out, ret_op, &err);
    for (size_t i = 0; i < n; i++)
        pm_pool_spec_unref(specs[i]);
    return r;
}

static uint64_t file(struct pm_pool_spec *const *specs, size_t n)
{
    uint64_t op = 0;

    assert_int_equal(try_file(specs, n, &op), 0);
    return op;
}

#define FILE_OF(...)                                                                               \
    file((struct pm_pool_spec *const[]){__VA_ARGS__},                                              \
         sizeof((struct pm_pool_spec *const[]){__VA_ARGS__}) / sizeof(struct pm_pool_spec *))

static void test_an_equal_pool_keeps_instance_leases_and_queue_INV_20(void **s)
{
    struct pm_lease lease;
    struct pm_token token = ready_engine(&world, &lease);
    uint64_t op;

    op = FILE_OF(pm_pool_spec_new(POOL), spec_with("second", "/m/a.gguf"));
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_true(exists("second"));
    assert_true(exists(MINE)); /* the API's is not the file's to take away */
    assert_int_equal(replica(&world, 0).token.serial, token.serial);
    assert_int_equal(view(&world).active_leases, 1);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
}

static void test_what_is_gone_from_the_file_is_drained_and_comes_back_after_it(void **s)
{
    struct pm_lease lease;
    struct pm_token token = ready_engine(&world, &lease);
    uint64_t gone, back;

    gone = FILE_OF(spec_with("second", "/m/a.gguf"));
    assert_int_equal(operation(&world, gone).state, PM_OP_RUNNING);
    assert_true(the_action(&world, PM_ACT_PERSIST)->record->removed); /* its intent goes with it */
    (void)request(&world);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_MODEL_NOT_FOUND);
    assert_int_equal(try_file(NULL, 0, &back), POOLMGR_E_CONFLICT); /* one at a time */

    release(&world, &lease, PM_RELEASE_DONE);
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(operation(&world, gone).state, PM_OP_SUCCEEDED);
    assert_false(exists(POOL));
    back = FILE_OF(pm_pool_spec_new(POOL), spec_with("second", "/m/a.gguf"));
    assert_int_equal(operation(&world, back).state, PM_OP_SUCCEEDED);
    assert_true(exists(POOL));
}

static void test_a_changed_model_is_a_reload_and_a_changed_limit_is_not(void **s)
{
    struct pm_pool_spec *limits = pm_pool_spec_new(POOL);
    struct pm_lease lease;
    uint64_t op;

    (void)ready_engine(&world, &lease);
    limits->idle_ttl_ms = 1;
    op = FILE_OF(limits);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_int_equal(view(&world).spec->idle_ttl_ms, 1);

    op = FILE_OF(spec_with(POOL, "/m/b.gguf"));
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 1);
    staged_reload(&world);
    endpoint_ready(&world, the_action(&world, PM_ACT_SPAWN)->token);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_string_equal(view(&world).spec->model.main, "/m/b.gguf");
    assert_false(view(&world).config_drift);
}

static void test_a_part_that_fails_is_told_and_the_others_are_applied(void **s)
{
    const struct pm_failure missing = {
        .code = POOLMGR_E_MODEL_MISSING, .permanent = true, .text = "no such file"};
    uint64_t op;

    op = FILE_OF(spec_with(POOL, "/m/b.gguf"), spec_with("second", "/m/a.gguf"));
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &missing);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_int_equal(operation(&world, op).error.code, POOLMGR_E_MODEL_MISSING);
    assert_true(exists("second"));
    assert_true(view(&world).config_drift);
}

static void test_a_file_with_an_error_changes_nothing_INV_20(void **s)
{
    struct pm_pool_spec *alias = spec_with("third", "/m/a.gguf");
    uint64_t op;

    assert_int_equal(try_file((struct pm_pool_spec *const[]){spec_with("second", "/m/a.gguf"),
                                                             spec_with(MINE, "/m/a.gguf")},
                              2, &op),
                     POOLMGR_E_ALREADY_EXISTS);
    pm_strv_add(&alias->aliases, MINE);
    assert_int_equal(try_file((struct pm_pool_spec *const[]){alias}, 1, &op), POOLMGR_E_CONFLICT);
    assert_int_equal(
        try_file((struct pm_pool_spec *const[]){spec_with("gpt", "/m/a.gguf")}, 1, &op),
        POOLMGR_E_CONFLICT);
    assert_int_equal(try_file((struct pm_pool_spec *const[]){spec_with("second", "/m/a.gguf"),
                                                             spec_with("second", "/m/a.gguf")},
                              2, &op),
                     POOLMGR_E_ALREADY_EXISTS);
    assert_int_equal(world.out.n, 0);
    assert_false(exists("second"));
    assert_true(exists(POOL));
}

static void test_what_an_operator_reloaded_stays_until_the_file_says_something_else(void **s)
{
    struct pm_pool_spec *other = spec_with(POOL, "/m/mine.gguf");
    uint64_t op;

    (void)reload_with(&world, (struct pm_reload){.spec = other});
    staged_reload(&world);
    durable(&world);
    assert_true(view(&world).config_drift);
    op = FILE_OF(pm_pool_spec_new(POOL));
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_ptr_equal(view(&world).spec, other);
    assert_true(view(&world).config_drift);

    (void)FILE_OF(spec_with(POOL, "/m/file.gguf"));
    staged_reload(&world);
    durable(&world);
    assert_string_equal(view(&world).spec->model.main, "/m/file.gguf");
    assert_false(view(&world).config_drift);
    pm_pool_spec_unref(other);
}

static void test_a_change_of_what_drains_waits_for_it(void **s)
{
    struct pm_lease lease;
    struct pm_token token = ready_engine(&world, &lease);
    uint64_t op;

    (void)drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_STOP);
    op = FILE_OF(spec_with(POOL, "/m/b.gguf"));
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    release(&world, &lease, PM_RELEASE_DONE);
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_string_equal(the_action(&world, PM_ACT_STAGE)->spec->model.main, "/m/b.gguf");
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    assert_int_equal(view(&world).intent, PM_DISABLED);
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
        TEST(test_nothing_is_written_behind_a_removal_that_is_on_its_way_INV_26),
        TEST(test_nothing_but_a_stop_meets_a_removal),
        TEST(test_a_restart_carries_a_removal_on_INV_26),
        TEST(test_an_alias_that_is_left_is_the_next_pool_s),
        TEST(test_a_shutdown_ends_a_removal_by_the_earlier_deadline),
        TEST(test_what_an_engine_sees_is_a_reload_and_the_rest_is_limits),
        TEST(test_a_new_pool_is_there_when_it_is_durable),
        TEST(test_limits_are_changed_in_place_when_they_are_durable),
        TEST(test_limits_that_are_not_durable_were_not_asked_for_INV_27),
        TEST(test_a_put_of_what_is_there_already_changes_nothing),
        TEST(test_another_model_is_a_reload_and_what_is_not_good_is_drift),
        TEST(test_a_put_waits_for_a_reload_and_the_newest_wins),
        TEST(test_a_change_that_waits_ends_with_the_daemon),
        TEST(test_a_put_of_what_is_not_the_api_s_is_refused),
        TEST(test_a_put_that_meets_a_removal_on_its_way_comes_back_after_it),
        TEST(test_a_put_behind_a_removal_that_is_not_durable_is_refused),
        TEST(test_a_removal_replaces_the_put_that_waits_for_a_removal),
        TEST(test_a_put_beside_a_drain_stores_what_comes_after_the_drain_INV_26),
        TEST(test_a_pool_that_is_removed_comes_back_after_it),
        TEST(test_an_equal_pool_keeps_instance_leases_and_queue_INV_20),
        TEST(test_what_is_gone_from_the_file_is_drained_and_comes_back_after_it),
        TEST(test_a_changed_model_is_a_reload_and_a_changed_limit_is_not),
        TEST(test_a_part_that_fails_is_told_and_the_others_are_applied),
        TEST(test_a_file_with_an_error_changes_nothing_INV_20),
        TEST(test_what_an_operator_reloaded_stays_until_the_file_says_something_else),
        TEST(test_a_change_of_what_drains_waits_for_it),
    };

    return cmocka_run_group_tests_name("core: change", tests, NULL, NULL);
}
