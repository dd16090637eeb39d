/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that meet (OP-1): start and stop against each other, against requests, against what the pool does by
 * itself; reset and the breaker. */
#include <stdlib.h>

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

static uint64_t start(void)
{
    struct poolmgr_error err = {0};
    uint64_t op = 0;

    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_start(world.core, POOL, world.now_ms, &world.out, &op, &err), 0);
    return op;
}

static uint64_t stop(uint64_t deadline_ms)
{
    struct poolmgr_error err = {0};
    uint64_t op = 0;

    pm_actions_clear(&world.out);
    assert_int_equal(
        pm_core_stop(world.core, POOL, deadline_ms, world.now_ms, &world.out, &op, &err), 0);
    return op;
}

static int cancel(uint64_t op)
{
    struct poolmgr_error err = {0};
    uint64_t by;

    pm_actions_clear(&world.out);
    return pm_core_cancel_operation(world.core, op, world.now_ms, &world.out, &by, &err);
}

static void reset(enum pm_breaker breaker)
{
    struct poolmgr_error err = {0};

    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_reset(world.core, POOL, breaker, world.now_ms, &world.out, &err), 0);
}

static struct pm_operation operation(uint64_t id)
{
    struct pm_operation op;

    assert_true(pm_core_operation(world.core, id, &op));
    return op;
}

static struct pm_token staged_spawn(void)
{
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    return the_action(&world, PM_ACT_SPAWN)->token;
}

static void test_a_start_succeeds_when_the_engine_is_ready_and_leaves_it_to_the_idle_time(void **s)
{
    uint64_t op;

    world_begin(&world);
    op = start();
    assert_string_equal(operation(op).phase, "staging");
    endpoint_ready(&world, staged_spawn());
    assert_int_equal(the_action(&world, PM_ACT_OPERATION)->operation, op);
    assert_int_equal(operation(op).state, PM_OP_SUCCEEDED);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(view(&world).idle_stop_ms, world.now_ms + 15 * 60 * 1000);
}

static void test_a_start_of_what_runs_and_a_stop_of_what_does_not_have_nothing_to_do(void **s)
{
    world_begin(&world);
    assert_int_equal(operation(stop(1000)).state, PM_OP_SUCCEEDED);
    (void)idle_engine(&world);
    assert_int_equal(operation(start()).state, PM_OP_SUCCEEDED);
}

static void test_two_starts_have_one_end_and_two_ids(void **s)
{
    uint64_t first, second;
    struct pm_token token;

    world_begin(&world);
    first = start();
    token = the_action(&world, PM_ACT_STAGE)->token;
    second = start();
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    staged(&world, token, NULL);
    endpoint_ready(&world, replica(&world, 0).token);
    assert_int_equal(count_actions(&world, PM_ACT_OPERATION), 2);
    assert_int_equal(operation(first).state, PM_OP_SUCCEEDED);
    assert_int_equal(operation(second).state, PM_OP_SUCCEEDED);
}

/* A start is a waiter without a deadline. */
static void test_a_start_survives_the_first_failure_and_ends_with_the_second(void **s)
{
    uint64_t op;

    world_begin(&world);
    op = start();
    crash(&world, staged_spawn(), (struct pm_exit){.status = 1});
    assert_int_equal(operation(op).state, PM_OP_RUNNING);
    crash(&world, staged_spawn(), (struct pm_exit){.status = 1});
    assert_int_equal(operation(op).state, PM_OP_FAILED);
    assert_int_equal(operation(op).error.code, POOLMGR_E_START_FAILED);
}

static void test_a_start_waits_for_the_clock_and_a_reset_skips_it(void **s)
{
    uint64_t op;

    world_begin(&world);
    (void)start();
    crash(&world, staged_spawn(), (struct pm_exit){.status = 1});
    crash(&world, staged_spawn(), (struct pm_exit){.status = 1});
    op = start();
    assert_int_equal(state(&world), PM_BACKOFF);
    assert_string_equal(operation(op).phase, "waiting");
    reset(PM_BREAKER_CLOSED);
    assert_int_equal(state(&world), PM_STAGING);
    assert_int_equal(operation(op).state, PM_OP_RUNNING);
}

