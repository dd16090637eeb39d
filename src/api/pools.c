/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at pools. Nothing here changes anything. */
#include <stdlib.h>

#include "api/call.h"
#include "api/shapes.h"
#include "engine/engine.h"
#include "util/cleanup.h"
#include "util/str.h"

/* The replicas of a pool; the caller's. */
static struct pm_replica_view *replicas_of(const struct pm_core *core,
                                           const struct pm_pool_view *view)
{
    struct pm_replica_view *replicas = pm_xalloc(view->n_replicas * sizeof(replicas[0]));

    for (uint64_t i = 0; i < view->n_replicas; i++)
        (void)pm_core_replica(core, view->spec->id, (unsigned)i, &replicas[i]);
    return replicas;
}

static json_t *pool_json(const struct pm_call *call, const struct pm_pool_view *view,
                         const struct pm_clock *clock)
{
    struct pm_manager *manager = call->api->manager;
    pm_auto_free struct pm_replica_view *replicas = replicas_of(pm_manager_core(manager), view);
    json_t *pool = pm_pool_json(view, replicas, clock);
    const json_t *list = json_object_get(pool, "replicas");

    for (size_t i = 0; i < json_array_size(list); i++)
        pm_put_replica_devices(json_array_get(list, i), manager, view->spec->id, (unsigned)i);
    return pool;
}

void pm_pools_list(struct pm_call *call)
{
    const struct pm_core *core = pm_manager_core(call->api->manager);
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    json_t *list = json_object(), *pools = json_array();
    struct pm_pool_view view;

    for (size_t i = 0; pm_core_pool_at(core, i, clock.now_ms, &view); i++)
        (void)json_array_append_new(pools, pool_json(call, &view, &clock));
    pm_put_u64(list, "snapshot_version", pm_core_snapshot_version(core));
    pm_put(list, "pools", pools);
    pm_call_json(call, 200, list);
}

void pm_pools_answer(struct pm_call *call, int status)
{
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    struct pm_pool_view view;

    if (pm_call_pool(call, &view))
        pm_call_json(call, status, pool_json(call, &view, &clock));
}

void pm_pools_show(struct pm_call *call)
{
    pm_pools_answer(call, 200);
}

void pm_pools_health(struct pm_call *call)
{
    struct pm_clock clock = pm_clock_now(pm_manager_now(call->api->manager));
    pm_auto_free struct pm_replica_view *replicas = NULL;
    struct pm_pool_view view;

    if (!pm_call_pool(call, &view))
        return;

    replicas = replicas_of(pm_manager_core(call->api->manager), &view);
    pm_call_json(call, 200, pm_pool_health_json(&view, replicas, &clock));
}
