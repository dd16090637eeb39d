/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draws what happens next: time passes and the world goes on, requests come, clients leave, operators command, and
 * trouble: what is late, doubled, made up, or too much at once. Each step draws from the seed and its own number, so
 * that a step can be left out and the others stay what they were.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "invariants.h"
#include "util/cleanup.h"
#include "util/str.h"

struct sim sim_here;
struct sim_seen sim_seen;

static const struct sim_mood moods[] = {
    {.name = "calm", .time = 60, .request = 22, .client = 8, .operate = 1, .trouble = 1},
    {.name = "busy",
     .time = 40,
     .request = 45,
     .client = 12,
     .operate = 1,
     .trouble = 2,
     .crash = 20,
     .hang = 30,
     .kill_daemon = 40},
    {.name = "crashing",
     .time = 70,
     .request = 15,
     .client = 4,
     .operate = 1,
     .trouble = 2,
     .crash = 2,
     .hang = 12,
     .permanent = 60,
     .jump = 20},
    {.name = "hanging",
     .time = 60,
     .request = 22,
     .client = 4,
     .operate = 1,
     .trouble = 2,
     .crash = 12,
     .hang = 3,
     .deaf = 2,
     .jump = 20},
    {.name = "lossy",
     .time = 60,
     .request = 20,
     .client = 8,
     .operate = 2,
     .trouble = 8,
     .crash = 6,
     .hang = 10,
     .deaf = 5,
     .permanent = 20,
     .lose = 12,
     .jump = 12},
    {.name = "operated",
     .time = 50,
     .request = 20,
     .client = 8,
     .operate = 12,
     .trouble = 4,
     .crash = 8,
     .hang = 12,
     .deaf = 6,
     .permanent = 15,
     .jump = 20},
    {.name = "mortal",
     .time = 55,
     .request = 22,
     .client = 8,
     .operate = 4,
     .trouble = 8,
     .crash = 6,
     .hang = 10,
     .deaf = 6,
     .permanent = 30,
     .kill_daemon = 3,
     .jump = 20},
    {.name = "wild",
     .time = 40,
     .request = 20,
     .client = 15,
     .operate = 6,
     .trouble = 25,
     .crash = 4,
     .hang = 6,
     .deaf = 4,
     .permanent = 12,
     .lose = 20,
     .kill_daemon = 40,
     .jump = 10},
};

static const char *const ids[SIM_POOLS] = {"gamma", "alpha", "delta", "beta"};

/* ---- the start ---------------------------------------------------------------------------------------------------- */

static void draw_times(struct pm_pool_spec *spec, struct sim_random *random)
{
    spec->idle_ttl_ms = SIM_PICK(random, 0, 5000, 60000);
    spec->drain_deadline_ms = SIM_PICK(random, 0, 3000, 300000);
    spec->stop_grace_ms = SIM_PICK(random, 0, 1000, 10000);
    spec->start_stall_ms = SIM_PICK(random, 3000, 20000);
    spec->start_max_ms = SIM_PICK(random, 5000, 60000);
    spec->abandon_after_ms = SIM_PICK(random, 0, 2000, 60000);
    spec->stall_timeout_ms = SIM_PICK(random, 3000, 30000);
    spec->probe.every_ms = SIM_PICK(random, 2000, 2000, 10000);
    spec->probe.sick_restart_ms = SIM_PICK(random, 3000, 60000);
    spec->cancel_settle_ms = SIM_PICK(random, 0, 500, 5000);
    spec->abandon_max_ms = SIM_PICK(random, 1000, 60000);
}

static struct pm_pool_spec *draw_spec(struct sim_random *random, int i)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(ids[i]);

    draw_times(spec, random);
    spec->n_replicas = SIM_PICK(random, 1, 1, 1, 2, 3);
    spec->n_slots = SIM_PICK(random, 1, 2, 3);
    spec->start = sim_one_in(random, 3) ? PM_PRELOAD : PM_ON_DEMAND;
    spec->restart = sim_one_in(random, 5) ? PM_RESTART_NEVER : PM_RESTART_ALWAYS;
    spec->queue.n_requests = SIM_PICK(random, 1, 5, 1024);
    spec->queue.bytes = SIM_PICK(random, 100, 100000);
    spec->queue.policy = sim_one_in(random, 2) ? PM_QUEUE_DROP_LRU : PM_QUEUE_REJECT;
    spec->queue.max_age_ms = SIM_PICK(random, 2000, 20000, 600000);
    spec->habits.reports_busy = sim_one_in(random, 2);
    spec->habits.second_sigterm = sim_one_in(random, 2);
    if (sim_one_in(random, 3))
        return spec; /* with the default backoff */
    spec->backoff.base_ms = SIM_PICK(random, 0, 100, 1000);
    spec->backoff.cap_ms = SIM_PICK(random, 2000, 300000);
    spec->backoff.jitter = sim_one_in(random, 3) ? 0 : 0.5;
    spec->backoff.settle_ms = SIM_PICK(random, 1000, 60000);
    spec->backoff.reset_ms = SIM_PICK(random, 5000, 300000);
    spec->backoff.open_at = SIM_PICK(random, 2, 5);
    return spec;
}

