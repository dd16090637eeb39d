/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload wants of the places it owns, and what it permits (RELOAD-1); reload.c says how it goes on. */
#include "core/inner.h"

struct pm_place *pm_reload_former(const struct pm_place *next)
{
    return next->pool->places[next->index];
}

static struct pm_wanted swap_want(const struct pm_place *former)
{
    const struct pm_reloading *reload = former->pool->reload;
    uint64_t now_ms = former->pool->core->now_ms;

    if (!pm_place_has_process(former))
        return pm_wanted(PM_KEEP, PM_BECAUSE_RELOAD, PM_NEVER);
    if (now_ms < reload->swap_by_ms)
        return pm_wanted(PM_EMPTY, PM_BECAUSE_RELOAD, reload->swap_by_ms);
    return pm_wanted(reload->op->on_deadline == PM_DEADLINE_STOP ? PM_DOWN : PM_EMPTY,
                     PM_BECAUSE_RELOAD, PM_NEVER);
}

static bool change_want(const struct pm_place *place, struct pm_wanted *ret)
{
    const struct pm_reloading *reload = place->pool->reload;

    if (reload->swaps && reload->next && pm_reload_former(reload->next) == place)
        *ret = swap_want(place);
    else if (!pm_place_has_process(place) &&
             (place->returns || reload->phase == PM_RELOAD_COMMITTING))
        *ret = pm_wanted(PM_KEEP, PM_BECAUSE_RELOAD, PM_NEVER); /* how it goes on is not decided */
    else
        return false;
    return true;
}

/* Something of this replica, beside the place that serves it, has not ended yet. */
static bool others_are_there(const struct pm_place *place)
{
    struct pm_link *link;

    pm_list_each (&place->pool->extras, link) {
        const struct pm_place *other = pm_container_of(link, struct pm_place, extra_link);

        if (other->index == place->index && pm_place_has_process(other))
            return true;
    }
    return false;
}

static struct pm_place *first_fresh(const struct pm_pool *pool)
{
    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pool->places[i]->fresh)
            return pool->places[i];
    }
    return NULL;
}

static bool back_want(const struct pm_place *place, struct pm_wanted *ret)
{
    const struct pm_pool *pool = place->pool;
    bool has_process = pm_place_has_process(place);

    if (place->fresh && !has_process)
        *ret = pm_wanted(PM_KEEP, PM_BECAUSE_RELOAD, PM_NEVER);
    else if (place->fresh && place == first_fresh(pool))
        *ret = pm_empty_by(PM_BECAUSE_RELOAD, pool->reload->swap_by_ms, pool->core->now_ms);
    else if (place->returns && !has_process && others_are_there(place))
        *ret = pm_wanted(PM_KEEP, PM_BECAUSE_RELOAD, PM_NEVER);
    else if (place->returns)
        *ret = pm_wanted(PM_UP, PM_BECAUSE_RELOAD, PM_NEVER);
    else
        return false;
    return true;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What an earlier reload changed before it was called off: it does not come back as that. */
static bool is_left_over(const struct pm_place *place)
{
    const struct pm_pool *pool = place->pool;

    return place->role == PM_SERVING && !place->fresh && place->spec->habits.ours &&
           place->spec != pool->spec && (!pool->reload || !pm_place_has_process(place));
}

bool pm_reload_want(const struct pm_place *place, struct pm_wanted *ret)
{
    const struct pm_pool *pool = place->pool;

    if (place->role == PM_OLD || is_left_over(place))
        *ret = pm_empty_by(PM_BECAUSE_RELOAD, earlier(place->old_by_ms, pm_pool_empty_by(pool)),
                           pool->core->now_ms);
    else if (place->role == PM_NEXT)
        *ret = pm_wanted(PM_UP, PM_BECAUSE_RELOAD, PM_NEVER);
    else if (!pool->reload || pool->reload->phase == PM_RELOAD_STAGING)
        return false;
    else if (pool->reload->phase == PM_RELOAD_BACK)
        return back_want(place, ret);
    else
        return change_want(place, ret);
    return true;
}

/* In a swap the next one gets its room when the former is gone. */
bool pm_reload_permits(const struct pm_place *place)
{
    const struct pm_reloading *reload = place->pool->reload;

    return place->role != PM_NEXT || !reload->swaps ||
           !pm_place_has_process(pm_reload_former(place));
}

bool pm_reload_swaps(const struct pm_pool *pool)
{
    return pool->reload && pool->reload->swaps;
}

struct pm_place *pm_reload_heir(const struct pm_place *place)
{
    const struct pm_reloading *reload = place->pool->reload;
    struct pm_place *serving;

    if (!reload || place->index >= place->pool->n_places)
        return NULL;
    serving = place->pool->places[place->index];
    if (reload->swaps && reload->next && pm_reload_former(reload->next) == place)
        return reload->next;
    return place != serving && serving->returns ? serving : NULL;
}
