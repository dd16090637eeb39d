/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drain and resume (DRAIN-1, DRAIN-2). A drain stores what comes after it when it is accepted, and acts when that is
 * durable, so that a restart carries it on. While it runs nobody waits for the pool; what runs finishes, until the
 * deadline: then it is cut, or the drain is given up and everything is as it was.
 */
#include <inttypes.h>

#include "core/inner.h"
#include "util/error.h"

/* Requests whose client is there: what nobody reads holds up no drain. */
uint64_t pm_pool_living_leases(const struct pm_pool *pool)
{
    uint64_t n = 0;
    const struct pm_link *link;

    for (unsigned i = 0; i < pool->n_places; i++)
        n += pool->places[i]->n_running;
    pm_list_each (&pool->extras, link)
        n += pm_container_of(link, const struct pm_place, extra_link)->n_running;
    return n;
}

/* ---- begin and end ---------------------------------------------------------------------------------------------- */

static void take_over(struct pm_op *op, struct pm_actions *out)
{
    struct pm_op *before = pm_pool_op(op->pool, PM_OP_DRAIN);

    op->former = op->pool->intent;
    if (before && before != op)
        op->former = before->former;
    if (before && before != op)
        pm_op_replace(before, op, out);
    while ((before = pm_pool_op(op->pool, PM_OP_STOP)))
        pm_op_replace(before, op, out);
    pm_operations_end(op->pool, PM_OP_START, PM_OP_CANCELLED, out);
    pm_reload_call_off(op->pool, false, out);
}

void pm_drain_begin(struct pm_op *op, struct pm_actions *out)
{
    take_over(op, out);
    pm_pool_set_intent(op->pool, PM_DRAINING);
    pm_tell_drain(op, PM_EV_DRAIN_STARTED, out);
}

void pm_drain_call_off(struct pm_op *op, enum pm_operation_state state,
                       const struct poolmgr_error *error, struct pm_actions *out)
{
    pm_pool_set_intent(op->pool, op->former);
    pm_op_end(op, state, error, out);
    pm_tell_drain(op, PM_EV_DRAIN_ENDED, out);
}

static void give_up(struct pm_op *op, struct pm_actions *out)
{
    struct poolmgr_error error = {0};

    op->view.has_result = true;
    (void)pm_fail(&error, POOLMGR_E_HAS_LEASES,
                  "%" PRIu64 " request%s of %s still ran at the deadline of its drain",
                  op->view.n_leases_left, pm_plural(op->view.n_leases_left), op->pool->spec->id);
    (void)pm_error_hint(&error, 0, "a longer --deadline, or --on-deadline stop");
    pm_drain_call_off(op, PM_OP_FAILED, &error, out);
}

void pm_drain_look(struct pm_pool *pool, struct pm_actions *out)
{
    struct pm_op *op = pm_pool_op(pool, PM_OP_DRAIN);
    uint64_t n;

    if (!op || op->view.forced || pool->core->now_ms < op->deadline_ms)
        return;
    n = pm_pool_living_leases(pool);
    if (n == 0 || (pool->core->shutting_down && op->on_deadline == PM_DEADLINE_ABORT))
        return;

    op->view.n_leases_left = n;
    if (op->on_deadline == PM_DEADLINE_ABORT) {
        give_up(op, out);
        return;
    }
    op->view.forced = true;
    pm_core_changed(pool->core);
}

static bool is_not_at_rest(const struct pm_place *place)
{
    return pm_place_is_on_its_way(place) || !pm_place_emptied(place);
}

/* An engine that is not ours goes on without us. */
static bool is_not_stopped(const struct pm_place *place)
{
    return pm_place_is_ours(place) ? pm_place_has_process(place) : !pm_place_emptied(place);
}

/* The disk may say so already: it ends by that, or goes on when that cannot be stored. */
static bool is_being_cancelled(const struct pm_op *drain)
{
    struct pm_link *link;

    pm_list_each (&drain->pool->operations, link) {
        if (pm_cancel_drain(pm_container_of(link, struct pm_op, pool_link)) == drain)
            return true;
    }
    return false;
}

