/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator commands: start, stop, cancel, reset. A command asks whom it meets, ends what it does not get along
 * with, leaves an operation or a mark on the pool, and has the pool compared; what follows is done there. The longer
 * ones are in drain.c, reload.c and change.c.
 */
#include "core/inner.h"
#include "util/error.h"

int pm_find_pool(struct pm_core *core, const char *pool_id, struct pm_pool **ret,
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
    if (pm_pool_any(pool, pm_place_is_stopping))
        return false;
    pool->parked = pm_pool_op(pool, PM_OP_STOP)->was_parked;
    pm_operations_end(pool, PM_OP_STOP, PM_OP_CANCELLED, out);
    return true;
}

/* What rests by an operator's will starts by an operator's will only. */
static int refuse_start_of_resting(const struct pm_pool *pool, struct poolmgr_error *err)
{
    int r = pm_fail(err, POOLMGR_E_CONFLICT, "%s is %s: resume it first", pool->spec->id,
                    pm_intent_name(pool->intent == PM_DISABLED ? PM_DISABLED : PM_DRAINING));

    return pm_error_hint(err, r, "poolctl resume %s", pool->spec->id);
}

int pm_core_start(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                  struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    enum pm_meeting meets;
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;
    r = pm_pool_check_ours(pool, "start", err);
    if (r < 0)
        return r;

    meets = pm_pool_meets(pool, PM_OP_START);
    if (pm_pool_runs(pool) == PM_RUNS_DRAIN || pool->intent != PM_ENABLED)
        return refuse_start_of_resting(pool, err);
    r = pm_pool_refuses_command(pool, PM_OP_START, err);
    if (r < 0)
        return r;

    if (meets == PM_CANCELS)
        (void)call_off_stop(pool, out); /* else this one follows it */
    pool->parked = false;
    pool->has_keep_alive = false;
    *ret_op = pm_op_begin(pool, PM_OP_START, PM_OP_ACTING)->view.id;
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

/* Whoever waits for a start that an operator stops is told so; who waits for a slot of a running engine waits on. */
static void refuse_those_who_wait_for_a_start(struct pm_pool *pool, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    if (pm_pool_n_waiters(pool) == 0 || pm_pool_any(pool, pm_place_is_up) ||
        pm_pool_any(pool, pm_place_is_stopping))
        return;
    (void)pm_fail(&error, POOLMGR_E_START_FAILED, "an operator stops the start of %s",
                  pool->spec->id);
    error.retry_after_ms = 1000;
    pm_queue_refuse_all(pool, &error, out);
}

int pm_core_stop(struct pm_core *core, const char *pool_id, uint64_t deadline_ms, uint64_t now_ms,
                 struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    struct pm_op *op;
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;
    r = pm_pool_check_ours(pool, "stop", err);
    if (r == POOLMGR_OK && !(deadline_ms == 0 && pool->reload))
        r = pm_pool_refuses_command(pool, PM_OP_STOP, err);
    if (r < 0)
        return r;

    pm_reload_call_off(pool, false, out);
    refuse_those_who_wait_for_a_start(pool, out);
    pm_operations_end(pool, PM_OP_START, PM_OP_CANCELLED, out);
    op = pm_op_begin(pool, PM_OP_STOP, PM_OP_ACTING);
    op->deadline_ms =
        pm_add_ms(core->now_ms, deadline_ms); /* of all that run the earliest counts */
    pool->parked = true;
    *ret_op = op->view.id;
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

int pm_core_cancel_operation(struct pm_core *core, uint64_t id, uint64_t now_ms,
                             struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool;
    struct pm_op *op;
    int r;

    pm_core_enter(core, now_ms, out);
    op = pm_map_get_u64(&core->operations, id);
    if (!op)
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no operation op-%llu", (unsigned long long)id);
    if (op->view.state != PM_OP_RUNNING)
        return pm_fail(err, POOLMGR_E_CONFLICT, "op-%llu has ended already",
                       (unsigned long long)id);
    if (core->shutting_down || core->leaving)
        return pm_fail(err, POOLMGR_E_SHUTTING_DOWN, "the daemon is stopping");
    if (op->view.kind == PM_OP_REMOVE)
        return pm_fail(err, POOLMGR_E_CONFLICT, "a removal is for good");
    if (op->view.kind == PM_OP_HANDOFF)
        return pm_fail(err, POOLMGR_E_CONFLICT, "its engine is being asked");
    if (op->view.kind == PM_OP_CONFIG_RELOAD)
        return pm_fail(err, POOLMGR_E_CONFLICT, "its parts can be cancelled, one by one");
    if (op->commit.serial != 0)
        return pm_fail(err, POOLMGR_E_CONFLICT, "it is on its way to the disk");
    r = op->view.kind == PM_OP_DRAIN ? pm_pool_refuses_command(op->pool, PM_OP_CANCEL, err) : 0;
    if (r < 0)
        return r;
    if (op->view.kind == PM_OP_STOP && !call_off_stop(op->pool, out))
        return pm_fail(err, POOLMGR_E_CONFLICT,
                       "the engine of %s has its signal: the stop is finished first",
                       op->pool->spec->id);

    pool = op->pool;
    *ret_op = id;
    if (op->view.kind == PM_OP_DRAIN && op->stage == PM_OP_ACTING)
        *ret_op = pm_drain_cancel(op)->view.id;
    else if (op->view.kind == PM_OP_RELOAD && pool->reload && pool->reload->op == op)
        pm_reload_call_off(pool, true, out);
    else if (op->view.state == PM_OP_RUNNING)
        pm_op_end(op, PM_OP_CANCELLED, NULL, out);
    if (pool)
        pm_pool_step(pool, out);
    pm_poolless_step(core, out);
    return POOLMGR_OK;
}

static bool waits_for_its_clock(const struct pm_place *place)
{
    return place->state == PM_BACKOFF;
}

/* What failed is forgotten; what runs is left alone. */
void pm_pool_forgive(struct pm_pool *pool, struct pm_actions *out)
{
    pool->failed = false;
    for (unsigned i = 0; i < pool->n_places; i++) {
        pool->past.is_news = pool->past.is_news || pool->places[i]->clock.n > 0;
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
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;

    pool->breaker = breaker == PM_BREAKER_FORCED_OPEN ? PM_BREAKER_FORCED
                    : breaker == PM_BREAKER_DISABLED  ? PM_BREAKER_OFF
                                                      : PM_BREAKER_AUTOMATIC;
    pm_tell_reset(pool, out);
    pm_pool_forgive(pool, out);
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

void pm_core_file_changed(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                          struct pm_actions *out)
{
    struct pm_pool *pool;

    pm_core_enter(core, now_ms, out);
    pool = pm_registry_find(core, pool_id);
    if (!pool || !(pool->failed || pm_pool_any(pool, waits_for_its_clock)))
        return;

    pm_tell_file_changed(pool, out);
    pm_pool_forgive(pool, out);
    pm_pool_step(pool, out);
}
