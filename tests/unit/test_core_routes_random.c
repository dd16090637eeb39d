/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random worlds of three pools that share names: engines that fail, die and hang at their start, clients that wish and
 * leave, operators that stop, drain, resume, reset and remove. After every step: who waits can still be served, is not
 * late, and stands beside no free slot; grants go where they may; a second look finds nothing to do (INV-4, INV-17,
 * INV-23, INV-25, INV-29, INV-31). `test_core_routes_random SEED` runs one world again.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "core_world.h"
#include "rounds.h"

#define N_WORLDS   600
#define N_STEPS    500
#define N_POOLS    3
#define N_ENGINES  2048
#define N_REQUESTS (N_STEPS + 1)

static const char *const ids[N_POOLS] = {"a", "b", "c"};
static const struct {
    const char *text;
    int set;
} names[] = {{"a", 1}, {"b", 2}, {"c", 4}, {"ab", 3}, {"abc", 7}};

enum place_of { NOWHERE, WAITING, GRANTED, OVER };

struct asked {
    enum place_of at;
    int may;    /* the pools that may serve it */
    bool plain; /* it wishes for nothing: it waits for all of them */
    uint64_t deadline_ms;
    struct pm_lease lease;
};

struct engine {
    struct pm_token token;
    int pool;
    bool ready, stopping, exited, forgotten;
};

static struct chaos {
    struct world world;
    uint64_t seed, random, step, version;
    struct asked asked[N_REQUESTS];
    struct engine engines[N_ENGINES];
    size_t n_engines;
    struct pm_token staging[N_POOLS], persist;
    struct pm_pool_spec *specs[N_POOLS];
    bool changes, changed; /* pools change in this world; one did */
    bool stopped;
} chaos;

static uint64_t n_grants, n_refusals[POOLMGR_STATUS_COUNT];

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "seed %" PRIu64 " step %" PRIu64 ": ", chaos.seed, chaos.step);        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

static uint64_t below(uint64_t n)
{
    uint64_t x = chaos.random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (x ^ (x >> 31)) % n;
}

/* ---- the books ---------------------------------------------------------------------------------------------------- */

static int pool_of(const struct pm_pool_spec *spec)
{
    for (int i = 0; i < N_POOLS; i++) {
        if (strcmp(ids[i], spec->id) == 0)
            return i;
    }
    return -1;
}

static struct engine *engine_of(struct pm_token token)
{
    for (size_t i = chaos.n_engines; i-- > 0;) {
        if (chaos.engines[i].token.serial == token.serial)
            return &chaos.engines[i];
    }
    CHECK(false, "nobody's token");
    return NULL;
}

static void on_grant(const struct pm_action *action)
{
    struct asked *one = &chaos.asked[action->request];
    const struct engine *engine = engine_of(action->lease_token);
    struct pm_pool_view view;

    CHECK(one->at == WAITING, "%" PRIu64 " is granted and does not wait", action->request);
    CHECK(one->may & (1 << engine->pool), "granted at %s, where it may not go", ids[engine->pool]);
    CHECK(engine->ready && !engine->stopping && !engine->exited, "granted at a dead engine");
    CHECK(pm_core_pool(chaos.world.core, ids[engine->pool], chaos.world.now_ms, &view) &&
              view.intent == PM_ENABLED,
          "granted at a pool that takes nobody");
    one->at = GRANTED;
    one->lease = action->lease;
    n_grants++;
}

static void on_refuse(const struct pm_action *action)
{
    struct asked *one = &chaos.asked[action->request];

    CHECK(one->at == WAITING, "%" PRIu64 " is refused and does not wait", action->request);
    CHECK(action->error->code != POOLMGR_E_QUEUE_TIMEOUT || chaos.world.now_ms >= one->deadline_ms,
          "refused before its deadline");
    n_refusals[-action->error->code]++;
    one->at = OVER;
}