static void make_core(struct sim *sim)
{
    struct pm_core_options options = {0};

    options.max_parallel_starts = SIM_PICK(&sim->random, 1, 2);
    options.seed = sim_draw(&sim->random);
    sim->core = pm_core_new(&options);
    for (int i = 0; i < sim->books.n_pools; i++) {
        struct poolmgr_error err = {0};

        sim_input(sim, i, "%s is added", sim->books.pools[i].spec->id);
        if (pm_core_add_pool(sim->core, sim->books.pools[i].spec, PM_OWNER_FILE, sim->now_ms,
                             &sim->out, &err) < 0)
            abort(); /* the simulator's own mistake */
    }
}

static void begin(struct sim *sim)
{
    sim_input(sim, SIM_NOBODY, "the daemon begins");
    sim->books.begun = true;
    pm_core_begin(sim->core, sim->now_ms, &sim->out);
    sim_taken(sim);
}

static void draw_pools(struct sim *sim)
{
    struct books *books = &sim->books;

    books->n_pools = 1 + (int)sim_below(&sim->random, SIM_POOLS);
    for (int i = 0; i < books->n_pools; i++) {
        struct book_pool *pool = &books->pools[i];

        pool->spec = draw_spec(&sim->random, i);
        pool->stop_by_ms = PM_NEVER;
        pool->idle_ms = pool->waiterless_ms = sim->now_ms;
        for (size_t k = 0; k < 2; k++)
            pm_list_init(&pool->queue.classes[k]);
        for (unsigned k = 0; k < SIM_REPLICAS; k++)
            pool->replicas[k].engine = SIM_NOBODY;
    }
}

static void start(struct sim *sim, uint64_t seed, uint64_t n_steps)
{
    sim->seed = seed;
    sim->step = 0;
    sim->n_steps = n_steps;
    sim->random.state = sim_mix(seed, 0);
    sim->broken = NULL;
    sim->broken_text[0] = sim->input[0] = '\0';
    sim->jumped_ms = 0;
    sim->mood = &moods[seed % PM_ARRAY_LEN(moods)];
    sim->now_ms = sim_below(&sim->random, 100000);
    draw_pools(sim);
    make_core(sim);
    sim_taken(sim);
    begin(sim);
}

static void finish(struct sim *sim)
{
    pm_actions_clear(&sim->out);
    pm_core_free(sim->core);
    sim->core = NULL;
    world_clear(sim);
    books_clear(sim);
}

/* ---- what is put in ------------------------------------------------------------------------------------------------ */

const char *sim_engine_name(const struct sim *sim, int index)
{
    static char name[80];
    const struct book_engine *engine = &sim->books.engines[index];

    (void)snprintf(name, sizeof(name), "%s.%" PRIu64, sim->books.pools[engine->pool].spec->id,
                   engine->instance);
    return name;
}

void sim_input(struct sim *sim, int pool, const char *format, ...)
{
    va_list args;

    if (!sim->story)
        return;
    va_start(args, format);
    (void)vsnprintf(sim->input, sizeof(sim->input), format, args);
    va_end(args);
    story_tell(sim, pool, "%s", sim->input);
}

