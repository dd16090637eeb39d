/* SPDX-License-Identifier: Apache-2.0 */
/* Engines that are not ours (REG-4): probed, routed, counted, emptied; never started, signalled or restarted. */
#include <stdlib.h>

#include "core_operator.h"
#include "util/cleanup.h"

#define ENDPOINT "http://127.0.0.1:8000"

static struct pm_pool_spec *handed_spec(const char *id, const char *endpoint, uint64_t n_slots)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(id);

    spec->habits = (struct pm_engine_habits){.ours = false};
    free(spec->engine);
    spec->engine = pm_xstrdup("vllm");
    spec->external.endpoint = pm_xstrdup(endpoint);
    spec->n_slots = n_slots;
    spec->drain_deadline_ms = 30000;
    return spec;
}

static int hand_over(struct world *world, struct pm_pool_spec *spec, unsigned replica,
                     bool answered, struct poolmgr_error *err)
{
    const struct pm_handoff handoff = {.spec = spec, .replica = replica, .answered = answered};
    int r;

    pm_actions_clear(&world->out);
    r = pm_core_handoff(world->core, &handoff, world->now_ms, &world->out, err);
    pm_pool_spec_unref(spec);
    return r;
}

static int withdraw(struct world *world, unsigned replica)
{
    struct poolmgr_error err = {0};

    pm_actions_clear(&world->out);
    return pm_core_withdraw(world->core, POOL, replica, world->now_ms, &world->out, &err);
}

static void engine_gone(struct world *world, struct pm_token token)
{
    pm_actions_clear(&world->out);
    pm_core_engine_gone(world->core, token, "nobody listens", world->now_ms, &world->out);
}

/* A core that has begun without a pool. */
static void begin_empty(struct world *world)
{
    struct poolmgr_error err = {0};

    world_init(world);
    pm_core_begin(world->core, world->now_ms, &world->out);
    assert_int_equal(err.code, 0);
}

/* A ready engine of somebody else's, with this many slots: its token. */
static struct pm_token begin_ready(struct world *world, uint64_t n_slots)
{
    struct poolmgr_error err = {0};

    begin_empty(world);
    assert_int_equal(hand_over(world, handed_spec(POOL, ENDPOINT, n_slots), 0, true, &err), 0);
    assert_int_equal(state(world), PM_READY);
    return the_action(world, PM_ACT_FOLLOW)->token;
}

/* What must never be done to somebody else's engine. */
static void assert_untouched(const struct world *world)
{
    static const enum pm_action_kind never[] = {PM_ACT_STAGE, PM_ACT_SPAWN, PM_ACT_SIGNAL,
                                                PM_ACT_KILL};

    for (size_t i = 0; i < PM_ARRAY_LEN(never); i++)
        assert_int_equal(count_actions(world, never[i]), 0);
}

static void assert_refused_with(const struct world *world, int code)
{
    assert_int_equal(the_action(world, PM_ACT_REFUSE)->error->code, code);
}

/* ---- ready ------------------------------------------------------------------------------------------------- */

static void test_an_engine_that_answered_is_ready_at_once_and_serves(void **state_)
{
    struct world world;
    struct pm_lease lease;

    (void)state_;
    (void)begin_ready(&world, 2);
    assert_untouched(&world);
    assert_told(&world, PM_EV_HANDOFF_ACCEPTED, POOL " at " ENDPOINT " is handed over");
    assert_told(&world, PM_EV_INSTANCE_READY, POOL " answers at " ENDPOINT ", with 2 slots");
    assert_string_equal(replica(&world, 0).endpoint, ENDPOINT);
    assert_int_equal(view(&world).owner, PM_OWNER_HANDOFF);

    lease = granted(&world);
    assert_int_equal(view(&world).active_leases, 1);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(view(&world).slots_free, 2);
    world_fini(&world);
}

