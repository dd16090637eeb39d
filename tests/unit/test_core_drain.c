/* SPDX-License-Identifier: Apache-2.0 */
/* Drain and resume (DRAIN-1, DRAIN-2), and what is durable of them (STATE-1). */
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

static void test_a_drain_acts_when_its_intent_is_durable_INV_27(void **s)
{
    const struct pm_pool_record *record;
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = ask_drain(&world, (struct pm_drain){0});
    record = the_action(&world, PM_ACT_PERSIST)->record;
    assert_string_equal(record->pool_id, POOL);
    assert_int_equal(record->intent,
                     PM_DISABLED); /* what comes after it, so that a restart carries it on */
    assert_true(record->has_operation);
    assert_int_equal(record->operation, op);
    assert_int_equal(record->kind, PM_OP_DRAIN);
    assert_null(record->spec_text);
    assert_int_equal(count_actions(&world, PM_ACT_ACCEPTED), 0);
    assert_int_equal(view(&world).intent, PM_ENABLED);

    durable(&world);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->operation, op);
    assert_null(the_action(&world, PM_ACT_ACCEPTED)->error);
    assert_int_equal(view(&world).intent, PM_DRAINING);
    assert_false(view(&world).ready);
}

static void test_a_start_and_a_lease_wait_for_no_disk_INV_27(void **s)
{
    struct pm_token disk;

    world_begin(&world);
    (void)idle_engine(&world);
    (void)ask_drain(&world, (struct pm_drain){0});
    disk = the_action(&world, PM_ACT_PERSIST)->token;
    (void)granted(&world);
    pm_actions_clear(&world.out);
    (void)stop(&world, 0);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    assert_true(disk.serial != 0);
}

static void test_a_failed_commit_is_store_failed_and_nothing_changed_INV_27(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = ask_drain(&world, (struct pm_drain){0});
    disk_full(&world);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->error->code, POOLMGR_E_STORE_FAILED);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_int_equal(operation(&world, op).error.code, POOLMGR_E_STORE_FAILED);
    assert_int_equal(view(&world).intent, PM_ENABLED);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 0);
    (void)granted(&world);
}

static void test_a_drain_refuses_who_waits_and_who_comes_and_cuts_nobody_DRAIN_1(void **s)
{
    struct pm_lease lease;
    struct pm_token token;
    uint64_t op;

    world.spec->n_slots = 1;
    world_begin(&world);
    token = ready_engine(&world, &lease);
    (void)request(&world);
    op = drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_STOP);
    assert_told(&world, PM_EV_DRAIN_STARTED, "an operator drains " POOL ": 1 request may finish");
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_DRAINING);
    assert_int_equal(view(&world).queue_depth, 0); /* INV-17 */
    (void)request(&world);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_DRAINING);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->retry_after_ms, 1000);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    assert_string_equal(operation(&world, op).phase, "draining");

    release(&world, &lease, PM_RELEASE_DONE); /* acts on the last release */
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    assert_string_equal(operation(&world, op).phase, "stopping");
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_true(operation(&world, op).has_result);
    assert_false(operation(&world, op).forced);
    assert_int_equal(operation(&world, op).n_leases_left, 0);
    assert_int_equal(view(&world).intent, PM_DISABLED);
    (void)request(&world);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_DISABLED);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->retry_after_ms, 0);
}

static void test_a_drain_of_a_cold_pool_is_over_at_once(void **s)
{
    uint64_t op;

    world_begin(&world);
    op = drain(&world, 60000, PM_DEADLINE_ABORT, PM_THEN_STOP);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_int_equal(view(&world).intent, PM_DISABLED);
    assert_string_equal(view(&world).code_name, "disabled");
}

static void test_at_its_deadline_stop_cuts_what_still_runs_INV_18(void **s)
{
    struct pm_lease lease;
    struct pm_token token;
    uint64_t op, begun_ms;

    world_begin(&world);
    token = ready_engine(&world, &lease);
    begun_ms = world.now_ms;
    op = drain(&world, 5000, PM_DEADLINE_STOP, PM_THEN_STOP);
    tick(&world, begun_ms + 4999);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    tick(&world, begun_ms + 5000);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_DRAINING);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_true(operation(&world, op).forced);
    assert_int_equal(operation(&world, op).n_leases_left, 1);
    assert_told(&world, PM_EV_DRAIN_ENDED, POOL " is drained after 5 s; cut: 1 request");
}

