/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long commands (OP-1). One kind of operation owns a pool at a time; what a second one does to the first is a table.
 * An operation does nothing itself: while it runs it is one of the reasons in want.c, and it has ended when the
 * places are where it wanted them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

/* What a command does to the operation that owns the pool. */
enum meeting {
    JOINS,   /* same end, two ids */
    CANCELS, /* ends the first, then runs; queues behind it where that is too late */
};

static const enum meeting meetings[PM_OP_KIND_COUNT][PM_OP_KIND_COUNT] = {
    /* [arrives][runs] */
    [PM_OP_START] = {[PM_OP_START] = JOINS, [PM_OP_STOP] = CANCELS},
    [PM_OP_STOP] = {[PM_OP_START] = CANCELS, [PM_OP_STOP] = JOINS},
};

static struct pm_op *op_of(struct pm_link *link)
{
    return link ? pm_container_of(link, struct pm_op, pool_link) : NULL;
}

struct pm_op *pm_pool_operation(const struct pm_pool *pool)
{
    return op_of(pm_list_first(&pool->operations));
}

bool pm_pool_has_start(const struct pm_pool *pool)
{
    const struct pm_op *op = pm_pool_operation(pool);

    return op && op->view.kind == PM_OP_START;
}

bool pm_pool_has_stop(const struct pm_pool *pool)
{
    const struct pm_op *op = pm_pool_operation(pool);

    return op && op->view.kind == PM_OP_STOP;
}

/* ---- beginning and ending ---------------------------------------------------------------------------------- */

static void forget_oldest(struct pm_core *core)
{
    struct pm_link *link = core->operation_list.head.prev, *before;

    for (; core->n_operations > PM_OPERATIONS_KEPT && link != &core->operation_list.head;
         link = before) {
        struct pm_op *op = pm_container_of(link, struct pm_op, link);

        before = link->prev;
        if (op->view.state == PM_OP_RUNNING)
            continue;
        (void)pm_map_remove_u64(&core->operations, op->view.id);
        pm_list_remove(&op->link);
        core->n_operations--;
        free(op);
    }
}

static struct pm_op *begin(struct pm_pool *pool, enum pm_operation_kind kind)
{
    struct pm_core *core = pool->core;
    struct pm_op *op = pm_xalloc(sizeof(*op));

    forget_oldest(core);
    op->pool = pool;
    op->view.id = ++core->last_operation;
    op->view.kind = kind;
    op->view.state = PM_OP_RUNNING;
    op->view.created_ms = core->now_ms;
    op->was_parked = pool->parked;
    op->deadline_ms = PM_NEVER;
    (void)pm_str_copy(op->view.pool_id, sizeof(op->view.pool_id), pool->spec->id);

    (void)pm_map_set_u64(&core->operations, op->view.id, op);
    pm_list_prepend(&core->operation_list, &op->link);
    pm_list_append(&pool->operations, &op->pool_link);
    core->n_operations++;
    pm_core_changed(core);
    return op;
}

static void end(struct pm_op *op, enum pm_operation_state state, const struct poolmgr_error *error,
                struct pm_actions *out)
{
    struct pm_core *core = op->pool->core;

    op->view.state = state;
    op->view.ended_ms = core->now_ms;
    op->view.phase[0] = '\0';
    if (error)
        op->view.error = *error;
    pm_list_remove(&op->pool_link);
    pm_core_changed(core);
    pm_action_add(out, PM_ACT_OPERATION)->operation = op->view.id;
}

static void end_kind(struct pm_pool *pool, enum pm_operation_kind kind,
                     enum pm_operation_state state, const struct poolmgr_error *error,
                     struct pm_actions *out)
{
    struct pm_link *link, *after;

    pm_list_each_safe (&pool->operations, link, after) {
        if (op_of(link)->view.kind == kind)
            end(op_of(link), state, error, out);
    }
}

void pm_operations_end(struct pm_pool *pool, enum pm_operation_kind kind,
                       enum pm_operation_state state, struct pm_actions *out)
{
    end_kind(pool, kind, state, NULL, out);
}

/* A start is a waiter without a deadline: what ends all waiters ends it, too. */
void pm_operations_fail_starts(struct pm_pool *pool, const struct poolmgr_error *error,
                               struct pm_actions *out)
{
    if (pm_pool_has_start(pool))
        end_kind(pool, PM_OP_START, PM_OP_FAILED, error, out);
}

