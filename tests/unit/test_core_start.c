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

/* ---- what ends a start ------------------------------------------------------------------------------------ */

static const struct pm_exit exit_1 = {.status = 1};

/* Lets the next start of the pool come as far as its spawn; the delay before it passes. */
static struct pm_token spawn_again(void)
{
    if (count_actions(&world, PM_ACT_STAGE) == 0)
        next_tick(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    return the_action(&world, PM_ACT_SPAWN)->token;
}

/* One failed start after the other, up to this many in a row. */
static void fail_starts(uint64_t n)
{
    while (replica(&world, 0).n_failures < n) {
        if (view(&world).queue_depth == 0)
            (void)request_with(&world, (struct pm_request){.deadline_ms = PM_NEVER});
        crash(&world, spawn_again(), exit_1);
    }
}

static void test_the_first_failed_start_keeps_its_waiters_and_the_second_ends_them_LOAD_3(void **s)
{
    struct pm_exit how = {.status = 1, .evidence = {.text = "unknown model architecture"}};
    const struct poolmgr_error *error;

    world_begin(&world);
    (void)request(&world);
    crash(&world, spawn_again(), how);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    assert_int_equal(state(&world), PM_STAGING); /* the next try is at once */

    exited(&world, spawn_again(), how);
    error = the_action(&world, PM_ACT_REFUSE)->error;
    assert_int_equal(error->code, POOLMGR_E_START_FAILED);
    assert_string_equal(error->message,
                        POOL " did not start (exit): exit status 1: unknown model architecture");
    assert_in_range(error->retry_after_ms, 500, 1000);
}

static void test_who_comes_after_a_failed_start_waits_for_the_next_one(void **s)
{
    struct pm_token token;

    world_begin(&world);
    (void)request(&world);
    crash(&world, spawn_again(), exit_1);
    token = spawn_again();
    exited(&world, token, exit_1);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 1);
    (void)request(&world); /* while the tree of the failed one is being cleared away */
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    childless(&world, token);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    assert_int_equal(state(&world), PM_BACKOFF);
    endpoint_ready(&world, spawn_again());
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1);
}

static void test_whose_deadline_lies_before_the_next_try_is_refused_with_its_time(void **s)
{
    const struct poolmgr_error *error;

    world_begin(&world);
    fail_starts(4);
    assert_int_equal(state(&world), PM_BACKOFF);
    (void)request_with(&world, (struct pm_request){.deadline_ms = 100});
    error = the_action(&world, PM_ACT_REFUSE)->error;
    assert_int_equal(error->code, POOLMGR_E_START_FAILED);
    assert_int_equal(error->retry_after_ms, replica(&world, 0).next_start_ms - world.now_ms);

    (void)request_with(&world, (struct pm_request){.deadline_ms = 60000});
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
}

static void test_five_failures_open_the_breaker_and_name_the_storm_SUP_3(void **s)
{
    world_begin(&world);
    fail_starts(4);
    (void)request(&world);
    exited(&world, spawn_again(), exit_1);
    childless(&world, replica(&world, 0).token);
    assert_int_equal(replica(&world, 0).breaker, PM_BREAKER_OPEN);
    assert_non_null(find_event(&world, PM_EV_BREAKER_OPENED));
    assert_told(&world, PM_EV_STORM, POOL " failed 5 times in a row, the last time: exit status 1");

    (void)request_with(&world, (struct pm_request){.deadline_ms = 100});
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_BREAKER_OPEN);

    /* The delay over, one arrival is the trial. */
    tick(&world, replica(&world, 0).next_start_ms);
    assert_int_equal(state(&world), PM_COLD);
    (void)request(&world);
    endpoint_ready(&world, spawn_again());
    assert_int_equal(replica(&world, 0).breaker, PM_BREAKER_HALF_OPEN);
    tick(&world, world.now_ms + 60000);
    assert_int_equal(replica(&world, 0).breaker, PM_BREAKER_CLOSED);
    assert_int_equal(replica(&world, 0).n_failures, 4);
}

static void test_five_times_out_of_memory_is_an_oom_storm(void **s)
{
    struct pm_exit how = {.status = 1, .evidence = {.class = PM_CLASS_OOM}};

    world_begin(&world);
    for (int i = 0; i < 5; i++) {
        if (view(&world).queue_depth == 0)
            (void)request(&world);
        crash(&world, spawn_again(), how);
    }
    assert_told(&world, PM_EV_OOM_STORM, POOL " ran out of memory 5 times in a row");
}

