/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties that need many repetitions of one thing rather than many worlds. Each is a small world of its own: one
 * pool, engines that do at once what they are told, and a count.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "util/cleanup.h"

#define REPLICAS 4

/* A pool whose engines are ready in the step of their spawn, unless `fails` says otherwise. */
struct place {
    struct pm_token token;
    bool up;
    unsigned n_spawns;
};

struct small {
    struct pm_core *core;
    struct pm_pool_spec *spec;
    struct pm_actions out;
    uint64_t now_ms;
    struct place places[REPLICAS];
    bool (*fails)(const struct small *small, unsigned replica); /* its start */
    struct pm_lease last;                                       /* of the last grant */
    uint64_t n_requests, n_granted, n_refused, n_cut, n_signals;
    void (*on_end)(struct small *small, const struct pm_action *action); /* GRANT or REFUSE */
    void *context;
};

static void small_init(struct small *small)
{
    static const struct pm_core_options options = {.max_parallel_starts = 1, .seed = 5};

    memset(small, 0, sizeof(*small));
    small->core = pm_core_new(&options);
    small->spec = pm_pool_spec_new("alpha");
    small->now_ms = 1000;
}

static void small_begin(struct small *small)
{
    struct poolmgr_error err = {0};

    if (pm_core_add_pool(small->core, small->spec, PM_OWNER_FILE, small->now_ms, &small->out,
                         &err) < 0)
        abort();
    pm_core_begin(small->core, small->now_ms, &small->out);
}

static void small_fini(struct small *small)
{
    pm_core_free(small->core);
    pm_pool_spec_unref(small->spec);
    pm_actions_fini(&small->out);
}

static void end_engine(struct small *small, unsigned replica)
{
    const struct pm_exit how = {.status = 1};
    struct place *place = &small->places[replica];
    struct pm_token token = place->token;

    place->up = false;
    pm_core_engine_exited(small->core, token, &how, small->now_ms, &small->out);
    pm_core_childless(small->core, token, small->now_ms, &small->out);
}

static void spawned(struct small *small, struct pm_token token, unsigned replica)
{
    static const struct pm_ready ready = {.endpoint = "unix:/x", .owner_proved = true};
    struct place *place = &small->places[replica];

    place->token = token;
    place->n_spawns++;
    pm_core_spawned(small->core, token, NULL, 4711, small->now_ms, &small->out);
    if (small->fails && small->fails(small, replica)) {
        end_engine(small, replica);
        return;
    }
    place->up = true;
    pm_core_endpoint_ready(small->core, token, &ready, small->now_ms, &small->out);
}

/* Does what the actions say; what that appends comes after them. */
static void execute(struct small *small)
{
    for (size_t i = 0; i < small->out.n; i++) {
        struct pm_action action = small->out.items[i];

        switch (action.kind) {
        case PM_ACT_STAGE:
            pm_core_staged(small->core, action.token, NULL, NULL, 1, small->now_ms, &small->out);
            break;
        case PM_ACT_SPAWN: spawned(small, action.token, action.replica); break;
        case PM_ACT_PROBE:
            pm_core_probed(small->core, action.probe, true, small->now_ms, &small->out);
            break;
        case PM_ACT_SIGNAL:
        case PM_ACT_KILL:
            small->n_signals++;
            if (small->places[action.replica].up)
                end_engine(small, action.replica);
            break;
        case PM_ACT_GRANT:
            small->last = action.lease;
            small->n_granted++;
            if (small->on_end)
                small->on_end(small, &action);
            break;
        case PM_ACT_REFUSE:
            small->n_refused++;
            if (small->on_end)
                small->on_end(small, &action);
            break;
        case PM_ACT_CUT: small->n_cut++; break;
        default: break;
        }
    }
    pm_actions_clear(&small->out);
}

static void pass(struct small *small, uint64_t until_ms)
{
    while (pm_core_deadline(small->core) <= until_ms) {
        small->now_ms = pm_core_deadline(small->core);
        pm_core_tick(small->core, small->now_ms, &small->out);
        execute(small);
    }
    small->now_ms = until_ms;
}

static uint64_t ask(struct small *small, enum pm_priority priority, uint64_t deadline_ms)
{
    struct pm_request request = {.id = ++small->n_requests,
                                 .route = "alpha",
                                 .request_id = "r",
                                 .priority = priority,
                                 .deadline_ms = deadline_ms};

    pm_core_request(small->core, &request, small->now_ms, &small->out);
    return request.id;
}

static void release(struct small *small, const struct pm_lease *lease, enum pm_release how)
{
    pm_core_release(small->core, lease, how, small->now_ms, &small->out);
    execute(small);
}

static struct pm_replica_view view_of(const struct small *small, unsigned replica)
{
    struct pm_replica_view view = {0};

    (void)pm_core_replica(small->core, "alpha", replica, &view);
    return view;
}

/* ---- SUP-2: the delays ------------------------------------------------------------------------------------------ */

