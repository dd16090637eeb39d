/* SPDX-License-Identifier: Apache-2.0 */
/* Reload (RELOAD-1): beside the former one, in its place, replica by replica, and the way back. */
#include <stdlib.h>

#include "core_operator.h"

static struct world world;
static struct pm_pool_spec *other; /* what it is reloaded to */

static int set_up(void **s)
{
    world_init(&world);
    other = pm_pool_spec_new(POOL);
    other->model.main = pm_xstrdup("/m/new.gguf");
    return 0;
}

static int tear_down(void **s)
{
    pm_pool_spec_unref(other);
    world_fini(&world);
    return 0;
}

/* It does not fit twice on the only device. */
static void make_it_big(void)
{
    const struct pm_device device = {.id = "0", .total_bytes = UINT64_C(12) << 30};

    world.spec->vram.each = other->vram.each = UINT64_C(10) << 30;
    pm_core_devices(world.core, &device, 1, world.now_ms, &world.out);
}

static uint64_t reload(void)
{
    return reload_with(&world, (struct pm_reload){.spec = other});
}

static struct pm_token spawned_for_reload(void)
{
    struct pm_token token = the_action(&world, PM_ACT_SPAWN)->token;

    assert_ptr_equal(the_action(&world, PM_ACT_SPAWN)->spec, other);
    spawned(&world, token, NULL);
    return token;
}

static const struct pm_pool_spec *running_spec(void)
{
    return view(&world).spec;
}

/* ---- beside ----------------------------------------------------------------------------------------------------- */

static void test_a_reload_starts_the_new_one_beside_and_switches_when_it_is_durable(void **s)
{
    struct pm_lease lease, second;
    struct pm_token new;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = reload();
    assert_int_equal(the_action(&world, PM_ACT_ACCEPTED)->operation, op);
    assert_string_equal(operation(&world, op).phase, "staging");
    assert_ptr_equal(the_action(&world, PM_ACT_STAGE)->spec, other);
    staged_reload(&world);
    new = spawned_for_reload();
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    second = granted(&world); /* the former one serves on */
    assert_int_equal(second.instance, lease.instance);

    endpoint_ready(&world, new);
    assert_string_equal(operation(&world, op).phase, "switching");
    assert_int_equal(the_action(&world, PM_ACT_PERSIST)->record->kind, PM_OP_RELOAD);
    assert_int_equal(granted(&world).instance, lease.instance); /* not before the commit */
}

static struct pm_token to_the_commit(uint64_t *ret_op)
{
    struct pm_token new;

    *ret_op = reload();
    staged_reload(&world);
    new = spawned_for_reload();
    endpoint_ready(&world, new);
    return new;
}

static void test_after_the_switch_the_new_one_serves_and_the_old_one_ends_with_its_leases(void **s)
{
    struct pm_lease lease, later;
    struct pm_token old;
    uint64_t op;

    world_begin(&world);
    old = ready_engine(&world, &lease);
    (void)to_the_commit(&op);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED); /* at the switch */
    assert_true(operation(&world, op).switched);
    assert_ptr_equal(running_spec(), other);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    later = granted(&world);
    assert_int_not_equal(later.instance, lease.instance);
    assert_int_equal(view(&world).active_leases, 2); /* the pool sums both */
    assert_int_equal(view(&world).slots_free, 3);

    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->token.serial, old.serial);
    crash(&world, old, (struct pm_exit){.status = 0});
    assert_int_equal(the_action(&world, PM_ACT_FORGET)->token.serial, old.serial);
    assert_int_equal(state(&world), PM_READY);
    release(&world, &later, PM_RELEASE_DONE);
    assert_int_equal(view(&world).active_leases, 0);
}

static void test_the_old_one_is_cut_at_the_drain_deadline_INV_18(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world.spec->drain_deadline_ms = other->drain_deadline_ms = 3000;
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)to_the_commit(&op);
    durable(&world);
    tick(&world, world.now_ms + 2999);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    tick(&world, world.now_ms + 1);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_DRAINING);
}