static void test_at_its_deadline_abort_leaves_everything_as_it_was_INV_18(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = drain(&world, 5000, PM_DEADLINE_ABORT, PM_THEN_STOP);
    tick(&world, world.now_ms + 5000);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_int_equal(operation(&world, op).error.code, POOLMGR_E_HAS_LEASES);
    assert_int_equal(operation(&world, op).n_leases_left, 1);
    assert_int_equal(view(&world).intent, PM_ENABLED);
    assert_int_equal(the_action(&world, PM_ACT_PERSIST)->record->intent, PM_ENABLED); /* behind */
    assert_false(the_action(&world, PM_ACT_PERSIST)->record->has_operation);
    (void)granted(&world);
}

static void test_a_deadline_of_0_is_now_and_one_beyond_time_never_comes(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = drain(&world, UINT64_MAX, PM_DEADLINE_STOP, PM_THEN_STOP);
    tick(&world, world.now_ms + 100 * 1000);
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);

    (void)drain(&world, 0, PM_DEADLINE_STOP, PM_THEN_STOP);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 1);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
}

static void test_a_deadline_of_0_with_abort_gives_up_at_once_beside_a_request(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = drain(&world, 0, PM_DEADLINE_ABORT, PM_THEN_STOP);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_int_equal(view(&world).intent, PM_ENABLED);
}

static void test_hold_keeps_the_engine_behind_a_closed_gate(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_HOLD);
    release(&world, &lease, PM_RELEASE_DONE);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_int_equal(view(&world).intent, PM_DRAINING);
    assert_string_equal(view(&world).code_name, "draining");
    tick(&world, world.now_ms + 60 * 60 * 1000); /* far beyond its idle time */
    assert_int_equal(state(&world), PM_READY);
    (void)request(&world);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_DRAINING);

    op = resume(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    (void)granted(&world);
}

static void test_a_held_engine_that_crashes_is_not_started_again(void **s)
{
    struct pm_token token;

    world.spec->start = PM_PRELOAD;
    world_begin(&world);
    token = staged_spawn(&world);
    endpoint_ready(&world, token);
    (void)drain(&world, 0, PM_DEADLINE_STOP, PM_THEN_HOLD);
    crash(&world, token, (struct pm_exit){.status = 1});
    assert_int_equal(state(&world), PM_COLD);
    (void)resume(&world);
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_hold_with_stop_at_the_deadline_stops_the_engine_and_holds_the_pool(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = drain(&world, 1000, PM_DEADLINE_STOP, PM_THEN_HOLD);
    tick(&world, world.now_ms + 1000);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 1);
    assert_true(operation(&world, op).forced);
    assert_int_equal(state(&world), PM_STOPPING);
    assert_int_equal(view(&world).intent, PM_DRAINING);
}

static void test_a_drain_cancels_a_start_and_whoever_waits_is_told(void **s)
{
    uint64_t starting;

    world_begin(&world);
    starting = start(&world);
    (void)staged_spawn(&world);
    (void)request(&world);
    (void)drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_HOLD);
    assert_int_equal(operation(&world, starting).state, PM_OP_CANCELLED);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_DRAINING);
    assert_int_equal(state(&world), PM_STOPPING);
}

static void test_the_last_drain_has_the_last_word(void **s)
{
    struct pm_lease lease;
    uint64_t first, second;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    first = drain(&world, 1000, PM_DEADLINE_STOP, PM_THEN_STOP);
    second = drain(&world, 9000, PM_DEADLINE_ABORT, PM_THEN_HOLD);
    assert_int_equal(operation(&world, first).state, PM_OP_CANCELLED);
    assert_int_equal(operation(&world, first).replaced_by, second);
    tick(&world, world.now_ms + 1000);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    tick(&world, world.now_ms + 8000);
    assert_int_equal(operation(&world, second).error.code, POOLMGR_E_HAS_LEASES);
    assert_int_equal(view(&world).intent, PM_ENABLED); /* as before the first */
}

static void test_a_cancelled_drain_leaves_the_former_intent_and_an_open_gate(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_STOP);
    assert_int_equal(cancel(&world, op), 0);
    assert_int_equal(the_action(&world, PM_ACT_PERSIST)->record->intent, PM_ENABLED);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_CANCELLED);
    assert_int_equal(view(&world).intent, PM_ENABLED);
    (void)granted(&world);
}