static void test_one_that_was_not_asked_yet_is_waited_for_and_ready_when_it_answers(void **state_)
{
    struct poolmgr_error err = {0};
    struct world world;

    (void)state_;
    begin_empty(&world);
    assert_int_equal(hand_over(&world, handed_spec(POOL, ENDPOINT, 2), 0, false, &err), 0);
    assert_int_equal(state(&world), PM_COLD);
    struct pm_token probe = the_action(&world, PM_ACT_PROBE)->probe;

    (void)request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    probed(&world, probe, true);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1);
    assert_untouched(&world);
    world_fini(&world);
}

/* REG-4: a stale file of a dead engine makes nothing ready. */
static void test_one_that_does_not_answer_is_gone_until_two_probes_are_good(void **state_)
{
    struct poolmgr_error err = {0};
    struct world world;
    struct pm_token token;

    (void)state_;
    begin_empty(&world);
    (void)hand_over(&world, handed_spec(POOL, ENDPOINT, 2), 0, false, &err);
    token = the_action(&world, PM_ACT_FOLLOW)->token;
    engine_gone(&world, token);
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(view(&world).code, POOLMGR_E_ENGINE_GONE);
    assert_string_equal(view(&world).code_name, "engine_gone");
    assert_non_null(strstr(view(&world).reason, "nobody listens"));
    assert_int_equal(replica(&world, 0).last_error.class, PM_CLASS_GONE);

    (void)request(&world);
    assert_refused_with(&world, POOLMGR_E_ENGINE_GONE);
    assert_true(the_action(&world, PM_ACT_REFUSE)->error->retry_after_ms > 0);

    next_tick(&world);
    probed(&world, the_action(&world, PM_ACT_PROBE)->probe, true);
    assert_int_equal(state(&world), PM_COLD);
    next_tick(&world);
    probed(&world, the_action(&world, PM_ACT_PROBE)->probe, true);
    assert_int_equal(state(&world), PM_READY);
    assert_untouched(&world);
    world_fini(&world);
}

/* A slow one is expected, a silent one is not: `fall` probes tell them apart. */
static void test_one_that_stays_silent_is_waited_for_until_it_missed_as_many_as_a_sick_one(
    void **state_)
{
    struct poolmgr_error err = {0};
    struct world world;

    (void)state_;
    begin_empty(&world);
    (void)hand_over(&world, handed_spec(POOL, ENDPOINT, 2), 0, false, &err);
    (void)request(&world);
    for (int i = 0; i < 2; i++) {
        next_tick(&world); /* the probe before was not answered */
        assert_int_equal(count_actions(&world, PM_ACT_REFUSE), 0);
    }
    next_tick(&world);
    assert_refused_with(&world, POOLMGR_E_ENGINE_GONE);
    assert_int_equal(view(&world).code, POOLMGR_E_ENGINE_GONE);
    world_fini(&world);
}

/* ---- sick, gone -------------------------------------------------------------------------------------------- */

static void miss_until(struct world *world, enum pm_state wanted)
{
    for (int i = 0; i < 10 && state(world) != wanted; i++) {
        next_tick(world);
        assert_untouched(world);
        if (count_actions(world, PM_ACT_PROBE) > 0)
            probed(world, action_at(world, PM_ACT_PROBE, 0)->probe, false);
    }
    assert_int_equal(state(world), wanted);
}

/* HEALTH-3a; and for ever: it is not restarted. */
static void test_one_that_misses_its_probes_is_sick_and_is_looked_at_for_ever(void **state_)
{
    struct world world;

    (void)state_;
    (void)begin_ready(&world, 2);
    miss_until(&world, PM_SICK);
    (void)request(&world);
    assert_int_equal(count_actions(&world, PM_ACT_REFUSE) + count_actions(&world, PM_ACT_GRANT), 0);

    for (int i = 0; i < 200; i++) {
        uint64_t before_ms = world.now_ms;

        next_tick(&world);
        assert_true(world.now_ms > before_ms);
        assert_untouched(&world);
        assert_int_equal(state(&world), PM_SICK);
    }
    for (int i = 0; i < 2; i++) {
        next_tick(&world);
        probed(&world, the_action(&world, PM_ACT_PROBE)->probe, true);
    }
    assert_int_equal(state(&world), PM_READY);
    world_fini(&world);
}

