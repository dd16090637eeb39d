/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pools that serve a name together. A name is a pool's id or an alias; an alias may stand in several pools. What
 * a name stands for is a group: a set of pools with one queue, shared by all names with the same set. A request that
 * wishes for only some of the pools waits in the queue of that smaller set, so that it blocks nobody and nobody
 * blocks it; such a group lives as long as somebody waits in it.
 *
 * A set never changes: when a pool comes or goes, names and waiters move to another group.
 */
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/buf.h"
#include "util/str.h"

/* ---- sets ------------------------------------------------------------------------------------------------ */

/* Commas are in no id. */
static void write_key(struct pm_buf *buf, struct pm_pool *const *pools, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            pm_buf_adds(buf, ",");
        pm_buf_adds(buf, pools[i]->spec->id);
    }
}

static void join(struct pm_group *group, struct pm_pool *pool)
{
    if (pool->n_groups == pool->groups_capacity) {
        pool->groups_capacity = pool->groups_capacity ? pool->groups_capacity * 2 : 2;
        pool->groups = pm_xrealloc(pool->groups, pool->groups_capacity * sizeof(*pool->groups));
    }
    pool->groups[pool->n_groups++] = group;
}

static void part(struct pm_group *group, struct pm_pool *pool)
{
    for (size_t i = 0; i < pool->n_groups; i++) {
        if (pool->groups[i] != group)
            continue;
        pool->groups[i] = pool->groups[--pool->n_groups];
        return;
    }
}

static struct pm_group *make(struct pm_core *core, const char *key, struct pm_pool *const *pools,
                             size_t n)
{
    struct pm_group *group = pm_xalloc(sizeof(*group));

    group->core = core;
    group->key = pm_xstrdup(key);
    group->pools = pm_xalloc(n * sizeof(group->pools[0]));
    group->n_pools = n;
    group->seen_version = UINT64_MAX;
    pm_queue_init(&group->queue);
    for (size_t i = 0; i < PM_N_PRIORITIES; i++)
        pm_list_init(&group->admitted[i]);
    for (size_t i = 0; i < n; i++) {
        group->pools[i] = pools[i];
        join(group, pools[i]);
    }
    (void)pm_map_set(&core->groups, key, group);
    pm_list_append(&core->all_groups, &group->link);
    return group;
}

struct pm_group *pm_group_of(struct pm_core *core, struct pm_pool *const *pools, size_t n)
{
    pm_auto_buf struct pm_buf key = {0};
    struct pm_group *group;

    if (n == 0)
        return NULL;
    write_key(&key, pools, n);
    group = pm_map_get(&core->groups, pm_buf_text(&key));
    return group ? group : make(core, pm_buf_text(&key), pools, n);
}

/* Nobody finds it any more. */
static void detach(struct pm_group *group)
{
    for (size_t i = 0; i < group->n_pools; i++) {
        struct pm_pool *pool = group->pools[i];

        if (group->waiterless_ms > pool->waiterless_ms)
            pool->waiterless_ms = group->waiterless_ms; /* who waited here waited for it */
        part(group, pool);
    }
    group->n_pools = 0;
    if (pm_map_get(&group->core->groups, group->key) == group)
        (void)pm_map_remove(&group->core->groups, group->key);
}

void pm_group_free(struct pm_group *group)
{
    detach(group);
    pm_list_remove(&group->link);
    pm_list_remove(&group->touched_link);
    pm_queue_fini(&group->queue);
    free(group->pools);
    free(group->key);
    free(group);
}

void pm_group_free_unused(struct pm_group *group)
{
    if (group->n_names == 0 && group->n_refs == 0 && group->n_admitted == 0 && group->queue.n == 0)
        pm_group_free(group);
}

bool pm_group_has(const struct pm_group *group, const struct pm_pool *pool)
{
    for (size_t i = 0; i < group->n_pools; i++) {
        if (group->pools[i] == pool)
            return true;
    }
    return false;
}

/* In the order in which the pools were added: the first is the one whose max_age counts. */
static struct pm_group *with(struct pm_group *group, struct pm_pool *pool)
{
    size_t n = group ? group->n_pools : 0, at = 0;
    pm_auto_free struct pm_pool **pools = pm_xalloc((n + 1) * sizeof(*pools));

    while (at < n && group->pools[at]->number < pool->number) {
        pools[at] = group->pools[at];
        at++;
    }
    pools[at] = pool;
    if (at < n)
        memcpy(&pools[at + 1], &group->pools[at], (n - at) * sizeof(*pools));
    return pm_group_of(pool->core, pools, n + 1);
}

static struct pm_group *without(struct pm_group *group, struct pm_pool *pool)
{
    pm_auto_free struct pm_pool **pools = NULL;
    size_t n = 0;

    if (!group || !pm_group_has(group, pool))
        return group;
    pools = pm_xalloc(group->n_pools * sizeof(*pools));
    for (size_t i = 0; i < group->n_pools; i++) {
        if (group->pools[i] != pool)
            pools[n++] = group->pools[i];
    }
    return pm_group_of(pool->core, pools, n);
}