static void test_a_driver_failure_counts_twice_SUP_2(void **s)
{
    struct pm_exit how = {.status = 1, .evidence = {.class = PM_CLASS_DRIVER}};

    world_begin(&world);
    (void)request(&world);
    crash(&world, spawn_again(), how);
    assert_int_equal(replica(&world, 0).n_failures, 2);
    assert_int_equal(state(&world), PM_BACKOFF);
}

static void test_a_permanent_failure_is_tried_once_and_a_reset_brings_it_back_SUP_6(void **s)
{
    struct pm_failure failure = {
        .code = POOLMGR_E_MODEL_MISSING, .permanent = true, .text = "/m/qwen.gguf does not exist"};
    struct poolmgr_error err = {0};

    world_begin(&world);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &failure);
    assert_int_equal(state(&world), PM_FAILED);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_POOL_FAILED);
    assert_string_equal(the_action(&world, PM_ACT_REFUSE)->error->message,
                        POOL " cannot start: /m/qwen.gguf does not exist");
    assert_int_equal(view(&world).last_error.code, POOLMGR_E_MODEL_MISSING);
    assert_int_equal(view(&world).code, POOLMGR_E_POOL_FAILED);

    (void)request(&world);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_POOL_FAILED);
    assert_int_equal(pm_core_deadline(world.core), PM_NEVER);

    assert_int_equal(
        pm_core_reset(world.core, POOL, PM_BREAKER_CLOSED, world.now_ms, &world.out, &err), 0);
    assert_int_equal(state(&world), PM_COLD);
    (void)request(&world);
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_a_changed_file_brings_a_failed_preload_pool_back_by_itself(void **s)
{
    struct pm_failure failure = {.code = POOLMGR_E_MODEL_CORRUPT, .permanent = true, .text = "bad"};

    world.spec->start = PM_PRELOAD;
    world_begin(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &failure);
    assert_int_equal(state(&world), PM_FAILED);
    pm_actions_clear(&world.out);
    pm_core_file_changed(world.core, POOL, world.now_ms, &world.out);
    assert_int_equal(state(&world), PM_STAGING);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 1);
}

static const struct pm_failure on_the_host = {.class = PM_CLASS_SPAWN,
                                              .code = POOLMGR_E_ENGINE_MISSING,
                                              .permanent = true,
                                              .text = "all layers are on the host",
                                              .hint = "another build"};

static void unfit(struct pm_token token)
{
    pm_actions_clear(&world.out);
    pm_core_start_unfit(world.core, token, &on_the_host, world.now_ms, &world.out);
}

static void test_an_engine_that_is_not_where_it_was_planned_fails_for_good_unseen_LOAD_5(void **s)
{
    struct pm_token token;
    uint64_t signalled_ms;

    world_begin(&world);
    token = start_engine(&world);
    (void)request(&world);
    unfit(token);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 0);
    assert_int_equal(state(&world), PM_STOPPING);
    assert_int_equal(view(&world).last_error.code, POOLMGR_E_ENGINE_MISSING);
    for (size_t i = 0; i < 2; i++) { /* who began it, and who came */
        const struct poolmgr_error *error = action_at(&world, PM_ACT_REFUSE, i)->error;

        assert_int_equal(error->code, POOLMGR_E_POOL_FAILED);
        assert_string_equal(error->message, POOL " cannot start: all layers are on the host");
        assert_string_equal(error->hint, "another build");
    }
    endpoint_ready(&world, token); /* too late */
    assert_int_equal(state(&world), PM_STOPPING);

    signalled_ms = world.now_ms;
    tick(&world, signalled_ms + world.spec->stop_grace_ms);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 1);
    crash(&world, token, (struct pm_exit){.signalled = true, .status = 9});
    assert_int_equal(state(&world), PM_FAILED);
    (void)request(&world);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_POOL_FAILED);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
}

static void test_who_is_ready_or_gone_cannot_be_unfit_any_more(void **s)
{
    struct pm_token token;

    world_begin(&world);
    token = start_engine(&world);
    endpoint_ready(&world, token);
    unfit(token);
    assert_int_equal(state(&world), PM_READY);
    crash(&world, token, exit_1);
    unfit(token);
    assert_int_not_equal(state(&world), PM_FAILED);
}