static void tell_action(struct sim *sim, const struct pm_action *action)
{
    int index = book_engine_by_token(sim, action->token);
    int pool = index == SIM_NOBODY ? SIM_NOBODY : sim->books.engines[index].pool;

    switch (action->kind) {
    case PM_ACT_STAGE: TELL(sim, book_pool_of(sim, action->spec), "  → look at the model"); break;
    case PM_ACT_SPAWN:
        TELL(sim, book_pool_of(sim, action->spec), "  → spawn %s.%" PRIu64 " in place %u",
             action->spec->id, action->instance, action->replica);
        break;
    case PM_ACT_SIGNAL: TELL(sim, pool, "  → SIGTERM to %s", sim_engine_name(sim, index)); break;
    case PM_ACT_KILL: TELL(sim, pool, "  → SIGKILL to %s", sim_engine_name(sim, index)); break;
    case PM_ACT_FORGET: TELL(sim, pool, "  → forget %s", sim_engine_name(sim, index)); break;
    case PM_ACT_GRANT:
        TELL(sim, sim->books.requests[action->request].pool, "  → request %" PRIu64 " is granted",
             action->request);
        break;
    case PM_ACT_REFUSE:
        TELL(sim, sim->books.requests[action->request].pool,
             "  → request %" PRIu64 " is refused: %s", action->request, action->error->message);
        break;
    case PM_ACT_CUT:
        TELL(sim, sim->books.requests[action->request].pool, "  → request %" PRIu64 " is cut: %s",
             action->request, action->error->message);
        break;
    case PM_ACT_OPERATION:
        TELL(sim, SIM_NOBODY, "  → op-%" PRIu64 " ends", action->operation);
        break;
    case PM_ACT_STOPPED: TELL(sim, SIM_NOBODY, "  → the daemon may exit"); break;
    case PM_ACT_NARRATE:
        TELL(sim, book_pool_by_id(sim, action->event->pool_id), "  “%s”", action->event->human);
        break;
    case PM_ACT_PROBE:
    case PM_ACT_ASK_BUSY: break;
    }
}

static void look_at_event(struct sim *sim, const struct pm_event *event)
{
    HOLDS(sim, 8, SIM_NOBODY, "an event has its sentence", event->human[0] != '\0', "%s",
          pm_event_row(event->kind)->name);
}

void sim_taken(struct sim *sim)
{
    for (size_t i = 0; i < sim->out.n; i++) {
        const struct pm_action *action = &sim->out.items[i];

        if (sim->story)
            tell_action(sim, action);
        if (action->kind == PM_ACT_NARRATE)
            look_at_event(sim, action->event);
        invariants_at(sim, action);
        books_take(sim, action);
    }
    books_look(sim);
    invariants_after(sim);
    HOLDS(sim, 30, SIM_NOBODY, "after a step the deadline lies ahead",
          pm_core_deadline(sim->core) > sim->now_ms, "%" PRIu64 " ms behind",
          sim->now_ms - pm_core_deadline(sim->core));
    sim->books.version = pm_core_snapshot_version(sim->core);
    pm_actions_clear(&sim->out);
    inv29_second_look(sim);
    books_begin(sim);
}

void sim_nothing(struct sim *sim)
{
    inv2_nothing(sim);
    pm_actions_clear(&sim->out);
}

/* ---- time ---------------------------------------------------------------------------------------------------------- */

static void tick_at(struct sim *sim, uint64_t at_ms)
{
    bool is_early = at_ms < pm_core_deadline(sim->core);

    sim->now_ms = at_ms;
    if (!is_early)
        sim_input(sim, SIM_NOBODY, "tick");
    pm_core_tick(sim->core, at_ms, &sim->out);
    if (is_early)
        inv30_early_look(sim);
    sim_taken(sim);
}

static uint64_t no_earlier(const struct sim *sim, uint64_t ms)
{
    return ms > sim->now_ms ? ms : sim->now_ms;
}

/* To what comes first, in the world or by the core's own deadline; sometimes only a part of the way. */
static void time_passes(struct sim *sim)
{
    uint64_t due_ms = pm_core_deadline(sim->core), next_ms = world_next_ms(sim);
    uint64_t first_ms = due_ms < next_ms ? due_ms : next_ms, part_ms;

    part_ms = sim->now_ms + SIM_PICK(&sim->random, 1, 40, 1000, 5000);
    if (first_ms == PM_NEVER || (part_ms < first_ms && sim_one_in(&sim->random, 6))) {
        tick_at(sim, part_ms);
    } else if (next_ms < due_ms) { /* what is due at the same time is done first, as core does it */
        sim->now_ms = no_earlier(sim, next_ms);
        world_happens(sim);
    } else if (sim_one_in(&sim->random, 20)) { /* the loop was busy */
        tick_at(sim, no_earlier(sim, due_ms + SIM_PICK(&sim->random, 1, 30, 400)));
    } else {
        tick_at(sim, no_earlier(sim, due_ms));
    }
}