/* INV-26: whoever cancels a drain is answered when the next daemon would not go on with it. */
static void test_a_cancelled_drain_goes_on_until_that_is_durable_INV_26(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_STOP);
    assert_int_equal(cancel(&world, op), 0);
    assert_int_equal(count_actions(&world, PM_ACT_ACCEPTED), 0);
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    assert_int_equal(view(&world).intent, PM_DRAINING);
    durable(&world);
    assert_null(the_action(&world, PM_ACT_ACCEPTED)->error);
    assert_int_equal(operation(&world, op + 1).state, PM_OP_SUCCEEDED);
    assert_string_equal(pm_operation_kind_name(operation(&world, op + 1).kind), "cancel");
}

static void test_a_drain_whose_cancel_cannot_be_stored_goes_on_INV_27(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_HOLD);
    assert_int_equal(cancel(&world, op), 0);
    disk_full(&world);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->error->code, POOLMGR_E_STORE_FAILED);
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
}

/* The disk may say enabled already: then nobody is told that it has ended as disabled. */
static void test_a_drain_does_not_end_while_its_cancel_is_on_its_way_INV_26(void **s)
{
    struct pm_token disk;
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_HOLD);
    assert_int_equal(cancel(&world, op), 0);
    disk = the_action(&world, PM_ACT_PERSIST)->token;
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    pm_core_persisted(world.core, disk, NULL, world.now_ms, &world.out);
    assert_int_equal(operation(&world, op).state, PM_OP_CANCELLED);
    assert_int_equal(view(&world).intent, PM_ENABLED);
}

static void test_a_cancel_does_not_reach_the_drain_that_came_behind_it(void **s)
{
    struct pm_lease lease;
    struct pm_token disk;
    uint64_t first, second;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    first = drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_STOP);
    second = ask_drain(&world, (struct pm_drain){.has_deadline = true, .deadline_ms = 30000});
    disk = the_action(&world, PM_ACT_PERSIST)->token;
    assert_int_equal(cancel(&world, first), 0);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 0);
    pm_core_persisted(world.core, disk, NULL, world.now_ms, &world.out);
    assert_int_equal(the_action(&world, PM_ACT_PERSIST)->record->intent, PM_DISABLED);
    durable(&world);
    assert_int_equal(operation(&world, first).replaced_by, second);
    assert_int_equal(operation(&world, second).state, PM_OP_RUNNING);
    assert_int_equal(view(&world).intent, PM_DRAINING);
}

static void test_a_command_on_its_way_to_the_disk_is_not_cancelled(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = ask_drain(&world, (struct pm_drain){.has_deadline = true, .deadline_ms = 60000});
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 1);
    assert_int_equal(cancel(&world, op), POOLMGR_E_CONFLICT);
    assert_int_equal(world.out.n, 0);
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
}

static void test_commands_are_committed_one_after_the_other_in_their_order(void **s)
{
    uint64_t draining, resuming;
    struct pm_token first;

    world_begin(&world);
    draining = ask_drain(&world, (struct pm_drain){0});
    first = the_action(&world, PM_ACT_PERSIST)->token;
    resuming = ask_resume(&world);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 0);
    pm_actions_clear(&world.out);
    pm_core_persisted(world.core, first, NULL, world.now_ms, &world.out);
    assert_int_equal(operation(&world, draining).state, PM_OP_SUCCEEDED);
    assert_int_equal(the_action(&world, PM_ACT_PERSIST)->record->intent, PM_ENABLED);
    durable(&world);
    assert_int_equal(operation(&world, resuming).state, PM_OP_SUCCEEDED);
    assert_int_equal(view(&world).intent, PM_ENABLED);
}

static void test_a_resume_after_the_signal_starts_behind_the_stop(void **s)
{
    struct pm_token token;
    uint64_t op;

    world.spec->start = PM_PRELOAD;
    world_begin(&world);
    token = staged_spawn(&world);
    endpoint_ready(&world, token);
    op = drain(&world, 0, PM_DEADLINE_STOP, PM_THEN_STOP);
    assert_int_equal(state(&world), PM_STOPPING);
    (void)resume(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_CANCELLED);
    assert_told(&world, PM_EV_POOL_RESUMED, "an operator resumes " POOL ": it serves again");
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_a_resume_of_what_serves_has_nothing_to_do_and_needs_no_disk(void **s)
{
    uint64_t op;

    world_begin(&world);
    op = ask_resume(&world);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 0);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->operation, op);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
}

