/* SPDX-License-Identifier: Apache-2.0 */
/* The operator of a world of core_world.h: commands, what became of them, and a disk that commits when it is told. */
#ifndef PM_TESTS_CORE_OPERATOR_H
#define PM_TESTS_CORE_OPERATOR_H

#include "core_world.h"

static inline struct pm_operation operation(const struct world *world, uint64_t id)
{
    struct pm_operation op;

    assert_true(pm_core_operation(world->core, id, &op));
    return op;
}

/* The disk answers the PERSIST of the last input; what follows is in world->out, and what is written behind it is
 * durable, too. */
static inline void durable(struct world *world)
{
    struct pm_token token = the_action(world, PM_ACT_PERSIST)->token;

    pm_actions_clear(&world->out);
    pm_core_persisted(world->core, token, NULL, world->now_ms, &world->out);
    if (count_actions(world, PM_ACT_PERSIST) == 0)
        return;
    token = the_action(world, PM_ACT_PERSIST)->token;
    pm_core_persisted(world->core, token, NULL, world->now_ms, &world->out);
}

static inline void disk_full(struct world *world)
{
    const struct poolmgr_error error = {.code = POOLMGR_E_STORE_FAILED, .message = "no space left"};
    struct pm_token token = the_action(world, PM_ACT_PERSIST)->token;

    pm_actions_clear(&world->out);
    pm_core_persisted(world->core, token, &error, world->now_ms, &world->out);
}

static inline uint64_t start(struct world *world)
{
    struct poolmgr_error err = {0};
    uint64_t op = 0;

    pm_actions_clear(&world->out);
    assert_int_equal(pm_core_start(world->core, POOL, world->now_ms, &world->out, &op, &err), 0);
    return op;
}

static inline uint64_t stop(struct world *world, uint64_t deadline_ms)
{
    struct poolmgr_error err = {0};
    uint64_t op = 0;

    pm_actions_clear(&world->out);
    assert_int_equal(
        pm_core_stop(world->core, POOL, deadline_ms, world->now_ms, &world->out, &op, &err), 0);
    return op;
}

/* Accepted, not yet durable. */
static inline uint64_t ask_drain(struct world *world, struct pm_drain drain)
{
    struct poolmgr_error err = {0};
    uint64_t op = 0;

    pm_actions_clear(&world->out);
    assert_int_equal(
        pm_core_drain(world->core, POOL, &drain, world->now_ms, &world->out, &op, &err), 0);
    return op;
}

static inline uint64_t drain(struct world *world, uint64_t deadline_ms,
                             enum pm_on_deadline on_deadline, enum pm_then then)
{
    uint64_t op = ask_drain(world, (struct pm_drain){.has_deadline = true,
                                                     .deadline_ms = deadline_ms,
                                                     .on_deadline = on_deadline,
                                                     .then = then});

    durable(world);
    return op;
}

static inline uint64_t ask_resume(struct world *world)
{
    struct poolmgr_error err = {0};
    uint64_t op = 0;

    pm_actions_clear(&world->out);
    assert_int_equal(pm_core_resume(world->core, POOL, world->now_ms, &world->out, &op, &err), 0);
    return op;
}

static inline uint64_t resume(struct world *world)
{
    uint64_t op = ask_resume(world);

    durable(world);
    return op;
}

static inline uint64_t reload_with(struct world *world, struct pm_reload reload)
{
    struct poolmgr_error err = {0};
    uint64_t op = 0;

    pm_actions_clear(&world->out);
    assert_int_equal(
        pm_core_reload(world->core, POOL, &reload, world->now_ms, &world->out, &op, &err), 0);
    return op;
}

/* The reload's own staging is over; next comes what is started or stopped for it. */
static inline void staged_reload(struct world *world)
{
    staged(world, the_action(world, PM_ACT_STAGE)->token, NULL);
}

static inline int cancel(struct world *world, uint64_t op)
{
    struct poolmgr_error err = {0};
    uint64_t by;

    pm_actions_clear(&world->out);
    return pm_core_cancel_operation(world->core, op, world->now_ms, &world->out, &by, &err);
}

static inline struct pm_token staged_spawn(struct world *world)
{
    staged(world, the_action(world, PM_ACT_STAGE)->token, NULL);
    return the_action(world, PM_ACT_SPAWN)->token;
}

#endif