static void clock_jumps(struct sim *sim)
{
    uint64_t by_ms = SIM_PICK(&sim->random, 20000, 120000, 3600000, 86400000);

    sim_input(sim, SIM_NOBODY, "the machine sleeps for %" PRIu64 " s", by_ms / 1000);
    sim->jumped_ms = sim->now_ms + by_ms;
    tick_at(sim, sim->jumped_ms);
}

/* ---- clients ------------------------------------------------------------------------------------------------------- */

/* `retried`: the request whose engine died before its first byte, or 0. */
void sim_request(struct sim *sim, int pool_index, int retried)
{
    struct pm_request request = {.request_id = "r"};
    struct book_pool *pool = &sim->books.pools[pool_index];
    struct book_request *mine;
    bool was_free;

    if (sim->books.n_requests + 1 >= SIM_REQUESTS)
        return;
    request.id = (uint64_t)++sim->books.n_requests;
    mine = &sim->books.requests[request.id];
    mine->pool = pool_index;
    mine->priority = sim_one_in(&sim->random, 3) ? PM_BATCH : PM_INTERACTIVE;
    mine->bytes = sim_below(&sim->random, 120);
    mine->arrived_ms = mine->asked_ms = sim->now_ms;
    request.route = pool->spec->id;
    request.priority = mine->priority;
    request.bytes = mine->bytes;
    request.deadline_ms = SIM_PICK(&sim->random, 0, 1, 500, 5000, UINT64_MAX);
    if (retried) {
        request.retried = true;
        request.arrived_ms = mine->arrived_ms = sim->books.requests[retried].arrived_ms;
    }
    mine->deadline_ms = pool->spec->queue.max_age_ms;
    if (request.deadline_ms != 0 && request.deadline_ms < mine->deadline_ms)
        mine->deadline_ms = request.deadline_ms;
    mine->deadline_ms += mine->arrived_ms;
    if (mine->deadline_ms <= sim->now_ms)
        mine->deadline_ms = sim->now_ms + 1; /* due already: with the next tick */
    was_free = pool->view.slots_free > 0 && !sim->books.shutting_down && !sim->books.leaving;
    sim_input(sim, pool_index, "%s request %" PRIu64 " comes for %s%s",
              mine->priority == PM_BATCH ? "batch" : "interactive", request.id, request.route,
              retried ? ", once more" : "");
    books_request(sim, (int)request.id);
    pm_core_request(sim->core, &request, sim->now_ms, &sim->out);
    sim_taken(sim);
    inv13_request(sim, (int)request.id, was_free);
}

static void request_comes(struct sim *sim)
{
    sim_request(sim, (int)sim_below(&sim->random, (uint64_t)sim->books.n_pools), 0);
}

void sim_release(struct sim *sim, int index, enum pm_release how)
{
    static const char *const names[] = {"is answered", "is left by its client", "runs into a limit",
                                        "never reached its engine"};
    struct book_request *request = &sim->books.requests[index];

    sim_input(sim, request->pool, "request %d %s", index, names[how]);
    if (how == PM_RELEASE_DONE || how == PM_RELEASE_UNUSED)
        world_stream_over(sim, index);
    else
        world_stream_closes(sim, index, false);
    books_released(sim, index, how);
    pm_core_release(sim->core, &request->lease, how, sim->now_ms, &sim->out);
    sim_taken(sim);
}

void sim_abandon(struct sim *sim, int index)
{
    struct book_request *request = &sim->books.requests[index];

    sim_input(sim, request->pool, "request %d is left, and read on", index);
    world_stream_closes(sim, index, true);
    books_abandoned(sim, index);
    pm_core_abandon(sim->core, &request->lease, sim->now_ms, &sim->out);
    sim_taken(sim);
}

static void keep_alive(struct sim *sim, int index)
{
    struct book_request *request = &sim->books.requests[index];
    struct book_pool *pool = &sim->books.pools[request->pool];

    pool->has_keep_alive = true;
    pool->keep_alive_ms = SIM_PICK(&sim->random, 0, 1000, 30000, PM_NEVER);
    sim_input(sim, request->pool, "request %d keeps its pool alive for %" PRIu64 " ms", index,
              pool->keep_alive_ms);
    pm_core_keep_alive(sim->core, &request->lease, pool->keep_alive_ms, sim->now_ms, &sim->out);
    sim_taken(sim);
}