static void test_a_start_of_a_failed_pool_ends_with_pool_failed(void **s)
{
    struct pm_failure failure = {.permanent = true, .text = "no such file"};
    uint64_t op;

    world_begin(&world);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &failure);
    op = start();
    assert_int_equal(operation(op).state, PM_OP_FAILED);
    assert_int_equal(operation(op).error.code, POOLMGR_E_POOL_FAILED);
}

static void test_a_stop_lets_running_requests_end_first(void **s)
{
    struct pm_lease lease;
    struct pm_token token;
    uint64_t op;

    world_begin(&world);
    token = ready_engine(&world, &lease);
    op = stop(60000);
    assert_string_equal(operation(op).phase, "draining");
    assert_int_equal(state(&world), PM_READY); /* behind a closed gate */
    assert_false(replica(&world, 0).gate_open);
    (void)request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0); /* INV-17: it waits */

    release(&world, &lease, PM_RELEASE_DONE);
    assert_string_equal(operation(op).phase, "stopping");
    exited(&world, token, (struct pm_exit){.status = 0});
    childless(&world, token);
    assert_int_equal(operation(op).state, PM_OP_SUCCEEDED);
    assert_int_equal(state(&world), PM_STAGING); /* for who waits: unloading keeps nothing down */
}

static void test_at_its_deadline_a_stop_cuts_what_still_runs_INV_18(void **s)
{
    struct pm_lease lease;
    uint64_t asked_ms;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)stop(1500);
    asked_ms = world.now_ms;
    tick(&world, asked_ms + 1499);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    tick(&world, asked_ms + 1500);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_DRAINING);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
}

static void test_a_stop_with_deadline_0_is_at_once_and_one_beyond_time_never_cuts(void **s)
{
    struct pm_lease lease;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)stop(UINT64_MAX);
    tick(&world, world.now_ms + 60000);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    (void)stop(0); /* a second one joins, and hurries the first */
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 1);
    assert_int_equal(state(&world), PM_STOPPING);
}

static void test_a_stopped_preload_pool_stays_down_until_somebody_wants_it(void **s)
{
    struct pm_token token;

    world.spec->start = PM_PRELOAD;
    world_begin(&world);
    token = staged_spawn();
    endpoint_ready(&world, token);
    (void)stop(1000);
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(pm_core_deadline(world.core), PM_NEVER);
    assert_string_equal(view(&world).reason,
                        "stopped; starts with the next request, or poolctl start " POOL);
    (void)request(&world);
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_a_stop_of_a_start_tells_its_waiters(void **s)
{
    uint64_t first;

    world_begin(&world);
    first = start();
    (void)request(&world);
    (void)stop(60000);
    assert_int_equal(operation(first).state, PM_OP_CANCELLED);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_START_FAILED);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->retry_after_ms, 1000);
    assert_int_equal(state(&world), PM_COLD);
}

static void test_a_start_calls_off_a_stop_before_its_first_signal(void **s)
{
    struct pm_lease lease;
    uint64_t stopping, starting;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    stopping = stop(60000);
    starting = start();
    assert_int_equal(operation(stopping).state, PM_OP_CANCELLED);
    assert_int_equal(operation(starting).state, PM_OP_SUCCEEDED);
    assert_true(replica(&world, 0).gate_open);
}

static void test_a_start_after_the_first_signal_runs_behind_the_stop(void **s)
{
    struct pm_token token;
    uint64_t stopping, starting;

    world_begin(&world);
    token = idle_engine(&world);
    stopping = stop(60000);
    starting = start();
    assert_int_equal(operation(stopping).state, PM_OP_RUNNING);
    assert_int_equal(operation(starting).state, PM_OP_RUNNING);
    exited(&world, token, (struct pm_exit){.status = 0});
    childless(&world, token);
    assert_int_equal(operation(stopping).state, PM_OP_SUCCEEDED);
    endpoint_ready(&world, staged_spawn());
    assert_int_equal(operation(starting).state, PM_OP_SUCCEEDED);
}