static void test_a_resume_is_durable_though_the_disk_is_behind_INV_26(void **s)
{
    struct pm_token disk;
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)drain(&world, 1000, PM_DEADLINE_ABORT, PM_THEN_STOP);
    pm_actions_clear(&world.out);
    tick(&world, world.now_ms + 1000);
    disk = the_action(&world, PM_ACT_PERSIST)->token;
    op = ask_resume(&world); /* the disk says disabled as long as that is not written */
    assert_int_equal(count_actions(&world, PM_ACT_ACCEPTED), 0);
    pm_core_persisted(world.core, disk, NULL, world.now_ms, &world.out);
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
}

static void test_a_resume_is_durable_though_the_record_behind_failed_INV_26(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)drain(&world, 1000, PM_DEADLINE_ABORT, PM_THEN_STOP);
    pm_actions_clear(&world.out);
    tick(&world, world.now_ms + 1000);
    disk_full(&world);
    op = ask_resume(&world);
    assert_int_equal(count_actions(&world, PM_ACT_ACCEPTED), 0);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    (void)ask_resume(&world);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 0);
}

static void test_what_rests_is_started_by_a_resume_only(void **s)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    world_begin(&world);
    (void)drain(&world, 0, PM_DEADLINE_STOP, PM_THEN_STOP);
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_start(world.core, POOL, world.now_ms, &world.out, &op, &err),
                     POOLMGR_E_CONFLICT);
    assert_string_equal(err.message, POOL " is disabled: resume it first");
    (void)resume(&world);
    (void)start(&world);
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_a_stop_joins_a_drain_and_hurries_it(void **s)
{
    struct pm_lease lease;
    struct pm_token token;
    uint64_t draining, stopping;

    world_begin(&world);
    token = ready_engine(&world, &lease);
    draining = drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_HOLD);
    stopping = stop(&world, 1000);
    tick(&world, world.now_ms + 1000);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 1);
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(operation(&world, draining).state, PM_OP_SUCCEEDED);
    assert_int_equal(operation(&world, stopping).state, PM_OP_SUCCEEDED);
    assert_int_equal(view(&world).intent,
                     PM_DRAINING); /* hold: the engine stops, the intent stays */
}

static void test_a_drain_replaces_a_stop(void **s)
{
    struct pm_lease lease;
    uint64_t draining, stopping;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    stopping = stop(&world, 1000);
    draining = drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_STOP);
    assert_int_equal(operation(&world, stopping).state, PM_OP_CANCELLED);
    assert_int_equal(operation(&world, stopping).replaced_by, draining);
    tick(&world, world.now_ms + 1000);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
}

static void test_a_request_that_nobody_reads_holds_up_no_drain(void **s)
{
    struct pm_lease lease;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_STOP);
    pm_actions_clear(&world.out);
    pm_core_abandon(world.core, &lease, world.now_ms, &world.out);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
}

static void test_a_shutdown_takes_the_earlier_deadline_and_leaves_the_intent(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world.spec->drain_deadline_ms = 60000;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = drain(&world, 2000, PM_DEADLINE_STOP, PM_THEN_STOP);
    pm_actions_clear(&world.out);
    pm_core_shutdown(world.core, false, world.now_ms, &world.out);
    tick(&world, world.now_ms + 2000);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    childless(&world, replica(&world, 0).token);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
}

static void test_a_command_that_is_not_durable_when_the_daemon_leaves_is_told_so(void **s)
{
    uint64_t op;

    world_begin(&world);
    op = ask_drain(&world, (struct pm_drain){0});
    pm_actions_clear(&world.out);
    pm_core_leave(world.core, world.now_ms, &world.out);
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->error->code, POOLMGR_E_SHUTTING_DOWN);
    assert_int_equal(operation(&world, op).state, PM_OP_INTERRUPTED);
}

