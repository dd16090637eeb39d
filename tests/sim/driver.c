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
     .jump = 12,
     .hasty = 10,
     .full = 6},
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
     .jump = 20,
     .hasty = 10,
     .full = 8},
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
     .jump = 20,
     .full = 10},
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
     .jump = 10,
     .hasty = 10,
     .full = 6},
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

static struct pm_pool_spec *draw_spec(struct sim *sim, struct sim_random *random, int i)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(ids[i]);

    spec->text = pm_xasprintf("%d", sim->n_specs);
    spec->stored = pm_xstrdup(spec->text);
    sim->specs[sim->n_specs++] = spec;
    draw_times(spec, random);
    devices_draw_spec(sim, spec, random);
    spec->n_replicas = SIM_PICK(random, 1, 1, 1, 2, 3);
    spec->n_slots = SIM_PICK(random, 1, 2, 3);
    spec->start = sim_one_in(random, 3) ? PM_PRELOAD : PM_ON_DEMAND;
    spec->restart = sim_one_in(random, 5) ? PM_RESTART_NEVER : PM_RESTART_ALWAYS;
    spec->queue.n_requests = SIM_PICK(random, 1, 5, 1024);
    spec->queue.bytes = SIM_PICK(random, 100, 100000);
    spec->queue.policy = sim_one_in(random, 2) ? PM_QUEUE_DROP_LRU : PM_QUEUE_REJECT;
    spec->queue.max_age_ms = SIM_PICK(random, 2000, 20000, 600000);
    spec->max_queue_wait_ms = SIM_PICK(random, 0, 0, 0, 4000);
    if (sim_one_in(random, 2))
        pm_strv_add(&spec->aliases, "chat");
    if (sim_one_in(random, 3))
        pm_strv_add(&spec->aliases, "code");
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

/* Another one for a pool: of another model, or with other limits only. */
struct pm_pool_spec *sim_spec(struct sim *sim, int pool, const struct pm_pool_spec *like)
{
    struct pm_pool_spec *spec;

    if (sim->n_specs == SIM_SPECS)
        return NULL;
    spec = draw_spec(sim, &sim->random, pool);
    spec->n_replicas = like->n_replicas;
    spec->n_slots = like->n_slots;
    devices_keep(spec, like);
    pm_strv_fini(&spec->aliases);
    pm_strv_copy(&spec->aliases,
                 &like->aliases); /* names stay: who waits waits in the same queue */
    if (sim_one_in(&sim->random, 3))
        spec->model.main = pm_xstrdup(like->model.main);
    else
        spec->model.main = pm_xasprintf("/m/%d", sim->n_specs);
    return spec;
}

void sim_make_core(struct sim *sim)
{
    struct pm_core_options options = {0};

    options.max_parallel_starts = SIM_PICK(&sim->random, 1, 2);
    options.seed = sim_draw(&sim->random);
    options.evict_max_wait_ms = SIM_MAX_WAIT_MS;
    options.evict_min_residency_ms = SIM_MIN_RESIDENCY_MS;
    options.quarantine_ms = 300000;
    options.discovers = sim->world.discovers;
    sim->core = pm_core_new(&options);
    devices_show(sim);
    for (int i = 0; i < sim->books.n_pools; i++) {
        struct poolmgr_error err = {0};

        if (!sim->books.pools[i].there)
            continue;
        sim_input(sim, i, "%s is added", sim->books.pools[i].spec->id);
        if (pm_core_add_pool(sim->core, sim->books.pools[i].spec, sim->books.pools[i].owner,
                             sim->now_ms, &sim->out, &err) < 0)
            abort(); /* the simulator's own mistake */
    }
}

void sim_begin(struct sim *sim)
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
    books_open_queues(sim);
    for (int i = 0; i < books->n_pools; i++) {
        books_open_pool(sim, i, draw_spec(sim, &sim->random, i),
                        sim_one_in(&sim->random, 3) ? PM_OWNER_API : PM_OWNER_FILE);
        books->pools[i].first_spec = atoi(books->pools[i].spec->text);
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
    sim->wishes = sim_one_in(&sim->random, 3);
    devices_draw(sim);
    draw_pools(sim);
    sim_make_core(sim);
    sim_taken(sim);
    sim_begin(sim);
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
    case PM_ACT_PERSIST:
        TELL(sim, book_pool_by_id(sim, action->record->pool_id), "  → write %s: %s",
             action->record->pool_id, pm_intent_name(action->record->intent));
        break;
    case PM_ACT_ACCEPTED:
        TELL(sim, SIM_NOBODY, "  → op-%" PRIu64 " %s", action->operation,
             action->error ? action->error->message : "is accepted");
        break;
    case PM_ACT_REMEMBER:
        TELL(sim, SIM_NOBODY, "  → remember what was measured on %s", action->memory->device);
        break;
    case PM_ACT_KEEP:
        TELL(sim, book_pool_by_id(sim, action->past->pool_id), "  → keep what %s went through",
             action->past->pool_id);
        break;
    case PM_ACT_LOOK: TELL(sim, SIM_NOBODY, "  → look at the devices"); break;
    case PM_ACT_FOLLOW:
    case PM_ACT_PROBE:
    case PM_ACT_ASK_BUSY: break;
    }
}