static void test_a_permanent_failure_of_one_replica_fails_all_that_are_not_up(void **s)
{
    struct pm_exit how = {.status = 78, .evidence = {.permanent = true, .text = "bad flag"}};
    struct pm_token first, second;

    world.spec->n_replicas = 2;
    world_begin(&world);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    first = action_at(&world, PM_ACT_SPAWN, 0)->token;
    second = action_at(&world, PM_ACT_SPAWN, 1)->token;
    crash(&world, first, how);
    assert_int_equal(replica(&world, 0).state, PM_FAILED);
    assert_int_equal(replica(&world, 1).state, PM_STARTING); /* its try is made already */
    assert_int_equal(view(&world).queue_depth, 1);
    crash(&world, second, exit_1);
    assert_int_equal(replica(&world, 1).state, PM_FAILED);
    assert_int_equal(view(&world).queue_depth, 0);
}

/* LOAD-3: both clocks begin at the spawn, and the whole tree is killed. */
static void test_a_start_without_progress_is_killed_after_start_stall(void **s)
{
    uint64_t spawned_ms;

    world_begin(&world);
    (void)start_engine(&world);
    spawned_ms = world.now_ms;
    tick(&world, spawned_ms + 60000);
    pm_core_progress(world.core, replica(&world, 0).token, world.now_ms, &world.out);
    tick(&world, spawned_ms + 179999);
    assert_int_equal(state(&world), PM_STARTING);
    tick(&world, spawned_ms + 180000);
    assert_int_equal(state(&world), PM_STOPPING);
    assert_int_equal(the_action(&world, PM_ACT_KILL)->reason_code, PM_CLASS_START_TIMEOUT);
    assert_int_equal(the_action(&world, PM_ACT_REFUSE)->error->code, POOLMGR_E_START_TIMEOUT);
    assert_string_equal(the_action(&world, PM_ACT_REFUSE)->error->message,
                        POOL " did not start (start-timeout): no progress for 2m (start_stall)");
    tick(&world, spawned_ms + 181000);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 1); /* each second until childless */
}

static void test_a_start_with_progress_is_killed_after_start_max(void **s)
{
    uint64_t spawned_ms;

    world.spec->start_max_ms = 150000;
    world_begin(&world);
    (void)start_engine(&world);
    spawned_ms = world.now_ms;
    tick(&world, spawned_ms + 100000);
    pm_core_progress(world.core, replica(&world, 0).token, world.now_ms, &world.out);
    tick(&world, spawned_ms + 150000);
    assert_int_equal(count_actions(&world, PM_ACT_KILL), 1);
}

static void test_an_engine_that_cannot_be_launched_is_a_failed_start(void **s)
{
    struct pm_failure failure = {.code = POOLMGR_E_ENGINE_MISSING,
                                 .permanent = true,
                                 .text = "no program 'llama-server' in PATH"};

    world_begin(&world);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    spawned(&world, the_action(&world, PM_ACT_SPAWN)->token, &failure);
    assert_int_equal(state(&world), PM_FAILED);
    assert_int_equal(view(&world).last_error.class, PM_CLASS_SPAWN);
    assert_int_equal(count_actions(&world, PM_ACT_FORGET), 1);
}

static void test_a_start_nobody_waits_for_is_given_up_after_abandon_after_LOAD_4(void **s)
{
    uint64_t left_ms;

    world_begin(&world);
    (void)start_engine(&world);
    gone(&world, 1);
    left_ms = world.now_ms;
    tick(&world, left_ms + 59999);
    assert_int_equal(state(&world), PM_STARTING);
    tick(&world, left_ms + 60000);
    assert_int_equal(state(&world), PM_STOPPING);
    assert_int_equal(count_actions(&world, PM_ACT_SIGNAL), 1);
    assert_told(&world, PM_EV_START_ABANDONED,
                POOL " is not needed any more: nobody waits for it for 1m");
    childless(&world, replica(&world, 0).token);
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(replica(&world, 0).n_failures, 0); /* a start we cancelled is no failure */
}

static void test_who_comes_back_in_time_keeps_the_start(void **s)
{
    world_begin(&world);
    (void)start_engine(&world);
    gone(&world, 1);
    tick(&world, world.now_ms + 50000);
    (void)request(&world);
    tick(&world, world.now_ms + 50000);
    assert_int_equal(state(&world), PM_STARTING);
}

/* ---- starts nobody asked for ------------------------------------------------------------------------------- */