/* INV-7, and HEALTH-3b does not apply: it is not ours to stop. */
static void test_a_busy_one_is_neither_sick_nor_stalled(void **state_)
{
    struct world world;
    struct pm_lease lease;

    (void)state_;
    (void)begin_ready(&world, 1);
    lease = granted(&world);
    for (int i = 0; i < 200; i++) {
        next_tick(&world);
        assert_untouched(&world);
        assert_int_equal(state(&world), PM_READY);
    }
    release(&world, &lease, PM_RELEASE_LIMIT);
    world_fini(&world);
}

/* LIFECYCLE §5: its leases end, class gone; the entry stays. */
static void test_the_leases_of_one_that_is_gone_end_in_that_step(void **state_)
{
    struct world world;
    struct pm_token token;

    (void)state_;
    token = begin_ready(&world, 1);
    (void)granted(&world);
    (void)request(&world); /* waits for the slot */
    engine_gone(&world, token);
    assert_int_equal(state(&world), PM_COLD);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_ENGINE_CRASHED);
    assert_refused_with(&world, POOLMGR_E_ENGINE_GONE);
    assert_told(&world, PM_EV_INSTANCE_CRASHED, POOL " is gone with 1 request: nobody listens");
    assert_int_equal(find_event(&world, PM_EV_INSTANCE_CRASHED)->class, PM_CLASS_GONE);
    assert_int_equal(view(&world).active_leases, 0);
    assert_int_equal(replica(&world, 0).n_failures, 0);
    assert_int_equal(replica(&world, 0).breaker, PM_BREAKER_CLOSED);
    assert_untouched(&world);

    engine_gone(&world, token); /* told again: nothing more happens to it */
    assert_silent(&world);
    for (int i = 0; i < 2; i++) {
        next_tick(&world);
        probed(&world, the_action(&world, PM_ACT_PROBE)->probe, true);
    }
    assert_int_equal(state(&world), PM_READY);
    world_fini(&world);
}

/* ---- content ----------------------------------------------------------------------------------------------- */

static void test_the_same_content_again_is_nothing(void **state_)
{
    struct poolmgr_error err = {0};
    struct world world;
    uint64_t version;

    (void)state_;
    (void)begin_ready(&world, 2);
    version = pm_core_snapshot_version(world.core);
    assert_int_equal(hand_over(&world, handed_spec(POOL, ENDPOINT, 2), 0, true, &err), 0);
    assert_int_equal(world.out.n, 0);
    assert_int_equal(hand_over(&world, handed_spec(POOL, ENDPOINT, 2), 0, false, &err), 0);
    assert_int_equal(world.out.n, 0);
    assert_int_equal(pm_core_snapshot_version(world.core), version);
    world_fini(&world);
}

/* LIFECYCLE §5: slots lowered in place: nobody is cut, no grant until below. */
static void test_fewer_slots_are_taken_over_in_place_and_cut_nobody(void **state_)
{
    struct poolmgr_error err = {0};
    struct pm_lease first, second;
    struct world world;

    (void)state_;
    (void)begin_ready(&world, 2);
    first = granted(&world);
    second = granted(&world);
    assert_int_equal(hand_over(&world, handed_spec(POOL, ENDPOINT, 1), 0, true, &err), 0);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    (void)request(&world);
    release(&world, &first, PM_RELEASE_DONE);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 0);
    release(&world, &second, PM_RELEASE_DONE);
    assert_int_equal(count_actions(&world, PM_ACT_GRANT), 1);
    world_fini(&world);
}

/* LIFECYCLE §3: new content is a reload side by side; nothing is cut, and nothing of the former is stopped. */
static void test_another_engine_that_answers_takes_over_and_the_former_finishes(void **state_)
{
    const char *other = "http://127.0.0.1:8001";
    struct poolmgr_error err = {0};
    struct pm_lease before, after;
    struct world world;
    struct pm_token token;

    (void)state_;
    token = begin_ready(&world, 1);
    before = granted(&world);
    (void)request(&world); /* waits for the slot, and gets one of the new engine */
    assert_int_equal(hand_over(&world, handed_spec(POOL, other, 1), 0, true, &err), 0);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    after = the_action(&world, PM_ACT_GRANT)->lease;
    assert_int_not_equal(after.instance, before.instance);
    assert_string_equal(replica(&world, 0).endpoint, other);
    assert_int_equal(view(&world).active_leases, 2);
    assert_untouched(&world);

    release(&world, &before, PM_RELEASE_DONE);
    assert_int_equal(the_action(&world, PM_ACT_FORGET)->token.serial, token.serial);
    engine_gone(&world, token); /* nobody knows it any more */
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(view(&world).active_leases, 1);
    world_fini(&world);
}

