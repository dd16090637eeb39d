/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pools, and the names by which requests reach them. Only registration makes a pool: an unknown id anywhere else
 * is an error (REG-2). A name is a pool's id or an alias; pools that share an alias serve it together (group.c).
 */
#include <stdlib.h>
#include <string.h>

#include "core/inner.h"
#include "util/error.h"
#include "util/str.h"

struct pm_pool *pm_registry_find(const struct pm_core *core, const char *id)
{
    return pm_map_get(&core->ids, id);
}

/* An alias may stand in several pools, an id may not be anything else. `but`: the pool that changes to this spec. */
int pm_registry_check_names(const struct pm_core *core, const struct pm_pool_spec *spec,
                            const struct pm_pool *but, struct poolmgr_error *err)
{
    const struct pm_group *others = pm_map_get(&core->names, spec->id);
    const struct pm_pool *other;

    if (!but && pm_registry_find(core, spec->id))
        return pm_fail(err, POOLMGR_E_ALREADY_EXISTS, "pool '%s' already exists", spec->id);
    if (others && !(but && others->n_pools == 1 && others->pools[0] == but))
        return pm_fail(err, POOLMGR_E_CONFLICT, "'%s' is already an alias of pool '%s'", spec->id,
                       others->pools[0]->spec->id);

    for (size_t i = 0; i < spec->aliases.n; i++) {
        other = pm_registry_find(core, spec->aliases.items[i]);
        if (other && other != but)
            return pm_fail(err, POOLMGR_E_CONFLICT,
                           "alias '%s' of pool '%s' is the id of another pool",
                           spec->aliases.items[i], spec->id);
    }
    return POOLMGR_OK;
}

/* A number for leases: the first that nobody has. */
static uint32_t take_handle(struct pm_core *core, struct pm_pool *pool)
{
    size_t i = 0;

    while (i < core->n_handles && core->handles[i])
        i++;
    if (i == core->n_handles) {
        core->handles = pm_xrealloc(core->handles, (i + 1) * sizeof(struct pm_pool *));
        core->n_handles++;
    }
    core->handles[i] = pool;
    return (uint32_t)i;
}

static struct pm_pool *make_pool(struct pm_core *core, struct pm_pool_spec *spec,
                                 enum pm_owner owner)
{
    struct pm_pool *pool = pm_xalloc(sizeof(*pool));

    pool->core = core;
    pool->number = ++core->last_number;
    pool->handle = take_handle(core, pool);
    pool->spec = pm_pool_spec_ref(spec);
    pool->wanted = pm_pool_spec_ref(spec);
    pool->declared = pm_pool_spec_ref(spec);
    pool->owner = owner;
    pool->due.kind = PM_DUE_POOL;
    pool->since_ms = pool->idle_ms = pool->waiterless_ms = core->now_ms;
    pool->shutdown_by_ms = PM_NEVER;
    pool->n_places = spec->n_replicas > 0 ? (unsigned)spec->n_replicas : 1;
    pool->places = pm_xalloc(pool->n_places * sizeof(struct pm_place *));
    pm_list_init(&pool->operations);
    pm_list_init(&pool->extras);
    for (unsigned i = 0; i < pool->n_places; i++)
        pool->places[i] = pm_place_new(pool, i, PM_SERVING, spec);
    return pool;
}

static void insert_by_id(struct pm_core *core, struct pm_pool *pool)
{
    size_t i = core->n_pools;

    while (i > 0 && strcmp(core->by_id[i - 1]->spec->id, pool->spec->id) > 0) {
        core->by_id[i] = core->by_id[i - 1];
        i--;
    }
    core->by_id[i] = pool;
}

static void insert(struct pm_core *core, struct pm_pool *pool)
{
    if (core->n_pools == core->capacity) {
        core->capacity = core->capacity ? core->capacity * 2 : 16;
        core->pools = pm_xrealloc(core->pools, core->capacity * sizeof(*core->pools));
        core->by_id = pm_xrealloc(core->by_id, core->capacity * sizeof(*core->by_id));
    }
    core->pools[core->n_pools] = pool;
    insert_by_id(core, pool);
    core->n_pools++;

    (void)pm_map_set(&core->ids, pool->spec->id, pool);
    pm_pool_enter_names(pool);
}