static void waiter_leaves(struct sim *sim, int index)
{
    sim_input(sim, sim->books.requests[index].pool, "request %d leaves", index);
    books_gone(sim, index);
    pm_core_request_gone(sim->core, (uint64_t)index, sim->now_ms, &sim->out);
    sim_taken(sim);
}

/* What is over cannot be ended again. */
static void ends_twice(struct sim *sim, int index)
{
    const struct pm_lease *lease = &sim->books.requests[index].lease;

    sim_input(sim, sim->books.requests[index].pool, "request %d ends once more", index);
    switch (sim_below(&sim->random, 3)) {
    case 0:
        pm_core_release(sim->core, lease, (enum pm_release)sim_below(&sim->random, 4), sim->now_ms,
                        &sim->out);
        break;
    case 1: pm_core_abandon(sim->core, lease, sim->now_ms, &sim->out); break;
    default: pm_core_request_gone(sim->core, (uint64_t)index, sim->now_ms, &sim->out); break;
    }
    sim_nothing(sim);
}

static void client_acts(struct sim *sim)
{
    uint64_t n = sim->books.n_requests < 12 ? (uint64_t)sim->books.n_requests : 12;
    const struct book_request *request;
    int index;

    if (n == 0)
        return;
    index = sim->books.n_requests - (int)sim_below(&sim->random, n);
    request = &sim->books.requests[index];
    switch (request->state) {
    case REQ_WAITING: waiter_leaves(sim, index); return;
    case REQ_GRANTED: break;
    case REQ_ABANDONED:
        if (sim_one_in(&sim->random, 2)) {
            sim_release(sim, index, PM_RELEASE_CLIENT_CLOSED);
            return;
        }
        pm_core_abandon(sim->core, &request->lease, sim->now_ms, &sim->out);
        sim_nothing(sim);
        return;
    default: ends_twice(sim, index); return;
    }
    switch (sim_below(&sim->random, 6)) {
    case 0: sim_abandon(sim, index); break;
    case 1: keep_alive(sim, index); break;
    case 2: sim_release(sim, index, PM_RELEASE_UNUSED); break;
    case 3: sim_release(sim, index, PM_RELEASE_LIMIT); break;
    default: sim_release(sim, index, PM_RELEASE_CLIENT_CLOSED); break;
    }
}

/* ---- operators ----------------------------------------------------------------------------------------------------- */

static struct book_op *open_op(struct sim *sim, enum pm_operation_kind kind, int pool, uint64_t id)
{
    struct book_op *op = &sim->books.ops[id % SIM_OPS];

    *op = (struct book_op){.kind = kind, .pool = pool, .known = true};
    if (kind == PM_OP_START)
        sim->books.pools[pool].n_starts++;
    else
        sim->books.pools[pool].n_stops++;
    return op;
}

static void command_start(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    struct poolmgr_error err = {0};
    uint64_t id = 0;

    sim_input(sim, index, "an operator starts %s", pool->spec->id);
    pool->started_in_step = true;
    if (pm_core_start(sim->core, pool->spec->id, sim->now_ms, &sim->out, &id, &err) == 0) {
        (void)open_op(sim, PM_OP_START, index, id);
        pool->maybe_parked = pool->has_keep_alive = false;
    }
    sim_taken(sim);
}

static void command_stop(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    uint64_t deadline_ms = SIM_PICK(&sim->random, 0, 1000, 30000, PM_NEVER), id = 0, by_ms;
    struct poolmgr_error err = {0};

    sim_input(sim, index, "an operator stops %s by %" PRIu64 " ms", pool->spec->id, deadline_ms);
    pool->stopped_in_step = true;
    if (pm_core_stop(sim->core, pool->spec->id, deadline_ms, sim->now_ms, &sim->out, &id, &err) ==
        0) {
        open_op(sim, PM_OP_STOP, index, id)->deadline_ms = deadline_ms;
        by_ms = deadline_ms > PM_NEVER - sim->now_ms ? PM_NEVER : sim->now_ms + deadline_ms;
        pool->stop_by_ms = by_ms < pool->stop_by_ms ? by_ms : pool->stop_by_ms;
        pool->maybe_parked = true;
    }
    sim_taken(sim);
}