static void test_a_former_engine_gets_its_drain_deadline_and_no_more(void **state_)
{
    struct poolmgr_error err = {0};
    struct world world;

    (void)state_;
    (void)begin_ready(&world, 1);
    (void)granted(&world);
    (void)hand_over(&world, handed_spec(POOL, "http://127.0.0.1:8001", 1), 0, true, &err);
    tick(&world, world.now_ms + 30000);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_DRAINING);
    assert_int_equal(count_actions(&world, PM_ACT_FORGET), 1);
    assert_untouched(&world);
    world_fini(&world);
}

static void test_one_that_did_not_answer_takes_over_only_from_a_gone_one(void **state_)
{
    const char *other = "http://127.0.0.1:8001";
    struct poolmgr_error err = {0};
    struct world world;
    struct pm_token token;

    (void)state_;
    token = begin_ready(&world, 2);
    assert_int_equal(hand_over(&world, handed_spec(POOL, other, 2), 0, false, &err),
                     POOLMGR_E_CONFLICT);
    assert_non_null(strstr(err.message, ENDPOINT));
    assert_string_equal(replica(&world, 0).endpoint, ENDPOINT);

    engine_gone(&world, token);
    assert_int_equal(hand_over(&world, handed_spec(POOL, other, 3), 0, false, &err), 0);
    assert_int_equal(the_action(&world, PM_ACT_FORGET)->token.serial, token.serial);
    assert_string_equal(replica(&world, 0).endpoint, other);
    probed(&world, the_action(&world, PM_ACT_PROBE)->probe, true);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(view(&world).slots_total, 3);
    world_fini(&world);
}

static void test_a_pool_of_somebody_else_is_not_taken(void **state_)
{
    struct poolmgr_error err = {0};
    struct world world;

    (void)state_;
    world_init(&world);
    pm_strv_add(&world.spec->aliases, "alias");
    world_begin(&world);
    assert_int_equal(hand_over(&world, handed_spec(POOL, ENDPOINT, 2), 0, true, &err),
                     POOLMGR_E_ALREADY_EXISTS);
    assert_int_equal(hand_over(&world, handed_spec("alias", ENDPOINT, 2), 0, true, &err),
                     POOLMGR_E_CONFLICT);
    assert_int_equal(world.out.n, 0);
    assert_int_equal(pm_core_n_pools(world.core), 1);
    assert_int_equal(withdraw(&world, 0), POOLMGR_E_NOT_FOUND);
    world_fini(&world);
}

static void test_replicas_are_handed_over_one_by_one_in_any_order(void **state_)
{
    struct poolmgr_error err = {0};
    struct world world;

    (void)state_;
    begin_empty(&world);
    assert_int_equal(
        hand_over(&world, handed_spec(POOL, "http://127.0.0.1:8002", 3), 2, true, &err), 0);
    assert_int_equal(view(&world).n_replicas, 3);
    assert_int_equal(replica(&world, 0).state, PM_COLD);
    assert_int_equal(replica(&world, 2).state, PM_READY);
    assert_int_equal(view(&world).slots_free, 3);
    assert_int_equal(
        hand_over(&world, handed_spec(POOL, "http://127.0.0.1:8000", 5), 0, true, &err), 0);
    assert_int_equal(view(&world).slots_free, 8);
    assert_int_equal(view(&world).state, PM_READY);
    assert_true(pm_core_deadline(world.core) > world.now_ms);
    world_fini(&world);
}

/* ---- the end ----------------------------------------------------------------------------------------------- */