static void test_a_model_that_is_not_there_changes_nothing_INV_19(void **s)
{
    const struct pm_failure missing = {
        .code = POOLMGR_E_MODEL_MISSING, .permanent = true, .text = "/m/new.gguf: no such file"};
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = reload();
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &missing);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_int_equal(operation(&world, op).error.code, POOLMGR_E_MODEL_MISSING);
    assert_string_equal(operation(&world, op).error.message,
                        "nothing changed: /m/new.gguf: no such file");
    assert_false(operation(&world, op).rolled_back);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
    assert_ptr_equal(running_spec(), world.spec);
    (void)granted(&world);
}

static void test_what_can_never_fit_changes_nothing_INV_19(void **s)
{
    struct pm_operation view_of_op;
    uint64_t op;

    make_it_big();
    other->vram.each = UINT64_C(30) << 30;
    world_begin(&world);
    (void)idle_engine(&world);
    op = reload();
    staged_reload(&world);
    view_of_op = operation(&world, op);
    assert_int_equal(view_of_op.error.code, POOLMGR_E_NEVER_FITS);
    assert_non_null(strstr(view_of_op.error.message, "bytes are missing"));
    assert_false(view_of_op.rolled_back);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
    assert_int_equal(state(&world), PM_READY);
    assert_true(replica(&world, 0).gate_open);
}

static void test_a_new_engine_that_fails_leaves_the_old_one_and_does_not_count_INV_19(void **s)
{
    struct pm_lease lease;
    struct pm_token new;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = reload();
    staged_reload(&world);
    new = spawned_for_reload();
    crash(&world, new, (struct pm_exit){.status = 1, .evidence = {.text = "bad tensor"}});
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_false(operation(&world, op).rolled_back);
    assert_non_null(strstr(operation(&world, op).error.message, "bad tensor"));
    assert_int_equal(replica(&world, 0).n_failures, 0);
    assert_int_equal(replica(&world, 0).restart_count, 0);
    assert_ptr_equal(running_spec(), world.spec);
    (void)granted(&world);

    op = reload_with(&world, (struct pm_reload){0}); /* the wanted one again */
    assert_ptr_equal(the_action(&world, PM_ACT_STAGE)->spec, other);
}

static void test_a_permanent_failure_of_the_new_one_does_not_fail_the_pool(void **s)
{
    struct pm_lease lease;
    struct pm_token new;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)reload();
    staged_reload(&world);
    new = spawned_for_reload();
    crash(&world, new, (struct pm_exit){.status = 1, .evidence = {.permanent = true}});
    assert_int_equal(state(&world), PM_READY);
    (void)granted(&world);
}

static void test_a_failed_commit_is_a_failed_reload_INV_27(void **s)
{
    struct pm_lease lease;
    struct pm_token new;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    new = to_the_commit(&op);
    disk_full(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_int_equal(operation(&world, op).error.code, POOLMGR_E_STORE_FAILED);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->token.serial, new.serial);
    assert_ptr_equal(running_spec(), world.spec);
    assert_int_equal(granted(&world).instance, lease.instance);
}

static void test_a_new_engine_that_dies_during_the_commit_is_taken_back(void **s)
{
    struct pm_token new, disk;
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    new = to_the_commit(&op);
    disk = the_action(&world, PM_ACT_PERSIST)->token;
    crash(&world, new, (struct pm_exit){.status = 1});
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    pm_actions_clear(&world.out);
    pm_core_persisted(world.core, disk, NULL, world.now_ms, &world.out);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_false(the_action(&world, PM_ACT_PERSIST)->record->has_operation); /* the former one */
    assert_ptr_equal(running_spec(), world.spec);
    assert_int_equal(granted(&world).instance, lease.instance);
}

static void test_the_former_one_is_not_stopped_for_idleness_meanwhile(void **s)
{
    struct pm_token new;

    world.spec->idle_ttl_ms = 1000;
    other->start_max_ms = other->start_stall_ms = 60000;
    world_begin(&world);
    (void)idle_engine(&world);
    (void)reload();
    staged_reload(&world);
    new = spawned_for_reload();
    tick(&world, world.now_ms + 1500);
    assert_int_equal(state(&world), PM_READY);
    crash(&world, new, (struct pm_exit){.status = 1});
    assert_int_equal(state(&world), PM_STOPPING); /* its reason to stay is gone */
}

