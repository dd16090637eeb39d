/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small simulator: a world of engines that start, hang, crash, ignore signals and answer late or twice, all drawn
 * from a seed. It drives core with random inputs, keeps its own books from the actions alone, and compares.
 */
#ifndef PM_TESTS_CORE_SIM_H
#define PM_TESTS_CORE_SIM_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "util/heap.h"
#include "util/str.h"

#define SIM_POOLS     3
#define SIM_REPLICAS  2
#define SIM_INSTANCES 4096
#define SIM_REQUESTS  8192
#define SIM_QUESTIONS 64
#define SIM_OPS       4096

enum sim_request_state {
    REQ_NONE,
    REQ_WAITING,
    REQ_GRANTED,
    REQ_SETTLING,
    REQ_ABANDONED,
    REQ_OVER
};

struct sim_request {
    enum sim_request_state state;
    int pool;
    bool batch;
    uint64_t deadline_ms, settles_ms;
    struct pm_lease lease;
    size_t instance; /* index */
};

struct sim_instance {
    struct pm_token token;
    int pool;
    unsigned replica;
    bool answered_spawn, ready, exited, signalled, killed, forgotten;
    uint64_t start_by_ms, progress_ms, signalled_ms, killed_ms;
};

struct sim_question {
    enum pm_action_kind kind;
    struct pm_token token; /* what the answer carries */
    int pool;
};

struct sim_pool {
    struct pm_pool_spec *spec;
    unsigned interactive_in_row;
    struct {
        uint64_t n, failed_ms;
        enum pm_state state;
    } replicas[SIM_REPLICAS];
};

struct sim {
    uint64_t seed, random, step;
    struct pm_core *core;
    uint64_t now_ms, version;
    struct pm_actions out;
    struct sim_pool pools[SIM_POOLS];
    int n_pools;
    struct sim_instance instances[SIM_INSTANCES];
    size_t n_instances;
    struct sim_request requests[SIM_REQUESTS];
    size_t n_requests;
    struct sim_question questions[SIM_QUESTIONS];
    size_t n_questions;
    struct {
        bool ended, answered;
        int pool;
        uint64_t cuts_at_ms; /* stop, drain: at the earliest; PM_NEVER or 0: never */
    } ops[SIM_OPS];
    bool deaf, greedy, calm; /* moods: probes miss; engines want too much memory; little happens */
    bool shutting_down, at_once, leaving, stopped, reset;
    uint64_t shutdown_ms;
    const char *input; /* what was put in last, for the report */
    bool failed;
};

#define SIM_CHECK(sim, condition, ...)                                                             \
    do {                                                                                           \
        if (!(condition) && !(sim)->failed) {                                                      \
            (sim)->failed = true;                                                                  \
            fprintf(stderr, "seed %" PRIu64 " step %" PRIu64 " at %" PRIu64 " ms, after %s: ",     \
                    (sim)->seed, (sim)->step, (sim)->now_ms, (sim)->input);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, " [%s]\n", #condition);                                                \
        }                                                                                          \
    } while (0)

/* ---- random numbers ------------------------------------------------------------------------------------- */