static void test_one_that_is_taken_back_is_emptied_and_let_go(void **state_)
{
    struct world world;
    struct pm_lease lease;

    (void)state_;
    (void)begin_ready(&world, 2);
    lease = granted(&world);
    assert_int_equal(withdraw(&world, 0), 0);
    assert_false(replica(&world, 0).gate_open);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(count_actions(&world, PM_ACT_FORGET), 1);
    assert_untouched(&world);
    assert_true(pm_core_deadline(world.core) == PM_NEVER);
    world_fini(&world);
}

static void test_at_its_deadline_streams_end_and_the_engine_goes_on(void **state_)
{
    struct world world;

    (void)state_;
    (void)begin_ready(&world, 2);
    (void)granted(&world);
    assert_int_equal(withdraw(&world, 0), 0);
    tick(&world, world.now_ms + 29999);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    tick(&world, world.now_ms + 1);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_DRAINING);
    assert_int_equal(count_actions(&world, PM_ACT_FORGET), 1);
    assert_untouched(&world);
    world_fini(&world);
}

static void test_one_of_several_that_is_handed_over_again_before_it_was_let_go_stays(void **state_)
{
    struct poolmgr_error err = {0};
    struct world world;

    (void)state_;
    (void)begin_ready(&world, 2);
    (void)granted(&world);
    (void)hand_over(&world, handed_spec(POOL, "http://127.0.0.1:8001", 2), 1, true, &err);
    assert_int_equal(withdraw(&world, 0), 0);
    assert_false(replica(&world, 0).gate_open);
    assert_int_equal(hand_over(&world, handed_spec(POOL, ENDPOINT, 2), 0, true, &err), 0);
    assert_true(replica(&world, 0).gate_open);
    assert_int_equal(count_actions(&world, PM_ACT_FORGET), 0);
    world_fini(&world);
}

/* LIFECYCLE §4: names leave the routes at acceptance; the entry goes when it is empty, and may come back then. */
static void test_with_the_last_engine_the_pool_goes(void **state_)
{
    struct poolmgr_error err = {0};
    struct pm_pool_view gone;
    struct world world;
    struct pm_lease lease;

    (void)state_;
    (void)begin_ready(&world, 1);
    lease = granted(&world);
    (void)request(&world);
    assert_int_equal(withdraw(&world, 0), 0);
    assert_refused_with(&world, POOLMGR_E_MODEL_NOT_FOUND);
    (void)request(&world);
    assert_refused_with(&world, POOLMGR_E_MODEL_NOT_FOUND);
    assert_int_equal(view(&world).intent, PM_DRAINING);
    assert_int_equal(hand_over(&world, handed_spec(POOL, ENDPOINT, 1), 0, true, &err),
                     POOLMGR_E_CONFLICT);
    assert_int_equal(withdraw(&world, 0), 0); /* twice is nothing */
    assert_silent(&world);

    release(&world, &lease, PM_RELEASE_DONE);
    assert_int_equal(count_actions(&world, PM_ACT_FORGET), 1);
    assert_told(&world, PM_EV_POOL_REMOVED, POOL " is removed");
    assert_false(pm_core_pool(world.core, POOL, world.now_ms, &gone));
    assert_int_equal(withdraw(&world, 0), POOLMGR_E_NOT_FOUND);
    assert_int_equal(hand_over(&world, handed_spec(POOL, ENDPOINT, 1), 0, true, &err), 0);
    (void)granted(&world);
    world_fini(&world);
}

/* DELETE of a pool of handoffs. */
static void test_a_removal_lets_its_engines_go(void **state_)
{
    struct poolmgr_error err = {0};
    struct world world;
    uint64_t op;

    (void)state_;
    (void)begin_ready(&world, 1);
    (void)granted(&world);
    pm_actions_clear(&world.out);
    assert_int_equal(
        pm_core_remove_pool(world.core, POOL, true, 5000, world.now_ms, &world.out, &op, &err), 0);
    durable(&world);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    tick(&world, world.now_ms + 5000);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 1);
    assert_int_equal(count_actions(&world, PM_ACT_FORGET), 1);
    assert_untouched(&world);
    assert_int_equal(pm_core_n_pools(world.core), 0);
    world_fini(&world);
}