/* ---- in its place ------------------------------------------------------------------------------------------------- */

static void test_a_swap_empties_and_stops_the_former_one_first(void **s)
{
    struct pm_token old, new;
    struct pm_lease lease;
    uint64_t op, waits;

    make_it_big();
    world_begin(&world);
    old = ready_engine(&world, &lease);
    op = reload();
    staged_reload(&world);
    assert_string_equal(operation(&world, op).phase, "draining");
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
    waits = request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0); /* INV-17: it waits */
    assert_string_equal(view(&world).code_name, "reloading");
    assert_string_equal(view(&world).reason,
                        "is reloaded (draining); 1 waiting request; poolctl operations op-1");

    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->token.serial, old.serial);
    assert_string_equal(operation(&world, op).phase, "stopping");
    crash(&world, old, (struct pm_exit){.status = 0});
    new = spawned_for_reload();
    assert_int_equal(state(&world), PM_STARTING);
    endpoint_ready(&world, new);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, waits);
    assert_ptr_equal(running_spec(), other);
}

static void test_at_its_deadline_a_swap_is_given_up_and_the_gate_opens(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    make_it_big();
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = reload_with(&world, (struct pm_reload){.spec = other,
                                                .has_deadline = true,
                                                .deadline_ms = 5000,
                                                .on_deadline = PM_DEADLINE_ABORT});
    staged_reload(&world);
    (void)request(&world);
    tick(&world, world.now_ms + 5000);
    assert_int_equal(operation(&world, op).error.code, POOLMGR_E_HAS_LEASES);
    assert_int_equal(operation(&world, op).n_leases_left, 1);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1); /* who waited meanwhile */
    assert_int_equal(state(&world), PM_READY);
}

static void test_at_its_deadline_a_swap_cuts_if_it_was_told_so(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    make_it_big();
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = reload_with(&world, (struct pm_reload){.spec = other,
                                                .has_deadline = true,
                                                .deadline_ms = 5000,
                                                .on_deadline = PM_DEADLINE_STOP});
    staged_reload(&world);
    tick(&world, world.now_ms + 5000);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 1);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    assert_true(operation(&world, op).forced);
}

static uint64_t swap_to_the_start(struct pm_token *ret_new)
{
    struct pm_token old;
    uint64_t op;

    make_it_big();
    world_begin(&world);
    old = idle_engine(&world);
    op = reload();
    staged_reload(&world);
    crash(&world, old, (struct pm_exit){.status = 0});
    *ret_new = spawned_for_reload();
    return op;
}

static void test_a_swap_that_fails_starts_the_last_good_one_at_once(void **s)
{
    struct pm_token new, back;
    uint64_t op, waits;

    op = swap_to_the_start(&new);
    waits = request(&world);
    exited(&world, new, (struct pm_exit){.status = 1, .evidence = {.text = "bad tensor"}});
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0); /* not beside what is still there */
    childless(&world, new);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0); /* INV-17 */
    back = staged_spawn(&world);
    assert_ptr_equal(the_action(&world, PM_ACT_SPAWN)->spec, world.spec);
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    endpoint_ready(&world, back);
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, waits);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_true(operation(&world, op).rolled_back);
    assert_non_null(strstr(operation(&world, op).error.message, "bad tensor"));
    assert_ptr_equal(running_spec(), world.spec);
    assert_int_equal(replica(&world, 0).n_failures, 0);
    assert_non_null(find_event(&world, PM_EV_RELOAD_ROLLED_BACK));
}

static void test_if_the_way_back_fails_too_both_causes_are_told(void **s)
{
    struct pm_token new, back;
    uint64_t op;

    op = swap_to_the_start(&new);
    crash(&world, new, (struct pm_exit){.status = 1, .evidence = {.text = "bad tensor"}});
    back = staged_spawn(&world);
    crash(&world, back, (struct pm_exit){.status = 3, .evidence = {.text = "no such device"}});
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_non_null(strstr(operation(&world, op).error.message, "bad tensor"));
    assert_non_null(strstr(operation(&world, op).error.message, "no such device"));
    assert_false(view(&world).ready);
    assert_int_equal(replica(&world, 0).n_failures, 1);
}

