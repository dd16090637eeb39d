/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random worlds of engines that are not ours (REG-4): handoffs, their ends, operators and clients in any order. What is
 * kept here comes from the actions alone. A failing seed is printed; `test_core_foreign SEED` runs it again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "rounds.h"
#include "util/cleanup.h"
#include "util/heap.h"
#include "util/str.h"

#define POOL       "far"
#define ROUNDS     2000
#define STEPS      300
#define ENGINES    1024
#define REQUESTS   1024
#define N_VARIANTS 6

enum request_state { NONE, WAITING, GRANTED, OVER };

struct engine {
    struct pm_token token, probe;
    uint64_t instance, n_leases, n_slots;
    bool forgotten;
};

struct world {
    uint64_t seed, random, step, now_ms;
    struct pm_core *core;
    struct pm_actions out;
    struct engine engines[ENGINES];
    size_t n_engines;
    struct {
        enum request_state state;
        struct pm_lease lease;
        struct engine *engine;
        uint64_t deadline_ms;
    } requests[REQUESTS];
    size_t n_requests;
    struct pm_token persist;
    bool handed[2]; /* by replica: nobody took it back */
    bool stopping, stopped;
};

static uint64_t n_seen[PM_ACT_STOPPED + 1], n_told[PM_EV_COUNT], n_states[PM_STATE_COUNT];

static void must(const struct world *world, bool condition, const char *what)
{
    if (condition)
        return;
    printf("not ok - seed %" PRIu64 ", step %" PRIu64 ": %s\n", world->seed, world->step, what);
    exit(1);
}

static uint64_t below(struct world *world, uint64_t n)
{
    uint64_t x = world->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (x ^ (x >> 31)) % n;
}

/* ---- what came out ----------------------------------------------------------------------------------------- */

static struct engine *engine_of(struct world *world, struct pm_token token)
{
    for (size_t i = 0; i < world->n_engines; i++) {
        if (world->engines[i].token.serial == token.serial)
            return &world->engines[i];
    }
    return NULL;
}

static void follow(struct world *world, const struct pm_action *action)
{
    struct engine *engine = &world->engines[world->n_engines++];

    must(world, world->n_engines < ENGINES, "too many engines for this test");
    must(world, !action->spec->habits.ours, "REG-4: one of ours is followed");
    must(world, world->handed[action->replica], "one that was taken back is followed again");
    *engine = (struct engine){.token = action->token, .instance = action->instance};
}

static void grant(struct world *world, const struct pm_action *action)
{
    struct engine *engine = engine_of(world, action->lease_token);
    struct pm_replica_view view;

    must(world, engine && !engine->forgotten, "INV-4: granted at an engine that nobody knows");
    must(world, pm_core_replica(world->core, POOL, action->replica, &view), "no such replica");
    must(world, view.state == PM_READY, "INV-4: granted at a place that is not ready");
    must(world, ++engine->n_leases <= view.slots_total, "INV-3: more leases than slots");
    must(world, world->requests[action->request].state == WAITING, "INV-23: granted twice");
    world->requests[action->request].state = GRANTED;
    world->requests[action->request].lease = action->lease;
    world->requests[action->request].engine = engine;
}

static void over(struct world *world, uint64_t request, enum request_state from)
{
    must(world, world->requests[request].state == from, "INV-23: it ends twice, or out of turn");
    if (from == GRANTED)
        world->requests[request].engine->n_leases--;
    world->requests[request].state = OVER;
}

static void take(struct world *world, const struct pm_action *action)
{
    struct engine *engine = engine_of(world, action->token);

    n_seen[action->kind]++;
    switch (action->kind) {
    case PM_ACT_FOLLOW: follow(world, action); break;
    case PM_ACT_PROBE:
        must(world, engine && !engine->forgotten, "a probe of an engine that nobody knows");
        engine->probe = action->probe;
        break;
    case PM_ACT_FORGET:
        must(world, engine && !engine->forgotten, "forgotten twice");
        must(world, engine->n_leases == 0, "INV-3: forgotten with leases");
        engine->forgotten = true;
        break;
    case PM_ACT_GRANT: grant(world, action); break;
    case PM_ACT_REFUSE: over(world, action->request, WAITING); break;
    case PM_ACT_CUT: over(world, action->request, GRANTED); break;
    case PM_ACT_PERSIST: world->persist = action->token; break;
    case PM_ACT_NARRATE: n_told[action->event->kind]++; break;
    case PM_ACT_STOPPED: world->stopped = true; break;
    case PM_ACT_ACCEPTED:
    case PM_ACT_OPERATION: break;
    default: must(world, false, "REG-4: an engine of somebody else is staged, started or stopped");
    }
}