static void look_at_event(struct sim *sim, const struct pm_event *event)
{
    HOLDS(sim, 8, SIM_NOBODY, "an event has its sentence", event->human[0] != '\0', "%s",
          pm_event_row(event->kind)->name);
}

static bool is_cut_later(const struct sim *sim, size_t i, uint64_t request)
{
    for (; i < sim->out.n; i++) {
        if (sim->out.items[i].kind == PM_ACT_CUT && sim->out.items[i].request == request)
            return true;
    }
    return false;
}

/* While the list is executed, something comes up: the client of a grant is gone already. What follows is appended. */
static void comes_up(struct sim *sim, size_t i, uint64_t request)
{
    struct pm_lease lease = sim->books.requests[request].lease;

    if (sim->books.requests[request].state != REQ_GRANTED || is_cut_later(sim, i, request))
        return;
    sim_input(sim, sim->books.requests[request].pool, "its client is gone already");
    world_stream_over(sim, (int)request);
    books_released(sim, (int)request, PM_RELEASE_UNUSED);
    pm_core_release(sim->core, &lease, PM_RELEASE_UNUSED, sim->now_ms, &sim->out);
}

void sim_taken(struct sim *sim)
{
    for (size_t i = 0; i < sim->out.n; i++) {
        struct pm_action action = sim->out.items[i]; /* the list may move */

        if (sim->story)
            tell_action(sim, &action);
        if (action.kind == PM_ACT_NARRATE)
            look_at_event(sim, action.event);
        invariants_at(sim, &action);
        books_take(sim, &action);
        if (action.kind == PM_ACT_GRANT && sim_one_in(&sim->random, sim->mood->hasty))
            comes_up(sim, i, action.request);
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
void sim_time_passes(struct sim *sim)
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

void sim_clock_jumps(struct sim *sim)
{
    uint64_t by_ms = SIM_PICK(&sim->random, 20000, 120000, 3600000, 86400000);

    sim_input(sim, SIM_NOBODY, "the machine sleeps for %" PRIu64 " s", by_ms / 1000);
    sim->jumped_ms = sim->now_ms + by_ms;
    tick_at(sim, sim->jumped_ms);
}

/* ---- clients ------------------------------------------------------------------------------------------------------- */

static const char *const tenants[SIM_TENANTS] = {"", "red", "blue"};

/* What it asks for among the pools of its name; ids are borrowed from the specs. */
static void draw_wish(struct sim *sim, struct book_request *mine, struct pm_placement *ret,
                      const char **prefer, const char **avoid)
{
    int some = (int)sim_below(&sim->random, (uint64_t)sim->books.n_pools);
    int other = (int)sim_below(&sim->random, (uint64_t)sim->books.n_pools);

    *prefer = sim->books.pools[some].spec->id;
    *avoid = sim->books.pools[other].spec->id;
    switch (sim_below(&sim->random, 5)) {
    case 0:
        ret->pin = *prefer;
        mine->pin = some;
        mine->set &= 1U << some;
        mine->demands = true;
        return;
    case 1:
        ret->avoid = avoid;
        ret->n_avoid = 1;
        ret->no_fallback = sim_one_in(&sim->random, 2);
        mine->demands = true;
        if (ret->no_fallback)
            mine->set &= ~(1U << other);
        return;
    case 2:
        ret->prefer = prefer;
        ret->n_prefer = 1;
        ret->no_fallback = mine->demands = sim_one_in(&sim->random, 2);
        if (ret->no_fallback)
            mine->set &= 1U << some;
        return;
    default: return;
    }
}

static uint64_t deadline_of(const struct sim *sim, const struct book_request *mine,
                            uint64_t asked_ms)
{
    int first = book_first_of(sim, mine->home);
    uint64_t deadline_ms = first == SIM_NOBODY ? 1 : sim->books.pools[first].spec->queue.max_age_ms;

    if (asked_ms != 0 && asked_ms < deadline_ms)
        deadline_ms = asked_ms;
    deadline_ms += mine->arrived_ms;
    return deadline_ms > sim->now_ms ? deadline_ms : sim->now_ms + 1; /* with the next tick */
}

static bool has_free_slot(const struct sim *sim, unsigned set)
{
    EACH_POOL (sim, i) {
        if ((set & (1U << i)) && sim->books.pools[i].view.slots_free > 0)
            return true;
    }
    return false;
}

/* `retried`: the request whose engine died before its first byte, or 0. */
void sim_request(struct sim *sim, const char *name, int retried)
{
    struct pm_request request = {.request_id = "r", .route = name};
    struct sim_choice choice = {0};
    const char *prefer, *avoid;
    struct book_request *mine;
    bool was_free;

    if (sim->books.n_requests + 1 >= SIM_REQUESTS)
        return;
    request.id = (uint64_t)++sim->books.n_requests;
    mine = &sim->books.requests[request.id];
    mine->name = name;
    mine->set = mine->home = book_pools_of(sim, name);
    mine->pin = SIM_NOBODY;
    mine->tenant = sim_one_in(&sim->random, 3) ? (int)sim_below(&sim->random, SIM_TENANTS) : 0;
    mine->priority = sim_one_in(&sim->random, 3) ? PM_BATCH : PM_INTERACTIVE;
    mine->bytes = sim_below(&sim->random, 120);
    mine->arrived_ms = mine->asked_ms = sim->now_ms;
    mine->retried = retried != 0;
    request.tenant = tenants[mine->tenant];
    request.priority = mine->priority;
    request.bytes = mine->bytes;
    request.deadline_ms = SIM_PICK(&sim->random, 0, 1, 500, 5000, UINT64_MAX);
    request.retried = mine->retried;
    if (retried)
        request.arrived_ms = mine->arrived_ms = sim->books.requests[retried].arrived_ms;
    if (sim->wishes)
        draw_wish(sim, mine, &request.placement, &prefer, &avoid);
    mine->pool = mine->set ? book_first_of(sim, mine->set) : 0;
    mine->deadline_ms = deadline_of(sim, mine, request.deadline_ms);
    was_free = !sim->wishes && has_free_slot(sim, mine->set) && !sim->books.shutting_down &&
               !sim->books.leaving;
    sim_input(sim, mine->pool, "%s request %" PRIu64 " comes for %s%s%s%s%s",
              mine->priority == PM_BATCH ? "batch" : "interactive", request.id, request.route,
              retried ? ", once more" : "", request.placement.pin ? ", pinned to " : "",
              request.placement.pin ? request.placement.pin : "",
              request.placement.n_prefer + request.placement.n_avoid > 0 ? ", with a wish" : "");
    if (sim_one_in(&sim->random, 6))
        inv25_explain(sim, &request, &choice);
    books_request(sim, (int)request.id);
    pm_core_request(sim->core, &request, sim->now_ms, &sim->out);
    sim_taken(sim);
    inv13_request(sim, (int)request.id, was_free);
    inv25_request(sim, (int)request.id, &choice);
}

static void request_comes(struct sim *sim)
{
    int pool = (int)sim_below(&sim->random, (uint64_t)sim->books.n_pools);
    const struct pm_pool_spec *spec = sim->books.pools[pool].spec;
    const char *name = spec->id;

    if (spec->aliases.n > 0 && sim_one_in(&sim->random, 2))
        name = spec->aliases.items[sim_below(&sim->random, spec->aliases.n)];
    sim_request(sim, name, 0);
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

/* ---- a seed ---------------------------------------------------------------------------------------------------------- */

static void step(struct sim *sim)
{
    const struct sim_mood *mood = sim->mood;
    unsigned all = mood->time + mood->request + mood->client + mood->operate + mood->trouble;
    uint64_t what = sim_below(&sim->random, all);

    if (what < mood->time)
        sim_time_passes(sim);
    else if (what < mood->time + mood->request)
        request_comes(sim);
    else if (what < mood->time + mood->request + mood->client)
        client_acts(sim);
    else if (what < mood->time + mood->request + mood->client + mood->operate)
        sim_operator(sim);
    else
        sim_trouble(sim);
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
            sim_time_passes(sim);
    }
    HOLDS(sim, 34, SIM_NOBODY, "a shutdown ends", books->stopped || sim->broken, "%s", "not this");
    for (int i = 0; i < sim->world.n_engines; i++)
        HOLDS(sim, 9, books->engines[i].pool, "a shutdown leaves no engine",
              books->engines[i].forgotten || sim->broken, "engine %d", i);
    EACH_POOL (sim, i)
        HOLDS(sim, 23, i, "a shutdown leaves nobody waiting",
              books->pools[i].n_waiting == 0 || sim->broken, "%" PRIu64 " wait",
              books->pools[i].n_waiting);
}

static bool is_full(const struct sim *sim)
{
    return sim->n_specs + SIM_SPARE > SIM_SPECS || sim->world.n_engines + SIM_SPARE > SIM_ENGINES ||
           sim->books.n_requests + SIM_SPARE > SIM_REQUESTS ||
           sim->books.last_op + SIM_SPARE > SIM_OPS;
}

bool sim_run(struct sim *sim, uint64_t seed, uint64_t n_steps)
{
    start(sim, seed, n_steps);
    while (goes_on(sim) && sim->step <= n_steps && !is_full(sim)) {
        if (!sim->left_out || !sim->left_out[sim->step])
            step(sim);
    }
    if (!sim->broken)
        shut_down(sim);
    finish(sim);
    return !sim->broken;
}