static void command_cancel(struct sim *sim)
{
    uint64_t id = 1 + sim_below(&sim->random, 12);
    struct poolmgr_error err = {0};
    struct pm_operation last;

    if (pm_core_operation_at(sim->core, sim_below(&sim->random, 4), &last))
        id = last.id;
    sim_input(sim, SIM_NOBODY, "an operator cancels op-%" PRIu64, id);
    if (sim->books.ops[id % SIM_OPS].known)
        sim->books.pools[sim->books.ops[id % SIM_OPS].pool].stopped_in_step = true;
    (void)pm_core_cancel_operation(sim->core, id, sim->now_ms, &sim->out, &err);
    sim_taken(sim);
}

static void command_reset(struct sim *sim, int index)
{
    static const enum pm_breaker breakers[] = {PM_BREAKER_CLOSED, PM_BREAKER_CLOSED,
                                               PM_BREAKER_FORCED_OPEN, PM_BREAKER_DISABLED};
    enum pm_breaker breaker = breakers[sim_below(&sim->random, 4)];
    struct book_pool *pool = &sim->books.pools[index];
    struct poolmgr_error err = {0};

    sim_input(sim, index, "an operator resets %s, breaker %s", pool->spec->id,
              pm_breaker_name(breaker));
    if (!sim->books.shutting_down && !sim->books.leaving) {
        books_reset(sim, index);
        pool->forced = breaker == PM_BREAKER_FORCED_OPEN;
        pool->off = breaker == PM_BREAKER_DISABLED;
    }
    (void)pm_core_reset(sim->core, pool->spec->id, breaker, sim->now_ms, &sim->out, &err);
    sim_taken(sim);
}

/* It means something only where something failed for good, or waits for its clock. */
static void file_changes(struct sim *sim, int index)
{
    struct book_pool *pool = &sim->books.pools[index];
    bool matters = pool->failed;

    EACH_REPLICA(pool, k)
    matters = matters || pool->replicas[k].view.state == PM_BACKOFF;
    sim_input(sim, index, "the model of %s changes", pool->spec->id);
    if (matters)
        books_reset(sim, index);
    pm_core_file_changed(sim->core, pool->spec->id, sim->now_ms, &sim->out);
    if (matters)
        sim_taken(sim);
    else
        sim_nothing(sim);
}

static void operator_commands(struct sim *sim)
{
    int index = (int)sim_below(&sim->random, (uint64_t)sim->books.n_pools);

    switch (sim_below(&sim->random, 6)) {
    case 0: command_start(sim, index); break;
    case 1:
    case 2: command_stop(sim, index); break;
    case 3: command_cancel(sim); break;
    case 4: command_reset(sim, index); break;
    default: file_changes(sim, index); break;
    }
}

/* ---- trouble ------------------------------------------------------------------------------------------------------- */