static void test_a_cancelled_stop_opens_the_gate_and_after_the_signal_it_is_too_late(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = stop(60000);
    (void)request(&world);
    assert_int_equal(cancel(op), 0);
    assert_int_equal(operation(op).state, PM_OP_CANCELLED);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT),
                     1); /* who waited is served in that step */
    assert_int_equal(cancel(op), POOLMGR_E_CONFLICT);
    assert_int_equal(cancel(77), POOLMGR_E_NOT_FOUND);

    op = stop(0);
    assert_int_equal(cancel(op), POOLMGR_E_CONFLICT);
}

static void test_a_cancelled_start_is_stopped_unless_somebody_waits(void **s)
{
    uint64_t op;

    world_begin(&world);
    op = start();
    (void)staged_spawn();
    assert_int_equal(cancel(op), 0);
    assert_int_equal(state(&world), PM_STOPPING);
    childless(&world, replica(&world, 0).token);
    assert_int_equal(state(&world), PM_COLD);

    op = start();
    (void)request(&world);
    assert_int_equal(cancel(op), 0);
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_forced_open_forbids_starts_and_never_leases_INV_13(void **s)
{
    struct pm_lease lease;
    struct pm_token token;

    world_begin(&world);
    token = ready_engine(&world, &lease);
    reset(PM_BREAKER_FORCED_OPEN);
    (void)granted(&world);
    crash(&world, token, (struct pm_exit){.status = 1});
    assert_int_equal(state(&world), PM_COLD);
    (void)request(&world);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_BREAKER_OPEN);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->retry_after_ms, 60000);
    assert_int_equal(view(&world).code, POOLMGR_E_BREAKER_OPEN);
    assert_int_equal(operation(start()).state, PM_OP_FAILED);
    reset(PM_BREAKER_CLOSED);
    assert_int_equal(state(&world), PM_STAGING); /* it was ready, and nobody forbids it any more */
}

static void test_a_disabled_breaker_refuses_nobody_but_the_clock_still_runs(void **s)
{
    world_begin(&world);
    reset(PM_BREAKER_DISABLED);
    for (int i = 0; i < 6; i++) {
        if (view(&world).queue_depth == 0)
            (void)request(&world);
        if (state(&world) == PM_BACKOFF)
            next_tick(&world);
        crash(&world, staged_spawn(), (struct pm_exit){.status = 1});
    }
    assert_int_equal(replica(&world, 0).breaker, PM_BREAKER_DISABLED);
    (void)request_with(&world, (struct pm_request){.deadline_ms = 10});
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    assert_int_equal(state(&world), PM_BACKOFF);
}

static void test_a_reset_stops_nothing(void **s)
{
    struct pm_lease lease;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    reset(PM_BREAKER_CLOSED);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(view(&world).active_leases, 1);
    assert_told(&world, PM_EV_POOL_RESET,
                "an operator resets " POOL ": its failures are forgotten");
}

static void test_commands_for_nobody_and_while_the_daemon_ends_are_refused(void **s)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    world_begin(&world);
    assert_int_equal(pm_core_start(world.core, "x", 0, &world.out, &op, &err), POOLMGR_E_NOT_FOUND);
    assert_int_equal(pm_core_stop(world.core, "x", 0, 0, &world.out, &op, &err),
                     POOLMGR_E_NOT_FOUND);
    assert_int_equal(pm_core_reset(world.core, "x", PM_BREAKER_CLOSED, 0, &world.out, &err),
                     POOLMGR_E_NOT_FOUND);
    pm_core_shutdown(world.core, false, world.now_ms, &world.out);
    assert_int_equal(pm_core_start(world.core, POOL, 0, &world.out, &op, &err),
                     POOLMGR_E_SHUTTING_DOWN);
    assert_int_equal(pm_core_stop(world.core, POOL, 0, 0, &world.out, &op, &err),
                     POOLMGR_E_SHUTTING_DOWN);
    assert_int_equal(pm_core_n_pools(world.core), 1);
}