static bool delays_stay_in_their_bounds(uint64_t n_times)
{
    struct sim_random random = {1};

    for (uint64_t i = 0; i < n_times; i++) {
        struct pm_pool_spec spec = {0};
        uint64_t n = sim_below(&random, 80), t, delay_ms;

        spec.backoff.base_ms = SIM_PICK(&random, 0, 1, 100, 1000, 7777, UINT64_C(1) << 40);
        spec.backoff.cap_ms = SIM_PICK(&random, 0, 5, 300000, UINT64_C(1) << 50);
        spec.backoff.jitter = (double)sim_below(&random, 101) / 100;
        t = book_longest_delay(&spec, n);
        delay_ms = pm_restart_delay(n, spec.backoff.base_ms, spec.backoff.cap_ms,
                                    spec.backoff.jitter, sim_draw(&random));
        if (delay_ms > t || (double)delay_ms < (double)t * (1 - spec.backoff.jitter) - 1)
            return false;
    }
    return true;
}

/* ---- SUP-3: the breaker ----------------------------------------------------------------------------------------- */

static bool always(const struct small *small, unsigned replica)
{
    return true;
}

/* A thousand requests at an open breaker whose delay is over make one start, and so after each failure. */
static bool there_is_never_more_than_one_trial(uint64_t n_trials)
{
    struct small small;
    bool holds = true;

    small_init(&small);
    small.fails = always;
    small.spec->queue.n_requests = 2000;
    small.spec->queue.max_age_ms = 3600 * 1000;
    small_begin(&small);
    while (view_of(&small, 0).n_failures < small.spec->backoff.open_at) {
        (void)ask(&small, PM_INTERACTIVE, 0);
        execute(&small);
        pass(&small, small.now_ms + 60 * 1000);
    }
    for (uint64_t i = 0; i < n_trials && holds; i++) {
        unsigned n_before;

        pass(&small, small.now_ms + small.spec->backoff.cap_ms + 1);
        n_before = small.places[0].n_spawns;
        for (int k = 0; k < 1000; k++)
            (void)ask(&small, PM_INTERACTIVE, 1000);
        execute(&small);
        holds = small.places[0].n_spawns == n_before + 1;
        for (int k = 0; k < 1000; k++)
            (void)ask(&small, PM_INTERACTIVE, 1000);
        execute(&small);
        holds = holds && small.places[0].n_spawns == n_before + 1;
    }
    small_fini(&small);
    return holds;
}

static bool client_errors_move_no_breaker(uint64_t n_errors)
{
    struct sim_random random = {2};
    struct small small;
    bool holds;

    small_init(&small);
    small.spec->cancel_settle_ms = 1;
    small.spec->idle_ttl_ms = 0;
    small_begin(&small);
    for (uint64_t i = 0; i < n_errors; i++) {
        uint64_t id = ask(&small, PM_INTERACTIVE, 0), n_before = small.n_granted;

        if (sim_one_in(&random, 5))
            pm_core_request_gone(small.core, id, small.now_ms, &small.out);
        execute(&small);
        if (small.n_granted > n_before)
            release(&small, &small.last,
                    sim_one_in(&random, 3) ? PM_RELEASE_UNUSED : PM_RELEASE_CLIENT_CLOSED);
        pass(&small, small.now_ms + 2);
    }
    holds = view_of(&small, 0).n_failures == 0 && view_of(&small, 0).state == PM_READY &&
            view_of(&small, 0).breaker == PM_BREAKER_CLOSED && small.n_signals == 0 &&
            small.places[0].n_spawns == 1;
    small_fini(&small);
    return holds;
}

/* Ready for a second, then dead: that is no way to be forgiven. */
static bool an_engine_ready_for_1_s_reaches_the_cap(uint64_t n_deaths)
{
    struct small small;
    bool holds = true;

    small_init(&small);
    small.spec->start = PM_PRELOAD;
    small_begin(&small);
    execute(&small);
    for (uint64_t n = 1; n <= n_deaths && holds; n++) {
        uint64_t died_ms, t = book_longest_delay(small.spec, n);

        pass(&small, small.now_ms + 1000);
        end_engine(&small, 0);
        execute(&small);
        died_ms = small.now_ms;
        if (n > 1) {
            holds = !small.places[0].up;
            pass(&small, pm_core_deadline(small.core));
        }
        holds = holds && small.places[0].up && small.now_ms - died_ms <= t &&
                small.now_ms - died_ms + 1 >= t / 2;
    }
    holds = holds && book_longest_delay(small.spec, n_deaths) == small.spec->backoff.cap_ms;
    small_fini(&small);
    return holds;
}

static bool the_first(const struct small *small, unsigned replica)
{
    return replica == 0;
}

static bool a_pool_with_one_crashing_replica_of_four_serves_on(uint64_t n_requests)
{
    struct small small;
    bool holds = true;

    small_init(&small);
    small.spec->n_replicas = REPLICAS;
    small.spec->n_slots = 1;
    small.fails = the_first;
    small_begin(&small);
    for (uint64_t i = 0; i < n_requests && holds; i++) {
        uint64_t n_before = small.n_granted;

        (void)ask(&small, PM_INTERACTIVE, 0);
        execute(&small);
        holds = small.n_granted == n_before + 1;
        pass(&small, small.now_ms + 1000);
        if (holds)
            release(&small, &small.last, PM_RELEASE_DONE);
    }
    for (unsigned k = 1; k < REPLICAS; k++)
        holds = holds && small.places[k].n_spawns == 1 && view_of(&small, k).state == PM_READY;
    holds = holds && small.n_cut == 0 && small.n_refused == 0 && small.places[0].n_spawns >= 2;
    small_fini(&small);
    return holds;
}