/* DRAIN-2: the gate closes, what runs ends or is cut, and the engine knows nothing of it; resume undoes it. */
static void test_a_drain_closes_its_gate_and_leaves_the_engine_alone(void **state_)
{
    struct world world;
    uint64_t op;

    (void)state_;
    (void)begin_ready(&world, 2);
    (void)granted(&world);
    op = drain(&world, 5000, PM_DEADLINE_STOP, PM_THEN_STOP);
    assert_false(replica(&world, 0).gate_open);
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    (void)request(&world);
    assert_refused_with(&world, POOLMGR_E_DRAINING);

    tick(&world, world.now_ms + 5000);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_DRAINING);
    assert_untouched(&world);
    assert_int_equal(operation(&world, op).state, PM_OP_SUCCEEDED);
    assert_true(operation(&world, op).forced && operation(&world, op).n_leases_left == 1);
    assert_int_equal(view(&world).intent, PM_DISABLED);
    assert_int_equal(state(&world), PM_READY);
    durable(&world);
    tick(&world, world.now_ms + 3600 * 1000);
    assert_untouched(&world);
    assert_int_equal(count_actions(&world, PM_ACT_FORGET), 0);

    (void)resume(&world);
    (void)granted(&world);
    world_fini(&world);
}

/* LIFECYCLE §3: start, stop of engines not ours: conflict. */
static void test_nobody_starts_or_stops_it_here(void **state_)
{
    struct poolmgr_error err = {0};
    struct world world;
    uint64_t op;

    (void)state_;
    (void)begin_ready(&world, 2);
    assert_int_equal(pm_core_start(world.core, POOL, world.now_ms, &world.out, &op, &err),
                     POOLMGR_E_CONFLICT);
    assert_int_equal(pm_core_stop(world.core, POOL, 0, world.now_ms, &world.out, &op, &err),
                     POOLMGR_E_CONFLICT);
    assert_int_equal(pm_core_reload(world.core, POOL, &(const struct pm_reload){0}, world.now_ms,
                                    &world.out, &op, &err),
                     POOLMGR_E_CONFLICT);
    assert_int_equal(
        pm_core_reset(world.core, POOL, PM_BREAKER_CLOSED, world.now_ms, &world.out, &err), 0);
    assert_int_equal(state(&world), PM_READY);
    assert_untouched(&world);
    world_fini(&world);
}

static void shut_down(struct world *world, bool at_once)
{
    pm_actions_clear(&world->out);
    pm_core_shutdown(world->core, at_once, world->now_ms, &world->out);
}

static void test_a_daemon_that_stops_empties_it_and_lets_it_live(void **state_)
{
    struct world world;
    struct pm_lease lease;

    (void)state_;
    (void)begin_ready(&world, 2);
    lease = granted(&world);
    shut_down(&world, false);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 0);
    release(&world, &lease, PM_RELEASE_DONE);
    assert_untouched(&world);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
    world_fini(&world);
}

static void test_a_second_signal_cuts_its_streams_and_a_gone_one_holds_nothing_up(void **state_)
{
    struct world world;

    (void)state_;
    engine_gone(&world, begin_ready(&world, 2));
    shut_down(&world, false);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
    world_fini(&world);

    (void)begin_ready(&world, 2);
    (void)granted(&world);
    shut_down(&world, false);
    shut_down(&world, true);
    assert_int_equal(the_action(&world, PM_ACT_CUT)->error->code, POOLMGR_E_SHUTTING_DOWN);
    assert_untouched(&world);
    assert_int_equal(count_actions(&world, PM_ACT_STOPPED), 1);
    world_fini(&world);
}

/* ---- external, in the file --------------------------------------------------------------------------------- */