struct pm_pool *pm_registry_add(struct pm_core *core, struct pm_pool_spec *spec,
                                enum pm_owner owner, struct pm_actions *out)
{
    struct pm_pool *pool = make_pool(core, spec, owner);
    struct pm_event event;

    insert(core, pool);
    pm_core_changed(core);

    pm_event_init(&event, PM_EV_POOL_ADDED, spec->id);
    pm_event_pool(&event, spec->id);
    pm_event_human(&event, "%s is added: %u %s with %llu slots%s", spec->id, pool->n_places,
                   pool->n_places == 1 ? "replica" : "replicas", (unsigned long long)spec->n_slots,
                   pm_ways_why_cpu(core, spec));
    pm_action_tell(out, &event);
    return pool;
}

int pm_core_add_pool(struct pm_core *core, struct pm_pool_spec *spec, enum pm_owner owner,
                     uint64_t now_ms, struct pm_actions *out, struct poolmgr_error *err)
{
    int r;

    pm_core_enter(core, now_ms, out);
    r = pm_registry_check_names(core, spec, NULL, err);
    if (r < 0)
        return r;

    pm_pool_step(pm_registry_add(core, spec, owner, out), out);
    return POOLMGR_OK;
}

void pm_core_seen_instance(struct pm_core *core, const char *pool_id, uint64_t instance)
{
    struct pm_pool *pool = pm_registry_find(core, pool_id);

    if (pool && instance > pool->last_instance)
        pool->last_instance = instance;
}

const struct pm_pool_spec *pm_core_route(const struct pm_core *core, const char *route)
{
    return pm_core_route_at(core, route, 0);
}

const struct pm_pool_spec *pm_core_route_at(const struct pm_core *core, const char *route, size_t i)
{
    const struct pm_group *group = pm_group_find(core, route);

    return group && i < group->n_pools ? group->pools[i]->spec : NULL;
}

static void drop_waiters(struct pm_group *group)
{
    for (size_t i = 0; i < PM_N_PRIORITIES; i++) {
        while (!pm_list_empty(&group->admitted[i]))
            pm_queue_remove(
                pm_container_of(pm_list_first(&group->admitted[i]), struct pm_waiter, home_link));
    }
}

static void free_groups(struct pm_core *core)
{
    struct pm_link *link;

    pm_list_each (&core->all_groups, link)
        drop_waiters(pm_container_of(link, struct pm_group, link));
    while (!pm_list_empty(&core->all_groups))
        pm_group_free(pm_container_of(pm_list_first(&core->all_groups), struct pm_group, link));
}

static void free_pool(struct pm_pool *pool)
{
    struct pm_link *link;

    while ((link = pm_list_first(&pool->extras)))
        pm_place_free(pm_container_of(link, struct pm_place, extra_link));
    for (unsigned i = 0; i < pool->n_places; i++)
        pm_place_free(pool->places[i]);
    free(pool->places);
    free(pool->groups);
    pm_pool_spec_unref(pool->spec);
    pm_pool_spec_unref(pool->wanted);
    pm_pool_spec_unref(pool->declared);
    if (pool->reload)
        pm_pool_spec_unref(pool->reload->spec);
    free(pool->reload);
    free(pool);
}

static void take_out(struct pm_pool **pools, size_t n, const struct pm_pool *pool)
{
    size_t i = 0;

    while (i < n && pools[i] != pool)
        i++;
    memmove(&pools[i], &pools[i + 1], (n - i - 1) * sizeof(struct pm_pool *));
}

void pm_registry_forget(struct pm_pool *pool)
{
    struct pm_core *core = pool->core;

    pm_unask(core, &pool->staging);
    pm_unask(core, &pool->tidy);
    pm_heap_remove(&core->heap, &pool->due.node);
    (void)pm_map_remove(&core->ids, pool->spec->id);
    take_out(core->pools, core->n_pools, pool);
    take_out(core->by_id, core->n_pools, pool);
    core->n_pools--;
    core->handles[pool->handle] = NULL;
    free_pool(pool);
}

void pm_registry_fini(struct pm_core *core)
{
    free_groups(core);
    for (size_t i = 0; i < core->n_pools; i++)
        free_pool(core->pools[i]);
    free(core->pools);
    free(core->by_id);
    free(core->handles);
    pm_map_fini(&core->ids);
    pm_map_fini(&core->names);
    pm_map_fini(&core->groups);
}