/* ---- QUEUE-1 ------------------------------------------------------------------------------------------------------ */

#define RUNNING 8

struct queue_run {
    unsigned char *ended; /* per request: how often */
    uint64_t *deadlines;
    uint64_t last[2]; /* the newest that was granted in a class */
    unsigned char *batch;
    struct pm_lease running[RUNNING];
    unsigned n_running;
    bool holds;
};

static void note_end(struct small *small, const struct pm_action *action)
{
    struct queue_run *run = small->context;
    uint64_t id = action->request;

    run->holds = run->holds && ++run->ended[id] == 1 && small->now_ms <= run->deadlines[id];
    if (action->kind != PM_ACT_GRANT)
        return;
    run->holds = run->holds && id > run->last[run->batch[id]] && run->n_running < RUNNING;
    run->last[run->batch[id]] = id;
    if (run->n_running < RUNNING)
        run->running[run->n_running++] = action->lease;
}

static void queue_step(struct small *small, struct queue_run *run, struct sim_random *random)
{
    uint64_t what = sim_below(random, 10), id = small->n_requests + 1;

    if (what < 4) {
        uint64_t deadline_ms = SIM_PICK(random, 5, 100, 2000);

        run->batch[id] = sim_one_in(random, 3);
        run->deadlines[id] = small->now_ms + deadline_ms;
        (void)ask(small, run->batch[id] ? PM_BATCH : PM_INTERACTIVE, deadline_ms);
    } else if (what < 6 && run->n_running > 0) {
        uint64_t i = sim_below(random, run->n_running);
        struct pm_lease lease = run->running[i];

        run->running[i] = run->running[--run->n_running];
        pm_core_release(small->core, &lease, PM_RELEASE_DONE, small->now_ms, &small->out);
    } else if (what < 7 && small->n_requests > 0) {
        id = small->n_requests - sim_below(random, small->n_requests < 50 ? small->n_requests : 50);
        if (run->ended[id] == 0 && ++run->ended[id])
            pm_core_request_gone(small->core, id, small->now_ms, &small->out);
    } else {
        pass(small, small->now_ms + sim_below(random, 20));
    }
    execute(small);
}

static bool a_queue_loses_doubles_and_overtakes_nobody(uint64_t n_operations)
{
    pm_auto_free unsigned char *ended = calloc(n_operations + 2, 1);
    pm_auto_free unsigned char *batch = calloc(n_operations + 2, 1);
    pm_auto_free uint64_t *deadlines = calloc(n_operations + 2, sizeof(*deadlines));
    struct queue_run run = {.ended = ended, .batch = batch, .deadlines = deadlines, .holds = true};
    struct sim_random random = {3};
    struct small small;

    small_init(&small);
    small.spec->n_slots = RUNNING;
    small.spec->queue.n_requests = 200;
    small.spec->stall_timeout_ms = PM_NEVER;
    small.on_end = note_end;
    small.context = &run;
    small_begin(&small);
    for (uint64_t i = 0; i < n_operations && run.holds; i++)
        queue_step(&small, &run, &random);
    pass(&small, small.now_ms + 3000);
    for (uint64_t id = 1; id <= small.n_requests; id++)
        run.holds = run.holds && ended[id] == 1;
    small_fini(&small);
    return run.holds;
}

/* ---- all of them ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *sentence;
    bool (*holds)(uint64_t n);
    uint64_t n;
} properties[] = {
    {"delays stay in their bounds (SUP-2)", delays_stay_in_their_bounds, 1000000},
    {"there is never more than one trial (SUP-3)", there_is_never_more_than_one_trial, 200},
    {"client errors move no breaker (SUP-2)", client_errors_move_no_breaker, 100000},
    {"an engine ready for 1 s that dies reaches the cap (SUP-2)",
     an_engine_ready_for_1_s_reaches_the_cap, 40},
    {"a pool with one crashing replica of four serves on (SUP-3)",
     a_pool_with_one_crashing_replica_of_four_serves_on, 10000},
    {"a queue loses, doubles and overtakes nobody, and nobody waits beyond its bound (QUEUE-1)",
     a_queue_loses_doubles_and_overtakes_nobody, 1000000},
};

unsigned sim_properties(void)
{
    unsigned n_failed = 0;

    for (size_t i = 0; i < PM_ARRAY_LEN(properties); i++) {
        bool holds = properties[i].holds(properties[i].n);

        printf("%sok property: %s, %" PRIu64 " times\n", holds ? "" : "not ",
               properties[i].sentence, properties[i].n);
        n_failed += !holds;
    }
    return n_failed;
}