static void test_preload_pools_start_in_the_order_of_the_file_and_two_at_a_time_LOAD_1(void **s)
{
    struct pm_pool_spec *specs[4];
    struct pm_token stagings[4], first;
    char id[] = "d-pool";

    for (int i = 0; i < 4; i++) {
        id[0] = (char)('d' - i); /* the order of the file, not of the names */
        specs[i] = pm_pool_spec_new(id);
        specs[i]->start = PM_PRELOAD;
        world_add(&world, specs[i]);
    }
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
    for (size_t i = 0; i < 4; i++)
        stagings[i] = action_at(&world, PM_ACT_STAGE, i)->token;

    staged(&world, stagings[0], NULL);
    first = the_action(&world, PM_ACT_SPAWN)->token;
    staged(&world, stagings[1], NULL);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 1);
    staged(&world, stagings[3], NULL);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);
    staged(&world, stagings[2], NULL);
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 0);

    endpoint_ready(&world, first); /* a place is free: the third of the file has it */
    assert_ptr_equal(the_action(&world, PM_ACT_SPAWN)->spec, specs[2]);

    /* A request never waits for a place. */
    (void)request_with(&world, (struct pm_request){.route = "a-pool"});
    assert_ptr_equal(the_action(&world, PM_ACT_SPAWN)->spec, specs[3]);
    for (int i = 0; i < 4; i++)
        pm_pool_spec_unref(specs[i]);
}

/* RELOAD-2: limits change in place; what waits for a place has it in the same step. */
static void test_more_parallel_starts_are_begun_as_soon_as_they_are_allowed(void **s)
{
    struct pm_core_options options = {.max_parallel_starts = 1};
    struct pm_pool_spec *specs[3];
    char id[] = "a-pool";

    pm_core_free(world.core);
    world.core = pm_core_new(&options);
    for (int i = 0; i < 3; i++) {
        id[0] = (char)('a' + i);
        specs[i] = pm_pool_spec_new(id);
        specs[i]->start = PM_PRELOAD;
        world_add(&world, specs[i]);
    }
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
    for (size_t i = 0; i < 3; i++) {
        struct pm_token staging = action_at(&world, PM_ACT_STAGE, i)->token;

        pm_core_staged(world.core, staging, NULL, NULL, 0, world.now_ms, &world.out);
    }
    assert_int_equal(count_actions(&world, PM_ACT_SPAWN), 1);

    pm_actions_clear(&world.out);
    options.max_parallel_starts = 2;
    pm_core_configure(world.core, &options, world.now_ms, &world.out);
    assert_ptr_equal(the_action(&world, PM_ACT_SPAWN)->spec, specs[1]);

    pm_actions_clear(&world.out);
    pm_core_configure(world.core, &options, world.now_ms, &world.out);
    assert_int_equal(world.out.n, 0);
    for (int i = 0; i < 3; i++)
        pm_pool_spec_unref(specs[i]);
}

static void test_nothing_starts_before_begin(void **s)
{
    world.spec->start = PM_PRELOAD;
    world_add(&world, world.spec);
    (void)request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_STAGE), 0);
    assert_int_equal(state(&world), PM_COLD);
    pm_core_begin(world.core, world.now_ms, &world.out);
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_a_pool_that_was_ready_is_started_again_by_itself_SUP_3(void **s)
{
    struct pm_token token;

    world_begin(&world);
    token = idle_engine(&world);
    exited(&world, token, (struct pm_exit){.status = 0}); /* code 0 nobody asked for is a crash */
    assert_told(&world, PM_EV_INSTANCE_CRASHED, POOL " crashes: exit status 0");
    childless(&world, token);
    assert_int_equal(state(&world), PM_STAGING);
    assert_int_equal(replica(&world, 0).n_failures, 1);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_told(&world, PM_EV_INSTANCE_STARTING, POOL " starts again after failure 1");
    assert_int_equal(replica(&world, 0).restart_count, 1);
    endpoint_ready(&world, replica(&world, 0).token);
    tick(&world, world.now_ms + 5 * 60 * 1000);
    assert_int_equal(replica(&world, 0).n_failures, 0);
}

static void test_a_start_after_forgotten_failures_counts_none(void **s)
{
    struct pm_failure failure = {
        .code = POOLMGR_E_MODEL_MISSING, .permanent = true, .text = "gone"};
    struct pm_token token;

    world_begin(&world);
    token = idle_engine(&world);
    crash(&world, token, exit_1);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, &failure);
    pm_actions_clear(&world.out);
    pm_core_file_changed(world.core, POOL, world.now_ms, &world.out);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    assert_told(&world, PM_EV_INSTANCE_STARTING, POOL " starts again");
}