static void taken(struct world *world)
{
    struct pm_pool_view pool;
    struct pm_replica_view replica;

    for (size_t i = 0; i < world->out.n; i++)
        take(world, &world->out.items[i]);
    pm_actions_clear(&world->out);

    must(world, pm_core_deadline(world->core) > world->now_ms, "INV-30: something is due");
    pm_core_tick(world->core, world->now_ms, &world->out);
    must(world, world->out.n == 0, "INV-29: a second look finds something to do");
    for (size_t i = 1; i <= world->n_requests; i++)
        must(world,
             world->requests[i].state != WAITING || world->now_ms < world->requests[i].deadline_ms,
             "INV-31: a waiter outlives its deadline");
    if (!pm_core_pool(world->core, POOL, world->now_ms, &pool))
        return;
    must(world, pool.ready || pool.reason[0] != '\0', "INV-8: not ready, and nobody says why");
    must(world, pool.queue_depth == 0 || pool.slots_free == 0, "someone waits beside a free slot");
    for (unsigned i = 0; pm_core_replica(world->core, POOL, i, &replica); i++) {
        n_states[replica.state]++;
        must(world,
             replica.state == PM_READY || replica.state == PM_SICK || replica.state == PM_COLD,
             "REG-4: a state that only engines of ours have");
        must(world, replica.n_failures == 0, "REG-4: a failure is held against it");
    }
}

/* ---- inputs ------------------------------------------------------------------------------------------------- */

static struct pm_pool_spec *variant(uint64_t n)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(POOL);

    spec->habits.ours = false;
    spec->external.endpoint = pm_xasprintf("http://127.0.0.1:%" PRIu64, 1 + n % 3);
    spec->n_slots = 1 + n / 3;
    spec->drain_deadline_ms = 4000;
    spec->queue.max_age_ms = 15000;
    return spec;
}

static void hand_over(struct world *world)
{
    struct pm_pool_spec *spec = variant(below(world, N_VARIANTS));
    const struct pm_handoff handoff = {
        .spec = spec, .replica = (unsigned)below(world, 2), .answered = below(world, 2)};
    struct poolmgr_error err = {0};
    uint64_t version = pm_core_snapshot_version(world->core);
    bool before = world->handed[handoff.replica];

    world->handed[handoff.replica] = true;
    if (pm_core_handoff(world->core, &handoff, world->now_ms, &world->out, &err) < 0)
        must(world,
             err.message[0] != '\0' && (pm_core_n_pools(world->core) == 1 || world->out.n == 0 ||
                                        pm_core_snapshot_version(world->core) > version),
             "a refusal without a reason");
    if (err.code != 0)
        world->handed[handoff.replica] = before;
    pm_pool_spec_unref(spec);
}

static void client_comes(struct world *world)
{
    struct pm_request request = {.route = POOL, .request_id = "r"};

    if (world->n_requests + 1 >= REQUESTS)
        return;
    request.id = ++world->n_requests;
    world->requests[request.id].state = WAITING;
    world->requests[request.id].deadline_ms = world->now_ms + 15000;
    pm_core_request(world->core, &request, world->now_ms, &world->out);
}

static void client_ends(struct world *world)
{
    uint64_t id = world->n_requests > 0 ? 1 + below(world, world->n_requests) : 0;

    if (id == 0)
        return;
    if (world->requests[id].state == WAITING) {
        world->requests[id].state = OVER;
        pm_core_request_gone(world->core, id, world->now_ms, &world->out);
    } else if (world->requests[id].state == GRANTED) {
        over(world, id, GRANTED);
        pm_core_release(world->core, &world->requests[id].lease, PM_RELEASE_DONE, world->now_ms,
                        &world->out);
    }
}

static void engine_answers(struct world *world)
{
    struct engine *engine =
        world->n_engines > 0 ? &world->engines[below(world, world->n_engines)] : NULL;

    if (!engine)
        return;
    if (below(world, 3) == 0)
        pm_core_engine_gone(world->core, engine->token, "nobody listens", world->now_ms,
                            &world->out);
    else
        pm_core_probed(world->core, engine->probe, below(world, 4) > 0, world->now_ms, &world->out);
}

