/* SPDX-License-Identifier: Apache-2.0 */
/* A core with one pool and nobody but the test as its world: the shortest way to say "a ready engine". */
#ifndef PM_TESTS_CORE_WORLD_H
#define PM_TESTS_CORE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/core.h"
#include "util/heap.h"
#include "util/str.h"

#define POOL "qwen-8b"

struct world {
    struct pm_core *core;
    struct pm_pool_spec *spec; /* of POOL; may be changed before world_begin() */
    struct pm_actions out;     /* of the last input */
    uint64_t now_ms;
    uint64_t n_requests;
};

static inline void world_init(struct world *world)
{
    static const struct pm_core_options options = {.max_parallel_starts = 2, .seed = 7};

    memset(world, 0, sizeof(*world));
    world->core = pm_core_new(&options);
    world->spec = pm_pool_spec_new(POOL);
    world->now_ms = 1000;
}

static inline void world_fini(struct world *world)
{
    pm_core_free(world->core);
    pm_pool_spec_unref(world->spec);
    pm_actions_fini(&world->out);
}

static inline void world_add(struct world *world, struct pm_pool_spec *spec)
{
    struct poolmgr_error err = {0};

    assert_int_equal(
        pm_core_add_pool(world->core, spec, PM_OWNER_FILE, world->now_ms, &world->out, &err), 0);
}

static inline void world_begin(struct world *world)
{
    world_add(world, world->spec);
    pm_actions_clear(&world->out);
    pm_core_begin(world->core, world->now_ms, &world->out);
}

/* ---- what came out ------------------------------------------------------------------------------------ */

static inline size_t count_actions(const struct world *world, enum pm_action_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < world->out.n; i++)
        n += world->out.items[i].kind == kind;
    return n;
}

/* The i-th action of a kind; the test fails when there is none. */
static inline const struct pm_action *action_at(const struct world *world, enum pm_action_kind kind,
                                                size_t i)
{
    for (size_t k = 0; k < world->out.n; k++) {
        if (world->out.items[k].kind == kind && i-- == 0)
            return &world->out.items[k];
    }
    fail_msg("no such action: kind %d", (int)kind);
    return NULL;
}

static inline const struct pm_action *the_action(const struct world *world,
                                                 enum pm_action_kind kind)
{
    assert_int_equal(count_actions(world, kind), 1);
    return action_at(world, kind, 0);
}

static inline const struct pm_event *find_event(const struct world *world, enum pm_event_kind kind)
{
    for (size_t i = 0; i < world->out.n; i++) {
        if (world->out.items[i].kind == PM_ACT_NARRATE && world->out.items[i].event->kind == kind)
            return world->out.items[i].event;
    }
    return NULL;
}

static inline void assert_told(const struct world *world, enum pm_event_kind kind,
                               const char *human)
{
    const struct pm_event *event = find_event(world, kind);

    assert_non_null(event);
    assert_string_equal(event->human, human);
}

static inline void assert_silent(const struct world *world)
{
    assert_int_equal(count_actions(world, PM_ACT_NARRATE), 0);
}

/* ---- inputs ------------------------------------------------------------------------------------------- */

static inline void tick(struct world *world, uint64_t at_ms)
{
    world->now_ms = at_ms;
    pm_actions_clear(&world->out);
    pm_core_tick(world->core, world->now_ms, &world->out);
}

/* Lets time pass to the next deadline. */
static inline void next_tick(struct world *world)
{
    assert_true(pm_core_deadline(world->core) != PM_NEVER);
    tick(world, pm_core_deadline(world->core));
}

static inline uint64_t request_with(struct world *world, struct pm_request request)
{
    request.id = ++world->n_requests;
    if (!request.route)
        request.route = POOL;
    if (!request.request_id)
        request.request_id = "req";
    pm_actions_clear(&world->out);
    pm_core_request(world->core, &request, world->now_ms, &world->out);
    return request.id;
}

static inline uint64_t request(struct world *world)
{
    return request_with(world, (struct pm_request){0});
}

static inline void gone(struct world *world, uint64_t id)
{
    pm_actions_clear(&world->out);
    pm_core_request_gone(world->core, id, world->now_ms, &world->out);
}

static inline void release(struct world *world, const struct pm_lease *lease, enum pm_release how)
{
    pm_actions_clear(&world->out);
    pm_core_release(world->core, lease, how, world->now_ms, &world->out);
}

static inline void staged(struct world *world, struct pm_token token,
                          const struct pm_failure *failure)
{
    pm_actions_clear(&world->out);
    pm_core_staged(world->core, token, failure, NULL, 0, world->now_ms, &world->out);
}

static inline void spawned(struct world *world, struct pm_token token,
                           const struct pm_failure *failure)
{
    pm_actions_clear(&world->out);
    pm_core_spawned(world->core, token, failure, failure ? 0 : 4711, world->now_ms, &world->out);
}

static inline void endpoint_ready(struct world *world, struct pm_token token)
{
    const struct pm_ready ready = {.endpoint = "unix:/run/engine.sock", .owner_proved = true};

    pm_actions_clear(&world->out);
    pm_core_endpoint_ready(world->core, token, &ready, world->now_ms, &world->out);
}

static inline void exited(struct world *world, struct pm_token token, struct pm_exit how)
{
    pm_actions_clear(&world->out);
    pm_core_engine_exited(world->core, token, &how, world->now_ms, &world->out);
}

static inline void childless(struct world *world, struct pm_token token)
{
    pm_actions_clear(&world->out);
    pm_core_childless(world->core, token, world->now_ms, &world->out);
}

static inline void probed(struct world *world, struct pm_token token, bool ok)
{
    pm_actions_clear(&world->out);
    pm_core_probed(world->core, token, ok, world->now_ms, &world->out);
}

/* ---- shortcuts ---------------------------------------------------------------------------------------- */

static inline struct pm_pool_view view(const struct world *world)
{
    struct pm_pool_view view;

    assert_true(pm_core_pool(world->core, POOL, world->now_ms, &view));
    return view;
}

static inline struct pm_replica_view replica(const struct world *world, unsigned index)
{
    struct pm_replica_view view;

    assert_true(pm_core_replica(world->core, POOL, index, &view));
    return view;
}

static inline enum pm_state state(const struct world *world)
{
    return replica(world, 0).state;
}

/* A request came and the engine is spawned: its token. The actions of the last input are those of the spawn. */
static inline struct pm_token start_engine(struct world *world)
{
    struct pm_token token;

    (void)request(world);
    staged(world, the_action(world, PM_ACT_STAGE)->token, NULL);
    token = the_action(world, PM_ACT_SPAWN)->token;
    spawned(world, token, NULL);
    return token;
}

/* A ready engine, and the lease of the request that started it. */
static inline struct pm_token ready_engine(struct world *world, struct pm_lease *ret_lease)
{
    struct pm_token token = start_engine(world);

    endpoint_ready(world, token);
    *ret_lease = the_action(world, PM_ACT_GRANT)->lease;
    return token;
}

/* A ready engine without a lease. */
static inline struct pm_token idle_engine(struct world *world)
{
    struct pm_lease lease;
    struct pm_token token = ready_engine(world, &lease);

    release(world, &lease, PM_RELEASE_DONE);
    return token;
}

/* The engine ends with this exit, and nothing of it is left. */
static inline void crash(struct world *world, struct pm_token token, struct pm_exit how)
{
    exited(world, token, how);
    childless(world, token);
}

static inline struct pm_lease granted(struct world *world)
{
    (void)request(world);
    return the_action(world, PM_ACT_GRANT)->lease;
}

#endif