void pm_drain_step(struct pm_op *op, struct pm_actions *out)
{
    struct pm_pool *pool = op->pool;
    bool holds = op->then == PM_THEN_HOLD;

    if (pm_pool_any(pool, holds ? is_not_at_rest : is_not_stopped) || is_being_cancelled(op))
        return;

    pm_pool_set_intent(pool, holds ? PM_DRAINING : PM_DISABLED);
    op->view.has_result = true;
    pm_op_end(op, PM_OP_SUCCEEDED, NULL, out);
    pm_tell_drain(op, PM_EV_DRAIN_ENDED, out);
    pm_tell_intent(pool, PM_EV_POOL_DISABLED, out);
}

void pm_resume_begin(struct pm_op *op, struct pm_actions *out)
{
    struct pm_pool *pool = op->pool;
    struct pm_op *drain = pm_pool_op(pool, PM_OP_DRAIN);

    if (drain)
        pm_drain_call_off(drain, PM_OP_CANCELLED, NULL, out);
    pm_pool_set_intent(pool, PM_ENABLED);
    pool->parked = false;
    pm_pool_rests(pool); /* what was held was kept from work */
    pm_tell_intent(pool, PM_EV_POOL_RESUMED, out);
    pm_op_end(op, PM_OP_SUCCEEDED, NULL, out);
}

struct pm_op *pm_cancel_drain(const struct pm_op *cancel)
{
    struct pm_op *drain = cancel->pool ? pm_pool_op(cancel->pool, PM_OP_DRAIN) : NULL;

    return drain && cancel->view.kind == PM_OP_CANCEL && cancel->cancels == drain->view.id ? drain
                                                                                           : NULL;
}

void pm_cancel_begin(struct pm_op *op, struct pm_actions *out)
{
    struct pm_op *drain = pm_cancel_drain(op);

    if (drain)
        pm_drain_call_off(drain, PM_OP_CANCELLED, NULL, out);
    pm_op_end(op, PM_OP_SUCCEEDED, NULL, out);
}

/* ---- commands --------------------------------------------------------------------------------------------------- */

int pm_core_drain(struct pm_core *core, const char *pool_id, const struct pm_drain *drain,
                  uint64_t now_ms, struct pm_actions *out, uint64_t *ret_op,
                  struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    struct pm_op *op;
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;
    r = pm_pool_refuses_command(pool, PM_OP_DRAIN, err);
    if (r < 0)
        return r;

    op = pm_op_begin(pool, PM_OP_DRAIN, PM_OP_TO_COMMIT);
    op->owes_answer = true;
    op->on_deadline = drain->on_deadline;
    op->then = drain->then;
    op->deadline_ms = pm_add_ms(core->now_ms, drain->has_deadline ? drain->deadline_ms
                                                                  : pool->spec->drain_deadline_ms);
    *ret_op = op->view.id;
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

int pm_core_resume(struct pm_core *core, const char *pool_id, uint64_t now_ms,
                   struct pm_actions *out, uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_pool *pool = NULL;
    bool stores;
    struct pm_op *op;
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_find_pool(core, pool_id, &pool, err);
    if (r < 0)
        return r;
    r = pm_pool_refuses_command(pool, PM_OP_RESUME, err);
    if (r < 0)
        return r;

    stores = pm_pool_meets(pool, PM_OP_RESUME) == PM_CANCELS || pool->intent != PM_ENABLED ||
             pool->is_behind;
    op = pm_op_begin(pool, PM_OP_RESUME, stores ? PM_OP_TO_COMMIT : PM_OP_ACTING);
    op->owes_answer = true;
    *ret_op = op->view.id;
    if (!stores) {
        pm_op_accept(op, out);
        pool->parked = false;
        pm_op_end(op, PM_OP_SUCCEEDED, NULL, out);
    }
    pm_pool_step(pool, out);
    return POOLMGR_OK;
}

struct pm_op *pm_drain_cancel(struct pm_op *drain)
{
    struct pm_op *op = pm_op_begin(drain->pool, PM_OP_CANCEL, PM_OP_TO_COMMIT);

    op->owes_answer = true;
    op->cancels = drain->view.id;
    return op;
}

void pm_core_restore(struct pm_core *core, const struct pm_pool_record *record, uint64_t now_ms,
                     struct pm_actions *out)
{
    struct pm_pool *pool;

    pm_core_enter(core, now_ms, out);
    pool = pm_registry_find(core, record->pool_id);
    if (!pool)
        return;

    pm_pool_set_intent(pool, record->intent);
    if (record->removed)
        pm_pool_withdraw(pool, out);
    if (record->has_operation)
        pm_op_restore(pool, record->kind, record->operation, out);
    pm_pool_step(pool, out);
}