static void take(const struct pm_action *action)
{
    switch (action->kind) {
    case PM_ACT_STAGE: chaos.staging[pool_of(action->spec)] = action->token; break;
    case PM_ACT_SPAWN:
        chaos.engines[chaos.n_engines++] =
            (struct engine){.token = action->token, .pool = pool_of(action->spec)};
        break;
    case PM_ACT_SIGNAL:
    case PM_ACT_KILL: engine_of(action->token)->stopping = true; break;
    case PM_ACT_FORGET: engine_of(action->token)->forgotten = true; break;
    case PM_ACT_GRANT: on_grant(action); break;
    case PM_ACT_REFUSE: on_refuse(action); break;
    case PM_ACT_CUT: chaos.asked[action->request].at = OVER; break;
    case PM_ACT_PERSIST: chaos.persist = action->token; break;
    case PM_ACT_STOPPED: chaos.stopped = true; break;
    default: break;
    }
}

/* ---- what holds after every step ------------------------------------------------------------------------------------- */

struct seen {
    bool there, is_free, hopeless;
};

static struct seen look(int pool)
{
    struct pm_pool_view view;
    struct seen seen = {.hopeless = true};

    if (!pm_core_pool(chaos.world.core, ids[pool], chaos.world.now_ms, &view))
        return seen;
    seen.there = pm_core_route(chaos.world.core, ids[pool]) != NULL;
    seen.is_free = view.ready && view.slots_free > 0 && seen.there;
    seen.hopeless = !seen.there || view.state == PM_COLD || view.state == PM_FAILED ||
                    view.intent != PM_ENABLED;
    return seen;
}

/* A command is under way, and may wait for the disk. */
static bool is_commanded(int may)
{
    struct pm_operation op;

    for (size_t i = 0; pm_core_operation_at(chaos.world.core, i, &op); i++) {
        for (int pool = 0; pool < N_POOLS; pool++) {
            if (op.state == PM_OP_RUNNING && (may & (1 << pool)) &&
                strcmp(op.pool_id, ids[pool]) == 0)
                return true;
        }
    }
    return false;
}

static void check_waiter(uint64_t id, const struct seen seen[N_POOLS])
{
    const struct asked *one = &chaos.asked[id];
    bool hopeless = true;

    CHECK(chaos.world.now_ms < one->deadline_ms, "%" PRIu64 " outlives its deadline", id);
    for (int i = 0; i < N_POOLS; i++) {
        if (!(one->may & (1 << i)))
            continue;
        hopeless = hopeless && seen[i].hopeless;
        CHECK(!seen[i].is_free || !one->plain, "%" PRIu64 " waits beside a free slot of %s", id,
              ids[i]);
    }
    CHECK(!hopeless || is_commanded(one->may), "%" PRIu64 " waits, and nothing comes", id);
}

static void check_all(void)
{
    struct seen seen[N_POOLS];

    for (int i = 0; i < N_POOLS; i++)
        seen[i] = look(i);
    for (uint64_t id = 1; id <= chaos.world.n_requests; id++) {
        uint64_t position;

        CHECK(pm_core_waiter(chaos.world.core, id, &position) == (chaos.asked[id].at == WAITING),
              "%" PRIu64 " is lost or doubled", id);
        if (chaos.asked[id].at == WAITING)
            check_waiter(id, seen);
    }
}

static void take_all(void)
{
    for (size_t i = 0; i < chaos.world.out.n; i++)
        take(&chaos.world.out.items[i]);
    check_all();
    chaos.version = pm_core_snapshot_version(chaos.world.core);
    pm_actions_clear(&chaos.world.out);
    pm_core_tick(chaos.world.core, chaos.world.now_ms, &chaos.world.out);
    CHECK(chaos.world.out.n == 0 && pm_core_snapshot_version(chaos.world.core) == chaos.version,
          "a second look finds something to do");
    CHECK(pm_core_deadline(chaos.world.core) > chaos.world.now_ms, "something is due");
}