static void test_a_shutdown_ends_every_operation(void **s)
{
    struct pm_lease lease;
    uint64_t starting, stopping;

    world_begin(&world);
    starting = start();
    pm_core_shutdown(world.core, false, world.now_ms, &world.out);
    assert_int_equal(operation(starting).state, PM_OP_CANCELLED);

    tear_down(NULL);
    (void)set_up(NULL);
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    stopping = stop(60000);
    pm_core_shutdown(world.core, false, world.now_ms, &world.out);
    release(&world, &lease, PM_RELEASE_DONE);
    childless(&world, replica(&world, 0).token);
    assert_int_equal(operation(stopping).state, PM_OP_SUCCEEDED);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
}

static void test_the_last_operations_can_be_asked_for_newest_first(void **s)
{
    struct pm_operation op;
    uint64_t last = 0;
    size_t n = 0;

    world_begin(&world);
    for (int i = 0; i < 2 * PM_OPERATIONS_KEPT; i++)
        last = stop(0);
    while (pm_core_operation_at(world.core, n, &op)) {
        assert_int_equal(op.id, last - n);
        n++;
    }
    assert_in_range(n, PM_OPERATIONS_KEPT, PM_OPERATIONS_KEPT + 1);
    assert_false(pm_core_operation(world.core, 1, &op));
}

static void test_a_stop_that_was_called_off_leaves_a_preload_pool_preloaded(void **s)
{
    struct pm_lease lease;
    struct pm_token token;

    world.spec->start = PM_PRELOAD;
    world_begin(&world);
    token = staged_spawn();
    endpoint_ready(&world, token);
    lease = granted(&world);
    assert_int_equal(cancel(stop(60000)), 0);
    release(&world, &lease, PM_RELEASE_DONE);
    crash(&world, token, (struct pm_exit){.status = 1});
    crash(&world, staged_spawn(), (struct pm_exit){.status = 1});
    assert_int_equal(state(&world), PM_BACKOFF);
    next_tick(&world);
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_a_start_ends_when_one_replica_is_ready_and_the_other_must_wait(void **s)
{
    struct pm_token second;
    uint64_t op;

    world.spec->n_replicas = 2;
    world_begin(&world);
    op = start();
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    second = replica(&world, 1).token;
    endpoint_ready(&world, replica(&world, 0).token);
    assert_int_equal(operation(op).state, PM_OP_RUNNING);
    crash(&world, second, (struct pm_exit){.status = 1});
    assert_int_equal(operation(op).state, PM_OP_RUNNING);
    crash(&world, staged_spawn(), (struct pm_exit){.status = 1});
    assert_int_equal(replica(&world, 1).state, PM_BACKOFF);
    assert_int_equal(operation(op).state, PM_OP_SUCCEEDED);
}

static void test_a_start_that_requests_took_over_outlives_the_last_of_them_for_a_while(void **s)
{
    uint64_t op, id;

    world_begin(&world);
    op = start();
    id = request(&world);
    assert_int_equal(cancel(op), 0);
    gone(&world, id);
    assert_int_equal(state(&world), PM_STAGING);
    tick(&world, world.now_ms + 60000);
    assert_int_equal(state(&world), PM_COLD);
}

/* ---- the whole table of meetings ----------------------------------------------------------------------------------- */

struct situation {
    const char *name;
    uint64_t (*begin)(void); /* the operation that runs; 0: none */
};

static struct pm_pool_spec *another(void)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(POOL);

    spec->model.main = pm_xstrdup("/m/other.gguf");
    spec->vram.each = world.spec->vram.each;
    return spec;
}