static void test_a_swap_cancelled_before_the_signal_opens_the_gate(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    make_it_big();
    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = reload();
    staged_reload(&world);
    (void)request(&world);
    assert_int_equal(cancel(&world, op), 0);
    assert_int_equal(operation(&world, op).state, PM_OP_CANCELLED);
    assert_false(operation(&world, op).rolled_back);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1);
}

static void test_a_swap_cancelled_after_it_goes_back_to_the_last_good_one(void **s)
{
    struct pm_token new, back;
    uint64_t op;

    op = swap_to_the_start(&new);
    assert_int_equal(cancel(&world, op), 0);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->token.serial, new.serial);
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    crash(&world, new, (struct pm_exit){.status = 0});
    back = staged_spawn(&world);
    endpoint_ready(&world, back);
    assert_int_equal(operation(&world, op).state, PM_OP_CANCELLED);
    assert_true(operation(&world, op).rolled_back);
    assert_ptr_equal(running_spec(), world.spec);
}

/* ---- at rest, and whom it meets ------------------------------------------------------------------------------------ */

static void test_a_cold_pool_takes_the_new_spec_when_it_is_durable_and_starts_nothing(void **s)
{
    uint64_t op;

    world_begin(&world);
    op = reload();
    staged_reload(&world);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 1);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_int_equal(state(&world), PM_COLD);
    (void)request(&world);
    assert_ptr_equal(the_action(&world, PM_ACT_STAGE)->spec, other);
}

static void test_a_failed_pool_is_mended_by_a_reload(void **s)
{
    struct pm_failure failure = {.permanent = true, .text = "no such file"};

    world_begin(&world);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &failure);
    assert_int_equal(state(&world), PM_FAILED);
    (void)reload();
    staged_reload(&world);
    durable(&world);
    assert_int_equal(state(&world), PM_COLD);
}

static void test_two_reloads_at_once_are_refused(void **s)
{
    const struct pm_reload again = {.spec = other};
    struct poolmgr_error err = {0};
    uint64_t op;

    world_begin(&world);
    (void)idle_engine(&world);
    (void)reload();
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_reload(world.core, POOL, &again, world.now_ms, &world.out, &op, &err),
                     POOLMGR_E_CONFLICT);
    assert_string_equal(err.message, POOL " is reloading: no reload now");
    assert_int_equal(world.out.n, 0);
}

static void test_a_reload_on_its_way_to_the_disk_is_not_cancelled(void **s)
{
    struct pm_token new;
    uint64_t op;

    op = swap_to_the_start(&new);
    endpoint_ready(&world, new);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 1);
    assert_int_equal(cancel(&world, op), POOLMGR_E_CONFLICT);
    assert_int_equal(world.out.n, 0);
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
}

/* REG-2: an alias is not another pool's id, whoever asks for it. */
static void test_a_reload_to_the_name_of_another_pool_is_refused(void **s)
{
    struct pm_pool_spec *neighbour = pm_pool_spec_new("neighbour");
    struct pm_reload reload = {.spec = other};
    struct poolmgr_error err = {0};
    uint64_t op = 0;

    world_begin(&world);
    world_add(&world, neighbour);
    pm_pool_spec_unref(neighbour);
    pm_strv_add(&other->aliases, "neighbour");
    pm_actions_clear(&world.out);
    assert_int_equal(pm_core_reload(world.core, POOL, &reload, world.now_ms, &world.out, &op, &err),
                     POOLMGR_E_CONFLICT);
    assert_int_equal(world.out.n, 0);
    assert_false(view(&world).config_drift);
}

static void test_a_reload_cancels_a_start_after_its_own_staging(void **s)
{
    struct pm_token first, new, staging;
    uint64_t starting, waits;

    world_begin(&world);
    starting = start(&world);
    first = staged_spawn(&world);
    (void)reload();
    assert_int_equal(operation(&world, starting).state, PM_OP_RUNNING);
    staging = the_action(&world, PM_ACT_STAGE)->token;
    waits = request(&world);
    staged(&world, staging, NULL);
    assert_int_equal(operation(&world, starting).state, PM_OP_CANCELLED);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->token.serial, first.serial);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    crash(&world, first, (struct pm_exit){.status = 0});
    new = spawned_for_reload();
    endpoint_ready(&world, new);
    durable(&world);
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, waits);
}