/* ---- names ------------------------------------------------------------------------------------------------ */

struct pm_group *pm_group_find(const struct pm_core *core, const char *name)
{
    if (name[0] != '\0')
        return pm_map_get(&core->names, name);
    if (core->options.default_pool[0] != '\0')
        return pm_map_get(&core->names, core->options.default_pool);
    return core->n_pools == 1 ? pm_map_get(&core->names, core->pools[0]->spec->id) : NULL;
}

static void name(struct pm_core *core, const char *text, struct pm_group *group)
{
    struct pm_group *before =
        group ? pm_map_set(&core->names, text, group) : pm_map_remove(&core->names, text);

    if (group)
        group->n_names++;
    if (!before)
        return;
    before->n_names--;
    if (!pm_link_in_list(&before->touched_link))
        pm_group_free_unused(before);
}

/* Who came by this name and demands nothing waits for its new pool, too. */
static void widen(struct pm_group *from, struct pm_group *to, const char *text)
{
    struct pm_link *link, *after;

    for (size_t i = 0; i < PM_N_PRIORITIES; i++) {
        pm_list_each_safe (&from->admitted[i], link, after) {
            struct pm_waiter *waiter = pm_container_of(link, struct pm_waiter, home_link);

            if (strcmp(waiter->name, text) == 0)
                pm_waiter_rehome(waiter, waiter->plain ? to : waiter->group, waiter->elsewhere, to);
        }
    }
}

static void leave(struct pm_waiter *waiter, struct pm_pool *pool, struct pm_group *home)
{
    struct pm_group *elsewhere = without(waiter->elsewhere, pool);
    struct pm_group *group = without(waiter->group, pool);

    if (!group)
        group = elsewhere ? elsewhere : waiter->group;
    pm_waiter_rehome(waiter, group, elsewhere, home);
}

/* Who came by this name goes with it to the pools that still have it; who demands the one that left waits on. */
static void narrow(struct pm_group *from, struct pm_group *to, struct pm_pool *pool,
                   const char *text)
{
    struct pm_link *link, *after;

    for (size_t i = 0; i < PM_N_PRIORITIES; i++) {
        pm_list_each_safe (&from->admitted[i], link, after) {
            struct pm_waiter *waiter = pm_container_of(link, struct pm_waiter, home_link);
            if (strcmp(waiter->name, text) == 0)
                leave(waiter, pool, to);
        }
    }
}

static void add_name(struct pm_pool *pool, const char *text)
{
    struct pm_group *group = pm_map_get(&pool->core->names, text), *wider;

    if (group && pm_group_has(group, pool))
        return;
    wider = with(group, pool);
    if (group)
        widen(group, wider, text);
    name(pool->core, text, wider);
}

static void drop_name(struct pm_pool *pool, const char *text)
{
    struct pm_group *group = pm_map_get(&pool->core->names, text), *narrower;

    if (!group || !pm_group_has(group, pool))
        return;
    narrower = without(group, pool);
    if (narrower)
        narrow(group, narrower, pool, text);
    name(pool->core, text, narrower);
}

void pm_pool_enter_names(struct pm_pool *pool)
{
    add_name(pool, pool->spec->id);
    for (size_t i = 0; i < pool->spec->aliases.n; i++)
        add_name(pool, pool->spec->aliases.items[i]);
}

void pm_pool_change_names(struct pm_pool *pool, const struct pm_strv *before)
{
    if (pool->removing)
        return; /* it has none any more */
    for (size_t i = 0; i < before->n; i++) {
        if (!pm_strv_contains(&pool->spec->aliases, before->items[i]))
            drop_name(pool, before->items[i]);
    }
    pm_pool_enter_names(pool);
    pm_core_changed(pool->core);
}

void pm_pool_leave_names(struct pm_pool *pool, struct pm_actions *out)
{
    drop_name(pool, pool->spec->id);
    for (size_t i = 0; i < pool->spec->aliases.n; i++)
        drop_name(pool, pool->spec->aliases.items[i]);

    /* Who still waits for it may go nowhere else. */
    for (size_t i = 0; i < pool->n_groups; i++)
        pm_queue_removed(&pool->groups[i]->queue, pool, out);
    while (pool->n_groups > 0) {
        struct pm_group *group = pool->groups[0];

        detach(group);
        pm_group_free_unused(group);
    }
    pm_core_changed(pool->core);
}

/* ---- who serves, and who shall start ------------------------------------------------------------------------ */

/* The next one of a reload is on its way to serve, too. */
static const struct pm_place *next_of(const struct pm_pool *pool)
{
    return pool->reload ? pool->reload->next : NULL;
}