void pm_operations_fini(struct pm_core *core)
{
    struct pm_link *link, *after;

    pm_list_each_safe (&core->operation_list, link, after)
        free(pm_container_of(link, struct pm_op, link));
    pm_map_fini(&core->operations);
}

/* ---- what has ended ------------------------------------------------------------------------------------------ */

static bool any_in(const struct pm_pool *pool, bool (*is)(enum pm_state state))
{
    for (unsigned i = 0; i < pool->n_places; i++) {
        if (is(pool->places[i]->state))
            return true;
    }
    return false;
}

static bool has_or_may_have_process(enum pm_state state)
{
    return state != PM_COLD && state != PM_BACKOFF && state != PM_FAILED;
}

static bool is_past_first_signal(enum pm_state state)
{
    return state == PM_STOPPING;
}

static bool is_up(enum pm_state state)
{
    return state == PM_READY || state == PM_SICK;
}

static bool is_under_way(enum pm_state state)
{
    return has_or_may_have_process(state) && !is_up(state);
}

/* Ready, as far as it can be now: a replica whose start failed comes later, by the restart clock. */
static bool start_is_done(const struct pm_pool *pool)
{
    return any_in(pool, is_up) && !any_in(pool, is_under_way);
}

static const char *const start_phases[PM_STATE_COUNT] = {
    [PM_COLD] = "",
    [PM_STAGING] = "staging",
    [PM_WAITING] = "waiting",
    [PM_STARTING] = "starting",
    [PM_READY] = "starting",
    [PM_SICK] = "starting",
    [PM_STOPPING] = "stopping",
    [PM_BACKOFF] = "waiting",
    [PM_FAILED] = "",
};

static void show_phase(struct pm_pool *pool)
{
    const char *phase = start_phases[pm_pool_best_state(pool)];
    struct pm_op *op = pm_pool_operation(pool);

    if (op->view.kind == PM_OP_STOP)
        phase = any_in(pool, is_past_first_signal) ? "stopping" : "draining";
    (void)pm_str_copy(op->view.phase, sizeof(op->view.phase), phase);
}