static void test_a_restart_carries_a_drain_on_INV_26_28(void **s)
{
    struct pm_pool_record record = {.pool_id = POOL,
                                    .intent = PM_DISABLED,
                                    .has_operation = true,
                                    .operation = 17,
                                    .kind = PM_OP_DRAIN};
    struct poolmgr_error err = {0};
    struct pm_token token;

    world.spec->start = PM_PRELOAD;
    world_add(&world, world.spec);
    pm_actions_clear(&world.out);
    pm_core_restore(world.core, &record, world.now_ms, &world.out);
    assert_int_equal(operation(&world, 17).state, PM_OP_INTERRUPTED);
    assert_false(the_action(&world, PM_ACT_PERSIST)->record->has_operation);
    durable(&world);
    assert_int_equal(
        pm_core_adopt(world.core, POOL, 0, 3, 4711, 0, world.now_ms, &world.out, &token, &err), 0);
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0); /* told when it was adopted */
    assert_int_equal(state(&world), PM_STOPPING);
    crash(&world, token, (struct pm_exit){.status = 0});
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(view(&world).intent, PM_DISABLED);
    assert_int_equal(resume(&world), 18); /* ids go on */
}

static void test_a_drain_of_nobody_is_not_found_and_changes_nothing(void **s)
{
    struct poolmgr_error err = {0};
    struct pm_drain drain = {0};
    uint64_t op;

    world_begin(&world);
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_drain(world.core, "x", &drain, 0, &world.out, &op, &err),
                     POOLMGR_E_NOT_FOUND);
    assert_int_equal(pm_core_resume(world.core, "x", 0, &world.out, &op, &err),
                     POOLMGR_E_NOT_FOUND);
    assert_int_equal(world.out.n, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_drain_acts_when_its_intent_is_durable_INV_27),
        TEST(test_a_start_and_a_lease_wait_for_no_disk_INV_27),
        TEST(test_a_failed_commit_is_store_failed_and_nothing_changed_INV_27),
        TEST(test_a_drain_refuses_who_waits_and_who_comes_and_cuts_nobody_DRAIN_1),
        TEST(test_a_drain_of_a_cold_pool_is_over_at_once),
        TEST(test_at_its_deadline_stop_cuts_what_still_runs_INV_18),
        TEST(test_at_its_deadline_abort_leaves_everything_as_it_was_INV_18),
        TEST(test_a_deadline_of_0_is_now_and_one_beyond_time_never_comes),
        TEST(test_a_deadline_of_0_with_abort_gives_up_at_once_beside_a_request),
        TEST(test_hold_keeps_the_engine_behind_a_closed_gate),
        TEST(test_a_held_engine_that_crashes_is_not_started_again),
        TEST(test_hold_with_stop_at_the_deadline_stops_the_engine_and_holds_the_pool),
        TEST(test_a_drain_cancels_a_start_and_whoever_waits_is_told),
        TEST(test_the_last_drain_has_the_last_word),
        TEST(test_a_cancelled_drain_leaves_the_former_intent_and_an_open_gate),
        TEST(test_a_cancelled_drain_goes_on_until_that_is_durable_INV_26),
        TEST(test_a_drain_whose_cancel_cannot_be_stored_goes_on_INV_27),
        TEST(test_a_drain_does_not_end_while_its_cancel_is_on_its_way_INV_26),
        TEST(test_a_cancel_does_not_reach_the_drain_that_came_behind_it),
        TEST(test_a_command_on_its_way_to_the_disk_is_not_cancelled),
        TEST(test_commands_are_committed_one_after_the_other_in_their_order),
        TEST(test_a_resume_after_the_signal_starts_behind_the_stop),
        TEST(test_a_resume_of_what_serves_has_nothing_to_do_and_needs_no_disk),
        TEST(test_a_resume_is_durable_though_the_disk_is_behind_INV_26),
        TEST(test_a_resume_is_durable_though_the_record_behind_failed_INV_26),
        TEST(test_what_rests_is_started_by_a_resume_only),
        TEST(test_a_stop_joins_a_drain_and_hurries_it),
        TEST(test_a_drain_replaces_a_stop),
        TEST(test_a_request_that_nobody_reads_holds_up_no_drain),
        TEST(test_a_shutdown_takes_the_earlier_deadline_and_leaves_the_intent),
        TEST(test_a_command_that_is_not_durable_when_the_daemon_leaves_is_told_so),
        TEST(test_a_restart_carries_a_drain_on_INV_26_28),
        TEST(test_a_drain_of_nobody_is_not_found_and_changes_nothing),
    };

    return cmocka_run_group_tests_name("core: drain", tests, NULL, NULL);
}