static void answer_disk(void)
{
    for (size_t i = 0; i < world.out.n; i++) {
        struct pm_token token = world.out.items[i].token;

        if (world.out.items[i].kind == PM_ACT_PERSIST)
            pm_core_persisted(world.core, token, NULL, world.now_ms, &world.out);
    }
}

static uint64_t command(enum pm_operation_kind kind, int *ret)
{
    struct pm_drain drain = {.has_deadline = true, .deadline_ms = 60000};
    struct pm_reload reload = {.spec = another()};
    struct poolmgr_error err = {0};
    struct pm_core *core = world.core;
    uint64_t op = 0, now_ms = world.now_ms;

    pm_actions_clear(&world.out);
    switch (kind) {
    case PM_OP_DRAIN:
        *ret = pm_core_drain(core, POOL, &drain, now_ms, &world.out, &op, &err);
        break;
    case PM_OP_RESUME: *ret = pm_core_resume(core, POOL, now_ms, &world.out, &op, &err); break;
    case PM_OP_START: *ret = pm_core_start(core, POOL, now_ms, &world.out, &op, &err); break;
    case PM_OP_STOP: *ret = pm_core_stop(core, POOL, 60000, now_ms, &world.out, &op, &err); break;
    case PM_OP_RELOAD:
        *ret = pm_core_reload(core, POOL, &reload, now_ms, &world.out, &op, &err);
        break;
    case PM_OP_PUT:
        *ret = pm_core_put_pool(core, reload.spec, now_ms, &world.out, &op, &err);
        break;
    default:
        *ret = pm_core_remove_pool(core, POOL, true, 60000, now_ms, &world.out, &op, &err);
        break;
    }
    pm_pool_spec_unref(reload.spec);
    if (*ret == 0)
        answer_disk();
    return op;
}

static uint64_t begin_with_a_lease(enum pm_operation_kind kind)
{
    struct pm_lease lease;
    int r;

    (void)ready_engine(&world, &lease);
    return command(kind, &r);
}

static uint64_t begin_drain(void)
{
    return begin_with_a_lease(PM_OP_DRAIN);
}

static uint64_t begin_stop(void)
{
    return begin_with_a_lease(PM_OP_STOP);
}

static uint64_t begin_removal(void)
{
    return begin_with_a_lease(PM_OP_REMOVE);
}

static uint64_t begin_start(void)
{
    uint64_t op = start();

    (void)staged_spawn();
    return op;
}

static uint64_t begin_reload(void)
{
    uint64_t op = begin_with_a_lease(PM_OP_RELOAD);

    (void)staged_spawn();
    return op;
}

static uint64_t begin_swap(void)
{
    const struct pm_device device = {.id = "0", .total_bytes = UINT64_C(12) << 30};
    uint64_t op;
    int r;

    pm_core_devices(world.core, &device, 1, world.now_ms, &world.out);
    world.spec->vram.each = UINT64_C(10) << 30; /* it does not fit twice */
    (void)idle_engine(&world);
    op = command(PM_OP_RELOAD, &r);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_int_equal(state(&world), PM_STOPPING);
    return op;
}

static uint64_t begin_idle_stop(void)
{
    (void)idle_engine(&world);
    while (state(&world) == PM_READY) {
        next_tick(&world);
        if (count_actions(&world, PM_ACT_PROBE) > 0)
            probed(&world, the_action(&world, PM_ACT_PROBE)->probe, true);
    }
    assert_int_equal(state(&world), PM_STOPPING);
    return 0;
}

static const struct situation situations[] = {
    {"drain", begin_drain},         {"stop", begin_stop}, {"start", begin_start},
    {"reload", begin_reload},       {"swap", begin_swap}, {"removal", begin_removal},
    {"idle stop", begin_idle_stop},
};

/* R replaces, C cancels, b both run, - has nothing to do, ! is refused. A reload cancels a start later, after its own
 * staging; a stop with a deadline is refused beside a reload, and of an idle stop there is no operation. */