static void dead_inputs(struct sim *sim)
{
    struct pm_token never = {.serial = UINT64_MAX}, none = {0};
    struct pm_lease lease = {.serial = UINT64_MAX, .pool = 77, .replica = 9};
    struct poolmgr_error err = {0};
    struct pm_ready ready = {0};
    struct pm_exit how = {0};
    uint64_t id = 0;

    sim_input(sim, SIM_NOBODY, "inputs for nobody");
    pm_core_staged(sim->core, never, NULL, 0, sim->now_ms, &sim->out);
    pm_core_staged(sim->core, none, NULL, 0, sim->now_ms, &sim->out);
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
    HOLDS(sim, 2, SIM_NOBODY, "a typo makes no pool",
          pm_core_n_pools(sim->core) == (size_t)sim->books.n_pools, "%zu pools",
          pm_core_n_pools(sim->core));
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
        pm_core_staged(sim->core, question->token, &(struct pm_failure){.permanent = true}, 0,
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
    time_passes(sim);
}

/* An engine died before the first byte of an answer: the request is tried once more. */
static void request_is_retried(struct sim *sim)
{
    for (int i = sim->books.n_requests; i > 0 && i > sim->books.n_requests - 8; i--) {
        if (sim->books.requests[i].state == REQ_OVER && sim->books.requests[i].lease.serial != 0) {
            sim_request(sim, sim->books.requests[i].pool, i);
            return;
        }
    }
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
    if (!there->alive) {
        world_schedule(sim, &there->end, sim->now_ms); /* its exit record is read */
    } else if (there->loaded) {
        there->loaded = false;
        there->ready_ms = sim->now_ms + SIM_PICK(&sim->random, 0, 3, 600);
        world_schedule(sim, &there->life, there->ready_ms);
    }
}

/* The daemon is gone, by SIGKILL or because it left; the next one finds what runs. */
static void next_daemon(struct sim *sim)
{
    pm_actions_clear(&sim->out);
    pm_core_free(sim->core);
    world_daemon_died(sim);
    sim->now_ms += SIM_PICK(&sim->random, 0, 20, 3000);
    books_daemon_died(sim);
    make_core(sim);
    for (int i = 0; i < sim->world.n_engines; i++) {
        struct world_engine *there = &sim->world.engines[i];
        struct book_engine *engine = &sim->books.engines[i];

        pm_core_seen_instance(sim->core, sim->books.pools[engine->pool].spec->id, engine->instance);
        if (engine->forgotten)
            continue;
        if (there->gone || there->never_launched || there->launch_fails) {
            there->gone = engine->forgotten = true;
            world_schedule(sim, &there->launched, PM_NEVER);
            world_schedule(sim, &there->end, PM_NEVER);
            continue;
        }
        adopt(sim, i);
    }
    inv28_restarted(sim);
    sim_taken(sim);
    begin(sim);
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
        time_passes(sim);
    if (!sim->broken)
        next_daemon(sim);
}

static void trouble_comes(struct sim *sim)
{
    if (sim_one_in(&sim->random, sim->mood->kill_daemon)) {
        if (sim_one_in(&sim->random, 4))
            daemon_leaves(sim);
        else
            daemon_is_killed(sim);
        return;
    }
    if (sim_one_in(&sim->random, sim->mood->jump)) {
        clock_jumps(sim);
        return;
    }
    switch (sim_below(&sim->random, 8)) {
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

/* ---- a seed ---------------------------------------------------------------------------------------------------------- */

static void step(struct sim *sim)
{
    const struct sim_mood *mood = sim->mood;
    unsigned all = mood->time + mood->request + mood->client + mood->operate + mood->trouble;
    uint64_t what = sim_below(&sim->random, all);

    if (what < mood->time)
        time_passes(sim);
    else if (what < mood->time + mood->request)
        request_comes(sim);
    else if (what < mood->time + mood->request + mood->client)
        client_acts(sim);
    else if (what < mood->time + mood->request + mood->client + mood->operate)
        operator_commands(sim);
    else
        trouble_comes(sim);
}

static bool goes_on(struct sim *sim)
{
    sim->step++;
    sim->random.state = sim_mix(sim->seed, sim->step);
    return !sim->broken;
}

/* Whatever state it is in: a shutdown comes to its end, and leaves nothing. */
static void shut_down(struct sim *sim)
{
    struct books *books = &sim->books;

    books->shutting_down = true;
    books->shutdown_ms = sim->now_ms;
    books->at_once = sim_one_in(&sim->random, 4);
    sim_input(sim, SIM_NOBODY, "the daemon is told to stop%s", books->at_once ? " at once" : "");
    pm_core_shutdown(sim->core, books->at_once, sim->now_ms, &sim->out);
    sim_taken(sim);
    for (int i = 0; i < 3000 && !books->stopped && goes_on(sim); i++) {
        if (sim_one_in(&sim->random, 20))
            request_comes(sim);
        else if (i == 200) {
            books->at_once = true;
            sim_input(sim, SIM_NOBODY, "the daemon is told to stop once more");
            pm_core_shutdown(sim->core, true, sim->now_ms, &sim->out);
            sim_taken(sim);
        } else
            time_passes(sim);
    }
    HOLDS(sim, 34, SIM_NOBODY, "a shutdown ends", books->stopped || sim->broken, "%s", "not this");
    for (int i = 0; i < sim->world.n_engines; i++)
        HOLDS(sim, 9, books->engines[i].pool, "a shutdown leaves no engine",
              books->engines[i].forgotten || sim->broken, "engine %d", i);
    EACH_POOL(sim, i)
    HOLDS(sim, 23, i, "a shutdown leaves nobody waiting",
          book_n_waiting(&books->pools[i]) == 0 || sim->broken, "%" PRIu64 " wait",
          book_n_waiting(&books->pools[i]));
}

bool sim_run(struct sim *sim, uint64_t seed, uint64_t n_steps)
{
    start(sim, seed, n_steps);
    while (goes_on(sim) && sim->step <= n_steps) {
        if (!sim->left_out || !sim->left_out[sim->step])
            step(sim);
    }
    if (!sim->broken)
        shut_down(sim);
    finish(sim);
    return !sim->broken;
}