/* ---- pools -------------------------------------------------------------------------------------------------------------- */

/* One of `one_in` of its names is left out. */
static struct pm_pool_spec *make_spec(int i, uint64_t one_in)
{
    struct pm_pool_spec *spec = pm_pool_spec_new(ids[i]);

    spec->n_slots = 1 + below(2);
    spec->n_replicas = 1 + below(2);
    spec->start = below(5) == 0 ? PM_PRELOAD : PM_ON_DEMAND;
    spec->restart = below(5) == 0 ? PM_RESTART_NEVER : PM_RESTART_ALWAYS;
    spec->idle_ttl_ms = below(2) ? 0 : 5000;
    spec->abandon_after_ms = below(5000);
    spec->queue.n_requests = 1 + below(40);
    spec->queue.policy = below(2) ? PM_QUEUE_DROP_LRU : PM_QUEUE_REJECT;
    spec->max_queue_wait_ms = below(2) ? 0 : 20000;
    for (size_t k = N_POOLS; k < sizeof(names) / sizeof(names[0]); k++) {
        if ((names[k].set & (1 << i)) && (one_in == 0 || below(one_in) > 0))
            pm_strv_add(&spec->aliases, names[k].text);
    }
    return spec;
}

/* ---- inputs -------------------------------------------------------------------------------------------------------------- */

static void wish(struct asked *one, struct pm_placement *placement)
{
    int pool = (int)below(N_POOLS), only = 1 << pool, left = one->may & ~only;

    if (below(2) || !(one->may & only) || left == 0)
        return;
    one->plain = false;
    switch (below(4)) {
    case 0:
        placement->pin = ids[pool];
        one->may = only;
        break;
    case 1:
        placement->avoid = &ids[pool];
        placement->n_avoid = 1;
        placement->no_fallback = below(2) == 0;
        if (placement->no_fallback)
            one->may = left;
        break;
    case 2:
        placement->prefer = &ids[pool];
        placement->n_prefer = 1;
        placement->no_fallback = true;
        one->may = only;
        break;
    default:
        placement->prefer = &ids[pool];
        placement->n_prefer = 1;
        one->plain = true;
        break;
    }
}

static void request_comes(void)
{
    size_t name = below(sizeof(names) / sizeof(names[0]));
    struct asked *one = &chaos.asked[chaos.world.n_requests + 1];
    struct pm_request request = {.route = names[name].text};

    *one = (struct asked){.at = WAITING, .may = names[name].set, .plain = true};
    request.deadline_ms = 1 + below(below(2) ? 3000 : 60000);
    one->deadline_ms = chaos.world.now_ms + request.deadline_ms;
    wish(one, &request.placement);
    if (chaos.changed) {
        one->may = (1 << N_POOLS) - 1;
        one->plain = false;
    }
    request.priority = below(3) == 0 ? PM_BATCH : PM_INTERACTIVE;
    (void)request_with(&chaos.world, request);
    take_all();
}

static void some_request_ends(void)
{
    uint64_t id = 1 + below(chaos.world.n_requests + 1);
    struct asked *one = &chaos.asked[id];

    if (id > chaos.world.n_requests)
        return;
    if (one->at == WAITING && below(4) == 0) {
        one->at = OVER;
        gone(&chaos.world, id);
        take_all();
    } else if (one->at == GRANTED) {
        one->at = OVER;
        release(&chaos.world, &one->lease, below(3) ? PM_RELEASE_DONE : PM_RELEASE_CLIENT_CLOSED);
        take_all();
    }
}

static void staging_answers(void)
{
    int pool = (int)below(N_POOLS);
    struct pm_failure failure = {.class = PM_CLASS_STAGING, .permanent = below(3) == 0};
    struct pm_token token = chaos.staging[pool];

    chaos.staging[pool] = (struct pm_token){0};
    staged(&chaos.world, token, below(8) == 0 ? &failure : NULL);
    take_all();
}