static void test_a_drain_cancels_a_reload_when_it_is_durable(void **s)
{
    struct pm_lease lease;
    struct pm_token new;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = reload();
    staged_reload(&world);
    new = spawned_for_reload();
    (void)drain(&world, 60000, PM_DEADLINE_STOP, PM_THEN_STOP);
    assert_int_equal(operation(&world, op).state, PM_OP_CANCELLED);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->token.serial, new.serial);
    assert_ptr_equal(running_spec(), world.spec);
}

static void test_a_stop_is_refused_but_at_once_it_cancels_the_reload(void **s)
{
    struct poolmgr_error err = {0};
    struct pm_lease lease;
    uint64_t reloading, op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    reloading = reload();
    assert_int_equal(pm_core_stop(world.core, POOL, 1000, world.now_ms, &world.out, &op, &err),
                     POOLMGR_E_CONFLICT);
    (void)stop(&world, 0);
    assert_int_equal(operation(&world, reloading).state, PM_OP_CANCELLED);
    assert_int_equal(state(&world), PM_STOPPING);
}

static void test_a_shutdown_cancels_a_reload_and_stops_both(void **s)
{
    struct pm_lease lease;
    uint64_t op;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    op = reload();
    staged_reload(&world);
    (void)spawned_for_reload();
    pm_actions_clear(&world.out);
    pm_core_shutdown(world.core, false, world.now_ms, &world.out);
    assert_int_equal(operation(&world, op).state, PM_OP_CANCELLED);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1); /* the new one; the other serves */
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
}

static void test_a_leave_stops_the_new_one_first(void **s)
{
    struct pm_token new;
    struct pm_lease lease;

    world_begin(&world);
    (void)ready_engine(&world, &lease);
    (void)reload();
    staged_reload(&world);
    new = spawned_for_reload();
    pm_actions_clear(&world.out);
    pm_core_leave(world.core, world.now_ms, &world.out);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->token.serial, new.serial);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
}

static void test_what_waited_for_a_reload_does_not_start_in_the_step_of_a_leave_INV_9(void **s)
{
    world_begin(&world);
    (void)reload();
    staged_reload(&world);
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 1);
    (void)request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    pm_actions_clear(&world.out);
    pm_core_leave(world.core, world.now_ms, &world.out);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
}

