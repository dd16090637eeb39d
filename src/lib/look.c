/* SPDX-License-Identifier: Apache-2.0 */
/* Looking, and commands: the manager's, in the words of the API. */
#include "lib/internal.h"
#include "util/error.h"

/* ---- pools ----------------------------------------------------------------------------------------------- */

static void fill_pool(struct poolmgr *mgr, struct poolmgr_pool *ret)
{
    const struct pm_pool_view *view = &mgr->view;

    pm_lib_fill(ret,
                &(const struct poolmgr_pool){
                    .id = view->spec->id,
                    .owner = pm_owner_name(view->owner),
                    .intent = pm_intent_name(view->intent),
                    .state = pm_state_name(view->state),
                    .live = view->live,
                    .ready = view->ready,
                    .code = view->code_name,
                    .reason = view->reason,
                    .slots_total = view->slots_total,
                    .slots_free = view->slots_free,
                    .active_leases = view->active_leases,
                    .queue_depth = view->queue_depth,
                    .n_replicas = view->n_replicas,
                },
                sizeof(*ret));
}

uint64_t poolmgr_snapshot_version(const struct poolmgr *mgr)
{
    return pm_core_snapshot_version(pm_manager_core(mgr->manager));
}

size_t poolmgr_n_pools(const struct poolmgr *mgr)
{
    return pm_core_n_pools(pm_manager_core(mgr->manager));
}

int poolmgr_pool_at(struct poolmgr *mgr, size_t i, struct poolmgr_pool *ret)
{
    pm_lib_enter(mgr);
    if (!pm_core_pool_at(pm_manager_core(mgr->manager), i, pm_manager_now(mgr->manager),
                         &mgr->view))
        return POOLMGR_E_NOT_FOUND;
    fill_pool(mgr, ret);
    return POOLMGR_OK;
}

int poolmgr_pool_find(struct poolmgr *mgr, const char *pool_id, struct poolmgr_pool *ret,
                      struct poolmgr_error *err)
{
    pm_lib_enter(mgr);
    if (!pm_core_pool(pm_manager_core(mgr->manager), pool_id, pm_manager_now(mgr->manager),
                      &mgr->view))
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no pool '%.64s'", pool_id);
    fill_pool(mgr, ret);
    return POOLMGR_OK;
}

/* ---- commands --------------------------------------------------------------------------------------------- */

int poolmgr_start(struct poolmgr *mgr, const char *pool_id, uint64_t *ret_op,
                  struct poolmgr_error *err)
{
    uint64_t op;

    pm_lib_enter(mgr);
    return pm_manager_start(mgr->manager, pool_id, ret_op ? ret_op : &op, err);
}

int poolmgr_stop(struct poolmgr *mgr, const char *pool_id, uint64_t deadline_ms, uint64_t *ret_op,
                 struct poolmgr_error *err)
{
    uint64_t op;

    pm_lib_enter(mgr);
    return pm_manager_stop(mgr->manager, pool_id, deadline_ms != POOLMGR_DEADLINE_DEFAULT,
                           deadline_ms, ret_op ? ret_op : &op, err);
}

int poolmgr_reset(struct poolmgr *mgr, const char *pool_id, struct poolmgr_error *err)
{
    pm_lib_enter(mgr);
    return pm_manager_reset(mgr->manager, pool_id, PM_BREAKER_CLOSED, err);
}

int poolmgr_operation_find(struct poolmgr *mgr, uint64_t id, struct poolmgr_operation *ret,
                           struct poolmgr_error *err)
{
    const struct pm_operation *op = &mgr->operation;

    if (!pm_core_operation(pm_manager_core(mgr->manager), id, &mgr->operation))
        return pm_fail(err, POOLMGR_E_NOT_FOUND, "no operation %llu", (unsigned long long)id);
    pm_lib_fill(ret,
                &(const struct poolmgr_operation){
                    .id = op->id,
                    .kind = pm_operation_kind_name(op->kind),
                    .state = pm_operation_state_name(op->state),
                    .pool_id = op->pool_id,
                    .phase = op->phase,
                    .error = op->error,
                },
                sizeof(*ret));
    return POOLMGR_OK;
}