static void engine_moves(void)
{
    struct pm_exit how = {.status = 1, .evidence = {.permanent = below(12) == 0}};
    struct engine *engine;

    if (chaos.n_engines == 0)
        return;
    engine = &chaos.engines[chaos.n_engines - 1 - below(chaos.n_engines < 6 ? chaos.n_engines : 6)];
    if (engine->forgotten)
        return;
    if (!engine->stopping && !engine->exited && below(5) > 0) {
        engine->ready = true;
        endpoint_ready(&chaos.world, engine->token);
    } else if (engine->exited || engine->stopping) {
        engine->exited = true;
        childless(&chaos.world, engine->token);
    } else {
        engine->exited = true;
        exited(&chaos.world, engine->token, how);
    }
    take_all();
}

static void disk_answers(void)
{
    const struct poolmgr_error full = {.code = POOLMGR_E_STORE_FAILED, .message = "no space"};
    struct pm_token token = chaos.persist;

    chaos.persist = (struct pm_token){0};
    pm_actions_clear(&chaos.world.out);
    pm_core_persisted(chaos.world.core, token, below(6) ? NULL : &full, chaos.world.now_ms,
                      &chaos.world.out);
    take_all();
}

static void pool_comes_or_goes(int pool)
{
    struct poolmgr_error err = {0};
    uint64_t op;

    if (pm_core_remove_pool(chaos.world.core, ids[pool], true, below(3000), chaos.world.now_ms,
                            &chaos.world.out, &op, &err) == POOLMGR_E_NOT_FOUND) {
        chaos.staging[pool] = (struct pm_token){0};
        (void)pm_core_add_pool(chaos.world.core, chaos.specs[pool], PM_OWNER_API,
                               chaos.world.now_ms, &chaos.world.out, &err);
    }
}

/* With fewer or more slots, replicas and names. Who waits may be sent anywhere by that. */
static void pool_changes(int pool)
{
    struct pm_pool_spec *spec = make_spec(pool, 3);
    struct poolmgr_error err = {0};
    uint64_t op;

    pm_pool_spec_unref(chaos.specs[pool]);
    chaos.specs[pool] = spec;
    (void)pm_core_put_pool(chaos.world.core, spec, chaos.world.now_ms, &chaos.world.out, &op, &err);
    for (uint64_t id = 1; id <= chaos.world.n_requests; id++) {
        chaos.asked[id].may = (1 << N_POOLS) - 1;
        chaos.asked[id].plain = false;
    }
    chaos.changed = true;
}

static void operator_commands(void)
{
    static const enum pm_breaker breakers[] = {PM_BREAKER_CLOSED, PM_BREAKER_FORCED_OPEN,
                                               PM_BREAKER_DISABLED};
    int pool = (int)below(N_POOLS);
    struct pm_drain drain = {.has_deadline = true,
                             .deadline_ms = below(5000),
                             .on_deadline = below(2) ? PM_DEADLINE_STOP : PM_DEADLINE_ABORT,
                             .then = below(2) ? PM_THEN_STOP : PM_THEN_HOLD};
    struct pm_core *core = chaos.world.core;
    struct pm_actions *out = &chaos.world.out;
    uint64_t now_ms = chaos.world.now_ms, op;
    struct poolmgr_error err = {0};

    pm_actions_clear(out);
    switch (below(9)) {
    case 0: (void)pm_core_start(core, ids[pool], now_ms, out, &op, &err); break;
    case 1: (void)pm_core_stop(core, ids[pool], below(3000), now_ms, out, &op, &err); break;
    case 2: (void)pm_core_drain(core, ids[pool], &drain, now_ms, out, &op, &err); break;
    case 3:
    case 4: (void)pm_core_resume(core, ids[pool], now_ms, out, &op, &err); break;
    case 5: pool_comes_or_goes(pool); break;
    case 6:
        if (chaos.changes)
            pool_changes(pool);
        break;
    default:
        (void)pm_core_reset(core, ids[pool], breakers[below(4) ? 0 : below(3)], now_ms, out, &err);
        break;
    }
    take_all();
}