static const struct {
    enum pm_operation_kind arrives;
    const char *does; /* in the order of the situations */
} expected[] = {
    {PM_OP_DRAIN, "RRCCC!b"},  {PM_OP_RESUME, "C----!-"}, {PM_OP_START, "!Cb-b!b"},
    {PM_OP_STOP, "bbC!!bb"},   {PM_OP_RELOAD, "!!b!!!b"}, {PM_OP_PUT, "bbbbbbb"},
    {PM_OP_REMOVE, "RRCCCbb"},
};

static char what_came_of(uint64_t first, uint64_t second, int r)
{
    if (r == POOLMGR_E_CONFLICT)
        return '!';
    assert_int_equal(r, 0);
    if (first != 0 && operation(first).state == PM_OP_CANCELLED)
        return operation(first).replaced_by == second ? 'R' : 'C';
    return operation(second).state == PM_OP_SUCCEEDED ? '-' : 'b';
}

static void test_every_command_meets_every_other_as_the_table_says_INV_28(void **s)
{
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        for (size_t k = 0; k < sizeof(situations) / sizeof(situations[0]); k++) {
            struct poolmgr_error err = {0};
            uint64_t first, second;
            char came;
            int r;

            tear_down(NULL);
            (void)set_up(NULL);
            assert_int_equal(pm_core_add_pool(world.core, world.spec, PM_OWNER_API, world.now_ms,
                                              &world.out, &err),
                             0);
            pm_core_begin(world.core, world.now_ms, &world.out);
            first = situations[k].begin();
            second = command(expected[i].arrives, &r);
            came = what_came_of(first, second, r);
            if (came != expected[i].does[k])
                fail_msg("%s meets %s: %c, not %c", pm_operation_kind_name(expected[i].arrives),
                         situations[k].name, came, expected[i].does[k]);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_start_succeeds_when_the_engine_is_ready_and_leaves_it_to_the_idle_time),
        TEST(test_a_start_of_what_runs_and_a_stop_of_what_does_not_have_nothing_to_do),
        TEST(test_two_starts_have_one_end_and_two_ids),
        TEST(test_a_start_survives_the_first_failure_and_ends_with_the_second),
        TEST(test_a_start_waits_for_the_clock_and_a_reset_skips_it),
        TEST(test_a_start_of_a_failed_pool_ends_with_pool_failed),
        TEST(test_a_stop_lets_running_requests_end_first),
        TEST(test_at_its_deadline_a_stop_cuts_what_still_runs_INV_18),
        TEST(test_a_stop_with_deadline_0_is_at_once_and_one_beyond_time_never_cuts),
        TEST(test_a_stopped_preload_pool_stays_down_until_somebody_wants_it),
        TEST(test_a_stop_of_a_start_tells_its_waiters),
        TEST(test_a_start_calls_off_a_stop_before_its_first_signal),
        TEST(test_a_start_after_the_first_signal_runs_behind_the_stop),
        TEST(test_a_cancelled_stop_opens_the_gate_and_after_the_signal_it_is_too_late),
        TEST(test_a_cancelled_start_is_stopped_unless_somebody_waits),
        TEST(test_forced_open_forbids_starts_and_never_leases_INV_13),
        TEST(test_a_disabled_breaker_refuses_nobody_but_the_clock_still_runs),
        TEST(test_a_reset_stops_nothing),
        TEST(test_commands_for_nobody_and_while_the_daemon_ends_are_refused),
        TEST(test_a_shutdown_ends_every_operation),
        TEST(test_the_last_operations_can_be_asked_for_newest_first),
        TEST(test_a_stop_that_was_called_off_leaves_a_preload_pool_preloaded),
        TEST(test_a_start_ends_when_one_replica_is_ready_and_the_other_must_wait),
        TEST(test_a_start_that_requests_took_over_outlives_the_last_of_them_for_a_while),
        TEST(test_every_command_meets_every_other_as_the_table_says_INV_28),
    };

    return cmocka_run_group_tests_name("core: operations", tests, NULL, NULL);
}