static void test_an_external_engine_of_the_file_is_the_same_kind_of_place(void **state_)
{
    struct world world;

    (void)state_;
    world_init(&world);
    pm_pool_spec_unref(world.spec);
    world.spec = handed_spec(POOL, "http://10.0.0.7:8000", 4);
    world_add(&world, world.spec);
    assert_int_equal(count_actions(&world, PM_ACT_FOLLOW), 0);
    pm_actions_clear(&world.out);
    pm_core_begin(world.core, world.now_ms, &world.out);
    assert_int_equal(count_actions(&world, PM_ACT_FOLLOW), 1);
    probed(&world, the_action(&world, PM_ACT_PROBE)->probe, true);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(view(&world).owner, PM_OWNER_FILE);
    assert_untouched(&world);
    tick(&world, world.now_ms + UINT64_C(24) * 3600 * 1000); /* never idle for too long */
    assert_untouched(&world);
    assert_int_equal(state(&world), PM_READY);
    world_fini(&world);
}

static struct pm_token begin_external(struct world *world)
{
    struct pm_token token;

    world_init(world);
    pm_pool_spec_unref(world->spec);
    world->spec = handed_spec(POOL, ENDPOINT, 4);
    world_begin(world);
    token = the_action(world, PM_ACT_FOLLOW)->token;
    probed(world, the_action(world, PM_ACT_PROBE)->probe, true);
    return token;
}

static uint64_t apply_other(struct world *world, const char *endpoint)
{
    struct pm_pool_spec *other = handed_spec(POOL, endpoint, 4);
    struct poolmgr_error err = {0};
    uint64_t op = 0;

    pm_actions_clear(&world->out);
    assert_int_equal(
        pm_core_apply_file(world->core, &other, 1, world->now_ms, &world->out, &op, &err), 0);
    pm_pool_spec_unref(other);
    staged(world, the_action(world, PM_ACT_STAGE)->token, NULL);
    return op;
}

/* RELOAD-2: the file names another address: beside the former one, as with engines of ours. */
static void test_a_file_that_names_another_address_switches_when_that_answers(void **state_)
{
    struct world world;
    struct pm_token token, probe;

    (void)state_;
    token = begin_external(&world);
    (void)apply_other(&world, "http://127.0.0.1:8001");
    probe = the_action(&world, PM_ACT_PROBE)->probe;
    assert_string_equal(replica(&world, 0).endpoint, ENDPOINT);
    (void)granted(&world); /* the former one serves meanwhile */
    probed(&world, probe, true);
    durable(&world);
    assert_string_equal(replica(&world, 0).endpoint, "http://127.0.0.1:8001");
    assert_int_equal(count_actions(&world, PM_ACT_CUT), 0);
    assert_untouched(&world);
    assert_int_equal(view(&world).active_leases, 1);
    tick(&world, world.now_ms + 30000);
    assert_int_equal(the_action(&world, PM_ACT_FORGET)->token.serial, token.serial);
    world_fini(&world);
}

static void test_a_file_that_names_a_dead_address_changes_nothing(void **state_)
{
    struct world world;
    uint64_t op;

    (void)state_;
    (void)begin_external(&world);
    op = apply_other(&world, "http://127.0.0.1:8001");
    engine_gone(&world, the_action(&world, PM_ACT_FOLLOW)->token);
    assert_string_equal(replica(&world, 0).endpoint, ENDPOINT);
    assert_int_equal(state(&world), PM_READY);
    assert_int_equal(operation(&world, op).state, PM_OP_FAILED);
    assert_untouched(&world);
    (void)granted(&world);
    world_fini(&world);
}

static void test_a_gone_one_of_the_file_is_looked_for_where_the_file_says(void **state_)
{
    struct world world;

    (void)state_;
    engine_gone(&world, begin_external(&world));
    (void)apply_other(&world, "http://127.0.0.1:8001");
    if (count_actions(&world, PM_ACT_PERSIST) > 0)
        durable(&world);
    assert_string_equal(replica(&world, 0).endpoint, "http://127.0.0.1:8001");
    assert_untouched(&world);
    world_fini(&world);
}

