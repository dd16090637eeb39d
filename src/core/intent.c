/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator wants of a pool for good. Intent is kept apart from state: a pool that shall rest stays so over
 * crashes and restarts, and who asks for it is told so instead of being left to wait.
 */
#include "core/inner.h"
#include "util/error.h"

#define RETRY_MS 1000

bool pm_pool_is_held(const struct pm_pool *pool)
{
    return pool->intent == PM_DRAINING || pool->removing || !pm_list_empty(&pool->operations);
}

bool pm_pool_admits(const struct pm_pool *pool)
{
    return pool->intent == PM_ENABLED && !pool->removing;
}

bool pm_pool_intent_refuses(const struct pm_pool *pool, struct poolmgr_error *ret)
{
    const char *id = pool->spec->id;

    if (pool->removing) {
        (void)pm_fail(ret, POOLMGR_E_MODEL_NOT_FOUND, "the pool '%s' is removed", id);
        return true;
    }
    switch (pool->intent) {
    case PM_DRAINING:
        (void)pm_fail(ret, POOLMGR_E_DRAINING, "%s is draining and takes no requests", id);
        ret->retry_after_ms = RETRY_MS;
        break;
    case PM_DISABLED:
        (void)pm_fail(ret, POOLMGR_E_DISABLED, "an operator has disabled %s", id);
        break;
    case PM_ENABLED:
    case PM_INTENT_COUNT: return false;
    }
    (void)pm_error_hint(ret, 0, "poolctl resume %s lets it serve again", id);
    return true;
}

void pm_pool_set_intent(struct pm_pool *pool, enum pm_intent intent)
{
    if (intent == pool->intent)
        return;
    pool->intent = intent;
    pool->intent_ms = pool->core->now_ms;
    pm_core_changed(pool->core);
}

/* ---- what is wanted of a place ---------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When the first of the operations that empty it lets nobody finish any more. */
uint64_t pm_pool_empty_by(const struct pm_pool *pool)
{
    const struct pm_op *drain = pm_pool_op(pool, PM_OP_DRAIN);
    uint64_t by_ms = pm_pool_stop_by(pool);

    if (drain && drain->on_deadline == PM_DEADLINE_STOP)
        by_ms = earlier(by_ms, drain->deadline_ms);
    return by_ms;
}

/* Held, an engine that is up stays; before an abort everything stays as it is until its deadline is looked at. */
static struct pm_wanted drain_want(const struct pm_op *drain, const struct pm_place *place)
{
    uint64_t now_ms = place->pool->core->now_ms;
    bool is_up = place->state == PM_READY || place->state == PM_SICK;
    enum pm_want want = drain->then == PM_THEN_HOLD && is_up ? PM_KEEP : PM_EMPTY;

    if (now_ms < drain->deadline_ms)
        return pm_wanted(want, PM_BECAUSE_DRAIN, drain->deadline_ms);
    if (drain->on_deadline == PM_DEADLINE_ABORT || (want == PM_KEEP && pm_place_emptied(place)))
        return pm_wanted(want, PM_BECAUSE_DRAIN, PM_NEVER);
    return pm_wanted(PM_DOWN, PM_BECAUSE_DRAIN, PM_NEVER);
}

bool pm_intent_want(const struct pm_place *place, struct pm_wanted *ret)
{
    const struct pm_pool *pool = place->pool;
    const struct pm_op *drain = pm_pool_op(pool, PM_OP_DRAIN);
    uint64_t now_ms = pool->core->now_ms;

    if (place->role == PM_OLD)
        return pm_reload_want(place, ret);
    if (pool->removing)
        *ret = pm_empty_by(PM_BECAUSE_REMOVAL, pm_pool_empty_by(pool), now_ms);
    else if (pm_pool_op(pool, PM_OP_STOP))
        *ret = pm_empty_by(PM_BECAUSE_STOP, pm_pool_empty_by(pool), now_ms);
    else if (drain)
        *ret = drain_want(drain, place);
    else if (pm_reload_want(place, ret))
        return true;
    else if (pool->intent == PM_DISABLED)
        *ret = pm_empty_by(PM_BECAUSE_DISABLED,
                           pm_add_ms(pool->intent_ms, pool->spec->drain_deadline_ms), now_ms);
    else if (place->instance.doomed)
        *ret = pm_empty_by(PM_BECAUSE_DRIVER, place->instance.doomed_by_ms, now_ms);
    else if (pool->intent == PM_DRAINING)
        *ret = pm_wanted(PM_KEEP, PM_BECAUSE_HELD, PM_NEVER);
    else
        return false;
    return true;
}