static void test_behind_hold_the_gate_stays_closed(void **s)
{
    struct pm_token new;
    uint64_t op;

    world_begin(&world);
    (void)idle_engine(&world);
    (void)drain(&world, 0, PM_DEADLINE_STOP, PM_THEN_HOLD);
    op = reload();
    staged_reload(&world);
    new = spawned_for_reload();
    endpoint_ready(&world, new);
    durable(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_false(replica(&world, 0).gate_open);
    (void)resume(&world);
    assert_int_equal(granted(&world).instance, 2);
}

/* ---- replicas ------------------------------------------------------------------------------------------------------ */

static struct pm_token ready_replicas(struct pm_token *ret_second)
{
    struct pm_token first;

    world.spec->n_replicas = other->n_replicas = 2;
    world_begin(&world);
    (void)start(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    first = replica(&world, 0).token;
    *ret_second = replica(&world, 1).token;
    endpoint_ready(&world, first);
    endpoint_ready(&world, *ret_second);
    return first;
}

static void test_replicas_change_one_at_a_time_and_the_spec_is_committed_with_the_last(void **s)
{
    struct pm_token first, second;
    uint64_t op;

    first = ready_replicas(&second);
    op = reload();
    staged_reload(&world);
    assert_string_equal(operation(&world, op).text, "replica 1 of 2");
    endpoint_ready(&world, spawned_for_reload());
    assert_int_equal(count_actions(&world, PM_ACT_PERSIST), 0);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->token.serial, first.serial);
    assert_ptr_equal(running_spec(), world.spec);
    endpoint_ready(&world, spawned_for_reload());
    durable(&world);
    assert_int_equal(the_action(&world, PM_ACT_SIGNAL)->token.serial, second.serial);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_ptr_equal(running_spec(), other);
}

static void test_if_one_fails_those_already_changed_go_back(void **s)
{
    struct pm_token first, second, new, next, back;
    uint64_t op;

    first = ready_replicas(&second);
    op = reload();
    staged_reload(&world);
    new = spawned_for_reload();
    endpoint_ready(&world, new);
    next = spawned_for_reload();
    crash(&world, first, (struct pm_exit){.status = 0}); /* the old one is gone for good */
    crash(&world, next, (struct pm_exit){.status = 1, .evidence = {.text = "bad tensor"}});
    assert_int_equal(operation(&world, op).state, PM_OP_RUNNING);
    assert_string_equal(operation(&world, op).text, "going back to what served before");
    assert_int_equal(replica(&world, 0).state, PM_STOPPING);
    assert_int_equal(replica(&world, 1).token.serial, second.serial); /* serves all the time */
    crash(&world, new, (struct pm_exit){.status = 0});
    back = staged_spawn(&world);
    assert_ptr_equal(the_action(&world, PM_ACT_SPAWN)->spec, world.spec);
    endpoint_ready(&world, back);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_true(operation(&world, op).rolled_back);
    assert_ptr_equal(running_spec(), world.spec);
}

static void test_a_replica_whose_former_engine_still_runs_goes_back_to_it(void **s)
{
    struct pm_token first, second, new, next;
    struct pm_lease lease;
    uint64_t op;

    first = ready_replicas(&second);
    lease = granted(&world); /* the first one drains for as long as this runs */
    op = reload();
    staged_reload(&world);
    new = spawned_for_reload();
    endpoint_ready(&world, new);
    next = spawned_for_reload();
    crash(&world, next, (struct pm_exit){.status = 1, .evidence = {.text = "bad tensor"}});
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_true(operation(&world, op).rolled_back);
    assert_int_equal(replica(&world, 0).token.serial, first.serial);
    assert_true(replica(&world, 0).gate_open);
    assert_int_equal(replica(&world, 1).token.serial, second.serial);
    assert_int_equal(lease.replica, 0);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 0);
}

static void test_a_replica_that_was_changed_comes_back_as_what_the_pool_is_after_a_call_off(
    void **s)
{
    struct pm_token first, second, new, next;

    first = ready_replicas(&second);
    (void)reload();
    staged_reload(&world);
    new = spawned_for_reload();
    endpoint_ready(&world, new);
    next = spawned_for_reload();
    crash(&world, first, (struct pm_exit){.status = 0});
    (void)drain(&world, 0, PM_DEADLINE_STOP, PM_THEN_STOP); /* the reload is over, and both stop */
    crash(&world, new, (struct pm_exit){.status = 0});
    crash(&world, next, (struct pm_exit){.status = 0});
    crash(&world, second, (struct pm_exit){.status = 0});
    durable(&world); /* what came of the drain */
    assert_int_equal(view(&world).intent, PM_DISABLED);
    (void)resume(&world);
    (void)request(&world);
    assert_ptr_equal(the_action(&world, PM_ACT_STAGE)->spec, world.spec);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 2);
    assert_ptr_equal(action_at(&world, PM_ACT_SPAWN, 0)->spec, world.spec);
}

static void test_what_a_called_off_reload_left_stages_only_what_the_pool_is(void **s)
{
    struct pm_token new, second;

    (void)ready_replicas(&second);
    (void)reload();
    staged_reload(&world);
    new = spawned_for_reload();
    endpoint_ready(&world, new);
    (void)drain(&world, 0, PM_DEADLINE_STOP, PM_THEN_STOP);
    (void)resume(&world);
    (void)request(&world);
    (void)reload();
    childless(&world, new);
    assert_ptr_equal(the_action(&world, PM_ACT_STAGE)->spec, world.spec);
}