bool pm_pool_serves(const struct pm_pool *pool)
{
    const struct pm_place *next = next_of(pool);

    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pm_place_coming(pool->places[i]) && pm_place_may_serve(pool->places[i]))
            return true;
    }
    return next && pm_place_coming(next) && pm_place_may_serve(next);
}

bool pm_pool_may_start(const struct pm_pool *pool)
{
    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pm_place_may_start(pool->places[i]) && pm_place_is_free_to_start(pool->places[i]))
            return true;
    }
    return false;
}

bool pm_group_has_other(const struct pm_group *group, const struct pm_pool *pool)
{
    for (size_t i = 0; i < group->n_pools; i++) {
        if (group->pools[i] != pool &&
            (pm_pool_serves(group->pools[i]) || pm_pool_may_start(group->pools[i])))
            return true;
    }
    return false;
}

static uint64_t n_failures(const struct pm_pool *pool)
{
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < pool->n_places; i++) {
        if (pool->places[i]->clock.n < least)
            least = pool->places[i]->clock.n;
    }
    return least;
}

/* Which of two that may start is the better: wished for by who waits longest, not stopped by an operator, failed less
 * often, first in the file. */
static bool starts_before(const struct pm_pool *a, const struct pm_pool *b,
                          const struct pm_strv *prefer)
{
    bool wished_a = pm_strv_contains(prefer, a->spec->id);
    bool wished_b = pm_strv_contains(prefer, b->spec->id);

    if (wished_a != wished_b)
        return wished_a;
    if (a->parked != b->parked)
        return b->parked;
    if (n_failures(a) != n_failures(b))
        return n_failures(a) < n_failures(b);
    return a->number < b->number;
}

/* Looks once a version: who serves the group, and else who shall be started for it. */
static void look(struct pm_group *group)
{
    static const struct pm_strv nobody = {0};
    const struct pm_waiter *oldest = pm_queue_oldest(&group->queue);
    const struct pm_core *core = group->core;

    if (group->seen_version == core->version && group->seen_ms == core->now_ms)
        return;

    group->seen_version = core->version;
    group->seen_ms = core->now_ms;
    group->served = false;
    group->target = NULL;
    for (size_t i = 0; i < group->n_pools && !group->served; i++) {
        struct pm_pool *pool = group->pools[i];

        group->served = pm_pool_serves(pool);
        if (pm_pool_may_start(pool) &&
            (!group->target ||
             starts_before(pool, group->target, oldest ? &oldest->prefer : &nobody)))
            group->target = pool;
    }
}

const struct pm_pool *pm_group_target(struct pm_group *group)
{
    look(group);
    return group->served || group->queue.n == 0 ? NULL : group->target;
}

/* Of several one is wanted at a time. Where none may start all are: so each shows what keeps it. */
bool pm_group_wants(struct pm_group *group, const struct pm_pool *pool)
{
    if (group->queue.n == 0)
        return false;
    if (group->n_pools == 1)
        return true;
    look(group);
    if (group->served)
        return pm_pool_serves(pool);
    return !group->target || group->target == pool;
}

bool pm_pool_is_waited_for(const struct pm_pool *pool)
{
    if (pool->core->waiters.n == 0)
        return false;
    for (size_t i = 0; i < pool->n_groups; i++) {
        if (pm_group_wants(pool->groups[i], pool))
            return true;
    }
    return false;
}

uint64_t pm_pool_waiterless_since(const struct pm_pool *pool)
{
    uint64_t since_ms = pool->waiterless_ms;

    for (size_t i = 0; i < pool->n_groups; i++) {
        if (pool->groups[i]->waiterless_ms > since_ms)
            since_ms = pool->groups[i]->waiterless_ms;
    }
    return since_ms;
}

struct pm_pool *pm_group_face(struct pm_group *group)
{
    if (group->n_pools == 1)
        return group->pools[0];
    for (size_t i = 0; i < group->n_pools; i++) {
        if (pm_pool_serves(group->pools[i]))
            return group->pools[i];
    }
    look(group);
    return group->target ? group->target : group->pools[0];
}

/* ---- what else must be compared ------------------------------------------------------------------------------ */

void pm_group_touch(struct pm_group *group)
{
    if (!pm_link_in_list(&group->touched_link))
        pm_list_append(&group->core->touched, &group->touched_link);
}

/* After a comparison. Whether it serves has changed: who waits for others, too, may need another one. */
void pm_pool_note_serving(struct pm_pool *pool)
{
    const struct pm_place *next = next_of(pool);
    bool serves = next && pm_place_coming(next);

    for (unsigned i = 0; i < pool->n_places; i++)
        serves = serves || (pm_place_coming(pool->places[i]) && !pool->places[i]->wanted.closed);
    serves = serves && pm_pool_admits(pool);
    if (serves == pool->served)
        return;
    pool->served = serves;
    for (size_t i = 0; i < pool->n_groups; i++) {
        if (pool->groups[i]->queue.n > 0 && pool->groups[i]->n_pools > 1)
            pm_group_touch(pool->groups[i]);
    }
}
