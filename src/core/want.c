/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wanted of a place: a pure function of what is known, asked after every input. The first rule that applies
 * wins, and it says until when it holds by itself, so that the deadline of a pool is a minimum over its places.
 *
 *   up     run this pool's spec here
 *   keep   neither start nor stop
 *   empty  close the gate, stop when no client has a lease any more, or at the deadline
 *   down   stop now
 */
#include "core/inner.h"

struct pm_wanted pm_wanted(enum pm_want want, enum pm_reason reason, uint64_t until_ms)
{
    struct pm_wanted wanted = {.want = want, .reason = reason, .until_ms = until_ms};

    return wanted;
}

struct pm_wanted pm_empty_by(enum pm_reason reason, uint64_t deadline_ms, uint64_t now_ms)
{
    return pm_wanted(now_ms >= deadline_ms ? PM_DOWN : PM_EMPTY, reason,
                     now_ms >= deadline_ms ? PM_NEVER : deadline_ms);
}

static uint64_t idle_limit(const struct pm_pool *pool)
{
    if (pool->has_keep_alive)
        return pool->keep_alive_ms;
    return pool->spec->idle_ttl_ms == 0 ? PM_NEVER : pool->spec->idle_ttl_ms;
}

/* When the pool will have been idle for long enough; PM_NEVER while it has leases. */
static uint64_t idle_at(const struct pm_pool *pool)
{
    return pool->n_leases > 0 ? PM_NEVER : pm_add_ms(pool->idle_ms, idle_limit(pool));
}

static bool is_idle(const struct pm_pool *pool)
{
    uint64_t at = idle_at(pool);

    return at != PM_NEVER && pool->core->now_ms >= at;
}

static bool restarts_by_itself(const struct pm_place *place)
{
    const struct pm_pool *pool = place->pool;

    return place->failed_when_ready && !pool->parked && !is_idle(pool) &&
           pool->spec->restart != PM_RESTART_NEVER &&
           pm_place_n_after(place) < pool->spec->backoff.open_at;
}

static bool on_its_way(const struct pm_place *place)
{
    return place->state == PM_STAGING || place->state == PM_WAITING || place->state == PM_STARTING;
}

/* A start that a request began outlives its last waiter by abandon_after (LOAD-4). */
static uint64_t hope_until(const struct pm_place *place)
{
    if (!on_its_way(place) || place->begun != PM_BECAUSE_WAITERS)
        return 0;
    return pm_add_ms(pm_pool_waiterless_since(place->pool), place->pool->spec->abandon_after_ms);
}

/* What goes before all requests; PM_BECAUSE_NOTHING when they may have their way. */
static struct pm_wanted ruled(const struct pm_place *place)
{
    const struct pm_pool *pool = place->pool;
    const struct pm_core *core = pool->core;
    uint64_t now_ms = core->now_ms;
    struct pm_wanted owned;

    if (core->at_once)
        return pm_wanted(PM_DOWN, PM_BECAUSE_SHUTDOWN, PM_NEVER);
    if (pm_device_fails_under(place))
        return pm_wanted(PM_DOWN, PM_BECAUSE_DEVICE, PM_NEVER);
    if (core->shutting_down)
        return pm_empty_by(PM_BECAUSE_SHUTDOWN,
                           pm_pool_empty_by(pool) < pool->shutdown_by_ms ? pm_pool_empty_by(pool)
                                                                         : pool->shutdown_by_ms,
                           now_ms);
    if (place->withdrawn)
        return pm_empty_by(PM_BECAUSE_WITHDRAWN, place->withdraw_by_ms, now_ms);
    if (pm_intent_want(place, &owned))
        return owned;
    if (core->leaving)
        return pm_wanted(PM_KEEP, PM_BECAUSE_LEAVING, PM_NEVER);
    return pm_wanted(PM_KEEP, PM_BECAUSE_NOTHING, PM_NEVER);
}

static bool closes(const struct pm_wanted *rule)
{
    return rule->want == PM_EMPTY || rule->want == PM_DOWN;
}

bool pm_place_may_serve(const struct pm_place *place)
{
    struct pm_wanted rule = ruled(place);

    return !closes(&rule) && pm_pool_admits(place->pool);
}

bool pm_place_is_free_to_start(const struct pm_place *place)
{
    struct pm_wanted rule = ruled(place);

    return (rule.reason == PM_BECAUSE_NOTHING || rule.want == PM_UP) && pm_pool_admits(place->pool);
}

struct pm_wanted pm_place_want(const struct pm_place *place)
{
    const struct pm_pool *pool = place->pool;
    struct pm_wanted rule = ruled(place);
    uint64_t now_ms = pool->core->now_ms;

    if (rule.reason != PM_BECAUSE_NOTHING) {
        rule.closed = closes(&rule);
        return rule;
    }
    if (!pm_place_is_ours(place))
        return pm_wanted(PM_KEEP, PM_BECAUSE_NOT_OURS, PM_NEVER);
    if (pm_evict_claimed(place))
        return pm_wanted(PM_EMPTY, PM_BECAUSE_EVICTED, PM_NEVER);
    if (pm_pool_is_waited_for(pool))
        return pm_wanted(PM_UP, PM_BECAUSE_WAITERS, PM_NEVER);
    if (pm_pool_has_start(pool))
        return pm_wanted(PM_UP, PM_BECAUSE_START, PM_NEVER);
    if (restarts_by_itself(place))
        return pm_wanted(PM_UP, PM_BECAUSE_RESTART, idle_at(pool));
    if (pool->spec->start == PM_PRELOAD && !pool->parked)
        return pm_wanted(PM_UP, PM_BECAUSE_PRELOAD, PM_NEVER);
    if (pool->n_leases > 0)
        return pm_wanted(PM_KEEP, PM_BECAUSE_LEASES, PM_NEVER);
    if (now_ms < hope_until(place))
        return pm_wanted(PM_KEEP, PM_BECAUSE_HOPE, hope_until(place));
    if ((place->state == PM_READY || place->state == PM_SICK) && !is_idle(pool))
        return pm_wanted(PM_KEEP, PM_BECAUSE_IN_USE, idle_at(pool));
    if (pool->reload)
        return pm_wanted(PM_KEEP, PM_BECAUSE_RELOAD, PM_NEVER);
    return pm_wanted(PM_EMPTY, hope_until(place) > 0 ? PM_BECAUSE_ABANDONED : PM_BECAUSE_IDLE,
                     PM_NEVER);
}