void pm_operations_step(struct pm_pool *pool, struct pm_actions *out)
{
    if (pm_list_empty(&pool->operations))
        return;

    if (pm_pool_has_stop(pool)) {
        if (!any_in(pool, has_or_may_have_process))
            end_kind(pool, PM_OP_STOP, PM_OP_SUCCEEDED, NULL, out);
    } else if (start_is_done(pool)) {
        end_kind(pool, PM_OP_START, PM_OP_SUCCEEDED, NULL, out);
    }
    if (!pm_list_empty(&pool->operations))
        show_phase(pool);
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

static int find_pool(struct pm_core *core, const char *pool_id, struct pm_pool **ret,
                     struct poolmgr_error *err)
{
    struct pm_pool *pool = pm_registry_find(core, pool_id);

    if (!pool)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no pool '%s'", pool_id);
    if (core->shutting_down || core->leaving)
        return pm_fail(err, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");
    *ret = pool;
    return POOLMGR_OK;
}

/* A stop can be called off until its first signal. */
static bool call_off_stop(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_op *op = pm_pool_operation(pool);

    if (any_in(pool, is_past_first_signal))
        return false;
    pool->parked = op->was_parked;
    end_kind(pool, PM_OP_STOP, PM_OP_CANCELLED, NULL, out);
    return true;
}

int pm_core_start(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                  struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    struct pm_op *running;
    int r;

    pm_core_enter(core, now_ms, out);
    r = find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;

    running = pm_pool_operation(pool);
    if (running && meetings[PM_OP_START][running->view.kind] == CANCELS)
        (void)call_off_stop(pool,
                            out); /* else it stays first in the list, and this one follows it */
    pool->parked = false;
    pool->has_keep_alive = false;
    *ret_op = begin(pool, PM_OP_START)->view.id;
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

/* Whoever waits for a start that an operator stops is told so; who waits for a slot of a running engine waits on. */
static void refuse_those_who_wait_for_a_start(struct pm_pool *pool, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    if (pm_pool_n_waiters(pool) == 0 || any_in(pool, is_up) || any_in(pool, is_past_first_signal))
        return;
    (void)pm_fail(&error, POOLMGR_E_START_FAILED, "an operator stops the start of %s",
                  pool->spec->id);
    error.retry_after_ms = 1000;
    pm_queue_refuse_all(pool, &error, out);
}

static void hurry(struct pm_pool *pool, uint64_t deadline_ms)
{
    struct pm_link *link;

    pm_list_each (&pool->operations, link) {
        if (op_of(link)->view.kind == PM_OP_STOP && deadline_ms < op_of(link)->deadline_ms)
            op_of(link)->deadline_ms = deadline_ms;
    }
}

int pm_core_stop(struct pm_core *core, const char *pool_id, uint64_t deadline_ms, uint64_t now_ms,
                 struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    struct pm_op *op;
    int r;

    pm_core_enter(core, now_ms, out);
    r = find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;

    refuse_those_who_wait_for_a_start(pool, out);
    end_kind(pool, PM_OP_START, PM_OP_CANCELLED, NULL, out);
    op = begin(pool, PM_OP_STOP);
    pool->parked = true;
    hurry(pool, pm_add_ms(core->now_ms, deadline_ms));
    *ret_op = op->view.id;
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

int pm_core_cancel_operation(struct pm_core *core, uint64_t id, uint64_t now_ms,
                             struct pm_actions *out, struct poolmgr_error *err)
{
    struct pm_op *op = pm_map_get_u64(&core->operations, id);

    pm_core_enter(core, now_ms, out);
    if (!op)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no operation op-%llu", (unsigned long long)id);
    if (op->view.state != PM_OP_RUNNING)
        return pm_fail(err, POOLMGR_E_CONFLICT, "op-%llu has ended already",
                       (unsigned long long)id);
    if (core->shutting_down || core->leaving)
        return pm_fail(err, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");
    if (op->view.kind == PM_OP_STOP && !call_off_stop(op->pool, out))
        return pm_fail(err, POOLMGR_E_CONFLICT,
                       "the engine of %s has its signal: the stop is finished first",
                       op->pool->spec->id);

    if (op->view.state == PM_OP_RUNNING)
        end(op, PM_OP_CANCELLED, NULL, out);
    pm_pool_step(op->pool, out);
    return POOLMGR_OK;
}

static bool waits_for_its_clock(enum pm_state state)
{
    return state == PM_BACKOFF;
}

/* What failed is forgotten; what runs is left alone. */
static void forgive(struct pm_pool *pool, struct pm_actions *out)
{
    pool->failed = false;
    for (unsigned i = 0; i < pool->n_places; i++) {
        pool->places[i]->clock = (struct pm_clock){0};
        pool->places[i]->n_oom_in_row = 0;
        (void)pm_place_move(pool->places[i], PM_CAUSE_RESET, out);
    }
    pm_core_changed(pool->core);
}

int pm_core_reset(struct pm_core *core, const char *pool_id, enum pm_breaker breaker,
                  uint64_t now_ms, struct pm_actions *out, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    int r;

    pm_core_enter(core, now_ms, out);
    r = find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;

    pool->breaker = breaker == PM_BREAKER_FORCED_OPEN ? PM_BREAKER_FORCED
                    : breaker == PM_BREAKER_DISABLED  ? PM_BREAKER_OFF
                                                      : PM_BREAKER_AUTOMATIC;
    pm_tell_reset(pool, out);
    forgive(pool, out);
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

void pm_core_file_changed(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                          struct pm_actions *out)
{
    struct pm_pool *pool = pm_registry_find(core, pool_id);

    pm_core_enter(core, now_ms, out);
    if (!pool || !(pool->failed || any_in(pool, waits_for_its_clock)))
        return;

    pm_tell_file_changed(pool, out);
    forgive(pool, out);
    pm_pool_step(pool, out);
}

/* ---- looking --------------------------------------------------------------------------------------------------- */

bool pm_core_operation(const struct pm_core *core, uint64_t id, struct pm_operation *ret)
{
    const struct pm_op *op = pm_map_get_u64(&core->operations, id);

    if (!op)
        return false;
    *ret = op->view;
    return true;
}

bool pm_core_operation_at(const struct pm_core *core, size_t i, struct pm_operation *ret)
{
    const struct pm_link *link;

    pm_list_each (&core->operation_list, link) {
        if (i-- > 0)
            continue;
        *ret = pm_container_of(link, const struct pm_op, link)->view;
        return true;
    }
    return false;
}
