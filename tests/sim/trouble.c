/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trouble: inputs for nobody, answers that come late or twice, engines that crash in whatever phase they are, clocks
 * that jump, and the end of the daemon itself: the next one has what is on the disk, and finds what runs.
 */
#include <string.h>

#include "invariants.h"

static void dead_inputs(struct sim *sim)
{
    struct pm_token never = {.serial = UINT64_MAX}, none = {0};
    struct pm_lease lease = {.serial = UINT64_MAX, .pool = 77, .replica = 9};
    struct poolmgr_error err = {0};
    struct pm_ready ready = {0};
    struct pm_exit how = {0};
    uint64_t id = 0;
    size_t n_there = 0;

    EACH_POOL (sim, i)
        n_there++;
    sim_input(sim, SIM_NOBODY, "inputs for nobody");
    pm_core_staged(sim->core, never, NULL, NULL, 0, sim->now_ms, &sim->out);
    pm_core_staged(sim->core, none, NULL, NULL, 0, sim->now_ms, &sim->out);
    pm_core_spawned(sim->core, never, NULL, 1, sim->now_ms, &sim->out);
    pm_core_progress(sim->core, never, sim->now_ms, &sim->out);
    pm_core_endpoint_ready(sim->core, never, &ready, sim->now_ms, &sim->out);
    pm_core_probed(sim->core, never, true, sim->now_ms, &sim->out);
    pm_core_busy(sim->core, none, 1, sim->now_ms, &sim->out);
    pm_core_engine_exited(sim->core, never, &how, sim->now_ms, &sim->out);
    pm_core_childless(sim->core, none, sim->now_ms, &sim->out);
    pm_core_release(sim->core, &lease, PM_RELEASE_DONE, sim->now_ms, &sim->out);
    pm_core_request_gone(sim->core, UINT64_MAX, sim->now_ms, &sim->out);
    pm_core_file_changed(sim->core, "nobody", sim->now_ms, &sim->out);
    HOLDS(sim, 2, SIM_NOBODY, "a command for an unknown pool is an error",
          pm_core_start(sim->core, "nobody", sim->now_ms, &sim->out, &id, &err) ==
                  POOLMGR_E_NOT_FOUND &&
              pm_core_stop(sim->core, "nobody", 0, sim->now_ms, &sim->out, &id, &err) ==
                  POOLMGR_E_NOT_FOUND &&
              pm_core_reset(sim->core, "nobody", PM_BREAKER_CLOSED, sim->now_ms, &sim->out, &err) ==
                  POOLMGR_E_NOT_FOUND,
          "%s", "it is not");
    HOLDS(sim, 2, SIM_NOBODY, "a typo makes no pool", pm_core_n_pools(sim->core) == n_there,
          "%zu pools", pm_core_n_pools(sim->core));
    sim_nothing(sim);
}

static void unknown_route(struct sim *sim)
{
    struct pm_request request = {.id = UINT64_MAX, .route = "nobody", .request_id = "r"};

    sim_input(sim, SIM_NOBODY, "a request for an unknown model comes");
    pm_core_request(sim->core, &request, sim->now_ms, &sim->out);
    HOLDS(sim, 2, SIM_NOBODY, "a request for an unknown model is refused, and that is all",
          sim->out.n == 1 && sim->out.items[0].kind == PM_ACT_REFUSE &&
              sim->out.items[0].error->code == POOLMGR_E_MODEL_NOT_FOUND,
          "%zu actions", sim->out.n);
    pm_actions_clear(&sim->out);
}

static int some_engine(struct sim *sim)
{
    uint64_t n = sim->world.n_engines < 6 ? (uint64_t)sim->world.n_engines : 6;

    return n == 0 ? SIM_NOBODY : sim->world.n_engines - 1 - (int)sim_below(&sim->random, n);
}

/* What the shim said already, it says again. */
static void engine_repeats(struct sim *sim)
{
    int index = some_engine(sim);
    const struct book_engine *engine = &sim->books.engines[index < 0 ? 0 : index];
    struct pm_exit how;

    if (index == SIM_NOBODY || engine->token.serial == 0)
        return;
    sim_input(sim, engine->pool, "%s repeats itself", sim_engine_name(sim, index));
    if (engine->exited || engine->forgotten) {
        how = world_some_exit(sim, index);
        pm_core_engine_exited(sim->core, engine->token, &how, sim->now_ms, &sim->out);
        sim_nothing(sim);
    }
    if (engine->forgotten) {
        pm_core_childless(sim->core, engine->token, sim->now_ms, &sim->out);
        sim_nothing(sim);
    }
    if (engine->ready || engine->signalled) {
        pm_core_endpoint_ready(sim->core, engine->token, &(struct pm_ready){.n_slots = 9},
                               sim->now_ms, &sim->out);
        sim_nothing(sim);
    }
}

