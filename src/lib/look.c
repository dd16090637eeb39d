/* SPDX-License-Identifier: Apache-2.0 */
/* Looking, and commands: the manager's, in the words of the API. */
#include <jansson.h>
#include <string.h>

#include "engine/engine.h"
#include "lib/internal.h"
#include "util/cleanup.h"
#include "util/error.h"
#include "util/str.h"

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

int poolmgr_drain(struct poolmgr *mgr, const char *pool_id,
                  const struct poolmgr_drain_options *options, uint64_t *ret_op,
                  struct poolmgr_error *err)
{
    struct poolmgr_drain_options asked = {.size = sizeof(asked),
                                          .deadline_ms = POOLMGR_DEADLINE_DEFAULT};
    struct pm_drain drain = {0};
    uint64_t op;

    pm_lib_enter(mgr);
    if (options)
        pm_lib_take(&asked, options, sizeof(asked));
    drain.has_deadline = asked.deadline_ms != POOLMGR_DEADLINE_DEFAULT;
    drain.deadline_ms = asked.deadline_ms;
    drain.on_deadline = asked.abort ? PM_DEADLINE_ABORT : PM_DEADLINE_STOP;
    drain.then = asked.hold ? PM_THEN_HOLD : PM_THEN_STOP;
    return pm_manager_drain(mgr->manager, pool_id, &drain, ret_op ? ret_op : &op, err);
}

int poolmgr_resume(struct poolmgr *mgr, const char *pool_id, uint64_t *ret_op,
                   struct poolmgr_error *err)
{
    uint64_t op;

    pm_lib_enter(mgr);
    return pm_manager_resume(mgr->manager, pool_id, ret_op ? ret_op : &op, err);
}

/* The whole of a pool; its engine's habits with it. One reference is the caller's. */
static int read_pool(struct poolmgr *mgr, const char *pool_id, const char *text, size_t n,
                     struct pm_pool_spec **ret, struct poolmgr_error *err)
{
    pm_auto_free struct pm_config_errors *errors = pm_xalloc(sizeof(*errors));
    json_error_t where;
    json_t *json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &where);
    int r;

    if (!json_is_object(json) || memchr(text, '\0', n)) {
        r = pm_fail(err, POOLMGR_E_INVALID_REQUEST, "a pool must be a JSON object%s%s",
                    json ? "" : ": ", json ? "" : where.text);
        json_decref(json);
        return r;
    }
    r = pm_config_pool(pm_manager_config(mgr->manager), pool_id, json, ret, errors, err);
    json_decref(json);
    if (r == POOLMGR_OK)
        pm_engine_fill_habits((*ret)->runs, *ret);
    return r;
}

int poolmgr_reload(struct poolmgr *mgr, const char *pool_id, const char *json, size_t n,
                   uint64_t *ret_op, struct poolmgr_error *err)
{
    struct pm_reload reload = {.on_deadline = PM_DEADLINE_ABORT};
    uint64_t op;
    int r;

    pm_lib_enter(mgr);
    if (json) {
        r = read_pool(mgr, pool_id, json, n, &reload.spec, err);
        if (r < 0)
            return r;
    }
    r = pm_manager_reload(mgr->manager, pool_id, &reload, ret_op ? ret_op : &op, err);
    pm_pool_spec_unref(reload.spec);
    return r;
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
                    .accepted = op->accepted,
                    .forced = op->forced,
                    .n_leases_left = op->n_leases_left,
                },
                sizeof(*ret));
    return POOLMGR_OK;
}