static void test_an_on_demand_pool_that_was_never_ready_waits_for_somebody(void **s)
{
    world_begin(&world);
    (void)request(&world);
    crash(&world, spawn_again(), exit_1);
    crash(&world, spawn_again(), exit_1);
    assert_int_equal(state(&world), PM_BACKOFF);
    next_tick(&world);
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(pm_core_deadline(world.core), PM_NEVER);
}

static void test_restart_never_leaves_a_crashed_pool_cold_until_the_next_request(void **s)
{
    struct pm_token token;

    world.spec->restart = PM_RESTART_NEVER;
    world_begin(&world);
    token = idle_engine(&world);
    crash(&world, token, exit_1);
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(pm_core_deadline(world.core), PM_NEVER);
    (void)request(&world);
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_a_ready_engine_that_dies_keeps_those_who_wait_for_a_slot(void **s)
{
    struct pm_lease lease;
    struct pm_token token;

    world.spec->n_slots = 1;
    world_begin(&world);
    token = ready_engine(&world, &lease);
    (void)request(&world);
    exited(&world, token, exit_1);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 1);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    childless(&world, token);
    endpoint_ready(&world, spawn_again());
    assert_int_equal(the_action(&world, PM_ACT_GRANT)->request, 2);
}

/* ---- late and lost answers -------------------------------------------------------------------------------------- */

static void test_answers_of_a_start_that_is_over_change_nothing_INV_2(void **s)
{
    struct pm_failure failure = {.text = "too late"};
    struct pm_token token, staging;
    uint64_t version;

    world_begin(&world);
    (void)request(&world);
    staging = the_action(&world, PM_ACT_STAGE)->token;
    staged(&world, staging, NULL);
    token = the_action(&world, PM_ACT_SPAWN)->token;
    crash(&world, token, exit_1);
    version = pm_core_snapshot_version(world.core);
    staged(&world, staging, &failure);
    spawned(&world, token, &failure);
    endpoint_ready(&world, token);
    exited(&world, token, exit_1);
    childless(&world, token);
    assert_int_equal(world.out.n, 0);
    assert_int_equal(pm_core_snapshot_version(world.core), version);
}

static void test_childless_without_an_exit_is_an_exit_nobody_saw(void **s)
{
    world_begin(&world);
    childless(&world, idle_engine(&world));
    assert_told(&world, PM_EV_INSTANCE_CRASHED,
                POOL " crashes: killed by somebody else, it ended, and nobody saw how");
    assert_int_equal(state(&world), PM_STAGING);
}

static void test_an_answer_to_another_question_changes_nothing_INV_2(void **s)
{
    struct pm_token token;

    world_begin(&world);
    token = idle_engine(&world);
    probed(&world, token, false);
    staged(&world, token, NULL);
    pm_core_busy(world.core, token, 0, world.now_ms, &world.out);
    assert_int_equal(world.out.n, 0);
    tick(&world, world.now_ms + 2000);
    childless(&world, the_action(&world, PM_ACT_PROBE)->probe);
    assert_int_equal(world.out.n, 0);
    assert_int_equal(state(&world), PM_READY);
}

static void test_a_replica_that_loads_longer_is_kept_while_the_pool_is_in_use(void **s)
{
    struct pm_lease lease;

    world.spec->n_replicas = 2;
    world_begin(&world);
    (void)request(&world);
    staged(&world, the_action(&world, PM_ACT_STAGE)->token, NULL);
    endpoint_ready(&world, replica(&world, 0).token);
    lease = the_action(&world, PM_ACT_GRANT)->lease;
    tick(&world, world.now_ms + 70000); /* beyond abandon_after, but within start_stall */
    assert_int_equal(replica(&world, 1).state, PM_STARTING);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(replica(&world, 1).state, PM_STOPPING);
}

static void test_a_crashed_pool_that_an_operator_stops_stays_down(void **s)
{
    struct poolmgr_error err = {0};
    struct pm_token token;
    uint64_t op;

    world_begin(&world);
    token = idle_engine(&world);
    exited(&world, token, exit_1);
    assert_int_equal(pm_core_stop(world.core, POOL, 0, world.now_ms, &world.out, &op, &err), 0);
    childless(&world, token);
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(pm_core_deadline(world.core), PM_NEVER);
}

static void test_a_crash_that_a_later_engine_outlived_starts_nothing_any_more(void **s)
{
    struct poolmgr_error err = {0};
    uint64_t op, id;

    world_begin(&world);
    crash(&world, idle_engine(&world), exit_1);
    endpoint_ready(&world, spawn_again());
    assert_int_equal(pm_core_stop(world.core, POOL, 0, world.now_ms, &world.out, &op, &err), 0);
    childless(&world, replica(&world, 0).token);
    id = request(&world);
    (void)spawn_again();
    gone(&world, id);
    tick(&world, world.now_ms + 60000);
    assert_int_equal(state(&world), PM_STOPPING);
}