/* OP-1: it runs while the engine is asked, is nobody's to cancel, and ends once. */
static void test_a_handoff_has_an_operation_that_ends_as_it_does(void **state_)
{
    const struct poolmgr_error gone = {.code = POOLMGR_E_ENGINE_GONE, .message = "nobody listens"};
    struct pm_pool_spec *spec = handed_spec(POOL, ENDPOINT, 4);
    struct world world;
    uint64_t good, bad;

    (void)state_;
    begin_empty(&world);
    good = pm_core_handoff_begins(world.core, spec, 1, world.now_ms, &world.out);
    bad = pm_core_handoff_begins(world.core, spec, 2, world.now_ms, &world.out);
    assert_int_equal(operation(&world, good).state, PM_OP_RUNNING);
    assert_int_equal(operation(&world, good).replica, 1);
    assert_string_equal(operation(&world, good).endpoint, ENDPOINT);
    assert_int_equal(cancel(&world, good), POOLMGR_E_CONFLICT);
    pm_core_handoff_ends(world.core, good, NULL, world.now_ms, &world.out);
    pm_core_handoff_ends(world.core, good, &gone, world.now_ms, &world.out);
    assert_int_equal(operation(&world, good).state, PM_OP_SUCCEEDED);
    pm_core_handoff_ends(world.core, bad, &gone, world.now_ms, &world.out);
    assert_int_equal(operation(&world, bad).error.code, POOLMGR_E_ENGINE_GONE);
    pm_pool_spec_unref(spec);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_handoff_has_an_operation_that_ends_as_it_does),
        cmocka_unit_test(test_an_engine_that_answered_is_ready_at_once_and_serves),
        cmocka_unit_test(test_one_that_was_not_asked_yet_is_waited_for_and_ready_when_it_answers),
        cmocka_unit_test(test_one_that_does_not_answer_is_gone_until_two_probes_are_good),
        cmocka_unit_test(
            test_one_that_stays_silent_is_waited_for_until_it_missed_as_many_as_a_sick_one),
        cmocka_unit_test(test_one_that_misses_its_probes_is_sick_and_is_looked_at_for_ever),
        cmocka_unit_test(test_a_busy_one_is_neither_sick_nor_stalled),
        cmocka_unit_test(test_the_leases_of_one_that_is_gone_end_in_that_step),
        cmocka_unit_test(test_the_same_content_again_is_nothing),
        cmocka_unit_test(test_fewer_slots_are_taken_over_in_place_and_cut_nobody),
        cmocka_unit_test(test_another_engine_that_answers_takes_over_and_the_former_finishes),
        cmocka_unit_test(test_a_former_engine_gets_its_drain_deadline_and_no_more),
        cmocka_unit_test(test_one_that_did_not_answer_takes_over_only_from_a_gone_one),
        cmocka_unit_test(test_a_pool_of_somebody_else_is_not_taken),
        cmocka_unit_test(test_replicas_are_handed_over_one_by_one_in_any_order),
        cmocka_unit_test(test_one_that_is_taken_back_is_emptied_and_let_go),
        cmocka_unit_test(test_at_its_deadline_streams_end_and_the_engine_goes_on),
        cmocka_unit_test(test_one_of_several_that_is_handed_over_again_before_it_was_let_go_stays),
        cmocka_unit_test(test_with_the_last_engine_the_pool_goes),
        cmocka_unit_test(test_a_removal_lets_its_engines_go),
        cmocka_unit_test(test_a_drain_closes_its_gate_and_leaves_the_engine_alone),
        cmocka_unit_test(test_nobody_starts_or_stops_it_here),
        cmocka_unit_test(test_a_daemon_that_stops_empties_it_and_lets_it_live),
        cmocka_unit_test(test_a_second_signal_cuts_its_streams_and_a_gone_one_holds_nothing_up),
        cmocka_unit_test(test_an_external_engine_of_the_file_is_the_same_kind_of_place),
        cmocka_unit_test(test_a_file_that_names_another_address_switches_when_that_answers),
        cmocka_unit_test(test_a_file_that_names_a_dead_address_changes_nothing),
        cmocka_unit_test(test_a_gone_one_of_the_file_is_looked_for_where_the_file_says),
    };

    return cmocka_run_group_tests_name("core_handoff", tests, NULL, NULL);
}