/* An answer that is not waited for any more. */
static void late_answer(struct sim *sim)
{
    const struct world_question *question =
        &sim->world.questions[sim_below(&sim->random, SIM_QUESTIONS)];

    if (question->token.serial == 0 || question->open)
        return;
    sim_input(sim, question->pool, "an answer comes late");
    switch (question->kind) {
    case PM_ACT_STAGE:
        pm_core_staged(sim->core, question->token, &(struct pm_failure){.permanent = true}, NULL, 0,
                       sim->now_ms, &sim->out);
        break;
    case PM_ACT_PROBE:
        pm_core_probed(sim->core, question->token, sim_one_in(&sim->random, 2), sim->now_ms,
                       &sim->out);
        break;
    default: pm_core_busy(sim->core, question->token, 0, sim->now_ms, &sim->out); break;
    }
    sim_nothing(sim);
}

/* In whatever phase it is. */
static void engine_crashes(struct sim *sim)
{
    int index = some_engine(sim);

    if (index == SIM_NOBODY || sim->world.engines[index].gone ||
        sim->world.engines[index].launch_fails)
        return;
    world_schedule(sim, &sim->world.engines[index].end, sim->now_ms);
    sim_time_passes(sim);
}

/* An engine died before the first byte of an answer: the request is tried once more. */
static void request_is_retried(struct sim *sim)
{
    for (int i = sim->books.n_requests; i > 0 && i > sim->books.n_requests - 8; i--) {
        if (sim->books.requests[i].state == REQ_OVER && sim->books.requests[i].lease.serial != 0) {
            sim_request(sim, sim->books.requests[i].name, i);
            return;
        }
    }
}

/* After a reload there may be two of one replica: the former is stopped. */
static bool has_newer(const struct sim *sim, int index)
{
    const struct book_engine *engine = &sim->books.engines[index];

    for (int i = index + 1; i < sim->world.n_engines; i++) {
        const struct book_engine *other = &sim->books.engines[i];

        if (!other->forgotten && !sim->world.engines[i].gone &&
            !sim->world.engines[i].launch_fails && !sim->world.engines[i].never_launched &&
            other->pool == engine->pool && other->replica == engine->replica)
            return true;
    }
    return false;
}

static void adopted_on(struct sim *sim, int index)
{
    const struct book_engine *engine = &sim->books.engines[index];
    struct pm_plan plan = {0};

    plan.on_cpu = engine->uses & (1U << SIM_CPU);
    for (int i = 0; i < SIM_ALL; i++) {
        if (!(engine->uses & (1U << i)))
            continue;
        (void)strcpy(plan.devices[plan.n_devices].id, sim->world.devices[i].is.id);
        plan.devices[plan.n_devices++].bytes = engine->charged[i];
    }
    pm_core_adopted_on(sim->core, engine->token, &plan, sim->now_ms, &sim->out);
}

static void adopt(struct sim *sim, int index)
{
    struct book_engine *engine = &sim->books.engines[index];
    struct world_engine *there = &sim->world.engines[index];
    struct poolmgr_error err = {0};
    uint64_t started_ms = engine->spawned_ms;
    int r;

    books_adopt(sim, index, started_ms);
    sim_input(sim, engine->pool, "%s is found running", sim_engine_name(sim, index));
    r = pm_core_adopt(sim->core, sim->books.pools[engine->pool].spec->id, engine->replica,
                      engine->instance, 4711, started_ms, sim->now_ms, &sim->out, &engine->token,
                      &err);
    HOLDS(sim, 9, engine->pool, "what runs alone in its place is adopted", r == 0, "%s",
          err.message);
    if (r == 0 && engine->uses != 0)
        adopted_on(sim, index);
    if (!there->alive) {
        world_schedule(sim, &there->end, sim->now_ms); /* its exit record is read */
    } else if (there->loaded) {
        there->loaded = false;
        there->has_all = true;
        there->ready_ms = sim->now_ms + SIM_PICK(&sim->random, 0, 3, 600);
        world_schedule(sim, &there->life, there->ready_ms);
    }
}