static inline uint64_t sim_random(struct sim *sim)
{
    uint64_t x = sim->random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t sim_below(struct sim *sim, uint64_t n)
{
    return n == 0 ? 0 : sim_random(sim) % n;
}

static inline bool sim_one_in(struct sim *sim, uint64_t n)
{
    return sim_below(sim, n) == 0;
}

static inline uint64_t sim_pick(struct sim *sim, const uint64_t *values, size_t n)
{
    return values[sim_below(sim, n)];
}

#define SIM_PICK(sim, ...)                                                                         \
    sim_pick(sim, (const uint64_t[]){__VA_ARGS__},                                                 \
             sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

/* ---- the world at its start -------------------------------------------------------------------------------- */

static inline struct pm_pool_spec *sim_spec(struct sim *sim, int i)
{
    static const char *const ids[SIM_POOLS] = {"alpha", "beta", "gamma"};
    struct pm_pool_spec *spec = pm_pool_spec_new(ids[i]);

    spec->n_replicas = SIM_PICK(sim, 1, 1, 2);
    spec->n_slots = SIM_PICK(sim, 1, 2, 3);
    spec->start = sim_one_in(sim, 3) ? PM_PRELOAD : PM_ON_DEMAND;
    spec->restart = sim_one_in(sim, 5) ? PM_RESTART_NEVER : PM_RESTART_ALWAYS;
    spec->idle_ttl_ms = SIM_PICK(sim, 0, 5000, 60000);
    spec->queue.n_requests = SIM_PICK(sim, 1, 5, 1024);
    spec->queue.bytes = SIM_PICK(sim, 100, 100000);
    spec->queue.policy = sim_one_in(sim, 2) ? PM_QUEUE_DROP_LRU : PM_QUEUE_REJECT;
    spec->queue.max_age_ms = SIM_PICK(sim, 2000, 20000, 600000);
    spec->drain_deadline_ms = SIM_PICK(sim, 0, 3000, 300000);
    spec->stop_grace_ms = SIM_PICK(sim, 0, 1000, 10000);
    spec->start_stall_ms = SIM_PICK(sim, 3000, 20000);
    spec->start_max_ms = SIM_PICK(sim, 5000, 60000);
    spec->abandon_after_ms = SIM_PICK(sim, 0, 2000, 60000);
    spec->stall_timeout_ms = SIM_PICK(sim, 3000, 30000);
    spec->probe.sick_restart_ms = SIM_PICK(sim, 3000, 60000);
    spec->cancel_settle_ms = SIM_PICK(sim, 0, 500, 5000);
    spec->abandon_max_ms = SIM_PICK(sim, 1000, 60000);
    spec->backoff.base_ms = SIM_PICK(sim, 0, 100, 1000);
    spec->backoff.settle_ms = SIM_PICK(sim, 1000, 60000);
    spec->backoff.reset_ms = SIM_PICK(sim, 5000, 300000);
    spec->backoff.open_at = SIM_PICK(sim, 2, 5);
    spec->habits.reports_busy = sim_one_in(sim, 2);
    spec->habits.second_sigterm = sim_one_in(sim, 2);
    return spec;
}

static inline void sim_init(struct sim *sim, uint64_t seed)
{
    struct pm_core_options options = {0};
    struct poolmgr_error err = {0};

    memset(sim, 0, sizeof(*sim));
    sim->seed = sim->random = seed;
    sim->input = "init";
    sim->deaf = sim_one_in(sim, 3);
    sim->greedy = sim_one_in(sim, 4);
    sim->calm = sim_one_in(sim, 2);
    options.max_parallel_starts = SIM_PICK(sim, 1, 2);
    options.seed = sim_random(sim);
    sim->core = pm_core_new(&options);
    sim->now_ms = sim_below(sim, 100000);
    sim->n_pools = 1 + (int)sim_below(sim, SIM_POOLS);
    for (int i = 0; i < sim->n_pools; i++) {
        sim->pools[i].spec = sim_spec(sim, i);
        SIM_CHECK(sim,
                  pm_core_add_pool(sim->core, sim->pools[i].spec, PM_OWNER_FILE, sim->now_ms,
                                   &sim->out, &err) == 0,
                  "cannot add a pool");
    }
}

/* Some engines of a former daemon are there already. */
static inline void sim_adopt(struct sim *sim)
{
    for (int i = 0; i < sim->n_pools; i++) {
        for (unsigned r = 0; r < sim->pools[i].spec->n_replicas; r++) {
            struct sim_instance *instance = &sim->instances[sim->n_instances];
            uint64_t age_ms = SIM_PICK(sim, 0, 3000, 100000), stall_ms, most_ms;
            struct poolmgr_error err = {0};

            if (!sim_one_in(sim, 4))
                continue;
            age_ms = age_ms < sim->now_ms ? age_ms : sim->now_ms;
            stall_ms = sim->now_ms + sim->pools[i].spec->start_stall_ms;
            most_ms = sim->now_ms - age_ms + sim->pools[i].spec->start_max_ms;
            instance->pool = i;
            instance->replica = r;
            instance->answered_spawn = true;
            instance->progress_ms = sim->now_ms;
            instance->start_by_ms = most_ms > stall_ms ? most_ms : stall_ms;
            SIM_CHECK(sim,
                      pm_core_adopt(sim->core, sim->pools[i].spec->id, r, 1 + r, 4711,
                                    sim->now_ms - age_ms, sim->now_ms, &sim->out, &instance->token,
                                    &err) == 0,
                      "cannot adopt");
            sim->n_instances++;
        }
    }
}

static inline void sim_fini(struct sim *sim)
{
    pm_core_free(sim->core);
    for (int i = 0; i < sim->n_pools; i++)
        pm_pool_spec_unref(sim->pools[i].spec);
    pm_actions_fini(&sim->out);
}

/* ---- finding ------------------------------------------------------------------------------------------------ */

static inline int sim_pool_of(const struct sim *sim, const struct pm_pool_spec *spec)
{
    for (int i = 0; i < sim->n_pools; i++) {
        if (sim->pools[i].spec == spec)
            return i;
    }
    return -1;
}

static inline struct sim_instance *sim_instance(struct sim *sim, struct pm_token token)
{
    for (size_t i = sim->n_instances; i-- > 0;) {
        if (sim->instances[i].token.serial == token.serial)
            return &sim->instances[i];
    }
    return NULL;
}

static inline struct pm_replica_view sim_replica(const struct sim *sim, int pool, unsigned replica)
{
    struct pm_replica_view view = {0};

    (void)pm_core_replica(sim->core, sim->pools[pool].spec->id, replica, &view);
    return view;
}

static inline uint64_t sim_slots_in_use(const struct sim *sim, const struct sim_instance *instance)
{
    uint64_t n = 0;

    for (size_t i = 1; i <= sim->n_requests; i++) {
        const struct sim_request *request = &sim->requests[i];

        if (request->state < REQ_GRANTED || request->state > REQ_ABANDONED ||
            &sim->instances[request->instance] != instance)
            continue;
        n += request->state != REQ_SETTLING || sim->now_ms < request->settles_ms;
    }
    return n;
}

#endif