static void test_restart_never_holds_for_preload_pools_too(void **s)
{
    world.spec->restart = PM_RESTART_NEVER;
    world.spec->start = PM_PRELOAD;
    world_begin(&world);
    crash(&world, spawn_again(), exit_1);
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(pm_core_deadline(world.core), PM_NEVER);
}

static void test_a_changed_file_ends_a_delay_and_means_nothing_to_a_pool_that_is_well(void **s)
{
    world_begin(&world);
    fail_starts(2);
    (void)request_with(&world, (struct pm_request){.deadline_ms = PM_NEVER});
    assert_int_equal(state(&world), PM_BACKOFF);
    pm_actions_clear(&world.out);
    pm_core_file_changed(world.core, POOL, world.now_ms, &world.out);
    assert_int_equal(replica(&world, 0).n_failures, 0);
    endpoint_ready(&world, spawn_again());
    pm_actions_clear(&world.out);
    pm_core_file_changed(world.core, POOL, world.now_ms, &world.out);
    assert_int_equal(world.out.n, 0);
    assert_int_equal(state(&world), PM_READY);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_starts_a_cold_pool_and_an_idle_one_stops),
        TEST(test_a_thousand_requests_to_a_cold_pool_make_one_start_LOAD_1),
        TEST(test_the_first_failed_start_keeps_its_waiters_and_the_second_ends_them_LOAD_3),
        TEST(test_who_comes_after_a_failed_start_waits_for_the_next_one),
        TEST(test_whose_deadline_lies_before_the_next_try_is_refused_with_its_time),
        TEST(test_five_failures_open_the_breaker_and_name_the_storm_SUP_3),
        TEST(test_five_times_out_of_memory_is_an_oom_storm),
        TEST(test_a_driver_failure_counts_twice_SUP_2),
        TEST(test_a_permanent_failure_is_tried_once_and_a_reset_brings_it_back_SUP_6),
        TEST(test_a_changed_file_brings_a_failed_preload_pool_back_by_itself),
        TEST(test_an_engine_that_is_not_where_it_was_planned_fails_for_good_unseen_LOAD_5),
        TEST(test_who_is_ready_or_gone_cannot_be_unfit_any_more),
        TEST(test_a_permanent_failure_of_one_replica_fails_all_that_are_not_up),
        TEST(test_a_start_without_progress_is_killed_after_start_stall),
        TEST(test_a_start_with_progress_is_killed_after_start_max),
        TEST(test_an_engine_that_cannot_be_launched_is_a_failed_start),
        TEST(test_a_start_nobody_waits_for_is_given_up_after_abandon_after_LOAD_4),
        TEST(test_who_comes_back_in_time_keeps_the_start),
        TEST(test_preload_pools_start_in_the_order_of_the_file_and_two_at_a_time_LOAD_1),
        TEST(test_more_parallel_starts_are_begun_as_soon_as_they_are_allowed),
        TEST(test_nothing_starts_before_begin),
        TEST(test_a_pool_that_was_ready_is_started_again_by_itself_SUP_3),
        TEST(test_a_start_after_forgotten_failures_counts_none),
        TEST(test_an_on_demand_pool_that_was_never_ready_waits_for_somebody),
        TEST(test_restart_never_leaves_a_crashed_pool_cold_until_the_next_request),
        TEST(test_a_ready_engine_that_dies_keeps_those_who_wait_for_a_slot),
        TEST(test_answers_of_a_start_that_is_over_change_nothing_INV_2),
        TEST(test_childless_without_an_exit_is_an_exit_nobody_saw),
        TEST(test_an_answer_to_another_question_changes_nothing_INV_2),
        TEST(test_a_replica_that_loads_longer_is_kept_while_the_pool_is_in_use),
        TEST(test_a_crashed_pool_that_an_operator_stops_stays_down),
        TEST(test_a_crash_that_a_later_engine_outlived_starts_nothing_any_more),
        TEST(test_restart_never_holds_for_preload_pools_too),
        TEST(test_a_changed_file_ends_a_delay_and_means_nothing_to_a_pool_that_is_well),
    };

    return cmocka_run_group_tests_name("core: start", tests, NULL, NULL);
}