static void operator_acts(struct world *world)
{
    const struct pm_drain drain = {.has_deadline = true,
                                   .deadline_ms = below(world, 5000),
                                   .on_deadline = (enum pm_on_deadline)below(world, 2),
                                   .then = (enum pm_then)below(world, 2)};
    struct poolmgr_error err = {0};
    unsigned replica;
    uint64_t op;

    switch (below(world, 8)) {
    case 0:
        (void)pm_core_drain(world->core, POOL, &drain, world->now_ms, &world->out, &op, &err);
        break;
    case 1:
    case 2: (void)pm_core_resume(world->core, POOL, world->now_ms, &world->out, &op, &err); break;
    case 3:
        (void)pm_core_remove_pool(world->core, POOL, below(world, 2), below(world, 5000),
                                  world->now_ms, &world->out, &op, &err);
        break;
    case 4: (void)pm_core_start(world->core, POOL, world->now_ms, &world->out, &op, &err); break;
    case 5: (void)pm_core_stop(world->core, POOL, 0, world->now_ms, &world->out, &op, &err); break;
    default:
        replica = (unsigned)below(world, 2);
        if (pm_core_withdraw(world->core, POOL, replica, world->now_ms, &world->out, &err) == 0)
            world->handed[replica] = false;
        break;
    }
}

static void disk_answers(struct world *world)
{
    const struct poolmgr_error full = {.code = POOLMGR_E_STORE_FAILED, .message = "disk full"};

    pm_core_persisted(world->core, world->persist, below(world, 6) == 0 ? &full : NULL,
                      world->now_ms, &world->out);
}

static void time_passes(struct world *world)
{
    uint64_t by_ms = world->now_ms + 1 + below(world, 1500), due_ms = pm_core_deadline(world->core);

    world->now_ms = due_ms < by_ms ? due_ms : by_ms;
    pm_core_tick(world->core, world->now_ms, &world->out);
}

static void step(struct world *world)
{
    uint64_t what = below(world, 100);

    if (what < 25)
        time_passes(world);
    else if (what < 45)
        client_comes(world);
    else if (what < 60)
        client_ends(world);
    else if (what < 78)
        engine_answers(world);
    else if (what < 86)
        hand_over(world);
    else if (what < 93)
        disk_answers(world);
    else
        operator_acts(world);
    taken(world);
}

static void run(uint64_t seed)
{
    const struct pm_core_options options = {.max_parallel_starts = 1, .seed = seed};
    struct world *world = pm_xalloc(sizeof(*world));

    world->seed = world->random = seed;
    world->now_ms = 1000;
    world->core = pm_core_new(&options);
    pm_core_begin(world->core, world->now_ms, &world->out);
    for (world->step = 0; world->step < STEPS; world->step++)
        step(world);

    pm_core_shutdown(world->core, below(world, 2), world->now_ms, &world->out);
    taken(world);
    for (int i = 0; i < 100 && !world->stopped; i++) {
        time_passes(world);
        taken(world);
    }
    must(world, world->stopped, "a shutdown without an end");
    for (size_t i = 0; i < world->n_engines; i++)
        must(world, world->engines[i].forgotten, "stopped, and an engine is still followed");
    pm_core_free(world->core);
    pm_actions_fini(&world->out);
    free(world);
}

static bool everything_came_up(void)
{
    static const enum pm_action_kind actions[] = {PM_ACT_FOLLOW, PM_ACT_FORGET, PM_ACT_PROBE,
                                                  PM_ACT_GRANT,  PM_ACT_REFUSE, PM_ACT_CUT};
    static const enum pm_event_kind events[] = {
        PM_EV_HANDOFF_ACCEPTED, PM_EV_HANDOFF_WITHDRAWN, PM_EV_INSTANCE_READY,
        PM_EV_INSTANCE_SICK,    PM_EV_INSTANCE_CRASHED,  PM_EV_POOL_REMOVED,
    };

    for (size_t i = 0; i < PM_ARRAY_LEN(actions); i++) {
        if (n_seen[actions[i]] == 0)
            return false;
    }
    for (size_t i = 0; i < PM_ARRAY_LEN(events); i++) {
        if (n_told[events[i]] == 0)
            return false;
    }
    return n_states[PM_READY] > 0 && n_states[PM_SICK] > 0 && n_states[PM_COLD] > 0;
}

int main(int argc, char **argv)
{
    printf("1..2\n");
    if (argc > 1) {
        run(strtoull(argv[1], NULL, 10));
        return 0;
    }
    for (uint64_t seed = 1; seed <= (uint64_t)rounds(ROUNDS); seed++)
        run(seed);
    printf("ok 1 - whatever comes, engines of somebody else are only looked at\n");
    printf("%s 2 - everything came up\n", everything_came_up() ? "ok" : "not ok");
    return everything_came_up() ? 0 : 1;
}