static void restore(struct sim *sim)
{
    EACH_POOL (sim, i) {
        const struct world_record *record = &sim->world.disk[i];
        struct pm_pool_record there = {.owner = sim->books.pools[i].owner,
                                       .intent = record->intent,
                                       .has_operation = record->has_operation,
                                       .operation = record->operation,
                                       .kind = record->kind};

        if (!record->exists)
            continue;
        (void)strcpy(there.pool_id, sim->books.pools[i].spec->id);
        sim_input(sim, i, "%s is found on the disk: %s", there.pool_id,
                  pm_intent_name(there.intent));
        sim->books.pools[i].intent = record->intent;
        pm_core_restore(sim->core, &there, sim->now_ms, &sim->out);
    }
}

/* What failed is held against what is still the same. */
static void recall(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    struct pm_past past = sim->world.past[index];

    for (size_t k = 0; k < past.n; k++)
        past.replicas[k].failed_ago_ms += sim->now_ms - sim->world.past_ms[index];
    sim_input(sim, index, "what %s went through is found", pool->spec->id);
    pm_core_recall_past(sim->core, &past, sim->now_ms, &sim->out);
    for (size_t k = 0; k < past.n && past.identity == pm_spec_identity(pool->spec); k++) {
        pool->replicas[k].n = past.replicas[k].n_failures;
        pool->replicas[k].failed_ms = sim->now_ms - past.replicas[k].failed_ago_ms;
    }
}

/* Nothing runs there, or what runs is a stranger to the new daemon, which ends it. */
static void sweep_away(struct sim *sim, int index)
{
    struct world_engine *there = &sim->world.engines[index];

    if (!there->gone)
        devices_engine_ends(sim, index);
    there->gone = sim->books.engines[index].forgotten = true;
    there->alive = false;
    world_schedule(sim, &there->launched, PM_NEVER);
    world_schedule(sim, &there->life, PM_NEVER);
    world_schedule(sim, &there->end, PM_NEVER);
}

/* The daemon is gone, by SIGKILL or because it left; the next one finds what runs. */
static void next_daemon(struct sim *sim)
{
    pm_actions_clear(&sim->out);
    pm_core_free(sim->core);
    world_daemon_died(sim);
    sim->now_ms += SIM_PICK(&sim->random, 0, 20, 3000);
    books_daemon_died(sim);
    sim_make_core(sim);
    restore(sim);
    EACH_POOL (sim, i) {
        if (sim->books.pools[i].there && sim->world.past[i].n > 0)
            recall(sim, i);
    }
    for (int i = 0; i < sim->world.n_engines; i++) {
        struct world_engine *there = &sim->world.engines[i];
        struct book_engine *engine = &sim->books.engines[i];

        pm_core_seen_instance(sim->core, sim->books.pools[engine->pool].spec->id, engine->instance);
        if (engine->forgotten)
            continue;
        if (there->gone || there->never_launched || there->launch_fails ||
            !sim->books.pools[engine->pool].there || has_newer(sim, i)) {
            sweep_away(sim, i);
            continue;
        }
        adopt(sim, i);
    }
    sim_taken(sim);
    inv26_restarted(sim);
    inv28_restarted(sim);
    sim_begin(sim);
}

static void daemon_is_killed(struct sim *sim)
{
    sim_input(sim, SIM_NOBODY, "the daemon is killed");
    next_daemon(sim);
}

static void daemon_leaves(struct sim *sim)
{
    sim_input(sim, SIM_NOBODY, "the daemon leaves");
    sim->books.leaving = true;
    pm_core_leave(sim->core, sim->now_ms, &sim->out);
    sim_taken(sim);
    HOLDS(sim, 28, SIM_NOBODY, "a leave takes one step", sim->books.stopped, "%s", "it does not");
    for (int i = 0; i < 5 && !sim->broken; i++)
        sim_time_passes(sim);
    if (!sim->broken)
        next_daemon(sim);
}

void sim_trouble(struct sim *sim)
{
    if (sim_one_in(&sim->random, sim->mood->kill_daemon)) {
        if (sim_one_in(&sim->random, 4))
            daemon_leaves(sim);
        else
            daemon_is_killed(sim);
        return;
    }
    if (sim_one_in(&sim->random, sim->mood->jump)) {
        sim_clock_jumps(sim);
        return;
    }
    switch (sim_below(&sim->random, 10)) {
    case 8:
    case 9: devices_trouble(sim); break;
    case 0: dead_inputs(sim); break;
    case 1: unknown_route(sim); break;
    case 2: engine_repeats(sim); break;
    case 3: late_answer(sim); break;
    case 4: request_is_retried(sim); break;
    default:
        if (sim->mood->crash)
            engine_crashes(sim);
        else
            engine_repeats(sim);
        break;
    }
}