static void time_passes(void)
{
    uint64_t due_ms = pm_core_deadline(chaos.world.core);
    uint64_t at_ms = chaos.world.now_ms + below(below(4) ? 50 : 5000);

    tick(&chaos.world, due_ms < at_ms ? due_ms : at_ms);
    take_all();
}

/* ---- worlds ---------------------------------------------------------------------------------------------------------------- */

static void make_pool(int i)
{
    struct poolmgr_error err = {0};

    chaos.specs[i] = make_spec(i, 0);
    assert_int_equal(pm_core_add_pool(chaos.world.core, chaos.specs[i], PM_OWNER_API,
                                      chaos.world.now_ms, &chaos.world.out, &err),
                     0);
}

static void end(void)
{
    pm_actions_clear(&chaos.world.out);
    pm_core_shutdown(chaos.world.core, true, chaos.world.now_ms, &chaos.world.out);
    take_all();
    for (uint64_t id = 1; id <= chaos.world.n_requests; id++)
        CHECK(chaos.asked[id].at != WAITING, "%" PRIu64 " waits for a daemon that stops", id);
    for (size_t i = 0; i < chaos.n_engines; i++) {
        if (chaos.engines[i].forgotten)
            continue;
        childless(&chaos.world, chaos.engines[i].token);
        take_all();
    }
    CHECK(chaos.stopped, "a shutdown without an end");
}

static void step(void)
{
    uint64_t what = below(100);

    if (what < 30 && chaos.world.n_requests + 1 < N_REQUESTS)
        request_comes();
    else if (what < 45)
        some_request_ends();
    else if (what < 60)
        staging_answers();
    else if (what < 78)
        engine_moves();
    else if (what < 84)
        disk_answers();
    else if (what < 89)
        operator_commands();
    else
        time_passes();
}

static void run(uint64_t seed)
{
    memset(&chaos, 0, sizeof(chaos));
    world_init(&chaos.world);
    chaos.seed = chaos.random = seed;
    chaos.changes = below(3) == 0;
    for (int i = 0; i < N_POOLS; i++)
        make_pool(i);
    pm_actions_clear(&chaos.world.out);
    pm_core_begin(chaos.world.core, chaos.world.now_ms, &chaos.world.out);
    take_all();
    for (chaos.step = 0; chaos.step < N_STEPS; chaos.step++)
        step();
    end();
    for (int i = 0; i < N_POOLS; i++)
        pm_pool_spec_unref(chaos.specs[i]);
    world_fini(&chaos.world);
}

static void test_whatever_happens_to_pools_that_share_names_nobody_is_forgotten(void **s)
{
    for (uint64_t seed = 1; seed <= (uint64_t)rounds(N_WORLDS); seed++)
        run(seed);
    assert_true(n_grants > (uint64_t)rounds(1000));
    assert_true(n_refusals[-POOLMGR_E_PIN_UNMET] > 0 && n_refusals[-POOLMGR_E_DRAINING] > 0 &&
                n_refusals[-POOLMGR_E_MODEL_NOT_FOUND] > 0 &&
                n_refusals[-POOLMGR_E_QUEUE_FULL] > 0 && n_refusals[-POOLMGR_E_OVERLOADED] > 0 &&
                n_refusals[-POOLMGR_E_START_FAILED] > 0 && n_refusals[-POOLMGR_E_BREAKER_OPEN] > 0);
}

static void test_one_world(void **s)
{
    run(*(uint64_t *)*s);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    const struct CMUnitTest one[] = {cmocka_unit_test_prestate(test_one_world, &seed)};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whatever_happens_to_pools_that_share_names_nobody_is_forgotten),
    };

    if (argc > 1)
        return cmocka_run_group_tests_name("core: one random world", one, NULL, NULL);
    return cmocka_run_group_tests_name("core: random routes", tests, NULL, NULL);
}