static void test_what_a_called_off_reload_left_is_not_started_during_the_next(void **s)
{
    const struct pm_device device = {.id = "0",
                                     .total_bytes = UINT64_C(99) << 30,
                                     .free_known = true,
                                     .free_bytes = UINT64_C(99) << 30};
    struct pm_token new, second;

    world.spec->vram.each = other->vram.each = UINT64_C(10) << 30;
    pm_core_devices(world.core, &device, 1, world.now_ms, &world.out);
    (void)ready_replicas(&second);
    (void)reload();
    staged_reload(&world);
    new = spawned_for_reload();
    endpoint_ready(&world, new);
    (void)drain(&world, 0, PM_DEADLINE_STOP, PM_THEN_STOP);
    (void)resume(&world);
    (void)request(&world);
    crash(&world, second, (struct pm_exit){.status = 0});
    tick(&world, world.now_ms + 10000); /* its memory is not seen to come back */
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    crash(&world, new, (struct pm_exit){.status = 0});
    (void)reload_with(&world, (struct pm_reload){.spec = world.spec});
    staged_reload(&world);
    tick(&world, world.now_ms + 10000);
    assert_ptr_equal(the_action(&world, PM_ACT_STAGE)->spec, world.spec);
}

static void test_more_replicas_come_with_the_new_spec_and_fewer_end(void **s)
{
    world_begin(&world);
    other->n_replicas = 3;
    (void)reload();
    staged_reload(&world);
    durable(&world);
    assert_int_equal(view(&world).n_replicas, 3);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_reload_starts_the_new_one_beside_and_switches_when_it_is_durable),
        TEST(test_after_the_switch_the_new_one_serves_and_the_old_one_ends_with_its_leases),
        TEST(test_the_old_one_is_cut_at_the_drain_deadline_INV_18),
        TEST(test_a_model_that_is_not_there_changes_nothing_INV_19),
        TEST(test_what_can_never_fit_changes_nothing_INV_19),
        TEST(test_a_new_engine_that_fails_leaves_the_old_one_and_does_not_count_INV_19),
        TEST(test_a_permanent_failure_of_the_new_one_does_not_fail_the_pool),
        TEST(test_a_failed_commit_is_a_failed_reload_INV_27),
        TEST(test_a_new_engine_that_dies_during_the_commit_is_taken_back),
        TEST(test_the_former_one_is_not_stopped_for_idleness_meanwhile),
        TEST(test_a_swap_empties_and_stops_the_former_one_first),
        TEST(test_at_its_deadline_a_swap_is_given_up_and_the_gate_opens),
        TEST(test_at_its_deadline_a_swap_cuts_if_it_was_told_so),
        TEST(test_a_swap_that_fails_starts_the_last_good_one_at_once),
        TEST(test_if_the_way_back_fails_too_both_causes_are_told),
        TEST(test_a_swap_cancelled_before_the_signal_opens_the_gate),
        TEST(test_a_swap_cancelled_after_it_goes_back_to_the_last_good_one),
        TEST(test_a_cold_pool_takes_the_new_spec_when_it_is_durable_and_starts_nothing),
        TEST(test_a_failed_pool_is_mended_by_a_reload),
        TEST(test_two_reloads_at_once_are_refused),
        TEST(test_a_reload_on_its_way_to_the_disk_is_not_cancelled),
        TEST(test_a_reload_to_the_name_of_another_pool_is_refused),
        TEST(test_a_reload_cancels_a_start_after_its_own_staging),
        TEST(test_a_drain_cancels_a_reload_when_it_is_durable),
        TEST(test_a_stop_is_refused_but_at_once_it_cancels_the_reload),
        TEST(test_a_shutdown_cancels_a_reload_and_stops_both),
        TEST(test_a_leave_stops_the_new_one_first),
        TEST(test_what_waited_for_a_reload_does_not_start_in_the_step_of_a_leave_INV_9),
        TEST(test_behind_hold_the_gate_stays_closed),
        TEST(test_replicas_change_one_at_a_time_and_the_spec_is_committed_with_the_last),
        TEST(test_if_one_fails_those_already_changed_go_back),
        TEST(test_a_replica_whose_former_engine_still_runs_goes_back_to_it),
        TEST(test_a_replica_that_was_changed_comes_back_as_what_the_pool_is_after_a_call_off),
        TEST(test_what_a_called_off_reload_left_stages_only_what_the_pool_is),
        TEST(test_what_a_called_off_reload_left_is_not_started_during_the_next),
        TEST(test_more_replicas_come_with_the_new_spec_and_fewer_end),
    };

    return cmocka_run_group_tests_name("core: reload", tests, NULL, NULL);
}
